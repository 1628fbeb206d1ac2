//! A network that can be broken without privileges: a TCP proxy for each pair of caller and called, so that what
//! passes can be held back, delayed, slowed down, reset or refused, each direction of each pair by itself.
//!
//! | file         | subject                                              |
//! |--------------|------------------------------------------------------|
//! | `rules.rs`   | what a link does to the bytes on it                  |
//! | `link.rs`    | the proxy of one pair: port, connections             |
//! | `pipe.rs`    | one direction of one connection                      |
//! | `network.rs` | all links of a cluster, and cuts by who talks to whom |
//!
//! How it differs from a real network: a cut link still accepts connections, on which nothing moves then (a real one
//! lets the connecting time out too); what was written before a cut arrives after it, as TCP's own retransmission would
//! have it; a cut that outlasts TCP's patience is never noticed.

mod link;
mod network;
mod pipe;
mod rules;

pub use link::Link;
pub use network::{Disturbance, End, Network};
pub use rules::{Rules, Way};
