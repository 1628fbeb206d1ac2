//! What the clients did and what they were told: one operation a line, in the order in which things happened.
//!
//! [`Writer`] and [`Reader`] stream the lines (JSONL) in constant memory; [`History`] holds a whole run, with each end
//! beside its beginning, for the checkers; [`edn`] writes what Jepsen's own tools read.

mod edn;
mod op;
mod read;
mod whole;
mod write;

pub use edn::write_edn;
pub use op::{Act, Fault, Kind, Op, Process, Seen};
pub use read::{LINE_SIZE_MAX, Reader};
pub use whole::{Call, History};
pub use write::Writer;

/// What is wrong with a history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file can't be read: the environment's failure.
    #[error("line {line}: can't be read: {cause}")]
    Read { line: u64, cause: std::io::Error },
    /// The line is not an operation, or can't stand where it stands. A history like that is not judged.
    #[error("line {line}: {reason}")]
    Line { line: u64, reason: String },
}

impl HistoryError {
    fn at(line: u64, reason: impl Into<String>) -> Self {
        HistoryError::Line { line, reason: reason.into() }
    }
}
