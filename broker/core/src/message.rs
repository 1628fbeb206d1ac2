//! The stored message as the state machine sees it: where the few fields lie that stamping and applying need.
//!
//! Big endian. B and S are 8 bytes, or 20 when sysFlag bit 4 (born host) or bit 5 (store host) says IPv6; T is 1 byte in the
//! short form and 2 in the long one.
//!
//! | offset     | size | field                                            |
//! |-----------:|-----:|--------------------------------------------------|
//! |          0 |    4 | totalSize, this field included                   |
//! |          4 |    4 | magic: short 0xDAA320A7, long 0xDAA320AB         |
//! |          8 |    4 | bodyCRC                                          |
//! |         12 |    4 | queueId                                          |
//! |         16 |    4 | flag                                             |
//! |         20 |    8 | queueOffset, stamped                             |
//! |         28 |    8 | physicalOffset, stamped                          |
//! |         36 |    4 | sysFlag                                          |
//! |         40 |    8 | bornTimestamp                                    |
//! |         48 |    B | bornHost                                         |
//! |       48+B |    8 | storeTimestamp, stamped                          |
//! |       56+B |    S | storeHost                                        |
//! |     56+B+S |    4 | reconsumeTimes                                   |
//! |     60+B+S |    8 | preparedTransactionOffset                        |
//! |     68+B+S |    4 | bodyLength, then the body                        |
//! |            |    T | topicLength, then the topic                      |
//! |            |    2 | propertiesLength, then the properties            |
//!
//! This walker exists beside the full view of `flotilla-remoting` because the log's append path parses each message once per
//! replica and must not pay for fields that it does not use.
// Source: RocketMQ 5.3 MessageDecoder and MessageExtEncoder; vectors of kind `message`.

use flotilla_remoting::message::SysFlag;
use flotilla_remoting::message::layout::{
    EMPTY_SIZE, HOST_SIZE_V4, HOST_SIZE_V6, MAGIC_AT, MAGIC_V1, MAGIC_V2, PHYSICAL_OFFSET_AT, QUEUE_ID_AT,
    QUEUE_OFFSET_AT, SYS_FLAG_AT, TOTAL_SIZE_AT, store_timestamp_at,
};
use flotilla_remoting::message::tags::java_hash;

use crate::limits::QUEUES_PER_TOPIC_MAX;

/// Why bytes are not a stored message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message at byte {offset} of the payload: {reason}")]
pub struct MessageError {
    pub offset: usize,
    pub reason: MessageReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageReason {
    #[error("total size {0} does not fit the bytes")]
    Size(u32),
    #[error("unknown magic {0:#010x}")]
    Magic(i32),
    #[error("the lengths inside don't add up to the total size")]
    Lengths,
    #[error("topic is empty or not UTF-8")]
    Topic,
    #[error("queue id {0} is out of range")]
    QueueId(i32),
}

/// Where the fields of one stored message lie; all positions count from the message's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageShape {
    pub size: u32,
    pub queue_id: u32,
    pub sys_flag: SysFlag,
    store_timestamp_at: u32,
    topic_at: u32,
    topic_size: u16,
    properties_at: u32,
    properties_size: u16,
}

