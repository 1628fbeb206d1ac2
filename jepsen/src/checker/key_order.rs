//! Messages of a key are worked through in their order.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History, Kind};

use super::scope::Scope;
use super::{Checker, Verdict};

/// Anomalies: `delivered-early` (before one of the key with a smaller offset was delivered), `delivered-while-open` (after
/// that was delivered, and before it was done), `done-early` (before that was done), `redelivered-first` (said to be a
/// repetition, and is none), `key-in-two-queues`. A repetition of what was delivered before is no anomaly.
///
/// Only messages with a key are looked at; order is judged within a queue. A key may change its queue when the number of
/// queues is changed: it may lie in two queues of a topic that somebody sets.
pub struct KeyOrder;

/// What a group did with one message.
struct Story {
    id: u64,
    offset: u64,
    first_delivery: u64,
    /// The line from which on it may be done: its first `ok`, or the beginning of a delivery whose end nobody knows.
    maybe_done: Option<u64>,
    /// Its first `ok`.
    done: Option<u64>,
}

impl Checker for KeyOrder {
    fn name(&self) -> &'static str {
        "key-order"
    }

    fn proves(&self) -> &'static str {
        "An orderly group gets the messages of a key in the order of their offsets, and none is done before those \
         before it were done; repetitions aside (RocketMQ's promise for MessageListenerOrderly; as OpenChaos' OrderChecker)."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::default();
        check_queues(history, &mut verdict);
        for ((group, topic, queue, key), mut stories) in stories(history, &mut verdict) {
            stories.sort_unstable_by_key(|story| story.offset);
            let name = format!("group {group}, {topic}/{queue}, key {key}");
            check_key(&name, &stories, &mut verdict);
        }
        verdict
    }
}

/// Each key has one queue, where the number of queues stays.
fn check_queues(history: &History, verdict: &mut Verdict) {
    let mut set: HashSet<&str> = HashSet::new();
    for op in history.ops() {
        if let Act::SetTopic { topic, .. } = &op.act {
            set.insert(topic);
        }
    }
    let scope = Scope::of(history);
    let mut queues: HashMap<(&str, &str), (u32, u64)> = HashMap::new();
    let mut blamed = HashSet::new();
    for call in history.calls() {
        let Act::Consume { topic, seen, .. } = &call.begin.act else { continue };
        let Some(key) = seen.key.as_deref().filter(|_| scope.keeps(topic) && !set.contains(topic.as_str()))
        else {
            continue;
        };
        // What came back through a retry topic names a queue of that.
        if seen.redelivered > 0 {
            continue;
        }
        let line = call.begin.index;
        let (queue, first) = *queues.entry((topic, key)).or_insert((seen.queue, line));
        if queue != seen.queue && blamed.insert((topic, key)) {
            verdict.anomaly("key-in-two-queues", &[first, line], || {
                format!("messages of the key {key} lie in {topic}/{queue} (line #{first}) and {topic}/{} (line #{line})", seen.queue)
            });
        }
    }
}

/// Where the story of an id is.
#[derive(Clone, Copy)]
struct Known<'a> {
    queue: u32,
    key: &'a str,
    /// In the list of its key.
    place: usize,
}

type Keys<'a> = HashMap<(&'a str, &'a str, u32, &'a str), Vec<Story>>;

fn stories<'a>(history: &'a History, verdict: &mut Verdict) -> Keys<'a> {
    let scope = Scope::of(history);
    let mut keys = Keys::new();
    let mut known: HashMap<(&str, u64), Known<'_>> = HashMap::new();
    for call in history.calls() {
        let Act::Consume { group, topic, seen } = &call.begin.act else { continue };
        let (Some(key), Some(id)) = (&seen.key, seen.id) else { continue };
        if !scope.keeps(topic) {
            continue;
        }
        verdict.judged("deliveries");
        let line = call.begin.index;
        let Known { queue, key, place } = *known.entry((group, id)).or_insert_with(|| {
            let stories = keys.entry((group, topic, seen.queue, key)).or_default();
            if seen.redelivered > 0 {
                verdict.anomaly("redelivered-first", &[line], || {
                    format!("group {group} got id {id} as a repetition (line #{line}) and never before")
                });
            }
            let offset = seen.offset;
            stories.push(Story { id, offset, first_delivery: line, maybe_done: None, done: None });
            Known { queue: seen.queue, key, place: stories.len() - 1 }
        });
        let Some(story) =
            keys.get_mut(&(group.as_str(), topic.as_str(), queue, key)).map(|all| &mut all[place])
        else {
            continue;
        };
        let earlier = |one: Option<u64>, other: u64| Some(one.map_or(other, |one| one.min(other)));
        match (call.outcome(), call.end) {
            (Kind::Ok, Some(end)) => {
                story.done = earlier(story.done, end.index);
                story.maybe_done = earlier(story.maybe_done, end.index);
            }
            (Kind::Fail, _) => {}
            _ => story.maybe_done = earlier(story.maybe_done, line),
        }
    }
    keys
}

/// Goes over the messages of a key by offset, with the latest of those before.
fn check_key(name: &str, stories: &[Story], verdict: &mut Verdict) {
    verdict.count("keys", 1);
    let mut delivered: Option<&Story> = None;
    let mut done: Option<&Story> = None;
    let done_line = |story: &Story| story.maybe_done.unwrap_or(u64::MAX);
    for story in stories {
        if let Some(before) = delivered.filter(|before| before.first_delivery > story.first_delivery) {
            verdict.anomaly("delivered-early", &[story.first_delivery, before.first_delivery], || {
                let (at, first) = (story.offset, before.offset);
                format!("{name}: id {} at {at} was delivered before id {} at {first}", story.id, before.id)
            });
        }
        let early = delivered.is_some_and(|before| before.first_delivery > story.first_delivery);
        if let (Some(before), Some(end)) =
            (done.filter(|before| done_line(before) > story.done.unwrap_or(u64::MAX)), story.done)
        {
            verdict.anomaly("done-early", &[before.first_delivery, end], || {
                let (at, first) = (story.offset, before.offset);
                format!("{name}: id {} at {at} was done before id {} at {first}", story.id, before.id)
            });
        } else if let (false, Some(before), Some(end)) = (
            early,
            // One that was never done has its place above.
            done.filter(|before| before.done.is_some() && done_line(before) > story.first_delivery),
            story.done,
        ) {
            let lines = [before.first_delivery, story.first_delivery, end];
            verdict.anomaly("delivered-while-open", &lines, || {
                let (at, first) = (story.offset, before.offset);
                format!(
                    "{name}: id {} at {at} was delivered before id {} at {first} was done",
                    story.id, before.id
                )
            });
        }
        if delivered.is_none_or(|before| before.first_delivery < story.first_delivery) {
            delivered = Some(story);
        }
        if done.is_none_or(|before| done_line(before) < done_line(story)) {
            done = Some(story);
        }
    }
}
