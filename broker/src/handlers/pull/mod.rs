//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): messages of a queue from an offset on, at once or when they come.
//!
//! Any replica answers with messages that it has applied. What depends on where the queue ends (codes 19, 20 and 21 make a
//! client move or persist an offset) is said by the leader alone, after it has applied its own term's first entry; another
//! replica holds such a pull until the messages come, or forwards it (FAILOVER.md 2 and 18).

mod answer;
mod check;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::rules::{OffsetDecision, TagFilter, decide_pull_offset};
use flotilla_core::{Command, OffsetCommit, QueueRange, Tables};
use flotilla_mutants::{self as mutants, Mutant};
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::PullMessageRequest;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::error;

use self::answer::{header, pick};
use self::check::{Checked, refuse, unknown_topic};
use super::heartbeat::Joins;
use super::offsets::PendingOffsets;
use super::respond::bad_header;
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
#[cfg(feature = "faults")]
use crate::group::mutated;
use crate::leader::LeaderCalls;
use crate::limits::{PULL_BYTES_MAX, PULL_MESSAGES_MAX, PULL_SCAN_MAX};
use crate::long_poll::{HeldPull, LongPolls, SysFlags, Wake};
use crate::metrics::{Cause, GroupMetrics, Metrics};
use crate::pulled::PulledOffsets;
use crate::series::Series;
use crate::views::{ConsumeQueues, QueueView};

/// Pause before a pull looks again at a view that is being rebuilt.
const REBUILD_PAUSE: Duration = Duration::from_millis(20);

/// Serves pulls.
#[derive(Clone)]
pub struct PullHandler {
    pub inner: Arc<Pulls>,
}

pub struct Pulls {
    pub group: Group,
    pub views: Arc<ConsumeQueues>,
    pub log: LogReader,
    pub polls: Arc<LongPolls>,
    pub offsets: Arc<PendingOffsets>,
    pub dispatcher: Arc<Dispatcher>,
    pub runtime: Handle,
    pub metrics: Metrics,
    pub series: Arc<Series>,
    pub joins: Arc<Joins>,
    pub leader: Arc<LeaderCalls>,
    pub pulled: Arc<PulledOffsets>,
    /// Longest time that a pull waits, whatever its client asks for.
    pub hold_max: Duration,
    /// `litePullMessageEnable`, and the host that its refusal names.
    pub lite_pull: bool,
    pub host: String,
}

/// A pull after its checks.
struct Pull {
    call: Call,
    group: Arc<str>,
    topic: Arc<str>,
    queue_id: u32,
    flags: SysFlags,
    offset: i64,
    messages_max: usize,
    bytes_max: usize,
    filter: TagFilter,
    series: Arc<GroupMetrics>,
    /// How long it may wait for messages; `None` when it may not.
    hold: Option<Duration>,
    /// True once this replica has confirmed that it leads and applied all that was committed then.
    confirmed: bool,
    /// When it was begun, for the last time if it was held.
    since: Instant,
    /// True once the group's move to this pull's offset is done, as far as it can be.
    moved: bool,
}

/// What a pull asks for.
struct Wish {
    offset: i64,
    messages_max: usize,
    bytes_max: usize,
    hold: Option<Duration>,
}

impl Pull {
    fn new(call: Call, group: Arc<str>, checked: Checked, wish: Wish) -> Self {
        Self {
            call,
            group,
            topic: checked.topic,
            queue_id: checked.queue_id,
            flags: checked.flags,
            offset: wish.offset,
            messages_max: wish.messages_max,
            bytes_max: wish.bytes_max,
            filter: checked.filter,
            series: checked.series,
            hold: wish.hold,
            confirmed: false,
            since: Instant::now(),
            moved: false,
        }
    }
}

impl Handler for PullHandler {
    fn handle(&self, call: Call) {
        self.inner.take(call);
    }
}

fn bytes_max(asked: Option<i32>) -> usize {
    match asked.and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) if bytes > 0 => bytes.min(PULL_BYTES_MAX),
        _ => PULL_BYTES_MAX,
    }
}

