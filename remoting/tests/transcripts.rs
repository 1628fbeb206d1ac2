//! Goal: recorded traffic of the official client, tools, broker and name server decodes into the typed headers and bodies.
//!
//! Method: every exchange of `tests/vectors/transcripts.json` is looked up by its code. A header must decode and, encoded
//! again, give back every field that it has a name for; a body must decode into its type, and what is written of it must
//! read as the same value.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use flotilla_remoting::bodies::*;
use flotilla_remoting::headers::*;
use flotilla_remoting::json::{from_slice, to_vec};
use flotilla_remoting::message::{MessageView, batch, messages};
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One direction of an exchange.
struct Side {
    code: i32,
    ext: ExtFields,
    /// Whether the recording has ext fields at all.
    has_ext: bool,
    body: Vec<u8>,
    what: String,
}

fn load() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/transcripts.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn side(exchange: &Value, which: &str) -> Option<Side> {
    let side = exchange.get(which)?.as_object()?;
    // Bodies that were too long to record have a note instead or are cut.
    let cut = side.get("bodyText").is_some_and(|text| text.as_str().unwrap().ends_with(" …cut"));
    if cut || side.contains_key("bodyNote") {
        return None;
    }
    let pairs = side["extFields"].as_object();
    let ext = pairs
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    let body = match (side.get("bodyText"), side.get("bodyHex")) {
        (Some(text), _) => text.as_str().unwrap().as_bytes().to_vec(),
        (None, Some(hex)) => unhex(hex.as_str().unwrap()),
        (None, None) => Vec::new(),
    };
    let number = |value: &Value| i32::try_from(value.as_i64().unwrap()).unwrap();
    Some(Side {
        code: number(&side["code"]),
        ext,
        has_ext: pairs.is_some(),
        body,
        what: format!("{} {which} {}", exchange["phase"], exchange["request"]["code"]),
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Recordings that leave out fields to see what the server says: the phase, and the first field that is missing.
const PROBES: [(&str, &str); 3] = [
    ("raw_default_header_missing", "queueId"),
    ("raw_send_missing_header", "b"),
    ("fast_port_pull", "consumerGroup"),
];

/// Every field of the encoded header is the recorded one.
fn compare(side: &Side, encoded: Result<ExtFields, HeaderError>) {
    let probe = PROBES.iter().find(|(phase, _)| side.what.contains(phase));
    let encoded = match (encoded, probe) {
        (Ok(encoded), None) => encoded,
        (Err(error), Some((_, field))) => return assert_eq!(error, HeaderError::missing(field)),
        (outcome, _) => panic!("{}: {outcome:?}", side.what),
    };
    for (key, value) in encoded.iter() {
        // Fields with a default may be absent in the recording; Java writes `LOWER` and reads any case.
        let recorded = side.ext.get(key).unwrap_or(value);
        let same = value == recorded || key == "boundaryType" && value.eq_ignore_ascii_case(recorded);
        assert!(same, "{} field {key}: {value} is not {recorded}", side.what);
    }
}

macro_rules! header {
    ($side:expr, $type:ident) => {
        compare($side, $type::decode(&$side.ext).map(|header| header.encode()))
    };
}

fn body<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(side: &Side) {
    let body: T = from_slice(&side.body).unwrap_or_else(|error| panic!("{}: {error}", side.what));
    assert_eq!(from_slice::<T>(&to_vec(&body)).unwrap(), body, "{}", side.what);
}

fn records(side: &Side) {
    let found: Result<Vec<MessageView<'_>>, _> = messages(&side.body).collect();
    assert!(!found.unwrap_or_else(|error| panic!("{}: {error}", side.what)).is_empty());
}

/// Codes whose requests carry neither header nor body that this crate types: nothing to check.
fn request(side: &Side) -> bool {
    use RequestCode as Code;
    match RequestCode::from_i32(side.code) {
        code @ (Code::SendMessage
        | Code::SendMessageV2
        | Code::SendBatchMessage
        | Code::SendReplyMessageV2) => {
            let send = SendMessageRequest::decode_for(code, &side.ext);
            if send.as_ref().is_ok_and(|send| send.batch) {
                assert!(batch::records(&side.body).all(|record| record.is_ok()));
            }
            compare(
                side,
                send.map(|send| if code == Code::SendMessage { send.encode() } else { send.encode_short() }),
            );
        }
        Code::PullMessage | Code::LitePullMessage => header!(side, PullMessageRequest),
        Code::QueryConsumerOffset => header!(side, QueryConsumerOffsetRequest),
        Code::UpdateConsumerOffset => header!(side, UpdateConsumerOffsetRequest),
        Code::SearchOffsetByTimestamp => header!(side, SearchOffsetRequest),
        Code::GetMaxOffset => header!(side, GetMaxOffsetRequest),
        Code::GetMinOffset | Code::GetEarliestMessageStoreTime => header!(side, QueueRequest),
        Code::QueryMessage => header!(side, QueryMessageRequest),
        Code::ViewMessageById => header!(side, ViewMessageRequest),
        Code::ConsumerSendMessageBack => header!(side, ConsumerSendMessageBackRequest),
        Code::EndTransaction => header!(side, EndTransactionRequest),
        Code::CheckTransactionState => header!(side, CheckTransactionStateRequest),
        Code::Heartbeat => body::<HeartbeatData>(side),
        Code::CheckClientConfig => body::<CheckClientConfig>(side),
        Code::UnregisterClient => header!(side, UnregisterClientRequest),
        Code::GetConsumerListByGroup => header!(side, GetConsumerListRequest),
        Code::NotifyConsumerIdsChanged => header!(side, NotifyConsumerIdsChangedRequest),
        Code::LockBatchMq | Code::UnlockBatchMq => body::<LockBatchRequest>(side),
        Code::QueryAssignment => body::<QueryAssignmentRequest>(side),
        Code::SetMessageRequestMode => body::<SetMessageRequestMode>(side),
        Code::UpdateAndCreateTopic => header!(side, CreateTopicRequest),
        Code::GetAllTopicConfig => header!(side, GetAllTopicConfigRequest),
        Code::GetTopicStatsInfo | Code::DeleteTopicInBroker | Code::GetTopicConfig => {
            header!(side, TopicRequest)
        }
        Code::UpdateAndCreateSubscriptionGroup => body::<SubscriptionGroupConfig>(side),
        Code::DeleteSubscriptionGroup => header!(side, DeleteSubscriptionGroupRequest),
        Code::GetConsumerConnectionList => header!(side, GetConsumerConnectionListRequest),
        Code::GetProducerConnectionList => header!(side, GetProducerConnectionListRequest),
        Code::GetConsumeStats => header!(side, GetConsumeStatsRequest),
        Code::InvokeBrokerToResetOffset | Code::ResetConsumerClientOffset => {
            header!(side, ResetOffsetRequest)
        }
        Code::GetConsumerStatusFromClient | Code::InvokeBrokerToGetConsumerStatus => {
            header!(side, GetConsumerStatusRequest);
        }
        Code::GetConsumerRunningInfo => header!(side, GetConsumerRunningInfoRequest),
        Code::ConsumeMessageDirectly => header!(side, ConsumeMessageDirectlyRequest),
        Code::PushReplyMessageToClient => header!(side, PushReplyMessageRequest),
        Code::PopMessage => header!(side, PopMessageRequest),
        Code::AckMessage => header!(side, AckMessageRequest),
        Code::ChangeMessageInvisibleTime => header!(side, ChangeInvisibleTimeRequest),
        Code::PeekMessage => header!(side, PeekMessageRequest),
        Code::Notification => header!(side, NotificationRequest),
        Code::PollingInfo => header!(side, PollingInfoRequest),
        Code::BatchAckMessage => body::<BatchAckRequest>(side),
        Code::GetRouteInfoByTopic => header!(side, GetRouteInfoRequest),
        Code::PutKvConfig => header!(side, PutKvConfigRequest),
        Code::GetKvConfig | Code::DeleteKvConfig => header!(side, KvConfigRequest),
        Code::GetKvListByNamespace => header!(side, GetKvListRequest),
        Code::WipeWritePermOfBroker | Code::AddWritePermOfBroker => header!(side, WritePermRequest),
        Code::GetTopicsByCluster => header!(side, GetTopicsByClusterRequest),
        Code::DeleteTopicInNamesrv => header!(side, DeleteTopicInNamesrvRequest),
        Code::GetBrokerMemberGroup if side.has_ext && !side.ext.is_empty() => {
            header!(side, GetBrokerMemberGroupRequest);
        }
        Code::AuthCreateUser | Code::AuthUpdateUser => body::<UserInfo>(side),
        Code::AuthCreateAcl | Code::AuthUpdateAcl => body::<AclInfo>(side),
        _ => return false,
    }
    true
}

/// Responses by the code of their request. Failures have a code and a text only.
fn response(request_code: i32, side: &Side) -> bool {
    use RequestCode as Code;
    let success = ResponseCode::from_i32(side.code) == ResponseCode::Success;
    match RequestCode::from_i32(request_code) {
        Code::PullMessage | Code::LitePullMessage if matches!(side.code, 0 | 19..=21) => {
            header!(side, PullMessageResponse);
            if success {
                records(side);
            }
        }
        _ if !success => return false,
        Code::SendMessage | Code::SendMessageV2 | Code::SendBatchMessage | Code::SendReplyMessageV2 => {
            header!(side, SendMessageResponse);
        }
        Code::QueryConsumerOffset
        | Code::SearchOffsetByTimestamp
        | Code::GetMaxOffset
        | Code::GetMinOffset => {
            header!(side, OffsetResponse);
        }
        Code::GetEarliestMessageStoreTime => header!(side, TimestampResponse),
        Code::QueryMessage => {
            header!(side, QueryMessageResponse);
            records(side);
        }
        Code::ViewMessageById => records(side),
        Code::Heartbeat => header!(side, HeartbeatResponse),
        Code::GetConsumerListByGroup => body::<ConsumerList>(side),
        Code::LockBatchMq => body::<LockBatchResponse>(side),
        Code::QueryAssignment => body::<QueryAssignmentResponse>(side),
        Code::GetAllMessageRequestMode => body::<MessageRequestModes>(side),
        Code::GetAllTopicConfig => body::<TopicConfigWrapper>(side),
        Code::GetTopicConfig => body::<TopicConfig>(side),
        Code::GetTopicStatsInfo => body::<TopicStatsTable>(side),
        Code::GetAllSubscriptionGroupConfig => body::<SubscriptionGroupWrapper>(side),
        Code::GetConsumerConnectionList => body::<ConsumerConnection>(side),
        Code::GetProducerConnectionList => body::<ProducerConnection>(side),
        Code::GetAllProducerInfo => body::<ProducerTable>(side),
        Code::GetConsumeStats => body::<ConsumeStats>(side),
        Code::GetBrokerConsumeStats => body::<ConsumeStatsList>(side),
        Code::InvokeBrokerToResetOffset => body::<ResetOffsetBody>(side),
        Code::InvokeBrokerToGetConsumerStatus | Code::GetConsumerStatusFromClient => {
            body::<ConsumerStatusBody>(side)
        }
        Code::GetConsumerRunningInfo => body::<ConsumerRunningInfo>(side),
        Code::ConsumeMessageDirectly => body::<ConsumeDirectlyResult>(side),
        Code::QueryConsumeTimeSpan => body::<ConsumeTimeSpans>(side),
        Code::QueryConsumeQueue => body::<QueryConsumeQueueResponse>(side),
        Code::QuerySubscriptionByConsumer => body::<QuerySubscriptionResponse>(side),
        Code::QueryTopicConsumeByWho => body::<GroupList>(side),
        Code::GetAllConsumerOffset => body::<AllConsumerOffset>(side),
        Code::GetAllDelayOffset => body::<AllDelayOffset>(side),
        Code::ViewBrokerStatsData => body::<BrokerStatsData>(side),
        Code::GetBrokerHaStatus => body::<HaStatus>(side),
        Code::GetBrokerRuntimeInfo | Code::GetKvListByNamespace => body::<KvTable>(side),
        Code::PopMessage => {
            header!(side, PopMessageResponse);
            records(side);
        }
        Code::PeekMessage => records(side),
        Code::ChangeMessageInvisibleTime => header!(side, ChangeInvisibleTimeResponse),
        Code::Notification => header!(side, NotificationResponse),
        Code::PollingInfo => header!(side, PollingInfoResponse),
        Code::GetRouteInfoByTopic => body::<TopicRouteData>(side),
        Code::GetBrokerClusterInfo => body::<ClusterInfo>(side),
        Code::GetBrokerMemberGroup => body::<BrokerMemberGroupBody>(side),
        Code::GetAllTopicListFromNameServer
        | Code::GetTopicsByCluster
        | Code::GetSystemTopicListFromNs
        | Code::GetSystemTopicListFromBroker
        | Code::GetUnitTopicList
        | Code::QueryTopicsByConsumer => body::<TopicList>(side),
        Code::GetKvConfig => header!(side, GetKvConfigResponse),
        Code::WipeWritePermOfBroker => header!(side, WipeWritePermResponse),
        Code::AddWritePermOfBroker => header!(side, AddWritePermResponse),
        Code::AuthGetUser if !side.body.is_empty() => body::<UserInfo>(side),
        Code::AuthListUser => body::<Vec<UserInfo>>(side),
        Code::AuthGetAcl if !side.body.is_empty() => body::<AclInfo>(side),
        Code::AuthListAcl => body::<Vec<AclInfo>>(side),
        _ => return false,
    }
    true
}

#[test]
fn recorded_exchanges_decode_into_their_types() {
    let mut checked = (0, 0);
    let mut untyped = BTreeSet::new();
    for exchange in load() {
        let Some(asked) = side(&exchange, "request") else { continue };
        if request(&asked) {
            checked.0 += 1;
        } else if !asked.body.is_empty() {
            untyped.insert(asked.code);
        }
        let Some(answered) = side(&exchange, "response") else { continue };
        if response(asked.code, &answered) {
            checked.1 += 1;
        } else if !answered.body.is_empty() {
            untyped.insert(asked.code);
        }
    }
    // The body of a config change (25) is properties text.
    assert_eq!(untyped.into_iter().collect::<Vec<_>>(), [25]);
    assert!(checked.0 >= 160 && checked.1 >= 120, "{checked:?} requests and responses were checked");
}
