//! The ordinary life of a log.

use crate::log::checkpoint::checkpoint_name;
use crate::log::testing::{Bench, app, blank, options};
use crate::log::{
    AppendError, Body, Checkpoint, Draft, GroupDone, Installed, LogObserver, LogOptions, Space, WriterMode,
};
use crate::types::{ChainPoint, Done, EntryKind, FlushMode, LogId, Vote};
use crate::vfs::hooked::{Call, Hook, Hooked};
use crate::vfs::{Fault, Loss, MemVfs, OpenMode, Vfs};
use bytes::{BufMut, Bytes, BytesMut};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[test]
fn appended_entries_can_be_read_at_once_and_after_a_restart() {
    let mut bench = Bench::new(WriterMode::Inline);
    let written = bench.append((0..40).map(|n| app(1, n, 300)));
    assert_eq!(bench.read_all(), written);
    assert!(bench.log().reader().segments().len() > 1, "the history rolls");
    bench.reopen();
    assert_eq!(bench.recovered.last, Some(LogId::new(1, 39)));
    assert_eq!(bench.read_all(), written);
    assert_eq!(bench.seen.len(), 40, "the visitor saw every record");
}

/// Counts the appends that may go past the page cache.
#[derive(Debug, Default)]
struct Appends(AtomicUsize);

impl Hook for Appends {
    fn before(&self, call: Call, _: &Path) -> io::Result<()> {
        self.0.fetch_add(usize::from(call == Call::Append), Relaxed);
        Ok(())
    }
}

#[test]
fn records_go_past_the_page_cache_when_acknowledgements_wait_for_the_disk_and_nobody_forbids_it() {
    for (flush, direct, expected) in
        [(FlushMode::Sync, true, true), (FlushMode::Sync, false, false), (FlushMode::Async, true, false)]
    {
        let appends = Arc::new(Appends::default());
        let vfs = Arc::new(Hooked::new(MemVfs::new(), appends.clone()));
        let options = LogOptions { flush, direct, ..options(WriterMode::Inline) };
        let mut bench = Bench::on(vfs, Path::new("/node"), options).unwrap();
        let written = bench.append((0..10).map(|n| app(1, n, 300)));
        bench.settle();
        assert_eq!(bench.read_all(), written);
        assert_eq!(appends.0.load(Relaxed) > 0, expected, "{flush:?}, direct {direct}");
    }
}

#[test]
fn a_log_on_real_files_with_threads_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::real(dir.path());
    let written = bench.append((0..200).map(|n| app(1, n, 300)));
    bench.settle();
    assert_eq!(bench.read_all(), written);
    bench.reopen();
    assert_eq!(bench.read_all(), written);
    let more = bench.append((200..220).map(|n| app(2, n, 10)));
    bench.settle();
    bench.log_mut().truncate_after(Some(LogId::new(2, 209)), Box::new(|result| result.unwrap())).unwrap();
    bench.settle();
    bench.reopen();
    assert_eq!(bench.read_all(), [written, more[..10].to_vec()].concat());
}

#[test]
fn a_draft_with_head_room_that_nobody_else_holds_is_stamped_in_place() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append([blank(1, 0)]);
    let mut bytes = BytesMut::zeroed(72);
    bytes.put_slice(&[5; 100]);
    let address = bytes.as_ptr() as usize;
    let body = Body::HeadRoom(bytes.freeze());
    let draft = Draft { id: LogId::new(1, 1), leader: 9, kind: EntryKind::Membership, body };
    let record = bench.append([draft]).remove(0);
    assert_eq!(record.bytes().as_ptr() as usize, address);
    assert_eq!(record.payload_slice(), [5; 100]);
    record.verify().unwrap();

    let shared = Bytes::from(vec![6; 172]);
    let body = Body::HeadRoom(shared.clone());
    let draft = Draft { id: LogId::new(1, 2), leader: 9, kind: EntryKind::Membership, body };
    let record = bench.append([draft]).remove(0);
    assert_eq!(shared, vec![6; 172], "a buffer that somebody else holds is left alone");
    assert_eq!(record.payload_slice(), [6; 100]);
}

