//! Sending and consuming through a group of three processes, at the leader and at the other replicas alike.
//!
//! Method: what a client of RocketMQ would see, code by code. Source of the expectations: the protocol notes on brokers
//! and clients, checked against RocketMQ 5.3.3.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::{BoundaryType, OffsetResponse, QueueRequest, TimestampResponse, key};
use flotilla_remoting::headers::{QueryConsumerOffsetRequest, UpdateConsumerOffsetRequest};
use flotilla_remoting::headers::{
    SearchOffsetRequest, SendMessageResponse, TopicRequest, ViewMessageRequest,
};
use flotilla_remoting::message::OffsetMessageId;
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode, bodies};
use support::admin;
use support::client::{TIMEOUT, now_ms, refused_with, send_header, succeeded};
use support::settings::NODES;
use support::stored::decode;
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(5);

/// A group, its client, and the addresses of the leader and of another replica.
async fn group() -> anyhow::Result<(Cluster, Client, [String; 2])> {
    let cluster = Cluster::start_with(&[]).await?;
    let leader = cluster.leader().await?;
    let addresses = [cluster.address(leader), cluster.address(cluster.other_than(&[leader]))];
    let client = cluster.client();
    Ok((cluster, client, addresses))
}

#[test]
fn every_kind_of_send_is_stored_where_its_answer_says() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = group().await?;
        client.create_topic(&leader, "sends", 2, 6).await?;

        let plain =
            Message { flag: 7, ..Message::new("sends", 0, "plain") }.with("TAGS", "red").with("KEYS", "k1");
        let first = client.send_as(RequestCode::SendMessage, &leader, &plain).await?;
        let second = client.send(&other, &Message::new("sends", 0, "forwarded")).await?;
        let batch: Vec<Message> = (0..3).map(|n| Message::new("sends", 0, format!("batch {n}"))).collect();
        let third = client.send_batch(&leader, &batch).await?;
        let fourth = client.send_batch(&other, &batch).await?;
        let offsets = [&first, &second, &third, &fourth].map(|sent| (sent.queue, sent.offset));
        ensure!(offsets == [(0, 0), (0, 1), (0, 2), (0, 5)], "{offsets:?}");

        let stored = client.read(&leader, "sends", 0, 0).await?;
        let texts: Vec<_> = stored.iter().map(|message| String::from_utf8_lossy(&message.body)).collect();
        let expected =
            ["plain", "forwarded", "batch 0", "batch 1", "batch 2", "batch 0", "batch 1", "batch 2"];
        ensure!(texts == expected, "{texts:?}");
        ensure!(
            (stored[0].flag, stored[0].property("TAGS"), stored[0].property("KEYS"))
                == (7, Some("red"), Some("k1"))
        );

        // The id of an answer is that of the record; a batch has the ids of all its records.
        let id: OffsetMessageId = first.id.parse()?;
        ensure!((id.physical_offset, id.host.to_string()) == (stored[0].position, leader.clone()), "{id:?}");
        let ids: Vec<String> = stored[5..8].iter().map(|message| message.id.to_string()).collect();
        ensure!(fourth.id == ids.join(","), "{} and {ids:?}", fourth.id);

        // A queue chosen by the broker, and a send without an answer.
        let chosen = client.send(&leader, &Message::new("sends", -1, "anywhere")).await?;
        ensure!((0..2).contains(&chosen.queue), "{chosen:?}");
        for address in [&leader, &other] {
            let before = client.max(&leader, "sends", 1).await?;
            let oneway = Message::new("sends", 1, "one-way");
            let ext = send_header(&oneway, false).encode_short();
            client.oneway(address, RequestCode::SendMessageV2, ext, oneway.body).await?;
            eventually(SOON, "the one-way message is there", || async {
                let max = client.max(&leader, "sends", 1).await.map_err(|error| error.to_string())?;
                claim(max == before + 1, format!("max {max} after {before}"))
            })
            .await?;
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_send_to_a_new_topic_makes_it_and_its_route_is_there_with_the_answer() {
    run(LIMIT, async {
        let (cluster, client, addresses) = group().await?;
        for (number, address) in addresses.iter().enumerate() {
            let topic = format!("new-{number}");
            refused_with(client.route(&topic).await, ResponseCode::TopicNotExist)?;
            let message = Message::new(&topic, 3, "first");
            let ext = send_header(&message, false).encode_short();
            let answer = client.request(address, RequestCode::SendMessageV2, ext, message.body).await?;
            // FAILOVER.md 21: who was told of success finds the topic.
            let route = client.route(&topic).await?;
            ensure!(
                (route.queue_datas[0].write_queue_nums, route.queue_datas[0].perm) == (4, 6),
                "{route:?}"
            );
            ensure!(route.broker_datas[0].broker_addrs.len() == 3, "{route:?}");
            ensure!(route.broker_datas[0].broker_addrs.get(&0) == Some(&addresses[0]), "{route:?}");

            // What Java reads from every send's answer.
            let header = SendMessageResponse::decode(&answer.header.ext)?;
            ensure!((header.queue_id, header.queue_offset) == (3, 0), "{header:?}");
            ensure!(header.transaction_id.is_some(), "{header:?}");
            ensure!(answer.header.ext.get(key::MESSAGE_REGION) == Some("DefaultRegion"));
            ensure!(answer.header.ext.get(key::TRACE_ON) == Some("true"));
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn refusals_have_the_codes_of_rocketmq_and_nothing_is_stored() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = group().await?;
        client.create_topic(&leader, "refusals", 2, 6).await?;
        client.create_topic(&leader, "write-only", 2, 2).await?;
        for address in [&leader, &other] {
            sends_refused(&client, address).await.with_context(|| format!("sends at {address}"))?;
            reads_refused(&client, address).await.with_context(|| format!("reads at {address}"))?;
        }
        for queue in 0..2 {
            ensure!(client.max(&leader, "refusals", queue).await? == 0, "something was stored in {queue}");
        }
        refused_with(client.route("no-template").await, ResponseCode::TopicNotExist)?;
        cluster.finish();
        Ok(())
    });
}

async fn sends_refused(client: &Client, address: &str) -> anyhow::Result<()> {
    let to = |topic: &str, queue| Message::new(topic, queue, "x");
    let large = Message::new("refusals", 0, vec![0; 4 * 1024 * 1024 + 1]);
    let wordy = Message { properties: "p".repeat(32_768), ..to("refusals", 0) };
    let untemplated = Message { default_topic: "no-such-template", ..to("no-template", 0) };
    let delayed = to("refusals", 0).with("DELAY", "3");
    let cases = [
        (to("not a topic", 0), ResponseCode::InvalidParameter),
        (to(&"t".repeat(128), 0), ResponseCode::InvalidParameter),
        (to("SCHEDULE_TOPIC_XXXX", 0), ResponseCode::NoPermission),
        (to("refusals", 2), ResponseCode::InvalidParameter),
        (untemplated, ResponseCode::TopicNotExist),
        (large, ResponseCode::MessageIllegal),
        (wordy, ResponseCode::MessageIllegal),
        // Delivered at once it would be wrong, so it is refused until there are timers.
        (delayed, ResponseCode::MessageIllegal),
    ];
    for (message, code) in cases {
        let what = format!("{} {} of {} bytes", message.topic, message.queue, message.body.len());
        refused_with(client.send(address, &message).await, code).context(what)?;
    }
    let message = to("refusals", 0);
    let broken = Bytes::from_static(b"\0\0\0\x60no batch");
    let ext = send_header(&message, true).encode_short();
    let answer = client.request(address, RequestCode::SendBatchMessage, ext, broken).await;
    refused_with(answer, ResponseCode::MessageIllegal)?;

    // A header without its topic, and a code that nobody knows.
    let ext = ExtFields::from_iter([("a", "tests")]);
    let answer = client.request(address, RequestCode::SendMessageV2, ext, Bytes::new()).await;
    refused_with(answer, ResponseCode::SystemError)?;
    for unknown in [12_345, RequestCode::ConsumeMessageDirectly.as_i32()] {
        let answer =
            client.request(address, RequestCode::from_i32(unknown), ExtFields::new(), Bytes::new()).await;
        let remark = refused_with(answer, ResponseCode::RequestCodeNotSupported)?;
        ensure!(remark.contains(&unknown.to_string()), "{remark}");
    }
    Ok(())
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

#[test]
fn pulls_find_filter_and_say_where_to_go_on() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = group().await?;
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
        let (cluster, client, [leader, other]) = group().await?;
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
) -> Result<(support::client::Pulled, Instant), Failure> {
    let pulled = client.pull(&address, &pull).await?;
    Ok((pulled, Instant::now()))
}

#[test]
fn offsets_bounds_times_and_ids_lead_to_the_messages() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = group().await?;
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
        let (cluster, client, [leader, other]) = group().await?;
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
fn topics_and_the_cluster_are_told_by_every_replica() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = group().await?;
        client.create_topic(&other, "told", 3, 6).await?;
        for address in [&leader, &other] {
            let code = RequestCode::GetTopicConfig;
            let ext = TopicRequest { topic: "told" }.encode();
            let answer = client.request(address, code, ext, Bytes::new()).await?;
            let config: bodies::TopicConfig = bodies::decode(&answer.body)?;
            ensure!(
                (config.read_queue_nums, config.write_queue_nums, config.perm) == (3, 3, 6),
                "{config:?}"
            );
            let ext = TopicRequest { topic: "not-told" }.encode();
            refused_with(
                client.request(address, code, ext, Bytes::new()).await,
                ResponseCode::TopicNotExist,
            )?;

            let frame = Frame::request(RequestCode::GetAllTopicConfig, ExtFields::new(), Bytes::new());
            let answer = succeeded(client.ask(address, frame, TIMEOUT).await?)?;
            let all: bodies::TopicConfigWrapper = bodies::decode(&answer.body)?;
            ensure!(
                all.topic_config_table.contains_key("told") && all.topic_config_table.contains_key("TBW102")
            );

            let frame = Frame::request(RequestCode::GetBrokerClusterInfo, ExtFields::new(), Bytes::new());
            let answer = succeeded(client.ask(address, frame, TIMEOUT).await?)?;
            let info: bodies::ClusterInfo = bodies::decode(&answer.body)?;
            let broker = info.broker_addr_table.get("broker-a").context("broker-a")?;
            ensure!(broker.broker_addrs.get(&0) == Some(&leader), "{info:?}");
        }
        // Changed at one, it is changed at all.
        client.create_topic(&leader, "told", 5, 4).await?;
        let route = client.route("told").await?;
        ensure!((route.queue_datas[0].read_queue_nums, route.queue_datas[0].perm) == (5, 4), "{route:?}");
        cluster.finish();
        Ok(())
    });
}
