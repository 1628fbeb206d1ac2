//! A key file: the keys of a stretch of the log within one segment, sorted. Little endian.
//!
//! | offset | size | field          | meaning                                                            |
//! |-------:|-----:|----------------|--------------------------------------------------------------------|
//! |      0 |    8 | magic          | `FLTKEYS1`                                                         |
//! |      8 |    4 | version        | 1                                                                  |
//! |     12 |    4 | crc            | CRC-32C of byte 16 up to the keys                                  |
//! |     16 |    8 | segment base   |                                                                    |
//! |     24 |    8 | first index    | first entry of the stretch; the file's name                        |
//! |     32 |    8 | last index     | last entry of the stretch                                          |
//! |     40 |    8 | last term      | of that entry                                                      |
//! |     48 |    8 | first time     | store time of the first message with a key, ms                     |
//! |     56 |    8 | last time      | store time of the newest                                           |
//! |     64 |    8 | last position  | of the newest                                                      |
//! |     72 |    4 | key count      | 0: the three fields before mean nothing                            |
//! |     76 |    4 | spare          | 0                                                                  |
//! |     80 | 12·n | blocks         | for each 512 keys: hash u64 of the first, CRC-32C u32 of them all  |
//! |        | 12·m | keys           | hash u64, position u32 relative to the base; by hash, then position |
//!
//! The last entry's index and term tell whether the file is about this history. The blocks' table stays in memory; a look-up reads
//! the blocks that may hold its hash and checks them, so a flipped bit costs a rebuild and never a message.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flotilla_core::codec::{Reader, put_i64, put_u32, put_u64};

use super::super::file::crc_of;
use super::super::queue::rebuilding;
use super::tail::{Newest, Tail};

const MAGIC: &[u8; 8] = b"FLTKEYS1";
const VERSION: u32 = 1;
const HEADER_SIZE: usize = 80;
const CRC_FROM: usize = 16;
const KEY_SIZE: usize = 12;
const BLOCK_KEYS: usize = 512;
const BLOCK_SIZE: usize = BLOCK_KEYS * KEY_SIZE;
const BLOCK_ENTRY_SIZE: usize = 12;

/// Why a file can't serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a key file of this version")]
    Form,
    #[error("size is {found}, its header says {expected}")]
    Size { expected: u64, found: u64 },
    #[error("checksum differs")]
    Checksum,
}

/// An open key file whose head was checked.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) base: u64,
    pub(super) first_index: u64,
    pub(super) last_index: u64,
    pub(super) last_term: u64,
    pub(super) first_time: i64,
    /// Absent in a file without keys.
    pub(super) newest: Option<Newest>,
    key_count: u64,
    file: File,
    blocks: Box<[Block]>,
    damaged: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    first: u64,
    crc: u32,
}

