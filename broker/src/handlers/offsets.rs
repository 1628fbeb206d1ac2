//! QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15), and the commits that wait for the log.
//!
//! Clients commit often and mostly one-way, so commits are gathered, newest per queue, and go into the log together after
//! at most [`PENDING_OFFSETS_WAIT`]; a query of a queue has its commit logged first, so that the next owner sees what the
//! last one committed, and no fail-over takes back what a query has told. Each replica gathers what it receives; one that does
//! not lead sends its commits to the leader as a proposal. Commits older than [`STALE_COMMIT_AGE`] are dropped rather than
//! proposed: by then the queue may have a new owner (FAILOVER.md 9 and 11).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use flotilla_core::rules::{OffsetAnswer, query_consumer_offset};
use flotilla_core::{Answer, Command, OffsetCommit};
use flotilla_mutants::{self as mutants, Mutant};
use flotilla_raft_store::raft::ProposeError;
use flotilla_remoting::code::{OUTCOME_UNKNOWN, RequestCode, ResponseCode};
use flotilla_remoting::headers::{OffsetResponse, QueryConsumerOffsetRequest, UpdateConsumerOffsetRequest};
use flotilla_remoting::names;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::respond::{Success, answer, bad_header, done, success};
use crate::call::Call;
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::limits::{PENDING_OFFSETS_MAX, PENDING_OFFSETS_WAIT, STALE_COMMIT_AGE};

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    group: Arc<str>,
    topic: Arc<str>,
    queue_id: u32,
}

#[derive(Clone, Copy)]
struct Pending {
    offset: i64,
    ticket: u64,
    since: Instant,
}

/// Consumer offsets that were committed by clients and are not in the log yet.
pub struct PendingOffsets {
    pending: Mutex<Tickets>,
    wake: Notify,
    settled: watch::Sender<u64>,
    flushing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Tickets {
    last: u64,
    offsets: HashMap<Key, Pending>,
}

impl Default for PendingOffsets {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            wake: Notify::new(),
            settled: watch::Sender::new(0),
            flushing: tokio::sync::Mutex::default(),
        }
    }
}

impl PendingOffsets {
    /// Takes a commit and gives its ticket, with which [`Self::settled`] can be awaited. The names must have been checked:
    /// one that the log can't hold would keep all others out of it.
    pub fn commit(&self, group: &str, topic: &str, queue_id: u32, offset: i64) -> u64 {
        let mut pending = self.pending.lock();
        pending.last += 1;
        let ticket = pending.last;
        let key = Key { group: Arc::from(group), topic: Arc::from(topic), queue_id };
        pending.offsets.insert(key, Pending { offset, ticket, since: Instant::now() });
        if pending.offsets.len() >= PENDING_OFFSETS_MAX {
            self.wake.notify_one();
        }
        ticket
    }

    /// Takes the commits of another replica and waits until they are in the log.
    ///
    /// # Errors
    /// They were not in the log at the deadline; they may get there later, unless they become too old.
    pub async fn take_over(
        &self,
        commits: Vec<OffsetCommit>,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (began, mut ticket) = (Instant::now(), 0);
        for commit in commits {
            ticket = self.commit(&commit.group, &commit.topic, commit.queue_id, commit.offset);
        }
        if self.stored(ticket, began, deadline).await { Ok(Answer::Done) } else { Err(ProposeError::Unknown) }
    }

    /// Waits until the commit with this ticket, taken after `began`, is in the log, or a newer one of its queue in its place.
    /// False when that is not known: at the deadline, or when it may have been given up as too old. Cancel-safe.
    pub async fn stored(&self, ticket: u64, began: Instant, deadline: Instant) -> bool {
        let settled = tokio::time::timeout_at(deadline.into(), self.settled(ticket)).await;
        // What is younger than that was not given up, nor was what has replaced it.
        settled.is_ok() && began.elapsed() < STALE_COMMIT_AGE
    }

    /// Ticket of the last commit taken.
    pub fn last_ticket(&self) -> u64 {
        self.pending.lock().last
    }

    /// Ticket of the newest commit that is not in the log yet.
    fn waiting(&self, group: &str, topic: &str, queue_id: u32) -> Option<u64> {
        let key = Key { group: Arc::from(group), topic: Arc::from(topic), queue_id };
        self.pending.lock().offsets.get(&key).map(|pending| pending.ticket)
    }

    /// Asks for the commits to be proposed now.
    pub fn flush_soon(&self) {
        self.wake.notify_one();
    }

