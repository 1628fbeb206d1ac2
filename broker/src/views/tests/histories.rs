//! What happens to a node: sealing, restarts, retention, checkpoints, and everything at random.

use std::io::ErrorKind;

use flotilla_core::{Command, Perm, TopicConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use super::node::{Node, message};

/// Three sealed segments and an open one, two topics.
pub(super) fn sealed_node() -> Node {
    let mut node = Node::new();
    for segment in 0..3 {
        node.send("alpha", 0, 700);
        node.send("alpha", 1, 3 + segment);
        node.send("beta", 3, 1100);
        node.roll();
    }
    node.send("alpha", 0, 10);
    node.send("beta", 0, 1);
    node
}

#[test]
fn units_are_found_in_memory_in_files_and_across_them() {
    let mut node = sealed_node();
    node.check();
    node.keep();
    assert_eq!(node.files().len(), 3);
    assert_eq!(node.log.scans(), 0, "what is in memory is written from memory");
    node.check();
    node.send("alpha", 0, 5);
    node.check();
    assert!(node.views.is_ready());
}

#[test]
fn memory_keeps_only_what_is_not_in_files() {
    let node = sealed_node();
    let alpha = node.views.queue("alpha", 0).unwrap();
    assert!(alpha.in_memory(0));
    node.keep();
    assert!(!alpha.in_memory(2099));
    assert!(alpha.in_memory(2100));
    assert!(alpha.in_memory(9999), "nothing to read there, nowhere");
}

#[test]
fn a_restart_loads_the_files_and_scans_nothing() {
    let mut node = sealed_node();
    node.keep();
    node.restart();
    assert!(!node.views.is_ready());
    node.keep();
    assert!(node.views.is_ready());
    assert_eq!(node.log.scans(), 0);
    node.check();
}

#[test]
fn a_restart_before_the_keeper_came_to_it_scans_what_is_missing() {
    let mut node = sealed_node();
    node.restart();
    node.keep();
    assert_eq!((node.log.scans(), node.files().len()), (3, 3));
    node.check();
}

#[test]
fn until_the_log_is_attached_the_past_is_not_known_and_files_stay() {
    let mut node = sealed_node();
    node.keep();
    let segments = node.detach_log();
    node.restart();
    node.keep();
    assert!(!node.views.is_ready());
    assert_eq!(node.files().len(), 3);
    let alpha = node.views.queue("alpha", 0).unwrap();
    assert_eq!((alpha.range().min, alpha.range().max), (0, 2110));
    let mut units = Vec::new();
    assert_eq!(alpha.units(0, 10, &mut units).unwrap_err().kind(), ErrorKind::WouldBlock);
    alpha.units(2100, 10, &mut units).unwrap();
    assert_eq!(units.len(), 10);
    node.attach_log(segments);
    node.keep();
    node.check();
}

#[test]
fn the_newest_segments_are_known_first() {
    let mut node = sealed_node();
    node.restart();
    assert!(node.views.keeper.pass());
    let alpha = node.views.queue("alpha", 0).unwrap();
    let mut units = Vec::new();
    alpha.units(1400, 5, &mut units).unwrap();
    assert_eq!(alpha.units(1399, 5, &mut units).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_read_ends_where_the_rest_is_being_rebuilt() {
    let mut node = sealed_node();
    node.keep();
    let alpha = node.views.queue("alpha", 0).unwrap();
    // Segment two becomes unreadable; a read that starts in segment one gives what there is.
    std::fs::OpenOptions::new().write(true).open(&node.files()[1]).unwrap().set_len(700).unwrap();
    let mut units = Vec::new();
    alpha.units(690, 100, &mut units).unwrap();
    assert_eq!(units.len(), 10);
    assert_eq!(alpha.units(700, 100, &mut units).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(units.len(), 10);
    node.keep();
    node.check();
    node.send("alpha", 0, 1);
    node.check();
}

#[test]
fn purged_segments_take_their_files_along() {
    let mut node = sealed_node();
    node.keep();
    node.purge_oldest();
    node.keep();
    assert_eq!(node.files().len(), 2);
    let alpha = node.views.queue("alpha", 0).unwrap();
    assert_eq!(alpha.range().min, 700);
    let gone = alpha.units(699, 1, &mut Vec::new()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::WouldBlock, "the open file is let go");
    node.check();
    node.restart();
    node.keep();
    node.check();
}

#[test]
fn a_segment_that_is_purged_before_it_was_written_leaves_memory() {
    let mut node = sealed_node();
    node.purge_oldest();
    node.roll();
    node.keep();
    assert_eq!((node.files().len(), node.log.scans()), (3, 0));
    assert!(node.views.is_ready());
    node.check();
}

#[test]
fn a_sealed_segment_waits_until_all_of_it_is_applied() {
    let mut node = sealed_node();
    node.keep();
    let late = node.append(&[], &[message("alpha", 0, "late")]);
    node.seal();
    node.keep();
    assert_eq!(node.files().len(), 3);
    node.apply_new(late);
    node.keep();
    assert_eq!(node.files().len(), 4);
    node.check();
}

#[test]
fn left_overs_in_the_folder_go() {
    let node = sealed_node();
    node.keep();
    for name in ["00000000000000000077", "00000000000000000000.tmp", "notes.txt"] {
        std::fs::write(node.dir.path().join("queues").join(name), "x").unwrap();
    }
    node.keep();
    assert_eq!(node.files().len(), 3);
    node.check();
}

#[test]
fn a_checkpoint_inside_a_segment_is_completed_from_the_log() {
    let mut node = sealed_node();
    node.checkpoint_here();
    node.send("alpha", 0, 20);
    node.restart();
    node.keep();
    node.check();
    node.send("beta", 0, 4);
    node.roll();
    node.keep();
    assert_eq!(node.files().len(), 4);
    node.check();
}

#[test]
fn segments_sealed_since_the_checkpoint_wait_for_the_one_that_it_cuts() {
    let mut node = sealed_node();
    node.checkpoint_here();
    for _ in 0..3 {
        node.send("alpha", 0, 20);
        node.send("beta", 2, 2);
        node.seal();
    }
    node.send("alpha", 0, 1);
    node.restart();
    node.keep();
    assert_eq!(node.log.scans(), 4, "three before the checkpoint and the one around it");
    assert_eq!(node.files().len(), 6);
    node.check();
    node.restart();
    node.keep();
    assert_eq!(node.log.scans(), 4);
    node.check();
}

#[test]
fn a_deleted_topic_hides_its_numbers_and_continues() {
    let mut node = sealed_node();
    node.keep();
    node.commit(&[Command::DeleteTopic { topic: "alpha".into() }], &[]);
    let alpha = node.views.queue("alpha", 0).unwrap();
    assert_eq!((alpha.range().min, alpha.range().max), (2110, 2110));
    node.commit(
        &[Command::PutTopic(TopicConfig::new("alpha", 4, Perm::READ_WRITE))],
        &[message("alpha", 0, "x")],
    );
    node.check();
    node.roll();
    node.restart();
    node.keep();
    node.check();
}

#[test]
fn an_installed_state_replaces_everything() {
    let mut node = sealed_node();
    node.keep();
    let old = node.views.queue("alpha", 0).unwrap();
    // As after an installation at the last checkpoint: the same object takes the state, then the entries behind it.
    let tables = flotilla_core::Tables::decode(&node.checkpoint).unwrap();
    node.views.reset(&tables);
    assert!(!node.views.is_ready());
    node.restart();
    node.keep();
    node.check();
    let mut units = Vec::new();
    old.units(0, 3, &mut units).unwrap();
    assert_eq!(units.len(), 3, "a reader that holds the old queue ends in peace");
}

#[derive(Debug, Clone)]
enum Step {
    Send { topic: bool, queue_id: u32, count: usize },
    Mixed(usize),
    Roll,
    Seal,
    Keep,
    Restart,
    Checkpoint,
    Purge,
    Delete,
    Flip { file: prop::sample::Index, byte: prop::sample::Index },
    Cut { file: prop::sample::Index, size: prop::sample::Index },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any::<bool>(), 0_u32..4, 1_usize..40).prop_map(|(topic, queue_id, count)| Step::Send { topic, queue_id, count }),
        2 => (1_usize..30).prop_map(Step::Mixed),
        2 => Just(Step::Roll),
        2 => Just(Step::Seal),
        3 => Just(Step::Keep),
        2 => Just(Step::Restart),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Purge),
        1 => Just(Step::Delete),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(file, byte)| Step::Flip { file, byte }),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(file, size)| Step::Cut { file, size }),
    ]
}

