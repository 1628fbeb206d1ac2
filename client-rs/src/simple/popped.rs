//! A message that was received, and its handle.
//!
//! A pop's answer brings records, and beside them two lists: the start offset of each queue's part of the pop, and the queue
//! offsets of its messages. Records of one queue stand in the order of its list.
//! Source: RocketMQ 5.3 MQClientAPIImpl.processPopResponse, ExtraInfoUtil.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::headers::PopMessageResponse;
use flotilla_remoting::message::properties;
use flotilla_remoting::names::RETRY_PREFIX;
use flotilla_remoting::pop::{MessageOffsets, OrderCount, ReceiptHandle, StartOffset, TopicMark, parse_list};

use crate::received::ReceivedMessage;

/// A message that was received and is hidden from other members until it is acknowledged, or its time is over.
#[derive(Clone, Debug)]
pub struct PoppedMessage {
    message: ReceivedMessage,
    topic: Arc<str>,
    handle: ReceiptHandle,
}

impl Deref for PoppedMessage {
    type Target = ReceivedMessage;

    fn deref(&self) -> &ReceivedMessage {
        &self.message
    }
}

impl PoppedMessage {
    /// Topic that was subscribed, also when the message came from the group's retry topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What acknowledges the message; valid until its time is over or is changed.
    pub fn handle(&self) -> &ReceiptHandle {
        &self.handle
    }

    /// When its time is over and others may get it, in ms since 1970 by the broker's clock.
    pub fn visible_at_ms(&self) -> i64 {
        self.handle.pop_time.saturating_add(self.handle.invisible_time_ms)
    }

    /// The message without its handle.
    pub fn into_message(self) -> ReceivedMessage {
        self.message
    }

    pub(super) fn set_handle(&mut self, handle: ReceiptHandle) {
        self.handle = handle;
    }
}

/// The messages of an answer.
///
/// # Errors
/// What can't be read, or is not covered by the lists.
pub(super) fn read(
    topic: &str,
    broker_name: &str,
    header: &PopMessageResponse<'_>,
    body: &Bytes,
) -> Result<Vec<PoppedMessage>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let starts: HashMap<(TopicMark, i32), i64> = parse_list(header.start_offset_info.unwrap_or_default())
        .map_err(|error| text(&error))?
        .into_iter()
        .map(|StartOffset { mark, queue_id, offset }| ((mark, queue_id), offset))
        .collect();
    let offsets: HashMap<(TopicMark, i32), Vec<i64>> =
        parse_list(header.message_offset_info.unwrap_or_default())
            .map_err(|error| text(&error))?
            .into_iter()
            .map(|MessageOffsets { mark, queue_id, offsets }| ((mark, queue_id), offsets))
            .collect();
    let counts: Vec<OrderCount> =
        parse_list(header.order_count_info.unwrap_or_default()).map_err(|error| text(&error))?;
    let queue = MessageQueue { broker_name: broker_name.to_owned(), queue_id: -1, topic: topic.to_owned() };
    let messages = ReceivedMessage::all(&Arc::new(queue), body).map_err(|error| text(&error))?;
    let topic: Arc<str> = topic.into();
    let mut seen: HashMap<(TopicMark, i32), usize> = HashMap::new();
    let mut first: HashMap<(TopicMark, i32), i64> = HashMap::new();
    let mut popped = Vec::with_capacity(messages.len());
    for mut message in messages {
        let (mark, queue_id) = (mark_of(&message.queue().topic), message.queue().queue_id);
        let handle = |start_offset, message_offset| ReceiptHandle {
            start_offset,
            pop_time: header.pop_time,
            invisible_time_ms: header.invisible_time_ms,
            revive_queue_id: header.revive_queue_id,
            mark,
            broker_name: broker_name.to_owned(),
            queue_id,
            message_offset: Some(message_offset),
        };
        let handle = if let Some(ready) = message.property(properties::POP_CHECK) {
            // A retry that the broker gave its first topic back: only the broker knows where it really lies.
            ready.parse().map_err(|error| text(&error))?
        } else if header.start_offset_info.is_none() {
            // Brokers before the lists: the pop starts with the first record of a queue.
            let start = *first.entry((mark, queue_id)).or_insert(message.queue_offset());
            handle(start, message.queue_offset())
        } else {
            let place = (mark, queue_id);
            let index = seen.entry(place).or_default();
            let offset = offsets.get(&place).and_then(|offsets| offsets.get(*index));
            let (Some(start), Some(offset)) = (starts.get(&place), offset) else {
                return Err(format!("message {index} of queue {queue_id} is in no list of the answer"));
            };
            *index += 1;
            handle(*start, *offset)
        };
        let of_queue = |count: &&OrderCount| count.mark == handle.mark && count.queue_id == handle.queue_id;
        let of_message =
            |count: &&OrderCount| of_queue(count) && count.offset == Some(message.queue_offset());
        let whole = |count: &&OrderCount| of_queue(count) && count.offset.is_none();
        let count = counts.iter().find(of_message).or_else(|| counts.iter().find(whole));
        if let Some(times) = count.map(|count| count.count).filter(|times| *times > 0) {
            message.set_reconsume_times(times);
        }
        popped.push(PoppedMessage { message, topic: topic.clone(), handle });
    }
    Ok(popped)
}

