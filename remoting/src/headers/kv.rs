//! Key-value configuration of the name server: codes 100, 101, 102 and 219.
//!
//! Source: RocketMQ 5.3, package `header.namesrv`.

use super::header;

header! {
    /// Request header of PUT_KV_CONFIG (100).
    pub struct PutKvConfigRequest<'a> {
        /// Namespace.
        namespace: &'a str => "namespace";
        /// Key.
        key: &'a str => "key";
        /// Value.
        value: &'a str => "value";
    }
}

header! {
    /// Request header of GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
    pub struct KvConfigRequest<'a> {
        /// Namespace.
        namespace: &'a str => "namespace";
        /// Key.
        key: &'a str => "key";
    }
}

header! {
    /// Response header of GET_KV_CONFIG (101).
    pub struct GetKvConfigResponse<'a> {
        /// Value.
        value: Option<&'a str> => "value";
    }
}

header! {
    /// Request header of GET_KVLIST_BY_NAMESPACE (219).
    pub struct GetKvListRequest<'a> {
        /// Namespace.
        namespace: &'a str => "namespace";
    }
}
