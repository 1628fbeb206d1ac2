//! Map keys that are objects written into a text: `{"{\"queueId\":1}":5}`, the form that standard writers give.

use serde::de::{self, IntoDeserializer, Visitor};

use super::JsonError;
use super::scan::Scanner;

/// Reads an object inside the quoted text of a map key: a message queue, whose members are texts and a number.
pub(super) fn quoted_object<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, JsonError> {
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
