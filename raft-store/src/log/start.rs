//! Where a scan starts: behind the newest checkpoint that the log holds.

use std::io;

use tracing::warn;

use super::bounds::Bounds;
use super::checkpoint::{Checkpoint, read_either};
use super::folder::FoundFolder;
use super::marks::Marks;
use super::recovery::blank_tail;
use super::scan::{Scanner, Step, Tail};
use super::segment::segment_name;
use super::shared::Folder;
use super::{Damage, OpenError};
use crate::types::ChainPoint;

/// The start of a scan.
#[derive(Debug)]
pub(super) struct Start {
    /// The first record behind the start has to follow this.
    pub(super) tail: Tail,
    /// The tables there; `None` for the blank state.
    pub(super) checkpoint: Option<Checkpoint>,
    /// True when an installed checkpoint takes the place of everything in the log.
    pub(super) discard: bool,
}

/// Tries the checkpoints from the newest to the oldest. One that the log does not reach is ignored, unless it was
/// installed: then it stands in the log's place.
pub(super) fn choose_start(
    folder: &Folder,
    genesis: u32,
    found: &FoundFolder,
    bounds: &Bounds,
    marks: &Marks,
) -> Result<Start, OpenError> {
    for info in found.checkpoints.iter().rev().filter(|info| info.at.end >= bounds.start) {
        let at = info.at;
        let checkpoint = match read_either(folder, genesis, at) {
            Ok(checkpoint) => checkpoint,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!(%error, "damaged checkpoint passed over");
                continue;
            }
            Err(source) => return Err(OpenError::Io { what: format!("reading checkpoint {at:?}"), source }),
        };
        let held = holds(found, at).map_err(OpenError::io("looking for a checkpoint's entry"))?;
        if held {
            return Ok(Start { tail: at.into(), checkpoint: Some(checkpoint), discard: false });
        }
        if !checkpoint.installed {
            warn!(?at, "checkpoint above the end of the log passed over");
            continue;
        }
        // Once an installation is complete the log grows behind its checkpoint; a log that should reach beyond it and
        // does not even begin there is damaged. Before that the old log is only waiting to be removed.
        let complete = bounds.base == Some(at) || bounds.snapshot == Some(at);
        if complete && marks.synced > at.end {
            let file = folder.log.join(segment_name(at.end));
            let what = format!("the log is synced to {}, but nothing follows its checkpoint", marks.synced);
            return Err(Damage { file, offset: 0, what }.into());
        }
        return Ok(Start { tail: at.into(), checkpoint: Some(checkpoint), discard: true });
    }
    let tail = blank_tail(genesis, bounds);
    if bounds.start > tail.end {
        let file = folder.log.join(segment_name(bounds.start));
        let what = "no checkpoint is left to start this log from".into();
        return Err(Damage { file, offset: 0, what }.into());
    }
    Ok(Start { tail, checkpoint: None, discard: false })
}

/// True when the log has exactly this entry at exactly this place.
fn holds(found: &FoundFolder, at: ChainPoint) -> io::Result<bool> {
    let next = found.segments.get(at.end).and_then(|candidate| candidate.header.as_ref().ok());
    if next.is_some_and(|header| header.prev == Some(at)) {
        return Ok(true);
    }
    let Some((base, candidate)) = found.segments.last_before(at.end) else { return Ok(false) };
    let Ok(header) = &candidate.header else { return Ok(false) };
    let mut scanner = Scanner::new(&*candidate.file, base, header.tail())?;
    while scanner.tail().end < at.end {
        match scanner.next()? {
            Step::Record(_) => {}
            Step::Stop(_) => return Ok(false),
        }
    }
    Ok(scanner.tail().point() == Some(at))
}
