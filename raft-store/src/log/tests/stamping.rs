//! Rule 13: what gets its numbers where, and what is checked before any byte leaves.

use std::path::Path;
use std::sync::Arc;

use crate::log::testing::{Bench, Counting, TestClock, app, blank, options, read_all};
use crate::log::{AppendError, Log, WriterMode};
use crate::record::{Record, u64_at};
use crate::types::{Done, EntryKind, LogId, StampError, Stamper};
use crate::vfs::{MemVfs, Vfs};

fn open(disk: &MemVfs, stamper: impl Stamper) -> Log {
    let (vfs, clock): (Arc<dyn Vfs>, _) = (Arc::new(disk.clone()), Arc::new(TestClock::default()));
    let options = options(WriterMode::Inline);
    Log::open(vfs, Path::new("/node"), options, clock, Box::new(stamper), &mut ()).unwrap().0
}

fn never() -> Done {
    Box::new(|_| panic!("a refused append is not called back"))
}

fn ok() -> Done {
    Box::new(|outcome| outcome.unwrap())
}

/// Rule 13: one append may hold several terms and merged requests of one leader; each entry is numbered once, in order.
#[test]
fn rule_13_one_append_may_hold_several_terms() {
    let mut leader = Bench::new(WriterMode::Inline);
    let records =
        leader.append([app(1, 0, 30), blank(3, 1), app(3, 2, 30), app(3, 3, 30), blank(4, 4), app(4, 5, 30)]);
    let numbers = |records: &[Record]| -> Vec<u64> {
        let numbered = records.iter().filter(|record| record.kind() == EntryKind::Application);
        numbered.map(|record| u64_at(record.payload_slice(), 0)).collect()
    };
    assert_eq!(numbers(&records), [0, 1, 2, 3]);
    let mut follower = Bench::new(WriterMode::Inline);
    follower.append_records(records.clone()).unwrap();
    assert_eq!(follower.read_all(), records, "a follower stores the very bytes");
    let back = leader.log_mut().append_new(vec![app(3, 6, 30)], never());
    assert!(matches!(back, Err(AppendError::Hole { .. })), "a term never goes back");
}

/// Rule 13: a record whose numbers leave a hole or come twice is refused in append, before a byte is written or anything of
/// the batch is taken; the table stays as it was.
#[test]
fn rule_13_offset_continuity_is_checked_before_any_byte_leaves() {
    let numbers = Counting::default();
    let mut leader = open(&MemVfs::new(), numbers.clone());
    let good = leader.append_new((0..5).map(|n| app(1, n, 50)).collect(), ok()).unwrap();
    let rest = leader.append_new(vec![app(1, 5, 50)], ok()).unwrap();
    leader.truncate_after(Some(LogId::new(1, 4)), ok()).unwrap();
    *numbers.0.lock() += 1;
    let hole = leader.append_new(vec![app(1, 5, 50)], ok()).unwrap();
    leader.truncate_after(Some(LogId::new(1, 4)), ok()).unwrap();
    *numbers.0.lock() -= 2;
    let twice = leader.append_new(vec![app(1, 5, 50)], ok()).unwrap();

    let (disk, table) = (MemVfs::new(), Counting::default());
    let mut follower = open(&disk, table.clone());
    follower.append_records(good[..3].to_vec(), ok()).unwrap();
    for bad in [hole, twice] {
        let operations = disk.operations();
        let batch = [good[3..].to_vec(), bad].concat();
        let refused = follower.append_records(batch, never()).unwrap_err();
        assert!(matches!(&refused, AppendError::Stamp { id, .. } if *id == LogId::new(1, 5)), "{refused}");
        assert_eq!(disk.operations(), operations, "no byte has left");
        assert_eq!(follower.last(), Some(LogId::new(1, 2)), "nothing of the batch is in the log");
        assert_eq!(*table.0.lock(), 3, "the table is as it was");
    }
    follower.append_records([good[3..].to_vec(), rest.clone()].concat(), ok()).unwrap();
    assert_eq!(read_all(&follower), [good, rest].concat());
}

/// Refuses the payload that is marked, and counts what it has numbered.
#[derive(Debug, Clone, Default)]
struct Picky(Counting);

impl Stamper for Picky {
    fn stamp(&mut self, payload: &mut [u8], position: u64, time_ms: u64) -> Result<(), StampError> {
        if payload[16] == 0xEE {
            return Err(StampError::new("on purpose"));
        }
        self.0.stamp(payload, position, time_ms)
    }

    fn observe(&mut self, payload: &[u8], position: u64, time_ms: u64) -> Result<(), StampError> {
        self.0.observe(payload, position, time_ms)
    }

    fn retract(&mut self, payload: &[u8]) {
        self.0.retract(payload);
    }

    fn reset(&mut self, state: &[u8]) -> Result<(), StampError> {
        self.0.reset(state)
    }
}

/// Rule 13: a leader's batch in which one payload can't be numbered is refused as a whole, and the numbers that were given
/// before it are taken back.
#[test]
fn rule_13_a_batch_that_cannot_be_stamped_leaves_no_number_used() {
    let (disk, picky) = (MemVfs::new(), Picky::default());
    let mut log = open(&disk, picky.clone());
    log.append_new(vec![app(1, 0, 40)], ok()).unwrap();
    let operations = disk.operations();
    let mut bad = vec![0; 72 + 40];
    bad[72 + 16] = 0xEE;
    let mut refused = app(1, 3, 40);
    refused.body = crate::log::Body::HeadRoom(bad.into());
    let outcome = log.append_new(vec![app(1, 1, 40), blank(1, 2), refused], never());
    assert!(matches!(outcome, Err(AppendError::Stamp { .. })), "{outcome:?}");
    assert_eq!((disk.operations(), log.last()), (operations, Some(LogId::new(1, 0))));
    assert_eq!(*picky.0.0.lock(), 1);
    let next = log.append_new(vec![app(1, 1, 40)], ok()).unwrap();
    assert_eq!(u64_at(next[0].payload_slice(), 0), 1, "dense");
}
