//! The exposition: every series and gauge, under its name, with its labels.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::flow::{BYTES, MESSAGES};
use super::gauges::Gauges;
use super::histogram::Counted;
use super::{Inner, process};

/// Which text the scraper wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn expose(inner: Arc<Inner>, gauges: Gauges, format: Format) -> String {
    let labels = [
        ("cluster", inner.cluster.clone()),
        ("node_type", "broker".to_owned()),
        ("node_id", inner.broker_name.clone()),
        ("replica", inner.replica.clone()),
    ];
    let labels = labels.map(|(name, value)| (name.into(), value.into()));
    let mut registry = Registry::with_labels(labels.into_iter());
    registry.register_collector(Box::new(Scrape { inner, gauges }));
    let mut out = String::with_capacity(16 * 1024);
    let written = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    written.expect("writing to a String does not fail");
    out
}

#[derive(Debug)]
struct Scrape {
    inner: Arc<Inner>,
    gauges: Gauges,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out { encoder };
        self.traffic(&mut out)?;
        self.clients(&mut out)?;
        self.delays(&mut out)?;
        self.storage(&mut out)?;
        self.raft(&mut out)?;
        self.log(&mut out)?;
        self.process(&mut out)
    }
}

impl Scrape {
    fn traffic(&self, out: &mut Out<'_>) -> fmt::Result {
        let topics = self.inner.series.topics.sorted();
        let in_labels = |topic: &str| {
            [
                ("topic", topic.to_owned()),
                ("message_type", "normal".to_owned()),
                ("is_system", is_system(topic)),
            ]
        };
        let messages = topics.iter().map(|(name, topic)| (in_labels(name), topic.total.get(MESSAGES)));
        out.counters("rocketmq_messages_in", "Messages stored", messages)?;
        let bytes = topics.iter().map(|(name, topic)| (in_labels(name), topic.total.get(BYTES)));
        out.counters("rocketmq_throughput_in", "Bytes of messages stored", bytes)?;
        let sizes = topics.iter().map(|(name, topic)| (in_labels(name), topic.sizes.read()));
        out.histograms("rocketmq_message_size", "Sizes of stored messages in bytes", sizes)?;

        let groups = self.inner.series.groups.sorted();
        let out_labels = |(topic, group): &(String, String)| {
            let retry = topic.starts_with("%RETRY%").to_string();
            [
                ("topic", topic.clone()),
                ("consumer_group", group.clone()),
                ("is_retry", retry),
                ("is_system", is_system(topic)),
            ]
        };
        let messages = groups.iter().map(|(key, group)| (out_labels(key), group.total.get(MESSAGES)));
        out.counters("rocketmq_messages_out", "Messages handed to consumers", messages)?;
        let bytes = groups.iter().map(|(key, group)| (out_labels(key), group.total.get(BYTES)));
        out.counters("rocketmq_throughput_out", "Bytes of messages handed to consumers", bytes)?;

        let unread = groups.iter().map(|(key, group)| (group_labels(key), group.deleted_unread.get()));
        out.counters(
            "flotilla_messages_deleted_unread",
            "Messages that retention took before the group had read them",
            unread.filter(|(_, count)| *count > 0),
        )?;

        let mut latencies = Vec::new();
        for (name, rpc) in self.inner.series.rpc.read().iter() {
            rpc.for_each(|code, histogram| {
                let labels = [
                    ("protocol_type", "remoting".to_owned()),
                    ("request_code", (*name).to_owned()),
                    ("response_code", code.to_string()),
                ];
                latencies.push((labels, histogram.read()));
            });
        }
        latencies.retain(|(_, counted)| counted.count > 0);
        out.histograms("rocketmq_rpc_latency", "Milliseconds from request to answer", latencies)?;

        let rejected =
            self.inner.rejected.read().map(|(cause, count)| ([("cause", cause.to_owned())], count));
        out.counters("flotilla_requests_rejected", "Requests refused, by cause", rejected)?;
        out.counter(
            "flotilla_requests_forwarded",
            "Requests handed on to the leader",
            self.inner.forwarded.get(),
        )?;
        out.counter(
            "flotilla_writes_unknown",
            "Writes whose outcome could not be learnt",
            self.inner.unknown_outcomes.get(),
        )
    }

