//! What tools ask a broker for its figures: runtime info (28) as mqadmin clusterList and the exporter read it, and broker
//! statistics (315) as statsAll and the dashboard read them.
//!
//! Method: the same parsing, step by step, so that a text which stops one of them stops this suite. Source: RocketMQ 5.5
//! ClusterListSubCommand, StatsAllSubCommand; rocketmq-exporter BrokerRuntimeStats; rocketmq-dashboard DashboardCollectTask.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{self, BrokerStatsData, ConsumerData, HeartbeatData, KvTable, ProducerData};
use flotilla_remoting::headers::ViewBrokerStatsDataRequest;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use support::exchange::refused_with;
use support::settings::{CLUSTER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
/// A window of the last minute is sampled every 10 s.
const SAMPLED: Duration = Duration::from_secs(40);

async fn runtime_info(client: &Client, address: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let code = RequestCode::GetBrokerRuntimeInfo;
    let answer = client.request(address, code, ExtFields::new(), Bytes::new()).await?;
    let table: KvTable = bodies::decode(&answer.body)?;
    Ok(table.table)
}

async fn stats(client: &Client, address: &str, name: &str, key: &str) -> Result<BrokerStatsData, Failure> {
    let ext = ViewBrokerStatsDataRequest { stats_name: name, stats_key: key }.encode();
    let answer = client.request(address, RequestCode::ViewBrokerStatsData, ext, Bytes::new()).await?;
    bodies::decode(&answer.body).map_err(|error| Failure::Answer(error.to_string()))
}

/// A value as Java's `Map.get` gives it to code that does not ask for null.
fn get<'a>(table: &'a BTreeMap<String, String>, key: &str) -> anyhow::Result<&'a str> {
    table.get(key).map(String::as_str).with_context(|| format!("{key} is missing"))
}

fn number<N: std::str::FromStr>(table: &BTreeMap<String, String>, key: &str) -> anyhow::Result<N> {
    let text = get(table, key)?;
    text.parse().ok().with_context(|| format!("{key} is no number: {text:?}"))
}

