//! A name server: the real one's service, registry and warm-up, in a process of its own that forgets everything when it ends.
//!
//! Its runtime is moved on when something has arrived, and every few milliseconds for its timers: nearly always it has nothing to do.

use std::sync::Arc;
use std::time::Duration;

use flotilla_namesrv::Unbound;
use flotilla_net::{ByteBudget, Connection, ConnectionOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::{Door, Wires};
use crate::{say, surface};

/// Longest time between two moves.
const MOVE_EVERY_MS: u64 = 25;

/// A name server's machine.
pub struct NameServer {
    /// Its place in the network.
    pub place: usize,
    /// No process until then.
    pub down_until_ms: Option<u64>,
    /// The process is stopped (SIGSTOP) until then.
    pub stopped_until_ms: Option<u64>,
    process: Option<Process>,
}

struct Process {
    runtime: Runtime,
    epoch: (Instant, u64),
    now_ms: u64,
    unbound: Unbound,
}

/// Where the name server at this place is called.
pub fn address_of(place: usize) -> String {
    format!("n{place}:9876")
}

impl NameServer {
    /// A machine without a process.
    pub fn new(place: usize) -> Self {
        Self { place, down_until_ms: None, stopped_until_ms: None, process: None }
    }

    /// The name server, while there is a process.
    pub fn running(&self) -> Option<&Unbound> {
        self.process.as_ref().map(|process| &process.unbound)
    }

    /// Starts a process that knows nothing.
    pub fn start(&mut self, wires: &Wires) {
        assert!(self.process.is_none(), "n{} has a process", self.place);
        say!("start name server n{}", self.place);
        (self.down_until_ms, self.stopped_until_ms) = (None, None);
        surface::set_wall_shift_ms(0);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without drivers of the system's");
        let (epoch, unbound) = runtime.block_on(async { (Instant::now(), Unbound::start()) });
        let mut door = Door::open(&wires.plug_in(self.place), &address_of(self.place)).expect("its own port");
        let (service, scanning) = (unbound.service(), unbound.clone());
        runtime.spawn(async move {
            while let Ok(stream) = door.accept().await {
                let (options, budget) = (ConnectionOptions::default(), ByteBudget::new(1 << 20));
                Connection::over_stream(stream, options, budget, Arc::clone(&service));
            }
        });
        runtime.spawn(async move { scanning.scan(CancellationToken::new()).await });
        let now_ms = surface::now_ms();
        self.process = Some(Process { runtime, epoch: (epoch, now_ms), now_ms, unbound });
    }

    /// Moves the process on to `now_ms`, if it is to be moved. `stirred`: something has arrived. True when it was moved.
    pub fn step(&mut self, now_ms: u64, stirred: bool) -> bool {
        let stops = self.stopped_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        let goes_on = self.stopped_until_ms.is_some() && !stops;
        let Some(process) = self.process.as_mut().filter(|_| !stops) else { return false };
        let behind_ms = now_ms - process.now_ms;
        if !stirred && !goes_on && behind_ms < MOVE_EVERY_MS {
            return false;
        }
        self.stopped_until_ms = None;
        surface::set_wall_shift_ms(0);
        let deadline = process.epoch.0 + Duration::from_millis(now_ms - process.epoch.1);
        process.runtime.block_on(async {
            if (stirred || goes_on) && behind_ms > 1 {
                // What has arrived has arrived now.
                tokio::time::advance(Duration::from_millis(behind_ms - 1)).await;
            }
            tokio::time::sleep_until(deadline).await;
        });
        process.now_ms = now_ms;
        true
    }

    /// Ends the process at once, and with it all that it knew.
    pub fn end(&mut self, until_ms: u64) {
        self.process = None;
        self.stopped_until_ms = None;
        self.down_until_ms = Some(until_ms);
    }
}
