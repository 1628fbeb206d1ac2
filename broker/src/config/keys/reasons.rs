//! Reasons why a key has no effect that several classes of RocketMQ share.

pub(super) const COLD: &str = "cold reads have their own threads, there is nothing to control";
pub(super) const CONNECTIONS: &str = "connections share one run-time, and each has bounded queues";
pub(super) const LEVELS: &str = "delayed messages are part of the replicated state, there is nothing to tune";
pub(super) const NOT_YET_TIMER: &str = "messages timed to a moment are not available yet";
pub(super) const NOT_YET_TRANSACTION: &str = "transactions are not available yet";
pub(super) const NO_CONTROLLER: &str = "a Raft group needs no controller";
pub(super) const NO_FILTERS: &str = "SQL subscriptions and filter servers are not available";
pub(super) const NO_LITE: &str = "lite topics are not available";
pub(super) const NO_ROCKSDB: &str = "there is no RocksDB here";
pub(super) const OFFSETS: &str = "consumer offsets are in the replicated log";
pub(super) const ONE_DELETER: &str = "whole segments are deleted, by one background thread";
pub(super) const ONE_LOG: &str = "everything lies in the replicated log under storePathRootDir";
pub(super) const ONE_PROPOSER: &str =
    "requests are batched into the log by one task instead of a pool of threads";
pub(super) const PAGE_CACHE: &str = "the newest entries are kept in memory (logMemoryBytesMax), the rest is read from the disk, through the page cache";
pub(super) const RAFT_DECIDES: &str = "replication, leadership and membership are Raft's";
pub(super) const RECOVERY: &str = "recovery always checks every record that was not known to be flushed";
pub(super) const SENDS_AT_ONCE: &str = "sends are accepted as soon as a replica leads";
pub(super) const SHARED_RUNTIME: &str = "requests share one run-time instead of pools of threads with queues";
pub(super) const STATISTICS: &str = "statistics are always kept, within fixed bounds";
