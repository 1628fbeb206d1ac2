//! A histogram whose update is two relaxed additions, for paths where a lock per message would show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Fixed buckets of whole numbers (microseconds, bytes), divided by a scale when shown.
#[derive(Debug)]
pub struct AtomicHistogram {
    shape: &'static Shape,
    /// One per bound and a last one without bound.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Bounds that many histograms share.
#[derive(Debug)]
pub struct Shape {
    /// Upper bounds, inclusive, ascending, in the unit of the observations.
    pub bounds: &'static [u64],
    /// Observations per unit shown: 1000.0 shows microseconds as milliseconds.
    pub scale: f64,
}

/// Latencies of requests: observed in microseconds, shown in milliseconds as RocketMQ does.
pub static RPC_LATENCY: Shape = Shape {
    bounds: &[
        250, 500, 1_000, 2_000, 3_000, 5_000, 7_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
        1_000_000, 3_000_000, 10_000_000,
    ],
    scale: 1_000.0,
};

/// Sizes of messages, bytes.
pub static MESSAGE_SIZE: Shape =
    Shape { bounds: &[128, 512, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304], scale: 1.0 };

impl AtomicHistogram {
    pub fn new(shape: &'static Shape) -> Self {
        let buckets = (0..=shape.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { shape, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts one observation.
    pub fn observe(&self, value: u64) {
        let bucket = self.shape.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration in microseconds.
    pub fn observe_duration(&self, elapsed: Duration) {
        self.observe(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far. Buckets are read one after the other: observations made meanwhile may be missing.
    pub(super) fn read(&self) -> Counted {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Counted::of(self.shape.bounds, self.shape.scale, &counts, self.sum.load(Ordering::Relaxed))
    }
}

/// A histogram as the exposition wants it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    pub sum: f64,
    pub count: u64,
    /// Upper bound and count of that bucket alone; the encoder adds them up.
    pub buckets: Vec<(f64, u64)>,
}

impl Counted {
    pub(super) fn of(bounds: &[u64], scale: f64, counts: &[u64], sum: u64) -> Self {
        let bounds = bounds.iter().map(|bound| *bound as f64 / scale).chain([f64::INFINITY]);
        Self {
            sum: sum as f64 / scale,
            count: counts.iter().sum(),
            buckets: bounds.zip(counts.iter().copied()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_lands_in_the_bucket_of_its_upper_bound() {
        let histogram = AtomicHistogram::new(&MESSAGE_SIZE);
        for value in [0, 128, 129, 4_194_304, 4_194_305] {
            histogram.observe(value);
        }
        let counted = histogram.read();
        assert_eq!(counted.count, 5);
        assert_eq!(counted.sum, 8_388_866.0);
        assert_eq!(counted.buckets[0], (128.0, 2));
        assert_eq!(counted.buckets[1], (512.0, 1));
        assert_eq!(counted.buckets[8], (4_194_304.0, 1));
        assert_eq!(counted.buckets[9], (f64::INFINITY, 1));
    }

    #[test]
    fn microseconds_are_shown_as_milliseconds() {
        let histogram = AtomicHistogram::new(&RPC_LATENCY);
        histogram.observe_duration(Duration::from_micros(1_500));
        let counted = histogram.read();
        assert_eq!(counted.sum, 1.5);
        assert_eq!(counted.buckets[3], (2.0, 1));
    }
}
