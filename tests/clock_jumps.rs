//! A wall clock that jumps, in real processes (docs/testing.md: the clock's offset).
//!
//! Rule 16: leader time follows a jump slowly, at 0.9 to 1.1 of real time. So what waits for a moment comes a tenth early or late at
//! most, however far the clock jumped. The test counts by its own monotonic clock, which nothing moves.

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use support::cluster::Hooks;
use support::settings::NODES;
use support::wait::claim;
use support::{Cluster, Message, eventually, run};

const LIMIT: Duration = Duration::from_secs(150);
/// Longest wait for one delayed message. It only ends a test that hangs.
const PHASE: Duration = Duration::from_secs(40);
const HOUR_MS: i64 = 3_600_000;
const DELAY: Duration = Duration::from_secs(4);
/// How far real time may be from what a jump explains: stages of the way, and a busy machine.
const SLACK_MS: i64 = 10_000;

fn wall_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

#[test]
fn rule_16_a_delayed_message_keeps_its_delay_while_the_clock_jumps() {
    run(LIMIT, async {
        let hooks = Hooks { clock: true, ..Hooks::default() };
        let mut cluster = Cluster::start_hooked(&[("messageDelayLevel", "4s")], hooks).await?;
        let (client, leader) = (cluster.client(), cluster.leader().await?);
        let address = cluster.address(leader);
        client.create_topic(&address, "jumps", 1, 6).await?;
        for (round, offset_ms) in [HOUR_MS, -HOUR_MS, 0].into_iter().enumerate() {
            let sent_at = Instant::now();
            let name = format!("round {round}");
            let message = Message::new("jumps", 0, name.clone()).with("DELAY", "1").with("UNIQ_KEY", &name);
            client.send(&address, &message).await?;
            // While the message waits.
            for node in 0..NODES {
                cluster.set_clock(node, offset_ms)?;
            }
            let log = || cluster.process(leader).map(support::process::Process::log);
            eventually(PHASE, "the leader has seen the jump", || async {
                let moved = format!("the wall clock was moved offset_ms={offset_ms}");
                let log = log().map_err(|error| error.to_string())?;
                claim(log.contains(&moved), format!("{offset_ms} is not in its log"))
            })
            .await?;
            eventually(PHASE, "the message is delivered", || async {
                let queues = cluster.queues(leader, "jumps").await.map_err(|error| format!("{error:#}"))?;
                let count: u64 = queues.iter().map(|queue| queue.max).sum();
                claim(count > round as u64, format!("{count} delivered in round {round}"))
            })
            .await?;
            let took = sent_at.elapsed();
            ensure!(took >= DELAY.mul_f64(1.0 / 1.1), "delivered after {took:?} of real time");
            ensure!(took <= DELAY.mul_f64(1.0 / 0.9) + Duration::from_millis(SLACK_MS as u64), "{took:?}");
            let delivered = client.read(&address, "jumps", 0, round as i64).await?;
            let off_ms = delivered[0].store_time - wall_ms()?;
            ensure!(off_ms.abs() < SLACK_MS, "leader time jumped too: {off_ms} ms from the right time");
            eprintln!("round {round}: {offset_ms} ms, delivered after {took:?}, {off_ms} ms off");
        }
        ensure!(cluster.process(leader)?.log().contains("wall clock jumped, leader time follows slowly"));

        // A start takes the clock as it is; what stands in the log is never above what follows.
        let before = client.read(&address, "jumps", 0, 0).await?;
        for node in 0..NODES {
            cluster.set_clock(node, if node == leader { 0 } else { HOUR_MS })?;
        }
        for node in (0..NODES).filter(|node| *node != leader) {
            cluster.kill(node)?;
            cluster.restart(node).await?;
        }
        cluster.kill(leader)?;
        let successor = cluster.leader().await?;
        let sent =
            client.send(&cluster.address(successor), &Message::new("jumps", 0, "after".to_owned())).await?;
        let after = client.read(&cluster.address(successor), "jumps", 0, sent.offset).await?;
        ensure!(before.iter().all(|earlier| earlier.store_time <= after[0].store_time));
        let ahead_ms = after[0].store_time - wall_ms()?;
        ensure!((ahead_ms - HOUR_MS).abs() < SLACK_MS, "{ahead_ms} ms ahead");
        cluster.restart(leader).await?;
        cluster.settled().await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}
