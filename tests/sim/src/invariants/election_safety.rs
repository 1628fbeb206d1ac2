//! Election Safety (Raft, figure 3, section 5.2): at most one leader can be elected in a given term. A node's own term never
//! goes back while it runs.

use std::collections::BTreeMap;

/// Who led which term.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
    terms: BTreeMap<usize, u64>,
}

impl ElectionSafety {
    /// The host's process starts, so its term may be what its disk says.
    pub fn started(&mut self, host: usize) {
        self.terms.remove(&host);
    }

    /// A host says its term.
    ///
    /// # Errors
    /// It was in a higher one before.
    pub fn in_term(&mut self, host: usize, term: u64) -> Result<(), String> {
        let before = self.terms.insert(host, term).unwrap_or(0);
        if before > term {
            return Err(format!("election safety: n{host} went back from term {before} to {term}"));
        }
        Ok(())
    }

    /// A node says that it leads. True when that is news.
    ///
    /// # Errors
    /// Another one led that term.
    pub fn leads(&mut self, node: u64, term: u64) -> Result<bool, String> {
        match self.leaders.insert(term, node) {
            None => Ok(true),
            Some(known) if known == node => Ok(false),
            Some(known) => {
                Err(format!("election safety: term {term} is led by node {known:x} and by node {node:x}"))
            }
        }
    }

    /// How many terms had a leader.
    pub fn count(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_a_term_and_a_term_that_goes_back_are_seen() {
        let mut elections = ElectionSafety::default();
        assert_eq!(elections.leads(7, 1), Ok(true));
        assert_eq!(elections.leads(7, 1), Ok(false));
        assert_eq!(elections.leads(8, 2), Ok(true));
        assert!(elections.leads(8, 1).is_err());
        assert!(elections.in_term(0, 3).is_ok() && elections.in_term(0, 2).is_err());
        elections.started(0);
        assert!(elections.in_term(0, 2).is_ok());
    }
}
