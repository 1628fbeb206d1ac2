//! Who of a group gets which queue. Every member computes it by itself from the same two lists, so all members of a group
//! must use the same strategy, and the results equal those of the Java client: a group may have members of both.
//!
//! Source: RocketMQ 5.3 org.apache.rocketmq.client.consumer.rebalance.

mod average;
mod by_config;
mod consistent_hash;
mod machine_room;

use std::fmt::Debug;

use flotilla_remoting::bodies::MessageQueue;

pub use average::{Averagely, AveragelyByCircle};
pub use by_config::ByConfig;
pub use consistent_hash::ConsistentHash;
pub use machine_room::{ByMachineRoom, MachineRoomNearby, MachineRooms};

/// Shares out the queues of a topic.
pub trait Allocation: Debug + Send + Sync + 'static {
    /// Name, as the Java client calls the strategy.
    fn name(&self) -> String;

    /// Queues of member `me`. `queues` are sorted by broker name and number, `members` by name, and `me` is one of them.
    ///
    /// # Errors
    /// Why the queues can't be shared out: the consumer keeps what it has and tries again later.
    fn allocate(
        &self,
        me: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, String>;
}

/// Position of a member.
fn index_of(me: &str, members: &[String]) -> Option<usize> {
    members.iter().position(|member| member == me)
}

#[cfg(test)]
mod tests;
