//! Consumers of a run: each takes its share of the topic's queues and notes what arrives, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use flotilla_client::{Client, ConsumeFrom, MessageQueue, PullConsumer, ReceivedMessage};

use super::body::Header;
use super::latency::Latencies;
use super::ledger::{QueueIndex, Received};
use super::stage::{Counts, Stage};

/// Messages of one pull; brokers may give fewer.
const PULL_MESSAGES: usize = 1_024;
/// Messages of one queue that are fetched ahead: some pulls, so that the next one is on its way meanwhile.
const AHEAD_MESSAGES: usize = 8_192;

/// One consumer, with a client of its own.
#[derive(Debug)]
pub struct Receiver {
    client: Client,
    consumer: PullConsumer,
    /// Queues of the topic.
    queues: Vec<MessageQueue>,
}

impl Receiver {
    /// Starts a consumer of a group; it has no queues yet.
    ///
    /// # Errors
    /// The topic has no route, or the name server can't be reached.
    pub async fn start(
        name_servers: &str,
        topic: &str,
        group: &str,
        offsets: bool,
    ) -> anyhow::Result<Receiver> {
        let client = Client::connect(name_servers)?;
        let consumer = PullConsumer::builder(&client)
            .group(group)
            .consume_from(ConsumeFrom::First)
            .auto_commit(offsets)
            .pull_batch_size(PULL_MESSAGES)
            .queue_messages_max(AHEAD_MESSAGES)
            .start()
            .await
            .context("the consumer did not start")?;
        let queues = consumer.fetch_message_queues(topic).await;
        let queues = queues.with_context(|| format!("queues of topic {topic}"))?;
        Ok(Receiver { client, consumer, queues })
    }

    /// Takes every `count`-th queue from `number` on: what the consumers of a group take together is all. Without a rebalance
    /// nobody gets what another one has got already, so a message that comes twice was delivered twice.
    ///
    /// # Errors
    /// There are fewer queues than consumers, or the broker can't be asked for its ends.
    pub async fn take(&self, number: usize, count: usize, at_end: bool) -> anyhow::Result<()> {
        let all = self.queues.len();
        ensure!(
            count <= all,
            "{count} consumers can't share {all} queues: give fewer --clients or more --queues"
        );
        let mine: Vec<MessageQueue> = self.queues.iter().skip(number).step_by(count).cloned().collect();
        self.consumer.assign(mine.clone()).await?;
        if at_end {
            for queue in &mine {
                let sought = self.consumer.seek_to_end(queue).await;
                sought
                    .with_context(|| format!("end of queue {} of {}", queue.queue_id, queue.broker_name))?;
            }
        }
        Ok(())
    }

    /// Begins its queues at these offsets instead.
    ///
    /// # Errors
    /// An offset is not within its queue, or the broker can't be asked.
    pub async fn take_from(&self, offsets: &BTreeMap<MessageQueue, i64>) -> anyhow::Result<()> {
        self.consumer.assign(offsets.keys().cloned().collect()).await?;
        for (queue, offset) in offsets {
            self.consumer.seek(queue, *offset).await.with_context(|| format!("{queue:?} at {offset}"))?;
        }
        Ok(())
    }

    /// Messages of one queue; none when the time is up. Safe to drop.
    ///
    /// # Errors
    /// The client was stopped.
    pub async fn poll(&self, limit: Duration) -> anyhow::Result<Vec<ReceivedMessage>> {
        Ok(self.consumer.poll(limit).await?)
    }

    /// Claims that polls have given all messages before these offsets; `from` is where they began.
    pub fn has_reached(
        &self,
        ends: &BTreeMap<MessageQueue, i64>,
        from: &BTreeMap<MessageQueue, i64>,
    ) -> bool {
        let position = |queue| {
            let from = from.get(queue).copied().unwrap_or(0);
            self.consumer.position(queue).unwrap_or(from).max(from)
        };
        ends.iter().all(|(queue, end)| position(queue) >= *end)
    }

    /// Leaves.
    pub async fn stop(self) {
        self.consumer.shutdown().await;
        self.client.shutdown().await;
    }
}

/// What consumers of one group received on one thread.
#[derive(Debug)]
pub struct Reading {
    /// For losses, duplicates and order.
    pub ledger: Received,
    /// From the intended send to the receipt, of the measured part.
    pub latencies: Latencies,
    /// Messages of the measured part, without those that came again.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Time of the first message of the measured part, µs since 1970.
    pub first_us: Option<u64>,
    /// Time of its last one; 0 without any.
    pub last_us: u64,
    /// Only messages of this run count.
    only_run: Option<u64>,
}

/// What decides whether a message belongs to the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasuredBy {
    /// When it should have been sent.
    Sending,
    /// When it arrived.
    Arrival,
}

impl Reading {
    /// Nothing yet; of `only_run` if given.
    pub fn new(only_run: Option<u64>) -> Reading {
        Reading {
            ledger: Received::default(),
            latencies: Latencies::new(),
            messages: 0,
            bytes: 0,
            first_us: None,
            last_us: 0,
            only_run,
        }
    }

    /// Notes messages that arrived together; gives how many count and had not been received before.
    pub fn arrived(&mut self, stage: &Stage, messages: &[ReceivedMessage], by: MeasuredBy) -> u64 {
        let now_us = stage.clock.now_us();
        let in_time = by == MeasuredBy::Arrival && stage.measures(now_us);
        let mut new = 0;
        // Messages that arrive together are of one queue: it is looked up once.
        let mut last: Option<(&Arc<MessageQueue>, QueueIndex)> = None;
        for message in messages {
            let header = Header::read(message.body());
            let measured = match header {
                Some(header) if by == MeasuredBy::Sending => stage.measures(header.intended_us),
                _ => in_time,
            };
            match header {
                Some(header) if self.only_run.is_none_or(|run| run == header.run) => {
                    let queue = match last {
                        Some((last, index)) if Arc::ptr_eq(last, message.queue()) => index,
                        _ => self.ledger.queue(message.queue()),
                    };
                    last = Some((message.queue(), queue));
                    if !self.ledger.message(queue, &header) {
                        continue;
                    }
                    if measured {
                        self.latencies.record(now_us.saturating_sub(header.intended_us));
                    }
                }
                _ if self.only_run.is_some() => continue,
                _ => self.ledger.foreign(),
            }
            new += 1;
            if measured {
                self.messages += 1;
                self.bytes += message.body().len() as u64;
                self.first_us.get_or_insert(now_us);
                self.last_us = now_us;
            }
        }
        Counts::add(&stage.counts.received, new);
        new
    }

    /// Adds what other consumers of the group received.
    pub fn merge(&mut self, other: Reading) {
        self.ledger.merge(other.ledger);
        self.latencies.merge(&other.latencies);
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.first_us = self.first_us.into_iter().chain(other.first_us).min();
        self.last_us = self.last_us.max(other.last_us);
    }
}
