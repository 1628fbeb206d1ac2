//! The side that is asked: who this node is, what it has promised, what it knows of the group.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::warn;

use super::Token;
use super::dialogue::{Answer, DIALOGUE_MAX, LOOK, PROMISE, read_message, write_message};
use crate::identity::{Identity, IdentityError, NodeId};
use crate::log::LogReader;
use crate::raft::gate::Gate;
use crate::raft::network::wire::malformed;
use crate::vfs::Vfs;

/// The durable half of a node's identity, and who may be told about it.
pub(crate) struct Desk {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    identity: Mutex<Identity>,
    gate: Arc<Gate>,
    pub(super) log: LogReader,
    /// Nodes of the group, once this node takes part.
    members: Mutex<BTreeSet<u64>>,
    /// One promise at a time.
    promising: tokio::sync::Mutex<()>,
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
            promising: tokio::sync::Mutex::default(),
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

    /// Remembers on disk that the group exists, so that a lost log is told from one that never was.
    pub(crate) fn mark_formed(&self) {
        let identity = {
            let mut identity = self.identity.lock();
            if identity.formed {
                return;
            }
            identity.formed = true;
            identity.clone()
        };
        let (vfs, dir) = (Arc::clone(&self.vfs), self.dir.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = identity.store(&*vfs, &dir) {
                warn!(%error, "the identity file could not be written");
            }
        });
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

    /// Promises a token durably; `Blank` means that the promise stands.
    ///
    /// The promise is withdrawn before it is replaced, so no call is carried out under one that is about to go. The
    /// work is not undone when the future is dropped; the file holds the old token or the new one.
    pub(super) async fn promise(&self, token: Token) -> Result<Answer, IdentityError> {
        let _one = self.promising.lock().await;
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
        let (vfs, dir, stored) = (Arc::clone(&self.vfs), self.dir.clone(), identity.clone());
        match tokio::task::spawn_blocking(move || stored.store(&*vfs, &dir)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Ok(Answer::Refused),
        }
        *self.identity.lock() = identity;
        Ok(if self.gate.set_promise(token) { Answer::Blank } else { self.standing() })
    }
}
