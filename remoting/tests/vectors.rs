//! Goal: what the official library wrote is read to the same fields and written to the same bytes.
//!
//! Method: every vector of `tests/vectors/vectors.json` goes to the check of its kind. A vector that no check knows and
//! that is not listed in `NOT_COVERED` with a reason fails the test, and so does a reason that is no longer needed.
//! Where the official bytes can't be reproduced (another deflate, hash order of keys, links), a comment says so and the
//! values are compared after a second round instead.
#![allow(clippy::unwrap_used)]

mod vectors {
    pub mod bodies;
    pub mod frames;
    pub mod messages;
    pub mod support;
    pub mod texts;
}

use vectors::support::{Vector, load};
use vectors::{bodies, frames, messages, texts};

/// Vectors that this crate leaves to others, with the reason.
const NOT_COVERED: [(&str, &str); 3] = [
    (
        "dledger_entry",
        "DLedger's own log format: Flotilla's log has another and no DLedger peer is spoken to",
    ),
    ("dledger_index", "index of DLedger's log, as above"),
    (
        "json_decode_acceptance",
        "tells what Java reads, not bytes; the writer's choice of key forms follows it",
    ),
];

/// Checks a vector; false when there is no check for it.
fn check(vector: &Vector) -> bool {
    match vector.kind.as_str() {
        "constants" => texts::constants(vector),
        "remoting_frame" | "remoting_frame_foreign" => frames::frame(vector),
        "message" => messages::message(vector),
        "batch_body" => messages::batch_body(vector),
        "properties" => messages::properties(vector),
        "tagscode" => messages::tags_code(vector),
        "crc32" => messages::crc32(vector),
        "offset_msg_id" => messages::offset_message_id(vector),
        "uniq_id" => messages::unique_id(vector),
        "consume_queue_unit" => messages::consume_queue_unit(vector),
        "json_body" => return bodies::json_body(vector),
        "register_broker_compressed" => bodies::register_broker_compressed(vector),
        "topic_config_line" => bodies::topic_config_line(vector),
        "pop_handle" => texts::receipt_handle(vector),
        "pop_response_field" => return texts::pop_response_field(vector),
        "recall_handle" => texts::recall_handle(vector),
        "acl_signature" => texts::signed_content(vector),
        "trace_record" => texts::trace_record(vector),
        _ => return false,
    }
    true
}

#[test]
fn every_vector_is_covered_or_listed() {
    let vectors = load();
    assert_eq!(vectors.len(), 130);
    for vector in &vectors {
        let listed = NOT_COVERED.iter().any(|(name, _)| *name == vector.name);
        let covered = !listed && check(vector);
        assert!(covered != listed, "vector {} ({}) has no check and no reason", vector.name, vector.kind);
    }
    for (name, _) in NOT_COVERED {
        assert!(
            vectors.iter().any(|vector| vector.name == name),
            "{name} is listed but there is no such vector"
        );
    }
}
