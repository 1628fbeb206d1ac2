//! Wakes and stops the keeper's thread.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How often the keeper looks without having been woken: purged segments tell nobody.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Wakes and stops the keeper.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    woken: bool,
    stopped: bool,
}

impl Signal {
    pub(super) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Waits for a wake or the interval; false when stopped.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.woken && !state.stopped {
            self.changed.wait_for(&mut state, LOOK_INTERVAL);
        }
        state.woken = false;
        !state.stopped
    }
}
