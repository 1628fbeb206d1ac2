//! Queues: first and next offset (30, 31), oldest message (32), offset by time (29), units (321).

use flotilla_remoting::bodies::{MessageQueue, QueryConsumeQueueResponse};
use flotilla_remoting::headers::{
    BoundaryType, GetMaxOffsetRequest, OffsetResponse, QueryConsumeQueueRequest, QueueRequest,
    SearchOffsetRequest, TimestampResponse,
};
use flotilla_remoting::{ExtFields, RequestCode};

use super::AdminClient;
use super::reach::{Answer, Ask, By};
use crate::error::Result;

impl AdminClient {
    /// First queue offset that is available; 0 for a queue that does not exist.
    ///
    /// # Errors
    /// `NoRoute` when no broker of that name has the topic; a broker that can't be reached.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64> {
        offset(&self.at_queue(queue, &min(&queue.topic, queue.queue_id)).await?)
    }

    /// Queue offset of the next message to be written; 0 for a queue that does not exist.
    ///
    /// # Errors
    /// As [`AdminClient::min_offset`].
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64> {
        offset(&self.at_queue(queue, &max(&queue.topic, queue.queue_id)).await?)
    }

    /// First and next queue offset as the replica at an address tells them. A follower of Flotilla hands both calls on to its
    /// leader, since only a leader speaks of ends; what it has itself tells [`AdminClient::broker_info`]. A slave of RocketMQ
    /// tells its own.
    ///
    /// # Errors
    /// It can't be reached, or refused.
    pub async fn offsets_at(&self, address: &str, topic: &str, queue_id: i32) -> Result<(i64, i64)> {
        let first = offset(&self.at(address, &min(topic, queue_id)).await?)?;
        let next = offset(&self.at(address, &max(topic, queue_id)).await?)?;
        Ok((first, next))
    }

    /// Store time of the first message that is available, in ms since 1970; `None` when the queue is empty.
    ///
    /// # Errors
    /// As [`AdminClient::min_offset`].
    pub async fn earliest_store_time(&self, queue: &MessageQueue) -> Result<Option<i64>> {
        let ext = QueueRequest { topic: &queue.topic, queue_id: queue.queue_id }.encode();
        let ask = Ask::new(RequestCode::GetEarliestMessageStoreTime, ext);
        let answer = self.at_queue(queue, &ask).await?;
        let time = answer.header(TimestampResponse::decode)?.timestamp;
        Ok((time >= 0).then_some(time))
    }

    /// Queue offset of the first message stored at a time (in ms since 1970) or later; with [`BoundaryType::Upper`] of the last
    /// one stored at that time or before. Before the oldest message the first offset, after the newest the next one.
    ///
    /// # Errors
    /// As [`AdminClient::min_offset`].
    pub async fn search_offset(
        &self,
        queue: &MessageQueue,
        time_ms: i64,
        boundary: BoundaryType,
    ) -> Result<i64> {
        let header = SearchOffsetRequest {
            topic: &queue.topic,
            queue_id: queue.queue_id,
            timestamp: time_ms,
            boundary_type: boundary,
        };
        offset(&self.at_queue(queue, &Ask::new(RequestCode::SearchOffsetByTimestamp, header.encode())).await?)
    }

    /// Units of a queue from an offset on: where in the log each message lies, and the code of its tag.
    ///
    /// # Errors
    /// `Refused` when there is no such queue.
    pub async fn consume_queue(
        &self,
        queue: &MessageQueue,
        index: i64,
        count: i32,
    ) -> Result<QueryConsumeQueueResponse> {
        let header = QueryConsumeQueueRequest {
            topic: &queue.topic,
            queue_id: queue.queue_id,
            index,
            count,
            consumer_group: None,
        };
        self.at_queue(queue, &Ask::new(RequestCode::QueryConsumeQueue, header.encode())).await?.body()
    }

    pub(super) async fn at_queue(&self, queue: &MessageQueue, ask: &Ask) -> Result<Answer> {
        self.at_leader(By::Kept(&queue.topic), &queue.broker_name, ask).await
    }
}

fn min(topic: &str, queue_id: i32) -> Ask {
    Ask::new(RequestCode::GetMinOffset, QueueRequest { topic, queue_id }.encode())
}

fn max(topic: &str, queue_id: i32) -> Ask {
    Ask::new(RequestCode::GetMaxOffset, GetMaxOffsetRequest { topic, queue_id, committed: true }.encode())
}

pub(super) fn offset(answer: &Answer) -> Result<i64> {
    Ok(answer.header(|ext: &ExtFields| OffsetResponse::decode(ext))?.offset)
}
