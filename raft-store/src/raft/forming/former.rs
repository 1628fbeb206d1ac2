//! The side that asks: a blank node's look around, and the decision to form the group.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::dialogue::{Answer, DIALOGUE_MAX, LOOK, PROMISE, read_message, write_message};
use super::{Desk, Token};
use crate::identity::NodeId;
use crate::peers::Peer;
use crate::raft::network::handshake::Purpose;
use crate::raft::network::wire::malformed;
use crate::raft::network::{Caller, Route};
use crate::types::LogId;

/// Pauses between looks at the peers: short at first so that a fresh group is there at once.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

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
