//! A group consumes each message at least once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::history::{Act, History, Kind};

use super::scope::{Scope, is_ordinary};
use super::{Checker, Verdict};

/// Anomalies: `never-delivered`, `never-done`, `dead-too-early`. Duplicates are counted, not blamed. Unknown: a topic that was never
/// drained, and messages of which nobody knows whether they were done.
///
/// What the group gave up is fine if it was read from the group's dead-letter topic, and was given to the group before as
/// often as a group of its limit is given what fails: as often as the most often repeated message of the topic. Source:
/// RocketMQ 5.3 AbstractSendMessageProcessor.consumerSendMsgBack, which compares each message's count of repetitions with
/// the one limit of its group.
pub struct Consumed;

/// What a group did with one message.
#[derive(Default)]
struct Story {
    deliveries: u64,
    done: u64,
    /// Ended with the wish to have it again.
    failed: u64,
    unknown: u64,
    last_line: u64,
}

/// What a group did with a topic.
#[derive(Default)]
struct Stories {
    by_id: HashMap<u64, Story>,
    /// The most repetitions that a delivery told.
    redelivered_max: u32,
}

impl Checker for Consumed {
    fn name(&self) -> &'static str {
        "consumed"
    }

    fn proves(&self) -> &'static str {
        "Each group that consumes a topic was given each message of it and was done with it at least once \
         (RocketMQ's at-least-once)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        let scope = Scope::of(history);
        let stored = stored(history, &scope);
        for ((group, topic), stories) in stories(history, &mut verdict) {
            if !scope.keeps(topic) {
                continue;
            }
            let dead = dead_letters(history, group);
            let drained = scope.drained(topic);
            for (id, (line, sent)) in stored.get(topic).into_iter().flatten() {
                if drained.is_none_or(|drained| *sent > drained) && !is_done(*id, &stories, &dead) {
                    verdict.unknown("not done in a topic that was not drained after it was stored");
                    continue;
                }
                judge(group, topic, *id, *line, &stories, &dead, &mut verdict);
            }
        }
        verdict
    }
}

fn is_done(id: u64, stories: &Stories, dead: &HashSet<u64>) -> bool {
    stories.by_id.get(&id).is_some_and(|story| story.done > 0) || dead.contains(&id)
}

fn judge(
    group: &str,
    topic: &str,
    id: u64,
    line: u64,
    stories: &Stories,
    dead: &HashSet<u64>,
    verdict: &mut Verdict,
) {
    let Some(story) = stories.by_id.get(&id) else {
        verdict.judged("never delivered");
        return verdict.anomaly("never-delivered", &[line], || {
            format!("id {id} was stored in {topic} (line #{line}) and never delivered to group {group}")
        });
    };
    if story.done > 0 {
        return verdict.judged("consumed");
    }
    if dead.contains(&id) {
        verdict.judged("dead letters");
        let (failed, due) = (story.failed + story.unknown, u64::from(stories.redelivered_max) + 1);
        if failed < due {
            verdict.anomaly("dead-too-early", &[line, story.last_line], || {
                format!("id {id} in {topic} is a dead letter of group {group} after {failed} deliveries, others had {due}")
            });
        }
        return;
    }
    if story.unknown > 0 {
        return verdict.unknown("delivered, and nobody knows whether it was done");
    }
    verdict.judged("never done");
    verdict.anomaly("never-done", &[line, story.last_line], || {
        let times = story.deliveries;
        format!("id {id} in {topic} was delivered {times} times to group {group} and never done, nor read as a dead letter")
    });
}

/// Ids that are certainly stored, by topic, each with the line that shows it and the line where its send began.
fn stored<'a>(history: &'a History, scope: &Scope<'_>) -> HashMap<&'a str, BTreeMap<u64, (u64, u64)>> {
    let mut stored: HashMap<&str, BTreeMap<u64, (u64, u64)>> = HashMap::new();
    let mut begun: HashMap<u64, u64> = HashMap::new();
    for call in history.calls() {
        if let Act::Send { id, .. } = &call.begin.act {
            begun.insert(*id, call.begin.index);
        }
        let Some(end) = call.done() else { continue };
        match &end.act {
            Act::Send { topic, id, .. } if scope.keeps(topic) => {
                stored.entry(topic).or_default().insert(*id, (end.index, call.begin.index));
            }
            Act::Pull { topic, seen, .. } if scope.keeps(topic) => {
                let topic = stored.entry(topic).or_default();
                for id in seen.iter().filter_map(|seen| seen.id) {
                    let sent = begun.get(&id).copied().unwrap_or(0);
                    topic.entry(id).or_insert((end.index, sent));
                }
            }
            _ => {}
        }
    }
    stored
}

fn stories<'a>(history: &'a History, verdict: &mut Verdict) -> BTreeMap<(&'a str, &'a str), Stories> {
    let mut groups: BTreeMap<(&str, &str), Stories> = BTreeMap::new();
    for name in ["deliveries", "duplicates", "redeliveries"] {
        verdict.count(name, 0);
    }
    for call in history.calls() {
        let Act::Consume { group, topic, seen } = &call.begin.act else { continue };
        let Some(id) = seen.id.filter(|_| is_ordinary(topic)) else { continue };
        verdict.count("deliveries", 1);
        let stories = groups.entry((group, topic)).or_default();
        stories.redelivered_max = stories.redelivered_max.max(seen.redelivered);
        let story = stories.by_id.entry(id).or_default();
        story.deliveries += 1;
        story.last_line = call.begin.index;
        if seen.redelivered > 0 {
            verdict.count("redeliveries", 1);
        }
        match call.outcome() {
            Kind::Ok => {
                verdict.count("duplicates", u64::from(story.done > 0));
                story.done += 1;
            }
            Kind::Fail => story.failed += 1,
            Kind::Info | Kind::Invoke => story.unknown += 1,
        }
    }
    groups
}

/// Ids that were read from the group's dead-letter topic. Source: RocketMQ 5.3 `MixAll.getDLQTopic`.
fn dead_letters(history: &History, group: &str) -> HashSet<u64> {
    let dead_letter_topic = format!("%DLQ%{group}");
    let mut ids = BTreeSet::new();
    for op in history.ops().iter().filter(|op| op.kind == Kind::Ok) {
        if let Act::Pull { topic, seen, .. } = &op.act
            && *topic == dead_letter_topic
        {
            ids.extend(seen.iter().filter_map(|seen| seen.id));
        }
    }
    ids.into_iter().collect()
}
