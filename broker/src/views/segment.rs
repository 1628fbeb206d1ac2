//! What the views need of the log: which segments there are, and what is in one.

use std::io;
use std::ops::ControlFlow;

/// One segment of the log. `end`, `last_index` and `last_term` are final once it is sealed; then they name its contents and all
/// that came before, since no two logs of a group agree on an entry's index and term and differ before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Position of its first record.
    pub base: u64,
    /// Position behind its last record.
    pub end: u64,
    /// True when no record will be added.
    pub sealed: bool,
    pub last_index: u64,
    pub last_term: u64,
}

/// The log as the views read it.
pub trait SegmentSource: Send + Sync {
    /// All retained segments, oldest first; `None` while the log is not open yet. Empty segments may be left out.
    fn segments(&self) -> Option<Vec<Segment>>;

    /// Shows the payload of each application record of a segment, in order, with the payload's log position, until the visitor
    /// breaks off.
    ///
    /// # Errors
    /// The segment is gone or can't be read, or the visitor's own error.
    fn scan(&self, segment: &Segment, visit: &mut Visit<'_>) -> io::Result<()>;
}

/// Takes the position of a payload's first byte and the payload.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> io::Result<ControlFlow<()>> + 'a;
