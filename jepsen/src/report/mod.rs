//! One page a run, that says what was tried, what was seen and whether it was right.

mod facts;

pub use facts::{CountFrom, Limit, Machine, NodeFacts, RunFacts, ServerFacts};
