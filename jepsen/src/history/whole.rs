//! A whole history in memory, each end beside its beginning.

use std::collections::HashMap;
use std::io::BufRead;
use std::mem::discriminant;

use super::{Act, HistoryError, Kind, Op, Process, Reader};

const NONE: u32 = u32::MAX;

/// A history that holds together: whoever begins something ends it before beginning the next, and every end has a
/// beginning (but for notes: `drained`, `fault` and `inspect` lines may stand alone).
#[derive(Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    /// For the line that begins: the line that ends it. `NONE` for all others.
    ends: Vec<u32>,
}

/// Something that was begun, with its end where there is one.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub begin: &'a Op,
    pub end: Option<&'a Op>,
}

impl<'a> Call<'a> {
    /// `Ok`: it was done. `Fail`: it was not and won't be. `Info`: nobody knows, also where no end was recorded.
    pub fn outcome(&self) -> Kind {
        self.end.map_or(Kind::Info, |end| end.kind)
    }

    /// The end of what was done; `None` where it failed or is not known.
    pub fn done(&self) -> Option<&'a Op> {
        self.end.filter(|end| end.kind == Kind::Ok)
    }

    /// Indices of its lines.
    pub fn lines(&self) -> Vec<u64> {
        std::iter::once(self.begin).chain(self.end).map(|op| op.index).collect()
    }
}

/// What ties an end to its beginning.
#[derive(PartialEq, Eq, Hash)]
enum Bond {
    /// A client does one thing at a time.
    Client(u32),
    /// Faults overlap.
    Fault(u32, bool),
    Note(String),
}

impl History {
    /// Reads it to its end, which takes memory for all of it: about 300 bytes an operation and 60 a message seen.
    ///
    /// # Errors
    /// The line that is wrong, or does not fit those before it.
    pub fn read(input: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = History::default();
        let mut open = HashMap::new();
        for op in Reader::new(input) {
            history.push(op?, &mut open)?;
        }
        Ok(history)
    }

    /// Takes lines that are already in memory.
    ///
    /// # Errors
    /// As for [`History::read`]; the number is that of the line if each took one.
    pub fn from_ops(ops: impl IntoIterator<Item = Op>) -> Result<Self, HistoryError> {
        let mut history = History::default();
        let mut open = HashMap::new();
        for op in ops {
            let (line, due) = (history.ops.len() as u64 + 1, history.ops.len() as u64);
            let last_time = history.ops.last().map_or(0, |last| last.time);
            if op.index != due || op.time < last_time {
                return Err(HistoryError::at(line, "out of order"));
            }
            history.push(op, &mut open)?;
        }
        Ok(history)
    }

    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Everything that was begun, in the order of the beginnings.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.ops
            .iter()
            .zip(&self.ends)
            .filter(|(op, _)| op.kind == Kind::Invoke)
            .map(|(begin, end)| Call { begin, end: (*end != NONE).then(|| &self.ops[*end as usize]) })
    }

    fn push(&mut self, op: Op, open: &mut HashMap<Bond, u32>) -> Result<(), HistoryError> {
        let line = op.index + 1;
        let place = u32::try_from(op.index).ok().filter(|place| *place != NONE);
        let place = place.ok_or_else(|| HistoryError::at(line, "a history of more than 2^32 lines"))?;
        let (bond, may_stand_alone) = bond(&op).map_err(|reason| HistoryError::at(line, reason))?;
        if op.kind == Kind::Invoke {
            if let Some(before) = open.insert(bond, place) {
                let reason = format!("begins while what the same began in line {} is open", before + 1);
                return Err(HistoryError::at(line, reason));
            }
        } else {
            match open.remove(&bond) {
                Some(begin) => self.close(begin, &op, place)?,
                None if may_stand_alone => {}
                None => return Err(HistoryError::at(line, "ends what was never begun")),
            }
        }
        self.ops.push(op);
        self.ends.push(NONE);
        Ok(())
    }

    fn close(&mut self, begin: u32, end: &Op, place: u32) -> Result<(), HistoryError> {
        let began = &self.ops[begin as usize].act;
        if !same_subject(began, &end.act) {
            let reason = format!("ends something else than was begun in line {}", begin + 1);
            return Err(HistoryError::at(end.index + 1, reason));
        }
        self.ends[begin as usize] = place;
        Ok(())
    }
}

