//! Every bound of this crate in one place: value, unit and the reason for it.
//!
//! A bound that an operator may want to move is the default of an option of the same name in `options`.

use std::time::Duration;

/// Bytes of one frame with its 4-byte length: what official servers accept and official clients send at most.
/// Source: RocketMQ 5.3 NettyDecoder (`com.rocketmq.remoting.frameMaxLength`).
pub use flotilla_remoting::limits::FRAME_SIZE_MAX;

/// Connections of one listener. A connection at rest costs some 10 KiB, so this is about 100 MiB.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Bytes of requests that were decoded and whose reply has not left yet, over all connections of a listener.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes that wait in one connection's write queue. A receiver that lets more pile up is closed: it costs memory
/// that others need, and its requests have timed out anyway.
pub const WRITE_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests of ours without an answer, on one connection.
pub const PENDING_REQUESTS_MAX: usize = 65_536;

/// A connection with neither read nor write for this long is closed.
/// Source: RocketMQ 5.3 NettyServerConfig (`serverChannelMaxIdleTimeSeconds`).
pub const IDLE: Duration = Duration::from_secs(120);

/// A connection that is to close after its last replies must get them out within this time.
pub const FINISH: Duration = Duration::from_secs(5);

/// A listener that stops lets its connections write what they hold for this long: answers on their way to clients that read.
pub const STOP_FINISH: Duration = Duration::from_secs(1);

/// Period of the scan for requests whose deadline has passed, while there are any. A time-out is reported at most
/// this much late.
pub const DEADLINE_SCAN: Duration = Duration::from_millis(50);

/// Pending TCP handshakes. Source: RocketMQ 5.3 NettyServerConfig (`serverSocketBacklog`).
pub const BACKLOG: u32 = 1024;

/// Bytes asked for by the first read of a connection, and by each read of a quiet one.
pub const READ_CHUNK_MIN: usize = 8 * 1024;

/// Bytes asked for by one read of a busy connection: some hundred small requests per system call.
pub const READ_CHUNK_MAX: usize = 256 * 1024;

/// A body up to this many bytes is copied behind its header instead of getting an entry of its own in the vectored
/// write: the kernel's cost per entry is higher than the copy.
pub const BODY_COPY_MAX: usize = 2 * 1024;

/// Entries of one vectored write. Linux takes 1024 at most (`IOV_MAX`).
pub const WRITE_SLICES_MAX: usize = 256;

/// Addresses that a client pool keeps connections or back-off state for.
pub const POOL_ADDRESSES_MAX: usize = 1024;

/// Time for a TCP connection to open. Source: RocketMQ 5.3 NettyClientConfig (`connectTimeoutMillis`).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause after the first failed attempt to connect; doubles with each further failure.
pub const BACK_OFF_MIN: Duration = Duration::from_millis(50);

/// Longest pause between attempts to connect. One second, because after a name server restart a broker must be
/// back within a second: clients get no route for its topics before.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(READ_CHUNK_MIN <= READ_CHUNK_MAX);
const _: () = assert!(BODY_COPY_MAX < READ_CHUNK_MIN);
const _: () = assert!(WRITE_SLICES_MAX <= 1024);
