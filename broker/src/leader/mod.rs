//! What only the leader does, and how any replica reaches it.

pub mod bootstrap;
pub mod calls;
pub mod delay;
pub mod locks;
pub mod members;
pub mod notices;
pub mod relays;
pub mod reports;
pub mod tell;

pub use calls::LeaderCalls;
pub use locks::Locks;
pub use relays::Relays;
pub use reports::Reports;
pub use tell::Tell;
