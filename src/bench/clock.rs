//! The time of a run, and the CPU time that this process has used.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since 1970 that never go back within the process: the wall clock is read once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    began_us: u64,
}

impl Clock {
    /// Reads both clocks.
    pub fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_us: micros(since) }
    }

    /// Now, in µs since 1970.
    pub fn now_us(&self) -> u64 {
        self.began_us + micros(self.began.elapsed())
    }
}

/// A duration in whole µs.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// CPU seconds of all threads of this process so far, user and system.
pub fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_seconds();
        let mut sum = 0u64;
        while cpu_seconds() - before < 0.001 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds() > before);
    }
}
