//! Fields that any request may carry, and small types shared by headers.
//!
//! Source: RocketMQ 5.3 RpcRequestHeader, TopicRequestHeader, BoundaryType.

use super::field::{Field, HeaderError, HeaderProblem};
use super::header;
use crate::ext::ExtFields;

/// Keys of ext fields that belong to no header.
pub mod key {
    /// On QUERY_MESSAGE: `true` searches by unique id.
    pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";
    /// On heartbeat responses: the server understands heartbeats with fingerprint.
    pub const SUPPORT_HEARTBEAT_V2: &str = "IS_SUPPORT_HEART_BEAT_V2";
    /// On heartbeat responses: the client must send its subscriptions again.
    pub const SUBSCRIPTION_CHANGED: &str = "IS_SUB_CHANGE";
    /// On send responses: region of the broker.
    pub const MESSAGE_REGION: &str = "MSG_REGION";
    /// On send responses: whether traces are wanted.
    pub const TRACE_ON: &str = "TRACE_ON";
    /// On route and registration requests: name of the zone.
    pub const ZONE_NAME: &str = "__ZONE_NAME";
    /// On route requests: `true` filters by zone.
    pub const ZONE_MODE: &str = "__ZONE_MODE";
    /// On registrations of Flotilla's own brokers: `1`. Other name servers ignore it.
    pub const FLOTILLA: &str = "flotilla";
    /// Access key of a signed request.
    pub const ACCESS_KEY: &str = "AccessKey";
    /// Signature of a signed request.
    pub const SIGNATURE: &str = "Signature";
    /// Security token of a signed request.
    pub const SECURITY_TOKEN: &str = "SecurityToken";
}

header! {
    /// Fields that any request may carry. A broker without static topics needs none of them.
    pub struct BaseFields<'a> {
        /// Namespace.
        namespace: Option<&'a str> => "ns";
        /// Whether names are namespaced.
        namespaced: Option<bool> => "nsd";
        /// Broker name that the client believes to address.
        broker_name: Option<&'a str> => "bname";
        /// Marks a one-way request.
        oneway: Option<bool> => "oway";
        /// Logical access to a static topic.
        logical: Option<bool> => "lo";
    }
}

/// Which of several equal times a search by time means. Read in any case: Java writes `LOWER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BoundaryType {
    /// `lower`: the first message with a store time at or after the one asked for. The default.
    #[default]
    Lower,
    /// `upper`: the last message with a store time at or before the one asked for.
    Upper,
}

impl Field<'_> for Option<BoundaryType> {
    fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        match ext.get(key) {
            None => Ok(None),
            Some(name) if name.eq_ignore_ascii_case("lower") => Ok(Some(BoundaryType::Lower)),
            Some(name) if name.eq_ignore_ascii_case("upper") => Ok(Some(BoundaryType::Upper)),
            Some(_) => Err(HeaderError { field: key, problem: HeaderProblem::UnknownValue }),
        }
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        if let Some(value) = self {
            value.write(key, ext);
        }
    }
}

impl Field<'_> for BoundaryType {
    fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        Ok(Option::<BoundaryType>::read(ext, key)?.unwrap_or_default())
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        ext.insert(
            key,
            match self {
                BoundaryType::Lower => "lower",
                BoundaryType::Upper => "upper",
            },
        );
    }
}
