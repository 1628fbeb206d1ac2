//! What groups are given.

use crate::checker::{Consumed, KeyOrder, Outcome};
use crate::history::{Act, Kind, Seen};

use super::tape::{again, keyed, pull_of, seen, send};
use super::{Case, run_table, run_table_without_unknown};
use Outcome::{Absent, Invalid, Unknown, Valid};

#[test]
fn consumed() {
    let cases: &[Case] = &[
        (
            "each once",
            |tape| {
                tape.acked(1, 0, 0).acked(2, 0, 1).consumed(seen(0, 0, 1), Kind::Ok);
                tape.drained().consumed(seen(0, 1, 2), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "twice is a count",
            |tape| {
                tape.acked(1, 0, 0)
                    .consumed(seen(0, 0, 1), Kind::Ok)
                    .consumed(again(seen(0, 0, 1)), Kind::Ok);
                tape.drained();
            },
            Valid,
            &[],
        ),
        (
            "wanted again, and done then",
            |tape| {
                tape.acked(1, 0, 0).consumed(seen(0, 0, 1), Kind::Fail).drained();
                tape.consumed(again(seen(0, 0, 1)), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "one is never delivered",
            |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 1).drained().consumed(seen(0, 0, 1), Kind::Ok),
            Invalid,
            &["never-delivered"],
        ),
        (
            "a send of unknown outcome that was read must be delivered",
            |tape| {
                tape.acked(1, 0, 0).call(send(2), Kind::Info).pulled(0, 0, 2, &[1, 2]);
                tape.drained().consumed(seen(0, 0, 1), Kind::Ok);
            },
            Invalid,
            &["never-delivered"],
        ),
        (
            "a send of unknown outcome that nobody saw need not be delivered",
            |tape| {
                _ = tape.acked(1, 0, 0).call(send(2), Kind::Info).drained().consumed(seen(0, 0, 1), Kind::Ok)
            },
            Valid,
            &[],
        ),
        (
            "wanted again, and never given again",
            |tape| _ = tape.acked(1, 0, 0).drained().consumed(seen(0, 0, 1), Kind::Fail),
            Invalid,
            &["never-done"],
        ),
        (
            "given up into the dead-letter topic",
            |tape| {
                tape.acked(1, 0, 0).consumed(seen(0, 0, 1), Kind::Fail).drained();
                tape.call(pull_of("%DLQ%g", 0, 0, 1, vec![seen(0, 0, 1)]), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "given up after as many repetitions as others had",
            |tape| {
                tape.acked(1, 0, 0).acked(2, 0, 1);
                for (offset, id) in [(0, 1), (1, 2)] {
                    tape.consumed(seen(0, offset, id), Kind::Fail);
                    tape.consumed(again(seen(0, offset, id)), Kind::Info);
                }
                tape.drained();
                tape.call(pull_of("%DLQ%g", 0, 0, 2, vec![seen(0, 0, 1), seen(0, 1, 2)]), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "a dead letter that was never delivered",
            |tape| {
                tape.acked(1, 0, 0).acked(2, 0, 1).consumed(seen(0, 1, 2), Kind::Ok).drained();
                tape.call(pull_of("%DLQ%g", 0, 0, 1, vec![seen(0, 0, 1)]), Kind::Ok);
            },
            Invalid,
            &["never-delivered"],
        ),
        (
            "given up at the first failure, while others had two repetitions",
            |tape| {
                tape.acked(1, 0, 0).acked(2, 0, 1).consumed(seen(0, 0, 1), Kind::Fail);
                tape.consumed(seen(0, 1, 2), Kind::Fail).consumed(again(seen(0, 1, 2)), Kind::Fail);
                tape.consumed(again(again(seen(0, 1, 2))), Kind::Ok).drained();
                tape.call(pull_of("%DLQ%g", 0, 0, 1, vec![seen(0, 0, 1)]), Kind::Ok);
            },
            Invalid,
            &["dead-too-early"],
        ),
        (
            "nobody knows whether it was done",
            |tape| _ = tape.acked(1, 0, 0).drained().delivered(3, seen(0, 0, 1)),
            Unknown,
            &[],
        ),
        (
            "without a drain it may yet come",
            |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 1).consumed(seen(0, 0, 1), Kind::Ok),
            Unknown,
            &[],
        ),
        ("no group", |tape| _ = tape.acked(1, 0, 0).drained(), Absent, &[]),
    ];
    run_table(&Consumed, &["dead-too-early", "never-delivered", "never-done"], cases);
}

#[test]
fn duplicates_and_redeliveries_are_counted() {
    let mut tape = super::Tape::default();
    tape.acked(1, 0, 0).consumed(seen(0, 0, 1), Kind::Ok);
    tape.consumed(again(seen(0, 0, 1)), Kind::Ok).consumed(seen(0, 0, 1), Kind::Fail);
    let verdict = crate::checker::Checker::check(&Consumed, &tape.history());
    let counts = ["deliveries", "duplicates", "redeliveries"].map(|name| verdict.counts[name]);
    assert_eq!(counts, [3, 1, 1]);
}

#[test]
fn key_order() {
    let cases: &[Case] = &[
        (
            "one after the other",
            |tape| _ = tape.consumed(keyed(0, 0, 1), Kind::Ok).consumed(keyed(0, 4, 2), Kind::Ok),
            Valid,
            &[],
        ),
        (
            "repeated from before",
            |tape| {
                tape.consumed(keyed(0, 0, 1), Kind::Ok).consumed(keyed(0, 1, 2), Kind::Ok);
                tape.consumed(keyed(0, 0, 1), Kind::Ok).consumed(again(keyed(0, 1, 2)), Kind::Ok);
                tape.consumed(keyed(0, 2, 3), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "wanted again, and done before the next",
            |tape| {
                tape.consumed(keyed(0, 0, 1), Kind::Fail).consumed(again(keyed(0, 0, 1)), Kind::Ok);
                tape.consumed(keyed(0, 1, 2), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "delivered in the wrong order",
            |tape| {
                // Ends keep the order, so that this is the only thing wrong.
                tape.delivered(1, keyed(0, 1, 2)).delivered(2, keyed(0, 0, 1));
                tape.done(2, Kind::Ok, keyed(0, 0, 1)).done(1, Kind::Ok, keyed(0, 1, 2));
            },
            Invalid,
            &["delivered-early"],
        ),
        (
            "done while its predecessor is under way",
            |tape| {
                tape.delivered(1, keyed(0, 0, 1)).delivered(2, keyed(0, 1, 2));
                tape.done(2, Kind::Ok, keyed(0, 1, 2)).done(1, Kind::Ok, keyed(0, 0, 1));
            },
            Invalid,
            &["done-early"],
        ),
        (
            "done though its predecessor was wanted again",
            |tape| _ = tape.consumed(keyed(0, 0, 1), Kind::Fail).consumed(keyed(0, 1, 2), Kind::Ok),
            Invalid,
            &["done-early"],
        ),
        (
            "done before one further back, over one of unknown outcome",
            |tape| {
                tape.delivered(1, keyed(0, 0, 1)).consumed(keyed(0, 1, 2), Kind::Info);
                tape.consumed(keyed(0, 2, 3), Kind::Ok).done(1, Kind::Ok, keyed(0, 0, 1));
            },
            Invalid,
            &["done-early"],
        ),
        (
            "a repetition of nothing",
            |tape| _ = tape.consumed(again(keyed(0, 0, 1)), Kind::Ok),
            Invalid,
            &["redelivered-first"],
        ),
        (
            "a predecessor of unknown outcome may have been done",
            |tape| {
                tape.delivered(1, keyed(0, 0, 1)).consumed(keyed(0, 1, 2), Kind::Ok);
                tape.consumed(keyed(0, 1, 2), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "delivered while its predecessor is under way, and done after it",
            |tape| {
                tape.delivered(1, keyed(0, 0, 1)).delivered(2, keyed(0, 1, 2));
                tape.done(1, Kind::Ok, keyed(0, 0, 1)).done(2, Kind::Ok, keyed(0, 1, 2));
            },
            Invalid,
            &["delivered-while-open"],
        ),
        (
            "delivered while a repetition of its predecessor is under way elsewhere",
            |tape| {
                tape.consumed(keyed(0, 0, 1), Kind::Ok).delivered(1, keyed(0, 0, 1));
                tape.consumed(keyed(0, 1, 2), Kind::Ok).done(1, Kind::Ok, keyed(0, 0, 1));
            },
            Valid,
            &[],
        ),
        (
            "a key in two queues",
            |tape| _ = tape.consumed(keyed(0, 0, 1), Kind::Ok).consumed(keyed(1, 0, 2), Kind::Ok),
            Invalid,
            &["key-in-two-queues"],
        ),
        (
            "other keys and queues go their own ways",
            |tape| {
                // The number of queues changes, and with it the queue of a key.
                tape.call(Act::SetTopic { topic: "t".into(), queues: 2 }, Kind::Ok);
                let other = |offset, id| Seen { key: Some("l".into()), ..seen(0, offset, id) };
                tape.consumed(keyed(0, 5, 1), Kind::Ok).consumed(other(1, 2), Kind::Ok);
                tape.consumed(keyed(1, 0, 3), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "messages without a key have no order",
            |tape| _ = tape.consumed(seen(0, 5, 1), Kind::Ok).consumed(seen(0, 1, 2), Kind::Ok),
            Absent,
            &[],
        ),
    ];
    let kinds =
        ["delivered-early", "delivered-while-open", "done-early", "key-in-two-queues", "redelivered-first"];
    run_table_without_unknown(&KeyOrder, &kinds, cases);
}
