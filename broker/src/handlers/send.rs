//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320).
//!
//! The checks and their codes follow RocketMQ (SendMessageProcessor 5.3.3); what passes goes to the proposer and is
//! answered when its entry is applied. A message with a delay level is stored in the schedule topic until it is due
//! (`leader::delay`). A message that this version can't treat as asked (timed, transactional, delayed in a batch) is refused
//! rather than delivered at once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flotilla_core::rules::{
    TopicDecision, asked_level, decide_topic, delayed_properties, gives_up, group_of_retry_topic,
    group_to_make, retry_times_max,
};
use flotilla_core::{Command, Tables};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{SendMessageRequest, key};
use flotilla_remoting::message::properties;
use flotilla_remoting::message::{MessageError, SysFlag, TransactionType, UniqueId, batch};
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::dead_letter::make_dlq;
use super::respond::bad_header;
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::work::{Messages, NewMessage, SendAnswer, SendWork};
use crate::leader::{LeaderCalls, Locks};
use crate::metrics::{Cause, Metrics};
use crate::registration::Visibility;
use crate::retention::disk::DiskState;
use crate::series::Series;

/// Serves sends. Runs on the leader.
#[derive(Clone)]
pub struct SendHandler {
    pub inner: Arc<Sends>,
}

pub struct Sends {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub leader: Arc<LeaderCalls>,
    pub locks: Arc<Locks>,
    pub visibility: Arc<Visibility>,
    pub disk: Arc<DiskState>,
    pub runtime: Handle,
    pub broker_name: String,
    pub encoder: Encoder,
    pub metrics: Metrics,
    pub series: Arc<Series>,
    /// Name of the topic where delayed messages wait.
    pub schedule_topic: Arc<str>,
    pub region: String,
    pub trace_on: bool,
}

/// Topic flag of a topic that a unit-mode client makes. Source: TopicSysFlag 5.3.3.
const TOPIC_SYS_FLAG_UNIT: i32 = 1;

/// What is wrong with a send.
struct Refusal {
    code: ResponseCode,
    remark: String,
}

fn refusal(code: ResponseCode, remark: impl Into<String>) -> Refusal {
    Refusal { code, remark: remark.into() }
}

/// What has to happen before the messages can be proposed.
enum Checked {
    Ready(Box<Ready>),
    /// A topic or group has to be made first.
    Needs(Command),
}

/// A send that can be proposed.
struct Ready {
    place: Place,
    messages: Messages,
    answer: SendAnswer,
    /// The group whose dead-letter queue takes the message.
    dead_letter_of: Option<String>,
}

/// Where messages are stored.
#[derive(Clone)]
struct Place {
    topic: Arc<str>,
    queue_id: u32,
}

/// Where a send goes after the checks of its topic.
struct Target {
    place: Place,
    /// The queue that the answer names.
    asked_queue: u32,
    /// Set when the message has been tried often enough: its group.
    dead_letter_of: Option<String>,
}

/// A target, or the topic that has to be made first.
enum Aim {
    Found(Target),
    Needs(Command),
}

impl Handler for SendHandler {
    fn handle(&self, call: Call) {
        self.inner.send(call);
    }
}

