//! A send under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::engine::{Failure, Flight, Grounded, Shared, lost};
use super::job::{Job, Place};
use super::linger::{Linger, Passenger, Waiter};
use super::result::SendResult;
use crate::error::{ClientError, Result};
use crate::message::Message;

/// A send under way; resolves to its result.
///
/// The send begins with the call that made the future, not with the first poll, so that many can be started one after the
/// other and awaited in any order; it borrows nothing. Only what keeps it from beginning (no room, no route or no connection
/// yet, a large body to compress) and attempts after the first need the future to be polled.
///
/// Dropped, the message may have been sent and may be stored; nothing more is tried.
#[must_use = "a send that nobody awaits is not repeated and its failure is not seen"]
pub struct SendFuture {
    state: State,
}

enum State {
    Flying(Box<Flight>, Arc<Shared>),
    Gathered(oneshot::Receiver<Result<SendResult>>),
    Slow(Pin<Box<dyn Future<Output = Result<SendResult>> + Send>>),
    Failed(ClientError),
    Done,
}

impl SendFuture {
    /// Begins to send an application's message.
    pub(super) fn start(shared: &Arc<Shared>, message: Message, place: Place) -> SendFuture {
        if shared.closing.is_cancelled() {
            return SendFuture::failed(ClientError::Stopped);
        }
        let (message, place) = if shared.options.linger.is_zero() {
            (message, place)
        } else {
            match Passenger::board(shared, message, place) {
                Ok(Ok(passenger)) => return SendFuture::gather(shared, passenger),
                Ok(Err(error)) => return SendFuture::failed(error),
                Err(alone) => alone,
            }
        };
        match Job::message(message, place, &shared.options) {
            Ok(job) => SendFuture::launch(shared, job),
            Err(error) => SendFuture::failed(error),
        }
    }

    /// Begins to send a job.
    pub(super) fn launch(shared: &Arc<Shared>, job: Job) -> SendFuture {
        let state = match shared.launch(job) {
            Ok(flight) => State::Flying(Box::new(flight), shared.clone()),
            Err(grounded) => State::slow(shared.clone(), *grounded),
        };
        SendFuture { state }
    }

    fn gather(shared: &Arc<Shared>, mut passenger: Passenger) -> SendFuture {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter::Future(sender);
        let state = match shared.gate.try_enter(1, passenger.record_size) {
            Some(permit) => {
                Linger::add(shared, passenger, permit, waiter);
                State::Gathered(receiver)
            }
            None => {
                let shared = shared.clone();
                let deadline = passenger.waits() + shared.options.send_timeout;
                State::Slow(Box::pin(async move {
                    let permit = shared.enter(1, passenger.record_size, deadline).await?;
                    Linger::add(&shared, passenger, permit, waiter);
                    receiver.await.unwrap_or_else(|_| Err(abandoned()))
                }))
            }
        };
        SendFuture { state }
    }

    /// One that has failed already.
    pub(super) fn failed(error: ClientError) -> SendFuture {
        SendFuture { state: State::Failed(error) }
    }
}

/// The result of a message whose batch went with the runtime: it may have been sent.
fn abandoned() -> ClientError {
    ClientError::Unknown { address: "broker".into(), reason: "the runtime ended".into() }
}

impl State {
    fn slow(shared: Arc<Shared>, mut grounded: Grounded) -> State {
        State::Slow(Box::pin(async move { shared.drive(&mut grounded).await }))
    }
}

impl Future for SendFuture {
    type Output = Result<SendResult>;

    /// # Panics
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.state {
                State::Slow(future) => {
                    let result = ready!(future.as_mut().poll(context));
                    self.state = State::Done;
                    return Poll::Ready(result);
                }
                State::Gathered(receiver) => {
                    let result = ready!(Pin::new(receiver).poll(context));
                    self.state = State::Done;
                    return Poll::Ready(result.unwrap_or_else(|_| Err(abandoned())));
                }
                State::Flying(flight, _) => {
                    let landed = ready!(Pin::new(&mut flight.receiver).poll(context));
                    let State::Flying(flight, shared) = std::mem::replace(&mut self.state, State::Done)
                    else {
                        unreachable!("matched above")
                    };
                    let Flight { mut job, target, .. } = *flight;
                    let (answer, permit) = landed.unwrap_or_else(|_| lost());
                    match shared.landed(&mut job, &target, answer) {
                        Ok(result) => return Poll::Ready(shared.finish(&job, Ok(result))),
                        Err(error) => {
                            let failure = Some(Failure { error, target: Some(target) });
                            let grounded = Grounded { job, permit, failure };
                            self.state = State::slow(shared, grounded);
                        }
                    }
                }
                State::Failed(_) => {
                    let State::Failed(error) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("matched above")
                    };
                    return Poll::Ready(Err(error));
                }
                State::Done => panic!("a send was polled after it was ready"),
            }
        }
    }
}

impl std::fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Flying(flight, _) => return f.debug_tuple("SendFuture").field(&flight.target).finish(),
            State::Gathered(_) => "gathered",
            State::Slow(_) => "waiting",
            State::Failed(_) => "failed",
            State::Done => "done",
        };
        f.debug_tuple("SendFuture").field(&state).finish()
    }
}