    fn clients(&self, out: &mut Out<'_>) -> fmt::Result {
        let clients = &self.gauges.clients;
        out.gauge(
            "rocketmq_broker_permission",
            "Permission bits: 2 write, 4 read",
            clients.permission.into(),
        )?;
        out.gauge("rocketmq_topic_number", "Topics", clients.topics)?;
        out.gauge("rocketmq_consumer_group_number", "Consumer groups", clients.groups)?;
        out.gauge("rocketmq_producer_connections", "Producers connected here", clients.producers)?;
        out.gauge("rocketmq_consumer_connections", "Consumers connected here", clients.consumers)?;
        out.gauge("flotilla_connections", "Client connections", clients.connections)?;
        out.gauge("flotilla_long_polls_held", "Pulls that wait for a message", clients.long_polls)?;
        out.gauge("flotilla_in_flight_bytes", "Bytes of requests being worked on", clients.in_flight_bytes)?;
        let lags = self.gauges.lags.topics.iter().map(|lag| {
            let labels = [("topic", lag.topic.clone()), ("consumer_group", lag.group.clone())];
            (labels, lag.messages)
        });
        out.gauges("rocketmq_consumer_lag_messages", "Messages not yet confirmed by the group", lags)?;
        let queues = self.gauges.lags.queues.iter().map(|(queue, lag)| {
            let labels = [
                ("topic", lag.topic.clone()),
                ("consumer_group", lag.group.clone()),
                ("queue_id", queue.to_string()),
            ];
            (labels, lag.messages)
        });
        out.gauges("flotilla_consumer_queue_lag_messages", "The same for each queue", queues)?;
        let expiring = self
            .gauges
            .expiring
            .iter()
            .map(|lag| (group_labels(&(lag.topic.clone(), lag.group.clone())), lag.messages));
        out.gauges(
            "flotilla_messages_expiring_unread",
            "Messages not read by the group that retention reaches soon",
            expiring,
        )
    }

    fn delays(&self, out: &mut Out<'_>) -> fmt::Result {
        let label = |level: u32| [("level", level.to_string())];
        let pending = self.gauges.delays.iter().map(|delay| (label(delay.level), delay.pending));
        out.gauges("flotilla_delayed_messages", "Delayed messages that wait for their time", pending)?;
        let done = self.gauges.delays.iter().map(|delay| (label(delay.level), delay.done));
        out.counters(
            "flotilla_delay_done",
            "Delayed messages delivered or given up since the group was formed",
            done,
        )?;
        let counters = &self.inner.delay;
        out.counter(
            "flotilla_delay_delivered",
            "Delayed messages delivered by this node",
            counters.delivered.get(),
        )?;
        out.counter(
            "flotilla_delay_moved",
            "Delayed messages delivered to another queue than their own, which is gone",
            counters.moved.get(),
        )?;
        let dropped = counters.dropped().map(|(cause, count)| ([("cause", cause.to_owned())], count));
        out.counters("flotilla_delay_dropped", "Delayed messages given up, by cause", dropped)?;
        let dead = self.inner.series.dead_letters.sorted().into_iter().map(|((topic, group), count)| {
            let is_system = is_system(&topic);
            ([("consumer_group", group), ("topic", topic), ("is_system", is_system)], count.all.get(MESSAGES))
        });
        out.counters("rocketmq_send_to_dlq_messages", "Messages that became dead letters", dead)
    }

