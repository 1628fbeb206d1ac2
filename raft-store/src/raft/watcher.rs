//! Turns the consensus library's metrics into [`Status`], [`Leadership`], counters and log lines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Instant as _, RaftMetrics, ServerState};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info};

use super::forming::Desk;
use super::gate::Gate;
use super::machine::nodes_of;
use super::status::{Counters, Leadership, PeerProgress, Role, Status};
use super::types::{RaftLogId, Types};
use crate::identity::NodeId;

/// The ends that users watch.
pub(crate) struct Boards {
    pub(crate) status: watch::Sender<Status>,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// One more than the last term in which this node, leading it, has told another one to lead.
    handed_over: AtomicU64,
}

impl Boards {
    pub(crate) fn new() -> Boards {
        let status = Status::blank();
        let leadership = leadership_of(&status);
        Boards {
            status: watch::Sender::new(status),
            leadership: watch::Sender::new(leadership),
            handed_over: AtomicU64::new(0),
        }
    }

    /// From here on this node has no lease in `term`, whoever may still answer it: the votes for the one that it is about
    /// to tell pass the others' leases.
    pub(crate) fn give_up_lease(&self, term: u64) {
        self.handed_over.fetch_max(term + 1, Ordering::AcqRel);
        self.status.send_if_modified(|status| status.term <= term && status.lease_until.take().is_some());
    }

    fn publish(&self, mut status: Status) {
        let leadership = leadership_of(&status);
        self.status.send_if_modified(|old| {
            // Under the watch's lock, so that a state taken before the lease was given up does not bring it back.
            if status.term < self.handed_over.load(Ordering::Acquire) {
                status.lease_until = None;
            }
            let changed = *old != status;
            *old = status;
            changed
        });
        self.leadership.send_if_modified(|old| {
            let changed = *old != leadership;
            *old = leadership;
            changed
        });
    }

    /// The end of the replica, with its reason.
    pub(crate) fn stopped(&self, reason: String) {
        let status =
            Status { role: Role::Stopped, waiting_for: Some(reason), ..self.status.borrow().clone() };
        self.publish(Status {
            lease_until: None,
            own_term_applied: false,
            replication: Vec::new(),
            ..status
        });
    }
}

fn leadership_of(status: &Status) -> Leadership {
    Leadership {
        role: status.role,
        term: status.term,
        leader: status.leader,
        own_term_applied: status.own_term_applied,
    }
}

/// Follows the metrics of one replica.
pub(crate) struct Watcher {
    pub(crate) own: NodeId,
    pub(crate) group: String,
    pub(crate) lease: Duration,
    pub(crate) boards: Arc<Boards>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) desk: Arc<Desk>,
    /// What the forming of the group waits for.
    pub(crate) forming_waits: Arc<Mutex<Option<String>>>,
    pub(crate) election_term: u64,
    /// Lets this node campaign again.
    pub(crate) enable_elections: Box<dyn Fn() + Send>,
    /// Makes the end of a quarantine durable; taken when it has ended.
    pub(crate) release_quarantine: Option<Box<dyn FnOnce() + Send>>,
}

