//! Appending to the log with group commit: entries of one 1 KiB payload, written and synced as a group by the log's own writer.
//!
//! `flush` is the time until everything appended is on the disk (fdatasync), so a group of 64 shows what group commit saves
//! against 64 groups of one. The files lie in the system's folder for temporary files: name a real disk by TMPDIR.

use std::hint::black_box;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flotilla_raft_store::vfs::RealVfs;
use flotilla_raft_store::{
    Body, Draft, EntryKind, Log, LogId, LogOptions, NoStamper, RECORD_HEADER_SIZE, SystemClock,
};

const PAYLOAD_SIZE: usize = 1024;

fn draft(index: u64) -> Draft {
    // A buffer of its own for each entry, with room for the header: what the proposer hands in.
    let body = Body::HeadRoom(Bytes::from(vec![b'x'; RECORD_HEADER_SIZE + PAYLOAD_SIZE]));
    Draft { id: LogId::new(1, index), leader: 1, kind: EntryKind::Application, body }
}

fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the log");
    let options = LogOptions { segment_size: 256 << 20, ..LogOptions::new("bench", "bench") };
    let clock = Arc::new(SystemClock::default());
    let (mut log, _) =
        Log::open(Arc::new(RealVfs), folder.path(), options, clock, Box::new(NoStamper), &mut ())
            .expect("the log opens");
    let mut next = 0;
    let mut group = criterion.benchmark_group("log_append_flush");
    for count in [1_u64, 64, 512] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_batched(
                || {
                    let drafts: Vec<Draft> = (next..next + count).map(draft).collect();
                    next += count;
                    drafts
                },
                |drafts| {
                    let (done, durable) = mpsc::channel();
                    let appended = log.append_new(drafts, Box::new(move |result| drop(done.send(result))));
                    black_box(appended).expect("the log takes entries");
                    durable.recv().expect("the writer calls back").expect("the disk takes entries");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = append
}
criterion_main!(benches);
