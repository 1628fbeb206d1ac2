//! How far a group is in a queue, as tools show it (codes 208, 317, 308).

use std::collections::BTreeMap;

use crate::tables::Tables;

/// Numbers of a group in a queue: `consumer <= pulled <= broker`, so that no difference is ever negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueProgress {
    /// Next number that the queue gives.
    pub broker: i64,
    /// Next number that the group wants.
    pub consumer: i64,
    /// Next number that the group pulls.
    pub pulled: i64,
}

/// Progress in a queue; absent when there is no such queue. `pulled` is what the asked replica knows of the group's pulls.
///
/// A group without an offset stands where the topic began. An offset beyond the end, which a reset may have set, counts as the
/// end: there is nothing behind it.
// Source: RocketMQ 5.3 AdminBrokerProcessor#getConsumeStats, which shows negative differences.
pub fn queue_progress(
    tables: &Tables,
    group: &str,
    topic: &str,
    queue_id: u32,
    pulled: Option<i64>,
) -> Option<QueueProgress> {
    let head = tables.queue_head(topic, queue_id)?;
    let stored = tables.consumer_offset(group, topic, queue_id);
    let consumer = stored.filter(|offset| *offset >= 0).unwrap_or(head.base).min(head.max);
    let pulled = pulled.unwrap_or(consumer).clamp(consumer, head.max);
    Some(QueueProgress { broker: head.max, consumer, pulled })
}

/// The topics whose progress in a group is shown: those asked for, else those with offsets; of the latter only the subscribed
/// ones when the group has members.
// Source: RocketMQ 5.3 AdminBrokerProcessor#getTopicsForCollectingConsumeStats.
pub fn progress_topics(tables: &Tables, group: &str, topic: &str, list: &[&str]) -> Vec<String> {
    if !list.is_empty() {
        return list.iter().map(|topic| (*topic).to_owned()).collect();
    }
    let topics: Vec<String> = match topic.trim() {
        "" => tables.topics_of_group(group).map(|topic| topic.to_string()).collect(),
        topic => vec![topic.to_owned()],
    };
    topics.into_iter().filter(|topic| subscribes(tables, group, topic)).collect()
}

/// Whether the group's members want the topic; true also while nobody says what the group wants.
pub fn subscribes(tables: &Tables, group: &str, topic: &str) -> bool {
    tables
        .members(group)
        .is_none_or(|members| members.subscription(topic).is_some() || members.subscriptions().is_empty())
}

/// Smallest offset per queue among the groups that still stand above the queue's minimum, `i64::MAX` where `compare` stands
/// lower: what is below was consumed by everybody.
// Source: RocketMQ 5.3 ConsumerOffsetManager#queryMinOffsetInAllGroup and AdminBrokerProcessor#queryCorrectionOffset. There the
// filtered groups lose their offsets by the question; here they are only left out.
pub fn correction_offsets(
    tables: &Tables,
    topic: &str,
    filtered: &[&str],
    compare: &str,
) -> BTreeMap<u32, i64> {
    let mut smallest = BTreeMap::new();
    for offsets in tables.all_consumer_offsets() {
        if &**offsets.topic != topic || filtered.contains(&&**offsets.group) {
            continue;
        }
        for (queue_id, offset) in offsets.queues {
            let min = tables.queue(topic, *queue_id).map_or(0, |range| range.min);
            if *offset >= min {
                let entry = smallest.entry(*queue_id).or_insert(*offset);
                *entry = (*entry).min(*offset);
            }
        }
    }
    let compared = tables.consumer_offsets(compare).filter(|(name, _, _)| &***name == topic);
    for (_, queue_id, offset) in compared {
        if let Some(smallest) = smallest.get_mut(&queue_id)
            && *smallest > offset
        {
            *smallest = i64::MAX;
        }
    }
    smallest
}
