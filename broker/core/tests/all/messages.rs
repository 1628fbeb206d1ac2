//! The walker against bytes made by the official encoder, and against bytes made by nobody.

use flotilla_core::message::{MessageReason, tag_hash, tags_code_of};
use flotilla_core::{MessageShape, Messages, PayloadBuilder, TagFilter};
use flotilla_remoting::message::{
    LayoutError, LayoutVersion, MessageView, StoredMessage, SysFlag, encode_stored,
};
use proptest::prelude::*;

use crate::support::{message, message_with_flag};

// Vectors of kind `message`: the short form with IPv4, the short form with IPv6 for both hosts, the long form.
const SHORT_IPV4: &str = "000000bfdaa320a769c865ed000000030000000700000000075bcd15000000024cb016ea000000000000018bcfe56800c0a8010a0000c3cb0000018bcfe568050a00000500002a9f0000000200000000000000370000000e48656c6c6f20526f636b65744d5109546f70696354657374004d4b455953016b657931206b65793202554e49515f4b4559013746303030303031303030373533334141384134313631413242334330303031025741495401747275650254414753015461674102";
const SHORT_IPV6: &str = "000000d7daa320a769c865ed000000030000000700000000075bcd15000000024cb016ea000000300000018bcfe5680020010db80000000000000000000000010000c3cb0000018bcfe5680520010db800000000000000000000000200002a9f0000000200000000000000370000000e48656c6c6f20526f636b65744d5109546f70696354657374004d4b455953016b657931206b65793202554e49515f4b4559013746303030303031303030373533334141384134313631413242334330303031025741495401747275650254414753015461674102";
const LONG_IPV4: &str = "0000017fdaa320ab69c865ed000000030000000700000000075bcd150000000000000000000000000000018bcfe56800c0a8010a0000c3cb0000018bcfe568050a00000500002a9f0000000200000000000000370000000e48656c6c6f20526f636b65744d5100c8255245545259256767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767676767675f747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474747474004d4b455953016b657931206b65793202554e49515f4b4559013746303030303031303030373533334141384134313631413242334330303031025741495401747275650254414753015461674102";

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn official_messages_have_the_shape_that_their_encoder_gave_them() {
    for (hex, size, topic_size, physical) in
        [(SHORT_IPV4, 191, 9, 9_876_543_210), (SHORT_IPV6, 215, 9, 9_876_543_210), (LONG_IPV4, 383, 200, 0)]
    {
        let bytes = bytes_of(hex);
        let shape = MessageShape::parse(&bytes).unwrap();
        assert_eq!(shape.size, size);
        assert_eq!(shape.queue_id, 3);
        assert_eq!(shape.topic(&bytes).len(), topic_size);
        assert!(shape.topic(&bytes).starts_with(if topic_size == 9 { b"TopicTest" } else { b"%RETRY%gg" }));
        assert_eq!(shape.queue_offset(&bytes), 123_456_789);
        assert_eq!(shape.physical_offset(&bytes), physical);
        assert_eq!(shape.store_timestamp(&bytes), 1_700_000_000_005);
        assert_eq!(shape.tags_code(&bytes), 2_598_919);
        assert!(shape.is_numbered());
    }
}

#[test]
fn stamping_changes_exactly_the_three_fields() {
    for (hex, time_at) in [(SHORT_IPV4, 56), (SHORT_IPV6, 68), (LONG_IPV4, 56)] {
        let before = bytes_of(hex);
        let shape = MessageShape::parse(&before).unwrap();
        let mut after = before.clone();
        shape.stamp(&mut after, -1, -1, -1);
        let changed: Vec<usize> =
            (0..before.len()).filter(|at| after[*at] == 0xFF && before[*at] != 0xFF).collect();
        let stamped = |at: &usize| (20..36).contains(at) || (time_at..time_at + 8).contains(at);
        assert!(changed.iter().all(stamped), "{changed:?}");
        assert_eq!(
            (shape.queue_offset(&after), shape.physical_offset(&after), shape.store_timestamp(&after)),
            (-1, -1, -1)
        );
        shape.stamp(&mut after, 123_456_789, shape.physical_offset(&before), 1_700_000_000_005);
        assert_eq!(after, before);
    }
}

#[test]
fn prepared_and_rolled_back_messages_take_no_number() {
    let numbered =
        |flag| MessageShape::parse(&message_with_flag("T", 0, "b", "", flag)).unwrap().is_numbered();
    assert_eq!([0, 4, 8, 12].map(numbered), [true, false, true, false]);
}

#[test]
fn tags_code_follows_the_property_quirks() {
    for (properties, code) in [
        ("", 0),
        ("TAGS\u{1}TagA\u{2}", 2_598_919),
        ("TAGS\u{1}TagA", 2_598_919),
        ("KEYS\u{1}k\u{2}TAGS\u{1}TagB\u{2}", 2_598_920),
        ("TAGS\u{1}TagA\u{2}TAGS\u{1}TagB\u{2}", 2_598_920),
        ("TAGS\u{1}TagA\u{2}TAGS\u{1}\u{2}", 2_598_919),
        ("XTAGS\u{1}TagA\u{2}", 0),
        ("TAGS\u{1}中文\u{2}", 646_394),
        ("TAGS\u{1}polygenelubricants\u{2}", -2_147_483_648),
    ] {
        assert_eq!(tags_code_of(properties.as_bytes()), code, "{properties:?}");
    }
}

