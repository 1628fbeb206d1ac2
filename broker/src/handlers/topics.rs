//! What topics there are: GET_ALL_TOPIC_CONFIG (21), GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202),
//! GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305).

use std::sync::Arc;

use flotilla_core::{Tables, system};
use flotilla_remoting::bodies::{MessageQueue, TopicList, TopicOffset, TopicStatsTable};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{GetAllTopicConfigRequest, TopicRequest};

use super::pages::{Page, page};
use super::reads::Reads;
use super::respond::{Outcome, Success, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::registration::body::{topic_table, wire_topic, wire_version};
use crate::stats::Stats;

/// Serves 21, 202, 305 and 351. Runs on the leader.
pub struct TopicHandler {
    pub reads: Reads,
    pub broker_name: String,
    pub stats: Arc<Stats>,
}

impl Handler for TopicHandler {
    fn handle(&self, call: Call) {
        let (group, broker_name, figures) =
            (self.reads.group.clone(), self.broker_name.clone(), self.stats.clone());
        self.reads.confirmed(call, move |call| {
            // A copy, which is cheap: apply must not wait while thousands of topics are written out.
            let tables = group.tables().clone();
            match call.code() {
                RequestCode::GetAllTopicConfig => all(&tables, call),
                RequestCode::GetTopicConfig => one(&tables, call),
                RequestCode::GetSystemTopicListFromBroker => Ok(system_topics(&tables)),
                _ => stats_of(&tables, call, &broker_name, &figures),
            }
        });
    }
}

fn all(tables: &Tables, call: &Call) -> Outcome {
    let request = GetAllTopicConfigRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    let version = wire_version(tables.topic_version(), 0);
    let wish = Page { from: request.topic_seq, version: request.data_version, most: request.max_topic_num };
    let topics = tables.topics();
    let shown = topics[page(&wish, &version, topics.len())].iter();
    let shown = shown.map(|topic| (topic.name.to_string(), wire_topic(topic)));
    let body = Success::body(&topic_table(version, shown.collect()));
    // Whoever asks for no page gets no count, as from RocketMQ before 5.4.
    Ok(if wish.is_asked() { body.with("totalTopicNum", topics.len()) } else { body })
}

fn one(tables: &Tables, call: &Call) -> Outcome {
    let request = TopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    match tables.topic(request.topic) {
        Some(topic) => Ok(Success::body(&wire_topic(topic))),
        // Source: AdminBrokerProcessor.getTopicConfig 5.3.3.
        None => {
            Err((ResponseCode::TopicNotExist, format!("No topic in this broker. topic: {}", request.topic)))
        }
    }
}

fn stats_of(tables: &Tables, call: &Call, broker_name: &str, figures: &Stats) -> Outcome {
    let request = TopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
    match stats(tables, request.topic, broker_name) {
        Some(stats) => {
            let topic_put_tps = figures.topic_tps(request.topic);
            Ok(Success::body(&TopicStatsTable { topic_put_tps, ..stats }))
        }
        None => Err((ResponseCode::TopicNotExist, format!("topic[{}] not exist", request.topic))),
    }
}

fn stats(tables: &Tables, topic: &str, broker_name: &str) -> Option<TopicStatsTable> {
    let config = tables.topic(topic)?;
    let queues = (0..config.queue_count()).filter_map(|queue_id| {
        let head = tables.queue_head(topic, queue_id)?;
        // RocketMQ shows 0 for a queue without messages.
        let last = if head.min < head.max { head.last_store_time_ms } else { 0 };
        let offset = TopicOffset { last_update_timestamp: last, max_offset: head.max, min_offset: head.min };
        Some((message_queue(broker_name, topic, queue_id), offset))
    });
    Some(TopicStatsTable { offset_table: queues.collect(), topic_put_tps: 0.0 })
}

/// A queue as a key of tables that tools read.
pub fn message_queue(broker_name: &str, topic: &str, queue_id: u32) -> MessageQueue {
    MessageQueue {
        broker_name: broker_name.to_owned(),
        queue_id: i32::try_from(queue_id).unwrap_or(i32::MAX),
        topic: topic.to_owned(),
    }
}

fn system_topics(tables: &Tables) -> Success {
    let topics = tables.topics();
    let names = topics.iter().map(|topic| &*topic.name).filter(|name| system::is_system_topic(tables, name));
    Success::body(&TopicList { broker_addr: None, topic_list: names.map(str::to_owned).collect() })
}
