//! Flotilla's log as it lies on disk, read by its documentation (docs/storage.md) and by nothing of the product: to compare
//! replicas byte by byte, and to leave behind a killed node's last record what a crash in the middle of a write would.
//!
//! A segment `store/log/<position>` has a header page and then records back to back; records are at the same positions on all
//! replicas, whatever the segments.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rand::Rng;
use rand::rngs::SmallRng;

const SEGMENT_HEADER: usize = 4096;
const RECORD_HEADER: usize = 72;
const MAGIC: &[u8; 4] = b"FLOG";
const PAYLOAD_MAX: usize = 64 << 20;
/// Bytes of a write that a crash left half done, at most.
const TORN_MAX: usize = 8192;

/// The records of a replica.
#[derive(Debug)]
pub struct Log {
    /// Records of each segment, without its header and without what follows the last record, by position.
    segments: BTreeMap<u64, Vec<u8>>,
    last_file: PathBuf,
    record_count: u64,
}

impl Log {
    /// Reads the log below a data folder.
    ///
    /// # Errors
    /// There is none, or a sealed segment does not end where the next one begins.
    pub fn read(data: &Path) -> anyhow::Result<Log> {
        let folder = data.join("store/log");
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Others are spares.
            if let Ok(base) = name.parse::<u64>() {
                files.insert(base, path);
            }
        }
        let last_file = files.values().next_back().context("no segment")?.clone();
        let mut log = Log { segments: BTreeMap::new(), last_file, record_count: 0 };
        for (base, path) in &files {
            let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            bytes.drain(..SEGMENT_HEADER.min(bytes.len()));
            let (end, count) = end_of_records(&bytes, *base);
            bytes.truncate(end);
            log.record_count += count;
            if let Some((before, known)) = log.segments.last_key_value() {
                let ends = before + known.len() as u64;
                if ends != *base {
                    bail!("the segment at {before} ends at {ends}, the next one begins at {base}");
                }
            }
            log.segments.insert(*base, bytes);
        }
        Ok(log)
    }

    /// Position of the first record.
    fn start(&self) -> u64 {
        self.segments.keys().next().copied().unwrap_or(0)
    }

    /// Position behind the last one.
    fn end(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(base, bytes)| base + bytes.len() as u64)
    }

    /// Bytes from a position on to the end of its segment.
    fn from(&self, position: u64) -> &[u8] {
        self.segments
            .range(..=position)
            .next_back()
            .and_then(|(base, bytes)| bytes.get(usize::try_from(position - base).ok()?..))
            .unwrap_or_default()
    }

    /// Writes behind the last record what a crash in the middle of the next write may leave there: nothing acknowledged or
    /// synced lies behind it, so whatever is written there must not matter. Gives what was done.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn tear(&self, random: &mut SmallRng) -> anyhow::Result<String> {
        let (base, records) = self.segments.last_key_value().context("no segment")?;
        let at = SEGMENT_HEADER + records.len();
        let file = File::options().write(true).open(&self.last_file)?;
        let room = usize::try_from(file.metadata()?.len())?.saturating_sub(at);
        let size = random.random_range(1..=TORN_MAX).min(room);
        let mut bytes = vec![0; size];
        let what = match random.random_range(0..3) {
            // A sector that never made it, with another one behind that did.
            0 => {
                let from = size / 2;
                random.fill(&mut bytes[from..]);
                "a hole and garbage"
            }
            1 => {
                random.fill(&mut bytes[..]);
                "garbage"
            }
            // The beginning of a record that is well formed, of the right position, and not complete.
            _ => {
                random.fill(&mut bytes[..]);
                let position = base + records.len() as u64;
                let payload = u32::try_from(size)?;
                for (offset, field) in [
                    (0, &MAGIC[..]),
                    (4, &[1, 1, 0, 0][..]),
                    (8, &payload.to_le_bytes()[..]),
                    (32, &position.to_le_bytes()[..]),
                ] {
                    if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
                        place.copy_from_slice(field);
                    }
                }
                "the beginning of a record"
            }
        };
        file.write_all_at(&bytes, at as u64)?;
        Ok(format!("{what}, {size} bytes behind position {}", self.end()))
    }
}

