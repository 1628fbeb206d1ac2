//! What the client of the tests sends and gets: messages, pulls, their answers, failures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use flotilla_remoting::headers::{
    OffsetResponse, PullMessageRequest, PullMessageResponse, PullSysFlag, SendMessageRequest,
    SendMessageResponse,
};
use flotilla_remoting::message::batch::{BatchRecord, encode_record};
use flotilla_remoting::message::properties;
use flotilla_remoting::{ExtFields, Frame, ResponseCode};

use super::settings::BROKER;
use super::stored::{Stored, decode};

/// Why a request has no successful answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Answered with another code than success.
    #[error("code {code}: {remark}")]
    Refused { code: i32, remark: String },
    /// No byte of it has left.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Sent, and no answer: it may have taken effect.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The answer can't be read.
    #[error("bad answer: {0}")]
    Answer(String),
}

impl Failure {
    /// The code of a refusal.
    pub fn code(&self) -> Option<i32> {
        match self {
            Failure::Refused { code, .. } => Some(*code),
            Failure::NotSent(_) | Failure::Unknown(_) | Failure::Answer(_) => None,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub queue: i32,
    pub body: Bytes,
    pub properties: String,
    pub flag: i32,
    /// Template of the topic when it has to be made.
    pub default_topic: &'static str,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: &str, queue: i32, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.to_owned(),
            queue,
            body: body.into(),
            properties: String::new(),
            flag: 0,
            default_topic: "TBW102",
        }
    }

    /// With one more property.
    pub fn with(mut self, name: &str, value: &str) -> Message {
        properties::append(&mut self.properties, name, value);
        self
    }
}

/// A send's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub id: String,
    pub queue: i32,
    pub offset: i64,
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct Pull<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue: i32,
    pub offset: i64,
    pub messages_max: i32,
    /// Offset to commit along.
    pub commit: Option<i64>,
    /// How long it may be held; zero asks for an answer at once.
    pub hold: Duration,
    /// Subscription sent along; without it the group's own counts.
    pub subscription: Option<&'a str>,
}

impl<'a> Pull<'a> {
    /// All messages from an offset on, at once, with the subscription `*`.
    pub fn from(topic: &'a str, queue: i32, offset: i64) -> Pull<'a> {
        Pull {
            group: "reader",
            topic,
            queue,
            offset,
            messages_max: 32,
            commit: None,
            hold: Duration::ZERO,
            subscription: Some("*"),
        }
    }

    /// The request's header fields.
    pub fn ext(&self) -> ExtFields {
        let mut flags = 0;
        if self.commit.is_some() {
            flags |= PullSysFlag::COMMIT_OFFSET;
        }
        if !self.hold.is_zero() {
            flags |= PullSysFlag::SUSPEND;
        }
        if self.subscription.is_some() {
            flags |= PullSysFlag::SUBSCRIPTION;
        }
        let plain =
            PullMessageRequest::plain(self.group, self.topic, self.queue, self.offset, self.messages_max);
        let header = PullMessageRequest {
            sys_flag: flags,
            commit_offset: self.commit.unwrap_or(0),
            suspend_timeout_ms: i64::try_from(self.hold.as_millis()).unwrap_or(i64::MAX),
            subscription: self.subscription,
            broker_name: Some(BROKER),
            ..plain
        };
        header.encode()
    }
}

/// A pull's answer with one of the codes 0, 19, 20 and 21.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub code: ResponseCode,
    pub next: i64,
    pub min: i64,
    pub max: i64,
    pub messages: Vec<Stored>,
}

/// Any other code than success is a failure.
pub fn succeeded(answer: Frame) -> Result<Frame, Failure> {
    if answer.header.code == ResponseCode::Success.as_i32() {
        return Ok(answer);
    }
    let remark = answer.header.remark.unwrap_or_default();
    Err(Failure::Refused { code: answer.header.code, remark })
}

/// Wants a refusal with this code.
pub fn refused_with<T: std::fmt::Debug>(
    outcome: Result<T, Failure>,
    code: ResponseCode,
) -> anyhow::Result<String> {
    match outcome {
        Err(Failure::Refused { code: found, remark }) if found == code.as_i32() => Ok(remark),
        other => bail!("expected {code:?} ({}), found {other:?}", code.as_i32()),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is beyond 1970");
    i64::try_from(age.as_millis()).expect("the clock is before the year 292 million")
}

/// Body of a batch send.
pub fn batch_body(messages: &[Message]) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    for message in messages {
        let (flag, properties) = (message.flag, message.properties.as_str());
        let record = BatchRecord { flag, body: &message.body, properties };
        encode_record(&record, &mut body).map_err(|error| Failure::NotSent(error.to_string()))?;
    }
    Ok(body.freeze())
}

/// Header of a send.
pub fn send_header(message: &Message, batch: bool) -> SendMessageRequest<'_> {
    SendMessageRequest {
        producer_group: "tests",
        topic: &message.topic,
        default_topic: message.default_topic,
        default_topic_queue_nums: 4,
        queue_id: message.queue,
        sys_flag: 0,
        born_timestamp: now_ms(),
        flag: message.flag,
        properties: Some(&message.properties),
        reconsume_times: Some(0),
        unit_mode: false,
        batch,
        max_reconsume_times: None,
        broker_name: Some(BROKER),
    }
}

/// Answer of a send.
pub fn sent(answer: &Frame) -> Result<Sent, Failure> {
    let header = SendMessageResponse::decode(&answer.header.ext);
    let header = header.map_err(|error| Failure::Answer(error.to_string()))?;
    Ok(Sent { id: header.message_id.to_owned(), queue: header.queue_id, offset: header.queue_offset })
}

/// Answer of a request for an offset.
pub fn offset(answer: &Frame) -> Result<i64, Failure> {
    let header = OffsetResponse::decode(&answer.header.ext);
    Ok(header.map_err(|error| Failure::Answer(error.to_string()))?.offset)
}

/// Answer of a pull.
pub fn pulled(answer: Frame) -> Result<Pulled, Failure> {
    let code = answer.header.response_code();
    match code {
        ResponseCode::Success
        | ResponseCode::PullNotFound
        | ResponseCode::PullRetryImmediately
        | ResponseCode::PullOffsetMoved => {}
        other => {
            let remark = answer.header.remark.unwrap_or_default();
            return Err(Failure::Refused { code: other.as_i32(), remark });
        }
    }
    let header = PullMessageResponse::decode(&answer.header.ext);
    let header = header.map_err(|error| Failure::Answer(error.to_string()))?;
    let messages = decode(&answer.body).map_err(|error| Failure::Answer(format!("{error:#}")))?;
    Ok(Pulled {
        code,
        next: header.next_begin_offset,
        min: header.min_offset,
        max: header.max_offset,
        messages,
    })
}
