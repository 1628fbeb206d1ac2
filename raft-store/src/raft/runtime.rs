//! The runtime handed to the consensus library: tokio's, with every poll of every task timed.
//!
//! All tasks of a group share one thread, so one long poll delays heartbeats and votes. Polls over [`SLOW_POLL`] are
//! counted and logged; the own tasks of this folder are spawned through [`spawn`] for the same reason.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openraft::AsyncRuntime;
use openraft::OptionalSend;
#[allow(deprecated)] // The named replacement is a crate of its own, for this one type.
use openraft::impls::TokioRuntime;
use tracing::warn;

use super::status::Counters;

/// A poll longer than this is counted: a tenth of the shortest patience would already be noticed by peers.
pub(crate) const SLOW_POLL: Duration = Duration::from_millis(20);

thread_local! {
    static COUNTERS: RefCell<Option<Arc<Counters>>> = const { RefCell::new(None) };
}

/// Makes this thread's slow polls count in `counters`.
pub(crate) fn count_slow_polls(counters: Arc<Counters>) {
    COUNTERS.with_borrow_mut(|slot| *slot = Some(counters));
}

fn slow(took: Duration) {
    COUNTERS.with_borrow(|slot| {
        if let Some(counters) = slot {
            counters.slow_polls.fetch_add(1, Ordering::Relaxed);
        }
    });
    warn!(took_ms = took.as_millis(), "a task held the group's thread");
}

/// A future whose polls are timed.
pub(crate) struct Timed<F>(Pin<Box<F>>);

impl<F> Timed<F> {
    pub(crate) fn new(future: F) -> Timed<F> {
        Timed(Box::pin(future))
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let started = Instant::now();
        let outcome = self.0.as_mut().poll(context);
        let took = started.elapsed();
        if took > SLOW_POLL {
            slow(took);
        }
        outcome
    }
}

/// Spawns a task on the current runtime with its polls timed.
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(Timed::new(future))
}

/// Where work that may block is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocking {
    /// On the runtime's threads for that.
    Pool,
    /// On the spot: in a simulation nothing blocks, and another thread would make two runs differ.
    Here,
}

impl Blocking {
    /// Does the work and gives what it gives. Dropped half-way, the work is still done.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Blocking::Pool => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
            Blocking::Here => Ok(work()),
        }
    }
}

/// Tokio with timed polls.
pub struct GroupRuntime(TokioRuntime);

impl fmt::Debug for GroupRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GroupRuntime")
    }
}

type Tokio = TokioRuntime;

impl AsyncRuntime for GroupRuntime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(Timed::new(future))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn new(threads: usize) -> Self {
        GroupRuntime(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_holds_the_thread_is_counted() {
        let counters = Arc::new(Counters::default());
        count_slow_polls(Arc::clone(&counters));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let quick = spawn(async {});
            let slow = spawn(async { std::thread::sleep(SLOW_POLL + Duration::from_millis(1)) });
            quick.await.expect("ends");
            slow.await.expect("ends");
        });
        assert_eq!(counters.slow_polls.load(Ordering::Relaxed), 1);
    }
}
