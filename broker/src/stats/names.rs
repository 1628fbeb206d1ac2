//! Names and keys under which 315 asks for statistics.
//!
//! | name                                              | key                   |
//! |---------------------------------------------------|-----------------------|
//! | TOPIC_PUT_NUMS, TOPIC_PUT_SIZE                    | topic                 |
//! | GROUP_GET_NUMS, GROUP_GET_SIZE, SNDBCK_PUT_NUMS   | topic@group           |
//! | QUEUE_PUT_NUMS, QUEUE_PUT_SIZE                    | topic@queue           |
//! | QUEUE_GET_NUMS, QUEUE_GET_SIZE                    | topic@queue@group     |
//! | TOPIC_PUT_LATENCY                                 | queue@topic           |
//! | GROUP_GET_LATENCY                                 | queue@topic@group     |
//! | BROKER_PUT_NUMS, BROKER_GET_NUMS, and …_WITHOUT_SYSTEM_TOPIC | cluster    |
//!
//! A name or key of which nothing was counted has no statistics. Nobody counts acknowledgements of pop consumption,
//! and GROUP_GET_FALL_SIZE and GROUP_GET_FALL_TIME can't be asked for, as at RocketMQ's own broker.
//!
//! Source: RocketMQ 5.3 BrokerStatsManager (getStatsItem, buildStatsKey) and Stats.

use flotilla_remoting::bodies::{BrokerStatsData, BrokerStatsItem};

use super::{State, Stats};
use crate::metrics::flow::{BYTES, CALLS, Flow, LATENCY, MESSAGES};
use crate::metrics::rings::{Growth, Window};

/// What is added up, and what its average is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Messages, the average per message of these being 1.
    Stored,
    StoredBytes,
    /// Messages, on average per pull that found some.
    Read,
    ReadBytes,
    /// Milliseconds, on average per call.
    Latency,
    /// Messages, without an average.
    Sum,
}

impl Shown {
    fn item(self, growth: &Growth) -> BrokerStatsItem {
        let (value, per, unit) = match self {
            Self::Stored => (MESSAGES, Some(MESSAGES), 1),
            Self::StoredBytes => (BYTES, Some(MESSAGES), 1),
            Self::Read => (MESSAGES, Some(CALLS), 1),
            Self::ReadBytes => (BYTES, Some(CALLS), 1),
            Self::Latency => (LATENCY, Some(CALLS), 1000),
            Self::Sum => (MESSAGES, None, 1),
        };
        BrokerStatsItem {
            avgpt: per.map_or(0.0, |per| growth.per(value, per) / unit as f64),
            sum: i64::try_from(growth.values[value] / unit).unwrap_or(i64::MAX),
            tps: growth.per_second(value) / unit as f64,
        }
    }

    fn of(self, flow: &Flow) -> Option<BrokerStatsData> {
        let counted = match self {
            Self::Latency => CALLS,
            _ => MESSAGES,
        };
        let item = |window| self.item(&flow.growth(window));
        (flow.get(counted) > 0).then(|| BrokerStatsData {
            stats_day: item(Window::Day),
            stats_hour: item(Window::Hour),
            stats_minute: item(Window::Minute),
        })
    }
}

impl Stats {
    /// The statistics of this name and key, if anything was counted under them.
    pub fn find(&self, name: &str, key: &str) -> Option<BrokerStatsData> {
        let topic = |topic: &str| self.metrics.find_topic(topic);
        let group = |topic: &str, group: &str| self.metrics.find_group(topic, group);
        let queue = |text: &str| text.parse::<u32>().ok();
        let parts: Vec<&str> = key.split('@').collect();
        match (name, parts.as_slice()) {
            ("TOPIC_PUT_NUMS", [t]) => Shown::Stored.of(topic(t)?.flows().0),
            ("TOPIC_PUT_SIZE", [t]) => Shown::StoredBytes.of(topic(t)?.flows().0),
            ("QUEUE_PUT_NUMS", [t, q]) => Shown::Stored.of(&*topic(t)?.flows().1.find(queue(q)?)?),
            ("QUEUE_PUT_SIZE", [t, q]) => Shown::StoredBytes.of(&*topic(t)?.flows().1.find(queue(q)?)?),
            ("TOPIC_PUT_LATENCY", [q, t]) => Shown::Latency.of(&*topic(t)?.flows().1.find(queue(q)?)?),
            ("GROUP_GET_NUMS", [t, g]) => Shown::Read.of(group(t, g)?.flows().0),
            ("GROUP_GET_SIZE", [t, g]) => Shown::ReadBytes.of(group(t, g)?.flows().0),
            ("SNDBCK_PUT_NUMS", [t, g]) => Shown::Stored.of(group(t, g)?.flows().2),
            ("QUEUE_GET_NUMS", [t, q, g]) => Shown::Read.of(&*group(t, g)?.flows().1.find(queue(q)?)?),
            ("QUEUE_GET_SIZE", [t, q, g]) => Shown::ReadBytes.of(&*group(t, g)?.flows().1.find(queue(q)?)?),
            ("GROUP_GET_LATENCY", [q, t, g]) => {
                Shown::Latency.of(&*group(t, g)?.flows().1.find(queue(q)?)?)
            }
            (name, _) if key == self.cluster => self.broker_flow(name),
            _ => None,
        }
    }

    fn broker_flow(&self, name: &str) -> Option<BrokerStatsData> {
        let state = self.state.lock();
        let State { broker, .. } = &*state;
        let flow = match name {
            "BROKER_PUT_NUMS" => &broker.puts,
            "BROKER_GET_NUMS" => &broker.gets,
            "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => &broker.puts_of_users,
            "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => &broker.gets_of_users,
            _ => return None,
        };
        Shown::Sum.of(flow)
    }
}

