//! Latencies, in an HDR histogram of three digits from 1 µs to 60 s.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

const LONGEST_US: u64 = 60_000_000;

/// Latencies of one thread; merged at the end.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are sound"))
    }

    /// One more, in µs; what is outside of the bounds counts as the bound.
    pub fn record(&mut self, latency_us: u64) {
        self.0.saturating_record(latency_us.max(1));
    }

    /// Adds those of another thread.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures that are reported; `None` without any latency.
    pub fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.0.value_at_quantile(quantile).min(LONGEST_US);
        (!self.0.is_empty()).then(|| Summary {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max().min(LONGEST_US),
            mean: self.0.mean().round() as u64,
        })
    }
}

/// Quantiles of latencies, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Median.
    pub p50: u64,
    /// 90 of 100 took no longer.
    pub p90: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1000 took no longer.
    pub p999: u64,
    /// Longest.
    pub max: u64,
    /// Mean.
    pub mean: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut low = Latencies::new();
        let mut high = Latencies::new();
        (1..=500).for_each(|latency_us| low.record(latency_us * 10));
        (501..=1_000).for_each(|latency_us| high.record(latency_us * 10));
        low.merge(&high);
        let summary = low.summary().unwrap();
        for (got, expected) in
            [(summary.p50, 5_000), (summary.p90, 9_000), (summary.p99, 9_900), (summary.max, 10_000)]
        {
            assert!(got.abs_diff(expected) * 1_000 <= expected, "{got} for {expected}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.summary(), None);
        latencies.record(0);
        latencies.record(u64::MAX);
        let summary = latencies.summary().unwrap();
        assert_eq!((summary.p50, summary.max), (1, LONGEST_US));
    }
}
