//! Reader of the JSON dialect for serde types, straight from the text.
//!
//! Tolerant where Java bodies need it: integer keys bare or quoted, object keys raw or as quoted text, links
//! (`$ref`), numbers and booleans given as text. A member that is null counts as absent.

use std::borrow::Cow;

use serde::de::{self, DeserializeOwned, Visitor};

use super::JsonError;
use super::budget::Budget;
use super::key::quoted_object;
use super::members::Members;
use super::reference;
use super::scan::Scanner;
use crate::limits::JSON_DEPTH_MAX;

/// Reads a value from JSON text.
///
/// # Errors
/// Byte offset and cause: the text is no UTF-8, breaks the dialect, nests deeper than [`JSON_DEPTH_MAX`], follows too
/// many links ([`JSON_LINK_COUNT_MAX`](crate::limits::JSON_LINK_COUNT_MAX), [`JSON_LINKED_SIZE_MAX`](crate::limits::JSON_LINKED_SIZE_MAX)), has too many small elements
/// ([`JSON_BUILT_SIZE_MAX`](crate::limits::JSON_BUILT_SIZE_MAX)), or does not fit the type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::new(error.valid_up_to(), "text is not UTF-8"))?;
    let budget = Budget::for_text(text.len());
    let mut scanner = Scanner::new(text);
    let reader = Reader { scanner: &mut scanner, depth_left: JSON_DEPTH_MAX, budget: &budget, key: false };
    let value = T::deserialize(reader)?;
    scanner.end()?;
    Ok(value)
}

/// Reads one value at the scanner's place.
pub(super) struct Reader<'s, 'a> {
    pub(super) scanner: &'s mut Scanner<'a>,
    pub(super) depth_left: usize,
    pub(super) budget: &'s Budget,
    /// The value is a map key: a quoted text may hold a number or an object.
    pub(super) key: bool,
}

impl<'a> Reader<'_, 'a> {
    /// Follows a link if the value is one, and the link that it leads to: `read` gets a reader at the end of them.
    fn resolved<R>(self, read: impl FnOnce(Reader<'_, 'a>) -> Result<R, JsonError>) -> Result<R, JsonError> {
        let mut at = self.scanner.at;
        let Some(mut path) = reference::take(self.scanner)? else { return read(self) };
        let mut depth_left = self.depth_left;
        loop {
            self.budget.follow_link(at)?;
            depth_left = depth_left.checked_sub(1).ok_or_else(|| JsonError::new(at, "nested too deeply"))?;
            let mut target = reference::find(self.scanner.text, &path, at)?;
            at = target.at;
            match reference::take(&mut target)? {
                Some(next) => path = next,
                None => {
                    return read(Reader {
                        scanner: &mut target,
                        depth_left,
                        budget: self.budget,
                        key: false,
                    });
                }
            }
        }
    }

    fn with_text<R>(self, visit: impl FnOnce(Cow<'a, str>) -> Result<R, JsonError>) -> Result<R, JsonError> {
        let at = self.scanner.at;
        let text = match self.scanner.peek() {
            Some(b'"') => self.scanner.string()?.text()?,
            _ => Cow::Borrowed(self.scanner.word()?),
        };
        visit(text).map_err(|error| error.or_at(at))
    }

    /// `map`: the members are entries of a map, not the known ones of a struct.
    fn object<V: Visitor<'a>>(self, map: bool, visitor: V) -> Result<V::Value, JsonError> {
        // A map key may be an object written into a text.
        if self.key && self.scanner.peek() == Some(b'"') {
            let at = self.scanner.at;
            let text = self.scanner.string()?.text()?;
            return quoted_object(&text, visitor).map_err(|error| JsonError::new(at, error.what));
        }
        self.resolved(|reader| {
            let at = reader.scanner.at;
            reader.scanner.expect(b'{', "an object")?;
            let members = Members::new(reader, b'}', map, at)?;
            visitor.visit_map(members).map_err(|error| error.or_at(at))
        })
    }

    fn array<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.resolved(|reader| {
            let at = reader.scanner.at;
            reader.scanner.expect(b'[', "an array")?;
            let members = Members::new(reader, b']', false, at)?;
            visitor.visit_seq(members).map_err(|error| error.or_at(at))
        })
    }

    fn any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.at;
        match self.scanner.peek() {
            Some(b'{') => self.object(true, visitor),
            Some(b'[') => self.array(visitor),
            Some(b'"') => self.deserialize_str_value(visitor),
            _ => match self.scanner.word()? {
                "null" => visitor.visit_unit(),
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                word => match word.parse::<i64>() {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => match finite(word) {
                        Some(number) => visitor.visit_f64(number),
                        None => return Err(JsonError::new(at, "expected a value")),
                    },
                },
            }
            .map_err(|error: JsonError| error.or_at(at)),
        }
    }

    fn deserialize_str_value<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.at;
        match self.scanner.peek() {
            Some(b'{' | b'[') => self.scanner.error("expected a text"),
            _ if self.scanner.take_null() => Err(JsonError::new(at, "expected a text")),
            _ => self.with_text(|text| match text {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            }),
        }
        .map_err(|error| error.or_at(at))
    }
}

/// A number that the writer can write: neither infinite nor none.
fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Reads an integer, bare or quoted.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
            let at = self.scanner.at;
            self.with_text(|text| match text.parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(JsonError::new(at, concat!("expected a number (", stringify!($type), ")"))),
            })
        }
    )*};
}

impl<'a> de::Deserializer<'a> for Reader<'_, 'a> {
    type Error = JsonError;

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.at;
        self.with_text(|text| match finite(&text) {
            Some(number) => visitor.visit_f64(number),
            None => Err(JsonError::new(at, "expected a number")),
        })
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.at;
        self.with_text(|text| match &*text {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(JsonError::new(at, "expected true or false")),
        })
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.any(visitor)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str_value(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str_value(visitor)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str_value(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str_value(visitor)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.any(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.scanner.take_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.array(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, JsonError> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.array(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.object(true, visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.object(false, visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let at = self.scanner.at;
        if self.scanner.peek() != Some(b'"') {
            return self.scanner.error("expected a name");
        }
        let name = self.scanner.string()?.text()?;
        visitor
            .visit_enum(de::value::CowStrDeserializer::new(name))
            .map_err(|error: JsonError| error.or_at(at))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.scanner.skip_value()?;
        visitor.visit_unit()
    }
}
