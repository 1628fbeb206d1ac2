//! A leader that hears no majority falls silent and has another one lead (LOG-RULES.md 27).
//!
//! Followers wait for an election as long as heartbeats arrive, whether or not their answers do. So a leader that is
//! heard and does not hear would keep its place for as long as the fault lasted, without committing anything. Once it has
//! heard no majority for a lease and one heartbeat more, nothing that counts as a sign of a leader leaves it any more: no
//! heartbeat, whoever asked for it, no entries, no checkpoint. And as it may be heard, it says who should lead
//! ([`super::handing_on`]), so that nobody's patience has to end first.
//!
//! - *Hearing* is any message that comes back on the control connection. Heartbeats' answers wait for the follower's disk, so
//!   whoever was not heard in a round is pinged: that is answered by the connection's task, means nothing to the follower's
//!   patience, and neither a slow disk nor an installation holds it up.
//! - *Time* is counted in rounds in which this process ran. A process that was stopped finds one more round gone, sends its
//!   heartbeats and reads what waits in its sockets, instead of taking the pause for its peers' silence.
//! - *The end* of the silence is the next term, or a majority that is heard again: a silent leader goes on pinging. Silence for
//!   good would not do, because nobody else need be electable: where the only other member with all committed entries is
//!   lost, this leader and a member with a shorter log are a majority, and only this leader can lead it. Nor would stepping down
//!   at once: a member that comes back unsure of its log votes for nobody before a leader has brought it up to date (12).
//! - *Heard again* it has no lease in this term any more, for whoever was told to lead may still ask for votes. It brings the
//!   others up to date, and when a majority has what it had it steps down, for an election in which anybody can be elected.
//!
//! Nothing here bears on safety. What may be answered hangs on the lease, which the consensus library counts from when
//! requests were sent and which is given up before anybody is told to lead; a wrong silence costs an election at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api::Machine;
use super::group::RaftOf;
use super::handing_on::{Heir, step_down, tell};
use super::network::client::Links;
use super::network::control::Answered;
use super::status::Counters;
use super::types::{RaftLogId, Types};
use super::watcher::Boards;
use crate::identity::NodeId;

/// The term whose leader, this node, is silent. Shared with the connections that it would send on.
#[derive(Debug, Clone)]
pub(crate) struct Silence(watch::Sender<Option<u64>>);

impl Silence {
    pub(crate) fn new() -> Silence {
        Silence(watch::Sender::new(None))
    }

    /// Whether what the leader of `term` has to say must not be sent.
    pub(crate) fn covers(&self, term: u64) -> bool {
        self.0.borrow().is_some_and(|silent| term <= silent)
    }

    /// Waits until the leader of `term` may speak. Can be dropped at any time.
    pub(crate) async fn over(&self, term: u64) {
        if !self.covers(term) {
            return;
        }
        // The sender lives in `self`, so the wait can't fail.
        self.0.subscribe().wait_for(|silent| silent.is_none_or(|silent| term > silent)).await.ok();
    }

    fn set(&self, term: Option<u64>) -> bool {
        self.0.send_if_modified(|silent| std::mem::replace(silent, term) != term)
    }
}

/// What one leader has heard of one peer.
#[derive(Debug, Default)]
struct Heard {
    /// Messages that the peer's connection had brought by the last round.
    messages: u64,
    /// Rounds since then without another one.
    rounds_without: u32,
    /// It was told that this peer is not heard.
    told: bool,
    /// The ping of this round; an earlier one is given up.
    _ping: Option<oneshot::Receiver<Answered>>,
}

/// What the leader of one term has heard.
#[derive(Debug)]
struct Hearing {
    term: u64,
    own: u64,
    /// So many rounds without a message make a peer unheard.
    rounds_max: u32,
    peers: BTreeMap<u64, Heard>,
    /// Another one was told to lead.
    handed_on: Option<HandedOn>,
}

/// What a leader sees that has told another one to lead, and hears a majority again before that one does.
#[derive(Debug, Default)]
struct HandedOn {
    /// Its last entry when it heard a majority again.
    end: Option<Option<u64>>,
    /// When that was seen to be committed.
    committed: Option<Instant>,
}

impl HandedOn {
    /// Claims that a majority holds this leader's log and knows it for committed. A member that came back unsure of its own log
    /// is waited for, too, where no majority is without it.
    fn settled(&mut self, metrics: &RaftMetrics<Types>) -> bool {
        let end = *self.end.get_or_insert(metrics.last_log_index);
        if metrics.cluster_committed.as_ref().map(RaftLogId::index) < end {
            return false;
        }
        // Only what was sent after that has told them.
        let committed = *self.committed.get_or_insert_with(Instant::now);
        metrics.last_quorum_acked.is_some_and(|asked| asked.elapsed() < committed.elapsed())
    }
}

