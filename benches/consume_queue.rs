//! Consume queues: taking in what apply did, finding a queue, reading units from memory and from a view file.
//!
//! 2000 topics; `extend` is per batch of 1000 messages, `units` per read of 32 (a usual pull) or 1024.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flotilla_broker::views::{ConsumeQueues, Segment, SegmentSource};
use flotilla_core::{Appended, Effects, EntryContext, Tables};

const BATCH: i64 = 1000;
const MESSAGE_SIZE: u32 = 300;
const SEALED_COUNT: i64 = 1_000_000;

type Visit<'a> = dyn FnMut(u64, &[u8]) -> io::Result<ControlFlow<()>> + 'a;

/// One segment, sealed when told; never scanned here.
struct Source {
    sealed: AtomicBool,
}

impl SegmentSource for Source {
    fn segments(&self) -> Option<Vec<Segment>> {
        let sealed = self.sealed.load(Ordering::SeqCst);
        let end = (SEALED_COUNT * i64::from(MESSAGE_SIZE)) as u64;
        Some(vec![Segment { base: 0, end, sealed, last_index: 1, last_term: 1 }])
    }

    fn scan(&self, _: &Segment, _: &mut Visit<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The next messages of a queue, or of many queues in turn.
struct Feed {
    topics: Vec<Arc<str>>,
    next: Vec<i64>,
    position: i64,
    effects: Effects,
}

impl Feed {
    fn new(topics: &[Arc<str>]) -> Self {
        Self {
            topics: topics.to_vec(),
            next: vec![0; topics.len()],
            position: 0,
            effects: Effects::default(),
        }
    }

    fn fill(&mut self) -> (&Effects, EntryContext, u64) {
        self.effects.clear();
        let start = self.position as u64;
        for number in 0..BATCH as usize {
            let which = number % self.topics.len();
            self.effects.appended.push(Appended {
                topic: self.topics[which].clone(),
                queue_id: 0,
                size: MESSAGE_SIZE,
                queue_offset: self.next[which],
                physical_offset: self.position,
                tags_code: 2_598_919,
                store_time_ms: 1_700_000_000_000,
            });
            self.next[which] += 1;
            self.position += i64::from(MESSAGE_SIZE);
        }
        let context =
            EntryContext { index: 1, term: 1, position: start, payload_position: start, time_ms: 1 };
        (&self.effects, context, self.position as u64)
    }

    fn send(&mut self, views: &ConsumeQueues) {
        let (effects, context, end) = self.fill();
        views.extend(&context, end, effects);
    }
}

fn views(dir: PathBuf) -> (Arc<ConsumeQueues>, Arc<Source>) {
    let source = Arc::new(Source { sealed: AtomicBool::new(false) });
    let views = ConsumeQueues::open(&dir, source.clone()).expect("views open");
    views.reset(&Tables::blank());
    (views, source)
}

fn consume_queue(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let topics: Vec<Arc<str>> = (0..2000).map(|number| Arc::from(format!("bench-topic-{number}"))).collect();

    let mut group = criterion.benchmark_group("consume_queue/extend");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, topics) in
        [("one_queue", &topics[..1]), ("mixed", &topics[..10]), ("many_topics", &topics[..])]
    {
        group.bench_function(name, |bencher| {
            let (views, _source) = views(dir.path().join(name));
            let mut feed = Feed::new(topics);
            // Building the effects is apply's work, not this one's.
            bencher.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    let (effects, context, end) = feed.fill();
                    let start = Instant::now();
                    views.extend(&context, end, effects);
                    total += start.elapsed();
                }
                total
            });
        });
    }
    group.finish();

    let (views, source) = views(dir.path().join("lookup"));
    let mut sealed = Feed::new(&topics[..1]);
    for _ in 0..SEALED_COUNT / BATCH {
        sealed.send(&views);
    }
    let mut others = Feed::new(&topics[1..]);
    others.position = sealed.position;
    for _ in 0..4 {
        others.send(&views);
    }
    let queue = views.queue(&topics[0], 0).expect("it has messages");
    criterion.bench_function("consume_queue/queue_by_name", |bencher| {
        bencher.iter(|| views.queue("bench-topic-77", 0))
    });
    let mut units = Vec::with_capacity(1024);
    let mut read = |name: &str, count: usize, spread: i64| {
        let mut at = 0;
        criterion.bench_function(&format!("consume_queue/units/{name}_{count}"), |bencher| {
            bencher.iter(|| {
                units.clear();
                queue.units(at, count, &mut units).expect("they are there");
                at = (at + spread) % (SEALED_COUNT - 1024);
                assert_eq!(units.len(), count);
            });
        });
    };
    read("memory", 32, 32);
    read("memory", 1024, 1024);
    source.sealed.store(true, Ordering::SeqCst);
    views.wake();
    while queue.in_memory(SEALED_COUNT - 1) {
        std::thread::yield_now();
    }
    read("file", 32, 32);
    read("file_random", 32, 7_919_173);
    read("file", 1024, 1024);
}

criterion_group!(benches, consume_queue);
criterion_main!(benches);
