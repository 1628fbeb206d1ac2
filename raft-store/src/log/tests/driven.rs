//! A log whose work a driver brings about: nothing happens by itself, and everything when the driver says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::log::testing::{Bench, app, options};
use crate::log::{Driver, LogWork, WriterMode};
use crate::vfs::MemVfs;

#[derive(Debug, Default)]
struct Hand {
    work: Mutex<Option<LogWork>>,
    told: AtomicUsize,
}

impl Driver for Hand {
    fn begun(&self, work: LogWork) {
        *self.work.lock() = Some(work);
    }

    fn queued(&self) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_driver_is_told_of_work_and_does_it_when_it_likes() {
    let hand = Arc::new(Hand::default());
    let mut options = options(WriterMode::Manual);
    options.driver = Some(hand.clone());
    let mut bench = Bench::open(MemVfs::new(), options).unwrap();
    let work = hand.work.lock().clone().unwrap();
    let told = hand.told.load(Ordering::Relaxed);
    bench.append((0..40).map(|index| app(1, index, 500)));
    assert!(hand.told.load(Ordering::Relaxed) > told);
    assert_eq!(bench.log().reader().written(), 0, "nobody has written yet");
    assert!(work.write_group());
    assert!(!work.write_group(), "one group took all of it");
    let (_, end) = bench.log().reader().bounds();
    assert_eq!(bench.log().reader().synced(), end);

    assert!(work.do_background(), "the segments that were sealed have views to be written");
    while work.do_background() {}
    bench.commit(39);
    assert!(work.due().is_some(), "the marks have moved");
    bench.reopen();
    assert!(!work.write_group() && !work.do_background() && work.due().is_none(), "that log is closed");
    assert_eq!(bench.read_all().len(), 40);
}
