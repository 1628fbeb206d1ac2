//! Checksums, and the numbers of a header.

use crc_fast::{CrcAlgorithm, Digest};

use super::CRC_AT;

/// CRC that the record of index 0 names as its predecessor's, so that logs of two groups never chain.
pub fn genesis_crc(cluster: &str, group: &str) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(cluster.as_bytes());
    digest.update(&[0]);
    digest.update(group.as_bytes());
    digest.finalize() as u32
}

/// CRC-32C of a whole buffer.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

pub(super) fn record_crc(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&bytes[..CRC_AT]);
    digest.update(&bytes[CRC_AT + 4..]);
    digest.finalize() as u32
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_differs_between_groups_and_has_no_ambiguous_joint() {
        assert_ne!(genesis_crc("a", "b"), genesis_crc("ab", ""));
        assert_ne!(genesis_crc("c", "broker-a"), genesis_crc("c", "broker-b"));
    }
}
