//! The calls of clients that have no answer yet, and the gate that lets no more of them begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Set once the gate is closed.
const CLOSED: usize = 1;
/// One call, above that bit.
const CALL: usize = 2;

/// Counts calls from their frame to their answer. Gate and count are one word: a call is counted or turned away, never both or
/// neither.
#[derive(Debug, Default)]
pub struct UnderWay(AtomicUsize);

impl UnderWay {
    /// Notes a call that begins, until what it gives is dropped; `None` once the gate is closed.
    pub fn begin(self: &Arc<Self>) -> Option<Begun> {
        let begun = Begun(self.clone());
        let before = self.0.fetch_add(CALL, Ordering::AcqRel);
        (before & CLOSED == 0).then_some(begun)
    }

    /// Lets no more calls begin, for good.
    pub fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Calls that have begun and have no answer yet.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire) / CALL
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Begun(Arc<UnderWay>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.fetch_sub(CALL, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nothing_begin_and_counts_what_has() {
        let under_way = Arc::new(UnderWay::default());
        let first = under_way.begin();
        let second = under_way.begin();
        assert!(first.is_some() && second.is_some());
        under_way.close();
        assert!(under_way.begin().is_none());
        assert_eq!(under_way.count(), 2);
        drop((first, second));
        assert_eq!(under_way.count(), 0);
    }
}
