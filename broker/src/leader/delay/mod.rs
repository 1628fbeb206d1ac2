//! Delivers delayed messages: the leader stores each in its topic when it is due.
//!
//! A delayed message waits in the schedule topic, in the queue of its level (`handlers::send`, `handlers::send_back`). This duty walks
//! the queues, and proposes the due messages for their topics and the new place of each queue ([`flotilla_core::Command::DelayDone`]) as **one entry**, so
//! that a fail-over at any moment leaves both or neither.
//!
//! Why no message is delivered twice:
//! - It starts in a term after this leader's own first entry is applied: whatever earlier leaders have moved is then in the tables.
//! - Its entries carry the term and are appended in it or never, so none can come behind that of a later leader.
//! - It has one entry under way, for all levels together, and reads where it stands from the tables after that entry was applied. When
//!   the outcome can't be learnt it stands still until the tables show it or the term is over (LOG-RULES.md 14, 20).
//!
//! Why none is early: a message is due by leader time, and the entry that delivers it is stamped by the same clock later in the
//! same term (LOG-RULES.md 16). Its delay is that of the list in force when it was stored ([`flotilla_core::DelayHistory`]).
//!
//! ```text
//!            no leader ──▶ leads, own entry applied ──▶ look: what is due? ──nothing──▶ sleep until the first is, or one begins to wait
//!                ▲                     ▲                       │ some                        │
//!                │ term over           └── applied, refused ◀── propose                      └──▶ look
//!                └────────────── unknown outcome: stand still ◀──┘
//! ```
//!
//! Costs nothing while nothing waits: it sleeps, and apply wakes it when a message comes to a queue where none waited.

mod entry;
mod gather;
mod ground;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_core::{Answer, DelayDone};
use flotilla_raft_store::raft::{Leadership, ProposeError, Role};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::entry::Entry;
use self::gather::{Head, Look, Wanted, gather};
pub use self::ground::{Ground, NodeGround};
use crate::limits::ENTRY_BYTES_MAX;
use crate::metrics::Metrics;

/// Pause after an entry that was refused and may be proposed again: the lease comes back, bytes leave.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Time between two looks whether an entry of unknown outcome is applied.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failure of our own, which a repetition hardly mends.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// The duty. One per node; it works while the node leads.
pub struct DelayDuty<G> {
    ground: Arc<G>,
    leadership: watch::Receiver<Leadership>,
    /// A message came where none waited.
    begun: Arc<Notify>,
    metrics: Metrics,
    state: State,
}

/// What the duty knows beside the tables.
struct State {
    /// When the first message of each queue is due; of use while it is the first.
    heads: HashMap<u32, Head>,
    /// An entry of which nobody could say what became of it.
    unknown: Option<Unknown>,
    /// Bytes of the next entry: less than usual after one that did not fit.
    bytes_max: usize,
    /// Queue that the last full entry ended with: the next one begins behind it.
    last_served: Option<u32>,
}

struct Unknown {
    term: u64,
    done: Vec<DelayDone>,
}

/// What to do after a step.
enum Next {
    AtOnce,
    After(Duration),
    WhenWoken,
}

impl<G: Ground> DelayDuty<G> {
    pub fn new(
        ground: Arc<G>,
        leadership: watch::Receiver<Leadership>,
        begun: Arc<Notify>,
        metrics: Metrics,
    ) -> Self {
        let state =
            State { heads: HashMap::new(), unknown: None, bytes_max: ENTRY_BYTES_MAX, last_served: None };
        Self { ground, leadership, begun, metrics, state }
    }

