//! The leader's view of which group members are connected to which replica, and whom it may drop.
//!
//! Pure: time comes in as an argument. A member leaves its group when each replica of the group has said that it holds
//! no connection of it. A replica that has not reported to this leader, or whose stream has ended, counts as unknown
//! for a grace time, after that as holding nothing: only a dead one is silent for so long (FAILOVER.md 1). The same goes
//! for one whose stream is open and which has said nothing for the grace time: it hangs, and its clients with it. Before that, a
//! report that is not fresh says whom its replica holds, and not whom it doesn't: a client may have come to it since.
//!
//! ```text
//! silent since the leader's term began --report--> heard
//!      |                                            |  ^
//!   grace over            stream ended, or silent for long | report
//!      v                                            v  |
//! holds nothing <-------------grace over--------- lost since
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Member = (Arc<str>, Arc<str>);

/// What the replicas reported to the leader of one term.
pub struct Presence {
    led_since: Instant,
    grace: Duration,
    replicas: HashMap<u64, Heard>,
    /// Replicas that reported once and whose stream has ended since, and when it did.
    lost: HashMap<u64, Instant>,
    /// Members that no replica held when last looked at, and since when: one look is not enough, because the report of
    /// the replica to which a client has just moved may still be under way.
    missing: HashMap<Member, Instant>,
}

/// The last report of a replica.
struct Heard {
    /// Number of the stream that it came over.
    stream: u64,
    at: Instant,
    members: HashSet<Member>,
}

/// How long a member has to be missing everywhere before it is dropped: longer than a report takes.
const MISSING_FOR: Duration = Duration::from_millis(1500);

/// Reports come every second; one that is older than this may have been followed by others that were lost.
const FRESH: Duration = Duration::from_secs(3);

impl Presence {
    /// The view of a leader that has just taken over.
    pub fn new(led_since: Instant, grace: Duration) -> Self {
        Self { led_since, grace, replicas: HashMap::new(), lost: HashMap::new(), missing: HashMap::new() }
    }

    /// Takes the whole list of members that a replica holds connections of, and the number of the stream that it came
    /// over.
    pub fn report(
        &mut self,
        replica: u64,
        stream: u64,
        members: impl IntoIterator<Item = Member>,
        now: Instant,
    ) {
        let members = members.into_iter().collect();
        self.replicas.insert(replica, Heard { stream, at: now, members });
        self.lost.remove(&replica);
    }

    /// A replica's stream has ended: what it holds is unknown again, unless it has reported over a newer stream.
    pub fn replica_lost(&mut self, replica: u64, stream: u64, now: Instant) {
        if self.replicas.get(&replica).is_some_and(|heard| heard.stream == stream) {
            self.replicas.remove(&replica);
            self.lost.insert(replica, now);
        }
    }

    /// Replicas that hold a connection of the member.
    pub fn holders(&self, group: &Arc<str>, client: &Arc<str>) -> Vec<u64> {
        let member = (group.clone(), client.clone());
        let holding = self.replicas.iter().filter(|(_, heard)| heard.members.contains(&member));
        let mut holders: Vec<u64> = holding.map(|(id, _)| *id).collect();
        holders.sort_unstable();
        holders
    }

    /// The members among `all` that are gone, given the replicas that exist, this leader's own among them.
    pub fn gone(
        &mut self,
        all: impl IntoIterator<Item = Member>,
        replicas: &[u64],
        now: Instant,
    ) -> Vec<Member> {
        self.lose_the_silent(now);
        if replicas.iter().any(|replica| self.is_unknown(*replica, now)) {
            self.missing.clear();
            return Vec::new();
        }
        let mut missing = HashMap::new();
        let mut gone = Vec::new();
        for member in all {
            if self.replicas.values().any(|heard| heard.members.contains(&member)) {
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

    /// A replica that hangs keeps its stream and says nothing: reports come every second.
    fn lose_the_silent(&mut self, now: Instant) {
        let grace = self.grace;
        let lost = &mut self.lost;
        self.replicas.retain(|replica, heard| {
            let hangs = now.saturating_duration_since(heard.at) >= grace;
            if hangs {
                lost.insert(*replica, heard.at);
            }
            !hangs
        });
    }

    /// Claims that the replica may hold connections that this leader does not know of.
    fn is_unknown(&self, replica: u64, now: Instant) -> bool {
        if let Some(heard) = self.replicas.get(&replica) {
            return now.saturating_duration_since(heard.at) >= FRESH;
        }
        let silent_since = self.lost.get(&replica).map_or(self.led_since, |lost| (*lost).max(self.led_since));
        now.saturating_duration_since(silent_since) < self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(client: &str) -> Member {
        (Arc::from("group"), Arc::from(client))
    }

    const GRACE: Duration = Duration::from_secs(45);

    /// A report of a replica that goes on reporting for ever.
    fn report(presence: &mut Presence, replica: u64, stream: u64, members: impl IntoIterator<Item = Member>) {
        presence.report(replica, stream, members, presence.led_since + GRACE * 1000);
    }

    #[test]
    fn a_replica_that_hangs_counts_as_empty_after_the_grace_time() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        presence.report(1, 1, [member("a")], start);
        let before = start + GRACE - Duration::from_millis(1);
        assert!(presence.gone([member("a")], &[0, 1], before).is_empty());
        assert_eq!(presence.holders(&Arc::from("group"), &Arc::from("a")), [1]);
        let over = start + GRACE;
        assert!(presence.gone([member("a")], &[0, 1], over).is_empty());
        assert_eq!(presence.gone([member("a")], &[0, 1], over + MISSING_FOR), [member("a")]);
        // It goes on and reports again.
        report(&mut presence, 1, 1, [member("a")]);
        assert!(presence.gone([member("a")], &[0, 1], over + MISSING_FOR * 3).is_empty());
    }

    #[test]
    fn a_report_that_is_not_fresh_does_not_say_who_is_gone() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        presence.report(1, 1, [member("a")], start);
        let look = |presence: &mut Presence, after: Duration| {
            presence.gone([member("a"), member("b")], &[0, 1], start + after)
        };
        // Replica 1 is cut off with its stream open, and b has gone to it.
        assert!(look(&mut presence, FRESH).is_empty());
        assert!(look(&mut presence, FRESH + MISSING_FOR).is_empty());
        assert_eq!(
            presence.holders(&Arc::from("group"), &Arc::from("a")),
            [1],
            "who was held is, as far as is known"
        );
        // It is heard again.
        let back = FRESH + MISSING_FOR * 2;
        presence.report(1, 1, [member("b")], start + back);
        assert!(look(&mut presence, back).is_empty());
        presence.report(1, 1, [member("b")], start + back + MISSING_FOR);
        assert_eq!(look(&mut presence, back + MISSING_FOR), [member("a")]);
    }

    #[test]
    fn nobody_is_dropped_while_a_replica_is_silent() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, [member("a")]);
        report(&mut presence, 1, 1, []);
        let later = start + Duration::from_secs(20);
        assert!(presence.gone([member("b")], &[0, 1, 2], later).is_empty());
        assert!(presence.gone([member("b")], &[0, 1, 2], later + MISSING_FOR).is_empty());
    }

