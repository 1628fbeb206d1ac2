//! Whole groups in one process: real ports, real files, a small machine whose state is a function of all it has seen.

#![allow(clippy::unwrap_used)]

mod bench_like;
mod catch_up;
mod checkpoints;
mod cluster;
mod elections;
mod faults;
mod forming;
mod full_disks;
mod here;
mod install;
mod links;
mod machine;
mod partitions;
mod proposals;
mod quarantine;
mod quorum;
mod store;
mod suite;
mod thread;
mod transfer;
