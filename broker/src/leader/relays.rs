//! Requests to clients, through whichever replica holds their connection (FAILOVER.md 13).
//!
//! ```text
//! any replica: connected here? ── yes ──▶ ask the client
//!                    │ no
//!   leads ───────────┼──────▶ each replica that reported the client: ask it, and it asks the client
//!   does not ────────┴──────▶ the leader, which does the above
//! ```
//! What the client answers is handed on as it is: code, header and body. A request is asked of one connection only, unless it
//! surely has not left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_net::{Connection, RequestError, Unsent};
use flotilla_remoting::frame::Frame;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::reports::Reports;
use crate::group::{Group, Standing};
use crate::limits::RELAYS_MAX;
use crate::peers::links::{ForwardError, Links};
use crate::peers::wire;
use crate::sessions::Sessions;

/// Which client is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A member of a consumer group.
    Consumer { group: Arc<str>, client_id: Arc<str> },
    /// A producer, of whichever group.
    Producer { client_id: Arc<str> },
}

/// Why a client has not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RelayError {
    /// No replica that can be asked holds a connection of it. It was not asked.
    #[error("not connected to any replica")]
    NotConnected,
    /// It was asked, or may have been, and did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Its connection broke, or too much is under way.
    #[error("{0}")]
    Failed(String),
}

/// Asks clients.
pub struct Relays {
    group: Group,
    sessions: Arc<Sessions>,
    reports: Arc<Reports>,
    links: Arc<Links>,
    room: Semaphore,
}

impl Relays {
    pub fn new(group: Group, sessions: Arc<Sessions>, reports: Arc<Reports>, links: Arc<Links>) -> Arc<Self> {
        Arc::new(Self { group, sessions, reports, links, room: Semaphore::new(RELAYS_MAX) })
    }

    /// Sends the frame as a request to the client and gives its answer, at the latest at the deadline. Dropping the future
    /// takes nothing back.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn ask(&self, whom: &Whom, frame: &Frame, deadline: Instant) -> Result<Frame, RelayError> {
        let Ok(_room) = self.room.try_acquire() else {
            return Err(RelayError::Failed("too many requests to clients are under way".to_owned()));
        };
        match self.ask_here(whom, frame, deadline).await {
            Err(RelayError::NotConnected) => self.ask_elsewhere(whom, frame, deadline).await,
            outcome => outcome,
        }
    }

    /// As [`Self::ask`], of a client that is connected here.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_here(&self, whom: &Whom, frame: &Frame, deadline: Instant) -> Result<Frame, RelayError> {
        let connection = match whom {
            Whom::Consumer { group, client_id } => self.sessions.consumer(group, client_id),
            Whom::Producer { client_id } => self.sessions.producer(client_id),
        };
        let connection = connection.ok_or(RelayError::NotConnected)?;
        ask_over(&connection, frame.clone(), deadline).await
    }

    async fn ask_elsewhere(
        &self,
        whom: &Whom,
        frame: &Frame,
        deadline: Instant,
    ) -> Result<Frame, RelayError> {
        loop {
            let asked = match self.group.standing() {
                Standing::Leading { .. } => Some(self.ask_holders(whom, frame, deadline).await),
                Standing::Following { leader } => self.ask_peer(leader, whom, true, frame, deadline).await,
                Standing::Unsettled => None,
            };
            match asked {
                Some(outcome) => return outcome,
                None if Instant::now() >= deadline => return Err(RelayError::NotConnected),
                None => self.group.changed(deadline).await,
            }
        }
    }

    /// The leader asks the replicas that have reported the client.
    async fn ask_holders(&self, whom: &Whom, frame: &Frame, deadline: Instant) -> Result<Frame, RelayError> {
        let holders = match whom {
            Whom::Consumer { group, client_id } => self.reports.holders(group, client_id),
            Whom::Producer { client_id } => self.reports.producer_holders(client_id),
        };
        for holder in holders {
            match self.ask_peer(holder, whom, false, frame, deadline).await {
                None | Some(Err(RelayError::NotConnected)) => {}
                Some(outcome) => return outcome,
            }
        }
        Err(RelayError::NotConnected)
    }

    /// Asks through another replica; `None` when it was not reached or can't help now.
    async fn ask_peer(
        &self,
        peer: u64,
        whom: &Whom,
        onward: bool,
        frame: &Frame,
        deadline: Instant,
    ) -> Option<Result<Frame, RelayError>> {
        let answer = self.links.ask(peer, deadline, |left| wire::relay(whom, onward, left, frame)).await;
        match answer {
            Ok(answer) => match answer.header.code {
                wire::NOT_PROPOSED => None,
                wire::ANSWERED => {
                    Some(wire::answer(answer.body).map_err(|error| RelayError::Failed(error.to_string())))
                }
                wire::NOT_CONNECTED => Some(Err(RelayError::NotConnected)),
                wire::TIMED_OUT => Some(Err(RelayError::TimedOut)),
                _ => Some(Err(RelayError::Failed(String::from_utf8_lossy(&answer.body).into_owned()))),
            },
            Err(ForwardError::NotProposed) => None,
            Err(ForwardError::Unknown(_)) if Instant::now() >= deadline => Some(Err(RelayError::TimedOut)),
            Err(ForwardError::Unknown(reason)) => Some(Err(RelayError::Failed(reason))),
        }
    }

    /// Does for another replica what it asks: of a client here, or as the leader also of one elsewhere. `None` when this
    /// replica was asked as the leader and is not.
    pub async fn ask_for_peer(
        &self,
        whom: &Whom,
        onward: bool,
        frame: &Frame,
        deadline: Instant,
    ) -> Option<Result<Frame, RelayError>> {
        let Ok(_room) = self.room.try_acquire() else {
            return Some(Err(RelayError::Failed("too many requests to clients are under way".to_owned())));
        };
        match self.ask_here(whom, frame, deadline).await {
            Err(RelayError::NotConnected) if onward && !self.group.leads() => None,
            Err(RelayError::NotConnected) if onward => Some(self.ask_holders(whom, frame, deadline).await),
            outcome => Some(outcome),
        }
    }
}

async fn ask_over(connection: &Connection, frame: Frame, deadline: Instant) -> Result<Frame, RelayError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(RelayError::TimedOut);
    }
    match connection.request(frame, left).await {
        Ok(answer) => Ok(answer),
        // The connection is closing: the client may be back over another one.
        Err(RequestError::NotSent(Unsent::NoConnection(_))) => Err(RelayError::NotConnected),
        // The client is here, and asking another replica would find none of it.
        Err(RequestError::NotSent(unsent @ (Unsent::Busy(_) | Unsent::TooLarge))) => {
            Err(RelayError::Failed(unsent.to_string()))
        }
        Err(RequestError::Timeout) => Err(RelayError::TimedOut),
        Err(error @ (RequestError::Closed | RequestError::GivenUp)) => {
            Err(RelayError::Failed(error.to_string()))
        }
    }
}

/// How long a client may take. Source: Broker2Client.callClient 5.3.3.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
