//! Delay levels through real processes: delivered when due, once, and not before, whatever happens to the leader meanwhile.
//!
//! A message that waits lies in the schedule topic, where the tests read when it was stored; the one that is delivered says when
//! it was stored in its topic. Both are leader time.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use flotilla_remoting::bodies::{self, AllDelayOffset};
use flotilla_remoting::message::OffsetMessageId;
use flotilla_remoting::{ExtFields, RequestCode};
use support::cluster::SEGMENTS_4_MIB;
use support::settings::NODES;
use support::stored::Stored;
use support::wait::claim;
use support::{Client, Cluster, Message, admin, eventually, run};
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(150);
/// Longest wait for messages that are due. It only ends a test that hangs.
const PHASE: Duration = Duration::from_secs(40);
const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";
const QUEUES: i32 = 4;
/// Messages of one burst.
const BURST: usize = 400;
/// Time between two messages of a burst: each is due at a moment of its own, so that the duty never rests while they are.
const PACE: Duration = Duration::from_millis(3);

fn delayed(topic: &str, queue: i32, name: &str, level: u32) -> Message {
    Message::new(topic, queue, name.to_owned()).with("DELAY", &level.to_string()).with("UNIQ_KEY", name)
}

/// All messages of a topic, by their names.
async fn by_name(
    client: &Client,
    address: &str,
    topic: &str,
    queues: i32,
) -> anyhow::Result<BTreeMap<String, Vec<Stored>>> {
    let mut all = BTreeMap::<String, Vec<Stored>>::new();
    for queue in 0..queues {
        for message in client.read(address, topic, queue, 0).await? {
            all.entry(message.key()).or_default().push(message);
        }
    }
    Ok(all)
}

/// Number of messages in a topic as a node has applied it.
async fn stored(cluster: &Cluster, node: usize, topic: &str) -> Result<u64, String> {
    let queues = cluster.queues(node, topic).await.map_err(|error| format!("{error:#}"))?;
    Ok(queues.iter().map(|queue| queue.max).sum())
}

