//! Unit of a consume queue, 20 bytes, big endian.
//!
//! | offset | size | field          | meaning                                              |
//! |-------:|-----:|----------------|------------------------------------------------------|
//! |      0 |    8 | physicalOffset | log position of the message                          |
//! |      8 |    4 | totalSize      | size of its record in bytes                          |
//! |     12 |    8 | tagsCode       | code of its tag; due time in ms for delayed messages |
//!
//! Source: RocketMQ 5.3 ConsumeQueue; vector `consume_queue_unit`.

/// Size of a unit in bytes.
pub const UNIT_SIZE: usize = 20;

/// Unit of a consume queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumeQueueUnit {
    /// Log position of the message.
    pub physical_offset: i64,
    /// Size of its record in bytes.
    pub total_size: i32,
    /// Code of its tag.
    pub tags_code: i64,
}

impl ConsumeQueueUnit {
    /// The unit in these bytes; every content is one.
    pub fn decode(bytes: &[u8; UNIT_SIZE]) -> ConsumeQueueUnit {
        let [p0, p1, p2, p3, p4, p5, p6, p7, s0, s1, s2, s3, t0, t1, t2, t3, t4, t5, t6, t7] = *bytes;
        ConsumeQueueUnit {
            physical_offset: i64::from_be_bytes([p0, p1, p2, p3, p4, p5, p6, p7]),
            total_size: i32::from_be_bytes([s0, s1, s2, s3]),
            tags_code: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        }
    }

    /// The bytes of the unit.
    pub fn encode(&self) -> [u8; UNIT_SIZE] {
        let mut bytes = [0; UNIT_SIZE];
        bytes[..8].copy_from_slice(&self.physical_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.total_size.to_be_bytes());
        bytes[12..].copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }
}
