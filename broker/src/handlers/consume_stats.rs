//! How far groups are: GET_CONSUME_STATS (208), GET_BROKER_CONSUME_STATS (317), QUERY_CONSUME_TIME_SPAN (303).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use flotilla_core::Tables;
use flotilla_core::rules::{progress_topics, queue_progress, subscribes};
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::bodies::{
    ConsumeStats, ConsumeStatsList, ConsumeTimeSpans, OffsetWrapper, QueueTimeSpan,
};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{GetBrokerConsumeStatsRequest, GetConsumeStatsRequest, GroupTopicRequest};

use super::queues::{patiently, store_time};
use super::reads::Reads;
use super::respond::{Outcome, Success, unreadable};
use super::topics::message_queue;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::pulled::PulledOffsets;
use crate::stats::Stats;
use crate::views::ConsumeQueues;
use crate::wall_clock;

/// Serves 208, 303 and 317. Runs on the leader.
pub struct ConsumeStatsHandler {
    pub reads: Reads,
    pub look: Arc<Look>,
}

/// What the figures are made of beside the tables.
pub struct Look {
    pub views: Arc<ConsumeQueues>,
    pub log: LogReader,
    pub pulled: Arc<PulledOffsets>,
    pub stats: Arc<Stats>,
    pub broker_name: String,
    /// The address that clients use.
    pub address: String,
}

impl Handler for ConsumeStatsHandler {
    fn handle(&self, call: Call) {
        let (group, look) = (self.reads.group.clone(), self.look.clone());
        self.reads.confirmed(call, move |call| {
            // A copy, which is cheap: apply must not wait while messages are looked up.
            let tables = group.tables().clone();
            match call.code() {
                RequestCode::GetConsumeStats => look.of_group(&tables, call),
                RequestCode::GetBrokerConsumeStats => look.of_all(&tables, call),
                _ => look.time_spans(&tables, call),
            }
        });
    }
}

impl Look {
    fn of_group(&self, tables: &Tables, call: &Call) -> Outcome {
        let request = GetConsumeStatsRequest::decode(&call.request.header.ext).map_err(unreadable)?;
        let list: Vec<&str> =
            request.topic_list.unwrap_or("").split(';').map(str::trim).filter(|t| !t.is_empty()).collect();
        let group = request.consumer_group;
        let mut stats = ConsumeStats::default();
        for topic in progress_topics(tables, group, request.topic.unwrap_or(""), &list) {
            self.add_topic(tables, group, &topic, call.deadline, &mut stats);
        }
        Ok(Success::body(&stats))
    }

    /// Topics without configuration are passed over. Source: AdminBrokerProcessor.getConsumeStats 5.3.3.
    fn add_topic(
        &self,
        tables: &Tables,
        group: &str,
        topic: &str,
        deadline: Instant,
        stats: &mut ConsumeStats,
    ) {
        let queues = tables.topic(topic).map_or(0, |config| config.read_queue_count);
        if queues > 0 {
            stats.consume_tps += self.stats.group_tps(topic, group);
        }
        for queue_id in 0..queues {
            let pulled = self.pulled.get(group, topic, queue_id);
            let Some(progress) = queue_progress(tables, group, topic, queue_id, pulled) else { continue };
            let last = self.time_at(topic, queue_id, progress.consumer - 1, deadline);
            let offsets = OffsetWrapper {
                broker_offset: progress.broker,
                consumer_offset: progress.consumer,
                last_timestamp: last.unwrap_or(0),
                pull_offset: progress.pulled,
            };
            stats.offset_table.insert(message_queue(&self.broker_name, topic, queue_id), offsets);
        }
    }

    /// Source: AdminBrokerProcessor.fetchAllConsumeStatsInBroker 5.3.3.
    fn of_all(&self, tables: &Tables, call: &Call) -> Outcome {
        let request = GetBrokerConsumeStatsRequest::decode(&call.request.header.ext).map_err(unreadable)?;
        let mut list = ConsumeStatsList { broker_addr: self.address.clone(), ..ConsumeStatsList::default() };
        for group in tables.groups() {
            let mut of_group = Vec::new();
            for topic in tables.topics_of_group(&group.name) {
                let config = tables.topic(topic).filter(|config| config.order || !request.is_order);
                if config.is_none() || !subscribes(tables, &group.name, topic) {
                    continue;
                }
                let mut stats = ConsumeStats::default();
                self.add_topic(tables, &group.name, topic, call.deadline, &mut stats);
                for offsets in stats.offset_table.values() {
                    list.total_diff += offsets.broker_offset - offsets.consumer_offset;
                    list.total_inflight_diff += offsets.pull_offset - offsets.consumer_offset;
                }
                of_group.push(stats);
            }
            list.consume_stats_list.push(BTreeMap::from([(group.name.to_string(), of_group)]));
        }
        Ok(Success::body(&list))
    }

    /// Source: AdminBrokerProcessor.queryConsumeTimeSpan 5.3.3; what has no message is -1 there.
    fn time_spans(&self, tables: &Tables, call: &Call) -> Outcome {
        let request = GroupTopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
        let topic = request.topic;
        let Some(config) = tables.topic(topic) else {
            return Err((ResponseCode::TopicNotExist, format!("topic[{topic}] not exist")));
        };
        let spans = (0..config.write_queue_count).filter_map(|queue_id| {
            let head = tables.queue_head(topic, queue_id)?;
            let consumer = queue_progress(tables, request.group, topic, queue_id, None)?.consumer;
            let at = |offset| self.time_at(topic, queue_id, offset, call.deadline).unwrap_or(-1);
            let (min, max) = (at(head.min), at(head.max - 1));
            let consumed = if consumer > head.min { at(consumer - 1) } else { min };
            let delay =
                if consumer < head.max { wall_clock::now_ms() - at(consumer.max(head.min)) } else { 0 };
            Some(QueueTimeSpan {
                consume_time_stamp: consumed,
                consume_time_stamp_str: wall_clock::text(consumed),
                delay_time: delay.max(0),
                max_time_stamp: max,
                max_time_stamp_str: wall_clock::text(max),
                message_queue: message_queue(&self.broker_name, topic, queue_id),
                min_time_stamp: min,
                min_time_stamp_str: wall_clock::text(min),
            })
        });
        Ok(Success::body(&ConsumeTimeSpans { consume_time_span_set: spans.collect() }))
    }

    /// Store time of a message that is still there. May read the disk.
    fn time_at(&self, topic: &str, queue_id: u32, offset: i64, deadline: Instant) -> Option<i64> {
        let view = self.views.queue(topic, queue_id)?;
        let range = view.range();
        if !(range.min..range.max).contains(&offset) {
            return None;
        }
        patiently(deadline, || store_time(&view, &self.log, offset)).ok()
    }
}
