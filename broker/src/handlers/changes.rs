//! Changes that administrators ask for: worked out from the tables, proposed, and visible when they are answered.

use std::sync::Arc;
use std::time::Instant;

use flotilla_core::{Answer, Command, Refusal as CoreRefusal};
use flotilla_remoting::code::ResponseCode;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::respond::Refusal;
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::limits::CHANGES_IN_FLIGHT_MAX;

/// Makes changes, one request after the other: some are worked out from what the one before has left.
pub struct Changes {
    group: Group,
    leader: Arc<LeaderCalls>,
    turn: tokio::sync::Mutex<()>,
}

impl Changes {
    pub fn new(group: Group, leader: Arc<LeaderCalls>) -> Arc<Self> {
        Arc::new(Self { group, leader, turn: tokio::sync::Mutex::default() })
    }

    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Proposes the commands that `plan` finds necessary and waits until they are applied. When it is dropped, or fails, what
    /// was proposed may take effect all the same.
    ///
    /// # Errors
    /// What `plan` refuses, the first command that the tables refused, or that the outcome of one is not known.
    pub async fn make(
        &self,
        deadline: Instant,
        plan: impl FnOnce(&Group) -> Result<Vec<Command>, Refusal>,
    ) -> Result<(), Refusal> {
        let turn = tokio::time::timeout_at(deadline.into(), self.turn.lock()).await;
        let _turn = turn.map_err(|_| (ResponseCode::SystemBusy, "other changes are under way".to_owned()))?;
        let mut commands = plan(&self.group)?.into_iter();
        let mut under_way: FuturesUnordered<_> = FuturesUnordered::new();
        loop {
            while under_way.len() < CHANGES_IN_FLIGHT_MAX
                && let Some(command) = commands.next()
            {
                under_way.push(self.leader.propose(command, deadline));
            }
            match under_way.next().await {
                None => return Ok(()),
                Some(Ok(Answer::Done | Answer::Unchanged)) => {}
                // What is to be deleted and is not there is as good as deleted.
                // Source: RocketMQ 5.3 TopicConfigManager#deleteTopicConfig, SubscriptionGroupManager.
                Some(Ok(Answer::Refused(CoreRefusal::UnknownTopic(_) | CoreRefusal::UnknownGroup(_)))) => {}
                Some(Ok(Answer::Refused(refusal))) => {
                    return Err((ResponseCode::SystemError, refusal.to_string()));
                }
                Some(Err(error)) => {
                    return Err((ResponseCode::SystemError, format!("not changed for certain: {error}")));
                }
            }
        }
    }
}