impl Hearing {
    /// Everybody counts as heard at the start of a term: a majority has just voted.
    fn new(term: u64, own: u64, rounds_max: u32) -> Hearing {
        Hearing { term, own, rounds_max, peers: BTreeMap::new(), handed_on: None }
    }

    /// Ends a round. `messages` gives how many messages a peer has sent so far, `ping` asks it for one.
    fn round(
        &mut self,
        configs: &[BTreeSet<u64>],
        messages: impl Fn(u64) -> u64,
        ping: impl Fn(u64) -> Option<oneshot::Receiver<Answered>>,
    ) {
        let others: BTreeSet<u64> =
            configs.iter().flatten().copied().filter(|node| *node != self.own).collect();
        self.peers.retain(|node, _| others.contains(node));
        for node in others {
            let so_far = messages(node);
            let known = self.peers.contains_key(&node);
            let heard = self.peers.entry(node).or_default();
            if !known || heard.messages != so_far {
                *heard = Heard { messages: so_far, told: heard.told, ..Heard::default() };
            } else {
                heard.rounds_without = heard.rounds_without.saturating_add(1);
                heard._ping = ping(node);
            }
        }
    }

    /// Who has fallen silent since this was asked last (true), and who is heard again.
    fn changes(&mut self) -> Vec<(u64, bool)> {
        let mut changes = Vec::new();
        for (node, heard) in &mut self.peers {
            let silent = heard.rounds_without >= self.rounds_max;
            if std::mem::replace(&mut heard.told, silent) != silent {
                changes.push((*node, silent));
            }
        }
        changes
    }

    /// Whether a majority of every configuration, this node where it is in it, was heard lately.
    fn majority(&self, configs: &[BTreeSet<u64>]) -> bool {
        let heard = |node: &u64| {
            *node == self.own
                || self.peers.get(node).is_some_and(|heard| heard.rounds_without < self.rounds_max)
        };
        configs.iter().all(|config| config.iter().filter(|node| heard(node)).count() * 2 > config.len())
    }
}

/// Watches over one replica.
pub(crate) struct Quorum<M: Machine> {
    pub(crate) own: u64,
    pub(crate) group: String,
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
    pub(crate) links: Arc<Links>,
    pub(crate) silence: Silence,
    pub(crate) counters: Arc<Counters>,
    pub(crate) boards: Arc<Boards>,
    pub(crate) raft: RaftOf<M>,
}

impl<M: Machine> Quorum<M> {
    /// Runs until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(self) {
        let metrics = self.raft.metrics();
        let mut hearing: Option<Hearing> = None;
        let mut rounds = tokio::time::interval(self.heartbeat);
        // However long this process did not run, one round has gone.
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let (term, members) = {
                let now = metrics.borrow_watched();
                let leads = now.state == ServerState::Leader;
                (leads.then_some(now.current_term), Arc::clone(&now.membership_config))
            };
            hearing = term.map(|term| match hearing.take() {
                Some(hearing) if hearing.term == term => hearing,
                Some(_) | None => Hearing::new(term, self.own, rounds_max(self.lease, self.heartbeat)),
            });
            match &mut hearing {
                Some(hearing) => self.round(hearing, members.get_joint_config()).await,
                None => {
                    self.silence.set(None);
                }
            }
        }
    }

    async fn round(&self, hearing: &mut Hearing, configs: &[BTreeSet<u64>]) {
        hearing.round(configs, |node| self.links.link(node).heard(), |node| self.links.link(node).ping());
        let term = hearing.term;
        // The one line for an operator: the library's own, ten a second for as long as it lasts, are not shown.
        for (node, silent) in hearing.changes() {
            let (group, peer) = (&self.group, NodeId(node));
            if silent {
                warn!(%group, term, %peer, "a member is not heard: it is down, cut off or hangs");
            } else {
                info!(%group, term, %peer, "a member is heard again");
            }
        }
        let silent = !hearing.majority(configs);
        if self.silence.set(silent.then_some(term)) {
            if silent {
                self.counters.silences.fetch_add(1, Ordering::Relaxed);
                warn!(group = %self.group, term, "no majority is heard: this leader falls silent so that others can elect");
            } else {
                info!(group = %self.group, term, "a majority is heard again: this leader goes on");
            }
        }
        match &mut hearing.handed_on {
            None if silent => {
                hearing.handed_on = Some(HandedOn::default());
                self.boards.give_up_lease(term);
                if let Some(heir) = self.heir(hearing) {
                    self.tell(hearing, heir);
                }
            }
            None => {}
            Some(handed_on) if silent => *handed_on = HandedOn::default(),
            Some(handed_on) => {
                let settled = handed_on.settled(&self.raft.metrics().borrow_watched());
                if settled && let Some(heir) = self.heir(hearing) {
                    self.tell(hearing, heir);
                    step_down(&self.raft, term, heir.node).await;
                }
            }
        }
    }

    fn tell(&self, hearing: &Hearing, heir: Heir) {
        warn!(group = %self.group, term = hearing.term, heir = %NodeId(heir.node), "another member is told to lead");
        tell(&self.links, hearing.peers.keys().copied(), self.own, hearing.term, heir);
    }

    /// Whom this leader would have lead; `None` when it is alone.
    fn heir(&self, hearing: &Hearing) -> Option<Heir> {
        let matched = self.raft.metrics().borrow_watched().replication.clone().unwrap_or_default();
        let candidates = hearing.peers.iter().map(|(node, heard)| {
            let matched = matched.get(node).copied().flatten();
            let end = matched.max(self.links.sent(*node).end_in(hearing.term));
            (Heir { node: *node, end }, heard.rounds_without)
        });
        Heir::of(candidates)
    }
}

