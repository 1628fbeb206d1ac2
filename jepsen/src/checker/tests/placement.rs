//! What is stored, where, and what reads show of it.

use crate::checker::{AckedKept, CommittedReads, OffsetsFinal, Outcome, RealTimeOrder, StoredOnce};
use crate::history::{Act, Kind, Seen};

use super::tape::{Tape, again, copies, pull, pull_of, seen, send, stored_as};
use super::{Case, run_table, run_table_without_unknown};
use Outcome::{Absent, Invalid, Unknown, Valid};

/// A read of queue 0 from one replica.
fn at(node: u32, from: u64, max: u64, ids: &[u64]) -> Act {
    match pull(0, from, max, ids) {
        Act::Pull { topic, queue, from, max, seen, .. } => {
            Act::Pull { topic, queue, from, max, seen, node: Some(node) }
        }
        other => other,
    }
}

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
fn offsets_final() {
    let cases: &[Case] = &[
        (
            "all agree",
            |tape| {
                _ = tape.acked(1, 0, 0).pulled(0, 0, 2, &[1, 2]).pulled(0, 1, 2, &[2]).pulled(0, 2, 2, &[])
            },
            Valid,
            &[],
        ),
        (
            "the ack and a read differ",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 1, &[2]),
            Invalid,
            &["two-messages"],
        ),
        ("two acks at one offset", |tape| _ = tape.acked(1, 0, 0).acked(2, 0, 0), Invalid, &["two-messages"]),
        (
            "two reads differ",
            |tape| _ = tape.pulled(0, 0, 1, &[1]).pulled(0, 0, 1, &[2]).pulled(0, 0, 1, &[1]),
            Invalid,
            &["two-messages"],
        ),
        (
            "two replicas differ",
            |tape| {
                for (node, id) in [(0, 1), (1, 2)] {
                    let (topic, seen) = ("t".to_owned(), vec![seen(0, 0, id)]);
                    let read = Act::Pull { topic, queue: 0, from: 0, max: Some(1), seen, node: Some(node) };
                    tape.call(read, Kind::Ok);
                }
            },
            Invalid,
            &["two-messages"],
        ),
        (
            "a delivery and a read differ",
            |tape| _ = tape.consumed(seen(0, 0, 1), Kind::Info).pulled(0, 0, 1, &[2]),
            Invalid,
            &["two-messages"],
        ),
        (
            "a redelivery names no place",
            |tape| _ = tape.consumed(again(seen(0, 0, 1)), Kind::Ok).pulled(0, 0, 1, &[2]),
            Valid,
            &[],
        ),
        (
            "an answer skips an offset",
            |tape| _ = tape.call(pull_of("t", 0, 0, 3, vec![seen(0, 0, 1), seen(0, 2, 3)]), Kind::Ok),
            Invalid,
            &["hole"],
        ),
        (
            "an answer starts too late",
            |tape| _ = tape.call(pull_of("t", 0, 0, 3, vec![seen(0, 1, 1)]), Kind::Ok),
            Invalid,
            &["hole"],
        ),
        (
            "an answer goes back",
            |tape| _ = tape.call(pull_of("t", 0, 0, 3, vec![seen(0, 0, 1), seen(0, 0, 1)]), Kind::Ok),
            Invalid,
            &["disorder"],
        ),
        (
            "an answer of another queue",
            |tape| _ = tape.call(pull_of("t", 0, 0, 3, vec![seen(1, 0, 1)]), Kind::Ok),
            Invalid,
            &["wrong-queue"],
        ),
        ("a send of unknown outcome says nothing", |tape| _ = tape.call(send(1), Kind::Info), Absent, &[]),
        (
            "retry topics are out",
            |tape| {
                tape.call(pull_of("%RETRY%g", 0, 0, 3, vec![seen(0, 1, 1)]), Kind::Ok);
                tape.call(pull_of("%RETRY%g", 0, 1, 3, vec![seen(0, 1, 2)]), Kind::Ok);
            },
            Absent,
            &[],
        ),
        (
            "deleted topics are out",
            |tape| {
                tape.acked(1, 0, 0).call(Act::DeleteTopic { topic: "t".into() }, Kind::Ok).acked(2, 0, 0);
            },
            Absent,
            &[],
        ),
    ];
    let at_last: &[Case] = &[
        (
            "all replicas have the whole queue",
            |tape| {
                tape.acked(1, 0, 0).drained().pulled(0, 0, 2, &[1, 2]);
                tape.call(at(0, 0, 2, &[1]), Kind::Ok).call(at(0, 1, 2, &[2]), Kind::Ok);
                tape.call(at(1, 0, 2, &[1, 2]), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "a replica tells that an unbroken queue is empty",
            |tape| {
                tape.acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]);
                tape.call(at(1, 0, 0, &[]), Kind::Ok);
            },
            Invalid,
            &["ends-differ"],
        ),
        (
            "replicas that are behind before the end are none",
            |tape| {
                tape.acked(1, 0, 0).call(at(1, 0, 0, &[]), Kind::Ok);
                tape.drained().pulled(0, 0, 1, &[1]).call(at(1, 0, 1, &[1]), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "the beginning is passed over",
            |tape| _ = tape.drained().pulled(0, 0, 5, &[]).pulled(0, 3, 5, &[4, 5]),
            Invalid,
            &["hole"],
        ),
        (
            "the end is passed over",
            |tape| _ = tape.drained().pulled(0, 0, 5, &[1, 2]).pulled(0, 5, 5, &[]),
            Invalid,
            &["hole"],
        ),
        (
            "one replica passes over what another one has",
            |tape| {
                tape.drained().pulled(0, 0, 2, &[1, 2]);
                tape.call(at(2, 0, 2, &[1]), Kind::Ok).call(at(2, 2, 2, &[]), Kind::Ok);
            },
            Invalid,
            &["hole"],
        ),
        (
            "an empty answer in between, and then all",
            |tape| _ = tape.drained().pulled(0, 0, 2, &[]).pulled(0, 0, 2, &[1, 2]),
            Valid,
            &[],
        ),
        (
            "a read that breaks off is no hole",
            |tape| _ = tape.drained().pulled(0, 0, 5, &[1, 2]).call(pull(0, 2, 0, &[]), Kind::Fail),
            Unknown,
            &[],
        ),
    ];
    let kinds = ["disorder", "ends-differ", "hole", "two-messages", "wrong-queue"];
    run_table_without_unknown(&OffsetsFinal, &kinds, &[cases, at_last].concat());
}

#[test]
fn committed_reads() {
    let cases: &[Case] = &[
        (
            "what was read stays",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 1, &[1]).drained().pulled(0, 0, 1, &[1]),
            Valid,
            &[],
        ),
        (
            "a message at the end that is told",
            |tape| _ = tape.acked(1, 0, 0).pulled(0, 0, 0, &[1]).drained().pulled(0, 0, 1, &[1]),
            Invalid,
            &["beyond-the-end"],
        ),
        (
            "read before it was sent",
            |tape| _ = tape.pulled(0, 0, 1, &[1]).acked(1, 0, 0).drained().pulled(0, 0, 1, &[1]),
            Invalid,
            &["before-it-was-sent"],
        ),
        (
            "sent while the read was under way",
            |tape| {
                tape.begin(1, pull(0, 0, 0, &[])).begin(2, send(1)).end(1, Kind::Ok, pull(0, 0, 1, &[1]));
                tape.drained().pulled(0, 0, 1, &[1]);
            },
            Valid,
            &[],
        ),
        (
            "read, and another message at last",
            |tape| _ = tape.pulled(0, 0, 1, &[1]).drained().pulled(0, 0, 1, &[2]),
            Invalid,
            &["changed"],
        ),
        (
            "delivered, and another message at last",
            |tape| _ = tape.consumed(seen(0, 0, 1), Kind::Ok).drained().pulled(0, 0, 1, &[2]),
            Invalid,
            &["changed"],
        ),
        (
            "delivered, and beyond the end at last",
            |tape| _ = tape.consumed(seen(0, 1, 1), Kind::Info).drained().pulled(0, 0, 1, &[2]),
            Invalid,
            &["gone"],
        ),
        (
            "read, and passed over at last",
            |tape| {
                tape.pulled(0, 1, 2, &[1]).drained();
                tape.call(pull_of("t", 0, 0, 3, vec![seen(0, 0, 5), seen(0, 2, 6)]), Kind::Ok);
            },
            Invalid,
            &["gone"],
        ),
        (
            "read, and gone at one replica",
            |tape| {
                tape.pulled(0, 1, 3, &[1]).drained().pulled(0, 0, 3, &[5, 1, 6]);
                let seen = vec![seen(0, 0, 5), seen(0, 2, 6)];
                let topic = "t".to_owned();
                tape.call(
                    Act::Pull { topic, queue: 0, from: 0, max: Some(3), seen, node: Some(1) },
                    Kind::Ok,
                );
            },
            Invalid,
            &["gone"],
        ),
        (
            "an end was told that one replica does not reach at last",
            |tape| {
                _ = tape.pulled(0, 1, 1, &[]).drained().pulled(0, 0, 1, &[1]).call(at(1, 0, 0, &[]), Kind::Ok)
            },
            Invalid,
            &["end-went-back", "gone"],
        ),
        (
            "an end was told that is not reached at last",
            |tape| _ = tape.pulled(0, 5, 5, &[]).drained().pulled(0, 0, 1, &[1]),
            Invalid,
            &["end-went-back"],
        ),
        (
            "a late answer in between is no anomaly",
            |tape| {
                tape.pulled(0, 0, 2, &[1, 2]).pulled(0, 1, 1, &[]);
                tape.drained().pulled(0, 0, 2, &[1, 2]);
            },
            Valid,
            &[],
        ),
        (
            "what was acked and never read is another checker's matter",
            |tape| _ = tape.acked(1, 0, 0).drained().pulled(0, 0, 0, &[]),
            Valid,
            &[],
        ),
        ("without a drain nothing is proved", |tape| _ = tape.pulled(0, 0, 1, &[1]), Unknown, &[]),
        (
            "a queue that was not read at last",
            |tape| _ = tape.pulled(0, 0, 1, &[1]).drained().pulled(1, 0, 0, &[]),
            Unknown,
            &[],
        ),
        (
            "the last read stops before it",
            |tape| _ = tape.pulled(0, 1, 2, &[1]).drained().pulled(0, 0, 2, &[2]),
            Unknown,
            &[],
        ),
        (
            "an answer without an end",
            |tape| {
                let (topic, seen) = ("t".to_owned(), vec![seen(0, 0, 1)]);
                tape.drained().pulled(0, 0, 1, &[1]);
                tape.call(Act::Pull { topic, queue: 0, from: 0, max: None, seen, node: None }, Kind::Ok);
            },
            Unknown,
            &[],
        ),
        (
            "what an answer that was not ok shows was not read",
            |tape| {
                tape.acked(1, 0, 0).call(pull(0, 0, 9, &[2]), Kind::Info);
                tape.drained().pulled(0, 0, 1, &[1]);
            },
            Valid,
            &[],
        ),
    ];
    let kinds = ["before-it-was-sent", "beyond-the-end", "changed", "end-went-back", "gone"];
    run_table(&CommittedReads, &kinds, cases);
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
