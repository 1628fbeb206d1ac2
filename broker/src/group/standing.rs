//! Where a group stands, as one replica sees it.

use std::time::{Duration, Instant};

use flotilla_raft_store::raft::{Leadership, Role, Status};
use tokio::sync::watch;
use tokio::time::Instant as Time;

/// A lease comes and goes without a change of anybody's part, so whoever waits looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where a request that needs the leader has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This replica leads, holds its lease, and has applied all that earlier leaders committed.
    Leading { term: u64 },
    /// The replica with this peer index leads, as far as is known here.
    Following { leader: u64 },
    /// An election is under way, or this replica has just won one and is catching up with itself.
    Unsettled,
}

impl Standing {
    /// What a replica with this status says.
    pub fn of(status: &Status) -> Standing {
        match status.role {
            Role::Leader if status.leads_safely() => Standing::Leading { term: status.term },
            Role::Leader => Standing::Unsettled,
            Role::Follower | Role::Candidate | Role::Learner | Role::Blank | Role::Stopped => {
                status.leader.map_or(Standing::Unsettled, |leader| Standing::Following { leader })
            }
        }
    }
}

/// Waits until somebody's part changes from now on, a lease may have come or gone, or the deadline has passed. Cancel-safe.
pub async fn until_changed(leadership: &watch::Receiver<Leadership>, deadline: Instant) {
    let mut leadership = leadership.clone();
    // A clone has seen what the original has: without this, one change would be news for ever.
    leadership.mark_unchanged();
    let changed = async {
        if leadership.changed().await.is_err() {
            // The replica has stopped, and nothing changes any more.
            std::future::pending().await
        }
    };
    let limit = Time::from(deadline).min(Time::now() + LOOK_AGAIN);
    tokio::time::timeout_at(limit, changed).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(term: u64) -> Leadership {
        Leadership { role: Role::Leader, term, leader: Some(0), own_term_applied: true }
    }

    /// Waits with time to spare, and gives how long that took.
    async fn waited(leadership: &watch::Receiver<Leadership>) -> Duration {
        let start = Time::now();
        until_changed(leadership, (start + Duration::from_secs(5)).into()).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_change_is_no_news() {
        let (parts, leadership) = watch::channel(leads(1));
        parts.send_replace(leads(2));
        assert!(waited(&leadership).await >= LOOK_AGAIN);
        assert!(waited(&leadership).await >= LOOK_AGAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_has_stopped_is_no_news() {
        let (parts, leadership) = watch::channel(leads(1));
        drop(parts);
        assert!(waited(&leadership).await >= LOOK_AGAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_the_wait() {
        let (parts, leadership) = watch::channel(leads(1));
        let (waited, ()) = tokio::join!(waited(&leadership), async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            parts.send_replace(leads(2));
        });
        assert!(waited < LOOK_AGAIN, "{waited:?}");
    }
}
