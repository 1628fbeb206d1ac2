//! Bounds what is in flight, by messages and by bytes.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Room for messages that were sent and are not answered yet.
#[derive(Debug)]
pub(super) struct Gate {
    count: Semaphore,
    bytes: Semaphore,
    count_max: u32,
    bytes_max: u32,
}

/// Room taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    count: u32,
    bytes: u32,
}

impl Gate {
    pub(super) fn new(count_max: u32, bytes_max: u32) -> Arc<Gate> {
        let (count, bytes) = (Semaphore::new(count_max as usize), Semaphore::new(bytes_max as usize));
        Arc::new(Gate { count, bytes, count_max, bytes_max })
    }

    /// Room for so many messages of so many bytes, if there is any right now. What exceeds the whole gate is taken alone.
    pub(super) fn try_enter(self: &Arc<Gate>, count: usize, bytes: usize) -> Option<Permit> {
        let (count, bytes) = self.clamp(count, bytes);
        let taken = self.count.try_acquire_many(count).ok()?;
        self.bytes.try_acquire_many(bytes).ok()?.forget();
        taken.forget();
        Some(Permit { gate: self.clone(), count, bytes })
    }

    /// Waits for room, first come first served. Safe to drop: takes nothing then.
    pub(super) async fn enter(self: &Arc<Gate>, count: usize, bytes: usize) -> Permit {
        let (count, bytes) = self.clamp(count, bytes);
        let closed = "the gate is never closed";
        let taken = self.count.acquire_many(count).await.expect(closed);
        self.bytes.acquire_many(bytes).await.expect(closed).forget();
        taken.forget();
        Permit { gate: self.clone(), count, bytes }
    }

    /// Waits until nothing is in flight; whoever comes later waits behind.
    pub(super) async fn idle(&self) {
        drop(self.count.acquire_many(self.count_max).await);
    }

    fn clamp(&self, count: usize, bytes: usize) -> (u32, u32) {
        let clamp = |value: usize, max: u32| u32::try_from(value).unwrap_or(max).min(max);
        (clamp(count, self.count_max), clamp(bytes, self.bytes_max))
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no room among {} messages or {} bytes in time", self.count_max, self.bytes_max)
    }
}

impl Permit {
    /// Joins the room of two that go together.
    pub(super) fn absorb(&mut self, mut other: Permit) {
        self.count += std::mem::take(&mut other.count);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.count.add_permits(self.count as usize);
        self.gate.bytes.add_permits(self.bytes as usize);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_bounded_by_count_and_by_bytes_and_given_back() {
        let gate = Gate::new(3, 100);
        let mut first = gate.try_enter(1, 60).unwrap();
        assert!(gate.try_enter(1, 41).is_none(), "bytes");
        first.absorb(gate.try_enter(1, 40).unwrap());
        assert!(gate.try_enter(2, 0).is_none(), "count");
        drop(first);
        let large = gate.try_enter(1, 1_000).unwrap();
        assert!(gate.try_enter(1, 1).is_none(), "a large one goes alone");
        drop(large);
        gate.idle().await;
        assert_eq!((gate.count.available_permits(), gate.bytes.available_permits()), (3, 100));
    }
}