#[test]
fn each_broken_length_is_named() {
    let good = message("Topic", 1, "body", "A\u{1}b\u{2}");
    let broken = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        MessageShape::parse(&bytes).unwrap_err()
    };
    assert_eq!(broken(7, 0), MessageReason::Magic(0xDAA3_2000_u32.cast_signed()));
    assert_eq!(broken(3, 90), MessageReason::Size(90));
    assert_eq!(broken(2, 1), MessageReason::Size(256 + good.len() as u32));
    assert_eq!(broken(12, 1), MessageReason::QueueId(0x0100_0001));
    assert_eq!(broken(87, 200), MessageReason::Lengths);
    assert_eq!(broken(87, 5), MessageReason::Lengths);
    assert_eq!(broken(92, 0), MessageReason::Topic);
    assert_eq!(broken(92, 128), MessageReason::Topic);
    assert_eq!(MessageShape::parse(&good[..50]), Err(MessageReason::Size(50)));
}

#[test]
fn the_builder_takes_exactly_one_valid_message() {
    let mut builder = PayloadBuilder::new(72, 0);
    let mut two = message("T", 0, "b", "");
    two.extend(message("T", 0, "b", ""));
    assert!(builder.push_message(&two).is_err());
    let mut latin = message("T\u{e9}", 0, "b", "");
    let at = latin.iter().position(|byte| *byte == 0xC3).unwrap();
    latin[at] = 0xFF;
    assert_eq!(builder.push_message(&latin).unwrap_err().reason, MessageReason::Topic);
    assert!(builder.is_empty());
    builder.push_message(&message("T", 0, "b", "")).unwrap();
    let bytes = builder.finish();
    assert!(bytes[..76].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[76..], message("T", 0, "b", ""));
}

#[test]
fn java_hash_of_any_text_is_that_of_its_utf16_units() {
    // 0xD83D 0xDE00 by hand: 31 * 0xD83D + 0xDE00.
    assert_eq!(tag_hash("😀".as_bytes()), 31 * 0xD83D + 0xDE00);
    assert!(TagFilter::parse("A || 😀").unwrap().matches(i64::from(tag_hash("😀".as_bytes()))));
}

proptest! {
    #[test]
    fn prop_walking_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let walked: usize = Messages::new(&bytes).filter_map(Result::ok).map(|(_, shape, _)| shape.size as usize).sum();
        prop_assert!(walked <= bytes.len());
    }

    #[test]
    fn prop_walking_mutated_messages_never_panics(
        at in 0_usize..120,
        value in any::<u8>(),
        long in any::<bool>(),
        ipv6 in any::<bool>(),
    ) {
        let hex = match (long, ipv6) { (true, _) => LONG_IPV4, (false, true) => SHORT_IPV6, (false, false) => SHORT_IPV4 };
        let mut bytes = bytes_of(hex);
        let size = bytes.len();
        bytes[at] = value;
        if let Ok(shape) = MessageShape::parse(&bytes) {
            prop_assert!(shape.size as usize <= size);
            let _ = (shape.topic(&bytes), shape.properties(&bytes), shape.tags_code(&bytes), shape.store_timestamp(&bytes));
        }
    }
}

proptest! {
    /// The walker reads a part of what the full view reads, and the two must never part.
    #[test]
    fn prop_the_walker_agrees_with_the_full_view(
        topic in "[a-zA-Z0-9_%|-]{1,140}",
        body in proptest::collection::vec(any::<u8>(), 0..60),
        tag in proptest::option::of("[^\u{1}\u{2}]{1,8}"),
        queue_id in 0_i32..65_536,
        sys_flag in 0_i32..0x400,
        hosts in (any::<bool>(), any::<bool>()),
        mutation in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let host = |ipv6: bool| if ipv6 { "[2001:db8::1]:10911" } else { "10.0.0.5:10911" }.parse().unwrap();
        let properties = tag.map(|tag| format!("KEYS\u{1}k\u{2}TAGS\u{1}{tag}\u{2}")).unwrap_or_default();
        let stored = StoredMessage {
            topic: &topic,
            queue_id,
            flag: 7,
            sys_flag: SysFlag(sys_flag),
            queue_offset: 11,
            physical_offset: 12,
            born_timestamp: 13,
            born_host: host(hosts.0),
            store_timestamp: 14,
            store_host: host(hosts.1),
            reconsume_times: 1,
            prepared_transaction_offset: 15,
            body: &body,
            properties: &properties,
            added_properties: &[],
            with_property_crc: false,
            layout: LayoutVersion::Auto,
        };
        let mut bytes = bytes::BytesMut::new();
        encode_stored(&stored, &mut bytes).unwrap();
        if let Some((at, value)) = mutation {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let shape = MessageShape::parse(&bytes);
        match MessageView::parse(&bytes) {
            Ok((view, rest)) if !view.topic().is_empty() && (0..65_536).contains(&view.queue_id()) => {
                let shape = shape.unwrap();
                prop_assert_eq!(shape.size as usize + rest.len(), bytes.len());
                prop_assert_eq!(shape.topic(&bytes), view.topic().as_bytes());
                prop_assert_eq!(shape.properties(&bytes), view.properties().as_bytes());
                prop_assert_eq!(i64::from(shape.queue_id), i64::from(view.queue_id()));
                prop_assert_eq!(shape.queue_offset(&bytes), view.queue_offset());
                prop_assert_eq!(shape.physical_offset(&bytes), view.physical_offset());
                prop_assert_eq!(shape.store_timestamp(&bytes), view.store_timestamp());
                prop_assert_eq!(shape.tags_code(&bytes), view.tags_code());
            }
            // What the view refuses for its lengths the walker refuses too; texts it does not look at.
            Err(LayoutError::NotUtf8 { .. }) | Ok(_) => {}
            Err(_) => prop_assert!(shape.is_err()),
        }
    }
}
