//! Everything that is known of a run, and the invariants that look at it.
//!
//! The judge sees each entry that any replica applies, each promise that leaves a node, each answer to a client, and now and
//! then the logs and disks themselves. The first violation ends the run.

use std::sync::Arc;

use flotilla_core::Tables;
use flotilla_raft_store::raft::Applied;
use parking_lot::Mutex;

use crate::history::History;
use crate::invariants::consumer_lists::ConsumerLists;
use crate::invariants::consumer_offsets::ConsumerOffsets;
use crate::invariants::election_safety::ElectionSafety;
use crate::invariants::follower_durability::Acknowledgements;
use crate::invariants::leader_append_only::LeaderAppendOnly;
use crate::invariants::log_matching::LogMatching;
use crate::invariants::queue_offsets::QueueOffsets;
use crate::invariants::route_leader::RouteLeader;
use crate::invariants::route_terms::RouteTerms;
use crate::invariants::state_machine_safety::Committed;
use crate::invariants::tables_equal::Reference;
use crate::invariants::vote_durability::Votes;
use crate::membership::WATCHED;
use crate::{say, surface};

/// A handle to the one judge of a run.
pub type SharedJudge = Arc<Mutex<Judge>>;

/// All that is known.
#[derive(Default)]
pub struct Judge {
    /// The first violation.
    pub violation: Option<String>,
    /// The committed log.
    pub committed: Committed,
    /// What the committed log makes of the tables.
    pub reference: Reference,
    /// Numbers that messages have.
    pub queue_offsets: QueueOffsets,
    /// What consumers have committed.
    pub consumer_offsets: ConsumerOffsets,
    /// Whom leaders have dropped from consumer groups.
    pub consumer_lists: ConsumerLists,
    /// What clients were told.
    pub history: History,
    /// Who led when.
    pub elections: ElectionSafety,
    /// Logs of leaders.
    pub leaders: LeaderAppendOnly,
    /// Records seen in any log.
    pub logs: LogMatching,
    /// Votes that left a node.
    pub votes: Votes,
    /// Acknowledgements of followers.
    pub acknowledgements: Acknowledgements,
    /// Leaders that name servers have entered.
    pub route_terms: RouteTerms,
    /// Routes that they give.
    pub route_leader: RouteLeader,
}

impl Judge {
    /// Takes note of what an invariant has to say.
    pub fn check(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict
            && self.violation.is_none()
        {
            say!("VIOLATION {what}");
            self.violation = Some(what);
        }
    }

    /// A replica has applied an entry and its tables stand behind it.
    pub fn applied(&mut self, host: usize, entry: &Applied<'_>, tables: &Tables) {
        match self.committed.applied(host, entry) {
            Ok(false) => {}
            Ok(true) => {
                let taken = self.reference.extend(entry);
                let verdict = taken.and_then(|effects| {
                    self.queue_offsets.appended(entry, &effects)?;
                    self.consumer_offsets.applied(entry)?;
                    self.consumer_lists.applied(entry, WATCHED, surface::now_ms())?;
                    self.history.committed(entry)
                });
                self.check(verdict);
            }
            Err(what) => self.check(Err(what)),
        }
        let verdict = self.reference.compare(host, tables);
        self.check(verdict);
    }

    /// The end of a run: whoever was to hear promises has heard some, where there must have been some.
    ///
    /// # Errors
    /// Nothing was heard, so nothing was judged by it.
    pub fn has_heard(&self) -> Result<(), String> {
        if self.history.count("acked") > 0 && self.acknowledgements.is_empty() {
            return Err(
                "overhearing: clients were acknowledged and no follower's acknowledgement was heard".into()
            );
        }
        if self.elections.count() > 1 && self.votes.is_empty() {
            return Err("overhearing: leaders were elected and no vote was heard".into());
        }
        if self.elections.count() > 0 && self.route_terms.entries() == 0 {
            return Err("route terms: leaders were elected and no name server has entered one".into());
        }
        Ok(())
    }

    /// A replica's tables were replaced by a checkpoint's.
    pub fn installed(&mut self, host: usize, tables: &Tables, blank: bool) {
        self.committed.installed(host, (!blank).then(|| tables.applied().index));
        if !blank {
            let verdict = self.reference.compare_whole(host, tables);
            self.check(verdict);
        }
    }
}
