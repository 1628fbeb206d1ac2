//! The Raft group over the log. The consensus library is named in this folder and nowhere else.
//!
//! ```text
//! proposer ─ submit ─> core ─> storage (the log: place, stamp, checksum) ─> ring ─> entries connections ─> followers
//!                        │ committed                     └─> writer thread: write, sync ─> core
//!                        └─> machine: apply ─> answer ─> proposer
//! ```
//!
//! A [`Replica`] runs on one thread of its own with a current-thread runtime: core, replication, network, machine and the
//! user's proposer. Files are written by the log's own thread; everything that may block is done elsewhere.
//!
//! | module | subject |
//! |---|---|
//! | [`api`], [`options`], [`status`] | what users see |
//! | `replica`, `ops` | the handle, and what it asks of the group |
//! | `group`, `startup`, `watcher` | what runs on the thread, what is looked at before, what is told about it |
//! | `types` | entries and payloads for the consensus library |
//! | `storage`, `reader`, `tail` | the log as the library wants it |
//! | `machine`, `recovery` | applying, checkpoints; the same before the library starts |
//! | `answers`, `permits` | outcomes of proposals, bytes in flight |
//! | `network` | connections between replicas |
//! | `quorum`, `handing_on` | a leader that hears no majority falls silent and has another one lead |
//! | `gate`, `forming` | whose calls are answered; how a group comes to be |

pub mod api;
pub mod options;
pub mod status;

mod answers;
mod forming;
mod gate;
mod group;
mod handing_on;
mod machine;
mod network;
mod ops;
mod permits;
mod quorum;
mod reader;
mod recovery;
mod replica;
mod runtime;
mod startup;
mod storage;
mod tail;
mod transfer;
mod types;
mod watcher;

#[cfg(test)]
mod tests;

pub use api::{
    Applied, Committed, Done, InstallError, Machine, PeerService, Proposal, ProposeError, ReadError,
    TransferError,
};
pub use options::{Hands, ReplicaOptions};
pub use replica::{Remains, Replica, StartError};
pub use status::{Counters, LATENCY_BOUNDS_US, LatencyHistogram, Leadership, PeerProgress, Role, Status};
