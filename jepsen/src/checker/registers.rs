//! Offsets of groups, and the numbers of queues of topics, as registers.

use std::collections::BTreeMap;

use crate::history::{Act, Call, History, Kind};

use super::linearizable::{Answer, Operation, Step, check};
use super::scope::Scope;
use super::{Checker, Verdict};

/// Configurations looked at for one register. The usual history needs about one an operation.
const WORK_MAX: u64 = 5_000_000;

const NOTHING_WRITTEN: &str = "registers were read, and no write to any of them was acknowledged";

const UNDECIDED: &str = "a register whose history was too much to decide within the bound on work";

/// Anomaly: `not-linearizable`. Unknown: too much work, or nothing that was certainly written.
///
/// A register begins without a value: groups and topics have names that are new in the run. Topics that were deleted are
/// left out, as their groups' offsets went with them.
pub struct OffsetRegisters {
    pub work_max: u64,
}

/// Anomaly: `not-linearizable`. Unknown: too much work. A deletion writes "no such topic".
pub struct TopicRegisters {
    pub work_max: u64,
}

impl Default for OffsetRegisters {
    fn default() -> Self {
        OffsetRegisters { work_max: WORK_MAX }
    }
}

impl Default for TopicRegisters {
    fn default() -> Self {
        TopicRegisters { work_max: WORK_MAX }
    }
}

impl Checker for OffsetRegisters {
    fn name(&self) -> &'static str {
        "offset-registers"
    }

    fn proves(&self) -> &'static str {
        "The offset of a group in a queue is a linearizable register: some order of all commits and reads explains \
         every answer (Wing and Gong 1993, Lowe 2017). No committed offset is forgotten or goes back by itself."
    }

    fn check(&self, history: &History) -> Verdict {
        let scope = Scope::of(history);
        let mut registers: Registers = BTreeMap::new();
        let mut verdict = Verdict::default();
        for call in history.calls() {
            let (group, topic, queue) = match &call.begin.act {
                Act::CommitOffset { group, topic, queue, .. }
                | Act::ReadOffset { group, topic, queue, .. } => (group, topic, queue),
                _ => continue,
            };
            if scope.is_deleted(topic) {
                verdict.count("operations on topics that were deleted", 1);
                continue;
            }
            let step = match (&call.begin.act, call.done().map(|end| &end.act)) {
                (Act::CommitOffset { offset, .. }, _) => Step::Write(Some(*offset)),
                (_, Some(Act::ReadOffset { offset, .. })) => Step::Read(*offset),
                _ => continue,
            };
            add(&mut registers, || format!("offset of group {group} in {topic}/{queue}"), call, step);
        }
        judge(registers, self.work_max, verdict)
    }
}

impl Checker for TopicRegisters {
    fn name(&self) -> &'static str {
        "topic-registers"
    }

    fn proves(&self) -> &'static str {
        "The number of queues of a topic is a linearizable register under creation, change and deletion (as above)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut registers: Registers = BTreeMap::new();
        for call in history.calls() {
            let (topic, step) = match (&call.begin.act, call.done().map(|end| &end.act)) {
                (Act::SetTopic { topic, queues }, _) => (topic, Step::Write(Some(u64::from(*queues)))),
                (Act::DeleteTopic { topic }, _) => (topic, Step::Write(None)),
                (Act::ReadTopic { topic, .. }, Some(Act::ReadTopic { queues, .. })) => {
                    (topic, Step::Read(queues.map(u64::from)))
                }
                _ => continue,
            };
            add(&mut registers, || format!("queues of topic {topic}"), call, step);
        }
        judge(registers, self.work_max, Verdict::default())
    }
}

/// Operations by name of the register, each with the lines that show it.
type Registers = BTreeMap<String, Vec<(Operation, Vec<u64>)>>;

fn add(registers: &mut Registers, name: impl FnOnce() -> String, call: Call<'_>, step: Step) {
    if call.outcome() == Kind::Fail {
        return;
    }
    let operation = Operation { step, began: call.begin.index, ended: call.done().map(|end| end.index) };
    registers.entry(name()).or_default().push((operation, call.lines()));
}

/// Reads prove something only where something was certainly written: a server that refuses all writes answers each read
/// alike.
fn judge(registers: Registers, work_max: u64, mut verdict: Verdict) -> Verdict {
    let mut operations = registers.values().flatten().map(|(operation, _)| operation);
    let written = operations.any(|one| matches!(one.step, Step::Write(_)) && one.ended.is_some());
    let mut reads = 0u64;
    for (name, listed) in registers {
        let operations: Vec<Operation> = listed.iter().map(|(operation, _)| *operation).collect();
        verdict.count("registers", 1);
        match check(&operations, work_max) {
            Answer::Linearizable => {}
            Answer::TooMuch => {
                verdict.unknown(UNDECIDED);
                continue;
            }
            Answer::Impossible { read, possible } => blame(&name, &listed, read, &possible, &mut verdict),
        }
        for operation in &operations {
            match operation.step {
                Step::Read(_) if written => verdict.judged("reads"),
                Step::Read(_) => reads += 1,
                Step::Write(_) if operation.ended.is_some() => verdict.count("writes", 1),
                Step::Write(_) => verdict.count("writes of unknown outcome", 1),
            }
        }
    }
    if reads > 0 {
        verdict.count("reads", reads);
        verdict.unknown(NOTHING_WRITTEN);
    }
    verdict
}

/// Tells the read, and the operations next to it.
fn blame(
    name: &str,
    listed: &[(Operation, Vec<u64>)],
    read: usize,
    possible: &[Option<u64>],
    verdict: &mut Verdict,
) {
    let (culprit, lines) = &listed[read];
    let told = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let ended = culprit.ended.unwrap_or(u64::MAX);
    // What was under way or had just ended: an order that explains the read would have to move one of these.
    let mut near: Vec<u64> = lines.clone();
    let before = listed.iter().filter(|(one, _)| one.began < ended && matches!(one.step, Step::Write(_)));
    near.extend(before.rev().take(4).flat_map(|(_, lines)| lines.iter().copied()));
    near.dedup();
    verdict.anomaly("not-linearizable", &near, || {
        let Step::Read(value) = culprit.step else {
            return format!("{name}: no order explains line #{ended}");
        };
        let possible: Vec<String> = possible.iter().map(|value| told(*value)).collect();
        let (value, possible) = (told(value), possible.join(" or "));
        format!("{name}: read as {value} (line #{ended}), which no order of the operations explains; {possible} would be right")
    });
}