    fn storage(&self, out: &mut Out<'_>) -> fmt::Result {
        let storage = &self.gauges.storage;
        let labelled = |value: u64| {
            [([("storage_type", "local".to_owned()), ("storage_medium", "disk".to_owned())], value)]
        };
        let reserved_ms = u64::try_from(storage.reserved.as_millis()).unwrap_or(u64::MAX);
        out.gauges("rocketmq_storage_size", "Bytes of the log", labelled(storage.log_bytes))?;
        out.gauges(
            "rocketmq_storage_flush_behind_bytes",
            "Bytes appended and not yet flushed",
            labelled(storage.flush_behind_bytes),
        )?;
        out.gauges(
            "rocketmq_storage_dispatch_behind_bytes",
            "Bytes committed and not yet in the views",
            labelled(storage.dispatch_behind_bytes),
        )?;
        out.gauges(
            "rocketmq_storage_message_reserve_time",
            "Age of the oldest message, ms",
            labelled(reserved_ms),
        )?;
        out.gauge("flotilla_log_segments", "Files of the log", storage.segments)?;
        out.gauge(
            "flotilla_disk_total_bytes",
            "Size of the file system of the data",
            storage.disk_total_bytes,
        )?;
        out.gauge(
            "flotilla_disk_free_bytes",
            "Free bytes on the file system of the data",
            storage.disk_free_bytes,
        )?;
        out.gauge("flotilla_disk_used_percent", "Use of that file system", storage.disk_used_percent.into())?;
        out.gauge(
            "flotilla_disk_refuses_messages",
            "1 while this replica leads and takes no messages, because the disk is full everywhere",
            storage.disk_refuses.into(),
        )?;
        out.gauge(
            "flotilla_key_index_behind_entries",
            "Entries applied that can't be found by key yet",
            storage.key_index_behind,
        )?;
        let mode = if storage.flush_is_sync { "sync" } else { "async" };
        let labels = [("mode", mode.to_owned())];
        out.gauges("flotilla_flush_mode", "1 for the mode in which sends are acknowledged", [(labels, 1)])
    }

    fn raft(&self, out: &mut Out<'_>) -> fmt::Result {
        let raft = &self.gauges.raft;
        out.gauge("flotilla_raft_term", "Term of the group as seen here", raft.term)?;
        let role = [("role", raft.role.to_owned())];
        out.gauges("flotilla_raft_role", "1 for the part that this replica plays", [(role, 1)])?;
        let leads = u64::from(raft.role == "leader");
        out.gauge("flotilla_raft_is_leader", "1 while this replica leads", leads)?;
        let known = u64::from(raft.leader.is_some());
        out.gauge("flotilla_raft_has_leader", "1 while a leader is known here", known)?;
        out.gauge("flotilla_raft_last_log_index", "Last entry in the log", raft.last_log)?;
        out.gauge("flotilla_raft_commit_index", "Last committed entry", raft.committed)?;
        out.gauge("flotilla_raft_applied_index", "Last applied entry", raft.applied)?;
        let behind = raft.committed.saturating_sub(raft.applied);
        out.gauge("flotilla_raft_apply_lag_entries", "Entries committed and not yet applied", behind)?;
        let label = |peer: &u64| [("peer", format!("n{peer}"))];
        let matched = raft.replicas.iter().map(|(peer, matched)| (label(peer), matched.unwrap_or(0)));
        out.gauges("flotilla_raft_matched_index", "Last entry that a replica is known to hold", matched)?;
        let lags = raft.replicas.iter().map(|(peer, matched)| {
            let held = matched.map_or(0, |index| index + 1);
            (label(peer), (raft.last_log + 1).saturating_sub(held))
        });
        out.gauges("flotilla_raft_lag_entries", "Entries that a replica is not known to hold yet", lags)
    }

