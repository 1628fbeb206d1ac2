//! Which topics a rule speaks of, and since when their contents are meant to be complete.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, History, Kind};

/// What the whole history says of its topics.
pub(super) struct Scope<'a> {
    /// Topics that somebody deleted or may have deleted. What they held is gone by right.
    deleted: HashSet<&'a str>,
    /// Index of the last `drained` line that did not fail.
    drained: HashMap<&'a str, u64>,
}

impl<'a> Scope<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut scope = Scope { deleted: HashSet::new(), drained: HashMap::new() };
        for call in history.calls() {
            if let Act::DeleteTopic { topic } = &call.begin.act
                && call.outcome() != Kind::Fail
            {
                scope.deleted.insert(topic);
            }
        }
        for op in history.ops() {
            if let Act::Drained { topic } = &op.act
                && op.kind != Kind::Fail
            {
                scope.drained.insert(topic, op.index);
            }
        }
        scope
    }

    /// The topic keeps what it is given: it is an ordinary one, and nobody deleted it.
    pub(super) fn keeps(&self, topic: &str) -> bool {
        is_ordinary(topic) && !self.deleted.contains(topic)
    }

    pub(super) fn is_deleted(&self, topic: &str) -> bool {
        self.deleted.contains(topic)
    }

    pub(super) fn drained(&self, topic: &str) -> Option<u64> {
        self.drained.get(topic).copied()
    }
}

/// Not a retry topic, a dead-letter topic, a topic of delayed messages or another one of the broker's own.
///
/// Source: RocketMQ 5.3 `MixAll` (`%RETRY%`, `%DLQ%`, `%SYS%`), `TopicValidator` (system topics).
pub(super) fn is_ordinary(topic: &str) -> bool {
    let system = ["%", "rmq_sys_", "RMQ_SYS_", "SCHEDULE_TOPIC_", "TRANS_CHECK_MAX_TIME_TOPIC"];
    !system.iter().any(|prefix| topic.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_ordinary;

    #[test]
    fn topics_of_the_broker_are_not_ordinary() {
        for topic in
            ["%RETRY%g", "%DLQ%g", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "rmq_sys_wheel_timer"]
        {
            assert!(!is_ordinary(topic), "{topic}");
        }
        assert!(is_ordinary("orders"));
    }
}
