//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320).
//!
//! The checks and their codes follow RocketMQ (SendMessageProcessor 5.3.3); what passes goes to the proposer and is
//! answered when its entry is applied. A message that this version can't treat as asked (delayed, timed, transactional)
//! is refused rather than delivered at once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flotilla_core::Command;
use flotilla_core::rules::{TopicDecision, decide_topic};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::SendMessageRequest;
use flotilla_remoting::message::properties;
use flotilla_remoting::message::{MessageError, SysFlag, TransactionType, UniqueId, batch};
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::respond::bad_header;
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::work::{Messages, NewMessage, SendWork};
use crate::leader::LeaderCalls;
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
    pub visibility: Arc<Visibility>,
    pub disk: Arc<DiskState>,
    pub runtime: Handle,
    pub broker_name: String,
    pub encoder: Encoder,
    pub metrics: Metrics,
    pub series: Arc<Series>,
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
    Ready {
        topic: Arc<str>,
        queue_id: u32,
        messages: Messages,
        unique_id: Option<String>,
    },
    /// The topic has to be made first.
    NeedsTopic(Command),
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
            Ok(Checked::Ready { topic, queue_id, messages, unique_id }) => {
                let series = self.series.topic(&topic);
                let work = Box::new(SendWork { call, topic, queue_id, messages, unique_id, series });
                if let Err(work) = self.group.send(work) {
                    self.metrics.rejected(Cause::Busy);
                    work.call.refuse(
                        ResponseCode::SystemBusy,
                        "[OVERLOAD]system busy, the proposer's queue is full",
                    );
                }
            }
            Ok(Checked::NeedsTopic(command)) => {
                let this = self.clone();
                self.runtime.spawn(async move { this.create_then_send(call, command).await });
            }
            Err(refusal) => {
                self.metrics.rejected(cause(refusal.code));
                call.refuse(refusal.code, refusal.remark);
            }
        }
    }

    /// Makes the topic, waits until clients can find it, and sends.
    async fn create_then_send(self: Arc<Self>, call: Call, command: Command) {
        if let Err(error) = self.leader.propose(command, call.deadline).await {
            return call
                .refuse(ResponseCode::ServiceNotAvailable, format!("topic could not be made: {error}"));
        }
        self.visibility.topics_visible().await;
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

    fn check(&self, call: &Call, request: &SendMessageRequest<'_>) -> Result<Checked, Refusal> {
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
            TopicDecision::Create(config) => return Ok(Checked::NeedsTopic(Command::CreateTopic(config))),
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
        let name = topic.name.clone();
        drop(tables);
        let (messages, unique_id) = self.messages(call, request)?;
        Ok(Checked::Ready { topic: name, queue_id, messages, unique_id })
    }

    fn messages(
        &self,
        call: &Call,
        request: &SendMessageRequest<'_>,
    ) -> Result<(Messages, Option<String>), Refusal> {
        let body = &call.request.body;
        let size_max = self.group.tables().settings().message_size_max as usize;
        if body.len() > size_max {
            let remark = format!("message body size {} is over the limit {size_max}", body.len());
            return Err(refusal(ResponseCode::MessageIllegal, remark));
        }
        let text = request.properties.unwrap_or("");
        refuse_unsupported(request, text)?;
        if !request.batch {
            let unique_id = unique_id(text, call);
            let message = self.message(call, request, request.flag, body.clone(), text, &unique_id)?;
            return Ok((Messages::One(message), Some(unique_id)));
        }
        if names::is_retry_topic(request.topic) {
            return Err(refusal(ResponseCode::MessageIllegal, "batch messages can't go to a retry topic"));
        }
        let mut messages = Vec::new();
        for record in batch::records(body) {
            let record = record
                .map_err(|error| refusal(ResponseCode::MessageIllegal, format!("batch body: {error}")))?;
            refuse_unsupported(request, record.properties)?;
            let unique_id = unique_id(record.properties, call);
            let own_body = body.slice_ref(record.body);
            messages.push(self.message(
                call,
                request,
                record.flag,
                own_body,
                record.properties,
                &unique_id,
            )?);
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
        flag: i32,
        body: Bytes,
        text: &str,
        unique_id: &str,
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
        };
        let size = self.encoder.size(request.topic, &message).map_err(|error| illegal(&error))?;
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
        ResponseCode::TopicNotExist => Cause::NotFound,
        _ => Cause::Malformed,
    }
}

/// Delay levels, timers and transactions come with later releases. Storing such a message as an ordinary one would deliver
/// it too early, or before it is committed.
fn refuse_unsupported(request: &SendMessageRequest<'_>, text: &str) -> Result<(), Refusal> {
    if SysFlag(request.sys_flag).transaction_type() != TransactionType::None
        || properties::get(text, properties::TRANSACTION_PREPARED) == Some("true")
    {
        return Err(refusal(
            ResponseCode::MessageIllegal,
            "transactional messages are not supported by this version",
        ));
    }
    let delayed = properties::get(text, properties::DELAY).is_some_and(|level| level.trim() != "0");
    let timed = [properties::TIMER_DELAY_SECONDS, properties::TIMER_DELAY_MS, properties::TIMER_DELIVER_MS];
    if delayed || timed.iter().any(|timer| properties::get(text, timer).is_some()) {
        return Err(refusal(
            ResponseCode::MessageIllegal,
            "delayed messages are not supported by this version",
        ));
    }
    Ok(())
}

/// The codes that this handler serves.
pub const CODES: [RequestCode; 3] =
    [RequestCode::SendMessage, RequestCode::SendMessageV2, RequestCode::SendBatchMessage];
