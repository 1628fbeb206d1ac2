//! Why requests are refused.

use std::sync::atomic::{AtomicU64, Ordering};

/// A cause, as the label of `flotilla_requests_rejected_total` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Too many bytes in flight: SYSTEM_BUSY.
    Busy,
    /// The disks of the group are full.
    DiskFull,
    /// No leader within the hold budget.
    NoLeader,
    /// The client's deadline passed before the answer.
    Deadline,
    /// Body or properties too large.
    TooLarge,
    /// Bad name, header or body.
    Malformed,
    /// Topic or group doesn't exist and may not be created.
    NotFound,
    /// Topic or broker lacks the permission.
    Permission,
    /// Request code without a row.
    Unsupported,
    /// The node is stopping.
    Stopping,
    /// Our own failure.
    Internal,
}

impl Cause {
    pub(super) const ALL: [Self; 11] = [
        Self::Busy,
        Self::DiskFull,
        Self::NoLeader,
        Self::Deadline,
        Self::TooLarge,
        Self::Malformed,
        Self::NotFound,
        Self::Permission,
        Self::Unsupported,
        Self::Stopping,
        Self::Internal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::DiskFull => "disk_full",
            Self::NoLeader => "no_leader",
            Self::Deadline => "deadline",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::Unsupported => "unsupported",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }
}

/// One counter per cause.
#[derive(Debug, Default)]
pub struct Causes {
    counts: [AtomicU64; Cause::ALL.len()],
}

impl Causes {
    pub fn count(&self, cause: Cause) {
        self.counts[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, cause: Cause) -> u64 {
        self.counts[cause as usize].load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cause::ALL
            .into_iter()
            .map(|cause| (cause.name(), self.counts[cause as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_counter() {
        let causes = Causes::default();
        for (times, cause) in Cause::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| causes.count(cause));
        }
        let counts: Vec<u64> = causes.read().map(|(_, count)| count).collect();
        assert_eq!(counts, (0..11).collect::<Vec<u64>>());
    }
}
