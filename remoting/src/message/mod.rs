//! Messages: the stored layout, which is also the wire layout, properties, tags, ids and batch bodies.
//!
//! | file            | subject                                                                |
//! |-----------------|------------------------------------------------------------------------|
//! | `layout.rs`     | offsets of the fields, sizes, stamps                                   |
//! | `encode.rs`     | building a record                                                      |
//! | `view.rs`       | reading a record in place                                              |
//! | `sys_flag.rs`   | bits of `sysFlag`                                                      |
//! | `properties.rs` | property text and names                                                |
//! | `tags.rs`       | tag codes and subscription expressions                                 |
//! | `ids.rs`        | offset ids and unique ids                                              |
//! | `batch.rs`      | body of a batch send                                                   |
//! | `consume_queue.rs` | unit of a consume queue                                             |

pub mod batch;
pub mod consume_queue;
mod encode;
pub mod ids;
pub mod layout;
pub mod properties;
mod sys_flag;
pub mod tags;
mod view;

pub use encode::{
    LayoutVersion, MessageError, StoredMessage, encode_stored, encoded_size, seal_property_crc,
};
pub use ids::{OffsetMessageId, UniqueId};
pub use layout::{body_crc, stamp_physical_offset, stamp_queue_offset, stamp_store_timestamp};
pub use sys_flag::{Compression, SysFlag, TransactionType};
pub use view::{LayoutError, MessageView, messages};

#[cfg(test)]
mod tests;
