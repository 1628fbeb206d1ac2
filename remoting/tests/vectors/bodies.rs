//! JSON bodies, and the registration in both forms.

use flotilla_remoting::bodies::*;
use flotilla_remoting::json::{Dialect, IntegerKeys, from_slice, to_vec, to_vec_with};
use flotilla_remoting::message::body_crc;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::support::{Vector, hex, text_pairs, unhex};

/// Java writes bare integer keys outside of routes for newer clients; Flotilla always writes quoted ones.
const BARE: Dialect = Dialect { integer_keys: IntegerKeys::Bare, ascii_only: false };

pub fn json_body(vector: &Vector) -> bool {
    assert_eq!(vector.bytes_text(), vector.text("text"), "{}", vector.name);
    match vector.name.as_str() {
        "topic_route_legacy" => route(vector, RouteForm::Legacy),
        "topic_route_standard" | "topic_route_static_topic" => route(vector, RouteForm::Standard),
        "register_broker_body" => register_broker_body(vector),
        "batch_ack" => batch_ack(vector),
        "json_ref_example" => links(vector),
        "heartbeat" | "heartbeat_v2_fingerprint" => same::<HeartbeatData>(vector),
        "cluster_info" => same::<ClusterInfo>(vector),
        "broker_member_group" => same::<BrokerMemberGroupBody>(vector),
        "topic_list" => same::<TopicList>(vector),
        "data_version" => same::<DataVersion>(vector),
        "all_topic_config" => same::<TopicConfigWrapper>(vector),
        "get_topic_config" => same::<TopicConfig>(vector),
        "subscription_group_config" => same::<SubscriptionGroupConfig>(vector),
        "all_subscription_group" => same::<SubscriptionGroupWrapper>(vector),
        "subscription_group_list" => same::<SubscriptionGroupList>(vector),
        "create_topic_list" => same::<CreateTopicList>(vector),
        "consume_stats" => same::<ConsumeStats>(vector),
        "consume_stats_list" => same::<ConsumeStatsList>(vector),
        "topic_stats" => same::<TopicStatsTable>(vector),
        "reset_offset_body" => same::<ResetOffsetBody>(vector),
        "reset_offset_body_for_c" => same::<ResetOffsetBodyForC>(vector),
        "get_consumer_status" => same::<ConsumerStatusBody>(vector),
        "lock_batch_request" | "unlock_batch_request" => same::<LockBatchRequest>(vector),
        "lock_batch_response" => same::<LockBatchResponse>(vector),
        "consumer_list_by_group" => same::<ConsumerList>(vector),
        "query_assignment_request" => same::<QueryAssignmentRequest>(vector),
        "query_assignment_response" => same::<QueryAssignmentResponse>(vector),
        "set_message_request_mode" => same::<SetMessageRequestMode>(vector),
        "check_client_config" => same::<CheckClientConfig>(vector),
        "consumer_connection" => same::<ConsumerConnection>(vector),
        "producer_connection" => same::<ProducerConnection>(vector),
        "producer_table" => same::<ProducerTable>(vector),
        "consumer_running_info" => same::<ConsumerRunningInfo>(vector),
        "consume_directly_result" => same::<ConsumeDirectlyResult>(vector),
        "kv_table" => same::<KvTable>(vector),
        "broker_stats_data" => same::<BrokerStatsData>(vector),
        "group_list" => same::<GroupList>(vector),
        "consume_time_span" => same::<ConsumeTimeSpans>(vector),
        "query_correction_offset" => same::<CorrectionOffsets>(vector),
        "query_subscription" => same::<QuerySubscriptionResponse>(vector),
        "query_consume_queue" => same::<QueryConsumeQueueResponse>(vector),
        "all_consumer_offset" => same::<AllConsumerOffset>(vector),
        "ha_status" => same::<HaStatus>(vector),
        "user_info" => same::<UserInfo>(vector),
        "acl_info" => same::<AclInfo>(vector),
        "pop_checkpoint" => same::<PopCheckPoint>(vector),
        _ => return false,
    }
    true
}

