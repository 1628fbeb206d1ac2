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
//! | DLQ_PUT_NUMS                                      | topic@group           |
//! | SNDBCK2DLQ_TIMES                                  | null@topic@group@SEND_BACK_TO_DLQ |
//! | CONSUMER_REGISTER_TIME, PRODUCER_REGISTER_TIME    | cluster               |
//! | CHANNEL_ACTIVITY                                  | CONNECT, CLOSE, IDLE, EXCEPTION |
//!
//! SNDBCK2DLQ_TIMES counts what code 36 made a dead letter; its key begins with the account that a client names, and ours name
//! none. DLQ_PUT_NUMS counts all dead letters; RocketMQ's broker has the name and never counts under it.
//!
//! A name or key of which nothing was counted has no statistics. Nobody counts what pop consumption does (GROUP_ACK_NUMS,
//! GROUP_CK_NUMS, BROKER_ACK_NUMS, BROKER_CK_NUMS) as long as there is none. COMMERCIAL_… and …_GET_FROM_DISK_… have names at
//! RocketMQ's own broker and nothing under them, and GROUP_GET_FALL_SIZE and GROUP_GET_FALL_TIME can't be asked for there.
//!
//! Source: RocketMQ 5.5.0 BrokerStatsManager (init, getStatsItem, buildStatsKey, buildCommercialStatsKey), Stats,
//! AbstractSendMessageProcessor.consumerSendMsgBack, ClientHousekeepingService.

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
        let dead_letters = |topic: &str, group: &str| self.metrics.find_dead_letters(topic, group);
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
            ("DLQ_PUT_NUMS", [t, g]) => Shown::Stored.of(dead_letters(t, g)?.flows().0),
            ("SNDBCK2DLQ_TIMES", ["null", t, g, "SEND_BACK_TO_DLQ"]) => {
                Shown::Stored.of(dead_letters(t, g)?.flows().1)
            }
            ("QUEUE_GET_NUMS", [t, q, g]) => Shown::Read.of(&*group(t, g)?.flows().1.find(queue(q)?)?),
            ("QUEUE_GET_SIZE", [t, q, g]) => Shown::ReadBytes.of(&*group(t, g)?.flows().1.find(queue(q)?)?),
            ("GROUP_GET_LATENCY", [q, t, g]) => {
                Shown::Latency.of(&*group(t, g)?.flows().1.find(queue(q)?)?)
            }
            ("CHANNEL_ACTIVITY", [what]) => self.channel_flow(what),
            ("PRODUCER_REGISTER_TIME", _) if key == self.cluster => {
                Shown::Latency.of(self.metrics.registrations().flows().0)
            }
            ("CONSUMER_REGISTER_TIME", _) if key == self.cluster => {
                Shown::Latency.of(self.metrics.registrations().flows().1)
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

    fn channel_flow(&self, what: &str) -> Option<BrokerStatsData> {
        let state = self.state.lock();
        let flow = match what {
            "CONNECT" => &state.channels.opened,
            "CLOSE" => &state.channels.closed,
            "IDLE" => &state.channels.idle,
            "EXCEPTION" => &state.channels.failed,
            _ => return None,
        };
        Shown::Stored.of(flow)
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
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use flotilla_net::NetStats;

    use super::*;
    use crate::metrics::Metrics;
    use crate::series::Series;

    const START: u64 = 1_700_000_000_000;

    fn node() -> (Arc<Stats>, Metrics) {
        let (stats, metrics, _) = node_with_connections();
        (stats, metrics)
    }

    fn node_with_connections() -> (Arc<Stats>, Metrics, Arc<NetStats>) {
        let metrics = Metrics::new("C", "b", 0);
        let connections: Arc<NetStats> = Arc::default();
        let series = Series::new(metrics.clone());
        let stats = Stats::new(metrics.clone(), series, connections.clone(), "C", START);
        (stats, metrics, connections)
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
    fn dead_letters_count_by_the_way_that_they_came() {
        let (stats, metrics) = node();
        let dead_letters = metrics.dead_letters("T", "g");
        dead_letters.stored(true);
        (0..4).for_each(|_| dead_letters.stored(false));
        stats.tick(START);
        let shown =
            |name, key| stats.find(name, key).map(|data| (data.stats_minute.sum, data.stats_minute.avgpt));
        assert_eq!(shown("DLQ_PUT_NUMS", "T@g"), Some((5, 1.0)));
        assert_eq!(shown("SNDBCK2DLQ_TIMES", "null@T@g@SEND_BACK_TO_DLQ"), Some((1, 1.0)));
        assert_eq!(shown("SNDBCK2DLQ_TIMES", "T@g"), None);
        assert_eq!(shown("DLQ_PUT_NUMS", "T@h"), None);
    }

    #[test]
    fn a_heartbeat_registers_each_of_its_groups_in_its_share_of_the_time() {
        let (stats, metrics) = node();
        metrics.registrations().heartbeat(1, 3, Duration::from_millis(20));
        metrics.registrations().heartbeat(0, 1, Duration::from_millis(5));
        metrics.registrations().heartbeat(0, 0, Duration::from_millis(9));
        stats.tick(START);
        let shown = |name: &str| {
            let minute = stats.find(name, "C").unwrap().stats_minute;
            (minute.sum, minute.avgpt)
        };
        assert_eq!(shown("PRODUCER_REGISTER_TIME"), (5, 5.0));
        assert_eq!(shown("CONSUMER_REGISTER_TIME"), (20, 5.0));
    }

    #[test]
    fn what_happens_to_connections_is_counted_by_kind() {
        let (stats, _, connections) = node_with_connections();
        for (counter, count) in
            [(&connections.opened, 7), (&connections.closed, 4), (&connections.idle_closed, 2)]
        {
            counter.store(count, Ordering::Relaxed);
        }
        stats.tick(START);
        let shown = |key: &str| stats.find("CHANNEL_ACTIVITY", key).map(|data| data.stats_minute.sum);
        assert_eq!(["CONNECT", "CLOSE", "IDLE"].map(shown), [Some(7), Some(4), Some(2)]);
        assert_eq!(["EXCEPTION", "C"].map(shown), [None, None]);
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
            // Pop consumption, of which there is none.
            ("GROUP_ACK_NUMS", "T@g"),
            ("GROUP_CK_NUMS", "T@g"),
            ("BROKER_ACK_NUMS", "C"),
            ("BROKER_CK_NUMS", "C"),
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