fn take(node: &mut Node, step: Step) {
    match step {
        Step::Send { topic, queue_id, count } => {
            node.send(if topic { "alpha" } else { "beta" }, queue_id, count)
        }
        Step::Mixed(count) => {
            let topics = ["alpha", "beta", "alpha", "alpha"];
            let messages: Vec<_> = (0..count).map(|n| message(topics[n % 4], (n % 3) as u32, "x")).collect();
            node.commit(&[], &messages);
        }
        Step::Roll => node.roll(),
        Step::Seal => node.seal(),
        Step::Keep => node.keep(),
        Step::Restart => node.restart(),
        Step::Checkpoint => node.checkpoint_here(),
        Step::Purge => node.purge_oldest(),
        Step::Delete => {
            let again = Command::PutTopic(TopicConfig::new("alpha", 4, Perm::READ_WRITE));
            node.commit(&[Command::DeleteTopic { topic: "alpha".into() }, again], &[]);
        }
        Step::Flip { file, byte } => {
            let files = node.files();
            if !files.is_empty() {
                let path = file.get(&files);
                let mut bytes = std::fs::read(path).unwrap();
                if !bytes.is_empty() {
                    let at = byte.index(bytes.len());
                    bytes[at] ^= 0x10;
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
        Step::Cut { file, size } => {
            let files = node.files();
            if !files.is_empty() {
                let path = file.get(&files);
                let bytes = std::fs::read(path).unwrap();
                std::fs::write(path, &bytes[..size.index(bytes.len() + 1)]).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens, once the keeper has come to rest every queue shows its messages. Damage in open files may be found by
    /// the reading itself, so reading is repeated once after the keeper.
    #[test]
    fn prop_views_always_find_back_to_the_log(steps in vec(any_step(), 1..40)) {
        let mut node = Node::new();
        for step in steps {
            take(&mut node, step);
        }
        loop {
            node.keep();
            let mut clean = true;
            for ((topic, queue_id), (min, units)) in &node.model {
                let view = node.views.queue(topic, *queue_id).unwrap();
                let mut found = Vec::new();
                while *min + (found.len() as i64) < units.len() as i64 {
                    match view.units(*min + found.len() as i64, 1000, &mut found) {
                        Ok(()) => {}
                        Err(error) => {
                            prop_assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            clean = false;
                            break;
                        }
                    }
                }
            }
            if clean {
                break;
            }
        }
        node.check();
        prop_assert!(node.views.is_ready());
    }
}
