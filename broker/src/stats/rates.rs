//! Rates of the whole broker over the last 10, 60 and 600 seconds, from one sample a second.
//!
//! Source: RocketMQ 5.3 StoreStatsService.

use std::collections::VecDeque;

/// Samples kept: those of ten minutes, and the one before them.
const SAMPLES_MAX: usize = 601;
const SPANS: [usize; 3] = [10, 60, 600];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Messages stored.
    Put,
    /// Pulls that found something.
    Found,
    /// Pulls that found nothing.
    Miss,
    /// Pulls.
    Total,
    /// Messages handed out.
    Transferred,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub puts: u64,
    pub found: u64,
    pub miss: u64,
    pub transferred: u64,
}

impl Counted {
    fn get(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Put => self.puts,
            Rate::Found => self.found,
            Rate::Miss => self.miss,
            Rate::Total => self.found + self.miss,
            Rate::Transferred => self.transferred,
        }
    }
}

/// The samples.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<(u64, Counted)>,
}

impl Rates {
    pub fn sample(&mut self, now_ms: u64, counted: Counted) {
        self.samples.push_back((now_ms, counted));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// Per second, over as many samples; unknown until there are enough.
    fn per_second(&self, rate: Rate, span: usize) -> Option<f64> {
        let (last_ms, last) = self.samples.back()?;
        let (first_ms, first) = self.samples.get(self.samples.len().checked_sub(span + 1)?)?;
        let millis = last_ms.checked_sub(*first_ms).filter(|millis| *millis > 0)?;
        Some(last.get(rate).saturating_sub(first.get(rate)) as f64 * 1000.0 / millis as f64)
    }

    /// Three numbers with a blank between them, each missing until it is known, as RocketMQ writes them; the total is 0.0
    /// instead.
    pub fn text(&self, rate: Rate) -> String {
        let unknown = if rate == Rate::Total { "0.0" } else { "" };
        let number = |span| match self.per_second(rate, span) {
            // With a point, as Java writes a double.
            Some(rate) => format!("{rate:?}"),
            None => unknown.to_owned(),
        };
        SPANS.map(number).join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, per_second: u64) -> Rates {
        let mut rates = Rates::default();
        for second in 0..seconds {
            let count = second * per_second;
            let counted = Counted { puts: count, found: count, miss: 2 * count, transferred: 5 * count };
            rates.sample(1_700_000_000_000 + second * 1000, counted);
        }
        rates
    }

    #[test]
    fn a_rate_is_missing_until_its_span_has_passed() {
        assert_eq!(after(0, 3).text(Rate::Put), "  ");
        assert_eq!(after(10, 3).text(Rate::Put), "  ");
        assert_eq!(after(11, 3).text(Rate::Put), "3.0  ");
        assert_eq!(after(61, 3).text(Rate::Put), "3.0 3.0 ");
        assert_eq!(after(601, 3).text(Rate::Put), "3.0 3.0 3.0");
        assert_eq!(after(5000, 3).text(Rate::Transferred), "15.0 15.0 15.0");
    }

    #[test]
    fn the_total_is_found_and_missed_and_never_blank() {
        assert_eq!(after(0, 3).text(Rate::Total), "0.0 0.0 0.0");
        assert_eq!(after(11, 2).text(Rate::Total), "6.0 0.0 0.0");
    }

    #[test]
    fn spans_look_back_from_the_last_sample() {
        let mut rates = after(100, 0);
        for second in 100..110 {
            rates.sample(
                1_700_000_000_000 + second * 1000,
                Counted { puts: (second - 99) * 60, ..Counted::default() },
            );
        }
        assert_eq!(rates.text(Rate::Put), "60.0 10.0 ");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_no_number() {
        let mut rates = Rates::default();
        for _ in 0..20 {
            rates.sample(5_000, Counted::default());
        }
        assert_eq!(rates.text(Rate::Put), "  ");
        rates.sample(1_000, Counted::default());
        assert_eq!(rates.text(Rate::Put), "  ");
    }
}
