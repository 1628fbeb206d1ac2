//! The side that calls: heartbeats, votes, entries and checkpoints to one peer, as the consensus library asks for them.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::{FutureExt, Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use parking_lot::Mutex;

use super::control::ControlLink;
use super::entries::{Pace, Sent, exchange};
use super::handshake::Purpose;
use super::wire::{self, Control};
use super::{Caller, Route, checkpoint};
use crate::identity::NodeId;
use crate::log::Checkpoint;
use crate::raft::status::Counters;
use crate::raft::types::{RaftVote, Types};

type Failure = RPCError<Types>;
type SnapshotOf = Snapshot<openraft::vote::leader_id_std::CommittedLeaderId<u64>, u64, (), Checkpoint>;

/// Pause behind a checkpoint that did not arrive. A peer that has no room for it says so at once, and the library would have the
/// next one read from the disk and sent 200 ms later.
const SEND_AGAIN: Duration = Duration::from_secs(2);

/// A peer that can't be reached is tried again soon, then every 200 ms: a follower that comes back should catch up at
/// once, and a refused connection costs little.
fn pauses() -> Backoff {
    let first = [20, 50, 100].map(Duration::from_millis).into_iter();
    Backoff::new(first.chain(std::iter::repeat(Duration::from_millis(200))))
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            RPCError::Network(NetworkError::new(error))
        }
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

/// The ways to the peers, and one control link to each for all who call it.
pub(crate) struct Links {
    caller: Arc<Caller>,
    /// Address per peer index.
    addresses: HashMap<u16, String>,
    /// As many as there have been members.
    links: Mutex<HashMap<u64, ControlLink>>,
    /// What entries connections have brought to the peers.
    sent: Mutex<HashMap<u64, Sent>>,
    counters: Arc<Counters>,
}

impl Links {
    pub(crate) fn new(
        caller: Arc<Caller>,
        addresses: HashMap<u16, String>,
        counters: Arc<Counters>,
    ) -> Links {
        Links { caller, addresses, links: Mutex::default(), sent: Mutex::default(), counters }
    }

    fn route(&self, target: u64) -> Arc<Route> {
        let node = NodeId(target);
        // A member without an address is not configured here; calls to it fail like those to a machine that is off.
        let address = self.addresses.get(&node.peer_index()).cloned().unwrap_or_default();
        Arc::new(Route { caller: Arc::clone(&self.caller), address, target: Some(node) })
    }

    /// The control link to this node, started where there is none yet. Only on the group's thread.
    pub(crate) fn link(&self, target: u64) -> ControlLink {
        self.links.lock().entry(target).or_insert_with(|| ControlLink::start(self.route(target))).clone()
    }

    /// What has been sent to this node over entries connections.
    pub(crate) fn sent(&self, target: u64) -> Sent {
        let bytes = || self.counters.sent_bytes.counter(NodeId(target).peer_index().into());
        self.sent.lock().entry(target).or_insert_with(|| Sent::new(bytes())).clone()
    }
}

/// Makes clients.
pub(crate) struct Clients {
    links: Arc<Links>,
    pace: Pace,
}

impl Clients {
    pub(crate) fn new(links: Arc<Links>, pace: Pace) -> Clients {
        Clients { links, pace }
    }

    fn client(&self, target: u64, beats: bool) -> Client {
        let (route, link) = (self.links.route(target), self.links.link(target));
        Client { route, link, pace: self.pace.clone(), sent: self.links.sent(target), beats }
    }
}

impl RaftNetworkFactory<Types> for Clients {
    type Network = Client;

    async fn new_client(&mut self, target: u64, (): &()) -> Client {
        self.client(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Client {
        self.client(target, true)
    }
}

/// Calls one peer.
pub(crate) struct Client {
    route: Arc<Route>,
    link: ControlLink,
    pace: Pace,
    sent: Sent,
    /// Append requests of this client are heartbeats and go over the control link.
    beats: bool,
}

impl Client {
    /// Refuses what a silent leader has to say.
    fn may_speak(&self, vote: &RaftVote) -> io::Result<()> {
        if self.pace.silence.covers(vote.leader_id().term) {
            return Err(io::Error::other("this leader hears no majority and is silent"));
        }
        Ok(())
    }

    async fn beat(&self, request: AppendEntriesRequest<Types>) -> io::Result<StreamAppendResult<Types>> {
        assert!(request.entries.is_empty(), "a heartbeat carries no entries");
        self.may_speak(&request.vote)?;
        let body = wire::append_head(&request, 0).slice(4..);
        let answer = self.link.call(Control::Heartbeat, body).await?;
        if answer.is_empty() {
            return Err(io::Error::other("the peer could not answer a heartbeat"));
        }
        wire::get_append_answer(&answer)
    }

    async fn ask_vote(
        &self,
        kind: Control,
        request: &VoteRequest<Types>,
    ) -> Result<VoteResponse<Types>, Failure> {
        let mut body = BytesMut::with_capacity(64);
        wire::put_vote_request(&mut body, request);
        let answer = self.link.call(kind, body.freeze()).await.map_err(|error| failure(&error))?;
        wire::get_vote_answer(answer).map_err(|error| failure(&error))
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Checkpoint;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Failure> {
        let requests = stream::iter([request]);
        let mut answers = RaftNetworkV2::stream_append(self, requests, option).await?;
        match answers.next().await {
            Some(answer) => Ok(match answer? {
                Ok(_) => AppendEntriesResponse::Success,
                Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
                Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            }),
            None => Err(failure(&io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut requests: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, Failure>>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + openraft::OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if self.beats {
                let answers = async move {
                    match requests.next().await {
                        Some(request) => {
                            stream::iter(vec![self.beat(request).await.map_err(|error| failure(&error))])
                        }
                        None => stream::iter(vec![]),
                    }
                };
                let answers: BoxStream<'s, _> = Box::pin(answers.flatten_stream());
                return Ok(answers);
            }
            // The library pauses after a failure where it gives the first request, so that comes before the connection:
            // otherwise a peer that refuses connections is tried again without any pause.
            let Some(first) = requests.next().await else {
                return Ok(Box::pin(stream::empty()) as BoxStream<'s, _>);
            };
            self.may_speak(&first.vote).map_err(|error| failure(&error))?;
            let connection = self.route.connect(Purpose::Entries).await.map_err(|error| failure(&error))?;
            let requests = stream::iter([first]).chain(requests);
            let answers = exchange(connection, requests, &self.pace, self.sent.clone());
            let answers: BoxStream<'s, _> =
                Box::pin(answers.map(|answer| answer.map_err(|error| failure(&error))));
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failure> {
        self.ask_vote(Control::Vote, &request).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failure> {
        self.ask_vote(Control::PreVote, &request).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let send = async {
            self.may_speak(&vote)?;
            let mut connection = self.route.connect(Purpose::Checkpoint).await?;
            let sent = checkpoint::send(&mut connection, &vote, &snapshot.snapshot).await;
            if sent.is_err() {
                drop(connection);
                tokio::time::sleep(SEND_AGAIN).await;
            }
            sent
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, Failure> {
        let body =
            wire::transfer_request(request.from_leader(), request.last_log_id(), *request.to_node_id());
        self.link.call(Control::TransferLeader, body).await.map_err(|error| failure(&error))?;
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(pauses())
    }
}
