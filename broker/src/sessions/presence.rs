//! The leader's view of which group members are connected to which replica, and whom it may drop.
//!
//! Pure: time comes in as an argument. A member leaves its group when each replica of the group has said that it holds
//! no connection of it; a replica that has not reported to this leader counts as unknown for a grace time after the
//! leader took over, then as holding nothing (FAILOVER.md 1).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Member = (Arc<str>, Arc<str>);

/// What the replicas reported to the leader of one term.
pub struct Presence {
    led_since: Instant,
    grace: Duration,
    replicas: HashMap<u64, HashSet<Member>>,
    /// Members that no replica held when last looked at, and since when: one look is not enough, because the report of
    /// the replica to which a client has just moved may still be under way.
    missing: HashMap<Member, Instant>,
}

/// How long a member has to be missing everywhere before it is dropped: longer than a report takes.
const MISSING_FOR: Duration = Duration::from_millis(1500);

impl Presence {
    /// `peers` are the peer indexes of all replicas of the group, the leader's own among them.
    pub fn new(led_since: Instant, grace: Duration) -> Self {
        Self { led_since, grace, replicas: HashMap::new(), missing: HashMap::new() }
    }

    /// Takes the whole list of members that a replica holds connections of.
    pub fn report(&mut self, replica: u64, members: impl IntoIterator<Item = Member>) {
        self.replicas.insert(replica, members.into_iter().collect());
    }

    /// A replica that can't be reached any more: what it held is unknown again, and by its death gone in time.
    pub fn replica_lost(&mut self, replica: u64) {
        self.replicas.remove(&replica);
    }

    /// Replicas that hold a connection of the member.
    pub fn holders(&self, group: &Arc<str>, client: &Arc<str>) -> Vec<u64> {
        let member = (group.clone(), client.clone());
        let mut holders: Vec<u64> =
            self.replicas.iter().filter(|(_, held)| held.contains(&member)).map(|(id, _)| *id).collect();
        holders.sort_unstable();
        holders
    }

    /// The members among `all` that are gone, given the replicas that exist.
    pub fn gone(
        &mut self,
        all: impl IntoIterator<Item = Member>,
        replicas: &[u64],
        now: Instant,
    ) -> Vec<Member> {
        let grace_over = now.duration_since(self.led_since) >= self.grace;
        let all_reported = replicas.iter().all(|id| self.replicas.contains_key(id));
        if !grace_over && !all_reported {
            self.missing.clear();
            return Vec::new();
        }
        let mut missing = HashMap::new();
        let mut gone = Vec::new();
        for member in all {
            if self.replicas.values().any(|held| held.contains(&member)) {
                continue;
            }
            let since = self.missing.get(&member).copied().unwrap_or(now);
            if now.duration_since(since) >= MISSING_FOR {
                gone.push(member.clone());
            }
            missing.insert(member, since);
        }
        self.missing = missing;
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(client: &str) -> Member {
        (Arc::from("group"), Arc::from(client))
    }

    const GRACE: Duration = Duration::from_secs(45);

    #[test]
    fn nobody_is_dropped_while_a_replica_is_silent() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        presence.report(0, [member("a")]);
        presence.report(1, []);
        let later = start + Duration::from_secs(20);
        assert!(presence.gone([member("b")], &[0, 1, 2], later).is_empty());
        assert!(presence.gone([member("b")], &[0, 1, 2], later + MISSING_FOR).is_empty());
    }

    #[test]
    fn a_member_missing_everywhere_is_dropped_at_the_second_look() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        for replica in 0..3 {
            presence.report(replica, [member("a")]);
        }
        let all = [member("a"), member("b")];
        assert!(presence.gone(all.clone(), &[0, 1, 2], start).is_empty());
        assert_eq!(presence.gone(all, &[0, 1, 2], start + MISSING_FOR), [member("b")]);
    }

    #[test]
    fn a_member_that_comes_back_in_between_stays() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        presence.report(0, []);
        assert!(presence.gone([member("a")], &[0], start).is_empty());
        presence.report(0, [member("a")]);
        assert!(presence.gone([member("a")], &[0], start + MISSING_FOR).is_empty());
        presence.report(0, []);
        assert!(
            presence.gone([member("a")], &[0], start + MISSING_FOR * 2).is_empty(),
            "the count starts anew"
        );
    }

    #[test]
    fn a_dead_replica_counts_as_empty_after_the_grace_time() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        presence.report(0, []);
        presence.report(1, []);
        let over = start + GRACE;
        assert!(presence.gone([member("a")], &[0, 1, 2], over).is_empty());
        assert_eq!(presence.gone([member("a")], &[0, 1, 2], over + MISSING_FOR), [member("a")]);
    }
}