impl PullHandler {
    /// Lets all held pulls go, each to try again at once from where it was: the node is going (FAILOVER.md 18).
    pub fn release(&self) {
        for held in self.inner.polls.take_all() {
            let range = self.inner.range(&held.topic, held.queue_id).1.unwrap_or_default();
            let mut response = held.call.request.reply(ResponseCode::PullRetryImmediately, None);
            response.header.ext = header(held.offset, range, held.flags).encode();
            held.call.reply.send(response);
        }
    }

    /// Runs held pulls when they are woken, until the channel closes.
    pub async fn serve_woken(self, mut woken: mpsc::UnboundedReceiver<(HeldPull, Wake)>) {
        while let Some((held, wake)) = woken.recv().await {
            if held.call.reply.is_closed() {
                continue;
            }
            let until = held.until;
            let pull = Pull {
                call: held.call,
                group: held.group,
                topic: held.topic,
                queue_id: held.queue_id,
                flags: held.flags,
                offset: held.offset,
                messages_max: held.messages_max,
                bytes_max: held.bytes_max,
                filter: held.filter,
                series: held.series,
                hold: match wake {
                    Wake::Arrived => Some(until.saturating_duration_since(Instant::now())),
                    Wake::TimedOut => None,
                },
                confirmed: false,
                since: Instant::now(),
                moved: false,
            };
            match wake {
                Wake::Arrived => self.inner.serve(pull),
                Wake::TimedOut => self.inner.time_out(pull),
            }
        }
    }
}

/// Where an administrator wants the group to go on in this queue, until it has.
fn target(tables: &Tables, pull: &Pull) -> Option<i64> {
    tables.reset_offset(&pull.group, &pull.topic, pull.queue_id).filter(|_| !pull.moved)
}

impl Pulls {
    /// Checks a pull, takes the offset that it commits by the way, and serves it.
    fn take(self: &Arc<Self>, mut call: Call) {
        let request = match PullMessageRequest::decode(&call.request.header.ext) {
            Ok(request) => request,
            Err(error) => return bad_header(call, &error),
        };
        let checked = self.check(&call, &request);
        let wish = self.wish(&request, call.deadline);
        let group: Arc<str> = Arc::from(request.consumer_group);
        if let Ok(checked) = &checked
            && request.flags().commits_offset()
            && !call.commit_taken
        {
            self.offsets.commit(&group, &checked.topic, checked.queue_id, request.commit_offset);
            if !self.group.leads() {
                // The leader answers queries of this offset: it should not wait here longer than it must.
                self.offsets.flush_soon();
            }
        }
        call.commit_taken |= checked.is_ok();
        match checked {
            Ok(checked) => self.serve(Pull::new(call, group, checked, wish)),
            // A member whose join is under way pulls already (FAILOVER.md 17).
            Err((ResponseCode::SubscriptionNotExist, _, _))
                if self.joins.awaits(&group) && Instant::now() < call.deadline =>
            {
                let this = self.clone();
                self.runtime.spawn(async move {
                    tokio::time::sleep(REBUILD_PAUSE).await;
                    this.take(call);
                });
            }
            // Another replica may know better: a topic or group that was just made may not be applied here yet.
            Err(_) if !self.group.leads() => self.dispatcher.to_leader(call),
            Err(refusal) => refuse(call, refusal),
        }
    }

    fn wish(&self, request: &PullMessageRequest<'_>, deadline: Instant) -> Wish {
        // An answer has to be on its way before whoever forwarded the call gives up.
        let longest = deadline
            .saturating_duration_since(Instant::now() + Duration::from_millis(500))
            .min(self.hold_max);
        let asked = Duration::from_millis(u64::try_from(request.suspend_timeout_ms).unwrap_or(0));
        // Nothing wakes those who wait for what is not committed: they ask again.
        let asked = if mutants::on(Mutant::ServeUncommitted) { asked.min(REBUILD_PAUSE) } else { asked };
        Wish {
            offset: request.queue_offset,
            messages_max: usize::try_from(request.max_message_nums).unwrap_or(1).clamp(1, PULL_MESSAGES_MAX),
            bytes_max: bytes_max(request.max_message_bytes),
            hold: request.flags().may_suspend().then(|| asked.min(longest)),
        }
    }

