//! Disks that fail while the machine goes on: at every operation of a history, with an input/output error and with a full
//! disk.
//!
//! Whatever fails, the log either goes on as if nothing had failed, because nothing that was promised depends on it (a view, a
//! spare segment, a checkpoint), or it stops for good with a line that says what it was doing. In both cases everything
//! acknowledged is there after the next start.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::histories::{self, append};
use super::world::{Op, World};
use crate::log::testing::{Bench, app, options};
use crate::log::{OpenError, WriterMode};
use crate::types::{Done, FlushMode, LogId};
use crate::vfs::hooked::{Call, Hook, Hooked};
use crate::vfs::{Fault, Loss, MemVfs, Vfs};

const KINDS: [io::ErrorKind; 2] = [io::ErrorKind::Other, io::ErrorKind::StorageFull];

/// Runs the history once for each operation of the disk with a failure there. Gives the numbers of failures that stopped the
/// log and of those that it lived with.
fn fail_everywhere(writer: WriterMode, flush: FlushMode, history: &[Op]) -> (usize, usize) {
    let mut world = World::new(writer, flush);
    let opened = world.disk.operations();
    assert!(history.iter().all(|op| world.step(op)), "the history runs through without a fault");
    let operations = world.disk.operations();
    let (mut stopped, mut lived) = (0, 0);
    for operation in opened..operations {
        for kind in KINDS {
            for loss in [Loss::Nothing, Loss::Everything, Loss::Random(operation)] {
                let mut world = World::new(writer, flush);
                world.fail_at(operation, kind);
                let done = history.iter().take_while(|op| world.step(op)).count();
                let context =
                    format!("{kind:?} at operation {operation}, {loss:?}, ended behind {done} steps");
                match world.fault() {
                    Some(fault) => {
                        stopped += 1;
                        assert!(fault.starts_with("the log has failed: "), "{context}: {fault}");
                        world.prove_refused();
                    }
                    None => lived += 1,
                }
                world.crash(loss);
                world.prove_usable();
            }
        }
    }
    (stopped, lived)
}

#[test]
fn failures_through_append_roll_and_vote() {
    let history = histories::append_and_roll();
    let (stopped, lived) = fail_everywhere(WriterMode::Inline, FlushMode::Sync, &history);
    assert!(stopped > 0 && lived > 0, "{stopped} stopped, {lived} lived with");
}

#[test]
fn failures_through_truncation_behind_queued_writes() {
    fail_everywhere(WriterMode::Manual, FlushMode::Sync, &histories::truncation_behind_queued_writes());
}

#[test]
fn failures_through_checkpoint_snapshot_and_purge() {
    fail_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::checkpoint_snapshot_and_purge());
}

#[test]
fn failures_through_installations() {
    fail_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::installation_that_replaces_the_log());
    fail_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::installation_inside_the_log());
}

/// With asynchronous flushing nobody waits for the sync that fails; the log stops all the same.
#[test]
fn failures_with_asynchronous_flushing() {
    fail_everywhere(WriterMode::Manual, FlushMode::Async, &histories::asynchronous_flushing());
}

/// A failed sync is never tried again: nothing behind it is acknowledged, though each later one would succeed.
#[test]
fn a_failed_sync_is_the_end_of_the_log() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..5).map(|n| app(1, n, 100)));
    let sync = bench.disk.operations() + 1;
    bench.disk.arm(Fault::Error { operation: sync, kind: io::ErrorKind::Other });
    let (sender, outcome) = std::sync::mpsc::channel();
    let done: Done = Box::new(move |result: io::Result<()>| sender.send(result).unwrap());
    bench.log_mut().append_new(vec![app(1, 5, 100)], done).unwrap();
    let failure = outcome.recv().unwrap().unwrap_err().to_string();
    assert!(failure.contains("writing the log"), "{failure}");
    let operations = bench.disk.operations();
    let never: Done = Box::new(|_| panic!("not taken, not called back"));
    assert!(bench.log_mut().append_new(vec![app(1, 6, 100)], never).is_err());
    bench.log().run_writer();
    assert_eq!(bench.disk.operations(), operations, "the disk is not touched any more");
}

/// A disk as a crash has left it: a torn tail, a left-over segment, a checkpoint, a boundary.
fn crashed() -> MemVfs {
    let mut world = World::new(WriterMode::Manual, FlushMode::Sync);
    let history = [
        append(60, 500),
        Op::Work,
        Op::Commit { back: 3 },
        Op::Checkpoint,
        Op::Work,
        Op::Snapshot,
        Op::Work,
        Op::Purge,
        Op::Work,
        append(30, 500),
        Op::Write,
    ];
    assert!(history.iter().all(|op| world.step(op)));
    world.disk.power_off();
    world.disk.restart(Loss::Random(3))
}

