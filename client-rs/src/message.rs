//! A message to send.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::limits::PROPERTIES_SIZE_MAX;
use flotilla_remoting::message::properties::{self, NAME_SEPARATOR, PROPERTY_SEPARATOR};
use flotilla_remoting::names;

use crate::error::{ClientError, Result};
use crate::unique_id;

/// A message to send. Cloning is cheap for the body and copies the rest.
///
/// ```
/// use flotilla_client::Message;
/// let message = Message::new("orders", "paid").tag("eu").key("order-17").property("customer", "4711");
/// assert_eq!(message.get_property("customer"), Some("4711"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    topic: String,
    body: Bytes,
    flag: i32,
    properties: Vec<(Cow<'static, str>, String)>,
}

/// Properties that the system sets; an application that set them would break retries, timers or transactions.
const RESERVED: [&str; 12] = [
    properties::RETRY_TOPIC,
    properties::REAL_TOPIC,
    properties::REAL_QUEUE_ID,
    properties::TRANSACTION_PREPARED,
    properties::PRODUCER_GROUP,
    properties::MIN_OFFSET,
    properties::MAX_OFFSET,
    properties::ORIGIN_MESSAGE_ID,
    properties::POP_CHECK,
    properties::TIMER_OUT_MS,
    properties::CRC32,
    properties::DLQ_ORIGIN_TOPIC,
];

