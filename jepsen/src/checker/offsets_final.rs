//! An offset names one message, for ever and everywhere; offsets have no holes.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History};

use super::evidence::{Evidence, evidence, named};
use super::final_reads::{FinalReads, told_by};
use super::scope::Scope;
use super::{Checker, Verdict};

/// Anomalies: `two-messages`, `hole` (in an answer, or in what was read of a queue at last), `disorder`, `wrong-queue`,
/// `ends-differ` (replicas tell different ends of a queue at last).
///
/// LIMIT: topics that were deleted, and the broker's own, are left out; a queue whose beginning was cleaned away by age
/// would be taken for one with a hole.
pub struct OffsetsFinal;

impl Checker for OffsetsFinal {
    fn name(&self) -> &'static str {
        "offsets-final"
    }

    fn proves(&self) -> &'static str {
        "All acknowledgements, reads and first deliveries, of all nodes at all times, agree on which message an offset \
         names, and no answer skips an offset; at last each replica that is asked has the whole queue (RAFT.md 5 and 6; as Redpanda's and Jepsen's Kafka checkers)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let scope = Scope::of(history);
        let mut queues: HashMap<(&str, u32), HashMap<u64, Evidence<'_>>> = HashMap::new();
        let mut blamed: HashSet<(&str, u32, u64)> = HashSet::new();
        for told in evidence(history).filter(|told| scope.keeps(told.topic)) {
            verdict.judged("statements");
            let queue = queues.entry((told.topic, told.queue)).or_default();
            let first = *queue.entry(told.offset).or_insert(told);
            if first.id != told.id && blamed.insert((told.topic, told.queue, told.offset)) {
                verdict.anomaly("two-messages", &[first.line, told.line], || {
                    let (one, other) = (named(first.id), named(told.id));
                    let place = told.place();
                    format!("{place} is {one} by {} and {other} by {}", first.witness(), told.witness())
                });
            }
        }
        verdict.count("offsets", queues.values().map(|queue| queue.len() as u64).sum());
        check_answers(history, &scope, &mut verdict);
        check_last(history, &scope, &mut verdict);
        verdict
    }
}

/// Each answer starts where it was asked to and goes on one by one.
fn check_answers(history: &History, scope: &Scope<'_>, verdict: &mut Verdict) {
    for call in history.calls() {
        let Some(end) = call.done() else { continue };
        let Act::Pull { topic, queue, from, seen, .. } = &end.act else { continue };
        if !scope.keeps(topic) {
            continue;
        }
        verdict.judged("answers to reads");
        for (due, seen) in (*from..).zip(seen) {
            if seen.queue != *queue {
                verdict.anomaly("wrong-queue", &[end.index], || {
                    format!("a read of {topic}/{queue} was answered with {}@{}", seen.queue, seen.offset)
                });
                break;
            }
            if seen.offset != due {
                let kind = if seen.offset > due { "hole" } else { "disorder" };
                verdict.anomaly(kind, &call.lines(), || {
                    format!("{topic}/{queue}@{} follows where {due} is due (read from {from})", seen.offset)
                });
                break;
            }
        }
    }
}

/// At last each witness reads each queue from its beginning to its end, and all tell the same end.
fn check_last(history: &History, scope: &Scope<'_>, verdict: &mut Verdict) {
    let finals = FinalReads::of(history, scope);
    for ((topic, queue), told) in finals.by_queue() {
        if !scope.keeps(topic) {
            continue;
        }
        for (node, read) in &told {
            verdict.judged("queues read at last");
            if read.is_whole() {
                continue;
            }
            let Some(max) = read.passed_over() else {
                verdict.unknown("a queue that was not read to its end");
                continue;
            };
            verdict.anomaly("hole", &[read.line], || {
                let (by, at) = (told_by(*node), read.first_uncovered());
                format!("{topic}/{queue} was read to its end {max} at {by} and nothing was told of {at}")
            });
        }
        let ends = || told.iter().filter_map(|(node, read)| Some((*node, read.max?, read.line)));
        let (lowest, highest) = (ends().min_by_key(|end| end.1), ends().max_by_key(|end| end.1));
        if let (Some((one, low, low_line)), Some((other, high, high_line))) = (lowest, highest)
            && low < high
        {
            verdict.anomaly("ends-differ", &[low_line, high_line], || {
                let (one, other) = (told_by(one), told_by(other));
                format!("{topic}/{queue} ends at {low} by {one} and at {high} by {other}")
            });
        }
    }
}
