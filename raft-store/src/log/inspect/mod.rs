//! Looks at a log's folder without opening the log: nothing is written, cut or removed.
//!
//! [`inspect`] tells what lies there, [`verify`] whether every record is as it was written. Both read all records. A
//! record that is cut short above the synced position is what a stop leaves behind; it is reported and is no damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use self::looking::Looking;
use super::shared::Folder;
use super::{Damage, TornTail};
use crate::identity::Identity;
use crate::types::{ChainPoint, LogId, Vote};
use crate::vfs::Vfs;

mod looking;
mod text;

/// Why a folder cannot be judged.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The first damage.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// There is no log in the folder, nor in `store` below it.
    #[error("no log in {}", .0.display())]
    NoLog(PathBuf),
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The failure.
        source: io::Error,
    },
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub file: PathBuf,
    /// Position of the first record, the file's name.
    pub base: u64,
    /// Position behind the last record.
    pub end: u64,
    /// First and last entry; `None` when no record is valid.
    pub entries: Option<(LogId, LogId)>,
    /// Number of records.
    pub record_count: u64,
    /// Leader time of the last record, Unix milliseconds.
    pub last_time_ms: u64,
    /// Bytes of the file.
    pub file_size: u64,
}

/// What lies in a folder.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log's folder.
    pub dir: PathBuf,
    /// Whose folder it is; `None` before the node took part in a group.
    pub identity: Option<Identity>,
    /// The vote; `None` when none was saved.
    pub vote: Option<Vote>,
    /// Segments of the log, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Files with segment names that do not belong to the log; the next start removes them.
    pub leftovers: Vec<PathBuf>,
    /// Number and bytes of files allocated ahead.
    pub spares: (usize, u64),
    /// Checkpoints, oldest first, and whether they came from another node.
    pub checkpoints: Vec<(ChainPoint, bool)>,
    /// The snapshot boundary.
    pub snapshot: Option<ChainPoint>,
    /// Last purged entry.
    pub purged: Option<LogId>,
    /// Last entry.
    pub last: Option<LogId>,
    /// Position behind the last record.
    pub end: u64,
    /// Position below which the disk holds everything.
    pub synced: u64,
    /// Number of entries known to be committed.
    pub committed_count: u64,
    /// True when the log was closed in order.
    pub clean: bool,
    /// True while the node waits to catch up after an unclean stop of its machine.
    pub quarantined: bool,
    /// A record that was cut short above the synced position.
    pub torn_tail: Option<TornTail>,
    /// The first damage.
    pub damage: Option<Damage>,
}

/// A folder whose records are all as they were written.
#[derive(Clone, Debug)]
pub struct Verified(pub Report);

/// Tells what lies in a log's folder, or in `store` below it. Damage is part of the report.
///
/// # Errors
/// `NoLog`, or the file system failed.
pub fn inspect(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Report, InspectError> {
    let folder = locate(vfs, dir)?;
    Looking::new(folder).look()
}

/// Checks every record and every file beside the log in a log's folder, or in `store` below it.
///
/// # Errors
/// `Damage` names the file and the byte of the first damage. `NoLog`, or the file system failed.
pub fn verify(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Verified, InspectError> {
    let mut report = inspect(vfs, dir)?;
    match report.damage.take() {
        Some(damage) => Err(damage.into()),
        None => Ok(Verified(report)),
    }
}

fn locate(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Arc<Folder>, InspectError> {
    for root in [dir.to_path_buf(), dir.join("store")] {
        let folder = Folder::new(Arc::clone(vfs), &root);
        match vfs.list(&folder.log) {
            Ok(_) => return Ok(Arc::new(folder)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => {
                return Err(InspectError::Io { what: format!("listing {}", folder.log.display()), source });
            }
        }
    }
    Err(InspectError::NoLog(dir.to_path_buf()))
}
