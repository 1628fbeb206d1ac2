//! Objects and arrays being written.

use serde::ser::{self, Serialize};

use super::JsonError;
use super::write::{IntegerKeys, Writer, unsupported};

/// An object or array being written; `start` is where its first member goes.
pub(super) struct Compound<'w> {
    writer: &'w mut Writer,
    start: usize,
    close: &'static str,
    /// Key of a map entry, kept until its value comes.
    key: Vec<u8>,
}

impl<'w> Compound<'w> {
    pub(super) fn open(writer: &'w mut Writer, open: &str, close: &'static str) -> Compound<'w> {
        writer.put(open);
        let start = writer.out.len();
        Compound { writer, start, close, key: Vec::new() }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.writer.comma(self.start);
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), JsonError> {
        self.writer.member(
            self.start,
            |writer| {
                writer.string(key);
                Ok(())
            },
            value,
        )
    }

    fn close(self) -> Result<(), JsonError> {
        self.writer.put(self.close);
        Ok(())
    }
}

impl ser::SerializeSeq for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}

impl ser::SerializeTuple for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        self.field(key, value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        let mut writer = Writer { out: Vec::new(), dialect: self.writer.dialect };
        key.serialize(&mut writer)?;
        let mut out = writer.out;
        let integer = matches!(out.first(), Some(b'0'..=b'9' | b'-'));
        if integer && self.writer.dialect.integer_keys == IntegerKeys::Quoted {
            out.insert(0, b'"');
            out.push(b'"');
        }
        if !integer && !matches!(out.first(), Some(b'"' | b'{')) {
            return unsupported("this map key");
        }
        self.key = out;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        let key = std::mem::take(&mut self.key);
        self.writer.member(
            self.start,
            |writer| {
                writer.out.extend_from_slice(&key);
                Ok(())
            },
            value,
        )
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}
