//! Property text of a message: `name 0x01 value 0x02`, repeated; the last 0x02 may be missing.
//!
//! Rules of the official decoder: pieces between 0x02 that are shorter than three characters are ignored; the first 0x01
//! splits name and value, both not empty; of equal names the last wins.
//! Source: RocketMQ 5.3 MessageDecoder.string2messageProperties, MessageConst; vectors of kind `properties`.

use std::collections::BTreeMap;

/// Between name and value.
pub const NAME_SEPARATOR: char = '\u{1}';
/// Behind each property.
pub const PROPERTY_SEPARATOR: char = '\u{2}';

/// Shortest piece that can be a property: a name, the separator and a value.
const PIECE_SIZE_MIN: usize = 3;

/// All properties in their order, repeats included.
pub fn iter(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    text.split(PROPERTY_SEPARATOR).filter_map(|piece| {
        // The rule counts characters; a name and a value of one character each are already three.
        if piece.len() < PIECE_SIZE_MIN {
            return None;
        }
        let (name, value) = piece.split_once(NAME_SEPARATOR)?;
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// Value of a property; of several the last.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).rev().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
}

/// All properties as a map.
pub fn to_map(text: &str) -> BTreeMap<&str, &str> {
    iter(text).collect()
}

/// Appends a property to a text, with the separator that the text may lack before it.
pub fn append(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() && !text.ends_with(PROPERTY_SEPARATOR) {
        text.push(PROPERTY_SEPARATOR);
    }
    text.push_str(name);
    text.push(NAME_SEPARATOR);
    text.push_str(value);
    text.push(PROPERTY_SEPARATOR);
}

/// The text without all properties of these names; pieces that are no property are dropped too.
pub fn without(text: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for (name, value) in iter(text).filter(|(name, _)| !names.contains(name)) {
        append(&mut out, name, value);
    }
    out
}

/// The text of a list of properties.
pub fn encode<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in properties {
        append(&mut text, name, value);
    }
    text
}

/// Defines a property name.
macro_rules! names {
    ($($(#[$meta:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$meta])* pub const $constant: &str = $name;)*
    };
}

names! {
    /// Index keys, separated by one space.
    KEYS = "KEYS";
    /// The tag.
    TAGS = "TAGS";
    /// Whether the client waits for the store.
    WAIT = "WAIT";
    /// Delay level, decimal.
    DELAY = "DELAY";
    /// Original topic of a retried message.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// Original topic of a delayed, half or timer message.
    REAL_TOPIC = "REAL_TOPIC";
    /// Original queue of a delayed, half or timer message.
    REAL_QUEUE_ID = "REAL_QID";
    /// `true` on half messages.
    TRANSACTION_PREPARED = "TRAN_MSG";
    /// Producer group of a half message.
    PRODUCER_GROUP = "PGROUP";
    /// First offset of the queue, added by clients.
    MIN_OFFSET = "MIN_OFFSET";
    /// Last offset of the queue, added by clients.
    MAX_OFFSET = "MAX_OFFSET";
    /// First offset id of a retried message.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// Attempts, sent by a client that retries by itself.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// Most attempts, sent likewise.
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// Region of the broker, added by it.
    MESSAGE_REGION = "MSG_REGION";
    /// Whether traces are wanted, added by the broker.
    TRACE_ON = "TRACE_ON";
    /// Cluster, added by the broker.
    CLUSTER = "CLUSTER";
    /// Unique id of the client.
    UNIQUE_KEY = "UNIQ_KEY";
    /// Seconds before the first transaction check.
    CHECK_IMMUNITY_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Original half-queue offset of a half message put back.
    TRANSACTION_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// Transaction id on half messages.
    TRANSACTION_ID = "__transactionId__";
    /// Number of transaction checks.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// Namespace.
    INSTANCE_ID = "INSTANCE_ID";
    /// Request-reply: id of the request.
    CORRELATION_ID = "CORRELATION_ID";
    /// Request-reply: client id of the requester.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// Request-reply: time to live in ms.
    TTL = "TTL";
    /// Request-reply: when the request arrived.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// Request-reply: when the reply was pushed.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// `reply` on replies.
    MESSAGE_TYPE = "MSG_TYPE";
    /// Receipt handle of a popped message.
    POP_CHECK = "POP_CK";
    /// Offset of the pop check point.
    POP_CHECK_OFFSET = "POP_CK_OFFSET";
    /// Time of the first pop.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// Sharding key of ordered messages.
    SHARDING_KEY = "__SHARDINGKEY";
    /// Number of messages in an inner batch.
    INNER_NUM = "INNER_NUM";
    /// Base offset of an inner batch.
    INNER_BASE = "INNER_BASE";
    /// Timer request: relative, in s.
    TIMER_DELAY_SECONDS = "TIMER_DELAY_SEC";
    /// Timer request: relative, in ms.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// Timer request: absolute, in ms since 1970.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// Timer: when it is due, in ms since 1970.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// Timer: unique id of the message to cancel.
    TIMER_DELETE_UNIQUE_KEY = "TIMER_DEL_UNIQKEY";
    /// CRC over the record.
    CRC32 = "__CRC32#";
    /// Original topic of a dead letter.
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    /// Original offset id of a dead letter.
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_wins_and_appending_mends_the_end() {
        let mut text = "a\u{1}1\u{2}a\u{1}2".to_owned();
        assert_eq!(get(&text, "a"), Some("2"));
        append(&mut text, "b", "3");
        assert_eq!(text, "a\u{1}1\u{2}a\u{1}2\u{2}b\u{1}3\u{2}");
        assert_eq!(to_map(&text), BTreeMap::from([("a", "2"), ("b", "3")]));
        assert_eq!(without(&text, &["a"]), "b\u{1}3\u{2}");
        assert_eq!(encode([("a", "1")]), "a\u{1}1\u{2}");
    }

    #[test]
    fn pieces_that_are_no_property_are_ignored() {
        assert_eq!(iter("\u{2}\u{1}\u{2}ab\u{2}abc\u{2}\u{1}xx\u{2}x\u{1}").count(), 0);
        assert_eq!(get("", "a"), None);
    }
}
