//! Each kind of damage to a view file is found and mended from the log.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::histories::sealed_node;
use super::node::Node;
use crate::views::file::{Entry, ViewFile};
use crate::views::{SegmentSource, Unit};

/// Damages the middle file of three while the node is down, and lets it mend.
fn mended_at_start(what: &str, damage: impl FnOnce(&Path, Vec<u8>)) {
    let mut node = sealed_node();
    node.keep();
    let path = node.files()[1].clone();
    let whole = fs::read(&path).unwrap();
    damage(&path, whole.clone());
    node.restart();
    node.keep();
    assert_eq!(node.log.scans(), 1, "{what}: exactly the damaged segment is scanned");
    assert!(node.views.is_ready());
    node.check();
    assert_eq!(fs::read(&path).unwrap(), whole, "{what}: the rebuilt file is the file that was");
}

#[test]
fn missing() {
    mended_at_start("missing", |path, _| fs::remove_file(path).unwrap());
}

#[test]
fn truncated() {
    for size in [0, 1, 63, 64, 100, 200, 5_000] {
        mended_at_start("truncated", |path, whole| fs::write(path, &whole[..size]).unwrap());
    }
    mended_at_start("one byte short", |path, whole| fs::write(path, &whole[..whole.len() - 1]).unwrap());
}

#[test]
fn too_long() {
    mended_at_start("too long", |path, mut whole| {
        whole.push(0);
        fs::write(path, whole).unwrap();
    });
}

#[test]
fn zeroed() {
    mended_at_start("zeroed", |path, whole| fs::write(path, vec![0; whole.len()]).unwrap());
    mended_at_start("zeroed page", |path, mut whole| {
        whole[..100].fill(0);
        fs::write(path, whole).unwrap();
    });
}

#[test]
fn from_the_future() {
    mended_at_start("newer version", |path, mut whole| {
        whole[8] = 2;
        fs::write(path, whole).unwrap();
    });
}

#[test]
fn of_another_history() {
    // A segment of the same place whose last entry is of another term, or lies elsewhere.
    for (at, what) in [(24, "end"), (32, "last index"), (40, "last term"), (16, "base")] {
        mended_at_start(what, |path, mut whole| {
            whole[at] ^= 1;
            fs::write(path, whole).unwrap();
        });
    }
}

#[test]
fn of_another_segment() {
    mended_at_start("neighbour's file", |path, _| {
        let first = path.parent().unwrap().join("00000000000000000000");
        fs::copy(first, path).unwrap();
    });
}

/// Every region of the file, one bit at a time: found at the start (header, directory, checksums) or by the first read (units).
#[test]
fn any_flipped_bit_is_found() {
    let mut node = Node::new();
    node.send("alpha", 0, 3);
    node.send("beta", 2, 2);
    node.roll();
    node.keep();
    let path = node.files()[0].clone();
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() < 300, "small enough to try every byte");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        node.restart();
        node.keep();
        // Damaged units show when they are read.
        for (topic, queue_id) in [("alpha", 0), ("beta", 2)] {
            match node.views.queue(topic, queue_id).unwrap().units(0, 1, &mut Vec::new()) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    node.keep();
                }
            }
        }
        node.check();
        assert_eq!(fs::read(&path).unwrap(), whole, "byte {at} is mended");
    }
}

#[test]
fn damage_under_an_open_file_is_found_by_the_read_and_mended() {
    let node = sealed_node();
    node.keep();
    let path = node.files()[1].clone();
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let last = bytes.len() - 5;
    bytes[last] ^= 0x80;
    fs::write(&path, &bytes).unwrap();
    // The last units of the file are beta's; alpha's lie in other blocks and are read as before.
    let (alpha, beta) = (node.views.queue("alpha", 0).unwrap(), node.views.queue("beta", 3).unwrap());
    let mut units = Vec::new();
    alpha.units(700, 100, &mut units).unwrap();
    let error = beta.units(2199, 1, &mut units).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(units.len(), 100, "nothing of the damaged block came out");
    node.keep();
    assert_eq!(node.log.scans(), 1);
    node.check();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn a_folder_in_the_file_s_place_is_reported_and_tried_again() {
    let mut node = sealed_node();
    node.keep();
    let path = node.files()[1].clone();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "x").unwrap();
    node.restart();
    node.keep();
    assert!(!node.views.is_ready());
    // The segment before it is there, so a read ends where it ends.
    let alpha = node.views.queue("alpha", 0).unwrap();
    let mut units = Vec::new();
    alpha.units(690, 100, &mut units).unwrap();
    assert_eq!(units.len(), 10);
    assert_eq!(alpha.units(700, 100, &mut units).unwrap_err().kind(), ErrorKind::WouldBlock);
    fs::remove_dir_all(&path).unwrap();
    node.keep();
    assert!(node.views.is_ready());
    node.check();
}

/// Files that are whole by all their checksums, name the right segment, and still tell other numbers than the queues have.
#[test]
fn a_whole_file_about_other_numbers_is_made_anew() {
    for (first, count) in [(1, 2), (0, 4), (-1, 3), (3, 1)] {
        let mut node = Node::new();
        node.send("alpha", 0, 3);
        node.roll();
        let segment = node.log.segments().unwrap()[0];
        let path = node.dir.path().join("queues").join("00000000000000000000");
        let directory = vec![Entry { topic: "alpha".into(), queue_id: 0, first, count }];
        let unit = Unit { physical_offset: 7, size: 7, tags_code: 7 };
        ViewFile::write(&path, &segment, &directory, |_, _, count, out| {
            (0..count).for_each(|_| out.extend_from_slice(&unit.encode()));
            Ok(())
        })
        .unwrap();
        node.keep();
        assert_eq!(node.log.scans(), 0, "memory had it");
        node.check();
    }
}
