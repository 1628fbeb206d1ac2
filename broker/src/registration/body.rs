//! What a registration says of topics, out of the replicated tables.

use std::collections::BTreeMap;

use flotilla_core::{DataVersion as CoreVersion, FilterType, Tables, TopicConfig as CoreTopic};
use flotilla_remoting::bodies::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigWrapper, TopicFilterType,
};

/// The body of a registration; `state_version` carries the term (FAILOVER.md 5). The broker's permission is taken off each
/// topic's, as RocketMQ does. Source: BrokerController.registerBrokerAll 5.3.3.
pub fn register_body(tables: &Tables, state_version: i64) -> RegisterBrokerBody {
    let permission = tables.settings().broker_permission;
    let topics = tables.topics().into_iter().map(|topic| {
        let mut config = wire_topic(topic);
        config.perm = topic.perm.and(flotilla_core::Perm(permission.0 | 1)).0.into();
        (config.topic_name.clone(), config)
    });
    let version = wire_version(tables.topic_version(), state_version);
    RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: topic_table(version, topics.collect()),
    }
}

/// A table of topics with its version.
pub fn topic_table(version: DataVersion, topics: BTreeMap<String, TopicConfig>) -> TopicConfigWrapper {
    TopicConfigWrapper {
        data_version: version,
        mapping_data_version: Some(version),
        topic_config_table: topics,
        topic_queue_mapping_detail_map: BTreeMap::new(),
        topic_queue_mapping_info_map: BTreeMap::new(),
    }
}

/// A version as clients and name servers compare it.
pub fn wire_version(version: CoreVersion, state_version: i64) -> DataVersion {
    DataVersion { counter: version.counter, state_version, timestamp: version.time_ms }
}

/// A topic's settings as clients read them.
pub fn wire_topic(topic: &CoreTopic) -> TopicConfig {
    TopicConfig {
        attributes: topic.attributes.clone(),
        order: topic.order,
        perm: topic.perm.0.into(),
        read_queue_nums: count(topic.read_queue_count),
        topic_filter_type: match topic.filter_type {
            FilterType::SingleTag => TopicFilterType::SingleTag,
            FilterType::MultiTag => TopicFilterType::MultiTag,
        },
        topic_name: topic.name.to_string(),
        topic_sys_flag: topic.sys_flag,
        write_queue_nums: count(topic.write_queue_count),
    }
}

fn count(queues: u32) -> i32 {
    i32::try_from(queues).unwrap_or(i32::MAX)
}
