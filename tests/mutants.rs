//! Each mutant (feature `faults`, the table in `mutants/src/lib.rs`) really does what it says, seen from outside. What the harness
//! makes of that is the harness's own affair; `skip-fdatasync` is shown in `power_loss.rs`.
#![cfg(feature = "faults")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use support::cluster::Hooks;
use support::process::flotilla;
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Message, Pull, eventually, run};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);

/// A group of mutants with a topic of one queue, and its leader.
async fn mutants(name: &'static str) -> anyhow::Result<(Cluster, Client, usize)> {
    let hooks = Hooks { mutant: Some(name), ..Hooks::default() };
    let cluster = Cluster::start_hooked(&[], hooks).await?;
    let (client, leader) = (cluster.client(), cluster.leader().await?);
    client.create_topic(&cluster.address(leader), "t", 1, 6).await?;
    let log = cluster.process(leader)?.log();
    ensure!(log.contains("THIS NODE BREAKS ITS PROMISES") && log.contains(name), "it says so loudly");
    Ok((cluster, client, leader))
}

fn message(name: &str) -> Message {
    Message::new("t", 0, name.to_owned())
}

/// Stops both followers: nothing can be committed from now on.
async fn stop_followers(cluster: &Cluster, leader: usize) -> anyhow::Result<()> {
    for node in (0..NODES).filter(|node| *node != leader) {
        cluster.process(node)?.pause().await?;
    }
    Ok(())
}

#[test]
fn ack_before_quorum_confirms_what_only_the_leader_has() {
    run(LIMIT, async {
        let (cluster, client, leader) = mutants("ack-before-quorum").await?;
        stop_followers(&cluster, leader).await?;
        let sent = client.send(&cluster.address(leader), &message("only here")).await?;
        ensure!(sent.offset == 0, "{sent:?}");
        cluster.finish();
        Ok(())
    });
}

#[test]
fn serve_uncommitted_gives_pulls_what_only_the_leader_has() {
    run(LIMIT, async {
        let (cluster, client, leader) = mutants("serve-uncommitted").await?;
        let address = cluster.address(leader);
        client.send(&address, &message("committed")).await?;
        stop_followers(&cluster, leader).await?;
        let sending = {
            let (client, address) = (client.clone(), address.clone());
            tokio::spawn(async move { client.send(&address, &message("not committed")).await })
        };
        eventually(PHASE, "it is seen", || async {
            let pulled =
                client.pull(&address, &Pull::from("t", 0, 1)).await.map_err(|error| error.to_string())?;
            let keys: Vec<_> = pulled.messages.iter().map(|message| message.key()).collect();
            claim(keys == ["not committed"], format!("{pulled:?}"))
        })
        .await?;
        ensure!(sending.await?.is_err(), "it was not acked");
        cluster.finish();
        Ok(())
    });
}

