//! Nothing that was acknowledged is lost.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History};

use super::evidence::named;
use super::final_reads::FinalReads;
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

fn check_topic<'a>(topic: &'a str, acked: &[Acked], finals: &FinalReads<'a>, verdict: &mut Verdict) {
    let of_topic = || finals.all().filter(|((of, _), _)| *of == topic);
    let found: HashSet<u64> =
        of_topic().flat_map(|(_, read)| read.held.values().filter_map(|held| held.id)).collect();
    let queues = acked.iter().filter_map(|acked| acked.queue);
    let queues_whole = of_topic().all(|(_, read)| read.is_whole())
        && queues.into_iter().all(|queue| finals.queue(topic, queue).is_some())
        && of_topic().next().is_some();
    for one in acked {
        if found.contains(&one.id) {
            verdict.judged("finally read");
            continue;
        }
        match whereabouts(topic, one, finals, queues_whole) {
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

enum Whereabouts {
    /// Why it is known, and the line that shows it.
    Lost(String, Option<u64>),
    NotRead(&'static str),
}

/// Where an acknowledged message that nobody read is.
fn whereabouts<'a>(topic: &'a str, acked: &Acked, finals: &FinalReads<'a>, whole: bool) -> Whereabouts {
    let Some(queue) = acked.queue else {
        return if whole {
            Whereabouts::Lost(format!("no queue of {topic} holds it"), None)
        } else {
            Whereabouts::NotRead("acked at an unknown place, and not all queues were read to their ends")
        };
    };
    let Some(read) = finals.queue(topic, queue) else {
        return Whereabouts::NotRead("acked in a queue that was not read after it was drained");
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
