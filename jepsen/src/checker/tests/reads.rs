//! What reads show of the order in a queue, and of what is committed.

use crate::checker::{CommittedReads, OffsetsFinal, Outcome};
use crate::history::{Act, Kind};

use super::tape::{again, at, pull, pull_of, seen, send};
use super::{Case, run_table, run_table_without_unknown};
use Outcome::{Absent, Invalid, Unknown, Valid};

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
