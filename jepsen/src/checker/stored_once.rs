//! The server duplicates nothing and invents nothing.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History, Kind, Seen};

use super::evidence::evidence;
use super::scope::is_ordinary;
use super::{Checker, Verdict};

/// Anomalies: `stored-twice`, `failed-but-stored`, `never-sent`, `foreign`, `wrong-topic`, `key-changed`. Unknown: an id
/// that two sends have.
pub struct StoredOnce;

struct Sent<'a> {
    topic: &'a str,
    key: Option<&'a str>,
    outcome: Kind,
    line: u64,
}

impl Checker for StoredOnce {
    fn name(&self) -> &'static str {
        "stored-once"
    }

    fn proves(&self) -> &'static str {
        "A message lies at one place at most, a send that failed lies nowhere, and nothing is read that nobody sent \
         (RAFT.md 6: at most once per attempt)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let sent = sends(history, &mut verdict);
        check_places(history, &mut verdict);
        let mut told: HashSet<(&'static str, u64)> = HashSet::new();
        for call in history.calls() {
            let (topic, seen, line): (&str, &[Seen], u64) = match (&call.begin.act, call.done()) {
                (Act::Consume { topic, seen, .. }, _) => {
                    (topic, std::slice::from_ref(seen), call.begin.index)
                }
                (Act::Pull { topic, .. }, Some(end)) => match &end.act {
                    Act::Pull { seen, .. } => (topic, seen, end.index),
                    _ => continue,
                },
                _ => continue,
            };
            for seen in seen {
                check_seen(topic, seen, line, &sent, &mut told, &mut verdict);
            }
        }
        verdict
    }
}

fn sends<'a>(history: &'a History, verdict: &mut Verdict) -> HashMap<u64, Sent<'a>> {
    let mut sent = HashMap::new();
    for call in history.calls() {
        let Act::Send { topic, id, key, .. } = &call.begin.act else { continue };
        let line = call.begin.index;
        let one = Sent { topic, key: key.as_deref(), outcome: call.outcome(), line };
        if sent.insert(*id, one).is_some() {
            verdict.unknown("two sends have the same id");
        }
    }
    sent
}

/// One place for each id, one complaint for each id.
fn check_places(history: &History, verdict: &mut Verdict) {
    let mut places: HashMap<u64, (&str, u32, u64, u64)> = HashMap::new();
    let mut twice: HashSet<u64> = HashSet::new();
    for told in evidence(history).filter(|told| is_ordinary(told.topic)) {
        let Some(id) = told.id else { continue };
        let place = (told.topic, told.queue, told.offset);
        let (topic, queue, offset, line) =
            *places.entry(id).or_insert((told.topic, told.queue, told.offset, told.line));
        if (topic, queue, offset) != place && twice.insert(id) {
            verdict.anomaly("stored-twice", &[line, told.line], || {
                format!(
                    "id {id} lies at {topic}/{queue}@{offset} (line #{line}) and at {} ({})",
                    told.place(),
                    told.witness()
                )
            });
        }
    }
    for _ in 0..places.len() {
        verdict.judged("ids with a place");
    }
}

fn check_seen(
    topic: &str,
    seen: &Seen,
    line: u64,
    sent: &HashMap<u64, Sent<'_>>,
    told: &mut HashSet<(&'static str, u64)>,
    verdict: &mut Verdict,
) {
    verdict.judged("messages seen");
    let place = || format!("{topic}/{}@{} (line #{line})", seen.queue, seen.offset);
    let Some(id) = seen.id else {
        if told.insert(("foreign", seen.offset)) {
            verdict.anomaly("foreign", &[line], || {
                format!("a message that is none of ours lies at {}", place())
            });
        }
        return;
    };
    let mut complain = |kind: &'static str, lines: &[u64], text: String| {
        if told.insert((kind, id)) {
            verdict.anomaly(kind, lines, || text);
        }
    };
    let Some(sent) = sent.get(&id) else {
        return complain("never-sent", &[line], format!("id {id} lies at {} and nobody sent it", place()));
    };
    if sent.outcome == Kind::Fail {
        let text = format!("id {id} lies at {}, though its send failed (line #{})", place(), sent.line);
        complain("failed-but-stored", &[sent.line, line], text);
    }
    if is_ordinary(topic) && topic != sent.topic {
        let text = format!("id {id} was sent to {} and lies at {}", sent.topic, place());
        complain("wrong-topic", &[sent.line, line], text);
    }
    if seen.key.as_deref() != sent.key {
        let text =
            format!("id {id} was sent with the key {:?} and has {:?} at {}", sent.key, seen.key, place());
        complain("key-changed", &[sent.line, line], text);
    }
}