/// A start that the disk fails ends with a reason and leaves everything for the next one.
#[test]
fn a_start_that_fails_anywhere_costs_nothing() {
    let disk = crashed();
    let expected = {
        let bench = Bench::open(disk.restart(Loss::Nothing), options(WriterMode::Inline)).unwrap();
        (bench.recovered.last, bench.recovered.committed, bench.recovered.purged, bench.read_all())
    };
    assert!(expected.3.len() > 20);
    let (mut failed, mut operation) = (0, disk.operations());
    loop {
        for kind in KINDS {
            let copy = disk.restart(Loss::Nothing);
            copy.arm(Fault::Error { operation, kind });
            match Bench::open(copy.clone(), options(WriterMode::Inline)) {
                Ok(_) => {}
                Err(OpenError::Io { what, .. }) => {
                    failed += 1;
                    assert!(!what.is_empty());
                }
                Err(other) => panic!("operation {operation}: {other}"),
            }
            for loss in [Loss::Nothing, Loss::Everything, Loss::Random(operation)] {
                let bench = Bench::open(copy.restart(loss), options(WriterMode::Inline)).unwrap();
                let found = (
                    bench.recovered.last,
                    bench.recovered.committed,
                    bench.recovered.purged,
                    bench.read_all(),
                );
                assert_eq!(found, expected, "operation {operation}, {kind:?}, {loss:?}");
            }
        }
        operation += 1;
        let whole = disk.restart(Loss::Nothing);
        drop(Bench::open(whole.clone(), options(WriterMode::Inline)).unwrap());
        if operation >= whole.operations() {
            break;
        }
    }
    assert!(failed > 5);
}

/// Fails the read with this number.
#[derive(Debug, Default)]
struct BadReads {
    left: AtomicUsize,
    made: AtomicUsize,
}

impl Hook for BadReads {
    fn before(&self, call: Call, _: &Path) -> io::Result<()> {
        if call != Call::Read {
            return Ok(());
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(io::Error::other("the disk can't be read")),
            _ => Ok(()),
        }
    }
}

/// A sector that can't be read is not a torn tail: nothing is cut because of it.
#[test]
fn a_read_error_at_a_start_is_neither_damage_nor_a_torn_tail() {
    let disk = crashed();
    let expected = Bench::open(disk.restart(Loss::Nothing), options(WriterMode::Inline)).unwrap().read_all();
    let mut number = 0;
    loop {
        let copy = disk.restart(Loss::Nothing);
        let reads = Arc::new(BadReads { left: AtomicUsize::new(number), made: AtomicUsize::new(0) });
        let vfs: Arc<dyn Vfs> = Arc::new(Hooked::new(copy.clone(), reads.clone()));
        match Bench::on(vfs, Path::new("/node"), options(WriterMode::Inline)) {
            Ok(bench) => assert_eq!(bench.log().last(), expected.last().map(crate::record::Record::id)),
            Err(OpenError::Io { source, .. }) => assert!(source.to_string().contains("can't be read")),
            Err(other) => panic!("read {number}: {other}"),
        }
        let bench = Bench::open(copy.restart(Loss::Everything), options(WriterMode::Inline)).unwrap();
        assert_eq!(bench.read_all(), expected, "read {number}");
        number += 1;
        if reads.made.load(Ordering::Relaxed) < number {
            return;
        }
    }
}

/// A running log says what it could not read, to whoever asked; its writer goes on.
#[test]
fn a_read_error_is_the_readers_and_an_error_in_taking_entries_back_stops_the_log() {
    let reads = Arc::new(BadReads { left: AtomicUsize::new(usize::MAX), made: AtomicUsize::new(0) });
    let vfs: Arc<dyn Vfs> = Arc::new(Hooked::new(MemVfs::new(), reads.clone()));
    let mut bench = Bench::on(vfs, Path::new("/node"), options(WriterMode::Inline)).unwrap();
    let records = bench.append((0..60).map(|n| app(1, n, 400)));
    bench.append((60..80).map(|n| app(1, n, 400)));
    let reader = bench.log().reader();
    reads.left.store(0, Ordering::Relaxed);
    let failure = reader.entries(10, 12, 1000).unwrap_err();
    assert!(failure.to_string().contains("can't be read"), "{failure}");
    assert_eq!(reader.entries(10, 11, 0).unwrap(), records[10..11], "the next read is made again");
    assert!(bench.log().fault().is_none());
    let never = || -> Done { Box::new(|_| panic!("not taken, not called back")) };
    // The entry that would be the last one can't be read: the log is as it was.
    reads.left.store(0, Ordering::Relaxed);
    assert!(bench.log_mut().truncate_after(Some(LogId::new(1, 20)), never()).is_err());
    bench.append([app(1, 80, 10)]);
    // One of those to be taken back can't: the stamper's numbers stand between two states, and nothing may be appended on
    // top of that.
    reads.left.store(3, Ordering::Relaxed);
    assert!(bench.log_mut().truncate_after(Some(LogId::new(1, 20)), never()).is_err());
    assert!(bench.log_mut().append_new(vec![app(1, 81, 10)], never()).is_err());
    assert!(bench.log().fault().unwrap().to_string().contains("can't be read"));
}

