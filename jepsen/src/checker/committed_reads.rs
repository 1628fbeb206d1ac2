//! Reads show what is committed, and nothing else.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History, Seen};

use super::evidence::{Evidence, Source, evidence, named};
use super::final_reads::{FinalRead, FinalReads};
use super::scope::Scope;
use super::{Checker, Verdict};

/// Anomalies: `beyond-the-end` (an answer holds an offset that is not below the end it tells), `before-it-was-sent`,
/// `gone` (was read, and is not there at the end), `changed` (was read, and is another message later), `end-went-back` (an
/// end was told that the queue does not reach at last). Unknown: reads of queues that were not finally read.
///
/// That an end is smaller in a later answer than in an earlier one is only counted (`stale answers`): a broker that does
/// not know yet that it leads no more may answer late, with what is committed.
pub struct CommittedReads;

impl Checker for CommittedReads {
    fn name(&self) -> &'static str {
        "committed-reads"
    }

    fn proves(&self) -> &'static str {
        "No read goes beyond the committed end, and what was read once stays: an uncommitted message that is shown and \
         then truncated is gone or another one later (RAFT.md 5 and 6)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let scope = Scope::of(history);
        let finals = FinalReads::of(history, &scope);
        check_answers(history, &mut verdict);
        check_ends(history, &scope, &finals, &mut verdict);
        check_stays(history, &scope, &finals, &mut verdict);
        verdict
    }
}

/// What each answer shows by itself.
fn check_answers(history: &History, verdict: &mut Verdict) {
    let mut begun: HashMap<u64, u64> = HashMap::new();
    for call in history.calls() {
        if let Act::Send { id, .. } = &call.begin.act {
            begun.insert(*id, call.begin.index);
        }
    }
    for call in history.calls() {
        let (topic, seen, line): (&str, &[Seen], u64) = match (&call.begin.act, call.done()) {
            (Act::Consume { topic, seen, .. }, _) => (topic, std::slice::from_ref(seen), call.begin.index),
            (Act::Pull { .. }, Some(end)) => match &end.act {
                Act::Pull { topic, seen, max, node, .. } => {
                    check_below_end(topic, seen, *max, *node, end.index, verdict);
                    (topic, seen, end.index)
                }
                _ => continue,
            },
            _ => continue,
        };
        for seen in seen {
            let Some((id, sent)) = seen.id.and_then(|id| Some((id, *begun.get(&id)?))) else { continue };
            if sent > line {
                verdict.anomaly("before-it-was-sent", &[line, sent], || {
                    format!(
                        "id {id} was read from {topic} (line #{line}) before its send began (line #{sent})"
                    )
                });
            }
        }
    }
}

fn check_below_end(
    topic: &str,
    seen: &[Seen],
    max: Option<u64>,
    node: Option<u32>,
    line: u64,
    verdict: &mut Verdict,
) {
    verdict.judged("answers to reads");
    if seen.is_empty() {
        return;
    }
    let Some(max) = max else {
        return verdict.unknown("an answer told no end of the queue");
    };
    if let Some(beyond) = seen.iter().find(|seen| seen.offset >= max) {
        verdict.anomaly("beyond-the-end", &[line], || {
            let (queue, offset) = (beyond.queue, beyond.offset);
            let at = node.map_or(String::new(), |node| format!(" at node {node}"));
            format!("a read{at} shows {topic}/{queue}@{offset} and tells the end {max} (line #{line})")
        });
    }
}

/// Ends that were told, against the one at last.
fn check_ends(history: &History, scope: &Scope<'_>, finals: &FinalReads<'_>, verdict: &mut Verdict) {
    verdict.count("stale answers", 0);
    // By queue: the largest end told so far. Good enough for a count, which proves nothing.
    let mut largest: HashMap<(&str, u32), u64> = HashMap::new();
    let mut blamed = HashSet::new();
    for call in history.calls() {
        let Some(end) = call.done() else { continue };
        let Act::Pull { topic, queue, max: Some(max), .. } = &end.act else { continue };
        if !scope.keeps(topic) {
            continue;
        }
        let so_far = largest.entry((topic, *queue)).or_default();
        verdict.count("stale answers", u64::from(max < so_far));
        *so_far = (*so_far).max(*max);
        let went_back = |last: &&FinalRead| last.max.is_some_and(|last| last < *max);
        if let Some(last) = finals.queue(topic, *queue).find(went_back)
            && let Some(last_max) = last.max
            && blamed.insert((topic, queue))
        {
            verdict.anomaly("end-went-back", &[end.index, last.line], || {
                let told = end.index;
                format!(
                    "{topic}/{queue} was said to end at {max} (line #{told}) and ends at {last_max} at last"
                )
            });
        }
    }
}

/// Everything seen is still there at the end, and was the same all the time.
fn check_stays(history: &History, scope: &Scope<'_>, finals: &FinalReads<'_>, verdict: &mut Verdict) {
    let mut first_seen: HashMap<(&str, u32), HashMap<u64, Evidence<'_>>> = HashMap::new();
    let mut blamed = HashSet::new();
    for told in evidence(history).filter(|told| told.source != Source::Ack && scope.keeps(told.topic)) {
        verdict.judged("messages seen");
        let queue = first_seen.entry((told.topic, told.queue)).or_default();
        let first = *queue.entry(told.offset).or_insert(told);
        if first.id != told.id && blamed.insert((told.topic, told.queue, told.offset)) {
            verdict.anomaly("changed", &[first.line, told.line], || {
                let (one, other) = (named(first.id), named(told.id));
                format!(
                    "{} was {one} in {} and is {other} in {}",
                    told.place(),
                    first.witness(),
                    told.witness()
                )
            });
        }
    }
    for ((topic, queue), seen) in &first_seen {
        if scope.drained(topic).is_none() {
            verdict.unknown("a queue that was read is in a topic that was never drained");
            continue;
        }
        let lasts: Vec<&FinalRead> = finals.queue(topic, *queue).collect();
        if lasts.is_empty() {
            verdict.unknown("a queue that was read was not read after it was drained");
            continue;
        }
        for (offset, first) in seen {
            let has_not = |last: &&&FinalRead| {
                let ended = last.max.is_some_and(|max| max <= *offset);
                !last.held.contains_key(offset) && (ended || last.covers(*offset))
            };
            if let Some(last) = lasts.iter().find(has_not) {
                verdict.anomaly("gone", &[first.line, last.line], || {
                    format!(
                        "{} was {} by {} and is gone at last (line #{})",
                        first.place(),
                        named(first.id),
                        first.witness(),
                        last.line
                    )
                });
            } else if lasts.iter().any(|last| !last.held.contains_key(offset)) {
                verdict.unknown("a message that was seen lies where nothing was read after it was drained");
            }
        }
    }
}
