//! SEND_REPLY_MESSAGE (324) and its short form (325): the answer of a request–reply pair.
//!
//! The reply goes to the requester's connection (326), through whichever replica holds it, and into the reply topic when
//! `storeReplyMessageEnable` says so. Both happen side by side: whether the requester got it decides the code, as with
//! RocketMQ, and the stored copy is one for the record.
// Source: ReplyMessageProcessor 5.3.3.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::rules::{TopicDecision, decide_topic};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{PushReplyMessageRequest, SendMessageRequest, SendMessageResponse};
use flotilla_remoting::message::properties;
use flotilla_remoting::names;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::respond::bad_header;
use crate::call::{Call, Caller, Reply};
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::leader::Relays;
use crate::leader::relays::{CLIENT_PATIENCE, RelayError, Whom};
use crate::wall_clock;

/// What is left of a call's time for the answer's way back after the requester had its time.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Serves replies. Runs on the leader.
#[derive(Clone)]
pub struct ReplyHandler {
    pub inner: Arc<Replies>,
}

pub struct Replies {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub relays: Arc<Relays>,
    pub runtime: Handle,
    pub broker_name: String,
    pub store_host: SocketAddr,
    pub region: String,
    pub trace_on: bool,
    /// `storeReplyMessageEnable`.
    pub store: bool,
}

/// The codes that this handler serves.
pub const CODES: [RequestCode; 2] = [RequestCode::SendReplyMessage, RequestCode::SendReplyMessageV2];

impl Handler for ReplyHandler {
    fn handle(&self, call: Call) {
        let checked = match SendMessageRequest::decode_for(call.code(), &call.request.header.ext) {
            Ok(request) => self.inner.check(&request),
            Err(error) => return bad_header(call, &error),
        };
        if let Err((code, remark)) = checked {
            return self.inner.answer(call, code, Some(remark), None);
        }
        let this = self.inner.clone();
        self.inner.runtime.spawn(async move { this.reply(call).await });
    }
}

impl Replies {
    /// The checks of a send that come before the requester hears anything.
    fn check(&self, request: &SendMessageRequest<'_>) -> Result<(), (ResponseCode, String)> {
        names::check_topic(request.topic)
            .map_err(|error| (ResponseCode::InvalidParameter, error.to_string()))?;
        if names::forbidden_to_send(request.topic) {
            let remark = format!("sending message to topic[{}] is forbidden", request.topic);
            return Err((ResponseCode::NoPermission, remark));
        }
        let tables = self.group.tables();
        if !tables.settings().broker_permission.is_writable() {
            let remark = format!("the broker[{}] sending message is forbidden", self.broker_name);
            return Err((ResponseCode::NoPermission, remark));
        }
        let queue_nums = request.default_topic_queue_nums;
        match decide_topic(&tables, request.topic, request.default_topic, queue_nums, 0) {
            TopicDecision::Exists(topic) => match u32::try_from(request.queue_id) {
                Ok(queue_id) if queue_id >= topic.queue_count() => {
                    let remark = format!(
                        "request queueId[{queue_id}] is illegal, topic:[{}] queues:[{}] producer group:[{}]",
                        request.topic,
                        topic.queue_count(),
                        request.producer_group
                    );
                    Err((ResponseCode::InvalidParameter, remark))
                }
                Ok(_) | Err(_) => Ok(()),
            },
            TopicDecision::Create(_) => Ok(()),
            TopicDecision::Unknown => {
                let remark = format!("topic[{}] not exist, apply first please!", request.topic);
                Err((ResponseCode::TopicNotExist, remark))
            }
        }
    }

    async fn reply(&self, call: Call) {
        let stored = async { if self.store { self.store(&call).await } else { None } };
        let (pushed, stored) = tokio::join!(self.push(&call), stored);
        match pushed {
            Ok(()) => self.answer(call, ResponseCode::Success, None, stored),
            Err(remark) => self.answer(call, ResponseCode::SystemError, Some(remark), stored),
        }
    }

