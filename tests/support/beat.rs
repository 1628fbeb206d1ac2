//! Heartbeats, as official clients send them.

use flotilla_remoting::bodies::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};

/// A push consumer's heartbeat, as Java sends it to every replica.
pub fn consumer(client_id: &str, group: &str, topic: &str, tags: &str) -> HeartbeatData {
    let subscription = |topic: &str, tags: &str| SubscriptionData {
        topic: topic.to_owned(),
        sub_string: tags.to_owned(),
        tags_set: if tags == "*" { Vec::new() } else { vec![tags.to_owned()] },
        sub_version: 1,
        expression_type: Some("TAG".to_owned()),
        ..SubscriptionData::default()
    };
    HeartbeatData {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData { group_name: "CLIENT_INNER_PRODUCER".to_owned() }],
        consumer_data_set: vec![ConsumerData {
            group_name: group.to_owned(),
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::FirstOffset,
            unit_mode: false,
            subscription_data_set: vec![
                subscription(topic, tags),
                subscription(&format!("%RETRY%{group}"), "*"),
            ],
        }],
        ..HeartbeatData::default()
    }
}

/// The same of a broadcasting consumer, which has no retry topic.
pub fn broadcasting(client_id: &str, group: &str, topic: &str) -> HeartbeatData {
    let mut data = consumer(client_id, group, topic, "*");
    for consumer in &mut data.consumer_data_set {
        consumer.message_model = MessageModel::Broadcasting;
        consumer.subscription_data_set.truncate(1);
    }
    data
}

/// A producer's heartbeat.
pub fn producer(client_id: &str, group: &str) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.to_owned(),
        producer_data_set: vec![ProducerData { group_name: group.to_owned() }],
        ..HeartbeatData::default()
    }
}
