//! What is stored, where, how often and in which order.

use crate::checker::{AckedKept, Outcome, RealTimeOrder, StoredOnce};
use crate::history::{Act, Kind, Seen};

use super::tape::{Tape, again, at, copies, pull, pull_of, seen, send, stored_as};
use super::{Case, run_table, run_table_without_unknown};
use Outcome::{Absent, Invalid, Unknown, Valid};

fn without_place(tape: &mut Tape, id: u64) {
    tape.call(send(id), Kind::Ok);
}
#[test]
fn acked_kept() {
    let cases: &[Case] = &[
        ("nothing was sent", |tape| _ = tape.drained(), Absent, &[]),
        (
            "all that was acked is read",
            |tape| {
                _ = tape.acked(1, 0, 0).acked(2, 0, 1).drained().pulled(0, 0, 2, &[1]).pulled(0, 1, 2, &[2])
            },
            Valid,
            &[],
        ),
        (
            "without a drain nothing is proved",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 1, &[1]),
            Unknown,
            &[],
        ),
        (
            "reads before the drain count for nothing",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 1, &[1]).drained(),
            Unknown,
            &[],
        ),
        (
            "the last drain counts",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]).drained(),
            Unknown,
            &[],
        ),
        (
            "its place holds another message",
            |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 0).drained().pulled(0, 0, 1, &[2]),
            Invalid,
            &["lost"],
        ),
        (
            "its queue ends before it",
            |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 1).drained().pulled(0, 0, 1, &[1]),
            Invalid,
            &["lost"],
        ),
        (
            "its queue is empty",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 0, &[]),
            Invalid,
            &["lost"],
        ),
        (
            "a read in the middle passes it over",
            |tape| {
                tape.acked(7, 0, 5).drained();
                tape.call(pull_of("t", 0, 4, 9, vec![seen(0, 4, 4), seen(0, 6, 6)]), Kind::Ok);
            },
            Invalid,
            &["lost"],
        ),
        (
            "acked at a place that was not told, and nowhere",
            |tape| {
                tape.acked(1, 0, 0);
                without_place(tape, 2);
                tape.drained().pulled(0, 0, 1, &[1]);
            },
            Invalid,
            &["lost"],
        ),
        (
            "acked at a place that was not told, with a queue half read",
            |tape| {
                tape.acked(1, 0, 0);
                without_place(tape, 2);
                tape.drained().pulled(0, 0, 2, &[1]);
            },
            Unknown,
            &[],
        ),
        (
            "acked at a place that was not told, with a queue not read at all",
            |tape| {
                tape.acked(1, 0, 0).acked(3, 1, 0);
                without_place(tape, 2);
                tape.drained().pulled(0, 0, 1, &[1]);
            },
            Unknown,
            &[],
        ),
        (
            "the read stops before it",
            |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 1).drained().pulled(0, 0, 2, &[1]),
            Unknown,
            &[],
        ),
        (
            "the final read failed",
            |tape| _ = tape.acked(1, 0, 0).drained().call(pull(0, 0, 1, &[1]), Kind::Fail),
            Unknown,
            &[],
        ),
        (
            "a send of unknown outcome may be missing, and may be there",
            |tape| {
                tape.acked(1, 0, 0).call(send(2), Kind::Info).call(send(3), Kind::Info).begin(5, send(4));
                tape.drained().pulled(0, 0, 2, &[1, 3]);
            },
            Valid,
            &[],
        ),
        (
            "what is acked after the drain is not judged",
            |tape| _ = tape.drained().acked(1, 0, 0).pulled(0, 0, 1, &[1]),
            Unknown,
            &[],
        ),
        (
            "one replica has lost it",
            |tape| {
                tape.acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]).call(at(1, 0, 1, &[1]), Kind::Ok);
                tape.call(at(2, 0, 0, &[]), Kind::Ok);
            },
            Invalid,
            &["lost"],
        ),
        (
            "clients are not told what a replica has",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 0, &[]).call(at(1, 0, 1, &[1]), Kind::Ok),
            Invalid,
            &["lost"],
        ),
        (
            "all replicas have it",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]).call(at(1, 0, 1, &[1]), Kind::Ok),
            Valid,
            &[],
        ),
        (
            "one replica was not read to its end",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]).call(at(1, 0, 1, &[]), Kind::Ok),
            Unknown,
            &[],
        ),
        (
            "what a deleted topic held is gone by right",
            |tape| {
                tape.acked(1, 0, 0).call(Act::DeleteTopic { topic: "t".into() }, Kind::Info);
                tape.drained().pulled(0, 0, 0, &[]);
            },
            Absent,
            &[],
        ),
        (
            "a deletion that failed excuses nothing",
            |tape| {
                tape.acked(1, 0, 0).call(Act::DeleteTopic { topic: "t".into() }, Kind::Fail);
                tape.drained().pulled(0, 0, 0, &[]);
            },
            Invalid,
            &["lost"],
        ),
    ];
    run_table(&AckedKept, &["lost"], cases);
}

