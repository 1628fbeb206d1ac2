//! Messages that consumers can't deal with: sent back by code 36 or by the client's own send, tried again after growing delays, and
//! at last in the dead-letter topic, through a change of the leader.

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
    SubscriptionGroupConfig, TopicConfig,
};
use flotilla_remoting::headers::SendMessageRequest;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use support::exchange::{refused_with, send_header, sent};
use support::stored::Stored;
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
/// Longest wait for a retry. It only ends a test that hangs.
const SOON: Duration = Duration::from_secs(30);
const LEVELS: [(&str, &str); 1] = [("messageDelayLevel", "1s 1s 1s 1s 1s 1s")];

/// Makes a consumer group with its retry topic, as a consumer's first heartbeat does.
async fn join(client: &Client, address: &str, group: &str, topic: &str) -> anyhow::Result<()> {
    let subscription = |topic: &str| SubscriptionData {
        topic: topic.to_owned(),
        sub_string: "*".to_owned(),
        sub_version: 1,
        expression_type: Some("TAG".to_owned()),
        ..SubscriptionData::default()
    };
    let retry = format!("%RETRY%{group}");
    let data = HeartbeatData {
        client_id: "consumer".to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: group.to_owned(),
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::FirstOffset,
            unit_mode: false,
            subscription_data_set: vec![subscription(topic), subscription(&retry)],
        }],
        ..HeartbeatData::default()
    };
    client.heartbeat(address, &data).await?;
    eventually(SOON, "the retry topic is there", || topic_config(client, address, &retry)).await?;
    Ok(())
}

async fn topic_config(client: &Client, address: &str, topic: &str) -> Result<TopicConfig, Failure> {
    let ext = ExtFields::from_iter([("topic", topic)]);
    let answer = client.request(address, RequestCode::GetTopicConfig, ext, Bytes::new()).await?;
    bodies::decode(&answer.body).map_err(|error| Failure::Answer(error.to_string()))
}

/// Waits for the message with this number in queue 0 of a topic.
async fn arrives(client: &Client, address: &str, topic: &str, number: usize) -> anyhow::Result<Stored> {
    let what = format!("message {number} of {topic} is there");
    eventually(SOON, &what, || async {
        let mut messages = client.read(address, topic, 0, 0).await.map_err(|error| format!("{error:#}"))?;
        let count = messages.len();
        claim(count > number, format!("{count} messages"))?;
        Ok::<_, String>(messages.swap_remove(number))
    })
    .await
}

