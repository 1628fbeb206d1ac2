//! What happens to a node: sealing, restarts, retention, other histories.

use std::fs;
use std::sync::atomic::Ordering;

use super::node::{Node, any_time, check_all, full_node, full_node_of_term};

#[test]
fn a_restart_reads_only_what_no_file_covers() {
    let mut node = full_node();
    node.keep();
    let newest: u64 = node.files().last().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
    let before = node.log.shown.swap(0, Ordering::SeqCst);
    node.restart();
    node.keep();
    let shown = node.log.shown.load(Ordering::SeqCst);
    assert!(shown < before / 4 && (shown as u64) < node.next_index - newest, "{shown} of {before}");
    assert!(node.covered());
    check_all(&node);
}

#[test]
fn a_folder_that_was_lost_is_rebuilt_with_the_newest_first() {
    let mut node = full_node();
    node.keep();
    node.files().iter().for_each(|file| fs::remove_file(file).unwrap());
    node.restart();
    let mut hands = std::mem::take(&mut node.hands);
    // Opened, then the tail: the open segment is there before any gap is looked at.
    while node.index.keeper.behind() > 0 {
        assert!(node.index.keeper.step(&mut hands).unwrap());
    }
    assert_eq!(node.by_key("orders", "round-3").len(), 100);
    assert_eq!(node.by_key("orders", "round-0"), [0; 0]);
    assert!(!node.covered());
    node.hands = hands;
    node.keep();
    assert!(node.covered());
    check_all(&node);
}

#[test]
fn purged_segments_take_their_files_along() {
    let mut node = full_node();
    node.keep();
    for segments in [3, 2, 1] {
        let before = node.files().len();
        node.purge();
        assert_eq!(node.by_key("orders", "round-0"), [0; 0], "before any file is gone");
        node.keep();
        assert!(node.files().len() < before);
        assert!(node.covered());
        assert_eq!(node.by_key("orders", "order-5").len(), segments);
        check_all(&node);
    }
    node.restart();
    node.keep();
    check_all(&node);
}

#[test]
fn a_tail_whose_segment_is_purged_starts_over() {
    let mut node = Node::new();
    node.send("t", "old");
    node.keep();
    node.roll();
    node.send("t", "new");
    node.purge();
    node.keep();
    assert!(node.covered());
    assert_eq!((node.by_key("t", "old").len(), node.by_key("t", "new").len()), (0, 1));
}

#[test]
fn a_segment_that_was_sealed_before_the_next_has_an_entry_is_kept() {
    let mut node = Node::new();
    node.send("t", "a");
    node.keep();
    node.roll();
    node.keep();
    assert_eq!(node.files().len(), 1, "its keys are a file already");
    assert_eq!(node.by_key("t", "a").len(), 1);
    node.send("t", "a");
    node.keep();
    assert_eq!(node.by_key("t", "a").len(), 2);
}

/// A start applies again what came after the last checkpoint: files may know more than is applied.
#[test]
fn a_start_that_is_still_applying_knows_the_files() {
    let mut node = full_node();
    node.keep();
    node.restart_at(20);
    node.keep();
    for key in ["round-0", "round-1", "round-2", "id-1-50"] {
        node.check(&any_time("orders", key));
    }
    for index in 20..node.next_index {
        node.index.applied(index);
    }
    node.keep();
    assert!(node.covered());
    check_all(&node);
}

#[test]
fn files_of_another_history_are_made_anew() {
    let (mut node, mut other) = (full_node(), full_node_of_term(2));
    node.keep();
    other.keep();
    let own: Vec<_> = other.files().iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, copy) in node.files().iter().zip(other.files()) {
        fs::copy(file, copy).unwrap();
    }
    let misnamed = other.dir.path().join("keys/00000000000000000078");
    fs::copy(&node.files()[1], &misnamed).unwrap();
    other.restart();
    other.keep();
    assert!(other.covered());
    check_all(&other);
    assert!(!misnamed.exists());
    let again: Vec<_> = other.files().iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(own, again);
}

#[test]
fn a_reset_throws_away_what_was_built_for_the_state_before() {
    let mut node = full_node();
    node.keep();
    node.index.reset(node.next_index);
    assert!(!node.covered());
    node.keep();
    assert!(node.covered());
    check_all(&node);
}

#[test]
fn left_overs_are_removed() {
    let mut node = Node::new();
    for name in ["00000000000000000000.tmp", "notes.txt", "00000000000000009999"] {
        fs::write(node.dir.path().join("keys").join(name), b"x").unwrap();
    }
    node.send("t", "a");
    node.restart();
    node.keep();
    assert_eq!(node.files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(node.by_key("t", "a").len(), 1);
}
