//! Who belongs to a consumer group, as a simulation runs it without the node around it: connected clients, joins, reports to the
//! leader, and the leader's duty to drop who is gone. Handlers, streams and notices are not among it.

pub use crate::handlers::heartbeat::Joins;
pub use crate::leader::members::MemberDuty;
pub use crate::leader::reports::report_to_leader;
pub use crate::leader::{LeaderCalls, Reports};
pub use crate::peers::calls::PeerCalls;
pub use crate::peers::links::ForwardError;
pub use crate::peers::wire;
pub use crate::sessions::Sessions;
