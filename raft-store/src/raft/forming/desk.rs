//! The side that is asked: who this node is, what it has promised, what it knows of the group.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Token;
use super::dialogue::{Answer, DIALOGUE_MAX, LOOK, PROMISE, read_message, write_message};
use crate::identity::{Identity, IdentityError, NodeId};
use crate::log::LogReader;
use crate::raft::gate::Gate;
use crate::raft::network::wire::malformed;
use crate::vfs::Vfs;

/// Pause between attempts to write the mark that the group exists.
const MARK_PAUSE: Duration = Duration::from_secs(1);

/// The durable half of a node's identity, and who may be told about it.
pub(crate) struct Desk {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    identity: Mutex<Identity>,
    gate: Arc<Gate>,
    pub(super) log: LogReader,
    /// Nodes of the group, once this node takes part.
    members: Mutex<BTreeSet<u64>>,
    /// One change of the identity file at a time; `identity` is what the file says.
    writing: tokio::sync::Mutex<()>,
    /// This node has taken part in a group, which the file may not say yet.
    took_part: Notify,
}

impl Desk {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        identity: Identity,
        gate: Arc<Gate>,
        log: LogReader,
    ) -> Desk {
        Desk {
            vfs,
            dir,
            identity: Mutex::new(identity),
            gate,
            log,
            members: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            took_part: Notify::new(),
        }
    }

    /// The nodes of the group, as the own log names them.
    pub(crate) fn set_members(&self, nodes: BTreeSet<u64>) {
        *self.members.lock() = nodes;
    }

    /// Full node id of a peer index, where it is a member.
    pub(crate) fn node_of(&self, peer: u64) -> Option<u64> {
        self.members.lock().iter().copied().find(|node| u64::from(NodeId(*node).peer_index()) == peer)
    }

    /// The group exists: [`Desk::keep_mark`] is to remember it on disk.
    pub(crate) fn mark_formed(&self) {
        self.took_part.notify_one();
    }

    /// Remembers on disk that the group exists, once it does, so that a lost log is told from one that never was: without
    /// the mark a node that loses its log comes back under its old id, with the votes and acknowledgements that it has given
    /// forgotten. What can't be written is written anew until it can be, or until the replica stops; a start with a log
    /// begins here again.
    pub(crate) async fn keep_mark(&self, stop: CancellationToken) {
        tokio::select! {
            // A mark that is due is written even if the replica is about to stop.
            biased;
            () = self.took_part.notified() => {}
            () = stop.cancelled() => return,
        }
        while let Err(error) = self.write_mark().await {
            warn!(%error, "the identity file could not be written: trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(MARK_PAUSE) => {}
            }
        }
    }

    async fn write_mark(&self) -> Result<(), IdentityError> {
        let _one = self.writing.lock().await;
        let before = self.identity.lock().clone();
        if !before.formed {
            self.store(Identity { formed: true, ..before }).await?;
        }
        Ok(())
    }

    fn standing(&self) -> Answer {
        match (self.gate.is_member(), self.gate.came_back_unsure()) {
            (false, _) => Answer::Blank,
            (true, false) => Answer::Member(self.members.lock().clone()),
            (true, true) => Answer::Unsure(self.members.lock().clone(), self.log.last()),
        }
    }

    /// Answers one question of a peer.
    pub(crate) async fn serve(&self, mut stream: TcpStream, from: NodeId) -> io::Result<()> {
        let dialogue = async {
            let (kind, body) = read_message(&mut stream).await?;
            let answer = match kind {
                LOOK => self.standing(),
                PROMISE => {
                    let token = Token::decode(&body).ok_or_else(|| malformed("forming token"))?;
                    if !token.nodes.contains(&from.0) {
                        return Err(malformed("forming token: the caller is not in it"));
                    }
                    self.promise(token).await.map_err(io::Error::other)?
                }
                _ => return Err(malformed("forming message")),
            };
            let (standing, body) = answer.encode();
            write_message(&mut stream, standing, &body).await
        };
        tokio::time::timeout(DIALOGUE_MAX, dialogue).await?
    }

    /// Writes the identity file, for a caller that holds `writing`. False: the runtime ends.
    async fn store(&self, identity: Identity) -> Result<bool, IdentityError> {
        let (vfs, dir, stored) = (Arc::clone(&self.vfs), self.dir.clone(), identity.clone());
        let Ok(outcome) = tokio::task::spawn_blocking(move || stored.store(&*vfs, &dir)).await else {
            return Ok(false);
        };
        outcome?;
        *self.identity.lock() = identity;
        Ok(true)
    }

    /// Promises a token durably; `Blank` means that the promise stands.
    ///
    /// The promise is withdrawn before it is replaced, so no call is carried out under one that is about to go. The
    /// work is not undone when the future is dropped; the file holds the old token or the new one.
    pub(super) async fn promise(&self, token: Token) -> Result<Answer, IdentityError> {
        let _one = self.writing.lock().await;
        if self.gate.is_member() {
            return Ok(self.standing());
        }
        if self.gate.promised().as_ref() == Some(&token) {
            return Ok(Answer::Blank);
        }
        if token.group != self.identity.lock().group || !token.nodes.contains(&self.gate.own().0) {
            return Ok(Answer::Refused);
        }
        if !self.gate.suspend() {
            return Ok(Answer::Refused);
        }
        let identity = Identity { promise: Some(token.encode()), ..self.identity.lock().clone() };
        if !self.store(identity).await? {
            return Ok(Answer::Refused);
        }
        Ok(if self.gate.set_promise(token) { Answer::Blank } else { self.standing() })
    }
}