#[test]
fn reuse_queue_offset_gives_a_number_twice() {
    run(LIMIT, async {
        let (mut cluster, client, leader) = mutants("reuse-queue-offset").await?;
        for name in ["a", "b", "c"] {
            client.send(&cluster.address(leader), &message(name)).await?;
        }
        cluster.kill(leader)?;
        let successor = cluster.leader().await?;
        let address = cluster.address(successor);
        for name in ["d", "e"] {
            client.send(&address, &message(name)).await?;
        }
        cluster.restart(leader).await?;
        cluster.settled().await?;
        for node in 0..NODES {
            let stored = client.read(&cluster.address(node), "t", 0, 0).await?;
            let offsets: Vec<_> = stored.iter().map(|message| (message.key(), message.offset)).collect();
            let expected = [("a", 0), ("b", 1), ("c", 2), ("d", 2), ("e", 4)];
            ensure!(offsets == expected.map(|(key, offset)| (key.to_owned(), offset)), "{offsets:?}");
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn forget_offset_commit_confirms_and_drops_some() {
    run(LIMIT, async {
        let (cluster, client, leader) = mutants("forget-offset-commit").await?;
        let address = cluster.address(leader);
        client.send(&address, &message("a")).await?;
        let mut forgotten = 0;
        for offset in 1..=9 {
            client.commit(&address, "g", "t", 0, offset).await.context("it is confirmed")?;
            let found = client.committed(&address, "g", "t", 0).await.unwrap_or(0);
            forgotten += usize::from(found != offset);
        }
        ensure!(forgotten == 3, "{forgotten} of 9");
        cluster.finish();
        Ok(())
    });
}

#[test]
fn stale_offset_read_answers_without_a_majority() {
    run(LIMIT, async {
        let (cluster, client, leader) = mutants("stale-offset-read").await?;
        let address = cluster.address(leader);
        client.send(&address, &message("a")).await?;
        client.commit(&address, "g", "t", 0, 1).await?;
        stop_followers(&cluster, leader).await?;
        ensure!(client.committed(&address, "g", "t", 0).await? == 1);
        cluster.finish();
        Ok(())
    });
}

/// Sends meet transfers until one of them, which was refused, is told that it is stored.
#[test]
fn ack_then_drop_confirms_what_a_transfer_has_refused() {
    run(LIMIT, async {
        let (cluster, client, mut leader) = mutants("ack-then-drop").await?;
        let mut acked = BTreeSet::new();
        for round in 0..10 {
            let address = cluster.address(leader);
            let (mut sends, transferred) = (JoinSet::new(), CancellationToken::new());
            for sender in 0..16 {
                let (client, address, transferred) = (client.clone(), address.clone(), transferred.clone());
                sends.spawn(async move {
                    let mut stored = Vec::new();
                    for number in 0.. {
                        let name = format!("{round}-{sender}-{number}");
                        if client.send(&address, &message(&name)).await.is_ok() {
                            stored.push(name);
                        }
                        if transferred.is_cancelled() {
                            break;
                        }
                    }
                    stored
                });
            }
            let to = (leader + 1) % NODES;
            let (status, body) = cluster.transfer(leader, to).await?;
            transferred.cancel();
            ensure!(status == 200, "{status} {body}");
            acked.extend(sends.join_all().await.into_iter().flatten());
            leader = cluster.leader().await?;
            let stored = client.read(&cluster.address(leader), "t", 0, 0).await?;
            let lost = acked.len() - stored.iter().filter(|message| acked.contains(&message.key())).count();
            if lost > 0 {
                eprintln!("round {round}: {lost} of {} acked are lost", acked.len());
                cluster.finish();
                return Ok(());
            }
        }
        anyhow::bail!("all {} acked sends are stored", acked.len())
    });
}

/// A leader has entries that nobody else has and comes back deposed: nobody knows what became of them, and it sends them again.
#[test]
fn repeat_unknown_confirms_sends_whose_outcome_is_unknown() {
    run(LIMIT, async {
        let (cluster, client, mut leader) = mutants("repeat-unknown").await?;
        // A time-out of a client may come first on a busy machine.
        for round in 0..5 {
            let address = cluster.address(leader);
            let before = cluster.group(leader).await?.last_log;
            stop_followers(&cluster, leader).await?;
            let sending = {
                let (client, message) = (client.clone(), message(&format!("round {round}")));
                tokio::spawn(async move { client.send(&address, &message).await })
            };
            eventually(PHASE, "the leader has appended it", || async {
                let view = cluster.group(leader).await.map_err(|error| error.to_string())?;
                claim(view.last_log > before, format!("{view:?}"))
            })
            .await?;
            cluster.process(leader)?.pause().await?;
            let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
            for node in &others {
                cluster.process(*node)?.resume()?;
            }
            let successor = cluster.leader_among(&others).await?;
            cluster.process(leader)?.resume()?;
            let sent = sending.await?;
            eprintln!("round {round}: {sent:?}");
            if sent.is_ok() {
                cluster.finish();
                return Ok(());
            }
            cluster.settled().await?;
            leader = successor;
        }
        anyhow::bail!("no send of unknown outcome was confirmed")
    });
}

/// A leader hangs while others forward to it: nobody knows what becomes of what it was sent, and it is sent to its successor.
#[test]
fn repeat_unknown_sends_what_was_forwarded_to_a_lost_leader_to_the_next_one() {
    run(LIMIT, async {
        let (cluster, client, mut leader) = mutants("repeat-unknown").await?;
        // A time-out of a client may come first on a busy machine.
        for round in 0..5 {
            let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
            let follower = cluster.address(others[0]);
            // The stream that it is forwarded over is open.
            client.send(&follower, &message(&format!("before {round}"))).await?;
            cluster.process(leader)?.pause().await?;
            let sent = client.send(&follower, &message(&format!("round {round}"))).await;
            eprintln!("round {round}: {sent:?}");
            let successor = cluster.leader_among(&others).await?;
            cluster.process(leader)?.resume()?;
            if sent.is_ok() {
                cluster.finish();
                return Ok(());
            }
            cluster.settled().await?;
            leader = successor;
        }
        anyhow::bail!("no forwarded send was repeated")
    });
}

#[test]
fn an_unknown_mutant_is_refused() {
    let output = flotilla(&["namesrv", "--listen", "127.0.0.1:0"])
        .env("FLOTILLA_MUTANT", "ack-before-quorom")
        .output()
        .expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("no such mutant"), "{told}");
}
