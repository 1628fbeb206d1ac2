//! Every bound of this crate in one place: value, unit and the reason for it.

use std::time::Duration;

use flotilla_remoting::limits::FRAME_SIZE_MAX;

/// Longest answer of a name-server endpoint over HTTP, in bytes: a list of addresses.
pub const ENDPOINT_ANSWER_SIZE_MAX: usize = 64 * 1024;

/// Topics whose routes are kept up to date. A client that touches more keeps the newest ones.
pub const ROUTES_MAX: usize = 10_000;

/// First pause between attempts to learn a route that is out of date; doubles up to [`SUSPECT_PAUSE_MAX`].
pub const SUSPECT_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest such pause: a new leader is found this much later at most.
pub const SUSPECT_PAUSE_MAX: Duration = Duration::from_millis(200);

/// A suspicion that no new route confirms ends after this time; the next failure raises it again.
pub const SUSPECT_FOR: Duration = Duration::from_secs(5);

/// Period at which connections are looked at for answers that are overdue; connections with requests have a scan of their own
/// every 50 ms.
pub const VIGIL_PERIOD: Duration = Duration::from_millis(100);

/// This period while some are: it adds to the time that a fail-over takes.
pub const VIGIL_PERIOD_OVERDUE: Duration = Duration::from_millis(10);

/// Pause between questions for the route of a broker that owes answers and from which nothing comes, for [`VIGIL_EAGER_FOR`]. A
/// client learns of a new leader this much later at worst.
pub const VIGIL_PAUSE_EAGER: Duration = Duration::from_millis(50);

/// A successor comes within this time as a rule.
pub const VIGIL_EAGER_FOR: Duration = Duration::from_secs(1);

/// Such a pause after that, for [`SUSPECT_FOR`].
pub const VIGIL_PAUSE_SILENT: Duration = Duration::from_millis(100);

/// Such a pause after that.
pub const VIGIL_PAUSE_SILENT_LONG: Duration = Duration::from_secs(1);

/// Pause between questions for the route of a broker that owes an answer and gives others; for [`SUSPECT_FOR`].
pub const VIGIL_PAUSE_SLOW: Duration = Duration::from_millis(200);

/// Such a pause after that: it may be slow for hours.
pub const VIGIL_PAUSE_SLOW_LONG: Duration = Duration::from_secs(5);

/// A broker that has owed nothing for this long is not known as a slow one any more.
pub const VIGIL_CALM: Duration = Duration::from_secs(5);

/// Silence on a connection where only requests that brokers hold are outstanding, before the broker is asked for a sign of life:
/// one small request a second and broker of an idle consumer.
pub const PROBE_AFTER: Duration = Duration::from_secs(1);

/// Pause between questions for the route of a broker that gives signs of life and nothing else: it may have been cut off from
/// the others, and deposed.
pub const VIGIL_PAUSE_QUIET: Duration = Duration::from_secs(2);

/// How long answers of a deposed leader are waited for when nothing comes from it: time for what has arrived already and waits to be
/// read.
pub const GRACE_SILENT: Duration = Duration::from_millis(5);

/// How long they are when something comes.
pub const GRACE: Duration = Duration::from_millis(500);

/// Time between a look at a route and the request that goes by it: what is sent to a leader this much after its fall was
/// meant for a leader.
pub const ROUTE_LAG: Duration = Duration::from_millis(20);

/// Time for one name server to answer while there are others to ask: one that is silent must not use up the time of a send.
pub const NAME_SERVER_PATIENCE: Duration = Duration::from_secs(1);

/// Suspected routes that name servers are asked for at once: a broker that fails may be in thousands.
pub const SUSPECTS_AT_ONCE: usize = 16;

/// Largest body after decompression, in bytes: larger than any broker takes, small enough to survive a bomb.
pub const DECOMPRESSED_SIZE_MAX: usize = 64 * 1024 * 1024;

/// Members of groups (producers and consumers) of one client.
pub const MEMBERS_MAX: usize = 4_096;

/// Requests from brokers that wait to be worked on; one more is refused as busy.
pub const CALLBACKS_MAX: usize = 1_024;

/// Requests of a client (request-reply) that wait for their reply.
pub const REQUESTS_MAX: usize = 65_536;

/// Listener calls of a push consumer that run at once; each is a task.
pub const CONCURRENCY_MAX: usize = 4_096;

/// Messages of a producer that were sent and are not answered yet, unless set otherwise: some ten round trips of the
/// fastest sender measured, below the 65,536 that one connection takes.
pub const IN_FLIGHT_MAX: u32 = 10_000;

