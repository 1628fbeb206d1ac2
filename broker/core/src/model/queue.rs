//! The head of a queue: which numbers it holds.

use crate::codec::{CodecError, Decode, Encode, Reader, put_i64};

/// The numbers of a queue that can be read: `min..max`, `max` is the next to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueRange {
    pub min: i64,
    pub max: i64,
}

/// State of one queue. `base <= min <= max` always holds, and `max` never goes back, not even when the topic is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHead {
    /// Number of the first message since the topic was last created; what a deleted topic held lies below.
    pub base: i64,
    /// First number that is still available.
    pub min: i64,
    /// Next number to be given.
    pub max: i64,
    /// Physical offset of the message numbered `base`; -1 until there is one.
    pub base_physical_offset: i64,
    /// Store time of the newest message, milliseconds since 1970; -1 without one.
    pub last_store_time_ms: i64,
}

impl Default for QueueHead {
    fn default() -> Self {
        Self { base: 0, min: 0, max: 0, base_physical_offset: -1, last_store_time_ms: -1 }
    }
}

impl QueueHead {
    pub fn range(&self) -> QueueRange {
        QueueRange { min: self.min, max: self.max }
    }

    /// Counts one message in. The caller has compared its number with `max`.
    #[inline]
    pub(crate) fn append(&mut self, physical_offset: i64, store_time_ms: i64) {
        if self.max == self.base {
            self.base_physical_offset = physical_offset;
        }
        self.max += 1;
        self.last_store_time_ms = store_time_ms;
    }

    /// Raises the first available number, never beyond the end; true when it moved.
    pub(crate) fn raise_minimum(&mut self, min: i64) -> bool {
        let raised = min.min(self.max).max(self.min);
        let moved = raised != self.min;
        self.min = raised;
        moved
    }

    /// Hides everything that the queue holds and begins anew behind it.
    pub(crate) fn bury(&mut self) {
        self.base = self.max;
        self.min = self.max;
        self.base_physical_offset = -1;
    }
}

impl Encode for QueueHead {
    fn encode(&self, out: &mut Vec<u8>) {
        put_i64(out, self.base);
        put_i64(out, self.min);
        put_i64(out, self.max);
        put_i64(out, self.base_physical_offset);
        put_i64(out, self.last_store_time_ms);
    }
}

impl Decode for QueueHead {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let head = Self {
            base: input.i64("queue base")?,
            min: input.i64("queue minimum")?,
            max: input.i64("queue maximum")?,
            base_physical_offset: input.i64("base physical offset")?,
            last_store_time_ms: input.i64("last store time")?,
        };
        if head.base < 0 || head.base > head.min || head.min > head.max {
            return Err(input.error("queue numbers", crate::codec::CodecReason::Order));
        }
        Ok(head)
    }
}
