//! When which fault begins and ends.
//!
//! Calm, a fault or two, calm again. With several kinds each comes about equally often: they are drawn like cards from a
//! shuffled deck. Where two are drawn at once, the second one begins while the first one goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Nemesis;
use super::faults::{Begun, Fault, hold};
use crate::cluster::Cluster;
use crate::history::{self, Kind};
use crate::recorder::Recorder;

/// Chance that a second fault is drawn.
const TOGETHER: f64 = 0.35;

/// What a nemesis works with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kinds of faults; none: nothing happens.
    pub kinds: Vec<Nemesis>,
    /// Decides everything.
    pub seed: u64,
    /// Every fault goes on for this long; `None`: as the seed draws for its kind.
    pub hold: Option<Duration>,
    /// A fault for which that is drawn goes on for this long at most.
    pub hold_max: Duration,
    /// Ends after so many faults; without it, when it is told to stop.
    pub faults_max: Option<u32>,
}

/// How often faults began, and those that could not.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kinds that were brought about and went on for as long as they were meant to, or until the end.
    pub kinds: Mutex<BTreeSet<Nemesis>>,
    /// Faults so far.
    pub begun: AtomicU32,
    /// Faults that could not be brought about.
    pub failed: AtomicU32,
    /// Faults in force now.
    pub active: AtomicU32,
}

impl Plan {
    /// Breaks things until told to stop, and ends the faults that are in force then. Dropped, they go on.
    pub async fn run(
        &self,
        cluster: Arc<Cluster>,
        recorder: Recorder,
        tally: Arc<Tally>,
        stop: CancellationToken,
    ) {
        if self.kinds.is_empty() {
            return stop.cancelled().await;
        }
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut deck = Vec::new();
        let numbers = AtomicU32::new(0);
        let stage =
            Stage { cluster, recorder, tally, stop, numbers, hold: self.hold, hold_max: self.hold_max };
        // With many kinds there is less calm between them, so that each has its turn.
        let calm = if self.kinds.len() > 2 { 1.0..2.5 } else { 1.5..5.0 };
        let enough = || self.faults_max.is_some_and(|max| stage.numbers.load(Ordering::Relaxed) >= max);
        while !stage.stop.is_cancelled() && !enough() {
            stage.pause(Duration::from_secs_f64(random.random_range(calm.clone()))).await;
            if stage.stop.is_cancelled() {
                return;
            }
            let first = draw(&mut deck, &self.kinds, &stage.tally, &mut random);
            let together = self.kinds.len() > 1 && random.random_bool(TOGETHER);
            let (one, other) = (random.random(), random.random());
            let later = Duration::from_secs_f64(random.random_range(0.0..3.0));
            if together {
                let second = draw(&mut deck, &self.kinds, &stage.tally, &mut random);
                let delayed = async {
                    stage.pause(later).await;
                    stage.occur(second, other).await;
                };
                tokio::join!(stage.occur(first, one), delayed);
            } else {
                stage.occur(first, one).await;
            }
        }
    }
}

fn draw(deck: &mut Vec<Nemesis>, kinds: &[Nemesis], tally: &Tally, random: &mut SmallRng) -> Nemesis {
    if deck.is_empty() {
        deck.extend_from_slice(kinds);
        deck.shuffle(random);
        // What was refused until now has its turn before the others have their next one.
        let begun = tally.kinds.lock();
        if !begun.is_empty() {
            deck.extend(kinds.iter().filter(|kind| !begun.contains(kind)));
        }
    }
    // Never empty here: there is at least one kind.
    deck.pop().unwrap_or(kinds[0])
}

/// What all faults of a run share.
struct Stage {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    tally: Arc<Tally>,
    stop: CancellationToken,
    numbers: AtomicU32,
    hold: Option<Duration>,
    hold_max: Duration,
}

impl Stage {
    /// Waits, not longer than to the end.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// One fault from its beginning to its end.
    async fn occur(&self, kind: Nemesis, seed: u64) {
        if self.stop.is_cancelled() {
            return;
        }
        let random = &mut SmallRng::seed_from_u64(seed);
        let drawn = hold(kind, random).min(self.hold_max);
        let hold = self.hold.unwrap_or(drawn);
        let fault = Fault::choose(kind, &self.cluster, random).await;
        let mut line = history::Fault {
            fault: kind.to_string(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            nodes: fault.nodes.iter().filter_map(|node| u32::try_from(*node).ok()).collect(),
            begins: true,
            detail: String::new(),
        };
        let number = line.number;
        self.recorder.fault(Kind::Invoke, line.clone(), None);
        let (undo, whole) = match fault.begin(number, &self.cluster, &self.recorder, random).await {
            Ok(Begun { undo, detail, missed }) => {
                line.detail = detail;
                let whole = missed.is_none();
                match missed {
                    None => {
                        info!(fault = %kind, number, detail = line.detail, "fault begins");
                        self.tally.begun.fetch_add(1, Ordering::Relaxed);
                        self.recorder.fault(Kind::Info, line.clone(), None);
                    }
                    Some(why) => self.refused(line.clone(), why),
                }
                (undo, whole)
            }
            Err(error) => return self.refused(line, format!("{error:#}")),
        };
        self.tally.active.fetch_add(1, Ordering::Relaxed);
        self.pause(hold).await;
        if whole {
            self.tally.kinds.lock().insert(kind);
        }
        (line.begins, line.detail) = (false, String::new());
        self.recorder.fault(Kind::Invoke, line.clone(), None);
        match undo.end(number, &self.cluster).await {
            Ok(detail) => {
                info!(fault = %kind, number, detail, "fault ends");
                line.detail = detail;
                self.recorder.fault(Kind::Info, line, None);
            }
            Err(error) => {
                let error = format!("{error:#}");
                warn!(fault = %kind, number, error, "fault can't be ended");
                self.recorder.fault(Kind::Fail, line, Some(error));
            }
        }
        self.tally.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// It is not in force, or not as it was wanted.
    fn refused(&self, line: history::Fault, why: String) {
        warn!(fault = line.fault, number = line.number, why, "fault could not be brought about");
        self.tally.failed.fetch_add(1, Ordering::Relaxed);
        self.recorder.fault(Kind::Fail, line, Some(why));
    }
}
