//! What clients need around a leader change: complete consumer lists, no rewinds, a route with id 0 at all times, entries
//! handed over, terms that fence deposed leaders (FAILOVER.md 1 to 5).

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, ConsumeFromWhere, ConsumeType, ConsumerData, DataVersion, HeartbeatData, MessageModel,
    ProducerData, RegisterBrokerBody, SubscriptionData, TopicConfig, TopicConfigWrapper,
};
use flotilla_remoting::headers::{BrokerRequest, RegisterBrokerRequest};
use flotilla_remoting::{RequestCode, ResponseCode};
use support::client::Pulled;
use support::settings::{BROKER, CLUSTER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Load, Message, Plan, Pull, Reader, eventually, run};

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

/// Consumers read all through kills and transfers, each pull at another replica. Routes are asked for without pause.
#[test]
fn leader_changes_move_no_consumer_back_and_the_route_keeps_its_leader() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "changes", 2, 6).await?;
        let addresses: Vec<String> = (0..NODES).map(|node| cluster.address(node)).collect();
        let readers: Vec<Reader> =
            (0..2).map(|queue| Reader::start(&cluster.client(), "changes", queue, &addresses)).collect();
        let routes = Routes::watch(&cluster, "changes");
        let load = Load::start(&client, Plan { producers: 4, ..Plan::new("changes", 2) }).await?;
        load.more(200, PHASE).await?;

        cluster.kill(leader)?;
        load.more(200, PHASE).await?;
        cluster.restart(leader).await?;
        leader = cluster.leader().await?;
        for _ in 0..2 {
            let to = cluster.other_than(&[leader]);
            let (status, body) = cluster.transfer(leader, to).await?;
            ensure!(status == 200, "{status} {body}");
            leader = cluster.leader().await?;
            ensure!(leader == to);
            load.more(100, PHASE).await?;
        }
        let history = load.stop().await;
        cluster.settled().await?;
        for (queue, reader) in (0..).zip(readers) {
            let seen = reader.stop().await?;
            ensure!(seen.wrong.is_empty(), "queue {queue} was moved: {:#?}", seen.wrong);
            let max = client.max(&cluster.address(leader), "changes", queue).await?;
            ensure!(
                seen.messages.len() as i64 == max,
                "{} of {max} consumed in {queue}",
                seen.messages.len()
            );
            ensure!(seen.found > 0 && seen.empty > 0);
        }
        let routes = routes.stop().await?;
        ensure!(routes.wrong.is_empty(), "of {} routes: {:#?}", routes.count, routes.wrong);
        ensure!(routes.count > 100, "only {} routes", routes.count);
        history.check_everywhere(&cluster, &client).await?;
        cluster.finish();
        Ok(())
    });
}

/// Asks for a route without pause and notes those that a client could not work with.
struct Routes {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<RoutesSeen>,
}

#[derive(Default)]
struct RoutesSeen {
    count: usize,
    wrong: Vec<String>,
}

impl Routes {
    fn watch(cluster: &Cluster, topic: &'static str) -> Routes {
        let (client, stop) = (cluster.client(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut seen = RoutesSeen::default();
            while !stopped.load(Ordering::SeqCst) {
                match client.route(topic).await {
                    Ok(route) => {
                        seen.count += 1;
                        let addresses = route.broker_datas.first().map(|data| &data.broker_addrs);
                        let mut distinct: Vec<&String> =
                            addresses.into_iter().flat_map(BTreeMap::values).collect();
                        distinct.sort();
                        distinct.dedup();
                        let fine = addresses.is_some_and(|addresses| {
                            addresses.contains_key(&0) && addresses.len() == distinct.len()
                        });
                        let writable = route.queue_datas.first().is_some_and(|data| data.perm == 6);
                        if !fine || !writable {
                            seen.wrong.push(format!("{route:?}"));
                        }
                    }
                    Err(failure) => seen.wrong.push(failure.to_string()),
                }
                // Leaves the few cores to the group.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seen
        });
        Routes { stop, task }
    }

    async fn stop(self) -> anyhow::Result<RoutesSeen> {
        self.stop.store(true, Ordering::SeqCst);
        Ok(self.task.await?)
    }
}

#[test]
fn entries_are_handed_over_with_the_term_and_a_deposed_leader_is_fenced() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "entries", 1, 6).await?;
        entries_are_right(&cluster, &client, leader).await.context("at the start")?;

        let to = cluster.other_than(&[leader]);
        cluster.transfer(leader, to).await?;
        leader = to;
        entries_are_right(&cluster, &client, leader).await.context("after a transfer")?;

        let killed = leader;
        cluster.kill(killed)?;
        leader = cluster.leader().await?;
        cluster.shown_as_leader(leader).await?;
        cluster.restart(killed).await?;
        entries_are_right(&cluster, &client, leader).await.context("after a kill and a restart")?;

        // One that claims to lead with the term of the last leader is not believed, one that follows later is.
        let term = cluster.group(leader).await?.term;
        let before = client.addresses("entries").await?;
        register(&client, &cluster, "127.0.0.1:9", 0, 2 * (term - 1) + 1).await?;
        ensure!(client.addresses("entries").await? == before, "a lower term was taken for the leader");
        cluster.finish();
        Ok(())
    });
}

