//! By machine room: only queues of certain rooms, or the own room first.
//! Source: RocketMQ 5.3 AllocateMessageQueueByMachineRoom, AllocateMachineRoomNearby.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use flotilla_remoting::bodies::MessageQueue;

use super::{Allocation, index_of};

/// Shares out only the queues of these rooms. The room is the part of the broker name before its only `@`.
#[derive(Clone, Debug, Default)]
pub struct ByMachineRoom {
    /// Rooms whose queues are consumed.
    pub rooms: BTreeSet<String>,
}

impl Allocation for ByMachineRoom {
    fn name(&self) -> String {
        "MACHINE_ROOM".into()
    }

    fn allocate(
        &self,
        me: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, String> {
        let Some(index) = index_of(me, members) else { return Ok(Vec::new()) };
        let near: Vec<&MessageQueue> = queues.iter().filter(|queue| self.has(&queue.broker_name)).collect();
        let (size, rest) = (near.len() / members.len(), near.len() % members.len());
        let mut mine: Vec<MessageQueue> =
            near[index * size..(index + 1) * size].iter().map(|queue| (*queue).clone()).collect();
        // What does not divide is dealt from the end, one each.
        if index < rest {
            mine.push(near[index + size * members.len()].clone());
        }
        Ok(mine)
    }
}

impl ByMachineRoom {
    fn has(&self, broker_name: &str) -> bool {
        // Java's split drops trailing empty parts: `room@` has one part and belongs to no room.
        match broker_name.split_once('@') {
            Some((room, rest)) => {
                !rest.trim_end_matches('@').is_empty()
                    && !rest.trim_end_matches('@').contains('@')
                    && self.rooms.contains(room)
            }
            None => false,
        }
    }
}

/// Tells in which machine room a broker or a member is.
pub trait MachineRooms: Debug + Send + Sync + 'static {
    /// Room of a queue's broker; must not be empty.
    fn of_queue(&self, queue: &MessageQueue) -> String;
    /// Room of a member, by its client id; must not be empty.
    fn of_member(&self, client_id: &str) -> String;
}

/// Members share the queues of their own room; those of rooms without members are shared by all.
#[derive(Clone, Debug)]
pub struct MachineRoomNearby {
    /// How the queues are shared out within a room.
    pub within: Arc<dyn Allocation>,
    /// Who is where.
    pub rooms: Arc<dyn MachineRooms>,
}

impl Allocation for MachineRoomNearby {
    fn name(&self) -> String {
        format!("MACHINE_ROOM_NEARBY-{}", self.within.name())
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
        let mut queues_of: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
        for queue in queues {
            let room = self.rooms.of_queue(queue);
            if room.is_empty() {
                return Err(format!("no machine room for broker {}", queue.broker_name));
            }
            queues_of.entry(room).or_default().push(queue.clone());
        }
        let mut members_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in members {
            let room = self.rooms.of_member(member);
            if room.is_empty() {
                return Err(format!("no machine room for member {member}"));
            }
            members_of.entry(room).or_default().push(member.clone());
        }
        let here = self.rooms.of_member(me);
        let mut mine = Vec::new();
        if let (Some(near), Some(neighbours)) = (queues_of.remove(&here), members_of.get(&here)) {
            mine.extend(self.within.allocate(me, &near, neighbours)?);
        }
        for (_, far) in queues_of.iter().filter(|(room, _)| !members_of.contains_key(*room)) {
            mine.extend(self.within.allocate(me, far, members)?);
        }
        Ok(mine)
    }
}
