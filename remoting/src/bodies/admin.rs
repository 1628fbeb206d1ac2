//! Key-value tables (28, 219), consume queue (321), replication status (907), users and access rules (3001 to 3010).

use std::collections::BTreeMap;

use super::body;
use super::heartbeat::SubscriptionData;

body! {
    /// Response of GET_BROKER_RUNTIME_INFO (28), GET_KVLIST_BY_NAMESPACE (219), and order configuration on registration.
    pub struct KvTable {
        /// Values by key, all texts.
        pub table: BTreeMap<String, String>,
    }
}

body! {
    /// Response of QUERY_CONSUME_QUEUE (321).
    pub struct QueryConsumeQueueResponse {
        /// Text of the filter data.
        pub filter_data: Option<String>,
        /// Queue offset of the next message to be written.
        pub max_queue_index: i64,
        /// First queue offset that is available.
        pub min_queue_index: i64,
        /// Units of the queue.
        pub queue_data: Vec<ConsumeQueueData>,
        /// Subscription of the group asked for.
        pub subscription_data: Option<SubscriptionData>,
    }
}

body! {
    /// A unit of a consume queue.
    pub struct ConsumeQueueData {
        /// Bit map of the filter, as text.
        pub bit_map: Option<String>,
        /// The subscription selects it.
        pub eval: bool,
        /// Extended data, as text.
        pub extend_data_json: Option<String>,
        /// Error text.
        pub msg: Option<String>,
        /// Log position.
        pub physic_offset: i64,
        /// Size in bytes.
        pub physic_size: i32,
        /// Code of the tag.
        pub tags_code: i64,
    }
}

body! {
    /// Response of GET_BROKER_HA_STATUS (907).
    pub struct HaStatus {
        /// This replica as a copy of another.
        pub ha_client_runtime_info: HaClientRuntimeInfo,
        /// Copies of this replica.
        pub ha_connection_info: Vec<HaConnectionInfo>,
        /// Number of copies that are up to date.
        pub in_sync_slave_nums: i32,
        /// This replica accepts writes.
        pub master: bool,
        /// End of its log, in bytes.
        pub master_commit_log_max_offset: i64,
    }
}

body! {
    /// A replica as a copy of another.
    pub struct HaClientRuntimeInfo {
        /// Last read, in ms since 1970.
        pub last_read_timestamp: i64,
        /// Last write, in ms since 1970.
        pub last_write_timestamp: i64,
        /// Address of the other.
        pub master_addr: Option<String>,
        /// Flushed position of the other.
        pub master_flush_offset: i64,
        /// End of the log, in bytes.
        pub max_offset: i64,
        /// Bytes per second.
        pub transferred_byte_in_second: i64,
    }
}

body! {
    /// A copy of a replica.
    pub struct HaConnectionInfo {
        /// Address of the copy.
        pub addr: String,
        /// How far it is behind, in bytes.
        pub diff: i64,
        /// It is up to date.
        pub in_sync: bool,
        /// Position that it has acknowledged.
        pub slave_ack_offset: i64,
        /// Position from which it reads.
        pub transfer_from_where: i64,
        /// Bytes per second.
        pub transferred_byte_in_second: i64,
    }
}

body! {
    /// A user.
    pub struct UserInfo {
        /// Password, which is the secret key.
        pub password: Option<String>,
        /// `enable` or `disable`.
        pub user_status: Option<String>,
        /// `Super` or `Normal`.
        pub user_type: Option<String>,
        /// Name, which is the access key.
        pub username: Option<String>,
    }
}

body! {
    /// Access rules of a subject.
    pub struct AclInfo {
        /// Policies.
        pub policies: Vec<AclPolicy>,
        /// `User:alice`.
        pub subject: Option<String>,
    }
}

body! {
    /// A policy.
    pub struct AclPolicy {
        /// Rules.
        pub entries: Vec<AclPolicyEntry>,
        /// `Custom` or `Default`.
        pub policy_type: Option<String>,
    }
}

body! {
    /// A rule.
    pub struct AclPolicyEntry {
        /// `Pub`, `Sub`, ...
        pub actions: Vec<String>,
        /// `Allow` or `Deny`.
        pub decision: Option<String>,
        /// `Topic:TopicTest`.
        pub resource: Option<String>,
        /// Addresses from which it holds.
        pub source_ips: Vec<String>,
    }
}