#[test]
fn the_record_of_index_0_depends_on_nothing_but_its_payload() {
    let record = |leader, wait| {
        let mut bench = Bench::new(WriterMode::Inline);
        bench.clock.pass(wait);
        let body = Body::Plain(Bytes::from_static(b"token"));
        bench.append([Draft { id: LogId::new(0, 0), leader, kind: EntryKind::Membership, body }]).remove(0)
    };
    assert_eq!(record(1, 0), record(77, 500));
    assert_eq!((record(5, 5).time_ms(), record(5, 5).leader()), (0, 0));
}

#[test]
fn a_follower_takes_the_leaders_bytes_and_rolls_where_the_leader_did() {
    let mut leader = Bench::new(WriterMode::Inline);
    let records = leader.append((0..60).map(|n| app(1, n, 250)));
    let mut follower = Bench::new(WriterMode::Inline);
    for batch in records.chunks(7) {
        follower.append_records(batch.to_vec()).unwrap();
    }
    assert_eq!(follower.read_all(), records);
    let shape = |bench: &Bench| {
        bench
            .log()
            .reader()
            .segments()
            .into_iter()
            .map(|s| (s.base, s.end, s.first_index))
            .collect::<Vec<_>>()
    };
    assert_eq!(shape(&leader), shape(&follower));
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let mut leader = Bench::new(WriterMode::Inline);
    let records = leader.append((0..10).map(|n| app(1, n, 50)));
    let mut follower = Bench::new(WriterMode::Inline);
    follower.append_records(records[..4].to_vec()).unwrap();
    let hole = follower.append_records(records[5..6].to_vec());
    assert!(matches!(hole, Err(AppendError::Hole { .. })));
    let again = follower.append_records(records[3..5].to_vec());
    assert!(matches!(again, Err(AppendError::Hole { .. })));

    let mut flipped = records[4].bytes().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = crate::record::Record::from_bytes(flipped.into()).unwrap();
    let damaged = follower.append_records(vec![flipped]);
    assert!(matches!(damaged, Err(AppendError::Record { .. })));

    let mut other = Bench::new(WriterMode::Inline);
    let others = other.append((0..6).map(|n| app(1, n, 51)));
    let unchained = follower.append_records(others[4..5].to_vec());
    assert!(matches!(unchained, Err(AppendError::Chain { .. })), "{unchained:?}");

    follower.append_records(records[4..].to_vec()).unwrap();
    assert_eq!(follower.read_all(), records);
}

#[test]
fn reads_start_where_asked_or_say_why_not() {
    let mut bench = Bench::new(WriterMode::Inline);
    let mut written = bench.append((0..50).map(|n| app(1, n, 200)));
    written.extend(bench.append((50..100).map(|n| app(1, n, 200))));
    let reader = bench.log().reader();
    assert!(!reader.in_memory(0), "the ring of this test is small");
    assert!(reader.in_memory(99));
    for start in [0, 1, 50, 98, 99] {
        for bytes_max in [0, 1000, 1 << 20] {
            let read = reader.entries(start, 100, bytes_max).unwrap();
            assert!(!read.is_empty());
            assert_eq!(read, written[start as usize..start as usize + read.len()]);
            assert!(read.len() == 1 || read.iter().map(|r| r.size()).sum::<usize>() <= bytes_max);
        }
    }
    assert_eq!(reader.entries(100, 200, 1000).unwrap(), []);
    bench.commit(99);
    for segment in bench.log().reader().segments().iter().filter(|segment| segment.last_index <= 60) {
        bench.checkpoint(segment.last);
    }
    bench.log_mut().purge(LogId::new(1, 60), Box::new(|result| result.unwrap())).unwrap();
    let error = reader.entries(60, 70, 1000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(reader.entries(61, 62, 1000).unwrap(), written[61..62]);
}

#[test]
fn message_reads_stay_inside_one_payload() {
    let mut bench = Bench::new(WriterMode::Inline);
    let mut written = bench.append((0..99).map(|n| app(1, n, 200)));
    written.extend(bench.append([app(1, 99, 200)]));
    for committed in [false, true] {
        if committed {
            bench.commit(99);
        }
        let reader = bench.log().reader();
        for record in [&written[0], &written[37], &written[99]] {
            let start = record.payload_position();
            for (from, size) in [(0, 200), (0, 1), (13, 50), (199, 1)] {
                let read = reader.read(start + from, size as u32).unwrap();
                assert_eq!(read, record.payload_slice()[from as usize..from as usize + size]);
            }
            for (position, size) in [(start - 1, 1), (start, 201), (start + 199, 2), (record.position(), 10)]
            {
                assert_eq!(reader.read(position, size).unwrap_err().kind(), io::ErrorKind::NotFound);
            }
        }
        assert!(reader.read(u64::MAX - 1, 10).is_err());
    }
}

#[test]
fn a_record_larger_than_a_segment_is_refused() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append([app(1, 0, 100)]);
    let refused = bench
        .log_mut()
        .append_new(vec![app(1, 1, 100), app(1, 2, 20_000)], Box::new(|_| panic!("not called")));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(bench.log().last(), Some(LogId::new(1, 0)), "nothing of the batch was taken");
    bench.append([app(1, 1, 100)]);
}

