//! Processes that stand still for a while and come back with an old view of the world (SIGSTOP and SIGCONT).

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use support::exchange::now_ms;
use support::settings::NODES;
use support::wait::claim;
use support::{Cluster, Load, Message, Plan, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_secs(3);
const RESUME: Duration = Duration::from_secs(3);

#[test]
fn a_stalled_follower_delays_nobody_and_catches_up() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let follower = cluster.other_than(&[leader]);
        let term = cluster.group(leader).await?.term;
        client.create_topic(&cluster.address(leader), "follower-stalls", 4, 6).await?;
        let load = Load::start(&client, Plan::new("follower-stalls", 4)).await?;
        load.more(200, PHASE).await?;
        let stalled = Instant::now();
        cluster.process(follower)?.pause().await?;
        acks_for(&load, STALL).await?;
        cluster.process(follower)?.resume()?;
        load.more(200, PHASE).await?;
        let history = load.stop().await;
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        let gap = history.longest_gap(stalled, stalled + STALL);
        ensure!(gap < Duration::from_secs(1), "no ack for {gap:?} while a follower stood still");
        history.check_everywhere(&cluster, &client).await?;
        ensure!(cluster.group(leader).await?.term == term, "the follower that came back started an election");
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_stalled_leader_is_replaced_and_acks_nothing_any_more() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "leader-stalls", 4, 6).await?;
        let load = Load::start(&client, Plan::new("leader-stalls", 4)).await?;
        load.more(200, PHASE).await?;
        let stalled = Instant::now();
        cluster.process(leader)?.pause().await?;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let successor = cluster.leader_among(&others).await?;
        ensure!(stalled.elapsed() < RESUME, "a new leader after {:?}", stalled.elapsed());
        // Its clients wait for their time-outs first: they can't know that it only stands still.
        load.more(200, PHASE).await?;
        let left = (stalled + STALL).saturating_duration_since(Instant::now());
        acks_for(&load, left).await?;
        let resumed = Instant::now();
        cluster.process(leader)?.resume()?;
        load.more(400, PHASE).await?;
        // What was in flight there is answered as it ended: nothing is acked that is not in the group's log, which
        // the check of the history shows, and the old leader knows its successor.
        eventually(PHASE, "the deposed leader follows", || async {
            let view = cluster.group(leader).await.map_err(|error| format!("{error:#}"))?;
            claim(view.role == "follower" && view.leader == Some(successor), format!("{view:?}"))
        })
        .await?;
        let history = load.stop().await;
        let address = cluster.address(leader);
        let late = history
            .acked
            .iter()
            .filter(|ack| ack.address == address && ack.at > resumed && ack.start < stalled);
        eprintln!("sends from before the stall that the deposed leader acked after it: {}", late.count());
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// Waits until acks have come for so long.
async fn acks_for(load: &Load, span: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + span;
    while Instant::now() < until {
        load.more(1, PHASE).await?;
    }
    Ok(())
}

#[test]
fn a_node_that_lags_is_never_elected() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let behind = cluster.other_than(&[leader]);
        let current = cluster.other_than(&[leader, behind]);
        client.create_topic(&cluster.address(leader), "lagging", 1, 6).await?;

        // Sent one by one, so that far more entries are missing there than can wait in its sockets.
        cluster.process(behind)?.pause().await?;
        const COUNT: i64 = 200;
        for number in 0..COUNT {
            let sent = client
                .send(&cluster.address(leader), &Message::new("lagging", 0, format!("{number}")))
                .await?;
            ensure!(sent.offset == number, "{sent:?}");
        }
        cluster.kill(leader)?;
        cluster.process(behind)?.resume()?;
        // The one that lags comes back with its patience long over: it asks for votes at once, and gets none.
        let watch = Watch::roles(&cluster, behind);
        ensure!(cluster.leader_among(&[behind, current]).await? == current);
        cluster.settled().await?;
        let roles = watch.stop().await?;
        ensure!(!roles.iter().any(|role| role == "leader"), "it led for a while: {roles:?}");
        for node in [behind, current] {
            let stored = client.read(&cluster.address(node), "lagging", 0, 0).await?;
            ensure!(stored.len() as i64 == COUNT, "{} messages at n{node}", stored.len());
        }
        cluster.restart(leader).await?;
        cluster.settled().await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// Notes the roles that a node goes through.
struct Watch {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Watch {
    fn roles(cluster: &Cluster, node: usize) -> Watch {
        let port = cluster.admin(node);
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut roles: Vec<String> = Vec::new();
            while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                if let Ok(view) = support::admin::group(port).await
                    && roles.last() != Some(&view.role)
                {
                    roles.push(view.role);
                }
            }
            roles
        });
        Watch { stop, task }
    }

    async fn stop(self) -> anyhow::Result<Vec<String>> {
        // The task ends by itself only after this.
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}

/// An entry that only some hold when its leader is killed becomes visible by the new leader's first entry, not by the
/// next write. Method: with both followers standing still, a message reaches their sockets and no further; its leader is
/// killed, and they go on.
#[test]
fn an_idle_tail_is_committed_after_a_fail_over() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let first = cluster.leader().await?;
        client.create_topic(&cluster.address(first), "tail", 1, 6).await?;
        let mut expected: i64 = 0;
        let mut survived = 0;
        for round in 0..3 {
            let leader = cluster.leader().await?;
            let followers: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
            let acked = client
                .send(&cluster.address(leader), &Message::new("tail", 0, format!("acked {round}")))
                .await?;
            ensure!(acked.offset == expected, "{acked:?} where {expected} is due");
            expected += 1;

            for follower in &followers {
                cluster.process(*follower)?.pause().await?;
            }
            let before = cluster.group(leader).await?.last_log;
            let (sender, address) = (client.clone(), cluster.address(leader));
            let message = Message::new("tail", 0, format!("tail {round}"));
            let sending = tokio::spawn(async move { sender.send(&address, &message).await });
            eventually(PHASE, "the leader has the entry", || async {
                let view = cluster.group(leader).await.map_err(|error| format!("{error:#}"))?;
                claim(view.last_log > before && view.commit == before, format!("{view:?}"))
            })
            .await?;
            cluster.kill(leader)?;
            ensure!(sending.await?.is_err(), "a message that one node held was acked");
            let resumed = now_ms();
            for follower in &followers {
                cluster.process(*follower)?.resume()?;
            }
            let successor = cluster.leader_among(&followers).await?;
            cluster.settled().await?;
            let view = cluster.group(successor).await?;
            // Without a write from anyone: the tail and the first entry of the term, or only the latter.
            let tail = view.last_log > before + 1;
            let stored = client.read(&cluster.address(successor), "tail", 0, 0).await?;
            let last = stored.last().context("messages")?;
            ensure!(stored.len() as i64 == expected + i64::from(tail), "{} messages, {view:?}", stored.len());
            if tail {
                ensure!(last.key() == format!("tail {round}"), "{last:?}");
                ensure!(last.store_time <= resumed, "stored again: {last:?}");
                expected += 1;
                survived += 1;
            }
            cluster.restart(leader).await?;
        }
        eprintln!("tails that survived: {survived} of 3");
        ensure!(survived > 0, "no tail reached a follower: the scenario shows nothing");
        cluster.settled().await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
