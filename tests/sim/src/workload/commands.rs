//! Draws changes of the tables of every kind that a broker proposes, likely ones and stale ones. What they mean is the tables'
//! own affair and tested there; here they must come to the same on every replica.

use std::sync::Arc;

use flotilla_core::{
    Command, ConsumeFrom, ConsumeType, Grant, GroupConfig, Join, LeaveReason, LockClaim, LockQueues, Member,
    MessageModel, OffsetCommit, Perm, QueueMinimum, Subscription, TopicConfig, UnlockClaim, UnlockQueues,
};

use super::{QUEUES, TOPICS};
use crate::random::Random;

const GROUPS: [&str; 3] = ["g1", "g2", "g3"];
const CLIENTS: [&str; 4] = ["c1", "c2", "c3", "c4"];

/// What a drawn command may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Present {
    /// The leader's term.
    pub term: u64,
    /// Behind the last applied entry.
    pub position: u64,
}

fn text(random: &mut Random, choices: &[&'static str]) -> Arc<str> {
    Arc::from(random.one_of(choices))
}

/// A change.
pub fn draw(random: &mut Random, present: Present) -> Command {
    let group = text(random, &GROUPS);
    let topic = text(random, &TOPICS);
    let client_id = text(random, &CLIENTS);
    let queue_id = random.below(QUEUES) as u32;
    let grant = Grant { term: present.term.saturating_sub(random.below(2)), number: random.below(20) };
    match random.below(13) {
        0 => {
            Command::PutTopic(TopicConfig::new("passing", random.between(1, QUEUES) as u32, Perm::READ_WRITE))
        }
        1 => Command::DeleteTopic { topic: Arc::from("passing") },
        2 => Command::PutGroup(GroupConfig {
            retry_queue_count: random.between(1, 4) as u32,
            ..GroupConfig::new(group)
        }),
        3 => Command::DeleteGroup { group, clean_offsets: random.percent(50) },
        4 | 5 => Command::Join(Box::new(Join { group, member: member(random, client_id, topic) })),
        6 => Command::Leave { group, client_id, reason: LeaveReason::Unregistered },
        7 | 8 => Command::Lock(Box::new(LockQueues {
            group,
            client_id,
            grant,
            queues: vec![LockClaim {
                topic,
                queue_id,
                previous: random.percent(50).then(|| Grant { term: grant.term, number: random.below(20) }),
            }],
        })),
        9 => Command::Unlock(Box::new(UnlockQueues {
            group,
            client_id,
            term: grant.term,
            queues: vec![UnlockClaim { topic, queue_id, grant }],
        })),
        10 => Command::ForbidRead { group, topic, forbidden: random.percent(50) },
        11 => Command::ResetOffsets(vec![OffsetCommit {
            group,
            topic,
            queue_id,
            offset: random.below(100) as i64,
        }]),
        _ => Command::RaiseMinimum {
            log_position: present.position / 2,
            queues: vec![QueueMinimum { topic, queue_id, min: random.below(30) as i64 }],
        },
    }
}

fn member(random: &mut Random, client_id: Arc<str>, topic: Arc<str>) -> Member {
    let subscription = Subscription {
        topic: Arc::clone(&topic),
        expression: Arc::from("*"),
        expression_type: Arc::from("TAG"),
        version: random.below(3) as i64,
        class_filter_mode: false,
    };
    Member {
        client_id,
        language: 0,
        version: 479,
        address: Arc::from("10.0.0.1:1000"),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Clustering,
        consume_from: ConsumeFrom::LastOffset,
        unit_mode: false,
        subscriptions: [(topic, subscription)].into(),
    }
}