fn files(disk: &MemVfs) -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["", "log", "idx", "ckpt"] {
        names.extend(disk.list(&Path::new("/node").join(dir)).unwrap());
    }
    names
}

/// What an allocation or a checkpoint has taken of a full disk before it failed is given back; attempts that fail again and
/// again do not add up.
#[test]
fn room_taken_by_what_failed_half_way_is_given_back() {
    // The step behind each failing one, as seen from the first: create, allocate, sync.
    for step in 0..3 {
        let mut bench = Bench::new(WriterMode::Inline);
        bench.append([app(1, 0, 100)]);
        let spare = bench.log().shared.spares.lock().ready.pop().unwrap();
        bench.disk.remove(&Path::new("/node/log").join(&spare.name)).unwrap();
        drop(spare);
        let before = (bench.disk.used(), files(&bench.disk));
        bench.log().shared.spares.lock().failed = true;
        for attempt in 0..3 {
            let operation = bench.disk.operations() + step;
            bench.disk.arm(Fault::Error { operation, kind: io::ErrorKind::StorageFull });
            // The removal behind the first failure fails, too.
            if attempt == 0 {
                bench.disk.arm(Fault::Error { operation: operation + 1, kind: io::ErrorKind::Other });
            }
            bench.log().run_writer();
            assert!(bench.log().shared.spares.lock().failed, "step {step}");
            let left = files(&bench.disk).len() - before.1.len();
            assert!(
                left <= usize::from(attempt == 0),
                "step {step}, attempt {attempt}: {left} files are left"
            );
        }
        assert_eq!((bench.disk.used(), files(&bench.disk)), before, "step {step}");
        bench.log().run_writer();
        assert!(!bench.log().shared.spares.lock().failed, "and it goes on by itself");
    }
}

/// Regression: a spare that comes from a purge left the failed allocation standing for ever, and what waits for a disk that gives
/// segments waited for ever, too.
#[test]
fn a_purged_segment_makes_up_for_a_spare_that_was_not_allocated() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..60).map(|n| app(1, n, 400)));
    bench.commit(59);
    let at =
        records.iter().filter(|record| record.starts_segment()).nth(1).unwrap().previous_point().unwrap();
    bench.checkpoint(at);
    bench.log().checkpoints().set_snapshot(at, Box::new(|set| set.unwrap()));
    // Room for the bounds, none for a segment.
    bench.disk.set_capacity(Some(bench.disk.used() + 8000));
    let refused = |bench: &Bench| bench.log().room().refused;
    let mut next = 60;
    while !refused(&bench) {
        bench.append([app(1, next, 400)]);
        next += 1;
        assert!(next < 200, "never full");
    }
    bench.log_mut().purge(at.id, Box::new(|purged| purged.unwrap())).unwrap();
    assert_eq!(bench.log().room().spares, 1);
    assert!(!refused(&bench));
    bench.log().run_writer();
    assert!(!refused(&bench));
}

/// As above, where the spare was given up to move the boundary.
#[test]
fn a_spare_that_was_given_up_and_is_back_is_forgotten() {
    let bench = Bench::new(WriterMode::Inline);
    bench.log().shared.spares.lock().failed = true;
    assert_eq!(bench.log().room().spares, 1);
    bench.log().run_writer();
    assert!(!bench.log().shared.spares.lock().failed);
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_nothing_behind() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..60).map(|n| app(1, n, 400)));
    bench.commit(59);
    let at =
        records.iter().filter(|record| record.starts_segment()).nth(1).unwrap().previous_point().unwrap();
    let before = (bench.disk.used(), files(&bench.disk));
    for room in [0, 10, 5000] {
        bench.disk.set_capacity(Some(before.0 + room));
        let (sender, saved) = std::sync::mpsc::channel();
        let done: Done = Box::new(move |result: io::Result<()>| sender.send(result).unwrap());
        let state = bytes::Bytes::new();
        bench.log().checkpoints().save(at, 1, state, Box::new(|| vec![7; 10_000]), done);
        assert_eq!(saved.recv().unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((bench.disk.used(), files(&bench.disk)), before);
    }
    assert!(bench.log().fault().is_none(), "the log itself goes on");
    bench.disk.set_capacity(None);
    bench.append([app(1, 60, 400)]);
}
