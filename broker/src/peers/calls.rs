//! What replicas ask of each other beside forwarded requests. The node's streams carry it; a simulation has others.

use std::time::Duration;

use flotilla_core::{Answer, Command};
use flotilla_remoting::frame::Frame;

use super::links::{ForwardError, Links};

/// The way to the other replicas.
pub trait PeerCalls: Send + Sync + 'static {
    /// Asks a peer to propose a command.
    ///
    /// # Errors
    /// [`ForwardError`] tells whether the command may be proposed again.
    fn propose(
        &self,
        peer: u64,
        command: &Command,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, ForwardError>> + Send;

    /// Sends a request that needs no answer beyond its arrival.
    ///
    /// # Errors
    /// The peer was not reached, or did not confirm in time.
    fn tell(
        &self,
        peer: u64,
        frame: Frame,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), ForwardError>> + Send;
}

impl PeerCalls for Links {
    fn propose(
        &self,
        peer: u64,
        command: &Command,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, ForwardError>> + Send {
        Links::propose(self, peer, command, timeout)
    }

    fn tell(
        &self,
        peer: u64,
        frame: Frame,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), ForwardError>> + Send {
        Links::tell(self, peer, frame, timeout)
    }
}
