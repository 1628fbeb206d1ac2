//! Stored messages, batch bodies, properties, tags, ids.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use flotilla_remoting::message::batch::{self, BatchRecord};
use flotilla_remoting::message::consume_queue::ConsumeQueueUnit;
use flotilla_remoting::message::layout::{MAGIC_V2, body_crc};
use flotilla_remoting::message::tags::tags_code as code_of;
use flotilla_remoting::message::{
    Compression, LayoutVersion, MessageView, OffsetMessageId, StoredMessage, SysFlag, UniqueId,
    encode_stored, encoded_size, messages, seal_property_crc, stamp_physical_offset, stamp_queue_offset,
    stamp_store_timestamp,
};

use super::support::{Vector, hex, text_pairs, unhex};

pub fn message(vector: &Vector) {
    let name = &vector.name;
    let (view, rest) = MessageView::parse(&vector.bytes).unwrap();
    assert!(rest.is_empty());
    let body = unhex(vector.text("bodyHex"));
    assert_eq!(view.total_size() as i64, vector.number("totalSize"), "{name}");
    assert_eq!(i64::from(view.magic()), vector.number("magic"), "{name}");
    assert_eq!(i64::from(view.body_crc()), vector.number("bodyCRC"), "{name}");
    assert!(view.body_is_intact(), "{name}");
    assert_eq!(i64::from(view.queue_id()), vector.number("queueId"), "{name}");
    assert_eq!(i64::from(view.flag()), vector.number("flag"), "{name}");
    assert_eq!(view.queue_offset(), vector.number("queueOffset"), "{name}");
    assert_eq!(view.physical_offset(), vector.number("physicalOffset"), "{name}");
    assert_eq!(i64::from(view.sys_flag().0), vector.number("sysFlag"), "{name}");
    assert_eq!(view.born_timestamp(), vector.number("bornTimestamp"), "{name}");
    assert_eq!(view.born_host(), host(vector, "bornHost", "bornPort"), "{name}");
    assert_eq!(view.store_timestamp(), vector.number("storeTimestamp"), "{name}");
    assert_eq!(view.store_host(), host(vector, "storeHost", "storePort"), "{name}");
    assert_eq!(i64::from(view.reconsume_times()), vector.number("reconsumeTimes"), "{name}");
    assert_eq!(view.prepared_transaction_offset(), vector.number("preparedTransactionOffset"), "{name}");
    assert_eq!(view.body(), body, "{name}");
    assert_eq!(view.topic(), vector.text("topic"), "{name}");
    let expected: BTreeMap<&str, &str> = text_pairs(&vector.fields["properties"]).into_iter().collect();
    let found = flotilla_remoting::message::properties::to_map(view.properties());
    assert_eq!(found, expected, "{name}");
    assert_eq!(view.tags_code(), expected.get("TAGS").map_or(0, |tag| code_of(tag)), "{name}");
    assert_eq!(view.offset_message_id().to_string(), vector.text("offsetMsgId"), "{name}");
    compression(vector, &view);
    encode_again(vector, &view);
}

fn host(vector: &Vector, ip: &str, port: &str) -> SocketAddr {
    let ip: IpAddr = vector.text(ip).parse().unwrap();
    SocketAddr::new(ip, u16::try_from(vector.number(port)).unwrap())
}

fn compression(vector: &Vector, view: &MessageView<'_>) {
    let expected = match vector.name.as_str() {
        "msg_v1_zlib" | "msg_v1_zlib_legacy" => Some(Compression::Zlib),
        "msg_v1_lz4" => Some(Compression::Lz4),
        "msg_v1_zstd" => Some(Compression::Zstd),
        _ => None,
    };
    assert_eq!(view.sys_flag().compression(), expected, "{}", vector.name);
}