#[test]
fn levels_are_kept_to_and_each_message_comes_once() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&[("messageDelayLevel", "1s 60s 3s")]).await?;
        let (client, leader) = (cluster.client(), cluster.leader().await?);
        let (to_leader, to_follower) =
            (cluster.address(leader), cluster.address(cluster.other_than(&[leader])));
        client.create_topic(&to_leader, "levels", QUEUES, 6).await?;
        // Beyond the highest level is the highest.
        let sends =
            [("one", 1, 0, 1000), ("three", 3, 1, 3000), ("ninety-nine", 99, 2, 3000), ("again", 1, 3, 1000)];
        let mut waits = BTreeMap::new();
        for (number, (name, level, queue, delay_ms)) in sends.into_iter().enumerate() {
            let address = if number % 2 == 0 { &to_leader } else { &to_follower };
            let sent = client.send(address, &delayed("levels", queue, name, level)).await?;
            ensure!(sent.queue == queue, "the answer names the queue that was asked for: {sent:?}");
            let id: OffsetMessageId = sent.id.parse()?;
            let waiting = client.view(address, id.physical_offset).await?;
            ensure!(
                (waiting.topic.as_str(), waiting.offset) == (SCHEDULE, sent.offset),
                "{waiting:?} {sent:?}"
            );
            ensure!(waiting.queue == if delay_ms == 1000 { 0 } else { 2 }, "{waiting:?}");
            waits.insert(name, (waiting.store_time, queue, delay_ms));
        }
        client.send(&to_leader, &delayed("levels", 0, "never seen here", 2)).await?;
        eventually(PHASE, "all but the minute are delivered", || async {
            let count = stored(&cluster, leader, "levels").await?;
            claim(count >= 4, format!("{count} of 4"))
        })
        .await?;
        cluster.settled().await?;
        for node in 0..NODES {
            let delivered = by_name(&client, &cluster.address(node), "levels", QUEUES).await?;
            ensure!(
                delivered.len() == 4 && delivered.values().all(|copies| copies.len() == 1),
                "{delivered:?}"
            );
            for (name, (stored_ms, queue, delay_ms)) in &waits {
                let message = &delivered[*name][0];
                let after = message.store_time - stored_ms;
                ensure!(after >= *delay_ms, "{name} was delivered after {after} ms");
                ensure!(message.queue == *queue && message.topic == "levels", "{message:?}");
                // Applications look at them; brokers take no delay out of them a second time.
                ensure!(message.property("REAL_TOPIC") == Some("levels"), "{message:?}");
                ensure!(message.property("DELAY") == Some(if *delay_ms == 1000 { "1" } else { "3" }));
                eprintln!("n{node}: {name} delivered {} ms after it was due", after - delay_ms);
            }
        }
        let answer = client
            .request(&to_follower, RequestCode::GetAllDelayOffset, ExtFields::new(), bytes::Bytes::new())
            .await?;
        let offsets: AllDelayOffset = bodies::decode(&answer.body)?;
        ensure!(offsets.offset_table == BTreeMap::from([(1, 2), (2, 0), (3, 2)]), "{offsets:?}");
        let metrics = admin::call(cluster.admin(leader), "GET", "/metrics", "").await?.body;
        let shows = |name: &str, level: &str, value: &str| {
            let line = |line: &&str| {
                line.starts_with(name)
                    && line.contains(&format!("level=\"{level}\""))
                    && line.ends_with(value)
            };
            metrics.lines().any(|text| line(&text))
        };
        ensure!(shows("flotilla_delayed_messages", "2", " 1"), "{metrics}");
        ensure!(shows("flotilla_delay_done_total", "1", " 2"), "{metrics}");
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// A burst of delayed messages of both levels, each attempt under a name of its own. Gives the names that were acked.
async fn burst(client: &Client, address: &str, topic: &str, round: usize) -> Vec<String> {
    let mut sends = JoinSet::new();
    for number in 0..BURST {
        let (client, address, topic) = (client.clone(), address.to_owned(), topic.to_owned());
        sends.spawn(async move {
            tokio::time::sleep(PACE * u32::try_from(number).unwrap_or(0)).await;
            let (name, level) = (format!("r{round}-{number}"), if number % 4 == 0 { 1 } else { 2 });
            let queue = i32::try_from(number).unwrap_or(0) % QUEUES;
            let sent = client.send(&address, &delayed(&topic, queue, &name, level)).await;
            sent.ok().map(|_| name)
        });
    }
    let mut acked = Vec::with_capacity(BURST);
    while let Some(sent) = sends.join_next().await {
        acked.extend(sent.expect("a send does not panic"));
    }
    acked
}

/// Every replica holds every acked message once, and none before its time.
async fn check(
    cluster: &Cluster,
    client: &Client,
    topic: &str,
    acked: &[String],
    delays_ms: &[i64],
) -> anyhow::Result<()> {
    eventually(PHASE, "nothing waits any more", || async {
        let leader = cluster.leader().await.map_err(|error| format!("{error:#}"))?;
        let waiting: u64 = {
            let queues = cluster.queues(leader, SCHEDULE).await.map_err(|error| format!("{error:#}"))?;
            queues.iter().map(|queue| queue.max).sum()
        };
        let delivered = stored(cluster, leader, topic).await?;
        claim(delivered >= waiting, format!("{delivered} delivered of {waiting}"))
    })
    .await?;
    cluster.settled().await?;
    for node in 0..NODES {
        let address = cluster.address(node);
        let delivered = by_name(client, &address, topic, QUEUES).await?;
        let waited = by_name(client, &address, SCHEDULE, i32::try_from(delays_ms.len())?).await?;
        for name in acked {
            let count = delivered.get(name).map_or(0, Vec::len);
            ensure!(count == 1, "n{node}: {name} was acked and delivered {count} times");
        }
        let mut latest = 0;
        for (name, copies) in &delivered {
            ensure!(copies.len() == 1, "n{node}: {name} was delivered {} times", copies.len());
            let from = &waited.get(name).with_context(|| format!("{name} never waited"))?[0];
            let after = copies[0].store_time - from.store_time - delays_ms[usize::try_from(from.queue)?];
            ensure!(after >= 0, "n{node}: {name} was delivered {} ms early", -after);
            latest = latest.max(after);
        }
        ensure!(
            delivered.len() == waited.len(),
            "n{node}: {} waited, {} came",
            waited.len(),
            delivered.len()
        );
        eprintln!("n{node}: {} delivered, the latest {latest} ms after it was due", delivered.len());
    }
    Ok(())
}

