//! Bits of a message's `sysFlag`. Source: RocketMQ 5.3 MessageSysFlag.
//!
//! | bit  | meaning                                             |
//! |-----:|-----------------------------------------------------|
//! | 0    | the body is compressed                              |
//! | 1    | several tags                                        |
//! | 2-3  | transaction type                                    |
//! | 4, 5 | the born host, the store host is an IPv6 address    |
//! | 6, 7 | needs unwrapping, inner batch                       |
//! | 8-10 | compression: 0 and 3 zlib, 1 LZ4, 2 zstd            |

/// The `sysFlag` of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SysFlag(pub i32);

/// Part of a message in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionType {
    /// An ordinary message.
    None,
    /// A half message.
    Prepared,
    /// A half message made visible.
    Commit,
    /// The mark of a half message given up.
    Rollback,
}

/// How a body is compressed. Done and undone by clients only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// RFC 1950 stream; also the meaning of no type bits.
    Zlib,
    /// LZ4 frame format.
    Lz4,
    /// zstd frame.
    Zstd,
    /// Type bits without meaning.
    Unknown(u8),
}

impl SysFlag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// Several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// Bits of the transaction type; all of them mean rollback.
    pub const TRANSACTION: i32 = 0xC;
    /// Half message.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Committed message.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x20;
    /// Must be unwrapped by the consumer.
    pub const NEEDS_UNWRAP: i32 = 0x40;
    /// Several messages in one record.
    pub const INNER_BATCH: i32 = 0x80;
    /// Bits of the compression type.
    pub const COMPRESSION: i32 = 0x700;

    /// Claims that all these bits are set.
    pub fn has(self, bits: i32) -> bool {
        self.0 & bits == bits
    }

    /// With these bits set.
    #[must_use]
    pub fn with(self, bits: i32) -> SysFlag {
        SysFlag(self.0 | bits)
    }

    /// With these bits cleared.
    #[must_use]
    pub fn without(self, bits: i32) -> SysFlag {
        SysFlag(self.0 & !bits)
    }

    /// Part in a transaction.
    pub fn transaction_type(self) -> TransactionType {
        match self.0 & Self::TRANSACTION {
            0 => TransactionType::None,
            Self::TRANSACTION_PREPARED => TransactionType::Prepared,
            Self::TRANSACTION_COMMIT => TransactionType::Commit,
            _ => TransactionType::Rollback,
        }
    }

    /// Compression of the body, `None` when it is not compressed.
    pub fn compression(self) -> Option<Compression> {
        if !self.has(Self::COMPRESSED) {
            return None;
        }
        Some(match (self.0 & Self::COMPRESSION) >> 8 {
            0 | 3 => Compression::Zlib,
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            other => Compression::Unknown(other as u8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_their_meaning() {
        assert_eq!(SysFlag(0).transaction_type(), TransactionType::None);
        assert_eq!(SysFlag(4).transaction_type(), TransactionType::Prepared);
        assert_eq!(SysFlag(8).transaction_type(), TransactionType::Commit);
        assert_eq!(SysFlag(12).transaction_type(), TransactionType::Rollback);
        assert_eq!(SysFlag(0x300).compression(), None);
        assert_eq!(SysFlag(0x301).compression(), Some(Compression::Zlib));
        assert_eq!(SysFlag(1).compression(), Some(Compression::Zlib));
        assert_eq!(SysFlag(0x101).compression(), Some(Compression::Lz4));
        assert_eq!(SysFlag(0x201).compression(), Some(Compression::Zstd));
        assert_eq!(SysFlag(0x701).compression(), Some(Compression::Unknown(7)));
        assert_eq!(SysFlag(0).with(0x30).without(0x10), SysFlag(0x20));
    }
}
