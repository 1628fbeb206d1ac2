//! Segment files without a place in the log: spares that are allocated ahead, what they are given up for, and those that are retired.

use std::io;
use std::sync::Arc;

use tracing::warn;

use super::bounds::Bounds;
use super::segment::{Segment, segment_name};
use super::shared::{Shared, Spare};
use crate::vfs::{OpenMode, VfsFile};

const SPARE_PREFIX: &str = "spare-";

/// True for the name of a spare segment.
pub(crate) fn parse_spare_name(name: &str) -> Option<u64> {
    name.strip_prefix(SPARE_PREFIX).filter(|digits| digits.len() == 14)?.parse().ok()
}

fn next_spare_name(shared: &Shared) -> String {
    let mut spares = shared.spares.lock();
    spares.next_number += 1;
    format!("{SPARE_PREFIX}{:014}", spares.next_number)
}

/// Name of a spare to create: one that could not be removed when its allocation failed comes before a new one, so that
/// attempts that fail do not add up.
fn created_spare_name(shared: &Shared) -> String {
    let left = shared.spares.lock().left.pop();
    left.unwrap_or_else(|| next_spare_name(shared))
}

/// Creates and allocates a spare segment. Blocks.
///
/// # Errors
/// `StorageFull` when there is no room; what was taken of it is given back.
pub(crate) fn create_spare(shared: &Shared) -> io::Result<Spare> {
    let (folder, size) = (&shared.folder, shared.options.segment_size);
    let name = created_spare_name(shared);
    let path = folder.log.join(&name);
    let create = || {
        let file = folder.vfs.open(&path, OpenMode::Truncate)?;
        file.allocate(size)?;
        file.sync_data()?;
        Ok(file)
    };
    match create() {
        Ok(file) => Ok(Spare { name, file, size }),
        Err(error) => {
            match folder.vfs.remove(&path) {
                Ok(()) => {}
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(_) => shared.spares.lock().left.push(name),
            }
            Err(error)
        }
    }
}

/// Allocates what is missing in spares. A failure is remembered until none is missing and reported by `Log::space`; it is not
/// fatal.
pub(crate) fn ensure_spares(shared: &Shared) {
    while shared.spares.lock().ready.len() < shared.options.spare_count {
        match create_spare(shared) {
            Ok(spare) => {
                let mut spares = shared.spares.lock();
                spares.ready.push(spare);
                spares.failed = false;
            }
            Err(error) => {
                let mut spares = shared.spares.lock();
                if !spares.failed {
                    warn!(%error, folder = %shared.folder.log.display(), "no spare segment");
                }
                spares.failed = true;
                return;
            }
        }
    }
    shared.spares.lock().settle(shared.options.spare_count);
}

/// Does what must not fail for want of room, such as that which makes some: on a full disk a spare segment is given up for it, and
/// another one for as long as that is not enough.
///
/// LIMIT: records that were taken on because of that spare ([`super::room`]) and need it before another one can be made stop the
/// replica.
///
/// # Errors
/// As `work`; `StorageFull` when no spare is left.
pub(crate) fn with_room<T>(shared: &Shared, what: &str, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let mut spares = shared.spares.lock();
                let Some(spare) = spares.ready.pop() else { return Err(error) };
                spares.failed = true;
                drop(spares);
                warn!(spare = %spare.name, "the disk is full, a spare segment is given up: {what}");
                shared.folder.vfs.remove(&shared.folder.log.join(&spare.name))?;
            }
            outcome => return outcome,
        }
    }
}

/// Stores bounds; moving them is what frees more.
pub(crate) fn store_bounds(shared: &Shared, bounds: &Bounds) -> io::Result<()> {
    with_room(shared, "moving the boundary", || bounds.store(&*shared.folder.vfs, &shared.folder.root))
}

/// Takes a purged segment's file out of the log: it becomes a spare if nobody can still look at its bytes and a spare is
/// welcome, else it is removed. The names are not synced.
///
/// Its records stay in it. None of them can be taken for one of the log again, because the log never comes back to
/// their positions.
pub(crate) fn retire(shared: &Shared, segment: Arc<Segment>) -> io::Result<()> {
    let (folder, path) = (&shared.folder, segment.path());
    let file = Arc::clone(segment.file());
    let watch = segment.watch();
    forget_view(shared, segment.base());
    // The segment's own mapping goes with it; what is left then belongs to readers.
    let alone = Arc::into_inner(segment).is_some() && !watch.in_use();
    if alone && welcome(shared, &*file)? {
        let name = next_spare_name(shared);
        folder.vfs.rename(&path, &folder.log.join(&name))?;
        let size = file.size()?;
        let mut spares = shared.spares.lock();
        spares.ready.push(Spare { name, file, size });
        spares.settle(shared.options.spare_count);
        Ok(())
    } else {
        folder.vfs.remove(&path)
    }
}

/// Removes the file of a segment that was truncated away. It gets no second life: the next segment may have the same
/// base and predecessor, and the old records behind its header would be whole and in order.
pub(crate) fn remove(shared: &Shared, segment: &Segment) -> io::Result<()> {
    forget_view(shared, segment.base());
    shared.folder.vfs.remove(&segment.path())
}

fn forget_view(shared: &Shared, base: u64) {
    drop(shared.folder.vfs.remove(&shared.folder.index.join(segment_name(base))));
}

fn welcome(shared: &Shared, file: &dyn VfsFile) -> io::Result<bool> {
    let few = shared.spares.lock().ready.len() <= shared.options.spare_count;
    Ok(few && file.size()? == shared.options.segment_size)
}
