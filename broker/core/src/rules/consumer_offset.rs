//! QUERY_CONSUMER_OFFSET: the stored offset, or the beginning of a young queue, or nothing.

use crate::tables::Tables;

/// What code 14 answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAnswer {
    /// Success with this offset.
    Offset(i64),
    /// QUERY_NOT_FOUND (22): the client applies its own starting rule.
    NotFound,
}

/// Decides a query from applied state.
///
/// A group without an offset starts at the first message of a *young* queue, whatever its own rule says, so that a consumer
/// started shortly after its topic misses nothing. RocketMQ calls a queue young while its first message is in memory; here it is
/// while little log follows that message, which all replicas see alike. The beginning is the number at which the topic was
/// created: 0, or where a deleted topic of this name had ended.
// Source: RocketMQ 5.3 ConsumerManageProcessor#queryConsumerOffset; the replicated rule is our own.
pub fn query_consumer_offset(
    tables: &Tables,
    group: &str,
    topic: &str,
    queue_id: u32,
    zero_if_not_found: bool,
) -> OffsetAnswer {
    let reset = tables.reset_offset(group, topic, queue_id);
    if let Some(offset) = reset.or_else(|| tables.consumer_offset(group, topic, queue_id)) {
        return OffsetAnswer::Offset(offset);
    }
    if !zero_if_not_found {
        return OffsetAnswer::NotFound;
    }
    match tables.queue_head(topic, queue_id) {
        // RocketMQ answers 0 for a queue that it does not know: its minimum is 0 and nothing of it is on disk.
        None => OffsetAnswer::Offset(0),
        Some(head) if head.min > head.base => OffsetAnswer::NotFound,
        Some(head) if head.max == head.base => OffsetAnswer::Offset(head.base),
        Some(head) => {
            let first = head.base_physical_offset.cast_unsigned();
            let log_since = tables.applied().end_position.saturating_sub(first);
            if log_since <= tables.settings().young_queue_bytes {
                OffsetAnswer::Offset(head.base)
            } else {
                OffsetAnswer::NotFound
            }
        }
    }
}
