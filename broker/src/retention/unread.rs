//! What a boundary takes away before a consumer group has read it.
//!
//! A group that has stored an offset for a queue has read what lies below it. One without stored offset is not counted: a
//! broadcasting group keeps its offsets to itself, and a group that never read a queue may never want to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flotilla_core::{QueueMinimum, Tables};

/// Unread messages by topic and group.
pub(super) type Unread = BTreeMap<(Arc<str>, Arc<str>), u64>;

/// Messages that the groups have not read and that lie below these minimums.
pub(super) fn below(tables: &Tables, minimums: &[QueueMinimum]) -> Unread {
    let minimums: HashMap<(&str, u32), i64> =
        minimums.iter().map(|queue| ((&*queue.topic, queue.queue_id), queue.min)).collect();
    let mut unread = Unread::new();
    for (group, topic, queue_id, offset) in tables.each_consumer_offset() {
        let Some(minimum) = minimums.get(&(&**topic, queue_id)) else { continue };
        let Some(range) = tables.queue(topic, queue_id) else { continue };
        let count = (*minimum).min(range.max) - offset.max(range.min);
        if let Ok(count @ 1..) = u64::try_from(count) {
            *unread.entry((topic.clone(), group.clone())).or_default() += count;
        }
    }
    unread
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flotilla_core::{Command, EntryContext, OffsetCommit, PayloadBuilder, Perm, TailTable, TopicConfig};

    use super::*;
    use crate::test_message::message;

    fn tables(commits: &[(&str, &str, u32, i64)]) -> Tables {
        let (mut tables, mut tail) = (Tables::blank(), TailTable::new());
        let mut builder = PayloadBuilder::new(0, 0);
        for topic in ["alpha", "beta"] {
            builder.push_command(&Command::PutTopic(TopicConfig::new(topic, 2, Perm::READ_WRITE)));
        }
        let commits = commits.iter().map(|(group, topic, queue_id, offset)| OffsetCommit {
            group: (*group).into(),
            topic: (*topic).into(),
            queue_id: *queue_id,
            offset: *offset,
        });
        builder.push_command(&Command::CommitOffsets(commits.collect()));
        for (topic, queue_id) in [("alpha", 0), ("alpha", 1), ("beta", 0)] {
            for _ in 0..10 {
                builder.push_message(&message(topic, queue_id, "")).unwrap();
            }
        }
        let mut payload = builder.finish().to_vec();
        tail.stamp(&mut payload, 72, 1).unwrap();
        let entry = EntryContext { index: 1, term: 1, position: 0, payload_position: 72, time_ms: 1 };
        tables.apply(&entry, &payload).unwrap();
        tables
    }

    fn minimum(topic: &str, queue_id: u32, min: i64) -> QueueMinimum {
        QueueMinimum { topic: topic.into(), queue_id, min }
    }

    fn found(commits: &[(&str, &str, u32, i64)], minimums: &[QueueMinimum]) -> Vec<(String, u64)> {
        let unread = below(&tables(commits), minimums);
        unread.into_iter().map(|((topic, group), count)| (format!("{topic} {group}"), count)).collect()
    }

    #[test]
    fn what_lies_between_an_offset_and_the_minimum_is_unread() {
        let commits =
            [("g", "alpha", 0, 4), ("g", "alpha", 1, 9), ("h", "alpha", 0, 10), ("g", "beta", 0, 0)];
        let minimums = [minimum("alpha", 0, 7), minimum("alpha", 1, 8), minimum("beta", 0, 2)];
        assert_eq!(found(&commits, &minimums), [("alpha g".to_owned(), 3), ("beta g".to_owned(), 2)]);
    }

    #[test]
    fn queues_add_up_and_a_minimum_beyond_the_end_counts_what_there_is() {
        let commits = [("g", "alpha", 0, 4), ("g", "alpha", 1, 9)];
        let minimums = [minimum("alpha", 0, 50), minimum("alpha", 1, 10)];
        assert_eq!(found(&commits, &minimums), [("alpha g".to_owned(), 7)]);
    }

    #[test]
    fn offsets_of_queues_that_are_not_raised_or_not_there_don_t_count() {
        let commits = [("g", "alpha", 0, 0), ("g", "gone", 0, 0), ("g", "beta", 9, 0), ("g", "beta", 0, 99)];
        let minimums = [minimum("gone", 0, 5), minimum("beta", 9, 5), minimum("beta", 0, 5)];
        assert_eq!(found(&commits, &minimums), []);
    }
}