    /// Hands the reply to the requester; the error is the remark for the replier.
    async fn push(&self, call: &Call) -> Result<(), String> {
        let Ok(request) = SendMessageRequest::decode_for(call.code(), &call.request.header.ext) else {
            return Err("the reply's header can't be read".to_owned());
        };
        let text = request.properties.unwrap_or("");
        let Some(requester) = properties::get(text, properties::REPLY_TO_CLIENT) else {
            return Err(format!("reply message properties[{}] is null", properties::REPLY_TO_CLIENT));
        };
        let now_ms = wall_clock::now_ms();
        let mut stamped = text.to_owned();
        properties::append(&mut stamped, properties::PUSH_REPLY_TIME, &now_ms.to_string());
        let (born_host, store_host) = (call.caller.address.to_string(), self.store_host.to_string());
        let header = PushReplyMessageRequest {
            producer_group: request.producer_group,
            topic: request.topic,
            default_topic: request.default_topic,
            default_topic_queue_nums: request.default_topic_queue_nums,
            queue_id: request.queue_id,
            sys_flag: request.sys_flag,
            born_timestamp: request.born_timestamp,
            flag: request.flag,
            properties: Some(&stamped),
            reconsume_times: request.reconsume_times,
            unit_mode: request.unit_mode,
            born_host: &born_host,
            store_host: &store_host,
            store_timestamp: now_ms,
        };
        let code = RequestCode::PushReplyMessageToClient;
        let frame = Frame::request(code, header.encode(), call.request.body.clone());
        let deadline = call.deadline.checked_sub(ANSWER_TIME).unwrap_or(call.deadline);
        let deadline = deadline.min(Instant::now() + CLIENT_PATIENCE);
        let whom = Whom::Producer { client_id: Arc::from(requester) };
        match self.relays.ask(&whom, &frame, deadline).await {
            Ok(answer) if answer.header.response_code() == ResponseCode::Success => Ok(()),
            Ok(answer) => {
                warn!(client = requester, code = answer.header.code, remark = ?answer.header.remark,
                    "reply refused by the requester");
                Err(format!("push reply message to {requester}fail."))
            }
            Err(RelayError::NotConnected) => {
                Err(format!("push reply message fail, channel of <{requester}> not found."))
            }
            Err(error) => {
                warn!(client = requester, %error, "reply not handed to the requester");
                Err(format!("push reply message to {requester}fail."))
            }
        }
    }

    /// Sends the reply to its topic as the replier's message would be; gives the answer when it was stored.
    async fn store(&self, call: &Call) -> Option<Frame> {
        let code = match call.code() {
            RequestCode::SendReplyMessageV2 => RequestCode::SendMessageV2,
            _ => RequestCode::SendMessage,
        };
        let request = Frame::request(code, call.request.header.ext.clone(), call.request.body.clone());
        let caller = Caller { forwarded_by: None, connection: None, ..call.caller.clone() };
        let (take, taken) = oneshot::channel();
        let reply = Reply::to_here(move |answer| drop(take.send(answer)));
        self.dispatcher.dispatch(Call {
            request,
            caller,
            deadline: call.deadline,
            commit_taken: false,
            superseded: None,
            reply,
        });
        let answer = tokio::time::timeout_at(call.deadline.into(), taken).await.ok()?.ok()?;
        if answer.header.response_code() == ResponseCode::Success {
            return Some(answer);
        }
        debug!(code = answer.header.code, remark = ?answer.header.remark, "reply was not stored");
        None
    }

    fn answer(&self, call: Call, code: ResponseCode, remark: Option<String>, stored: Option<Frame>) {
        let mut ext = match stored {
            // Its id and place, as for any message.
            Some(stored) => {
                let mut ext = ExtFields::default();
                for key in ["msgId", "queueId", "queueOffset"] {
                    ext.insert(key, stored.header.ext.get(key).unwrap_or("0"));
                }
                ext
            }
            None if code == ResponseCode::Success => {
                let request = SendMessageRequest::decode_for(call.code(), &call.request.header.ext);
                let header = SendMessageResponse {
                    message_id: "0",
                    queue_id: request.map_or(0, |request| request.queue_id.max(0)),
                    queue_offset: 0,
                    transaction_id: None,
                    batch_unique_id: None,
                    recall_handle: None,
                };
                header.encode()
            }
            None => ExtFields::default(),
        };
        ext.insert(properties::MESSAGE_REGION, &self.region);
        ext.insert(properties::TRACE_ON, if self.trace_on { "true" } else { "false" });
        let mut response = call.request.reply(code, remark);
        response.header.ext = ext;
        call.reply.send(response);
    }
}