    /// Waits until the commit with this ticket is in the log or was given up. Cancel-safe.
    pub async fn settled(&self, ticket: u64) {
        self.flush_soon();
        let mut settled = self.settled.subscribe();
        // The sender lives in self.
        let _ = settled.wait_for(|through| *through >= ticket).await;
    }

    /// Proposes what is pending, again and again, until stopped; then once more.
    pub async fn run(self: Arc<Self>, leader: Arc<LeaderCalls>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let waited = tokio::time::timeout(PENDING_OFFSETS_WAIT, self.wake.notified());
            tokio::select! {
                _ = waited => {}
                () = stop.cancelled() => {}
            }
            self.flush(&leader).await;
        }
    }

    /// The newest commit of each queue that is not too old by now, and the last ticket that this settles.
    fn batch(&self, now: Instant) -> (u64, Vec<(Key, Pending)>) {
        let mut pending = self.pending.lock();
        pending.offsets.retain(|_, commit| now.duration_since(commit.since) < STALE_COMMIT_AGE);
        let batch = pending.offsets.iter().map(|(key, value)| (key.clone(), *value)).collect();
        (pending.last, batch)
    }

    /// Proposes what is pending. One flush at a time, so that two never overtake each other.
    pub async fn flush(&self, leader: &LeaderCalls) {
        let _turn = self.flushing.lock().await;
        let (through, batch) = self.batch(Instant::now());
        if let Some(oldest) = batch.iter().map(|(_, pending)| pending.since).min() {
            let kept = batch.iter().filter(|(_, pending)| !forgets(pending.ticket));
            let commits = kept.map(|(key, pending)| OffsetCommit {
                group: key.group.clone(),
                topic: key.topic.clone(),
                queue_id: key.queue_id,
                offset: pending.offset,
            });
            let command = Command::CommitOffsets(commits.collect());
            if let Err(error) = leader.propose(command, oldest + STALE_COMMIT_AGE).await {
                // They stay pending and are tried again until they are too old.
                warn!(count = batch.len(), %error, "consumer offsets are not committed yet");
                return;
            }
            let mut pending = self.pending.lock();
            for (key, done) in batch {
                if pending.offsets.get(&key).is_some_and(|current| current.ticket == done.ticket) {
                    pending.offsets.remove(&key);
                }
            }
        }
        self.settled.send_replace(through);
    }
}

/// Answers 14 and 15. Runs on the leader only.
pub struct OffsetHandler {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub pending: Arc<PendingOffsets>,
    pub runtime: Handle,
}

impl Handler for OffsetHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::QueryConsumerOffset => self.query(call),
            _ => self.update(call),
        }
    }
}

impl OffsetHandler {
    fn query(&self, call: Call) {
        let waiting = QueryConsumerOffsetRequest::decode(&call.request.header.ext).ok().and_then(|request| {
            let queue_id = u32::try_from(request.queue_id).ok()?;
            self.pending.waiting(request.consumer_group, request.topic, queue_id)
        });
        let (group, pending, dispatcher) =
            (self.group.clone(), self.pending.clone(), self.dispatcher.clone());
        self.runtime.spawn(async move {
            if let Some(ticket) = waiting
                && tokio::time::timeout_at(call.deadline.into(), pending.settled(ticket)).await.is_err()
            {
                return dispatcher.try_again(call).await;
            }
            // The next owner of a queue reads here what the last one committed: a deposed leader must not answer.
            let stale = mutants::on(Mutant::StaleOffsetRead);
            if !stale && group.replica().read_index(call.deadline).await.is_err() {
                return dispatcher.try_again(call).await;
            }
            answer_query(&group, call);
        });
    }

    fn update(&self, call: Call) {
        let began = Instant::now();
        let ticket = match self.take_commit(&call) {
            Ok(Some(ticket)) => ticket,
            // Source: ConsumerManageProcessor.updateConsumerOffset 5.3.3, its remark too.
            Ok(None) => {
                let remark = Some("Offset has been previously reset".to_owned());
                return answer(call, Ok(Success { remark, ..Success::default() }));
            }
            Err((code, remark)) => return call.refuse(code, remark),
        };
        if call.reply.is_oneway() {
            return done(call);
        }
        let pending = self.pending.clone();
        self.runtime.spawn(async move {
            if pending.stored(ticket, began, call.deadline).await {
                done(call);
            } else {
                let remark = format!("the offset could not be committed in time: {OUTCOME_UNKNOWN}");
                call.refuse(ResponseCode::ServiceNotAvailable, remark);
            }
        });
    }

