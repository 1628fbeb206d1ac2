//! Votes are kept (Raft, figure 2: `votedFor` and `currentTerm` are on stable storage before a server responds to RPCs): a
//! node votes once a term, and after any stop its disk knows of every vote that has left it.

use std::collections::BTreeMap;

use flotilla_raft_store::Vote;

/// Votes that left a node.
#[derive(Debug, Default)]
pub struct Votes {
    /// By host and term.
    granted: BTreeMap<(usize, u64), u64>,
}

impl Votes {
    /// A vote leaves a host.
    ///
    /// # Errors
    /// It has voted for another one in this term.
    pub fn granted(&mut self, host: usize, term: u64, candidate: u64) -> Result<(), String> {
        match self.granted.insert((host, term), candidate) {
            Some(known) if known != candidate => Err(format!(
                "vote durability: n{host} votes for {candidate:x} in term {term} after voting for {known:x}"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// True while none was heard.
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty()
    }

    /// A host's disk after a stop. The leader that others have elected in the term may stand there in place of the candidate: the
    /// host has joined it since, and votes for nobody else in the term.
    ///
    /// # Errors
    /// It has forgotten a vote.
    pub fn recovered(&self, host: usize, vote: Option<Vote>) -> Result<(), String> {
        let newest = self.granted.range((host, 0)..=(host, u64::MAX)).next_back();
        let Some((&(_, term), &candidate)) = newest else { return Ok(()) };
        match vote {
            Some(vote) if vote.term > term => Ok(()),
            Some(vote) if vote.term == term && (vote.committed || vote.node == candidate) => Ok(()),
            found => Err(format!(
                "vote durability: n{host} voted for {candidate:x} in term {term}, its disk says {found:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_vote_and_a_forgotten_one_are_seen() {
        let mut votes = Votes::default();
        assert!(votes.granted(0, 4, 7).is_ok() && votes.granted(0, 4, 7).is_ok());
        assert!(votes.granted(0, 4, 8).is_err());
        let vote = |term, node| Some(Vote { term, node, committed: false });
        let mut votes = Votes::default();
        assert!(votes.granted(1, 4, 7).is_ok());
        assert!(votes.recovered(1, vote(4, 7)).is_ok() && votes.recovered(1, vote(5, 2)).is_ok());
        assert!(votes.recovered(1, vote(4, 2)).is_err() && votes.recovered(1, vote(3, 7)).is_err());
        let elected = Vote { term: 4, node: 2, committed: true };
        assert!(votes.recovered(1, Some(elected)).is_ok(), "it follows the one that others have elected");
        assert!(votes.recovered(1, None).is_err());
        assert!(votes.recovered(0, None).is_ok(), "another host's votes");
    }
}
