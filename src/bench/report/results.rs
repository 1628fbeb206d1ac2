//! Results of a comparison: lines of JSON as `benches/side-by-side/compare.sh` writes them, and figures made of them.

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::bench::latency::Summary;
use crate::bench::outcome::median;

/// Name of this server in the results; ratios are its figures over those of the others.
pub const OURS: &str = "flotilla";

/// One run of one row on one server.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    pub server: String,
    pub row: String,
    pub round: u32,
    /// The peer that this run was made beside; a run of the peer names itself.
    #[serde(default)]
    pub pair: Option<String>,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub ack_policy: String,
    #[serde(default)]
    pub cores: u32,
    #[serde(default)]
    pub commit: String,
    pub messages_per_second: f64,
    #[serde(default)]
    pub bytes_per_second: f64,
    #[serde(default)]
    pub latency_us: Option<Summary>,
    #[serde(default)]
    pub acked: Option<u64>,
    #[serde(default)]
    pub received: Option<u64>,
    #[serde(default)]
    pub failed: Option<u64>,
    #[serde(default)]
    pub unknown: Option<u64>,
    #[serde(default)]
    pub client_cpu_seconds: f64,
    #[serde(default)]
    pub server_cpu_seconds: f64,
    #[serde(default)]
    pub disk_bytes: f64,
    /// Messages that the server's CPU time and bytes on disk were spent on, warm-up included.
    #[serde(default)]
    pub stored_messages: Option<u64>,
}

impl Run {
    fn measured_messages(&self) -> Option<f64> {
        self.acked.or(self.received).filter(|count| *count > 0).map(|count| count as f64)
    }

    fn paid_messages(&self) -> Option<f64> {
        let stored = self.stored_messages.filter(|count| *count > 0).map(|count| count as f64);
        stored.or_else(|| self.measured_messages())
    }

    /// CPU time of all brokers by message, µs.
    pub fn server_cpu_us(&self) -> Option<f64> {
        let seconds = Some(self.server_cpu_seconds).filter(|seconds| *seconds > 0.0)?;
        Some(seconds * 1e6 / self.paid_messages()?)
    }

    /// CPU time of the load program by message, µs.
    pub fn client_cpu_us(&self) -> Option<f64> {
        let seconds = Some(self.client_cpu_seconds).filter(|seconds| *seconds > 0.0)?;
        Some(seconds * 1e6 / self.measured_messages()?)
    }

    /// Messages by second of the brokers' CPU time.
    pub fn messages_per_cpu_second(&self) -> Option<f64> {
        self.server_cpu_us().map(|us| 1e6 / us)
    }

    /// Bytes on the disks of all brokers by message.
    pub fn disk_bytes_per_message(&self) -> Option<f64> {
        Some(self.disk_bytes)
            .filter(|bytes| *bytes > 0.0)
            .and_then(|bytes| Some(bytes / self.paid_messages()?))
    }

    /// Messages without a good answer.
    pub fn not_acked(&self) -> Option<f64> {
        self.failed.map(|failed| (failed + self.unknown.unwrap_or(0)) as f64)
    }

    /// A quantile of the latencies, µs.
    pub fn latency(&self, of: impl Fn(&Summary) -> u64) -> Option<f64> {
        self.latency_us.as_ref().map(|summary| of(summary) as f64)
    }
}

/// Reads all runs of a file; lines that are no JSON objects are passed over.
///
/// # Errors
/// A line lacks a figure, or there is none at all.
pub fn read(text: &str) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('{')) {
        let run: Run = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        runs.push(run);
    }
    ensure!(!runs.is_empty(), "there is no result in it");
    Ok(runs)
}

/// Distinct texts in the order of their first appearance.
pub fn distinct<'a>(runs: &'a [Run], text: impl Fn(&'a Run) -> &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for run in runs {
        if !found.contains(&text(run)) {
            found.push(text(run));
        }
    }
    found
}

/// Runs of a row on a server.
pub fn of<'a>(runs: &'a [Run], row: &str, server: &str) -> Vec<&'a Run> {
    runs.iter().filter(|run| run.row == row && run.server == server).collect()
}

/// Pairs of neighbours: our run and the peer's, of one round and row.
pub fn pairs<'a>(runs: &'a [Run], row: &str, peer: &str) -> Vec<(&'a Run, &'a Run)> {
    let ours = of(runs, row, OURS);
    let beside = |run: &Run| run.pair.as_deref().is_none_or(|pair| pair == peer);
    of(runs, row, peer)
        .into_iter()
        .filter_map(|theirs| {
            ours.iter().find(|ours| ours.round == theirs.round && beside(ours)).map(|ours| (*ours, theirs))
        })
        .collect()
}

/// Median of a figure over runs; those that lack it don't count.
pub fn median_of(runs: &[&Run], figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    median(runs.iter().filter_map(|run| figure(run)).collect())
}

/// Greatest of a figure over runs; those that lack it don't count.
pub fn greatest_of(runs: &[&Run], figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    runs.iter().filter_map(|run| figure(run)).reduce(f64::max)
}

/// Median, least and greatest ratio of a figure over pairs.
pub fn ratios(pairs: &[(&Run, &Run)], figure: impl Fn(&Run) -> Option<f64>) -> Option<[f64; 3]> {
    let ratio = |(ours, theirs): &(&Run, &Run)| {
        let theirs = figure(theirs).filter(|theirs| *theirs > 0.0)?;
        Some(figure(ours)? / theirs)
    };
    let values: Vec<f64> = pairs.iter().filter_map(ratio).collect();
    let least = values.iter().copied().reduce(f64::min)?;
    let greatest = values.iter().copied().reduce(f64::max)?;
    Some([median(values)?, least, greatest])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    /// Two rounds of two rows on three servers, made by hand.
    pub const RESULTS: &str = include_str!("results.test.jsonl");

    #[test]
    fn ratios_are_of_neighbours() {
        let runs = read(RESULTS).unwrap();
        assert_eq!(distinct(&runs, |run| &run.server), ["flotilla", "rocketmq-dledger", "kafka"]);
        assert_eq!(distinct(&runs, |run| &run.row), ["sync-64", "consume-100"]);
        // Beside the one 10,000 and 12,000, beside the other 11,000 and 9,000.
        let pairs = pairs(&runs, "sync-64", "rocketmq-dledger");
        assert_eq!(pairs.len(), 2);
        let [middle, least, greatest] = ratios(&pairs, |run| Some(run.messages_per_second)).unwrap();
        assert_eq!((least, middle, greatest), (5.0, 5.5, 6.0));
        let of_kafka = super::pairs(&runs, "sync-64", "kafka");
        let [middle, ..] = ratios(&of_kafka, |run| Some(run.messages_per_second)).unwrap();
        assert_eq!(middle, (11.0 / 8.0 + 9.0 / 8.0) / 2.0);
    }

    #[test]
    fn costs_are_divided_by_the_messages_that_caused_them() {
        let runs = read(RESULTS).unwrap();
        let first = &runs[0];
        // 3 s over 150,000 stored, 1 s over 100,000 measured, 480 MB over 150,000 stored.
        assert_eq!(first.server_cpu_us(), Some(20.0));
        assert_eq!(first.client_cpu_us(), Some(10.0));
        assert_eq!(first.disk_bytes_per_message(), Some(3200.0));
        assert_eq!(first.messages_per_cpu_second(), Some(50_000.0));
    }

    #[test]
    fn medians_of_even_numbers_are_means_and_of_none_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn a_line_without_its_names_is_refused() {
        assert!(read("{\"server\":\"flotilla\"}").is_err());
        assert!(read("nothing\n").is_err());
    }
}
