//! Layout of a stored message, big endian. The stored and the wire form are the same bytes.
//!
//! B and S are 8 for an IPv4 host (4 address, 4 port) and 20 for IPv6 (16 + 4), by bits 4 and 5 of `sysFlag`;
//! T is 1 for layout V1 and 2 for V2.
//!
//! | offset | size | field                     | meaning                                            |
//! |-------:|-----:|---------------------------|----------------------------------------------------|
//! |      0 |    4 | totalSize                 | whole record                                       |
//! |      4 |    4 | magic                     | V1, V2 or the blank at the end of a segment        |
//! |      8 |    4 | bodyCRC                   | CRC-32 of the stored body without the top bit      |
//! |     12 |    4 | queueId                   |                                                    |
//! |     16 |    4 | flag                      | the user's                                         |
//! |     20 |    8 | queueOffset               | stamped by the leader's log                        |
//! |     28 |    8 | physicalOffset            | log position of this record, stamped               |
//! |     36 |    4 | sysFlag                   |                                                    |
//! |     40 |    8 | bornTimestamp             | ms, the producer's                                 |
//! |     48 |    B | bornHost                  | peer as the broker sees it                         |
//! | 48 + B |    8 | storeTimestamp            | ms, stamped                                        |
//! | 56 + B |    S | storeHost                 | the broker                                         |
//! | then   |    4 | reconsumeTimes            |                                                    |
//! |        |    8 | preparedTransactionOffset | log position of the half message                   |
//! |        |  4 + | bodyLength, body          |                                                    |
//! |        |  T + | topicLength, topic        |                                                    |
//! |        |  2 + | propertiesLength, properties |                                                 |
//!
//! Source: RocketMQ 5.3 MessageDecoder, MessageExtEncoder; vectors of kind `message`.

use super::sys_flag::SysFlag;
use super::view::LayoutError;

/// Magic of layout V1, 0xDAA3_20A7.
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic of layout V2, 0xDAA3_20AB.
pub const MAGIC_V2: i32 = -626_843_477;
/// Magic of the blank that fills a segment, 0xCBD4_3194. Never part of a pull body.
pub const MAGIC_BLANK: i32 = -875_286_124;

/// Offset of `totalSize`.
pub const TOTAL_SIZE_AT: usize = 0;
/// Offset of `magic`.
pub const MAGIC_AT: usize = 4;
/// Offset of `bodyCRC`.
pub const BODY_CRC_AT: usize = 8;
/// Offset of `queueId`.
pub const QUEUE_ID_AT: usize = 12;
/// Offset of `flag`.
pub const FLAG_AT: usize = 16;
/// Offset of `queueOffset`.
pub const QUEUE_OFFSET_AT: usize = 20;
/// Offset of `physicalOffset`.
pub const PHYSICAL_OFFSET_AT: usize = 28;
/// Offset of `sysFlag`.
pub const SYS_FLAG_AT: usize = 36;
/// Offset of `bornTimestamp`.
pub const BORN_TIMESTAMP_AT: usize = 40;
/// Offset of `bornHost`, the first field of variable size.
pub const BORN_HOST_AT: usize = 48;

/// Size of an IPv4 host with its port.
pub const HOST_SIZE_V4: usize = 8;
/// Size of an IPv6 host with its port.
pub const HOST_SIZE_V6: usize = 20;

/// Size of a V1 record with IPv4 hosts and without body, topic and properties.
pub const EMPTY_SIZE: usize = 91;

const _: () = assert!(EMPTY_SIZE == BORN_HOST_AT + HOST_SIZE_V4 + 8 + HOST_SIZE_V4 + 4 + 8 + 4 + 1 + 2);

/// Offset of `storeTimestamp` for a given `sysFlag`.
pub const fn store_timestamp_at(sys_flag: i32) -> usize {
    let v6 = sys_flag & SysFlag::BORN_HOST_V6 != 0;
    BORN_HOST_AT + if v6 { HOST_SIZE_V6 } else { HOST_SIZE_V4 }
}

/// CRC-32 (zlib polynomial) of a body without its top bit, as the record keeps it. Source: RocketMQ 5.3 UtilAll.crc32.
pub fn body_crc(body: &[u8]) -> i32 {
    // The mask leaves 31 bits.
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

/// Writes `queueOffset` into a record.
///
/// # Errors
/// The record is too short to have the field; nothing is written.
pub fn stamp_queue_offset(record: &mut [u8], queue_offset: i64) -> Result<(), LayoutError> {
    stamp(record, QUEUE_OFFSET_AT, queue_offset)
}

/// Writes `physicalOffset` (the log position of byte 0 of the record) into a record.
///
/// # Errors
/// As [`stamp_queue_offset`].
pub fn stamp_physical_offset(record: &mut [u8], physical_offset: i64) -> Result<(), LayoutError> {
    stamp(record, PHYSICAL_OFFSET_AT, physical_offset)
}

/// Writes `storeTimestamp` (ms since 1970) into a record; its place depends on the record's `sysFlag`.
///
/// # Errors
/// As [`stamp_queue_offset`].
pub fn stamp_store_timestamp(record: &mut [u8], store_timestamp: i64) -> Result<(), LayoutError> {
    let size = record.len();
    let Some(sys_flag) = record.get(SYS_FLAG_AT..).and_then(<[u8]>::first_chunk) else {
        return Err(LayoutError::TooShort { field: "sysFlag", at: SYS_FLAG_AT, size });
    };
    let at = store_timestamp_at(i32::from_be_bytes(*sys_flag));
    stamp(record, at, store_timestamp)
}

fn stamp(record: &mut [u8], at: usize, value: i64) -> Result<(), LayoutError> {
    let size = record.len();
    match record.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        Some(place) => {
            *place = value.to_be_bytes();
            Ok(())
        }
        None => Err(LayoutError::TooShort { field: "stamp", at, size }),
    }
}
