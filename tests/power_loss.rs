//! Power loss of real processes (feature `faults`, docs/testing.md): nodes are killed, and what they had not synced is taken from
//! them. What was acked is there all the same, once, where its ack says.
#![cfg(feature = "faults")]

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use support::cluster::{Hooks, SEGMENTS_4_MIB};
use support::settings::NODES;
use support::{Cluster, Load, Plan, run};

const LIMIT: Duration = Duration::from_secs(300);
/// Longest wait for the acks of a phase. It only ends a test that hangs.
const PHASE: Duration = Duration::from_secs(60);
const ACKS: usize = 1500;

fn plan(topic: &str) -> Plan {
    Plan { producers: 12, ..Plan::new(topic, 4) }
}

fn hooks(mutant: Option<&'static str>) -> Hooks {
    Hooks { power_loss: true, mutant, ..Hooks::default() }
}

/// Kills all nodes at once and takes what they had not synced.
fn cut_all(cluster: &mut Cluster, seed: Option<u64>) -> anyhow::Result<()> {
    for node in 0..NODES {
        cluster.kill(node)?;
    }
    for node in 0..NODES {
        let told = cluster.lose_power(node, seed.map(|seed| seed + node as u64))?;
        eprint!("n{node}: {told}");
    }
    for node in 0..NODES {
        cluster.begin_restart(node)?;
    }
    Ok(())
}

#[test]
fn acked_messages_survive_a_power_loss_of_all_nodes() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_hooked(&SEGMENTS_4_MIB, hooks(None)).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "power", 4, 6).await?;
        let load = Load::start(&client, plan("power")).await?;
        for seed in [None, Some(1), Some(20)] {
            load.more(ACKS, PHASE).await?;
            cut_all(&mut cluster, seed)?;
            cluster.ready().await.with_context(|| format!("the group is back after {seed:?}"))?;
        }
        load.more(ACKS, PHASE).await?;
        load.prove(cluster, &client).await
    });
}

/// One node at a time, the others go on: its votes and its part of each majority are as good as on a disk.
#[test]
fn acked_messages_survive_a_power_loss_of_each_leader() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_hooked(&SEGMENTS_4_MIB, hooks(None)).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "power", 4, 6).await?;
        let load = Load::start(&client, plan("power")).await?;
        for seed in 0..3 {
            load.more(ACKS / 3, PHASE).await?;
            let leader = cluster.leader().await?;
            cluster.kill(leader)?;
            eprint!("n{leader}: {}", cluster.lose_power(leader, Some(seed))?);
            cluster.leader().await?;
            cluster.restart(leader).await?;
        }
        load.prove(cluster, &client).await
    });
}

/// Without waiting for disks a machine that went down has forgotten what it acknowledged: it knows, by another start of the machine,
/// and the leader sends it again (LOG-RULES.md 12).
#[test]
fn without_syncs_a_follower_that_lost_its_power_is_quarantined_and_catches_up() {
    run(LIMIT, async {
        let settings = [SEGMENTS_4_MIB.as_slice(), &[("flushDiskType", "ASYNC_FLUSH")]].concat();
        let mut cluster = Cluster::start_hooked(&settings, hooks(None)).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "power", 4, 6).await?;
        let load = Load::start(&client, plan("power")).await?;
        load.more(ACKS, PHASE).await?;
        let follower = cluster.other_than(&[leader]);
        cluster.kill(follower)?;
        cluster.restart(follower).await?;
        let log = cluster.process(follower)?.log();
        ensure!(!log.contains("quarantined=true"), "a restart of the process forgets nothing");
        load.more(ACKS, PHASE).await?;
        cluster.kill(follower)?;
        eprint!("n{follower}: {}", cluster.lose_power(follower, None)?);
        cluster.restart(follower).await?;
        let log = cluster.process(follower)?.log();
        ensure!(log.contains("quarantined=true"), "it knows that it has forgotten");
        load.more(ACKS, PHASE).await?;
        load.prove(cluster, &client).await
    });
}

/// The mutant that shows that the loss is a loss: the same run without syncs loses acked messages.
#[test]
fn skip_fdatasync_loses_acked_messages_to_a_power_loss() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_hooked(&SEGMENTS_4_MIB, hooks(Some("skip-fdatasync"))).await?;
        let client = cluster.client();
        // A group that happens to be synced at one of three is there again.
        for round in 0..5 {
            let topic = format!("power{round}");
            client.create_topic(&cluster.address(cluster.leader().await?), &topic, 4, 6).await?;
            let load = Load::start(&client, plan(&topic)).await?;
            load.more(ACKS, PHASE).await?;
            let history = load.stop().await;
            history.check_at(&client, &cluster.address(cluster.leader().await?)).await?;
            cut_all(&mut cluster, None)?;
            cluster.ready().await?;
            let address = cluster.address(cluster.leader().await?);
            if let Err(error) = history.check_at(&client, &address).await {
                eprintln!("{error:#}");
                cluster.finish();
                return Ok(());
            }
        }
        anyhow::bail!("all acked messages are there, and few were ever synced")
    });
}
