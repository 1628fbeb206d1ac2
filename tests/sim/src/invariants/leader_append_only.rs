//! Leader Append-Only (Raft, figure 3, section 5.3): a leader never overwrites or deletes entries in its log; it only appends
//! new entries.

use std::collections::BTreeMap;

use flotilla_raft_store::{LogId, LogReader};

/// The last entry of each leader when it was looked at last.
#[derive(Debug, Default)]
pub struct LeaderAppendOnly {
    last: BTreeMap<usize, (u64, LogId)>,
}

impl LeaderAppendOnly {
    /// The host does not lead, or no more.
    pub fn follows(&mut self, host: usize) {
        self.last.remove(&host);
    }

    /// The host leads `term`.
    ///
    /// # Errors
    /// An entry that it had in this term is gone.
    pub fn leads(&mut self, host: usize, term: u64, log: &LogReader) -> Result<(), String> {
        let Some(now) = log.last() else { return Ok(()) };
        let before = self.last.insert(host, (term, now));
        match before {
            Some((before_term, before)) if before_term == term => {
                let purged = log.purged().is_some_and(|purged| purged.index >= before.index);
                if !purged && log.log_id(before.index) != Some(before) {
                    return Err(format!(
                        "leader append-only: n{host} leads term {term}, had {before} and has {:?} there",
                        log.log_id(before.index)
                    ));
                }
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}
