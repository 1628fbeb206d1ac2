//! Topics made, changed and deleted: UPDATE_AND_CREATE_TOPIC (17), UPDATE_AND_CREATE_TOPIC_LIST (18),
//! DELETE_TOPIC_IN_BROKER (215). Answered when the name servers know (FAILOVER.md 21).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flotilla_core::limits::QUEUES_PER_TOPIC_MAX;
use flotilla_core::rules::{
    Attributes, MESSAGE_TYPE, MIXED, TOPIC_ATTRIBUTES, change_attributes, parse_attribute_changes,
};
use flotilla_core::{Command, FilterType, Perm, Tables, TopicConfig, system};
use flotilla_remoting::bodies::{self, CreateTopicList, TopicConfig as WireTopic, TopicFilterType};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::headers::{CreateTopicRequest, TopicRequest};
use flotilla_remoting::names;
use tokio::runtime::Handle;
use tracing::info;

use super::changes::Changes;
use super::deletion_rounds::DeletionRounds;
use super::respond::{Refusal, Success, answer, unreadable};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::registration::Visibility;

/// Serves 17, 18 and 215. Runs on the leader.
pub struct TopicChangeHandler {
    pub changes: Arc<Changes>,
    pub visibility: Arc<Visibility>,
    pub rounds: Arc<DeletionRounds>,
    pub runtime: Handle,
}

impl Handler for TopicChangeHandler {
    fn handle(&self, call: Call) {
        let (changes, visibility) = (self.changes.clone(), self.visibility.clone());
        let rounds = self.rounds.clone();
        self.runtime.spawn(async move {
            let deleted = deleted_topic(&call);
            if let Some(topic) = deleted
                && rounds.goes_on(topic, &call.caller, Instant::now())
            {
                info!(topic, caller = %call.caller.address, "not deleted again for a tool that asks every replica");
                return answer(call, Ok(Success::default()));
            }
            let existed = AtomicBool::new(false);
            let planned = |group: &Group| {
                let exists = deleted.is_some_and(|topic| group.tables().topic(topic).is_some());
                existed.store(exists, Ordering::Relaxed);
                plan(group, &call)
            };
            let made = changes.make(call.deadline, planned).await;
            if made.is_ok() {
                if let Some(topic) = deleted
                    && existed.load(Ordering::Relaxed)
                {
                    rounds.begin(topic, &call.caller, Instant::now());
                }
                // Whoever asked for the topic uses it next, through a name server's route.
                let topics = changes.group().tables().topic_version().counter;
                visibility.topics_visible(topics).await;
            }
            answer(call, made.map(|()| Success::default()));
        });
    }
}

/// The topic that the call wants to be deleted.
fn deleted_topic(call: &Call) -> Option<&str> {
    let deletes = call.code() == RequestCode::DeleteTopicInBroker;
    let request = deletes.then(|| TopicRequest::decode(&call.request.header.ext));
    request?.ok().map(|request| request.topic)
}

fn plan(group: &Group, call: &Call) -> Result<Vec<Command>, Refusal> {
    let tables = group.tables();
    match call.code() {
        RequestCode::UpdateAndCreateTopic => {
            let request = CreateTopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
            Ok(vec![Command::PutTopic(topic_config(wire_topic(&request)?, &tables)?)])
        }
        RequestCode::UpdateAndCreateTopicList => {
            let list: CreateTopicList = bodies::decode(&call.request.body)
                .map_err(|error| (ResponseCode::SystemError, format!("topic list can't be read: {error}")))?;
            let topics = list.topic_config_list.into_iter();
            topics.map(|topic| Ok(Command::PutTopic(topic_config(topic, &tables)?))).collect()
        }
        _ => {
            let request = TopicRequest::decode(&call.request.header.ext).map_err(unreadable)?;
            deletions(request.topic, &tables)
        }
    }
}

