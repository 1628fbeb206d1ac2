//! Questions of tools that a client answers: GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309),
//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223, which asks each member by 221).
//!
//! The leader asks, through whichever replica holds the client's connection. What the client answers is relayed unread, code,
//! header and body; 223 alone puts answers together.
// Source: AdminBrokerProcessor.callConsumer, consumeMessageDirectly, Broker2Client.getConsumeStatus 5.3.3.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::bodies::{self, ConsumerStatusBody};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest, GetConsumerStatusRequest,
};
use flotilla_remoting::message::OffsetMessageId;
use flotilla_remoting::version;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::queues::{message_at, readable};
use super::respond::{bad_header, success_body};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::leader::Relays;
use crate::leader::relays::{CLIENT_PATIENCE, RelayError, Whom};

/// How long a call is held: as long as a client may take, and a moment for the way.
pub const HOLD: Duration = Duration::from_millis(10_300);

/// How long a member may take for its part of 223. Source: Broker2Client.getConsumeStatus 5.3.3.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// First version that takes 220 and answers 221: the snapshot slot of 3.0.7. Source: MQVersion 5.3.3, ordinal of V3_0_7_SNAPSHOT.
pub const STATUS_VERSION: i32 = 28;

/// Serves 223, 307 and 309. Runs on the leader.
#[derive(Clone)]
pub struct ClientHandler {
    pub group: Group,
    pub relays: Arc<Relays>,
    pub log: LogReader,
    pub runtime: Handle,
    pub broker_name: String,
}

impl Handler for ClientHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::GetConsumerRunningInfo => self.running_info(call),
            RequestCode::ConsumeMessageDirectly => self.consume_directly(call),
            _ => self.status(call),
        }
    }
}

impl ClientHandler {
    fn running_info(&self, call: Call) {
        let (group, client_id) = match GetConsumerRunningInfoRequest::decode(&call.request.header.ext) {
            Ok(request) => (request.consumer_group.to_owned(), request.client_id.to_owned()),
            Err(error) => return bad_header(call, &error),
        };
        let body = call.request.body.clone();
        let frame = Frame::request(call.code(), call.request.header.ext.clone(), body);
        let this = self.clone();
        self.runtime.spawn(async move { this.call_consumer(call, &group, &client_id, frame).await });
    }

