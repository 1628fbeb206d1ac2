//! Routes and registration at the name server.
//!
//! Source: RocketMQ 5.3, package `header.namesrv`.

use super::header;

header! {
    /// Request header of REGISTER_BROKER (103).
    pub struct RegisterBrokerRequest<'a> {
        /// Name shared by the replicas of a group.
        broker_name: &'a str => "brokerName";
        /// Address of this replica, `ip:port`.
        broker_addr: &'a str => "brokerAddr";
        /// Cluster.
        cluster_name: &'a str => "clusterName";
        /// Address for Java's own replication.
        ha_server_addr: &'a str => "haServerAddr";
        /// 0 for the replica that accepts writes.
        broker_id: i64 => "brokerId";
        /// Silence after which the registration lapses, in ms; the server's default when absent.
        heartbeat_timeout_ms: Option<i64> => "heartbeatTimeoutMillis";
        /// A replica may stand in for a lost master; false when absent.
        enable_acting_master: Option<bool> => "enableActingMaster";
        /// The body is compressed.
        compressed: bool => "compressed";
        /// CRC-32 without its top bit of the body as sent; 0 means unchecked.
        body_crc32: i32 => "bodyCrc32" = 0;
    }
}

header! {
    /// Response header of REGISTER_BROKER (103); absent when there is no other master.
    pub struct RegisterBrokerResponse<'a> {
        /// Address of the master's replication service.
        ha_server_addr: Option<&'a str> => "haServerAddr";
        /// Address of the master.
        master_addr: Option<&'a str> => "masterAddr";
    }
}

header! {
    /// Request header of UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322).
    pub struct BrokerRequest<'a> {
        /// Name shared by the replicas of a group.
        broker_name: &'a str => "brokerName";
        /// Address of the replica.
        broker_addr: &'a str => "brokerAddr";
        /// Cluster.
        cluster_name: &'a str => "clusterName";
        /// Id of the replica.
        broker_id: i64 => "brokerId";
    }
}

header! {
    /// Response header of QUERY_DATA_VERSION (322).
    pub struct QueryDataVersionResponse {
        /// The name server knows another version than the one sent.
        changed: bool => "changed";
    }
}

header! {
    /// Request header of GET_ROUTEINFO_BY_TOPIC (105).
    pub struct GetRouteInfoRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// The client wants quoted integer keys whatever its version.
        accept_standard_json_only: bool => "acceptStandardJsonOnly";
    }
}

header! {
    /// Request header of BROKER_HEARTBEAT (904).
    pub struct BrokerHeartbeatRequest<'a> {
        /// Cluster.
        cluster_name: &'a str => "clusterName";
        /// Address of the replica.
        broker_addr: &'a str => "brokerAddr";
        /// Name shared by the replicas of a group.
        broker_name: &'a str => "brokerName";
        /// Id of the replica.
        broker_id: Option<i64> => "brokerId";
        /// Epoch of the master.
        epoch: Option<i32> => "epoch";
        /// Log end.
        max_offset: Option<i64> => "maxOffset";
        /// Log position that is replicated.
        confirm_offset: Option<i64> => "confirmOffset";
        /// Silence after which the registration lapses, in ms; the key is misspelt upstream.
        heartbeat_timeout_ms: Option<i64> => "heartbeatTimeoutMills";
        /// Priority in elections.
        election_priority: Option<i32> => "electionPriority";
    }
}

header! {
    /// Request header of GET_BROKER_MEMBER_GROUP (901).
    pub struct GetBrokerMemberGroupRequest<'a> {
        /// Cluster.
        cluster_name: &'a str => "clusterName";
        /// Name shared by the replicas of a group.
        broker_name: &'a str => "brokerName";
    }
}

header! {
    /// Request header of NOTIFY_MIN_BROKER_ID_CHANGE (905), one-way from name server to broker.
    pub struct NotifyMinBrokerIdChangeRequest<'a> {
        /// Smallest id that is registered.
        min_broker_id: Option<i64> => "minBrokerId";
        /// Name shared by the replicas of a group.
        broker_name: Option<&'a str> => "brokerName";
        /// Address of the smallest id.
        min_broker_addr: Option<&'a str> => "minBrokerAddr";
        /// Address that went away.
        offline_broker_addr: Option<&'a str> => "offlineBrokerAddr";
        /// Address of the replication service.
        ha_broker_addr: Option<&'a str> => "haBrokerAddr";
    }
}

header! {
    /// Request header of WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    pub struct WritePermRequest<'a> {
        /// Name shared by the replicas of a group.
        broker_name: &'a str => "brokerName";
    }
}

header! {
    /// Response header of WIPE_WRITE_PERM_OF_BROKER (205).
    pub struct WipeWritePermResponse {
        /// Number of topics touched.
        wipe_topic_count: i32 => "wipeTopicCount";
    }
}

header! {
    /// Response header of ADD_WRITE_PERM_OF_BROKER (327).
    pub struct AddWritePermResponse {
        /// Number of topics touched.
        add_topic_count: i32 => "addTopicCount";
    }
}

header! {
    /// Request header of GET_TOPICS_BY_CLUSTER (224).
    pub struct GetTopicsByClusterRequest<'a> {
        /// Cluster.
        cluster: &'a str => "cluster";
    }
}

header! {
    /// Request header of DELETE_TOPIC_IN_NAMESRV (216).
    pub struct DeleteTopicInNamesrvRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
        /// Only the brokers of this cluster.
        cluster_name: Option<&'a str> => "clusterName";
    }
}

header! {
    /// Request header of REGISTER_TOPIC_IN_NAMESRV (217).
    pub struct RegisterTopicRequest<'a> {
        /// Topic.
        topic: &'a str => "topic";
    }
}
