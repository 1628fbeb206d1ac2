//! What clients asked and were told, and what the committed log says of it.
//!
//! Every message carries the number of its attempt. An attempt that was refused as never appended must not appear, one that
//! was acknowledged must, none may appear twice, and one that began after the acknowledgement of another lies behind it.
//! Outcomes that nobody knows stay unknown.

use std::collections::BTreeMap;

use flotilla_core::{Messages, Payload};
use flotilla_raft_store::raft::{Applied, ProposeError};
use flotilla_raft_store::types::EntryKind;

use crate::say;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nobody was told yet, or the node that knew is gone.
    Unknown,
    Acked(u64),
    Refused,
}

#[derive(Debug)]
struct Attempt {
    visible: bool,
    /// Highest entry that had been acknowledged when it began.
    floor: Option<u64>,
    outcome: Outcome,
    /// Entry of the committed log that holds it.
    found: Option<u64>,
}

/// All attempts of a run.
#[derive(Debug, Default)]
pub struct History {
    attempts: Vec<Attempt>,
    /// Highest entry of an acknowledged attempt.
    acked_max: Option<u64>,
    counts: BTreeMap<&'static str, u64>,
}

/// Where the number stands in a message's body.
pub const BODY_PREFIX: &str = "attempt ";

impl History {
    /// A client begins; gives the attempt's number. `visible`: it has messages, by which the log shows it.
    pub fn begin(&mut self, visible: bool) -> u64 {
        let floor = self.acked_max;
        self.attempts.push(Attempt { visible, floor, outcome: Outcome::Unknown, found: None });
        self.attempts.len() as u64 - 1
    }

    /// A client is told.
    ///
    /// # Errors
    /// That contradicts the committed log.
    pub fn told(&mut self, number: u64, answer: Result<u64, ProposeError>) -> Result<(), String> {
        let name = match answer {
            Ok(_) => "acked",
            Err(ProposeError::Unknown) => "unknown",
            Err(_) => "refused",
        };
        *self.counts.entry(name).or_default() += 1;
        let attempt = &mut self.attempts[number as usize];
        match answer {
            Ok(index) => {
                say!("client {number} acked at {index}");
                attempt.outcome = Outcome::Acked(index);
                if attempt.visible && attempt.found != Some(index) {
                    return Err(format!(
                        "history: attempt {number} is acknowledged as entry {index}, the log has it at {:?}",
                        attempt.found
                    ));
                }
                if attempt.floor >= Some(index) {
                    return Err(format!(
                        "history: attempt {number} began after entry {:?} was acknowledged and is entry {index}",
                        attempt.floor
                    ));
                }
                self.acked_max = self.acked_max.max(Some(index));
            }
            Err(ProposeError::Unknown) => say!("client {number} unknown"),
            Err(
                error @ (ProposeError::NotLeader { .. }
                | ProposeError::Busy
                | ProposeError::TooLarge
                | ProposeError::Stopped),
            ) => {
                say!("client {number} refused: {error}");
                attempt.outcome = Outcome::Refused;
                if let Some(index) = attempt.found {
                    return Err(format!(
                        "history: attempt {number} was refused ({error}) and is entry {index}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A linearizable read began when `floor` was acknowledged and was answered with an index.
    ///
    /// # Errors
    /// It is older than what was acknowledged before it.
    pub fn read(&mut self, floor: Option<u64>, index: u64) -> Result<(), String> {
        *self.counts.entry("reads").or_default() += 1;
        if Some(index) < floor {
            return Err(format!("history: a read gave index {index} after entry {floor:?} was acknowledged"));
        }
        Ok(())
    }

    /// The next committed entry.
    ///
    /// # Errors
    /// An attempt appears twice, or although it was refused.
    pub fn committed(&mut self, entry: &Applied<'_>) -> Result<(), String> {
        if entry.kind != EntryKind::Application {
            return Ok(());
        }
        let payload = Payload::parse(entry.payload).map_err(|error| error.to_string())?;
        for message in Messages::new(payload.messages) {
            let (_, _, bytes) = message.map_err(|error| error.to_string())?;
            let Some(number) = number_in(bytes) else {
                return Err(format!("history: entry {} holds a message that nobody sent", entry.index));
            };
            let Some(attempt) = self.attempts.get_mut(number as usize) else {
                return Err(format!("history: entry {} holds attempt {number} of the future", entry.index));
            };
            match (attempt.found, attempt.outcome) {
                (Some(index), _) if index != entry.index => {
                    return Err(format!("history: attempt {number} is entry {index} and {}", entry.index));
                }
                (_, Outcome::Refused) => {
                    return Err(format!(
                        "history: attempt {number} was refused and is entry {}",
                        entry.index
                    ));
                }
                (_, Outcome::Unknown | Outcome::Acked(_)) => attempt.found = Some(entry.index),
            }
        }
        Ok(())
    }

    /// Highest acknowledged entry.
    pub fn acked_max(&self) -> Option<u64> {
        self.acked_max
    }

    /// How often clients were told what.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}

/// The attempt's number in a stored message.
fn number_in(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(BODY_PREFIX.len()).position(|window| window == BODY_PREFIX.as_bytes())?;
    let digits = &bytes[at + BODY_PREFIX.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
