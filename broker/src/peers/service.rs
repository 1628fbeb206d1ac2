//! What this replica does for its peers: takes up forwarded calls and proposals while it leads, listens to reports of
//! who is connected where, and passes frames on to clients that it holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::Command;
use flotilla_net::{ByteBudget, BytesPermit, CloseReason, Connection, ConnectionOptions, Service};
use flotilla_raft_store::raft::{PeerService, ProposeError, TransferError};
use flotilla_remoting::frame::Frame;
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::wire;
use crate::call::{Call, Caller, Reply};
use crate::dispatch::Dispatcher;
use crate::group::proposer::InFlight;
use crate::group::{Group, transfer};
use crate::handlers::offsets::PendingOffsets;
use crate::leader::Reports;
use crate::limits::PEER_WRITE_BYTES_MAX;
use crate::sessions::Sessions;

/// Time in which a peer's command has to enter the log; the peer itself gives up at about this time.
const PROPOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Accepts the streams of peers and answers on them.
pub struct Peers {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub sessions: Arc<Sessions>,
    pub reports: Arc<Reports>,
    pub in_flight: Arc<InFlight>,
    pub offsets: Arc<PendingOffsets>,
    pub budget: ByteBudget,
    pub options: ConnectionOptions,
    pub runtime: Handle,
}

/// Hands a peer's stream from the Raft thread to the I/O runtime. Filled in once the node stands.
pub struct Acceptor {
    pub runtime: Handle,
    pub peers: Arc<std::sync::OnceLock<Arc<Peers>>>,
}

impl PeerService for Acceptor {
    fn accept(&self, from: u64, stream: std::net::TcpStream) {
        let peers = self.peers.clone();
        self.runtime.spawn(async move {
            let Some(peers) = peers.get() else { return };
            let opened = tokio::net::TcpStream::from_std(stream).and_then(|stream| {
                let service = Arc::new(PeerStream { from, peers: peers.clone() });
                Connection::over(stream, peers.options.clone(), peers.budget.clone(), service)
            });
            if let Err(error) = opened {
                debug!(peer = from, %error, "peer stream ended before it began");
            }
        });
    }
}

/// One peer's stream.
struct PeerStream {
    from: u64,
    peers: Arc<Peers>,
}

impl Service for PeerStream {
    fn disconnected(&self, connection: &Arc<Connection>, _reason: &CloseReason) {
        self.peers.reports.replica_lost(self.from, connection.id(), Instant::now());
    }

    /// A client's call is handed back as not done, so that its replica tries again until the call's deadline. What replicas
    /// tell each other is small, and without it load would look like absence: it is served all the same.
    fn overloaded(&self, connection: &Arc<Connection>, request: Frame) {
        if request.header.code == wire::FORWARD {
            let _ = connection.send(wire::not_proposed(request.header.opaque));
        } else {
            self.call(connection, request, BytesPermit::none());
        }
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let opaque = request.header.opaque;
        let handled = match request.header.code {
            // The peer does not read its answers as fast as it asks: what is not begun needs no answer's room.
            wire::FORWARD if connection.write_queue_bytes() > PEER_WRITE_BYTES_MAX / 2 => {
                let _ = connection.send(wire::not_proposed(opaque));
                Ok(())
            }
            wire::FORWARD => self.forwarded(connection, opaque, request, permit),
            wire::PROPOSE => self.propose(connection, opaque, request),
            wire::PRESENCE => wire::present(request.body).map(|members| {
                self.peers.reports.report(self.from, connection.id(), members);
                let _ = connection.send(wire::answered(opaque));
            }),
            wire::PRODUCERS => wire::produced(request.body).map(|producers| {
                self.peers.reports.report_producers(self.from, connection.id(), producers);
                let _ = connection.send(wire::answered(opaque));
            }),
            wire::DELIVER => wire::delivery(request.body).map(|(clients, frame)| {
                for to in clients.iter().filter_map(|client| self.peers.sessions.client(client)) {
                    let _ = to.oneway(frame.clone());
                }
                let _ = connection.send(wire::answered(opaque));
            }),
            wire::PING => {
                let _ = connection.send(wire::answered(opaque));
                Ok(())
            }
            wire::TRANSFER => self.transfer(connection, opaque, request),
            _ => Err(wire::WireError::Bad { what: "code" }),
        };
        if let Err(error) = handled {
            warn!(peer = self.from, %error, "peer sent what this node can't read; are all nodes of one version?");
            let _ = connection.send(wire::response(wire::FAILED, opaque));
        }
    }
}

impl PeerStream {
    fn forwarded(
        &self,
        connection: &Arc<Connection>,
        opaque: i32,
        request: Frame,
        permit: BytesPermit,
    ) -> Result<(), wire::WireError> {
        let forwarded = wire::forwarded(request.body, Instant::now())?;
        let caller = Caller {
            address: forwarded.address,
            connection: None,
            client_id: forwarded.client_id,
            forwarded_by: Some(self.from),
        };
        let reply = Reply::to_peer(connection.clone(), opaque, permit);
        self.peers.dispatcher.dispatch(Call {
            request: forwarded.request,
            caller,
            deadline: forwarded.deadline,
            // The replica that the client is connected to has taken it.
            commit_taken: true,
            reply,
        });
        Ok(())
    }

    fn transfer(
        &self,
        connection: &Arc<Connection>,
        opaque: i32,
        request: Frame,
    ) -> Result<(), wire::WireError> {
        let to = wire::transfer_target(request.body)?;
        let (group, in_flight, connection) =
            (self.peers.group.clone(), self.peers.in_flight.clone(), connection.clone());
        self.peers.runtime.spawn(async move {
            let outcome = transfer::transfer(&group, &in_flight, to).await;
            if let Err(error) = &outcome {
                warn!(%error, "leadership was not handed over as a peer asked");
            }
            let answer = match outcome {
                Ok(()) => wire::answered(opaque),
                Err(TransferError::NotLeader | TransferError::NoTarget(_)) => wire::not_proposed(opaque),
                Err(TransferError::Timeout | TransferError::Stopped) => wire::response(wire::FAILED, opaque),
            };
            let _ = connection.send(answer);
        });
        Ok(())
    }

    fn propose(
        &self,
        connection: &Arc<Connection>,
        opaque: i32,
        request: Frame,
    ) -> Result<(), wire::WireError> {
        let command = Command::decode(&request.body).map_err(|_| wire::WireError::Bad { what: "command" })?;
        let (group, offsets, connection) =
            (self.peers.group.clone(), self.peers.offsets.clone(), connection.clone());
        self.peers.runtime.spawn(async move {
            let patience = Instant::now() + Duration::from_secs(1);
            while !group.leads() && Instant::now() < patience && group.expects_to_lead() {
                group.changed(patience).await;
            }
            let deadline = Instant::now() + PROPOSE_PATIENCE;
            let answer = match command {
                _ if !group.leads() => Err(ProposeError::NotLeader { leader: None }),
                // A follower's commits go where the leader's own wait, so that the newest per queue wins, whoever took it.
                Command::CommitOffsets(commits) => offsets.take_over(commits, deadline).await,
                command => group.propose(command, deadline).await,
            };
            let _ = match answer {
                Ok(answer) => connection.send_parts(wire::answered(opaque), vec![answer.encode()]),
                Err(ProposeError::NotLeader { .. } | ProposeError::Busy | ProposeError::Stopped) => {
                    connection.send(wire::not_proposed(opaque))
                }
                Err(ProposeError::Unknown | ProposeError::TooLarge) => {
                    connection.send(wire::response(wire::FAILED, opaque))
                }
            };
        });
        Ok(())
    }
}