impl Part {
    /// Opens a file and checks everything but the keys.
    pub(super) fn open(path: &Path) -> Result<Self, PartError> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found < HEADER_SIZE as u64 {
            return Err(PartError::Size { expected: HEADER_SIZE as u64, found });
        }
        let mut header = [0; HEADER_SIZE];
        file.read_exact_at(&mut header, 0)?;
        let mut input = Reader::new(&header);
        let mut head = || {
            let magic = input.take("magic", MAGIC.len())? == MAGIC;
            let (version, crc) = (input.u32("version")?, input.u32("crc")?);
            let mut numbers = [0; 4];
            for number in &mut numbers {
                *number = input.u64("number")?;
            }
            let times = [input.i64("first time")?, input.i64("last time")?];
            let (position, count) = (input.u64("last position")?, input.u32("key count")?);
            Ok::<_, flotilla_core::CodecError>((
                magic && version == VERSION,
                crc,
                numbers,
                times,
                position,
                count,
            ))
        };
        let Ok((true, crc, [base, first_index, last_index, last_term], [first_time, time], position, count)) =
            head()
        else {
            return Err(PartError::Form);
        };
        let key_count = u64::from(count);
        let block_count = key_count.div_ceil(BLOCK_KEYS as u64);
        let keys_at = HEADER_SIZE as u64 + block_count * BLOCK_ENTRY_SIZE as u64;
        let expected = keys_at + key_count * KEY_SIZE as u64;
        if found != expected {
            return Err(PartError::Size { expected, found });
        }
        let mut table = vec![0; keys_at as usize - HEADER_SIZE];
        file.read_exact_at(&mut table, HEADER_SIZE as u64)?;
        if crc != crc_of(&[&header[CRC_FROM..], &table]) {
            return Err(PartError::Checksum);
        }
        let blocks = table.as_chunks::<BLOCK_ENTRY_SIZE>().0.iter().map(|entry| {
            let (first, crc) = number_and_rest(entry);
            Block { first, crc }
        });
        let newest = (count > 0).then_some(Newest { time, position });
        let (blocks, damaged) = (blocks.collect(), AtomicBool::new(false));
        Ok(Self {
            base,
            first_index,
            last_index,
            last_term,
            first_time,
            newest,
            key_count,
            file,
            blocks,
            damaged,
        })
    }

    /// Writes a file with all keys of a tail, not empty of entries. What was written is not synced.
    pub(super) fn write(path: &Path, tail: &Tail, last_term: u64) -> io::Result<()> {
        let sorted = tail.sorted();
        let mut keys = Vec::with_capacity(sorted.len() * KEY_SIZE);
        for (hash, offset) in sorted {
            put_u64(&mut keys, hash);
            put_u32(&mut keys, offset);
        }
        let newest = tail.newest.unwrap_or_default();
        let mut head = Vec::with_capacity(HEADER_SIZE + keys.len() / BLOCK_SIZE * BLOCK_ENTRY_SIZE + 64);
        head.extend_from_slice(MAGIC);
        put_u32(&mut head, VERSION);
        put_u32(&mut head, 0);
        for number in [tail.base, tail.first_index, tail.next_index - 1, last_term] {
            put_u64(&mut head, number);
        }
        put_i64(&mut head, tail.first_time);
        put_i64(&mut head, newest.time);
        put_u64(&mut head, newest.position);
        put_u32(&mut head, u32::try_from(tail.len()).expect("a segment holds less than 2^32 keys"));
        put_u32(&mut head, 0);
        assert_eq!(head.len(), HEADER_SIZE, "the header's size is fixed");
        for block in keys.chunks(BLOCK_SIZE) {
            head.extend_from_slice(&block[..8]);
            put_u32(&mut head, crc_of(&[block]));
        }
        let crc = crc_of(&[&head[CRC_FROM..]]);
        head[12..16].copy_from_slice(&crc.to_le_bytes());
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
        out.write_all(&head)?;
        out.write_all(&keys)?;
        out.flush()
    }

    /// Appends the positions of messages that may have the key, oldest first. Reads the file.
    ///
    /// # Errors
    /// `WouldBlock` when a block is damaged; the file is then marked and the keeper rebuilds it once it is woken.
    pub(super) fn positions(&self, hash: u64, found: &mut Vec<u64>) -> io::Result<()> {
        if self.is_damaged() {
            return Err(rebuilding("a key file is damaged and is being rebuilt"));
        }
        let end = self.blocks.partition_point(|block| block.first <= hash);
        // Equal hashes can begin in the middle of the block before the first one that begins with them.
        let start = self.blocks[..end].partition_point(|block| block.first < hash).saturating_sub(1);
        if start == end {
            return Ok(());
        }
        let first = start * BLOCK_KEYS;
        let last = (end * BLOCK_KEYS).min(self.key_count as usize);
        let mut bytes = vec![0; (last - first) * KEY_SIZE];
        let keys_at = HEADER_SIZE + self.blocks.len() * BLOCK_ENTRY_SIZE;
        // A file that has become shorter is damage like any other.
        let whole = match self.file.read_exact_at(&mut bytes, (keys_at + first * KEY_SIZE) as u64) {
            Ok(()) => {
                let mut blocks = bytes.chunks(BLOCK_SIZE).zip(&self.blocks[start..end]);
                blocks.all(|(bytes, block)| crc_of(&[bytes]) == block.crc)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        };
        if !whole {
            self.damaged.store(true, Ordering::Release);
            return Err(rebuilding("a key file is damaged and is being rebuilt"));
        }
        let keys = bytes.as_chunks::<KEY_SIZE>().0;
        let from = keys.partition_point(|key| number_and_rest(key).0 < hash);
        let equal = keys[from..].iter().map(number_and_rest).take_while(|(known, _)| *known == hash);
        found.extend(equal.map(|(_, offset)| self.base + u64::from(offset)));
        Ok(())
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

fn number_and_rest(bytes: &[u8; KEY_SIZE]) -> (u64, u32) {
    let (number, rest) = bytes.split_first_chunk().expect("twelve bytes");
    let (rest, _) = rest.split_first_chunk().expect("four bytes are left");
    (u64::from_le_bytes(*number), u32::from_le_bytes(*rest))
}
