//! Why the log cannot be opened, and why it refuses work.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::record::RecordError;
use crate::types::{LogId, StampError};

/// Bytes below the synced position that are not what was written there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("damage in {} at byte {offset}: {what}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Byte in the file where the damage was noticed.
    pub offset: u64,
    /// What does not fit.
    pub what: String,
}

/// Why a log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Synced bytes are gone or changed: this node must not vote; its folder has to be replaced.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The folder holds the log of another group, or of a program that this one cannot read.
    #[error("{}: {reason}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The options cannot work.
    #[error("log options: {0}")]
    Options(&'static str),
    /// A record contradicts the state that its place implies: a bug, or a checkpoint of another log.
    #[error("record {id} at position {position}: {source}")]
    Stamp {
        /// The entry.
        id: LogId,
        /// Its position.
        position: u64,
        /// What does not fit.
        source: StampError,
    },
    /// A visitor refused a checkpoint or a record.
    #[error("recovery stopped: {0}")]
    Refused(String),
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The failure.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The first failure of the writer; it sticks, and the log takes no more work.
#[derive(Debug, Clone, Error)]
#[error("the log has failed: {what}: {message}")]
pub struct Fault {
    /// What was being done.
    pub what: Arc<str>,
    /// Kind of the failure.
    pub kind: io::ErrorKind,
    /// The failure's own words.
    pub message: Arc<str>,
}

impl Fault {
    pub(crate) fn new(what: &str, error: &io::Error) -> Self {
        Self { what: what.into(), kind: error.kind(), message: error.to_string().into() }
    }

    /// The fault as an I/O error, for call-backs.
    pub fn to_io(&self) -> io::Error {
        io::Error::new(self.kind, self.clone())
    }
}

/// Why an append, truncation, purge or installation was refused. Nothing of it has happened.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The entry does not follow the last one.
    #[error("entry {found} does not follow {last:?}")]
    Hole {
        /// Last entry of the log.
        last: Option<LogId>,
        /// The entry.
        found: LogId,
    },
    /// The record names another predecessor or another place than the log has.
    #[error("record {id} does not chain: {reason}")]
    Chain {
        /// The entry.
        id: LogId,
        /// The field and its values.
        reason: String,
    },
    /// The record is damaged.
    #[error("record {id}: {source}")]
    Record {
        /// The entry, as far as its header tells.
        id: LogId,
        /// What does not fit.
        source: RecordError,
    },
    /// The payload does not fit the state that its place implies.
    #[error("entry {id}: {source}")]
    Stamp {
        /// The entry.
        id: LogId,
        /// What does not fit.
        source: StampError,
    },
    /// A record larger than a segment.
    #[error("entry {id} needs {size} bytes, a segment holds {size_max}")]
    TooLarge {
        /// The entry.
        id: LogId,
        /// Bytes of its record.
        size: u64,
        /// Bytes that a segment has for records.
        size_max: u64,
    },
    /// A truncation would remove what is committed, or an entry is asked for that the log does not hold.
    #[error("cannot {what}: {reason}")]
    Impossible {
        /// What was asked.
        what: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// Removed entries could not be read back.
    #[error("reading entries back: {0}")]
    Io(#[from] io::Error),
    /// The writer has failed before.
    #[error(transparent)]
    Failed(#[from] Fault),
}

impl From<AppendError> for io::Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed(fault) => fault.to_io(),
            AppendError::Io(error) => error,
            other @ (AppendError::Hole { .. }
            | AppendError::Chain { .. }
            | AppendError::Record { .. }
            | AppendError::Stamp { .. }
            | AppendError::TooLarge { .. }
            | AppendError::Impossible { .. }) => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}
