//! Kill -9 and restarts of real processes under load: what was acked is there, once, where its ack says.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use support::settings::NODES;
use support::{Cluster, Load, Plan, run};

const LIMIT: Duration = Duration::from_secs(150);
/// Longest wait for the acks of a phase. It only ends a test that hangs.
const PHASE: Duration = Duration::from_secs(30);
/// Writes resume within this time after the leader was killed; LOG-RULES.md 18 promises less.
const RESUME: Duration = Duration::from_secs(3);
/// Acks of one phase of a load.
const ACKS: usize = 600;

#[test]
fn a_killed_leader_costs_no_acked_message_and_comes_back() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "killed", 4, 6).await?;
        let load = Load::start(&client, Plan::new("killed", 4)).await?;
        load.more(ACKS, PHASE).await?;
        let mut kills = Vec::new();
        for _ in 0..2 {
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
        let history = load.stop().await;
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
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
        let history = load.stop().await;
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
