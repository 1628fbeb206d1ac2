//! The older way of INVOKE_BROKER_TO_RESET_OFFSET (222), with `useServerSideResetOffset=false`: nothing is stored, each connected
//! member is told where to go by RESET_CONSUMER_CLIENT_OFFSET (220), through whichever replica holds its connection. A member
//! drops its queues, waits and commits the new offsets itself, so a group without members can't be reset.
// Source: Broker2Client.resetOffset 5.3.3.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_core::Tables;
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::bodies::{self, MessageQueue, QueueForC, ResetOffsetBody, ResetOffsetBodyForC};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::ResetOffsetRequest;
use flotilla_remoting::language::Language;
use flotilla_remoting::version;
use tokio::runtime::Handle;
use tracing::info;

use super::clients::STATUS_VERSION;
use super::reset_offset::offset_at;
use super::respond::{Refusal, Success, unreadable};
use super::topics::message_queue;
use crate::call::Call;
use crate::leader::Tell;
use crate::views::ConsumeQueues;

/// Time in which another replica has to take the frame for its clients.
const TELL_LIMIT: Duration = Duration::from_secs(5);

/// Whom to tell what.
pub struct Push {
    group: Arc<str>,
    members: Vec<Arc<str>>,
    frame: Frame,
    offsets: BTreeMap<MessageQueue, i64>,
}

impl Push {
    /// Tells the members; what has to go to other replicas goes on in the background.
    pub fn carry_out(self, tell: &Tell, runtime: &Handle) -> Success {
        info!(group = %self.group, members = self.members.len(), queues = self.offsets.len(),
            "members are told to reset their offsets");
        for telling in tell.members(&self.group, self.members, &self.frame, TELL_LIMIT) {
            runtime.spawn(telling);
        }
        Success::body(&ResetOffsetBody { offset_table: self.offsets })
    }
}

/// What each queue's new offset is, and who has to hear of it. May read the disk.
///
/// # Errors
/// The refusals of RocketMQ: no such topic, a queue that the group never committed, nobody connected, a member too old.
pub fn plan(
    tables: &Tables,
    views: &ConsumeQueues,
    log: &LogReader,
    broker_name: &str,
    call: &Call,
) -> Result<Push, Refusal> {
    let request = ResetOffsetRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let ResetOffsetRequest { topic, group, timestamp, is_force, .. } = request;
    let Some(config) = tables.topic(topic) else {
        let remark = format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}");
        return Err((ResponseCode::TopicNotExist, remark));
    };
    let mut offsets = BTreeMap::new();
    for queue_id in 0..config.write_queue_count {
        let Some(committed) = tables.consumer_offset(group, topic, queue_id) else {
            return Err((ResponseCode::SystemError, format!("THe consumer group <{group}> not exist")));
        };
        let target = offset_at(tables, views, log, (topic, queue_id), timestamp, call.deadline)
            .map_err(|error| (ResponseCode::SystemError, format!("stored message can't be read: {error}")))?;
        let offset = if is_force { target } else { target.min(committed) };
        offsets.insert(message_queue(broker_name, topic, queue_id), offset);
    }
    let members = tables.members(group).into_iter().flat_map(|group| group.members.values());
    let members: Vec<_> = members.map(|member| (member.client_id.clone(), member.version)).collect();
    if members.is_empty() {
        let remark = format!(
            "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {timestamp}"
        );
        return Err((ResponseCode::ConsumerNotOnline, remark));
    }
    if let Some((_, version)) = members.iter().find(|(_, version)| *version < STATUS_VERSION) {
        let name = version::name(*version);
        let remark = format!("the client does not support this feature. version={name}");
        return Err((ResponseCode::SystemError, remark));
    }
    let header = ResetOffsetRequest { topic, group, queue_id: -1, offset: None, timestamp, is_force: false };
    let code = RequestCode::ResetConsumerClientOffset;
    let frame = Frame::request(code, header.encode(), body(&offsets, call.request.header.language));
    let members = members.into_iter().map(|(id, _)| id).collect();
    Ok(Push { group: Arc::from(group), members, frame, offsets })
}

/// The language of the tool decides the form, not that of the member. Source: AdminBrokerProcessor.resetOffset 5.3.3.
fn body(offsets: &BTreeMap<MessageQueue, i64>, tool: Language) -> bytes::Bytes {
    if tool != Language::Cpp {
        return bodies::encode(&ResetOffsetBody { offset_table: offsets.clone() });
    }
    let queues = offsets.iter().map(|(queue, offset)| QueueForC {
        broker_name: queue.broker_name.clone(),
        offset: *offset,
        queue_id: queue.queue_id,
        topic: queue.topic.clone(),
    });
    bodies::encode(&ResetOffsetBodyForC { offset_table: queues.collect() })
}