    /// The commit's ticket; none when it has no effect, because the group is being moved elsewhere.
    fn take_commit(&self, call: &Call) -> Result<Option<u64>, (ResponseCode, String)> {
        let request = UpdateConsumerOffsetRequest::decode(&call.request.header.ext)
            .map_err(|error| (ResponseCode::SystemError, error.to_string()))?;
        let queue_id = u32::try_from(request.queue_id).map_err(|_| {
            (ResponseCode::InvalidParameter, format!("queueId[{}] is illegal", request.queue_id))
        })?;
        names::check_group(request.consumer_group)
            .map_err(|error| (ResponseCode::InvalidParameter, error.to_string()))?;
        let tables = self.group.tables();
        if tables.group(request.consumer_group).is_none() && !tables.settings().auto_create_group {
            let remark = format!("subscription group [{}] does not exist", request.consumer_group);
            return Err((ResponseCode::SubscriptionGroupNotExist, remark));
        }
        if tables.topic(request.topic).is_none() {
            return Err((ResponseCode::TopicNotExist, format!("topic [{}] not exist", request.topic)));
        }
        if tables.reset_offset(request.consumer_group, request.topic, queue_id).is_some() {
            return Ok(None);
        }
        drop(tables);
        let (group, topic) = (request.consumer_group, request.topic);
        Ok(Some(self.pending.commit(group, topic, queue_id, request.commit_offset)))
    }
}

/// As a mutant, that every third commit is confirmed and dropped.
fn forgets(ticket: u64) -> bool {
    mutants::on(Mutant::ForgetOffsetCommit) && ticket.is_multiple_of(3)
}

fn answer_query(group: &Group, call: Call) {
    let request = match QueryConsumerOffsetRequest::decode(&call.request.header.ext) {
        Ok(request) => request,
        Err(error) => return bad_header(call, &error),
    };
    // Source: ConsumerManageProcessor.queryConsumerOffset 5.3.3: an absent flag means true.
    let zero = request.set_zero_if_not_found.unwrap_or(true);
    let answer = match u32::try_from(request.queue_id) {
        Ok(queue_id) => {
            query_consumer_offset(&group.tables(), request.consumer_group, request.topic, queue_id, zero)
        }
        Err(_) => OffsetAnswer::NotFound,
    };
    match answer {
        OffsetAnswer::Offset(offset) => success(call, OffsetResponse { offset }.encode()),
        OffsetAnswer::NotFound => {
            call.refuse(ResponseCode::QueryNotFound, "not found, maybe this group consumer boot first");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(batch: Vec<(Key, Pending)>) -> Vec<(u32, i64)> {
        let mut offsets: Vec<_> = batch.iter().map(|(key, commit)| (key.queue_id, commit.offset)).collect();
        offsets.sort_unstable();
        offsets
    }

    #[test]
    fn of_the_commits_of_a_queue_the_newest_goes_into_the_log() {
        let pending = PendingOffsets::default();
        for offset in [5, 9, 7] {
            pending.commit("g", "t", 0, offset);
        }
        let last = pending.commit("g", "t", 1, 3);
        let (through, batch) = pending.batch(Instant::now());
        assert_eq!((through, offsets(batch)), (last, vec![(0, 7), (1, 3)]));
        assert_eq!(pending.waiting("g", "t", 0), Some(last - 1), "and is what a query waits for");
    }

    #[test]
    fn a_commit_that_waited_too_long_is_dropped_and_settled() {
        let pending = PendingOffsets::default();
        let old = pending.commit("g", "t", 0, 5);
        let later = Instant::now() + STALE_COMMIT_AGE;
        let (through, batch) = pending.batch(later);
        // By now the queue may have a new owner, whose commits this one would override.
        assert_eq!((through, offsets(batch)), (old, vec![]));
        assert_eq!(pending.waiting("g", "t", 0), None);
    }

    #[tokio::test]
    async fn a_commit_that_a_newer_one_replaced_is_stored_with_it() {
        let (pending, began) = (PendingOffsets::default(), Instant::now());
        let deadline = began + STALE_COMMIT_AGE;
        let replaced = pending.commit("g", "t", 0, 5);
        let newer = pending.commit("g", "t", 0, 6);
        let waits = pending.stored(replaced, began, deadline);
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending(), "nothing is in the log yet");
        pending.settled.send_replace(newer);
        assert!(waits.await);
    }

    #[tokio::test]
    async fn what_may_have_been_given_up_is_not_called_stored() {
        let pending = PendingOffsets::default();
        let ticket = pending.commit("g", "t", 0, 5);
        pending.settled.send_replace(ticket);
        let now = Instant::now();
        assert!(!pending.stored(ticket, now - STALE_COMMIT_AGE, now + STALE_COMMIT_AGE).await);
        assert!(pending.stored(ticket, now, now + STALE_COMMIT_AGE).await);
    }
}