/// Waits until a part of a burst is delivered: more is due at each moment from now on.
async fn in_the_middle(cluster: &Cluster, node: usize, topic: &str, before: u64) -> anyhow::Result<()> {
    eventually(PHASE, "a part of the burst is delivered", || async {
        let count = stored(cluster, node, topic).await?;
        claim(count > before + BURST as u64 / 2, format!("{count}, {before} before the burst"))
    })
    .await
}

/// What was done in the middle of a burst was done there: a part of it is not delivered yet.
async fn not_all(cluster: &Cluster, node: usize, topic: &str, acked: usize) -> anyhow::Result<()> {
    let delivered = stored(cluster, node, topic).await.map_err(anyhow::Error::msg)?;
    ensure!(delivered < acked as u64, "all {acked} were delivered already");
    Ok(())
}

fn kills() -> usize {
    std::env::var("FLOTILLA_KILLS").map_or(3, |count| count.parse().expect("FLOTILLA_KILLS is a number"))
}

#[test]
fn a_killed_leader_delivers_each_due_message_once_and_none_early() {
    run(LIMIT + PHASE * u32::try_from(kills()).expect("few"), async {
        let levels = [("messageDelayLevel", "1s 2s")];
        let mut cluster = Cluster::start_with(&[SEGMENTS_4_MIB.as_slice(), &levels].concat()).await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "kills", QUEUES, 6).await?;
        let mut acked = Vec::new();
        for round in 0..kills() {
            let before = stored(&cluster, leader, "kills").await.map_err(anyhow::Error::msg)?;
            let address = cluster.address(leader);
            acked.extend(burst(&client, &address, "kills", round).await);
            in_the_middle(&cluster, leader, "kills", before).await?;
            cluster.kill(leader)?;
            not_all(&cluster, cluster.other_than(&[leader]), "kills", acked.len()).await?;
            let successor = cluster.leader().await?;
            cluster.restart(leader).await.context("the killed node rejoins")?;
            leader = successor;
        }
        check(&cluster, &client, "kills", &acked, &[1000, 2000]).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_transfer_delivers_each_due_message_once() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&[("messageDelayLevel", "1s 2s")]).await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "transfers", QUEUES, 6).await?;
        let mut acked = Vec::new();
        for round in 0..4 {
            let before = stored(&cluster, leader, "transfers").await.map_err(anyhow::Error::msg)?;
            acked.extend(burst(&client, &cluster.address(leader), "transfers", round).await);
            in_the_middle(&cluster, leader, "transfers", before).await?;
            let to = (leader + 1) % NODES;
            let (status, body) = cluster.transfer(leader, to).await?;
            ensure!(status == 200, "transfer to n{to}: {status} {body}");
            not_all(&cluster, to, "transfers", acked.len()).await?;
            leader = cluster.leader().await?;
        }
        ensure!(acked.len() == 4 * BURST, "{} acks", acked.len());
        check(&cluster, &client, "transfers", &acked, &[1000, 2000]).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn all_three_killed_deliver_each_due_message_once() {
    run(LIMIT, async {
        let levels = [("messageDelayLevel", "1s 2s")];
        let mut cluster = Cluster::start_with(&[SEGMENTS_4_MIB.as_slice(), &levels].concat()).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "all-killed", QUEUES, 6).await?;
        let mut acked = Vec::new();
        for round in 0..2 {
            let leader = cluster.leader().await?;
            let before = stored(&cluster, leader, "all-killed").await.map_err(anyhow::Error::msg)?;
            acked.extend(burst(&client, &cluster.address(leader), "all-killed", round).await);
            in_the_middle(&cluster, leader, "all-killed", before).await?;
            for node in 0..NODES {
                cluster.kill(node)?;
            }
            for node in 0..NODES {
                cluster.begin_restart(node)?;
            }
            cluster.ready().await?;
        }
        check(&cluster, &client, "all-killed", &acked, &[1000, 2000]).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
