//! What a start believes: rules 1, 3 and 4 of the log, each with the history that it is about.

use std::path::{Path, PathBuf};

use crate::log::testing::{Bench, app};
use crate::log::{OpenError, WriterMode};
use crate::record::Record;
use crate::types::{Done, FlushMode, LogId};
use crate::vfs::{Fault, Loss, MemVfs, OpenMode, Vfs};

/// Last entry that both branches share.
const K: u64 = 7;

/// Two logs that share the entries up to `K`, all of term 1. One goes on with two entries of term 2, the other with two of
/// term 1; all are of one length.
struct Branches {
    shared: Vec<Record>,
    uncommitted: Vec<Record>,
    other: Vec<Record>,
}

fn branches() -> Branches {
    let mut first = Bench::new(WriterMode::Inline);
    let shared = first.append((0..=K).map(|n| app(1, n, 100)));
    let uncommitted = first.append([app(2, K + 1, 100), app(2, K + 2, 100)]);
    let mut second = Bench::new(WriterMode::Inline);
    second.append_records(shared.clone()).unwrap();
    let other = second.append([app(1, K + 1, 100), app(1, K + 2, 100)]);
    Branches { shared, uncommitted, other }
}

fn ok() -> Done {
    Box::new(|outcome| outcome.unwrap())
}

/// Writes behind the log's back, into the page cache.
fn plant(disk: &MemVfs, path: &Path, offset: u64, bytes: &[u8]) {
    disk.open(path, OpenMode::Write).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Rule 1. B holds uncommitted k+1, k+2 of term 2, truncates to k, writes k+1 of term 1 with the same length and is killed
/// while the old k+2 still stands behind it: it fits by magic, checksum, position and index, and only the chain tells that no
/// leader ever wrote it there.
#[test]
fn rule_1_a_record_of_another_history_behind_the_tail_is_not_taken_for_the_next_one() {
    let Branches { shared, uncommitted, other } = branches();
    let mut b = Bench::new(WriterMode::Inline);
    b.append_records([shared.clone(), uncommitted.clone()].concat()).unwrap();
    b.log_mut().truncate_after(Some(LogId::new(1, K)), ok()).unwrap();
    b.append_records(other[..1].to_vec()).unwrap();
    let stale = &uncommitted[1];
    assert_eq!((stale.position(), stale.index()), (other[0].end_position(), K + 2), "it fits its place");
    stale.verify().unwrap();
    let segment = b.log().reader().segments().pop().unwrap();
    plant(&b.disk, &segment.path, 4096 + (stale.position() - segment.base), stale.bytes());
    b.crash(Loss::Nothing).unwrap();
    assert_eq!(b.recovered.last, Some(LogId::new(1, K + 1)));
    assert_eq!(b.read_all(), [shared.clone(), other[..1].to_vec()].concat());
    assert_eq!(b.recovered.torn_tail.as_ref().map(|torn| torn.position), Some(stale.position()));
    // Nor can it come back later: the place behind the tail is blank again.
    b.append_records(other[1..].to_vec()).unwrap();
    b.crash(Loss::Everything).unwrap();
    assert_eq!(b.read_all(), [shared, other].concat());
}

/// Rule 1: the same history, killed at every operation of the disk and with every kind of loss: what comes back is one of
/// the two histories as far as it goes, never a mixture.
#[test]
fn rule_1_killed_anywhere_between_truncation_and_the_next_record() {
    let Branches { shared, uncommitted, other } = branches();
    let old = [shared.clone(), uncommitted].concat();
    let new = [shared.clone(), other].concat();
    for operation in 0.. {
        for loss in [Loss::Nothing, Loss::Everything, Loss::KeepFirst, Loss::KeepLast, Loss::Random(5)] {
            let mut b = Bench::new(WriterMode::Inline);
            b.append_records(old.clone()).unwrap();
            b.disk.arm(Fault::PowerOff { operation: b.disk.operations() + operation });
            let ignored = || -> Done { Box::new(|_| {}) };
            let cut = b.log_mut().truncate_after(Some(LogId::new(1, K)), ignored());
            let written =
                cut.and_then(|()| b.log_mut().append_records(new[K as usize + 1..].to_vec(), ignored()));
            let through = written.is_ok() && !b.disk.is_off();
            b.crash(loss).unwrap();
            let read = b.read_all();
            assert!(
                old.starts_with(&read) || new.starts_with(&read),
                "operation {operation}, {loss:?}: {read:?}"
            );
            assert!(read.len() > K as usize && (!through || read == new), "operation {operation}, {loss:?}");
            if through && loss == Loss::Random(5) {
                return;
            }
        }
    }
}

/// Rule 1: a truncation blanks all that stood behind the new tail, on the disk, not only the first header.
#[test]
fn rule_1_a_truncation_leaves_no_old_header_behind_the_tail() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..15).map(|n| app(1, n, 300)));
    let segment = bench.log().reader().segments().remove(0);
    assert_eq!(segment.end, records[14].end_position(), "all in one segment");
    bench.log_mut().truncate_after(Some(LogId::new(1, 4)), ok()).unwrap();
    let disk = bench.disk.restart(Loss::Everything);
    let bytes = disk.open(&segment.path, OpenMode::Read).unwrap().read_all().unwrap();
    let cut = (4096 + records[4].end_position() - segment.base) as usize;
    assert!(bytes[cut..].iter().all(|byte| *byte == 0));
    assert!(bytes[..cut].ends_with(records[4].bytes()));
}

