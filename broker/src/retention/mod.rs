//! Old segments go: the leader says in the log up to where, and each replica then deletes for itself (LOG-RULES.md 25).
//!
//! ```text
//! leader:  policy: a position ─ newest checkpoint below it ─ ends of all queues there ─ RaiseMinimum commands ──▶ log
//! replica: minimums applied (answers follow them at once) ─ own snapshot moves to the boundary, durably ─ purge ─ views follow
//! ```
//! So which messages can be read never depends on one replica's files, and a minimum offset never moves back with a leader
//! change. A replica that lacks the checkpoint at the boundary keeps its files until the next one.
//!
//! LIMIT: only the leader's disk is looked at. A follower whose smaller disk fills takes no entries until it has room, and the group
//! goes on without it.
//!
//! Messages that a group has not read are counted when they go, and warned of before (`unread`).

pub mod disk;
mod policy;
mod unread;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use flotilla_core::tables::checkpoint::queue_heads;
use flotilla_core::{Command, QueueMinimum, Tables};
use flotilla_raft_store::log::Clock;
use flotilla_raft_store::raft::ProposeError;
use flotilla_raft_store::types::ChainPoint;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::disk::DiskProbe;
pub use self::policy::Disk;
use self::policy::{Age, State};
use self::unread::Unread;
use crate::config::Watermarks;
use crate::group::Group;
use crate::limits::{EXPIRING_MAX, QUEUES_PER_RAISE};
use crate::metrics::{ConsumerLag, Metrics};
use crate::views::ConsumeQueues;
use crate::views::keys::KeyIndex;

/// Longest wait for a command of the duty.
const PROPOSE_TIME: Duration = Duration::from_secs(5);

/// Pause between two looks at what goes next: each walks over all consumer offsets.
const LOOK_AHEAD_INTERVAL: Duration = Duration::from_secs(30);

/// The same group and topic are warned about once in this time.
const WARN_INTERVAL: Duration = Duration::from_secs(3600);

/// What must stay although it is old: the position of the first record that is still needed.
pub type Needed = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Unread messages that go soon, for the metrics; kept by the leader.
#[derive(Default)]
pub struct Expiring(Mutex<Vec<ConsumerLag>>);

impl Expiring {
    pub fn list(&self) -> Vec<ConsumerLag> {
        self.0.lock().clone()
    }
}

/// How many passes a request to delete at once holds for: each takes a few segments only.
/// Source: DefaultMessageStore.CleanCommitLogService.MAX_MANUAL_DELETE_FILE_TIMES 5.3.3.
const ASKED_PASSES: u32 = 20;

/// An administrator's wish that what is old enough goes now, and not at its hour (329).
#[derive(Default)]
pub struct Asked {
    passes: AtomicU32,
    wake: Notify,
}

