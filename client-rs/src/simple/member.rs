//! What brokers may ask a simple consumer. It holds no queues and nothing in advance, so there is little to tell.

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{ConsumeDirectlyResult, ConsumerData, ConsumerRunningInfo, MessageQueue};
use futures::future::BoxFuture;

use crate::members::ConsumerMember;
use crate::received::ReceivedMessage;
use crate::unique_id::now_ms;

pub(super) struct Member {
    data: ConsumerData,
    started_ms: i64,
}

impl Member {
    pub(super) fn new(data: ConsumerData) -> Member {
        Member { data, started_ms: now_ms() }
    }
}

impl ConsumerMember for Member {
    fn data(&self) -> ConsumerData {
        self.data.clone()
    }

    /// Which queues a member gets is asked for anew by each receive.
    fn members_changed(&self) {}

    /// Offsets of pop consumption are kept by brokers alone, which move them before they tell members.
    fn reset_offsets(&self, _topic: &str, _offsets: BTreeMap<MessageQueue, i64>) {}

    fn offsets(&self, _topic: &str) -> BTreeMap<MessageQueue, i64> {
        BTreeMap::new()
    }

    /// Source of the names: RocketMQ 5.3 ConsumerRunningInfo.
    fn running_info(&self) -> ConsumerRunningInfo {
        let properties = [
            ("PROP_CONSUME_TYPE", self.data.consume_type.name().to_owned()),
            ("PROP_CONSUMER_START_TIMESTAMP", self.started_ms.to_string()),
            ("PROP_CLIENT_VERSION", concat!("flotilla-client ", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        ConsumerRunningInfo {
            properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            subscription_set: self.data.subscription_data_set.clone(),
            ..ConsumerRunningInfo::default()
        }
    }

    fn consume_directly(&self, _message: ReceivedMessage) -> BoxFuture<'static, ConsumeDirectlyResult> {
        Box::pin(std::future::ready(ConsumeDirectlyResult {
            consume_result: Some("CR_THROW_EXCEPTION".to_owned()),
            remark: Some("this consumer has no listener: it receives when its application asks".to_owned()),
            ..ConsumeDirectlyResult::default()
        }))
    }
}
