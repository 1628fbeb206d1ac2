//! What lies in a log's folders, before anything is believed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::OpenError;
use super::checkpoint::{CheckpointInfo, parse_checkpoint_name, parse_copy_name};
use super::files::parse_spare_name;
use super::segment::{Segment, SegmentHeader, parse_segment_name, segment_name};
use super::shared::{Folder, Spare};
use crate::vfs::{OpenMode, VfsFile};

/// A file with a segment's name.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) header: Result<SegmentHeader, &'static str>,
}

/// Files with segment names, by base.
#[derive(Debug, Default)]
pub(super) struct Candidates(BTreeMap<u64, Candidate>);

/// The folders' content.
#[derive(Debug)]
pub(super) struct FoundFolder {
    pub(super) segments: Candidates,
    pub(super) spares: Vec<Spare>,
    pub(super) spare_number_max: u64,
    /// Oldest first, by name; none has been read. The `installed` flag is not known yet.
    pub(super) checkpoints: Vec<CheckpointInfo>,
}

impl Candidates {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, base: u64) -> Option<&Candidate> {
        self.0.get(&base)
    }

    /// The last file that begins before a position.
    pub(super) fn last_before(&self, position: u64) -> Option<(u64, &Candidate)> {
        self.0.range(..position).next_back().map(|(base, candidate)| (*base, candidate))
    }

    /// Files that begin in a range of positions, oldest first.
    pub(super) fn between(&self, from: u64, to: u64) -> Vec<(u64, &Candidate)> {
        if from >= to {
            return Vec::new();
        }
        self.0.range(from..to).map(|(base, candidate)| (*base, candidate)).collect()
    }

    /// Takes the files before a position out.
    pub(super) fn split_before(&mut self, position: u64) -> Candidates {
        let rest = self.0.split_off(&position);
        Candidates(std::mem::replace(&mut self.0, rest))
    }

    pub(super) fn paths_except(&self, kept: &[Arc<Segment>]) -> impl Iterator<Item = PathBuf> {
        let kept: Vec<u64> = kept.iter().map(|segment| segment.base()).collect();
        let others = self.0.iter().filter(move |(base, _)| kept.binary_search(base).is_err());
        others.map(|(_, candidate)| candidate.path.clone())
    }

    pub(super) fn into_paths(self) -> impl Iterator<Item = PathBuf> {
        self.0.into_values().map(|candidate| candidate.path)
    }
}

/// Lists the folders and reads the segment headers. Files that a crash left half-written are removed.
pub(super) fn read_folder(
    folder: &Folder,
    genesis: u32,
    segment_size: u64,
) -> Result<FoundFolder, OpenError> {
    let vfs = &folder.vfs;
    let mut found = FoundFolder {
        segments: Candidates::default(),
        spares: Vec::new(),
        spare_number_max: 0,
        checkpoints: Vec::new(),
    };
    for name in vfs.list(&folder.log).map_err(OpenError::io("listing the segments"))? {
        let path = folder.log.join(&name);
        let what = || format!("reading {}", path.display());
        if let Some(base) = parse_segment_name(&name) {
            let file = vfs.open(&path, OpenMode::Write).map_err(|error| OpenError::io(what())(error))?;
            let candidate =
                read_candidate(path.clone(), file, base).map_err(|error| OpenError::io(what())(error))?;
            if let Ok(header) = &candidate.header
                && header.genesis != genesis
            {
                let reason = "the segment belongs to another cluster or group".into();
                return Err(OpenError::Foreign { file: path, reason });
            }
            found.segments.0.insert(base, candidate);
        } else if let Some(number) = parse_spare_name(&name) {
            found.spare_number_max = found.spare_number_max.max(number);
            let file = vfs.open(&path, OpenMode::Write).map_err(|error| OpenError::io(what())(error))?;
            let size = file.size().map_err(|error| OpenError::io(what())(error))?;
            if size == segment_size {
                found.spares.push(Spare { name, file, size });
            } else {
                vfs.remove(&path).map_err(|error| OpenError::io(what())(error))?;
            }
        }
    }
    for name in vfs.list(&folder.checkpoints).map_err(OpenError::io("listing the checkpoints"))? {
        // A copy stands for a checkpoint whose file is gone.
        if let Some(at) = parse_checkpoint_name(&name).or_else(|| parse_copy_name(&name)) {
            found.checkpoints.push(CheckpointInfo { at, installed: false });
        } else if name.ends_with(".tmp")
            && let Err(error) = vfs.remove(&folder.checkpoints.join(&name))
        {
            warn!(%error, %name, "half-written checkpoint not removed");
        }
    }
    found.checkpoints.sort_by_key(|info| (info.at.end, info.at.id.index, info.at.id.term, info.at.crc));
    found.checkpoints.dedup();
    Ok(found)
}

pub(super) fn read_candidate(path: PathBuf, file: Arc<dyn VfsFile>, base: u64) -> std::io::Result<Candidate> {
    let header = match SegmentHeader::read(&*file)? {
        Ok(header) if header.base != base => Err("the segment header is that of another file"),
        other => other,
    };
    debug_assert!(path.ends_with(segment_name(base)));
    Ok(Candidate { path, file, header })
}
