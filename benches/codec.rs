//! The wire's hot path: what one send, one pull and one stored message cost to read and to write.
//!
//! Figures are per frame or per message. A send has the fourteen short keys of the Java client, about 150 bytes of
//! properties with the escapes of JSON, and a body of 1 KiB.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flotilla_remoting::bodies::{self, HeartbeatData};
use flotilla_remoting::headers::{
    PullMessageRequest, PullMessageResponse, SendMessageRequest, SendMessageResponse,
};
use flotilla_remoting::message::{
    LayoutVersion, StoredMessage, SysFlag, encode_stored, messages, stamp_physical_offset,
    stamp_queue_offset, stamp_store_timestamp,
};
use flotilla_remoting::{Frame, RequestCode, SerializeType};

const PROPERTIES: &str = "KEYS\u{1}key1 key2\u{2}UNIQ_KEY\u{1}7F0000010007533AA8A4161A2B3C0001\u{2}WAIT\u{1}true\u{2}\
                          TAGS\u{1}TagA\u{2}";
const ADDED: [(&str, &str); 3] =
    [("MSG_REGION", "DefaultRegion"), ("TRACE_ON", "true"), ("CLUSTER", "DefaultCluster")];
const BODY: [u8; 1024] = [b'x'; 1024];
const MESSAGE_COUNT: usize = 1000;

fn send_request() -> SendMessageRequest<'static> {
    SendMessageRequest {
        producer_group: "producers",
        topic: "TopicTest",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 2,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: Some(PROPERTIES),
        reconsume_times: Some(0),
        unit_mode: false,
        batch: false,
        max_reconsume_times: None,
        broker_name: Some("broker-a"),
    }
}

/// A send as it comes, without its length field.
fn send_frame(serialize: SerializeType) -> Bytes {
    let mut frame =
        Frame::request(RequestCode::SendMessageV2, send_request().encode_short(), Bytes::from_static(&BODY));
    frame.header.serialize = serialize;
    frame.encode().slice(4..)
}

fn stored(topic: &'static str) -> StoredMessage<'static> {
    let host = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 5), 10911));
    StoredMessage {
        topic,
        queue_id: 2,
        flag: 0,
        sys_flag: SysFlag(0),
        queue_offset: 0,
        physical_offset: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &BODY,
        properties: PROPERTIES,
        added_properties: &ADDED,
        layout: LayoutVersion::Auto,
        with_property_crc: false,
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for (name, serialize) in [("send_json", SerializeType::Json), ("send_binary", SerializeType::Rocketmq)] {
        let frame = send_frame(serialize);
        group.bench_function(format!("decode_{name}"), |bencher| {
            bencher.iter(|| Frame::decode(black_box(frame.clone())).expect("a frame"));
        });
        group.bench_function(format!("decode_{name}_with_header"), |bencher| {
            bencher.iter(|| {
                let frame = Frame::decode(black_box(frame.clone())).expect("a frame");
                SendMessageRequest::decode_short(&frame.header.ext).expect("a send").queue_id
            });
        });
    }
    let request = Frame::decode(send_frame(SerializeType::Json)).expect("a frame");
    let mut out = BytesMut::with_capacity(64 * 1024);
    group.bench_function("encode_send_response", |bencher| {
        bencher.iter(|| {
            out.clear();
            let header = SendMessageResponse {
                message_id: "0A00000500002A9F000000024CB016EA",
                queue_id: 2,
                queue_offset: 17,
                transaction_id: Some("7F0000010007533AA8A4161A2B3C0001"),
                batch_unique_id: None,
                recall_handle: None,
            };
            request.reply_with(header.encode(), Bytes::new()).encode_head(&mut out);
            black_box(out.len())
        });
    });
    group.bench_function("encode_pull_response", |bencher| {
        bencher.iter(|| {
            out.clear();
            let header = PullMessageResponse {
                suggest_which_broker_id: 0,
                next_begin_offset: 1056,
                min_offset: 0,
                max_offset: 2000,
                offset_delta: None,
                topic_sys_flag: Some(0),
                group_sys_flag: Some(0),
                forbidden_type: None,
            };
            request.reply_with(header.encode(), Bytes::new()).encode_head_for_body(&mut out, 65_536);
            black_box(out.len())
        });
    });
    let pull = PullMessageRequest {
        consumer_group: "consumers",
        topic: "TopicTest",
        queue_id: 1,
        queue_offset: 1024,
        max_message_nums: 32,
        sys_flag: 2,
        commit_offset: 0,
        suspend_timeout_ms: 15_000,
        subscription: None,
        subscription_version: 1_700_000_000_000,
        expression_type: Some("TAG"),
        max_message_bytes: Some(262_144),
        request_source: None,
        proxy_forward_client_id: None,
        broker_name: Some("broker-a"),
    };
    let frame = Frame::request(RequestCode::PullMessage, pull.encode(), Bytes::new()).encode().slice(4..);
    group.bench_function("decode_pull_with_header", |bencher| {
        bencher.iter(|| {
            let frame = Frame::decode(black_box(frame.clone())).expect("a frame");
            PullMessageRequest::decode(&frame.header.ext).expect("a pull").queue_offset
        });
    });
    group.finish();
}

fn stored_messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Elements(MESSAGE_COUNT as u64));
    let mut out = BytesMut::with_capacity(2 * 1024 * 1024);
    let message = stored("TopicTest");
    group.bench_function("encode_1000_of_1_kib", |bencher| {
        bencher.iter(|| {
            out.clear();
            for _ in 0..MESSAGE_COUNT {
                encode_stored(black_box(&message), &mut out).expect("a message");
            }
            black_box(out.len())
        });
    });
    let mut batch = out.clone();
    group.bench_function("parse_1000_with_tags_code", |bencher| {
        bencher.iter(|| {
            messages(black_box(&batch)).map(|view| view.expect("a message").tags_code()).sum::<i64>()
        });
    });
    let size = batch.len() / MESSAGE_COUNT;
    group.bench_function("stamp_1000", |bencher| {
        bencher.iter(|| {
            for (index, record) in batch.chunks_exact_mut(size).enumerate() {
                stamp_queue_offset(record, index as i64).expect("a message");
                stamp_physical_offset(record, (index * size) as i64).expect("a message");
                stamp_store_timestamp(record, 1_700_000_000_000).expect("a message");
            }
        });
    });
    group.finish();
}

fn heartbeat(criterion: &mut Criterion) {
    let body = br#"{"clientID":"192.168.1.10@12345","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","groupName":"g1","messageModel":"CLUSTERING","subscriptionDataSet":[
        {"classFilterMode":false,"codeSet":[2598919,2598920],"expressionType":"TAG","subString":"TagA || TagB",
        "subVersion":1700000000000,"tagsSet":["TagA","TagB"],"topic":"TopicTest"}],"unitMode":false}],
        "heartbeatFingerprint":0,"producerDataSet":[{"groupName":"pg"}],"withoutSub":false}"#;
    criterion.bench_function("body/decode_heartbeat", |bencher| {
        bencher.iter(|| bodies::decode::<HeartbeatData>(black_box(body)).expect("a heartbeat"));
    });
}

criterion_group!(benches, frames, stored_messages, heartbeat);
criterion_main!(benches);
