//! The key index: what it costs to take a message in, to write a file of its keys, and to find one.
//!
//! Messages have a unique id and one key, as usual. `applied` is what the thread that applies the log pays for an entry; `take_in`
//! is the index's own thread, files included, per message.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flotilla_broker::views::keys::{EntrySource, KeyIndex, KeyQuery, LogEntry, Stretch, VisitEntry};
use flotilla_core::{PayloadBuilder, TailTable};

/// Messages of an entry.
const BATCH: u64 = 1000;
const ENTRIES: u64 = 1000;
/// Bytes of a record's header.
const HEADER: u64 = 72;

/// A log of one segment that grows entry by entry, all of one shape; entries are made when they are read.
struct Source {
    /// Number of entries there are.
    count: AtomicU64,
    payloads: Vec<Bytes>,
}

impl EntrySource for Source {
    fn stretches(&self) -> Option<Vec<Stretch>> {
        let count = self.count.load(Ordering::SeqCst);
        let all = Stretch { base: 0, first_index: 0, last_index: count.saturating_sub(1), sealed: false };
        Some(if count == 0 { Vec::new() } else { vec![all] })
    }

    fn term_of(&self, _: u64) -> Option<u64> {
        Some(1)
    }

    fn read(&self, first: u64, last: u64, visit: &mut VisitEntry<'_>) -> io::Result<()> {
        for index in first..=last {
            let payload = &self.payloads[index as usize % self.payloads.len()];
            if visit(LogEntry { index, payload: Some(payload) }) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

fn message(number: u64) -> Vec<u8> {
    let properties = format!(
        "KEYS\u{1}order-{number}\u{2}UNIQ_KEY\u{1}7F000001{number:024X}\u{2}TAGS\u{1}TagA\u{2}\
         MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}"
    );
    let body = 300;
    let mut bytes = vec![0; 88 + body];
    bytes[4..8].copy_from_slice(&0xDAA3_20A7_u32.to_be_bytes());
    bytes[84..88].copy_from_slice(&(body as u32).to_be_bytes());
    bytes.push(b"bench-topic".len() as u8);
    bytes.extend_from_slice(b"bench-topic");
    bytes.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    bytes.extend_from_slice(properties.as_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

fn payloads(count: u64) -> Vec<Bytes> {
    let (mut tail, mut position) = (TailTable::new(), HEADER);
    let payload = |entry: u64| {
        let mut builder = PayloadBuilder::new(0, 0);
        for number in 0..BATCH {
            builder.push_message(&message(entry * BATCH + number)).expect("a whole message");
        }
        let mut payload = builder.finish();
        tail.stamp(&mut payload, position, 1_700_000_000_000 + entry).expect("it can be stamped");
        position += payload.len() as u64 + HEADER;
        payload.freeze()
    };
    (0..count).map(payload).collect()
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn key_index(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let source = Arc::new(Source { count: AtomicU64::new(0), payloads: payloads(ENTRIES) });
    let index = KeyIndex::open(dir.path(), source.clone()).expect("the index opens");
    index.reset(0);

    let mut group = criterion.benchmark_group("key_index");
    let mut count = 0;
    group.throughput(Throughput::Elements(ENTRIES * BATCH));
    group.sample_size(10);
    group.bench_function("take_in", |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                count += ENTRIES;
                source.count.store(count, Ordering::SeqCst);
                index.applied(count - 1);
                assert!(index.wait(far()), "it takes everything in");
            }
            start.elapsed()
        });
    });
    group.finish();
    drop(index);

    // A million messages, two million keys.
    let dir = tempfile::tempdir().expect("a folder");
    source.count.store(ENTRIES, Ordering::SeqCst);
    let index = KeyIndex::open(dir.path(), source.clone()).expect("the index opens");
    index.reset(ENTRIES);
    assert!(index.wait(far()), "it takes everything in");
    criterion.bench_function("key_index/applied", |bencher| bencher.iter(|| index.applied(ENTRIES - 1)));
    let mut number = 0;
    criterion.bench_function("key_index/find_none", |bencher| {
        bencher.iter(|| {
            number += 1;
            let key = format!("none-{number}");
            let query = KeyQuery {
                topic: "bench-topic",
                key: &key,
                begin: 0,
                end: i64::MAX,
                count_max: 32,
                bytes_max: 1 << 20,
            };
            index.find(&query, &(0..u64::MAX), &|_| None).expect("files are whole")
        });
    });
}

criterion_group!(benches, key_index);
criterion_main!(benches);
