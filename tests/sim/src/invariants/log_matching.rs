//! Log Matching (Raft, figure 3, section 5.3): if two logs contain an entry with the same index and term, then the logs are
//! identical in all entries up through the given index.
//!
//! Records carry the id and the checksum of the one before, so it is enough that no two records with the same index and term
//! differ in their own checksum, which covers those.

use std::collections::{BTreeMap, HashMap};

use flotilla_raft_store::{LogReader, Record};

/// Bytes read at a time.
const BYTES_MAX: usize = 1 << 20;

/// Records seen in any log.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// Checksum of a record by index and term.
    records: HashMap<(u64, u64), u32>,
    /// Where the next look at a host's log begins, with the term of the entry before.
    next: BTreeMap<usize, (u64, u64)>,
}

impl LogMatching {
    /// The host's log may be another one now.
    pub fn started(&mut self, host: usize) {
        self.next.remove(&host);
    }

    /// Looks at what a host's log has got since the last time. `committed` is where a truncation can't reach.
    ///
    /// # Errors
    /// Two records with the same name, or a log that can't be read.
    pub fn look(&mut self, host: usize, log: &LogReader, committed: u64) -> Result<(), String> {
        let Some(last) = log.last() else { return Ok(()) };
        let (mut next, term) = self.next.get(&host).copied().unwrap_or((0, 0));
        // Cut and grown again since: what may have changed is looked at once more.
        if next > 0 && log.log_id(next - 1).is_none_or(|id| id.term != term) {
            next = committed.min(last.index);
        }
        next = next.max(log.first_index());
        while next <= last.index {
            let records = match log.entries(next, last.index + 1, BYTES_MAX) {
                Ok(records) => records,
                // Purged in between.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                Err(error) => {
                    return Err(format!("log matching: n{host}'s log can't be read at {next}: {error}"));
                }
            };
            let Some(end) = records.last().map(|record| record.index() + 1) else { break };
            for record in &records {
                self.saw(host, record)?;
            }
            self.next.insert(host, (end, records[records.len() - 1].term()));
            next = end;
        }
        Ok(())
    }

    /// A record in somebody's log.
    ///
    /// # Errors
    /// Another one with the same index and term was seen.
    pub fn saw(&mut self, host: usize, record: &Record) -> Result<(), String> {
        let (index, term, crc) = (record.index(), record.term(), record.crc());
        match self.records.insert((index, term), crc) {
            Some(known) if known != crc => {
                Err(format!("log matching: n{host} has another record {term}.{index} than was seen before"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
