//! Topic and group names: which are legal, which belong to the system, and the names derived from a group.
//!
//! Legal characters are `% | a-z A-Z 0-9 _ -`. Source: RocketMQ 5.3 TopicValidator, Validators, MixAll.

use std::fmt;
use std::sync::Arc;

/// Longest ordinary topic in bytes.
pub const TOPIC_SIZE_MAX: usize = 127;
/// Longest retry or dead-letter topic in bytes.
pub const RETRY_TOPIC_SIZE_MAX: usize = 255;
/// Longest group in bytes. Its derived topics fit [`RETRY_TOPIC_SIZE_MAX`].
pub const GROUP_SIZE_MAX: usize = 120;

/// Start of the topic that holds messages to be consumed again by a group.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Start of the topic that holds the dead letters of a group.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Start of light queues.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// Start of system topics that are named after a cluster or broker.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Start of system groups.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Template of topics that are created on first use.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Messages that wait for a delay level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Benchmarks.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Half messages.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Marks of half messages that are done.
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages given up.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Self test.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Notices of moved offsets.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// Check points.
pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
/// Messages that wait for a time.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";

/// Topics of the system without those that start with [`SYSTEM_TOPIC_PREFIX`].
pub const SYSTEM_TOPICS: [&str; 10] = [
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    CHECKPOINT_TOPIC,
];

/// Groups of the system without those that start with [`SYSTEM_GROUP_PREFIX`].
pub const SYSTEM_GROUPS: [&str; 13] = [
    "DEFAULT_CONSUMER",
    "DEFAULT_PRODUCER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];

/// Why a name is not legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or white space only.
    #[error("the name is blank")]
    Blank,
    /// A character outside the legal ones.
    #[error("the name has an illegal character at byte {at}, allowed are %|a-zA-Z0-9_-")]
    IllegalCharacter {
        /// Offset in bytes.
        at: usize,
    },
    /// Longer than allowed for its kind.
    #[error("the name has {size} bytes, the limit is {size_max}")]
    TooLong {
        /// Size in bytes.
        size: usize,
        /// Limit in bytes.
        size_max: usize,
    },
}

/// Checks a topic name.
///
/// # Errors
/// The first reason found, characters before length. To a send, an illegal character is INVALID_PARAMETER and a length
/// MESSAGE_ILLEGAL.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    check(name, if derived { RETRY_TOPIC_SIZE_MAX } else { TOPIC_SIZE_MAX })
}

/// Checks a group name.
///
/// # Errors
/// The first reason found, characters before length.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check(name, GROUP_SIZE_MAX)
}

fn check(name: &str, size_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank);
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-');
    if let Some(at) = name.bytes().position(|byte| !legal(byte)) {
        return Err(NameError::IllegalCharacter { at });
    }
    if name.len() > size_max {
        return Err(NameError::TooLong { size: name.len(), size_max });
    }
    Ok(())
}

/// Claims that a topic belongs to the system: admin requests may neither create nor delete it.
pub fn is_system_topic(topic: &str) -> bool {
    topic.starts_with(SYSTEM_TOPIC_PREFIX) || SYSTEM_TOPICS.contains(&topic)
}

/// Claims that clients may not send to a topic: NO_PERMISSION.
pub fn forbidden_to_send(topic: &str) -> bool {
    matches!(
        topic,
        SCHEDULE_TOPIC
            | HALF_TOPIC
            | OP_HALF_TOPIC
            | CHECK_MAX_TIME_TOPIC
            | SELF_TEST_TOPIC
            | OFFSET_MOVED_TOPIC
    )
}

/// Claims that a group belongs to the system.
pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX) || SYSTEM_GROUPS.contains(&group)
}

/// Claims that a topic is the retry topic of some group.
pub fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// Claims that a topic holds the dead letters of some group.
pub fn is_dlq_topic(topic: &str) -> bool {
    topic.starts_with(DLQ_PREFIX)
}

