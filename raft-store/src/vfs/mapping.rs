//! Files as shared memory, for reading. The only module of the workspace with `unsafe` code.
//!
//! A mapped file may not shrink while it is mapped, or a touch of the missing pages kills the process. The log keeps
//! that: segment files are allocated at full length and never shortened, and a segment is given a second life only
//! when nobody holds its mapping any more (its count of users is zero).

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// Shared, read-only view of a file as it grows under the writer's hands.
#[derive(Clone, Debug)]
pub struct Mapping {
    bytes: Bytes,
    owner: Weak<()>,
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
        // below the committed position, which no truncation reaches and no write touches again (`log/reader.rs`).
        let map = unsafe { MmapOptions::new().len(size).map(file) }?;
        let alive = Arc::new(());
        let owner = Arc::downgrade(&alive);
        Ok(Self { bytes: Bytes::from_owner(Owner { map, _alive: alive }), owner })
    }

    /// The mapped bytes; slices of them keep the mapping alive.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// A handle that tells whether any slice is left after this value is gone.
    pub fn watch(&self) -> MappingWatch {
        MappingWatch(self.owner.clone())
    }
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
