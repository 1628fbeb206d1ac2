//! Writer of the JSON dialect: compact, members in declaration order, null members left out, maps keyed by structs
//! written with raw object keys, which no standard writer can produce.
//!
//! Source: vectors of kind `json_body`; which forms old and new clients accept is in vector `json_decode_acceptance`.

use serde::ser::{self, Serialize};

use super::JsonError;
use super::compound::Compound;

/// How integer map keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntegerKeys {
    /// `{"0":1}`: accepted by every official decoder, Go included. The default.
    #[default]
    Quoted,
    /// `{0:1}`: what Java writes to clients below 4.9.4. Only for byte-exact comparison with official bodies.
    Bare,
}

/// Variant of the dialect to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Form of integer map keys.
    pub integer_keys: IntegerKeys,
    /// Writes characters beyond ASCII as `\uXXXX`, as Java does in routes for clients of 4.9.4 and later.
    pub ascii_only: bool,
}

/// JSON text of a value in the default dialect.
///
/// # Panics
/// When the type can't be written: a map key that is neither text, integer nor struct, a number beyond 64 bits, an enum
/// with content. Types of this crate can.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    to_vec_with(value, Dialect::default())
}

/// JSON text of a value.
///
/// # Panics
/// As [`to_vec`].
pub fn to_vec_with<T: Serialize + ?Sized>(value: &T, dialect: Dialect) -> Vec<u8> {
    let mut writer = Writer { out: Vec::with_capacity(256), dialect };
    value.serialize(&mut writer).expect("the type follows the rules of the dialect");
    writer.out
}

/// Writes a quoted string by pieces. Characters below 0x20 and the two special ones are escaped, the rest stays as is.
pub(crate) fn put_string(text: &str, mut put: impl FnMut(&[u8])) {
    let bytes = text.as_bytes();
    put(b"\"");
    let mut start = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        put(&bytes[start..index]);
        start = index + 1;
        match byte {
            b'"' => put(b"\\\""),
            b'\\' => put(b"\\\\"),
            b'\n' => put(b"\\n"),
            b'\r' => put(b"\\r"),
            b'\t' => put(b"\\t"),
            0x08 => put(b"\\b"),
            0x0C => put(b"\\f"),
            other => {
                put(b"\\u00");
                put(&[HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]]);
            }
        }
    }
    put(&bytes[start..]);
    put(b"\"");
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    pub(super) dialect: Dialect,
}

impl Writer {
    pub(super) fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        if !self.dialect.ascii_only || text.is_ascii() {
            let out = &mut self.out;
            put_string(text, |piece| out.extend_from_slice(piece));
            return;
        }
        self.out.push(b'"');
        for character in text.chars() {
            if character.is_ascii() {
                let quoted_at = self.out.len();
                let out = &mut self.out;
                put_string(character.encode_utf8(&mut [0; 4]), |piece| out.extend_from_slice(piece));
                // Takes the quotes of the single character away.
                self.out.pop();
                self.out.remove(quoted_at);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.put(&format!("\\u{unit:04X}"));
                }
            }
        }
        self.out.push(b'"');
    }

    /// A comma unless the object or array that starts at `start` is still empty.
    pub(super) fn comma(&mut self, start: usize) {
        if self.out.len() > start {
            self.out.push(b',');
        }
    }

    /// One member of an object, taken back when its value is null.
    pub(super) fn member<T: Serialize + ?Sized>(
        &mut self,
        start: usize,
        key: impl FnOnce(&mut Writer) -> Result<(), JsonError>,
        value: &T,
    ) -> Result<(), JsonError> {
        let before = self.out.len();
        self.comma(start);
        key(self)?;
        self.out.push(b':');
        let value_at = self.out.len();
        value.serialize(&mut *self)?;
        if &self.out[value_at..] == b"null" {
            self.out.truncate(before);
        }
        Ok(())
    }
}

pub(super) fn unsupported<T>(what: &str) -> Result<T, JsonError> {
    Err(ser::Error::custom(format!("{what} has no form in the dialect")))
}

impl<'w> ser::Serializer for &'w mut Writer {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = Compound<'w>;
    type SerializeTuple = Compound<'w>;
    type SerializeTupleStruct = Compound<'w>;
    type SerializeTupleVariant = ser::Impossible<(), JsonError>;
    type SerializeMap = Compound<'w>;
    type SerializeStruct = Compound<'w>;
    type SerializeStructVariant = ser::Impossible<(), JsonError>;

    fn serialize_bool(self, value: bool) -> Result<(), JsonError> {
        self.put(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), JsonError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), JsonError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), JsonError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), JsonError> {
        self.put(&value.to_string());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), JsonError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), JsonError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), JsonError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), JsonError> {
        self.put(&value.to_string());
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), JsonError> {
        self.serialize_f64(value.into())
    }

    /// Always with a decimal point or exponent, as Java prints doubles; what is no number is null.
    fn serialize_f64(self, value: f64) -> Result<(), JsonError> {
        if value.is_finite() {
            self.put(&format!("{value:?}"))
        } else {
            self.put("null")
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), JsonError> {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), JsonError> {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), JsonError> {
        unsupported("a byte string")
    }

    fn serialize_none(self) -> Result<(), JsonError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JsonError> {
        self.put("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), JsonError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), JsonError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), JsonError> {
        unsupported("an enum with content")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'w>, JsonError> {
        Ok(Compound::open(self, "[", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'w>, JsonError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'w>, JsonError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, JsonError> {
        unsupported("an enum with content")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'w>, JsonError> {
        Ok(Compound::open(self, "{", "}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'w>, JsonError> {
        Ok(Compound::open(self, "{", "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, JsonError> {
        unsupported("an enum with content")
    }
}