/// Retry topic of a group; the group may carry a namespace.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Dead-letter topic of a group.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Topic for replies in a cluster.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// Retry topic of pop consumption for a group and topic, in its default form.
pub fn pop_retry_topic(group: &str, topic: &str) -> String {
    format!("{RETRY_PREFIX}{group}_{topic}")
}

/// Retry topic of pop consumption in its second form. It is no legal topic for clients because of its `+`.
pub fn pop_retry_topic_v2(group: &str, topic: &str) -> String {
    format!("{RETRY_PREFIX}{group}+{topic}")
}

/// Defines a checked name that is cheap to clone.
macro_rules! name {
    ($(#[$meta:meta])* $type:ident, $check:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name and keeps it.
            ///
            /// # Errors
            /// Why the name is not legal.
            pub fn parse(name: &str) -> Result<$type, NameError> {
                $check(name)?;
                Ok($type(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// Legal name of a topic. Clones share the text.
    TopicName, check_topic
}

name! {
    /// Legal name of a producer or consumer group. Clones share the text.
    GroupName, check_group
}

impl GroupName {
    /// Retry topic of this group.
    pub fn retry_topic(&self) -> TopicName {
        TopicName(retry_topic(self).into())
    }

    /// Dead-letter topic of this group.
    pub fn dlq_topic(&self) -> TopicName {
        TopicName(dlq_topic(self).into())
    }
}

const _: () = assert!(RETRY_PREFIX.len() + GROUP_SIZE_MAX <= RETRY_TOPIC_SIZE_MAX);
const _: () = assert!(DLQ_PREFIX.len() + GROUP_SIZE_MAX <= RETRY_TOPIC_SIZE_MAX);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_those_of_the_validator() {
        for name in ["T", "TopicTest", "%RETRY%g1", "a|b_c-D0", &"t".repeat(127)] {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
        assert_eq!(check_topic(""), Err(NameError::Blank));
        assert_eq!(check_topic(" \t"), Err(NameError::Blank));
        assert_eq!(check_topic("a.b"), Err(NameError::IllegalCharacter { at: 1 }));
        assert_eq!(check_topic("名"), Err(NameError::IllegalCharacter { at: 0 }));
        assert_eq!(check_topic("%RETRY%g+t"), Err(NameError::IllegalCharacter { at: 8 }));
    }

    #[test]
    fn length_depends_on_the_kind() {
        let too_long = |size, size_max| Err(NameError::TooLong { size, size_max });
        assert_eq!(check_topic(&"t".repeat(128)), too_long(128, 127));
        assert_eq!(check_topic(&format!("%RETRY%{}", "g".repeat(248))), Ok(()));
        assert_eq!(check_topic(&format!("%DLQ%{}", "g".repeat(251))), too_long(256, 255));
        assert_eq!(check_group(&"g".repeat(120)), Ok(()));
        assert_eq!(check_group(&"g".repeat(121)), too_long(121, 120));
    }

    #[test]
    fn derived_topics_of_the_longest_group_are_legal() {
        let group = GroupName::parse(&"g".repeat(GROUP_SIZE_MAX)).unwrap();
        assert_eq!(TopicName::parse(&group.retry_topic()).unwrap(), group.retry_topic());
        assert_eq!(TopicName::parse(&group.dlq_topic()).unwrap(), group.dlq_topic());
        assert!(is_retry_topic(&group.retry_topic()) && is_dlq_topic(&group.dlq_topic()));
    }

    #[test]
    fn system_names_are_known() {
        assert!(SYSTEM_TOPICS.iter().all(|topic| is_system_topic(topic)));
        assert!(is_system_topic("rmq_sys_REVIVE_LOG_c"));
        assert!(!is_system_topic("TopicTest"));
        assert!(forbidden_to_send(HALF_TOPIC) && !forbidden_to_send(AUTO_CREATE_TOPIC));
        assert!(is_system_group("CID_RMQ_SYS_TRANS") && is_system_group("TOOLS_CONSUMER"));
        assert!(!is_system_group("g1"));
    }
}