/// What the header of code 17 says, in the form of code 18: attributes keep their signs.
fn wire_topic(request: &CreateTopicRequest<'_>) -> Result<WireTopic, Refusal> {
    let changes = parse_attribute_changes(request.attributes.unwrap_or(""));
    let filter_type = request.topic_filter_type.and_then(TopicFilterType::from_name);
    Ok(WireTopic {
        attributes: changes.map_err(|error| (ResponseCode::SystemError, error.to_string()))?,
        order: request.order,
        perm: request.perm,
        read_queue_nums: request.read_queue_nums,
        topic_filter_type: filter_type.unwrap_or_default(),
        topic_name: request.topic.to_owned(),
        topic_sys_flag: request.topic_sys_flag.unwrap_or(0),
        write_queue_nums: request.write_queue_nums,
    })
}

/// Checks a topic and applies its attribute changes to what it has.
/// Source: AdminBrokerProcessor.updateAndCreateTopic 5.3.3; counts and permission are checked by its tools only.
fn topic_config(topic: WireTopic, tables: &Tables) -> Result<TopicConfig, Refusal> {
    let invalid = |remark: String| (ResponseCode::InvalidParameter, remark);
    names::check_topic(&topic.topic_name).map_err(|error| invalid(error.to_string()))?;
    check_not_system(&topic.topic_name, tables)?;
    let queues = |count: i32, what: &str| {
        u32::try_from(count)
            .ok()
            .filter(|count| (1..=QUEUES_PER_TOPIC_MAX).contains(count))
            .ok_or_else(|| invalid(format!("{what} {count} is illegal")))
    };
    let perm = u8::try_from(topic.perm).ok().filter(|perm| *perm < 8);
    Ok(TopicConfig {
        read_queue_count: queues(topic.read_queue_nums, "readQueueNums")?,
        write_queue_count: queues(topic.write_queue_nums, "writeQueueNums")?,
        perm: Perm(perm.ok_or_else(|| invalid(format!("perm {} is illegal", topic.perm)))?),
        filter_type: match topic.topic_filter_type {
            TopicFilterType::SingleTag => FilterType::SingleTag,
            TopicFilterType::MultiTag => FilterType::MultiTag,
        },
        sys_flag: topic.topic_sys_flag,
        order: topic.order,
        attributes: attributes(&topic, tables)?,
        name: Arc::from(topic.topic_name),
    })
}

fn attributes(topic: &WireTopic, tables: &Tables) -> Result<Attributes, Refusal> {
    let mixed = topic.attributes.get(&format!("+{MESSAGE_TYPE}")).is_some_and(|value| value == MIXED);
    if mixed {
        // Source: AdminBrokerProcessor.updateAndCreateTopic 5.3.3, with enableMixedMessageType at its default.
        return Err((ResponseCode::InvalidParameter, "MIXED message type is not supported.".to_owned()));
    }
    let current = tables.topic(&topic.topic_name).map(|topic| &topic.attributes);
    change_attributes(TOPIC_ATTRIBUTES, current, &topic.attributes)
        .map_err(|error| (ResponseCode::SystemError, error.to_string()))
}

fn check_not_system(topic: &str, tables: &Tables) -> Result<(), Refusal> {
    if system::is_system_topic(tables, topic) {
        let remark = format!("The topic[{topic}] is conflict with system topic.");
        return Err((ResponseCode::InvalidParameter, remark));
    }
    Ok(())
}

