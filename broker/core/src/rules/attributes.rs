//! Attributes of topics and groups: changed one by one, by a sign before the key; `+` sets, `-` removes.
// Source: RocketMQ 5.3 AttributeParser, AttributeUtil, TopicAttributes, SubscriptionGroupAttributes.

use std::collections::BTreeMap;

/// Attributes by key, without sign.
pub type Attributes = BTreeMap<String, String>;

/// An attribute that may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub key: &'static str,
    /// False when it is fixed once the topic exists.
    pub changeable: bool,
    pub values: &'static [&'static str],
}

/// What a topic may carry. `message.type` is for clients of the 5.x protocol.
/// LIMIT: RocketMQ also knows batch queues, compaction and a reserve time of tiered storage: setting these is refused.
pub const TOPIC_ATTRIBUTES: &[Known] = &[
    Known { key: "queue.type", changeable: false, values: &["SimpleCQ"] },
    Known { key: "cleanup.policy", changeable: false, values: &["DELETE"] },
    Known {
        key: MESSAGE_TYPE,
        changeable: true,
        values: &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", MIXED],
    },
];

/// What a group may carry: nothing yet.
pub const GROUP_ATTRIBUTES: &[Known] = &[];

/// Key of the kind of messages that a topic holds.
pub const MESSAGE_TYPE: &str = "message.type";
/// All kinds of messages in one topic.
pub const MIXED: &str = "MIXED";

/// Why attributes can't be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error("add/alter attribute format is wrong: {0}")]
    BadSet(String),
    #[error("delete attribute format is wrong: {0}")]
    BadRemoval(String),
    #[error("key duplication: {0}")]
    Twice(String),
    #[error("kv string format wrong.")]
    BadKey,
    #[error("wrong format key: {0}")]
    NoSign(String),
    #[error("only add attribute is supported while creating topic. key: {0}")]
    RemovalOnCreate(String),
    #[error("attempt to delete a nonexistent key: {0}")]
    Absent(String),
    #[error("unsupported key: {0}")]
    Unsupported(String),
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Unchangeable(String),
    #[error("value is not in set: {0:?}")]
    NotOneOf(&'static [&'static str]),
}

/// Reads the text of code 17: `+key=value,-key`. Keys keep their sign, as they have it in the bodies of codes 18, 200 and 225.
///
/// # Errors
/// The first part that has the wrong form or a key that comes twice.
pub fn parse_attribute_changes(text: &str) -> Result<Attributes, AttributeError> {
    let mut changes = Attributes::new();
    if text.is_empty() {
        return Ok(changes);
    }
    for part in text.split(',') {
        let (key, value) = match part.split_once('=') {
            Some((key, _)) if !key.contains('+') => return Err(AttributeError::BadSet(key.to_owned())),
            Some((key, value)) => (key, value),
            None if !part.contains('-') => return Err(AttributeError::BadRemoval(part.to_owned())),
            None => (part, ""),
        };
        if changes.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(AttributeError::Twice(key.to_owned()));
        }
    }
    Ok(changes)
}

/// The attributes after signed changes; `current` is absent while there is no such topic or group.
///
/// # Errors
/// The first change that is not allowed; none is made then.
pub fn change_attributes(
    known: &'static [Known],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, AttributeError> {
    let mut result = current.cloned().unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    for (signed, value) in changes {
        let mut rest = signed.chars();
        let sign = rest.next();
        let key = rest.as_str();
        if key.is_empty() || key.contains(['+', '-']) {
            return Err(AttributeError::BadKey);
        }
        if !seen.insert(key) {
            return Err(AttributeError::Twice(key.to_owned()));
        }
        let name = || key.to_owned();
        let removes = match (sign, current) {
            (Some('+'), _) => false,
            (_, None) => return Err(AttributeError::RemovalOnCreate(name())),
            (Some('-'), Some(current)) if !current.contains_key(key) => {
                return Err(AttributeError::Absent(name()));
            }
            (Some('-'), Some(_)) => true,
            (_, Some(_)) => return Err(AttributeError::NoSign(name())),
        };
        let attribute = known.iter().find(|known| known.key == key);
        let attribute = attribute.ok_or_else(|| AttributeError::Unsupported(name()))?;
        if current.is_some() && !attribute.changeable {
            return Err(AttributeError::Unchangeable(name()));
        }
        if removes {
            result.remove(key);
        } else {
            if !attribute.values.contains(&value.as_str()) {
                return Err(AttributeError::NotOneOf(attribute.values));
            }
            result.insert(name(), value.clone());
        }
    }
    Ok(result)
}
