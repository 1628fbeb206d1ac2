//! Looking at a folder from outside.

use std::path::Path;
use std::sync::Arc;

use super::world::{Op, World};
use crate::identity::Identity;
use crate::log::testing::{Bench, app, blank};
use crate::log::{Body, Draft, InspectError, OpenError, WriterMode, inspect, verify};
use crate::types::{EntryKind, FlushMode, LogId};
use crate::vfs::{Loss, MemVfs, Vfs};

const NODE: &str = "/node";

fn bench() -> Bench {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..60).map(|n| app(1, n, 500)));
    bench
}

fn shared(disk: &MemVfs) -> Arc<dyn Vfs> {
    Arc::new(disk.clone())
}

#[test]
fn a_sound_folder_is_described_and_left_as_it_was() {
    let bench = bench();
    let before = bench.disk.operations();
    let verified = verify(&shared(&bench.disk), Path::new(NODE)).unwrap();
    assert_eq!(bench.disk.operations(), before, "looking changes nothing");
    let report = &verified.0;
    assert_eq!(report.last, Some(LogId::new(1, 59)));
    assert_eq!(report.segments.iter().map(|segment| segment.record_count).sum::<u64>(), 60);
    assert_eq!(report.synced, report.end);
    assert!(report.segments.len() > 2);
    let text = report.to_string();
    for part in ["segments", "1.59", "vote        none", "positions"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn every_flipped_byte_of_a_synced_record_is_found_where_it_is() {
    let bench = bench();
    let segments = bench.log().reader().segments();
    for segment in [&segments[0], &segments[1], segments.last().unwrap()] {
        let records_at = 4096;
        for at in (records_at..records_at + (segment.end - segment.base)).step_by(37).chain([0, 5, 17, 4000])
        {
            let disk = bench.disk.restart(Loss::Nothing);
            disk.damage(&segment.path, at, |byte| byte ^ 0x40).unwrap();
            let Err(InspectError::Damage(damage)) = verify(&shared(&disk), Path::new(NODE)) else {
                panic!("byte {at} of {}", segment.path.display());
            };
            assert_eq!(damage.file, segment.path);
            let near = if at < records_at { damage.offset == 0 } else { at - damage.offset < 600 };
            assert!(damage.offset <= at && near, "byte {at} found at {}", damage.offset);
        }
    }
}

#[test]
fn a_missing_segment_and_damaged_small_files_are_found() {
    let bench = bench();
    let segments = bench.log().reader().segments();
    for segment in &segments {
        let disk = bench.disk.restart(Loss::Nothing);
        disk.remove(&segment.path).unwrap();
        assert!(matches!(verify(&shared(&disk), Path::new(NODE)), Err(InspectError::Damage(_))));
    }
    for name in ["vote", "marks"] {
        let disk = bench.disk.restart(Loss::Nothing);
        let path = Path::new(NODE).join(name);
        disk.damage(&path, 9, |byte| byte ^ 1).unwrap();
        verify(&shared(&disk), Path::new(NODE)).unwrap();
        disk.damage(&path, 4096 + 9, |byte| byte ^ 1).unwrap();
        let Err(InspectError::Damage(damage)) = verify(&shared(&disk), Path::new(NODE)) else {
            panic!("{name}")
        };
        assert_eq!(damage.file, path);
    }
}

#[test]
fn a_torn_tail_is_reported_and_is_no_damage() {
    let mut bench = Bench::new(WriterMode::Manual);
    bench.append((0..10).map(|n| app(1, n, 500)));
    bench.log().run_writer();
    bench.append((10..14).map(|n| app(1, n, 500)));
    bench.log().engine.run_writer_only();
    let segment = bench.log().reader().segments().pop().unwrap();
    let disk = bench.disk.restart(Loss::Nothing);
    disk.damage(&segment.path, 4096 + (segment.end - segment.base) - 1, |byte| byte ^ 1).unwrap();
    let verified = verify(&shared(&disk), Path::new(NODE)).unwrap();
    assert_eq!(verified.0.torn_tail.unwrap().file, segment.path);
    assert_eq!(verified.0.last, Some(LogId::new(1, 12)));
}

#[test]
fn a_folder_without_a_log_is_said_to_be_one() {
    let disk = MemVfs::new();
    disk.create_dir_all(Path::new("/other")).unwrap();
    assert!(matches!(inspect(&shared(&disk), Path::new("/other")), Err(InspectError::NoLog(_))));
}

/// The verdict after a stop is the same as that of the next start.
#[test]
fn what_a_stop_leaves_is_never_called_damage() {
    let append = |count, size| Op::Append { count, size };
    let history = [
        append(40, 500),
        Op::Commit { back: 5 },
        Op::Checkpoint,
        Op::Snapshot,
        Op::Truncate { back: 4 },
        Op::NextTerm,
        append(30, 300),
        Op::Purge,
        Op::InstallFresh { ahead: 50 },
        append(20, 500),
    ];
    let mut world = World::new(WriterMode::Inline, FlushMode::Sync);
    let opened = world.disk.operations();
    assert!(history.iter().all(|op| world.step(op)));
    for operation in opened..world.disk.operations() {
        let mut world = World::new(WriterMode::Inline, FlushMode::Sync);
        world.disk.arm(crate::vfs::Fault::PowerOff { operation });
        let done = history.iter().take_while(|op| world.step(op)).count();
        for loss in [Loss::Nothing, Loss::Everything, Loss::KeepFirst, Loss::KeepLast, Loss::Random(7)] {
            let verdict = verify(&shared(&world.disk.restart(loss)), Path::new(NODE));
            assert!(
                verdict.is_ok(),
                "operation {operation} in step {done}, {loss:?}: {}",
                verdict.unwrap_err()
            );
        }
    }
}

/// Each kind of record, and of two that are damaged the first; the offset is that of its first byte.
#[test]
fn damage_in_each_kind_of_record_is_found_where_it_begins() {
    let mut bench = Bench::new(WriterMode::Inline);
    let members = Draft {
        id: LogId::new(1, 2),
        leader: 9,
        kind: EntryKind::Membership,
        body: Body::Plain(vec![3; 90].into()),
    };
    let drafts = [blank(1, 0), app(1, 1, 200), members, blank(2, 3), app(2, 4, 200), app(2, 5, 200)];
    let records = bench.append(drafts);
    let segment = bench.log().reader().segments().remove(0);
    let offset = |at: usize| 4096 + records[at].position() - segment.base;
    for (at, within) in [(0, 5), (1, 150), (2, 8), (2, 100), (3, 70), (4, 16), (5, 271)] {
        let disk = bench.disk.restart(Loss::Nothing);
        disk.damage(&segment.path, offset(at) + within, |byte| byte ^ 2).unwrap();
        disk.damage(&segment.path, offset(5) + 100, |byte| byte ^ 2).unwrap();
        let Err(InspectError::Damage(damage)) = verify(&shared(&disk), Path::new(NODE)) else {
            panic!("byte {within} of {:?}", records[at])
        };
        assert_eq!((&damage.file, damage.offset), (&segment.path, offset(at)), "{damage}");
        let text = damage.to_string();
        assert!(text.contains("00000000000000000000") && text.contains(&offset(at).to_string()), "{text}");
        // The same place as the next start names.
        let Err(OpenError::Damage(at_start)) = Bench::open(disk, bench.options.clone()) else {
            panic!("a start takes it")
        };
        assert_eq!((at_start.file, at_start.offset), (damage.file, damage.offset));
    }
}

/// Each file beside the segments, and the header page of one.
#[test]
fn damage_in_each_kind_of_file_names_the_file() {
    let mut bench = bench();
    Identity::new("cluster", "group", 1, 99).store(&bench.disk, Path::new(NODE)).unwrap();
    bench.commit(59);
    let segments = bench.log().reader().segments();
    segments[..2].iter().for_each(|segment| bench.checkpoint(segment.last));
    bench.log().checkpoints().set_snapshot(segments[0].last, Box::new(|set| set.unwrap()));
    verify(&shared(&bench.disk), Path::new(NODE)).unwrap();
    let list = |dir: &str| {
        let dir = Path::new(NODE).join(dir);
        bench.disk.list(&dir).unwrap().into_iter().map(move |name| dir.join(name))
    };
    let mut files: Vec<_> = list("ckpt").collect();
    assert_eq!(files.len(), 3, "two checkpoints, and the boundary's copy");
    files.extend(["identity", "bounds"].map(|name| Path::new(NODE).join(name)));
    files.push(segments[1].path.clone());
    for file in files {
        let disk = bench.disk.restart(Loss::Nothing);
        disk.damage(&file, 13, |byte| byte ^ 4).unwrap();
        let Err(InspectError::Damage(damage)) = verify(&shared(&disk), Path::new(NODE)) else {
            panic!("{}", file.display())
        };
        assert_eq!((damage.file, damage.offset), (file, 0));
    }
}
