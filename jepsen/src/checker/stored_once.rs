//! The server duplicates nothing and invents nothing.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, Call, History, Kind, Op, Seen};

use super::evidence::evidence;
use super::scope::is_ordinary;
use super::{Checker, Verdict};

/// A library that tries again what may have been done may store a message as often as the history says; that is counted, and
/// more is blamed.
///
/// Anomalies: `stored-twice`, `failed-but-stored`, `never-sent`, `foreign`, `wrong-topic`, `key-changed`. Unknown: an id
/// that two sends have.
pub struct StoredOnce;

struct Sent<'a> {
    topic: &'a str,
    key: Option<&'a str>,
    outcome: Kind,
    /// How often it may have been stored.
    copies_max: u32,
    line: u64,
}

impl Checker for StoredOnce {
    fn name(&self) -> &'static str {
        "stored-once"
    }

    fn proves(&self) -> &'static str {
        "A message lies at one place at most, or at as many as its client library made requests that may have stored it; a send that failed lies nowhere, and nothing is read that nobody sent \
         (RAFT.md 6: at most once per attempt)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let sent = sends(history, &mut verdict);
        check_places(history, &sent, &mut verdict);
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
        let copies_max = copies_max(call);
        let one = Sent { topic, key: key.as_deref(), outcome: call.outcome(), copies_max, line };
        if sent.insert(*id, one).is_some() {
            verdict.unknown("two sends have the same id");
        }
    }
    sent
}

/// How often a send may have been stored: as its end says, or without one as its beginning says.
fn copies_max(call: Call<'_>) -> u32 {
    let told = |op: &Op| match op.act {
        Act::Send { copies_max, .. } => copies_max,
        _ => None,
    };
    call.end.and_then(told).or_else(|| told(call.begin)).unwrap_or(1)
}

/// One place for each id, or as many as its send may have filled; one complaint for each id.
fn check_places(history: &History, sent: &HashMap<u64, Sent<'_>>, verdict: &mut Verdict) {
    let mut places: HashMap<u64, Vec<(&str, u32, u64, u64)>> = HashMap::new();
    let mut twice: HashSet<u64> = HashSet::new();
    for told in evidence(history).filter(|told| is_ordinary(told.topic)) {
        let Some(id) = told.id else { continue };
        let known = places.entry(id).or_default();
        let same = |(topic, queue, offset, _): &(&str, u32, u64, u64)| {
            (*topic, *queue, *offset) == (told.topic, told.queue, told.offset)
        };
        if known.iter().any(same) {
            continue;
        }
        // What a send that failed left is another anomaly, and one that nobody sent as well.
        let allowed = sent.get(&id).map_or(1, |sent| sent.copies_max.max(1));
        match known.first() {
            Some((topic, queue, offset, line)) if known.len() as u64 >= u64::from(allowed) => {
                if twice.insert(id) {
                    verdict.anomaly("stored-twice", &[*line, told.line], || {
                        let more =
                            if allowed > 1 { format!(", {allowed} times at most") } else { String::new() };
                        format!(
                            "id {id} lies at {topic}/{queue}@{offset} (line #{line}) and at {} ({}){more}",
                            told.place(),
                            told.witness()
                        )
                    });
                }
            }
            Some(_) => {
                verdict.count("stored again by the client library", 1);
                known.push((told.topic, told.queue, told.offset, told.line));
            }
            None => known.push((told.topic, told.queue, told.offset, told.line)),
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
