//! Texts of pop consumption: receipt handle and offset lists; recall handle of timer messages.
//!
//! A receipt handle has eight fields, separated by one space: start offset, pop time, invisible time, revive queue, mark,
//! broker name, queue, message offset; the last may be absent. The lists of a pop response join entries by `;`.
//! Source: RocketMQ 5.3 ExtraInfoUtil, RecallMessageHandle; vectors of kinds `pop_handle`, `pop_response_field`,
//! `recall_handle`.

use std::fmt;
use std::str::FromStr;

use crate::base64;

/// Which topic a popped message lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicMark {
    /// `0`, the topic itself.
    Normal,
    /// `1`, the retry topic `%RETRY%group_topic`.
    RetryV1,
    /// `2`, the retry topic `%RETRY%group+topic`.
    RetryV2,
}

impl TopicMark {
    /// As it stands in handles and requests.
    pub fn text(self) -> &'static str {
        match self {
            TopicMark::Normal => "0",
            TopicMark::RetryV1 => "1",
            TopicMark::RetryV2 => "2",
        }
    }

    fn parse(text: &str) -> Option<TopicMark> {
        match text {
            "0" => Some(TopicMark::Normal),
            "1" => Some(TopicMark::RetryV1),
            "2" => Some(TopicMark::RetryV2),
            _ => None,
        }
    }
}

/// A text of pop consumption that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: field {field} is missing or can't be read")]
pub struct PopTextError {
    /// Which text.
    pub text: &'static str,
    /// Number of the field in its entry, from 0.
    pub field: usize,
}

/// Receipt handle (`POP_CK`, `extraInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptHandle {
    /// Queue offset of the first message of the pop.
    pub start_offset: i64,
    /// When the message was handed out, in ms since 1970.
    pub pop_time: i64,
    /// How long it is hidden, in ms.
    pub invisible_time_ms: i64,
    /// Queue of the revive topic; 999 for an ordered pop.
    pub revive_queue_id: i32,
    /// Which topic the message lies in.
    pub mark: TopicMark,
    /// Broker name.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
    /// Queue offset of the message.
    pub message_offset: Option<i64>,
}

/// Fields of an entry, taken one by one.
struct Fields<'a> {
    text: &'static str,
    parts: std::str::Split<'a, char>,
    field: usize,
}

impl<'a> Fields<'a> {
    fn new(text: &'static str, entry: &'a str) -> Fields<'a> {
        Fields { text, parts: entry.split(' '), field: 0 }
    }

    fn error<T>(&self) -> Result<T, PopTextError> {
        Err(PopTextError { text: self.text, field: self.field })
    }

    /// The next field by `read`, which tells whether it can be read.
    fn next<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, PopTextError> {
        match self.parts.next().and_then(read) {
            Some(value) => {
                self.field += 1;
                Ok(value)
            }
            None => self.error(),
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T, PopTextError> {
        self.next(|text| text.parse().ok())
    }

    fn end(mut self) -> Result<(), PopTextError> {
        if self.parts.next().is_none() { Ok(()) } else { self.error() }
    }
}

impl FromStr for ReceiptHandle {
    type Err = PopTextError;

    fn from_str(text: &str) -> Result<ReceiptHandle, PopTextError> {
        let mut fields = Fields::new("receipt handle", text);
        let mut handle = ReceiptHandle {
            start_offset: fields.number()?,
            pop_time: fields.number()?,
            invisible_time_ms: fields.number()?,
            revive_queue_id: fields.number()?,
            mark: fields.next(TopicMark::parse)?,
            broker_name: fields.next(|name| Some(name.to_owned()))?,
            queue_id: fields.number()?,
            message_offset: None,
        };
        if let Some(offset) = fields.parts.next() {
            let Ok(offset) = offset.parse() else { return fields.error() };
            handle.message_offset = Some(offset);
        }
        fields.end()?;
        Ok(handle)
    }
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReceiptHandle { start_offset, pop_time, invisible_time_ms, revive_queue_id, .. } = self;
        let (mark, broker_name, queue_id) = (self.mark.text(), &self.broker_name, self.queue_id);
        write!(
            f,
            "{start_offset} {pop_time} {invisible_time_ms} {revive_queue_id} {mark} {broker_name} {queue_id}"
        )?;
        match self.message_offset {
            Some(offset) => write!(f, " {offset}"),
            None => Ok(()),
        }
    }
}

/// Entry of `startOffsetInfo`: first queue offset of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOffset {
    /// Which topic.
    pub mark: TopicMark,
    /// Queue.
    pub queue_id: i32,
    /// Queue offset.
    pub offset: i64,
}

/// Entry of `msgOffsetInfo`: queue offsets of the messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageOffsets {
    /// Which topic.
    pub mark: TopicMark,
    /// Queue.
    pub queue_id: i32,
    /// Queue offsets.
    pub offsets: Vec<i64>,
}

/// Entry of `orderCountInfo`: attempts of a queue or of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCount {
    /// Which topic.
    pub mark: TopicMark,
    /// Queue.
    pub queue_id: i32,
    /// Queue offset of the message, `None` for the whole queue.
    pub offset: Option<i64>,
    /// Attempts.
    pub count: i32,
}

