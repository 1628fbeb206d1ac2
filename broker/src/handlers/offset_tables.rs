//! Consumer offsets as a whole: GET_ALL_CONSUMER_OFFSET (43), QUERY_CORRECTION_OFFSET (308), CLONE_GROUP_OFFSET (314).

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_core::rules::{correction_offsets, subscribes};
use flotilla_core::tables::TopicOffsets;
use flotilla_core::{Command, Tables};
use flotilla_remoting::bodies::{AllConsumerOffset, CorrectionOffsets, DataVersion};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{CloneGroupOffsetRequest, CorrectionOffsetRequest};
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::changes::Changes;
use super::offsets::PendingOffsets;
use super::reads::Reads;
use super::respond::{Outcome, Refusal, Success, answer, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;

/// Serves 43 and 308. Runs on the leader.
pub struct OffsetTableHandler {
    pub reads: Reads,
}

impl Handler for OffsetTableHandler {
    fn handle(&self, call: Call) {
        let group = self.reads.group.clone();
        self.reads.confirmed(call, move |call| {
            let tables = group.tables().clone();
            match call.code() {
                RequestCode::GetAllConsumerOffset => Ok(all(&tables)),
                _ => corrections(&tables, call),
            }
        });
    }
}

/// The version is that of the log: each commit is an entry of it.
fn all(tables: &Tables) -> Success {
    let mut offset_table: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for TopicOffsets { group, topic, queues } in tables.all_consumer_offsets() {
        offset_table.insert(format!("{topic}@{group}"), wire_queues(queues));
        topics.entry(group.to_string()).or_default().push(topic.to_string());
    }
    let applied = tables.applied();
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Success::body(&AllConsumerOffset {
        data_version: DataVersion {
            counter: number(applied.index),
            state_version: 0,
            timestamp: number(applied.time_ms),
        },
        group_topic_map: Some(topics),
        offset_table,
    })
}

fn corrections(tables: &Tables, call: &Call) -> Outcome {
    let request = CorrectionOffsetRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let filtered: Vec<&str> =
        request.filter_groups.unwrap_or("").split(',').filter(|group| !group.is_empty()).collect();
    let offsets = correction_offsets(tables, request.topic, &filtered, request.compare_group);
    Ok(Success::body(&CorrectionOffsets { correction_offsets: wire_queues(&offsets) }))
}

fn wire_queues(queues: &BTreeMap<u32, i64>) -> BTreeMap<i32, i64> {
    queues.iter().map(|(queue, offset)| (i32::try_from(*queue).unwrap_or(i32::MAX), *offset)).collect()
}

/// Serves 314. Runs on the leader.
pub struct CloneHandler {
    pub changes: Arc<Changes>,
    pub pending: Arc<PendingOffsets>,
    pub runtime: Handle,
}

impl Handler for CloneHandler {
    fn handle(&self, call: Call) {
        let (changes, pending) = (self.changes.clone(), self.pending.clone());
        self.runtime.spawn(async move {
            // What the source has committed before belongs to the copy.
            let settled = pending.settled(pending.last_ticket());
            if tokio::time::timeout_at(call.deadline.into(), settled).await.is_err() {
                let remark = "offsets of the source group are not in the log yet";
                return call.refuse(ResponseCode::SystemBusy, remark);
            }
            let made = changes.make(call.deadline, |group| clone(&group.tables(), &call)).await;
            answer(call, made.map(|()| Success::default()));
        });
    }
}

/// Without a topic all of the source's are copied; RocketMQ then copies none.
/// Source: AdminBrokerProcessor.cloneGroupOffset 5.3.3.
fn clone(tables: &Tables, call: &Call) -> Result<Vec<Command>, Refusal> {
    let request = CloneGroupOffsetRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    names::check_group(request.target_group)
        .map_err(|error| (ResponseCode::InvalidParameter, error.to_string()))?;
    let source = request.source_group;
    let topics: Vec<Arc<str>> = match request.topic.map(str::trim).filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![Arc::from(topic)],
        None => tables.topics_of_group(source).cloned().collect(),
    };
    let wanted = |topic: &Arc<str>| {
        tables.topic(topic).is_some() && (request.offline || subscribes(tables, source, topic))
    };
    let topics: Vec<Arc<str>> = topics.into_iter().filter(wanted).collect();
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let (source, target) = (Arc::from(source), Arc::from(request.target_group));
    Ok(vec![Command::CloneOffsets { source, target, topics }])
}
