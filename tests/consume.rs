//! Pulling, offsets and positions through a group of three processes, at the leader and at the other replicas alike.
//!
//! Method: what a consumer of RocketMQ would see, code by code. Source of the expectations: the protocol notes on brokers
//! and clients, checked against RocketMQ 5.3.3.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::{
    BoundaryType, OffsetResponse, QueryConsumerOffsetRequest, QueueRequest, SearchOffsetRequest,
    TimestampResponse, TopicRequest, UpdateConsumerOffsetRequest, ViewMessageRequest,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode, bodies};
use support::client::TIMEOUT;
use support::exchange::{Pulled, now_ms, refused_with};
use support::settings::NODES;
use support::stored::decode;
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(5);

#[test]
fn pulls_find_filter_and_say_where_to_go_on() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "pulls", 2, 6).await?;
        for number in 0..10 {
            let tag = if number % 2 == 0 { "even" } else { "odd" };
            client.send(&leader, &Message::new("pulls", 0, format!("{number}")).with("TAGS", tag)).await?;
        }
        cluster.settled().await?;
        for address in [&leader, &other] {
            // (queue, offset, subscription) to (code, offsets, next). Source: the offset rules of pulls.
            let cases = [
                ((1, 0, "*"), (ResponseCode::PullNotFound, vec![], 0)),
                ((1, 4, "*"), (ResponseCode::PullOffsetMoved, vec![], 0)),
                ((0, 6, "*"), (ResponseCode::Success, vec![6, 7, 8, 9], 10)),
                ((0, 10, "*"), (ResponseCode::PullNotFound, vec![], 10)),
                ((0, 12, "*"), (ResponseCode::PullOffsetMoved, vec![], 10)),
                ((0, -3, "*"), (ResponseCode::PullOffsetMoved, vec![], 0)),
                ((0, 0, "even"), (ResponseCode::Success, vec![0, 2, 4, 6, 8], 10)),
                ((0, 5, "even || odd"), (ResponseCode::Success, vec![5, 6, 7, 8, 9], 10)),
                ((0, 3, "none"), (ResponseCode::PullRetryImmediately, vec![], 10)),
            ];
            for ((queue, offset, subscription), expected) in cases {
                let pull = Pull { subscription: Some(subscription), ..Pull::from("pulls", queue, offset) };
                let pulled = client.pull(address, &pull).await?;
                let offsets: Vec<i64> = pulled.messages.iter().map(|message| message.offset).collect();
                let found = (pulled.code, offsets, pulled.next);
                ensure!(found == expected, "{queue} {offset} {subscription} at {address}: {found:?}");
                ensure!((pulled.min, pulled.max) == (0, if queue == 0 { 10 } else { 0 }), "{pulled:?}");
            }
            let few = Pull { messages_max: 3, ..Pull::from("pulls", 0, 1) };
            let pulled = client.pull(address, &few).await?;
            ensure!((pulled.messages.len(), pulled.next) == (3, 4), "{pulled:?}");
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_held_pull_wakes_for_its_tag_and_times_out_without_moving() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "held", 1, 6).await?;
        let held = Pull { hold: Duration::from_secs(15), ..Pull::from("held", 0, 0) };
        let at_leader = tokio::spawn(pull_with_time(client.clone(), leader.clone(), held.clone()));
        let at_other = tokio::spawn(pull_with_time(client.clone(), other.clone(), held));
        // A pull at another replica may be held there or at the leader.
        eventually(SOON, "both pulls are held", || async {
            let mut held = 0;
            for node in 0..NODES {
                held += held_at(cluster.admin(node)).await.map_err(|error| format!("{error:#}"))?;
            }
            claim(held >= 2, format!("{held} are held"))
        })
        .await?;
        let sent = Instant::now();
        client.send(&leader, &Message::new("held", 0, "wake").with("TAGS", "a")).await?;
        for held in [at_leader, at_other] {
            let (pulled, at) = held.await??;
            ensure!(pulled.messages.len() == 1 && pulled.next == 1, "{pulled:?}");
            ensure!(at - sent < Duration::from_secs(1), "woken after {:?}", at - sent);
        }

        // A message with another tag wakes nobody; at the end of its time the pull moves on behind it.
        let start = Instant::now();
        let hold = Duration::from_millis(1500);
        let picky = Pull { hold, subscription: Some("b"), ..Pull::from("held", 0, 1) };
        let waiting = tokio::spawn(pull_with_time(client.clone(), leader.clone(), picky));
        client.send(&leader, &Message::new("held", 0, "other").with("TAGS", "a")).await?;
        let (pulled, at) = waiting.await??;
        ensure!(pulled.messages.is_empty() && (1..=2).contains(&pulled.next), "{pulled:?}");
        ensure!(
            pulled.next == 1 || at - start >= Duration::from_millis(1400),
            "{pulled:?} after {:?}",
            at - start
        );

        // Nothing comes: the time is over, the offset stays.
        for address in [&leader, &other] {
            let start = Instant::now();
            let hold = Duration::from_millis(600);
            let pulled = client.pull(address, &Pull { hold, ..Pull::from("held", 0, 2) }).await?;
            ensure!((pulled.code, pulled.next) == (ResponseCode::PullNotFound, 2), "{pulled:?}");
            ensure!(start.elapsed() >= hold, "answered after {:?}", start.elapsed());
        }
        cluster.finish();
        Ok(())
    });
}

