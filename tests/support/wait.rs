//! Time in the suites: one scenario at a time, each bounded, and conditions instead of pauses.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Scenarios of one suite run one after another: they measure time on few cores.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a scenario on a runtime of its own. Whatever it holds is dropped when it fails or takes longer than `limit`.
///
/// # Panics
/// With the scenario's error, or when the time is over.
pub fn run(limit: Duration, scenario: impl Future<Output = anyhow::Result<()>>) {
    // A scenario that failed has poisoned nothing but the lock.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let outcome = runtime.block_on(async { tokio::time::timeout(limit, scenario).await });
    runtime.shutdown_background();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(_) => panic!("the scenario is not over after {limit:?}"),
    }
}

/// Looks at a condition until it gives a value.
///
/// # Errors
/// The time is over; the error names what was waited for and the last reason why it was not there.
pub async fn eventually<T, E, F>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let reason = match tokio::time::timeout_at(deadline.into(), look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => reason.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + LOOK >= deadline {
            bail!("not within {limit:?}: {what}; last: {reason}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `Ok` when the claim holds, for conditions of [`eventually`].
pub fn claim(holds: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
