//! Bodies of requests and responses: JSON in the dialect of the Java library (see [`crate::json`]), and the compressed
//! form of a registration.
//!
//! Members are declared in the order in which Java writes them (alphabetical), so that what is encoded here equals the
//! official bytes where those are deterministic. Reading is tolerant: an absent or null member takes its default, unknown
//! members are stepped over. Source of all: vectors of kind `json_body`, RocketMQ 5.3 package `protocol.body`.
//!
//! | file             | bodies                                                                            |
//! |------------------|-----------------------------------------------------------------------------------|
//! | `common.rs`      | message queue, data version                                                       |
//! | `heartbeat.rs`   | heartbeat, subscription, client config check                                      |
//! | `consumer.rs`    | consumer list, queue locks, assignment, request mode                              |
//! | `topic.rs`       | topic config, tables and lists of it                                              |
//! | `register.rs`    | registration, plain and compressed                                                |
//! | `route.rs`       | route, cluster, member group, topic list                                          |
//! | `group.rs`       | subscription group config                                                         |
//! | `offsets.rs`     | consumer offsets, offset resets, consumer status                                  |
//! | `stats.rs`       | topic stats, consume stats, broker stats, time spans                              |
//! | `connection.rs`  | connections of consumers and producers, running info                              |
//! | `admin.rs`       | key-value table, consume queue, replication status, users and access rules        |
//! | `pop.rs`         | batch acknowledgement, check point                                                |

mod admin;
mod common;
mod connection;
mod consumer;
mod group;
mod heartbeat;
mod offsets;
mod pop;
mod register;
mod route;
mod stats;
mod topic;

pub use admin::*;
pub use common::{DataVersion, MessageQueue};
pub use connection::*;
pub use consumer::*;
pub use group::*;
pub use heartbeat::*;
pub use offsets::*;
pub use pop::*;
pub use register::*;
pub use route::*;
pub use stats::*;
pub use topic::*;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json::{self, JsonError};

/// Reads a JSON body.
///
/// # Errors
/// Byte offset and cause; the sender's mistake.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, JsonError> {
    json::from_slice(body)
}

/// Writes a JSON body: integer keys quoted, keys that are message queues as raw objects.
pub fn encode<T: Serialize + ?Sized>(body: &T) -> Bytes {
    json::to_vec(body).into()
}

/// Defines a body: serde both ways, members in camel case, absent ones at their default.
macro_rules! body {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }
    };
}
use body;

/// Defines an enum that travels by name. Names are read without regard to case: the Go client writes some in lower case.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident { $($(#[$variant_meta:meta])* $variant:ident = $name:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum { $($(#[$variant_meta])* #[doc = concat!("\n\n`", $name, "`.")] $variant,)* }

        impl $enum {
            /// The name that travels.
            pub const fn name(self) -> &'static str {
                match self { $($enum::$variant => $name,)* }
            }

            /// The value with this name, in any case.
            pub fn from_name(name: &str) -> Option<$enum> {
                $(if name.eq_ignore_ascii_case($name) {
                    return Some($enum::$variant);
                })*
                None
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$enum, D::Error> {
                let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                $enum::from_name(&name).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(concat!("unknown ", stringify!($enum), " {:?}"), name))
                })
            }
        }
    };
}
use named;

#[cfg(test)]
mod tests;
