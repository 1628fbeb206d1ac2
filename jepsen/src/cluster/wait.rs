//! Conditions instead of pauses.

use std::fmt::Display;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, timeout_at};

/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Looks at a condition until it gives a value. Safe to drop.
///
/// # Errors
/// The time is over; the error names what was waited for and the last reason why it was not there.
pub async fn eventually<T, E: Display, F: Future<Output = Result<T, E>>>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let reason = match timeout_at(deadline, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => reason.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + LOOK >= deadline {
            bail!("not within {limit:?}: {what}; last: {reason}");
        }
        sleep(LOOK).await;
    }
}
