//! Decides whose calls this node answers.
//!
//! The consensus library checks no membership when it is asked for a vote, so this is done before it is asked: the
//! caller must mean exactly this node (a wiped disk is another node at the same address), be one of the configured
//! peers, and, while this node is blank, belong to the group that it durably promised to join.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tracing::warn;

use super::forming::Token;
use super::network::handshake::{Hello, Purpose};
use crate::identity::NodeId;
use crate::types::LogId;

/// What this node is to the group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// No log and no vote.
    Blank { promised: Option<Token> },
    /// Has taken part.
    Member,
}

/// Whether this node's log can be trusted to hold all that it has acknowledged. It can't after the machine went down
/// uncleanly while acknowledgements did not wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Full,
    /// Votes for nobody until it holds what the group had committed when it came back.
    Quarantined {
        /// That commit, once a leader has named one of its own term: before that it may know of less than was
        /// acknowledged.
        joining_commit: Option<u64>,
    },
    /// All members were quarantined, so the longest log may lead, and nobody is left who would have to be waited for.
    ReleasedByAll {
        /// Last entry of the longest log: what it holds may have been acknowledged, so no shorter one gets a vote.
        longest: Option<LogId>,
        /// As in quarantine: until then this node's own log may miss what that one holds.
        joining_commit: Option<u64>,
    },
}

struct State {
    standing: Standing,
    trust: Trust,
    /// Calls of peers being carried out; the promise can't change meanwhile.
    admitted: usize,
    /// Until then a leader may count on a lease that this node granted before its restart.
    votes_from: Option<Instant>,
    /// Last refusal per peer index, so that a peer that tries again and again is logged once.
    refused: HashMap<u16, String>,
}

/// The gate of one replica.
pub(crate) struct Gate {
    cluster: String,
    group: String,
    own: NodeId,
    peers: Vec<u16>,
    state: Mutex<State>,
}

/// Held while a peer's call is carried out.
pub(crate) struct Admission(Arc<Gate>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.state.lock().admitted -= 1;
    }
}

impl Gate {
    pub(crate) fn new(cluster: String, group: String, own: NodeId, peers: Vec<u16>) -> Gate {
        let state = State {
            standing: Standing::Blank { promised: None },
            trust: Trust::Full,
            admitted: 0,
            votes_from: None,
            refused: HashMap::new(),
        };
        Gate { cluster, group, own, peers, state: Mutex::new(state) }
    }

    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    /// From now on this node takes part without a promise.
    pub(crate) fn become_member(&self) {
        self.state.lock().standing = Standing::Member;
    }

    pub(crate) fn is_member(&self) -> bool {
        self.state.lock().standing == Standing::Member
    }

    /// Sets the promise of a blank node unless a call made under the old one is still being carried out.
    pub(crate) fn set_promise(&self, token: Token) -> bool {
        let mut state = self.state.lock();
        match &mut state.standing {
            Standing::Member => false,
            Standing::Blank { promised } => {
                *promised = Some(token);
                true
            }
        }
    }

    /// Withdraws the promise of a blank node while a new one is written. False: not now, calls are being carried out.
    pub(crate) fn suspend(&self) -> bool {
        let mut state = self.state.lock();
        if state.admitted > 0 || state.standing == Standing::Member {
            return false;
        }
        state.standing = Standing::Blank { promised: None };
        true
    }

    /// Grants no votes before this instant.
    pub(crate) fn vote_not_before(&self, instant: Instant) {
        self.state.lock().votes_from = Some(instant);
    }

