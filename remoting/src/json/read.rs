//! Reader of the JSON dialect for serde types, straight from the text.
//!
//! Tolerant where Java bodies need it: integer keys bare or quoted, object keys raw or as quoted text, links
//! (`$ref`), numbers and booleans given as text. A member that is null counts as absent.

use std::borrow::Cow;
use std::cell::Cell;

use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use super::JsonError;
use super::reference;
use super::scan::Scanner;
use crate::limits::{JSON_BUILT_SIZE_MAX, JSON_DEPTH_MAX, JSON_LINK_COUNT_MAX, JSON_LINKED_SIZE_MAX};

/// Reads a value from JSON text.
///
/// # Errors
/// Byte offset and cause: the text is no UTF-8, breaks the dialect, nests deeper than [`JSON_DEPTH_MAX`], follows too
/// many links ([`JSON_LINK_COUNT_MAX`], [`JSON_LINKED_SIZE_MAX`]), has too many small elements
/// ([`JSON_BUILT_SIZE_MAX`]), or does not fit the type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::new(error.valid_up_to(), "text is not UTF-8"))?;
    let budget = Budget {
        links_left: Cell::new(JSON_LINK_COUNT_MAX.min(1 + JSON_LINKED_SIZE_MAX / text.len().max(1))),
        size_left: Cell::new(JSON_BUILT_SIZE_MAX),
    };
    let mut scanner = Scanner::new(text);
    let reader = Reader { scanner: &mut scanner, depth_left: JSON_DEPTH_MAX, budget: &budget, key: false };
    let value = T::deserialize(reader)?;
    scanner.end()?;
    Ok(value)
}

/// What reading one text may still cost.
struct Budget {
    /// Links that may still be followed.
    links_left: Cell<usize>,
    /// Bytes that elements of lists and maps may still take. Texts don't count: they are no longer than the input.
    size_left: Cell<usize>,
}

impl Budget {
    fn spend(&self, size: usize, at: usize) -> Result<(), JsonError> {
        match self.size_left.get().checked_sub(size) {
            Some(left) => {
                self.size_left.set(left);
                Ok(())
            }
            None => Err(JsonError::new(at, "too many elements")),
        }
    }
}

/// A map node is allocated for so many entries at once.
const ENTRIES_PER_NODE: usize = 12;

/// Reads one value at the scanner's place.
struct Reader<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    depth_left: usize,
    budget: &'s Budget,
    /// The value is a map key: a quoted text may hold a number or an object.
    key: bool,
}

impl<'a> Reader<'_, 'a> {
    /// Follows a link if the value is one: `read` then gets a reader at its target.
    fn resolved<R>(self, read: impl FnOnce(Reader<'_, 'a>) -> Result<R, JsonError>) -> Result<R, JsonError> {
        let at = self.scanner.at;
        let Some(path) = reference::take(self.scanner)? else { return read(self) };
        let Some(links_left) = self.budget.links_left.get().checked_sub(1) else {
            return Err(JsonError::new(at, "too many links"));
        };
        if self.depth_left == 0 {
            return Err(JsonError::new(at, "nested too deeply"));
        }
        self.budget.links_left.set(links_left);
        let mut target = reference::find(self.scanner.text, &path, at)?;
        read(Reader {
            scanner: &mut target,
            depth_left: self.depth_left - 1,
            budget: self.budget,
            key: false,
        })
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

/// Reads an object inside the quoted text of a map key: a message queue, whose members are texts and a number.
fn quoted_object<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'{', "an object")?;
    let mut members = Vec::new();
    while scanner.next_member(members.is_empty(), b'}')? {
        let key = scanner.string()?.text()?.into_owned();
        scanner.expect(b':', "`:`")?;
        let value = if scanner.peek() == Some(b'"') {
            KeyValue::Text(scanner.string()?.text()?.into_owned())
        } else {
            let word = scanner.word()?;
            word.parse().map_or_else(|_| KeyValue::Text(word.to_owned()), KeyValue::Number)
        };
        members.push((key, value));
    }
    scanner.end()?;
    visitor.visit_map(de::value::MapDeserializer::new(members.into_iter()))
}

/// Value inside a quoted object key.
enum KeyValue {
    Text(String),
    Number(i64),
}

impl<'de> de::Deserializer<'de> for KeyValue {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            KeyValue::Text(text) => visitor.visit_string(text),
            KeyValue::Number(number) => visitor.visit_i64(number),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, JsonError> for KeyValue {
    type Deserializer = KeyValue;

    fn into_deserializer(self) -> KeyValue {
        self
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

/// Members of an object or array whose opening byte is consumed.
struct Members<'s, 'a> {
    reader: Reader<'s, 'a>,
    close: u8,
    map: bool,
    first: bool,
    /// The map's node is paid for.
    paid: bool,
}

impl<'s, 'a> Members<'s, 'a> {
    fn new(reader: Reader<'s, 'a>, close: u8, map: bool, at: usize) -> Result<Members<'s, 'a>, JsonError> {
        let Some(depth_left) = reader.depth_left.checked_sub(1) else {
            return Err(JsonError::new(at, "nested too deeply"));
        };
        Ok(Members { reader: Reader { depth_left, ..reader }, close, map, first: true, paid: false })
    }

    fn next(&mut self) -> Result<bool, JsonError> {
        let more = self.reader.scanner.next_member(self.first, self.close)?;
        self.first = false;
        Ok(more)
    }

    /// Pays for an element of this size; the first of a map pays for the map's node.
    fn spend(&self, size: usize) -> Result<(), JsonError> {
        let times = if self.map && !self.paid { ENTRIES_PER_NODE } else { 1 };
        self.reader.budget.spend(size * times, self.reader.scanner.at)
    }

    fn reader(&mut self, key: bool) -> Reader<'_, 'a> {
        Reader {
            scanner: &mut *self.reader.scanner,
            depth_left: self.reader.depth_left,
            budget: self.reader.budget,
            key,
        }
    }
}

impl<'a> de::SeqAccess<'a> for Members<'_, 'a> {
    type Error = JsonError;

    fn next_element_seed<T: de::DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, JsonError> {
        if !self.next()? {
            return Ok(None);
        }
        self.spend(size_of::<T::Value>())?;
        let at = self.reader.scanner.at;
        seed.deserialize(self.reader(false)).map(Some).map_err(|error| error.or_at(at))
    }
}

impl<'a> de::MapAccess<'a> for Members<'_, 'a> {
    type Error = JsonError;

    fn next_key_seed<K: de::DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        let mut seed = Some(seed);
        while self.next()? {
            if let Some(at) = null_member_end(self.reader.scanner)? {
                self.reader.scanner.at = at;
                continue;
            }
            let at = self.reader.scanner.at;
            let Some(seed) = seed.take() else { break };
            if self.map {
                self.spend(size_of::<K::Value>())?;
            }
            let key = seed.deserialize(self.reader(true)).map_err(|error| error.or_at(at))?;
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: de::DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        self.reader.scanner.expect(b':', "`:`")?;
        if self.map {
            self.spend(size_of::<V::Value>())?;
            self.paid = true;
        }
        let at = self.reader.scanner.at;
        seed.deserialize(self.reader(false)).map_err(|error| error.or_at(at))
    }
}

/// Where the member at the scanner ends if its value is null: such a member counts as absent.
fn null_member_end(scanner: &Scanner<'_>) -> Result<Option<usize>, JsonError> {
    let mut ahead = scanner.clone();
    ahead.skip_value()?;
    if ahead.take(b':') && ahead.take_null() { Ok(Some(ahead.at)) } else { Ok(None) }
}
