//! Who belongs to a consumer group, through a change of the leader: complete lists, subscriptions that stay
//! (FAILOVER.md 1 and 17).

mod support;

use std::time::{Duration, Instant};

use anyhow::ensure;
use flotilla_remoting::RequestCode;
use flotilla_remoting::bodies::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use support::exchange::Pulled;
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);

/// A push consumer's heartbeat, as Java sends it to every replica.
fn heartbeat(client_id: &str, group: &str, topic: &str, tags: &str) -> HeartbeatData {
    let subscription = |topic: &str, tags: &str| SubscriptionData {
        topic: topic.to_owned(),
        sub_string: tags.to_owned(),
        tags_set: if tags == "*" { Vec::new() } else { vec![tags.to_owned()] },
        sub_version: 1,
        expression_type: Some("TAG".to_owned()),
        ..SubscriptionData::default()
    };
    HeartbeatData {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData { group_name: "CLIENT_INNER_PRODUCER".to_owned() }],
        consumer_data_set: vec![ConsumerData {
            group_name: group.to_owned(),
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::FirstOffset,
            unit_mode: false,
            subscription_data_set: vec![
                subscription(topic, tags),
                subscription(&format!("%RETRY%{group}"), "*"),
            ],
        }],
        ..HeartbeatData::default()
    }
}

/// A consumer: its connections and its name.
struct Consumer {
    client: Client,
    id: String,
}

impl Consumer {
    /// Introduces itself to these replicas.
    async fn join(
        cluster: &Cluster,
        id: &str,
        nodes: &[usize],
        group: &str,
        topic: &str,
    ) -> anyhow::Result<Consumer> {
        let consumer = Consumer { client: cluster.client(), id: id.to_owned() };
        for node in nodes {
            consumer.client.heartbeat(&cluster.address(*node), &heartbeat(id, group, topic, "*")).await?;
        }
        Ok(consumer)
    }
}

#[test]
fn the_consumer_list_is_complete_right_after_a_fail_over() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let survivors: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "members", 4, 6).await?;

        let everywhere: Vec<usize> = (0..NODES).collect();
        let mut consumers = Vec::new();
        for id in ["c1", "c2", "c3"] {
            consumers.push(Consumer::join(&cluster, id, &everywhere, "list", "members").await?);
        }
        // One that the leader alone has heard of by itself: its join is in the log all the same.
        consumers.push(Consumer::join(&cluster, "c4", &[leader], "list", "members").await?);
        let mut expected = vec!["c1".to_owned(), "c2".into(), "c3".into(), "c4".into()];
        for node in 0..NODES {
            list_becomes(&consumers[0].client, &cluster.address(node), "list", &expected).await?;
        }

        // Asked without pause all through the change: errors are allowed, an incomplete list is not.
        cluster.kill(leader)?;
        let killed = Instant::now();
        let mut answers = 0;
        while answers < 20 || killed.elapsed() < Duration::from_secs(3) {
            ensure!(killed.elapsed() < PHASE, "{answers} answers after {PHASE:?}");
            for consumer in &consumers[..3] {
                for node in &survivors {
                    match consumer.client.consumers(&cluster.address(*node), "list").await {
                        Ok(list) => {
                            ensure!(list == expected, "after {:?}: {list:?}", killed.elapsed());
                            answers += 1;
                        }
                        Err(Failure::Refused { code: 1, .. }) => {}
                        Err(other) => anyhow::bail!("{} at n{node}: {other}", consumer.id),
                    }
                }
            }
        }

        // A newcomer that one replica knows is in the very first list that it gets.
        let newcomer = Consumer::join(&cluster, "c5", &survivors[..1], "list", "members").await?;
        expected.push("c5".to_owned());
        for node in [survivors[0], survivors[1], survivors[0]] {
            match newcomer.client.consumers(&cluster.address(node), "list").await {
                Ok(list) if node == survivors[0] => ensure!(list == expected, "{list:?}"),
                Ok(_) | Err(Failure::Refused { code: 1, .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }

        // Goodbyes are known everywhere at once, and the others are told.
        let told = consumers[0].client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
        newcomer.client.leave(&cluster.address(survivors[0]), "c5", "list").await?;
        expected.pop();
        for node in &survivors {
            list_becomes(&consumers[0].client, &cluster.address(*node), "list", &expected).await?;
        }
        eventually(SOON, "a member is told of the change", || async {
            let now = consumers[0].client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
            claim(now > told, format!("{now} notices"))
        })
        .await?;
        cluster.finish();
        Ok(())
    });
}

async fn list_becomes(
    client: &Client,
    address: &str,
    group: &str,
    expected: &[String],
) -> anyhow::Result<()> {
    eventually(SOON, &format!("{address} lists {expected:?}"), || async {
        let list = client.consumers(address, group).await.map_err(|error| error.to_string())?;
        claim(list == expected, format!("{list:?}"))
    })
    .await
}

#[test]
fn subscriptions_of_a_group_outlive_the_leader_that_heard_them() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let client = cluster.client();
        client.create_topic(&cluster.address(leader), "subscribed", 1, 6).await?;
        for (number, tag) in ["a", "b", "a"].iter().enumerate() {
            let message = Message::new("subscribed", 0, format!("{number}")).with("TAGS", tag);
            client.send(&cluster.address(leader), &message).await?;
        }
        client.heartbeat(&cluster.address(leader), &heartbeat("c1", "tagged", "subscribed", "a")).await?;
        let pull = Pull { group: "tagged", subscription: None, ..Pull::from("subscribed", 0, 0) };
        let at_leader = subscribed(&client, &cluster.address(leader), &pull).await?;
        ensure!(offsets(&at_leader) == [0, 2], "{at_leader:?}");
        client.commit(&cluster.address(leader), "tagged", "subscribed", 0, 2).await?;

        cluster.kill(leader)?;
        let successor = cluster.leader().await?;
        let at_successor = client.pull(&cluster.address(successor), &pull).await?;
        ensure!(offsets(&at_successor) == [0, 2], "{at_successor:?}");
        let committed = client.committed(&cluster.address(successor), "tagged", "subscribed", 0).await?;
        ensure!(committed == 2, "offset {committed} after the fail-over");
        cluster.finish();
        Ok(())
    });
}

fn offsets(pulled: &Pulled) -> Vec<i64> {
    pulled.messages.iter().map(|message| message.offset).collect()
}

/// Pulls until the group's subscription is known.
async fn subscribed(client: &Client, address: &str, pull: &Pull<'_>) -> anyhow::Result<Pulled> {
    eventually(SOON, "the heartbeat's subscription is known", || client.pull(address, pull)).await
}
