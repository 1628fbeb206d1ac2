//! The streams that this replica opens to its peers, one to each, reopened when broken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{Answer, Command};
use flotilla_net::{ByteBudget, Connection, ConnectionOptions, RequestError, Service};
use flotilla_raft_store::raft::Replica;
use flotilla_remoting::frame::Frame;
use thiserror::Error;
use tokio::sync::Mutex;

use super::wire;
use crate::call::Call;
use crate::group::machine::EntryAnswer;

/// Time to open a stream to a peer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

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
    /// One lock per peer, so that an unreachable one holds up nobody else.
    links: HashMap<u64, Mutex<Option<Arc<Connection>>>>,
    options: ConnectionOptions,
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
        let links = peers.iter().map(|peer| (*peer, Mutex::new(None))).collect();
        Arc::new(Self { replica, links, options })
    }

    /// Forwards a client's call and gives the answer for the client. Dropping the future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ForwardError`] tells whether the call may be tried again.
    pub async fn forward(&self, peer: u64, call: &Call) -> Result<Frame, ForwardError> {
        let remaining = call.deadline.saturating_duration_since(Instant::now());
        let client_id = call.caller.client_id.as_deref();
        // One-way requests travel as two-way ones, so that a lost one can be sent again (FAILOVER.md 9).
        let envelope = wire::forward(&call.request, call.caller.address, client_id, remaining);
        let answer = self.request(peer, envelope, remaining).await?;
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
        let answer = self.request(peer, wire::request(wire::PROPOSE, command.encode()), timeout).await?;
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
        let answer = self.request(peer, frame, timeout).await?;
        match answer.header.code {
            wire::ANSWERED => Ok(()),
            wire::NOT_PROPOSED => Err(ForwardError::NotProposed),
            code => Err(ForwardError::Unknown(format!("peer answered {code}"))),
        }
    }

    async fn request(&self, peer: u64, frame: Frame, timeout: Duration) -> Result<Frame, ForwardError> {
        let connection = self.connection(peer).await.map_err(|_| ForwardError::NotProposed)?;
        match connection.request(frame, timeout).await {
            Ok(answer) => Ok(answer),
            Err(RequestError::NotSent(_)) => Err(ForwardError::NotProposed),
            Err(error) => Err(ForwardError::Unknown(error.to_string())),
        }
    }

    async fn connection(&self, peer: u64) -> std::io::Result<Arc<Connection>> {
        let slot = self.links.get(&peer).ok_or(std::io::ErrorKind::NotFound)?;
        let mut link = slot.lock().await;
        if let Some(connection) = &*link
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        *link = None;
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, self.replica.connect_peer(peer))
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        let connection =
            Connection::over(stream, self.options.clone(), ByteBudget::new(1 << 20), Arc::new(NoRequests))?;
        *link = Some(connection.clone());
        Ok(connection)
    }
}
