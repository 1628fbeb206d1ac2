//! How fast the log goes to other replicas, and comes from the leader: bytes in the last full second.
//! Source: RocketMQ 5.5.0 FlowMonitor, of HAConnection and HAClient, which looks once a second as well.

use std::collections::BTreeMap;

/// Bytes counted up to one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transferred {
    /// Records sent, by peer index.
    pub sent: BTreeMap<u64, u64>,
    /// Records taken into the own log.
    pub appended: u64,
}

/// The last two looks.
#[derive(Debug, Default)]
pub struct Transfers {
    last: Option<(u64, Transferred)>,
    per_second: Transferred,
}

impl Transfers {
    /// Notes what was counted up to now, ms.
    pub fn sample(&mut self, now_ms: u64, counted: Transferred) {
        self.per_second = match &self.last {
            Some((before_ms, before)) => match now_ms.checked_sub(*before_ms) {
                // A clock that stands or was put back gives no rate.
                None | Some(0) => Transferred::default(),
                Some(passed_ms) => per_second(before, &counted, passed_ms),
            },
            None => Transferred::default(),
        };
        self.last = Some((now_ms, counted));
    }

    /// Bytes per second sent to a peer.
    pub fn sent(&self, peer: u64) -> u64 {
        self.per_second.sent.get(&peer).copied().unwrap_or_default()
    }

    /// Bytes per second taken into the own log.
    pub fn appended(&self) -> u64 {
        self.per_second.appended
    }
}

fn per_second(before: &Transferred, now: &Transferred, passed_ms: u64) -> Transferred {
    let rate = |before: u64, now: u64| now.saturating_sub(before).saturating_mul(1000) / passed_ms;
    // A peer that is new to the list, as all are to a new leader, may have been sent something long ago.
    let sent = now.sent.iter().filter_map(|(peer, now)| Some((*peer, rate(*before.sent.get(peer)?, *now))));
    Transferred { sent: sent.collect(), appended: rate(before.appended, now.appended) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(first: u64, second: u64, appended: u64) -> Transferred {
        Transferred { sent: [(0, first), (2, second)].into(), appended }
    }

    #[test]
    fn rates_are_those_of_the_time_between_the_last_two_looks() {
        let mut transfers = Transfers::default();
        transfers.sample(10_000, counted(500, 0, 70));
        assert_eq!((transfers.sent(0), transfers.appended()), (0, 0), "one look knows no rate");
        transfers.sample(12_000, counted(900, 1_000_000, 90));
        assert_eq!([0, 1, 2].map(|peer| transfers.sent(peer)), [200, 0, 500_000]);
        assert_eq!(transfers.appended(), 10);
        transfers.sample(13_000, counted(900, 1_000_000, 90));
        assert_eq!((transfers.sent(2), transfers.appended()), (0, 0), "nothing was sent since");
    }

    #[test]
    fn what_an_earlier_term_sent_is_no_rate_of_a_new_leader() {
        let mut transfers = Transfers::default();
        transfers.sample(1_000, Transferred::default());
        transfers.sample(2_000, counted(7_000_000, 0, 0));
        assert_eq!(transfers.sent(0), 0);
        transfers.sample(3_000, counted(7_000_500, 0, 0));
        assert_eq!(transfers.sent(0), 500);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_no_rate() {
        let mut transfers = Transfers::default();
        for now_ms in [5_000, 5_000, 1_000] {
            transfers.sample(now_ms, counted(now_ms, 0, 0));
            assert_eq!(transfers.sent(0), 0);
        }
        transfers.sample(2_000, counted(5_100, 0, 0));
        assert_eq!(transfers.sent(0), 4_100);
    }
}
