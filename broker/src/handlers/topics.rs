//! Topics: UPDATE_AND_CREATE_TOPIC (17), GET_ALL_TOPIC_CONFIG (21), GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202).

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_core::{Answer, Command, FilterType, Perm, Tables, TopicConfig};
use flotilla_remoting::bodies::{self, MessageQueue, TopicOffset, TopicStatsTable};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{CreateTopicRequest, TopicRequest};
use flotilla_remoting::names;
use tokio::runtime::Handle;

use super::respond::{bad_header, done, success_body};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::registration::Visibility;
use crate::registration_body::{topic_table, wire_topic, wire_version};

/// Serves 17, 21, 202 and 351. Runs on the leader.
pub struct TopicHandler {
    pub group: Group,
    pub leader: Arc<LeaderCalls>,
    pub visibility: Arc<Visibility>,
    pub runtime: Handle,
    pub broker_name: String,
}

impl Handler for TopicHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::UpdateAndCreateTopic => self.put(call),
            RequestCode::GetAllTopicConfig => self.all(call),
            RequestCode::GetTopicConfig => self.one(call),
            _ => self.stats(call),
        }
    }
}

impl TopicHandler {
    fn put(&self, call: Call) {
        let config = match CreateTopicRequest::decode(&call.request.header.ext) {
            Ok(request) => topic_config(&request, &self.group.tables()),
            Err(error) => return bad_header(call, &error),
        };
        let config = match config {
            Ok(config) => config,
            Err((code, remark)) => return call.refuse(code, remark),
        };
        let (leader, visibility) = (self.leader.clone(), self.visibility.clone());
        self.runtime.spawn(async move {
            match leader.propose(Command::PutTopic(config), call.deadline).await {
                Ok(Answer::Done | Answer::Unchanged) => {
                    // Whoever asked for the topic uses it next, through a name server's route (FAILOVER.md 21).
                    visibility.topics_visible().await;
                    done(call);
                }
                Ok(Answer::Refused(refusal)) => call.refuse(ResponseCode::SystemError, refusal.to_string()),
                Err(error) => call
                    .refuse(ResponseCode::SystemError, format!("topic was not changed for certain: {error}")),
            }
        });
    }

    fn all(&self, call: Call) {
        let body = {
            let tables = self.group.tables();
            let topics = tables.topics().into_iter().map(|topic| (topic.name.to_string(), wire_topic(topic)));
            topic_table(wire_version(tables.topic_version(), 0), topics.collect())
        };
        success_body(call, bodies::encode(&body));
    }

    fn one(&self, call: Call) {
        let found = match TopicRequest::decode(&call.request.header.ext) {
            Ok(request) => {
                let tables = self.group.tables();
                tables.topic(request.topic).map(wire_topic).ok_or_else(|| request.topic.to_owned())
            }
            Err(error) => return bad_header(call, &error),
        };
        match found {
            Ok(config) => success_body(call, bodies::encode(&config)),
            // Source: AdminBrokerProcessor.getTopicConfig 5.3.3.
            Err(topic) => {
                call.refuse(ResponseCode::TopicNotExist, format!("No topic in this broker. topic: {topic}"))
            }
        }
    }

    fn stats(&self, call: Call) {
        let found = match TopicRequest::decode(&call.request.header.ext) {
            Ok(request) => stats(&self.group.tables(), request.topic, &self.broker_name)
                .ok_or_else(|| request.topic.to_owned()),
            Err(error) => return bad_header(call, &error),
        };
        match found {
            Ok(stats) => success_body(call, bodies::encode(&stats)),
            Err(topic) => call.refuse(ResponseCode::TopicNotExist, format!("topic[{topic}] not exist")),
        }
    }
}

/// Source: AdminBrokerProcessor.updateAndCreateTopic 5.3.3; INVALID_PARAMETER for what its validator refuses.
fn topic_config(
    request: &CreateTopicRequest<'_>,
    tables: &Tables,
) -> Result<TopicConfig, (ResponseCode, String)> {
    let invalid = |remark: String| (ResponseCode::InvalidParameter, remark);
    names::check_topic(request.topic).map_err(|error| invalid(error.to_string()))?;
    if names::is_system_topic(request.topic) {
        return Err(invalid(format!("The topic[{}] is conflict with system topic.", request.topic)));
    }
    let queues = |count: i32, what: &str| {
        u32::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| invalid(format!("{what} {count} is illegal")))
    };
    let perm = u8::try_from(request.perm).ok().filter(|perm| *perm < 8);
    let perm = perm.ok_or_else(|| invalid(format!("perm {} is illegal", request.perm)))?;
    let filter_type = request.topic_filter_type.and_then(FilterType::parse).unwrap_or(FilterType::SingleTag);
    let attributes = tables.topic(request.topic).map(|topic| topic.attributes.clone()).unwrap_or_default();
    Ok(TopicConfig {
        name: Arc::from(request.topic),
        read_queue_count: queues(request.read_queue_nums, "readQueueNums")?,
        write_queue_count: queues(request.write_queue_nums, "writeQueueNums")?,
        perm: Perm(perm),
        filter_type,
        sys_flag: request.topic_sys_flag.unwrap_or(0),
        order: request.order,
        attributes: change_attributes(attributes, request.attributes.unwrap_or("")).map_err(invalid)?,
    })
}

/// Attributes come as changes: `+key=value` sets, `-key` removes. Source: AttributeParser and AttributeUtil 5.3.3.
fn change_attributes(
    mut attributes: BTreeMap<String, String>,
    changes: &str,
) -> Result<BTreeMap<String, String>, String> {
    for change in changes.split(',').filter(|change| !change.trim().is_empty()) {
        match (change.strip_prefix('+').and_then(|set| set.split_once('=')), change.strip_prefix('-')) {
            (Some((key, value)), _) => drop(attributes.insert(key.to_owned(), value.to_owned())),
            (None, Some(key)) => drop(attributes.remove(key)),
            (None, None) => {
                return Err(format!("attribute change [{change}] is neither +key=value nor -key"));
            }
        }
    }
    Ok(attributes)
}

fn stats(tables: &Tables, topic: &str, broker_name: &str) -> Option<TopicStatsTable> {
    let config = tables.topic(topic)?;
    let queues = (0..config.write_queue_count).filter_map(|queue_id| {
        let head = tables.queue_head(topic, queue_id)?;
        let queue = MessageQueue {
            broker_name: broker_name.to_owned(),
            queue_id: i32::try_from(queue_id).unwrap_or(i32::MAX),
            topic: topic.to_owned(),
        };
        // RocketMQ shows 0 for a queue without messages.
        let last = if head.min < head.max { head.last_store_time_ms } else { 0 };
        Some((queue, TopicOffset { last_update_timestamp: last, max_offset: head.max, min_offset: head.min }))
    });
    Some(TopicStatsTable { offset_table: queues.collect(), topic_put_tps: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_changes_set_and_remove() {
        let old = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let new = change_attributes(old, "+c=3,-a").expect("both are well formed");
        assert_eq!(new.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["b=2", "c=3"]);
        assert!(change_attributes(BTreeMap::new(), "c=3").is_err());
    }
}
