//! Binary header of a frame ("ROCKETMQ"), big endian.
//!
//! | offset | size | field     | meaning                                                             |
//! |-------:|-----:|-----------|---------------------------------------------------------------------|
//! |      0 |    2 | code      | cut to 16 bits                                                      |
//! |      2 |    1 | language  |                                                                     |
//! |      3 |    2 | version   | 16 bits                                                             |
//! |      5 |    4 | opaque    |                                                                     |
//! |      9 |    4 | flag      |                                                                     |
//! |     13 |    4 | remark    | length R, then R bytes                                              |
//! | 17 + R |    4 | extFields | length E, then entries: key length (2), key, value length (4), value |
//!
//! A text of length zero is null: it is not kept. Bytes after the entries are ignored.
//! Source: RocketMQ 5.3 RocketMQSerializable; vectors `*_rocketmq` and `binary_empty_value`.

use bytes::{BufMut, BytesMut};

use super::{FrameError, Header, SerializeType};
use crate::ext::ExtFields;
use crate::language::Language;
use crate::limits::EXT_FIELD_COUNT_MAX;

/// Typical number of fields, to allocate once.
const FIELDS_TYPICAL: usize = 16;

/// Cursor over the header, with the name of what is being read for errors.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// First byte that may not be read: the end of the header or of the entries.
    end: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize, field: &'static str) -> Result<&'a [u8], FrameError> {
        let start = self.at;
        match start.checked_add(size) {
            Some(stop) if stop <= self.end => {
                self.at = stop;
                Ok(&self.bytes[start..stop])
            }
            _ => Err(FrameError::Binary { field, at: start, size: self.end }),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    fn text(&mut self, size: usize, field: &'static str) -> Result<&'a str, FrameError> {
        let start = self.at;
        let bytes = self.take(size, field)?;
        std::str::from_utf8(bytes).map_err(|error| FrameError::NotUtf8 { at: start + error.valid_up_to() })
    }

    /// A length of four bytes; a negative one is far beyond every header.
    fn length(&mut self, field: &'static str) -> Result<usize, FrameError> {
        let length = u32::from_be_bytes(self.array(field)?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

pub(super) fn decode(head: &[u8]) -> Result<Header, FrameError> {
    let mut reader = Reader { bytes: head, at: 0, end: head.len() };
    let code = i32::from(i16::from_be_bytes(reader.array("code")?));
    let [language] = reader.array("language")?;
    let version = i32::from(i16::from_be_bytes(reader.array("version")?));
    let opaque = i32::from_be_bytes(reader.array("opaque")?);
    let flag = i32::from_be_bytes(reader.array("flag")?);
    let remark_size = reader.length("remark length")?;
    let remark = reader.text(remark_size, "remark")?;
    let fields_size = reader.length("extFields length")?;
    let fields_at = reader.at;
    reader.take(fields_size, "extFields")?;
    let ext = decode_fields(Reader { bytes: head, at: fields_at, end: fields_at + fields_size })?;
    Ok(Header {
        code,
        language: Language::from_code(language),
        version,
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| remark.to_owned()),
        ext,
        serialize: SerializeType::Rocketmq,
    })
}

fn decode_fields(mut reader: Reader<'_>) -> Result<ExtFields, FrameError> {
    if reader.at == reader.end {
        return Ok(ExtFields::new());
    }
    let mut ext = ExtFields::with_capacity(FIELDS_TYPICAL, reader.end - reader.at);
    let mut count = 0;
    while reader.at < reader.end {
        count += 1;
        if count > EXT_FIELD_COUNT_MAX {
            return Err(FrameError::TooManyFields { at: reader.at });
        }
        let key_size = usize::from(u16::from_be_bytes(reader.array("key length")?));
        let key = reader.text(key_size, "key")?;
        let value_size = reader.length("value length")?;
        let value = reader.text(value_size, "value")?;
        match (key, value) {
            ("", _) => {}
            (key, "") => {
                ext.remove(key);
            }
            (key, value) => ext.insert(key, value),
        }
    }
    Ok(ext)
}

pub(super) fn encode(header: &Header, out: &mut BytesMut) {
    let remark = header.remark.as_deref().unwrap_or_default();
    out.reserve(21 + remark.len() + header.ext.text_size() + 6 * header.ext.len());
    // The cut to 16 bits is the protocol's.
    out.put_i16(header.code as i16);
    out.put_u8(header.language.code());
    out.put_i16(header.version as i16);
    out.put_i32(header.opaque);
    out.put_i32(header.flag);
    put_text(out, remark);
    let length_at = out.len();
    out.put_u32(0);
    for (key, value) in header.ext.iter() {
        // Keys and values that are empty, and keys too long for their length field, can't be written.
        let Ok(key_size) = u16::try_from(key.len()) else { continue };
        if key.is_empty() || value.is_empty() {
            continue;
        }
        out.put_u16(key_size);
        out.extend_from_slice(key.as_bytes());
        put_text(out, value);
    }
    let size = u32::try_from(out.len() - length_at - 4).expect("header text is bounded by the frame size");
    out[length_at..length_at + 4].copy_from_slice(&size.to_be_bytes());
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).expect("header text is bounded by the frame size"));
    out.extend_from_slice(text.as_bytes());
}
