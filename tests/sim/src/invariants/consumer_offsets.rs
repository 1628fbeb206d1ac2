//! No committed consumer offset goes back (FAILOVER rule 2: never rewind a consumer). The consumers of a run commit rising
//! offsets, each after the answer to the one before, so along the committed log a queue's offsets only rise.

use std::collections::HashMap;
use std::sync::Arc;

use flotilla_core::{Command, Payload, codec::Reader};
use flotilla_raft_store::raft::Applied;
use flotilla_raft_store::types::EntryKind;

/// Newest offset of each group and queue.
#[derive(Debug, Default)]
pub struct ConsumerOffsets {
    newest: HashMap<(Arc<str>, Arc<str>, u32), i64>,
}

impl ConsumerOffsets {
    /// Commits of the next committed entry.
    ///
    /// # Errors
    /// One that is not above those before.
    pub fn applied(&mut self, entry: &Applied<'_>) -> Result<(), String> {
        if entry.kind != EntryKind::Application {
            return Ok(());
        }
        let payload = Payload::parse(entry.payload).map_err(|error| error.to_string())?;
        let mut commands = Reader::new(payload.commands);
        while !commands.is_empty() {
            let command = Command::decode_framed(&mut commands).map_err(|error| error.to_string())?;
            let Command::CommitOffsets(commits) = command else { continue };
            for commit in commits {
                let key = (commit.group, commit.topic, commit.queue_id);
                let what = format!("{} of {} queue {}", key.0, key.1, key.2);
                let newest = self.newest.entry(key).or_insert(-1);
                if commit.offset <= *newest {
                    return Err(format!(
                        "consumer offsets: entry {} takes {what} from {newest} to {}",
                        entry.index, commit.offset
                    ));
                }
                *newest = commit.offset;
            }
        }
        Ok(())
    }
}
