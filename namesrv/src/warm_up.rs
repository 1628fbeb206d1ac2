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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::registry::testing::registration;

    #[test]
    fn it_ends_when_each_group_heard_of_has_a_leader() {
        let (mut warm_up, mut registry) = (WarmUp::default(), Registry::new());
        assert!(!warm_up.look(0, &registry), "nothing was heard yet");
        registry.register(10, registration("a", 1)).unwrap();
        assert!(!warm_up.look(10, &registry));
        registry.register(20, registration("b", 0)).unwrap();
        assert!(!warm_up.look(20, &registry), "a has no leader");
        registry.register(30, registration("a", 0)).unwrap();
        assert!(warm_up.look(30, &registry));
        registry.register(40, registration("c", 1)).unwrap();
        assert!(warm_up.look(40, &registry), "once over, it stays over");
    }

    #[test]
    fn it_ends_after_fifteen_seconds_in_any_case() {
        let (mut warm_up, registry) = (WarmUp::default(), Registry::new());
        assert!(!warm_up.look(14_999, &registry));
        assert!(warm_up.look(15_000, &registry));
    }
}
