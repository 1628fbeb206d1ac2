//! Leases never overlap (LOG-RULES 18, FAILOVER rule 5: whoever answers for the group does so under a valid lease): at no
//! moment do two replicas hold that they lead with one. Only replicas that run can hold so; one whose process is stopped looks
//! again when it goes on.

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
