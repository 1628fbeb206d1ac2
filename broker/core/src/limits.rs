//! Bounds of the state machine, with their reasons. They are part of the log's meaning: every replica must agree on them, so a
//! change needs a new command or checkpoint version.

/// Queues of one topic. RocketMQ's largest template has 1024; the bound keeps a hostile queue id from sizing a table.
pub const QUEUES_PER_TOPIC_MAX: u32 = 65_536;

/// Queues that are locked at a time, over all groups: each takes some hundred bytes in memory and in every checkpoint.
pub const LOCKS_MAX: usize = 1 << 20;

/// Bytes of a topic, group or client name inside a command. Names on the wire are at most 255 characters.
pub const NAME_BYTES_MAX: usize = 1024;

/// Bytes of any other text inside a command, such as a filter expression or an attribute.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
