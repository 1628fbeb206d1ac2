//! One page a run, that says what was tried, what was seen and whether it was right.

mod facts;

pub use crate::checker::{CountFrom, Limit};
pub use facts::{Machine, NodeFacts, RunFacts, ServerFacts};