#[test]
fn stored_once() {
    let cases: &[Case] = &[
        (
            "read often is stored once",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 1, &[1]).pulled(0, 0, 1, &[1]),
            Valid,
            &[],
        ),
        (
            "read at two offsets",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 2, &[1, 1]),
            Invalid,
            &["stored-twice"],
        ),
        (
            "read in two queues, its send unknown",
            |tape| _ = tape.call(send(1), Kind::Info).pulled(0, 0, 1, &[1]).pulled(1, 0, 1, &[1]),
            Invalid,
            &["stored-twice"],
        ),
        (
            "read where the ack does not say",
            |tape| _ = tape.acked(1, 0, 0).pulled(1, 0, 1, &[1]),
            Invalid,
            &["stored-twice"],
        ),
        (
            "a library that made two requests may have stored it twice",
            |tape| {
                _ = tape.begin(0, copies(1, None, 3)).end(0, Kind::Ok, copies(1, Some((0, 1)), 2)).pulled(
                    0,
                    0,
                    2,
                    &[1, 1],
                )
            },
            Valid,
            &[],
        ),
        (
            "and not three times",
            |tape| {
                _ = tape.begin(0, copies(1, None, 3)).end(0, Kind::Info, copies(1, None, 2)).pulled(
                    0,
                    0,
                    3,
                    &[1, 1, 1],
                )
            },
            Invalid,
            &["stored-twice"],
        ),
        (
            "one request stores once, whatever the library might have done",
            |tape| {
                _ = tape.begin(0, copies(1, None, 3)).end(0, Kind::Ok, copies(1, Some((0, 0)), 1)).pulled(
                    0,
                    0,
                    2,
                    &[1, 1],
                )
            },
            Invalid,
            &["stored-twice"],
        ),
        (
            "a send without an end may have been stored as often as the library tries",
            |tape| {
                _ = tape.begin(0, copies(1, None, 2)).begin(1, pull(0, 0, 2, &[1, 1])).end(
                    1,
                    Kind::Ok,
                    pull(0, 0, 2, &[1, 1]),
                )
            },
            Valid,
            &[],
        ),
        (
            "a send whose requests all did nothing is not there",
            |tape| {
                _ = tape.begin(0, copies(1, None, 3)).end(0, Kind::Fail, copies(1, None, 0)).pulled(
                    0,
                    0,
                    1,
                    &[1],
                )
            },
            Invalid,
            &["failed-but-stored"],
        ),
        (
            "delivered where the ack does not say",
            |tape| _ = tape.acked(1, 0, 0).consumed(seen(0, 1, 1), Kind::Ok),
            Invalid,
            &["stored-twice"],
        ),
        (
            "a redelivery comes from the retry topic",
            |tape| _ = tape.acked(1, 0, 0).consumed(again(seen(0, 9, 1)), Kind::Ok),
            Valid,
            &[],
        ),
        (
            "a dead letter lies in a topic of its own",
            |tape| _ = tape.acked(1, 0, 0).call(pull_of("%DLQ%g", 0, 7, 8, vec![seen(0, 7, 1)]), Kind::Ok),
            Valid,
            &[],
        ),
        (
            "a send of unknown outcome may be stored",
            |tape| _ = tape.call(send(1), Kind::Info).begin(1, send(2)).pulled(0, 0, 2, &[1, 2]),
            Valid,
            &[],
        ),
        (
            "a send that failed is stored",
            |tape| _ = tape.call(send(1), Kind::Fail).pulled(0, 0, 1, &[1]),
            Invalid,
            &["failed-but-stored"],
        ),
        (
            "a send that failed is delivered",
            |tape| _ = tape.call(send(1), Kind::Fail).consumed(again(seen(0, 0, 1)), Kind::Ok),
            Invalid,
            &["failed-but-stored"],
        ),
        ("an id that nobody sent", |tape| _ = tape.pulled(0, 0, 1, &[8]), Invalid, &["never-sent"]),
        (
            "a body that is none of ours",
            |tape| {
                let foreign = Seen { id: None, ..seen(0, 0, 0) };
                tape.call(pull_of("t", 0, 0, 1, vec![foreign]), Kind::Ok);
            },
            Invalid,
            &["foreign"],
        ),
        (
            "a message in another topic",
            |tape| {
                _ = tape.call(send(1), Kind::Info).call(pull_of("u", 0, 0, 1, vec![seen(0, 0, 1)]), Kind::Ok)
            },
            Invalid,
            &["wrong-topic"],
        ),
        (
            "a key that was not given",
            |tape| {
                tape.acked_keyed(1, 0, 0).pulled(0, 0, 1, &[1]);
            },
            Invalid,
            &["key-changed"],
        ),
        (
            "two sends of the same id prove nothing",
            |tape| _ = tape.call(send(1), Kind::Info).call(send(1), Kind::Info).pulled(0, 0, 1, &[1]),
            Unknown,
            &[],
        ),
        (
            "what an answer that was not ok shows is not there",
            |tape| _ = tape.acked(1, 0, 0).call(pull(1, 0, 1, &[1]), Kind::Info),
            Valid,
            &[],
        ),
    ];
    let kinds = ["failed-but-stored", "foreign", "key-changed", "never-sent", "stored-twice", "wrong-topic"];
    run_table(&StoredOnce, &kinds, cases);
}

