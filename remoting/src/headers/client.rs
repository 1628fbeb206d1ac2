//! Membership of clients: codes 35, 38 and 40. A heartbeat (34) and a config check (46) have a body only.
//!
//! Source: RocketMQ 5.3 UnregisterClientRequestHeader, GetConsumerListByGroupRequestHeader,
//! NotifyConsumerIdsChangedRequestHeader, and the ext keys of heartbeat responses.

use super::header;

header! {
    /// Ext fields of a heartbeat response (34). Left out entirely, clients send full heartbeats for ever.
    pub struct HeartbeatResponse {
        /// The server understands heartbeats with fingerprint.
        supports_heartbeat_v2: Option<bool> => "IS_SUPPORT_HEART_BEAT_V2";
        /// The client must send its subscriptions again.
        subscription_changed: Option<bool> => "IS_SUB_CHANGE";
    }
}

header! {
    /// Request header of UNREGISTER_CLIENT (35).
    pub struct UnregisterClientRequest<'a> {
        /// Id of the client.
        client_id: &'a str => "clientID";
        /// Producer group to leave.
        producer_group: Option<&'a str> => "producerGroup";
        /// Consumer group to leave.
        consumer_group: Option<&'a str> => "consumerGroup";
    }
}

header! {
    /// Request header of GET_CONSUMER_LIST_BY_GROUP (38).
    pub struct GetConsumerListRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
    }
}

header! {
    /// Request header of NOTIFY_CONSUMER_IDS_CHANGED (40), one-way from broker to client.
    pub struct NotifyConsumerIdsChangedRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str => "consumerGroup";
    }
}
