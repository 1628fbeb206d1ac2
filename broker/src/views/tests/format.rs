//! The bytes of a view file, as `docs/storage.md` gives them: written once here by hand.

use std::fs;

use super::node::{Node, message};

#[test]
fn the_bytes_of_a_file_are_fixed() {
    let mut node = Node::new();
    node.commit(&[], &[message("beta", 2, "TagA"), message("alpha", 0, "TagA"), message("alpha", 0, "TagB")]);
    node.roll();
    node.keep();
    let segment = crate::views::SegmentSource::segments(&*node.log).unwrap()[0];
    let bytes = fs::read(&node.files()[0]).unwrap();
    assert_eq!(node.files()[0].file_name().unwrap(), "00000000000000000000");

    let mut expected = Vec::new();
    expected.extend_from_slice(b"FLTQUEUE");
    expected.extend_from_slice(&[1, 0, 0, 0]);
    expected.extend_from_slice(&bytes[12..16]);
    for value in [0, segment.end, segment.last_index, segment.last_term, 3] {
        expected.extend_from_slice(&value.to_le_bytes());
    }
    // 4 + (4 + 5) + 4 + 16 for alpha, (4 + 4) + 4 + 16 for beta.
    expected.extend_from_slice(&[61, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[2, 0, 0, 0]);
    expected.extend_from_slice(b"\x05\0\0\0alpha\x01\0\0\0");
    expected.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0");
    expected.extend_from_slice(b"\x04\0\0\0beta\x01\0\0\0");
    expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0");
    expected.extend_from_slice(&bytes[125..129]);
    let sizes = [("alpha", 2_598_919_i64), ("alpha", 2_598_920), ("beta", 2_598_919)];
    let beta = message("beta", 2, "TagA").len() as i64;
    let alpha = message("alpha", 0, "TagA").len() as i64;
    // The second entry's messages begin behind its record header and the payload's header.
    let second = segment.end as i64 - beta - 2 * alpha;
    for ((topic, code), position) in sizes.into_iter().zip([second + beta, second + beta + alpha, second]) {
        expected.extend_from_slice(&position.to_be_bytes());
        expected.extend_from_slice(&(if topic == "beta" { beta } else { alpha } as i32).to_be_bytes());
        expected.extend_from_slice(&code.to_be_bytes());
    }
    assert_eq!(bytes, expected);

    let crc = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    assert_eq!(bytes[125..129], crc(&bytes[129..]).to_le_bytes());
    assert_eq!(bytes[12..16], crc(&bytes[16..129]).to_le_bytes());
}
