//! The way of a request: room, route, connection, answer; and again, where that is safe.
//!
//! ```text
//! launch --room, route and connection are there--> in flight --answer--> done
//!    \                                                 \--failed, may be repeated--\
//!     \--something is missing--> drive: waits for it, sends, waits for the answer <-/
//!                                  ^                        |
//!                                  \-- pause or new route --/   until it is stored, refused, or the time is up
//! ```
//! `launch` costs no task and no wait; `drive` is a future that somebody polls. The room in flight travels with the request and
//! is given back when its answer comes, also when nobody waits for it any more.

use std::sync::Arc;
use std::time::Duration;

use flotilla_net::{Connection, RequestError, SendError};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::{ExtFields, ResponseCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, trace};

use super::gate::{Gate, Permit};
use super::job::{Job, Place};
use super::linger::Linger;
use super::options::Options;
use super::result::SendResult;
use super::retry::{self, Attempts, Verdict};
use super::topics::{Snapshot, Target, Topic, Topics};
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::metrics::Event;

/// How long a broker that could not be reached, or may have failed, is passed over when there are others.
const PENALTY: Duration = Duration::from_secs(1);
/// How long one that is busy is.
const PENALTY_BUSY: Duration = Duration::from_millis(100);
/// Longest wait for one connection: a machine that has vanished must not use up the time of a send.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// What the handles and requests of a producer share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) topics: Topics,
    pub(super) gate: Arc<Gate>,
    pub(super) linger: Linger,
    /// Set when no more messages are taken.
    pub(super) closing: CancellationToken,
}

/// The answer to a request in flight, and its room.
pub(super) type Landed = (std::result::Result<Frame, RequestError>, Permit);

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) job: Job,
    pub(super) target: Target,
    pub(super) receiver: oneshot::Receiver<Landed>,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ClientError,
    /// Where it was tried, if it came that far.
    pub(super) target: Option<Target>,
}

/// A request that could not go at once, or that failed, with what `drive` needs to go on.
#[derive(Debug)]
pub(super) struct Grounded {
    pub(super) job: Job,
    pub(super) permit: Option<Permit>,
    pub(super) failure: Option<Failure>,
}

impl Grounded {
    pub(super) fn new(job: Job) -> Grounded {
        Grounded { job, permit: None, failure: None }
    }
}

impl Shared {
    /// Sends at once, if that needs no waiting.
    ///
    /// # Errors
    /// Gives the job back when it must wait for something.
    pub(super) fn launch(self: &Arc<Shared>, mut job: Job) -> std::result::Result<Flight, Grounded> {
        let Some((target, connection)) = self.ready(&mut job) else { return Err(Grounded::new(job)) };
        let Some(permit) = self.gate.try_enter(job.count(), job.size()) else {
            return Err(Grounded::new(job));
        };
        let receiver = self.fly(&connection, &job, &target, permit);
        Ok(Flight { job, target, receiver })
    }

    /// As [`Shared::launch`] with room already taken; `done` gets the result, on the connection's reader or a task.
    pub(super) fn launch_with<F>(self: &Arc<Shared>, mut job: Job, permit: Permit, done: F)
    where
        F: FnOnce(Result<SendResult>, Job) + Send + 'static,
    {
        let Some((target, connection)) = self.ready(&mut job) else {
            return self.drive_on(Grounded { job, permit: Some(permit), failure: None }, done);
        };
        let (frame, left) = (self.frame(&job, &target), left(job.deadline));
        let shared = self.clone();
        let landed = move |answer: std::result::Result<Frame, RequestError>| match shared
            .landed(&mut job, &target, answer)
        {
            Ok(result) => {
                drop(permit);
                done(shared.finish(&job, Ok(result)), job);
            }
            Err(error) => {
                let failure = Some(Failure { error, target: Some(target) });
                shared.drive_on(Grounded { job, permit: Some(permit), failure }, done);
            }
        };
        self.client.inner.remote.ask_with(&connection, frame, left, Box::new(landed));
    }

