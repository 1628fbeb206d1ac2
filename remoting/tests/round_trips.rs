//! Goal: what is encoded decodes to the same, for values that no vector has.
//!
//! Method: properties over generated values, texts with control characters, quotes and characters beyond the basic plane
//! included.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use flotilla_remoting::bodies::*;
use flotilla_remoting::headers::{PullMessageRequest, SendMessageRequest};
use flotilla_remoting::json::{Dialect, IntegerKeys, from_slice, to_vec, to_vec_with};
use flotilla_remoting::message::batch::{self, BatchRecord};
use flotilla_remoting::message::{
    LayoutVersion, MessageView, OffsetMessageId, StoredMessage, SysFlag, UniqueId, encode_stored, properties,
};
use flotilla_remoting::{ExtFields, Frame, Header, Language, SerializeType};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_%|-]{0,20}",
        "\\PC{0,12}",
        vec(
            prop_oneof![Just('\u{1}'), Just('"'), Just('\\'), Just('\u{7f}'), Just('😀'), any::<char>()],
            0..8
        )
        .prop_map(|characters| characters.into_iter().collect()),
    ]
}

/// A text that a binary header can hold: not empty.
fn some_text() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("{text}x"))
}

fn ext() -> impl Strategy<Value = ExtFields> {
    vec((some_text(), some_text()), 0..20)
        .prop_map(|entries| entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

fn header() -> impl Strategy<Value = Header> {
    let numbers = (any::<i16>(), 0..14_u8, any::<i16>(), any::<i32>(), any::<i32>());
    (numbers, proptest::option::of(some_text()), ext(), any::<bool>()).prop_map(
        |(numbers, remark, ext, json)| {
            let (code, language, version, opaque, flag) = numbers;
            Header {
                code: code.into(),
                language: Language::from_code(language),
                version: version.into(),
                opaque,
                flag,
                remark,
                ext,
                serialize: if json { SerializeType::Json } else { SerializeType::Rocketmq },
            }
        },
    )
}

fn host() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip.prop_map(|ip| ip.to_canonical()), any::<u16>()).prop_map(SocketAddr::from)
}

fn queue() -> impl Strategy<Value = MessageQueue> {
    (text(), any::<i32>(), text()).prop_map(|(broker_name, queue_id, topic)| MessageQueue {
        broker_name,
        queue_id,
        topic,
    })
}

fn topic() -> impl Strategy<Value = TopicConfig> {
    ("[a-zA-Z0-9_%|-]{1,20}", btree_map(text(), text(), 0..3), any::<[i32; 3]>(), any::<bool>()).prop_map(
        |(topic_name, attributes, [perm, read_queue_nums, write_queue_nums], multi)| TopicConfig {
            attributes,
            perm,
            read_queue_nums,
            write_queue_nums,
            topic_filter_type: if multi { TopicFilterType::MultiTag } else { TopicFilterType::SingleTag },
            topic_name,
            ..TopicConfig::default()
        },
    )
}

