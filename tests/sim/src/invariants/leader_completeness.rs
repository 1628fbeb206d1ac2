//! Leader Completeness (Raft, figure 3, section 5.4): if a log entry is committed in a given term, then that entry will be
//! present in the logs of the leaders for all higher-numbered terms.

use flotilla_raft_store::LogId;

use super::state_machine_safety::Committed;

/// Looks at the log of a node that has just become leader of `term`; `id_at` gives what it has at an index, `purged` the last
/// index that it let go. With the chain of records it is enough to look at the last committed entry.
///
/// # Errors
/// What is missing.
pub fn check(
    committed: &Committed,
    term: u64,
    purged: Option<u64>,
    id_at: impl Fn(u64) -> Option<LogId>,
) -> Result<(), String> {
    let Some((index, entry_term)) = committed.last_before_term(term) else { return Ok(()) };
    if purged.is_some_and(|purged| purged >= index) {
        return Ok(());
    }
    match id_at(index) {
        Some(id) if id.term == entry_term => Ok(()),
        found => Err(format!(
            "leader completeness: entry {entry_term}.{index} is committed, the leader of term {term} has {found:?}"
        )),
    }
}
