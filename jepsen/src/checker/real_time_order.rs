//! What was acknowledged before another send began lies before it.

use std::collections::HashMap;

use crate::history::{Act, History, Kind};

use super::evidence::{Source, evidence};
use super::scope::Scope;
use super::{Checker, Verdict};

/// Anomaly: `overtaken`.
pub struct RealTimeOrder;

struct Placed {
    id: u64,
    began: u64,
    /// The line of the acknowledgement; `None` where there is none and the place is known from reads.
    acked: Option<u64>,
    offset: u64,
}

impl Checker for RealTimeOrder {
    fn name(&self) -> &'static str {
        "real-time-order"
    }

    fn proves(&self) -> &'static str {
        "In each queue, a send that was acknowledged before another began has the smaller offset: the log is \
         linearizable (RAFT.md 6)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        for ((topic, queue), sends) in placed_sends(history) {
            check_queue(topic, queue, sends, &mut verdict);
        }
        verdict
    }
}

fn placed_sends(history: &History) -> HashMap<(&str, u32), Vec<Placed>> {
    let scope = Scope::of(history);
    let mut read_at: HashMap<u64, (u32, u64)> = HashMap::new();
    for told in evidence(history).filter(|told| told.source != Source::Ack && scope.keeps(told.topic)) {
        if let Some(id) = told.id {
            read_at.entry(id).or_insert((told.queue, told.offset));
        }
    }
    let mut queues: HashMap<(&str, u32), Vec<Placed>> = HashMap::new();
    for call in history.calls() {
        let Act::Send { topic, id, .. } = &call.begin.act else { continue };
        if call.outcome() == Kind::Fail || !scope.keeps(topic) {
            continue;
        }
        let told = call.done().and_then(|end| match &end.act {
            Act::Send { queue, offset, .. } => (*queue).zip(*offset),
            _ => None,
        });
        let Some((queue, offset)) = told.or_else(|| read_at.get(id).copied()) else { continue };
        let acked = call.done().map(|end| end.index);
        let placed = Placed { id: *id, began: call.begin.index, acked, offset };
        queues.entry((topic, queue)).or_default().push(placed);
    }
    queues
}

/// Sweeps over the beginnings, with the largest offset acknowledged so far.
fn check_queue(topic: &str, queue: u32, sends: Vec<Placed>, verdict: &mut Verdict) {
    // Calls come in the order of their beginnings; the acknowledgements need one of their own.
    let mut acks: Vec<(u64, u64, u64)> =
        sends.iter().filter_map(|send| send.acked.map(|acked| (acked, send.offset, send.id))).collect();
    acks.sort_unstable();
    let mut acks = acks.into_iter().peekable();
    let mut largest: Option<(u64, u64, u64)> = None;
    for send in sends {
        while let Some(ack) = acks.next_if(|ack| ack.0 < send.began) {
            if largest.is_none_or(|(_, offset, _)| offset < ack.1) {
                largest = Some(ack);
            }
        }
        verdict.judged("sends with a place");
        if let Some((acked, offset, id)) = largest
            && offset >= send.offset
        {
            verdict.anomaly("overtaken", &[acked, send.began], || {
                let place = format!("{topic}/{queue}@{}", send.offset);
                format!(
                    "id {} began (line #{}) after id {id} was acknowledged at {offset} (line #{acked}), and lies at {place}",
                    send.id, send.began
                )
            });
        }
    }
}
