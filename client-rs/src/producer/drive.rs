//! Takes a request to its end: waits for what is missing, sends, waits for the answer, and repeats where that is safe.
//!
//! Where an attempt goes: to the leader of its queue's broker name; when that could not be reached, at once to the next
//! replica; when all have had their attempt, after a pause that a new route ends.

use std::sync::Arc;
use std::time::Duration;

use flotilla_net::Connection;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, trace};

use super::engine::{Failure, Grounded, Room, Shared, left, lost};
use super::gate::Permit;
use super::job::{Job, Place};
use super::result::SendResult;
use super::retry::{self, Attempts, Verdict};
use super::topics::{Snapshot, Target, Topic};
use crate::error::{ClientError, Result};
use crate::metrics::Event;

/// Longest wait for one connection: a machine that has vanished must not use up the time of a send.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

impl Shared {
    /// Takes a job to its end. Safe to drop: what was sent may be stored.
    ///
    /// # Errors
    /// Of the last attempt; `Busy` or `Deadline` when there was none.
    #[tracing::instrument(level = "debug", name = "send", skip_all, fields(topic = grounded.job.topic()))]
    pub(super) async fn drive(&self, grounded: &mut Grounded) -> Result<SendResult> {
        let mut attempts = Attempts::new();
        let mut failed_at = None;
        // Once an attempt may have stored it, no later failure can say that it is not stored.
        let mut perhaps_stored = None;
        loop {
            if let Some(failure) = grounded.failure.take() {
                if failure.target.is_some() && retry::verdict(&failure.error) == Verdict::Unknown {
                    perhaps_stored.get_or_insert_with(|| failure.error.clone());
                }
                if let Err(error) = self.again(&grounded.job, &mut attempts, &failure).await {
                    return self.finish(&grounded.job, Err(perhaps_stored.unwrap_or(error)));
                }
                debug!(topic = grounded.job.topic(), error = %failure.error, "trying again");
                self.client.inner.metrics.event(Event::SendRetried { topic: grounded.job.topic() });
                failed_at = failure.elsewhere().or(failed_at);
            }
            match self.attempt(grounded, failed_at.as_ref()).await {
                Ok(result) => return self.finish(&grounded.job, Ok(result)),
                Err(failure) => grounded.failure = Some(failure),
            }
        }
    }

    /// Waits for the next attempt, if there is to be one.
    ///
    /// # Errors
    /// What the send ends with otherwise.
    async fn again(&self, job: &Job, attempts: &mut Attempts, failure: &Failure) -> Result<()> {
        let Failure { error, target } = failure;
        if !self.is_allowed(error, target.as_ref(), attempts) {
            return Err(error.clone());
        }
        let pause = self.pause(job, attempts, target.as_ref(), error);
        match self.client.inner.stop.run_until_cancelled(pause).await {
            Some(true) => Ok(()),
            Some(false) => Err(error.clone()),
            None => Err(ClientError::Stopped),
        }
    }

    fn is_allowed(&self, error: &ClientError, target: Option<&Target>, attempts: &mut Attempts) -> bool {
        // Before there was a target nothing can have been stored.
        let verdict = match (retry::verdict(error), target) {
            (Verdict::Unknown, None) => Verdict::Again,
            (verdict, _) => verdict,
        };
        attempts.allow(verdict, self.options.retries_max, self.options.retry_unknown)
    }

    /// Waits before the next attempt; claims that there is time for it.
    async fn pause(
        &self,
        job: &Job,
        attempts: &mut Attempts,
        target: Option<&Target>,
        error: &ClientError,
    ) -> bool {
        // Another address can be tried at once, if this one did not take the message at all.
        if matches!(error, ClientError::NotSent { .. })
            && target.is_some_and(|target| !target.is_last_address() && attempts.hop(target.address_count))
        {
            return Instant::now() < job.deadline;
        }
        let topic = self.topics.topic(&self.client.inner, job.topic());
        let mut route = topic.watch();
        // A route that came since the failed attempt began is noticed by the next one anyway.
        route.mark_unchanged();
        let until = Instant::now() + attempts.pause();
        if until >= job.deadline {
            return false;
        }
        if !matches!(timeout_at(until, route.changed()).await, Ok(Ok(()))) && target.is_none() {
            // No address that could be suspected: a topic that nobody serves right now.
            let asked = timeout_at(job.deadline, self.client.inner.routes.refresh(job.topic())).await;
            trace!(topic = job.topic(), ok = matches!(asked, Ok(Ok(_))), "asked for the route again");
        }
        Instant::now() < job.deadline
    }

    async fn attempt(
        &self,
        grounded: &mut Grounded,
        failed_at: Option<&Target>,
    ) -> std::result::Result<SendResult, Failure> {
        // Nothing has left before the flight: a client that stops needs no more of it.
        let prepared = self.client.inner.stop.run_until_cancelled(self.prepare(grounded, failed_at)).await;
        let stopped = || Err(Failure { error: ClientError::Stopped, target: None });
        let (target, connection) = prepared.unwrap_or_else(stopped)?;
        let (job, permit) = (&mut grounded.job, &mut grounded.permit);
        let room = permit.take().expect("taken by prepare");
        let receiver = self.fly(&connection, job, &target, room, Room::UntilSeen);
        let (answer, room) = receiver.await.unwrap_or_else(|_| lost());
        *permit = room;
        self.landed(job, &target, answer).map_err(|error| Failure { error, target: Some(target) })
    }

