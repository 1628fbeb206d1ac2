//! A replica of a group as those see it who speak or act for it: registrars, and who keeps consumer groups' members. The node has one
//! of its own, [`Group`]; a simulation gives another.

use std::ops::Deref;
use std::time::Instant;

use flotilla_core::{Answer, Command, Tables};
use flotilla_raft_store::raft::{Leadership, ProposeError};
use tokio::sync::watch;

use crate::group::Group;
pub use crate::group::{Standing, until_changed};

/// A replica of a group: the node's own, or a simulation's.
pub trait Party: Send + Sync + 'static {
    /// Where the group stands, as this replica sees it.
    fn standing(&self) -> Standing;

    /// Changes when someone's part does.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Waits until the standing may have changed, or the deadline has passed. Cancel-safe.
    fn changed(&self, deadline: Instant) -> impl Future<Output = ()> + Send;

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

    /// Proposes here what the leader of this term has decided: in another term it is nobody's decision. Dropping the future does not
    /// take it back.
    ///
    /// # Errors
    /// As `Group::propose_entry`.
    fn propose_in(
        &self,
        term: u64,
        command: Command,
    ) -> impl Future<Output = Result<(), ProposeError>> + Send;
}

impl Party for Group {
    fn standing(&self) -> Standing {
        Group::standing(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Group::leadership(self)
    }

    fn changed(&self, deadline: Instant) -> impl Future<Output = ()> + Send {
        Group::changed(self, deadline)
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

    async fn propose_in(&self, term: u64, command: Command) -> Result<(), ProposeError> {
        Group::propose_in(self, term, &command).await
    }
}
