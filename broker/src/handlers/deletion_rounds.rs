//! One wish to delete a topic, told to every replica.
//!
//! Tools ask each replica in turn, because a slave of RocketMQ deletes its own copy only (`AdminClient` of ours: the leader first;
//! `DefaultMQAdminExt.deleteTopic` of RocketMQ 5.5: in no order). Here each of these requests comes to the leader. Only the first
//! one of a round deletes: a topic that somebody has made again meanwhile is not what the tool saw.
//!
//! A round is known by the client's IP address and ends [`ROUND_MAX`] after its last request. A second request by the same way is
//! another wish. Known on the leader only: after a change of leadership in the middle of a round the next request deletes.
//!
//! LIMIT: two tools of one host (or behind one address) count as one. Who deletes a topic by way of one replica, within
//! [`ROUND_MAX`] of another one's deletion by way of another, is answered success, and a topic made meanwhile stays.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::call::Caller;
use crate::limits::DELETION_ROUNDS_MAX;

/// Longest time between two requests of a round: above what tools wait for a replica that does not answer (5 s).
const ROUND_MAX: Duration = Duration::from_secs(10);

/// The rounds under way.
#[derive(Debug, Default)]
pub struct DeletionRounds(Mutex<HashMap<(String, IpAddr), Round>>);

#[derive(Debug)]
struct Round {
    last: Instant,
    /// Peers that have handed a request on; `None` for the leader itself.
    ways: Vec<Option<u64>>,
}

impl DeletionRounds {
    /// Claims that a request belongs to a round whose first one has deleted the topic.
    pub fn goes_on(&self, topic: &str, caller: &Caller, now: Instant) -> bool {
        let mut rounds = self.0.lock();
        match rounds.get_mut(&(topic.to_owned(), caller.address.ip())) {
            Some(round) if now - round.last < ROUND_MAX && !round.ways.contains(&caller.forwarded_by) => {
                round.last = now;
                round.ways.push(caller.forwarded_by);
                true
            }
            _ => false,
        }
    }

    /// A request has deleted the topic: a round begins with it. Beyond [`DELETION_ROUNDS_MAX`] it is not remembered, and each
    /// request deletes.
    pub fn begin(&self, topic: &str, caller: &Caller, now: Instant) {
        let mut rounds = self.0.lock();
        rounds.retain(|_, round| now - round.last < ROUND_MAX);
        if rounds.len() < DELETION_ROUNDS_MAX {
            let round = Round { last: now, ways: vec![caller.forwarded_by] };
            rounds.insert((topic.to_owned(), caller.address.ip()), round);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by(host: &str, forwarded_by: Option<u64>) -> Caller {
        let address = format!("{host}:1").parse().unwrap();
        Caller { address, connection: None, client_id: None, forwarded_by }
    }

    #[test]
    fn each_way_counts_once_in_a_round() {
        let (rounds, now) = (DeletionRounds::default(), Instant::now());
        // No order: a follower may be asked before the leader.
        assert!(!rounds.goes_on("t", &by("10.0.0.1", Some(2)), now));
        rounds.begin("t", &by("10.0.0.1", Some(2)), now);
        for way in [None, Some(1)] {
            assert!(rounds.goes_on("t", &by("10.0.0.1", way), now), "{way:?}");
            assert!(!rounds.goes_on("t", &by("10.0.0.1", way), now), "{way:?} again is another wish");
        }
        assert!(!rounds.goes_on("t", &by("10.0.0.1", Some(2)), now), "the next round begins as this one did");
    }

    #[test]
    fn a_round_is_one_topic_one_client_and_soon_over() {
        let (rounds, now) = (DeletionRounds::default(), Instant::now());
        rounds.begin("t", &by("10.0.0.1", None), now);
        let (own, other) = (by("10.0.0.1", Some(1)), by("10.0.0.2", Some(1)));
        assert!(!rounds.goes_on("u", &own, now));
        assert!(!rounds.goes_on("t", &other, now));
        assert!(!rounds.goes_on("t", &own, now + ROUND_MAX));
        assert!(rounds.goes_on("t", &own, now + ROUND_MAX / 2));
    }

    #[test]
    fn no_more_rounds_are_remembered_than_the_limit() {
        let (rounds, now) = (DeletionRounds::default(), Instant::now());
        let client = by("10.0.0.1", None);
        for number in 0..=DELETION_ROUNDS_MAX {
            rounds.begin(&number.to_string(), &client, now);
        }
        assert_eq!(rounds.0.lock().len(), DELETION_ROUNDS_MAX);
        rounds.begin("later", &client, now + ROUND_MAX);
        assert_eq!(rounds.0.lock().len(), 1);
    }
}
