//! Does a log's work after drawn pauses, as its threads and a disk would take them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flotilla_raft_store::{Driver, LogWork};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::random::Random;
use crate::surface::now_ms;

/// How fast a disk is.
#[derive(Debug, Clone)]
struct Pace {
    random: Random,
    /// Longest pause before a group is written and synced.
    write_ms_max: u64,
    /// Until then nothing is written.
    stalled_until_ms: u64,
}

/// A log's hands. Clones are the same ones.
#[derive(Clone)]
pub struct SlowHands(Arc<Inner>);

struct Inner {
    work: OnceLock<LogWork>,
    to_write: Notify,
    in_background: Notify,
    pace: Mutex<Pace>,
}

impl fmt::Debug for SlowHands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowHands")
    }
}

impl SlowHands {
    /// Hands for one log. A group of writes takes at most so long while the disk is well.
    pub fn new(write_ms_max: u64, random: Random) -> Self {
        Self(Arc::new(Inner {
            work: OnceLock::new(),
            to_write: Notify::new(),
            in_background: Notify::new(),
            pace: Mutex::new(Pace { random, write_ms_max, stalled_until_ms: 0 }),
        }))
    }

    /// The disk hangs until then.
    pub fn stall_until(&self, until_ms: u64) {
        self.0.pace.lock().stalled_until_ms = until_ms;
    }
}

impl Driver for SlowHands {
    fn begun(&self, work: LogWork) {
        // A log is opened once per start, and each start has its own hands.
        self.0.work.set(work).ok();
        tokio::spawn(Arc::clone(&self.0).write());
        tokio::spawn(Arc::clone(&self.0).tidy());
    }

    fn queued(&self) {
        self.0.to_write.notify_one();
        self.0.in_background.notify_one();
    }
}

impl Inner {
    async fn pause(&self) {
        let pause_ms = {
            let mut pace = self.pace.lock();
            let longest = pace.write_ms_max;
            let own = pace.random.between(0, longest);
            own.max(pace.stalled_until_ms.saturating_sub(now_ms()))
        };
        if pause_ms == 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    async fn write(self: Arc<Self>) {
        let Some(work) = self.work.get() else { return };
        loop {
            self.to_write.notified().await;
            loop {
                self.pause().await;
                let wrote = work.write_group();
                self.in_background.notify_one();
                if !wrote {
                    break;
                }
            }
        }
    }

    async fn tidy(self: Arc<Self>) {
        let Some(work) = self.work.get() else { return };
        loop {
            match work.due() {
                Some(due) => {
                    let within = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                    drop(tokio::time::timeout(within, self.in_background.notified()).await);
                }
                None => self.in_background.notified().await,
            }
            loop {
                self.pause().await;
                if !work.do_background() {
                    break;
                }
            }
        }
    }
}
