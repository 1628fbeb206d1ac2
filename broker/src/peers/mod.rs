//! How the replicas of a group talk to each other beside Raft: forwarded client calls, proposals of a follower,
//! who is connected where, and frames for a client that another replica holds.
//!
//! The streams run on the Raft port, after its handshake has proved cluster, group and both identities; on them the
//! ordinary remoting frames travel, with codes of our own ([`wire`]) that no client port answers.

pub mod calls;
pub mod links;
mod relay;
pub mod service;
pub mod wire;
