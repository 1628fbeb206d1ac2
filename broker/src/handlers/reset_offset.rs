//! INVOKE_BROKER_TO_RESET_OFFSET (222): moves a group to a time or an offset, whether its members are connected or not.
//!
//! The new offsets go into the log with a mark per queue; the next pull of each queue that is not there yet is sent there with
//! code 21 by the leader ([`super::pull`]), and until then commits of the group have no effect on the queue. The older way,
//! by which the members reset themselves, is [`super::reset_push`].
// Source: AdminBrokerProcessor.resetOffsetInner 5.3.3, useServerSideResetOffset at its default.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use flotilla_core::{Command, OffsetCommit, Tables};
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::bodies::ResetOffsetBody;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::ResetOffsetRequest;
use tracing::info;

use super::changes::Changes;
use super::queues::{patiently, search};
use super::reads::Reads;
use super::reset_push;
use super::respond::{Refusal, Success, answer, unreadable};
use super::topics::message_queue;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::leader::Tell;
use crate::views::ConsumeQueues;

/// Serves 222. Runs on the leader.
pub struct ResetOffsetHandler {
    pub reads: Reads,
    pub changes: Arc<Changes>,
    pub views: Arc<ConsumeQueues>,
    pub log: LogReader,
    pub broker_name: String,
    /// How members are told to reset themselves, when offsets are not reset in the log.
    pub push: Option<Arc<Tell>>,
}

impl Handler for ResetOffsetHandler {
    fn handle(&self, call: Call) {
        let (group, dispatcher) = (self.reads.group.clone(), self.reads.dispatcher.clone());
        let (changes, views, log) = (self.changes.clone(), self.views.clone(), self.log.clone());
        let broker_name = self.broker_name.clone();
        let (push, runtime) = (self.push.clone(), self.reads.runtime.clone());
        self.reads.runtime.spawn(async move {
            // The end of a queue must not lie before what another replica has shown.
            if group.replica().read_index(call.deadline).await.is_err() {
                return dispatcher.try_again(call).await;
            }
            let tables = group.tables().clone();
            if let Some(tell) = push {
                let asked = tokio::task::spawn_blocking(move || {
                    let asked = reset_push::plan(&tables, &views, &log, &broker_name, &call);
                    (call, asked)
                });
                let Ok((call, asked)) = asked.await else { return };
                return answer(call, asked.map(|push| push.carry_out(&tell, &runtime)));
            }
            let found = tokio::task::spawn_blocking(move || {
                let found = targets(&tables, &views, &log, &call);
                (call, found)
            });
            // A panic of the search has been printed where it happened; the caller's connection ends with its time.
            let Ok((call, found)) = found.await else { return };
            let outcome = match found {
                Ok(resets) => reset(&changes, &broker_name, call.deadline, resets).await,
                Err(refusal) => Err(refusal),
            };
            answer(call, outcome);
        });
    }
}

async fn reset(
    changes: &Changes,
    broker_name: &str,
    deadline: Instant,
    resets: Vec<OffsetCommit>,
) -> Result<Success, Refusal> {
    let command = Command::ResetOffsets(resets.clone());
    changes.make(deadline, |_| Ok(vec![command])).await?;
    if let Some(first) = resets.first() {
        info!(group = %first.group, topic = %first.topic, queues = resets.len(), "offsets were reset");
    }
    let table = resets
        .into_iter()
        .map(|reset| (message_queue(broker_name, &reset.topic, reset.queue_id), reset.offset))
        .collect();
    Ok(Success::body(&ResetOffsetBody { offset_table: table }))
}

/// Where each queue has to go. May read the disk.
fn targets(
    tables: &Tables,
    views: &ConsumeQueues,
    log: &LogReader,
    call: &Call,
) -> Result<Vec<OffsetCommit>, Refusal> {
    let request = ResetOffsetRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let (group, topic) = (request.group, request.topic);
    let Some(config) = tables.topic(topic) else {
        return Err((ResponseCode::TopicNotExist, format!("Topic {topic} does not exist")));
    };
    if tables.group(group).is_none() {
        return Err((ResponseCode::SubscriptionGroupNotExist, format!("Group {group} does not exist")));
    }
    let by_time = |queue_id| {
        offset_at(tables, views, log, (topic, queue_id), request.timestamp, call.deadline)
            .map_err(|error| (ResponseCode::SystemError, format!("stored message can't be read: {error}")))
    };
    let (group, name): (Arc<str>, Arc<str>) = (Arc::from(group), Arc::from(topic));
    let to = |queue_id, offset| OffsetCommit { group: group.clone(), topic: name.clone(), queue_id, offset };
    match u32::try_from(request.queue_id) {
        Err(_) => (0..config.read_queue_count).map(|queue| Ok(to(queue, by_time(queue)?))).collect(),
        Ok(queue_id) => {
            // RocketMQ takes any queue; one that nobody can pull would keep its mark for ever.
            let Some(range) = tables.queue(topic, queue_id).filter(|_| queue_id < config.read_queue_count)
            else {
                let remark = format!("queueId[{queue_id}] of topic [{topic}] does not exist");
                return Err((ResponseCode::InvalidParameter, remark));
            };
            match request.offset.filter(|offset| *offset != -1) {
                None => Ok(vec![to(queue_id, by_time(queue_id)?)]),
                Some(offset) if (range.min..=range.max + 1).contains(&offset) => {
                    Ok(vec![to(queue_id, offset)])
                }
                Some(offset) => {
                    let (min, max) = (range.min, range.max);
                    let remark = format!("Target offset {offset} not in consume queue range [{min}-{max}]");
                    Err((ResponseCode::SystemError, remark))
                }
            }
        }
    }
}

/// The queue's first message not before a time; its end for a negative time. A queue without messages gives where it begins.
pub fn offset_at(
    tables: &Tables,
    views: &ConsumeQueues,
    log: &LogReader,
    (topic, queue_id): (&str, u32),
    time_ms: i64,
    deadline: Instant,
) -> io::Result<i64> {
    let range = tables.queue(topic, queue_id).unwrap_or_default();
    match views.queue(topic, queue_id) {
        Some(view) if time_ms >= 0 => patiently(deadline, || search(&view, log, time_ms, false)),
        Some(_) | None => Ok(range.max),
    }
}
