//! What a registrar knows of the replica that it speaks for, and the part that the replica plays for name servers.

use std::ops::Deref;
use std::time::Instant;

use flotilla_core::{Answer, Command, Tables};
use flotilla_raft_store::raft::{Leadership, ProposeError};
use tokio::sync::watch;

use crate::group::{Group, Standing};

/// A replica of a group: the node's own, or a simulation's.
pub trait Party: Send + Sync + 'static {
    /// Where the group stands, as this replica sees it.
    fn standing(&self) -> Standing;

    /// Changes when someone's part does.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// The replicated tables as far as this replica has applied the log.
    fn tables(&self) -> impl Deref<Target = Tables>;

    /// Proposes a command here. Nothing is proposed after the deadline.
    ///
    /// # Errors
    /// As `Group::propose`.
    fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, ProposeError>> + Send;
}

impl Party for Group {
    fn standing(&self) -> Standing {
        Group::standing(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Group::leadership(self)
    }

    fn tables(&self) -> impl Deref<Target = Tables> {
        Group::tables(self)
    }

    fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, ProposeError>> + Send {
        Group::propose(self, command, deadline)
    }
}

/// The part that a replica plays for name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Leader {
        term: u64,
    },
    Follower {
        term: u64,
    },
    /// No leader is known: nothing is said until there is one.
    None,
}

impl Part {
    pub(super) fn of(party: &impl Party) -> Part {
        match party.standing() {
            // Without the group's names and system topics there is nothing to say yet (FAILOVER.md 23).
            _ if party.tables().identity().is_none() => Part::None,
            Standing::Leading { term } => Part::Leader { term },
            Standing::Following { .. } => Part::Follower { term: party.leadership().borrow().term },
            Standing::Unsettled => Part::None,
        }
    }
}