/// What the line is tied by, and whether an end needs no beginning.
fn bond(op: &Op) -> Result<(Bond, bool), String> {
    match &op.act {
        Act::Fault(fault) => Ok((Bond::Fault(fault.number, fault.begins), true)),
        Act::Drained { topic } => Ok((Bond::Note(format!("drained {topic}")), true)),
        Act::Inspect { what, .. } => Ok((Bond::Note(format!("inspect {what}")), true)),
        Act::Send { .. }
        | Act::Pull { .. }
        | Act::Consume { .. }
        | Act::CommitOffset { .. }
        | Act::ReadOffset { .. }
        | Act::SetTopic { .. }
        | Act::DeleteTopic { .. }
        | Act::ReadTopic { .. } => match op.process {
            Process::Client(number) => Ok((Bond::Client(number), false)),
            Process::Nemesis(_) => Err("the nemesis does what only clients do".to_owned()),
        },
    }
}

/// The same operation on the same thing; what only an answer knows may differ.
fn same_subject(begin: &Act, end: &Act) -> bool {
    if discriminant(begin) != discriminant(end) {
        return false;
    }
    match (begin, end) {
        (Act::Send { topic, id, .. }, Act::Send { topic: end_topic, id: end_id, .. }) => {
            topic == end_topic && id == end_id
        }
        (Act::Pull { topic, queue, .. }, Act::Pull { topic: end_topic, queue: end_queue, .. }) => {
            topic == end_topic && queue == end_queue
        }
        (
            Act::Consume { group, topic, seen },
            Act::Consume { group: end_group, topic: end_topic, seen: end_seen },
        ) => group == end_group && topic == end_topic && seen == end_seen,
        (
            Act::ReadOffset { group, topic, queue, .. },
            Act::ReadOffset { group: end_group, topic: end_topic, queue: end_queue, .. },
        ) => group == end_group && topic == end_topic && queue == end_queue,
        (Act::ReadTopic { topic, .. }, Act::ReadTopic { topic: end_topic, .. }) => topic == end_topic,
        (Act::CommitOffset { .. } | Act::SetTopic { .. } | Act::DeleteTopic { .. }, _) => begin == end,
        // Their bonds hold what makes them the same.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(index: u64, process: u32, kind: Kind, id: u64) -> Op {
        let act = Act::Send { topic: "t".into(), id, key: None, queue: None, offset: None, copies_max: None };
        Op { index, time: index, process: Process::Client(process), kind, act, error: None }
    }

    #[test]
    fn ends_find_their_beginnings() {
        let ops = [
            op(0, 0, Kind::Invoke, 1),
            op(1, 1, Kind::Invoke, 2),
            op(2, 0, Kind::Fail, 1),
            op(3, 0, Kind::Invoke, 3),
        ];
        let history = History::from_ops(ops).expect("holds together");
        let outcomes: Vec<_> = history.calls().map(|call| (call.lines(), call.outcome())).collect();
        let expected = [(vec![0, 2], Kind::Fail), (vec![1], Kind::Info), (vec![3], Kind::Info)];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let refusal = |ops: Vec<Op>| History::from_ops(ops).expect_err("refused").to_string();
        let two = refusal(vec![op(0, 0, Kind::Invoke, 1), op(1, 0, Kind::Invoke, 2)]);
        assert_eq!(two, "line 2: begins while what the same began in line 1 is open");
        assert_eq!(refusal(vec![op(0, 0, Kind::Ok, 1)]), "line 1: ends what was never begun");
        let other = refusal(vec![op(0, 0, Kind::Invoke, 1), op(1, 0, Kind::Ok, 2)]);
        assert_eq!(other, "line 2: ends something else than was begun in line 1");
        let nemesis = Op { process: Process::NEMESIS, ..op(0, 0, Kind::Invoke, 1) };
        assert!(refusal(vec![nemesis]).contains("the nemesis does what only clients do"));
        assert_eq!(refusal(vec![op(1, 0, Kind::Invoke, 1)]), "line 1: out of order");
    }

    #[test]
    fn notes_may_stand_alone() {
        let note = Op {
            act: Act::Drained { topic: "t".into() },
            process: Process::NEMESIS,
            ..op(0, 0, Kind::Info, 0)
        };
        assert_eq!(History::from_ops([note]).expect("holds together").ops().len(), 1);
    }
}
