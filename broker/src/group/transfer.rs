//! Handing leadership over without failing a request.
//!
//! New work is held in the proposer's queue, what is under way gets its outcome, and only then the target is asked. When
//! it leads, the held work is refused here as "not leader" and goes on to it; when it does not, this replica (or whoever
//! wins the election) takes it up.

use std::time::{Duration, Instant};

use flotilla_raft_store::raft::TransferError;

use super::proposer::InFlight;
use super::{Group, Standing};

/// Longest time that work is held for a transfer: below the time that clients wait for a send.
const HOLD_MAX: Duration = Duration::from_millis(1500);

/// Transfers leadership to the peer with this index, or to the fittest.
///
/// # Errors
/// [`TransferError`]; the group then has whatever leader its next election gives it. Dropping the future releases the
/// held work.
pub async fn transfer(group: &Group, in_flight: &InFlight, to: Option<u64>) -> Result<(), TransferError> {
    let deadline = Instant::now() + HOLD_MAX;
    let _held = Held::new(group, in_flight);
    if tokio::time::timeout_at(deadline.into(), in_flight.empty()).await.is_err() {
        return Err(TransferError::Timeout);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    group.replica().transfer_leadership(to, left).await?;
    while Instant::now() < deadline {
        match group.standing() {
            Standing::Following { .. } => return Ok(()),
            Standing::Leading { .. } | Standing::Unsettled => group.changed(deadline).await,
        }
    }
    Err(TransferError::Timeout)
}

/// Holds the proposer while it exists.
struct Held<'a> {
    group: &'a Group,
    in_flight: &'a InFlight,
}

impl<'a> Held<'a> {
    fn new(group: &'a Group, in_flight: &'a InFlight) -> Self {
        group.hold(true);
        Self { group, in_flight }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.group.hold(false);
        self.in_flight.wake();
    }
}
