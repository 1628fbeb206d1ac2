//! Every bound of the name server in one place: value, unit and the reason for it.

use std::time::Duration;

/// Broker names (groups) that may be registered at once.
pub const GROUPS_MAX: usize = 10_000;

/// Replicas that may be registered for one broker name. Raft groups have 3 or 5; Apache's have a handful.
pub const REPLICAS_MAX: usize = 64;

/// Topics with a route. An entry takes some 200 bytes for each broker name that has the topic.
pub const TOPICS_MAX: usize = 1_000_000;

/// Key-value entries over all namespaces, and bytes of one namespace, key or value: the table is one small file.
pub const KV_ENTRIES_MAX: usize = 100_000;
/// Bytes of one namespace, key or value.
pub const KV_TEXT_MAX: usize = 64 * 1024;

/// Silence after which a registration lapses when it does not name one itself.
/// Source: RocketMQ 5.3 RouteInfoManager (`DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`).
pub const SILENCE_DEFAULT: Duration = Duration::from_secs(120);

/// Longest silence that a registration may ask for: a dead broker must not stay in routes for ever.
pub const SILENCE_MAX: Duration = Duration::from_secs(600);

/// How long after its start the name server waits at most for leaders before it answers route queries.
pub const WARM_UP_MAX: Duration = Duration::from_secs(15);

/// How long the highest term of a broker name outlives the last word of its holder, while nobody holds id 0. A leader that
/// was deposed claims id 0 only under a valid lease, which is far shorter; a group that was formed anew (its terms
/// start at 1 again) is accepted after this time.
pub const TERM_MEMORY: Duration = Duration::from_secs(60);

/// Connections of one name server; clients keep one each.
pub const CONNECTIONS_MAX: usize = 50_000;

/// Bytes of requests that are not answered yet. Registrations of many topics are the large ones.
pub const IN_FLIGHT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bytes of one HTTP request to the admin address; its pages take no bodies.
pub const ADMIN_BODY_MAX: usize = 16 * 1024;

/// Topics on one page of the admin list.
pub const ADMIN_PAGE_MAX: usize = 1000;
