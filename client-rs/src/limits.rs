//! Every bound of this crate in one place: value, unit and the reason for it.

use std::time::Duration;

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

/// Largest body after decompression, in bytes: larger than any broker takes, small enough to survive a bomb.
pub const DECOMPRESSED_SIZE_MAX: usize = 64 * 1024 * 1024;

/// Members of groups (producers and consumers) of one client.
pub const MEMBERS_MAX: usize = 4_096;

/// Requests from brokers that wait to be worked on; one more is refused as busy.
pub const CALLBACKS_MAX: usize = 1_024;

/// Requests of a client (request-reply) that wait for their reply.
pub const REQUESTS_MAX: usize = 65_536;

/// Messages of a producer that were sent and are not answered yet, unless set otherwise: some ten round trips of the
/// fastest sender measured, below the 65,536 that one connection takes.
pub const IN_FLIGHT_MAX: u32 = 10_000;

/// Likewise in bytes: what the write queue of one connection takes.
pub const IN_FLIGHT_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Bodies up to this size, in bytes, are compressed where the send is called: about a millisecond at worst. Larger ones go to a
/// thread that may block.
pub const INLINE_COMPRESSION_SIZE_MAX: usize = 64 * 1024;
