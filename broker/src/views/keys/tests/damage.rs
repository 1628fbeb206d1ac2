//! Each kind of damage to a key file is found and mended from the log.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::node::{Node, any_time, check_all, full_node, keyed};

fn mended_at_start(what: &str, damage: impl FnOnce(&Path, Vec<u8>)) {
    let mut node = full_node();
    node.keep();
    let path = node.files()[2].clone();
    let whole = fs::read(&path).unwrap();
    damage(&path, whole.clone());
    node.restart();
    node.keep();
    assert!(node.covered(), "{what}");
    check_all(&node);
    assert_eq!(fs::read(&path).unwrap(), whole, "{what}: the rebuilt file is the file that was");
}

#[test]
fn missing_short_long_and_zeroed() {
    mended_at_start("missing", |path, _| fs::remove_file(path).unwrap());
    for size in [0, 1, 79, 80, 90, 200] {
        mended_at_start("short", |path, whole| fs::write(path, &whole[..size]).unwrap());
    }
    mended_at_start("a byte short", |path, whole| fs::write(path, &whole[..whole.len() - 1]).unwrap());
    mended_at_start("long", |path, mut whole| {
        whole.push(0);
        fs::write(path, whole).unwrap();
    });
    mended_at_start("zeroed", |path, whole| fs::write(path, vec![0; whole.len()]).unwrap());
}

#[test]
fn of_another_version_segment_or_entry() {
    for at in [0, 8, 16, 24, 32, 40, 72] {
        mended_at_start("header", |path, mut whole| {
            whole[at] ^= 2;
            fs::write(path, whole).unwrap();
        });
    }
    mended_at_start("neighbour's file", |path, _| {
        let neighbour = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        fs::copy(neighbour.filter(|other| other != path).min().unwrap(), path).unwrap();
    });
}

/// Every bit of a file is found out: at the start, or by the first look-up.
#[test]
fn any_flipped_bit_is_found() {
    let mut node = Node::new();
    node.commit(&[keyed("t", "a b"), keyed("t", "c")]);
    node.roll();
    node.commit(&[]);
    node.keep();
    let path = node.files()[0].clone();
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() < 150, "small enough to try every byte");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        node.restart();
        node.keep();
        if let Err(error) = node.find(&any_time("t", "a")) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            node.keep();
        }
        for key in ["a", "b", "c", "d"] {
            // A look that skips the damaged block by its head finds it at the next.
            if node.find(&any_time("t", key)).is_err() {
                node.keep();
            }
            node.check(&any_time("t", key));
        }
        assert_eq!(fs::read(&path).unwrap(), whole, "byte {at} is mended");
    }
}

#[test]
fn damage_under_an_open_file_is_found_by_the_look_and_mended() {
    let mut node = full_node();
    node.keep();
    let path = node.files()[0].clone();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![7; whole.len()]).unwrap();
    let error = node.find(&any_time("orders", "round-0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    node.keep();
    assert!(node.covered());
    check_all(&node);
    assert_eq!(fs::read(&path).unwrap(), whole);
}
