//! JSON header of a frame: one object with the keys `code`, `extFields`, `flag`, `language`, `opaque`, `remark`,
//! `serializeTypeCurrentRPC` and `version`; nulls are left out, unknown keys are stepped over.
//!
//! Decoded in one pass without a tree. Written with the keys in the order above, as Java does.
//! Source: RocketMQ 5.3 RemotingSerializable; vectors `*_json` and `foreign_json_frame_*`.

use bytes::{BufMut, BytesMut};

use super::number::put_decimal;
use super::{FrameError, Header, SerializeType};
use crate::ext::ExtFields;
use crate::json::JsonError;
use crate::json::scan::Scanner;
use crate::language::Language;
use crate::limits::EXT_FIELD_COUNT_MAX;

/// Typical number of fields, to allocate once.
const FIELDS_TYPICAL: usize = 16;
/// Bytes of field text that are reserved at most before they are seen.
const TEXT_SIZE_TYPICAL: usize = 4096;

pub(super) fn decode(head: &[u8]) -> Result<Header, FrameError> {
    let text = std::str::from_utf8(head).map_err(|error| FrameError::NotUtf8 { at: error.valid_up_to() })?;
    let mut scanner = Scanner::new(text);
    let mut header = Header::new(0, 0, ExtFields::new());
    (header.language, header.version) = (Language::NOT_NAMED, 0);
    scanner.expect(b'{', "an object")?;
    let mut first = true;
    while scanner.next_member(first, b'}')? {
        first = false;
        let key = scanner.string()?.text()?;
        scanner.expect(b':', "`:`")?;
        match &*key {
            "code" => header.code = integer(&mut scanner)?,
            "version" => header.version = integer(&mut scanner)?,
            "opaque" => header.opaque = integer(&mut scanner)?,
            "flag" => header.flag = integer(&mut scanner)?,
            "language" => header.language = language(&mut scanner)?,
            "remark" => header.remark = optional_text(&mut scanner)?,
            "extFields" => ext_fields(&mut scanner, &mut header.ext)?,
            _ => scanner.skip_value()?,
        }
    }
    scanner.end()?;
    Ok(header)
}

/// An integer, bare or quoted; null is 0.
fn integer(scanner: &mut Scanner<'_>) -> Result<i32, JsonError> {
    if scanner.take_null() {
        return Ok(0);
    }
    let quoted = scanner.peek() == Some(b'"');
    let at = scanner.at;
    let parsed = if quoted { scanner.string()?.raw.parse() } else { scanner.word()?.parse() };
    parsed.map_err(|_| JsonError::new(at, "expected a 32-bit integer"))
}

/// A name; a number or null gives no name, as in Java.
fn language(scanner: &mut Scanner<'_>) -> Result<Language, JsonError> {
    if scanner.peek() == Some(b'"') {
        return Ok(Language::from_name(&scanner.string()?.text()?));
    }
    scanner.word()?;
    Ok(Language::NOT_NAMED)
}

fn optional_text(scanner: &mut Scanner<'_>) -> Result<Option<String>, JsonError> {
    if scanner.take_null() {
        return Ok(None);
    }
    Ok(Some(scanner.string()?.text()?.into_owned()))
}

/// Fills the map anew: of repeated members the last counts, in the memory of the first.
fn ext_fields(scanner: &mut Scanner<'_>, ext: &mut ExtFields) -> Result<(), FrameError> {
    ext.clear();
    if scanner.take_null() {
        return Ok(());
    }
    scanner.expect(b'{', "an object")?;
    if scanner.take(b'}') {
        return Ok(());
    }
    ext.reserve(FIELDS_TYPICAL, (scanner.text.len() - scanner.at).min(TEXT_SIZE_TYPICAL));
    let mut count = 0;
    while scanner.next_member(count == 0, b'}')? {
        count += 1;
        if count > EXT_FIELD_COUNT_MAX {
            return Err(FrameError::TooManyFields { at: scanner.at });
        }
        let key = scanner.string()?.text()?;
        scanner.expect(b':', "`:`")?;
        if scanner.peek() == Some(b'"') {
            let value = scanner.string()?;
            ext.try_insert_with(&key, |text| value.unescape_into(text))?;
        } else {
            // Numbers and booleans stand for their text; null for nothing.
            let value = scanner.word()?;
            match value {
                "null" => {
                    ext.remove(&key);
                }
                text => ext.insert(&key, text),
            }
        }
    }
    Ok(())
}

pub(super) fn encode(header: &Header, out: &mut BytesMut) {
    out.reserve(160 + header.ext.text_size() + 8 * header.ext.len());
    put(out, "{\"code\":");
    put_decimal(out, i64::from(header.code));
    if !header.ext.is_empty() {
        put(out, ",\"extFields\":{");
        for (index, (key, value)) in header.ext.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            put_string(out, key);
            out.put_u8(b':');
            put_string(out, value);
        }
        out.put_u8(b'}');
    }
    put(out, ",\"flag\":");
    put_decimal(out, i64::from(header.flag));
    if let Some(name) = header.language.name() {
        put(out, ",\"language\":\"");
        put(out, name);
        out.put_u8(b'"');
    }
    put(out, ",\"opaque\":");
    put_decimal(out, i64::from(header.opaque));
    if let Some(remark) = &header.remark {
        put(out, ",\"remark\":");
        put_string(out, remark);
    }
    debug_assert_eq!(header.serialize, SerializeType::Json);
    put(out, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_decimal(out, i64::from(header.version));
    out.put_u8(b'}');
}

fn put(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_string(out: &mut BytesMut, text: &str) {
    crate::json::put_string(text, |piece| out.extend_from_slice(piece));
}
