//! Appends that go past the page cache (`O_DIRECT`).
//!
//! Filling new pages of the cache costs more CPU than everything else that an append of many messages does: on the
//! reference machine 2 ms a MiB into a preallocated file, against 0.15 ms for a direct write of the same bytes. A direct
//! write moves whole blocks, so the block that holds the end of the file is written again by the next append, its first
//! part with the bytes that it has already, as the page cache would do; what lies behind the end up to the block's end
//! becomes zero.
//!
//! Reads stay as they are: the kernel drops cached pages of what a direct write changes, so readers of the file and of its
//! mapping see what was written (Linux, `filemap_invalidate_pages` around `iomap_dio_rw`).
//!
//! Where the file system refuses, appends go through the cache, with one line in the log.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Once;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tracing::warn;

/// Alignment of place, size and memory of a direct write: a multiple of the blocks of the disks in use.
pub(super) const BLOCK: usize = 4096;

/// Bytes of one direct write. Larger ones are no faster.
const CHUNK: usize = 1 << 20;

/// How a file takes appends.
#[derive(Debug)]
pub(super) enum Appends {
    /// Nothing was appended yet.
    Unknown,
    /// Past the cache.
    Direct(Direct),
    /// Through the cache: the file system can't do otherwise.
    Cached,
}

/// The file once more, opened for direct writes.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// Where the block of the last append's end begins, and its bytes up to that end.
    tail_at: u64,
    tail: Vec<u8>,
    /// Lets a test refuse the writes behind so many blocks of a file.
    #[cfg(test)]
    refused_behind: Option<u64>,
}

impl Appends {
    /// Writes the slices from `offset` and gives the number of bytes written, perhaps fewer than asked for.
    pub(super) fn append(&mut self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if matches!(self, Appends::Unknown) {
            match Direct::open(file) {
                Ok(direct) => *self = Appends::Direct(direct),
                // Says nothing of the file system: the next append tries again.
                Err(error) if is_out_of_descriptors(&error) => {}
                Err(error) => *self = cached_because(&error),
            }
        }
        if let Appends::Direct(direct) = self {
            match direct.append(file, slices, offset) {
                // A file system that opens the file so and then can't: nothing has been written.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    *self = cached_because(&error);
                }
                written => return written,
            }
        }
        Ok(rustix::io::pwritev(file, slices, offset)?)
    }

    /// The file is changed by other means: what the last append kept of its end says nothing any more.
    pub(super) fn forget_tail(&mut self) {
        if let Appends::Direct(direct) = self {
            direct.tail.clear();
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let full = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|number| full.contains(&number))
}

fn cached_because(error: &io::Error) -> Appends {
    static TOLD: Once = Once::new();
    TOLD.call_once(
        || warn!(%error, "direct writes are not possible: the log is written through the page cache"),
    );
    Appends::Cached
}

