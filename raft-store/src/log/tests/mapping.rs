//! Rule 10: mapped files, on real ones.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use crate::log::testing::{Bench, app, options};
use crate::log::{SegmentInfo, WriterMode};
use crate::record::Record;
use crate::types::LogId;
use crate::vfs::hooked::{Call, Hook, Hooked};
use crate::vfs::{Loss, Mapping, OpenMode, RealVfs, Vfs};

/// What the test says of the page cache, and how often a segment was read.
#[derive(Debug)]
struct Cache {
    cached: Arc<AtomicBool>,
    segment_reads: AtomicUsize,
}

impl Hook for Cache {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        if call == Call::Read && path.parent().is_some_and(|dir| dir.ends_with("log")) {
            self.segment_reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn mapping(&self, real: Option<Mapping>) -> Option<Mapping> {
        real.map(|mapping| mapping.cached_as(Arc::clone(&self.cached)))
    }
}

/// A log of several sealed segments on real files, all committed, most of it not in memory any more.
fn bench(dir: &Path) -> (Bench, Arc<Cache>, Vec<Record>) {
    let cache =
        Arc::new(Cache { cached: Arc::new(AtomicBool::new(true)), segment_reads: AtomicUsize::new(0) });
    let vfs = Arc::new(Hooked::new(RealVfs, cache.clone()));
    let mut bench = Bench::on(vfs, dir, options(WriterMode::Thread)).unwrap();
    let mut records = bench.append((0..60).map(|n| app(1, n, 400)));
    bench.settle();
    records.extend(bench.append((60..100).map(|n| app(1, n, 400))));
    bench.settle();
    bench.commit(99);
    (bench, cache, records)
}

fn payload(bench: &Bench, record: &Record) -> Bytes {
    bench.log().reader().read(record.payload_position(), 400).unwrap()
}

fn purge_first(bench: &mut Bench) -> SegmentInfo {
    let first = bench.log().reader().segments().remove(0);
    bench.checkpoint(first.last);
    let (sender, purged) = std::sync::mpsc::channel();
    let done = Box::new(move |outcome: io::Result<()>| sender.send(outcome).unwrap());
    bench.log_mut().purge(LogId::new(1, first.last_index), done).unwrap();
    purged.recv().unwrap().unwrap();
    first
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

/// Inodes of the files with segment names or spare names.
fn inodes(dir: &Path) -> Vec<u64> {
    std::fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().ino())
        .collect()
}

/// Rule 10: while somebody holds bytes of a segment's mapping, its file is not given a second life; the bytes stay what they
/// were, however much is written afterwards.
#[test]
fn rule_10_a_segment_is_not_recycled_while_its_bytes_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bench, _cache, records) = bench(dir.path());
    let held = bench.log().reader().entries(0, 8, 1 << 20).unwrap();
    let copy: Vec<Vec<u8>> = held.iter().map(|record| record.bytes().to_vec()).collect();
    let old = inode(&bench.log().reader().segments()[0].path);
    purge_first(&mut bench);
    assert!(!inodes(dir.path()).contains(&old), "its file has no name any more");
    bench.append((100..180).map(|n| app(2, n, 400)));
    bench.settle();
    assert_eq!(held.iter().map(|record| record.bytes().to_vec()).collect::<Vec<_>>(), copy);
    assert_eq!(held, records[..held.len()]);
}

/// Rule 10: a segment that nobody looks at becomes the next one: no space is allocated anew.
#[test]
fn rule_10_a_segment_that_nobody_holds_is_recycled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bench, _cache, records) = bench(dir.path());
    let read = payload(&bench, &records[3]);
    let old = inode(&bench.log().reader().segments()[0].path);
    assert_eq!(read, records[3].payload_slice());
    drop(read);
    purge_first(&mut bench);
    assert!(inodes(dir.path()).contains(&old), "the file goes on under another name");
    let more = bench.append((100..180).map(|n| app(2, n, 400)));
    bench.settle();
    let reused = bench.log().reader().segments().iter().any(|segment| inode(&segment.path) == old);
    assert!(reused, "and is a segment again");
    bench.reopen();
    let left = bench.read_all();
    assert_eq!(left[left.len() - 80..], more, "its old records are no part of the log");
}

