//! What the attempts of a load came to, and the checks of it against what the group holds.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::client::Client;
use super::cluster::Cluster;
use super::exchange::{Failure, Sent};
use super::load::{Plan, stored_nothing};
use super::settings::NODES;
use super::stored::Stored;

/// An acked attempt.
#[derive(Clone, Debug)]
pub struct Ack {
    pub name: String,
    pub sent: Sent,
    pub start: Instant,
    pub at: Instant,
    /// Replica that answered.
    pub address: String,
}

/// An attempt without ack.
#[derive(Clone, Debug)]
pub struct Failed {
    pub name: String,
    pub failure: Failure,
    pub start: Instant,
    pub at: Instant,
    pub address: String,
}

/// All attempts of a load.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub topic: String,
    pub queues: i32,
    pub acked: Vec<Ack>,
    pub failed: Vec<Failed>,
}

impl History {
    /// An empty history of a load.
    pub fn new(plan: &Plan) -> History {
        History { topic: plan.topic.clone(), queues: plan.queues, ..History::default() }
    }

    /// Longest time between two acks after one another, within a span of time; the load may end within it.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let all = self.acked.iter().map(|ack| ack.at);
        let mut times: Vec<Instant> = all.filter(|at| (from..=to).contains(at)).collect();
        times.push(from);
        if self.acked.iter().any(|ack| ack.at > to) {
            times.push(to);
        }
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(to - from)
    }

    /// What the failures were, for messages.
    pub fn failures(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for failed in &self.failed {
            *kinds.entry(failed.failure.to_string()).or_default() += 1;
        }
        let mut text = String::new();
        for (kind, count) in kinds {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{count} x {kind}");
        }
        text
    }

    /// Reads all queues at one replica and checks them: see [`check_queue`] and [`History::check`].
    pub async fn check_at(&self, client: &Client, address: &str) -> anyhow::Result<Vec<Vec<Stored>>> {
        let mut queues = Vec::new();
        for queue in 0..self.queues {
            let messages = client.read(address, &self.topic, queue, 0).await?;
            check_queue(&messages).with_context(|| format!("queue {queue}"))?;
            queues.push(messages);
        }
        self.check(&queues)?;
        Ok(queues)
    }

    /// Each acked attempt lies at its acked offset; no attempt is stored twice; what was surely not sent is not stored.
    pub fn check(&self, queues: &[Vec<Stored>]) -> anyhow::Result<()> {
        let mut places: HashMap<String, (i32, i64)> = HashMap::new();
        for message in queues.iter().flatten() {
            let place = (message.queue, message.offset);
            if let Some(other) = places.insert(message.key(), place) {
                bail!("attempt {} is stored twice: at {other:?} and at {place:?}", message.key());
            }
        }
        for ack in &self.acked {
            let place = (ack.sent.queue, ack.sent.offset);
            match places.get(&ack.name) {
                Some(found) if *found == place => {}
                Some(found) => {
                    bail!("attempt {} was acked at {place:?} and lies at {found:?}: {ack:?}", ack.name)
                }
                None => bail!("attempt {} was acked at {place:?} and is lost: {ack:?}", ack.name),
            }
        }
        for failed in self.failed.iter().filter(|failed| stored_nothing(&failed.failure)) {
            ensure!(!places.contains_key(&failed.name), "an attempt that was not sent is stored: {failed:?}");
        }
        Ok(())
    }

    /// [`History::check_at`] at each node of a settled group, and equal bounds of the queues on all.
    pub async fn check_everywhere(&self, cluster: &Cluster, client: &Client) -> anyhow::Result<()> {
        cluster.settled().await?;
        let mut bounds = Vec::new();
        for node in 0..NODES {
            let queues = self.check_at(client, &cluster.address(node)).await;
            let queues = queues.with_context(|| format!("messages at n{node}"))?;
            let told = cluster.queues(node, &self.topic).await?;
            for (range, messages) in told.iter().zip(&queues) {
                let read = (0, messages.len() as u64);
                ensure!((range.min, range.max) == read, "n{node} tells {range:?} and has {read:?}");
            }
            bounds.push(told);
        }
        ensure!(bounds.iter().all(|told| *told == bounds[0]), "bounds differ between nodes: {bounds:?}");
        Ok(())
    }
}

/// Queue offsets are dense from the first on, positions and store times never fall.
pub fn check_queue(messages: &[Stored]) -> anyhow::Result<()> {
    for (expected, message) in (0..).zip(messages) {
        ensure!(message.offset == expected, "offset {} where {expected} is due", message.offset);
    }
    for pair in messages.windows(2) {
        ensure!(pair[0].position < pair[1].position, "position falls at offset {}", pair[1].offset);
        ensure!(pair[0].store_time <= pair[1].store_time, "store time falls at offset {}", pair[1].offset);
    }
    Ok(())
}
