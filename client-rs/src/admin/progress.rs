//! How far a group is, by queue (208).

use std::collections::BTreeMap;

use flotilla_remoting::RequestCode;
use flotilla_remoting::bodies::{ConsumeStats, MessageQueue, OffsetWrapper};
use flotilla_remoting::headers::GetConsumeStatsRequest;

use super::AdminClient;
use super::reach::{Answer, Ask};
use crate::error::Result;

/// How far a group is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// By queue; those of the group's retry topic too.
    pub queues: BTreeMap<MessageQueue, QueueProgress>,
    /// Messages consumed per second, all brokers together.
    pub tps: f64,
}

/// How far a group is in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueProgress {
    /// Queue offset of the next message to be written.
    pub end: i64,
    /// Queue offset of the next message to consume, as committed.
    pub committed: i64,
    /// Queue offset of the next message to pull.
    pub pulled: i64,
    /// Store time of the last message consumed, in ms since 1970; `None` when unknown.
    pub last_consumed_ms: Option<i64>,
}

impl QueueProgress {
    /// Messages written and not consumed yet. Never negative: the two numbers are not read at the same moment.
    pub fn lag(&self) -> i64 {
        (self.end - self.committed).max(0)
    }

    /// Messages pulled and not consumed yet.
    pub fn in_flight(&self) -> i64 {
        (self.pulled - self.committed).max(0)
    }
}

impl Progress {
    /// Messages not consumed yet, all queues together.
    pub fn lag(&self) -> i64 {
        self.queues.values().map(QueueProgress::lag).sum()
    }

    /// Messages not consumed yet in the queues of a topic.
    pub fn lag_of(&self, topic: &str) -> i64 {
        self.queues.iter().filter(|(queue, _)| queue.topic == topic).map(|(_, at)| at.lag()).sum()
    }

    fn add(&mut self, answer: &Answer) -> Result<()> {
        let part: ConsumeStats = answer.body()?;
        self.tps += part.consume_tps;
        self.queues.extend(part.offset_table.into_iter().map(|(queue, at)| (queue, at.into())));
        Ok(())
    }
}

impl From<OffsetWrapper> for QueueProgress {
    fn from(at: OffsetWrapper) -> QueueProgress {
        QueueProgress {
            end: at.broker_offset,
            // -1 says that nothing was committed. Source: RocketMQ 5.3 AdminBrokerProcessor.getConsumeStats.
            committed: at.consumer_offset.max(0),
            pulled: at.pull_offset.max(0),
            last_consumed_ms: (at.last_timestamp > 0).then_some(at.last_timestamp),
        }
    }
}

impl AdminClient {
    /// How far a group is in one topic, or in all that it has committed something in. In a topic that is named, a group that has
    /// committed nothing stands at 0. Brokers don't know what a broadcasting group consumed.
    ///
    /// # Errors
    /// A broker can't be reached.
    pub async fn progress(&self, group: &str, topic: Option<&str>) -> Result<Progress> {
        let ext = GetConsumeStatsRequest { consumer_group: group, topic, topic_list: None }.encode();
        // Three times as long as other calls. Source: RocketMQ 5.3 DefaultMQAdminExtImpl.examineConsumeStats.
        let ask = Ask::new(RequestCode::GetConsumeStats, ext).within(self.inner().remote.call_timeout() * 3);
        let mut progress = Progress::default();
        for answer in self.at_brokers_of_group(group, topic, &ask).await?.values() {
            progress.add(answer)?;
        }
        Ok(progress)
    }

    /// [`AdminClient::progress`] as the broker at an address knows it.
    ///
    /// # Errors
    /// It can't be reached, or refused.
    pub async fn progress_at(&self, address: &str, group: &str, topic: Option<&str>) -> Result<Progress> {
        let ext = GetConsumeStatsRequest { consumer_group: group, topic, topic_list: None }.encode();
        let mut progress = Progress::default();
        progress.add(&self.at(address, &Ask::new(RequestCode::GetConsumeStats, ext)).await?)?;
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_left_and_never_negative() {
        let at = |broker_offset, consumer_offset, pull_offset| {
            QueueProgress::from(OffsetWrapper {
                broker_offset,
                consumer_offset,
                pull_offset,
                last_timestamp: 0,
            })
        };
        assert_eq!((at(10, 4, 6).lag(), at(10, 4, 6).in_flight()), (6, 2));
        assert_eq!((at(10, -1, -1).lag(), at(10, -1, -1).in_flight()), (10, 0));
        assert_eq!(at(3, 5, 5).lag(), 0);
        assert_eq!(at(3, 5, 5).last_consumed_ms, None);
        let queue =
            |topic: &str, queue_id| MessageQueue { topic: topic.into(), queue_id, ..MessageQueue::default() };
        let queues = [(queue("a", 0), at(5, 1, 1)), (queue("b", 0), at(5, 3, 3))].into();
        let progress = Progress { queues, tps: 0.0 };
        assert_eq!((progress.lag(), progress.lag_of("a")), (6, 4));
    }
}