    fn log(&self, out: &mut Out<'_>) -> fmt::Result {
        let log = &self.gauges.log;
        let flush = Counted::of(log.flush_bounds_us, 1_000_000.0, &log.flush_buckets, log.flush_sum_us);
        out.histograms(
            "flotilla_log_flush_seconds",
            "From handing entries to the log until they are durable here",
            [([], flush)],
        )?;
        out.counter("flotilla_log_appended_entries", "Entries appended here", log.appended_records)?;
        out.counter("flotilla_log_appended_bytes", "Bytes of those entries", log.appended_bytes)?;
        out.counter("flotilla_raft_append_requests", "Append requests to followers", log.append_requests)?;
        out.counter(
            "flotilla_raft_append_request_entries",
            "Entries in those requests",
            log.append_request_records,
        )?;
        out.counter("flotilla_raft_elections", "Times that this replica asked for votes", log.elections)?;
        out.counter("flotilla_raft_terms_led", "Times that this replica became leader", log.terms_led)?;
        out.counter("flotilla_raft_busy", "Proposals refused because of bytes in flight", log.busy)?;
        out.gauge(
            "flotilla_raft_in_flight_bytes",
            "Bytes proposed and not yet applied and flushed",
            log.in_flight_bytes,
        )?;
        out.counter(
            "flotilla_raft_slow_polls",
            "Steps of the Raft thread that took over 20 ms",
            log.slow_polls,
        )?;
        out.counter("flotilla_checkpoints", "Checkpoints written", log.checkpoints)?;
        out.counter("flotilla_checkpoint_installs", "Checkpoints taken over from a leader", log.installs)
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        let labels = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        out.gauges("flotilla_build_info", "1 for the version that runs", [(labels, 1)])?;
        let uptime = self.inner.started.elapsed().as_secs();
        out.gauge("flotilla_uptime_seconds", "Seconds since the node started", uptime)?;
        let Some(resident) = process::resident() else { return Ok(()) };
        out.gauge(
            "flotilla_memory_bytes",
            "Resident memory of the process beyond mapped files",
            resident.anonymous,
        )?;
        out.gauge("flotilla_mapped_bytes", "Resident memory of mapped files", resident.mapped_files)
    }
}

fn is_system(topic: &str) -> String {
    flotilla_remoting::names::is_system_topic(topic).to_string()
}

fn group_labels((topic, group): &(String, String)) -> Labels<2> {
    [("topic", topic.clone()), ("consumer_group", group.clone())]
}