/// The leader under 0, each other under its own number for ever, and the term as state version.
async fn entries_are_right(cluster: &Cluster, client: &Client, leader: usize) -> anyhow::Result<()> {
    let mut expected: Vec<(i64, String)> = (0..NODES)
        .map(|node| (if node == leader { 0 } else { node as i64 + 1 }, cluster.address(node)))
        .collect();
    expected.sort();
    eventually(PHASE, &format!("the entries are {expected:?}"), || async {
        let members = client.member_group().await.map_err(|error| format!("{error:#}"))?;
        claim(members == expected, format!("{members:?}"))
    })
    .await?;
    let term = i64::try_from(cluster.group(leader).await?.term)?;
    for (id, address) in &expected {
        let version = if *id == 0 { 2 * term + 1 } else { 2 * term };
        eventually(PHASE, &format!("{address} has state version {version}"), || async {
            let header = BrokerRequest {
                broker_name: BROKER,
                broker_addr: address,
                cluster_name: CLUSTER,
                broker_id: *id,
            };
            let body = bodies::encode(&DataVersion::default());
            let code = RequestCode::QueryDataVersion;
            let answer = client.request(&cluster.name_server(), code, header.encode(), body).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let known: DataVersion = bodies::decode(&answer.body).map_err(|error| error.to_string())?;
            claim(known.state_version == version, format!("{known:?}"))
        })
        .await?;
    }
    Ok(())
}

/// Registers a broker that does not exist, as one of ours.
async fn register(
    client: &Client,
    cluster: &Cluster,
    address: &str,
    id: i64,
    version: u64,
) -> anyhow::Result<()> {
    let header = RegisterBrokerRequest {
        broker_name: BROKER,
        broker_addr: address,
        cluster_name: CLUSTER,
        ha_server_addr: address,
        broker_id: id,
        heartbeat_timeout_ms: Some(30_000),
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: 0,
    };
    let topics = ["entries", "other"]
        .map(|name| (name.to_owned(), TopicConfig { topic_name: name.to_owned(), ..TopicConfig::default() }));
    let version = DataVersion { state_version: i64::try_from(version)?, counter: 1_000_000, timestamp: 1 };
    let body = RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigWrapper {
            data_version: version,
            topic_config_table: topics.into_iter().collect(),
            ..TopicConfigWrapper::default()
        },
        ..RegisterBrokerBody::default()
    };
    let mut ext = header.encode();
    ext.insert("flotilla", "1");
    let code = RequestCode::RegisterBroker;
    client.request(&cluster.name_server(), code, ext, bodies::encode(&body)).await?;
    Ok(())
}

/// FAILOVER.md 7: clients keep the route that they have until the new name server has a whole one.
#[test]
fn a_restarted_name_server_gives_whole_routes_or_none() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "name-server", 2, 6).await?;
        let addresses = client.addresses("name-server").await?;
        cluster.kill_name_server()?;
        cluster.start_name_server()?;
        let restarted = Instant::now();
        let newcomer = cluster.client();
        let whole = eventually(PHASE, "the route is whole again", || async {
            match newcomer.addresses("name-server").await {
                Ok(found) if found.first().is_none_or(|(id, _)| *id != 0) => Ok(Err(format!("{found:?}"))),
                Ok(found) if found == addresses => Ok(Ok(())),
                Ok(found) => Err(format!("{found:?}")),
                Err(error) => match error.downcast_ref::<Failure>() {
                    Some(Failure::Refused { code, .. }) if *code == ResponseCode::TopicNotExist.as_i32() => {
                        Ok(Err(error.to_string()))
                    }
                    _ => Err(format!("{error:#}")),
                },
            }
        })
        .await?;
        if let Err(route) = whole {
            anyhow::bail!("a route that breaks clients: {route}");
        }
        eprintln!("the route was whole after {:?}", restarted.elapsed());
        client
            .send(&cluster.address(leader), &Message::new("name-server", 0, Bytes::from_static(b"x")))
            .await?;
        cluster.finish();
        Ok(())
    });
}
