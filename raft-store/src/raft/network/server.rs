//! The side that is called: listens, shakes hands, and brings what peers send to the group.
//!
//! Nothing of a connection reaches the group before the [`Gate`] has agreed: this node must be addressed by its own
//! full id, and a blank node takes part only in the group that it promised to join.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest};
use openraft::storage::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::handshake::{Hello, Purpose, Welcome, read_hello, write_welcome};
use super::intake::{self, Intake};
use super::wire::{self, APPEND_FRAME_MAX, APPEND_HEAD_SIZE, Control, malformed};
use super::{checkpoint, control, tune};
use crate::identity::NodeId;
use crate::net::{Connection, Listener};
use crate::raft::api::{Machine, PeerService};
use crate::raft::forming;
use crate::raft::gate::Gate;
use crate::raft::group::RaftOf;
use crate::raft::machine::snapshot_meta;
use crate::raft::runtime::{Timed, spawn};
use crate::raft::storage::SharedLog;
use crate::raft::types::{RaftLogId, Types, plain_log_id, raft_log_id};
use crate::types::LogId;

/// Connections open at once; peers need about five each.
const CONNECTIONS_MAX: usize = 512;
/// Time for a hello after the connection is open.
const HELLO_MAX: Duration = Duration::from_secs(2);
/// Control requests being answered per connection; beyond it the connection is not read.
const CONTROL_MAX: usize = 64;
/// What an installation writes beside the state itself: the checkpoint's own fields, bounds and marks.
const INSTALL_BESIDE: u64 = 64 << 10;
/// Memory set aside for a frame before its bytes have arrived.
const FRAME_EAGER: usize = 2 << 20;