impl Message {
    /// A message with neither tag nor keys.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Message {
        Message { topic: topic.into(), body: body.into(), flag: 0, properties: Vec::new() }
    }

    /// Sets the tag: what consumers select by.
    #[must_use]
    pub fn tag(self, tag: impl Into<String>) -> Message {
        self.with(properties::TAGS, tag.into())
    }

    /// Adds a key: what messages are looked up by. A key must not contain spaces.
    #[must_use]
    pub fn key(self, key: impl AsRef<str>) -> Message {
        let keys = match self.get_property(properties::KEYS) {
            Some(keys) => format!("{keys} {}", key.as_ref()),
            None => key.as_ref().to_owned(),
        };
        self.with(properties::KEYS, keys)
    }

    /// Sets a property of the application.
    #[must_use]
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Message {
        self.with(name.into(), value)
    }

    /// Sets the opaque flag that consumers get as it is.
    #[must_use]
    pub fn flag(mut self, flag: i32) -> Message {
        self.flag = flag;
        self
    }

    /// Delivers after the delay of a level (1 to 18: 1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h unless the
    /// broker says otherwise).
    #[must_use]
    pub fn delay_level(self, level: u32) -> Message {
        self.with(properties::DELAY, level.to_string())
    }

    /// Delivers at a time, in ms since 1970. RocketMQ 5 only so far: Flotilla refuses it with MESSAGE_ILLEGAL.
    #[must_use]
    pub fn deliver_at_ms(self, time_ms: i64) -> Message {
        self.with(properties::TIMER_DELIVER_MS, time_ms.to_string())
    }

    /// Delivers after a delay, counted by the broker from the arrival, to the second. RocketMQ 5 only so far: Flotilla refuses it
    /// with MESSAGE_ILLEGAL.
    #[must_use]
    pub fn deliver_after(self, delay: Duration) -> Message {
        self.with(properties::TIMER_DELAY_MS, delay.as_millis().to_string())
    }

    /// Names the entity whose messages are kept in order; `send_by_key` does both at once.
    #[must_use]
    pub fn sharding_key(self, key: impl Into<String>) -> Message {
        self.with(properties::SHARDING_KEY, key.into())
    }

    /// Topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Opaque flag of the application.
    pub fn get_flag(&self) -> i32 {
        self.flag
    }

    /// Value of a property.
    pub fn get_property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Tag.
    pub fn get_tag(&self) -> Option<&str> {
        self.get_property(properties::TAGS)
    }

    /// Unique id, once it was given one by a send.
    pub fn unique_id(&self) -> Option<&str> {
        self.get_property(properties::UNIQUE_KEY)
    }

    /// Claims that the broker will hold the message back: such messages can't be sent in batches.
    pub fn is_delayed(&self) -> bool {
        const NAMES: [&str; 4] = [
            properties::DELAY,
            properties::TIMER_DELAY_MS,
            properties::TIMER_DELAY_SECONDS,
            properties::TIMER_DELIVER_MS,
        ];
        NAMES.iter().any(|name| self.get_property(name).is_some())
    }

    /// Sets a property without asking whether it is reserved.
    pub(crate) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Message {
        self.set(name, value);
        self
    }

    /// [`Message::with`] in place.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.properties.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.properties.push((name, value)),
        }
    }

    /// Gives it a unique id unless it has one.
    pub(crate) fn ensure_unique_id(&mut self) {
        if self.unique_id().is_none() {
            self.properties.push((properties::UNIQUE_KEY.into(), unique_id::next().to_string()));
        }
    }

    /// Takes the unique id out of a message that won't be sent any more; empty without one.
    pub(crate) fn take_unique_id(&mut self) -> String {
        let id = self.properties.iter_mut().find(|(name, _)| name == properties::UNIQUE_KEY);
        id.map(|(_, value)| std::mem::take(value)).unwrap_or_default()
    }

    /// Bytes of the property text.
    pub(crate) fn properties_size(&self) -> usize {
        self.properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
    }

    /// The property text of the wire.
    pub(crate) fn properties_text(&self) -> String {
        let mut text = String::with_capacity(self.properties_size());
        for (name, value) in &self.properties {
            properties::append(&mut text, name, value);
        }
        text
    }

    /// Refuses what a broker would refuse, or would take and lose.
    ///
    /// # Errors
    /// `Invalid`, with the reason.
    pub(crate) fn check(&self, body_size_max: usize) -> Result<()> {
        let invalid = |reason: String| Err(ClientError::Invalid(reason));
        if let Err(error) = names::check_topic(&self.topic) {
            return invalid(error.to_string());
        }
        if names::forbidden_to_send(&self.topic) {
            return invalid(format!("topic {} belongs to the system", self.topic));
        }
        if self.body.is_empty() {
            return invalid("the body is empty".into());
        }
        if self.body.len() > body_size_max {
            return invalid(format!("body of {} bytes exceeds {body_size_max}", self.body.len()));
        }
        let mut size = 0;
        for (name, value) in &self.properties {
            if name.is_empty() || value.is_empty() {
                return invalid(format!("property {name:?} has no name or no value: it would be lost"));
            }
            if [&**name, value].iter().any(|text| text.contains([NAME_SEPARATOR, PROPERTY_SEPARATOR])) {
                return invalid(format!("property {name:?} contains a separator (0x01 or 0x02)"));
            }
            size += name.len() + value.len() + 2;
        }
        if size > PROPERTIES_SIZE_MAX {
            return invalid(format!("properties of {size} bytes exceed {PROPERTIES_SIZE_MAX}"));
        }
        Ok(())
    }

    /// Refuses properties that only the system may set; for messages that come from an application.
    ///
    /// # Errors
    /// `Invalid`, with the name.
    pub(crate) fn check_reserved(&self) -> Result<()> {
        match self.properties.iter().find(|(name, _)| RESERVED.contains(&&**name)) {
            Some((name, _)) => Err(ClientError::Invalid(format!("property {name} is set by the system"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_on_the_way_is_refused() {
        let good = Message::new("t", "b").tag("a").key("k1").key("k2");
        assert_eq!(good.get_property("KEYS"), Some("k1 k2"));
        good.check(10).unwrap();
        let wrong = [
            Message::new("t", ""),
            Message::new("", "b"),
            Message::new("t x", "b"),
            Message::new("SCHEDULE_TOPIC_XXXX", "b"),
            Message::new("t", "12345678901"),
            good.clone().property("a", ""),
            good.clone().property("a\u{1}", "b"),
            good.clone().property("a", "x\u{2}"),
            good.clone().property("a", "x".repeat(40_000)),
        ];
        for message in wrong {
            assert!(matches!(message.check(10), Err(ClientError::Invalid(_))), "{message:?}");
        }
        assert!(good.property("REAL_TOPIC", "x").check_reserved().is_err());
    }

    #[test]
    fn a_unique_id_is_given_once() {
        let mut message = Message::new("t", "b");
        message.ensure_unique_id();
        let id = message.unique_id().unwrap().to_owned();
        message.ensure_unique_id();
        assert_eq!(message.unique_id(), Some(id.as_str()));
        assert_eq!(message.properties_text(), format!("UNIQ_KEY\u{1}{id}\u{2}"));
    }
}