type Labels<const N: usize> = [(&'static str, String); N];

/// Writes whole families.
struct Out<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [([], value)])
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, values, |encoder, value| encoder.encode_gauge(&value))
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, values, |encoder, value| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn histograms<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, Counted)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, values, |encoder, counted| {
            encoder.encode_histogram::<NoLabelSet>(counted.sum, counted.count, &counted.buckets, None)
        })
    }

    /// A family without members is left out.
    fn family<const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<N>, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            match N {
                0 => write(&mut metric, value)?,
                _ => write(&mut metric.encode_family(&labels)?, value)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::{Cause, ConsumerLag, DelayLevel, Lags, LogCounters, Metrics, RaftGauges};
    use super::*;

    fn node() -> Metrics {
        Metrics::new("DefaultCluster", "broker-a", 2)
    }

    fn lagging(messages: u64) -> Lags {
        let lag = ConsumerLag { topic: "t".into(), group: "g".into(), messages };
        Lags { topics: vec![lag.clone()], queues: vec![(3, lag)] }
    }

    fn lines(metrics: &Metrics, gauges: Gauges, prefix: &str) -> Vec<String> {
        let text = metrics.expose(gauges, Format::Prometheus);
        let of_prefix = text.lines().filter(|line| line.starts_with(prefix));
        of_prefix.map(|line| line.replace(NODE, "")).collect()
    }

    const NODE: &str = r#"cluster="DefaultCluster",node_type="broker",node_id="broker-a",replica="n2""#;

    #[test]
    fn traffic_is_shown_under_the_names_and_labels_of_rocketmq() {
        let metrics = node();
        let topic = metrics.topic("orders");
        topic.stored(0, [100, 1_000].into_iter());
        metrics.group("%RETRY%g", "g").delivered(0, 3, 300, Duration::ZERO);
        assert_eq!(
            lines(&metrics, Gauges::default(), "rocketmq_messages_in_total"),
            [r#"rocketmq_messages_in_total{,topic="orders",message_type="normal",is_system="false"} 2"#]
        );
        assert_eq!(
            lines(&metrics, Gauges::default(), "rocketmq_throughput_in_total"),
            [r#"rocketmq_throughput_in_total{,topic="orders",message_type="normal",is_system="false"} 1100"#]
        );
        assert_eq!(
            lines(&metrics, Gauges::default(), "rocketmq_throughput_out_total"),
            [
                r#"rocketmq_throughput_out_total{,topic="%RETRY%g",consumer_group="g",is_retry="true",is_system="false"} 300"#
            ]
        );
        let sizes = lines(&metrics, Gauges::default(), "rocketmq_message_size_bucket");
        assert!(sizes[0].ends_with(r#"le="128"} 1"#), "{sizes:?}");
        assert!(sizes.last().unwrap().ends_with(r#"le="+Inf"} 2"#), "{sizes:?}");
    }

    #[test]
    fn latencies_are_cumulative_milliseconds_by_code() {
        let metrics = node();
        let rpc = metrics.rpc("SEND_MESSAGE_V2");
        rpc.answered(0, Duration::from_micros(900));
        rpc.answered(0, Duration::from_millis(4));
        rpc.answered(17, Duration::from_millis(1));
        let counts = lines(&metrics, Gauges::default(), "rocketmq_rpc_latency_count");
        assert_eq!(counts.len(), 2, "{counts:?}");
        assert!(counts[0].contains(r#"request_code="SEND_MESSAGE_V2",response_code="0"} 2"#), "{counts:?}");
        let buckets = lines(&metrics, Gauges::default(), "rocketmq_rpc_latency_bucket");
        let at =
            |le: &str| buckets.iter().find(|line| line.contains(r#"code="0""#) && line.contains(le)).unwrap();
        assert!(at(r#"le="1""#).ends_with(" 1"));
        assert!(at(r#"le="5""#).ends_with(" 2"));
        let sums = lines(&metrics, Gauges::default(), "rocketmq_rpc_latency_sum");
        assert!(sums[0].ends_with(" 4.9"), "{sums:?}");
    }

    #[test]
    fn the_group_is_shown_with_the_lag_of_each_replica() {
        let gauges = Gauges {
            raft: RaftGauges {
                role: "leader",
                term: 7,
                leader: Some(2),
                last_log: 10,
                committed: 9,
                applied: 4,
                replicas: vec![(0, Some(10)), (1, Some(3)), (2, None)],
            },
            lags: lagging(12),
            ..Gauges::default()
        };
        let metrics = node();
        let lags = lines(&metrics, gauges.clone(), "flotilla_raft_lag_entries");
        assert_eq!(
            lags,
            [
                r#"flotilla_raft_lag_entries{,peer="n0"} 0"#,
                r#"flotilla_raft_lag_entries{,peer="n1"} 7"#,
                r#"flotilla_raft_lag_entries{,peer="n2"} 11"#,
            ]
        );
        assert_eq!(
            lines(&metrics, gauges.clone(), "flotilla_raft_apply_lag"),
            ["flotilla_raft_apply_lag_entries{} 5"]
        );
        assert_eq!(
            lines(&metrics, gauges.clone(), "flotilla_raft_role"),
            [r#"flotilla_raft_role{,role="leader"} 1"#]
        );
        assert_eq!(
            lines(&metrics, gauges.clone(), "rocketmq_consumer_lag_messages"),
            [r#"rocketmq_consumer_lag_messages{,topic="t",consumer_group="g"} 12"#]
        );
        assert_eq!(
            lines(&metrics, gauges, "flotilla_consumer_queue_lag_messages"),
            [r#"flotilla_consumer_queue_lag_messages{,topic="t",consumer_group="g",queue_id="3"} 12"#]
        );
    }

    #[test]
    fn flush_latencies_of_the_log_become_seconds() {
        let log = LogCounters {
            flush_bounds_us: &[1_000, 10_000],
            flush_buckets: vec![1, 2, 3],
            flush_sum_us: 2_500_000,
            ..LogCounters::default()
        };
        let metrics = node();
        let shown = lines(&metrics, Gauges { log, ..Gauges::default() }, "flotilla_log_flush_seconds");
        assert_eq!(
            shown,
            [
                "flotilla_log_flush_seconds_bucket{,le=\"0.001\"} 1",
                "flotilla_log_flush_seconds_bucket{,le=\"0.01\"} 3",
                "flotilla_log_flush_seconds_bucket{,le=\"+Inf\"} 6",
                "flotilla_log_flush_seconds_sum{} 2.5",
                "flotilla_log_flush_seconds_count{} 6",
            ]
        );
    }

    #[test]
    fn causes_and_totals_are_counters() {
        let metrics = node();
        metrics.rejected(Cause::Busy);
        metrics.forwarded();
        let rejected = lines(&metrics, Gauges::default(), "flotilla_requests_rejected_total");
        assert_eq!(rejected.len(), 11);
        assert_eq!(rejected[0], r#"flotilla_requests_rejected_total{,cause="busy"} 1"#);
        assert_eq!(
            lines(&metrics, Gauges::default(), "flotilla_requests_forwarded_total"),
            ["flotilla_requests_forwarded_total{} 1"]
        );
    }

    #[test]
    fn what_retention_took_unread_is_shown_by_group_and_nothing_else() {
        let metrics = node();
        metrics.group("t", "reads").delivered(0, 1, 1, Duration::ZERO);
        metrics.group("t", "sleeps").deleted_unread(5);
        assert_eq!(
            lines(&metrics, Gauges::default(), "flotilla_messages_deleted_unread_total"),
            [r#"flotilla_messages_deleted_unread_total{,topic="t",consumer_group="sleeps"} 5"#]
        );
    }

    #[test]
    fn operating_md_names_every_metric_and_no_other() {
        let document = include_str!("../../../docs/operating.md");
        let section =
            document.split_once("<!-- metrics -->").unwrap().1.split_once("<!-- /metrics -->").unwrap().0;
        let mut told: Vec<&str> =
            section.split('`').skip(1).step_by(2).filter(|code| is_metric(code)).collect();
        let metrics = node();
        metrics.topic("t").stored(0, [1].into_iter());
        metrics.group("t", "g").delivered(0, 1, 1, Duration::ZERO);
        metrics.group("t", "g").deleted_unread(1);
        metrics.rpc("PULL_MESSAGE").answered(0, Duration::ZERO);
        metrics.dead_letters("t", "g").stored(true);
        let gauges = Gauges {
            raft: RaftGauges { replicas: vec![(0, None)], ..RaftGauges::default() },
            lags: lagging(1),
            expiring: vec![ConsumerLag { topic: "t".into(), group: "g".into(), messages: 1 }],
            delays: vec![DelayLevel { level: 1, pending: 2, done: 3 }],
            ..Gauges::default()
        };
        let text = metrics.expose(gauges, Format::Prometheus);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut shown: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
        told.sort_unstable();
        shown.sort_unstable();
        assert_eq!(told, shown);
    }

    fn is_metric(code: &str) -> bool {
        code.starts_with("rocketmq_") || code.starts_with("flotilla_")
    }

    #[test]
    fn every_family_is_told_once_and_openmetrics_ends_with_its_mark() {
        let metrics = node();
        let text = metrics.expose(Gauges::default(), Format::OpenMetrics);
        assert!(text.ends_with("# EOF\n"));
        let mut types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count);
        assert!(count > 30, "{count}");
    }
}
