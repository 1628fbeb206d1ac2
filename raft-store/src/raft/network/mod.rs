//! The group's own network: TCP between replicas, in three kinds of connections that never wait for each other.
//!
//! - *control*: votes, heartbeats and pings, one connection per peer, kept ([`control`]);
//! - *entries*: append requests in a window, raw records ([`entries`]);
//! - *checkpoint*: one state for a replica that is too far behind ([`checkpoint`]).
//!
//! Every connection starts with a [`handshake`]. [`client`] is the leader's and candidate's side, [`server`] the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::{mpsc, oneshot};

pub(crate) mod checkpoint;
pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod entries;
pub(crate) mod handshake;
pub(crate) mod intake;
pub(crate) mod server;
pub(crate) mod wire;

use handshake::{Hello, Met, Purpose};

use crate::identity::NodeId;
use crate::net::{Connection, Network};

/// Bytes that were sent and are not acknowledged by the other machine for this long break the connection: a partition
/// is noticed although nothing arrives, and after it heals nothing waits for TCP's growing pauses.
const UNACKED_MAX: Duration = Duration::from_secs(3);

/// Who calls, in which group. Shared by all connections of a replica.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) cluster: String,
    pub(crate) group: String,
    pub(crate) own: NodeId,
    pub(crate) connect_timeout: Duration,
    pub(crate) network: Network,
    /// Told, and waited for, when the node called says that it may have lost acknowledged entries: a leader must allow
    /// its progress to go back before anything is sent.
    pub(crate) reverts: mpsc::Sender<Revert>,
}

/// A node may have lost acknowledged entries; the sender is released once this is taken into account.
#[derive(Debug)]
pub(crate) struct Revert {
    pub(crate) node: NodeId,
    pub(crate) taken: oneshot::Sender<()>,
}

/// The way to one node.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) caller: Arc<Caller>,
    pub(crate) address: String,
    /// `None`: whoever answers there.
    pub(crate) target: Option<NodeId>,
}

impl Route {
    /// Connects, verified.
    pub(crate) async fn connect(&self, purpose: Purpose) -> io::Result<Connection> {
        Ok(self.connect_to_any(purpose).await?.0)
    }

    /// Connects and gives the id of the node that answered, which is the target's where one is set.
    pub(crate) async fn connect_to_any(&self, purpose: Purpose) -> io::Result<(Connection, NodeId)> {
        let hello = Hello {
            purpose,
            cluster: self.caller.cluster.clone(),
            group: self.caller.group.clone(),
            from: self.caller.own,
            to: self.target,
        };
        let Met { stream, node, quarantined } =
            handshake::connect(&self.caller.network, &self.address, &hello, self.caller.connect_timeout)
                .await?;
        if self.target.is_some_and(|target| target != node) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("{} is node {node}", self.address),
            ));
        }
        if quarantined && matches!(purpose, Purpose::Control | Purpose::Entries) {
            let (taken, waited) = oneshot::channel();
            self.caller.reverts.send(Revert { node, taken }).await.map_err(io::Error::other)?;
            waited.await.map_err(io::Error::other)?;
        }
        Ok((stream, node))
    }
}

/// Socket options that both sides set.
pub(crate) fn tune(stream: &Connection) -> io::Result<()> {
    let Connection::Tcp(stream) = stream else { return Ok(()) };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_keepalive(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKED_MAX))?;
    Ok(())
}
