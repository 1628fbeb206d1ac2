//! Stops at every changing disk operation of a history, with several kinds of loss at each.

use super::histories::{self, append};
use super::world::{Op, World};
use crate::log::WriterMode;
use crate::types::FlushMode;
use crate::vfs::{Fault, Loss};

const LOSSES: [Loss; 8] = [
    Loss::Nothing,
    Loss::Everything,
    Loss::KeepFirst,
    Loss::KeepLast,
    Loss::Random(1),
    Loss::Random(2),
    Loss::Random(3),
    Loss::Random(4),
];

/// Runs the history once for each operation of the disk with a stop there, and compares what comes back.
fn stop_everywhere(writer: WriterMode, flush: FlushMode, history: &[Op]) {
    let mut world = World::new(writer, flush);
    let opened = world.disk.operations();
    assert!(history.iter().all(|op| world.step(op)), "the history runs through without a fault");
    let operations = world.disk.operations();
    assert!(operations - opened > history.len() as u64);
    for operation in opened..operations {
        for loss in LOSSES {
            let mut world = World::new(writer, flush);
            world.disk.arm(Fault::PowerOff { operation });
            let done = history.iter().take_while(|op| world.step(op)).count();
            let context = Context(format!(
                "stop at operation {operation} in step {done} {:?}, {loss:?}",
                history.get(done)
            ));
            world.crash(loss);
            world.prove_usable();
            drop(context);
        }
    }
}

/// Says where a failing comparison stands.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

#[test]
fn stops_through_append_and_roll() {
    stop_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::append_and_roll());
}

/// Rule 8: one group over several segments and appends; nothing is acknowledged before all of it is on the disk.
#[test]
fn rule_8_stops_in_groups_that_span_segments() {
    let history = [
        append(5, 100),
        append(25, 700),
        append(1, 10),
        append(25, 700),
        Op::Vote,
        append(3, 50),
        Op::Write,
        append(40, 600),
        append(2, 60),
        Op::Work,
    ];
    stop_everywhere(WriterMode::Manual, FlushMode::Sync, &history);
}

#[test]
fn stops_through_truncation_and_overwriting() {
    let history = [
        append(20, 300),
        Op::Commit { back: 15 },
        Op::Truncate { back: 5 },
        Op::NextTerm,
        append(4, 300),
        append(30, 500),
        Op::NextTerm,
        Op::Truncate { back: 25 },
        append(1, 500),
        Op::Truncate { back: 40 },
        Op::NextTerm,
        append(25, 480),
    ];
    stop_everywhere(WriterMode::Inline, FlushMode::Sync, &history);
}

#[test]
fn stops_through_truncation_behind_queued_writes() {
    stop_everywhere(WriterMode::Manual, FlushMode::Sync, &histories::truncation_behind_queued_writes());
}

/// Rule 2: the leader that took entries away has committed others in their place before the disk knows of either.
#[test]
fn rule_2_stops_through_a_commit_behind_a_queued_truncation() {
    let history = [
        append(20, 300),
        Op::Commit { back: 15 },
        Op::Work,
        Op::Truncate { back: 9 },
        Op::NextTerm,
        append(9, 300),
        Op::Commit { back: 0 },
        Op::Work,
        append(3, 300),
        Op::Truncate { back: 3 },
        Op::NextTerm,
        append(30, 300),
        Op::Commit { back: 0 },
        Op::Write,
        Op::Work,
    ];
    for flush in [FlushMode::Sync, FlushMode::Async] {
        stop_everywhere(WriterMode::Manual, flush, &history);
    }
}

#[test]
fn stops_through_checkpoint_snapshot_and_purge() {
    stop_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::checkpoint_snapshot_and_purge());
}

#[test]
fn rule_6_stops_through_an_installation_that_replaces_the_log() {
    stop_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::installation_that_replaces_the_log());
}

#[test]
fn rule_6_stops_through_an_installation_inside_the_log() {
    stop_everywhere(WriterMode::Inline, FlushMode::Sync, &histories::installation_inside_the_log());
}

/// Rule 2: with asynchronous flushing acknowledgements run ahead of the disk; what was synced is there all the same,
/// and no checkpoint stands above it.
#[test]
fn rule_2_stops_with_asynchronous_flushing() {
    stop_everywhere(WriterMode::Manual, FlushMode::Async, &histories::asynchronous_flushing());
}

/// A short write is only a write that has to go on.
#[test]
fn short_writes_lose_nothing() {
    let history = [append(30, 500), Op::Vote, append(30, 300), Op::Truncate { back: 9 }, append(9, 200)];
    let mut world = World::new(WriterMode::Inline, FlushMode::Sync);
    assert!(history.iter().all(|op| world.step(op)));
    for operation in 0..world.disk.operations() {
        let mut world = World::new(WriterMode::Inline, FlushMode::Sync);
        world.disk.arm(Fault::ShortWrite { operation });
        assert!(history.iter().all(|op| world.step(op)), "operation {operation}");
        world.crash(Loss::Everything);
    }
}
