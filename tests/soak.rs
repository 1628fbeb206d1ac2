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
        client.create_topic(&cluster.address(leader), "soak", 8, 6).await?;
        let term = cluster.group(leader).await?.term;
        let load = Load::start(&client, Plan { producers: 64, ..Plan::new("soak", 8) }).await?;
        let start = Instant::now();
        while start.elapsed() < span {
            load.more(100, PHASE).await?;
            for node in 0..NODES {
                let view = cluster.group(node).await?;
                let at = start.elapsed();
                ensure!((view.term, view.leader) == (term, Some(leader)), "n{node} after {at:?}: {view:?}");
            }
        }
        let history = load.stop().await;
        let rate = history.acked.len() as f64 / start.elapsed().as_secs_f64();
        let gap = history.longest_gap(start, start + span);
        eprintln!("{} acks, {rate:.0} a second, longest time between two {gap:?}", history.acked.len());
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
