//! Routes (105), cluster (106), member group (901) and topic lists.
//!
//! Integer keys are always quoted by default: every official decoder takes them, the Go client even needs the compact
//! form. Bare keys exist for comparison with what Java writes to clients below 4.9.4.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::body;
use super::topic::TopicQueueMappingInfo;
use crate::json::{self, Dialect, IntegerKeys};

body! {
    /// Route of a topic: the brokers that have it and their queues.
    pub struct TopicRouteData {
        /// Brokers, exactly those of `queue_datas`.
        pub broker_datas: Vec<BrokerData>,
        /// Filter servers by address; always there and empty, older clients read it without asking.
        pub filter_server_table: BTreeMap<String, Vec<String>>,
        /// Order configuration, `broker-a:4;broker-b:4`; clients then build queues from it alone.
        pub order_topic_conf: Option<String>,
        /// Queues, one entry per broker name.
        pub queue_datas: Vec<QueueData>,
        /// Mappings of a static topic; absent for every other, an empty one is not the same.
        pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
    }
}

body! {
    /// Replicas of a broker group.
    pub struct BrokerData {
        /// Address by broker id; id 0 accepts writes, and producers use no group without it.
        pub broker_addrs: BTreeMap<i64, String>,
        /// Broker name.
        pub broker_name: String,
        /// Cluster.
        pub cluster: String,
        /// A replica may stand in for a lost master.
        pub enable_acting_master: bool,
        /// Zone.
        pub zone_name: Option<String>,
    }
}

body! {
    /// Queues of a topic at a broker.
    #[derive(Eq)]
    pub struct QueueData {
        /// Broker name.
        pub broker_name: String,
        /// Permission bits: 4 read, 2 write, 1 inherit.
        pub perm: i32,
        /// Number of queues to read.
        pub read_queue_nums: i32,
        /// System flag of the topic.
        pub topic_sys_flag: i32,
        /// Number of queues to write.
        pub write_queue_nums: i32,
    }
}

/// Which form of a route a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteForm {
    /// Quoted integer keys, ASCII only: for every client.
    Standard,
    /// Bare integer keys, as Java writes to clients below 4.9.4. All of those read the standard form as well.
    Legacy,
}

impl TopicRouteData {
    /// The body for a client.
    pub fn encode(&self, form: RouteForm) -> Bytes {
        let dialect = match form {
            RouteForm::Standard => Dialect { integer_keys: IntegerKeys::Quoted, ascii_only: true },
            RouteForm::Legacy => Dialect { integer_keys: IntegerKeys::Bare, ascii_only: false },
        };
        json::to_vec_with(self, dialect).into()
    }
}

body! {
    /// Response of GET_BROKER_CLUSTER_INFO (106).
    pub struct ClusterInfo {
        /// Replicas by broker name.
        pub broker_addr_table: BTreeMap<String, BrokerData>,
        /// Broker names by cluster.
        pub cluster_addr_table: BTreeMap<String, Vec<String>>,
    }
}

body! {
    /// Response of GET_BROKER_MEMBER_GROUP (901).
    pub struct BrokerMemberGroupBody {
        /// The group; its addresses are empty for an unknown broker name.
        pub broker_member_group: BrokerMemberGroup,
    }
}

body! {
    /// Replicas of a broker group without their settings.
    pub struct BrokerMemberGroup {
        /// Address by broker id.
        pub broker_addrs: BTreeMap<i64, String>,
        /// Broker name.
        pub broker_name: String,
        /// Cluster.
        pub cluster: String,
    }
}

body! {
    /// Response of the codes that list topics: 206, 224, 304, 305, 311 to 313, 343.
    pub struct TopicList {
        /// An address of a live broker, only with 304.
        pub broker_addr: Option<String>,
        /// Topics.
        pub topic_list: Vec<String>,
    }
}