/// Length of the records at the beginning of a segment's bytes, and their number.
fn end_of_records(bytes: &[u8], base: u64) -> (usize, u64) {
    let (mut at, mut count) = (0, 0);
    while let Some(header) = bytes.get(at..at + RECORD_HEADER) {
        let number = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().unwrap_or_default());
        let position = u64::from_le_bytes(header[32..40].try_into().unwrap_or_default());
        let payload = number(8) as usize;
        let end = at + RECORD_HEADER + payload;
        if &header[..4] != MAGIC || position != base + at as u64 || payload > PAYLOAD_MAX {
            break;
        }
        // Half a record may look like one up to here.
        if bytes.get(at..end).is_none_or(|record| crc([&record[..12], &record[16..]]) != number(12)) {
            break;
        }
        (at, count) = (end, count + 1);
    }
    (at, count)
}

/// CRC-32C of all parts together.
fn crc(parts: [&[u8]; 2]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC_TABLE[usize::from((crc ^ u32::from(*byte)) as u8)] ^ (crc >> 8);
    !parts.into_iter().flatten().fold(u32::MAX, step)
}

/// CRC-32C of each byte, reflected.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { 0x82F6_3B78 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Claims that all logs are equal where they overlap, and end at the same position.
///
/// # Errors
/// The first difference.
pub fn compare(logs: &[Log]) -> Result<String, String> {
    let start = logs.iter().map(Log::start).max().unwrap_or(0);
    let end = logs.iter().map(Log::end).min().unwrap_or(0);
    let Some((first, others)) = logs.split_first() else { return Ok("no logs".to_owned()) };
    for (number, other) in others.iter().enumerate() {
        let mut position = start;
        while position < end {
            let left = usize::try_from(end - position).unwrap_or(usize::MAX);
            let (one, two) = (first.from(position), other.from(position));
            let size = one.len().min(two.len()).min(left);
            if size == 0 {
                return Err(format!("n0 or n{} has nothing at position {position}", number + 1));
            }
            if let Some(at) = one[..size].iter().zip(&two[..size]).position(|(one, two)| one != two) {
                let at = position + at as u64;
                return Err(format!("n0 and n{} differ at position {at}", number + 1));
            }
            position += size as u64;
        }
    }
    let ends: Vec<u64> = logs.iter().map(Log::end).collect();
    if ends.iter().any(|one| *one != ends[0]) {
        return Err(format!("equal up to {end}, but the logs end at {ends:?}"));
    }
    Ok(format!("{} records, equal from position {start} to {end}", first.record_count))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn record(position: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; RECORD_HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes[32..40].copy_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(payload);
        let crc = crc([&bytes[..12], &bytes[16..]]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn the_crc_is_that_of_iscsi() {
        assert_eq!(crc([b"1234", b"56789"]), 0xE306_9283);
    }

    /// Segments that begin at these records.
    fn write(folder: &Path, payloads: &[&[u8]], sealed_behind: &[usize]) {
        let log = folder.join("store/log");
        std::fs::create_dir_all(&log).unwrap();
        let (mut position, mut base, mut bytes) = (0, 0, vec![0; SEGMENT_HEADER]);
        for (number, payload) in payloads.iter().enumerate() {
            let record = record(position, payload);
            position += record.len() as u64;
            bytes.extend_from_slice(&record);
            if sealed_behind.contains(&number) {
                std::fs::write(log.join(format!("{base:020}")), &bytes).unwrap();
                (base, bytes) = (position, vec![0; SEGMENT_HEADER]);
            }
        }
        bytes.extend_from_slice(&[0; 16 * 1024]);
        std::fs::write(log.join(format!("{base:020}")), &bytes).unwrap();
        std::fs::write(log.join("spare-1"), [0; 8]).unwrap();
    }

    fn read(folder: &tempfile::TempDir) -> Log {
        Log::read(folder.path()).unwrap()
    }

    #[test]
    fn a_byte_or_a_record_less_is_found_whatever_the_segments() {
        let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        write(folders[0].path(), &[b"one", b"two", b"three"], &[0]);
        write(folders[1].path(), &[b"one", b"two", b"three"], &[1]);
        write(folders[2].path(), &[b"one", b"twO", b"three"], &[]);
        write(folders[3].path(), &[b"one", b"two"], &[]);
        assert!(compare(&[read(&folders[0]), read(&folders[1])]).unwrap().starts_with("3 records"));
        assert!(compare(&[read(&folders[0]), read(&folders[2])]).unwrap_err().contains("differ at position"));
        assert!(compare(&[read(&folders[0]), read(&folders[3])]).unwrap_err().contains("end at"));
    }

    #[test]
    fn a_torn_tail_touches_no_record() {
        for seed in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &[b"one", b"two"], &[0]);
            let before = read(&folder);
            before.tear(&mut SmallRng::seed_from_u64(seed)).unwrap();
            compare(&[before, read(&folder)]).unwrap();
        }
    }
}