/// Reads the body and writes it again: to the same bytes with Java's integer keys, to the same value with ours.
fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(vector: &Vector) {
    let body: T = from_slice(&vector.bytes).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
    let written = String::from_utf8(to_vec_with(&body, BARE)).unwrap();
    assert_eq!(written, vector.bytes_text(), "{}", vector.name);
    assert_eq!(from_slice::<T>(&to_vec(&body)).unwrap(), body, "{}", vector.name);
}

fn route(vector: &Vector, form: RouteForm) {
    let route: TopicRouteData = from_slice(&vector.bytes).unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "10.0.0.6:10911");
    assert_eq!(
        String::from_utf8(route.encode(form).to_vec()).unwrap(),
        vector.bytes_text(),
        "{}",
        vector.name
    );
}

fn register_broker_body(vector: &Vector) {
    same::<RegisterBrokerBody>(vector);
    assert_eq!(i64::from(body_crc(&vector.bytes)), vector.number("crc32"));
    let body = RegisterBrokerBody::decode(&vector.bytes, false, 479).unwrap();
    assert_eq!(body.topic_config_serialize_wrapper.data_version.counter, 3);
    assert_eq!(body.encode(), vector.bytes);
}

fn batch_ack(vector: &Vector) {
    same::<BatchAckRequest>(vector);
    let request: BatchAckRequest = from_slice(&vector.bytes).unwrap();
    assert_eq!(request.acks[0].offsets(), Some(vec![100, 103, 109]));
    assert_eq!(BatchAck::bit_set_of(&[9, 0, 3]), request.acks[0].bit_set);
}

/// The official writer links to equal objects, ours repeats them: only reading is compared.
fn links(vector: &Vector) {
    let stats: BrokerStatsData = from_slice(&vector.bytes).unwrap();
    assert_eq!(stats.stats_day.sum, 1);
    assert_eq!((&stats.stats_hour, &stats.stats_minute), (&stats.stats_day, &stats.stats_day));
    assert_eq!(from_slice::<BrokerStatsData>(&to_vec(&stats)).unwrap(), stats);
}

/// Another deflate gives other bytes: the stream is compared after inflating.
pub fn register_broker_compressed(vector: &Vector) {
    assert_eq!(i64::from(body_crc(&vector.bytes)), vector.number("crc32"));
    let parts = unhex(vector.text("inflatedHex"));
    assert_eq!(inflate(&vector.bytes).unwrap(), parts);
    let body = RegisterBrokerBody::decode(&vector.bytes, true, 479).unwrap();
    let topic = &body.topic_config_serialize_wrapper.topic_config_table["TopicTest"];
    assert_eq!((topic.read_queue_nums, topic.write_queue_nums, topic.perm), (4, 4, 6));
    assert_eq!(topic.attributes["message.type"], "NORMAL");
    assert_eq!(hex(&body.uncompressed_parts()), hex(&parts));
    let encoded = body.encode_compressed();
    assert_eq!(inflate(&encoded).unwrap(), parts);
    assert_eq!(RegisterBrokerBody::decode(&encoded, true, 479).unwrap(), body);
    // A sender before 5.0.0 ends without mappings.
    assert_eq!(RegisterBrokerBody::decode(&encoded, true, 409).unwrap(), body);
}

pub fn topic_config_line(vector: &Vector) {
    let topic = TopicConfig::from_line(vector.bytes_text()).unwrap();
    assert_eq!(topic.topic_name, vector.text("topic"));
    assert_eq!(i64::from(topic.read_queue_nums), vector.number("readQueueNums"));
    assert_eq!(i64::from(topic.write_queue_nums), vector.number("writeQueueNums"));
    assert_eq!(i64::from(topic.perm), vector.number("perm"));
    assert_eq!(topic.topic_filter_type.name(), vector.text("filterType"));
    let attributes: Vec<_> =
        topic.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(attributes, text_pairs(&vector.fields["attributes"]));
    assert_eq!(topic.to_line(), vector.bytes_text());
}
