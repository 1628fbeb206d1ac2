//! Kill -9 and restarts of real processes under load: what was acked is there, once, where its ack says.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use support::cluster::SEGMENTS_4_MIB;
use support::settings::NODES;
use support::wait::claim;
use support::{Cluster, Load, Message, Plan, Towards, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(150);
/// Longest wait for the acks of a phase. It only ends a test that hangs.
const PHASE: Duration = Duration::from_secs(30);
/// Writes resume within this time after the leader was killed; LOG-RULES.md 18 promises less.
const RESUME: Duration = Duration::from_secs(3);
/// Acks of one phase of a load.
const ACKS: usize = 3000;

/// Kills of the leader in one test; the environment variable `FLOTILLA_KILLS` asks for more.
fn kills() -> u32 {
    std::env::var("FLOTILLA_KILLS").map_or(2, |count| count.parse().expect("FLOTILLA_KILLS is a number"))
}

#[test]
fn a_killed_leader_costs_no_acked_message_and_comes_back() {
    kill_leaders(&SEGMENTS_4_MIB, Towards::Leader, kills());
}

/// A follower forwards: a write whose bytes had left for the killed leader must not go to its successor as well.
#[test]
fn a_killed_leader_doubles_no_message_that_was_forwarded_to_it() {
    kill_leaders(&SEGMENTS_4_MIB, Towards::Everyone, kills());
}

/// Acks then mean "in the memory of a majority": the one replica that is killed is not all of them.
#[test]
fn a_killed_leader_costs_no_acked_message_without_waiting_for_disks_either() {
    kill_leaders(
        &[SEGMENTS_4_MIB.as_slice(), &[("flushDiskType", "ASYNC_FLUSH")]].concat(),
        Towards::Leader,
        kills(),
    );
}

fn kill_leaders(settings: &[(&'static str, &'static str)], towards: Towards, times: u32) {
    run(LIMIT + PHASE * times, async {
        let mut cluster = Cluster::start_with(settings).await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "killed", 4, 6).await?;
        let load = Load::start(&client, Plan { towards, ..Plan::new("killed", 4) }).await?;
        load.more(ACKS, PHASE).await?;
        let mut kills = Vec::new();
        for _ in 0..times {
            kills.push(Instant::now());
            cluster.kill(leader)?;
            load.more(ACKS, PHASE).await?;
            let successor = cluster.leader().await?;
            ensure!(successor != leader);
            cluster.restart(leader).await.context("the killed node rejoins")?;
            load.more(ACKS, PHASE).await?;
            leader = successor;
        }
        let history = load.stop().await;
        for kill in kills {
            let gap = history.longest_gap(kill, kill + RESUME * 2);
            ensure!(gap < RESUME, "no ack for {gap:?} after a kill; failures:\n{}", history.failures());
            eprintln!("longest time between two acks around a kill: {gap:?}");
        }
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn each_node_in_turn_stops_and_starts_under_load() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "restarts", 3, 6).await?;
        let load = Load::start(&client, Plan::new("restarts", 3)).await?;
        for node in 0..NODES {
            load.more(ACKS / 2, PHASE).await?;
            cluster.terminate(node).await.with_context(|| format!("stop of n{node}"))?;
            load.more(ACKS / 2, PHASE).await?;
            cluster.restart(node).await.with_context(|| format!("restart of n{node}"))?;
        }
        load.more(ACKS / 2, PHASE).await?;
        load.prove(cluster, &client).await
    });
}

#[test]
fn all_three_killed_at_once_lose_and_double_nothing() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "all-killed", 4, 6).await?;
        let load = Load::start(&client, Plan::new("all-killed", 4)).await?;
        for _ in 0..2 {
            load.more(ACKS, PHASE).await?;
            for node in 0..NODES {
                cluster.kill(node)?;
            }
            for node in 0..NODES {
                cluster.begin_restart(node)?;
            }
            cluster.ready().await?;
        }
        load.more(ACKS, PHASE).await?;
        load.prove(cluster, &client).await
    });
}

/// Kills at chosen moments of the first start, of one node or of all; afterwards the group forms, once.
#[test]
fn a_group_that_is_killed_while_it_forms_forms_all_the_same() {
    run(LIMIT, async {
        let moments_ms = [20, 60, 90, 120, 160, 220];
        for (round, moment_ms) in moments_ms.into_iter().enumerate() {
            let mut cluster = Cluster::begin(&SEGMENTS_4_MIB)?;
            // The moment of the fault, not a wait for something.
            tokio::time::sleep(Duration::from_millis(moment_ms)).await;
            let killed: Vec<usize> =
                if round % 2 == 0 { (0..NODES).collect() } else { vec![round / 2 % NODES] };
            for node in &killed {
                cluster.kill(*node)?;
            }
            for node in &killed {
                cluster.begin_restart(*node)?;
            }
            cluster.ready().await.with_context(|| format!("killed {killed:?} after {moment_ms} ms"))?;
            let (client, leader) = (cluster.client(), cluster.leader().await?);
            let sent = client.send(&cluster.address(leader), &Message::new("formed", 0, "x")).await?;
            ensure!(sent.offset == 0, "{sent:?}");
            cluster.settled().await?;
            cluster.verify_logs()?;
            cluster.finish();
        }
        Ok(())
    });
}

/// Its own vote could be given twice: it says what it waits for, and the group does without it.
#[test]
fn a_node_whose_disk_was_wiped_neither_serves_nor_votes() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let wiped = cluster.other_than(&[leader]);
        let other = cluster.other_than(&[leader, wiped]);
        client.create_topic(&cluster.address(leader), "wiped", 2, 6).await?;
        let load = Load::start(&client, Plan::new("wiped", 2)).await?;
        load.more(ACKS / 2, PHASE).await?;
        cluster.kill(wiped)?;
        std::fs::remove_dir_all(cluster.data(wiped))?;
        cluster.begin_restart(wiped)?;
        eventually(PHASE, "the wiped node says what it waits for", || async {
            let view = cluster.group(wiped).await.map_err(|error| format!("{error:#}"))?;
            claim(view.waiting_for.is_some() && view.role == "blank", format!("{view:?}"))
        })
        .await?;
        load.more(ACKS / 2, PHASE).await?;
        let history = load.stop().await;
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        let ready = admin::call(cluster.admin(wiped), "GET", "/readyz", "").await?;
        ensure!(ready.status == 503, "{ready:?}");

        // With the leader gone, the vote of the wiped node would make a majority.
        let term = cluster.group(other).await?.term;
        cluster.kill(leader)?;
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            for node in [other, wiped] {
                let view = cluster.group(node).await?;
                ensure!(view.role != "leader" && (node == wiped || view.term == term), "n{node}: {view:?}");
            }
        }
        cluster.begin_restart(leader)?;
        cluster.leader_among(&[leader, other]).await?;
        for node in [leader, other] {
            let address = cluster.address(node);
            eventually(PHASE, "both have all", || history.check_at(&client, &address)).await?;
        }
        let view = cluster.group(wiped).await?;
        ensure!(view.role == "blank" && view.waiting_for.is_some(), "{view:?}");
        cluster.finish();
        Ok(())
    });
}
