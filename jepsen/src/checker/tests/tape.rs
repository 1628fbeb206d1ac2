//! Histories by hand: topic `t`, group `g`, one line a millisecond unless told otherwise.

use crate::history::{Act, Fault, History, Kind, Op, Process, Seen};

#[derive(Default)]
pub(crate) struct Tape {
    ops: Vec<Op>,
    /// Milliseconds.
    now: u64,
}

pub(crate) fn send(id: u64) -> Act {
    stored_as(id, None, None)
}

/// The answer to a send, or what was asked.
pub(crate) fn stored_as(id: u64, key: Option<&str>, place: Option<(u32, u64)>) -> Act {
    Act::Send {
        topic: "t".into(),
        id,
        key: key.map(str::to_owned),
        queue: place.map(|place| place.0),
        offset: place.map(|place| place.1),
        copies_max: None,
    }
}

/// A send, or the answer to it, by a library that may have stored it so often.
pub(crate) fn copies(id: u64, place: Option<(u32, u64)>, copies: u32) -> Act {
    match stored_as(id, None, place) {
        Act::Send { topic, id, key, queue, offset, .. } => {
            Act::Send { topic, id, key, queue, offset, copies_max: Some(copies) }
        }
        other => other,
    }
}

pub(crate) fn seen(queue: u32, offset: u64, id: u64) -> Seen {
    Seen { queue, offset, id: Some(id), key: None, redelivered: 0 }
}

/// A message of the key `k`.
pub(crate) fn keyed(queue: u32, offset: u64, id: u64) -> Seen {
    Seen { key: Some("k".into()), ..seen(queue, offset, id) }
}

pub(crate) fn again(seen: Seen) -> Seen {
    Seen { redelivered: seen.redelivered + 1, ..seen }
}

pub(crate) fn pull(queue: u32, from: u64, max: u64, ids: &[u64]) -> Act {
    let seen = (from..).zip(ids).map(|(offset, id)| seen(queue, offset, *id)).collect();
    pull_of("t", queue, from, max, seen)
}

pub(crate) fn pull_of(topic: &str, queue: u32, from: u64, max: u64, seen: Vec<Seen>) -> Act {
    Act::Pull { topic: topic.into(), queue, from, max: Some(max), seen, node: None }
}

pub(crate) fn inspect(what: &str) -> Act {
    Act::Inspect { what: what.into(), found: "as it was".into() }
}

pub(crate) fn fault(number: u32, begins: bool) -> Act {
    let fault = "kill-leader".to_owned();
    Act::Fault(Fault { fault, number, nodes: vec![0], begins, detail: String::new() })
}

pub(crate) fn commit(offset: u64) -> Act {
    Act::CommitOffset { group: "g".into(), topic: "t".into(), queue: 0, offset }
}

pub(crate) fn offset_read(offset: Option<u64>) -> Act {
    Act::ReadOffset { group: "g".into(), topic: "t".into(), queue: 0, offset }
}

impl Tape {
    pub(crate) fn history(&self) -> History {
        History::from_ops(self.ops.clone()).expect("holds together")
    }

    /// Goes to this time, in milliseconds.
    pub(crate) fn at(&mut self, ms: u64) -> &mut Self {
        assert!(ms >= self.now, "time never falls");
        self.now = ms;
        self
    }

    pub(crate) fn line(&mut self, process: Process, kind: Kind, act: Act) -> &mut Self {
        let (index, time) = (self.ops.len() as u64, self.now * 1_000_000);
        self.now += 1;
        self.ops.push(Op { index, time, process, kind, act, error: None });
        self
    }

    pub(crate) fn begin(&mut self, process: u32, act: Act) -> &mut Self {
        self.line(Process::Client(process), Kind::Invoke, act)
    }

    pub(crate) fn end(&mut self, process: u32, kind: Kind, act: Act) -> &mut Self {
        self.line(Process::Client(process), kind, act)
    }

    pub(crate) fn note(&mut self, act: Act, kind: Kind) -> &mut Self {
        self.line(Process::NEMESIS, kind, act)
    }

    /// Begins and ends at once, by process 0.
    pub(crate) fn call(&mut self, act: Act, kind: Kind) -> &mut Self {
        self.begin(0, act.clone()).end(0, kind, act)
    }

    pub(crate) fn acked(&mut self, id: u64, queue: u32, offset: u64) -> &mut Self {
        self.begin(0, send(id)).end(0, Kind::Ok, stored_as(id, None, Some((queue, offset))))
    }

    /// A send of the key `k`.
    pub(crate) fn acked_keyed(&mut self, id: u64, queue: u32, offset: u64) -> &mut Self {
        self.begin(0, stored_as(id, Some("k"), None)).end(
            0,
            Kind::Ok,
            stored_as(id, Some("k"), Some((queue, offset))),
        )
    }

    pub(crate) fn pulled(&mut self, queue: u32, from: u64, max: u64, ids: &[u64]) -> &mut Self {
        self.call(pull(queue, from, max, ids), Kind::Ok)
    }

    pub(crate) fn drained(&mut self) -> &mut Self {
        self.note(Act::Drained { topic: "t".into() }, Kind::Info)
    }

    pub(crate) fn consumed(&mut self, seen: Seen, kind: Kind) -> &mut Self {
        self.call(Act::Consume { group: "g".into(), topic: "t".into(), seen }, kind)
    }

    pub(crate) fn delivered(&mut self, process: u32, seen: Seen) -> &mut Self {
        self.begin(process, Act::Consume { group: "g".into(), topic: "t".into(), seen })
    }

    pub(crate) fn done(&mut self, process: u32, kind: Kind, seen: Seen) -> &mut Self {
        self.end(process, kind, Act::Consume { group: "g".into(), topic: "t".into(), seen })
    }

    /// Something for every checker, all of it right.
    pub(crate) fn whole_run(&mut self) {
        let set = |queues| Act::SetTopic { topic: "u".into(), queues };
        let read = |queues| Act::ReadTopic { topic: "u".into(), queues };
        self.call(set(4), Kind::Ok).call(read(Some(4)), Kind::Ok);
        self.acked_keyed(1, 0, 0).acked(2, 1, 0);
        self.note(fault(1, true), Kind::Invoke).note(fault(1, true), Kind::Info);
        self.call(send(3), Kind::Fail).call(stored_as(4, Some("k"), None), Kind::Info);
        self.note(fault(1, false), Kind::Invoke).note(fault(1, false), Kind::Ok);
        self.acked_keyed(5, 0, 2);
        self.call(commit(2), Kind::Ok).call(commit(3), Kind::Info).call(offset_read(Some(2)), Kind::Ok);
        for queued in [keyed(0, 0, 1), keyed(0, 1, 4), keyed(0, 2, 5), seen(1, 0, 2)] {
            self.consumed(queued, Kind::Ok);
        }
        self.drained();
        let first = vec![keyed(0, 0, 1), keyed(0, 1, 4), keyed(0, 2, 5)];
        self.call(pull_of("t", 0, 0, 3, first), Kind::Ok);
        self.call(pull(1, 0, 1, &[2]), Kind::Ok);
        self.note(inspect("log verify"), Kind::Ok);
    }
}

/// A read of queue 0 from one replica.
pub(crate) fn at(node: u32, from: u64, max: u64, ids: &[u64]) -> Act {
    match pull(0, from, max, ids) {
        Act::Pull { topic, queue, from, max, seen, .. } => {
            Act::Pull { topic, queue, from, max, seen, node: Some(node) }
        }
        other => other,
    }
}
