//! Bodies: what other clients write, what a registration may not be.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::version;

#[test]
fn heartbeat_of_the_go_client_is_read() {
    // Codes are texts there, sets may be null, and there is neither fingerprint nor `withoutSub`.
    let body = br#"{"clientID":"10.0.0.1@1#2","producerDataSet":[{"groupName":"p"}],"consumerDataSet":[{"groupName":"g",
        "consumeType":"CONSUME_PASSIVELY","messageModel":"Clustering","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet":[{"classFilterMode":false,"topic":"t","subString":"TagA","tagsSet":["TagA"],
        "codeSet":["2598919"],"subVersion":17,"expressionType":"TAG"},{"topic":"u","tagsSet":null,"codeSet":null}],
        "unitMode":false}]}"#;
    let heartbeat: HeartbeatData = decode(body).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.message_model, MessageModel::Clustering);
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    assert_eq!(consumer.subscription_data_set[0].code_set, [2_598_919]);
    assert!(
        consumer.subscription_data_set[1].is_tag() && consumer.subscription_data_set[1].code_set.is_empty()
    );
    assert_eq!((heartbeat.heartbeat_fingerprint, heartbeat.without_sub), (0, false));
}

#[test]
fn unknown_names_are_told_with_their_place() {
    let error = decode::<HeartbeatData>(br#"{"consumerDataSet":[{"consumeType":"CONSUME_X"}]}"#).unwrap_err();
    assert_eq!(error.to_string(), "unknown ConsumeType \"CONSUME_X\" at byte 35");
}

#[test]
fn expression_type_is_compared_with_case() {
    for tag in [None, Some(""), Some("TAG")] {
        assert!(is_tag_type(tag));
    }
    for other in ["tag", "SQL92", " "] {
        assert!(!is_tag_type(Some(other)));
    }
}

#[test]
fn queues_are_sorted_as_clients_sort_them() {
    let queue = |topic: &str, broker_name: &str, queue_id| MessageQueue {
        broker_name: broker_name.to_owned(),
        queue_id,
        topic: topic.to_owned(),
    };
    let mut queues = vec![queue("u", "a", 0), queue("t", "b", 0), queue("t", "a", 10), queue("t", "a", 9)];
    queues.sort();
    assert_eq!(queues, [queue("t", "a", 9), queue("t", "a", 10), queue("t", "b", 0), queue("u", "a", 0)]);
}

#[test]
fn route_in_standard_form_is_ascii_with_quoted_keys() {
    let mut route = TopicRouteData { queue_datas: vec![QueueData::default()], ..TopicRouteData::default() };
    route.broker_datas.push(BrokerData { cluster: "集".to_owned(), ..BrokerData::default() });
    route.broker_datas[0].broker_addrs.insert(0, "10.0.0.5:10911".to_owned());
    let text = |form| String::from_utf8(route.encode(form).to_vec()).unwrap();
    let standard = text(RouteForm::Standard);
    assert!(
        standard.contains(r#""brokerAddrs":{"0":"10.0.0.5:10911"}"#)
            && standard.contains(r#""cluster":"\u96C6""#)
    );
    assert!(
        standard.contains(r#""filterServerTable":{}"#) && !standard.contains("topicQueueMappingByBroker")
    );
    assert!(text(RouteForm::Legacy).contains(r#""brokerAddrs":{0:"10.0.0.5:10911"}"#));
    for form in [RouteForm::Standard, RouteForm::Legacy] {
        assert_eq!(decode::<TopicRouteData>(text(form).as_bytes()).unwrap(), route);
    }
}

#[test]
fn topic_lines_that_are_none_say_why() {
    let error = |line: &str| TopicConfig::from_line(line).unwrap_err().0;
    assert_eq!(error(""), "no name");
    assert_eq!(error("t 1 2"), "no permission");
    assert_eq!(error("t 1 x 6 SINGLE_TAG"), "write queues is no 32-bit integer");
    assert_eq!(error("t 1 2 6 NO_TAG"), "unknown filter type");
    assert_eq!(error("t 1 2 6 SINGLE_TAG {"), "attributes: expected a value at byte 1");
    assert!(TopicConfig::from_line("t 1 2 6 MULTI_TAG").unwrap().attributes.is_empty());
}

#[test]
fn registrations_that_are_none_say_what_and_where() {
    let plain = RegisterBrokerBody::decode(b"{", false, version::CURRENT).unwrap_err();
    assert!(matches!(plain, RegisterBodyError::Json(_)));
    let broken = RegisterBrokerBody::decode(b"no zlib", true, version::CURRENT).unwrap_err();
    assert!(matches!(broken, RegisterBodyError::Inflate(_)));
    let inflated = |parts: &[&[u8]]| {
        registration_of_inflated(&parts.concat(), version::CURRENT).unwrap_err().to_string()
    };
    assert_eq!(
        inflated(&[b"\0\0\0\x03{}"]),
        "inflated registration body: data version at byte 4 goes beyond the 6 bytes"
    );
    assert_eq!(
        inflated(&[b"\0\0\0\x02[]"]),
        "inflated registration body: data version: expected an object at byte 0"
    );
    assert_eq!(
        inflated(&[b"\0\0\0\x02{}", b"\0\0\0\x01", b"\0\0\0\x03t 1"]),
        "inflated registration body at byte 10: topic line: no write queues"
    );
    assert_eq!(
        inflated(&[b"\0\0\0\x02{}", b"\0\0\0\x01", b"\0\0\0\x01\xFF"]),
        "inflated registration body: topic at byte 10 is not UTF-8"
    );
}

#[test]
fn bit_sets_name_offsets() {
    let ack = |bit_set: String, start_offset| BatchAck { bit_set, start_offset, ..BatchAck::default() };
    assert_eq!(ack(BatchAck::bit_set_of(&[]), 5).offsets(), Some(Vec::new()));
    assert_eq!(ack(BatchAck::bit_set_of(&[0, 64]), 5).offsets(), Some(vec![5, 69]));
    assert_eq!(ack("*".to_owned(), 5).offsets(), None);
    assert_eq!(ack(BatchAck::bit_set_of(&[1]), i64::MAX).offsets(), None);
}