/// Pulls that a node holds.
async fn held_at(admin: u16) -> anyhow::Result<usize> {
    let metrics = admin::call(admin, "GET", "/metrics", "").await?.body;
    let line = metrics.lines().find(|line| line.starts_with("flotilla_long_polls_held"));
    let count = line.and_then(|line| line.rsplit(' ').next()).context("flotilla_long_polls_held")?;
    Ok(count.parse()?)
}

async fn pull_with_time(
    client: Client,
    address: String,
    pull: Pull<'static>,
) -> Result<(Pulled, Instant), Failure> {
    let pulled = client.pull(&address, &pull).await?;
    Ok((pulled, Instant::now()))
}

#[test]
fn offsets_bounds_times_and_ids_lead_to_the_messages() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "offsets", 2, 6).await?;
        let before = now_ms();
        for number in 0..5 {
            let sent = client.send(&leader, &Message::new("offsets", 0, format!("{number}"))).await?;
            ensure!(sent.offset == number, "{sent:?}");
            // The next message gets a later store time, also where the log's time is being slewed.
            let stored = now_ms();
            eventually(SOON, "the clock has moved on", || async move {
                claim(now_ms() > stored + 3, "it stands")
            })
            .await?;
        }
        cluster.settled().await?;
        let stored = client.read(&leader, "offsets", 0, 0).await?;
        // The log's time follows the clock closely, and never runs back.
        let times = (stored[0].store_time - before, now_ms() - stored[4].store_time);
        ensure!(times.0 > -100 && times.1 > -100, "store times are off by {times:?}");
        for address in [&leader, &other] {
            let bound = |code, queue| client.bound(code, address, "offsets", queue);
            ensure!(bound(RequestCode::GetMaxOffset, 0).await? == 5);
            ensure!(bound(RequestCode::GetMinOffset, 0).await? == 0);
            ensure!(bound(RequestCode::GetMaxOffset, 1).await? == 0);
            ensure!(client.max(address, "no-such-topic", 0).await? == 0);

            // Source: search by time with both boundaries, checked against RocketMQ 5.3.3.
            let times = |number: usize| stored[number].store_time;
            let cases = [
                (times(2), BoundaryType::Lower, 2),
                (times(2), BoundaryType::Upper, 2),
                (times(0) - 10_000, BoundaryType::Lower, 0),
                (times(4) + 10_000, BoundaryType::Lower, 5),
                (times(4) + 10_000, BoundaryType::Upper, 4),
            ];
            for (timestamp, boundary_type, expected) in cases {
                let header = SearchOffsetRequest { topic: "offsets", queue_id: 0, timestamp, boundary_type };
                let code = RequestCode::SearchOffsetByTimestamp;
                let answer = client.request(address, code, header.encode(), Bytes::new()).await?;
                let found = OffsetResponse::decode(&answer.header.ext)?.offset;
                ensure!(found == expected, "{boundary_type:?} of {timestamp}: {found}, not {expected}");
            }
            for (queue_id, expected) in [(0, times(0)), (1, -1)] {
                let ext = QueueRequest { topic: "offsets", queue_id }.encode();
                let code = RequestCode::GetEarliestMessageStoreTime;
                let answer = client.request(address, code, ext, Bytes::new()).await?;
                ensure!(TimestampResponse::decode(&answer.header.ext)?.timestamp == expected);
            }
            for message in &stored {
                let ext = ViewMessageRequest { offset: message.position, topic: Some("offsets") }.encode();
                let answer = client.request(address, RequestCode::ViewMessageById, ext, Bytes::new()).await?;
                let seen = decode(&answer.body)?;
                ensure!(seen.len() == 1 && seen[0].body == message.body, "{seen:?}");
            }
            let stats = TopicRequest { topic: "offsets" }.encode();
            let answer = client.request(address, RequestCode::GetTopicStatsInfo, stats, Bytes::new()).await?;
            let stats: bodies::TopicStatsTable = bodies::decode(&answer.body)?;
            let maxima: Vec<i64> = stats.offset_table.values().map(|offset| offset.max_offset).collect();
            ensure!(maxima == [5, 0], "{stats:?}");
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn committed_offsets_are_seen_at_once_by_every_replica() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "commits", 1, 6).await?;
        for number in 0..3 {
            client.send(&leader, &Message::new("commits", 0, format!("{number}"))).await?;
        }
        // A new group on a young topic starts at 0 when it asks so.
        let header = QueryConsumerOffsetRequest {
            consumer_group: "young",
            topic: "commits",
            queue_id: 0,
            set_zero_if_not_found: None,
        };
        let answer =
            client.request(&other, RequestCode::QueryConsumerOffset, header.encode(), Bytes::new()).await?;
        ensure!(OffsetResponse::decode(&answer.header.ext)?.offset == 0);

        let ways = [(&leader, 1), (&other, 3), (&leader, 2)];
        for (address, offset) in ways {
            client.commit(address, "g", "commits", 0, offset).await?;
            for asked in [&leader, &other] {
                let found = client.committed(asked, "g", "commits", 0).await?;
                ensure!(found == offset, "{found} at {asked} after {offset} was committed at {address}");
            }
        }
        // One-way, and along with a pull: at the latest when they are in the log.
        let header = UpdateConsumerOffsetRequest {
            consumer_group: "g",
            topic: "commits",
            queue_id: 0,
            commit_offset: 1,
        };
        client.oneway(&other, RequestCode::UpdateConsumerOffset, header.encode(), Bytes::new()).await?;
        offset_becomes(&client, &leader, 1).await?;
        client.pull(&other, &Pull { group: "g", commit: Some(3), ..Pull::from("commits", 0, 2) }).await?;
        offset_becomes(&client, &leader, 3).await?;
        // The next owner's question has the last one's commit logged first, at the first try.
        for offset in [1, 2] {
            let header = UpdateConsumerOffsetRequest { commit_offset: offset, ..header };
            client.oneway(&leader, RequestCode::UpdateConsumerOffset, header.encode(), Bytes::new()).await?;
            let found = client.committed(&leader, "g", "commits", 0).await?;
            ensure!(found == offset, "{found} right after {offset}");
        }
        cluster.finish();
        Ok(())
    });
}