    #[test]
    fn a_member_missing_everywhere_is_dropped_at_the_second_look() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        for replica in 0..3 {
            report(&mut presence, replica, 1, [member("a")]);
        }
        let all = [member("a"), member("b")];
        assert!(presence.gone(all.clone(), &[0, 1, 2], start).is_empty());
        assert_eq!(presence.gone(all, &[0, 1, 2], start + MISSING_FOR), [member("b")]);
    }

    #[test]
    fn a_member_that_comes_back_in_between_stays() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        assert!(presence.gone([member("a")], &[0], start).is_empty());
        report(&mut presence, 0, 1, [member("a")]);
        assert!(presence.gone([member("a")], &[0], start + MISSING_FOR).is_empty());
        report(&mut presence, 0, 1, []);
        assert!(
            presence.gone([member("a")], &[0], start + MISSING_FOR * 2).is_empty(),
            "the count starts anew"
        );
    }

    #[test]
    fn a_dead_replica_counts_as_empty_after_the_grace_time() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        report(&mut presence, 1, 1, []);
        let over = start + GRACE;
        assert!(presence.gone([member("a")], &[0, 1, 2], over).is_empty());
        assert_eq!(presence.gone([member("a")], &[0, 1, 2], over + MISSING_FOR), [member("a")]);
    }

    #[test]
    fn a_lost_stream_is_unknown_for_the_grace_time_however_long_the_leader_leads() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        report(&mut presence, 1, 1, [member("a")]);
        let lost = start + GRACE * 100;
        presence.replica_lost(1, 1, lost);
        let mut now = lost;
        while now < lost + GRACE {
            assert!(presence.gone([member("a")], &[0, 1], now).is_empty(), "{:?} after", now - lost);
            now += MISSING_FOR;
        }
        let over = lost + GRACE;
        assert!(presence.gone([member("a")], &[0, 1], over).is_empty());
        assert_eq!(presence.gone([member("a")], &[0, 1], over + MISSING_FOR), [member("a")]);
    }

    #[test]
    fn a_replica_that_reports_again_is_known_again() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        report(&mut presence, 1, 1, [member("a"), member("b")]);
        let lost = start + GRACE * 2;
        presence.replica_lost(1, 1, lost);
        report(&mut presence, 1, 2, [member("a")]);
        let all = [member("a"), member("b")];
        assert!(presence.gone(all.clone(), &[0, 1], lost).is_empty());
        assert_eq!(presence.gone(all, &[0, 1], lost + MISSING_FOR), [member("b")]);
    }

    #[test]
    fn the_end_of_an_older_stream_takes_nothing_from_a_newer_report() {
        let start = Instant::now();
        let mut presence = Presence::new(start, GRACE);
        report(&mut presence, 0, 1, []);
        report(&mut presence, 1, 1, []);
        report(&mut presence, 1, 2, [member("a")]);
        presence.replica_lost(1, 1, start);
        assert_eq!(presence.holders(&Arc::from("group"), &Arc::from("a")), [1]);
        // Nothing is unknown either: another member leaves as usual.
        assert!(presence.gone([member("b")], &[0, 1], start).is_empty());
        assert_eq!(presence.gone([member("b")], &[0, 1], start + MISSING_FOR), [member("b")]);
    }
}
