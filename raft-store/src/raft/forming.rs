//! Forming a group, once.
//!
//! A blank node (no log, no vote) looks at the configured peers. Only when all of them are there and blank, the one of
//! the lowest index asks each to promise, durably, one *token*: the group and the full ids of all nodes. When all have
//! promised it writes the first entry, a membership made of the token and nothing else, and campaigns; the others
//! accept its calls because of their promise. Afterwards a start needs nobody.
//!
//! Crash histories: before all have promised nothing has happened, and a blank node may promise another token. After
//! that the writer of the first entry is no longer blank when it returns, and the others still hold its token. A node
//! that loses its disk in between has another id, is in no token and no membership, and waits.
//!
//! Dialogue, little endian: question `len u32 | kind u8 (1 look, 2 promise) | token`, answer
//! `len u32 | standing u8 (0 blank, 1 member, 2 refused, 3 member in quarantine) | nodes u32 | ids u64...`, the last one
//! followed by the end of its log, `set u8 | term u64 | index u64`.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{info, warn};

use super::gate::Gate;
use super::network::handshake::Purpose;
use super::network::wire::malformed;
use super::network::{Caller, Route};
use crate::identity::{Identity, IdentityError, NodeId};
use crate::log::LogReader;
use crate::peers::Peer;
use crate::types::LogId;
use crate::vfs::Vfs;

/// One attempt at forming: the group and all its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) group: String,
    /// Full node ids.
    pub(crate) nodes: BTreeSet<u64>,
}

const MESSAGE_MAX: u32 = 1 << 16;
const NODES_MAX: u32 = 1024;
const LOOK: u8 = 1;
const PROMISE: u8 = 2;
/// Time for one question and its answer, a sync of the other side's disk included.
const DIALOGUE_MAX: Duration = Duration::from_secs(3);
/// Pauses between looks at the peers: short at first so that a fresh group is there at once.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Token {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u16_le(u16::try_from(self.group.len()).expect("group names are short"));
        out.put_slice(self.group.as_bytes());
        put_nodes(&mut out, &self.nodes);
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Token> {
        let size = usize::from(bytes.try_get_u16_le().ok()?);
        let (group, rest) = bytes.split_at_checked(size)?;
        let group = String::from_utf8(group.to_vec()).ok()?;
        let mut rest = rest;
        let nodes = get_nodes(&mut rest)?;
        rest.is_empty().then_some(Token { group, nodes })
    }
}

fn put_nodes(out: &mut impl BufMut, nodes: &BTreeSet<u64>) {
    out.put_u32_le(u32::try_from(nodes.len()).expect("a group has few nodes"));
    nodes.iter().for_each(|node| out.put_u64_le(*node));
}

fn get_nodes(bytes: &mut impl Buf) -> Option<BTreeSet<u64>> {
    let count = bytes.try_get_u32_le().ok().filter(|count| *count <= NODES_MAX)?;
    (0..count).map(|_| bytes.try_get_u64_le().ok()).collect()
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Blank,
    /// Takes part in a group of these nodes.
    Member(BTreeSet<u64>),
    /// Can't promise now.
    Refused,
    /// Takes part in a group of these nodes, but may have lost acknowledged entries; its log ends here.
    Unsure(BTreeSet<u64>, Option<LogId>),
}

impl Answer {
    fn encode(&self) -> (u8, BytesMut) {
        let nobody = BTreeSet::new();
        let (standing, nodes, last) = match self {
            Answer::Blank => (0, &nobody, None),
            Answer::Member(nodes) => (1, nodes, None),
            Answer::Refused => (2, &nobody, None),
            Answer::Unsure(nodes, last) => (3, nodes, Some(last)),
        };
        let mut body = BytesMut::new();
        put_nodes(&mut body, nodes);
        if let Some(last) = last {
            let id = last.unwrap_or(LogId::new(0, 0));
            body.put_u8(u8::from(last.is_some()));
            body.put_u64_le(id.term);
            body.put_u64_le(id.index);
        }
        (standing, body)
    }

