//! Nothing that was acknowledged is lost.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History};

use super::evidence::named;
use super::final_reads::{FinalRead, FinalReads, Witness, told_by};
use super::scope::Scope;
use super::{Checker, Verdict};

/// Anomaly: `lost`. Unknown: a topic that was never drained, or whose queues were not read to their ends.
pub struct AckedKept;

struct Acked {
    id: u64,
    queue: Option<u32>,
    offset: Option<u64>,
    lines: Vec<u64>,
}

impl Checker for AckedKept {
    fn name(&self) -> &'static str {
        "acked-kept"
    }

    fn proves(&self) -> &'static str {
        "Every acknowledged message is among what was read after the writes had ended (the set test of Jepsen, \
         as in openmessaging-dledger-jepsen)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let scope = Scope::of(history);
        let finals = FinalReads::of(history, &scope);
        let mut acked: HashMap<&str, Vec<Acked>> = HashMap::new();
        verdict.count("acked", 0);
        for call in history.calls() {
            let Some(end) = call.done() else { continue };
            let Act::Send { topic, id, queue, offset, .. } = &end.act else { continue };
            if scope.is_deleted(topic) {
                verdict.count("acked in topics deleted later", 1);
                continue;
            }
            verdict.count("acked", 1);
            match scope.drained(topic) {
                None => verdict.unknown("acked in a topic that was never drained"),
                Some(drained) if call.begin.index > drained => {
                    verdict.unknown("acked after the topic was drained");
                }
                Some(_) => {
                    let acked = acked.entry(topic).or_default();
                    acked.push(Acked { id: *id, queue: *queue, offset: *offset, lines: call.lines() });
                }
            }
        }
        for (topic, acked) in acked {
            check_topic(topic, &acked, &finals, &mut verdict);
        }
        verdict
    }
}

/// Each witness by itself: what one of them has not is lost, whatever another one has.
fn check_topic<'a>(topic: &'a str, acked: &[Acked], finals: &FinalReads<'a>, verdict: &mut Verdict) {
    let told: Vec<Told<'_, '_>> =
        finals.witnesses(topic).map(|(node, witness)| Told::of(topic, acked, node, witness)).collect();
    for one in acked {
        let places = told.iter().map(|told| told.whereabouts(topic, one));
        match places.max_by_key(Whereabouts::badness).unwrap_or(Whereabouts::NotRead(NOWHERE)) {
            Whereabouts::Found => verdict.judged("finally read"),
            Whereabouts::Lost(why, line) => {
                verdict.judged("lost");
                let lines: Vec<u64> = one.lines.iter().copied().chain(line).collect();
                verdict
                    .anomaly("lost", &lines, || format!("id {} was acknowledged and is lost: {why}", one.id));
            }
            Whereabouts::NotRead(why) => verdict.unknown(why),
        }
    }
}

const NOWHERE: &str = "acked in a queue that was not read after it was drained";

/// What one witness told of a topic.
struct Told<'w, 'a> {
    node: Option<u32>,
    witness: &'w Witness<'a>,
    found: HashSet<u64>,
    /// All queues that something was acknowledged in were read to their ends.
    whole: bool,
}

impl<'w, 'a> Told<'w, 'a> {
    fn of(topic: &'a str, acked: &[Acked], node: Option<u32>, witness: &'w Witness<'a>) -> Self {
        let found =
            witness.topic(topic).flat_map(|read| read.held.values().filter_map(|held| held.id)).collect();
        let mut queues = acked.iter().filter_map(|acked| acked.queue);
        let whole = witness.topic(topic).all(FinalRead::is_whole)
            && queues.all(|queue| witness.queue(topic, queue).is_some());
        Told { node, witness, found, whole }
    }

    fn whereabouts(&self, topic: &'a str, acked: &Acked) -> Whereabouts {
        if self.found.contains(&acked.id) {
            return Whereabouts::Found;
        }
        match whereabouts(topic, acked, self.witness, self.whole) {
            Whereabouts::Lost(why, line) if self.node.is_some() => {
                Whereabouts::Lost(format!("{why}, as {} tells", told_by(self.node)), line)
            }
            other => other,
        }
    }
}

enum Whereabouts {
    Found,
    /// Why it is known, and the line that shows it.
    Lost(String, Option<u64>),
    NotRead(&'static str),
}

impl Whereabouts {
    fn badness(&self) -> u8 {
        match self {
            Whereabouts::Found => 0,
            Whereabouts::NotRead(_) => 1,
            Whereabouts::Lost(..) => 2,
        }
    }
}

/// Where an acknowledged message is that this witness does not show.
fn whereabouts<'a>(topic: &'a str, acked: &Acked, witness: &Witness<'a>, whole: bool) -> Whereabouts {
    let Some(queue) = acked.queue else {
        return if whole {
            Whereabouts::Lost(format!("no queue of {topic} holds it"), None)
        } else {
            Whereabouts::NotRead("acked at an unknown place, and not all queues were read to their ends")
        };
    };
    let Some(read) = witness.queue(topic, queue) else {
        return Whereabouts::NotRead(NOWHERE);
    };
    let Some(offset) = acked.offset else {
        return if read.is_whole() {
            Whereabouts::Lost(format!("{topic}/{queue} does not hold it"), Some(read.line))
        } else {
            Whereabouts::NotRead("acked in a queue that was not read to its end")
        };
    };
    let place = format!("{topic}/{queue}@{offset}");
    let line = Some(read.line_of(offset));
    match (read.held.get(&offset), read.max) {
        (Some(held), _) => Whereabouts::Lost(format!("{place} holds {}", named(held.id)), line),
        (None, _) if read.covers(offset) => Whereabouts::Lost(format!("{place} was passed over"), line),
        (None, Some(max)) if max <= offset => {
            Whereabouts::Lost(format!("it was at {place} and the queue ends at {max}"), line)
        }
        (None, _) => Whereabouts::NotRead("acked in a queue that was not read to its end"),
    }
}
