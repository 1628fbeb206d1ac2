//! The applied state before the consensus library starts.
//!
//! The newest checkpoint and the verified records above it are brought to the machine while the log scans them, up to
//! the committed mark; the library is then told how far the state is. Left to the library, the replay would hold
//! sixty-four whole entries at a time and read everything twice.

use super::api::Machine;
use super::machine::{Cut, State};
use crate::log::{Checkpoint, RecoveryVisitor};
use crate::record::Record;

/// Cuts kept for boundaries that have no checkpoint yet: a crash right behind a roll loses the one of that segment.
/// Older ones would only serve retention, which can take the next boundary as well.
const CUTS_MAX: usize = 4;

/// Brings what the log finds to the machine.
pub(crate) struct Replay<M: Machine> {
    pub(crate) state: State<M>,
    pub(crate) cuts: Vec<Cut>,
    started: bool,
}

impl<M: Machine> Replay<M> {
    pub(crate) fn new(state: State<M>) -> Replay<M> {
        Replay { state, cuts: Vec::new(), started: false }
    }

    /// Puts the machine into its blank state unless a checkpoint did otherwise.
    pub(crate) fn start_blank(&mut self) -> Result<(), String> {
        if !self.started {
            self.started = true;
            self.state.machine.install(&[]).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl<M: Machine> RecoveryVisitor for Replay<M> {
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.started = true;
        self.state.install(checkpoint)
    }

    fn record(&mut self, record: &Record, committed: bool) -> Result<(), String> {
        self.start_blank()?;
        if committed {
            if let Some(cut) = self.state.cut_before(record) {
                if self.cuts.len() == CUTS_MAX {
                    self.cuts.remove(0);
                }
                self.cuts.push(cut);
            }
            self.state.apply(record, false);
        }
        Ok(())
    }
}