    /// Waits for room, route and connection. Safe to drop: the job keeps its room.
    async fn prepare(
        &self,
        grounded: &mut Grounded,
        failed_at: Option<&Target>,
    ) -> std::result::Result<(Target, Arc<Connection>), Failure> {
        let (job, permit) = (&mut grounded.job, &mut grounded.permit);
        let nowhere = |error| Failure { error, target: None };
        if permit.is_none() {
            *permit = Some(self.enter(job.count(), job.size(), job.deadline).await.map_err(nowhere)?);
        }
        if job.must_be_compressed() {
            job.compress().await.map_err(nowhere)?;
        }
        let target = self.target(job, failed_at).await.map_err(nowhere)?;
        match self.connect(&target, job.deadline).await {
            Ok(_) if left(job.deadline).is_zero() => {
                Err(nowhere(ClientError::Deadline("it was up before the message could go".to_owned())))
            }
            Ok(connection) => Ok((target, connection)),
            Err(error) => {
                self.note(&target, &error);
                Err(Failure { error, target: Some(target) })
            }
        }
    }

    /// Where the next attempt goes.
    async fn target(&self, job: &mut Job, failed_at: Option<&Target>) -> Result<Target> {
        let client = &self.client.inner;
        let topic = self.topics.topic(client, job.topic());
        let snapshot = self.snapshot(&topic, job.deadline).await?;
        job.place.settle(snapshot.queues())?;
        // The topic is there, a broker is not right now: worth waiting for.
        let away = |name: &str, reason: String| ClientError::NotSent { address: name.to_owned(), reason };
        let queue = match &job.place {
            Place::Queue(queue) => queue.clone(),
            _ => self.topics.next(&topic, &snapshot).ok_or_else(|| {
                away("broker", format!("no broker takes messages for {} right now", job.topic()))
            })?,
        };
        snapshot.target(&queue, failed_at).ok_or_else(|| {
            let name = &queue.broker_name;
            away(name, format!("no broker of that name serves {} right now", job.topic()))
        })
    }

    /// The route, within the time.
    pub(super) async fn snapshot(&self, topic: &Topic, deadline: Instant) -> Result<Arc<Snapshot>> {
        let learn = self.topics.learn(&self.client.inner, topic);
        let late = |_| ClientError::Deadline("no route in time".to_owned());
        timeout_at(deadline, learn).await.map_err(late)?
    }

    /// An open connection, within the time.
    pub(super) async fn connect(&self, target: &Target, deadline: Instant) -> Result<Arc<Connection>> {
        let remote = &self.client.inner.remote;
        match remote.open_connection(&target.address) {
            Some(connection) => Ok(connection),
            None => remote.connection(&target.address, left(deadline).min(CONNECT_PATIENCE)).await,
        }
    }

    /// Waits for room within the time. Safe to drop.
    ///
    /// # Errors
    /// `Busy`; `Stopped`.
    pub(super) async fn enter(&self, count: usize, size: usize, deadline: Instant) -> Result<Permit> {
        let entered = timeout_at(deadline, self.gate.enter(count, size));
        match self.client.inner.stop.run_until_cancelled(entered).await {
            Some(entered) => entered.map_err(|_| ClientError::Busy(self.gate.to_string())),
            None => Err(ClientError::Stopped),
        }
    }

    /// Hands a job over without asking for an answer. Safe to drop.
    ///
    /// # Errors
    /// As [`Shared::drive`]; never `Unknown`.
    pub(super) async fn drive_oneway(&self, job: &mut Job) -> Result<()> {
        let handed_over = self.client.inner.stop.run_until_cancelled(self.keep_handing_over(job)).await;
        handed_over.unwrap_or(Err(ClientError::Stopped))
    }

    async fn keep_handing_over(&self, job: &mut Job) -> Result<()> {
        job.compress().await?;
        let mut attempts = Attempts::new();
        let mut failed_at: Option<Target> = None;
        loop {
            let failure = match self.target(job, failed_at.as_ref()).await {
                Ok(target) => match self.hand_over(job, &target).await {
                    Ok(()) => return Ok(()),
                    Err(error) => Failure { error, target: Some(target) },
                },
                Err(error) => Failure { error, target: None },
            };
            self.again(job, &mut attempts, &failure).await?;
            failed_at = failure.elsewhere().or(failed_at);
        }
    }

    async fn hand_over(&self, job: &Job, target: &Target) -> Result<()> {
        match self.connect(target, job.deadline).await {
            Ok(connection) => connection
                .oneway(self.frame(job, target))
                .map_err(|error| ClientError::from_unsent(target.address.to_string(), error.into())),
            Err(error) => {
                self.note(target, &error);
                Err(error)
            }
        }
    }
}

impl Failure {
    /// Where the next attempt should not go again.
    fn elsewhere(self) -> Option<Target> {
        // A bound of this side is no reason to leave the leader.
        self.target.filter(|_| !matches!(self.error, ClientError::Busy(_)))
    }
}
