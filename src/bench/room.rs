//! Closed loop up to the receipt: so many messages may be between their send and their receipt, and each that arrives makes room
//! for the next one. Senders that wait for acks alone would run away from consumers that are slower.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How often a sender that waits looks whether the run is over: what it waits for may have been lost.
const LOOK: Duration = Duration::from_millis(100);

/// Places for messages that are under way.
#[derive(Debug)]
pub struct Room(Semaphore);

impl Room {
    /// All places are free.
    pub fn new(places: usize) -> Room {
        Room(Semaphore::new(places))
    }

    /// Takes a place, as soon as one is free; false, and none, once the run is over.
    pub async fn take(&self, over: impl Fn() -> bool) -> bool {
        while !over() {
            if let Ok(place) = self.0.try_acquire() {
                place.forget();
                return true;
            }
            if let Ok(Ok(place)) = timeout(LOOK, self.0.acquire()).await {
                place.forget();
                return true;
            }
        }
        false
    }

    /// Frees places.
    pub fn make(&self, places: u64) {
        self.0.add_permits(usize::try_from(places).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_room_is_waited_for_until_the_run_is_over() {
        let room = Room::new(1);
        assert!(room.take(|| false).await);
        let looks = Cell::new(0);
        let over = || {
            looks.set(looks.get() + 1);
            looks.get() > 3
        };
        assert!(!room.take(over).await, "nobody made room");
        let (taken, ()) = tokio::join!(room.take(|| false), async { room.make(1) });
        assert!(taken);
    }
}