impl Direct {
    fn open(file: &File) -> io::Result<Direct> {
        // By its descriptor: the file may have another name by now. Source: proc(5), /proc/self/fd.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        Ok(Direct {
            file,
            tail_at: 0,
            tail: Vec::new(),
            #[cfg(test)]
            refused_behind: None,
        })
    }

    /// One chunk at most; the caller asks again for the rest.
    fn append(&mut self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        thread_local! {
            /// The writer's: one for all the segments that it writes.
            static BUFFER: RefCell<Buffer> = RefCell::new(Buffer::new());
        }
        BUFFER.with_borrow_mut(|buffer| self.append_through(buffer.chunk(), file, slices, offset))
    }

    fn append_through(
        &mut self,
        chunk: &mut [u8],
        file: &File,
        slices: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        let head = (offset % BLOCK as u64) as usize;
        let from = offset - head as u64;
        if head > 0 {
            if self.tail_at == from && self.tail.len() >= head {
                chunk[..head].copy_from_slice(&self.tail[..head]);
            } else {
                file.read_exact_at(&mut chunk[..head], from)?;
            }
        }
        let mut end = head;
        for slice in slices {
            let count = slice.len().min(CHUNK - end);
            chunk[end..end + count].copy_from_slice(&slice[..count]);
            end += count;
            if end == CHUNK {
                break;
            }
        }
        let padded = end.next_multiple_of(BLOCK);
        chunk[end..padded].fill(0);
        // From here on the block's content is in doubt until the write has succeeded.
        self.tail.clear();
        let mut written = 0;
        while written < padded {
            match self.write_blocks(&chunk[written..padded], from + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if count.is_multiple_of(BLOCK) => written += count,
                Ok(_) => return Err(io::Error::other("a direct write ended within a block")),
                Err(Errno::INTR) => {}
                // Part of the chunk is on the disk; the caller must not take the file system for one that never could.
                Err(Errno::INVAL) if written > 0 => {
                    return Err(io::Error::other("a direct write was refused half-way"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let tail_at = end - end % BLOCK;
        self.tail.extend_from_slice(&chunk[tail_at..end]);
        self.tail_at = from + tail_at as u64;
        Ok(end - head)
    }

    fn write_blocks(&self, blocks: &[u8], offset: u64) -> Result<usize, Errno> {
        #[cfg(test)]
        if let Some(limit) = self.refused_behind.map(|blocks| blocks * BLOCK as u64) {
            let room = usize::try_from(limit.saturating_sub(offset)).expect("small files").min(blocks.len());
            return if room == 0 {
                Err(Errno::INVAL)
            } else {
                rustix::io::pwrite(&self.file, &blocks[..room], offset)
            };
        }
        rustix::io::pwrite(&self.file, blocks, offset)
    }
}

/// Memory at a block's alignment.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new() -> Buffer {
        let bytes = vec![0; CHUNK + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK);
        Buffer { bytes, start }
    }

    fn chunk(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + CHUNK]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::vfs::real::RealFile;
    use crate::vfs::{OpenMode, RealVfs, Vfs, VfsFile};

    fn file(dir: &Path, size: u64) -> Arc<dyn VfsFile> {
        let file = RealVfs.open(&dir.join("log"), OpenMode::CreateNew).unwrap();
        file.allocate(size).unwrap();
        file
    }

    fn read(file: &Arc<dyn VfsFile>, offset: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// Appends of any sizes, with steps back as a truncation makes them and plain writes in between, leave what plain writes
    /// leave; readers of the file and of its mapping see each of them at once.
    #[test]
    fn prop_direct_appends_equal_plain_writes() {
        const SIZE: usize = 512 << 10;
        let step = (1..9_000_usize, 0..3_000_usize, 0..4_u8);
        proptest!(ProptestConfig::with_cases(24), |(steps in prop::collection::vec(step, 1..30))| {
            let dir = tempfile::tempdir().unwrap();
            let file = file(dir.path(), SIZE as u64);
            let map = file.map().unwrap().unwrap();
            let (mut model, mut end) = (vec![0_u8; SIZE], 64_usize);
            for (number, (size, back, kind)) in steps.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|n| (n * 7 + number * 31) as u8 | 1).collect();
                let goes_back = kind % 2 == 0;
                let at = if goes_back { end.saturating_sub(back).max(64) } else { end };
                if goes_back {
                    // What a truncation leaves behind its end counts no more.
                    file.zero_range(at as u64, (end - at) as u64).unwrap();
                    model[at..end].fill(0);
                }
                let (first, second) = bytes.split_at(size / 3);
                if kind < 2 {
                    file.write_all_at(&bytes, at as u64).unwrap();
                } else {
                    let mut slices = [IoSlice::new(first), IoSlice::new(second)];
                    file.append_all_vectored_at(&mut slices, at as u64).unwrap();
                }
                end = at + size;
                model[at..end].copy_from_slice(&bytes);
                prop_assert!(read(&file, 0, end) == model[..end], "by reading, step {}", number);
                prop_assert!(map.bytes()[..end] == model[..end], "by the mapping, step {}", number);
            }
            prop_assert!(read(&file, 0, SIZE) == model, "nothing behind the end");
        });
    }

    /// A direct append of `size` bytes at the start of a file, and then one that is refused behind the third block.
    fn refused(size: usize) -> (tempfile::NamedTempFile, Appends, Vec<u8>, io::Result<usize>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..size + 20_000).map(|n| (n / 3) as u8 | 1).collect();
        let mut appends = Appends::Unknown;
        let whole = [IoSlice::new(&bytes[..size])];
        assert_eq!(appends.append(file.as_file(), &whole, 0).unwrap(), size);
        let Appends::Direct(direct) = &mut appends else { panic!("this file system takes direct writes") };
        direct.refused_behind = Some(3);
        let more = appends.append(file.as_file(), &[IoSlice::new(&bytes[size..])], size as u64);
        (file, appends, bytes, more)
    }

    #[test]
    fn what_is_refused_as_a_whole_goes_through_the_cache_with_what_follows() {
        let (file, mut appends, bytes, more) = refused(3 * BLOCK + 100);
        let end = 3 * BLOCK + 100 + more.unwrap();
        assert_eq!(end, bytes.len());
        assert!(matches!(appends, Appends::Cached));
        assert_eq!(appends.append(file.as_file(), &[IoSlice::new(&[7; 50])], end as u64).unwrap(), 50);
        let read = std::fs::read(file.path()).unwrap();
        assert!(read[..end] == bytes && read[end..] == [7; 50]);
    }

    #[test]
    fn what_is_refused_half_way_is_a_failure() {
        let (file, appends, bytes, more) = refused(BLOCK + 100);
        assert_eq!(more.unwrap_err().to_string(), "a direct write was refused half-way");
        assert!(matches!(appends, Appends::Direct(_)));
        let read = std::fs::read(file.path()).unwrap();
        assert!(read[..BLOCK + 100] == bytes[..BLOCK + 100], "what was there before stays");
    }

    #[test]
    fn a_segment_that_is_complete_keeps_no_second_descriptor() {
        let file = tempfile::tempfile().unwrap();
        let open = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(Result::ok)
                .filter(|entry| {
                    std::fs::metadata(entry.path()).is_ok_and(|of| of.ino() == file.metadata().unwrap().ino())
                })
                .count()
        };
        let file = Arc::new(RealFile::new(file.try_clone().unwrap()));
        let before = open();
        file.append_vectored_at(&[IoSlice::new(b"abc")], 0).unwrap();
        assert_eq!(open(), before + 1);
        file.end_appends();
        assert_eq!(open(), before);
        file.append_vectored_at(&[IoSlice::new(b"def")], 3).unwrap();
        let mut read = [0; 6];
        file.read_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"abcdef");
    }

    #[test]
    fn an_append_larger_than_a_chunk_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), 8 << 20);
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n / 5) as u8).collect();
        file.append_all_vectored_at(&mut [IoSlice::new(&bytes)], 64).unwrap();
        assert!(read(&file, 64, bytes.len()) == bytes);
        assert_eq!(read(&file, 0, 64), [0; 64]);
    }

    /// A follower may have to write beyond what was allocated.
    #[test]
    fn an_append_behind_the_end_of_the_file_makes_it_longer() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), 4096);
        file.append_all_vectored_at(&mut [IoSlice::new(&[7; 5000])], 100).unwrap();
        assert_eq!(read(&file, 100, 5000), [7; 5000]);
        assert_eq!(file.size().unwrap(), 8192);
    }
}
