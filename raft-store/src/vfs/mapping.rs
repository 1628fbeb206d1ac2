//! Files as shared memory, for reading. The only module of the workspace with `unsafe` code.
//!
//! A mapped file may not shrink while it is mapped, or a touch of the missing pages kills the process. The log keeps
//! that: segment files are allocated at full length and never shortened, and a segment is given a second life only
//! when nobody holds its mapping any more (its count of users is zero).

use std::fs::File;
use std::io;
use std::ops::Range;
#[cfg(test)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// Shared, read-only view of a file as it grows under the writer's hands.
#[derive(Clone, Debug)]
pub struct Mapping {
    bytes: Bytes,
    owner: Weak<()>,
    /// Stands for the page cache where a test decides what is in it.
    #[cfg(test)]
    cached: Option<Arc<AtomicBool>>,
}

struct Owner {
    map: Mmap,
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Mapping {
    /// Maps the present length of a file.
    ///
    /// # Errors
    /// As the operating system reports.
    pub(super) fn of_file(file: &File, size: usize) -> io::Result<Self> {
        // SAFETY: the map is read-only and shared. Two facts keep it valid. The file does not shrink while mapped: the
        // log allocates segments at full length, never shortens them, and reuses one only when `users` is 0 (this
        // module's header; `log/segment.rs`). Bytes that are handed out do not change: readers are given only ranges
        // below the committed position, which no truncation reaches (`log/reader.rs`); an append writes those in the block
        // of its beginning again, with the same values (`vfs/direct.rs`).
        let map = unsafe { MmapOptions::new().len(size).map(file) }?;
        let alive = Arc::new(());
        let owner = Arc::downgrade(&alive);
        let bytes = Bytes::from_owner(Owner { map, _alive: alive });
        Ok(Self {
            bytes,
            owner,
            #[cfg(test)]
            cached: None,
        })
    }

    /// Lets a test say whether the file's pages are in memory.
    #[cfg(test)]
    pub(crate) fn cached_as(mut self, cached: Arc<AtomicBool>) -> Self {
        self.cached = Some(cached);
        self
    }

    /// The mapped bytes; slices of them keep the mapping alive.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// True when the pages of a range are all in memory: touching them then waits for no disk, unless the system drops
    /// them meanwhile. False where that can't be found out.
    ///
    /// # Panics
    /// The range leaves the mapping.
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        #[cfg(test)]
        if let Some(cached) = &self.cached {
            return cached.load(Ordering::Relaxed);
        }
        pages_resident(&self.bytes[range])
    }

    /// A handle that tells whether any slice is left after this value is gone.
    pub fn watch(&self) -> MappingWatch {
        MappingWatch(self.owner.clone())
    }
}

/// Pages that one question to the system covers.
#[cfg(target_os = "linux")]
const PAGES_AT_ONCE: usize = 256;

/// Asks the system whether the pages of a slice of a file mapping are in memory. Source: mincore(2).
#[cfg(target_os = "linux")]
fn pages_resident(bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let page_size = rustix::param::page_size();
    let address = bytes.as_ptr() as usize;
    let (mut page, end) = (address & !(page_size - 1), address + bytes.len());
    let mut states = [0_u8; PAGES_AT_ONCE];
    while page < end {
        let count = (end - page).div_ceil(page_size).min(PAGES_AT_ONCE);
        // SAFETY: mincore reads no memory of the range and writes one byte per page into `states`, which has room for
        // `count`. The range is mapped: it starts in the page of the slice's first byte and ends in that of its last, and a
        // mapping consists of whole pages; the slice's borrow keeps it there.
        let asked =
            unsafe { libc::mincore(page as *mut libc::c_void, count * page_size, states.as_mut_ptr()) };
        if asked != 0 || states[..count].iter().any(|state| state & 1 == 0) {
            return false;
        }
        page += count * page_size;
    }
    true
}

#[cfg(not(target_os = "linux"))]
fn pages_resident(_: &[u8]) -> bool {
    false
}

/// Tells whether a mapping is still in use, without keeping it alive.
#[derive(Clone, Debug, Default)]
pub struct MappingWatch(Weak<()>);

impl MappingWatch {
    /// True while the mapping or a slice of it exists.
    pub fn in_use(&self) -> bool {
        self.0.strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Rule 10: pages that were written are in memory, pages of a hole that nobody has read are not.
    #[cfg(target_os = "linux")]
    #[test]
    fn rule_10_residency_is_that_of_the_page_cache() {
        let file = tempfile::tempfile().unwrap();
        let half = 3 << 20;
        file.set_len(2 * half).unwrap();
        file.write_all_at(&vec![7; half as usize], 0).unwrap();
        let half = half as usize;
        let map = Mapping::of_file(&file, 2 * half).unwrap();
        assert!(map.is_resident(0..half));
        assert!(map.is_resident(5000..5001) && map.is_resident(0..0));
        assert!(!map.is_resident(half + 4096..2 * half), "nobody has touched the hole");
        assert!(!map.is_resident(half - 10_000..half + 10_000), "one missing page is enough");
        assert_eq!(map.bytes()[half - 1], 7);
    }

    #[test]
    fn a_watch_sees_slices_after_the_mapping_itself_is_gone() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 8192], 0).unwrap();
        let map = Mapping::of_file(&file, 8192).unwrap();
        let (watch, slice) = (map.watch(), map.bytes().slice(100..200));
        drop(map);
        assert!(watch.in_use());
        drop(slice);
        assert!(!watch.in_use());
    }
}
