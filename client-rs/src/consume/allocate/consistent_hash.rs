//! A ring of virtual members: when one leaves, only its queues move.
//! Source: RocketMQ 5.3 AllocateMessageQueueConsistentHash, ConsistentHashRouter.

use std::collections::{BTreeMap, HashMap};

use flotilla_remoting::bodies::MessageQueue;
use md5::{Digest, Md5};

use super::{Allocation, index_of};

/// A queue belongs to the member whose point on the ring comes next.
#[derive(Clone, Copy, Debug)]
pub struct ConsistentHash {
    /// Points of each member on the ring; all members of a group must agree.
    pub virtual_nodes: usize,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        ConsistentHash { virtual_nodes: 10 }
    }
}

impl Allocation for ConsistentHash {
    fn name(&self) -> String {
        "CONSISTENT_HASH".into()
    }

    fn allocate(
        &self,
        me: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, String> {
        if index_of(me, members).is_none() {
            return Ok(Vec::new());
        }
        let ring = ring(members, self.virtual_nodes);
        let owner = |queue: &MessageQueue| {
            let at = hash(&java_text(queue));
            ring.range(at..).next().or_else(|| ring.first_key_value()).map(|(_, member)| *member)
        };
        Ok(queues.iter().filter(|queue| owner(queue) == Some(me)).cloned().collect())
    }
}

fn ring(members: &[String], virtual_nodes: usize) -> BTreeMap<u32, &str> {
    let mut ring = BTreeMap::new();
    // A member that is listed twice gets further points, not the same ones again.
    let mut points: HashMap<&str, usize> = HashMap::new();
    for member in members {
        let first = points.entry(member).or_default();
        for number in *first..*first + virtual_nodes {
            ring.insert(hash(&format!("{member}-{number}")), member.as_str());
        }
        *first += virtual_nodes;
    }
    ring
}

/// The first four bytes of the MD5.
fn hash(key: &str) -> u32 {
    let digest = Md5::digest(key.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// `MessageQueue.toString()`.
fn java_text(queue: &MessageQueue) -> String {
    let MessageQueue { topic, broker_name, queue_id } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}
