//! The keeper's thread beside a writer and readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::node::Node;
use crate::views::ConsumeQueues;

/// Spins until a claim holds; the bound only ends a failing test.
fn eventually(what: &str, claim: impl Fn() -> bool) {
    let start = Instant::now();
    while !claim() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come true");
        std::thread::yield_now();
    }
}

#[test]
fn readers_never_see_a_hole_while_segments_are_sealed_under_them() {
    let mut node = Node::new();
    let views = ConsumeQueues::open(node.dir.path(), node.log.clone()).unwrap();
    views.reset(&node.tables);
    // The node writes through the threaded views from here on.
    let idle = std::mem::replace(&mut node.views, Arc::into_inner(views).unwrap());
    drop(idle);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let keeper = node.views.keeper.clone();
        for reader in 0..2 {
            let (keeper, done) = (keeper.clone(), &done);
            scope.spawn(move || {
                let mut next = 0;
                let mut units = Vec::new();
                let mut last = -1;
                loop {
                    let finished = done.load(Ordering::SeqCst);
                    let Some(queue) = keeper.topics().queue("alpha", 0) else { continue };
                    units.clear();
                    queue.units(next, 1 + reader * 50, &mut units).unwrap();
                    for unit in &units {
                        assert!(unit.physical_offset > last, "positions rise along the queue");
                        last = unit.physical_offset;
                    }
                    next += units.len() as i64;
                    if finished && next == queue.range().max {
                        assert_eq!(next, 60 * 20);
                        return;
                    }
                }
            });
        }
        for round in 0..60 {
            node.send("alpha", 0, 20);
            node.send("beta", 1, 3);
            if round % 4 == 3 {
                node.roll();
                node.views.wake();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    eventually("every sealed segment has its file", || {
        node.files().iter().filter(|path| path.extension().is_none()).count() == 15
    });
    eventually("the views are ready", || node.views.is_ready());
    node.check();
    assert!(node.log.scans() <= 1, "only the segment in which the views began is scanned");
}

#[test]
fn dropping_the_views_ends_the_thread() {
    let node = Node::new();
    let views = ConsumeQueues::open(node.dir.path(), node.log.clone()).unwrap();
    let keeper = Arc::downgrade(&views.keeper);
    drop(views);
    assert_eq!(keeper.strong_count(), 0, "the thread has let go");
}
