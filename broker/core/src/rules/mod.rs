//! Decisions of handlers that need nothing but the tables and the request: pure, so that each row of the protocol's tables is a test.

mod consumer_offset;
mod leases;
mod pull_offset;
mod tag_filter;
mod topic_creation;

pub use consumer_offset::{OffsetAnswer, query_consumer_offset};
pub use leases::{Leases, LockAsk, LockPlan, Queue};
pub use pull_offset::{OffsetDecision, PullStatus, decide_pull_offset};
pub use tag_filter::{TagFilter, TagFilterError};
pub use topic_creation::{TopicDecision, decide_topic};
