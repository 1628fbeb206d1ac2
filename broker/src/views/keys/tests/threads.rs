//! The index with its thread: who waits finds everything that was applied before.

use std::time::{Duration, Instant};

use super::node::{Node, keyed};
use crate::views::keys::KeyIndex;

/// A deadline that only a hang reaches.
fn patience() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[test]
fn whoever_waits_finds_what_was_applied_before() {
    let mut node = Node::new();
    let index = KeyIndex::open(node.dir.path(), node.log.clone()).unwrap();
    index.reset(1);
    for number in 0..300 {
        node.commit(&[keyed("t", &format!("k-{number}"))]);
        index.applied(node.next_index - 1);
        if number % 50 == 7 {
            node.roll();
        }
        if number % 10 == 0 {
            assert!(index.wait(patience()), "{number}");
            let key = format!("k-{number}");
            let read = |position| {
                node.messages.iter().find(|known| known.0 == position).map(|known| known.1.clone())
            };
            let found = index.find(&super::node::any_time("t", &key), &node.readable, &read).unwrap();
            assert_eq!(found.messages.len(), 1, "{number}");
        }
    }
    assert!(index.wait(patience()));
    assert_eq!(index.behind(), 0);
}

#[test]
fn an_index_ends_while_somebody_waits_for_it() {
    let node = Node::new();
    // Its log is attached never.
    let log = std::sync::Arc::new(super::node::TestLog::default());
    let index = KeyIndex::open(node.dir.path(), log).unwrap();
    index.reset(5);
    let waiting = {
        let index = index.clone();
        std::thread::spawn(move || index.wait(patience()))
    };
    index.keeper.pulse.stop();
    assert!(!waiting.join().unwrap());
}
