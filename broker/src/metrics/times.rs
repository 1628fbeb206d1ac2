//! Times of one kind of request, fine enough for percentiles.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, ms: 1 to 20 by 1, to 50 by 2, to 100 by 5, to 200 by 10, to 500 by 50, to 1000 by 100, to 10 s by 1 s.
/// Source: RocketMQ 5.3 StoreStatsService, PUT_MESSAGE_ENTIRE_TIME_BUCKETS.
const STEPS: [(u64, usize); 7] = [(1, 20), (2, 15), (5, 10), (10, 10), (50, 6), (100, 5), (1000, 9)];
const BOUNDED: usize = 75;
const BOUNDS_MS: [u64; BOUNDED] = bounds();

const fn bounds() -> [u64; BOUNDED] {
    let mut bounds = [0; BOUNDED];
    let (mut at, mut bound, mut step) = (0, 0, 0);
    while step < STEPS.len() {
        let mut times = 0;
        while times < STEPS[step].1 {
            bound += STEPS[step].0;
            bounds[at] = bound;
            at += 1;
            times += 1;
        }
        step += 1;
    }
    assert!(at == BOUNDED && bounds[BOUNDED - 1] == 10_000);
    bounds
}

/// Counts of times since the start.
#[derive(Debug)]
pub struct Times {
    /// One per bound and a last one without bound.
    counts: [AtomicU64; BOUNDED + 1],
    longest_ms: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), longest_ms: AtomicU64::new(0) }
    }
}

impl Times {
    /// Two relaxed operations and a search among 75 numbers.
    pub fn count(&self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Whole milliseconds that have passed, so 0 to 1 ms is the first bucket.
        let bucket = BOUNDS_MS.partition_point(|bound| *bound <= ms);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        if ms > self.longest_ms.load(Ordering::Relaxed) {
            self.longest_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    pub fn longest_ms(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed)
    }

    pub fn read(&self) -> Distribution {
        Distribution { counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)) }
    }
}

/// Counts per bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BOUNDED + 1],
}

impl Default for Distribution {
    fn default() -> Self {
        Self { counts: [0; BOUNDED + 1] }
    }
}

/// Names of the buckets that tools show, with their upper bounds. Source: RocketMQ 5.3 StoreStatsService,
/// PUT_MESSAGE_ENTIRE_TIME_MAX_DESC.
const SHOWN: [(&str, u64); 13] = [
    ("[<=0ms]", 1),
    ("[0~10ms]", 10),
    ("[10~50ms]", 50),
    ("[50~100ms]", 100),
    ("[100~200ms]", 200),
    ("[200~500ms]", 500),
    ("[500ms~1s]", 1000),
    ("[1~2s]", 2000),
    ("[2~3s]", 3000),
    ("[3~4s]", 4000),
    ("[4~5s]", 5000),
    ("[5~10s]", 10_000),
    ("[10s~]", u64::MAX),
];

impl Distribution {
    /// What came on top of an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        Self { counts: std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at])) }
    }

    /// Time below which this share of the requests stayed, ms, evenly spread within a bucket; 0 without requests.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = total as f64 * share;
        let mut passed = 0.0;
        let mut lower = 0.0;
        for (at, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            // What lies beyond the last bound has no length that could be shared out.
            let upper = BOUNDS_MS.get(at).map_or(lower, |bound| *bound as f64);
            if count > 0.0 && passed + count >= wanted {
                return lower + (upper - lower) * (wanted - passed) / count;
            }
            passed += count;
            lower = upper;
        }
        0.0
    }

    /// `[<=0ms]:5 [0~10ms]:1 …`, each followed by a blank.
    pub fn text(&self) -> String {
        let mut lower = 0;
        let mut text = String::new();
        for (name, upper) in SHOWN {
            let within = |at: usize| {
                let bound = BOUNDS_MS.get(at).copied().unwrap_or(u64::MAX);
                bound > lower && bound <= upper
            };
            let count: u64 = (0..=BOUNDED).filter(|at| within(*at)).map(|at| self.counts[at]).sum();
            text += &format!("{name}:{count} ");
            lower = upper;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(all_ms: &[u64]) -> Distribution {
        let times = Times::default();
        all_ms.iter().for_each(|ms| times.count(Duration::from_millis(*ms)));
        times.read()
    }

    #[test]
    fn the_text_names_rocketmqs_buckets() {
        let times = times(&[0, 0, 1, 9, 10, 49, 150, 999, 1000, 9999, 10_000, 60_000]);
        assert_eq!(
            times.text(),
            "[<=0ms]:2 [0~10ms]:2 [10~50ms]:2 [50~100ms]:0 [100~200ms]:1 [200~500ms]:0 [500ms~1s]:1 [1~2s]:1 \
             [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:1 [10s~]:2 "
        );
    }

    #[test]
    fn quantiles_lie_where_the_times_do() {
        assert_eq!(Distribution::default().quantile_ms(0.99), 0.0);
        let mut all = vec![3; 990];
        all.extend([400; 10]);
        let times = times(&all);
        assert!((3.0..=4.0).contains(&times.quantile_ms(0.5)), "{}", times.quantile_ms(0.5));
        assert!((400.0..=450.0).contains(&times.quantile_ms(0.999)), "{}", times.quantile_ms(0.999));
        assert_eq!(self::times(&[60_000]).quantile_ms(0.99), 10_000.0);
    }

    #[test]
    fn a_difference_counts_what_came_since() {
        let times = Times::default();
        times.count(Duration::from_millis(5));
        let earlier = times.read();
        times.count(Duration::from_millis(70));
        assert!(
            times.read().since(&earlier).text().starts_with("[<=0ms]:0 [0~10ms]:0 [10~50ms]:0 [50~100ms]:1 ")
        );
        assert_eq!(times.longest_ms(), 70);
    }
}