    /// Why this node grants no vote now to a candidate whose log ends with `last`. A leader that hands over has given its
    /// lease up.
    pub(crate) fn vote_refusal(
        &self,
        last: Option<LogId>,
        hand_over: bool,
        now: Instant,
    ) -> Option<&'static str> {
        let state = self.state.lock();
        match state.trust {
            // Its log may miss entries that it has acknowledged: it must not help to elect a leader without them.
            Trust::Quarantined { .. } => return Some("this node is quarantined and votes for nobody"),
            Trust::ReleasedByAll { longest, .. } if last < longest => {
                return Some("all members may have lost entries, and another one's log is longer");
            }
            Trust::ReleasedByAll { .. } | Trust::Full => {}
        }
        let leased = !hand_over && state.votes_from.is_some_and(|from| now < from);
        leased.then_some("this node has just started, and may have granted a lease before")
    }

    /// The log may have lost acknowledged entries.
    pub(crate) fn quarantine(&self) {
        self.state.lock().trust = Trust::Quarantined { joining_commit: None };
    }

    pub(crate) fn quarantined(&self) -> bool {
        matches!(self.state.lock().trust, Trust::Quarantined { .. })
    }

    /// Came back quarantined and does not hold yet what the group had committed then, whether released by all or not.
    pub(crate) fn came_back_unsure(&self) -> bool {
        match self.state.lock().trust {
            Trust::Full => false,
            Trust::Quarantined { .. } | Trust::ReleasedByAll { .. } => true,
        }
    }

    /// A leader was heard, and what it has committed in its own term.
    pub(crate) fn heard_leader(&self, commit: Option<u64>) {
        match &mut self.state.lock().trust {
            Trust::Full => {}
            Trust::Quarantined { joining_commit } | Trust::ReleasedByAll { joining_commit, .. } => {
                *joining_commit = joining_commit.or(commit);
            }
        }
    }

    /// This node leads, so its log is the group's. True when that ends its quarantine, or what is left of it.
    pub(crate) fn leads(&self) -> bool {
        std::mem::replace(&mut self.state.lock().trust, Trust::Full) != Trust::Full
    }

    /// Ends the quarantine, or what is left of it, when the state has reached the commit seen at joining. True when it ends
    /// now.
    pub(crate) fn caught_up(&self, applied: Option<u64>) -> bool {
        let mut state = self.state.lock();
        match state.trust {
            Trust::Quarantined { joining_commit: Some(commit) }
            | Trust::ReleasedByAll { joining_commit: Some(commit), .. }
                if applied >= Some(commit) =>
            {
                state.trust = Trust::Full;
                true
            }
            Trust::Quarantined { .. } | Trust::Full | Trust::ReleasedByAll { .. } => false,
        }
    }

    /// Lets the longest log, which ends with `longest`, be voted for because all members are quarantined. True when that
    /// begins now. A leader that was heard before is no leader any more, or it would not be quarantined.
    pub(crate) fn release_by_all(&self, longest: Option<LogId>) -> bool {
        let mut state = self.state.lock();
        match state.trust {
            Trust::Quarantined { joining_commit } => {
                state.trust = Trust::ReleasedByAll { longest, joining_commit };
                true
            }
            Trust::Full | Trust::ReleasedByAll { .. } => false,
        }
    }

    pub(crate) fn promised(&self) -> Option<Token> {
        match &self.state.lock().standing {
            Standing::Blank { promised } => promised.clone(),
            Standing::Member => None,
        }
    }

    /// Looks at a hello. The refusal is a sentence for the other side's log.
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), String> {
        let refusal = self.refusal(hello);
        let mut state = self.state.lock();
        let peer = hello.from.peer_index();
        match refusal {
            None => {
                state.refused.remove(&peer);
                Ok(())
            }
            Some(reason) => {
                if self.peers.contains(&peer) && state.refused.get(&peer) != Some(&reason) {
                    warn!(from = %hello.from, reason, "peer refused");
                    state.refused.insert(peer, reason.clone());
                }
                Err(reason)
            }
        }
    }

    fn refusal(&self, hello: &Hello) -> Option<String> {
        if hello.cluster != self.cluster {
            return Some(format!("this is cluster {}, not {}", self.cluster, hello.cluster));
        }
        if hello.group != self.group {
            return Some(format!("this is group {}, not {}", self.group, hello.group));
        }
        if !self.peers.contains(&hello.from.peer_index()) || hello.from.peer_index() == self.own.peer_index()
        {
            return Some(format!("node {} is not a configured peer", hello.from));
        }
        match (hello.to, hello.purpose) {
            (Some(to), _) if to != self.own => Some(format!("this is node {}, not {to}", self.own)),
            (Some(_), _) | (None, Purpose::Forming | Purpose::Application) => None,
            (None, Purpose::Control | Purpose::Entries | Purpose::Checkpoint) => {
                Some("the called node is not named".to_owned())
            }
        }
    }

    /// Lets one call through, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, from: NodeId) -> io::Result<Admission> {
        let mut state = self.state.lock();
        let admitted = match &state.standing {
            Standing::Member => true,
            Standing::Blank { promised } => {
                promised.as_ref().is_some_and(|token| token.nodes.contains(&from.0))
            }
        };
        if !admitted {
            let reason = "this node is blank and has promised nothing to the caller's group";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        state.admitted += 1;
        Ok(Admission(Arc::clone(self)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const OWN: NodeId = NodeId(1 << 48 | 7);
    const PEER: NodeId = NodeId(2 << 48 | 9);

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new("c".into(), "g".into(), OWN, vec![0, 1, 2]))
    }

    fn hello(purpose: Purpose, to: Option<NodeId>) -> Hello {
        Hello { purpose, cluster: "c".into(), group: "g".into(), from: PEER, to }
    }

    fn token(nodes: &[NodeId]) -> Token {
        Token { group: "g".into(), nodes: nodes.iter().map(|node| node.0).collect() }
    }

    #[test]
    fn only_calls_to_the_own_full_id_are_taken() {
        let gate = gate();
        assert!(gate.check(&hello(Purpose::Control, Some(OWN))).is_ok());
        let earlier_self = NodeId(1 << 48 | 6);
        assert!(gate.check(&hello(Purpose::Control, Some(earlier_self))).unwrap_err().contains("not"));
        assert!(gate.check(&hello(Purpose::Entries, None)).is_err());
        assert!(gate.check(&hello(Purpose::Forming, None)).is_ok());
        assert!(gate.check(&hello(Purpose::Application, None)).is_ok());
    }

    #[test]
    fn other_clusters_groups_and_strangers_are_refused() {
        let gate = gate();
        let call = hello(Purpose::Control, Some(OWN));
        assert!(gate.check(&Hello { cluster: "x".into(), ..call.clone() }).is_err());
        assert!(gate.check(&Hello { group: "x".into(), ..call.clone() }).is_err());
        assert!(gate.check(&Hello { from: NodeId(9 << 48 | 1), ..call.clone() }).is_err());
        assert!(
            gate.check(&Hello { from: NodeId(1 << 48 | 1), ..call }).is_err(),
            "the own index from elsewhere"
        );
    }

    #[test]
    fn rule_12_quarantine_ends_with_the_commit_seen_at_joining() {
        let gate = gate();
        gate.quarantine();
        assert!(gate.quarantined() && !gate.caught_up(Some(1000)), "no leader was heard yet");
        gate.heard_leader(None);
        assert!(!gate.caught_up(Some(1000)), "it has committed nothing in its own term");
        gate.heard_leader(Some(50));
        gate.heard_leader(Some(90));
        assert!(!gate.caught_up(Some(49)) && !gate.caught_up(None));
        assert!(gate.caught_up(Some(50)) && !gate.quarantined() && !gate.came_back_unsure());
        assert!(!gate.caught_up(Some(60)), "it ends once");
    }

    /// Rule 22: a lease that was granted before a restart is kept, but not against a leader that hands over.
    #[test]
    fn rule_22_no_vote_for_one_lease_after_a_start() {
        let gate = gate();
        let now = Instant::now();
        let lease = Duration::from_millis(600);
        assert!(gate.vote_refusal(None, false, now).is_none());
        gate.vote_not_before(now + lease);
        assert!(gate.vote_refusal(None, false, now).is_some());
        assert!(gate.vote_refusal(None, true, now).is_none());
        assert!(gate.vote_refusal(None, false, now + lease).is_none());
    }

    /// Rule 12: a quarantined node votes for nobody, also not for one that a leader has told to take over; released together
    /// with all others it votes for none but the longest log, which may be the only one left with an acknowledged entry.
    #[test]
    fn rule_12_votes_in_quarantine_and_behind_it() {
        let gate = gate();
        let now = Instant::now();
        let (short, long) = (Some(LogId::new(3, 70)), Some(LogId::new(3, 90)));
        gate.quarantine();
        for hand_over in [false, true] {
            assert!(gate.vote_refusal(long, hand_over, now).is_some());
        }
        assert!(gate.release_by_all(long));
        assert!(
            gate.vote_refusal(short, false, now).is_some() && gate.vote_refusal(None, false, now).is_some()
        );
        assert!(gate.vote_refusal(long, false, now).is_none());
        assert!(
            gate.vote_refusal(Some(LogId::new(4, 80)), false, now).is_none(),
            "a later term's log is longer"
        );
        gate.heard_leader(Some(91));
        assert!(
            gate.vote_refusal(short, false, now).is_some(),
            "what that leader has may be nowhere else yet"
        );
        assert!(!gate.caught_up(Some(90)) && gate.caught_up(Some(91)));
        assert!(gate.vote_refusal(short, false, now).is_none(), "the ordinary rules");
    }

    /// Rule 12: a leader may die before it has handed on what only the longest log has, so hearing it is not enough. And a
    /// leader that was heard once may be among those that come back without its entries.
    #[test]
    fn rule_12_released_by_all_counts_as_unsure_until_caught_up() {
        let gate = gate();
        gate.quarantine();
        gate.heard_leader(None);
        assert!(gate.release_by_all(None) && !gate.release_by_all(None), "once");
        assert!(!gate.quarantined() && gate.came_back_unsure());
        gate.heard_leader(None);
        assert!(!gate.caught_up(Some(1000)) && gate.came_back_unsure());
        gate.heard_leader(Some(7));
        assert!(gate.caught_up(Some(7)) && !gate.came_back_unsure());
        gate.quarantine();
        assert!(
            gate.leads() && !gate.came_back_unsure() && !gate.leads(),
            "who leads has caught up with itself"
        );
    }

    #[test]
    fn a_blank_node_answers_only_those_it_promised_to() {
        let gate = gate();
        assert!(gate.admit(PEER).is_err());
        assert!(gate.set_promise(token(&[OWN, PEER])));
        let admission = gate.admit(PEER);
        assert!(admission.is_ok());
        let wiped_peer = NodeId(2 << 48 | 10);
        assert!(gate.admit(wiped_peer).is_err());
        assert!(!gate.suspend(), "a call is being carried out under the promise");
        drop(admission);
        assert!(gate.suspend());
        assert!(gate.admit(PEER).is_err());
        gate.become_member();
        assert!(gate.admit(wiped_peer).is_ok());
        assert!(!gate.set_promise(token(&[OWN])), "a member promises nothing any more");
    }
}
