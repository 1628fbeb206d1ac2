//! One entry per decoder, for fuzzers and for the plain test that runs the same entries on a seed corpus.
//!
//! An entry takes any bytes. It returns when the decoder says what is wrong, and checks what a success promises: what
//! was decoded can be encoded, and decodes to the same again. A panic is a bug.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bodies::{self, *};
use crate::code::RequestCode;
use crate::ext::ExtFields;
use crate::frame::{Frame, SerializeType, split_frame};
use crate::headers::*;
use crate::json::{from_slice, to_vec};
use crate::message::{
    MessageView, OffsetMessageId, StoredMessage, UniqueId, batch, encode_stored, messages, properties,
    seal_property_crc, stamp_physical_offset, stamp_queue_offset, stamp_store_timestamp, tags,
};
use crate::pop::{self, MessageOffsets, OrderCount, RecallHandle, ReceiptHandle, StartOffset};
use crate::{acl, names, trace, version};

/// An entry: its name, which is also that of its corpus folder, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// Every entry.
pub const TARGETS: &[Target] = &[
    ("frame", frame),
    ("stream", stream),
    ("headers", headers),
    ("bodies", bodies),
    ("registration", registration),
    ("topic_line", topic_line),
    ("message", message),
    ("batch", batch_body),
    ("texts", texts),
];

/// A frame without its length field.
pub fn frame(data: &[u8]) {
    let Ok(frame) = Frame::decode(Bytes::copy_from_slice(data)) else { return };
    let _ =
        (frame.header.request_code(), frame.header.response_code(), frame.is_oneway(), frame.is_response());
    let encoded = frame.encode();
    let again = Frame::decode(encoded.slice(4..)).expect("an encoded frame decodes");
    assert_eq!(again, frame);
    all_headers(&frame.header.ext);
    let _ = acl::signed_content(&frame.header.ext, &frame.body, frame.header.version);
    // In the other encoding the fields survive, except those that it can't hold.
    let mut other = frame.clone();
    other.header.serialize = match frame.header.serialize {
        SerializeType::Json => SerializeType::Rocketmq,
        SerializeType::Rocketmq => SerializeType::Json,
    };
    let other = Frame::decode(other.encode().slice(4..)).expect("an encoded frame decodes");
    assert_eq!(other.body, frame.body);
    for (key, value) in frame.header.ext.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty()) {
        assert!(other.header.ext.get(key) == Some(value) || key.len() > usize::from(u16::MAX));
    }
}

/// A stream of frames: split as they come, and the same when the bytes come one by one.
pub fn stream(data: &[u8]) {
    let mut whole = BytesMut::from(data);
    let mut frames = Vec::new();
    let outcome = loop {
        match split_frame(&mut whole) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let mut trickle = BytesMut::new();
    let mut found = frames.iter();
    let mut trickled = Ok(());
    for byte in data {
        trickle.extend_from_slice(&[*byte]);
        match split_frame(&mut trickle) {
            Ok(Some(frame)) => assert_eq!(found.next(), Some(&frame)),
            Ok(None) => {}
            Err(error) => {
                trickled = Err(error);
                break;
            }
        }
    }
    assert_eq!(trickled, outcome);
    assert_eq!(found.next(), None);
    frames.iter().for_each(|bytes| frame(bytes));
}

/// Ext fields as lines `key=value`, decoded by every header.
pub fn headers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    all_headers(&text.lines().filter_map(|line| line.split_once('=')).collect());
}

