//! The time after a start in which routes would be incomplete. Pure.
//!
//! ```text
//! Waiting --(every broker name heard of has an id 0, and there is one)--> Over
//!    \------------------------(15 s passed)-------------------------------^
//! ```
//! While waiting, route queries are answered with code 1 and clients keep the route that they have; an answer without id 0
//! or "no such topic" would cost a Java producer an exception and a Go producer 30 s.

use crate::limits::WARM_UP_MAX;
use crate::registry::Registry;

/// See the module. Once over, it stays over.
#[derive(Debug, Default)]
pub struct WarmUp {
    over: bool,
}

impl WarmUp {
    /// Looks at the registry and the time since the start; tells whether routes may be given.
    pub fn look(&mut self, now_ms: u64, registry: &Registry) -> bool {
        let complete = registry.group_count() > 0 && registry.leaderless().next().is_none();
        self.over |= complete || u128::from(now_ms) >= WARM_UP_MAX.as_millis();
        self.over
    }

    /// Claims that routes may be given, as of the last look.
    pub fn is_over(&self) -> bool {
        self.over
    }
}