impl MessageShape {
    /// Reads the shape of the message at the start of `bytes`; more may follow.
    ///
    /// # Errors
    /// What does not fit. The topic's UTF-8 is checked by whoever takes it as text.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageReason> {
        if bytes.len() < EMPTY_SIZE {
            return Err(MessageReason::Size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        let size = u32_at(bytes, TOTAL_SIZE_AT);
        if (size as usize) < EMPTY_SIZE || size as usize > bytes.len() {
            return Err(MessageReason::Size(size));
        }
        let bytes = &bytes[..size as usize];
        let topic_length_size = match u32_at(bytes, MAGIC_AT).cast_signed() {
            MAGIC_V1 => 1,
            MAGIC_V2 => 2,
            other => return Err(MessageReason::Magic(other)),
        };
        let queue_id = u32_at(bytes, QUEUE_ID_AT);
        if queue_id >= QUEUES_PER_TOPIC_MAX {
            return Err(MessageReason::QueueId(queue_id.cast_signed()));
        }
        let sys_flag = SysFlag(u32_at(bytes, SYS_FLAG_AT).cast_signed());
        let store_timestamp_at = store_timestamp_at(sys_flag.0);
        let store_host_size = if sys_flag.has(SysFlag::STORE_HOST_V6) { HOST_SIZE_V6 } else { HOST_SIZE_V4 };
        let body_length_at = store_timestamp_at + 8 + store_host_size + 12;
        // The smallest message covers both IPv4 hosts; with IPv6 the length field itself may lie beyond the end.
        let body_size = checked_u32_at(bytes, body_length_at)? as usize;
        let topic_length_at = body_length_at + 4 + body_size;
        let topic_size = match topic_length_size {
            1 => usize::from(*bytes.get(topic_length_at).ok_or(MessageReason::Lengths)?),
            _ => usize::from(checked_u16_at(bytes, topic_length_at)?),
        };
        let topic_at = topic_length_at + topic_length_size;
        if topic_size == 0 || topic_size > topic_size_max(topic_length_size) {
            return Err(MessageReason::Topic);
        }
        let properties_at = topic_at + topic_size + 2;
        let properties_size = checked_u16_at(bytes, properties_at - 2)?;
        if properties_at + usize::from(properties_size) != bytes.len() {
            return Err(MessageReason::Lengths);
        }
        // All positions are below `size`, a u32, as just checked.
        Ok(Self {
            size,
            queue_id,
            sys_flag,
            store_timestamp_at: store_timestamp_at as u32,
            topic_at: topic_at as u32,
            topic_size: topic_size as u16,
            properties_at: properties_at as u32,
            properties_size,
        })
    }

    /// True when the message takes a number in its queue. Prepared and rolled back transactional messages don't: they keep
    /// queue offset 0 and never appear in a consume queue.
    // Source: RocketMQ 5.3 CommitLog#doAppend.
    #[inline]
    pub fn is_numbered(&self) -> bool {
        matches!(self.sys_flag.0 & SysFlag::TRANSACTION, 0 | SysFlag::TRANSACTION_COMMIT)
    }

    /// The topic's bytes; `message` starts at this message's first byte.
    #[inline]
    pub fn topic<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.topic_at as usize..self.topic_at as usize + usize::from(self.topic_size)]
    }

    /// The property text.
    #[inline]
    pub fn properties<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.properties_at as usize..self.properties_at as usize + usize::from(self.properties_size)]
    }

    #[inline]
    pub fn queue_offset(&self, message: &[u8]) -> i64 {
        i64_at(message, QUEUE_OFFSET_AT)
    }

    #[inline]
    pub fn physical_offset(&self, message: &[u8]) -> i64 {
        i64_at(message, PHYSICAL_OFFSET_AT)
    }

    /// Milliseconds since 1970.
    #[inline]
    pub fn store_timestamp(&self, message: &[u8]) -> i64 {
        i64_at(message, self.store_timestamp_at as usize)
    }

    /// Hash of the message's tag as consume queues keep it; 0 without a tag.
    #[inline]
    pub fn tags_code(&self, message: &[u8]) -> i64 {
        tags_code_of(self.properties(message))
    }

    /// Writes the three stamped fields.
    #[inline]
    pub fn stamp(&self, message: &mut [u8], queue_offset: i64, physical_offset: i64, store_timestamp: i64) {
        put_i64_at(message, QUEUE_OFFSET_AT, queue_offset);
        put_i64_at(message, PHYSICAL_OFFSET_AT, physical_offset);
        put_i64_at(message, self.store_timestamp_at as usize, store_timestamp);
    }
}

/// Walks messages that lie back to back; ends after the first error.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Messages<'a> {
    /// Offset from the first message's first byte, shape, and the message's bytes.
    type Item = Result<(usize, MessageShape, &'a [u8]), MessageError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.bytes.len() {
            return None;
        }
        let offset = self.at;
        match MessageShape::parse(&self.bytes[offset..]) {
            Ok(shape) => {
                self.at += shape.size as usize;
                Some(Ok((offset, shape, &self.bytes[offset..self.at])))
            }
            Err(reason) => {
                self.at = self.bytes.len();
                Some(Err(MessageError { offset, reason }))
            }
        }
    }
}

/// The tag's code in a property text: the last `TAGS` pair wins; 0 without one.
///
/// A pair is `name 0x01 value`, pairs are separated by 0x02; empty values are no values.
// Source: protocol vectors of kinds `properties` and `tagscode`; RocketMQ MessageDecoder#string2messageProperties.
#[inline]
pub fn tags_code_of(properties: &[u8]) -> i64 {
    const PREFIX: &[u8] = b"TAGS\x01";
    let mut code = 0;
    for pair in properties.split(|byte| *byte == 2) {
        if let Some(value) = pair.strip_prefix(PREFIX)
            && !value.is_empty()
        {
            code = i64::from(tag_hash(value));
        }
    }
    code
}

/// Java's string hash over UTF-16 code units of UTF-8 bytes; bytes that are no UTF-8 count as replacement characters, as Java
/// would decode them.
pub fn tag_hash(tag: &[u8]) -> i32 {
    match std::str::from_utf8(tag) {
        Ok(tag) => java_hash(tag),
        Err(_) => java_hash(&String::from_utf8_lossy(tag)),
    }
}

const fn topic_size_max(topic_length_size: usize) -> usize {
    // The length is signed on the wire.
    if topic_length_size == 1 { 127 } else { 32_767 }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(array)
}

#[inline]
fn checked_u32_at(bytes: &[u8], at: usize) -> Result<u32, MessageReason> {
    if at + 4 > bytes.len() { Err(MessageReason::Lengths) } else { Ok(u32_at(bytes, at)) }
}

#[inline]
fn checked_u16_at(bytes: &[u8], at: usize) -> Result<u16, MessageReason> {
    match bytes.get(at..at + 2) {
        Some(pair) => Ok(u16::from_be_bytes([pair[0], pair[1]])),
        None => Err(MessageReason::Lengths),
    }
}

#[inline]
fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(array)
}

#[inline]
fn put_i64_at(bytes: &mut [u8], at: usize, value: i64) {
    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
}