async fn offset_becomes(client: &Client, address: &str, expected: i64) -> anyhow::Result<()> {
    eventually(SOON, "the offset is committed", || async {
        let found = client.committed(address, "g", "commits", 0).await.map_err(|error| error.to_string())?;
        claim(found == expected, format!("{found}"))
    })
    .await
}

#[test]
fn refused_reads_have_the_codes_of_rocketmq() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "refusals", 2, 6).await?;
        client.create_topic(&leader, "write-only", 2, 2).await?;
        for address in [&leader, &other] {
            reads_refused(&client, address).await.with_context(|| format!("reads at {address}"))?;
        }
        cluster.finish();
        Ok(())
    });
}

async fn reads_refused(client: &Client, address: &str) -> anyhow::Result<()> {
    let at_end = Pull::from("refusals", 0, 0);
    let cases = [
        (Pull::from("no-such-topic", 0, 0), ResponseCode::TopicNotExist),
        (Pull { queue: 2, ..at_end.clone() }, ResponseCode::InvalidParameter),
        (Pull { queue: -1, ..at_end.clone() }, ResponseCode::InvalidParameter),
        (Pull::from("write-only", 0, 0), ResponseCode::NoPermission),
        (Pull { group: "nobody", subscription: None, ..at_end }, ResponseCode::SubscriptionNotExist),
    ];
    for (pull, code) in cases {
        refused_with(client.pull(address, &pull).await, code).with_context(|| format!("{pull:?}"))?;
    }
    refused_with(client.consumers(address, "nobody").await, ResponseCode::SystemError)?;
    refused_with(client.committed(address, "nobody", "refusals", 0).await, ResponseCode::QueryNotFound)?;
    refused_with(client.commit(address, "g", "no-such-topic", 0, 1).await, ResponseCode::TopicNotExist)?;
    let ext = ViewMessageRequest { offset: 1, topic: None }.encode();
    let answer = client.request(address, RequestCode::ViewMessageById, ext, Bytes::new()).await;
    refused_with(answer, ResponseCode::SystemError)?;

    // SQL is refused while it is switched off, as it is by default, and TAG passes.
    for (kind, code) in [("SQL92", ResponseCode::SystemError), ("TAG", ResponseCode::Success)] {
        let check = bodies::CheckClientConfig {
            client_id: "c".to_owned(),
            group: "g".to_owned(),
            namespace: None,
            subscription_data: bodies::SubscriptionData {
                topic: "refusals".to_owned(),
                sub_string: "a > 1".to_owned(),
                expression_type: Some(kind.to_owned()),
                ..bodies::SubscriptionData::default()
            },
        };
        let frame = Frame::request(RequestCode::CheckClientConfig, ExtFields::new(), bodies::encode(&check));
        let answer = client.ask(address, frame, TIMEOUT).await?;
        ensure!(answer.header.response_code() == code, "{kind}: {:?}", answer.header);
    }
    Ok(())
}