/// Decodes by each header; what decodes comes back after encoding.
fn all_headers(ext: &ExtFields) {
    macro_rules! each {
        ($($type:ident)*) => {$(
            if let Ok(header) = $type::decode(ext) {
                let encoded = header.encode();
                assert_eq!($type::decode(&encoded), Ok(header));
            }
        )*};
    }
    each! {
        AckMessageRequest AddWritePermResponse BaseFields BrokerHeartbeatRequest BrokerRequest
        ChangeInvisibleTimeRequest ChangeInvisibleTimeResponse CheckTransactionStateRequest
        ConsumeMessageDirectlyRequest ConsumerSendMessageBackRequest CreateTopicRequest DeleteSubscriptionGroupRequest
        DeleteTopicInNamesrvRequest EndTransactionRequest GetAllTopicConfigRequest GetBrokerConfigResponse GetBrokerMemberGroupRequest
        GetConsumeStatsRequest GetConsumerConnectionListRequest GetConsumerListRequest
        GetConsumerRunningInfoRequest GetConsumerStatusRequest GetKvConfigResponse GetKvListRequest
        GetMaxOffsetRequest GetProducerConnectionListRequest GetRouteInfoRequest GetSubscriptionGroupConfigRequest
        GetTopicsByClusterRequest HeartbeatResponse KvConfigRequest NotificationRequest NotificationResponse
        NotifyConsumerIdsChangedRequest NotifyMinBrokerIdChangeRequest OffsetResponse PeekMessageRequest
        PollingInfoRequest PollingInfoResponse PopMessageRequest PopMessageResponse PullMessageRequest
        PullMessageResponse PushReplyMessageRequest PutKvConfigRequest QueryConsumerOffsetRequest
        QueryDataVersionResponse QueryMessageRequest QueryMessageResponse QueueRequest RegisterBrokerRequest
        RegisterBrokerResponse RegisterTopicRequest ResetOffsetRequest SearchOffsetRequest SendMessageRequest
        SendMessageResponse TimestampResponse TopicRequest UnregisterClientRequest UpdateConsumerOffsetRequest
        ViewBrokerStatsDataRequest ViewMessageRequest WipeWritePermResponse WritePermRequest
    }
    if let Ok(send) = SendMessageRequest::decode_for(RequestCode::SendMessageV2, ext) {
        let encoded = send.encode_short();
        assert_eq!(SendMessageRequest::decode_short(&encoded), Ok(send));
    }
}

/// A JSON body, read as every type.
pub fn bodies(data: &[u8]) {
    macro_rules! each {
        ($($type:ident)*) => {$(json_body::<$type>(data);)*};
    }
    each! {
        AclInfo AllConsumerOffset AllDelayOffset BatchAckRequest BrokerMemberGroupBody BrokerStatsData
        CheckClientConfig ClusterInfo ConsumeDirectlyResult ConsumeStats ConsumeStatsList ConsumeTimeSpans
        ConsumerConnection ConsumerList ConsumerRunningInfo ConsumerStatusBody CorrectionOffsets CreateTopicList
        DataVersion GroupList HaStatus HeartbeatData KvTable LockBatchRequest LockBatchResponse MessageRequestModes
        PopCheckPoint ProducerConnection ProducerTable QueryAssignmentRequest QueryAssignmentResponse
        QueryConsumeQueueResponse QuerySubscriptionResponse RegisterBrokerBody ResetOffsetBody ResetOffsetBodyForC
        SetMessageRequestMode SubscriptionGroupConfig SubscriptionGroupList SubscriptionGroupWrapper TopicConfig
        TopicConfigWrapper TopicList TopicRouteData TopicStatsTable UserInfo
    }
    if let Ok(request) = bodies::decode::<BatchAckRequest>(data) {
        request.acks.iter().for_each(|ack| drop(ack.offsets()));
    }
}

/// What is read can be written, and what is written reads and writes the same again. (Compared as text: a number that
/// is none equals not even itself.)
fn json_body<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(body) = from_slice::<T>(data) else { return };
    let written = to_vec(&body);
    let again: T = from_slice(&written).expect("a written body reads");
    assert_eq!(to_vec(&again), written);
}

/// A registration body: first byte 0 plain, 1 compressed, other values give the inflated bytes.
pub fn registration(data: &[u8]) {
    let Some((form, data)) = data.split_first() else { return };
    let outcome = match form {
        0 => RegisterBrokerBody::decode(data, false, version::CURRENT),
        1 => RegisterBrokerBody::decode(data, true, version::CURRENT),
        _ => bodies::registration_of_inflated(data, version::CURRENT),
    };
    let Ok(body) = outcome else { return };
    let plain = RegisterBrokerBody::decode(&body.encode(), false, version::CURRENT);
    assert_eq!(plain.as_ref(), Ok(&body));
    // The line of a topic can't hold every name; where it can, the compressed form comes back.
    let _ = RegisterBrokerBody::decode(&body.encode_compressed(), true, version::CURRENT);
}

/// The line of a topic in a compressed registration.
pub fn topic_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(topic) = TopicConfig::from_line(text) else { return };
    assert_eq!(TopicConfig::from_line(&topic.to_line()), Ok(topic));
}

