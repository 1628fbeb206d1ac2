//! Full load for a while: the leader stays the leader.
//!
//! Twenty seconds by default; the environment variable `FLOTILLA_SOAK_MINUTES` asks for more.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use support::settings::NODES;
use support::{Cluster, Load, Plan, run};

const DEFAULT: Duration = Duration::from_secs(20);
const AROUND: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(10);
const QUEUES: i32 = 8;

fn span() -> anyhow::Result<Duration> {
    match std::env::var("FLOTILLA_SOAK_MINUTES") {
        Ok(minutes) => {
            let minutes: f64 = minutes.parse().context("FLOTILLA_SOAK_MINUTES is no number")?;
            Ok(Duration::from_secs_f64(minutes * 60.0))
        }
        Err(_) => Ok(DEFAULT),
    }
}

#[test]
fn full_load_starts_no_election() {
    let span = span().expect("the span can be read");
    run(span + AROUND, async {
        let mut cluster = Cluster::start_with(&[("mappedFileSizeCommitLog", "67108864")]).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "soak", QUEUES, 6).await?;
        let term = cluster.group(leader).await?.term;
        let plan = Plan { producers: 64, body_size: 512, remember: false, ..Plan::new("soak", QUEUES) };
        let load = Load::start(&client, plan).await?;
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        while start.elapsed() < span {
            let asked = Instant::now();
            load.more(100, PHASE).await?;
            slowest = slowest.max(asked.elapsed());
            for node in 0..NODES {
                let view = cluster.group(node).await?;
                let at = start.elapsed();
                ensure!((view.term, view.leader) == (term, Some(leader)), "n{node} after {at:?}: {view:?}");
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let (history, acked) = load.stop_and_count().await;
        eprintln!(
            "{acked} acks, {:.0} a second, a hundred of them in {slowest:?} at most",
            acked as f64 / seconds
        );
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());

        // Each ack is one message, on every node.
        cluster.settled().await?;
        for node in 0..NODES {
            let queues = cluster.queues(node, "soak").await?;
            let stored: u64 = queues.iter().map(|queue| queue.max - queue.min).sum();
            ensure!(stored == acked as u64, "{stored} messages at n{node}, {acked} acks");
        }
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