#[test]
fn term_starts_and_log_ids_come_from_memory() {
    let mut bench = Bench::new(WriterMode::Inline);
    for (term, indices) in [(1, 0..30), (3, 30..31), (4, 31..90)] {
        bench.append(indices.map(|n| app(term, n, 100)));
    }
    for _ in 0..2 {
        let reader = bench.log().reader();
        assert_eq!(reader.log_id(29), Some(LogId::new(1, 29)));
        assert_eq!(reader.log_id(30), Some(LogId::new(3, 30)));
        assert_eq!(reader.log_id(90), None);
        let starts = [LogId::new(1, 5), LogId::new(3, 30), LogId::new(4, 31)];
        assert_eq!(reader.term_starts(5, 89), starts);
        assert_eq!(reader.term_starts(31, 89), starts[2..]);
        assert_eq!(reader.term_starts(5, 30), starts[..2]);
        bench.reopen();
    }
}

#[test]
fn an_old_segment_makes_room_for_the_next_one() {
    let mut bench = Bench::with(|options| options.segment_age_ms_max = Some(1000));
    bench.append((0..3).map(|n| app(1, n, 10)));
    bench.clock.pass(999);
    bench.append([app(1, 3, 10)]);
    assert_eq!(bench.log().reader().segments().len(), 1);
    bench.clock.pass(2);
    bench.append([app(1, 4, 10)]);
    assert_eq!(bench.log().reader().segments().len(), 2);
}

/// Rule 11: without room for the next segment the log says so while the last one still takes records, and goes on by
/// itself when there is room again.
#[test]
fn rule_11_a_full_disk_is_reported_before_it_is_needed() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append([app(1, 0, 100)]);
    assert_eq!(bench.log().space(), Space::Ready);
    bench.disk.set_capacity(Some(bench.disk.used()));
    let mut index = 1;
    while bench.log().space() == Space::Ready {
        bench.append([app(1, index, 500)]);
        index += 1;
        assert!(index < 1000, "never full");
    }
    assert_eq!(bench.log().fault().map(|fault| fault.to_string()), None, "a full disk is not a failure");
    bench.append([app(1, index, 500)]);
    bench.disk.set_capacity(None);
    bench.log().run_writer();
    assert_eq!(bench.log().space(), Space::Ready);
    bench.append((index + 1..index + 40).map(|n| app(1, n, 500)));
}

#[derive(Debug)]
struct Panics;

impl LogObserver for Panics {
    fn group_done(&self, _: &GroupDone) {
        panic!("on purpose");
    }
}

