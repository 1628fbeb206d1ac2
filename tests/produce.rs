//! Sending through a group of three processes, at the leader and at the other replicas alike.
//!
//! Method: what a producer of RocketMQ would see, code by code. Source of the expectations: the protocol notes on brokers
//! and clients, checked against RocketMQ 5.3.3.

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::{SendMessageResponse, TopicRequest, key};
use flotilla_remoting::message::OffsetMessageId;
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode, bodies};
use support::client::TIMEOUT;
use support::exchange::{refused_with, send_header, succeeded};
use support::wait::claim;
use support::{Client, Cluster, Message, eventually, run};

const LIMIT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(5);

#[test]
fn every_kind_of_send_is_stored_where_its_answer_says() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
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
        let (cluster, client, addresses) = Cluster::with_client().await?;
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
fn refused_sends_have_the_codes_of_rocketmq_and_store_nothing() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "refusals", 2, 6).await?;
        for address in [&leader, &other] {
            sends_refused(&client, address).await.with_context(|| format!("sends at {address}"))?;
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
    let timed = to("refusals", 0).with("TIMER_DELAY_SEC", "3");
    let misspelt = to("refusals", 0).with("DELAY", "soon");
    let cases = [
        (to("not a topic", 0), ResponseCode::InvalidParameter),
        (to(&"t".repeat(128), 0), ResponseCode::InvalidParameter),
        (to("SCHEDULE_TOPIC_XXXX", 0), ResponseCode::NoPermission),
        (to("refusals", 2), ResponseCode::InvalidParameter),
        (untemplated, ResponseCode::TopicNotExist),
        (large, ResponseCode::MessageIllegal),
        (wordy, ResponseCode::MessageIllegal),
        // Delivered at once it would be wrong, so it is refused until there are timers.
        (timed, ResponseCode::MessageIllegal),
        (misspelt, ResponseCode::SystemError),
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
    for unknown in [12_345, RequestCode::PushReplyMessageToClient.as_i32()] {
        let answer =
            client.request(address, RequestCode::from_i32(unknown), ExtFields::new(), Bytes::new()).await;
        let remark = refused_with(answer, ResponseCode::RequestCodeNotSupported)?;
        ensure!(remark.contains(&unknown.to_string()), "{remark}");
    }
    Ok(())
}

#[test]
fn topics_and_the_cluster_are_told_by_every_replica() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
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