/// Rule 1: followers check the chain too, before anything is written.
#[test]
fn rule_1_a_follower_takes_no_record_that_does_not_chain() {
    let Branches { shared, uncommitted, other } = branches();
    let mut b = Bench::new(WriterMode::Inline);
    b.append_records([shared, other[..1].to_vec()].concat()).unwrap();
    let operations = b.disk.operations();
    let refused = b.append_records(uncommitted[1..].to_vec()).unwrap_err().to_string();
    assert!(refused.contains("previous"), "{refused}");
    assert_eq!(b.disk.operations(), operations);
    assert_eq!(b.log().last(), Some(LogId::new(1, K + 1)));
}

/// Ten entries that are on the disk, five that are only written, and where the marks say that the first ones end.
fn half_synced() -> (Bench, Vec<Record>) {
    let mut bench = Bench::new(WriterMode::Manual);
    let mut records = bench.append((0..10).map(|n| app(1, n, 200)));
    bench.log().run_writer();
    records.extend(bench.append((10..15).map(|n| app(1, n, 200))));
    // The group has committed all of them; that is known on this disk before they are.
    bench.commit(14);
    bench.log().shared.write_marks().unwrap();
    bench.log().engine.run_writer_only();
    (bench, records)
}

fn place(record: &Record) -> (PathBuf, u64) {
    (Path::new("/node/log/00000000000000000000").to_path_buf(), 4096 + record.position())
}

/// Rule 3: below the synced position a changed byte is damage; the node does not start, says where, and touches nothing.
#[test]
fn rule_3_damage_below_the_synced_position_is_refused_with_file_and_offset() {
    for (at, within) in [(0, 0), (3, 20), (6, 75), (9, 200)] {
        let (bench, records) = half_synced();
        let (disk, options) = (bench.disk.clone(), bench.options.clone());
        drop(bench);
        let (file, offset) = place(&records[at]);
        disk.damage(&file, offset + within, |byte| byte ^ 0x10).unwrap();
        // Syncs of folders apart, which a start begins with.
        let contents = || {
            let names = disk.list(Path::new("/node/log")).unwrap();
            let read =
                |name: &String| disk.open(&Path::new("/node/log").join(name), OpenMode::Read)?.read_all();
            names.iter().map(|name| (name.clone(), read(name).unwrap())).collect::<Vec<_>>()
        };
        let before = contents();
        let Err(OpenError::Damage(damage)) = Bench::open(disk.clone(), options.clone()) else {
            panic!("entry {at} is damaged");
        };
        assert_eq!((damage.file.clone(), damage.offset), (file.clone(), offset), "{damage}");
        assert!(contents() == before, "nothing is cut, removed or written");
        disk.damage(&file, offset + within, |byte| byte ^ 0x10).unwrap();
        assert_eq!(
            Bench::open(disk, options).unwrap().read_all(),
            records,
            "all is there when the byte is mended"
        );
    }
}

/// Rule 3: above it a changed byte is a torn tail, also when the records behind it are whole, for the pages of a group reach
/// the disk in any order. The committed mark says nothing about this disk: it may lie above.
#[test]
fn rule_3_damage_above_the_synced_position_is_cut_with_whole_records_behind_it() {
    for at in 10..15 {
        let (mut bench, records) = half_synced();
        let (file, offset) = place(&records[at]);
        bench.disk.damage(&file, offset + 80, |byte| byte ^ 1).unwrap();
        bench.crash(Loss::Nothing).unwrap();
        assert_eq!(bench.read_all(), records[..at]);
        assert_eq!(bench.recovered.committed, Some(records[at - 1].id()), "capped at what is verified");
        let torn = bench.recovered.torn_tail.clone().unwrap();
        assert_eq!((torn.file, torn.offset), (file, offset));
        // A term of a later leader overwrites it with records of the same length; the whole ones must not come back.
        let next = bench.append([app(2, at as u64, 200)]);
        bench.log().run_writer();
        bench.crash(Loss::Nothing).unwrap();
        assert_eq!(bench.read_all(), [&records[..at], &next[..]].concat());
        assert_eq!(bench.recovered.torn_tail, None);
    }
}

