//! Messages: what can't be stored, what is no message, and what the encoder decides by itself.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;

use super::layout::{MAGIC_BLANK, MAGIC_V1, MAGIC_V2, PHYSICAL_OFFSET_AT};
use super::*;
use crate::limits::PROPERTIES_SIZE_MAX;

fn host() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 5), 10911))
}

fn message() -> StoredMessage<'static> {
    StoredMessage {
        topic: "TopicTest",
        queue_id: 1,
        flag: 0,
        sys_flag: SysFlag(0),
        queue_offset: 0,
        physical_offset: 0,
        born_timestamp: 17,
        born_host: host(),
        store_timestamp: 0,
        store_host: host(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"hello",
        properties: "TAGS\u{1}TagA",
        added_properties: &[],
        layout: LayoutVersion::Auto,
        with_property_crc: false,
    }
}

fn encoded(message: &StoredMessage<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    encode_stored(message, &mut out).unwrap();
    out
}

fn parse_error(record: &[u8]) -> LayoutError {
    MessageView::parse(record).unwrap_err()
}

#[test]
fn long_topics_take_the_second_layout() {
    let topic = "t".repeat(128);
    let short =
        MessageView::parse(&encoded(&StoredMessage { topic: &topic[..127], ..message() })).unwrap().0.magic();
    let record = encoded(&StoredMessage { topic: &topic, ..message() });
    let (view, _) = MessageView::parse(&record).unwrap();
    assert_eq!((short, view.magic(), view.topic()), (MAGIC_V1, MAGIC_V2, topic.as_str()));
    let forced = StoredMessage { topic: &topic, layout: LayoutVersion::V1, ..message() };
    let outcome = encode_stored(&forced, &mut BytesMut::new());
    assert_eq!(outcome, Err(MessageError::TopicTooLong { size: 128, size_max: 127 }));
}

#[test]
fn properties_are_limited_with_what_is_added() {
    let properties = "x".repeat(PROPERTIES_SIZE_MAX - 20);
    let exact = StoredMessage {
        properties: &properties,
        added_properties: &[("CLUSTER", "0123456789")],
        ..message()
    };
    assert_eq!(MessageView::parse(&encoded(&exact)).unwrap().0.properties().len(), PROPERTIES_SIZE_MAX);
    let beyond = StoredMessage { added_properties: &[("CLUSTER", "0123456789A")], ..exact };
    let mut out = BytesMut::from(&b"kept"[..]);
    let size = PROPERTIES_SIZE_MAX + 1;
    assert_eq!(encode_stored(&beyond, &mut out), Err(MessageError::PropertiesTooLong { size }));
    assert_eq!(encoded_size(&beyond), Err(MessageError::PropertiesTooLong { size }));
    assert_eq!(&out[..], b"kept");
}

#[test]
fn added_properties_follow_a_separator_and_win() {
    let added = [("TAGS", "TagB"), (properties::TRACE_ON, "true")];
    let record = encoded(&StoredMessage { added_properties: &added, ..message() });
    let (view, _) = MessageView::parse(&record).unwrap();
    assert_eq!(view.properties(), "TAGS\u{1}TagA\u{2}TAGS\u{1}TagB\u{2}TRACE_ON\u{1}true\u{2}");
    assert_eq!(view.tags_code(), tags::tags_code("TagB"));
    let empty = encoded(&StoredMessage { properties: "", added_properties: &added[1..], ..message() });
    assert_eq!(MessageView::parse(&empty).unwrap().0.properties(), "TRACE_ON\u{1}true\u{2}");
}

#[test]
fn host_bits_follow_from_the_hosts() {
    let mapped = SocketAddr::from((Ipv4Addr::new(1, 2, 3, 4).to_ipv6_mapped(), 5));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 10911));
    let sys_flag = SysFlag(SysFlag::BORN_HOST_V6 | SysFlag::COMPRESSED);
    let record = encoded(&StoredMessage { born_host: mapped, store_host: v6, sys_flag, ..message() });
    let (view, _) = MessageView::parse(&record).unwrap();
    assert_eq!(view.sys_flag(), SysFlag(SysFlag::STORE_HOST_V6 | SysFlag::COMPRESSED));
    assert_eq!(view.born_host(), SocketAddr::from((Ipv4Addr::new(1, 2, 3, 4), 5)));
    assert_eq!(view.store_host(), v6);
    assert_eq!(view.offset_message_id().to_string().len(), 56);
}

#[test]
fn parts_that_contradict_the_record_are_named() {
    let record = encoded(&message());
    let body_length_at = 84;
    let changed = |at: usize, bytes: &[u8]| {
        let mut record = record.clone();
        record[at..at + bytes.len()].copy_from_slice(bytes);
        parse_error(&record)
    };
    assert_eq!(parse_error(b""), LayoutError::TooShort { field: "totalSize", at: 0, size: 0 });
    let size = record.len() - 1;
    assert_eq!(parse_error(&record[..size]), LayoutError::TooShort { field: "record", at: 0, size });
    assert_eq!(changed(0, &[0xFF; 4]), LayoutError::Negative { field: "totalSize", at: 0, value: -1 });
    assert_eq!(changed(4, &[0, 0, 0, 1]), LayoutError::Magic(1));
    assert_eq!(changed(4, &MAGIC_BLANK.to_be_bytes()), LayoutError::Blank { size: record.len() });
    assert_eq!(
        changed(body_length_at, &[0xFF; 4]),
        LayoutError::Negative { field: "bodyLength", at: body_length_at, value: -1 }
    );
    assert!(matches!(changed(body_length_at, &[0, 0, 9, 9]), LayoutError::TooShort { field: "body", .. }));
    assert!(matches!(
        changed(body_length_at + 9, &[0x80]),
        LayoutError::Negative { field: "topicLength", .. }
    ));
    assert!(matches!(changed(body_length_at + 10, &[0xFF]), LayoutError::NotUtf8 { field: "topic", at: 94 }));
    assert!(matches!(changed(body_length_at + 19, &[0, 1]), LayoutError::SizeMismatch { .. }));
}

#[test]
fn a_pull_body_is_walked_until_the_first_error() {
    let mut body = encoded(&message());
    let size = body.len();
    body.extend_from_slice(&encoded(&message()));
    body.extend_from_slice(b"torn");
    let found: Vec<_> = messages(&body).map(|view| view.map(|view| view.total_size())).collect();
    assert_eq!(found[..2], [Ok(size), Ok(size)]);
    assert_eq!((found.len(), found[2].is_err()), (3, true));
}

#[test]
fn stamps_and_seals_need_their_place() {
    let too_short = LayoutError::TooShort { field: "stamp", at: PHYSICAL_OFFSET_AT, size: 30 };
    assert_eq!(stamp_physical_offset(&mut [0; 30], 1), Err(too_short));
    assert!(stamp_queue_offset(&mut [0; 27], 1).is_err() && stamp_store_timestamp(&mut [0; 39], 1).is_err());
    let mut record = encoded(&message());
    assert!(seal_property_crc(&mut record).is_err(), "no place is reserved");
    let mut record = encoded(&StoredMessage { with_property_crc: true, ..message() });
    stamp_queue_offset(&mut record, 5).unwrap();
    seal_property_crc(&mut record).unwrap();
    let (view, _) = MessageView::parse(&record).unwrap();
    let digits = view.property(properties::CRC32).unwrap();
    let crc = digits.bytes().rev().fold(0_u32, |crc, digit| crc * 10 + u32::from(digit - b'0'));
    assert_eq!(crc, crc32fast::hash(&record[..record.len() - 20]) & 0x7FFF_FFFF);
}