impl Watcher {
    /// Follows until the library has stopped; gives its failure, if it was one.
    pub(crate) async fn run(
        mut self,
        mut metrics: WatchReceiverOf<Types, RaftMetrics<Types>>,
    ) -> Option<String> {
        loop {
            let now = metrics.borrow_watched().clone();
            if let Err(failure) = &now.running_state {
                return match failure {
                    openraft::errors::Fatal::Stopped => None,
                    openraft::errors::Fatal::StorageError(_) | openraft::errors::Fatal::Panicked => {
                        error!(group = %self.group, node = %self.own, %failure, "the group's core has failed");
                        Some(failure.to_string())
                    }
                };
            }
            self.take(&now);
            if metrics.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Publishes one state of the metrics.
    fn take(&mut self, metrics: &RaftMetrics<Types>) {
        let nodes = nodes_of(&metrics.membership_config);
        self.count_elections(metrics);
        if !nodes.is_empty() {
            self.desk.set_members(nodes.clone());
        }
        if metrics.last_log_index.is_some() || metrics.current_term > 0 {
            self.gate.become_member();
            self.desk.mark_formed();
        }
        let leads = metrics.state == ServerState::Leader && self.gate.leads();
        if leads || self.gate.caught_up(metrics.last_applied.as_ref().map(RaftLogId::index)) {
            info!(group = %self.group, node = %self.own, "caught up with the group, quarantine ends");
            (self.enable_elections)();
        }
        if !self.gate.came_back_unsure()
            && let Some(release) = self.release_quarantine.take()
        {
            release();
        }
        let status = self.status(metrics, &nodes);
        self.log_role(&status);
        self.boards.publish(status);
    }

    fn count_elections(&mut self, metrics: &RaftMetrics<Types>) {
        let vote = &metrics.vote;
        if vote.leader_id().voted_for == self.own.0 && vote.leader_id().term > self.election_term {
            self.election_term = vote.leader_id().term;
            self.counters.elections.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn status(&self, metrics: &RaftMetrics<Types>, nodes: &BTreeSet<u64>) -> Status {
        let in_group = nodes.contains(&self.own.0);
        let role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Follower => Role::Follower,
            ServerState::Learner if in_group => Role::Learner,
            ServerState::Learner => Role::Blank,
            ServerState::Shutdown => Role::Stopped,
        };
        let leads = role == Role::Leader;
        let applied_term = metrics.last_applied.as_ref().map(|id| id.committed_leader_id().term);
        let acked: Option<Instant> =
            metrics.last_quorum_acked.and_then(|at| Instant::now().checked_sub(at.elapsed()));
        let lease_until = if nodes.len() == 1 {
            // Nobody else has to agree.
            Some(Instant::now() + Duration::from_secs(3600))
        } else {
            acked.map(|acked| acked + self.lease)
        };
        let progress = metrics.replication.iter().flatten().map(|(node, matched)| PeerProgress {
            peer: u64::from(NodeId(*node).peer_index()),
            matched: matched.as_ref().map(RaftLogId::index),
        });
        Status {
            role,
            term: metrics.current_term,
            leader: metrics.current_leader.map(|node| u64::from(NodeId(node).peer_index())),
            lease_until: lease_until.filter(|_| leads),
            own_term_applied: leads && applied_term == Some(metrics.current_term),
            last_log: metrics.last_log_index,
            committed: metrics.cluster_committed.as_ref().map(RaftLogId::index),
            applied: metrics.last_applied.as_ref().map(RaftLogId::index),
            snapshot: metrics.snapshot.as_ref().map(RaftLogId::index),
            purged: metrics.purged.as_ref().map(RaftLogId::index),
            replication: progress.collect(),
            waiting_for: self.waiting_for(nodes, in_group),
        }
    }

    fn waiting_for(&self, nodes: &BTreeSet<u64>, in_group: bool) -> Option<String> {
        match (nodes.is_empty(), in_group) {
            (true, _) => self.forming_waits.lock().clone().or_else(|| Some("a look at its peers".to_owned())),
            (false, true) if self.gate.quarantined() => Some(
                "the group's committed entries: the machine went down while acknowledgements did not wait for the disk, so \
                 this node votes for nobody until it has caught up"
                    .to_owned(),
            ),
            (false, true) if self.gate.came_back_unsure() => Some(
                "a leader: all members may have lost entries that they had acknowledged, and only the longest log may lead"
                    .to_owned(),
            ),
            (false, true) => None,
            (false, false) => Some(format!(
                "admission by a membership change: this node {} is not one of the group's",
                self.own
            )),
        }
    }

    fn log_role(&self, status: &Status) {
        let old = *self.boards.leadership.borrow();
        if (old.role, old.term, old.leader) == (status.role, status.term, status.leader) {
            return;
        }
        if status.role == Role::Leader && (old.role != Role::Leader || old.term != status.term) {
            self.counters.terms_led.fetch_add(1, Ordering::Relaxed);
        }
        let reason = reason(&old, status);
        info!(
            group = %self.group,
            node = %self.own,
            from = old.role.name(),
            to = status.role.name(),
            term = status.term,
            leader = status.leader,
            reason,
            "role changed"
        );
    }
}

fn reason(old: &Leadership, new: &Status) -> &'static str {
    match (old.role, new.role) {
        (Role::Leader, Role::Leader) if old.term != new.term => "elected again",
        (_, Role::Leader) => "elected by a majority",
        (Role::Leader, _) if new.term > old.term => "a higher term was seen",
        (Role::Leader, _) => "leadership was given up",
        (_, Role::Candidate) => "no leader was heard in time",
        (_, Role::Stopped) => "the replica stops",
        (Role::Blank, _) => "the node takes part in the group",
        (_, Role::Blank | Role::Learner) => "the membership changed",
        (_, Role::Follower) if new.leader.is_some() && new.leader != old.leader => "a leader was heard",
        (_, Role::Follower) if new.term > old.term => "a vote was asked for in a higher term",
        (_, Role::Follower) => "the election was not won",
    }
}

/// Publishes what forming waits for while the node is blank; the metrics do not change then.
pub(crate) fn tell_waiting(boards: &Boards, forming_waits: &Mutex<Option<String>>, reason: String) {
    *forming_waits.lock() = Some(reason.clone());
    boards.status.send_if_modified(|status| {
        let blank = status.role == Role::Blank && status.waiting_for.as_ref() != Some(&reason);
        if blank {
            status.waiting_for = Some(reason);
        }
        blank
    });
}
