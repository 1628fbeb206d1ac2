//! What brokers ask of a push consumer. Source: RocketMQ 5.3 DefaultMQPushConsumerImpl, ClientRemotingProcessor.

use std::collections::BTreeMap;
use std::time::Instant;

use flotilla_remoting::bodies::{
    ConsumeDirectlyResult, ConsumeType, ConsumerData, ConsumerRunningInfo, MessageQueue, SubscriptionData,
};
use futures::future::BoxFuture;
use tokio::time::timeout;

use super::core::Core;
use super::listener::{Kind, Verdict};
use super::workers::guarded;
use super::{OrderlyOutcome, Outcome};
use crate::consume::running::running_info;
use crate::limits;
use crate::members::ConsumerMember;
use crate::received::ReceivedMessage;

impl Core {
    fn subscription_data(&self) -> Vec<SubscriptionData> {
        self.subscriptions.values().map(|subscription| subscription.data.clone()).collect()
    }
}

impl ConsumerMember for Core {
    fn data(&self) -> ConsumerData {
        ConsumerData {
            consume_from_where: self.settings.common.consume_from.wire(),
            consume_type: ConsumeType::Passively,
            group_name: self.settings.common.group.clone(),
            message_model: self.settings.common.model.wire(),
            subscription_data_set: self.subscription_data(),
            unit_mode: false,
        }
    }

    fn members_changed(&self) {
        self.member.balancer.now.notify_one();
    }

    fn reset_offsets(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>) {
        let offsets = offsets.into_iter().filter(|(queue, _)| queue.topic == topic).collect();
        self.move_soon(offsets, limits::RESET_WAIT);
    }

    fn offsets(&self, topic: &str) -> BTreeMap<MessageQueue, i64> {
        let mut offsets = self.consumed();
        offsets.retain(|queue, _| topic.is_empty() || queue.topic == topic);
        offsets
    }

    fn running_info(&self) -> ConsumerRunningInfo {
        let settings = &self.settings;
        let strategy = settings.common.strategy.name();
        let shown = vec![
            ("PROP_CONSUMEORDERLY", self.listener.is_orderly().to_string()),
            ("PROP_THREADPOOL_CORE_SIZE", settings.concurrency.to_string()),
            ("allocateMessageQueueStrategy", strategy),
            ("consumeConcurrentlyMaxSpan", settings.span_max.to_string()),
            ("consumeFromWhere", settings.common.consume_from.wire().name().to_owned()),
            ("consumeMessageBatchMaxSize", settings.consume_batch_size.to_string()),
            ("consumeThreadMax", settings.concurrency.to_string()),
            ("consumeTimeout", (settings.consume_timeout.as_secs() / 60).to_string()),
            ("consumerGroup", settings.common.group.clone()),
            (
                "instanceName",
                self.member.calls.client.client_id.split('@').nth(1).unwrap_or_default().to_owned(),
            ),
            (
                "maxReconsumeTimes",
                settings.max_reconsume_times.map_or_else(|| "-1".into(), |n| n.to_string()),
            ),
            ("messageModel", settings.common.model.wire().name().to_owned()),
            ("pullBatchSize", settings.common.pull_batch_size.to_string()),
            ("pullInterval", settings.pull_interval.as_millis().to_string()),
            ("pullThresholdForQueue", settings.common.queue_messages_max.to_string()),
            ("pullThresholdSizeForQueue", (settings.common.queue_bytes_max >> 20).to_string()),
            ("suspendCurrentQueueTimeMillis", settings.suspend.as_millis().to_string()),
        ];
        let info = running_info(
            &self.member.calls.client.name_servers,
            ConsumeType::Passively,
            self.member.started_ms,
            self.subscription_data(),
            &self.member.stats,
            shown,
        );
        let queues = self.queues.lock();
        let mq_table = queues.held.iter().map(|(queue, owned)| (queue.clone(), owned.info())).collect();
        ConsumerRunningInfo { mq_table, ..info }
    }

    fn consume_directly(&self, message: ReceivedMessage) -> BoxFuture<'static, ConsumeDirectlyResult> {
        let listener = self.listener.clone();
        let limit = self.settings.consume_timeout;
        Box::pin(async move {
            let began = Instant::now();
            let order = listener.is_orderly();
            let (result, remark) = match timeout(limit, call_once(listener, message)).await {
                Ok(Ok(result)) => (result, None),
                Ok(Err(panic)) => ("CR_THROW_EXCEPTION", Some(panic)),
                Err(_) => ("CR_LATER", Some(format!("the listener was given up after {limit:?}"))),
            };
            ConsumeDirectlyResult {
                auto_commit: true,
                consume_result: Some(result.to_owned()),
                order,
                remark,
                spent_time_mills: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
            }
        })
    }
}

/// Gives one message to a listener; what an administrator is told of the outcome, or the text of a panic.
async fn call_once(listener: Kind, message: ReceivedMessage) -> Result<&'static str, String> {
    match listener {
        Kind::Concurrent(listener) => {
            guarded(move || listener(vec![message])).await.map(|verdict| match verdict {
                Verdict::Decided(Outcome::Success) => "CR_SUCCESS",
                Verdict::Decided(Outcome::Partly(consumed)) if consumed > 0 => "CR_SUCCESS",
                Verdict::Decided(_) | Verdict::Undecided => "CR_LATER",
            })
        }
        Kind::Orderly(listener) => {
            guarded(move || listener(vec![message])).await.map(|outcome| match outcome {
                OrderlyOutcome::Success => "CR_SUCCESS",
                OrderlyOutcome::Suspend | OrderlyOutcome::SuspendFor(_) => "CR_LATER",
            })
        }
    }
}
