//! Queue locks of ordered consumption (codes 41 and 42) through any replica, a killed leader, and planned changes of the
//! leader (FAILOVER.md 8, 9, 12).

mod support;

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use flotilla_remoting::{ExtFields, Frame, RequestCode, bodies};
use support::beat;
use support::client::lock_body;
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Failure, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);
const TOPIC: &str = "ordered";
const GROUP: &str = "in-order";
const QUEUES: [i32; 4] = [0, 1, 2, 3];

async fn started(extra: &[(&'static str, &str)]) -> anyhow::Result<(Cluster, Client, usize)> {
    let cluster = Cluster::start_with(extra).await?;
    let leader = cluster.leader().await?;
    let client = cluster.client();
    client.create_topic(&cluster.address(leader), TOPIC, 4, 6).await?;
    Ok((cluster, client, leader))
}

#[test]
fn any_replica_locks_and_unlocks_and_each_queue_has_one_owner() {
    run(LIMIT, async {
        let (cluster, client, leader) = started(&[]).await?;
        let nodes: Vec<String> = (0..NODES).map(|node| cluster.address(node)).collect();
        let [here, there] = [cluster.address(leader), cluster.address(cluster.other_than(&[leader]))];

        ensure!(client.lock(&there, GROUP, "a", TOPIC, &[0, 1]).await? == [0, 1]);
        ensure!(client.lock(&here, GROUP, "b", TOPIC, &QUEUES).await? == [2, 3]);
        for node in &nodes {
            ensure!(client.lock(node, GROUP, "a", TOPIC, &QUEUES).await? == [0, 1], "a at {node}");
            ensure!(client.lock(node, GROUP, "b", TOPIC, &QUEUES).await? == [2, 3], "b at {node}");
        }
        // Another group has its own locks; a queue that there is not is nobody's.
        ensure!(client.lock(&here, "other", "b", TOPIC, &[0, 4, -1]).await? == [0]);
        ensure!(client.lock(&here, GROUP, "a", "no-such-topic", &[0]).await?.is_empty());

        // An answer without `onlyThisBroker`, as older clients ask, and with nothing to give: recorded of RocketMQ 5.3.3.
        let body = format!(
            "{{\"clientId\":\"c\",\"consumerGroup\":\"{GROUP}\",\"mqSet\":[{{\"brokerName\":\"broker-a\",\
             \"queueId\":1,\"topic\":\"{TOPIC}\"}}]}}"
        );
        let answer = client
            .request(&here, RequestCode::LockBatchMq, ExtFields::new(), Bytes::from(body.into_bytes()))
            .await?;
        ensure!(answer.body == "{\"lockOKMQSet\":[]}", "{:?}", answer.body);

        // What is not one's own is not given up; one-way at a replica that does not lead it is, long before it would end.
        client.unlock(&there, GROUP, "b", TOPIC, &[0]).await?;
        ensure!(client.lock(&here, GROUP, "b", TOPIC, &[0]).await?.is_empty());
        let body = bodies::encode(&lock_body(GROUP, "a", TOPIC, &[0]));
        client.oneway(&there, RequestCode::UnlockBatchMq, ExtFields::new(), body).await?;
        eventually(SOON, "the queue is handed over", || async {
            let held = client.lock(&here, GROUP, "b", TOPIC, &[0, 1]).await.map_err(|e| e.to_string())?;
            claim(held == [0], format!("{held:?}"))
        })
        .await?;
        ensure!(client.lock(&there, GROUP, "a", TOPIC, &QUEUES).await? == [1]);

        // Its goodbye gives up nothing: RocketMQ's clients unlock by themselves.
        let member = cluster.client();
        member.heartbeat(&here, &beat::consumer("a", GROUP, TOPIC, "*")).await?;
        member.leave(&here, "a", GROUP).await?;
        member.close().await;
        ensure!(client.lock(&here, GROUP, "b", TOPIC, &[1]).await?.is_empty());
        cluster.finish();
        Ok(())
    });
}

#[test]
fn an_owner_keeps_its_locks_when_the_leader_dies_and_nobody_gets_them_in_their_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(6);
    run(LIMIT, async {
        let (mut cluster, client, leader) = started(&[("rebalanceLockMaxLiveMillis", "6000")]).await?;
        ensure!(client.lock(&cluster.address(leader), GROUP, "a", TOPIC, &QUEUES).await? == QUEUES);
        let survivors: Vec<String> =
            (0..NODES).filter(|node| *node != leader).map(|node| cluster.address(node)).collect();
        cluster.kill(leader)?;

        // Without a break: whoever asks for what is another's is told so or told to come again, the owner never loses one.
        let killed = Instant::now();
        let (mut renewed, mut denied) = (0, 0);
        let mut last_renewal = killed;
        while renewed < 10 || denied < 10 || killed.elapsed() < LIFETIME {
            ensure!(killed.elapsed() < PHASE, "{renewed} renewals, {denied} denials");
            for node in &survivors {
                match client.lock(node, GROUP, "b", TOPIC, &QUEUES).await {
                    Ok(held) => ensure!(held.is_empty(), "b holds {held:?} after {:?}", killed.elapsed()),
                    Err(failure) => not_decided(failure)?,
                }
                denied += 1;
                let asked = Instant::now();
                match client.lock(node, GROUP, "a", TOPIC, &QUEUES).await {
                    Ok(held) => {
                        ensure!(held == QUEUES, "a holds {held:?} after {:?}", killed.elapsed());
                        (renewed, last_renewal) = (renewed + 1, asked);
                    }
                    Err(failure) => not_decided(failure)?,
                }
            }
        }

        // The owner is silent now: its queues go to another when their time is over, and no earlier.
        let node = &survivors[0];
        let got = eventually(PHASE, "another gets the queues", || async {
            let held = client.lock(node, GROUP, "b", TOPIC, &QUEUES).await.map_err(|e| e.to_string())?;
            claim(held == QUEUES, format!("{held:?}"))?;
            Ok::<_, String>(Instant::now())
        })
        .await?;
        ensure!(got - last_renewal >= LIFETIME, "after {:?}", got - last_renewal);
        ensure!(client.lock(node, GROUP, "a", TOPIC, &QUEUES).await?.is_empty());
        cluster.finish();
        Ok(())
    });
}

/// Code 14 and nothing else: any answer with code 0 that lacks a queue would make the owner stop.
fn not_decided(failure: Failure) -> anyhow::Result<()> {
    match failure {
        Failure::Refused { code: 14, .. } => Ok(()),
        other => Err(other.into()),
    }
}

#[test]
fn planned_transfers_refuse_no_lock() {
    run(LIMIT, async {
        let (cluster, client, mut leader) = started(&[]).await?;
        // One owner at each replica, each with a queue.
        for node in 0..NODES {
            let queue = node as i32;
            let held =
                client.lock(&cluster.address(node), GROUP, &format!("c{node}"), TOPIC, &[queue]).await?;
            ensure!(held == [queue], "{held:?}");
        }
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut renewing = Vec::new();
        for node in 0..NODES {
            let (client, address, stop) = (cluster.client(), cluster.address(node), stop.clone());
            renewing.push(tokio::spawn(async move {
                let mut renewals = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let held = client.lock(&address, GROUP, &format!("c{node}"), TOPIC, &QUEUES).await?;
                    ensure!(held.contains(&(node as i32)), "c{node} at {address} holds {held:?}");
                    ensure!(held.iter().all(|queue| *queue == node as i32 || *queue == 3), "{held:?}");
                    renewals += 1;
                }
                Ok(renewals)
            }));
        }
        for turn in 0..5 {
            let to = (leader + 1 + turn % 2) % NODES;
            let (status, body) = cluster.transfer(turn % NODES, to).await?;
            ensure!(status == 200, "transfer {turn}: {status} {body}");
            leader = cluster.leader().await?;
            ensure!(leader == to, "transfer {turn}: n{to} does not lead");
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        for task in renewing {
            let renewals = task.await??;
            ensure!(renewals > 0, "nobody asked");
        }
        cluster.finish();
        Ok(())
    });
}

/// What a consumer gives up while the leader changes is free for the next one soon, and not when its lifetime is over.
#[test]
fn oneway_unlocks_reach_the_next_leader() {
    run(LIMIT, async {
        let (cluster, client, mut leader) = started(&[]).await?;
        for turn in 0..4 {
            let (owner, next) = (format!("c{turn}"), format!("c{}", turn + 1));
            let to = (leader + 1 + turn % 2) % NODES;
            let here = cluster.address(leader);
            eventually(SOON, "the queue is free for its next owner", || async {
                let held = client.lock(&here, GROUP, &owner, TOPIC, &[0]).await.map_err(|e| e.to_string())?;
                claim(held == [0], format!("{held:?}"))
            })
            .await?;
            // At the replica that leads no more by the time, at the one that will, at the third.
            let at = cluster.address([leader, to, cluster.other_than(&[leader, to])][turn % 3]);
            let body: Bytes = bodies::encode(&lock_body(GROUP, &owner, TOPIC, &[0]));
            let (transferred, sent) = tokio::join!(
                cluster.transfer(leader, to),
                client.oneway(&at, RequestCode::UnlockBatchMq, ExtFields::new(), body)
            );
            sent?;
            ensure!(transferred?.0 == 200, "transfer {turn}");
            leader = cluster.leader().await?;
            let here = cluster.address(leader);
            eventually(SOON, "the queue is handed over", || async {
                let held = client.lock(&here, GROUP, &next, TOPIC, &[0]).await.map_err(|e| e.to_string())?;
                claim(held == [0], format!("{held:?}"))
            })
            .await?;
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn without_a_leader_a_lock_is_neither_given_nor_denied() {
    run(LIMIT, async {
        let (mut cluster, client, leader) = started(&[]).await?;
        let alone = cluster.other_than(&[leader]);
        ensure!(client.lock(&cluster.address(alone), GROUP, "a", TOPIC, &QUEUES).await? == QUEUES);
        for node in (0..NODES).filter(|node| *node != alone) {
            cluster.kill(node)?;
        }
        let body: Bytes = bodies::encode(&lock_body(GROUP, "a", TOPIC, &QUEUES));
        for code in [RequestCode::LockBatchMq, RequestCode::UnlockBatchMq] {
            let frame = Frame::request(code, ExtFields::new(), body.clone());
            let answer = client.ask(&cluster.address(alone), frame, PHASE).await?;
            ensure!(answer.header.code == 14 && answer.body.is_empty(), "{code:?}: {answer:?}");
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn locks_outlive_a_restart_of_the_whole_group() {
    run(LIMIT, async {
        let (mut cluster, client, leader) = started(&[]).await?;
        ensure!(client.lock(&cluster.address(leader), GROUP, "a", TOPIC, &QUEUES).await? == QUEUES);
        for node in 0..NODES {
            cluster.kill(node)?;
        }
        for node in 0..NODES {
            cluster.begin_restart(node)?;
        }
        cluster.ready().await?;
        let client = cluster.client();
        for node in 0..NODES {
            let held = client.lock(&cluster.address(node), GROUP, "b", TOPIC, &QUEUES).await?;
            ensure!(held.is_empty(), "b holds {held:?} at n{node}");
        }
        let leader = cluster.leader().await?;
        ensure!(client.lock(&cluster.address(leader), GROUP, "a", TOPIC, &QUEUES).await? == QUEUES);
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