/// `String.split(" ")`: trailing empty parts are dropped.
fn split(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(' ').collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

fn rates(table: &BTreeMap<String, String>, key: &str) -> anyhow::Result<Vec<f64>> {
    let parts = split(get(table, key)?);
    parts
        .into_iter()
        .map(|part| part.parse::<f64>().ok().filter(|rate| rate.is_finite()))
        .collect::<Option<_>>()
        .with_context(|| format!("{key}: {:?}", table.get(key)))
}

/// Parses as the cluster list of tools 4.9 and 5.x does.
fn read_as_cluster_list(table: &BTreeMap<String, String>) -> anyhow::Result<()> {
    ensure!(matches!(get(table, "brokerActive")?, "true" | "false"));
    ensure!(get(table, "brokerVersionDesc")?.starts_with('V'));
    for key in ["putTps", "getTransferredTps", "getTransferedTps"] {
        rates(table, key)?;
    }
    for key in [
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize",
        "ackThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "pageCacheLockTimeMills",
        "earliestMessageTimeStamp",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
    ] {
        number::<i64>(table, key)?;
    }
    for key in ["timerEnqueueTps", "timerDequeueTps"] {
        number::<f32>(table, key)?;
    }
    let space: f64 = number(table, "commitLogDiskRatio")?;
    ensure!((0.0..=1.0).contains(&space), "{space}");
    for what in ["Put", "Get"] {
        let [yesterday, today, now] = ["YesterdayMorning", "TodayMorning", "TodayNow"]
            .map(|when| number::<i64>(table, &format!("msg{what}Total{when}")));
        let (yesterday, today, now) = (yesterday?, today?, now?);
        ensure!(yesterday <= today && today <= now, "{what}: {yesterday} {today} {now}");
    }
    Ok(())
}

/// Parses as the exporter does.
fn read_as_exporter(table: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for key in ["putTps", "getMissTps", "getTransferredTps", "getTotalTps", "getFoundTps"] {
        rates(table, key)?;
    }
    for part in get(table, "putMessageDistributeTime")?.split(' ').filter(|part| !part.is_empty()) {
        let (name, count) = part.split_once(':').with_context(|| format!("{part:?}"))?;
        ensure!(name.starts_with('[') && name.ends_with(']') && count.parse::<i32>().is_ok(), "{part:?}");
    }
    // "Total : 1.0 TiB, Free : 900 GiB."
    let capacity: Vec<&str> = get(table, "commitLogDirCapacity")?.split(' ').collect();
    ensure!(capacity.len() == 8, "{capacity:?}");
    ensure!(capacity[2].parse::<f64>().is_ok() && capacity[6].parse::<f64>().is_ok(), "{capacity:?}");
    let flush = get(table, "remainHowManyDataToFlush")?.split(' ').next().unwrap_or_default();
    ensure!(flush.parse::<f64>().is_ok(), "{flush:?}");
    for key in [
        "queryThreadPoolQueueHeadWaitTimeMills",
        "queryThreadPoolQueueSize",
        "queryThreadPoolQueueCapacity",
        "sendThreadPoolQueueCapacity",
        "pullThreadPoolQueueCapacity",
        "bootTimestamp",
        "commitLogMinOffset",
        "commitLogMaxOffset",
        "dispatchMaxBuffer",
        "dispatchBehindBytes",
        "getMessageEntireTimeMax",
        "putMessageEntireTimeMax",
        "putMessageTimesTotal",
        "putMessageFailedTimes",
        "putMessageSizeTotal",
        "remainTransientStoreBufferNumbs",
        "startAcceptSendRequestTimeStamp",
    ] {
        number::<i64>(table, key)?;
    }
    number::<i32>(table, "brokerVersion")?;
    for key in ["consumeQueueDiskRatio", "putMessageAverageSize", "putLatency99", "putLatency999"] {
        ensure!(number::<f64>(table, key)?.is_finite(), "{key}");
    }
    for (key, value) in table.iter().filter(|(key, _)| key.starts_with("scheduleMessageOffset")) {
        let parts: Vec<&str> = value.split(',').collect();
        ensure!(parts.len() == 2 && parts.iter().all(|part| part.parse::<i64>().is_ok()), "{key}={value}");
    }
    ensure!(get(table, "runtime")?.ends_with(" seconds ]"));
    Ok(())
}

#[test]
fn figures_count_what_was_stored_and_read_and_every_tool_can_parse_them() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "counted", 2, 6).await?;
        for address in [&leader, &other] {
            let table = runtime_info(&client, address).await?;
            read_as_cluster_list(&table).context("before the first message, as clusterList")?;
            read_as_exporter(&table).context("before the first message, as the exporter")?;
        }
        refused_with(stats(&client, &leader, "TOPIC_PUT_NUMS", "counted").await, ResponseCode::SystemError)?;

        // 60 one by one at the leader, 40 through a follower, all in queue 0; five of them in one batch.
        for number in 0..60 {
            client.send(&leader, &Message::new("counted", 0, format!("direct {number}"))).await?;
        }
        for number in 0..35 {
            client.send(&other, &Message::new("counted", 0, format!("forwarded {number}"))).await?;
        }
        let batch: Vec<Message> =
            (0..5).map(|number| Message::new("counted", 0, format!("batch {number}"))).collect();
        client.send_batch(&leader, &batch).await?;
        let stored = client.read(&leader, "counted", 0, 0).await?;
        ensure!(stored.len() == 100, "{}", stored.len());
        let pull = Pull { messages_max: 7, ..Pull::from("counted", 0, 0) };
        ensure!(client.pull(&other, &pull).await?.messages.len() == 7);

        let table = runtime_info(&client, &leader).await?;
        ensure!(number::<u64>(&table, "putMessageTimesTotal")? == 100);
        ensure!(number::<u64>(&table, "msgPutTotalTodayNow")? == 100);
        ensure!(number::<u64>(&table, "msgGetTotalTodayNow")? == 100);
        ensure!(number::<u64>(&table, "putMessageSizeTotal")? > 100 * 91);
        ensure!(get(&table, "brokerActive")? == "true");
        let follower = runtime_info(&client, &other).await?;
        ensure!(number::<u64>(&follower, "msgPutTotalTodayNow")? == 0, "puts are the leader's");
        ensure!(number::<u64>(&follower, "msgGetTotalTodayNow")? == 7, "reads are whose they are");
        ensure!(get(&follower, "brokerActive")? == "false");

        let shown = eventually(SAMPLED, "the minute is sampled", || async {
            let shown = stats(&client, &leader, "TOPIC_PUT_NUMS", "counted").await;
            let shown = shown.map_err(|error| error.to_string())?;
            claim(shown.stats_minute.sum == 100, format!("{shown:?}")).map(|()| shown)
        })
        .await?;
        ensure!(shown.stats_minute.tps > 0.0, "{shown:?}");
        let expected = [
            ("BROKER_PUT_NUMS", CLUSTER, 100),
            ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", CLUSTER, 100),
            ("BROKER_GET_NUMS", CLUSTER, 100),
            ("QUEUE_PUT_NUMS", "counted@0", 100),
            ("GROUP_GET_NUMS", "counted@reader", 100),
            ("QUEUE_GET_NUMS", "counted@0@reader", 100),
        ];
        for (name, key, sum) in expected {
            let minute = stats(&client, &leader, name, key).await?.stats_minute;
            ensure!(minute.sum == sum && minute.tps > 0.0, "{name} {key}: {minute:?}");
        }
        let sizes = stats(&client, &leader, "TOPIC_PUT_SIZE", "counted").await?.stats_minute;
        ensure!(sizes.avgpt > 91.0 && sizes.sum > 9100, "{sizes:?}");
        for (name, key) in [("TOPIC_PUT_LATENCY", "0@counted"), ("GROUP_GET_LATENCY", "0@counted@reader")] {
            stats(&client, &leader, name, key).await.with_context(|| name)?;
        }
        let served = eventually(SAMPLED, "the follower's minute is sampled", || async {
            let served = stats(&client, &other, "GROUP_GET_NUMS", "counted@reader").await;
            let served = served.map_err(|error| error.to_string())?;
            claim(served.stats_minute.sum == 7, format!("{served:?}"))
        });
        served.await?;
        for (name, key) in
            [("TOPIC_PUT_NUMS", "counted"), ("QUEUE_PUT_NUMS", "counted@1"), ("NO_SUCH_NAME", "x")]
        {
            refused_with(stats(&client, &other, name, key).await, ResponseCode::SystemError)?;
        }

        // A rate over ten seconds is there now, and everything still parses.
        let table = eventually(SAMPLED, "a rate over ten seconds", || async {
            let table = runtime_info(&client, &leader).await.map_err(|error| format!("{error:#}"))?;
            let known = rates(&table, "putTps").map_err(|error| format!("{error:#}"))?;
            claim(!known.is_empty(), format!("{known:?}")).map(|()| table)
        })
        .await?;
        read_as_cluster_list(&table)?;
        read_as_exporter(&table)?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn dead_letters_heartbeats_and_connections_have_statistics() {
    run(LIMIT, async {
        let (cluster, client, [leader, _]) = Cluster::with_client().await?;
        client.create_topic(&leader, "orders", 1, 6).await?;
        let heartbeat = HeartbeatData {
            client_id: "producer".to_owned(),
            producer_data_set: vec![ProducerData { group_name: "makers".to_owned() }],
            consumer_data_set: vec![ConsumerData { group_name: "g".to_owned(), ..ConsumerData::default() }],
            ..HeartbeatData::default()
        };
        client.heartbeat(&leader, &heartbeat).await?;
        client.send(&leader, &Message::new("orders", 0, "body")).await?;
        let stored = client.read(&leader, "orders", 0, 0).await?.swap_remove(0);
        // A negative level wants no further try.
        client.send_back(&leader, "g", stored.position, -1, None).await?;
        for (name, key) in [
            ("DLQ_PUT_NUMS", "orders@g"),
            ("SNDBCK2DLQ_TIMES", "null@orders@g@SEND_BACK_TO_DLQ"),
            ("SNDBCK_PUT_NUMS", "orders@g"),
        ] {
            eventually(SAMPLED, name, || async {
                let shown = stats(&client, &leader, name, key).await.map_err(|error| error.to_string())?;
                claim(shown.stats_minute.sum == 1, format!("{shown:?}"))
            })
            .await?;
        }
        for (name, key) in [
            ("CHANNEL_ACTIVITY", "CONNECT"),
            ("CONSUMER_REGISTER_TIME", CLUSTER),
            ("PRODUCER_REGISTER_TIME", CLUSTER),
        ] {
            stats(&client, &leader, name, key).await.with_context(|| name)?;
        }
        refused_with(stats(&client, &leader, "GROUP_ACK_NUMS", "orders@g").await, ResponseCode::SystemError)?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn after_a_change_of_leaders_the_replicas_totals_add_up_to_what_was_stored() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "both", 1, 6).await?;
        for number in 0..20 {
            client.send(&leader, &Message::new("both", 0, format!("first {number}"))).await?;
        }
        let (from, to) = (cluster.node_at(&leader)?, cluster.node_at(&other)?);
        let (status, body) = cluster.transfer(from, to).await?;
        ensure!(matches!(status, 200 | 202), "{status}: {body}");
        ensure!(cluster.leader().await? == to);
        for number in 0..10 {
            client.send(&leader, &Message::new("both", 0, format!("second {number}"))).await?;
        }
        let mut totals = Vec::new();
        for node in 0..NODES {
            let table = runtime_info(&client, &cluster.address(node)).await?;
            read_as_cluster_list(&table).with_context(|| format!("n{node}"))?;
            totals.push(number::<u64>(&table, "putMessageTimesTotal")?);
        }
        ensure!((totals[from], totals[to]) == (20, 10), "each counts what it stored as leader: {totals:?}");
        ensure!(totals.iter().sum::<u64>() == 30, "{totals:?}");
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_deleted_topic_takes_its_statistics_along_and_totals_stay() {
    run(LIMIT, async {
        let (cluster, client, [leader, _]) = Cluster::with_client().await?;
        client.create_topic(&leader, "gone", 1, 6).await?;
        // A delayed message is stored in a system topic first, which counts apart.
        client.send(&leader, &Message::new("gone", 0, "later").with("DELAY", "18")).await?;
        for number in 0..10 {
            client.send(&leader, &Message::new("gone", 0, format!("{number}"))).await?;
        }
        eventually(SAMPLED, "the topic has statistics", || async {
            stats(&client, &leader, "TOPIC_PUT_NUMS", "gone").await.map(drop)
        })
        .await?;
        let ext = flotilla_remoting::headers::TopicRequest { topic: "gone" }.encode();
        client.request(&leader, RequestCode::DeleteTopicInBroker, ext, Bytes::new()).await?;
        eventually(SAMPLED, "they are gone", || async {
            let shown = stats(&client, &leader, "TOPIC_PUT_NUMS", "gone").await;
            claim(shown.is_err(), format!("{shown:?}"))
        })
        .await?;
        let table = runtime_info(&client, &leader).await?;
        ensure!(number::<u64>(&table, "msgPutTotalTodayNow")? == 10);
        ensure!(number::<u64>(&table, "putMessageTimesTotal")? == 11);
        ensure!(get(&table, "scheduleMessageOffset_18")? == "0,1");
        read_as_exporter(&table)?;
        cluster.finish();
        Ok(())
    });
}
