//! A leader that can't wait for answers has another member lead (LOG-RULES.md 27).
//!
//! It has the library's own request for a transfer made, but not by the library: there the sender becomes a leader that for the
//! rest of its term neither writes nor sends heartbeats nor campaigns (openraft 0.10.0-alpha.37, `Leader::transfer_to`), so a
//! group in which nobody else can be elected would have nobody for ever; and the target has to hold all of the leader's log, of
//! which a part may not have been sent when the window was full. Here the message asks for what has been sent, and this leader
//! stays what it was until it steps down.
//!
//! Who gets the message lets the target be elected although the leader was heard just now, so the lease must have been given up
//! before ([`super::watcher::Boards::give_up_lease`]). It may come late or again: it counts only while its receiver is still in
//! the leader's term, and an election in the term behind it that others have won takes it no further.

use std::cmp::Reverse;

use openraft::raft::VoteRequest;
use tracing::warn;

use super::api::Machine;
use super::group::RaftOf;
use super::network::client::Links;
use super::network::wire::{Control, transfer_request};
use super::types::{RaftLogId, RaftVote, raft_log_id};
use crate::types::LogId;

/// The member that should lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heir {
    pub(crate) node: u64,
    /// It campaigns as soon as it has flushed this entry, the last that it can have of the leader's.
    pub(crate) end: Option<RaftLogId>,
}

impl Heir {
    /// The one with the longest log, and among these the one that was heard last.
    pub(crate) fn of(candidates: impl Iterator<Item = (Heir, u32)>) -> Option<Heir> {
        candidates
            .max_by_key(|(heir, rounds_without)| (heir.end, Reverse(*rounds_without)))
            .map(|(heir, _)| heir)
    }
}

/// Tells everybody that `heir` should lead instead of `own`, the leader of `term`. Waits for no answer.
pub(crate) fn tell(links: &Links, everybody: impl Iterator<Item = u64>, own: u64, term: u64, heir: Heir) {
    let vote = RaftVote::new_committed(term, own);
    let body = transfer_request(&vote, heir.end.as_ref(), heir.node);
    for node in everybody {
        links.link(node).tell(Control::HandOn, body.clone());
    }
}

/// Ends the leadership of `term` here: this node votes for `heir` in the next one, asked or not. A vote binds only the voter, and
/// when the heir does not use it this node can campaign like all others.
pub(crate) async fn step_down<M: Machine>(raft: &RaftOf<M>, term: u64, heir: u64) {
    // Votes are refused to shorter logs than the own one; here nobody has asked.
    let any_length = raft_log_id(LogId { term, index: u64::MAX });
    let mut request = VoteRequest::new(RaftVote::new(term + 1, heir), Some(any_length));
    request.leadership_transfer = true;
    if let Err(error) = raft.vote(request).await {
        warn!(term, %error, "the leader could not step down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_log_is_chosen_and_among_equal_ones_who_was_heard_last() {
        let candidate = |node, end: Option<(u64, u64)>, rounds_without| {
            let end = end.map(|(term, index)| raft_log_id(LogId { term, index }));
            (Heir { node, end }, rounds_without)
        };
        let chosen = |candidates: &[(Heir, u32)]| Heir::of(candidates.iter().copied()).map(|heir| heir.node);
        let (longer, shorter) = (Some((3, 9)), Some((3, 8)));
        assert_eq!(chosen(&[candidate(1, shorter, 0), candidate(2, longer, 7)]), Some(2));
        assert_eq!(
            chosen(&[candidate(1, longer, 7), candidate(2, longer, 1), candidate(3, None, 0)]),
            Some(2)
        );
        assert_eq!(
            chosen(&[candidate(1, Some((2, 50)), 0), candidate(2, shorter, 9)]),
            Some(2),
            "a later term"
        );
        assert_eq!(chosen(&[]), None);
    }
}
