//! The part that a replica plays for name servers.

use crate::party::{Party, Standing};

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
