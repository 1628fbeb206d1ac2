//! System topics and groups: what a broker group holds before any client asks for it.
//!
//! They enter the tables by the bootstrap command that the first leader proposes, so the log and not the program's version says
//! what they are; a later version adds its own by ordinary commands.
// Source: RocketMQ 5.3 TopicConfigManager and SubscriptionGroupManager.

use std::sync::Arc;

use flotilla_remoting::names;

use crate::command::Bootstrap;
use crate::model::{GroupConfig, Perm, Settings, TopicConfig};
use crate::tables::Tables;

const FIXED_TOPICS: &[(&str, u32)] = &[
    (names::SELF_TEST_TOPIC, 1),
    (names::BENCHMARK_TOPIC, 1024),
    (names::OFFSET_MOVED_TOPIC, 1),
    (names::SCHEDULE_TOPIC, 18),
    (names::TIMER_TOPIC, 1),
    (names::HALF_TOPIC, 1),
    (names::OP_HALF_TOPIC, 1),
    (names::CHECK_MAX_TIME_TOPIC, 1),
];

const FIXED_GROUPS: &[&str] = &[
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

const CLUSTER_TOPIC_QUEUES: u32 = 16;
const REVIVE_QUEUES: u32 = 8;

/// The command that the first leader proposes in a blank group.
pub fn bootstrap(cluster: &str, broker: &str, settings: Settings) -> Bootstrap {
    let mut topics: Vec<TopicConfig> = FIXED_TOPICS
        .iter()
        .map(|(name, queue_count)| TopicConfig::new(*name, *queue_count, Perm::READ_WRITE))
        .collect();
    topics.push(TopicConfig::new(names::reply_topic(cluster), 1, Perm::READ_WRITE));
    topics.push(TopicConfig::new(format!("rmq_sys_REVIVE_LOG_{cluster}"), REVIVE_QUEUES, Perm::READ_WRITE));
    topics.push(TopicConfig::new(format!("rmq_sys_SYNC_BROKER_MEMBER_{broker}"), 1, Perm::INHERIT));
    topics.extend(setting_topics(cluster, broker, &settings).0);
    let groups = FIXED_GROUPS.iter().map(|name| GroupConfig::new(*name)).collect();
    Bootstrap { cluster: Arc::from(cluster), broker: Arc::from(broker), settings, topics, groups }
}

/// Topics whose presence or permission follows a setting: those that must exist, and the names that must not.
pub(crate) fn setting_topics(
    cluster: &str,
    broker: &str,
    settings: &Settings,
) -> (Vec<TopicConfig>, Vec<Arc<str>>) {
    let template = |enabled: bool| if enabled { Perm::READ_WRITE_INHERIT } else { Perm::INHERIT };
    let mut present = vec![
        TopicConfig::new(cluster, CLUSTER_TOPIC_QUEUES, template(settings.cluster_topic_enable)),
        TopicConfig::new(broker, 1, template(settings.broker_topic_enable)),
    ];
    let mut absent = Vec::new();
    if settings.auto_create_topic {
        let queue_count = settings.default_topic_queue_count;
        present.push(TopicConfig::new(names::AUTO_CREATE_TOPIC, queue_count, Perm::READ_WRITE_INHERIT));
    } else {
        absent.push(Arc::from(names::AUTO_CREATE_TOPIC));
    }
    if settings.trace_topic_enable {
        present.push(TopicConfig::new(names::TRACE_TOPIC, 1, Perm::READ_WRITE));
    } else {
        absent.push(Arc::from(names::TRACE_TOPIC));
    }
    (present, absent)
}

/// Whether a topic belongs to the system: administrators may neither change nor delete it. Beside the fixed names these are the
/// ones made of the names of cluster and broker.
// Source: RocketMQ 5.3 TopicConfigManager, its calls of TopicValidator#addSystemTopic.
pub fn is_system_topic(tables: &Tables, topic: &str) -> bool {
    let named = tables.identity().is_some_and(|identity| {
        topic == &*identity.cluster
            || topic == &*identity.broker
            || topic == names::reply_topic(&identity.cluster)
    });
    named || names::is_system_topic(topic)
}
