//! Typed headers: the ext fields of each request and response, by code.
//!
//! A header borrows its texts from the frame that it was decoded from (or from the values it is built of), so that
//! decoding allocates nothing. Unknown ext fields are ignored. Where Java leaves a missing or unreadable field at its
//! default and fails later, decoding here fails at once and names the field.
//!
//! | file           | codes                                                                      |
//! |----------------|----------------------------------------------------------------------------|
//! | `send.rs`      | 10, 310, 320, 324, 325, 370                                                |
//! | `pull.rs`      | 11, 361                                                                    |
//! | `offset.rs`    | 14, 15, 29 to 32                                                           |
//! | `message.rs`   | 12, 33, 36                                                                 |
//! | `client.rs`    | 34, 35, 38, 40, 46 (the last has a body only)                              |
//! | `topic.rs`     | 17, 21, 202, 215, 300, 321, 351; 18 has a body only                        |
//! | `group.rs`     | 201, 203, 204, 207, 208, 303, 308, 314, 317, 343, 345, 352, 353            |
//! | `broker.rs`    | 26, 315; 25 and 28 have none                                               |
//! | `transaction.rs` | 37, 39                                                                   |
//! | `callback.rs`  | 220 to 222, 307, 309, 326                                                  |
//! | `pop.rs`       | 200050 to 200055                                                           |
//! | `namesrv.rs`   | 103 to 105, 205, 216, 217, 224, 322, 327, 901, 904, 905                    |
//! | `kv.rs`        | 100 to 102, 219                                                            |
//!
//! Codes 106, 206, 304, 311 to 313, 318 and 319 carry no header fields. Source: RocketMQ 5.3, package
//! `org.apache.rocketmq.remoting.protocol.header`.

mod base;
mod broker;
mod callback;
mod client;
mod field;
mod group;
mod kv;
mod message;
mod namesrv;
mod offset;
mod pop;
mod pull;
mod send;
mod topic;
mod transaction;

pub use base::{BaseFields, BoundaryType, key};
pub use broker::*;
pub use callback::*;
pub use client::*;
pub use field::{Field, HeaderError, HeaderProblem};
pub use group::*;
pub use kv::*;
pub use message::*;
pub use namesrv::*;
pub use offset::*;
pub use pop::*;
pub use pull::*;
pub use send::*;
pub use topic::*;
pub use transaction::*;

/// Defines a header struct with `decode` and `encode` from its fields: name, type, ext key.
///
/// `&str` and the integers are required, `Option` is not, `bool` defaults to false. `= value` gives a default.
macro_rules! header {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty => $key:literal $(= $default:expr)?;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_meta])* #[doc = concat!("\n\nExt key `", $key, "`.")] pub $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// Reads the header from ext fields; fields that it does not know are ignored.
            ///
            /// # Errors
            /// Names the first field that is missing or can't be read: the sender's mistake, answer INVALID_PARAMETER
            /// or SYSTEM_ERROR with the text of the error.
            pub fn decode(ext: & $($life)? $crate::ext::ExtFields) -> Result<Self, $crate::headers::HeaderError> {
                Ok(Self {
                    $($field: $crate::headers::header!(@read ext, $type, $key $(, $default)?),)*
                })
            }

            /// Writes the header as ext fields in the order of its fields; what is `None` is left out.
            pub fn encode(&self) -> $crate::ext::ExtFields {
                let mut ext = $crate::ext::ExtFields::with_capacity(16, 256);
                self.encode_into(&mut ext);
                ext
            }

            /// [`Self::encode`] into ext fields that may hold others already.
            pub fn encode_into(&self, ext: &mut $crate::ext::ExtFields) {
                let _ = &ext;
                $($crate::headers::Field::write(&self.$field, $key, ext);)*
            }
        }
    };
    (@read $ext:ident, $type:ty, $key:literal) => {
        <$type as $crate::headers::Field<'_>>::read($ext, $key)?
    };
    (@read $ext:ident, $type:ty, $key:literal, $default:expr) => {
        <Option<$type> as $crate::headers::Field<'_>>::read($ext, $key)?.unwrap_or($default)
    };
}
use header;

#[cfg(test)]
mod tests;