impl Sends {
    fn send(self: &Arc<Self>, call: Call) {
        let request = match SendMessageRequest::decode_for(call.code(), &call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        match self.check(&call, &request) {
            Ok(Checked::Ready(ready)) => {
                let Ready { place: Place { topic, queue_id }, messages, answer, dead_letter_of } = *ready;
                let dead_letter =
                    dead_letter_of.map(|group| self.metrics.dead_letters(request.topic, &group));
                let series = self.series.topic(&topic);
                let work = SendWork { call, topic, queue_id, messages, answer, series, dead_letter };
                if let Err(work) = self.group.send(Box::new(work)) {
                    self.metrics.rejected(Cause::Busy);
                    work.call.refuse(
                        ResponseCode::SystemBusy,
                        "[OVERLOAD]system busy, the proposer's queue is full",
                    );
                }
            }
            Ok(Checked::Needs(command)) => {
                let this = self.clone();
                self.runtime.spawn(async move { this.create_then_send(call, command).await });
            }
            Err(refusal) => {
                self.metrics.rejected(cause(refusal.code));
                self.refuse(call, refusal);
            }
        }
    }

    /// A refusal names the region, too. Source: SendMessageProcessor.preSend 5.3.3.
    fn refuse(&self, call: Call, refusal: Refusal) {
        let mut response = call.request.reply(refusal.code, Some(refusal.remark));
        response.header.ext.insert(key::MESSAGE_REGION, &self.region);
        response.header.ext.insert(key::TRACE_ON, if self.trace_on { "true" } else { "false" });
        call.reply.send(response);
    }

    /// Makes the topic, waits until clients can find it, and sends.
    async fn create_then_send(self: Arc<Self>, call: Call, command: Command) {
        if let Err(error) = self.leader.propose(command, call.deadline).await {
            return call
                .refuse(ResponseCode::ServiceNotAvailable, format!("topic could not be made: {error}"));
        }
        let topics = self.group.tables().topic_version().counter;
        self.visibility.topics_visible(topics).await;
        if Instant::now() >= call.deadline {
            return call.refuse(
                ResponseCode::ServiceNotAvailable,
                "topic was made, but not in time for this message",
            );
        }
        if self.group.leads() {
            self.send(call);
        } else {
            self.dispatcher.to_leader(call);
        }
    }

    /// Finds topic and queue, or what keeps the send from them.
    fn aim(&self, call: &Call, request: &SendMessageRequest<'_>) -> Result<Aim, Refusal> {
        if self.disk.refuses() {
            return Err(disk_full(self.disk.used_percent()));
        }
        if let Err(error) = names::check_topic(request.topic) {
            return Err(refusal(ResponseCode::InvalidParameter, error.to_string()));
        }
        if names::forbidden_to_send(request.topic) {
            let remark = format!("sending message to topic[{}] is forbidden", request.topic);
            return Err(refusal(ResponseCode::NoPermission, remark));
        }
        let tables = self.group.tables();
        if !tables.settings().broker_permission.is_writable() {
            let remark = format!("the broker[{}] sending message is forbidden", self.broker_name);
            return Err(refusal(ResponseCode::NoPermission, remark));
        }
        let sys_flag = if request.unit_mode { TOPIC_SYS_FLAG_UNIT } else { 0 };
        let decision = decide_topic(
            &tables,
            request.topic,
            request.default_topic,
            request.default_topic_queue_nums,
            sys_flag,
        );
        let topic = match decision {
            TopicDecision::Exists(topic) => topic,
            TopicDecision::Create(config) => return Ok(Aim::Needs(Command::CreateTopic(config))),
            TopicDecision::Unknown => {
                let remark = format!("topic[{}] not exist, apply first please!", request.topic);
                return Err(refusal(ResponseCode::TopicNotExist, remark));
            }
        };
        let queue_id = match u32::try_from(request.queue_id) {
            Ok(queue_id) if queue_id < topic.queue_count() => queue_id,
            Ok(queue_id) => {
                let remark = format!(
                    "request queueId[{queue_id}] is illegal, topic:[{}] queues:[{}] producer group:[{}]",
                    request.topic,
                    topic.queue_count(),
                    request.producer_group
                );
                return Err(refusal(ResponseCode::InvalidParameter, remark));
            }
            // Negative: the broker chooses.
            Err(_) => rand::random_range(0..topic.write_queue_count.max(1)),
        };
        let place = Place { topic: topic.name.clone(), queue_id };
        if !request.batch
            && let Some(group) = group_of_retry_topic(request.topic)
        {
            return self.aim_retry(call, request, &tables, group, place);
        }
        Ok(Aim::Found(Target { place, asked_queue: queue_id, dead_letter_of: None }))
    }

    /// A consumer's own send to its retry topic, which it falls back on when code 36 fails: to the dead-letter queue after
    /// the last try. Source: SendMessageProcessor.handleRetryAndDLQ 5.3.3.
    fn aim_retry(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
        tables: &Tables,
        group_name: &str,
        place: Place,
    ) -> Result<Aim, Refusal> {
        let Some(group) = tables.group(group_name) else {
            if let Some(group) = group_to_make(tables, group_name) {
                return Ok(Aim::Needs(Command::CreateGroup(group)));
            }
            let remark = format!("subscription group not exist, {group_name}");
            return Err(refusal(ResponseCode::SubscriptionGroupNotExist, remark));
        };
        let times_max = retry_times_max(group, call.request.header.version, request.max_reconsume_times);
        let asked_queue = place.queue_id;
        // A group that holds a lock consumes in order: a message that it can't deal with must not overtake the others later.
        // Source: SendMessageProcessor.handleRetryAndDLQ 5.3.3.
        let ordered = self.locks.any_held(tables, group_name);
        if !gives_up(request.reconsume_times.unwrap_or(0), times_max) && !ordered {
            return Ok(Aim::Found(Target { place, asked_queue, dead_letter_of: None }));
        }
        let name = names::dlq_topic(group_name);
        let Some(topic) = tables.topic(&name) else { return Ok(Aim::Needs(make_dlq(&name))) };
        let place = Place { topic: topic.name.clone(), queue_id: 0 };
        Ok(Aim::Found(Target { place, asked_queue, dead_letter_of: Some(group_name.to_owned()) }))
    }

    fn check(&self, call: &Call, request: &SendMessageRequest<'_>) -> Result<Checked, Refusal> {
        match self.aim(call, request)? {
            Aim::Found(target) => self.ready(call, request, target),
            Aim::Needs(command) => Ok(Checked::Needs(command)),
        }
    }

    fn ready(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
        target: Target,
    ) -> Result<Checked, Refusal> {
        let body = &call.request.body;
        let size_max = self.group.tables().settings().message_size_max as usize;
        if body.len() > size_max {
            let remark = format!("message body size {} is over the limit {size_max}", body.len());
            return Err(refusal(ResponseCode::MessageIllegal, remark));
        }
        let Target { place, asked_queue, dead_letter_of } = target;
        let (place, messages, unique_id) = if request.batch {
            let (messages, unique_id) = self.batch(call, request, &place)?;
            (place, messages, unique_id)
        } else {
            let (place, message, unique_id) = self.single(call, request, place, dead_letter_of.is_some())?;
            (place, Messages::One(message), Some(unique_id))
        };
        let answer = SendAnswer::Sent { queue_id: asked_queue, unique_id };
        Ok(Checked::Ready(Box::new(Ready { place, messages, answer, dead_letter_of })))
    }

    /// A single message, and where it is stored: in the schedule topic while it is delayed.
    fn single(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
        place: Place,
        dead_letter: bool,
    ) -> Result<(Place, NewMessage, String), Refusal> {
        let text = request.properties.unwrap_or("");
        let asked = match asked_level(text) {
            Ok(level) => level,
            Err(_) if dead_letter => 0,
            // RocketMQ stumbles over it and answers SYSTEM_ERROR as well.
            Err(error) => {
                let remark = format!("property {} is no delay level: {error}", properties::DELAY);
                return Err(refusal(ResponseCode::SystemError, remark));
            }
        };
        refuse_transaction(request, text, asked)?;
        let level = if dead_letter { 0 } else { asked };
        let unique_id = unique_id(text, call);
        if level <= 0 {
            refuse_timer(text)?;
            let with_mark = dead_letter.then(|| with_property(text, properties::DELAY, "-1"));
            let text = with_mark.as_deref().unwrap_or(text);
            let body = call.request.body.clone();
            let message = self.message(call, request, &place, (request.flag, body), (text, &unique_id))?;
            return Ok((place, message, unique_id));
        }
        let level = self.group.tables().settings().delay_levels.capped(level);
        let text = delayed_properties(text, level, &place.topic, place.queue_id);
        let waiting = Place { topic: self.schedule_topic.clone(), queue_id: level - 1 };
        let body = call.request.body.clone();
        let message = self.message(call, request, &waiting, (request.flag, body), (&text, &unique_id))?;
        Ok((waiting, message, unique_id))
    }

    fn batch(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
        place: &Place,
    ) -> Result<(Messages, Option<String>), Refusal> {
        let (body, text) = (&call.request.body, request.properties.unwrap_or(""));
        refuse_in_batch(request, text)?;
        if names::is_retry_topic(request.topic) {
            return Err(refusal(ResponseCode::MessageIllegal, "batch messages can't go to a retry topic"));
        }
        let mut messages = Vec::new();
        for record in batch::records(body) {
            let record = record
                .map_err(|error| refusal(ResponseCode::MessageIllegal, format!("batch body: {error}")))?;
            refuse_in_batch(request, record.properties)?;
            let unique_id = unique_id(record.properties, call);
            let content = (record.flag, body.slice_ref(record.body));
            messages.push(self.message(call, request, place, content, (record.properties, &unique_id))?);
        }
        if messages.is_empty() {
            return Err(refusal(ResponseCode::MessageIllegal, "the batch is empty"));
        }
        Ok((Messages::Batch(messages), properties::get(text, properties::UNIQUE_KEY).map(str::to_owned)))
    }

    fn message(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
        place: &Place,
        (flag, body): (i32, Bytes),
        (text, unique_id): (&str, &str),
    ) -> Result<NewMessage, Refusal> {
        let mut stored = match properties::get(text, properties::POP_CHECK) {
            Some(_) => properties::without(text, &[properties::POP_CHECK]),
            None => text.to_owned(),
        };
        if properties::get(text, properties::UNIQUE_KEY).is_none() {
            properties::append(&mut stored, properties::UNIQUE_KEY, unique_id);
        }
        let message = NewMessage {
            size: 0,
            flag,
            sys_flag: request.sys_flag,
            born_timestamp: request.born_timestamp,
            born_host: call.caller.address,
            reconsume_times: request.reconsume_times.unwrap_or(0),
            body,
            properties: stored,
            complete: false,
        };
        let size = self.encoder.size(&place.topic, &message).map_err(|error| illegal(&error))?;
        Ok(NewMessage { size, ..message })
    }
}

/// The client's id of the message, or a new one of the same form.
fn unique_id(text: &str, call: &Call) -> String {
    match properties::get(text, properties::UNIQUE_KEY) {
        Some(id) => id.to_owned(),
        None => {
            let id = UniqueId {
                ip: call.caller.address.ip(),
                process: 0,
                loader_hash: rand::random(),
                month_ms: rand::random(),
                counter: rand::random(),
            };
            id.to_string()
        }
    }
}

/// Producers try another broker on this code, and this one again later.
// Source: RocketMQ 5.3 SendMessageProcessor#handlePutMessageResult, SERVICE_NOT_AVAILABLE.
fn disk_full(used_percent: u8) -> Refusal {
    let remark = format!(
        "service not available now. It may be caused by one of the following reasons: the broker's disk is full \
         [{used_percent}%], messages are put to the slave, message store has been shut down, etc."
    );
    refusal(ResponseCode::ServiceNotAvailable, remark)
}

fn illegal(error: &MessageError) -> Refusal {
    refusal(ResponseCode::MessageIllegal, error.to_string())
}

fn cause(code: ResponseCode) -> Cause {
    match code {
        ResponseCode::MessageIllegal => Cause::TooLarge,
        ResponseCode::ServiceNotAvailable => Cause::DiskFull,
        ResponseCode::NoPermission => Cause::Permission,
        ResponseCode::TopicNotExist | ResponseCode::SubscriptionGroupNotExist => Cause::NotFound,
        _ => Cause::Malformed,
    }
}

/// Timers and transactions come with later releases. Storing such a message as an ordinary one would deliver it too early, or
/// before it is committed.
fn refuse_timer(text: &str) -> Result<(), Refusal> {
    let timed = [properties::TIMER_DELAY_SECONDS, properties::TIMER_DELAY_MS, properties::TIMER_DELIVER_MS];
    if timed.iter().any(|timer| properties::get(text, timer).is_some()) {
        let remark = "messages with an arbitrary delay are not supported by this version, delay levels are";
        return Err(refusal(ResponseCode::MessageIllegal, remark));
    }
    Ok(())
}

/// A retried message that still shows TRAN_MSG is an ordinary one. Source: SendMessageProcessor.sendMessage 5.3.3.
fn refuse_transaction(request: &SendMessageRequest<'_>, text: &str, level: i32) -> Result<(), Refusal> {
    let retried = request.reconsume_times.unwrap_or(0) > 0 && level > 0;
    let marked = properties::get(text, properties::TRANSACTION_PREPARED).is_some_and(is_true) && !retried;
    if marked || SysFlag(request.sys_flag).transaction_type() != TransactionType::None {
        let remark = "transactional messages are not supported by this version";
        return Err(refusal(ResponseCode::MessageIllegal, remark));
    }
    Ok(())
}

/// As Java's `Boolean.parseBoolean`.
fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// A batch is stored as a whole in one queue, so its messages can't wait for different times. Java's client refuses a delay in
/// a batch; RocketMQ's broker would deliver the message at once.
fn refuse_in_batch(request: &SendMessageRequest<'_>, text: &str) -> Result<(), Refusal> {
    refuse_transaction(request, text, 0)?;
    refuse_timer(text)?;
    match asked_level(text) {
        Ok(level) if level <= 0 => Ok(()),
        _ => Err(refusal(ResponseCode::MessageIllegal, "messages of a batch can't be delayed")),
    }
}

/// A text in which a property has another value.
fn with_property(text: &str, name: &str, value: &str) -> String {
    let mut text = properties::without(text, &[name]);
    properties::append(&mut text, name, value);
    text
}

/// The codes that this handler serves.
pub const CODES: [RequestCode; 3] =
    [RequestCode::SendMessage, RequestCode::SendMessageV2, RequestCode::SendBatchMessage];