    /// The client gets the message along, from wherever this replica has it.
    fn consume_directly(&self, call: Call) {
        let request = match ConsumeMessageDirectlyRequest::decode(&call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        let (group, client_id) =
            (request.consumer_group.to_owned(), request.client_id.unwrap_or("").to_owned());
        let Some(id) = request.message_id.and_then(|id| id.parse::<OffsetMessageId>().ok()) else {
            let remark = format!("msgId [{}] is no offset id", request.message_id.unwrap_or(""));
            return call.refuse(ResponseCode::SystemError, remark);
        };
        let ext = self.directly_ext(&call.request.header.ext, &request);
        let this = self.clone();
        self.runtime.spawn_blocking(move || {
            let Some(message) = message_at(&this.log, id.physical_offset, &readable(&this.group)) else {
                let remark = format!("can not find message by the offset, {}", id.physical_offset);
                return call.refuse(ResponseCode::SystemError, remark);
            };
            let frame = Frame::request(call.code(), ext, message);
            let runtime = this.runtime.clone();
            runtime.spawn(async move { this.call_consumer(call, &group, &client_id, frame).await });
        });
    }

    fn directly_ext(&self, asked: &ExtFields, request: &ConsumeMessageDirectlyRequest<'_>) -> ExtFields {
        let mut ext = asked.clone();
        ext.insert("brokerName", &self.broker_name);
        let tables = self.group.tables();
        if let Some(topic) = request.topic.and_then(|topic| tables.topic(topic)) {
            ext.insert_display("topicSysFlag", topic.sys_flag);
        }
        if let Some(group) = tables.group(request.consumer_group) {
            ext.insert_display("groupSysFlag", group.sys_flag);
        }
        ext
    }

    async fn call_consumer(&self, call: Call, group: &str, client_id: &str, frame: Frame) {
        let found = self.group.tables().member(group, client_id).map(|member| member.version);
        let offline = format!("The Consumer <{group}> <{client_id}> not online");
        let Some(version) = found else {
            return call.refuse(ResponseCode::SystemError, offline);
        };
        if version < version::RUNNING_INFO {
            let name = version::name(version);
            let remark = format!(
                "The Consumer <{client_id}> Version <{name}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
            );
            return call.refuse(ResponseCode::SystemError, remark);
        }
        let whom = Whom::Consumer { group: Arc::from(group), client_id: Arc::from(client_id) };
        let deadline = call.deadline.min(Instant::now() + CLIENT_PATIENCE);
        match self.relays.ask(&whom, &frame, deadline).await {
            Ok(answer) => relay(call, answer),
            Err(RelayError::NotConnected) => call.refuse(ResponseCode::SystemError, offline),
            Err(error @ RelayError::TimedOut) => {
                let remark = format!("consumer <{group}> <{client_id}> Timeout: {error}");
                call.refuse(ResponseCode::ConsumeMsgTimeout, remark);
            }
            Err(RelayError::Failed(reason)) => {
                let remark = format!("invoke consumer <{group}> <{client_id}> Exception: {reason}");
                call.refuse(ResponseCode::SystemError, remark);
            }
        }
    }

    fn status(&self, call: Call) {
        let request = match GetConsumerStatusRequest::decode(&call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        let wanted = request.client_addr.filter(|client| !client.trim().is_empty());
        let members: Vec<(Arc<str>, i32)> = {
            let tables = self.group.tables();
            let members = tables.members(request.group).into_iter().flat_map(|group| group.members.values());
            members.map(|member| (member.client_id.clone(), member.version)).collect()
        };
        if members.is_empty() {
            let remark = format!("No Any Consumer online in the consumer group: [{}]", request.group);
            return call.refuse(ResponseCode::SystemError, remark);
        }
        if let Some((_, version)) = members.iter().find(|(_, version)| *version < STATUS_VERSION) {
            let remark =
                format!("the client does not support this feature. version={}", version::name(*version));
            return call.refuse(ResponseCode::SystemError, remark);
        }
        let (topic, group): (Arc<str>, Arc<str>) = (Arc::from(request.topic), Arc::from(request.group));
        let asked = members.into_iter().map(|(id, _)| id).filter(|id| wanted.is_none_or(|one| one == &**id));
        let asked: Vec<Arc<str>> = asked.collect();
        let relays = self.relays.clone();
        self.runtime.spawn(async move {
            let body = ConsumerStatusBody {
                consumer_table: Some(ask_each(relays, &topic, &group, asked).await),
                ..ConsumerStatusBody::default()
            };
            success_body(call, bodies::encode(&body));
        });
    }
}

type Offsets = BTreeMap<bodies::MessageQueue, i64>;

/// Asks all at once; who does not answer is left out.
async fn ask_each(
    relays: Arc<Relays>,
    topic: &str,
    group: &Arc<str>,
    clients: Vec<Arc<str>>,
) -> BTreeMap<String, Offsets> {
    let header = GetConsumerStatusRequest { topic, group, client_addr: None };
    let frame = Frame::request(RequestCode::GetConsumerStatusFromClient, header.encode(), Bytes::new());
    let deadline = Instant::now() + STATUS_PATIENCE;
    let mut asking = JoinSet::new();
    for client_id in clients {
        let (relays, frame) = (relays.clone(), frame.clone());
        let whom = Whom::Consumer { group: group.clone(), client_id: client_id.clone() };
        asking.spawn(async move { (client_id, relays.ask(&whom, &frame, deadline).await) });
    }
    let mut table = BTreeMap::new();
    while let Some(answered) = asking.join_next().await {
        if let Ok((client_id, Ok(answer))) = answered
            && answer.header.response_code() == ResponseCode::Success
            && let Ok(status) = bodies::decode::<ConsumerStatusBody>(&answer.body)
        {
            table.insert(client_id.to_string(), status.message_queue_table);
        }
    }
    table
}

/// Gives the client's answer to whoever asked, as it is.
fn relay(call: Call, mut answer: Frame) {
    const RESPONSE: i32 = 1;
    answer.header.opaque = call.request.header.opaque;
    answer.header.flag = RESPONSE;
    call.reply.send(answer);
}
