//! Framing: what is refused, and with which words.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::limits::EXT_FIELD_COUNT_MAX;

/// A frame without its length field around this header.
fn framed(kind: u8, header: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(u32::from(kind) << 24 | header.len() as u32);
    out.put_slice(header);
    out.freeze()
}

fn json(header: &str) -> Result<Frame, FrameError> {
    Frame::decode(framed(0, header.as_bytes()))
}

fn json_error(header: &str) -> String {
    json(header).unwrap_err().to_string()
}

#[test]
fn reply_keeps_the_opaque_and_answers_in_json() {
    let mut request = Frame::request(RequestCode::Heartbeat, ExtFields::new(), Bytes::from_static(b"{}"));
    (request.header.opaque, request.header.serialize) = (-7, SerializeType::Rocketmq);
    let reply = request.reply(ResponseCode::SystemBusy, Some("busy".to_owned()));
    assert_eq!((reply.header.opaque, reply.header.code, reply.header.flag), (-7, 2, 1));
    assert!(reply.is_response() && !reply.is_oneway());
    assert_eq!(reply.header.serialize, SerializeType::Json);
    assert!(Frame::oneway_request(RequestCode::Heartbeat, ExtFields::new(), Bytes::new()).is_oneway());
}

#[test]
fn absent_and_null_members_are_alike() {
    let frame =
        json(r#"{"code":105,"remark":null,"extFields":null,"opaque":null,"other":[{"a":1}]}"#).unwrap();
    assert_eq!(frame.header.code, 105);
    assert_eq!((frame.header.opaque, frame.header.version, frame.header.remark), (0, 0, None));
    assert!(frame.header.ext.is_empty() && frame.body.is_empty());
}

#[test]
fn bare_numbers_and_booleans_in_ext_fields_become_text() {
    let frame = json(r#"{"extFields":{"a":1,"b":true,"c":-2.5,"d":"x","d":null,"e":""}}"#).unwrap();
    let ext: Vec<_> = frame.header.ext.iter().collect();
    assert_eq!(ext, [("a", "1"), ("b", "true"), ("c", "-2.5"), ("e", "")]);
}

#[test]
fn json_errors_say_what_and_where() {
    assert_eq!(json_error(""), "JSON header: expected an object at byte 0");
    assert_eq!(json_error("[]"), "JSON header: expected an object at byte 0");
    assert_eq!(json_error(r#"{"code":x}"#), "JSON header: expected a 32-bit integer at byte 8");
    assert_eq!(json_error(r#"{"code":99999999999}"#), "JSON header: expected a 32-bit integer at byte 8");
    assert_eq!(json_error(r#"{"code":1"#), "JSON header: expected `,` or `}` at byte 9");
    assert_eq!(json_error(r#"{"code":1} x"#), "JSON header: unexpected text after the value at byte 11");
    assert_eq!(json_error(r#"{"extFields":{"a":{}}}"#), "JSON header: expected a value at byte 18");
    assert_eq!(json_error(r#"{"extFields":{"a":"\u00"}}"#), "JSON header: bad escape at byte 19");
    let outcome = Frame::decode(framed(0, b"{\"a\":\"\xFF\"}"));
    assert_eq!(outcome, Err(FrameError::NotUtf8 { at: 6 }));
}

#[test]
fn nesting_and_field_count_are_bounded() {
    let deep = format!("{{\"other\":{}", "[".repeat(100));
    assert!(json_error(&deep).contains("nested too deeply"));
    let fields = |count: usize| {
        let fields: Vec<String> = (0..count).map(|index| format!("\"k{}\":\"v\"", index % 9)).collect();
        json(&format!("{{\"extFields\":{{{}}}}}", fields.join(",")))
    };
    assert_eq!(fields(EXT_FIELD_COUNT_MAX).unwrap().header.ext.len(), 9);
    assert!(matches!(fields(EXT_FIELD_COUNT_MAX + 1), Err(FrameError::TooManyFields { .. })));
    let mut entries = BytesMut::new();
    for _ in 0..=EXT_FIELD_COUNT_MAX {
        entries.put_slice(b"\0\x01k\0\0\0\x01v");
    }
    let mut head = BytesMut::zeroed(17);
    head.put_u32(entries.len() as u32);
    head.put_slice(&entries);
    assert!(matches!(Frame::decode(framed(1, &head)), Err(FrameError::TooManyFields { .. })));
}

#[test]
fn binary_errors_say_what_and_where() {
    let error = |head: &[u8]| Frame::decode(framed(1, head)).unwrap_err().to_string();
    assert_eq!(error(b""), "binary header: code at byte 0 goes beyond the 0 bytes");
    let mut head = [0_u8; 21];
    head[13..17].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(error(&head), "binary header: remark at byte 17 goes beyond the 21 bytes");
    head[13..17].copy_from_slice(&4_u32.to_be_bytes());
    assert_eq!(error(&head), "binary header: extFields length at byte 21 goes beyond the 21 bytes");
    let mut head = [0_u8; 25];
    head[20] = 4;
    head[22] = 9;
    assert_eq!(error(&head), "binary header: key at byte 23 goes beyond the 25 bytes");
    let mut head = [0_u8; 28];
    (head[20], head[22], head[27]) = (7, 1, 1);
    assert_eq!(error(&head), "binary header: value at byte 28 goes beyond the 28 bytes");
}

#[test]
fn frames_that_contradict_themselves_are_refused() {
    assert_eq!(Frame::decode(Bytes::new()), Err(FrameError::TooShort { size: 0 }));
    assert_eq!(Frame::decode(framed(2, b"")), Err(FrameError::SerializeType(2)));
    let beyond = Bytes::from_static(b"\0\0\0\x05abcd");
    assert_eq!(Frame::decode(beyond), Err(FrameError::HeaderTooLong { header_size: 5, size: 8 }));
}

#[test]
fn stream_is_split_at_the_length_and_refused_by_it() {
    let frame = Frame::request(RequestCode::Heartbeat, ExtFields::new(), Bytes::from_static(b"body"));
    let bytes = frame.encode();
    let mut buffer = BytesMut::from(&bytes[..bytes.len() - 1]);
    assert_eq!(split_frame(&mut buffer), Ok(None));
    assert_eq!(frame_size(&buffer, FRAME_SIZE_MAX), Ok(Some(bytes.len())));
    buffer.put_slice(&bytes[bytes.len() - 1..]);
    buffer.put_slice(b"\0");
    let split = split_frame(&mut buffer).unwrap().unwrap();
    assert_eq!(Frame::decode(split).unwrap(), frame);
    assert_eq!(&buffer[..], b"\0");

    let split = |bytes: &[u8]| split_frame(&mut BytesMut::from(bytes));
    assert_eq!(split(b"\0\0\0\x03"), Err(FrameError::TooShort { size: 3 }));
    assert_eq!(split(&(FRAME_SIZE_MAX as u32 - 4).to_be_bytes()), Ok(None));
    let too_large = |size| Err(FrameError::TooLarge { size, size_max: FRAME_SIZE_MAX });
    assert_eq!(split(&(FRAME_SIZE_MAX as u32 - 3).to_be_bytes()), too_large(FRAME_SIZE_MAX as u64 + 1));
    assert_eq!(split(b"\xFF\xFF\xFF\xFF"), too_large(0x1_0000_0003));
}

#[test]
fn a_body_is_a_slice_and_an_absent_one_keeps_nothing_alive() {
    let bytes =
        Frame::request(RequestCode::Heartbeat, ExtFields::new(), Bytes::from_static(b"body")).encode();
    let whole = bytes.slice(4..);
    let frame = Frame::decode(whole.clone()).unwrap();
    assert_eq!(frame.body.as_ptr(), whole[whole.len() - 4..].as_ptr());
    let without = Frame::request(RequestCode::Heartbeat, ExtFields::new(), Bytes::new()).encode().slice(4..);
    let frame = Frame::decode(without.clone()).unwrap();
    assert!(frame.body.is_empty() && without.is_unique());
}

#[test]
fn a_header_that_outgrows_the_limit_goes_out_without_fields() {
    let mut frame = Frame::request(RequestCode::SendMessageV2, ExtFields::new(), Bytes::from_static(b"body"));
    frame.header.ext.insert("i", &"\u{1}".repeat(3 * 1024 * 1024));
    let again = Frame::decode(frame.encode().slice(4..)).unwrap();
    assert!(again.header.ext.is_empty());
    assert_eq!(again.header.remark.as_deref(), Some("header too large"));
    assert_eq!((again.header.code, again.body), (310, Bytes::from_static(b"body")));
}
