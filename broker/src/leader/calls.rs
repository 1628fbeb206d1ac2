//! Commands that this node proposes for itself, wherever the group is led: here when this replica leads, through the
//! leader otherwise.

use std::sync::Arc;
use std::time::Instant;

use flotilla_core::{Answer, Command};
use flotilla_raft_store::raft::ProposeError;
use thiserror::Error;

use crate::group::Group;
use crate::party::{Party, Standing};
use crate::peers::calls::PeerCalls;
use crate::peers::links::{ForwardError, Links};

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CallError {
    /// No leader in time. The command has not taken effect and will not.
    #[error("no leader in time")]
    NoLeader,
    /// It does not fit into an entry of the log and never will.
    #[error("the command is too large")]
    TooLarge,
    /// It may or may not take effect.
    #[error("the outcome is not known")]
    Unknown,
}

/// The way to the leader.
pub struct LeaderCalls<P = Group, L = Links> {
    group: P,
    links: Arc<L>,
}

impl<P: Party, L: PeerCalls> LeaderCalls<P, L> {
    pub fn new(group: P, links: Arc<L>) -> Arc<Self> {
        Arc::new(Self { group, links })
    }

    /// Has a command proposed and gives its answer, at the latest at the deadline. Dropping the future does not take the
    /// command back.
    ///
    /// # Errors
    /// [`CallError`]. Commands whose repetition is harmless may be tried again in either case.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Answer, CallError> {
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(CallError::NoLeader);
            }
            match self.group.standing() {
                Standing::Leading { .. } => {
                    let answer = tokio::time::timeout_at(
                        deadline.into(),
                        self.group.propose(command.clone(), deadline),
                    )
                    .await;
                    match answer {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(ProposeError::NotLeader { .. } | ProposeError::Busy)) => {}
                        Ok(Err(ProposeError::TooLarge)) => return Err(CallError::TooLarge),
                        Ok(Err(ProposeError::Unknown | ProposeError::Stopped)) | Err(_) => {
                            return Err(CallError::Unknown);
                        }
                    }
                }
                Standing::Following { leader } => {
                    match self.links.propose(leader, &command, deadline.duration_since(now)).await {
                        Ok(answer) => return Ok(answer),
                        Err(ForwardError::NotProposed) => {}
                        Err(ForwardError::Unknown(_)) => return Err(CallError::Unknown),
                    }
                }
                Standing::Unsettled => {}
            }
            self.group.changed(deadline).await;
        }
    }
}
