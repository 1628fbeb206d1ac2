//! Samples of counters over the last minute, hour and day: what VIEW_BROKER_STATS_DATA (315) answers.
//!
//! | window | sampled every | kept | so the answer spans |
//! |--------|--------------:|-----:|--------------------:|
//! | minute |          10 s |    7 |              60 s   |
//! | hour   |        10 min |    7 |              60 min |
//! | day    |           1 h |   25 |              24 h   |
//!
//! The first sample of a series is preceded by zeros one period earlier, so that what came before it counts.
//! Time is handed in. Source: RocketMQ 5.3 StatsItem.

use std::collections::VecDeque;

/// Counters that are sampled together.
pub const VALUES: usize = 4;

/// One of the spans over which statistics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Minute,
    Hour,
    Day,
}

impl Window {
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Milliseconds between two samples.
    pub const fn period_ms(self) -> u64 {
        match self {
            Self::Minute => 10_000,
            Self::Hour => 600_000,
            Self::Day => 3_600_000,
        }
    }

    const fn kept(self) -> usize {
        match self {
            Self::Minute | Self::Hour => 7,
            Self::Day => 25,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    time_ms: u64,
    values: [u64; VALUES],
}

/// The samples of one series.
#[derive(Debug, Default)]
pub struct Rings {
    windows: [VecDeque<Sample>; 3],
}

/// What a window says: how much each counter grew, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    pub millis: u64,
    pub values: [u64; VALUES],
}

impl Rings {
    /// Takes a sample.
    pub fn sample(&mut self, window: Window, now_ms: u64, values: [u64; VALUES]) {
        let samples = &mut self.windows[window as usize];
        if samples.is_empty() {
            let time_ms = now_ms.saturating_sub(window.period_ms());
            samples.push_back(Sample { time_ms, values: [0; VALUES] });
        }
        samples.push_back(Sample { time_ms: now_ms, values });
        if samples.len() > window.kept() {
            samples.pop_front();
        }
    }

    /// What a window says now; nothing grew before the first sample.
    pub fn growth(&self, window: Window) -> Growth {
        let samples = &self.windows[window as usize];
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Growth::default() };
        let grown = |value: usize| last.values[value].saturating_sub(first.values[value]);
        Growth { millis: last.time_ms.saturating_sub(first.time_ms), values: std::array::from_fn(grown) }
    }

    /// True when a whole day of samples shows no change.
    pub fn is_idle(&self) -> bool {
        let samples = &self.windows[Window::Day as usize];
        samples.len() == Window::Day.kept() && self.growth(Window::Day).values == [0; VALUES]
    }
}

impl Growth {
    /// Growth of a counter per second.
    pub fn per_second(&self, value: usize) -> f64 {
        match self.millis {
            0 => 0.0,
            millis => self.values[value] as f64 * 1000.0 / millis as f64,
        }
    }

    /// Growth of a counter for each step of another.
    pub fn per(&self, value: usize, other: usize) -> f64 {
        match self.values[other] {
            0 => 0.0,
            steps => self.values[value] as f64 / steps as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000;

    #[test]
    fn a_new_series_counts_from_zero_one_period_before_its_first_sample() {
        let mut rings = Rings::default();
        assert_eq!(rings.growth(Window::Minute), Growth::default());
        rings.sample(Window::Minute, START, [100, 2_000, 50, 0]);
        let growth = rings.growth(Window::Minute);
        assert_eq!(growth, Growth { millis: 10_000, values: [100, 2_000, 50, 0] });
        assert_eq!((growth.per_second(0), growth.per(1, 0), growth.per(0, 3)), (10.0, 20.0, 0.0));
    }

    #[test]
    fn a_window_forgets_what_is_older_than_it() {
        let mut rings = Rings::default();
        for step in 1..=20 {
            rings.sample(Window::Minute, START + step * 10_000, [step * 7, 0, 0, 0]);
        }
        let growth = rings.growth(Window::Minute);
        assert_eq!((growth.millis, growth.values[0]), (60_000, 42));
        assert!((growth.per_second(0) - 0.7).abs() < 1e-9);
        assert_eq!(rings.growth(Window::Hour), Growth::default());
    }

    #[test]
    fn a_day_has_24_hours_and_only_a_whole_one_can_be_idle() {
        let mut rings = Rings::default();
        for hour in 0..100 {
            assert!(!rings.is_idle() || hour >= 25, "hour {hour}");
            rings.sample(Window::Day, START + hour * 3_600_000, [5, 5, 5, 0]);
        }
        assert_eq!(rings.growth(Window::Day).millis, 24 * 3_600_000);
        assert!(rings.is_idle());
        rings.sample(Window::Day, START + 100 * 3_600_000, [6, 5, 5, 0]);
        assert!(!rings.is_idle());
    }

    #[test]
    fn two_samples_at_one_moment_give_no_infinite_rate() {
        let mut rings = Rings::default();
        for _ in 0..9 {
            rings.sample(Window::Minute, 0, [3, 0, 0, 0]);
        }
        assert_eq!(rings.growth(Window::Minute).per_second(0), 0.0);
    }
}