#[test]
fn a_message_that_is_sent_back_too_often_becomes_a_dead_letter() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&LEVELS).await?;
        let (client, mut leader) = (cluster.client(), cluster.leader().await?);
        let follower = cluster.address(cluster.other_than(&[leader]));
        client.create_topic(&cluster.address(leader), "orders", 1, 6).await?;
        join(&client, &cluster.address(leader), "g", "orders").await?;
        let message = Message::new("orders", 0, "body").with("TAGS", "a").with("KEYS", "k1 k2");
        let first = client.send(&cluster.address(leader), &message).await?;
        let original = arrives(&client, &cluster.address(leader), "orders", 0).await?;

        let mut position = original.position;
        for times in 1..=3_i32 {
            // Asked at a replica that does not lead; in between, another leader than the one that stored it.
            client.send_back(&follower, "g", position, 0, Some(3)).await?;
            let retried = arrives(&client, &follower, "%RETRY%g", usize::try_from(times)? - 1).await?;
            ensure!(retried.reconsume_times == times, "{retried:?}");
            ensure!(retried.body == original.body && retried.born_time == original.born_time);
            ensure!(retried.property("RETRY_TOPIC") == Some("orders"), "{retried:?}");
            ensure!(retried.property("ORIGIN_MESSAGE_ID") == Some(&first.id), "{retried:?}");
            ensure!(retried.property("DELAY") == Some(&(2 + times).to_string()), "{retried:?}");
            ensure!(retried.property("TAGS") == Some("a") && retried.property("KEYS") == Some("k1 k2"));
            ensure!(retried.property("UNIQ_KEY") == original.property("UNIQ_KEY"), "{retried:?}");
            position = retried.position;
            if times == 2 {
                cluster.kill(leader)?;
                let killed = leader;
                leader = cluster.leader().await?;
                cluster.restart(killed).await?;
            }
        }
        client.send_back(&follower, "g", position, 0, Some(3)).await?;
        let dead = arrives(&client, &follower, "%DLQ%g", 0).await?;
        ensure!(dead.reconsume_times == 4 && dead.body == original.body, "{dead:?}");
        ensure!(
            dead.property("DELAY") == Some("0") && dead.property("RETRY_TOPIC") == Some("orders"),
            "{dead:?}"
        );
        ensure!(dead.property("ORIGIN_MESSAGE_ID") == Some(&first.id), "{dead:?}");
        let config = topic_config(&client, &follower, "%DLQ%g").await?;
        ensure!((config.read_queue_nums, config.write_queue_nums, config.perm) == (1, 1, 6), "{config:?}");

        // A negative level wants no further try.
        client.send_back(&cluster.address(leader), "g", original.position, -1, None).await?;
        arrives(&client, &follower, "%DLQ%g", 1).await?;
        let metrics = admin::call(cluster.admin(leader), "GET", "/metrics", "").await?.body;
        let counted = metrics.lines().find(|line| line.starts_with("rocketmq_send_to_dlq_messages_total"));
        ensure!(counted.is_some_and(|line| line.ends_with(" 2")), "{counted:?}");
        let retries = client.read(&follower, "%RETRY%g", 0, 0).await?;
        ensure!(retries.len() == 3, "{retries:?}");
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn what_can_not_be_sent_back_is_refused_with_rocketmqs_codes() {
    run(LIMIT, async {
        let (cluster, client, [leader, follower]) = Cluster::with_client().await?;
        client.create_topic(&leader, "refusals", 1, 6).await?;
        join(&client, &leader, "g", "refusals").await?;
        client.send(&leader, &Message::new("refusals", 0, "x")).await?;
        let message = arrives(&client, &leader, "refusals", 0).await?;
        for address in [&leader, &follower] {
            let answer = client.send_back(address, "no group", message.position, 0, None).await;
            let remark = refused_with(answer, ResponseCode::SubscriptionGroupNotExist)?;
            ensure!(remark.contains("no group"), "{remark}");
            // Consumers send back before their first heartbeat, too.
            client
                .send_back(
                    address,
                    &format!("early-{address}").replace([':', '.'], "-"),
                    message.position,
                    0,
                    None,
                )
                .await?;
            for offset in [message.position + 1, 1 << 40, -1] {
                let answer = client.send_back(address, "g", offset, 0, None).await;
                let remark = refused_with(answer, ResponseCode::SystemError)?;
                ensure!(remark == format!("look message by offset failed, {offset}"), "{remark}");
            }
        }
        cluster.finish();
        Ok(())
    });
}

async fn put_group(
    client: &Client,
    address: &str,
    group: &str,
    retry_queues: i32,
    times: i32,
) -> anyhow::Result<()> {
    let config = SubscriptionGroupConfig {
        group_name: group.to_owned(),
        retry_queue_nums: retry_queues,
        retry_max_times: times,
        ..SubscriptionGroupConfig::default()
    };
    let code = RequestCode::UpdateAndCreateSubscriptionGroup;
    client.request(address, code, ExtFields::new(), bodies::encode(&config)).await?;
    Ok(())
}