/// Everything that a connection needs.
pub(crate) struct Server<M: Machine> {
    pub(crate) raft: RaftOf<M>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) forming: Arc<forming::Desk>,
    pub(crate) shared: Arc<SharedLog>,
    pub(crate) peer_service: Arc<dyn PeerService>,
    /// The longest wait for room on an entries connection: after this time the leader has given it up.
    pub(crate) append_idle: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl<M: Machine> Server<M> {
    /// Accepts connections until stopped.
    pub(crate) async fn run(self: Arc<Self>, mut listener: Listener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(Timed::new(async move {
                        let stop = server.stop.clone();
                        tokio::select! {
                            () = stop.cancelled() => {}
                            outcome = server.serve(stream) => if let Err(error) = outcome {
                                debug!(%error, "connection of a peer ended");
                            }
                        }
                        drop(permit);
                    }));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: the next accept would fail at once as well.
                    warn!(%error, "a peer's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self: &Arc<Self>, mut stream: Connection) -> io::Result<()> {
        tune(&stream)?;
        let hello = tokio::time::timeout(HELLO_MAX, read_hello(&mut stream)).await??;
        if let Err(refusal) = self.gate.check(&hello) {
            write_welcome(&mut stream, self.gate.own(), Welcome::Refused(&refusal)).await?;
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal));
        }
        let welcome = if self.gate.quarantined() { Welcome::Quarantined } else { Welcome::ComeIn };
        write_welcome(&mut stream, self.gate.own(), welcome).await?;
        let Hello { purpose, from, .. } = hello;
        match purpose {
            Purpose::Control => self.serve_control(stream, from).await,
            Purpose::Entries => self.serve_entries(stream, from).await,
            Purpose::Checkpoint => self.serve_checkpoint(stream, from).await,
            Purpose::Forming => self.forming.serve(stream, from).await,
            Purpose::Application => {
                self.peer_service.accept(u64::from(from.peer_index()), stream.into_tcp()?.into_std()?);
                Ok(())
            }
        }
    }

    async fn serve_control(self: &Arc<Self>, stream: Connection, from: NodeId) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::with_capacity(4096, reader);
        let (answers, mut answered) = mpsc::channel::<Bytes>(CONTROL_MAX);
        let room = Arc::new(Semaphore::new(CONTROL_MAX));
        let write = async {
            while let Some(answer) = answered.recv().await {
                writer.write_all(&answer).await?;
            }
            Ok::<(), io::Error>(())
        };
        let read = async {
            loop {
                let (kind, id, body) = control::read_frame(&mut reader).await?;
                let kind = Control::from_number(kind).ok_or_else(|| malformed("control message"))?;
                if kind == Control::Ping {
                    // Here, before any wait for room: heartbeats that wait for the disk may hold all of it.
                    let body: &[u8] = if self.gate.admit(from).is_ok() { &[0] } else { &[] };
                    answers.send(control::frame(kind as u8, id, body)).await.ok();
                    continue;
                }
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                    // Without an answer, as what fails: the caller has given up earlier ones already, and pings behind it are read.
                    answers.send(control::frame(kind as u8, id, &[])).await.ok();
                    continue;
                };
                let server = Arc::clone(self);
                let answers = answers.clone();
                spawn(async move {
                    let body = match server.answer(kind, body, from).await {
                        Ok(body) => body,
                        Err(error) => {
                            debug!(%error, ?kind, %from, "control request without answer");
                            Bytes::new()
                        }
                    };
                    answers.send(control::frame(kind as u8, id, &body)).await.ok();
                    drop(permit);
                });
            }
        };
        tokio::select! {
            end = read => end,
            end = write => end,
        }
    }

    /// An empty answer tells the caller that there is none.
    async fn answer(&self, kind: Control, mut body: Bytes, from: NodeId) -> io::Result<Bytes> {
        let _admission = self.gate.admit(from)?;
        let mut out = BytesMut::with_capacity(64);
        match kind {
            Control::Heartbeat => {
                let request = wire::read_append(body)?;
                if !request.entries.is_empty() {
                    return Err(malformed("heartbeat"));
                }
                let answer = self.heartbeat(request).await?;
                wire::put_append_answer(&mut out, &answer);
            }
            Control::Vote | Control::PreVote => {
                let request = wire::get_vote_request(body)?;
                let last = request.last_log_id.as_ref().map(plain_log_id);
                let refusal = self.gate.vote_refusal(last, request.leadership_transfer, Instant::now());
                if let Some(refusal) = refusal {
                    return Err(io::Error::other(refusal));
                }
                let answer = match kind {
                    Control::PreVote => self.raft.pre_vote(request).await,
                    _ => self.raft.vote(request).await,
                };
                wire::put_vote_answer(&mut out, &answer.map_err(io::Error::other)?);
            }
            // Answered where it is read.
            Control::Ping => {}
            Control::TransferLeader | Control::HandOn => {
                let vote = wire::get_vote(&mut body)?;
                let last = wire::get_log_id(&mut body)?;
                let to = bytes::Buf::try_get_u64_le(&mut body).map_err(|_| malformed("transfer request"))?;
                let unsure = kind == Control::HandOn && self.gate.came_back_unsure();
                if unsure && to == self.gate.own().0 {
                    // Its log may miss acknowledged entries, and with the vote of another one that does it would lead without.
                    // Who gets leadership by a transfer holds all that the leader has.
                    return Err(io::Error::other("this node has come back unsure and takes no leadership"));
                }
                let request = TransferLeaderRequest::new(vote, to, last);
                self.raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(io::Error::other)?
                    .map_err(io::Error::other)?;
                out.extend_from_slice(&[0]);
            }
        }
        Ok(out.freeze())
    }

    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> io::Result<openraft::raft::StreamAppendResult<Types>> {
        let previous = request.prev_log_id;
        let term = request.vote.leader_id().term;
        let own_commit = request.leader_commit.as_ref().filter(|id| id.committed_leader_id().term == term);
        let own_commit = own_commit.map(RaftLogId::index);
        let answer = self.raft.append_entries(request).await.map_err(io::Error::other)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.gate.heard_leader(own_commit);
        }
        Ok(match answer {
            AppendEntriesResponse::Success => Ok(previous),
            AppendEntriesResponse::PartialSuccess(matched) => Ok(matched),
            // Only a request that names a previous entry can conflict.
            AppendEntriesResponse::Conflict => match previous {
                Some(at) => Err(StreamAppendError::Conflict(at)),
                None => Ok(None),
            },
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        })
    }

    async fn serve_entries(self: &Arc<Self>, stream: Connection, from: NodeId) -> io::Result<()> {
        let _admission = self.gate.admit(from)?;
        let (reader, mut writer) = stream.into_split();
        let reader = BufReader::with_capacity(16 << 10, reader);
        let (shared, within) = (Arc::clone(&self.shared), self.append_idle);
        let piece_max = shared.log.lock().room().piece_max();
        let intake = Intake::default();
        let state = (reader, VecDeque::new(), intake.clone());
        let requests = stream::unfold(state, move |(mut reader, mut pieces, intake)| {
            let shared = Arc::clone(&shared);
            async move {
                if pieces.is_empty() {
                    match read_append_frame(&mut reader).await {
                        Ok(request) => pieces = intake::pieces(request, piece_max),
                        Err(error) => {
                            if error.kind() != io::ErrorKind::UnexpectedEof {
                                warn!(%error, "append stream ended");
                            }
                            return None;
                        }
                    }
                }
                let (piece, request) = pieces.pop_front()?;
                let admitted = intake.admit(&shared, piece, &request, pieces.is_empty(), within).await;
                if !admitted {
                    debug!(?piece, "append stream ended: no room came");
                    return None;
                }
                Some((request, (reader, pieces, intake)))
            }
        });
        let mut answers = Box::pin(self.raft.stream_append(requests).ready_chunks(CONTROL_MAX));
        while let Some(chunk) = answers.next().await {
            let mut out = BytesMut::with_capacity(chunk.len() * wire::APPEND_ANSWER_SIZE);
            let mut fatal = None;
            for answer in chunk {
                let whole = intake.answered();
                match answer {
                    Ok(Ok(_)) if !whole => {}
                    Ok(answer) => wire::put_append_answer(&mut out, &answer),
                    Err(error) => fatal = Some(error),
                }
            }
            writer.write_all(&out).await?;
            if let Some(error) = fatal {
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    async fn serve_checkpoint(self: &Arc<Self>, mut stream: Connection, from: NodeId) -> io::Result<()> {
        let _admission = self.gate.admit(from)?;
        let announced = checkpoint::receive(&mut stream).await?;
        let (vote, state_size) = (announced.vote, announced.state_size);
        self.room_for_checkpoint(&mut stream, state_size).await?;
        let received = announced.whole(&mut stream).await?;
        let LogId { term, index } = received.at.id;
        debug!(term, index, bytes = state_size, "checkpoint received");
        // Something else may have taken the room meanwhile.
        self.room_for_checkpoint(&mut stream, state_size).await?;
        let meta = snapshot_meta(&received).ok_or_else(|| malformed("membership of a checkpoint"))?;
        debug_assert_eq!(meta.last_log_id, Some(raft_log_id(received.at.id)));
        let snapshot = Snapshot { meta, snapshot: received };
        let _installing = self.shared.installing();
        match self.raft.install_full_snapshot(vote, snapshot).await {
            Ok(answer) => checkpoint::answer(&mut stream, Ok(&answer.vote)).await,
            Err(error) => {
                checkpoint::answer(&mut stream, Err(())).await?;
                Err(io::Error::other(error))
            }
        }
    }
}

impl<M: Machine> Server<M> {
    /// Refuses a checkpoint for which the disk has no room, and the leader sends it again: an installation that finds none gives up
    /// spares, and with none left it stops the whole replica (LOG-RULES 11).
    ///
    /// LIMIT: the segments that are allocated ahead don't count as room. A follower whose disk has only these left waits for an
    /// operator although one of them would hold the checkpoint.
    async fn room_for_checkpoint(&self, stream: &mut Connection, state_size: u64) -> io::Result<()> {
        let needed = state_size + INSTALL_BESIDE;
        if self.shared.disk_space().await?.available >= needed {
            return Ok(());
        }
        warn!(needed, "the disk has no room for the leader's checkpoint");
        checkpoint::answer(stream, Err(())).await?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

async fn read_append_frame(
    reader: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<AppendEntriesRequest<Types>> {
    let size = reader.read_u32_le().await? as usize;
    if !(APPEND_HEAD_SIZE..=APPEND_FRAME_MAX).contains(&size) {
        return Err(malformed("append request"));
    }
    let mut frame = BytesMut::with_capacity(size.min(FRAME_EAGER));
    while frame.len() < size {
        let missing = size - frame.len();
        if frame.capacity() == frame.len() {
            frame.reserve(missing.min(frame.len().max(FRAME_EAGER)));
        }
        let mut limited = bytes::BufMut::limit(&mut frame, missing);
        if reader.read_buf(&mut limited).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    wire::read_append(frame.freeze())
}
