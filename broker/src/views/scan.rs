//! Reads the units of a segment's messages out of the log itself.
//!
//! LIMIT: all units of the segment are in memory while it is scanned, 20 bytes for each message.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use flotilla_core::{Messages, Payload};

use super::segment::{Segment, SegmentSource};
use super::signal::Signal;
use super::unit::{UNIT_SIZE, Unit};

/// Why a scan gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("payload at log position {0}: {1}")]
    Message(u64, String),
    #[error("stopping")]
    Stopped,
}

/// Units of one queue, encoded.
pub(super) struct ScannedUnits {
    pub(super) first: i64,
    pub(super) bytes: Vec<u8>,
}

impl ScannedUnits {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.bytes.len() / UNIT_SIZE).expect("a segment holds less than 2^32 messages")
    }
}

pub(super) type Scanned = BTreeMap<(Arc<str>, u32), ScannedUnits>;

/// All units of a segment's messages below a log position, by queue.
pub(super) fn scan(
    source: &dyn SegmentSource,
    signal: &Signal,
    segment: &Segment,
    below: u64,
) -> Result<Scanned, ScanError> {
    let mut scanned = Scanned::new();
    let mut failed = None;
    source.scan(segment, &mut |payload_position, payload| {
        if signal.is_stopped() {
            failed = Some(ScanError::Stopped);
            return Ok(ControlFlow::Break(()));
        }
        if payload_position >= below {
            return Ok(ControlFlow::Break(()));
        }
        match collect(payload, &mut scanned) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(reason) => {
                failed = Some(ScanError::Message(payload_position, reason));
                Ok(ControlFlow::Break(()))
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(scanned),
    }
}

/// Adds the units of a payload's messages.
fn collect(payload: &[u8], scanned: &mut Scanned) -> Result<(), String> {
    let parts = Payload::parse(payload).map_err(|error| error.to_string())?;
    // The name of the message before serves the next one, mostly.
    let mut name: Arc<str> = Arc::from("");
    for message in Messages::new(parts.messages) {
        let (_, shape, bytes) = message.map_err(|error| error.to_string())?;
        if !shape.is_numbered() {
            continue;
        }
        let topic = std::str::from_utf8(shape.topic(bytes)).map_err(|error| error.to_string())?;
        if *name != *topic {
            name = Arc::from(topic);
        }
        let queue_offset = shape.queue_offset(bytes);
        let units = scanned
            .entry((name.clone(), shape.queue_id))
            .or_insert_with(|| ScannedUnits { first: queue_offset, bytes: Vec::new() });
        let expected = units.first + (units.bytes.len() / UNIT_SIZE) as i64;
        if queue_offset != expected {
            return Err(format!(
                "{topic} queue {} continues with {queue_offset} after {expected}",
                shape.queue_id
            ));
        }
        let unit = Unit {
            physical_offset: shape.physical_offset(bytes),
            size: shape.size,
            tags_code: shape.tags_code(bytes),
        };
        units.bytes.extend_from_slice(&unit.encode());
    }
    Ok(())
}
