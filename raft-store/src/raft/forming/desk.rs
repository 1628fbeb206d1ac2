//! The side that is asked: who this node is, what it has promised, what it knows of the group.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Token;
use super::dialogue::{Answer, DIALOGUE_MAX, LOOK, PROMISE, read_message, write_message};
use crate::identity::{Identity, IdentityError, NodeId};
use crate::log::LogReader;
use crate::net::Connection;
use crate::raft::gate::Gate;
use crate::raft::network::wire::malformed;
use crate::raft::runtime::Blocking;
use crate::vfs::Vfs;

/// Pause between attempts to write the mark that the group exists.
const MARK_PAUSE: Duration = Duration::from_secs(1);

/// The durable half of a node's identity, and who may be told about it.
pub(crate) struct Desk {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    /// What the file says.
    identity: Arc<Mutex<Identity>>,
    gate: Arc<Gate>,
    blocking: Blocking,
    pub(super) log: LogReader,
    /// Nodes of the group, once this node takes part.
    members: Mutex<BTreeSet<u64>>,
    /// One change of the identity file at a time; held until the file is written, whatever becomes of who asked for it.
    writing: Arc<tokio::sync::Mutex<()>>,
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
        blocking: Blocking,
    ) -> Desk {
        Desk {
            vfs,
            dir,
            identity: Arc::new(Mutex::new(identity)),
            gate,
            blocking,
            log,
            members: Mutex::default(),
            writing: Arc::default(),
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
        loop {
            match self.write_mark().await {
                Ok(true) => return,
                Ok(false) => warn!("the identity file was not written: trying again"),
                Err(error) => warn!(%error, "the identity file could not be written: trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(MARK_PAUSE) => {}
            }
        }
    }

    async fn write_mark(&self) -> Result<bool, IdentityError> {
        let one = Arc::clone(&self.writing).lock_owned().await;
        let before = self.identity.lock().clone();
        if before.formed {
            return Ok(true);
        }
        self.store(one, Identity { formed: true, ..before }).await
    }

    fn standing(&self) -> Answer {
        match (self.gate.is_member(), self.gate.came_back_unsure()) {
            (false, _) => Answer::Blank,
            (true, false) => Answer::Member(self.members.lock().clone()),
            (true, true) => Answer::Unsure(self.members.lock().clone(), self.log.last()),
        }
    }

    /// Answers one question of a peer.
    pub(crate) async fn serve(&self, mut stream: Connection, from: NodeId) -> io::Result<()> {
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

    /// Writes the identity file. False: it did not come to that, because the runtime ends or the writing panicked. Dropped
    /// half-way, the file is written to the end and the next change waits for that.
    async fn store(&self, one: OwnedMutexGuard<()>, identity: Identity) -> Result<bool, IdentityError> {
        let (vfs, dir, known) = (Arc::clone(&self.vfs), self.dir.clone(), Arc::clone(&self.identity));
        let write = move || {
            let _one = one;
            identity.store(&*vfs, &dir)?;
            *known.lock() = identity;
            Ok(true)
        };
        self.blocking.run(write).await.unwrap_or(Ok(false))
    }

    /// Promises a token durably; `Blank` means that the promise stands.
    ///
    /// The promise is withdrawn before it is replaced, so no call is carried out under one that is about to go. The
    /// work is not undone when the future is dropped; the file holds the old token or the new one.
    pub(super) async fn promise(&self, token: Token) -> Result<Answer, IdentityError> {
        let one = Arc::clone(&self.writing).lock_owned().await;
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
        if !self.store(one, identity).await? {
            return Ok(Answer::Refused);
        }
        Ok(if self.gate.set_promise(token) { Answer::Blank } else { self.standing() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::sync::{Condvar, PoisonError};

    use super::*;
    use crate::log::WriterMode;
    use crate::log::testing::Bench;
    use crate::vfs::hooked::{Call, Hook, Hooked};
    use crate::vfs::{MemVfs, Vfs};

    const OWN: NodeId = NodeId(7);

    /// A disk that hangs in a sync of the identity file while the door is shut.
    #[derive(Debug, Default)]
    struct Door {
        shut: std::sync::Mutex<bool>,
        opened: Condvar,
        waiting: Notify,
    }

    impl Door {
        fn set(&self, shut: bool) {
            *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = shut;
            self.opened.notify_all();
        }
    }

    impl Hook for Door {
        fn before(&self, call: Call, path: &Path) -> io::Result<()> {
            if call == Call::Sync && path.ends_with("identity.tmp") {
                let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
                if *shut {
                    self.waiting.notify_one();
                }
                drop(self.opened.wait_while(shut, |shut| *shut));
            }
            Ok(())
        }
    }

    fn desk(vfs: Arc<dyn Vfs>) -> Desk {
        let dir = Path::new("/node");
        vfs.create_dir_all(dir).unwrap();
        let own = Identity { node: OWN, ..Identity::new("c", "g", 0, 7) };
        own.store(&*vfs, dir).unwrap();
        let gate = Arc::new(Gate::new("c".into(), "g".into(), OWN, vec![0]));
        let log = Bench::new(WriterMode::Inline).log().reader();
        Desk::new(vfs, dir.to_path_buf(), own, gate, log, Blocking::Pool)
    }

    fn stored(vfs: &MemVfs) -> Identity {
        Identity::load(vfs, Path::new("/node")).unwrap().unwrap()
    }

    /// The peer that asked hangs up while the disk hangs; the mark that comes next must not meet the file half written, nor
    /// be overwritten by it.
    #[tokio::test]
    async fn a_promise_that_nobody_waits_for_any_more_still_goes_before_the_mark() {
        let (disk, door) = (MemVfs::new(), Arc::new(Door::default()));
        let desk = desk(Arc::new(Hooked::new(disk.clone(), door.clone())));
        door.set(true);
        let token = Token { group: "g".into(), nodes: [OWN.0].into() };
        tokio::select! {
            _ = desk.promise(token.clone()) => panic!("the disk hangs"),
            () = door.waiting.notified() => {}
        }
        desk.mark_formed();
        let kept = desk.keep_mark(CancellationToken::new());
        tokio::pin!(kept);
        assert!(futures::poll!(&mut kept).is_pending());
        door.set(false);
        kept.await;
        let stored = stored(&disk);
        assert!(stored.formed);
        assert_eq!(stored.promise, Some(token.encode()), "both changes are in the file");
    }

    #[tokio::test]
    async fn a_mark_that_is_due_is_written_though_the_replica_stops() {
        // Without a preference either could be chosen.
        for _ in 0..32 {
            let disk = MemVfs::new();
            let desk = desk(Arc::new(disk.clone()));
            let stop = CancellationToken::new();
            desk.mark_formed();
            stop.cancel();
            desk.keep_mark(stop).await;
            assert!(stored(&disk).formed);
        }
    }
}
