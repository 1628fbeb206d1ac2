//! A stored message read in place.
//!
//! Parsing checks every length against the record and the texts for UTF-8 once; afterwards each field is a read at a
//! known offset. Nothing is copied or allocated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ids::OffsetMessageId;
use super::layout::{
    BODY_CRC_AT, BORN_HOST_AT, BORN_TIMESTAMP_AT, FLAG_AT, HOST_SIZE_V4, HOST_SIZE_V6, MAGIC_BLANK, MAGIC_V1,
    MAGIC_V2, PHYSICAL_OFFSET_AT, QUEUE_ID_AT, QUEUE_OFFSET_AT, SYS_FLAG_AT, body_crc, store_timestamp_at,
};
use super::properties;
use super::sys_flag::SysFlag;
use super::tags::tags_code;

/// Bytes that are no stored message, and where they stop being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A field or its content goes beyond the bytes there are.
    #[error("{field} at byte {at} goes beyond the {size} bytes of the record")]
    TooShort {
        /// The field.
        field: &'static str,
        /// Offset in the record.
        at: usize,
        /// Bytes there are.
        size: usize,
    },
    /// A length field is negative.
    #[error("{field} at byte {at} is negative: {value}")]
    Negative {
        /// The field.
        field: &'static str,
        /// Offset in the record.
        at: usize,
        /// Its value.
        value: i64,
    },
    /// The magic is that of no known layout.
    #[error("unknown magic {0:#010x}")]
    Magic(i32),
    /// The record is the blank at the end of a segment.
    #[error("blank of {size} bytes at the end of a segment")]
    Blank {
        /// Its size in bytes.
        size: usize,
    },
    /// `totalSize` is not the sum of the fields.
    #[error("totalSize is {total_size} but the fields take {fields_size} bytes")]
    SizeMismatch {
        /// What the record says.
        total_size: usize,
        /// What its fields take.
        fields_size: usize,
    },
    /// Topic or properties are no UTF-8.
    #[error("{field} is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The field.
        field: &'static str,
        /// Offset in the record.
        at: usize,
    },
}

/// A stored message in place. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    bytes: &'a [u8],
    topic: &'a str,
    properties: &'a str,
    /// Offset of the body; its length field lies before it.
    body_at: u32,
    body_size: u32,
}

/// Cursor over one record.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, size: usize, field: &'static str) -> Result<&'a [u8], LayoutError> {
        let at = self.at;
        match at.checked_add(size).and_then(|end| self.bytes.get(at..end)) {
            Some(taken) => {
                self.at += size;
                Ok(taken)
            }
            None => Err(LayoutError::TooShort { field, at, size: self.bytes.len() }),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], LayoutError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    /// Turns a signed length into a size; `width` bytes were just read for it.
    fn length(&self, value: i64, width: usize, field: &'static str) -> Result<usize, LayoutError> {
        usize::try_from(value).map_err(|_| LayoutError::Negative { field, at: self.at - width, value })
    }

    fn text(&mut self, size: usize, field: &'static str) -> Result<&'a str, LayoutError> {
        let at = self.at;
        let bytes = self.take(size, field)?;
        std::str::from_utf8(bytes)
            .map_err(|error| LayoutError::NotUtf8 { field, at: at + error.valid_up_to() })
    }
}

