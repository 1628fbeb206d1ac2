//! Headers: which fields are required, how absent and bad ones are told, which keys a code uses.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::code::RequestCode;
use crate::ext::ExtFields;

/// Fields of a send with short keys.
const SHORT: [(&str, &str); 8] =
    [("a", "pg"), ("b", "T"), ("c", "TBW102"), ("d", "4"), ("e", "-1"), ("f", "0"), ("g", "17"), ("h", "0")];

#[test]
fn each_required_field_of_a_send_is_named_when_it_is_missing() {
    for (missing, _) in SHORT {
        let ext = SHORT.into_iter().filter(|(key, _)| *key != missing).collect();
        let error = SendMessageRequest::decode_short(&ext).unwrap_err();
        assert_eq!((error.field, error.problem), (missing, HeaderProblem::Missing));
    }
    assert!(SendMessageRequest::decode_short(&SHORT.into_iter().collect()).is_ok());
}

#[test]
fn numbers_that_are_none_are_named() {
    let with = |key, value| {
        let ext = SHORT.into_iter().chain([(key, value)]).collect();
        SendMessageRequest::decode_short(&ext).unwrap_err().to_string()
    };
    assert_eq!(with("d", "4x"), "header field d is no 32-bit integer");
    assert_eq!(with("e", ""), "header field e is no 32-bit integer");
    assert_eq!(with("f", "2147483648"), "header field f is no 32-bit integer");
    assert_eq!(with("g", " 1"), "header field g is no 64-bit integer");
    let ext = ExtFields::from_iter([
        ("topic", "t"),
        ("queueId", "0"),
        ("timestamp", "1"),
        ("boundaryType", "middle"),
    ]);
    let error = SearchOffsetRequest::decode(&ext).unwrap_err();
    assert_eq!(error.to_string(), "header field boundaryType has an unknown value");
}

#[test]
fn keys_are_chosen_by_the_code() {
    let short = SHORT.into_iter().chain([("m", "TRUE"), ("unknown", "x")]).collect();
    for code in [RequestCode::SendMessageV2, RequestCode::SendBatchMessage, RequestCode::SendReplyMessageV2] {
        let send = SendMessageRequest::decode_for(code, &short).unwrap();
        assert!(send.batch && !send.unit_mode && send.properties.is_none());
        let long = send.encode();
        assert_eq!(SendMessageRequest::decode_for(RequestCode::SendMessage, &long).unwrap(), send);
        assert_eq!(SendMessageRequest::decode_for(code, &long).unwrap_err(), HeaderError::missing("a"));
    }
    let error = SendMessageRequest::decode_for(RequestCode::SendMessage, &short).unwrap_err();
    assert_eq!(error, HeaderError::missing("producerGroup"));
}

#[test]
fn absent_fields_take_their_defaults() {
    let ext = ExtFields::from_iter([("topic", "t"), ("queueId", "3")]);
    assert!(GetMaxOffsetRequest::decode(&ext).unwrap().committed);
    let with = |value| ext.iter().chain([("committed", value)]).collect::<ExtFields>();
    assert!(!GetMaxOffsetRequest::decode(&with("false")).unwrap().committed);
    // Java reads every text but `true` as false.
    assert!(!GetMaxOffsetRequest::decode(&with("yes")).unwrap().committed);
    let ext = ExtFields::from_iter([("topic", "t"), ("group", "g"), ("timestamp", "-1")]);
    let reset = ResetOffsetRequest::decode(&ext).unwrap();
    assert_eq!((reset.queue_id, reset.offset, reset.is_force), (-1, None, false));
}

#[test]
fn pull_flags_have_their_bits() {
    let flags = PullSysFlag(PullSysFlag::COMMIT_OFFSET | PullSysFlag::SUBSCRIPTION);
    assert!(
        flags.commits_offset() && !flags.may_suspend() && flags.has_subscription() && !flags.is_lite_pull()
    );
    let flags = PullSysFlag(PullSysFlag::SUSPEND | PullSysFlag::LITE_PULL);
    assert!(
        !flags.commits_offset() && flags.may_suspend() && !flags.has_subscription() && flags.is_lite_pull()
    );
}

#[test]
fn encode_into_keeps_what_is_there() {
    let mut ext = ExtFields::from_iter([(key::MESSAGE_REGION, "DefaultRegion"), (key::TRACE_ON, "true")]);
    OffsetResponse { offset: 5 }.encode_into(&mut ext);
    assert_eq!(ext.iter().last(), Some(("offset", "5")));
    assert_eq!(ext.len(), 3);
}
