//! Registers as histories; the search itself is tested where it is.

use crate::checker::{Checker, OffsetRegisters, Outcome, TopicRegisters};
use crate::history::{Act, Kind};

use super::tape::{Tape, commit, offset_read};
use super::{Case, run_table, run_table_without_unknown};
use Outcome::{Absent, Invalid, Valid};

const KINDS: &[&str] = &["not-linearizable"];

#[test]
fn offset_registers() {
    let cases: &[Case] = &[
        (
            "reads see the last commit",
            |tape| {
                tape.call(offset_read(None), Kind::Ok).call(commit(3), Kind::Ok);
                tape.call(offset_read(Some(3)), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "a commit is forgotten",
            |tape| {
                tape.call(commit(3), Kind::Ok).call(commit(4), Kind::Ok).call(offset_read(Some(3)), Kind::Ok);
            },
            Invalid,
            KINDS,
        ),
        (
            "all commits are forgotten",
            |tape| _ = tape.call(commit(3), Kind::Ok).call(offset_read(None), Kind::Ok),
            Invalid,
            KINDS,
        ),
        (
            "an offset that nobody committed",
            |tape| _ = tape.call(offset_read(Some(7)), Kind::Ok),
            Invalid,
            KINDS,
        ),
        (
            "a commit that failed is read",
            |tape| _ = tape.call(commit(3), Kind::Fail).call(offset_read(Some(3)), Kind::Ok),
            Invalid,
            KINDS,
        ),
        (
            "a commit of unknown outcome may be seen late",
            |tape| {
                tape.call(commit(3), Kind::Info)
                    .call(commit(4), Kind::Ok)
                    .call(offset_read(Some(4)), Kind::Ok);
                tape.call(offset_read(Some(3)), Kind::Ok).call(offset_read(Some(3)), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "a commit of unknown outcome is not undone once it was seen",
            |tape| {
                tape.call(commit(4), Kind::Ok)
                    .call(commit(5), Kind::Info)
                    .call(offset_read(Some(5)), Kind::Ok);
                tape.call(offset_read(Some(4)), Kind::Ok);
            },
            Invalid,
            KINDS,
        ),
        (
            "reads that failed say nothing",
            |tape| {
                tape.call(commit(4), Kind::Ok).call(offset_read(Some(1)), Kind::Info);
                tape.call(offset_read(Some(2)), Kind::Fail).call(offset_read(Some(4)), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "queues are registers of their own",
            |tape| {
                let other =
                    |offset| Act::ReadOffset { group: "g".into(), topic: "t".into(), queue: 1, offset };
                tape.call(commit(4), Kind::Ok).call(other(None), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "no commit is ever acknowledged",
            |tape| {
                tape.call(commit(3), Kind::Fail).call(offset_read(None), Kind::Ok);
                tape.call(commit(4), Kind::Info).call(offset_read(None), Kind::Ok);
            },
            Outcome::Unknown,
            &[],
        ),
        ("commits alone show nothing", |tape| _ = tape.call(commit(4), Kind::Ok), Absent, &[]),
        (
            "offsets of deleted topics are out",
            |tape| {
                tape.call(commit(4), Kind::Ok).call(Act::DeleteTopic { topic: "t".into() }, Kind::Ok);
                tape.call(offset_read(None), Kind::Ok);
            },
            Absent,
            &[],
        ),
        (
            "too many at once to decide",
            |tape| {
                for process in 1..200 {
                    tape.begin(process, commit(u64::from(process)));
                }
                for process in 1..200 {
                    tape.end(process, Kind::Ok, commit(u64::from(process)));
                }
                tape.call(offset_read(None), Kind::Ok);
            },
            Outcome::Unknown,
            &[],
        ),
    ];
    run_table(&OffsetRegisters::default(), KINDS, cases);
}

#[test]
fn topic_registers() {
    let cases: &[Case] = &[
        (
            "created, changed, deleted, created",
            |tape| {
                tape.call(read(None), Kind::Ok).call(set(4), Kind::Ok).call(read(Some(4)), Kind::Ok);
                tape.call(set(8), Kind::Ok).call(read(Some(8)), Kind::Ok).call(delete(), Kind::Ok);
                tape.call(read(None), Kind::Ok).call(set(2), Kind::Info).call(read(None), Kind::Ok);
                tape.call(read(Some(2)), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "a deleted topic is back",
            |tape| _ = tape.call(set(4), Kind::Ok).call(delete(), Kind::Ok).call(read(Some(4)), Kind::Ok),
            Invalid,
            KINDS,
        ),
        (
            "a change is forgotten",
            |tape| _ = tape.call(set(4), Kind::Ok).call(set(8), Kind::Ok).call(read(Some(4)), Kind::Ok),
            Invalid,
            KINDS,
        ),
        (
            "a deletion of unknown outcome may come late",
            |tape| {
                tape.call(set(4), Kind::Ok).call(delete(), Kind::Info).call(read(Some(4)), Kind::Ok);
                tape.call(read(None), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "no change is ever acknowledged",
            |tape| _ = tape.call(set(4), Kind::Fail).call(read(None), Kind::Ok),
            Outcome::Unknown,
            &[],
        ),
        ("no reads", |tape| _ = tape.call(set(4), Kind::Ok), Absent, &[]),
    ];
    run_table_without_unknown(&TopicRegisters::default(), KINDS, cases);
}

#[test]
fn past_the_bound_on_work_it_is_unknown() {
    let mut tape = Tape::default();
    tape.call(commit(3), Kind::Ok).call(offset_read(Some(7)), Kind::Ok);
    assert_eq!(OffsetRegisters { work_max: 0 }.check(&tape.history()).outcome, Outcome::Unknown);
    assert_eq!(OffsetRegisters { work_max: 9 }.check(&tape.history()).outcome, Outcome::Invalid);
    let mut tape = Tape::default();
    tape.call(set(3), Kind::Ok).call(read(Some(7)), Kind::Ok);
    assert_eq!(TopicRegisters { work_max: 0 }.check(&tape.history()).outcome, Outcome::Unknown);
}

fn set(queues: u32) -> Act {
    Act::SetTopic { topic: "u".into(), queues }
}

fn delete() -> Act {
    Act::DeleteTopic { topic: "u".into() }
}

fn read(queues: Option<u32>) -> Act {
    Act::ReadTopic { topic: "u".into(), queues }
}