#[test]
fn real_time_order() {
    let cases: &[Case] = &[
        ("one after the other", |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 1).acked(3, 1, 0), Valid, &[]),
        ("overtaken", |tape| _ = tape.acked(1, 0, 1).acked(2, 0, 0), Invalid, &["overtaken"]),
        ("the same offset", |tape| _ = tape.acked(1, 0, 1).acked(2, 0, 1), Invalid, &["overtaken"]),
        ("another queue", |tape| _ = tape.acked(1, 0, 5).acked(2, 1, 0), Valid, &[]),
        (
            "sends that overlap may lie either way",
            |tape| {
                tape.begin(0, send(1)).begin(1, send(2));
                tape.end(0, Kind::Ok, stored_as(1, None, Some((0, 1))));
                tape.end(1, Kind::Ok, stored_as(2, None, Some((0, 0))));
            },
            Valid,
            &[],
        ),
        (
            "not only the last ack counts",
            |tape| _ = tape.acked(1, 0, 7).acked(2, 0, 8).acked(3, 0, 6),
            Invalid,
            &["overtaken"],
        ),
        (
            "the largest offset counts, not that of the last ack",
            |tape| {
                tape.begin(0, send(1)).begin(1, send(2));
                tape.end(0, Kind::Ok, stored_as(1, None, Some((0, 8))));
                tape.end(1, Kind::Ok, stored_as(2, None, Some((0, 6)))).acked(3, 0, 7);
            },
            Invalid,
            &["overtaken"],
        ),
        (
            "a send of unknown outcome that is read before what was acked when it began",
            |tape| _ = tape.acked(1, 0, 1).call(send(2), Kind::Info).pulled(0, 0, 2, &[2, 1]),
            Invalid,
            &["overtaken"],
        ),
        (
            "a send of unknown outcome overtakes nobody: it may have waited",
            |tape| _ = tape.call(send(2), Kind::Info).acked(1, 0, 0).pulled(0, 0, 2, &[1, 2]),
            Valid,
            &[],
        ),
        (
            "an ack without a place has that of the reads",
            |tape| _ = tape.call(send(2), Kind::Ok).acked(1, 0, 0).pulled(0, 0, 2, &[1, 2]),
            Invalid,
            &["overtaken"],
        ),
        ("a failed send has no place", |tape| _ = tape.call(send(2), Kind::Fail), Absent, &[]),
    ];
    run_table_without_unknown(&RealTimeOrder, &["overtaken"], cases);
}
