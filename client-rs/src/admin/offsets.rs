//! Offsets that groups have committed: read (14), write (15), reset (222), clone (314).

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{MessageQueue, ResetOffsetBody};
use flotilla_remoting::headers::{
    BoundaryType, CloneGroupOffsetRequest, QueryConsumerOffsetRequest, ResetOffsetRequest,
    UpdateConsumerOffsetRequest,
};
use flotilla_remoting::{RequestCode, ResponseCode};

use super::AdminClient;
use super::queues::offset;
use super::reach::{Ask, By};
use crate::error::{ClientError, Result};

/// Where a group is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// The first message that is available.
    Earliest,
    /// The next message to be written.
    Latest,
    /// The first message stored at a time, in ms since 1970, or later.
    Time(i64),
}

impl ResetTo {
    /// What travels: -1 means the end.
    fn timestamp(self) -> Result<i64> {
        match self {
            ResetTo::Earliest => Ok(0),
            ResetTo::Latest => Ok(-1),
            ResetTo::Time(time_ms) if time_ms >= 0 => Ok(time_ms),
            ResetTo::Time(time_ms) => {
                Err(ClientError::Invalid(format!("{time_ms} is no time in ms since 1970")))
            }
        }
    }
}

impl AdminClient {
    /// Queue offset that a group has committed; `None` when it has committed nothing there.
    ///
    /// # Errors
    /// `NoRoute` when no broker of that name has the topic; a broker that can't be reached.
    pub async fn committed_offset(&self, group: &str, queue: &MessageQueue) -> Result<Option<i64>> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic: &queue.topic,
            queue_id: queue.queue_id,
            set_zero_if_not_found: Some(false),
        };
        let ask = Ask::new(RequestCode::QueryConsumerOffset, header.encode());
        match self.at_queue(queue, &ask).await {
            Ok(answer) => offset(&answer).map(Some),
            Err(error) if error.code() == Some(ResponseCode::QueryNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits a queue offset for a group. Members that are online go on from what they hold and commit over it; use
    /// [`AdminClient::reset_offset`] to move those.
    ///
    /// # Errors
    /// `Refused` for an unknown group or topic.
    pub async fn commit_offset(&self, group: &str, queue: &MessageQueue, queue_offset: i64) -> Result<()> {
        let header = UpdateConsumerOffsetRequest {
            consumer_group: group,
            topic: &queue.topic,
            queue_id: queue.queue_id,
            commit_offset: queue_offset,
        };
        self.at_queue(queue, &Ask::new(RequestCode::UpdateConsumerOffset, header.encode())).await.map(drop)
    }

    /// Moves a group in all queues of a topic, whether its members are online or not; gives the new offsets. Members that are
    /// online follow within seconds. Without `force` brokers that move members themselves only go back, not forward.
    ///
    /// A broker that asks members to move (`useServerSideResetOffset=false`) refuses when none is online; then the offsets are
    /// committed in the group's place. Source: RocketMQ 5.3 DefaultMQAdminExtImpl.resetOffsetNew.
    ///
    /// # Errors
    /// `Invalid` for a negative time; `NoRoute` when no broker has the topic; `Refused` for an unknown group.
    pub async fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        to: ResetTo,
        force: bool,
    ) -> Result<BTreeMap<MessageQueue, i64>> {
        let timestamp = to.timestamp()?;
        let header =
            ResetOffsetRequest { topic, group, queue_id: -1, offset: None, timestamp, is_force: force };
        let ask = Ask::new(RequestCode::InvokeBrokerToResetOffset, header.encode());
        let route = self.topic_route(topic).await?;
        let mut moved = BTreeMap::new();
        for broker in route.queue_datas {
            match self.at_leader(By::Topic(topic), &broker.broker_name, &ask).await {
                Ok(answer) => {
                    let body: ResetOffsetBody = answer.body()?;
                    // Queues come without broker name from some releases.
                    moved.extend(body.offset_table.into_iter().map(|(mut queue, at)| {
                        queue.broker_name.clone_from(&broker.broker_name);
                        (queue, at)
                    }));
                }
                Err(error) if error.code() == Some(ResponseCode::ConsumerNotOnline) => {
                    for queue_id in 0..broker.read_queue_nums {
                        let broker_name = broker.broker_name.clone();
                        let queue = MessageQueue { broker_name, queue_id, topic: topic.to_owned() };
                        let at = self.reset_offline(group, &queue, to, force).await?;
                        moved.insert(queue, at);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    async fn reset_offline(
        &self,
        group: &str,
        queue: &MessageQueue,
        to: ResetTo,
        force: bool,
    ) -> Result<i64> {
        let target = match to {
            ResetTo::Earliest => self.min_offset(queue).await?,
            ResetTo::Latest => self.max_offset(queue).await?,
            ResetTo::Time(time_ms) => self.search_offset(queue, time_ms, BoundaryType::Lower).await?,
        };
        let now = self.committed_offset(group, queue).await?;
        match now {
            Some(now) if !force && target > now => Ok(now),
            _ => self.commit_offset(group, queue, target).await.map(|()| target),
        }
    }

    /// Moves a group in one queue to an offset between the first and the next one.
    /// Source: RocketMQ 5.3 DefaultMQAdminExtImpl.resetOffsetByQueueId.
    ///
    /// # Errors
    /// `Refused` for an offset that is not there, or an unknown group.
    pub async fn reset_offset(&self, group: &str, queue: &MessageQueue, queue_offset: i64) -> Result<()> {
        let header = ResetOffsetRequest {
            topic: &queue.topic,
            group,
            queue_id: queue.queue_id,
            offset: Some(queue_offset),
            timestamp: 0,
            is_force: true,
        };
        self.at_queue(queue, &Ask::new(RequestCode::InvokeBrokerToResetOffset, header.encode()))
            .await
            .map(drop)
    }

    /// Copies what a group has committed in a topic to another group. With `offline` also when the members of the first one do
    /// not subscribe the topic.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic.
    pub async fn clone_offsets(&self, from: &str, to: &str, topic: &str, offline: bool) -> Result<()> {
        let header =
            CloneGroupOffsetRequest { source_group: from, target_group: to, topic: Some(topic), offline };
        self.at_leaders_of(topic, &Ask::new(RequestCode::CloneGroupOffset, header.encode())).await.map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_travels_as_minus_one_and_no_time_does() {
        assert_eq!(ResetTo::Latest.timestamp().unwrap(), -1);
        assert_eq!(ResetTo::Earliest.timestamp().unwrap(), 0);
        assert_eq!(ResetTo::Time(7).timestamp().unwrap(), 7);
        assert!(matches!(ResetTo::Time(-1).timestamp(), Err(ClientError::Invalid(_))));
    }
}