impl<'a> MessageView<'a> {
    /// Reads the record that starts a buffer; gives it and the bytes behind it.
    ///
    /// # Errors
    /// What is wrong and at which byte of the record. A [`LayoutError::Blank`] tells how far to skip.
    pub fn parse(buffer: &'a [u8]) -> Result<(MessageView<'a>, &'a [u8]), LayoutError> {
        let mut head = Cursor { bytes: buffer, at: 0 };
        let total_size = i32::from_be_bytes(head.array("totalSize")?);
        let total_size = head.length(total_size.into(), 4, "totalSize")?;
        let magic = i32::from_be_bytes(head.array("magic")?);
        let topic_length_size = match magic {
            MAGIC_V1 => 1,
            MAGIC_V2 => 2,
            MAGIC_BLANK => return Err(LayoutError::Blank { size: total_size }),
            other => return Err(LayoutError::Magic(other)),
        };
        let Some((bytes, rest)) = buffer.split_at_checked(total_size) else {
            return Err(LayoutError::TooShort { field: "record", at: 0, size: buffer.len() });
        };
        let mut cursor = Cursor { bytes, at: SYS_FLAG_AT };
        let sys_flag = SysFlag(i32::from_be_bytes(cursor.array("sysFlag")?));
        let host_size = |v6| if sys_flag.has(v6) { HOST_SIZE_V6 } else { HOST_SIZE_V4 };
        cursor.take(8 + host_size(SysFlag::BORN_HOST_V6), "bornHost")?;
        cursor.take(8 + host_size(SysFlag::STORE_HOST_V6), "storeHost")?;
        cursor.take(12, "preparedTransactionOffset")?;
        let body_size = i32::from_be_bytes(cursor.array("bodyLength")?);
        let body_size = cursor.length(body_size.into(), 4, "bodyLength")?;
        let body_at = cursor.at;
        cursor.take(body_size, "body")?;
        let topic_size = if topic_length_size == 1 {
            i64::from(i8::from_be_bytes(cursor.array("topicLength")?))
        } else {
            i64::from(i16::from_be_bytes(cursor.array("topicLength")?))
        };
        let topic_size = cursor.length(topic_size, topic_length_size, "topicLength")?;
        let topic = cursor.text(topic_size, "topic")?;
        let properties_size = i16::from_be_bytes(cursor.array("propertiesLength")?);
        let properties_size = cursor.length(properties_size.into(), 2, "propertiesLength")?;
        let properties = cursor.text(properties_size, "properties")?;
        if cursor.at != total_size {
            return Err(LayoutError::SizeMismatch { total_size, fields_size: cursor.at });
        }
        // Both are below total_size, which came from an i32.
        let view =
            MessageView { bytes, topic, properties, body_at: body_at as u32, body_size: body_size as u32 };
        Ok((view, rest))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.array(at))
    }

    /// The whole record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Size of the record in bytes.
    pub fn total_size(&self) -> usize {
        self.bytes.len()
    }

    /// Magic, [`MAGIC_V1`] or [`MAGIC_V2`].
    pub fn magic(&self) -> i32 {
        self.i32(4)
    }

    /// CRC of the body as stored in the record.
    pub fn body_crc(&self) -> i32 {
        self.i32(BODY_CRC_AT)
    }

    /// Claims that the body is the one that the CRC was computed of. Cost: a pass over the body.
    pub fn body_is_intact(&self) -> bool {
        self.body_crc() == body_crc(self.body())
    }

    /// Queue of the message.
    pub fn queue_id(&self) -> i32 {
        self.i32(QUEUE_ID_AT)
    }

    /// Opaque flag of the user.
    pub fn flag(&self) -> i32 {
        self.i32(FLAG_AT)
    }

    /// Number of the message in its queue.
    pub fn queue_offset(&self) -> i64 {
        self.i64(QUEUE_OFFSET_AT)
    }

    /// Log position of the record.
    pub fn physical_offset(&self) -> i64 {
        self.i64(PHYSICAL_OFFSET_AT)
    }

    /// Flags.
    pub fn sys_flag(&self) -> SysFlag {
        SysFlag(self.i32(SYS_FLAG_AT))
    }

    /// When the producer made the message, in ms since 1970.
    pub fn born_timestamp(&self) -> i64 {
        self.i64(BORN_TIMESTAMP_AT)
    }

    /// Peer that sent the message.
    pub fn born_host(&self) -> SocketAddr {
        self.host(BORN_HOST_AT, self.sys_flag().has(SysFlag::BORN_HOST_V6))
    }

    /// When the broker stored the message, in ms since 1970.
    pub fn store_timestamp(&self) -> i64 {
        self.i64(store_timestamp_at(self.sys_flag().0))
    }

    /// Broker that stored the message.
    pub fn store_host(&self) -> SocketAddr {
        self.host(store_timestamp_at(self.sys_flag().0) + 8, self.sys_flag().has(SysFlag::STORE_HOST_V6))
    }

    /// How often the message was consumed in vain.
    pub fn reconsume_times(&self) -> i32 {
        self.i32(self.body_at as usize - 16)
    }

    /// Log position of the half message of a committed transaction, else 0.
    pub fn prepared_transaction_offset(&self) -> i64 {
        self.i64(self.body_at as usize - 12)
    }

    /// Body as stored, compressed or not.
    pub fn body(&self) -> &'a [u8] {
        let start = self.body_at as usize;
        &self.bytes[start..start + self.body_size as usize]
    }

    /// Topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Property text, see [`properties`].
    pub fn properties(&self) -> &'a str {
        self.properties
    }

    /// Value of a property.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        properties::get(self.properties, name)
    }

    /// Tag of the message.
    pub fn tags(&self) -> Option<&'a str> {
        self.property(properties::TAGS)
    }

    /// Code of the tag, 0 without one.
    pub fn tags_code(&self) -> i64 {
        self.tags().map_or(0, tags_code)
    }

    /// Id by store host and log position.
    pub fn offset_message_id(&self) -> OffsetMessageId {
        OffsetMessageId { host: self.store_host(), physical_offset: self.physical_offset() }
    }

    /// Host of 4 or 16 bytes and a port of 4 bytes, of which the lower 16 bits count.
    fn host(&self, at: usize, v6: bool) -> SocketAddr {
        let (ip, port_at) = if v6 {
            (IpAddr::V6(Ipv6Addr::from(self.array::<16>(at))), at + 16)
        } else {
            (IpAddr::V4(Ipv4Addr::from(self.array::<4>(at))), at + 4)
        };
        SocketAddr::new(ip, self.i32(port_at) as u16)
    }
}

/// All records of a buffer, back to back: a pull body or the messages of a log entry. Ends after the first error.
pub fn messages(buffer: &[u8]) -> impl Iterator<Item = Result<MessageView<'_>, LayoutError>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        Some(match MessageView::parse(rest) {
            Ok((view, behind)) => {
                rest = behind;
                Ok(view)
            }
            Err(error) => {
                rest = &[];
                Err(error)
            }
        })
    })
}
