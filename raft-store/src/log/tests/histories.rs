//! Histories that are stopped, and failed, at every operation of the disk.

use super::world::Op;

pub(super) fn append(count: u64, size: usize) -> Op {
    Op::Append { count, size }
}

/// Appends and rolls; votes in between.
pub(super) fn append_and_roll() -> Vec<Op> {
    vec![append(3, 100), append(30, 500), Op::Vote, append(1, 10), append(20, 900), Op::Commit { back: 0 }]
}

/// Entries are taken away, over segments too, while their writes and those of their successors still wait.
pub(super) fn truncation_behind_queued_writes() -> Vec<Op> {
    vec![
        append(20, 300),
        Op::Work,
        append(30, 500),
        Op::Truncate { back: 35 },
        Op::NextTerm,
        append(30, 400),
        Op::Write,
        append(3, 10),
        Op::Truncate { back: 2 },
        Op::Truncate { back: 2 },
        append(2, 10),
        Op::Work,
    ]
}

/// A checkpoint becomes the boundary, and what lies below it goes.
pub(super) fn checkpoint_snapshot_and_purge() -> Vec<Op> {
    vec![
        append(60, 500),
        Op::Commit { back: 3 },
        Op::Checkpoint,
        Op::Snapshot,
        append(40, 500),
        Op::Purge,
        Op::Commit { back: 0 },
        Op::Checkpoint,
        append(20, 500),
        Op::Snapshot,
        Op::Purge,
        Op::Reopen,
        append(30, 500),
        Op::Commit { back: 10 },
        Op::Checkpoint,
    ]
}

/// Checkpoints of another node that the log does not reach.
pub(super) fn installation_that_replaces_the_log() -> Vec<Op> {
    vec![
        append(40, 500),
        Op::Commit { back: 20 },
        Op::Checkpoint,
        Op::InstallFresh { ahead: 5 },
        append(30, 500),
        Op::Commit { back: 0 },
        Op::Checkpoint,
        Op::InstallFresh { ahead: 200 },
        append(3, 500),
    ]
}

/// A checkpoint of another node at an entry that the log holds.
pub(super) fn installation_inside_the_log() -> Vec<Op> {
    vec![
        append(60, 500),
        Op::Commit { back: 50 },
        Op::InstallHeld { back: 10 },
        append(10, 500),
        Op::Commit { back: 0 },
        append(30, 500),
        Op::Commit { back: 5 },
        Op::Checkpoint,
        Op::Snapshot,
        Op::Purge,
        append(5, 100),
    ]
}

/// Writes that nobody syncs before they are acknowledged, and a truncation among them.
pub(super) fn asynchronous_flushing() -> Vec<Op> {
    vec![
        append(30, 500),
        Op::Write,
        Op::Commit { back: 0 },
        Op::Checkpoint,
        append(10, 100),
        Op::Work,
        append(30, 500),
        Op::Write,
        Op::Truncate { back: 12 },
        Op::NextTerm,
        append(20, 300),
        Op::Write,
        Op::Commit { back: 0 },
        Op::Checkpoint,
        Op::Work,
        append(1, 10),
        Op::Write,
    ]
}
