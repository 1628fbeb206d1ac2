//! What an administrator is told of a consumer (307). Source: RocketMQ 5.3 ConsumerRunningInfo,
//! DefaultMQPushConsumerImpl.consumerRunningInfo.

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{ConsumeType, ConsumerRunningInfo, SubscriptionData};
use flotilla_remoting::version;

use super::stats::Stats;
use crate::name_servers::NameServers;

/// The part that is the same for all kinds of consumers; `settings` are shown beside it under the names of Java's properties.
pub(crate) fn running_info(
    name_servers: &NameServers,
    consume_type: ConsumeType,
    started_ms: i64,
    subscriptions: Vec<SubscriptionData>,
    stats: &Stats,
    settings: Vec<(&str, String)>,
) -> ConsumerRunningInfo {
    let name_servers = match name_servers {
        NameServers::List(addresses) => addresses.iter().map(|address| format!("{address};")).collect(),
        NameServers::Endpoint(address) => address.clone(),
    };
    let mut properties: BTreeMap<String, String> =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let facts = [
        ("PROP_NAMESERVER_ADDR", name_servers),
        ("PROP_CONSUME_TYPE", consume_type.name().to_owned()),
        ("PROP_CLIENT_VERSION", version::CURRENT_NAME.to_owned()),
        ("PROP_CONSUMER_START_TIMESTAMP", started_ms.to_string()),
    ];
    properties.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    let status = |data: &SubscriptionData| (data.topic.clone(), stats.topic(&data.topic).status());
    ConsumerRunningInfo {
        properties,
        status_table: subscriptions.iter().map(status).collect(),
        subscription_set: subscriptions,
        ..ConsumerRunningInfo::default()
    }
}