/// Reads of segment files that some work makes.
fn reads(cache: &Cache, work: impl FnOnce()) -> usize {
    let before = cache.segment_reads.load(Ordering::Relaxed);
    work();
    cache.segment_reads.load(Ordering::Relaxed) - before
}

/// Rule 10: what is in the page cache is handed out as it is mapped; what is not is read into a buffer by the thread that may
/// wait for the disk, also when the record was compared with its checksum long ago. Otherwise the I/O thread that sends it
/// would fault it in.
#[test]
fn rule_10_what_is_not_in_the_page_cache_is_read_by_the_thread_that_asks() {
    let dir = tempfile::tempdir().unwrap();
    let (bench, cache, records) = bench(dir.path());
    let entries = |range: Range<u64>| bench.log().reader().entries(range.start, range.end, 1 << 20).unwrap();
    for cached in [true, false, true] {
        cache.cached.store(cached, Ordering::Relaxed);
        for _ in 0..2 {
            let read = reads(&cache, || assert_eq!(payload(&bench, &records[5]), records[5].payload_slice()));
            assert_eq!(read > 0, !cached, "{read} reads of the file");
            let read = reads(&cache, || assert_eq!(entries(8..12), records[8..12]));
            assert_eq!(read > 0, !cached, "{read} reads of the file");
        }
    }
}

/// Rule 10: what may still be truncated is never handed out mapped.
#[test]
fn rule_10_bytes_that_may_change_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let cache =
        Arc::new(Cache { cached: Arc::new(AtomicBool::new(true)), segment_reads: AtomicUsize::new(0) });
    let vfs = Arc::new(Hooked::new(RealVfs, cache.clone()));
    let mut bench = Bench::on(vfs, dir.path(), options(WriterMode::Thread)).unwrap();
    let records = bench.append((0..20).map(|n| app(1, n, 400)));
    bench.settle();
    bench.append((20..40).map(|n| app(1, n, 400)));
    bench.settle();
    let held = bench.log().reader().entries(12, 16, 1 << 20).unwrap();
    bench.log_mut().truncate_after(Some(LogId::new(1, 9)), Box::new(|cut| cut.unwrap())).unwrap();
    bench.append((10..40).map(|n| app(2, n, 400)));
    bench.settle();
    assert_eq!(held, records[12..12 + held.len()], "the reader's copy is its own");
}

/// Rule 10: a mapped file that shrinks kills the process at the next touch, so no file of a segment ever does: not in a
/// truncation, not in a start that cuts a torn tail, not at its recycling.
#[test]
fn rule_10_a_segments_file_never_gets_shorter() {
    let mut bench = Bench::new(WriterMode::Manual);
    let size = bench.options.segment_size;
    let check = |bench: &Bench| {
        for name in bench.disk.list(Path::new("/node/log")).unwrap() {
            let file = bench.disk.open(&Path::new("/node/log").join(&name), OpenMode::Read).unwrap();
            assert_eq!(file.size().unwrap(), size, "{name}");
        }
    };
    bench.append((0..60).map(|n| app(1, n, 400)));
    bench.log().run_writer();
    check(&bench);
    bench.log_mut().truncate_after(Some(LogId::new(1, 30)), Box::new(|cut| cut.unwrap())).unwrap();
    bench.log().run_writer();
    check(&bench);
    bench.append((31..50).map(|n| app(2, n, 400)));
    bench.log().engine.run_writer_only();
    let segment = bench.log().reader().segments().pop().unwrap();
    bench.disk.damage(&segment.path, 4096 + (segment.end - segment.base) - 3, |byte| byte ^ 1).unwrap();
    bench.crash(Loss::Nothing).unwrap();
    assert!(bench.recovered.torn_tail.is_some());
    check(&bench);
    bench.commit(40);
    for segment in bench.log().reader().segments().iter().filter(|segment| segment.last_index <= 40) {
        bench.checkpoint(segment.last);
    }
    bench.log_mut().purge(LogId::new(1, 30), Box::new(|purged| purged.unwrap())).unwrap();
    bench.log().run_writer();
    check(&bench);
}