    /// Runs until stopped. An entry under way then takes effect or not; the next leader goes on from what is applied.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.serve() => {}
        }
    }

    /// Ends when the replica is gone.
    async fn serve(&mut self) {
        loop {
            let led = led_term(&self.leadership.borrow_and_update());
            let Some(term) = led else {
                self.state.heads.clear();
                if self.leadership.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let next = if self.is_settled(term) { self.step(term).await } else { Next::After(UNKNOWN_PAUSE) };
            let pause = match next {
                Next::AtOnce => continue,
                Next::After(pause) => Some(pause),
                Next::WhenWoken => None,
            };
            let pause = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.begun.notified() => {}
                () = pause => {}
            }
        }
    }

    /// True when nothing is open of what was proposed before in this term. What was proposed in an earlier one is applied or will
    /// never be: this term's first entry came after it.
    fn is_settled(&mut self, term: u64) -> bool {
        let Some(unknown) = &self.state.unknown else { return true };
        let progress = self.ground.tables().delay_progress();
        let passed = |done: &DelayDone| {
            progress.iter().any(|queue| queue.queue_id == done.queue_id && queue.next >= done.to)
        };
        let settled = unknown.term != term || unknown.done.iter().all(passed);
        if settled {
            self.state.unknown = None;
        }
        settled
    }

    /// Looks once, and delivers what one entry holds of what is due.
    async fn step(&mut self, term: u64) -> Next {
        let Some(now_ms) = self.ground.now_ms() else { return Next::WhenWoken };
        let wanted = self.wanted(now_ms);
        if wanted.looks.is_empty() {
            let first = self.state.heads.values().map(|head| head.due_ms).min();
            return first.map_or(Next::WhenWoken, |due_ms| Next::After(wait(now_ms, due_ms)));
        }
        let ground = self.ground.clone();
        let gathered = match tokio::task::spawn_blocking(move || gather(&*ground, &wanted)).await {
            Ok(gathered) => gathered,
            Err(failure) => {
                error!(%failure, "delayed messages could not be looked at");
                return Next::After(FAILURE_PAUSE);
            }
        };
        self.state.heads.extend(gathered.heads);
        match gathered.entry {
            Some(entry) => self.deliver(entry, term, now_ms).await,
            // All heads are known now.
            None => Next::AtOnce,
        }
    }

    /// The queues to look at: those whose first message is due or not known yet.
    fn wanted(&mut self, now_ms: u64) -> Wanted {
        let (waiting, history) = {
            let tables = self.ground.tables();
            let levels = tables.delay_progress().into_iter().filter(|level| level.pending() > 0);
            let minimum = tables.minimum_position();
            let looks = levels.map(|level| {
                let min = tables.queue(flotilla_remoting::names::SCHEDULE_TOPIC, level.queue_id);
                Look {
                    queue_id: level.queue_id,
                    next: level.next,
                    max: level.max,
                    min: min.map_or(level.next, |range| range.min),
                    minimum_position: minimum,
                }
            });
            (looks.collect::<Vec<_>>(), tables.delay_history())
        };
        let heads = &mut self.state.heads;
        heads.retain(|queue_id, head| {
            waiting.iter().any(|look| look.queue_id == *queue_id && look.next == head.offset)
        });
        let is_due = |look: &Look| heads.get(&look.queue_id).is_none_or(|head| head.due_ms <= now_ms);
        let mut looks: Vec<Look> = waiting.into_iter().filter(is_due).collect();
        let behind = looks.iter().position(|look| Some(look.queue_id) > self.state.last_served);
        looks.rotate_left(behind.unwrap_or(0));
        Wanted { looks, history, now_ms, bytes_max: self.state.bytes_max }
    }

    async fn deliver(&mut self, entry: Entry, term: u64, now_ms: u64) -> Next {
        let Entry { payload, done, tally, last_queue } = entry;
        let outcome = tokio::select! {
            outcome = self.ground.propose(payload, term) => outcome,
            // Whether it took effect shows in the tables before the next term of this replica begins: a deposed leader need not
            // hear of it, and the duty must not wait for that.
            () = other_term(&mut self.leadership, term) => Err(ProposeError::Unknown),
        };
        match outcome {
            Ok(answer) => {
                tally.count(&self.metrics);
                let refused = answer.commands.iter().find_map(|answer| match answer {
                    Answer::Refused(refusal) => Some(refusal),
                    Answer::Done | Answer::Unchanged => None,
                });
                if let Some(refusal) = refused {
                    // Nobody else moves these queues, so this is a bug, and what the entry says stands in the log for good. The same
                    // again would be worse: nothing more comes of this term unless the tables have moved.
                    error!(%refusal, term, "delayed messages were delivered out of order");
                    self.state.unknown = Some(Unknown { term, done });
                    return Next::AtOnce;
                }
                self.state.bytes_max = ENTRY_BYTES_MAX;
                self.state.last_served = last_queue;
                Next::AtOnce
            }
            Err(ProposeError::NotLeader { .. } | ProposeError::Busy | ProposeError::Stopped) => {
                Next::After(REFUSED_PAUSE)
            }
            Err(ProposeError::TooLarge) if tally.messages() > 1 => {
                self.state.bytes_max = (tally.bytes() / 2).max(1);
                Next::AtOnce
            }
            // LIMIT: the level stands still then. It was stored with other bounds of the log than those now configured.
            Err(ProposeError::TooLarge) => {
                for done in done {
                    error!(
                        queue_id = done.queue_id,
                        offset = done.from,
                        "a delayed message fits no entry of the log"
                    );
                    let due_ms = now_ms + FAILURE_PAUSE.as_millis() as u64;
                    self.state.heads.insert(done.queue_id, Head { offset: done.from, due_ms });
                }
                Next::AtOnce
            }
            Err(ProposeError::Unknown) => {
                warn!(term, "it is not known whether delayed messages were delivered: waiting until it is");
                self.state.unknown = Some(Unknown { term, done });
                Next::AtOnce
            }
        }
    }
}

/// The term that the replica leads with its own first entry applied.
fn led_term(leadership: &Leadership) -> Option<u64> {
    (leadership.role == Role::Leader && leadership.own_term_applied).then_some(leadership.term)
}

/// Waits until the replica has left this term, or is gone.
async fn other_term(leadership: &mut watch::Receiver<Leadership>, term: u64) {
    let _ = leadership.wait_for(|leadership| leadership.term != term).await;
}

/// How long to sleep for a moment of leader time. That runs at 0.9 to 1.1 of real time, so a long sleep ends a little early and the
/// rest is slept then.
fn wait(now_ms: u64, due_ms: u64) -> Duration {
    const SHORT_MS: u64 = 1000;
    let left_ms = due_ms.saturating_sub(now_ms).max(1);
    Duration::from_millis(if left_ms > SHORT_MS { left_ms - left_ms / 10 } else { left_ms })
}