/// Builds the same record: once with all fields, once with the stamped ones put in afterwards.
fn encode_again(vector: &Vector, view: &MessageView<'_>) {
    let with_property_crc = vector.name == "store_v1_prop_crc";
    let properties = view.properties();
    let crc_size = if with_property_crc { 20 } else { 0 };
    let mut message = StoredMessage {
        topic: view.topic(),
        queue_id: view.queue_id(),
        flag: view.flag(),
        // The bits of the hosts follow from the hosts.
        sys_flag: SysFlag(view.sys_flag().0 & !(SysFlag::BORN_HOST_V6 | SysFlag::STORE_HOST_V6)),
        queue_offset: view.queue_offset(),
        physical_offset: view.physical_offset(),
        born_timestamp: view.born_timestamp(),
        born_host: view.born_host(),
        store_timestamp: view.store_timestamp(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        prepared_transaction_offset: view.prepared_transaction_offset(),
        body: view.body(),
        properties: &properties[..properties.len() - crc_size],
        added_properties: &[],
        layout: if view.magic() == MAGIC_V2 { LayoutVersion::V2 } else { LayoutVersion::Auto },
        with_property_crc,
    };
    assert_eq!(hex(&encoded(&message)), hex(&vector.bytes), "{}", vector.name);
    if vector.name == "store_v2_long_topic" {
        message.layout = LayoutVersion::Auto;
        assert_eq!(hex(&encoded(&message)), hex(&vector.bytes), "long topics take V2 by themselves");
    }
    (message.queue_offset, message.physical_offset, message.store_timestamp) = (0, 0, 0);
    message.with_property_crc = false;
    message.properties = properties;
    let mut stamped = encoded(&message);
    stamp_queue_offset(&mut stamped, view.queue_offset()).unwrap();
    stamp_physical_offset(&mut stamped, view.physical_offset()).unwrap();
    stamp_store_timestamp(&mut stamped, view.store_timestamp()).unwrap();
    assert_eq!(hex(&stamped), hex(&vector.bytes), "{} stamped", vector.name);
}

fn encoded(message: &StoredMessage<'_>) -> BytesMut {
    let mut out = BytesMut::from(&b"before"[..]);
    let size = encode_stored(message, &mut out).unwrap();
    let mut record = out.split_off(6);
    assert_eq!((size, encoded_size(message).unwrap()), (record.len(), record.len()));
    assert_eq!(messages(&record).count(), 1);
    if message.with_property_crc {
        seal_property_crc(&mut record).unwrap();
    }
    record
}

pub fn batch_body(vector: &Vector) {
    let expected = vector.fields["messages"].as_array().unwrap();
    let records: Vec<BatchRecord<'_>> = batch::records(&vector.bytes).map(Result::unwrap).collect();
    assert_eq!(records.len(), expected.len());
    let mut out = BytesMut::new();
    for (record, expected) in records.iter().zip(expected) {
        assert_eq!(i64::from(record.flag), expected["flag"].as_i64().unwrap());
        assert_eq!(hex(record.body), expected["bodyHex"].as_str().unwrap());
        let properties = flotilla_remoting::message::properties::to_map(record.properties);
        assert_eq!(properties, text_pairs(&expected["properties"]).into_iter().collect());
        batch::encode_record(record, &mut out).unwrap();
    }
    assert_eq!(hex(&out), hex(&vector.bytes));
}

pub fn properties(vector: &Vector) {
    use flotilla_remoting::message::properties::{encode, iter, to_map};
    let text = vector.bytes_text();
    let expected = &vector.fields[if vector.name == "properties_string" { "properties" } else { "decoded" }];
    let expected: BTreeMap<&str, &str> = text_pairs(expected).into_iter().collect();
    assert_eq!(to_map(text), expected, "{}", vector.name);
    if vector.name == "properties_string" {
        assert_eq!(encode(iter(text)), text);
    } else {
        // Quirks of reading: what is written is the tidy form.
        assert_eq!(to_map(&encode(iter(text))), expected, "{}", vector.name);
    }
}

pub fn tags_code(vector: &Vector) {
    assert_eq!(vector.bytes_text(), vector.text("tag"));
    assert_eq!(code_of(vector.text("tag")), vector.number("tagsCode"), "{}", vector.name);
}

pub fn crc32(vector: &Vector) {
    assert_eq!(i64::from(body_crc(&vector.bytes)), vector.number("crc"), "{}", vector.name);
}

pub fn offset_message_id(vector: &Vector) {
    assert_eq!(vector.bytes_text(), vector.text("id"));
    let id = OffsetMessageId { host: host(vector, "host", "port"), physical_offset: vector.number("offset") };
    assert_eq!(id.to_string(), vector.text("id"), "{}", vector.name);
    assert_eq!(vector.text("id").parse(), Ok(id), "{}", vector.name);
    assert_eq!(id.physical_offset, vector.number("decodedOffset"));
}

pub fn unique_id(vector: &Vector) {
    let id: UniqueId = vector.bytes_text().parse().unwrap();
    assert_eq!(id.ip.to_string(), vector.text("ip"));
    assert_eq!(i64::from(id.process), vector.number("pid"));
    assert_eq!(id.to_string(), vector.text("id"));
}

pub fn consume_queue_unit(vector: &Vector) {
    let bytes = vector.bytes.as_slice().try_into().unwrap();
    let unit = ConsumeQueueUnit::decode(bytes);
    assert_eq!(unit.physical_offset, vector.number("offset"));
    assert_eq!(i64::from(unit.total_size), vector.number("size"));
    assert_eq!(unit.tags_code, vector.number("tagsCode"));
    assert_eq!(hex(&unit.encode()), hex(&vector.bytes));
}
