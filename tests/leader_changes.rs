//! What clients and name servers see around a leader change: no rewinds, a route with id 0 at all times, entries handed
//! over, terms that fence deposed leaders (FAILOVER.md 2 to 5 and 7).

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{self, DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigWrapper};
use flotilla_remoting::headers::{BrokerRequest, RegisterBrokerRequest};
use flotilla_remoting::{RequestCode, ResponseCode};
use support::settings::{BROKER, CLUSTER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Load, Message, Plan, Reader, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);

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