/// A writer that has panicked answers what waits and what comes, or the group's core would wait for ever.
#[test]
fn a_panicked_writer_fails_everything_that_waits_and_comes() {
    let options = LogOptions { observer: Some(Arc::new(Panics)), ..options(WriterMode::Thread) };
    let mut bench = Bench::open(MemVfs::new(), options).unwrap();
    let mut outcomes = Vec::new();
    let mut report = || -> Done {
        let (sender, outcome) = mpsc::channel();
        outcomes.push(outcome);
        Box::new(move |outcome| sender.send(outcome.is_ok()).unwrap_or_default())
    };
    bench.log_mut().append_new(vec![app(1, 0, 10)], report()).unwrap();
    for term in 1..4 {
        bench.log_mut().save_vote(Vote { term, node: 5, committed: false }, report());
        bench.log().sync(report());
    }
    for outcome in outcomes {
        // A call-back that is dropped counts as an answer: the core's ones report that.
        let outcome = outcome.recv_timeout(Duration::from_secs(20));
        assert!(matches!(outcome, Ok(false) | Err(mpsc::RecvTimeoutError::Disconnected)), "{outcome:?}");
    }
    let (sender, outcome) = mpsc::channel();
    let late: Done = Box::new(move |outcome| sender.send(outcome.is_ok()).unwrap());
    bench.log_mut().save_vote(Vote { term: 9, node: 5, committed: false }, late);
    assert_eq!(outcome.recv_timeout(Duration::from_secs(20)), Ok(false));
    let fault = bench.log().fault().expect("the failure sticks").to_string();
    assert!(fault.contains("panicked"), "{fault}");
}

/// Moving the boundary is what frees a full disk, so it must not need what the disk does not have.
#[test]
fn a_full_disk_can_be_purged() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..100).map(|n| app(1, n, 400)));
    bench.commit(99);
    let opens: Vec<_> = records.iter().filter(|record| record.starts_segment()).skip(1).collect();
    let checkpoints = bench.log().checkpoints();
    let points: Vec<_> = opens[1..3].iter().map(|record| record.previous_point().unwrap()).collect();
    points.iter().for_each(|at| bench.checkpoint(*at));
    bench.disk.set_capacity(Some(bench.disk.used()));
    checkpoints.set_snapshot(points[0], Box::new(|set| set.unwrap()));
    assert_eq!(checkpoints.snapshot(), Some(points[0]));
    // What was given up for that is gone, and the disk is full again.
    bench.log().run_writer();
    bench.disk.set_capacity(Some(bench.disk.used()));
    while bench.log().shared.spares.lock().ready.pop().is_some() {}
    checkpoints.set_snapshot(
        points[1],
        Box::new(|set| assert_eq!(set.unwrap_err().kind(), io::ErrorKind::StorageFull)),
    );
    assert_eq!(checkpoints.snapshot(), Some(points[0]), "it did not move");
    let purged = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&purged);
    bench
        .log_mut()
        .purge(points[0].id, Box::new(move |outcome| done.store(outcome.is_ok(), Relaxed)))
        .unwrap();
    assert!(!purged.load(Relaxed), "no room, not even for the bounds");
    assert!(bench.log().fault().is_none(), "a purge that fails is no failure of the log");
    bench.disk.set_capacity(None);
    bench.log().run_writer();
    assert!(purged.load(Relaxed), "tried again");
    bench.crash(Loss::Everything).unwrap();
    assert_eq!(bench.recovered.purged, Some(points[0].id));
    assert_eq!(bench.read_all(), records[points[0].id.index as usize + 1..]);
}

/// There was room for it when it came: whatever has taken that since must not stop the replica.
#[test]
fn a_disk_that_fills_under_an_installation_costs_a_spare_and_not_the_log() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..20).map(|n| app(1, n, 400)));
    bench.disk.set_capacity(Some(bench.disk.used()));
    let spares = bench.log().shared.spares.lock().ready.len();
    assert!(spares > 0);
    let at = ChainPoint { id: LogId::new(2, 99), end: 1 << 20, crc: 7 };
    let state = Bytes::from(100_u64.to_le_bytes().to_vec());
    let checkpoint = Checkpoint { at, time_ms: 1, installed: true, membership: Bytes::new(), state };
    let (sender, outcome) = mpsc::channel();
    let done: Done = Box::new(move |result| sender.send(result.is_ok()).unwrap());
    assert_eq!(bench.log_mut().install(checkpoint, done).unwrap(), Installed::Replaced);
    assert_eq!(outcome.recv(), Ok(true));
    assert!(bench.log().fault().is_none());
    bench.crash(Loss::Everything).unwrap();
    assert_eq!(bench.log().checkpoints().snapshot(), Some(at));
}