/// Likewise in bytes: what the write queue of one connection takes.
pub const IN_FLIGHT_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Largest body of a batch, in bytes: what a frame holds beside its header.
pub const BATCH_SIZE_MAX: usize = FRAME_SIZE_MAX - 64 * 1024;

/// Longest wait for the heartbeats that go before a request (request-reply).
pub const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(1);

/// Bodies up to this size, in bytes, are compressed where the send is called: about a millisecond at worst. Larger ones go to a
/// thread that may block.
pub const INLINE_COMPRESSION_SIZE_MAX: usize = 64 * 1024;

/// Pause before a call is repeated at a new leader, unless the route changes before.
pub const CALL_PAUSE: Duration = Duration::from_millis(100);

/// How long the calls of a consumer are repeated while a leader is elected: elections take about a second.
pub const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a failed message is tried to be handed back before it is tried otherwise. Source: RocketMQ 5.3, 5 s.
pub const SEND_BACK_PATIENCE: Duration = Duration::from_secs(5);

/// How long offsets are tried to be stored when a queue is given up: later they could override the next owner's.
pub const LAST_COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// Offsets that are being stored at once.
pub const COMMITS_AT_ONCE: usize = 16;

/// How long a broker may hold a pull, in ms. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.
pub const PULL_SUSPEND_MS: i64 = 15_000;

/// Time for a pull, the time that it is held included. Source: as above.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes wanted of one pull.
pub const PULL_BYTES_MAX: i32 = 1 << 20;

/// A pull that is answered with nothing sooner was not held.
pub const PULL_HELD_MIN: Duration = Duration::from_millis(20);

/// First pause after a pull failed for want of a leader; doubles up to [`PULL_PAUSE_MAX`]. A new route ends it.
pub const PULL_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest such pause.
pub const PULL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pause after the broker asked to slow down. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.
pub const PULL_PAUSE_FLOW_CONTROL: Duration = Duration::from_millis(20);

/// Pause after a broker did not know the subscription: the heartbeat is on its way.
pub const PULL_PAUSE_SUBSCRIPTION: Duration = Duration::from_millis(200);

/// Pause after any other refusal. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl.
pub const PULL_PAUSE_REFUSED: Duration = Duration::from_secs(3);

/// Time between rounds of sharing out queues. Source: RocketMQ 5.3 RebalanceService.
pub const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);

/// First pause after a round that could not be finished; doubles up to [`REBALANCE_INTERVAL`].
pub const REBALANCE_PAUSE_MIN: Duration = Duration::from_millis(250);

/// Age at which the lock of a queue is not relied on any more; brokers keep it for 60 s. Source: RocketMQ 5.3 ProcessQueue.
pub const LOCK_AGE_MAX: Duration = Duration::from_secs(30);

/// How long a broker keeps the lock of a queue at least. Source: RocketMQ 5.3 RebalanceLockManager, 60 s.
pub const LOCK_KEPT: Duration = Duration::from_secs(60);

/// Time between renewals of locks. Source: RocketMQ 5.3 ProcessQueue.
pub const LOCK_INTERVAL: Duration = Duration::from_secs(20);

/// Pause before a lock that was not granted is asked for again. Source: RocketMQ 5.3 ConsumeMessageOrderlyService, 10 ms to
/// 3 s.
pub const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// How long a queue that is given up waits for its listener calls before its offset is stored; what takes longer is repeated
/// by the next owner.
pub const DROP_WAIT: Duration = Duration::from_secs(1);

/// How long a queue of an orderly consumer waits likewise. Until then its lock is renewed, so that nobody else works on it.
pub const DROP_WAIT_LOCKED: Duration = Duration::from_secs(60);

/// How long a queue that may have had another owner waits before it asks for its offset, so that the other can store it.
/// Source: RocketMQ 5.3 RebalanceImpl, which waits before the first pull.
pub const TAKE_WAIT: Duration = Duration::from_millis(500);

/// How long a queue whose offset is reset waits for its listener calls. Source: RocketMQ 5.3 MQClientInstance.resetOffset.
pub const RESET_WAIT: Duration = Duration::from_secs(10);

/// Pause before messages that could not be handed back are given to the listener again. Source: RocketMQ 5.3
/// ConsumeMessageConcurrentlyService.
pub const LOCAL_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Pause before the bounds over all queues of a consumer are looked at again. Source: RocketMQ 5.3
/// DefaultMQPushConsumerImpl.
pub const FLOW_CONTROL_PAUSE: Duration = Duration::from_millis(50);

/// Level at which messages of a listener call that took too long come again. Source: RocketMQ 5.3 ProcessQueue.
pub const TIMED_OUT_LEVEL: u32 = 3;
