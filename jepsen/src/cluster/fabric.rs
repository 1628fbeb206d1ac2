//! The network between the parties, behind one interface: proxies on loopback, or network namespaces.

use std::fmt::Debug;
use std::process::Command;

use crate::proxy::{Disturbance, End, Network};

/// A network that can be broken.
pub trait Fabric: Debug + Send + Sync {
    /// Puts a disturbance in force under a number that is not in use; others stay.
    ///
    /// # Errors
    /// It can't be done with this network.
    fn disturb(&self, number: u32, disturbance: Disturbance) -> anyhow::Result<()>;

    /// Ends a disturbance; others stay in force.
    ///
    /// # Errors
    /// The system refuses.
    fn settle(&self, number: u32) -> anyhow::Result<()>;

    /// Ends all disturbances.
    ///
    /// # Errors
    /// The system refuses.
    fn heal(&self) -> anyhow::Result<()>;

    /// The process at an end has ended.
    fn ended(&self, end: End);

    /// The process at an end was started.
    fn starts(&self, end: End);

    /// The command line that runs where an end is.
    fn inside(&self, end: End, command: Command) -> Command;

    /// Takes away what it is made of; may be called again.
    fn end(&self);
}

impl Fabric for Network {
    fn disturb(&self, number: u32, disturbance: Disturbance) -> anyhow::Result<()> {
        Network::disturb(self, number, disturbance);
        Ok(())
    }

    fn settle(&self, number: u32) -> anyhow::Result<()> {
        Network::settle(self, number);
        Ok(())
    }

    fn heal(&self) -> anyhow::Result<()> {
        Network::heal(self);
        Ok(())
    }

    fn ended(&self, end: End) {
        Network::ended(self, end);
    }

    fn starts(&self, end: End) {
        Network::starts(self, end);
    }

    fn inside(&self, _: End, command: Command) -> Command {
        command
    }

    /// Proxies end with their tasks.
    fn end(&self) {}
}