/// The boundary's checkpoint is all that a start and a follower far behind have: one rotten copy of it stops neither.
#[test]
fn the_boundarys_checkpoint_outlives_rot_in_either_copy() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..100).map(|n| app(1, n, 400)));
    bench.commit(99);
    let opens = records.iter().filter(|record| record.starts_segment()).nth(2).unwrap();
    let at = opens.previous_point().unwrap();
    let state = (at.id.index + 1).to_le_bytes().to_vec();
    let checkpoints = bench.log().checkpoints();
    checkpoints.save(at, 1, Bytes::new(), Box::new(move || state), Box::new(|saved| saved.unwrap()));
    checkpoints.set_snapshot(at, Box::new(|set| set.unwrap()));
    bench.log_mut().purge(at.id, Box::new(|purged| purged.unwrap())).unwrap();
    drop(checkpoints);
    let folder = bench.log().shared.folder.checkpoints.clone();
    let name = checkpoint_name(at);
    let paths = [folder.join(&name), folder.join(format!("{name}.copy"))];
    let whole =
        |bench: &Bench, path: &Path| bench.disk.open(path, OpenMode::Read).unwrap().read_all().unwrap();
    let written = whole(&bench, &paths[0]);
    for rotten in &paths {
        bench.disk.damage(rotten, 70, |byte| !byte).unwrap();
        assert_eq!(bench.log().checkpoints().load(at).unwrap().at, at);
        bench.reopen();
        assert_eq!(bench.recovered.snapshot, Some(at));
        for path in &paths {
            assert_eq!(whole(&bench, path), written, "mended: {}", path.display());
        }
        bench.disk.remove(rotten).unwrap();
        bench.reopen();
        assert_eq!(bench.recovered.snapshot, Some(at), "without {}", rotten.display());
        assert_eq!(whole(&bench, rotten), written);
    }
    for rotten in &paths {
        bench.disk.damage(rotten, 70, |byte| !byte).unwrap();
    }
    let error = bench.log().checkpoints().load(at).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);

    // The next boundary's copies take the place of these.
    let next =
        records.iter().filter(|record| record.starts_segment()).nth(4).unwrap().previous_point().unwrap();
    let state = (next.id.index + 1).to_le_bytes().to_vec();
    let checkpoints = bench.log().checkpoints();
    checkpoints.save(next, 1, Bytes::new(), Box::new(move || state), Box::new(|saved| saved.unwrap()));
    checkpoints.set_snapshot(next, Box::new(|set| set.unwrap()));
    let mut names = bench.disk.list(&folder).unwrap();
    names.sort();
    assert_eq!(names, [checkpoint_name(next), format!("{}.copy", checkpoint_name(next))]);
}

/// A failed sync leaves records in the page cache that no later sync writes. A restart of the process finds them there
/// and must not count them before they are on the disk.
#[test]
fn what_a_failed_sync_has_left_is_written_again_before_it_counts() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..5).map(|n| app(1, n, 100)));
    let sync = bench.disk.operations() + 1;
    bench.disk.arm(Fault::Error { operation: sync, kind: io::ErrorKind::Other });
    let failed: Done = Box::new(|outcome| assert!(outcome.is_err()));
    bench.log_mut().append_new(vec![app(1, 5, 100)], failed).unwrap();
    let (disk, options) = (bench.disk.clone(), bench.options.clone());
    drop(bench);
    let mut bench = Bench::open(disk, options).unwrap();
    assert_eq!(bench.recovered.last, Some(LogId::new(1, 5)), "the page cache holds it");
    let written = bench.read_all();
    bench.crash(Loss::Everything).unwrap();
    assert_eq!(bench.read_all(), written);
}