/// Rule 3: the synced position is written after a sync has returned, never before: whatever a power cut leaves, the log
/// reaches it.
#[test]
fn rule_3_the_synced_mark_is_a_lower_bound_of_what_is_on_the_disk() {
    for operation in 0..40 {
        let mut bench = Bench::new(WriterMode::Inline);
        bench.disk.arm(Fault::PowerOff { operation: bench.disk.operations() + operation });
        for n in 0..30 {
            let done: Done = Box::new(|_| {});
            if bench.log_mut().append_new(vec![app(1, n, 400)], done).is_err() {
                break;
            }
        }
        for loss in [Loss::Everything, Loss::KeepLast, Loss::Random(operation)] {
            let disk = bench.disk.restart(loss);
            let opened = Bench::open(disk, bench.options.clone());
            assert!(opened.is_ok(), "operation {operation}, {loss:?}: {}", opened.err().unwrap());
        }
    }
}

/// Rule 3: what is only written does not count, also where appends are acknowledged as soon as they are.
#[test]
fn rule_3_the_synced_mark_stays_behind_what_is_only_written() {
    let mut bench = Bench::with(|options| {
        (options.writer, options.flush) = (WriterMode::Manual, FlushMode::Async);
    });
    let records = bench.append((0..5).map(|n| app(1, n, 200)));
    bench.log().run_writer();
    bench.append((5..10).map(|n| app(1, n, 200)));
    bench.commit(9);
    bench.log().engine.run_writer_only();
    bench.log().shared.write_marks().unwrap();
    bench.crash(Loss::Everything).unwrap();
    assert_eq!(bench.read_all(), records, "what was not synced is gone, and that is no damage");
    assert_eq!(bench.recovered.committed, Some(records[4].id()));
}

/// Rule 4: a truncation into an earlier segment removes the later files first, durably; only then it cuts. Killed in between,
/// the node finds the old log or a shorter one, but no file of the old tail behind a new one.
#[test]
fn rule_4_a_truncation_into_an_earlier_segment_removes_the_later_files_first() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..60).map(|n| app(1, n, 400)));
    let later: Vec<_> = bench.log().reader().segments().into_iter().skip(1).map(|info| info.path).collect();
    assert!(later.len() > 1);
    let first = bench.log().reader().segments().remove(0);
    let before = bench.disk.open(&first.path, OpenMode::Read).unwrap().read_all().unwrap();
    for operation in 0.. {
        let disk = bench.disk.restart(Loss::Nothing);
        let mut cut = Bench::open(disk.clone(), bench.options.clone()).unwrap();
        disk.arm(Fault::PowerOff { operation: disk.operations() + operation });
        let ignored: Done = Box::new(|_| {});
        cut.log_mut().truncate_after(Some(LogId::new(1, 3)), ignored).ok();
        let stopped = disk.is_off();
        let left = disk.restart(Loss::Everything);
        let now = left.open(&first.path, OpenMode::Read).unwrap().read_all().unwrap();
        if now != before {
            let names = left.list(Path::new("/node/log")).unwrap();
            let stays = later.iter().any(|path| names.iter().any(|name| path.ends_with(name)));
            assert!(!stays, "operation {operation}: the first segment is cut, {names:?} is there");
        }
        if !stopped {
            assert_ne!(now, before);
            return;
        }
    }
}

/// Rule 4: a file of the old tail that is left over all the same is garbage, not damage: its header names another
/// predecessor than the one that stands before it now.
#[test]
fn rule_4_a_left_over_file_whose_header_does_not_chain_is_garbage() {
    let mut old = Bench::new(WriterMode::Inline);
    let records = old.append((0..60).map(|n| app(1, n, 400)));
    let segments = old.log().reader().segments();
    let left_over = old.disk.open(&segments[1].path, OpenMode::Read).unwrap().read_all().unwrap();
    let first_of_second = segments[1].first_index;
    // Another leader's entries, of the same lengths, up to exactly where the left-over file begins.
    old.log_mut().truncate_after(Some(LogId::new(1, 3)), ok()).unwrap();
    let new = old.append((4..first_of_second).map(|n| app(2, n, 400)));
    assert_eq!(old.log().last_point().unwrap().end, segments[1].base);
    let file = old.disk.open(&segments[1].path, OpenMode::CreateNew).unwrap();
    file.write_all_at(&left_over, 0).unwrap();
    file.sync_data().unwrap();
    old.disk.sync_dir(Path::new("/node/log")).unwrap();
    old.crash(Loss::Nothing).unwrap();
    assert_eq!(old.read_all(), [&records[..4], &new[..]].concat());
    assert_eq!(old.recovered.last, Some(LogId::new(2, first_of_second - 1)));
    let names = old.disk.list(Path::new("/node/log")).unwrap();
    assert!(!names.iter().any(|name| segments[1].path.ends_with(name)), "{names:?}");
}
