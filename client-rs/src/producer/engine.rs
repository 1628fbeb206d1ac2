//! The way of a request: room, route, connection, answer; and again, where that is safe.
//!
//! ```text
//! launch --room, route and connection are there--> in flight --answer--> done
//!    \                                                 \--failed, may be repeated--\
//!     \--something is missing--> drive: waits for it, sends, waits for the answer <-/
//!                                  ^                        |
//!                                  \-- pause or new route --/   until it is stored, refused, or the time is up
//! ```
//! `launch` costs no task and no wait; `drive` (`drive.rs`) is a future that somebody polls. The room in flight travels with the request and
//! is given back when its answer comes, also when nobody waits for it any more.

use std::sync::Arc;
use std::time::Duration;

use flotilla_net::{Connection, RequestError};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::{ExtFields, ResponseCode};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, trace};

use super::gate::{Gate, Permit};
use super::job::{Job, Place};
use super::linger::Linger;
use super::options::Options;
use super::result::SendResult;
use super::retry::{self, Verdict};
use super::topics::{Target, Topics};
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::metrics::Event;

/// How long a broker that could not be reached, or may have failed, is passed over when there are others.
const PENALTY: Duration = Duration::from_secs(1);
/// How long one that is busy is.
const PENALTY_BUSY: Duration = Duration::from_millis(100);

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

/// The answer to a request in flight, and its room if it is not done.
pub(super) type Landed = (std::result::Result<Frame, RequestError>, Option<Permit>);

