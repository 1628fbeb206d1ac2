//! What differs between the products under test.

use std::fmt::Debug;
use std::process::{Command, ExitStatus};

use futures::future::BoxFuture;

use super::layout::Layout;

/// Something that an inspection of a stopped cluster looked at, and what it found.
pub type Inspection = (String, Result<String, String>);

/// What a node says about its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Who says it.
    pub node: usize,
    /// Its term.
    pub term: u64,
    /// It leads.
    pub leads: bool,
}

/// A product under test.
pub trait Server: Debug + Send + Sync {
    /// Name in reports.
    fn name(&self) -> &'static str;

    /// Version of what is tested; empty where it does not tell.
    fn version(&self) -> String;

    /// Command line of a name server.
    ///
    /// # Errors
    /// Its files can't be written.
    fn name_server(&self, layout: &Layout, number: usize) -> anyhow::Result<Command>;

    /// Command line of a broker.
    ///
    /// # Errors
    /// Its files can't be written.
    fn node(&self, layout: &Layout, number: usize) -> anyhow::Result<Command>;

    /// Claims that a node takes part, or says why not.
    fn ready<'a>(&'a self, layout: &'a Layout, node: usize) -> BoxFuture<'a, Result<(), String>>;

    /// What each of these nodes says about its role, of those that say something.
    fn roles<'a>(&'a self, layout: &'a Layout, among: &'a [usize]) -> BoxFuture<'a, Vec<Role>>;

    /// Asks for a change of leaders; gives what the server said.
    fn transfer<'a>(
        &'a self,
        layout: &'a Layout,
        asked: usize,
        to: usize,
    ) -> BoxFuture<'a, anyhow::Result<String>>;

    /// Claims that all nodes hold the same, or says what differs; asked when nobody writes any more, of a product that
    /// can say it.
    fn settled<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>>;

    /// Looks at the data of a stopped cluster.
    fn inspect(&self, layout: &Layout) -> Vec<Inspection>;

    /// Before a killed node starts again: what a power failure would have left of its data. `None` where the product
    /// has no such mode.
    fn power_loss(&self, layout: &Layout, node: usize, seed: u64) -> Option<Command>;

    /// Claims that a broker that was asked to stop by SIGTERM ends like this.
    fn is_clean(&self, status: ExitStatus) -> bool;

    /// Claims that these things can be done to it.
    fn can(&self, ability: Ability) -> bool;
}

/// What not every product, or every build of it, can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Hand leadership over on request.
    Transfer,
    /// Have views on disk that can be damaged or deleted.
    Views,
    /// Have a log of known layout, whose tail can be torn.
    Log,
    /// Run with a wrong clock.
    Clock,
    /// Lose what was not synced.
    PowerLoss,
    /// Be read at each replica.
    ReplicaReads,
    /// Say what each replica holds.
    ReplicaState,
}
