//! Takes a request to its end: waits for what is missing, sends, waits for the answer, and repeats where that is safe.
//!
//! Where an attempt goes: to the leader of its queue's broker name; when that could not be reached, at once to the next
//! replica; when all have had their attempt, after a pause that a new route ends.

use std::sync::Arc;
use std::time::Duration;

use flotilla_net::{Connection, SendError};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, trace};

use super::engine::{Failure, Grounded, Room, Shared, left};
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
            if let Some(Failure { error, target }) = grounded.failure.take() {
                let allowed = self.is_allowed(&error, target.as_ref(), &mut attempts);
                if target.is_some() && retry::verdict(&error) == Verdict::Unknown {
                    perhaps_stored.get_or_insert(error.clone());
                }
                if !allowed || !self.pause(&grounded.job, &mut attempts, target.as_ref(), &error).await {
                    return self.finish(&grounded.job, Err(perhaps_stored.unwrap_or(error)));
                }
                if self.client.inner.stop.is_cancelled() {
                    let error = perhaps_stored.unwrap_or(ClientError::Stopped);
                    return self.finish(&grounded.job, Err(error));
                }
                debug!(topic = grounded.job.topic(), %error, "trying again");
                self.client.inner.metrics.event(Event::SendRetried { topic: grounded.job.topic() });
                failed_at = target.or(failed_at);
            }
            match self.attempt(grounded, failed_at.as_ref()).await {
                Ok(result) => return self.finish(&grounded.job, Ok(result)),
                Err(failure) => grounded.failure = Some(failure),
            }
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
        let other_address = target.is_some_and(|target| !target.is_last_address());
        if other_address && matches!(error, ClientError::NotSent { .. }) {
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
        let (job, permit) = (&mut grounded.job, &mut grounded.permit);
        let nowhere = |error| Failure { error, target: None };
        let deadline = job.deadline;
        if permit.is_none() {
            *permit = Some(self.enter(job.count(), job.size(), deadline).await.map_err(nowhere)?);
        }
        if job.must_be_compressed() {
            job.compress().await.map_err(nowhere)?;
        }
        let target = self.target(job, failed_at).await.map_err(nowhere)?;
        let at = |error| Failure { error, target: Some(target.clone()) };
        let connection = match self.connect(&target, deadline).await {
            Ok(connection) => connection,
            Err(error) => {
                self.note(&target, &error);
                return Err(at(error));
            }
        };
        let room = permit.take().expect("taken above");
        let receiver = self.fly(&connection, job, &target, room, Room::UntilSeen);
        let Ok((answer, room)) = receiver.await else { return Err(at(ClientError::Stopped)) };
        *permit = room;
        self.landed(job, &target, answer).map_err(at)
    }

    /// Where the next attempt goes.
    async fn target(&self, job: &mut Job, failed_at: Option<&Target>) -> Result<Target> {
        let client = &self.client.inner;
        let topic = self.topics.topic(client, job.topic());
        let snapshot = self.snapshot(&topic, job.deadline).await?;
        job.place.settle(snapshot.queues())?;
        let no_route = |reason: String| ClientError::NoRoute { topic: job.topic().to_owned(), reason };
        let queue = match &job.place {
            Place::Queue(queue) => queue.clone(),
            _ => match self.topics.next(&topic, &snapshot) {
                Some(queue) => queue,
                // The topic is there, its brokers are not right now: worth waiting for.
                None => {
                    let address = "broker".to_owned();
                    return Err(ClientError::NotSent { address, reason: no_writable(job.topic()) });
                }
            },
        };
        snapshot
            .target(&queue, failed_at)
            .ok_or_else(|| no_route(format!("it has no broker named {}", queue.broker_name)))
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
    /// `Busy`.
    pub(super) async fn enter(&self, count: usize, size: usize, deadline: Instant) -> Result<Permit> {
        let entered = timeout_at(deadline, self.gate.enter(count, size)).await;
        entered.map_err(|_| ClientError::Busy(self.gate.to_string()))
    }

    /// Hands a job over without asking for an answer. Safe to drop.
    ///
    /// # Errors
    /// As [`Shared::drive`]; never `Unknown`.
    pub(super) async fn drive_oneway(&self, job: &mut Job) -> Result<()> {
        job.compress().await?;
        let mut attempts = Attempts::new();
        let mut failed_at: Option<Target> = None;
        loop {
            let (error, target) = match self.target(job, failed_at.as_ref()).await {
                Ok(target) => match self.hand_over(job, &target).await {
                    Ok(()) => return Ok(()),
                    Err(error) => (error, Some(target)),
                },
                Err(error) => (error, None),
            };
            let allowed = self.is_allowed(&error, target.as_ref(), &mut attempts);
            if !allowed || !self.pause(job, &mut attempts, target.as_ref(), &error).await {
                return Err(error);
            }
            failed_at = target.or(failed_at);
        }
    }

    async fn hand_over(&self, job: &Job, target: &Target) -> Result<()> {
        let sent = match self.connect(target, job.deadline).await {
            Ok(connection) => connection.oneway(self.frame(job, target)),
            Err(error) => {
                self.note(target, &error);
                return Err(error);
            }
        };
        sent.map_err(|error| match error {
            SendError::Full => ClientError::Busy("the connection's write queue is full".to_owned()),
            SendError::TooLarge => ClientError::Invalid(error.to_string()),
            SendError::Closed => {
                ClientError::NotSent { address: target.address.to_string(), reason: error.to_string() }
            }
        })
    }
}

fn no_writable(topic: &str) -> String {
    format!("no broker takes messages for {topic} right now")
}
