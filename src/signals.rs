//! SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after the second signal, as shells report an interrupt.
const INTERRUPTED: i32 = 130;

/// The signals of this process, listened for from the moment this exists.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Call before anything is started that a signal should stop.
    pub fn listen() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("signals can't be listened for");
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and gives its name. Dropping the future loses nothing.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Runs a graceful stop to its end, unless another signal comes: then the process ends here. Nothing is lost by
    /// that: the log is made for it.
    pub async fn stop_with<T>(mut self, stop: impl Future<Output = T>) -> T {
        tokio::select! {
            done = stop => done,
            name = self.next() => {
                tracing::warn!(signal = name, "second signal: exiting at once");
                std::process::exit(INTERRUPTED)
            }
        }
    }
}
