//! Leader time: what is stamped into records.
//!
//! The node keeps a *steady* clock of its own: it starts at the wall clock and then advances with monotonic time, 0.9
//! to 1.1 times as fast, until it meets the wall clock again; so a jump of the wall clock turns into a slow drift. The
//! time of a record is the steady time, but never below the record before: where the steady clock is behind (another
//! leader's was ahead), log time goes on at 0.9 of monotonic time until it is met.

use std::fmt;
use std::time::Instant;

use tracing::warn;

use crate::wall_clock;

/// A gap between steady and wall clock above this is worth a line in the log.
const JUMP_MS: f64 = 5_000.0;
const SLOWEST: f64 = 0.9;
const FASTEST: f64 = 1.1;

/// Source of time, so that tests and simulation bring their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall clock, milliseconds since the Unix epoch; may jump.
    fn wall_ms(&self) -> u64;
    /// Monotonic clock, microseconds since any fixed moment.
    fn monotonic_us(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The clocks, counting monotonic time from now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        wall_clock::now_ms()
    }

    fn monotonic_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// The time to stamp next.
#[derive(Debug)]
pub(crate) struct LeaderTime {
    steady_ms: f64,
    /// Time of the newest record, advanced while the steady clock is behind it.
    floor_ms: f64,
    monotonic_us: u64,
    jump_reported: bool,
}

impl LeaderTime {
    /// Starts at the wall clock; `last_ms` is the time of the last record, 0 for none.
    pub(crate) fn new(clock: &dyn Clock, last_ms: u64) -> Self {
        Self {
            steady_ms: clock.wall_ms() as f64,
            floor_ms: last_ms as f64,
            monotonic_us: clock.monotonic_us(),
            jump_reported: false,
        }
    }

    /// Time for a record that is stamped now.
    pub(crate) fn stamp(&mut self, clock: &dyn Clock) -> u64 {
        self.advance(clock);
        let now = self.steady_ms.max(self.floor_ms);
        self.floor_ms = now;
        now as u64
    }

    /// The time that a record stamped now would get: what is stamped later is not below it while no other leader's record comes
    /// in between.
    pub(crate) fn now(&mut self, clock: &dyn Clock) -> u64 {
        self.advance(clock);
        self.steady_ms.max(self.floor_ms) as u64
    }

    /// Takes note of a record of another leader.
    pub(crate) fn observe(&mut self, clock: &dyn Clock, time_ms: u64) {
        self.advance(clock);
        self.floor_ms = time_ms as f64;
    }

    fn advance(&mut self, clock: &dyn Clock) {
        let now_us = clock.monotonic_us().max(self.monotonic_us);
        let elapsed_ms = (now_us - self.monotonic_us) as f64 / 1000.0;
        self.monotonic_us = now_us;
        let wall_ms = clock.wall_ms() as f64;
        let (slowest, fastest) =
            (self.steady_ms + elapsed_ms * SLOWEST, self.steady_ms + elapsed_ms * FASTEST);
        self.steady_ms = wall_ms.clamp(slowest, fastest);
        self.floor_ms += elapsed_ms * SLOWEST;
        let gap_ms = wall_ms - self.steady_ms;
        if gap_ms.abs() > JUMP_MS {
            if !self.jump_reported {
                warn!(gap_ms, "wall clock jumped, leader time follows slowly");
                self.jump_reported = true;
            }
        } else {
            self.jump_reported = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Debug, Default)]
    struct Hands(Mutex<(u64, u64)>);

    impl Hands {
        fn at(wall_ms: u64) -> Self {
            Self(Mutex::new((wall_ms, 0)))
        }
        fn pass(&self, ms: u64) {
            let mut hands = self.0.lock();
            hands.0 += ms;
            hands.1 += ms * 1000;
        }
        fn jump(&self, ms: i64) {
            let mut hands = self.0.lock();
            hands.0 = hands.0.saturating_add_signed(ms);
        }
    }

    impl Clock for Hands {
        fn wall_ms(&self) -> u64 {
            self.0.lock().0
        }
        fn monotonic_us(&self) -> u64 {
            self.0.lock().1
        }
    }

    /// Rule 16: jumps in both directions become a rate between 0.9 and 1.1 that ends at the wall clock.
    #[test]
    fn rule_16_jumps_are_slewed_at_a_tenth_until_the_wall_clock_is_met() {
        for jump in [60_000_i64, -60_000] {
            let clock = Hands::at(1_000_000);
            let mut time = LeaderTime::new(&clock, 0);
            let mut last = time.stamp(&clock);
            clock.jump(jump);
            let mut met = false;
            for _ in 0..700 {
                clock.pass(1000);
                let now = time.stamp(&clock);
                let step = now - last;
                assert!((899..=1101).contains(&step), "step of {step} ms in a second after a jump of {jump}");
                met |= now.abs_diff(clock.wall_ms()) <= 1;
                last = now;
            }
            assert!(met, "the wall clock is met within 600 s of a jump of {jump}");
            assert!(last.abs_diff(clock.wall_ms()) <= 1);
        }
    }

    #[test]
    fn rule_16_time_never_goes_back_behind_another_leaders_record() {
        let clock = Hands::at(1_000_000);
        let mut time = LeaderTime::new(&clock, 0);
        time.observe(&clock, 1_030_000);
        let mut last = 1_030_000;
        for _ in 0..400 {
            clock.pass(1000);
            let now = time.stamp(&clock);
            assert!((899..=1101).contains(&(now - last)), "from {last} to {now}");
            last = now;
        }
        assert_eq!(last, clock.wall_ms(), "met after 300 s");
    }

    /// Whoever waits for a moment of leader time may believe what it reads: the stamp that follows is not below it.
    #[test]
    fn rule_16_time_that_was_read_is_reached_by_the_next_stamp() {
        let clock = Hands::at(1_000_000);
        let mut time = LeaderTime::new(&clock, 0);
        time.observe(&clock, 1_002_000);
        for jump in [0, 70_000, -90_000, 0, 0] {
            clock.jump(jump);
            for _ in 0..50 {
                clock.pass(137);
                let read = time.now(&clock);
                let stamped = time.stamp(&clock);
                assert!(stamped >= read && stamped - read <= 1, "read {read}, stamped {stamped}");
            }
        }
    }

    #[test]
    fn rule_16_a_start_after_a_long_stop_takes_the_wall_clock_at_once() {
        let clock = Hands::at(9_000_000);
        let mut time = LeaderTime::new(&clock, 1_000_000);
        assert_eq!(time.stamp(&clock), 9_000_000);
    }
}