/// An entry of one of the three lists.
pub trait PopListEntry: Sized {
    /// Reads one entry.
    ///
    /// # Errors
    /// Which field can't be read.
    fn read(entry: &str) -> Result<Self, PopTextError>;

    /// Appends one entry.
    fn write(&self, out: &mut String);
}

/// Reads a list; an empty text is an empty list.
///
/// # Errors
/// Which field of the first bad entry can't be read.
pub fn parse_list<T: PopListEntry>(text: &str) -> Result<Vec<T>, PopTextError> {
    text.split(';').filter(|entry| !entry.is_empty()).map(T::read).collect()
}

/// Writes a list.
pub fn write_list<T: PopListEntry>(entries: &[T]) -> String {
    let mut out = String::new();
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(';');
        }
        entry.write(&mut out);
    }
    out
}

impl PopListEntry for StartOffset {
    fn read(entry: &str) -> Result<StartOffset, PopTextError> {
        let mut fields = Fields::new("startOffsetInfo", entry);
        let (mark, queue_id, offset) = (fields.next(TopicMark::parse)?, fields.number()?, fields.number()?);
        fields.end()?;
        Ok(StartOffset { mark, queue_id, offset })
    }

    fn write(&self, out: &mut String) {
        *out += &format!("{} {} {}", self.mark.text(), self.queue_id, self.offset);
    }
}

impl PopListEntry for MessageOffsets {
    fn read(entry: &str) -> Result<MessageOffsets, PopTextError> {
        let mut fields = Fields::new("msgOffsetInfo", entry);
        let (mark, queue_id) = (fields.next(TopicMark::parse)?, fields.number()?);
        let offsets = fields.next(|list| list.split(',').map(|offset| offset.parse().ok()).collect())?;
        fields.end()?;
        Ok(MessageOffsets { mark, queue_id, offsets })
    }

    fn write(&self, out: &mut String) {
        let offsets: Vec<String> = self.offsets.iter().map(i64::to_string).collect();
        *out += &format!("{} {} {}", self.mark.text(), self.queue_id, offsets.join(","));
    }
}

impl PopListEntry for OrderCount {
    fn read(entry: &str) -> Result<OrderCount, PopTextError> {
        let mut fields = Fields::new("orderCountInfo", entry);
        let mark = fields.next(TopicMark::parse)?;
        let (queue_id, offset) = fields.next(|place| match place.strip_prefix("qo") {
            None => Some((place.parse().ok()?, None)),
            Some(place) => {
                let (queue_id, offset) = place.split_once('%')?;
                Some((queue_id.parse().ok()?, Some(offset.parse().ok()?)))
            }
        })?;
        let count = fields.number()?;
        fields.end()?;
        Ok(OrderCount { mark, queue_id, offset, count })
    }

    fn write(&self, out: &mut String) {
        let place = match self.offset {
            None => self.queue_id.to_string(),
            Some(offset) => format!("qo{}%{offset}", self.queue_id),
        };
        *out += &format!("{} {place} {}", self.mark.text(), self.count);
    }
}

/// Handle to recall a timer message (370): URL-safe base64 of `v1 topic brokerName timestamp uniqueId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker_name: String,
    /// When the message is due, in ms since 1970.
    pub timestamp: i64,
    /// Unique id of the message.
    pub message_id: String,
}

impl FromStr for RecallHandle {
    type Err = PopTextError;

    fn from_str(text: &str) -> Result<RecallHandle, PopTextError> {
        const TEXT: &str = "recall handle";
        let text = base64::decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(PopTextError { text: TEXT, field: 0 })?;
        let mut fields = Fields::new(TEXT, &text);
        fields.next(|version| (version == "v1").then_some(()))?;
        let owned = |text: &str| Some(text.to_owned());
        let handle = RecallHandle {
            topic: fields.next(owned)?,
            broker_name: fields.next(owned)?,
            timestamp: fields.number()?,
            message_id: fields.next(owned)?,
        };
        fields.end()?;
        Ok(handle)
    }
}

impl fmt::Display for RecallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecallHandle { topic, broker_name, timestamp, message_id } = self;
        let text = format!("v1 {topic} {broker_name} {timestamp} {message_id}");
        f.write_str(&base64::encode_url_safe(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T: std::fmt::Debug>(outcome: Result<T, PopTextError>) -> Option<usize> {
        outcome.err().map(|error| error.field)
    }

    #[test]
    fn errors_name_the_field() {
        assert_eq!(field("1 2 3 x".parse::<ReceiptHandle>()), Some(3));
        assert_eq!(field("1 2 3 4 7 b 1".parse::<ReceiptHandle>()), Some(4));
        assert_eq!(field("1 2 3 4 0 b 1 2 3".parse::<ReceiptHandle>()), Some(7));
        assert_eq!(field(parse_list::<StartOffset>("0 0 1;0")), Some(1));
        assert_eq!(field(parse_list::<MessageOffsets>("0 0 1,,2")), Some(2));
        assert_eq!(field(parse_list::<OrderCount>("0 qo0 2")), Some(1));
        assert_eq!(field("*".parse::<RecallHandle>()), Some(0));
    }

    #[test]
    fn an_empty_list_is_empty() {
        assert_eq!(parse_list::<OrderCount>(""), Ok(Vec::new()));
        assert_eq!(write_list::<OrderCount>(&[]), "");
    }
}
