//! The two kinds of listeners.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{OrderlyOutcome, Outcome};
use crate::received::ReceivedMessage;

/// Works on messages in no particular order.
pub(crate) type Listener = dyn Fn(Vec<ReceivedMessage>) -> BoxFuture<'static, Verdict> + Send + Sync;

/// Works on messages of a queue in their order.
pub(crate) type OrderlyListener =
    dyn Fn(Vec<ReceivedMessage>) -> BoxFuture<'static, OrderlyOutcome> + Send + Sync;

/// What came of a concurrent listener call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The listener has said it.
    Decided(Outcome),
    /// Nobody has seen the messages: they are neither consumed nor failed.
    Undecided,
}

/// A listener.
#[derive(Clone)]
pub(crate) enum Kind {
    /// Several batches of a queue at once.
    Concurrent(Arc<Listener>),
    /// One batch of a queue at a time, in order.
    Orderly(Arc<OrderlyListener>),
}

impl Kind {
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self, Kind::Orderly(_))
    }
}
