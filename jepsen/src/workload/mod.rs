//! What clients do while things break. Each workload writes every operation into the history, before it begins and after it
//! ended, and leaves all judgement to the checkers.
//!
//! | file         | subject                                                           |
//! |--------------|-------------------------------------------------------------------|
//! | `queue.rs`   | many producers, many queues, consumers of one group                 |
//! | `log.rs`     | each queue as an ordered log, read from every replica               |
//! | `order.rs`   | messages of a key stay in order up to an orderly consumer           |
//! | `offsets.rs` | committed offsets as registers                                      |
//! | `topics.rs`  | topics set, deleted and read                                        |
//! | `retry.rs`   | messages that fail: retried, and in the end dead letters            |
//! | `party.rs`   | a group that consumes what many send: the frame of three of them      |
//! | `java.rs`    | senders that are threads of the official Java client                |
//! | `replica.rs` | reads from one replica that is named                                |
//! | `common.rs`  | clients, bodies, outcomes, sending and reading                      |
//!
//! Outcomes: an error that certainly did nothing is `fail`; everything else is `info`, and the process goes on under a new
//! number. Client libraries may try again inside an operation only what certainly did nothing; one that tries more again, as
//! that for Java does, has each of its requests counted.

mod common;
mod java;
mod log;
mod offsets;
mod order;
mod party;
mod queue;
mod replica;
mod retry;
mod topics;

use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::java::Java;
use crate::recorder::Recorder;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    /// Many producers, many queues, consumers of one group
    Queue,
    /// Each queue as an ordered log, read while it grows, from every replica
    Log,
    /// Messages of a key stay in order up to an orderly consumer
    Order,
    /// Committed offsets as registers
    Offsets,
    /// Topics set, deleted and read
    Topics,
    /// Messages that fail: retried, and in the end dead letters
    Retry,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("?", |value| value.get_name()))
    }
}

/// What a workload works with.
#[derive(Clone, Debug)]
pub struct Env {
    /// The cluster: for addresses, and what its replicas say of themselves; a workload breaks nothing.
    pub cluster: Arc<Cluster>,
    /// Takes the history.
    pub recorder: Recorder,
    /// Decides about contents and choices.
    pub seed: u64,
    /// Operations a second of all clients together, at most.
    pub rate: u32,
    /// What sends in the workload `queue`.
    pub sends: Sends,
    /// What part of the run it is.
    pub phases: Phases,
}

/// A client library that sends.
#[derive(Clone, Debug)]
pub enum Sends {
    /// Ours.
    Rust,
    /// The official one for Java, in a process of its own.
    Java(Java),
}

/// The parts of a run, in order.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// Topics exist and clients are connected: faults may begin. Said by the workload.
    pub prepared: CancellationToken,
    /// Nothing is written any more. Said when faults are over and the cluster was well again for a while.
    pub writes_end: CancellationToken,
}

impl Workload {
    /// Prepares, works until the writes end, and then reads everything. The cluster is well from then on.
    ///
    /// # Errors
    /// It can't be prepared, or not read at the end.
    pub fn run(self, env: Env) -> BoxFuture<'static, anyhow::Result<()>> {
        match self {
            Workload::Queue => Box::pin(queue::run(env)),
            Workload::Log => Box::pin(log::run(env)),
            Workload::Order => Box::pin(order::run(env)),
            Workload::Offsets => Box::pin(offsets::run(env)),
            Workload::Topics => Box::pin(topics::run(env)),
            Workload::Retry => Box::pin(retry::run(env)),
        }
    }
}
