//! What a send to a topic means when the topic does not exist.
// Source: RocketMQ 5.3 AbstractSendMessageProcessor#msgCheck and TopicConfigManager#createTopicInSendMessageMethod.

use std::sync::Arc;

use flotilla_remoting::names::{self, AUTO_CREATE_TOPIC};

use crate::model::{Perm, TopicConfig};
use crate::tables::Tables;

/// What the send handler does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicDecision<'a> {
    /// The topic exists.
    Exists(&'a TopicConfig),
    /// Propose `Command::CreateTopic` with this, in the same entry as the message or before it.
    Create(TopicConfig),
    /// TOPIC_NOT_EXIST (17).
    Unknown,
}

/// Decides by the template that the request names. The name itself must have passed its checks before.
///
/// A template works while it exists and carries the inherit bit; the standard one also needs automatic creation to be enabled.
/// The new topic has as many queues as the client asks for, at most those of the template, and the template's permission without
/// the inherit bit. Retry topics need no template: one queue, read and write.
pub fn decide_topic<'a>(
    tables: &'a Tables,
    topic: &str,
    template: &str,
    client_queue_count: i32,
    topic_sys_flag: i32,
) -> TopicDecision<'a> {
    if let Some(config) = tables.topic(topic) {
        return TopicDecision::Exists(config);
    }
    if let Some(config) = from_template(tables, topic, template, client_queue_count, topic_sys_flag) {
        return TopicDecision::Create(config);
    }
    if names::is_retry_topic(topic) {
        let config = TopicConfig { sys_flag: topic_sys_flag, ..TopicConfig::new(topic, 1, Perm::READ_WRITE) };
        return TopicDecision::Create(config);
    }
    TopicDecision::Unknown
}

fn from_template(
    tables: &Tables,
    topic: &str,
    template: &str,
    client_queue_count: i32,
    topic_sys_flag: i32,
) -> Option<TopicConfig> {
    let template = tables.topic(template)?;
    if &*template.name == AUTO_CREATE_TOPIC && !tables.settings().auto_create_topic {
        return None;
    }
    if !template.perm.is_inherited() {
        return None;
    }
    // RocketMQ would make a topic without queues for a client that asks for none; every send to it would then fail.
    let asked = u32::try_from(client_queue_count).unwrap_or(0).max(1);
    let queue_count = asked.min(template.write_queue_count);
    Some(TopicConfig {
        filter_type: template.filter_type,
        sys_flag: topic_sys_flag,
        ..TopicConfig::new(Arc::from(topic), queue_count, template.perm.without_inherit())
    })
}
