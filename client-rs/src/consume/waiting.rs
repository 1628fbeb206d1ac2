//! Waiting until something is so.

use tokio::sync::Notify;

/// Waits until `done`, which is looked at first and whenever all who wait at `changed` are woken. Safe to drop.
pub(crate) async fn until(changed: &Notify, done: impl Fn() -> bool) {
    loop {
        // Made before the look: it hears of what changes in between.
        let change = changed.notified();
        if done() {
            return;
        }
        change.await;
    }
}
