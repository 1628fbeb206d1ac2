//! Decisions of handlers that need nothing but the tables and the request: pure, so that each row of the protocol's tables is a test.

mod attributes;
mod consumer_offset;
mod delay;
mod leases;
mod progress;
mod pull_offset;
mod retry;
mod tag_filter;
mod topic_creation;

pub use attributes::{
    AttributeError, Attributes, GROUP_ATTRIBUTES, Known, MESSAGE_TYPE, MIXED, TOPIC_ATTRIBUTES,
    change_attributes, parse_attribute_changes,
};
pub use consumer_offset::{OffsetAnswer, query_consumer_offset};
pub use delay::{RealPlace, Redelivery, asked_level, delayed_properties, real_place, redelivery};
pub use leases::{Leases, LockAsk, LockPlan, Queue};
pub use progress::{QueueProgress, correction_offsets, progress_topics, queue_progress, subscribes};
pub use pull_offset::{OffsetDecision, PullStatus, decide_pull_offset};
pub use retry::{
    BackDecision, decide_send_back, gives_up, group_of_retry_topic, group_to_make, retry_times_max,
    returned_properties,
};
pub use tag_filter::{TagFilter, TagFilterError};
pub use topic_creation::{TopicDecision, decide_topic};
