//! Metrics of one name server. The registry is a value: several name servers in one process stay apart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flotilla_net::{ByteBudget, NetStats};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the latency buckets in milliseconds. Most answers take microseconds; the largest bound is a client's
/// time-out. Name of the metric as in RocketMQ 5.
const LATENCY_BUCKETS_MS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 100.0, 3000.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RpcLabels {
    request_code: &'static str,
    response_code: i32,
}

/// Counted while serving.
pub(crate) struct Metrics {
    registry: Registry,
    latency: Family<RpcLabels, Histogram, fn() -> Histogram>,
}

/// Text form of the metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// What every scraper reads.
    Prometheus,
    /// When the scraper asks for it.
    OpenMetrics,
}

/// Looked at when asked.
pub(crate) struct Gauges<'a> {
    pub(crate) brokers: usize,
    pub(crate) replicas: usize,
    pub(crate) leaderless: usize,
    pub(crate) topics: usize,
    pub(crate) ready: bool,
    pub(crate) net: &'a NetStats,
    pub(crate) budget: &'a ByteBudget,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::default();
        let latency = Family::new_with_constructor(new_histogram as fn() -> Histogram);
        let help = "Time from a request to its answer, in milliseconds";
        registry.register("rocketmq_rpc_latency", help, latency.clone());
        Metrics { registry, latency }
    }

    /// One answered request.
    pub(crate) fn answered(&self, request_code: &'static str, response_code: i32, took: Duration) {
        let labels = RpcLabels { request_code, response_code };
        self.latency.get_or_create(&labels).observe(took.as_secs_f64() * 1000.0);
    }

    /// All metrics as text with its content type.
    pub(crate) fn text(&self, gauges: &Gauges<'_>, format: Format) -> (&'static str, String) {
        let mut out = String::new();
        let now = looked_at(gauges);
        // Writing to a String does not fail.
        let content_type = match format {
            Format::Prometheus => {
                let _ = prometheus_text::encode(&mut out, &self.registry);
                let _ = prometheus_text::encode(&mut out, &now);
                prometheus_text::CONTENT_TYPE
            }
            Format::OpenMetrics => {
                let _ = text::encode_registry(&mut out, &self.registry);
                let _ = text::encode(&mut out, &now);
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        };
        (content_type, out)
    }
}

fn new_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS_MS)
}

/// A registry of values that are right now.
fn looked_at(gauges: &Gauges<'_>) -> Registry {
    let mut registry = Registry::with_prefix("flotilla_namesrv");
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let net = gauges.net;
    let now = |value: &AtomicU64| usize::try_from(value.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    gauge("broker_names", "Broker names registered", gauges.brokers);
    gauge("replicas", "Replicas registered", gauges.replicas);
    gauge("leaderless_broker_names", "Broker names without a replica that leads", gauges.leaderless);
    gauge("topics", "Topics with a route", gauges.topics);
    gauge("ready", "1 when route queries are answered", usize::from(gauges.ready));
    gauge("connections", "Connections open", now(&net.connections));
    gauge("in_flight_bytes", "Bytes of requests without an answer yet", gauges.budget.in_use());
    let mut counter = |name: &str, help: &str, value: &AtomicU64| {
        registry.register(name, help, ConstCounter::new(value.load(Ordering::Relaxed)));
    };
    counter("connections_opened", "Connections accepted", &net.opened);
    counter("connections_refused", "Connections over the limit", &net.refused);
    counter("connections_malformed", "Connections closed for bytes that are no frame", &net.malformed);
    counter("connections_slow", "Connections closed for slow reading", &net.slow_closed);
    counter("requests_overloaded", "Requests refused for want of memory", &net.overloaded);
    counter("read_bytes", "Bytes read from clients", &net.bytes_read);
    counter("written_bytes", "Bytes written to clients", &net.bytes_written);
    registry
}
