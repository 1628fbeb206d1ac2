//! What may happen to files of a node that was killed, without breaking any promise of its disk.
//!
//! - Behind the last record of its log: anything. A crash in the middle of a write leaves part of it there, in any order of
//!   sectors. What lies before the last record's end is never touched: a killed process loses nothing that it wrote, and a
//!   `SYNC_FLUSH` node may have answered for all of it. What a power failure takes is the business of `power-loss`.
//! - View files (docs/storage.md: `store/idx`, `views`): anything, up to their absence. They are built from the log.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::cluster::records::Log;

/// Garbage behind the last record.
pub(super) fn tear(data: &Path, random: &mut SmallRng) -> anyhow::Result<String> {
    Log::read(data)?.tear(random)
}

/// Deletes some of the view files, or all.
pub(super) fn delete_views(data: &Path, random: &mut SmallRng) -> anyhow::Result<String> {
    let files = views(data)?;
    let all = random.random_bool(0.5);
    let mut deleted = 0;
    for file in &files {
        if all || random.random_bool(0.5) {
            std::fs::remove_file(file).with_context(|| file.display().to_string())?;
            deleted += 1;
        }
    }
    Ok(format!("{deleted} of {} view files deleted", files.len()))
}

/// Flips bits in, cuts or lengthens some of the view files.
pub(super) fn damage_views(data: &Path, random: &mut SmallRng) -> anyhow::Result<String> {
    let files = views(data)?;
    let mut done = Vec::new();
    for _ in 0..files.len().div_ceil(2) {
        let Some(path) = files.choose(random) else { break };
        let file = std::fs::File::options().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        let what = match random.random_range(0..4) {
            0 if size > 0 => {
                file.set_len(random.random_range(0..size))?;
                "cut"
            }
            1 => {
                file.write_all_at(&[0xA5; 40], size)?;
                "lengthened"
            }
            _ if size > 0 => {
                let at = random.random_range(0..size);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ (1 << random.random_range(0..8))], at)?;
                "a bit flipped"
            }
            _ => "empty already",
        };
        let name = path.strip_prefix(data).unwrap_or(path).display();
        done.push(format!("{name} {what}"));
    }
    Ok(format!("{} view files: {}", files.len(), done.join(", ")))
}

fn views(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["store/idx", "views/queues", "views/keys"] {
        // A node that was killed before its first view has none.
        let Ok(entries) = std::fs::read_dir(data.join(folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