#[test]
fn a_groups_own_settings_decide_about_its_retries() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&LEVELS).await?;
        let (client, leader) = (cluster.client(), cluster.leader().await?);
        let leader = cluster.address(leader);
        client.create_topic(&leader, "orders", 1, 6).await?;
        client.send(&leader, &Message::new("orders", 0, "x")).await?;
        let message = arrives(&client, &leader, "orders", 0).await?;

        // No queues for retries: the message counts as consumed, and nothing is made or stored.
        put_group(&client, &leader, "none", 0, 16).await?;
        client.send_back(&leader, "none", message.position, 0, None).await?;
        let missing = topic_config(&client, &leader, "%RETRY%none").await;
        refused_with(missing, ResponseCode::TopicNotExist)?;

        // No tries: a dead letter at once, unless the client asks for more.
        put_group(&client, &leader, "strict", 1, 0).await?;
        client.send_back(&leader, "strict", message.position, 0, None).await?;
        arrives(&client, &leader, "%DLQ%strict", 0).await?;
        client.send_back(&leader, "strict", message.position, 0, Some(1)).await?;
        arrives(&client, &leader, "%RETRY%strict", 0).await?;

        // A retry topic that nobody may write takes nothing.
        client.create_topic(&leader, "%RETRY%closed", 1, 4).await?;
        put_group(&client, &leader, "closed", 1, 16).await?;
        let answer = client.send_back(&leader, "closed", message.position, 0, None).await;
        refused_with(answer, ResponseCode::NoPermission)?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// The client's own send to its retry topic, on which it falls back when code 36 fails.
#[test]
fn a_consumers_own_send_to_its_retry_topic_waits_or_becomes_a_dead_letter() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&LEVELS).await?;
        let (client, leader) = (cluster.client(), cluster.leader().await?);
        let (leader, follower) = (cluster.address(leader), cluster.address(cluster.other_than(&[leader])));
        client.create_topic(&leader, "orders", 1, 6).await?;
        join(&client, &leader, "g", "orders").await?;
        let send = async |group: &str, times: i32, times_max: Option<i32>| {
            let message = Message::new(&format!("%RETRY%{group}"), 0, format!("try {times}"))
                .with("RETRY_TOPIC", "orders")
                .with("DELAY", &(2 + times).to_string());
            let header = SendMessageRequest {
                reconsume_times: Some(times),
                max_reconsume_times: times_max,
                ..send_header(&message, false)
            };
            let (code, ext) = (RequestCode::SendMessageV2, header.encode_short());
            sent(&client.request(&follower, code, ext, message.body.clone()).await?)
        };
        // The client has counted this try, so the last one is as many as the maximum.
        let waiting = send("g", 2, Some(2)).await?;
        let dead = send("g", 3, Some(2)).await?;
        ensure!((waiting.queue, dead.queue) == (0, 0), "{waiting:?} {dead:?}");
        let retried = arrives(&client, &leader, "%RETRY%g", 0).await?;
        ensure!(retried.reconsume_times == 2 && retried.property("DELAY") == Some("4"), "{retried:?}");
        let letter = arrives(&client, &leader, "%DLQ%g", 0).await?;
        ensure!(letter.reconsume_times == 3 && letter.offset == dead.offset, "{letter:?}");
        ensure!(letter.property("DELAY") == Some("-1"), "{letter:?}");
        send("early", 1, None).await.context("a group that nobody has announced yet")?;
        // Without a number of its own the group's counts: 16.
        send("g", 17, None).await.context("one more than the group allows")?;
        arrives(&client, &leader, "%DLQ%g", 1).await?;
        // A group that holds a queue lock consumes in order: what it can't deal with may not come back behind the others.
        ensure!(client.lock(&follower, "g", "c1", "orders", &[0]).await? == [0]);
        send("g", 1, None).await.context("the first try, in order")?;
        let letter = arrives(&client, &leader, "%DLQ%g", 2).await?;
        ensure!(letter.reconsume_times == 1, "{letter:?}");
        client.unlock(&leader, "g", "c1", "orders", &[0]).await?;
        send("g", 1, None).await?;
        arrives(&client, &leader, "%RETRY%g", 1).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
