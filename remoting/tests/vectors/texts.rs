//! Texts and numbers: versions, pop texts, recall handles, signed content, traces.

use flotilla_remoting::message::consume_queue::UNIT_SIZE;
use flotilla_remoting::pop::{
    MessageOffsets, OrderCount, PopListEntry, RecallHandle, ReceiptHandle, StartOffset, TopicMark,
    parse_list, write_list,
};
use flotilla_remoting::trace::{self, TraceRecord};
use flotilla_remoting::{ExtFields, acl, names, version};

use super::support::{Vector, hex, text_pairs, unhex};

const _: () = assert!(UNIT_SIZE == 20);

/// Regular version numbers have the name of their release; the named thresholds have the numbers of the enum.
pub fn constants(vector: &Vector) {
    for (key, value) in vector.fields.as_object().unwrap() {
        if let Some(number) = key.strip_prefix("name_of_") {
            assert_eq!(version::name(number.parse().unwrap()), value.as_str().unwrap());
        } else if key.starts_with("V4") || key.starts_with("V5") || key == "HIGHER_VERSION" {
            assert_eq!(version::name(i32::try_from(value.as_i64().unwrap()).unwrap()), *key);
        }
    }
    let number = |name| i32::try_from(vector.number(name)).unwrap();
    assert_eq!(version::CURRENT, number("CURRENT_VERSION"));
    assert_eq!(version::CURRENT, number(version::CURRENT_NAME));
    assert_eq!(version::HIGHER, number("HIGHER_VERSION"));
    assert_eq!(version::FULL_REGISTRATION, number("V3_0_11"));
    assert_eq!(version::RUNNING_INFO, number("V3_1_8") - 1);
    assert_eq!(version::MAX_RECONSUME_TIMES, number("V3_4_9"));
    assert_eq!(version::STANDARD_ROUTE_JSON, number("V4_9_4"));
    assert_eq!(version::QUEUE_MAPPINGS, number("V5_0_0"));
    assert_eq!(version::GO_AWAY_ABOVE, number("V5_3_1"));
}

pub fn receipt_handle(vector: &Vector) {
    let handle: ReceiptHandle = vector.bytes_text().parse().unwrap();
    let topic = vector.text("topic");
    let mark = if topic == names::pop_retry_topic("g1", "TopicTest") {
        TopicMark::RetryV1
    } else if topic == names::pop_retry_topic_v2("g1", "TopicTest") {
        TopicMark::RetryV2
    } else {
        TopicMark::Normal
    };
    let expected = ReceiptHandle {
        start_offset: vector.number("startOffset"),
        pop_time: vector.number("popTime"),
        invisible_time_ms: vector.number("invisibleTime"),
        revive_queue_id: i32::try_from(vector.number("reviveQid")).unwrap(),
        mark,
        broker_name: vector.text("brokerName").to_owned(),
        queue_id: i32::try_from(vector.number("queueId")).unwrap(),
        message_offset: vector.fields["msgOffset"].as_i64(),
    };
    assert_eq!(handle, expected, "{}", vector.name);
    assert_eq!(handle.to_string(), vector.bytes_text(), "{}", vector.name);
}

pub fn pop_response_field(vector: &Vector) -> bool {
    let normal = TopicMark::Normal;
    match vector.name.as_str() {
        "pop_start_offset_info" => list(
            vector,
            &[
                StartOffset { mark: normal, queue_id: 0, offset: 100 },
                StartOffset { mark: TopicMark::RetryV1, queue_id: 0, offset: 7 },
            ],
        ),
        "pop_msg_offset_info" => list(
            vector,
            &[
                MessageOffsets { mark: normal, queue_id: 0, offsets: vec![100, 101, 103] },
                MessageOffsets { mark: TopicMark::RetryV1, queue_id: 0, offsets: vec![7] },
            ],
        ),
        "pop_order_count_info" => list(
            vector,
            &[
                OrderCount { mark: normal, queue_id: 0, offset: None, count: 2 },
                OrderCount { mark: normal, queue_id: 0, offset: Some(100), count: 2 },
            ],
        ),
        _ => return false,
    }
    true
}

fn list<T: PopListEntry + PartialEq + std::fmt::Debug>(vector: &Vector, expected: &[T]) {
    assert_eq!(parse_list::<T>(vector.bytes_text()).unwrap(), expected, "{}", vector.name);
    assert_eq!(write_list(expected), vector.bytes_text(), "{}", vector.name);
}

pub fn recall_handle(vector: &Vector) {
    let handle: RecallHandle = vector.bytes_text().parse().unwrap();
    assert_eq!(handle.topic, vector.text("topic"));
    assert_eq!(handle.broker_name, vector.text("brokerName"));
    assert_eq!(handle.timestamp, vector.number("timestamp"));
    assert_eq!(handle.message_id, vector.text("messageId"));
    assert_eq!(handle.to_string(), vector.bytes_text());
}

/// The vector's bytes are the signed content; the signature over them needs a key and is the broker's business.
pub fn signed_content(vector: &Vector) {
    let ext = ExtFields::from_iter(text_pairs(&vector.fields["signedFields"]));
    let body = unhex(vector.fields["bodyHex"].as_str().unwrap_or_default());
    assert_eq!(
        hex(&acl::signed_content(&ext, &body, version::CURRENT)),
        hex(&vector.bytes),
        "{}",
        vector.name
    );
}

pub fn trace_record(vector: &Vector) {
    let records: Vec<TraceRecord<'_>> = trace::records(vector.bytes_text()).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(format!("{}#", records[0].fields.join("|")), vector.text("text"), "{}", vector.name);
    assert_eq!(vector.name, format!("trace_{}", records[0].kind()));
    let mut out = String::new();
    trace::encode_record(&records[0], &mut out);
    assert_eq!(out, vector.bytes_text(), "{}", vector.name);
}
