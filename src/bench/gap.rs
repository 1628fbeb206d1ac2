//! The longest time without an ack, over all clients.

use std::sync::atomic::{AtomicU64, Ordering};

/// Time of the last ack and the longest gap so far, shared by all threads: one swap an ack.
#[derive(Debug, Default)]
pub struct AckGap {
    last_us: AtomicU64,
    longest_us: AtomicU64,
}

impl AckGap {
    /// The measured part begins: a gap can't begin before.
    pub fn begin(&self, now_us: u64) {
        self.longest_us.store(0, Ordering::Relaxed);
        self.last_us.store(now_us, Ordering::Relaxed);
    }

    /// An ack came. Threads may tell slightly out of order; that makes no gap.
    pub fn ack(&self, now_us: u64) {
        let last = self.last_us.swap(now_us, Ordering::Relaxed);
        let gap = now_us.saturating_sub(last);
        if gap > self.longest_us.load(Ordering::Relaxed) {
            self.longest_us.fetch_max(gap, Ordering::Relaxed);
        }
    }

    /// The longest gap, one that has not ended included, in ms.
    pub fn longest_ms(&self, end_us: u64) -> f64 {
        let open = end_us.saturating_sub(self.last_us.load(Ordering::Relaxed));
        open.max(self.longest_us.load(Ordering::Relaxed)) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_at_the_ends_too() {
        let gap = AckGap::default();
        gap.begin(1_000);
        for now_us in [4_000, 5_000, 11_500, 11_400, 12_000] {
            gap.ack(now_us);
        }
        assert!((gap.longest_ms(12_000) - 6.5).abs() < 1e-9);
        assert!((gap.longest_ms(22_000) - 10.0).abs() < 1e-9, "no ack until the end");
        gap.begin(30_000);
        gap.ack(37_000);
        assert!((gap.longest_ms(37_000) - 7.0).abs() < 1e-9, "no ack from the beginning");
    }
}
