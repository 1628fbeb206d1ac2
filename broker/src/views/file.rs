//! A view file: the units of one sealed segment, by queue. Numbers are little endian, units big endian.
//!
//! | offset | size | field          | meaning                                                         |
//! |-------:|-----:|----------------|-----------------------------------------------------------------|
//! |      0 |    8 | magic          | `FLTQUEUE`                                                      |
//! |      8 |    4 | version        | 1                                                               |
//! |     12 |    4 | crc            | CRC-32C of bytes 16 up to the units                             |
//! |     16 |    8 | segment base   |                                                                 |
//! |     24 |    8 | segment end    |                                                                 |
//! |     32 |    8 | last index     | of the segment's last entry                                     |
//! |     40 |    8 | last term      | of the segment's last entry                                     |
//! |     48 |    8 | unit count     |                                                                 |
//! |     56 |    4 | directory size | bytes                                                           |
//! |     60 |    4 | spare          | 0                                                               |
//! |     64 |      | directory      | topics in order: name, queues in order: id u32, first i64, count u32 |
//! |        |  4·n | block crcs     | CRC-32C of each 512 units, the last block may be shorter        |
//! |        |      | units          | 20 bytes each, queue after queue as in the directory            |
//!
//! The four fields that name the segment tell whether the file is about this segment of this history. The directory becomes the
//! parts of the queues, the block checksums stay in memory: every read takes whole blocks and checks them, so a flipped bit
//! costs a rebuild and never a message.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc_fast::{CrcAlgorithm, Digest, checksum};
use flotilla_core::codec::{CodecError, CodecReason, Reader, put_count, put_i64, put_text, put_u32, put_u64};
use flotilla_core::limits::NAME_BYTES_MAX;

use super::queue::rebuilding;
use super::segment::Segment;
use super::unit::{UNIT_SIZE, Unit, decode_all};

const MAGIC: &[u8; 8] = b"FLTQUEUE";
const VERSION: u32 = 1;
const HEADER_SIZE: usize = 64;
const CRC_FROM: usize = 16;
const BLOCK_UNITS: u64 = 512;
const BLOCK_SIZE: usize = BLOCK_UNITS as usize * UNIT_SIZE;

/// Units of one queue in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) topic: Arc<str>,
    pub(super) queue_id: u32,
    pub(super) first: i64,
    pub(super) count: u32,
}

/// Queues of one segment, sorted by topic and id.
pub(super) type Directory = Vec<Entry>;

/// Why a file can't serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum ViewFileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a view file of this version")]
    Form,
    #[error("about another segment or another history")]
    Other,
    #[error("size is {found}, its header says {expected}")]
    Size { expected: u64, found: u64 },
    #[error("checksum differs")]
    Checksum,
    #[error("directory: {0}")]
    Directory(#[from] CodecError),
}

/// An open view file whose header and directory were checked.
#[derive(Debug)]
pub(super) struct ViewFile {
    pub(super) segment: Segment,
    file: File,
    units_at: u64,
    unit_count: u64,
    block_crcs: Box<[u32]>,
    damaged: AtomicBool,
}

