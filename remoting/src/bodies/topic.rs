//! Topic config: one (351), all (21), a list to create (18), and its line in a compressed registration.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::common::DataVersion;
use super::{body, named};
use crate::json;

/// Permission bit: messages can be read.
pub const PERM_READ: i32 = 4;
/// Permission bit: messages can be written.
pub const PERM_WRITE: i32 = 2;
/// Permission bit: the topic may serve as template of new ones.
pub const PERM_INHERIT: i32 = 1;

named! {
    /// How tags of a topic are counted. Both mean the same to brokers.
    pub enum TopicFilterType {
        /// One tag.
        #[default]
        SingleTag = "SINGLE_TAG",
        /// Several tags.
        MultiTag = "MULTI_TAG",
    }
}

/// Settings of a topic. Defaults: 16 queues, read and write. Source: RocketMQ 5.3 TopicConfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Attributes such as `message.type`, without sign.
    pub attributes: BTreeMap<String, String>,
    /// Ordered topic.
    pub order: bool,
    /// Permission bits.
    pub perm: i32,
    /// Number of queues to read.
    pub read_queue_nums: i32,
    /// How tags are counted.
    pub topic_filter_type: TopicFilterType,
    /// Topic.
    pub topic_name: String,
    /// 1 unit, 2 unit subscription.
    pub topic_sys_flag: i32,
    /// Number of queues to write.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: PERM_READ | PERM_WRITE,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// A line of a compressed registration that is no topic config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic line: {0}")]
pub struct TopicLineError(pub String);

impl TopicConfig {
    /// Reads the one-line form: name, read queues, write queues, permission, filter type, attributes, separated by one
    /// space; the attributes may be absent. System flag and order don't travel in it.
    /// Source: RocketMQ 5.3 TopicConfig.decode; vector `topic_config_line`.
    ///
    /// # Errors
    /// Which part is missing or can't be read.
    pub fn from_line(line: &str) -> Result<TopicConfig, TopicLineError> {
        let mut parts = line.splitn(6, ' ');
        let mut part = |name: &str| {
            parts.next().filter(|text| !text.is_empty()).ok_or_else(|| TopicLineError(format!("no {name}")))
        };
        let topic_name = part("name")?.to_owned();
        let mut number = |name: &str| {
            part(name)?.parse().map_err(|_| TopicLineError(format!("{name} is no 32-bit integer")))
        };
        let read_queue_nums = number("read queues")?;
        let write_queue_nums = number("write queues")?;
        let perm = number("permission")?;
        let filter_type = part("filter type")?;
        let topic_filter_type = TopicFilterType::from_name(filter_type)
            .ok_or_else(|| TopicLineError("unknown filter type".to_owned()))?;
        let attributes = match part("attributes") {
            Ok(text) => json::from_slice(text.as_bytes())
                .map_err(|error| TopicLineError(format!("attributes: {error}")))?,
            Err(_) => BTreeMap::new(),
        };
        Ok(TopicConfig {
            attributes,
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..TopicConfig::default()
        })
    }

    /// Claims that messages can be read.
    pub fn is_readable(&self) -> bool {
        self.perm & PERM_READ != 0
    }

    /// Claims that messages can be written.
    pub fn is_writable(&self) -> bool {
        self.perm & PERM_WRITE != 0
    }

    /// Claims that the topic may serve as template of new ones.
    pub fn is_inherited(&self) -> bool {
        self.perm & PERM_INHERIT != 0
    }
}

/// The one-line form of a topic config.
pub(super) struct Line<'a>(pub(super) &'a TopicConfig);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, .. } = self.0;
        let filter_type = self.0.topic_filter_type.name();
        write!(f, "{topic_name} {read_queue_nums} {write_queue_nums} {perm} {filter_type}")?;
        if !self.0.attributes.is_empty() {
            // The writer gives UTF-8.
            write!(f, " {}", String::from_utf8_lossy(&json::to_vec(&self.0.attributes)))?;
        }
        Ok(())
    }
}

impl TopicConfig {
    /// Writes the one-line form, see [`TopicConfig::from_line`].
    pub fn to_line(&self) -> String {
        Line(self).to_string()
    }
}

body! {
    /// All topics of a broker: response of GET_ALL_TOPIC_CONFIG (21), part of a registration.
    pub struct TopicConfigWrapper {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Version of the mappings of static topics; absent from brokers of the 4.9 line.
        pub mapping_data_version: Option<DataVersion>,
        /// Topics by name.
        pub topic_config_table: BTreeMap<String, TopicConfig>,
        /// Mappings of static topics in full.
        /// LIMIT: the hosted queues inside are not kept; Flotilla has no static topics.
        pub topic_queue_mapping_detail_map: BTreeMap<String, TopicQueueMappingInfo>,
        /// Mappings of static topics.
        pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
    }
}

body! {
    /// Mapping of a static topic at one broker.
    pub struct TopicQueueMappingInfo {
        /// Broker name.
        pub bname: String,
        /// Logical to physical queue.
        pub curr_id_map: BTreeMap<i32, i32>,
        /// The mapping changed and is not spread yet.
        pub dirty: bool,
        /// Version.
        pub epoch: i64,
        /// Scope, `__global__` usually.
        pub scope: Option<String>,
        /// Topic.
        pub topic: String,
        /// Number of logical queues.
        pub total_queues: i32,
    }
}

body! {
    /// Request of UPDATE_AND_CREATE_TOPIC_LIST (18).
    pub struct CreateTopicList {
        /// Topics to create or change.
        pub topic_config_list: Vec<TopicConfig>,
    }
}