    /// Runs `drive` on a task of the client.
    fn drive_on<F>(self: &Arc<Shared>, grounded: Grounded, done: F)
    where
        F: FnOnce(Result<SendResult>, Job) + Send + 'static,
    {
        let shared = self.clone();
        self.client.inner.tracker.spawn(async move {
            let stop = shared.client.inner.stop.clone();
            let mut driven = Grounded { job: grounded.job, ..grounded };
            let result = tokio::select! {
                result = shared.drive(&mut driven) => result,
                () = stop.cancelled() => Err(ClientError::Stopped),
            };
            drop(driven.permit.take());
            done(result, driven.job);
        });
    }

    /// Where the job goes and how, if everything is known and open.
    fn ready(&self, job: &mut Job) -> Option<(Target, Arc<Connection>)> {
        if job.must_be_compressed() {
            return None;
        }
        let client = &self.client.inner;
        let topic = self.topics.topic(client, job.topic());
        let snapshot = self.topics.known(client, &topic)?;
        // What can't be settled is the slow way's to report.
        let queue = match &job.place {
            Place::Queue(queue) => queue.clone(),
            Place::Any => self.topics.next(&topic, &snapshot)?,
            Place::Hashed(_) => {
                job.place.settle(snapshot.queues()).ok()?;
                let Place::Queue(queue) = &job.place else { return None };
                queue.clone()
            }
            Place::Chosen(_) => return None,
        };
        let target = snapshot.target(&queue, None)?;
        let connection = client.remote.open_connection(&target.address)?;
        Some((target, connection))
    }

    fn frame(&self, job: &Job, target: &Target) -> Frame {
        let fields: ExtFields = job.header(&target.queue, &self.options);
        self.client.inner.remote.frame(job.code(), fields, job.body.clone())
    }

    fn fly(
        &self,
        connection: &Connection,
        job: &Job,
        target: &Target,
        permit: Permit,
    ) -> oneshot::Receiver<Landed> {
        let (sender, receiver) = oneshot::channel();
        let landed = move |answer| {
            // Whoever waited may have gone; the room is given back then.
            let _ = sender.send((answer, permit));
        };
        let (frame, left) = (self.frame(job, target), left(job.deadline));
        self.client.inner.remote.ask_with(connection, frame, left, Box::new(landed));
        receiver
    }

    /// Reads an answer. A failure is noted against the broker and the route.
    pub(super) fn landed(
        &self,
        job: &mut Job,
        target: &Target,
        answer: std::result::Result<Frame, RequestError>,
    ) -> Result<SendResult> {
        let result = match answer {
            Ok(frame) => SendResult::read(frame, target, job),
            Err(error) => Err(ClientError::from_request(&target.address, error)),
        };
        match &result {
            Ok(_) if target.is_template => {
                let topic = self.topics.topic(&self.client.inner, job.topic());
                topic.forget_template();
            }
            Ok(_) => {}
            Err(error) => self.note(target, error),
        }
        result
    }

    fn note(&self, target: &Target, error: &ClientError) {
        trace!(address = %target.address, queue = target.queue.queue_id, %error, "attempt failed");
        if error.hints_at_stale_route() {
            self.topics.blame(target, PENALTY);
            self.client.inner.routes.suspect(&target.address, error);
        } else if matches!(error.code(), Some(ResponseCode::SystemBusy | ResponseCode::FlowControl)) {
            self.topics.blame(target, PENALTY_BUSY);
            if !target.is_leader() {
                // A slave of RocketMQ that was asked because its master is away.
                self.client.inner.routes.suspect(&target.address, error);
            }
        }
    }

    /// Tells the metrics how it ended.
    pub(super) fn finish(&self, job: &Job, result: Result<SendResult>) -> Result<SendResult> {
        self.client.inner.metrics.event(Event::Sent {
            topic: job.topic(),
            messages: job.count(),
            bytes: job.body.len(),
            took: job.began.elapsed(),
            ok: result.is_ok(),
        });
        if let Err(error) = &result {
            debug!(topic = job.topic(), took = ?job.began.elapsed(), %error, "send failed");
        }
        result
    }

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
        let receiver = self.fly(&connection, job, &target, room);
        let Ok((answer, room)) = receiver.await else { return Err(at(ClientError::Stopped)) };
        *permit = Some(room);
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

/// Time until a deadline.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
