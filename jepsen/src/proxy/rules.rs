//! What a link does to the bytes on it.

use std::time::Duration;

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing gets through; what is written waits.
    pub cut: bool,
    /// Time on the way.
    pub delay: Duration,
    /// More time on the way, drawn for each piece between zero and this; the order stays.
    pub jitter: Duration,
    /// Bytes a second, at most.
    pub rate: Option<u32>,
}

/// Both directions of a link, and its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// From the caller to the called.
    pub forward: Way,
    /// From the called to the caller.
    pub backward: Way,
    /// Nobody listens, and open connections are reset.
    pub refuse: bool,
    /// Each connection is reset at an age drawn between zero and this.
    pub reset_within: Option<Duration>,
}
