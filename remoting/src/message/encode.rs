//! Builds stored messages.
//!
//! A record is written once, front to back, into the buffer of the log entry; queue offset, log position and store time
//! are stamped later by the leader's log (`layout.rs`).

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::layout::{EMPTY_SIZE, HOST_SIZE_V4, HOST_SIZE_V6, MAGIC_V1, MAGIC_V2, TOTAL_SIZE_AT, body_crc};
use super::properties;
use super::sys_flag::SysFlag;
use super::view::{LayoutError, MessageView};
use crate::limits::{PROPERTIES_SIZE_MAX, TOPIC_SIZE_MAX_V1, TOPIC_SIZE_MAX_V2};

/// Layout of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayoutVersion {
    /// V1, and V2 for topics beyond 127 bytes: what a broker does.
    #[default]
    Auto,
    /// Topic length of one byte.
    V1,
    /// Topic length of two bytes; clients before 5.1 can't read it.
    V2,
}

/// A message that can't be stored. To a send all of them are MESSAGE_ILLEGAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The topic does not fit its length field.
    #[error("topic of {size} bytes exceeds the limit of {size_max} bytes")]
    TopicTooLong {
        /// Size in bytes.
        size: usize,
        /// Limit in bytes.
        size_max: usize,
    },
    /// The properties, with those that the broker adds, exceed 32767 bytes.
    #[error("properties of {size} bytes exceed the limit of {PROPERTIES_SIZE_MAX} bytes")]
    PropertiesTooLong {
        /// Size in bytes.
        size: usize,
    },
    /// The whole record exceeds what its size field can hold.
    #[error("message of {size} bytes is too large")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
}

/// A message to be stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredMessage<'a> {
    /// Topic, at most 127 bytes in layout V1.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// Opaque flag of the user.
    pub flag: i32,
    /// Flags; the host bits are set by the hosts.
    pub sys_flag: SysFlag,
    /// Number in the queue; 0 when it is stamped later.
    pub queue_offset: i64,
    /// Log position; 0 when it is stamped later.
    pub physical_offset: i64,
    /// When the producer made the message, in ms since 1970.
    pub born_timestamp: i64,
    /// Peer that sent the message.
    pub born_host: SocketAddr,
    /// When the broker stores the message, in ms since 1970; 0 when it is stamped later.
    pub store_timestamp: i64,
    /// Address of the broker that clients reach.
    pub store_host: SocketAddr,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Log position of the half message of a committed transaction, else 0.
    pub prepared_transaction_offset: i64,
    /// Body as it came.
    pub body: &'a [u8],
    /// Property text as it came.
    pub properties: &'a str,
    /// Properties added behind it; they win over those before.
    pub added_properties: &'a [(&'a str, &'a str)],
    /// Layout.
    pub layout: LayoutVersion,
    /// Reserves a property CRC at the end, to be filled by [`seal_property_crc`].
    pub with_property_crc: bool,
}

/// Bytes of the property CRC: name, separator, ten digits, separator.
const PROPERTY_CRC_SIZE: usize = properties::CRC32.len() + 1 + 10 + 1;

const _: () = assert!(PROPERTY_CRC_SIZE == 20);

/// Sizes of a record's parts.
struct Sizes {
    magic: i32,
    properties: usize,
    total: usize,
}

fn sizes(message: &StoredMessage<'_>) -> Result<Sizes, MessageError> {
    let long = message.topic.len() > TOPIC_SIZE_MAX_V1;
    let v2 = message.layout == LayoutVersion::V2 || message.layout == LayoutVersion::Auto && long;
    let size_max = if v2 { TOPIC_SIZE_MAX_V2 } else { TOPIC_SIZE_MAX_V1 };
    if message.topic.len() > size_max {
        return Err(MessageError::TopicTooLong { size: message.topic.len(), size_max });
    }
    let crc = if message.with_property_crc { PROPERTY_CRC_SIZE } else { 0 };
    let added: usize =
        message.added_properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let separator = usize::from(needs_separator(message));
    let properties = message.properties.len() + separator + added + crc;
    if properties > PROPERTIES_SIZE_MAX {
        return Err(MessageError::PropertiesTooLong { size: properties });
    }
    let hosts = host_size(message.born_host) + host_size(message.store_host) - 2 * HOST_SIZE_V4;
    let total = EMPTY_SIZE + hosts + usize::from(v2) + message.body.len() + message.topic.len() + properties;
    if i32::try_from(total).is_err() {
        return Err(MessageError::TooLarge { size: total });
    }
    Ok(Sizes { magic: if v2 { MAGIC_V2 } else { MAGIC_V1 }, properties, total })
}