impl Asked {
    /// Lets the next passes delete, of which the first comes at once.
    pub fn ask(&self) {
        self.passes.store(ASKED_PASSES, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn take(&self) -> bool {
        let one_less = |passes: u32| passes.checked_sub(1);
        self.passes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// Keeps the log within its age, its size and the disk's room.
pub struct Retention {
    pub group: Group,
    pub views: Arc<ConsumeQueues>,
    pub keys: Option<Arc<KeyIndex>>,
    pub probe: Arc<dyn DiskProbe>,
    pub watermarks: Watermarks,
    pub metrics: Metrics,
    pub needed: Needed,
    pub expiring: Arc<Expiring>,
    pub asked: Arc<Asked>,
    /// Pause between two looks.
    pub interval: Duration,
    pub clock: Arc<dyn Clock>,
}

/// A boundary that the leader may choose, and what it means for the queues.
#[derive(Clone)]
struct Boundary {
    at: ChainPoint,
    /// Ends of all queues there.
    maximums: Arc<Vec<QueueMinimum>>,
}

/// What a leader remembers between passes.
#[derive(Default)]
struct Memory {
    /// Boundaries that were read: the same one is looked at many times.
    known: Vec<Boundary>,
    warned: Warned,
    /// When it last looked at what goes next.
    looked_ahead: Option<Instant>,
}

/// What a pass found out.
struct Findings {
    raise: Option<Boundary>,
    why: &'static str,
    used_percent: u8,
    /// What goes soon, when that was looked at.
    soon: Option<Unread>,
    /// The boundaries that were read, for the next pass.
    known: Vec<Boundary>,
}

impl Retention {
    /// Runs until stopped. What a pass could not do, the next one does.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut memory = Memory::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                () = self.asked.wake.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pass(&mut memory) => {}
            }
        }
    }

    /// Dropped in between, some queues are raised or some files are left; the next pass goes on from there.
    async fn pass(&self, memory: &mut Memory) {
        if self.group.leads() {
            if let Err(error) = self.raise(memory).await {
                warn!(%error, "old segments stay: the boundary could not be raised");
            }
        } else {
            self.expiring.0.lock().clear();
            *memory = Memory::default();
        }
        if let Err(error) = self.purge().await {
            warn!(%error, "old segments stay: they could not be purged");
        }
    }

    /// Leader: proposes a new boundary when there is one, and warns of what goes next.
    async fn raise(&self, memory: &mut Memory) -> anyhow::Result<()> {
        let (group, probe, watermarks) = (self.group.clone(), self.probe.clone(), self.watermarks);
        let now_ms = self.clock.wall_ms();
        let wishes = Wishes { needed: (self.needed)(), asked: self.asked.take(), now_ms };
        let before = std::mem::take(&mut memory.known);
        let ahead = memory.looked_ahead.is_none_or(|at| at.elapsed() >= LOOK_AHEAD_INTERVAL);
        let search = move || find(&group, &*probe, watermarks, wishes, before, ahead);
        let found = tokio::task::spawn_blocking(search).await??;
        memory.known = found.known;
        if let Some(soon) = found.soon {
            memory.looked_ahead = Some(Instant::now());
            warn_of(&soon, &mut memory.warned);
            let mut lags = lags(soon);
            lags.truncate(EXPIRING_MAX);
            *self.expiring.0.lock() = lags;
        }
        let Some(boundary) = found.raise else { return Ok(()) };
        info!(
            position = boundary.at.end,
            entry = %boundary.at.id,
            why = found.why,
            disk_used_percent = found.used_percent,
            "old segments go"
        );
        if let Some(first) = (self.needed)().filter(|first| *first < boundary.at.end) {
            warn!(
                first,
                position = boundary.at.end,
                "delayed messages go undelivered: the disk is nearly full"
            );
        }
        let steps = commands(&self.group.tables(), &boundary);
        for step in steps {
            self.propose(step).await?;
        }
        Ok(())
    }

    /// Proposes one step and counts what it takes away unread.
    async fn propose(&self, command: Command) -> Result<(), ProposeError> {
        let Command::RaiseMinimum { queues, .. } = &command else {
            unreachable!("the duty proposes nothing else")
        };
        let (tables, queues): (Tables, _) = (self.group.tables().clone(), queues.clone());
        // A panic there has been printed; the count is then what is lost.
        let unread =
            tokio::task::spawn_blocking(move || unread::below(&tables, &queues)).await.unwrap_or_default();
        match self.group.propose(command.clone(), Instant::now() + PROPOSE_TIME).await {
            // The last room of a full disk is for this.
            Err(ProposeError::Busy) => self.group.propose_into_reserve(command).await?,
            outcome => outcome?,
        };
        for ((topic, group), count) in unread {
            warn!(%topic, %group, count, "messages deleted that the group has not read");
            self.metrics.group(&topic, &group).deleted_unread(count);
        }
        Ok(())
    }

    /// Every replica: follows the applied boundary.
    async fn purge(&self) -> io::Result<()> {
        let minimum = self.group.tables().minimum_position();
        let replica = self.group.replica();
        let purged = self.group.status().borrow().purged;
        let below = replica.checkpoints().into_iter().rev().find(|info| info.at.end <= minimum);
        if below.is_none_or(|boundary| purged >= Some(boundary.at.id.index)) {
            return Ok(());
        }
        if let Some(index) = replica.purge_to(minimum).await? {
            info!(position = minimum, index, "old segments purged");
            self.views.wake();
            self.keys.iter().for_each(|keys| keys.wake());
        }
        Ok(())
    }
}

/// When a group was last warned about a topic.
type Warned = HashMap<(Arc<str>, Arc<str>), Instant>;

fn warn_of(soon: &Unread, warned: &mut Warned) {
    let now = Instant::now();
    warned.retain(|_, at| now.duration_since(*at) < WARN_INTERVAL);
    for (pair @ (topic, group), count) in soon {
        if warned.len() < EXPIRING_MAX && !warned.contains_key(pair) {
            warn!(%topic, %group, count, "messages that the group has not read will be deleted soon");
            warned.insert(pair.clone(), now);
        }
    }
}

/// The largest first.
fn lags(unread: Unread) -> Vec<ConsumerLag> {
    let lag = |((topic, group), messages): ((Arc<str>, Arc<str>), u64)| ConsumerLag {
        topic: topic.to_string(),
        group: group.to_string(),
        messages,
    };
    let mut lags: Vec<ConsumerLag> = unread.into_iter().map(lag).collect();
    lags.sort_by_key(|lag| std::cmp::Reverse(lag.messages));
    lags
}

/// What a pass takes into account beside the rules.
#[derive(Clone, Copy)]
struct Wishes {
    needed: Option<u64>,
    asked: bool,
    now_ms: u64,
}

/// Reads disk and checkpoints: not for an async thread.
fn find(
    group: &Group,
    probe: &dyn DiskProbe,
    watermarks: Watermarks,
    wishes: Wishes,
    before: Vec<Boundary>,
    ahead: bool,
) -> io::Result<Findings> {
    let tables: Tables = group.tables().clone();
    let minimum = tables.minimum_position();
    let (going, ages) = ages(group, minimum);
    let disk = probe.disk();
    let rules = &tables.settings().retention;
    let Wishes { needed, asked, now_ms } = wishes;
    let state = State { rules, watermarks, segments: &ages, going, now_ms, disk, needed, asked };
    let checkpoints = group.replica().checkpoints();
    let mut known = Vec::new();
    let mut boundary_at = |position: Option<u64>| {
        let below = |end: u64| position.is_some_and(|position| minimum < end && end <= position);
        let Some(found) = checkpoints.iter().rev().find(|info| below(info.at.end)) else { return Ok(None) };
        let boundary = match before.iter().chain(&known).find(|boundary: &&Boundary| boundary.at == found.at)
        {
            Some(boundary) => boundary.clone(),
            None => read_boundary(group, found.at)?,
        };
        known.push(boundary.clone());
        io::Result::Ok(Some(boundary))
    };
    let choice = state.choose();
    let raise = boundary_at(choice.map(|choice| choice.position))?;
    let soon = if ahead { Some(boundary_at(state.soon())?) } else { None };
    let kept = before.into_iter().filter(|boundary| !ahead && boundary.at.end > minimum);
    known.extend(kept);
    known.dedup_by_key(|boundary| boundary.at);
    let unread = |boundary: Option<Boundary>| {
        boundary.map(|boundary| unread::below(&tables, &boundary.maximums)).unwrap_or_default()
    };
    Ok(Findings {
        raise,
        why: choice.map_or("", |choice| choice.why.name()),
        used_percent: disk.used_percent(),
        soon: soon.map(unread),
        known,
    })
}

/// Bytes of files below the minimum, and the segments above it.
fn ages(group: &Group, minimum: u64) -> (u64, Vec<Age>) {
    let segments = group.replica().log().segments();
    let going =
        segments.iter().filter(|segment| segment.end <= minimum).map(|segment| segment.file_size).sum();
    let above = segments.into_iter().filter(|segment| segment.end > minimum);
    let age = above.map(|segment| Age {
        base: segment.base,
        end: segment.end,
        sealed: segment.sealed,
        last_time_ms: segment.last_time_ms,
        file_size: segment.file_size,
    });
    (going, age.collect())
}

/// The numbers of the queues at a boundary are those in the checkpoint that was cut there.
fn read_boundary(group: &Group, at: ChainPoint) -> io::Result<Boundary> {
    let checkpoint = group.replica().load_checkpoint(at)?;
    let heads = queue_heads(&checkpoint.state).map_err(io::Error::other)?;
    let mut maximums = Vec::new();
    for (topic, heads) in heads {
        for (queue_id, head) in (0..).zip(heads).filter(|(_, head)| head.max > 0) {
            maximums.push(QueueMinimum { topic: topic.clone(), queue_id, min: head.max });
        }
    }
    Ok(Boundary { at, maximums: Arc::new(maximums) })
}

/// The steps to a boundary: queues whose minimum moves, a bounded number in each. The boundary itself comes last: a minimum
/// that is raised early hides messages, a boundary that is raised early would promise ones that are gone.
fn commands(tables: &Tables, boundary: &Boundary) -> Vec<Command> {
    let moves = |queue: &&QueueMinimum| {
        tables.queue_minimum(&queue.topic, queue.queue_id).is_some_and(|minimum| minimum < queue.min)
    };
    let moved: Vec<QueueMinimum> = boundary.maximums.iter().filter(moves).cloned().collect();
    let mut steps: Vec<Command> = moved
        .chunks(QUEUES_PER_RAISE)
        .map(|queues| Command::RaiseMinimum { log_position: 0, queues: queues.to_vec() })
        .collect();
    match steps.last_mut() {
        Some(Command::RaiseMinimum { log_position, .. }) => *log_position = boundary.at.end,
        _ => steps.push(Command::RaiseMinimum { log_position: boundary.at.end, queues: Vec::new() }),
    }
    steps
}

#[cfg(test)]
mod tests {
    use flotilla_raft_store::types::LogId;

    use super::*;

    fn boundary(queues: u32) -> Boundary {
        let maximums = (0..queues).map(|queue_id| QueueMinimum { topic: "t".into(), queue_id, min: 7 });
        let at = ChainPoint { id: LogId::new(1, 5), end: 99, crc: 0 };
        Boundary { at, maximums: Arc::new(maximums.collect()) }
    }

    #[test]
    fn a_boundary_without_queues_to_raise_is_still_told() {
        // The queues are unknown to blank tables: none of them moves.
        for queues in [0, 3] {
            let steps = commands(&Tables::blank(), &boundary(queues));
            assert_eq!(steps, [Command::RaiseMinimum { log_position: 99, queues: Vec::new() }]);
        }
    }
}
