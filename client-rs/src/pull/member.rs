//! What brokers ask of a pull consumer.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use flotilla_remoting::bodies::{
    ConsumeDirectlyResult, ConsumeType, ConsumerData, ConsumerRunningInfo, MessageQueue, ProcessQueueInfo,
    SubscriptionData,
};
use futures::future::BoxFuture;

use super::core::{Assigned, Core, Mode};
use crate::consume::running::running_info;
use crate::members::ConsumerMember;
use crate::received::ReceivedMessage;

impl Core {
    fn subscription_data(&self) -> Vec<SubscriptionData> {
        match &*self.mode.lock() {
            Mode::Subscribed(subscriptions) => {
                subscriptions.values().map(|subscription| subscription.data.clone()).collect()
            }
            Mode::Open | Mode::Assigned => Vec::new(),
        }
    }
}

impl ConsumerMember for Core {
    fn data(&self) -> ConsumerData {
        ConsumerData {
            consume_from_where: self.settings.common.consume_from.wire(),
            consume_type: ConsumeType::Actively,
            group_name: self.settings.common.group.clone(),
            message_model: self.settings.common.model.wire(),
            subscription_data_set: self.subscription_data(),
            unit_mode: false,
        }
    }

    fn members_changed(&self) {
        self.member.balancer.now.notify_one();
    }

    /// Seeks. Java's lite pull consumer ignores it, and goes on where it was.
    fn reset_offsets(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>) {
        for (queue, offset) in offsets.into_iter().filter(|(queue, _)| queue.topic == topic) {
            // A queue of another member.
            let _ = self.set_position(&queue, offset);
        }
    }

    fn offsets(&self, topic: &str) -> BTreeMap<MessageQueue, i64> {
        let queues = self.queues.lock();
        let of_topic = queues.iter().filter(|(queue, _)| topic.is_empty() || queue.topic == topic);
        of_topic
            .filter_map(|(queue, assigned)| Some((queue.clone(), assigned.state.lock().position()?)))
            .collect()
    }

    fn running_info(&self) -> ConsumerRunningInfo {
        let settings = &self.settings;
        let shown = vec![
            ("allocateMessageQueueStrategy", settings.common.strategy.name()),
            ("autoCommit", settings.auto_commit.to_string()),
            ("consumeFromWhere", settings.common.consume_from.wire().name().to_owned()),
            ("consumerGroup", settings.common.group.clone()),
            ("messageModel", settings.common.model.wire().name().to_owned()),
            ("pullBatchSize", settings.common.pull_batch_size.to_string()),
            ("pullThresholdForAll", settings.common.messages_max.to_string()),
            ("pullThresholdForQueue", settings.common.queue_messages_max.to_string()),
        ];
        let info = running_info(
            &self.member.calls.client.name_servers,
            ConsumeType::Actively,
            self.member.started_ms,
            self.subscription_data(),
            &self.member.stats,
            shown,
        );
        let queues = self.queues.lock();
        let mq_table = queues.iter().map(|(queue, assigned)| (queue.clone(), assigned.info())).collect();
        ConsumerRunningInfo { mq_table, ..info }
    }

    fn consume_directly(&self, _message: ReceivedMessage) -> BoxFuture<'static, ConsumeDirectlyResult> {
        Box::pin(std::future::ready(ConsumeDirectlyResult {
            consume_result: Some("CR_THROW_EXCEPTION".to_owned()),
            remark: Some("a pull consumer has no listener".to_owned()),
            ..ConsumeDirectlyResult::default()
        }))
    }
}

impl Assigned {
    fn info(&self) -> ProcessQueueInfo {
        let state = self.state.lock();
        let (messages, bytes) = state.ahead();
        let (first, last) = state.range().unwrap_or_default();
        ProcessQueueInfo {
            cached_msg_count: i32::try_from(messages).unwrap_or(i32::MAX),
            cached_msg_max_offset: last,
            cached_msg_min_offset: first,
            cached_msg_size_mib: i32::try_from(bytes >> 20).unwrap_or(i32::MAX),
            commit_offset: state.position().unwrap_or(-1),
            droped: self.dropped.is_cancelled(),
            last_pull_timestamp: self.last_pull_ms.load(Ordering::Relaxed),
            ..ProcessQueueInfo::default()
        }
    }
}
