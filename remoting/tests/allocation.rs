//! Goal: hostile bytes make no decoder allocate more than its documentation says.
//!
//! Method: a counting allocator around the worst inputs known for each decoder. One test only, so that no other thread
//! allocates meanwhile.
#![allow(clippy::unwrap_used)]

use std::alloc::System;

use bytes::{BufMut, Bytes, BytesMut};
use flotilla_remoting::bodies::*;
use flotilla_remoting::headers::{PullMessageRequest, SendMessageRequest};
use flotilla_remoting::json::from_slice;
use flotilla_remoting::limits::{JSON_BUILT_SIZE_MAX, REGISTRATION_SIZE_MAX};
use flotilla_remoting::message::{batch, messages};
use flotilla_remoting::{ExtFields, Frame, FrameError, RequestCode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1024 * 1024;

/// Allocations and allocated bytes of a call, those freed again included; growing counts by what it adds.
fn cost<T>(call: impl FnOnce() -> T) -> (T, usize, usize) {
    let region = Region::new(ALLOCATOR);
    let outcome = call();
    let change = region.change();
    (outcome, change.allocations + change.reallocations, change.bytes_allocated)
}

fn decode(kind: u8, header: &[u8]) -> (Result<Frame, FrameError>, usize, usize) {
    let mut frame = BytesMut::new();
    frame.put_u32(u32::from(kind) << 24 | header.len() as u32);
    frame.put_slice(header);
    let frame = frame.freeze();
    cost(|| Frame::decode(frame))
}

fn frames() {
    let large = 2 * MIB;
    let headers = [
        (0, b"{\"extFields\":{\"a\":1},".repeat(large / 21)),
        (0, [b"{", &b"\"extFields\":{\"a\":1},".repeat(large / 20)[..], b"\"code\":1}"].concat()),
        (0, [b"{\"extFields\":{", &b"\"a\":1,".repeat(large / 6)[..], b"\"b\":2}}"].concat()),
        (0, [b"{\"remark\":\"", &b"\\u0001".repeat(large / 6)[..], b"\"}"].concat()),
        (0, [b"{\"x\":", &b"[".repeat(large)[..]].concat()),
        (1, [&[0; 13][..], &u32::MAX.to_be_bytes(), &[0xFF; 100]].concat()),
        (1, [&[0; 17][..], &(large as u32).to_be_bytes(), &b"\0\x01k\0\0\0\x01v".repeat(large / 8)].concat()),
    ];
    for (kind, header) in headers {
        let (_, _, bytes) = decode(kind, &header);
        assert!(bytes <= 4 * header.len() + 64 * 1024, "{bytes} bytes for a header of {}", header.len());
    }
}

/// A send costs two allocations to decode, the remark aside: text and entries of the ext fields.
fn hot_path() {
    let send = SendMessageRequest {
        producer_group: "producers",
        topic: "TopicTest",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 2,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: Some(
            "UNIQ_KEY\u{1}7F0000010007533AA8A4161A2B3C0001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
        ),
        reconsume_times: Some(0),
        unit_mode: false,
        batch: false,
        max_reconsume_times: None,
        broker_name: Some("broker-a"),
    };
    let frame = Frame::request(RequestCode::SendMessageV2, send.encode_short(), Bytes::from_static(b"body"));
    let bytes = frame.encode().slice(4..);
    let (decoded, allocations, _) = cost(|| Frame::decode(bytes).unwrap());
    assert!(allocations <= 3, "{allocations} allocations to decode a send");
    let (header, allocations, _) = cost(|| SendMessageRequest::decode_short(&decoded.header.ext).unwrap());
    assert_eq!((&header, allocations), (&send, 0));
    let ext = ExtFields::from_iter([("topic", "t"), ("queueId", "1")]);
    let (outcome, allocations, _) = cost(|| PullMessageRequest::decode(&ext));
    assert!(outcome.is_err() && allocations == 0);
}

fn json_bodies() {
    // Elements of a few bytes that are large in memory, as many as fit a frame.
    let full = 10 * MIB;
    let list = |open: &str, element: &str, close: &str| {
        let mut text = open.to_owned();
        text += &element.repeat(full / element.len());
        text.pop();
        text + close
    };
    // Lists grow by doubling, and texts come on top.
    let limit = 2 * JSON_BUILT_SIZE_MAX + 2 * full;
    let check = |text: &str, cost: (bool, usize, usize)| {
        let start: String = text.chars().take(40).collect();
        assert!(cost.2 <= limit, "{} bytes for {start}", cost.2);
    };
    let text = list("{\"consumerDataSet\":[", "{},", "]}");
    check(&text, cost(|| from_slice::<HeartbeatData>(text.as_bytes()).is_ok()));
    let text = list("{\"topicConfigList\":[", "{\"attributes\":{\"\":\"\"}},", "]}");
    check(&text, cost(|| from_slice::<CreateTopicList>(text.as_bytes()).is_ok()));
    let text = list("{\"d\":[", "0,", "]}");
    check(&text, cost(|| from_slice::<PopCheckPoint>(text.as_bytes()).is_ok()));
    let text = list("{\"a\":[", "{\"$ref\":\"$.b\"},", "],\"b\":[1]}").replace("\"a\"", "\"consumerIdList\"");
    check(&text, cost(|| from_slice::<ConsumerList>(text.as_bytes()).is_ok()));
    // Distinct keys with a map of one entry each.
    let maps: Vec<String> = (0..full / 14).map(|index| format!("\"{index:x}\":{{0:1}}")).collect();
    let text = format!("{{\"offsetTable\":{{{}}}}}", maps.join(","));
    let outcome = cost(|| from_slice::<AllConsumerOffset>(text.as_bytes()).is_ok());
    assert!(!outcome.0, "the budget refuses a million maps");
    check(&text, outcome);
}

fn registrations() {
    let bomb = inflated_to(REGISTRATION_SIZE_MAX + 1);
    assert!(bomb.len() < MIB);
    let (outcome, _, bytes) = cost(|| RegisterBrokerBody::decode(&bomb, true, 479));
    assert_eq!(outcome, Err(RegisterBodyError::TooLarge));
    assert!(bytes <= 4 * REGISTRATION_SIZE_MAX, "{bytes} bytes for a bomb");
    let parts = [&2_u32.to_be_bytes()[..], b"{}", &u32::MAX.to_be_bytes()].concat();
    let (outcome, _, bytes) = cost(|| registration_of_inflated(&parts, 479));
    assert!(matches!(outcome, Err(RegisterBodyError::TooManyTopics(_))) && bytes < 1024);
}

/// A zlib stream of so many zero bytes.
fn inflated_to(size: usize) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![0; size]).unwrap();
    encoder.finish().unwrap()
}

fn messages_in_place() {
    let lengths = [0x7FFF_FFFF_u32, 0x8000_0000, 0xFFFF_FFFF, 22, 91];
    for length in lengths {
        let bytes = [&length.to_be_bytes()[..], &[0xDA, 0xA3, 0x20, 0xA7], &[0xFF; 4096]].concat();
        let (_, _, cost_messages) = cost(|| messages(&bytes).count());
        let (_, _, cost_batch) = cost(|| batch::records(&bytes).count());
        assert_eq!((cost_messages, cost_batch), (0, 0));
    }
}

#[test]
fn decoders_allocate_within_their_limits() {
    frames();
    hot_path();
    json_bodies();
    registrations();
    messages_in_place();
}