    fn decode(standing: u8, mut body: Bytes) -> Option<Answer> {
        let nodes = get_nodes(&mut body)?;
        Some(match standing {
            0 => Answer::Blank,
            1 => Answer::Member(nodes),
            2 => Answer::Refused,
            3 => {
                let set = body.try_get_u8().ok()? == 1;
                let last = LogId::new(body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
                Answer::Unsure(nodes, set.then_some(last))
            }
            _ => return None,
        })
    }
}

async fn write_message(stream: &mut TcpStream, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u32_le(u32::try_from(1 + body.len()).map_err(|_| malformed("forming message"))?);
    out.put_u8(kind);
    out.put_slice(body);
    stream.write_all(&out).await
}

async fn read_message(stream: &mut TcpStream) -> io::Result<(u8, Bytes)> {
    let size = stream.read_u32_le().await?;
    if !(1..=MESSAGE_MAX).contains(&size) {
        return Err(malformed("forming message"));
    }
    let mut body = vec![0; size as usize];
    stream.read_exact(&mut body).await?;
    let mut body = Bytes::from(body);
    let kind = body.get_u8();
    Ok((kind, body))
}

/// The durable half of a node's identity, and who may be told about it.
pub(crate) struct Desk {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    identity: Mutex<Identity>,
    gate: Arc<Gate>,
    log: LogReader,
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
    async fn promise(&self, token: Token) -> Result<Answer, IdentityError> {
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

/// What a blank node found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// All have promised: write the first entry for these nodes.
    Form(BTreeSet<u64>),
    /// Not yet; a sentence for people.
    Wait(String),
}

/// A blank node's look around.
pub(crate) struct Former {
    pub(crate) caller: Arc<Caller>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) desk: Arc<Desk>,
}

struct Seen {
    peer: Peer,
    /// The node that answered and what it said, or why there is no answer.
    answer: Result<(NodeId, Answer), String>,
}

impl Former {
    fn others(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.index != self.caller.own.peer_index())
    }

    fn forms(&self) -> bool {
        self.others().all(|peer| peer.index > self.caller.own.peer_index())
    }

    async fn ask(
        &self,
        peer: &Peer,
        target: Option<NodeId>,
        kind: u8,
        body: &[u8],
    ) -> io::Result<(NodeId, Answer)> {
        let route = Route { caller: Arc::clone(&self.caller), address: peer.address(), target };
        let dialogue = async {
            let (mut stream, node) = route.connect_to_any(Purpose::Forming).await?;
            write_message(&mut stream, kind, body).await?;
            let (standing, body) = read_message(&mut stream).await?;
            let answer = Answer::decode(standing, body).ok_or_else(|| malformed("forming answer"))?;
            Ok((node, answer))
        };
        tokio::time::timeout(DIALOGUE_MAX, dialogue).await?
    }

    /// One look at all peers and, if everything fits, one round of promises. Dropping the future in between leaves
    /// promises behind, which the next round repeats or replaces.
    pub(crate) async fn look(&self) -> Outlook {
        let looks = self.others().map(|peer| async move {
            let answer = self.ask(peer, None, LOOK, &[]).await.map_err(|error| error.to_string());
            Seen { peer: peer.clone(), answer }
        });
        let seen = futures::future::join_all(looks).await;
        match judge(self.caller.own, self.forms(), &seen) {
            Outlook::Form(nodes) => self.collect_promises(nodes, &seen).await,
            wait => wait,
        }
    }

    /// The end of the longest log of all members, when every other peer answers that it, too, may have lost acknowledged
    /// entries: nobody is left who could know better, and that log may lead. `None` when somebody does not answer so.
    pub(crate) async fn longest_of_unsure(&self) -> Option<Option<LogId>> {
        let looks = self.others().map(|peer| self.ask(peer, None, LOOK, &[]));
        let answers = futures::future::join_all(looks).await;
        let ends = answers.into_iter().map(|answer| match answer {
            Ok((_, Answer::Unsure(_, last))) => Some(last),
            Ok((_, Answer::Blank | Answer::Member(_) | Answer::Refused)) | Err(_) => None,
        });
        let longest = ends.collect::<Option<Vec<_>>>()?.into_iter().max().flatten();
        Some(longest.max(self.desk.log.last()))
    }

    async fn collect_promises(&self, nodes: BTreeSet<u64>, seen: &[Seen]) -> Outlook {
        let token = Token { group: self.caller.group.clone(), nodes: nodes.clone() };
        match self.desk.promise(token.clone()).await {
            Ok(Answer::Blank) => {}
            Ok(Answer::Member(_) | Answer::Unsure(..) | Answer::Refused) => {
                return Outlook::Wait("calls of peers to end".into());
            }
            Err(error) => {
                warn!(%error, "the promise to form the group could not be written");
                return Outlook::Wait(format!("the own disk: {error}"));
            }
        }
        let body = token.encode();
        for Seen { peer, answer } in seen {
            let target = answer.as_ref().ok().map(|(node, _)| *node);
            match self.ask(peer, target, PROMISE, &body).await {
                Ok((_, Answer::Blank)) => {}
                Ok((_, Answer::Member(_) | Answer::Unsure(..) | Answer::Refused)) => {
                    return Outlook::Wait(format!("peer {peer} to promise to join"));
                }
                Err(error) => return Outlook::Wait(format!("peer {peer} to promise to join: {error}")),
            }
        }
        Outlook::Form(nodes)
    }