impl ViewFile {
    /// Opens a file and checks everything but the units.
    pub(super) fn open(path: &Path, segment: &Segment) -> Result<(Self, Directory), ViewFileError> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut header = [0; HEADER_SIZE];
        if size < HEADER_SIZE as u64 {
            return Err(ViewFileError::Size { expected: HEADER_SIZE as u64, found: size });
        }
        file.read_exact_at(&mut header, 0)?;
        let mut input = Reader::new(&header);
        if input.take("magic", MAGIC.len())? != MAGIC || input.u32("version")? != VERSION {
            return Err(ViewFileError::Form);
        }
        let crc = input.u32("crc")?;
        let (base, end) = (input.u64("segment base")?, input.u64("segment end")?);
        let (last_index, last_term) = (input.u64("last index")?, input.u64("last term")?);
        let named = Segment { base, end, sealed: true, last_index, last_term };
        if named != *segment {
            return Err(ViewFileError::Other);
        }
        let unit_count = input.u64("unit count")?;
        let directory_size = u64::from(input.u32("directory size")?);
        let block_count = unit_count.div_ceil(BLOCK_UNITS);
        // Saturating, so that a wild header only gives a size that no file has.
        let units_at = (HEADER_SIZE as u64 + directory_size).saturating_add(block_count.saturating_mul(4));
        let expected = units_at.saturating_add(unit_count.saturating_mul(UNIT_SIZE as u64));
        if size != expected {
            return Err(ViewFileError::Size { expected, found: size });
        }
        let mut tables = vec![0; units_at as usize - HEADER_SIZE];
        file.read_exact_at(&mut tables, HEADER_SIZE as u64)?;
        if crc != crc_of(&[&header[CRC_FROM..], &tables]) {
            return Err(ViewFileError::Checksum);
        }
        let (directory, crcs) = tables.split_at(directory_size as usize);
        let directory = decode_directory(directory, unit_count)?;
        let block_crcs = crcs.as_chunks::<4>().0.iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        let damaged = AtomicBool::new(false);
        Ok((Self { segment: *segment, file, units_at, unit_count, block_crcs, damaged }, directory))
    }

    /// Writes a file for a segment; `fetch` appends the encoded units of a directory entry, `count` of them from number
    /// `skip` on. What was written is not synced.
    pub(super) fn write(
        path: &Path,
        segment: &Segment,
        directory: &Directory,
        mut fetch: impl FnMut(&Entry, u32, u32, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let encoded = encode_directory(directory);
        let unit_count: u64 = directory.iter().map(|entry| u64::from(entry.count)).sum();
        let block_count = unit_count.div_ceil(BLOCK_UNITS);
        let units_at = HEADER_SIZE as u64 + encoded.len() as u64 + 4 * block_count;
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
        out.seek(SeekFrom::Start(units_at))?;
        let mut blocks = Blocks::default();
        let mut piece = Vec::with_capacity(BLOCK_SIZE);
        for entry in directory {
            let mut skip = 0;
            while skip < entry.count {
                let count = (entry.count - skip).min(BLOCK_UNITS as u32);
                piece.clear();
                fetch(entry, skip, count, &mut piece)?;
                assert_eq!(
                    piece.len(),
                    count as usize * UNIT_SIZE,
                    "units of {} {}",
                    entry.topic,
                    entry.queue_id
                );
                blocks.update(&piece);
                out.write_all(&piece)?;
                skip += count;
            }
        }
        let crcs = blocks.finish();
        let mut head = Vec::with_capacity(units_at as usize);
        head.extend_from_slice(MAGIC);
        put_u32(&mut head, VERSION);
        put_u32(&mut head, 0);
        for value in [segment.base, segment.end, segment.last_index, segment.last_term, unit_count] {
            put_u64(&mut head, value);
        }
        put_count(&mut head, encoded.len());
        put_u32(&mut head, 0);
        assert_eq!(head.len(), HEADER_SIZE, "the header's size is fixed");
        head.extend_from_slice(&encoded);
        for crc in crcs {
            put_u32(&mut head, crc);
        }
        assert_eq!(head.len() as u64, units_at, "head and units meet");
        let crc = crc_of(&[&head[CRC_FROM..]]);
        head[12..16].copy_from_slice(&crc.to_le_bytes());
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&head)?;
        out.flush()
    }

    /// Appends `count` units from number `index` of the file on.
    ///
    /// # Errors
    /// `WouldBlock` when a block is damaged; the file is then marked and the keeper rebuilds it once it is woken.
    pub(super) fn read(&self, index: u64, count: usize, out: &mut Vec<Unit>) -> io::Result<()> {
        assert!(index + count as u64 <= self.unit_count, "a part lies inside its file");
        if self.is_damaged() {
            return Err(rebuilding("its view file is damaged and is being rebuilt"));
        }
        let first_block = index / BLOCK_UNITS;
        let end_block = (index + count as u64).div_ceil(BLOCK_UNITS);
        let from = first_block * BLOCK_UNITS;
        let to = (end_block * BLOCK_UNITS).min(self.unit_count);
        let mut bytes = vec![0; (to - from) as usize * UNIT_SIZE];
        let at = self.units_at + from * UNIT_SIZE as u64;
        let crcs = &self.block_crcs[first_block as usize..end_block as usize];
        // A file that has become shorter is damage like any other.
        let whole = match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => bytes.chunks(BLOCK_SIZE).zip(crcs).all(|(block, crc)| crc_of(&[block]) == *crc),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        };
        if !whole {
            self.damaged.store(true, Ordering::Release);
            return Err(rebuilding("its view file is damaged and is being rebuilt"));
        }
        let skip = (index - from) as usize * UNIT_SIZE;
        decode_all(&bytes[skip..skip + count * UNIT_SIZE], out);
        Ok(())
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

/// Checksums of blocks whose bytes come in any pieces.
#[derive(Default)]
struct Blocks {
    crcs: Vec<u32>,
    open: Vec<u8>,
}

impl Blocks {
    fn update(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        let whole = self.open.len() / BLOCK_SIZE * BLOCK_SIZE;
        self.crcs.extend(self.open[..whole].chunks(BLOCK_SIZE).map(|block| crc_of(&[block])));
        self.open.drain(..whole);
    }

    fn finish(mut self) -> Vec<u32> {
        if !self.open.is_empty() {
            self.crcs.push(crc_of(&[&self.open]));
        }
        self.crcs
    }
}

pub(super) fn crc_of(parts: &[&[u8]]) -> u32 {
    if let [only] = parts {
        return checksum(CrcAlgorithm::Crc32Iscsi, only) as u32;
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

fn encode_directory(directory: &Directory) -> Vec<u8> {
    let mut out = Vec::new();
    let topics: Vec<&[Entry]> = directory.chunk_by(|left, right| left.topic == right.topic).collect();
    put_count(&mut out, topics.len());
    for entries in topics {
        put_text(&mut out, &entries[0].topic);
        put_count(&mut out, entries.len());
        for entry in entries {
            put_u32(&mut out, entry.queue_id);
            put_i64(&mut out, entry.first);
            put_u32(&mut out, entry.count);
        }
    }
    out
}

fn decode_directory(bytes: &[u8], unit_count: u64) -> Result<Directory, CodecError> {
    let mut input = Reader::new(bytes);
    let mut directory = Directory::new();
    for _ in 0..input.count("topics", 8)? {
        let topic: Arc<str> = Arc::from(input.text("topic", NAME_BYTES_MAX)?);
        for _ in 0..input.count("queues", 16)? {
            let (queue_id, first, count) = (input.u32("queue id")?, input.i64("first")?, input.u32("count")?);
            directory.push(Entry { topic: topic.clone(), queue_id, first, count });
        }
    }
    input.finish("directory")?;
    let sum: u64 = directory.iter().map(|entry| u64::from(entry.count)).sum();
    if sum != unit_count {
        return Err(input.error("unit count", CodecReason::OverLimit { value: sum, limit: unit_count }));
    }
    Ok(directory)
}