impl Stats {
    /// Messages stored per second in a topic over the last minute, by this replica.
    pub fn topic_tps(&self, topic: &str) -> f64 {
        let found = self.metrics.find_topic(topic);
        found.map_or(0.0, |topic| topic.flows().0.growth(Window::Minute).per_second(MESSAGES))
    }

    /// Messages per second that this replica handed to a group from a topic over the last minute.
    pub fn group_tps(&self, topic: &str, group: &str) -> f64 {
        let found = self.metrics.find_group(topic, group);
        found.map_or(0.0, |group| group.flows().0.growth(Window::Minute).per_second(MESSAGES))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;
    use crate::series::Series;

    const START: u64 = 1_700_000_000_000;

    fn node() -> (Arc<Stats>, Metrics) {
        let metrics = Metrics::new("C", "b", 0);
        (Stats::new(metrics.clone(), Series::new(metrics.clone()), "C", START), metrics)
    }

    #[test]
    fn every_name_shows_what_was_counted() {
        let (stats, metrics) = node();
        let topic = metrics.topic("T");
        topic.stored(3, std::iter::repeat_n(50, 100));
        (0..20).for_each(|_| topic.answered(3, Duration::from_millis(4)));
        metrics.topic("SELF_TEST_TOPIC").stored(0, [9].into_iter());
        let group = metrics.group("T", "g");
        (0..10).for_each(|_| group.delivered(3, 8, 400, Duration::from_millis(2)));
        group.sent_back();
        assert!(stats.tick(START));

        let shown = |name: &str, key: &str| {
            let minute = stats.find(name, key).unwrap_or_else(|| panic!("{name} {key}")).stats_minute;
            (minute.sum, minute.tps, minute.avgpt)
        };
        assert_eq!(shown("TOPIC_PUT_NUMS", "T"), (100, 10.0, 1.0));
        assert_eq!(shown("TOPIC_PUT_SIZE", "T"), (5000, 500.0, 50.0));
        assert_eq!(shown("QUEUE_PUT_NUMS", "T@3"), (100, 10.0, 1.0));
        assert_eq!(shown("QUEUE_PUT_SIZE", "T@3"), (5000, 500.0, 50.0));
        assert_eq!(shown("TOPIC_PUT_LATENCY", "3@T"), (80, 8.0, 4.0));
        assert_eq!(shown("GROUP_GET_NUMS", "T@g"), (80, 8.0, 8.0));
        assert_eq!(shown("GROUP_GET_SIZE", "T@g"), (4000, 400.0, 400.0));
        assert_eq!(shown("QUEUE_GET_NUMS", "T@3@g"), (80, 8.0, 8.0));
        assert_eq!(shown("QUEUE_GET_SIZE", "T@3@g"), (4000, 400.0, 400.0));
        assert_eq!(shown("GROUP_GET_LATENCY", "3@T@g"), (20, 2.0, 2.0));
        assert_eq!(shown("SNDBCK_PUT_NUMS", "T@g"), (1, 0.1, 1.0));
        assert_eq!(shown("BROKER_PUT_NUMS", "C"), (101, 10.1, 0.0));
        assert_eq!(shown("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "C"), (100, 10.0, 0.0));
        assert_eq!(shown("BROKER_GET_NUMS", "C"), (80, 8.0, 0.0));
        assert_eq!(shown("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", "C"), (80, 8.0, 0.0));
        assert_eq!((stats.topic_tps("T"), stats.group_tps("T", "g")), (10.0, 8.0));
        assert_eq!((stats.topic_tps("U"), stats.group_tps("T", "h")), (0.0, 0.0));
        // The first look counts for the hour and the day too.
        let all = stats.find("TOPIC_PUT_NUMS", "T").unwrap();
        assert_eq!((all.stats_hour.sum, all.stats_day.sum), (100, 100));
    }

    #[test]
    fn what_nobody_counted_does_not_exist() {
        let (stats, metrics) = node();
        metrics.topic("T").stored(3, [1].into_iter());
        stats.tick(START);
        let unknown = [
            ("TOPIC_PUT_NUMS", "U"),
            ("TOPIC_PUT_NUMS", "T@3"),
            ("QUEUE_PUT_NUMS", "T@2"),
            ("QUEUE_PUT_NUMS", "T@x"),
            ("TOPIC_PUT_LATENCY", "3@T"),
            ("GROUP_GET_NUMS", "T@g"),
            ("BROKER_PUT_NUMS", "T"),
            ("BROKER_GET_NUMS", "C"),
            ("NOBODY_KNOWS", "C"),
            ("GROUP_GET_FALL_SIZE", "3@T@g"),
        ];
        for (name, key) in unknown {
            assert_eq!(stats.find(name, key), None, "{name} {key}");
        }
    }

    #[test]
    fn samples_follow_the_clock_and_not_the_number_of_looks() {
        let (stats, metrics) = node();
        let topic = metrics.topic("T");
        for second in 0..120 {
            topic.stored(0, [10].into_iter());
            stats.tick(START + second * 1000);
        }
        let shown = stats.find("TOPIC_PUT_NUMS", "T").unwrap();
        assert_eq!((shown.stats_minute.sum, shown.stats_minute.tps), (60, 1.0));
        // Its next sample comes after ten minutes.
        assert_eq!(shown.stats_hour.sum, 1);
        stats.tick(START + 600_000);
        assert_eq!(stats.find("TOPIC_PUT_NUMS", "T").unwrap().stats_hour.sum, 120);
    }
}