    /// The queue's view and what of it can be read here. The tables say where it begins; its end is the view's, which is
    /// extended just after the tables.
    fn range(&self, topic: &str, queue_id: u32) -> (Option<Arc<QueueView>>, Option<QueueRange>) {
        let applied = self.group.tables().queue(topic, queue_id);
        self.seen(applied, topic, queue_id)
    }

    /// The same for what the tables said a moment ago.
    fn seen(
        &self,
        applied: Option<QueueRange>,
        topic: &str,
        queue_id: u32,
    ) -> (Option<Arc<QueueView>>, Option<QueueRange>) {
        let view = self.views.queue(topic, queue_id);
        let range = applied.map(|applied| match &view {
            Some(view) => {
                QueueRange { min: applied.min, max: applied.max.min(view.range().max).max(applied.min) }
            }
            None => QueueRange { min: applied.min, max: applied.min },
        });
        (view, range)
    }

    /// Answers, holds or forwards.
    fn serve(self: &Arc<Self>, pull: Pull) {
        let leads = self.group.leads();
        // One look at the tables: apply waits for each.
        let (target, exists, applied) = {
            let tables = self.group.tables();
            let exists = tables.topic(&pull.topic).is_some();
            (target(&tables, &pull), exists, tables.queue(&pull.topic, pull.queue_id))
        };
        if let Some(target) = target {
            return self.redirect(pull, target);
        }
        // Deleted while the pull waited.
        if !exists {
            let remark = unknown_topic(&pull.topic);
            return if leads { refuse(pull.call, remark) } else { self.elsewhere(pull) };
        }
        let (view, known) = self.seen(applied, &pull.topic, pull.queue_id);
        let range = known.unwrap_or_default();
        #[cfg(feature = "faults")]
        if leads
            && pull.offset >= range.max
            && let Some(part) = mutated::uncommitted(&pull.topic, pull.queue_id, pull.offset)
        {
            let next = pull.offset + 1;
            return self.answer_found(pull, vec![part], next, range);
        }
        match (decide_pull_offset(known, pull.offset), view) {
            (OffsetDecision::Read, Some(view)) if view.in_memory(pull.offset) => {
                self.find(pull, &view, range)
            }
            (OffsetDecision::Read, Some(view)) => {
                let this = self.clone();
                self.runtime.spawn_blocking(move || this.find(pull, &view, range));
            }
            (OffsetDecision::Read, None) => self.elsewhere(pull),
            (decision @ OffsetDecision::Answer { code, next_begin_offset, .. }, _) => match pull.hold {
                Some(time) if decision.may_wait() && !time.is_zero() => self.hold(pull, time),
                _ if leads && next_begin_offset < pull.offset && !pull.confirmed => self.confirm(pull),
                _ if leads => self.answer_empty(pull, ResponseCode::from_i32(code), next_begin_offset, range),
                _ => self.elsewhere(pull),
            },
        }
    }

    /// Sends a reader to the offset that its group was reset to, or takes note that it has come there. Both is the leader's.
    fn redirect(self: &Arc<Self>, mut pull: Pull, target: i64) {
        if !self.group.leads() {
            return self.elsewhere(pull);
        }
        if pull.offset == target {
            let this = self.clone();
            self.runtime.spawn(async move {
                let (group, topic) = (pull.group.clone(), pull.topic.clone());
                let followed = OffsetCommit { group, topic, queue_id: pull.queue_id, offset: target };
                // Without an answer the mark may stay: the next pull is at another offset then and would be sent back here,
                // to messages that it has. So the reader waits here a little for the answer rather than going on.
                let known = this.leader.propose(Command::FollowReset(followed), pull.call.deadline).await;
                if let Err(error) = known {
                    let remark = format!("the reset of the offset is not done yet: {error}");
                    return pull.call.refuse(ResponseCode::SystemBusy, remark);
                }
                pull.moved = true;
                this.serve(pull);
            });
        } else if !pull.confirmed {
            self.confirm(pull);
        } else {
            let range = self.range(&pull.topic, pull.queue_id).1.unwrap_or_default();
            self.answer_empty(pull, ResponseCode::PullOffsetMoved, target, range);
        }
    }