fn subscription() -> impl Strategy<Value = SubscriptionData> {
    (vec(any::<i32>(), 0..4), proptest::option::of(text()), text(), any::<i64>(), vec(text(), 0..4), text())
        .prop_map(|(code_set, expression_type, sub_string, sub_version, tags_set, topic)| SubscriptionData {
            class_filter_mode: false,
            code_set,
            expression_type,
            sub_string,
            sub_version,
            tags_set,
            topic,
        })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    (any::<bool>(), any::<bool>()).prop_map(|(bare, ascii_only)| Dialect {
        integer_keys: if bare { IntegerKeys::Bare } else { IntegerKeys::Quoted },
        ascii_only,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn prop_frames_come_back(header in header(), body in vec(any::<u8>(), 0..50)) {
        let frame = Frame { header, body: Bytes::from(body) };
        let again = Frame::decode(frame.encode().slice(4..)).unwrap();
        prop_assert_eq!(again, frame);
    }

    #[test]
    fn prop_send_headers_come_back(texts in [text(), text(), text(), text()],
                                   numbers in any::<[i32; 5]>(), time in any::<i64>(), optional in any::<[bool; 4]>()) {
        let send = SendMessageRequest {
            producer_group: &texts[0],
            topic: &texts[1],
            default_topic: &texts[2],
            default_topic_queue_nums: numbers[0],
            queue_id: numbers[1],
            sys_flag: numbers[2],
            born_timestamp: time,
            flag: numbers[3],
            properties: optional[0].then_some(texts[3].as_str()),
            reconsume_times: optional[1].then_some(numbers[4]),
            unit_mode: optional[2],
            batch: optional[3],
            max_reconsume_times: optional[1].then_some(numbers[4]),
            broker_name: None,
        };
        let (long, short) = (send.encode(), send.encode_short());
        prop_assert_eq!(&SendMessageRequest::decode(&long).unwrap(), &send);
        prop_assert_eq!(&SendMessageRequest::decode_short(&short).unwrap(), &send);
    }

    #[test]
    fn prop_pull_headers_come_back(group in text(), topic in text(), numbers in any::<[i64; 4]>(),
                                   small in any::<[i32; 3]>(), subscription in proptest::option::of(text())) {
        let pull = PullMessageRequest {
            consumer_group: &group,
            topic: &topic,
            queue_id: small[0],
            queue_offset: numbers[0],
            max_message_nums: small[1],
            sys_flag: small[2],
            commit_offset: numbers[1],
            suspend_timeout_ms: numbers[2],
            subscription: subscription.as_deref(),
            subscription_version: numbers[3],
            expression_type: subscription.as_deref(),
            max_message_bytes: Some(small[0]),
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(&group),
        };
        let encoded = pull.encode();
        prop_assert_eq!(PullMessageRequest::decode(&encoded).unwrap(), pull);
    }

    #[test]
    fn prop_messages_come_back(numbers in any::<[i32; 3]>(), longs in any::<[i64; 5]>(), hosts in [host(), host()],
                               body in vec(any::<u8>(), 0..60), topic in "[a-z%]{1,200}", sys_flag in any::<i32>(),
                               stored in btree_map("[a-z]{1,5}", some_text(), 0..4), added in text()) {
        let clean = |text: &str| text.replace(['\u{1}', '\u{2}'], ".");
        let text: BTreeMap<String, String> = stored.iter().map(|(name, value)| (name.clone(), clean(value))).collect();
        let text = properties::encode(text.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        // As a 4.9 client sends it: without the last separator.
        let text = text.strip_suffix('\u{2}').unwrap_or(&text);
        let added = clean(&added) + "x";
        let message = StoredMessage {
            topic: &topic,
            queue_id: numbers[0],
            flag: numbers[1],
            sys_flag: SysFlag(sys_flag),
            queue_offset: longs[0],
            physical_offset: longs[1],
            born_timestamp: longs[2],
            born_host: hosts[0],
            store_timestamp: longs[3],
            store_host: hosts[1],
            reconsume_times: numbers[2],
            prepared_transaction_offset: longs[4],
            body: &body,
            properties: text,
            added_properties: &[("TRACE_ON", "true"), ("CLUSTER", &added)],
            layout: LayoutVersion::Auto,
            with_property_crc: false,
        };
        let mut out = BytesMut::new();
        let size = encode_stored(&message, &mut out).unwrap();
        let (view, rest) = MessageView::parse(&out).unwrap();
        prop_assert!(rest.is_empty() && view.total_size() == size && view.body_is_intact());
        prop_assert_eq!((view.topic(), view.body()), (message.topic, message.body));
        prop_assert_eq!((view.queue_id(), view.flag(), view.reconsume_times()), (numbers[0], numbers[1], numbers[2]));
        prop_assert_eq!(view.queue_offset(), longs[0]);
        prop_assert_eq!(view.physical_offset(), longs[1]);
        prop_assert_eq!((view.born_timestamp(), view.store_timestamp()), (longs[2], longs[3]));
        prop_assert_eq!((view.born_host(), view.store_host()), (hosts[0], hosts[1]));
        prop_assert_eq!(view.prepared_transaction_offset(), longs[4]);
        let hosts_bits = SysFlag::BORN_HOST_V6 | SysFlag::STORE_HOST_V6;
        prop_assert_eq!(view.sys_flag().without(hosts_bits), SysFlag(sys_flag).without(hosts_bits));
        prop_assert_eq!(view.property("CLUSTER"), Some(added.as_str()));
        for (name, value) in &stored {
            let value = clean(value);
            prop_assert_eq!(view.property(name), Some(value.as_str()));
        }
        // Every shorter record is refused.
        prop_assert!((0..out.len()).all(|end| MessageView::parse(&out[..end]).is_err()));
    }

    #[test]
    fn prop_batches_come_back(records in vec((any::<i32>(), vec(any::<u8>(), 0..20), text()), 0..6)) {
        let mut out = BytesMut::new();
        for (flag, body, properties) in &records {
            batch::encode_record(&BatchRecord { flag: *flag, body, properties }, &mut out).unwrap();
        }
        let again: Vec<_> = batch::records(&out).map(|record| record.unwrap()).collect();
        prop_assert_eq!(again.len(), records.len());
        for (record, (flag, body, properties)) in again.iter().zip(&records) {
            prop_assert_eq!((record.flag, record.body, record.properties), (*flag, &body[..], properties.as_str()));
        }
    }

    #[test]
    fn prop_heartbeats_come_back(client_id in text(), group in text(), set in vec(subscription(), 0..4),
                                 fingerprint in any::<i32>(), dialect in dialect()) {
        let heartbeat = HeartbeatData {
            client_id,
            consumer_data_set: vec![ConsumerData {
                group_name: group.clone(),
                consume_type: ConsumeType::Pop,
                message_model: MessageModel::Broadcasting,
                consume_from_where: ConsumeFromWhere::Timestamp,
                subscription_data_set: set,
                unit_mode: true,
            }],
            heartbeat_fingerprint: fingerprint,
            producer_data_set: vec![ProducerData { group_name: group }],
            without_sub: true,
        };
        let again: HeartbeatData = from_slice(&to_vec_with(&heartbeat, dialect)).unwrap();
        prop_assert_eq!(again, heartbeat);
    }

    #[test]
    fn prop_maps_with_object_and_integer_keys_come_back(
        offsets in btree_map(queue(), any::<i64>(), 0..5),
        table in btree_map(text(), btree_map(any::<i32>(), any::<i64>(), 0..4), 0..4),
        dialect in dialect(),
    ) {
        let reset = ResetOffsetBody { offset_table: offsets };
        let again: ResetOffsetBody = from_slice(&to_vec_with(&reset, dialect)).unwrap();
        prop_assert_eq!(&again, &reset);
        let all = AllConsumerOffset { offset_table: table, ..AllConsumerOffset::default() };
        let again: AllConsumerOffset = from_slice(&to_vec_with(&all, dialect)).unwrap();
        prop_assert_eq!(again, all);
        // 4.9 and 5.3 also read keys as quoted text: the key's JSON inside a string.
        let quoted: BTreeMap<String, i64> = reset
            .offset_table
            .iter()
            .map(|(queue, offset)| (String::from_utf8(to_vec(queue)).unwrap(), *offset))
            .collect();
        let again: BTreeMap<MessageQueue, i64> = from_slice(&to_vec(&quoted)).unwrap();
        prop_assert_eq!(again, reset.offset_table);
    }

    #[test]
    fn prop_standard_bodies_are_standard_json(
        addresses in btree_map(any::<i64>(), text(), 0..4), cluster in text(), tps in any::<i32>(),
    ) {
        let body = ClusterInfo {
            broker_addr_table: BTreeMap::from([(
                cluster.clone(),
                BrokerData { broker_addrs: addresses, cluster: cluster.clone(), ..BrokerData::default() },
            )]),
            cluster_addr_table: BTreeMap::from([(cluster.clone(), vec![cluster.clone()])]),
        };
        let standard: serde_json::Value = serde_json::from_slice(&to_vec(&body)).unwrap();
        prop_assert_eq!(standard["clusterAddrTable"][&cluster][0].as_str(), Some(cluster.as_str()));
        let again: ClusterInfo = from_slice(&serde_json::to_vec(&standard).unwrap()).unwrap();
        prop_assert_eq!(again, body);
        let stats = TopicStatsTable { topic_put_tps: f64::from(tps) / 8.0, ..TopicStatsTable::default() };
        let again: TopicStatsTable = from_slice(&to_vec(&stats)).unwrap();
        prop_assert_eq!(again, stats);
    }

    #[test]
    fn prop_registrations_come_back_in_both_forms(
        topics in vec(topic(), 0..6), servers in vec(text(), 0..3), counters in any::<[i64; 3]>(),
    ) {
        let [counter, state_version, timestamp] = counters;
        let body = RegisterBrokerBody {
            filter_server_list: servers,
            topic_config_serialize_wrapper: TopicConfigWrapper {
                data_version: DataVersion { counter, state_version, timestamp },
                topic_config_table: topics.into_iter().map(|topic| (topic.topic_name.clone(), topic)).collect(),
                ..TopicConfigWrapper::default()
            },
        };
        prop_assert_eq!(&RegisterBrokerBody::decode(&body.encode(), false, 479).unwrap(), &body);
        prop_assert_eq!(&RegisterBrokerBody::decode(&body.encode_compressed(), true, 479).unwrap(), &body);
    }

    #[test]
    fn prop_ids_come_back(host in host(), offset in any::<i64>(), numbers in any::<(u16, u32, u32, u16)>()) {
        let id = OffsetMessageId { host, physical_offset: offset };
        prop_assert_eq!(id.to_string().parse::<OffsetMessageId>().unwrap(), id);
        let (process, loader_hash, month_ms, counter) = numbers;
        let id = UniqueId { ip: host.ip(), process, loader_hash, month_ms, counter };
        prop_assert_eq!(id.to_string().parse::<UniqueId>().unwrap(), id);
    }

    #[test]
    fn prop_arbitrary_bytes_never_panic(data in vec(any::<u8>(), 0..200)) {
        for (_, entry) in flotilla_remoting::fuzzing::TARGETS {
            entry(&data);
        }
    }
}
