//! What becomes of a message that a consumer could not deal with: another try after a delay, or the dead-letter queue.
// Source: RocketMQ 5.3 AbstractSendMessageProcessor#consumerSendMsgBack and SendMessageProcessor#handleRetryAndDLQ.

use flotilla_remoting::message::properties;
use flotilla_remoting::names;

use crate::model::GroupConfig;
use crate::tables::Tables;

/// Version of RocketMQ 3.4.9: clients before it fill `maxReconsumeTimes` with something else.
// Source: RocketMQ 5.3 MQVersion, ordinal of V3_4_9.
const MAX_TIMES_SINCE: i32 = 121;

/// Level of the first retry of a message that names none: 10 s with the usual list.
const FIRST_RETRY_LEVEL: i32 = 3;

/// What happens to a message that a consumer sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackDecision {
    DeadLetter,
    /// Consumed again after the delay of this level, which is above 0 and may be beyond the highest.
    Retry {
        level: i32,
    },
}

/// The group to make when a consumer speaks for one that nobody has announced yet: clients pull, and send back, before their first
/// heartbeat. `None` when groups are made by administrators only, or the name is none.
// Source: RocketMQ 5.3 SubscriptionGroupManager#findSubscriptionGroupConfig.
pub fn group_to_make(tables: &Tables, name: &str) -> Option<GroupConfig> {
    let allowed = tables.settings().auto_create_group && names::check_group(name).is_ok();
    allowed.then(|| GroupConfig::new(name))
}

/// How often a message of the group is tried. A client may say so itself; -1 stands for the group's own number.
pub fn retry_times_max(group: &GroupConfig, client_version: i32, asked: Option<i32>) -> i32 {
    match asked {
        Some(times) if client_version >= MAX_TIMES_SINCE && times >= 0 => times,
        Some(_) | None => group.retry_times_max,
    }
}

/// Decides a CONSUMER_SEND_MSG_BACK by how often the message was consumed in vain and the level that the client asks for.
pub fn decide_send_back(reconsume_times: i32, times_max: i32, asked_level: i32) -> BackDecision {
    if reconsume_times >= times_max || asked_level < 0 {
        return BackDecision::DeadLetter;
    }
    let level =
        if asked_level == 0 { FIRST_RETRY_LEVEL.saturating_add(reconsume_times) } else { asked_level };
    BackDecision::Retry { level: level.max(1) }
}

/// True when a client's own send to its retry topic has had its tries. The client has counted this one already, so the bound is
/// one further than for [`decide_send_back`].
pub fn gives_up(reconsume_times: i32, times_max: i32) -> bool {
    reconsume_times > times_max
}

/// The group that a retry topic belongs to.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(names::RETRY_PREFIX)
}

/// The text of a message that was sent back: where it came from, which id it had first, and its level, 0 for a dead letter.
pub fn returned_properties(text: &str, topic: &str, message_id: &str, level: i32) -> String {
    let retry_topic = properties::get(text, properties::RETRY_TOPIC).unwrap_or(topic);
    let blank = |id: &&str| !id.trim().is_empty();
    let origin = properties::get(text, properties::ORIGIN_MESSAGE_ID).filter(blank).unwrap_or(message_id);
    let replaced =
        [properties::RETRY_TOPIC, properties::ORIGIN_MESSAGE_ID, properties::WAIT, properties::DELAY];
    let mut returned = properties::without(text, &replaced);
    properties::append(&mut returned, properties::RETRY_TOPIC, retry_topic);
    properties::append(&mut returned, properties::ORIGIN_MESSAGE_ID, origin);
    properties::append(&mut returned, properties::WAIT, "false");
    properties::append(&mut returned, properties::DELAY, &level.to_string());
    returned
}