    /// Looks until the group is to be formed here, telling what it waits for. The caller ends this when the node has
    /// become a member in another way.
    pub(crate) async fn run(&self, mut tell: impl FnMut(String)) -> BTreeSet<u64> {
        let mut pause = PAUSE_MIN;
        let mut told = String::new();
        loop {
            match self.look().await {
                Outlook::Form(nodes) => {
                    info!(group = %self.caller.group, nodes = %Nodes(&nodes), "all peers have promised: forming the group");
                    return nodes;
                }
                Outlook::Wait(reason) => {
                    if told != reason {
                        info!(group = %self.caller.group, node = %self.caller.own, reason, "blank node waits");
                        told.clone_from(&reason);
                        tell(reason);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The decision alone. `forms`: this node has the lowest index.
fn judge(own: NodeId, forms: bool, seen: &[Seen]) -> Outlook {
    let member = seen.iter().find_map(|seen| match &seen.answer {
        Ok((_, Answer::Member(nodes) | Answer::Unsure(nodes, _))) => Some((&seen.peer, nodes)),
        Ok((_, Answer::Blank | Answer::Refused)) | Err(_) => None,
    });
    if let Some((peer, nodes)) = member {
        return Outlook::Wait(if nodes.contains(&own.0) {
            "the leader to send the log".into()
        } else {
            format!(
                "admission by a membership change: this node {own} is blank, and the group exists already ({peer} \
                 names its nodes {})",
                Nodes(nodes)
            )
        });
    }
    let missing: Vec<String> = seen
        .iter()
        .filter_map(|seen| seen.answer.as_ref().err().map(|error| format!("{} ({error})", seen.peer)))
        .collect();
    if !missing.is_empty() {
        return Outlook::Wait(format!("all peers, to form the group; missing: {}", missing.join(", ")));
    }
    if !forms {
        return Outlook::Wait("the peer of the lowest index to form the group".into());
    }
    let mut nodes: BTreeSet<u64> =
        seen.iter().filter_map(|seen| seen.answer.as_ref().ok().map(|(node, _)| node.0)).collect();
    nodes.insert(own.0);
    Outlook::Form(nodes)
}

struct Nodes<'a>(&'a BTreeSet<u64>);

impl fmt::Display for Nodes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|node| NodeId(*node).to_string()).collect();
        formatter.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(index: u16) -> NodeId {
        NodeId::new(index, 77)
    }

    fn seen(index: u16, answer: Result<Answer, &str>) -> Seen {
        let peer = Peer { index, host: "h".into(), port: 1 };
        Seen { peer, answer: answer.map(|answer| (node(index), answer)).map_err(str::to_owned) }
    }

    fn waits(outlook: Outlook) -> String {
        match outlook {
            Outlook::Wait(reason) => reason,
            Outlook::Form(nodes) => panic!("would form {nodes:?}"),
        }
    }

    #[test]
    fn tokens_come_back_as_written() {
        let token = Token { group: "broker-a".into(), nodes: [3, 9, 1 << 60].into() };
        let bytes = token.encode();
        assert_eq!(Token::decode(&bytes).unwrap(), token);
        for end in 0..bytes.len() {
            assert_eq!(Token::decode(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn answers_come_back_as_written() {
        let nodes: BTreeSet<u64> = [3, 9].into();
        for answer in [
            Answer::Blank,
            Answer::Member(nodes.clone()),
            Answer::Refused,
            Answer::Unsure(nodes.clone(), None),
            Answer::Unsure(nodes, Some(LogId::new(4, 77))),
        ] {
            let (standing, body) = answer.encode();
            let body = body.freeze();
            assert_eq!(Answer::decode(standing, body.clone()), Some(answer));
            for end in 0..body.len() {
                assert_eq!(Answer::decode(standing, body.slice(..end)), None, "cut at {end}");
            }
        }
    }

    #[test]
    fn a_group_is_formed_only_when_all_are_there_and_blank() {
        let blank = || Ok(Answer::Blank);
        let all = judge(node(0), true, &[seen(1, blank()), seen(2, blank())]);
        assert_eq!(all, Outlook::Form([node(0).0, node(1).0, node(2).0].into()));
        let missing = waits(judge(node(0), true, &[seen(1, blank()), seen(2, Err("refused"))]));
        assert!(missing.contains("n2-h:1 (refused)"), "{missing}");
        let other = waits(judge(node(1), false, &[seen(0, blank()), seen(2, blank())]));
        assert!(other.contains("lowest index"), "{other}");
    }

    #[test]
    fn a_blank_node_of_an_existing_group_waits_for_admission_even_if_others_are_missing() {
        let group: BTreeSet<u64> = [node(1).0, node(2).0, NodeId::new(0, 5).0].into();
        let reason =
            waits(judge(node(0), true, &[seen(1, Ok(Answer::Member(group.clone()))), seen(2, Err("down"))]));
        assert!(reason.contains("admission") && reason.contains(&node(0).to_string()), "{reason}");
        let named = [node(0).0, node(1).0].into();
        let reason = waits(judge(node(0), true, &[seen(1, Ok(Answer::Member(named)))]));
        assert!(reason.contains("leader"), "{reason}");
    }
}
