//! Connections of groups (203, 204, 328) and what clients tell of themselves (307, 309).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::body;
use super::common::MessageQueue;
use super::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use crate::language::Language;

/// Language by its name; one without name is left out.
fn write_language<S: Serializer>(language: &Language, serializer: S) -> Result<S::Ok, S::Error> {
    match language.name() {
        Some(name) => serializer.serialize_str(name),
        None => serializer.serialize_none(),
    }
}

fn read_language<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Language, D::Error> {
    Ok(Language::from_name(&String::deserialize(deserializer)?))
}

/// A connection of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// Address, `ip:port`.
    pub client_addr: String,
    /// Id of the client.
    pub client_id: String,
    /// Language.
    #[serde(serialize_with = "write_language", deserialize_with = "read_language")]
    pub language: Language,
    /// Protocol version.
    pub version: i32,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection {
            client_addr: String::new(),
            client_id: String::new(),
            language: Language::NOT_NAMED,
            version: 0,
        }
    }
}

body! {
    /// Response of GET_CONSUMER_CONNECTION_LIST (203).
    pub struct ConsumerConnection {
        /// Connections.
        pub connection_set: Vec<Connection>,
        /// Where the group starts.
        pub consume_from_where: ConsumeFromWhere,
        /// How it gets messages.
        pub consume_type: ConsumeType,
        /// Who gets a message.
        pub message_model: MessageModel,
        /// Subscriptions by topic.
        pub subscription_table: BTreeMap<String, SubscriptionData>,
    }
}

body! {
    /// Response of GET_PRODUCER_CONNECTION_LIST (204).
    pub struct ProducerConnection {
        /// Connections.
        pub connection_set: Vec<Connection>,
    }
}

body! {
    /// Response of GET_ALL_PRODUCER_INFO (328).
    pub struct ProducerTable {
        /// Producers by group.
        pub data: BTreeMap<String, Vec<ProducerInfo>>,
    }
}

/// A producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Id of the client.
    pub client_id: String,
    /// Language.
    #[serde(serialize_with = "write_language", deserialize_with = "read_language")]
    pub language: Language,
    /// Last heartbeat, in ms since 1970.
    pub last_update_timestamp: i64,
    /// Address.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Protocol version.
    pub version: i32,
}

impl Default for ProducerInfo {
    fn default() -> ProducerInfo {
        ProducerInfo {
            client_id: String::new(),
            language: Language::NOT_NAMED,
            last_update_timestamp: 0,
            remote_ip: String::new(),
            version: 0,
        }
    }
}

body! {
    /// Response of GET_CONSUMER_RUNNING_INFO (307). A broker passes it on unread.
    pub struct ConsumerRunningInfo {
        /// Stack traces.
        pub jstack: Option<String>,
        /// Pop queues.
        pub mq_pop_table: BTreeMap<MessageQueue, PopProcessQueueInfo>,
        /// Queues.
        pub mq_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
        /// Settings.
        pub properties: BTreeMap<String, String>,
        /// Figures by topic.
        pub status_table: BTreeMap<String, ConsumeStatus>,
        /// Subscriptions.
        pub subscription_set: Vec<SubscriptionData>,
        /// Texts of the application.
        pub user_consumer_info: BTreeMap<String, String>,
    }
}

body! {
    /// State of a pop queue at a client.
    pub struct PopProcessQueueInfo {
        /// Given up; misspelt upstream.
        pub droped: bool,
        /// Last pop, in ms since 1970.
        pub last_pop_timestamp: i64,
        /// Messages not acknowledged.
        pub wait_ack_count: i32,
    }
}

body! {
    /// State of a queue at a client.
    pub struct ProcessQueueInfo {
        /// Messages held.
        pub cached_msg_count: i32,
        /// Last queue offset held.
        pub cached_msg_max_offset: i64,
        /// First queue offset held.
        pub cached_msg_min_offset: i64,
        /// Size of the messages held, in MiB.
        #[serde(rename = "cachedMsgSizeInMiB")]
        pub cached_msg_size_mib: i32,
        /// Committed queue offset.
        pub commit_offset: i64,
        /// Given up; misspelt upstream.
        pub droped: bool,
        /// Last consumption, in ms since 1970.
        pub last_consume_timestamp: i64,
        /// Last lock, in ms since 1970.
        pub last_lock_timestamp: i64,
        /// Last pull, in ms since 1970.
        pub last_pull_timestamp: i64,
        /// Locked.
        pub locked: bool,
        /// Messages in consumption.
        pub transaction_msg_count: i32,
        /// Last queue offset in consumption.
        pub transaction_msg_max_offset: i64,
        /// First queue offset in consumption.
        pub transaction_msg_min_offset: i64,
        /// Attempts to unlock.
        pub try_unlock_times: i64,
    }
}

body! {
    /// Figures of a topic at a client.
    pub struct ConsumeStatus {
        /// Failed messages in the last hour.
        pub consume_failed_msgs: i64,
        /// Failed messages per second.
        #[serde(rename = "consumeFailedTPS")]
        pub consume_failed_tps: f64,
        /// Consumed messages per second.
        #[serde(rename = "consumeOKTPS")]
        pub consume_ok_tps: f64,
        /// Time of consumption, in ms.
        #[serde(rename = "consumeRT")]
        pub consume_rt: f64,
        /// Time of a pull, in ms.
        #[serde(rename = "pullRT")]
        pub pull_rt: f64,
        /// Pulled messages per second.
        #[serde(rename = "pullTPS")]
        pub pull_tps: f64,
    }
}

body! {
    /// Response of CONSUME_MESSAGE_DIRECTLY (309).
    pub struct ConsumeDirectlyResult {
        /// Offsets are committed automatically.
        pub auto_commit: bool,
        /// `CR_SUCCESS`, `CR_LATER`, ... A number from the Go client.
        pub consume_result: Option<String>,
        /// Ordered consumption.
        pub order: bool,
        /// Text of an error.
        pub remark: Option<String>,
        /// Time taken, in ms.
        pub spent_time_mills: i64,
    }
}