/// Something follows a text whose last separator is missing (4.9 clients leave it out).
fn needs_separator(message: &StoredMessage<'_>) -> bool {
    let follows = !message.added_properties.is_empty() || message.with_property_crc;
    follows && !message.properties.is_empty() && !message.properties.ends_with(properties::PROPERTY_SEPARATOR)
}

/// Size in bytes of the record that [`encode_stored`] would write.
///
/// # Errors
/// As [`encode_stored`].
pub fn encoded_size(message: &StoredMessage<'_>) -> Result<usize, MessageError> {
    sizes(message).map(|sizes| sizes.total)
}

/// Appends the record of a message and gives its size in bytes.
///
/// # Errors
/// A part is too large for its length field; nothing is written then.
pub fn encode_stored(message: &StoredMessage<'_>, out: &mut BytesMut) -> Result<usize, MessageError> {
    let sizes = sizes(message)?;
    let (born_host, store_host) = (canonical(message.born_host), canonical(message.store_host));
    let sys_flag = message
        .sys_flag
        .without(SysFlag::BORN_HOST_V6 | SysFlag::STORE_HOST_V6)
        .with(if born_host.is_ipv6() { SysFlag::BORN_HOST_V6 } else { 0 })
        .with(if store_host.is_ipv6() { SysFlag::STORE_HOST_V6 } else { 0 });
    out.reserve(sizes.total);
    let start = out.len();
    // The sizes are checked against i32, i8 and i16 above.
    out.put_i32(sizes.total as i32);
    out.put_i32(sizes.magic);
    out.put_i32(body_crc(message.body));
    out.put_i32(message.queue_id);
    out.put_i32(message.flag);
    out.put_i64(message.queue_offset);
    out.put_i64(message.physical_offset);
    out.put_i32(sys_flag.0);
    out.put_i64(message.born_timestamp);
    put_host(out, born_host);
    out.put_i64(message.store_timestamp);
    put_host(out, store_host);
    out.put_i32(message.reconsume_times);
    out.put_i64(message.prepared_transaction_offset);
    out.put_i32(message.body.len() as i32);
    out.put_slice(message.body);
    if sizes.magic == MAGIC_V2 {
        out.put_i16(message.topic.len() as i16);
    } else {
        out.put_u8(message.topic.len() as u8);
    }
    out.put_slice(message.topic.as_bytes());
    out.put_i16(sizes.properties as i16);
    put_properties(message, out);
    assert!(out.len() - start == sizes.total, "a record is as large as computed");
    Ok(sizes.total)
}

fn put_properties(message: &StoredMessage<'_>, out: &mut BytesMut) {
    out.put_slice(message.properties.as_bytes());
    if needs_separator(message) {
        out.put_u8(properties::PROPERTY_SEPARATOR as u8);
    }
    for (name, value) in message.added_properties {
        out.put_slice(name.as_bytes());
        out.put_u8(properties::NAME_SEPARATOR as u8);
        out.put_slice(value.as_bytes());
        out.put_u8(properties::PROPERTY_SEPARATOR as u8);
    }
    if message.with_property_crc {
        out.put_slice(properties::CRC32.as_bytes());
        out.put_slice(b"\x010000000000\x02");
    }
}

/// Fills the property CRC reserved at the end of a record. Covers every byte before it, so that it must be the last
/// change of the record. Source: RocketMQ 5.3 MessageExtEncoder; vector `store_v1_prop_crc`.
///
/// # Errors
/// The bytes are no record, or its properties don't end with a property CRC ([`LayoutError::TooShort`]).
pub fn seal_property_crc(record: &mut [u8]) -> Result<(), LayoutError> {
    let (view, _) = MessageView::parse(record)?;
    let size = view.total_size();
    let at = size.saturating_sub(PROPERTY_CRC_SIZE);
    let reserved = view.properties().len() >= PROPERTY_CRC_SIZE
        && record[at..].starts_with(properties::CRC32.as_bytes());
    if !reserved {
        return Err(LayoutError::TooShort { field: "property CRC", at, size });
    }
    let mut rest = crc32fast::hash(&record[..at]) & 0x7FFF_FFFF;
    for digit in &mut record[size - 11..size - 1] {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    Ok(())
}

/// An IPv4 address that came in the clothes of IPv6 is written as IPv4.
fn canonical(host: SocketAddr) -> SocketAddr {
    SocketAddr::new(host.ip().to_canonical(), host.port())
}

fn host_size(host: SocketAddr) -> usize {
    if canonical(host).is_ipv6() { HOST_SIZE_V6 } else { HOST_SIZE_V4 }
}

fn put_host(out: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_i32(i32::from(host.port()));
}

const _: () = assert!(TOTAL_SIZE_AT == 0);
