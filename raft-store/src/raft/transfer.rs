//! Handing leadership to another member.
//!
//! In the consensus library a transfer has no way back: from its start the leader takes no writes and sends no
//! heartbeats, until somebody else leads. So everything that can fail is tried before: the target must be a member and
//! near the tail; then new proposals are refused (as never appended) and the target has a moment to reach the tail;
//! only then it is told. If it does not take over, the others' patience ends and an election follows.
//!
//! Before all that the own term's first entry must be applied here. Entries of earlier terms are committed only with one of the
//! leader's own (Raft dissertation, section 3.6.2), so a group whose leaders all go before that point would commit nothing for as
//! long as somebody asks for transfers.
//!
//! The target's vote requests pass the others' leases. So this leader gives its own up, for good in this term, before it
//! tells the target: cut off right behind that it would answer reads for up to one lease as if it still led.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::api::{Machine, TransferError};
use super::group::RaftOf;
use super::status::{Role, Status};
use super::watcher::Boards;

/// Entries that the target may miss when proposals start to be refused.
const NEAR: u64 = 4096;
/// Time for the target to reach the tail while proposals are refused.
const CATCH_UP_MAX: Duration = Duration::from_millis(700);

/// Refuses proposals while it exists.
struct Hold(Arc<AtomicBool>);

impl Hold {
    fn take(flag: &Arc<AtomicBool>) -> Option<Hold> {
        flag.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).ok()?;
        Some(Hold(Arc::clone(flag)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn matched(status: &Status, peer: u64) -> Option<u64> {
    status.replication.iter().find(|progress| progress.peer == peer)?.matched
}

/// The member with the longest log besides the own one.
fn best_target(status: &Status, own: u64) -> Option<u64> {
    let others = status.replication.iter().filter(|progress| progress.peer != own);
    others.max_by_key(|progress| progress.matched).map(|progress| progress.peer)
}

pub(crate) struct Transfer<'a, M: Machine> {
    pub(crate) raft: &'a RaftOf<M>,
    pub(crate) own: u64,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) boards: &'a Boards,
    pub(crate) holding: &'a Arc<AtomicBool>,
    /// Full node id of a peer index, where it is a member.
    pub(crate) node_of: &'a (dyn Fn(u64) -> Option<u64> + Sync),
}

impl<M: Machine> Transfer<'_, M> {
    /// Hands over and waits for the new leader, whose peer index it gives.
    ///
    /// When dropped before the target was told, nothing has happened; afterwards the transfer goes on by itself.
    pub(crate) async fn run(mut self, to: Option<u64>, within: Duration) -> Result<u64, TransferError> {
        let deadline = Instant::now() + within;
        let (term, target) = {
            let status = self.status.borrow_and_update();
            if status.role != Role::Leader {
                return Err(TransferError::NotLeader);
            }
            let target = to.or_else(|| best_target(&status, self.own));
            (status.term, target.ok_or_else(|| TransferError::NoTarget("there is no other member".into()))?)
        };
        if target == self.own {
            return Ok(target);
        }
        let Some(node) = (self.node_of)(target) else {
            return Err(TransferError::NoTarget(format!("peer {target} is not a member")));
        };
        self.until_own_term_applied(term, deadline).await?;
        self.until_behind_by(target, NEAR, term, deadline).await?;
        let Some(hold) = Hold::take(self.holding) else {
            return Err(TransferError::NoTarget("another transfer is under way".into()));
        };
        self.until_behind_by(target, 0, term, deadline.min(Instant::now() + CATCH_UP_MAX)).await?;
        info!(to = target, term, "leadership is handed over");
        self.boards.give_up_lease(term);
        self.raft.trigger().transfer_leader(node).await.map_err(|_| TransferError::Stopped)?;
        let outcome = self.until_led_by_another(term, deadline).await;
        if outcome.is_err() {
            warn!(to = target, term, "leadership was not taken over in time, an election follows");
        }
        drop(hold);
        outcome
    }

    async fn until_own_term_applied(&mut self, term: u64, deadline: Instant) -> Result<(), TransferError> {
        if self.until(term, deadline, |status| status.own_term_applied).await? {
            return Ok(());
        }
        Err(TransferError::NoTarget("nothing of this term is committed yet".into()))
    }

    async fn until_behind_by(
        &mut self,
        target: u64,
        entries: u64,
        term: u64,
        deadline: Instant,
    ) -> Result<(), TransferError> {
        let near = |status: &Status| {
            matched(status, target).map_or(0, |index| index + 1) + entries
                >= status.last_log.map_or(0, |index| index + 1)
        };
        if self.until(term, deadline, near).await? {
            return Ok(());
        }
        Err(TransferError::NoTarget(format!("peer {target} is too far behind")))
    }

    /// Waits until the condition holds while this node leads `term`; false where it does not in time.
    async fn until(
        &mut self,
        term: u64,
        deadline: Instant,
        holds: impl Fn(&Status) -> bool,
    ) -> Result<bool, TransferError> {
        let leads = |status: &Status| status.role == Role::Leader && status.term == term;
        let decided = self.status.wait_for(|status| !leads(status) || holds(status));
        match timeout_at(deadline, decided).await {
            Err(_) => Ok(false),
            Ok(Err(_)) => Err(TransferError::Stopped),
            Ok(Ok(status)) if leads(&status) => Ok(true),
            Ok(Ok(_)) => Err(TransferError::NotLeader),
        }
    }

    async fn until_led_by_another(&mut self, term: u64, deadline: Instant) -> Result<u64, TransferError> {
        let own = self.own;
        let led = |status: &Status| {
            status.role == Role::Stopped
                || (status.term > term && status.leader.is_some_and(|leader| leader != own))
        };
        match timeout_at(deadline, self.status.wait_for(led)).await {
            Err(_) => Err(TransferError::Timeout),
            Ok(Err(_)) => Err(TransferError::Stopped),
            Ok(Ok(status)) => match status.leader {
                Some(leader) if status.role != Role::Stopped => Ok(leader),
                Some(_) | None => Err(TransferError::Stopped),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::status::PeerProgress;

    #[test]
    fn the_target_is_the_longest_log_besides_the_own_one() {
        let progress = |peer, matched| PeerProgress { peer, matched };
        let status = Status {
            replication: vec![
                progress(0, Some(9)),
                progress(1, Some(5)),
                progress(2, Some(7)),
                progress(3, None),
            ],
            ..Status::blank()
        };
        assert_eq!(best_target(&status, 0), Some(2));
        assert_eq!(best_target(&Status::blank(), 0), None);
    }

    #[test]
    fn only_one_transfer_holds_proposals() {
        let flag = Arc::new(AtomicBool::new(false));
        let hold = Hold::take(&flag);
        assert!(hold.is_some() && Hold::take(&flag).is_none());
        drop(hold);
        assert!(Hold::take(&flag).is_some());
    }
}