/// Stored messages, back to back.
pub fn message(data: &[u8]) {
    let mut stamped = data.to_vec();
    let _ = stamp_queue_offset(&mut stamped, 1);
    let _ = stamp_physical_offset(&mut stamped, 2);
    let _ = stamp_store_timestamp(&mut stamped, 3);
    let _ = seal_property_crc(&mut stamped);
    for view in messages(data).take_while(Result::is_ok).flatten() {
        message_again(&view);
    }
}

fn message_again(view: &MessageView<'_>) {
    let _ = (view.body_is_intact(), view.tags_code(), view.offset_message_id().to_string());
    let message = StoredMessage {
        topic: view.topic(),
        queue_id: view.queue_id(),
        flag: view.flag(),
        sys_flag: view.sys_flag(),
        queue_offset: view.queue_offset(),
        physical_offset: view.physical_offset(),
        born_timestamp: view.born_timestamp(),
        born_host: view.born_host(),
        store_timestamp: view.store_timestamp(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        prepared_transaction_offset: view.prepared_transaction_offset(),
        body: view.body(),
        properties: view.properties(),
        added_properties: &[],
        layout: if view.magic() == crate::message::layout::MAGIC_V2 {
            crate::message::LayoutVersion::V2
        } else {
            crate::message::LayoutVersion::V1
        },
        with_property_crc: false,
    };
    let mut out = BytesMut::new();
    encode_stored(&message, &mut out).expect("what was parsed can be encoded");
    let (again, _) = MessageView::parse(&out).expect("what was encoded can be parsed");
    assert_eq!(
        (again.topic(), again.properties(), again.body()),
        (view.topic(), view.properties(), view.body())
    );
    assert_eq!(again.queue_offset(), view.queue_offset());
    assert_eq!(again.store_timestamp(), view.store_timestamp());
    assert_eq!(again.prepared_transaction_offset(), view.prepared_transaction_offset());
}

/// Body of a batch send.
pub fn batch_body(data: &[u8]) {
    let records: Vec<_> = batch::records(data).take_while(Result::is_ok).flatten().collect();
    let mut out = BytesMut::new();
    for record in &records {
        batch::encode_record(record, &mut out).expect("what was split can be encoded");
    }
    let again: Vec<_> =
        batch::records(&out).collect::<Result<_, _>>().expect("what was encoded can be split");
    assert_eq!(again, records);
}

/// Every decoder of a short text.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pairs: Vec<_> = properties::iter(text).collect();
    let encoded = properties::encode(pairs.iter().copied());
    assert_eq!(properties::iter(&encoded).collect::<Vec<_>>(), pairs);
    for (name, _) in &pairs {
        assert_eq!(properties::get(text, name), properties::to_map(text).get(name).copied());
        assert_eq!(properties::get(&properties::without(text, &[name]), name), None);
    }
    if let Ok(expression) = tags::TagExpression::parse(Some(text)) {
        assert!(expression.codes().iter().all(|code| expression.may_match(i64::from(*code))));
    }
    if let Ok(id) = text.parse::<OffsetMessageId>() {
        assert_eq!(
            id.to_string().parse::<OffsetMessageId>().map(|again| again.physical_offset),
            Ok(id.physical_offset)
        );
    }
    if let Ok(id) = text.parse::<UniqueId>() {
        assert_eq!(id.to_string().parse::<UniqueId>().map(|again| again.counter), Ok(id.counter));
    }
    if let Ok(handle) = text.parse::<ReceiptHandle>() {
        assert_eq!(handle.to_string().parse(), Ok(handle));
    }
    if let Ok(handle) = text.parse::<RecallHandle>() {
        assert_eq!(handle.to_string().parse(), Ok(handle));
    }
    if let Ok(list) = pop::parse_list::<StartOffset>(text) {
        assert_eq!(pop::parse_list(&pop::write_list(&list)), Ok(list));
    }
    if let Ok(list) = pop::parse_list::<MessageOffsets>(text) {
        assert_eq!(pop::parse_list(&pop::write_list(&list)), Ok(list));
    }
    if let Ok(list) = pop::parse_list::<OrderCount>(text) {
        assert_eq!(pop::parse_list(&pop::write_list(&list)), Ok(list));
    }
    assert!(trace::records(text).all(|record| !record.fields.is_empty()));
    if names::check_topic(text).is_ok() {
        assert!(text.len() <= names::RETRY_TOPIC_SIZE_MAX && text.is_ascii());
    }
    let _ = (names::check_group(text), names::is_system_topic(text), names::forbidden_to_send(text));
}
