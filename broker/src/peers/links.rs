//! The streams that this replica opens to its peers, one to each, reopened when broken.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{Answer, Command};
use flotilla_net::{ByteBudget, Connection, ConnectionOptions, RequestError, Service};
use flotilla_raft_store::raft::Replica;
use flotilla_remoting::frame::Frame;
use parking_lot::Mutex;
use thiserror::Error;

use super::wire;
use crate::call::Call;
use crate::group::machine::EntryAnswer;

/// Time to open a stream to a peer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause after a failed attempt, in which nobody waits for another one: all who have something for that peer fail at once and
/// look whether somebody else leads.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A call with less time left than this is not sent: its answer could not come back in time.
const LEFT_MIN: Duration = Duration::from_millis(5);

/// Time in which a leader that was replaced still tells what became of a request: one that hangs never will.
const DEPOSED_ANSWER_TIME: Duration = Duration::from_millis(300);

/// How long the answer to a request that has left is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until the deadline: asked again, it might be done twice.
    UntilDeadline,
    /// Until somebody else leads: asking again does no harm.
    UntilDeposed,
}

/// Why a forwarded call has no answer.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// Nothing was done: the peer does not lead or was not reached. May be sent again.
    #[error("not proposed")]
    NotProposed,
    /// The request had left when the stream broke or the time ran out.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Outgoing peer streams.
pub struct Links {
    replica: Replica<EntryAnswer>,
    /// One per peer, so that an unreachable one holds up nobody else.
    links: HashMap<u64, Link>,
    options: ConnectionOptions,
}

/// The stream to one peer.
#[derive(Default)]
struct Link {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held during an attempt to connect; the moment before which there is to be no other.
    attempt: tokio::sync::Mutex<Option<Instant>>,
}

impl Link {
    fn open(&self) -> Option<Arc<Connection>> {
        self.connection.lock().as_ref().filter(|connection| !connection.is_closed()).cloned()
    }
}

/// A peer sends only answers on a stream that we opened.
struct NoRequests;

impl Service for NoRequests {
    fn call(&self, connection: &Arc<Connection>, _request: Frame, _permit: flotilla_net::BytesPermit) {
        connection.close(flotilla_net::CloseReason::Requested("a peer only answers here".to_owned()));
    }
}

impl Links {
    pub fn new(replica: Replica<EntryAnswer>, peers: &[u64], options: ConnectionOptions) -> Arc<Self> {
        let links = peers.iter().map(|peer| (*peer, Link::default())).collect();
        Arc::new(Self { replica, links, options })
    }

    /// Forwards a client's call and gives the answer for the client. Dropping the future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ForwardError`] tells whether the call may be tried again.
    pub async fn forward(&self, peer: u64, call: &Call, patience: Patience) -> Result<Frame, ForwardError> {
        let client_id = call.caller.client_id.as_deref();
        // One-way requests travel as two-way ones, so that a lost one can be sent again (FAILOVER.md 9).
        let envelope = |left| wire::forward(&call.request, call.caller.address, client_id, left);
        let answer = self.ask_leader(peer, call.deadline, patience, envelope).await?;
        match answer.header.code {
            wire::ANSWERED => {
                let mut response =
                    wire::answer(answer.body).map_err(|error| ForwardError::Unknown(error.to_string()))?;
                response.header.opaque = call.request.header.opaque;
                Ok(response)
            }
            wire::NOT_PROPOSED => Err(ForwardError::NotProposed),
            code => Err(ForwardError::Unknown(format!("peer answered {code}"))),
        }
    }

    /// Asks a peer to propose a command.
    ///
    /// # Errors
    /// [`ForwardError`] tells whether the command may be proposed again.
    pub async fn propose(
        &self,
        peer: u64,
        command: &Command,
        timeout: Duration,
    ) -> Result<Answer, ForwardError> {
        let frame = |_| wire::request(wire::PROPOSE, command.encode());
        let patience = Patience::UntilDeposed;
        let answer = self.ask_leader(peer, Instant::now() + timeout, patience, frame).await?;
        match answer.header.code {
            wire::ANSWERED => {
                Answer::decode(&answer.body).map_err(|error| ForwardError::Unknown(error.to_string()))
            }
            wire::NOT_PROPOSED => Err(ForwardError::NotProposed),
            code => Err(ForwardError::Unknown(format!("peer answered {code}"))),
        }
    }

