//! Finds a queue by topic and number: a sharded map, so that readers and the thread that applies seldom meet.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use flotilla_core::Tables;
use parking_lot::RwLock;

use super::queue::QueueView;
use super::signal::Signal;

const SHARD_COUNT: usize = 16;

type Queues = Vec<Option<Arc<QueueView>>>;
type Shard = RwLock<HashMap<Arc<str>, Queues>>;

/// All queues since the last reset.
pub(super) struct Topics {
    shards: [Shard; SHARD_COUNT],
    hasher: std::hash::RandomState,
    signal: Arc<Signal>,
}

impl Topics {
    pub(super) fn new(signal: Arc<Signal>) -> Self {
        Self { shards: Default::default(), hasher: Default::default(), signal }
    }

    /// The queues of a state, without units.
    pub(super) fn of(tables: &Tables, signal: Arc<Signal>) -> Self {
        let topics = Self::new(signal);
        for (topic, queue_id, head) in tables.queue_heads() {
            topics.queue_or_new(topic, queue_id).start_at(head.range());
        }
        topics
    }

    fn shard(&self, topic: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(topic) as usize % SHARD_COUNT]
    }

    pub(super) fn queue(&self, topic: &str, queue_id: u32) -> Option<Arc<QueueView>> {
        self.shard(topic).read().get(topic)?.get(queue_id as usize)?.clone()
    }

    pub(super) fn queue_or_new(&self, topic: &Arc<str>, queue_id: u32) -> Arc<QueueView> {
        if let Some(queue) = self.queue(topic, queue_id) {
            return queue;
        }
        let mut shard = self.shard(topic).write();
        let queues = shard.entry(topic.clone()).or_default();
        let index = queue_id as usize;
        if index >= queues.len() {
            queues.resize(index + 1, None);
        }
        queues[index].get_or_insert_with(|| Arc::new(QueueView::new(self.signal.clone()))).clone()
    }

    /// All queues, sorted by topic and number.
    pub(super) fn all(&self) -> Vec<(Arc<str>, u32, Arc<QueueView>)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for (topic, queues) in &*shard.read() {
                let known =
                    (0u32..).zip(queues).filter_map(|(id, queue)| Some((topic.clone(), id, queue.clone()?)));
                all.extend(known);
            }
        }
        all.sort_unstable_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        all
    }
}
