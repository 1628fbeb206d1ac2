//! Binary form of commands and checkpoints: little endian, lengths before contents, nothing implied.
//!
//! | value        | bytes                                     |
//! |--------------|-------------------------------------------|
//! | integer      | its width, little endian                  |
//! | boolean      | one byte, 0 or 1                          |
//! | text         | u32 byte count, UTF-8                     |
//! | list         | u32 item count, items                     |
//! | optional     | one byte, 0 or 1, then the value          |
//!
//! Reading never panics and never allocates more than the input could hold; an error names the field and the byte offset.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Why bytes are not what they should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} at byte {offset}: {reason}")]
pub struct CodecError {
    pub field: &'static str,
    pub offset: usize,
    pub reason: CodecReason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecReason {
    #[error("{needed} bytes needed, {left} left")]
    Truncated { needed: usize, left: usize },
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("{value} is over the limit of {limit}")]
    OverLimit { value: u64, limit: u64 },
    #[error("unknown value {0}")]
    Unknown(u64),
    #[error("{0} bytes too many")]
    Trailing(usize),
    #[error("out of order")]
    Order,
}

/// A value with a binary form.
pub trait Encode {
    fn encode(&self, out: &mut Vec<u8>);
}

/// A value that can be read back.
pub trait Decode: Sized {
    /// # Errors
    /// The field that could not be read; nothing is known about the rest of the input.
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError>;
}

/// Reads forward over a slice and remembers where it is.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Byte offset of the next value.
    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    pub fn error(&self, field: &'static str, reason: CodecReason) -> CodecError {
        CodecError { field, offset: self.at, reason }
    }

    /// The next `size` bytes.
    pub fn take(&mut self, field: &'static str, size: usize) -> Result<&'a [u8], CodecError> {
        if size > self.left() {
            return Err(self.error(field, CodecReason::Truncated { needed: size, left: self.left() }));
        }
        let taken = &self.bytes[self.at..self.at + size];
        self.at += size;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        Ok(self.array::<1>(field)?[0])
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, CodecError> {
        Ok(i32::from_le_bytes(self.array(field)?))
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, CodecError> {
        Ok(i64::from_le_bytes(self.array(field)?))
    }

    pub fn bool(&mut self, field: &'static str) -> Result<bool, CodecError> {
        let at = self.at;
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CodecError { field, offset: at, reason: CodecReason::Unknown(u64::from(other)) }),
        }
    }

    /// UTF-8 text of at most `limit` bytes.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<&'a str, CodecError> {
        let at = self.at;
        let size = self.u32(field)? as usize;
        if size > limit {
            let reason = CodecReason::OverLimit { value: size as u64, limit: limit as u64 };
            return Err(CodecError { field, offset: at, reason });
        }
        let bytes = self.take(field, size)?;
        std::str::from_utf8(bytes).map_err(|_| CodecError { field, offset: at, reason: CodecReason::NotUtf8 })
    }

    pub fn name(&mut self, field: &'static str) -> Result<Arc<str>, CodecError> {
        Ok(Arc::from(self.text(field, crate::limits::NAME_BYTES_MAX)?))
    }

    pub fn string(&mut self, field: &'static str) -> Result<String, CodecError> {
        Ok(self.text(field, crate::limits::TEXT_BYTES_MAX)?.to_owned())
    }

    /// The number of items that follow, each at least `item_size_min` bytes; refused when the input can't hold them.
    pub fn count(&mut self, field: &'static str, item_size_min: usize) -> Result<usize, CodecError> {
        let at = self.at;
        let count = self.u32(field)? as usize;
        let needed = count.saturating_mul(item_size_min.max(1));
        if needed > self.left() {
            let reason = CodecReason::Truncated { needed, left: self.left() };
            return Err(CodecError { field, offset: at, reason });
        }
        Ok(count)
    }

    /// A list whose items take at least `item_size_min` bytes each.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        item_size_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count(field, item_size_min)?;
        // The bound by input size holds for bytes, not for the wider values in memory, hence no pre-sizing beyond a page.
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn optional<T>(
        &mut self,
        field: &'static str,
        value: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool(field)? { value(self).map(Some) } else { Ok(None) }
    }

    pub fn text_map(&mut self, field: &'static str) -> Result<BTreeMap<String, String>, CodecError> {
        let pairs = self.list(field, 8, |input| Ok((input.string(field)?, input.string(field)?)))?;
        Ok(pairs.into_iter().collect())
    }

    /// Claims that nothing is left.
    pub fn finish(&self, field: &'static str) -> Result<(), CodecError> {
        if self.is_empty() { Ok(()) } else { Err(self.error(field, CodecReason::Trailing(self.left()))) }
    }
}

/// A count as the format's u32.
///
/// # Panics
/// When a list or text has 2^32 items or more, which no caller can build within the limits.
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("lists and texts are far below 2^32 items");
    out.extend_from_slice(&count.to_le_bytes());
}

pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

pub fn put_text_map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    put_count(out, map.len());
    for (key, value) in map {
        put_text(out, key);
        put_text(out, value);
    }
}

pub fn put_list<T: Encode>(out: &mut Vec<u8>, items: &[T]) {
    put_count(out, items.len());
    for item in items {
        item.encode(out);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn count_beyond_the_input_is_refused_before_allocating() {
        let mut bytes = Vec::new();
        put_u32(&mut bytes, u32::MAX);
        let error = Reader::new(&bytes).count("items", 8).unwrap_err();
        assert!(matches!(error.reason, CodecReason::Truncated { left: 0, .. }), "{error}");
    }

    #[test]
    fn errors_name_field_and_offset() {
        let mut bytes = Vec::new();
        put_bool(&mut bytes, true);
        put_text(&mut bytes, "ab");
        bytes[5] = 0xFF;
        let mut reader = Reader::new(&bytes);
        reader.bool("flag").unwrap();
        assert_eq!(reader.name("topic").unwrap_err().to_string(), "topic at byte 1: text is not UTF-8");
        assert_eq!(
            Reader::new(&[7]).bool("flag").unwrap_err().to_string(),
            "flag at byte 0: unknown value 7"
        );
    }

    #[test]
    fn text_over_its_limit_is_refused() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, "abcdef");
        let error = Reader::new(&bytes).text("name", 5).unwrap_err();
        assert_eq!(error.reason, CodecReason::OverLimit { value: 6, limit: 5 });
    }
}
