//! Frames with both headers, and the typed headers inside.

use bytes::Bytes;
use flotilla_remoting::headers::{
    CheckTransactionStateRequest, GetRouteInfoRequest, PopMessageRequest, PullMessageRequest,
    PullMessageResponse, SendMessageRequest, SendMessageResponse, UpdateConsumerOffsetRequest,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode, SerializeType};

use super::support::{Vector, hex, text_pairs};

pub fn frame(vector: &Vector) {
    let name = &vector.name;
    let frame = Frame::decode(Bytes::copy_from_slice(&vector.bytes[4..])).unwrap();
    let header = &frame.header;
    assert_eq!(i64::from(header.code), vector.number("code"), "{name}");
    assert_eq!(header.language.name(), vector.fields["language"].as_str(), "{name}");
    if vector.fields["languageCode"].is_number() {
        assert_eq!(i64::from(header.language.code()), vector.number("languageCode"), "{name}");
    }
    assert_eq!(i64::from(header.version), vector.number("version"), "{name}");
    assert_eq!(i64::from(header.opaque), vector.number("opaque"), "{name}");
    assert_eq!(i64::from(header.flag), vector.number("flag"), "{name}");
    assert_eq!(header.remark.as_deref(), vector.fields["remark"].as_str(), "{name}");
    assert_eq!(header.ext, ExtFields::from_iter(text_pairs(&vector.fields["extFields"])), "{name}");
    let body = vector.fields["bodyHex"].as_str().unwrap_or_default();
    assert_eq!(hex(&frame.body), body, "{name}");
    let official = vector.kind == "remoting_frame";
    if official {
        let kind = match header.serialize {
            SerializeType::Json => "JSON",
            SerializeType::Rocketmq => "ROCKETMQ",
        };
        assert_eq!(kind, vector.text("serializeType"), "{name}");
        typed_header(vector, &frame);
    }
    // Other libraries leave out `serializeTypeCurrentRPC`, and an entry without value is not written again.
    if official && name != "binary_empty_value" {
        assert_eq!(hex(&frame.encode()), hex(&vector.bytes), "{name}");
    } else {
        assert_eq!(Frame::decode(frame.encode().slice(4..)).unwrap(), frame, "{name}");
    }
}

/// Each header decodes, and what it encodes has the same fields.
fn typed_header(vector: &Vector, frame: &Frame) {
    let ext = &frame.header.ext;
    let encoded = match (frame.is_response(), frame.header.request_code()) {
        // The map has no value for the topic.
        (false, RequestCode::GetRouteInfoByTopic) if vector.name == "binary_empty_value" => {
            let error = GetRouteInfoRequest::decode(ext).unwrap_err();
            assert_eq!(error.to_string(), "header field topic is missing");
            return;
        }
        (false, RequestCode::GetRouteInfoByTopic) => {
            assert_eq!(GetRouteInfoRequest::decode(ext).unwrap().topic, "TopicTest");
            return;
        }
        (false, RequestCode::PullMessage) => {
            let pull = PullMessageRequest::decode(ext).unwrap();
            assert!(pull.flags().commits_offset() && pull.flags().may_suspend());
            assert_eq!((pull.queue_offset, pull.suspend_timeout_ms), (1024, 15_000));
            pull.encode()
        }
        (false, RequestCode::SendMessageV2) => {
            let send = SendMessageRequest::decode_for(RequestCode::SendMessageV2, ext).unwrap();
            assert_eq!((send.topic, send.queue_id, send.batch), ("TopicTest", 2, false));
            assert_eq!(send.encode_short(), *ext);
            return;
        }
        (false, RequestCode::SendMessage) => {
            SendMessageRequest::decode_for(RequestCode::SendMessage, ext).unwrap().encode()
        }
        (false, RequestCode::UpdateConsumerOffset) => {
            UpdateConsumerOffsetRequest::decode(ext).unwrap().encode()
        }
        (false, RequestCode::PopMessage) => PopMessageRequest::decode(ext).unwrap().encode(),
        (false, RequestCode::CheckTransactionState) => {
            CheckTransactionStateRequest::decode(ext).unwrap().encode()
        }
        (true, _) if ext.get("nextBeginOffset").is_some() => {
            PullMessageResponse::decode(ext).unwrap().encode()
        }
        (true, _) if ext.get("msgId").is_some() => {
            let mut encoded = SendMessageResponse::decode(ext).unwrap().encode();
            for key in ["MSG_REGION", "TRACE_ON"] {
                encoded.insert(key, ext.get(key).unwrap());
            }
            encoded
        }
        _ => {
            assert!(ext.is_empty(), "{} has a header without check: {ext:?}", vector.name);
            return;
        }
    };
    assert_eq!(encoded, *ext, "{}", vector.name);
}
