//! Lets the core's tail table do the stamping that the log asks for.

use flotilla_core::TailTable;
use flotilla_raft_store::types::{StampError, Stamper};

#[cfg(feature = "faults")]
use super::mutated;

/// The hook that the log calls while it appends: see [`TailTable`] for what is stamped.
#[derive(Default)]
pub struct TailStamper {
    table: TailTable,
}

impl Stamper for TailStamper {
    fn stamp(&mut self, payload: &mut [u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        #[cfg(feature = "faults")]
        let before = mutated::before(payload);
        let stamped = self.table.stamp(payload, payload_position, time_ms);
        #[cfg(feature = "faults")]
        mutated::stamped(&before, payload);
        stamped.map_err(|error| StampError::new(error.to_string()))
    }

    fn observe(&mut self, payload: &[u8], payload_position: u64, time_ms: u64) -> Result<(), StampError> {
        self.table
            .observe(payload, payload_position, time_ms)
            .map_err(|error| StampError::new(error.to_string()))
    }

    fn retract(&mut self, payload: &[u8]) {
        self.table.retract(payload);
    }

    fn reset(&mut self, checkpoint: &[u8]) -> Result<(), StampError> {
        self.table.reset(checkpoint).map_err(|error| StampError::new(error.to_string()))
    }
}