/// The lease and one heartbeat, in rounds.
fn rounds_max(lease: Duration, heartbeat: Duration) -> u32 {
    let rounds = lease.as_millis().div_ceil(heartbeat.as_millis().max(1));
    u32::try_from(rounds).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    /// Lets rounds pass in which only `heard` say something.
    fn pass(hearing: &mut Hearing, configs: &[BTreeSet<u64>], rounds: u32, heard: &[u64]) {
        let before: BTreeMap<u64, u64> =
            hearing.peers.iter().map(|(node, heard)| (*node, heard.messages)).collect();
        for round in 1..=u64::from(rounds) {
            let messages = |node: u64| {
                before.get(&node).copied().unwrap_or(0) + if heard.contains(&node) { round } else { 0 }
            };
            hearing.round(configs, messages, |_| None);
        }
    }

    #[test]
    fn the_lease_and_one_heartbeat_are_waited_for() {
        assert_eq!(rounds_max(Duration::from_millis(600), Duration::from_millis(100)), 7);
        assert_eq!(rounds_max(Duration::from_millis(601), Duration::from_millis(100)), 8);
    }

    #[test]
    fn two_of_five_are_no_majority_and_three_are() {
        let configs = [config(&[1, 2, 3, 4, 5])];
        let mut hearing = Hearing::new(1, 1, 7);
        pass(&mut hearing, &configs, 1, &[]);
        pass(&mut hearing, &configs, 6, &[2]);
        assert!(hearing.majority(&configs), "all were heard within the time");
        pass(&mut hearing, &configs, 1, &[2]);
        assert!(!hearing.majority(&configs));
        pass(&mut hearing, &configs, 1, &[2, 4]);
        assert!(hearing.majority(&configs), "at once");
    }

    #[test]
    fn both_configurations_of_a_change_count_and_a_leader_outside_is_not_its_own_voter() {
        let (old, new) = (config(&[1, 2, 3]), config(&[2, 3, 4]));
        let both = [old.clone(), new.clone()];
        let mut hearing = Hearing::new(1, 1, 7);
        pass(&mut hearing, &both, 1, &[]);
        pass(&mut hearing, &both, 7, &[2]);
        assert!(hearing.majority(&[old]) && !hearing.majority(&[new]) && !hearing.majority(&both));
        pass(&mut hearing, &both, 1, &[2, 3]);
        assert!(hearing.majority(&both));
    }

    #[test]
    fn each_member_that_falls_silent_is_told_of_once_and_again_when_it_is_heard() {
        let configs = [config(&[1, 2, 3])];
        let mut hearing = Hearing::new(1, 1, 7);
        pass(&mut hearing, &configs, 1, &[2, 3]);
        pass(&mut hearing, &configs, 6, &[2]);
        assert_eq!(hearing.changes(), [], "not yet");
        pass(&mut hearing, &configs, 1, &[2]);
        assert_eq!(hearing.changes(), [(3, true)]);
        pass(&mut hearing, &configs, 100, &[2]);
        assert_eq!(hearing.changes(), [], "once");
        pass(&mut hearing, &configs, 1, &[2, 3]);
        assert_eq!(hearing.changes(), [(3, false)]);
    }

    #[test]
    fn a_group_of_one_is_never_silent() {
        let configs = [config(&[1])];
        let mut hearing = Hearing::new(1, 1, 7);
        pass(&mut hearing, &configs, 20, &[]);
        assert!(hearing.majority(&configs));
    }

    #[tokio::test]
    async fn silence_covers_its_term_and_not_the_next() {
        let silence = Silence::new();
        assert!(!silence.covers(3) && silence.set(Some(3)) && !silence.set(Some(3)));
        assert!(silence.covers(3) && silence.covers(2) && !silence.covers(4));
        silence.over(4).await;
        let waiting = tokio::spawn({
            let silence = silence.clone();
            async move { silence.over(3).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        silence.set(None);
        waiting.await.expect("the silence is over");
    }
}