    /// Looks again at a pull beyond the queue's end, with everything applied that any replica may have shown: a follower can
    /// learn of a commit and apply it before the leader's own apply has run, and telling a consumer that came from there to
    /// move back would make it consume twice.
    fn confirm(self: &Arc<Self>, mut pull: Pull) {
        let this = self.clone();
        self.runtime.spawn(async move {
            while this.group.leads() && Instant::now() < pull.call.deadline {
                if this.group.replica().read_index(pull.call.deadline).await.is_ok() {
                    pull.confirmed = true;
                    return this.serve(pull);
                }
                this.group.changed(pull.call.deadline).await;
            }
            this.elsewhere(pull);
        });
    }

    /// Looks for messages that pass the filter. May read a file unless the offset's unit is in memory.
    fn find(self: &Arc<Self>, pull: Pull, view: &QueueView, range: QueueRange) {
        if pull.call.reply.is_crowded() {
            return self.serve_later(pull, "the client does not read as fast as it pulls");
        }
        let mut units = Vec::new();
        let scan_max = if matches!(pull.filter, TagFilter::All) { pull.messages_max } else { PULL_SCAN_MAX };
        match view.units(pull.offset, scan_max, &mut units) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.serve_again(pull),
            Err(error) => {
                error!(topic = %pull.topic, queue_id = pull.queue_id, %error, "consume queue can't be read");
                return pull
                    .call
                    .refuse(ResponseCode::SystemError, format!("consume queue can't be read: {error}"));
            }
        }
        let (picked, next) = pick(&units, &pull);
        if !picked.is_empty() {
            self.read(pull, picked, next, range);
        } else if self.group.leads() {
            self.answer_empty(pull, ResponseCode::PullRetryImmediately, next, range);
        } else {
            self.elsewhere(pull);
        }
    }

    /// Tries a pull again in a moment: the view of what it asks for is being rebuilt.
    fn serve_again(self: &Arc<Self>, pull: Pull) {
        if !self.group.leads() {
            return self.elsewhere(pull);
        }
        self.serve_later(pull, "the consume queue is being rebuilt");
    }

    /// Tries a pull again in a moment, until its time is over.
    fn serve_later(self: &Arc<Self>, pull: Pull, why: &str) {
        if Instant::now() >= pull.call.deadline {
            return pull.call.refuse(ResponseCode::SystemBusy, why);
        }
        let this = self.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(REBUILD_PAUSE).await;
            this.serve(pull);
        });
    }

    /// What only the leader may say. A call that the leader forwarded comes back to it as not proposed.
    fn elsewhere(&self, pull: Pull) {
        self.dispatcher.to_leader(pull.call);
    }

    /// Ends a wait: with what has come meanwhile, else with "nothing found" and an unmoved offset.
    fn time_out(self: &Arc<Self>, pull: Pull) {
        let range = self.range(&pull.topic, pull.queue_id).1.unwrap_or_default();
        if self.group.leads() || (range.min..range.max).contains(&pull.offset) {
            self.serve(pull);
        } else {
            let offset = pull.offset;
            self.answer_empty(pull, ResponseCode::PullNotFound, offset, range);
        }
    }

    fn hold(&self, pull: Pull, time: Duration) {
        let (topic, queue_id) = (pull.topic.clone(), pull.queue_id);
        let held = HeldPull {
            call: pull.call,
            group: pull.group,
            topic: pull.topic,
            queue_id,
            flags: pull.flags,
            offset: pull.offset,
            messages_max: pull.messages_max,
            bytes_max: pull.bytes_max,
            filter: pull.filter,
            series: pull.series,
            until: Instant::now() + time,
        };
        match self.polls.hold(held) {
            Ok(()) => {
                // A message that was applied between the look and the hold has woken nobody.
                let max = self.views.queue(&topic, queue_id).map_or(0, |view| view.range().max);
                self.polls.recheck(&topic, queue_id, max);
            }
            Err(refused) => {
                self.metrics.rejected(Cause::Busy);
                refused
                    .call
                    .refuse(ResponseCode::SystemBusy, "[OVERLOAD]system busy, too many pulls are held");
            }
        }
    }
}
