//! The state machine's hot path: stamping a batch on the leader, comparing it on a follower, applying it on every replica.
//!
//! Figures are per batch of 1000 messages of about 300 bytes; divide by 1000 for one message. `one_topic` is a run of one topic
//! over eight queues, `mixed` changes the topic with every message, the worst case for the run-wise look-up.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flotilla_core::{
    Command, Effects, EntryContext, Messages, Payload, PayloadBuilder, Perm, Tables, TailTable, TopicConfig,
};

const MESSAGE_COUNT: usize = 1000;
const PROPERTIES: &str = "UNIQ_KEY\u{1}7F0000010007533AA8A4161A2B3C0001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}\
                          MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}";

/// A message in the stored layout, short form, IPv4, not stamped.
fn message(topic: &str, queue_id: u32) -> Vec<u8> {
    let mut bytes = vec![0; 88];
    bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
    bytes[12..16].copy_from_slice(&queue_id.to_be_bytes());
    bytes[84..88].copy_from_slice(&50_u32.to_be_bytes());
    bytes.extend_from_slice(&[b'x'; 50]);
    bytes.push(topic.len() as u8);
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(PROPERTIES.len() as u16).to_be_bytes());
    bytes.extend_from_slice(PROPERTIES.as_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

fn payload(topics: &[String]) -> Vec<u8> {
    let mut builder = PayloadBuilder::new(0, MESSAGE_COUNT * 400);
    for number in 0..MESSAGE_COUNT {
        let message = message(&topics[number % topics.len()], (number / 3 % 8) as u32);
        builder.push_message(&message).expect("a valid message");
    }
    builder.finish().to_vec()
}

/// Tables that know the topics, and 2000 others so that look-ups are not free.
fn tables(topics: &[String]) -> Tables {
    let others = (0..2000).map(|number| format!("other-topic-{number}"));
    let commands = topics.iter().cloned().chain(others);
    let mut builder = PayloadBuilder::new(0, 0);
    for name in commands {
        builder.push_command(&Command::PutTopic(TopicConfig::new(name, 8, Perm::READ_WRITE)));
    }
    let mut tables = Tables::blank();
    let context = EntryContext { index: 1, term: 1, position: 64, payload_position: 136, time_ms: 1 };
    tables.apply(&context, &builder.finish()).expect("commands apply");
    tables
}

fn context(index: u64) -> EntryContext {
    EntryContext { index, term: 1, position: 1000, payload_position: 1072, time_ms: 1_700_000_000_000 }
}

fn apply(criterion: &mut Criterion) {
    let mixed: Vec<String> = (0..10).map(|number| format!("bench-topic-{number}")).collect();
    for (name, topics) in [("one_topic", &mixed[..1]), ("mixed", &mixed[..])] {
        let blank = payload(topics);
        let mut group = criterion.benchmark_group(format!("apply/{name}"));
        group.throughput(Throughput::Elements(MESSAGE_COUNT as u64));

        group.bench_function("walk", |bencher| {
            let messages = Payload::parse(&blank).expect("a payload").messages;
            bencher.iter(|| {
                Messages::new(messages).map(|message| message.expect("valid").1.queue_id).sum::<u32>()
            });
        });
        group.bench_function("stamp", |bencher| {
            let mut tail = TailTable::new();
            let mut bytes = blank.clone();
            bencher.iter(|| tail.stamp(&mut bytes, 1072, 1_700_000_000_000).expect("stamped"));
        });

        let mut stamped = blank.clone();
        TailTable::new().stamp(&mut stamped, 1072, 1_700_000_000_000).expect("stamped");
        group.bench_function("observe_retract", |bencher| {
            let mut tail = TailTable::new();
            bencher.iter(|| {
                tail.observe(&stamped, 1072, 1_700_000_000_000).expect("fits");
                tail.retract(&stamped);
            });
        });
        group.bench_function("apply", |bencher| {
            // The numbers must continue, so each round applies to the state before; cloning it is part of no round's time.
            let before = tables(topics);
            let mut effects = Effects::default();
            bencher.iter_custom(|rounds| {
                let mut total = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let mut tables = Tables::decode(&before.encode()).expect("a checkpoint");
                    effects.clear();
                    let start = std::time::Instant::now();
                    tables.apply_into(&context(2), &stamped, &mut effects).expect("applied");
                    total += start.elapsed();
                }
                total
            });
        });
        group.bench_function("apply_after_clone", |bencher| {
            let before = tables(topics);
            let mut effects = Effects::default();
            bencher.iter(|| {
                let mut tables = before.clone();
                effects.clear();
                tables.apply_into(&context(2), &stamped, &mut effects).expect("applied");
            });
        });
        group.finish();
    }

    let full = tables(&mixed);
    criterion.bench_function("checkpoint/clone", |bencher| bencher.iter(|| full.clone()));
    criterion.bench_function("checkpoint/encode_2010_topics", |bencher| bencher.iter(|| full.encode().len()));
}

criterion_group!(benches, apply);
criterion_main!(benches);
