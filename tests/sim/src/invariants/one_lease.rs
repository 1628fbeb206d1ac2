//! Leases never overlap (rule 22 of docs/log-rules.md: a lease outlives neither a restart of those who granted it nor a
//! hand-over): at no moment do two replicas hold that they lead with one. Only replicas that run can hold so; one whose process is
//! stopped looks again when it goes on.

/// Hosts that lead with a valid lease now, each with its term.
///
/// # Errors
/// There are two.
pub fn check(holders: &[(usize, u64)]) -> Result<(), String> {
    match holders {
        [] | [_] => Ok(()),
        several => Err(format!("one lease: hosts and terms {several:?} lead at the same time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_at_one_moment_are_seen_whatever_their_terms() {
        assert!(check(&[]).is_ok() && check(&[(2, 7)]).is_ok());
        assert!(check(&[(0, 7), (2, 8)]).is_err(), "the successor does not wait for the old one's end");
        assert!(check(&[(0, 7), (1, 7)]).is_err());
    }
}