/// How long a request in flight keeps its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Until it is stored, also when nobody looks at the result for a long time.
    UntilStored,
    /// Until somebody has seen the result: who waits for room then knows that all results have been given.
    UntilSeen,
}

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
    pub(super) fn launch(self: &Arc<Shared>, mut job: Job) -> std::result::Result<Flight, Box<Grounded>> {
        let Some((target, connection)) = self.ready(&mut job) else {
            return Err(Box::new(Grounded::new(job)));
        };
        let Some(permit) = self.gate.try_enter(job.count(), job.size()) else {
            return Err(Box::new(Grounded::new(job)));
        };
        let receiver = self.fly(&connection, &job, &target, permit, Room::UntilStored);
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
                done(shared.finish(&job, Ok(result)), job);
                // Whoever waits until nothing is in flight has then got all results.
                drop(permit);
            }
            Err(error) => {
                let failure = Some(Failure { error, target: Some(target) });
                shared.drive_on(Grounded { job, permit: Some(permit), failure }, done);
            }
        };
        self.client.inner.remote.ask_with(&connection, frame, left, Box::new(landed));
    }

    /// Runs `drive` on a task of the client.
    fn drive_on<F>(self: &Arc<Shared>, mut grounded: Grounded, done: F)
    where
        F: FnOnce(Result<SendResult>, Job) + Send + 'static,
    {
        let shared = self.clone();
        self.client.inner.tracker.spawn(async move {
            // Ends by itself when the client stops: only it knows whether something may be stored.
            let result = shared.drive(&mut grounded).await;
            done(result, grounded.job);
            drop(grounded.permit);
        });
    }

    /// Where the job goes and how, if everything is known and open.
    fn ready(&self, job: &mut Job) -> Option<(Target, Arc<Connection>)> {
        if job.must_be_compressed() || left(job.deadline).is_zero() {
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

    pub(super) fn frame(&self, job: &Job, target: &Target) -> Frame {
        let fields: ExtFields = job.header(&target.queue, &self.options);
        self.client.inner.remote.frame(job.code(), fields, job.body.clone())
    }

    pub(super) fn fly(
        &self,
        connection: &Connection,
        job: &Job,
        target: &Target,
        permit: Permit,
        room: Room,
    ) -> oneshot::Receiver<Landed> {
        let (sender, receiver) = oneshot::channel();
        let landed = move |answer: std::result::Result<Frame, RequestError>| {
            let is_stored = answer.as_ref().is_ok_and(SendResult::is_stored);
            let is_done = is_stored && room == Room::UntilStored;
            let permit = (!is_done).then_some(permit);
            // Whoever waited may have gone; the room is given back then.
            let _ = sender.send((answer, permit));
        };
        let (frame, left) = (self.frame(job, target), left(job.deadline));
        self.client.inner.remote.ask_with(connection, frame, left, Box::new(landed));
        receiver
    }

    /// Reads an answer. A failure is noted against the broker and the route, unless this side has given up because the route
    /// names another leader: that one did nothing wrong, and there may be thousands of such requests at once.
    pub(super) fn landed(
        &self,
        job: &mut Job,
        target: &Target,
        answer: std::result::Result<Frame, RequestError>,
    ) -> Result<SendResult> {
        let result = match answer {
            Ok(frame) => SendResult::read(frame, target, job),
            Err(error @ RequestError::GivenUp) => {
                trace!(address = %target.address, queue = target.queue.queue_id, "attempt given up");
                return Err(ClientError::from_request(&target.address, error));
            }
            Err(error) => Err(ClientError::from_request(&target.address, error)),
        };
        if let Err(error) = &result {
            self.note(target, error);
        }
        result
    }

    pub(super) fn note(&self, target: &Target, error: &ClientError) {
        trace!(address = %target.address, queue = target.queue.queue_id, %error, "attempt failed");
        if error.hints_at_stale_route() {
            let routes = &self.client.inner.routes;
            if routes.deposed(&target.address).is_none() {
                self.topics.blame(target, PENALTY);
            } // Else its broker name has another leader, which did nothing wrong.
            routes.suspect(&target.address, error);
        } else if retry::verdict(error) == Verdict::Elsewhere {
            self.topics.blame(target, PENALTY);
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
}

/// What a request in flight ends with when its connection went without a word. That is when the runtime ends; else a connection
/// resolves every request.
pub(super) fn lost() -> Landed {
    (Err(RequestError::Closed), None)
}

/// Time until a deadline.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use flotilla_remoting::bodies::{BrokerData, QueueData, TopicRouteData};

    use super::super::Producer;
    use super::*;

    fn route(leaders: [(&str, &str); 2]) -> TopicRouteData {
        let broker = |(name, leader): (&str, &str)| BrokerData {
            broker_name: name.to_owned(),
            broker_addrs: [(0, leader.to_owned())].into(),
            ..BrokerData::default()
        };
        let queue = |(name, _): (&str, &str)| QueueData {
            broker_name: name.to_owned(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: 6,
            topic_sys_flag: 0,
        };
        TopicRouteData {
            broker_datas: leaders.map(broker).into(),
            queue_datas: leaders.map(queue).into(),
            ..TopicRouteData::default()
        }
    }

    #[tokio::test]
    async fn the_successor_of_a_deposed_leader_is_not_blamed_for_it() {
        let client = Client::connect("127.0.0.1:1").unwrap();
        let (inner, routes) = (client.inner.clone(), client.inner.routes.clone());
        let producer = Producer::builder(&client).start().await.unwrap();
        let shared = &producer.shared;
        let topic = shared.topics.topic(&inner, "t");
        let known = || shared.topics.known(&inner, &topic).unwrap();
        let taken = || -> BTreeSet<String> {
            let snapshot = known();
            let next = |_| shared.topics.next(&topic, &snapshot).unwrap().broker_name.clone();
            (0..2).map(next).collect()
        };
        let failure = |target: &Target| {
            shared.note(target, &ClientError::from_request(&target.address, RequestError::Closed));
        };
        let (b, c) = ("b".to_owned(), "c".to_owned());
        routes.keep("t", route([("b", "127.0.0.1:2"), ("c", "127.0.0.1:3")]));
        let target = |name: &str| {
            let snapshot = known();
            let queue = snapshot.queues().iter().find(|queue| queue.broker_name == name).unwrap();
            snapshot.target(queue, None).unwrap()
        };
        let (at_b, at_c) = (target("b"), target("c"));
        routes.keep("t", route([("b", "127.0.0.1:4"), ("c", "127.0.0.1:3")]));
        failure(&at_b);
        assert_eq!(taken(), [b.clone(), c].into(), "b has another leader");
        failure(&at_c);
        assert_eq!(taken(), [b].into(), "c has not");
    }
}