/// A topic goes with the retry topics of pop consumption that its groups have for it. Queue numbers stay taken.
/// Source: AdminBrokerProcessor.deleteTopic 5.3.3.
fn deletions(topic: &str, tables: &Tables) -> Result<Vec<Command>, Refusal> {
    if topic.trim().is_empty() {
        return Err((ResponseCode::InvalidParameter, "The specified topic is blank.".to_owned()));
    }
    check_not_system(topic, tables)?;
    let retries = tables
        .groups_of_topic(topic)
        .into_iter()
        .flat_map(|group| [names::pop_retry_topic_v2(&group, topic), names::pop_retry_topic(&group, topic)]);
    let retries = retries.filter(|retry| tables.topic(retry).is_some());
    let topics = std::iter::once(topic.to_owned()).chain(retries);
    Ok(topics.map(|topic| Command::DeleteTopic { topic: Arc::from(topic) }).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flotilla_core::{Effects, EntryContext, OffsetCommit, PayloadBuilder, Settings};

    use super::*;

    fn tables(commands: &[Command]) -> Tables {
        let mut tables = Tables::blank();
        let mut builder = PayloadBuilder::new(0, 64);
        let bootstrap = system::bootstrap("DefaultCluster", "broker-a", Settings::default());
        builder.push_command(&Command::Bootstrap(Box::new(bootstrap)));
        for command in commands {
            builder.push_command(command);
        }
        let entry = EntryContext { index: 1, term: 1, position: 0, payload_position: 72, time_ms: 1 };
        let payload = builder.finish();
        let _: Effects = tables.apply(&entry, &payload).unwrap();
        tables
    }

    fn wire(name: &str, attributes: &str) -> WireTopic {
        WireTopic {
            topic_name: name.to_owned(),
            attributes: parse_attribute_changes(attributes).unwrap(),
            ..WireTopic::default()
        }
    }

    #[test]
    fn names_of_the_system_are_refused_the_clusters_and_the_brokers_too() {
        let tables = tables(&[]);
        for name in ["TBW102", "rmq_sys_mine", "DefaultCluster", "broker-a", "DefaultCluster_REPLY_TOPIC"] {
            let (code, remark) = topic_config(wire(name, ""), &tables).unwrap_err();
            assert_eq!(code, ResponseCode::InvalidParameter, "{name}");
            assert_eq!(remark, format!("The topic[{name}] is conflict with system topic."));
            assert_eq!(deletions(name, &tables).unwrap_err().0, ResponseCode::InvalidParameter, "{name}");
        }
        assert_eq!(deletions(" ", &tables).unwrap_err().1, "The specified topic is blank.");
    }

    #[test]
    fn counts_and_permission_have_limits() {
        let tables = tables(&[]);
        let bad: [fn(&mut WireTopic); 5] = [
            |topic| topic.read_queue_nums = 0,
            |topic| topic.write_queue_nums = -1,
            |topic| topic.read_queue_nums = 65_537,
            |topic| topic.perm = 8,
            |topic| topic.topic_name = "a.b".to_owned(),
        ];
        for spoil in bad {
            let mut topic = wire("t", "");
            spoil(&mut topic);
            assert_eq!(topic_config(topic, &tables).unwrap_err().0, ResponseCode::InvalidParameter);
        }
    }

    #[test]
    fn attributes_are_changes_of_what_the_topic_has() {
        let created = topic_config(wire("t", "+message.type=FIFO"), &tables(&[])).unwrap();
        let tables = tables(&[Command::PutTopic(created.clone())]);
        // A change of something else keeps them.
        assert_eq!(topic_config(wire("t", ""), &tables).unwrap().attributes, created.attributes);
        assert!(topic_config(wire("t", "-message.type"), &tables).unwrap().attributes.is_empty());
        let (code, remark) = topic_config(wire("t", "+message.type=MIXED"), &tables).unwrap_err();
        assert_eq!(
            (code, &*remark),
            (ResponseCode::InvalidParameter, "MIXED message type is not supported.")
        );
        assert_eq!(topic_config(wire("t", "+other=1"), &tables).unwrap_err().0, ResponseCode::SystemError);
    }

    #[test]
    fn a_topic_goes_with_the_pop_retry_topics_of_its_groups() {
        let put = |name: &str| Command::PutTopic(TopicConfig::new(name, 1, Perm::READ_WRITE));
        let commit = OffsetCommit { group: "g".into(), topic: "t".into(), queue_id: 0, offset: 1 };
        let tables = tables(&[
            put("t"),
            put("%RETRY%g_t"),
            put("%RETRY%g+t"),
            put("%RETRY%h_t"),
            put("%RETRY%g"),
            Command::CommitOffsets(vec![commit]),
        ]);
        let names: Vec<String> = deletions("t", &tables)
            .unwrap()
            .into_iter()
            .map(|command| match command {
                Command::DeleteTopic { topic } => topic.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["t", "%RETRY%g+t", "%RETRY%g_t"]);
    }
}