/// Which kind of topic a record lies in. Source: RocketMQ 5.3 ExtraInfoUtil.getRetry, KeyBuilder.isPopRetryTopicV2.
pub(super) fn mark_of(topic: &str) -> TopicMark {
    match topic.strip_prefix(RETRY_PREFIX) {
        None => TopicMark::Normal,
        Some(rest) if rest.contains('+') => TopicMark::RetryV2,
        Some(_) => TopicMark::RetryV1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::received::tests::record;

    fn header<'a>(starts: Option<&'a str>, offsets: Option<&'a str>) -> PopMessageResponse<'a> {
        PopMessageResponse {
            pop_time: 1_000,
            invisible_time_ms: 60,
            revive_queue_id: 3,
            rest_num: 0,
            start_offset_info: starts,
            message_offset_info: offsets,
            order_count_info: None,
        }
    }

    fn handles(header: &PopMessageResponse<'_>, records: &[Vec<u8>]) -> Result<Vec<String>, String> {
        let body = Bytes::from(records.concat());
        let messages = read("t", "b", header, &body)?;
        Ok(messages.iter().map(|message| message.handle().to_string()).collect())
    }

    #[test]
    fn records_take_their_offsets_in_order_from_the_lists() {
        let header = header(Some("0 1 100;0 2 7"), Some("0 1 100,105;0 2 7"));
        let records = [record("t", 1, 100, ""), record("t", 2, 7, ""), record("t", 1, 105, "")];
        assert_eq!(
            handles(&header, &records).unwrap(),
            ["100 1000 60 3 0 b 1 100", "7 1000 60 3 0 b 2 7", "100 1000 60 3 0 b 1 105"]
        );
    }

    #[test]
    fn a_record_that_no_list_covers_is_malformed() {
        let header = header(Some("0 1 100"), Some("0 1 100"));
        assert!(handles(&header, &[record("t", 1, 100, ""), record("t", 1, 101, "")]).is_err());
        assert!(handles(&header, &[record("t", 2, 100, "")]).is_err());
    }

    #[test]
    fn a_retry_brings_its_handle_along_and_keeps_the_subscribed_topic() {
        let header = header(Some("1 0 4"), Some("1 0 4"));
        let handle = "4 999 60 3 1 b 0 4";
        let ready = record("t", 0, 4, &format!("POP_CK\u{1}{handle}\u{2}"));
        assert_eq!(handles(&header, &[ready]).unwrap(), [handle]);
        // A broker that says where the record really lies.
        let body = Bytes::from(record("%RETRY%g_t", 0, 4, ""));
        let messages = read("t", "b", &header, &body).unwrap();
        assert_eq!(messages[0].handle().to_string(), "4 1000 60 3 1 b 0 4");
        assert_eq!(messages[0].topic(), "t");
        assert_eq!(messages[0].visible_at_ms(), 1_060);
    }

    #[test]
    fn without_lists_a_pop_starts_with_its_first_record() {
        let records = [record("t", 1, 100, ""), record("t", 1, 101, "")];
        let expected = ["100 1000 60 3 0 b 1 100", "100 1000 60 3 0 b 1 101"];
        assert_eq!(handles(&header(None, None), &records).unwrap(), expected);
    }

    #[test]
    fn attempts_of_an_ordered_pop_come_from_the_third_list() {
        let mut header = header(Some("0 1 5"), Some("0 1 5,6"));
        header.order_count_info = Some("0 1 2;0 qo1%6 3");
        let body = Bytes::from([record("t", 1, 5, ""), record("t", 1, 6, "")].concat());
        let messages = read("t", "b", &header, &body).unwrap();
        assert_eq!(messages.iter().map(|m| m.reconsume_times()).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn marks_tell_both_forms_of_retry_topics() {
        assert_eq!(mark_of("t"), TopicMark::Normal);
        assert_eq!(mark_of("%RETRY%g_t"), TopicMark::RetryV1);
        assert_eq!(mark_of("%RETRY%g+t"), TopicMark::RetryV2);
    }
}
