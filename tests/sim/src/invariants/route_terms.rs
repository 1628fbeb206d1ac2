//! A route never goes back to a deposed leader (FAILOVER rules 3 to 5 in docs/failover-rules.md; invariant 6 of `ARCHITECTURE.md`):
//! within its life a name server never enters as broker 0 a leader of a lower term than one before, and whom it enters is whom that
//! term has elected. A stand-in is no leader and not looked at here.

use std::collections::BTreeMap;

/// The entry of broker 0 at a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The host that it leads to.
    pub host: usize,
    /// `stateVersion` of the host's registration: 2 · (term in which elected) + 1.
    pub state_version: i64,
}

/// What name servers have shown.
#[derive(Debug, Default)]
pub struct RouteTerms {
    elected: BTreeMap<u64, usize>,
    /// The newest leader that each has entered in its life.
    shown: BTreeMap<usize, Entered>,
    entries: u64,
}

impl RouteTerms {
    /// A host leads a term, as the group has elected it.
    pub fn elected(&mut self, term: u64, host: usize) {
        self.elected.insert(term, host);
    }

    /// A name server starts and knows nothing.
    pub fn started(&mut self, place: usize) {
        self.shown.remove(&place);
    }

    /// A name server enters a leader, or has it entered still.
    ///
    /// # Errors
    /// It showed a later one before, or the term has elected somebody else.
    pub fn shows(&mut self, place: usize, entered: Entered) -> Result<(), String> {
        let before = self.shown.insert(place, entered);
        if before == Some(entered) {
            return Ok(());
        }
        self.entries += 1;
        let Entered { host, state_version } = entered;
        let what = format!(
            "route terms: name server n{place} enters n{host} as broker 0 with version {state_version}"
        );
        if let Some(before) = before.filter(|before| before.state_version > state_version) {
            return Err(format!("{what}, after n{} with {}", before.host, before.state_version));
        }
        let term =
            u64::try_from(state_version).ok().filter(|version| version % 2 == 1).map(|version| version / 2);
        match term.and_then(|term| self.elected.get(&term)) {
            Some(elected) if *elected == host => Ok(()),
            elected => Err(format!("{what}, and the term's leader is {elected:?}")),
        }
    }

    /// How often another leader, or the same one with another term, was entered.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(host: usize, term: i64) -> Entered {
        Entered { host, state_version: 2 * term + 1 }
    }

    #[test]
    fn a_lower_term_is_seen_within_a_life_and_a_term_has_one_leader() {
        let mut terms = RouteTerms::default();
        terms.elected(3, 0);
        terms.elected(4, 1);
        assert!(terms.shows(7, leader(0, 3)).is_ok() && terms.shows(7, leader(1, 4)).is_ok());
        assert!(terms.shows(8, leader(0, 3)).is_ok(), "another one is behind");
        assert!(terms.shows(7, leader(0, 3)).is_err(), "it showed term 4 before");
        terms.started(7);
        assert!(terms.shows(7, leader(0, 3)).is_ok(), "it has forgotten everything");
        assert!(terms.shows(7, leader(0, 4)).is_err(), "n1 was elected in term 4");
        assert!(terms.shows(8, leader(2, 9)).is_err(), "nobody was");
        assert!(terms.shows(9, Entered { host: 0, state_version: 6 }).is_err(), "a follower's version");
        assert_eq!(terms.entries(), 8);
    }
}
