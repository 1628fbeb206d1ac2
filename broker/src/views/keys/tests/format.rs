//! The bytes of a key file, as `docs/storage.md` gives them: written once here by hand.

use std::fs;

use super::node::{Node, START_MS, keyed};

#[test]
fn the_bytes_of_a_file_are_fixed() {
    let number = |_: &[u8], key: &[u8]| u64::from(key[0]);
    let mut node = Node::with(number, 1000);
    node.commit(&[keyed("t", "b a")]);
    node.commit(&[keyed("t", "c a")]);
    node.roll();
    node.commit(&[]);
    node.keep();
    let bytes = fs::read(&node.files()[0]).unwrap();
    assert_eq!(node.files()[0].file_name().unwrap(), "00000000000000000000");
    let (first, second) = (node.messages[0].0, node.messages[1].0);

    let mut expected = Vec::new();
    expected.extend_from_slice(b"FLTKEYS1");
    expected.extend_from_slice(&[1, 0, 0, 0]);
    expected.extend_from_slice(&bytes[12..16]);
    // Base, first and last entry, term.
    for value in [0_u64, 0, 2, 1] {
        expected.extend_from_slice(&value.to_le_bytes());
    }
    expected.extend_from_slice(&(START_MS + 1000).to_le_bytes());
    expected.extend_from_slice(&(START_MS + 2000).to_le_bytes());
    expected.extend_from_slice(&second.to_le_bytes());
    expected.extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&u64::from(b'a').to_le_bytes());
    expected.extend_from_slice(&bytes[88..92]);
    for (key, position) in [(b'a', first), (b'a', second), (b'b', first), (b'c', second)] {
        expected.extend_from_slice(&u64::from(key).to_le_bytes());
        expected.extend_from_slice(&(position as u32).to_le_bytes());
    }
    assert_eq!(bytes, expected);

    let crc = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    assert_eq!(bytes[88..92], crc(&bytes[92..]).to_le_bytes());
    assert_eq!(bytes[12..16], crc(&bytes[16..92]).to_le_bytes());
}
