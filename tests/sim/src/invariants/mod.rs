//! What must hold, one file each. Those from the Raft paper name their place in it (Ongaro and Ousterhout, "In Search of an
//! Understandable Consensus Algorithm", extended version, figure 3); the others are the product's own promises, numbered as in
//! `ARCHITECTURE.md`.

pub mod consumer_lists;
pub mod consumer_offsets;
pub mod durability;
pub mod election_safety;
pub mod follower_durability;
pub mod leader_append_only;
pub mod leader_completeness;
pub mod log_matching;
pub mod one_lease;
pub mod queue_offsets;
pub mod route_leader;
pub mod route_terms;
pub mod state_machine_safety;
pub mod tables_equal;
pub mod vote_durability;
