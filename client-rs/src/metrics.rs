//! The hook that tells an application's own metrics what the client does.

use std::time::Duration;

/// What happened. More kinds may come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A send ended.
    Sent {
        /// Topic.
        topic: &'a str,
        /// Messages of the request: more than one for a batch.
        messages: usize,
        /// Bytes of the bodies as sent.
        bytes: usize,
        /// From the caller's call to its result, attempts included.
        took: Duration,
        /// Whether it was acknowledged.
        ok: bool,
    },
    /// A send is tried again.
    SendRetried {
        /// Topic.
        topic: &'a str,
    },
    /// Messages arrived at a consumer.
    Received {
        /// Topic.
        topic: &'a str,
        /// Group.
        group: &'a str,
        /// Their number.
        messages: usize,
        /// Bytes of the bodies after decompression.
        bytes: usize,
    },
    /// A listener worked on messages.
    Consumed {
        /// Topic.
        topic: &'a str,
        /// Group.
        group: &'a str,
        /// Their number.
        messages: usize,
        /// Time in the listener.
        took: Duration,
        /// Whether it succeeded.
        ok: bool,
    },
    /// The queues of a consumer changed.
    Rebalanced {
        /// Group.
        group: &'a str,
        /// Topic.
        topic: &'a str,
        /// Queues that it has now.
        queues: usize,
    },
    /// A new route was learnt because the old one was suspected of being stale.
    RouteChanged {
        /// Topic.
        topic: &'a str,
        /// From the first suspicion to the new route.
        took: Duration,
    },
}

/// Gets events. Called on the client's own tasks: must be quick and must not block.
pub trait Metrics: std::fmt::Debug + Send + Sync + 'static {
    /// One event.
    fn event(&self, event: Event<'_>);
}

/// Counts nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn event(&self, _event: Event<'_>) {}
}