    /// Sends a request that needs no answer beyond its arrival.
    ///
    /// # Errors
    /// The peer was not reached, or did not confirm in time.
    pub async fn tell(&self, peer: u64, frame: Frame, timeout: Duration) -> Result<(), ForwardError> {
        let answer = self.ask(peer, Instant::now() + timeout, |_| frame).await?;
        match answer.header.code {
            wire::ANSWERED => Ok(()),
            wire::NOT_PROPOSED => Err(ForwardError::NotProposed),
            code => Err(ForwardError::Unknown(format!("peer answered {code}"))),
        }
    }

    /// Sends a request to a peer and gives the answer, whatever it says.
    ///
    /// # Errors
    /// The peer was not reached, or did not answer in time.
    pub async fn ask(
        &self,
        peer: u64,
        deadline: Instant,
        frame: impl FnOnce(Duration) -> Frame,
    ) -> Result<Frame, ForwardError> {
        let connection = self.connection(peer, deadline).await?;
        exchange(&connection, deadline, frame).await
    }

    /// Sends to the leader. Who waits for the connection gives up when another leader is known, or at its deadline.
    async fn ask_leader(
        &self,
        peer: u64,
        deadline: Instant,
        patience: Patience,
        frame: impl FnOnce(Duration) -> Frame,
    ) -> Result<Frame, ForwardError> {
        let mut leadership = self.replica.leadership();
        let deposed = async move {
            let _ = leadership.wait_for(|known| known.leader.is_some_and(|leader| leader != peer)).await;
        };
        tokio::pin!(deposed);
        let connection = tokio::select! {
            biased;
            connection = self.connection(peer, deadline) => connection?,
            () = &mut deposed => return Err(ForwardError::NotProposed),
        };
        let given_up = async {
            match patience {
                Patience::UntilDeposed => {
                    deposed.await;
                    tokio::time::sleep(DEPOSED_ANSWER_TIME).await;
                }
                Patience::UntilDeadline => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = exchange(&connection, deadline, frame) => answer,
            () = given_up => Err(ForwardError::Unknown("another replica leads".to_owned())),
        }
    }

    async fn connection(&self, peer: u64, deadline: Instant) -> Result<Arc<Connection>, ForwardError> {
        let link = self.links.get(&peer).ok_or(ForwardError::NotProposed)?;
        if let Some(open) = link.open() {
            return Ok(open);
        }
        // Dropped at the deadline, also in the middle of an attempt, which the next in line then makes anew.
        let connecting = tokio::time::timeout_at(deadline.into(), self.connect(peer, link)).await;
        connecting.map_err(|_| ForwardError::NotProposed)?.map_err(|_| ForwardError::NotProposed)
    }

    /// One attempt at a time: those who wait for it meanwhile share its result, the failure too.
    async fn connect(&self, peer: u64, link: &Link) -> io::Result<Arc<Connection>> {
        let mut not_before = link.attempt.lock().await;
        if let Some(open) = link.open() {
            return Ok(open);
        }
        if not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, self.replica.connect_peer(peer)).await;
        let opened = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).and_then(|stream| {
            Connection::over(stream, self.options.clone(), ByteBudget::new(1 << 20), Arc::new(NoRequests))
        });
        match &opened {
            Ok(connection) => {
                *not_before = None;
                *link.connection.lock() = Some(connection.clone());
            }
            Err(_) => *not_before = Some(Instant::now() + CONNECT_PAUSE),
        }
        opened
    }
}

/// Sends on an open connection. The frame is made at the last moment, with the time that is left then.
async fn exchange(
    connection: &Connection,
    deadline: Instant,
    frame: impl FnOnce(Duration) -> Frame,
) -> Result<Frame, ForwardError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < LEFT_MIN {
        return Err(ForwardError::NotProposed);
    }
    match connection.request(frame(left), left).await {
        Ok(answer) => Ok(answer),
        Err(RequestError::NotSent(_)) => Err(ForwardError::NotProposed),
        Err(error) => Err(ForwardError::Unknown(error.to_string())),
    }
}
