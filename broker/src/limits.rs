//! The bounds of a broker node: each queue, buffer and wait has its limit here, with its unit and the reason for it.

use std::time::Duration;

/// Work items (sends and commands) that wait for the proposer. Full means SYSTEM_BUSY. Their bytes are bounded by
/// the listener's in-flight limit, so this only bounds the bookkeeping.
pub const PROPOSER_QUEUE_MAX: usize = 65_536;

/// Bytes of one log entry's payload at which the proposer starts the next entry. One entry is one write, one frame to
/// each follower and one step of apply: beyond this size latency grows and nothing is gained.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Entries that the proposer keeps in flight. Few, so that sends gather into large entries while a flush is under way.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 4;

/// A replica that holds no lease for so many rounds of this time tells the senders of messages whose entries have no outcome that
/// it is not known: 0.5 to 0.6 s, in which a successor is elected and heard, or an ordinary hiccup is over.
pub const UNLED_ROUND: Duration = Duration::from_millis(100);
/// See [`UNLED_ROUND`].
pub const UNLED_ROUNDS_MAX: u32 = 6;

/// Commands in one entry: each is small, the bound keeps one step of apply short.
pub const ENTRY_COMMANDS_MAX: usize = 1024;

/// Delayed messages that one entry delivers: with it the entry's bytes are bounded like those of sends, and one step of apply.
pub const DELAY_MESSAGES_MAX: usize = 4096;

/// Pulls held at one replica. Beyond it a pull is refused as SYSTEM_BUSY, and its client tries again.
pub const HELD_PULLS_MAX: usize = 100_000;

/// Longest time that a pull is held, whatever its client asks for: clients give up at 30 s.
pub const PULL_HOLD_MAX: Duration = Duration::from_secs(25);

/// Messages in one pull answer. RocketMQ's own broker stops at 32; clients take what they asked for.
pub const PULL_MESSAGES_MAX: usize = 1024;

/// Bytes in one pull answer, unless one message alone is larger: as RocketMQ's own broker, so that the answers to a client
/// with hundreds of queues fit into its connection's write queue.
pub const PULL_BYTES_MAX: usize = 256 << 10;

/// Bytes that wait to be written to one caller, beyond which its pulls wait: a consumer far behind asks for hundreds of queues
/// at once, and what it has not read must not fill its write queue, which would end its connection. A quarter of that
/// queue, because reads of files that are under way come on top.
pub const PULL_QUEUE_BYTES: usize = 16 << 20;

/// Queue units examined by one pull: a filter that matches nothing must not hold a thread.
pub const PULL_SCAN_MAX: usize = 16_000;

/// Consumer offsets in one entry and kept pending; a commit beyond it forces a flush.
pub const PENDING_OFFSETS_MAX: usize = 16_384;

/// Longest time that a committed offset waits before it is proposed. Clients themselves commit every 5 s.
pub const PENDING_OFFSETS_WAIT: Duration = Duration::from_millis(200);

/// Age at which a held one-way commit is dropped: later it could override the offset of the queue's new owner.
/// Source: the hand-over of queues between consumers, which takes milliseconds.
pub const STALE_COMMIT_AGE: Duration = Duration::from_secs(2);

/// Time after a leader change in which replicas that have not reported their connections count as unknown, so that
/// nobody is dropped from a consumer group for the leader's ignorance.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(45);

/// At most one notice "consumer ids changed" per group in this time.
pub const NOTICE_INTERVAL: Duration = Duration::from_millis(500);

/// Producers in one replica's report to the leader: at most some 10 MB, below the size of a frame.
pub const PRODUCERS_REPORTED_MAX: usize = 20_000;

/// Requests to clients under way at one replica (codes 221, 307, 309, 326). Each holds a frame and waits up to ten seconds.
pub const RELAYS_MAX: usize = 4096;

/// Names that wait for a task to look at them: changed topics and groups, members to be told or healed. Beyond it the task
/// looks at everything.
pub const NEWS_MAX: usize = 65_536;

/// Queues in one request for locks.
pub const LOCK_QUEUES_MAX: usize = 65_536;

/// Unlocks under way at one replica that are remembered to be given up when their client locks anew. Beyond it an unlock is
/// tried once.
pub const LATE_UNLOCKS_MAX: usize = 16_384;

/// Locks that one sweep gives up: what is left comes with the next.
pub const LOCKS_SWEPT_MAX: usize = 4096;

/// A topic that was just made is answered for after the name servers know it, or after this time.
pub const VISIBLE_WAIT: Duration = Duration::from_secs(1);

/// Bytes that wait to be written to one peer's stream of forwarded calls. Beyond it a frame is refused as not sent; beyond
/// half of it no further call of the peer is begun, so that the other half has room for the answers of those under way.
pub const PEER_WRITE_BYTES_MAX: usize = 64 << 20;

/// Queues in one command that raises their minimums: some 100 KB, which fit into the reserve of a full log.
pub const QUEUES_PER_RAISE: usize = 2048;

/// Queries by key that run at once: each holds a thread that may wait for the disk, and for the index while it is rebuilt.
pub const QUERIES_MAX: usize = 32;

/// Bytes in the answer to a query by key, unless one message alone is larger: half of what clients take in a frame.
// Source: RocketMQ 5.3 NettySystemConfig, com.rocketmq.remoting.frameMaxLength (16 MiB).
pub const QUERY_BYTES_MAX: usize = 8 << 20;

/// Pairs of topic and group that are warned about, and shown, because retention reaches what the group has not read.
pub const EXPIRING_MAX: usize = 1000;

/// Deletions of topics that are remembered while their tools go round the replicas: an administrator's work, some a second.
pub const DELETION_ROUNDS_MAX: usize = 1024;

/// Changes of one administrator's request that are in flight together: a list of thousands of topics should not wait for each
/// flush in turn, nor keep others out of the proposer.
pub const CHANGES_IN_FLIGHT_MAX: usize = 256;

/// Queues of groups whose last pulled offset a replica remembers for the tools; beyond it new ones are not remembered.
pub const PULLED_OFFSETS_MAX: usize = 1_000_000;

/// Units of a consume queue in one answer to a tool.
pub const QUEUE_UNITS_SHOWN_MAX: usize = 1024;
