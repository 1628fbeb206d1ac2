//! How far each group has pulled, as far as this replica has served it: for the tools' number of messages in flight.
//!
//! Soft state, lost with the process; a group that is not known here counts as having pulled what it has committed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::PULLED_OFFSETS_MAX;

type Queues = HashMap<u32, i64>;

/// Next offset that each group pulls, by topic, group and queue.
#[derive(Default)]
pub struct PulledOffsets {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: HashMap<Arc<str>, HashMap<Arc<str>, Queues>>,
    count: usize,
}

impl PulledOffsets {
    /// A group was given the messages below this offset.
    pub fn note(&self, group: &Arc<str>, topic: &Arc<str>, queue_id: u32, next: i64) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if let Some(queues) = state.topics.get_mut(topic).and_then(|groups| groups.get_mut(group))
            && let Some(known) = queues.get_mut(&queue_id)
        {
            *known = next;
            return;
        }
        if state.count < PULLED_OFFSETS_MAX {
            state.count += 1;
            let groups = state.topics.entry(topic.clone()).or_default();
            groups.entry(group.clone()).or_default().insert(queue_id, next);
        }
    }

    /// The next offset that a group pulls from a queue.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.state.lock().topics.get(topic)?.get(group)?.get(&queue_id).copied()
    }

    /// Forgets what is known of a topic.
    pub fn forget_topic(&self, topic: &str) {
        let mut state = self.state.lock();
        if let Some(groups) = state.topics.remove(topic) {
            state.count -= groups.values().map(Queues::len).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pull_of_each_group_and_queue_is_known_until_the_topic_goes() {
        let pulled = PulledOffsets::default();
        let (g, h, t): (Arc<str>, Arc<str>, Arc<str>) = ("g".into(), "h".into(), "t".into());
        pulled.note(&g, &t, 0, 5);
        pulled.note(&g, &t, 0, 3);
        pulled.note(&h, &t, 1, 9);
        assert_eq!(pulled.get("g", "t", 0), Some(3));
        assert_eq!(pulled.get("h", "t", 1), Some(9));
        assert_eq!(pulled.get("h", "t", 0), None);
        pulled.forget_topic("t");
        assert_eq!(pulled.get("g", "t", 0), None);
        assert_eq!(pulled.state.lock().count, 0);
    }
}
