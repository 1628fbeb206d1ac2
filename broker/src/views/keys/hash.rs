//! Which keys a message has, and the number that stands for one.
//!
//! A message is found by its unique id and by each word of its property `KEYS`, within its topic. Rolled back transactional
//! messages are not found.
// Source: RocketMQ 5.3 IndexService#buildIndex, MessageConst (KEYS, UNIQ_KEY, KEY_SEPARATOR).

use flotilla_core::MessageShape;
use flotilla_remoting::message::TransactionType;

/// Makes a number of topic and key. Equal keys give equal numbers; the reverse need not hold, the keys are compared later.
pub(super) type Hasher = fn(&[u8], &[u8]) -> u64;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

/// The hash in the files: eight bytes at a time, each step a multiplication to 128 bits whose halves are joined. A change here
/// needs a new version of the file.
pub(super) fn hash(topic: &[u8], key: &[u8]) -> u64 {
    absorb(absorb(SEED, topic), key)
}

fn absorb(mut state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // The length keeps texts apart that differ in zero bytes at their end.
    mix(mix(state ^ u64::from_le_bytes(last)) ^ bytes.len() as u64)
}

fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ SEED) * u128::from(FACTOR);
    (product as u64) ^ (product >> 64) as u64
}

/// The keys in a property text: the unique id and the words of `KEYS`, as bytes.
pub(super) fn keys_of(properties: &[u8]) -> impl Iterator<Item = &[u8]> {
    const UNIQUE: &[u8] = b"UNIQ_KEY\x01";
    const KEYS: &[u8] = b"KEYS\x01";
    let (mut unique, mut keys) = (&[][..], &[][..]);
    for pair in properties.split(|byte| *byte == 2) {
        // Of equal names the last wins, empty values are none.
        match pair.first() {
            Some(b'K') => keys = pair.strip_prefix(KEYS).filter(|value| !value.is_empty()).unwrap_or(keys),
            Some(b'U') => {
                unique = pair.strip_prefix(UNIQUE).filter(|value| !value.is_empty()).unwrap_or(unique)
            }
            _ => {}
        }
    }
    std::iter::once(unique).chain(keys.split(|byte| *byte == b' ')).filter(|key| !key.is_empty())
}

/// The keys under which a stored message is found.
pub(super) fn keys_of_message<'a>(
    shape: &MessageShape,
    message: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let rolled_back = shape.sys_flag.transaction_type() == TransactionType::Rollback;
    keys_of(if rolled_back { &[] } else { shape.properties(message) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    fn found(properties: &str) -> Vec<String> {
        keys_of(properties.as_bytes()).map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn keys_are_the_unique_id_and_each_word() {
        assert_eq!(found("TAGS\u{1}t\u{2}KEYS\u{1}a b  c\u{2}UNIQ_KEY\u{1}id\u{2}"), ["id", "a", "b", "c"]);
        assert_eq!(found("UNIQ_KEY\u{1}id"), ["id"]);
        assert_eq!(found("KEYS\u{1}x\u{1}y"), ["x\u{1}y"]);
        assert_eq!(found(""), [""; 0]);
        assert_eq!(found("KEYSX\u{1}a\u{2}UNIQ\u{1}b\u{2}KEYS\u{1}\u{2}KEYS"), [""; 0]);
    }

    #[test]
    fn of_equal_properties_the_last_wins() {
        assert_eq!(found("KEYS\u{1}a\u{2}UNIQ_KEY\u{1}x\u{2}KEYS\u{1}b\u{2}UNIQ_KEY\u{1}y"), ["y", "b"]);
        assert_eq!(found("KEYS\u{1}a\u{2}KEYS\u{1}\u{2}"), ["a"]);
    }

    #[test]
    fn alike_topics_and_keys_have_their_own_numbers() {
        let mut seen = HashSet::new();
        for number in 0..100_000 {
            assert!(seen.insert(hash(b"orders", format!("order-{number}").as_bytes())), "{number}");
        }
        for (topic, key) in
            [("ordersorder-1", ""), ("", "ordersorder-1"), ("order", "sorder-1"), ("orders", "order-1\0")]
        {
            assert!(seen.insert(hash(topic.as_bytes(), key.as_bytes())), "{topic} {key}");
        }
        // Spread: no eighth of the numbers is far from its share.
        let low = seen.iter().filter(|hash| **hash >> 61 == 0).count();
        assert!((11_000..14_000).contains(&low), "{low}");
    }

    /// Files outlive the program that wrote them.
    #[test]
    fn the_numbers_are_fixed() {
        assert_eq!(hash(b"", b""), 0x411437249E5458BE);
        assert_eq!(hash(b"TopicTest", b"order-7"), 0xFB9F9083C65CFB52);
    }
}
