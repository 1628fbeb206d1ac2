//! The broker's tables as a group's machine, under the judge's eyes.

use std::sync::Arc;

use flotilla_core::{Tables, TailTable};
use flotilla_raft_store::raft::{Applied, InstallError, Machine};
use flotilla_raft_store::{StampError, Stamper};
use parking_lot::Mutex;

use crate::invariants::tables_equal::{apply, context};
use crate::judge::SharedJudge;

/// Tables of one replica, as others may look at them.
pub type SharedTables = Arc<Mutex<Tables>>;

/// The machine of one replica.
pub struct WatchedMachine {
    host: usize,
    tables: SharedTables,
    judge: SharedJudge,
}

impl WatchedMachine {
    /// A machine and its tables.
    pub fn new(host: usize, judge: SharedJudge) -> (Self, SharedTables) {
        let tables = SharedTables::default();
        (Self { host, tables: Arc::clone(&tables), judge }, tables)
    }
}

impl Machine for WatchedMachine {
    type Answer = ();

    fn apply(&mut self, entry: &Applied<'_>) {
        let mut tables = self.tables.lock();
        if let Err(error) = apply(&mut tables, &context(entry), entry.kind, entry.payload) {
            panic!("n{}: log entry {} of term {}: {error}", self.host, entry.index, entry.term);
        }
        self.judge.lock().applied(self.host, entry, &tables);
    }

    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let tables = self.tables.lock().clone();
        Box::new(move || tables.encode())
    }

    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError> {
        let tables = Tables::decode(checkpoint).map_err(|error| InstallError(error.to_string()))?;
        self.judge.lock().installed(self.host, &tables, checkpoint.is_empty());
        *self.tables.lock() = tables;
        Ok(())
    }
}

/// Numbers messages along the tail of the log, as the broker's own stamper does.
#[derive(Default)]
pub struct TailStamper(TailTable);

impl Stamper for TailStamper {
    fn stamp(&mut self, payload: &mut [u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        self.0.stamp(payload, payload_position, time_ms).map_err(|error| StampError::new(error.to_string()))
    }

    fn observe(&mut self, payload: &[u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        self.0.observe(payload, payload_position, time_ms).map_err(|error| StampError::new(error.to_string()))
    }

    fn retract(&mut self, payload: &[u8]) {
        self.0.retract(payload);
    }

    fn reset(&mut self, checkpoint: &[u8]) -> Result<(), StampError> {
        self.0.reset(checkpoint).map_err(|error| StampError::new(error.to_string()))
    }
}
