//! What a query gives: which messages, in which order, how many, of which time.

use super::node::{Node, START_MS, any_time, check_all, full_node, keyed, message};
use crate::views::keys::KeyQuery;
use crate::views::keys::hash::hash;

#[test]
fn keys_are_found_in_memory_and_in_files_and_in_both() {
    let mut node = full_node();
    node.keep();
    assert!(node.covered());
    assert!(node.files().len() >= 9, "{:?}", node.files());
    check_all(&node);
    assert_eq!(node.by_key("orders", "order-50").len(), 4, "one per segment");
}

#[test]
fn a_message_is_found_by_its_unique_id_and_by_each_of_its_words() {
    let mut node = Node::new();
    node.commit(&[message("t", "KEYS\u{1}red green red\u{2}UNIQ_KEY\u{1}7F00\u{2}")]);
    node.keep();
    for key in ["red", "green", "7F00"] {
        assert_eq!(node.by_key("t", key).len(), 1, "{key}");
    }
    for (topic, key) in [("t", "blue"), ("u", "red"), ("t", "red green"), ("t", "RED"), ("t", "")] {
        assert_eq!(node.by_key(topic, key), [0; 0], "{topic} {key}");
    }
}

#[test]
fn rolled_back_messages_are_not_found_and_prepared_ones_are() {
    let mut node = Node::new();
    for flag in [0_u32, 4, 8, 12] {
        let mut message = keyed("t", &format!("k{flag} any"));
        message[36..40].copy_from_slice(&flag.to_be_bytes());
        node.commit(&[message]);
    }
    node.keep();
    let found = ["k0", "k4", "k8", "k12"].map(|key| node.by_key("t", key).len());
    assert_eq!(found, [1, 1, 1, 0]);
    assert_eq!(node.by_key("t", "any").len(), 3);
}

#[test]
fn the_newest_are_given_and_the_oldest_of_them_comes_first() {
    let mut node = full_node();
    node.keep();
    for count_max in [0, 1, 2, 99, 100, 150, 399, 400, 1000] {
        let query = KeyQuery { count_max, ..any_time("orders", "all") };
        node.check(&query);
        assert!(node.positions(&query).is_sorted());
    }
}

#[test]
fn bytes_are_bounded_but_one_message_always_goes() {
    let mut node = full_node();
    node.keep();
    let size = node.messages[0].1.len();
    let count = |bytes_max| node.positions(&KeyQuery { bytes_max, ..any_time("orders", "order-7") }).len();
    assert_eq!((count(0), count(size), count(2 * size), count(usize::MAX)), (1, 1, 2, 4));
}

#[test]
fn both_ends_of_the_time_window_belong_to_it() {
    let mut node = full_node();
    node.keep();
    for begin in [0, 1, 50, 101, 150, 202, 303, 399, 402] {
        for length in [0, 1, 99, 100, 101, 250, 1000] {
            let (begin, end) = (START_MS + 1000 * begin, START_MS + 1000 * (begin + length));
            for (begin, end) in [(begin, end), (begin - 1, end - 1), (begin + 1, end + 1)] {
                for key in ["all", "order-50", "id-2-50", "round-1"] {
                    node.check(&KeyQuery { begin, end, ..any_time("orders", key) });
                }
            }
        }
    }
    node.check(&KeyQuery { begin: i64::MIN, end: i64::MAX, ..any_time("orders", "all") });
    node.check(&KeyQuery { begin: START_MS + 9000, end: START_MS, ..any_time("orders", "all") });
}

#[test]
fn the_newest_message_of_the_index_is_told_also_when_nothing_is_found() {
    let mut node = Node::new();
    assert_eq!(node.find(&any_time("t", "k")).unwrap().newest.position, 0);
    node.send("t", "a");
    node.commit(&[message("t", "TAGS\u{1}no-key\u{2}")]);
    node.keep();
    let newest = node.find(&any_time("t", "k")).unwrap().newest;
    assert_eq!((newest.position, newest.time), (node.messages[0].0, START_MS + 1000));
    node.roll();
    node.commit(&[]);
    node.keep();
    assert_eq!(node.find(&any_time("t", "k")).unwrap().newest, newest, "from the file");
}

/// All keys share one number: only the messages tell them apart.
#[test]
fn keys_that_share_a_hash_are_told_apart_by_the_messages() {
    let mut node = Node::with(|_, _| 42, 100);
    for round in 0..3 {
        for number in 0..100 {
            node.send(if number % 2 == 0 { "even" } else { "odd" }, &format!("key-{number} {round}"));
        }
        node.roll();
    }
    node.commit(&[]);
    node.keep();
    for number in [0, 1, 42, 99] {
        node.check(&any_time("even", &format!("key-{number}")));
        node.check(&any_time("odd", &format!("key-{number}")));
    }
    node.check(&any_time("even", "1"));
    node.check(&any_time("even", "none"));
    node.check(&KeyQuery { begin: START_MS + 50_000, end: START_MS + 150_000, ..any_time("odd", "1") });
}

#[test]
fn hashes_that_differ_in_one_bit_are_kept_apart_at_the_edges_of_blocks() {
    // Hashes 0, 1, 2 ... in a file of several blocks, many of them equal.
    let mut node = Node::with(
        |_, key| std::str::from_utf8(key).ok().and_then(|key| key.parse::<u64>().ok()).map_or(0, |n| n / 3),
        100_000,
    );
    for number in 0..6000 {
        node.send("t", &number.to_string());
    }
    node.roll();
    node.commit(&[]);
    node.keep();
    for number in (0..6000).step_by(7).chain([0, 1535, 1536, 1537, 5999]) {
        assert_eq!(node.by_key("t", &number.to_string()).len(), 1, "{number}");
    }
    node.check(&any_time("t", "6000"));
}

/// A million keys, in files and in memory; every thousandth is looked for, and as many that nobody has.
#[test]
fn a_million_keys() {
    let mut node = Node::with(hash, 1 << 18);
    let batch = |from: usize| -> Vec<_> {
        (from..from + 2000)
            .map(|number| {
                message(
                    "orders",
                    &format!("KEYS\u{1}order-{number} c-{}\u{2}UNIQ_KEY\u{1}{number:032X}", number % 997),
                )
            })
            .collect()
    };
    for from in (0..334_000).step_by(2000) {
        node.commit(&batch(from));
        if from == 200_000 {
            node.roll();
        }
    }
    node.keep();
    assert!(node.covered());
    let bytes: u64 = node.files().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((12 * 700_000..13 * 1_002_000).contains(&bytes), "{bytes} bytes for a million keys");
    for number in (0..334_000).step_by(1000) {
        let position = node.messages[number].0;
        assert_eq!(node.by_key("orders", &format!("order-{number}")), [position]);
        assert_eq!(node.by_key("orders", &format!("{number:032X}")), [position]);
        assert_eq!(node.by_key("orders", &format!("order-{}", number + 334_000)), [0; 0]);
    }
    node.check(&KeyQuery { count_max: 64, ..any_time("orders", "c-500") });
}
