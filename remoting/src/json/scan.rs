//! Tokens of the JSON dialect, shared by the header decoder and the body reader.
//!
//! A cursor over text that is known to be UTF-8. Never allocates except to undo escapes, never recurses deeper than
//! [`JSON_DEPTH_MAX`].

use std::borrow::Cow;

use super::JsonError;
use crate::limits::JSON_DEPTH_MAX;

/// Cursor over a JSON text.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

/// A string token: the text between the quotes, and whether it holds escapes.
#[derive(Clone, Copy)]
pub(crate) struct Quoted<'a> {
    pub(crate) raw: &'a str,
    pub(crate) escaped: bool,
    pub(crate) at: usize,
}

impl<'a> Quoted<'a> {
    /// The string meant, borrowed when there is no escape.
    pub(crate) fn text(self) -> Result<Cow<'a, str>, JsonError> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        let mut out = String::with_capacity(self.raw.len());
        self.unescape_into(&mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Appends the string meant. It is never longer than the raw text.
    pub(crate) fn unescape_into(self, out: &mut String) -> Result<(), JsonError> {
        if !self.escaped {
            out.push_str(self.raw);
            return Ok(());
        }
        let mut rest = self.raw;
        while let Some(index) = rest.find('\\') {
            out.push_str(&rest[..index]);
            let at = self.at + (self.raw.len() - rest.len()) + index;
            let escape = &rest[index + 1..];
            let used = unescape(escape, out).ok_or_else(|| JsonError::new(at, "bad escape"))?;
            rest = &escape[used..];
        }
        out.push_str(rest);
        Ok(())
    }
}

/// Appends the character of one escape (text after the backslash) and gives the number of bytes used.
fn unescape(escape: &str, out: &mut String) -> Option<usize> {
    let plain = match escape.as_bytes().first()? {
        b'u' => return unescape_unicode(escape, out),
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'\'' => '\'',
        _ => return None,
    };
    out.push(plain);
    Some(1)
}

/// `uXXXX`, or a pair of them. A surrogate without its partner becomes U+FFFD, as Java does when it writes UTF-8.
fn unescape_unicode(escape: &str, out: &mut String) -> Option<usize> {
    let unit = hex4(escape.as_bytes().get(1..5)?)?;
    if let Some(character) = char::from_u32(unit) {
        out.push(character);
        return Some(5);
    }
    let low = match escape.as_bytes().get(5..11) {
        Some([b'\\', b'u', digits @ ..]) => hex4(digits),
        _ => None,
    };
    match low {
        Some(low) if unit < 0xDC00 && (0xDC00..0xE000).contains(&low) => {
            let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            out.push(char::from_u32(scalar)?);
            Some(11)
        }
        _ => {
            out.push(char::REPLACEMENT_CHARACTER);
            Some(5)
        }
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// Index of the first quote or backslash; eight bytes at a time, since most of a header is inside strings.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Marks the lowest zero byte with its high bit; marks above it may be wrong and don't matter.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut chunks = bytes.chunks_exact(8);
    let mut index = 0;
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let marks = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if marks != 0 {
            return Some(index + marks.trailing_zeros() as usize / 8);
        }
        index += 8;
    }
    let rest = chunks.remainder().iter().position(|byte| matches!(byte, b'"' | b'\\'));
    rest.map(|at| index + at)
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub(crate) fn error<T>(&self, what: impl Into<String>) -> Result<T, JsonError> {
        Err(JsonError::new(self.at, what))
    }

    /// The next byte that is no white space, not consumed.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Consumes the byte if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, what: &str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { self.error(format!("expected {what}")) }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { self.error("unexpected text after the value") }
    }

    /// Steps to the next member of an object or array: false at the closing byte, which is consumed.
    pub(crate) fn next_member(&mut self, first: bool, close: u8) -> Result<bool, JsonError> {
        if self.take(close) {
            return Ok(false);
        }
        if !first {
            self.expect(b',', if close == b'}' { "`,` or `}`" } else { "`,` or `]`" })?;
        }
        Ok(true)
    }

    /// A string token. Bare control characters inside are tolerated.
    pub(crate) fn string(&mut self) -> Result<Quoted<'a>, JsonError> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut end = start;
        while let Some(found) = bytes.get(end..).and_then(quote_or_backslash) {
            end += found;
            if bytes[end] == b'"' {
                self.at = end + 1;
                return Ok(Quoted { raw: &self.text[start..end], escaped, at: start });
            }
            escaped = true;
            end += 2;
        }
        Err(JsonError::new(start - 1, "string without end"))
    }

    /// A number, `true`, `false`, `null` or another bare word, not empty.
    pub(crate) fn word(&mut self) -> Result<&'a str, JsonError> {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let size = rest
            .iter()
            .position(|byte| {
                !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_' | b'$'))
            })
            .unwrap_or(rest.len());
        if size == 0 {
            return self.error("expected a value");
        }
        let word = &self.text[self.at..self.at + size];
        self.at += size;
        Ok(word)
    }

    /// Consumes `null` if it comes next.
    pub(crate) fn take_null(&mut self) -> bool {
        let mut ahead = self.clone();
        let found = ahead.peek() == Some(b'n') && ahead.word() == Ok("null");
        if found {
            *self = ahead;
        }
        found
    }

    /// Steps over one value of any shape.
    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        self.skip_nested(JSON_DEPTH_MAX)
    }

    fn skip_nested(&mut self, depth_left: usize) -> Result<(), JsonError> {
        let close = match self.peek() {
            Some(b'"') => return self.string().map(drop),
            Some(b'{') => b'}',
            Some(b'[') => b']',
            _ => return self.word().map(drop),
        };
        if depth_left == 0 {
            return self.error("nested too deeply");
        }
        self.at += 1;
        let mut first = true;
        while self.next_member(first, close)? {
            first = false;
            if close == b'}' {
                // A key is a string, a bare word or, in this dialect, an object.
                self.skip_nested(depth_left - 1)?;
                self.expect(b':', "`:`")?;
            }
            self.skip_nested(depth_left - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text_of(json: &str) -> Result<String, JsonError> {
        Scanner::new(json).string()?.text().map(Cow::into_owned)
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(text_of(r#""a\u0001b\u0002""#).unwrap(), "a\u{1}b\u{2}");
        assert_eq!(text_of(r#""\n\t\r\b\f\"\\\/\'""#).unwrap(), "\n\t\r\u{8}\u{c}\"\\/'");
        assert_eq!(text_of(r#""\u4E2D\u6587 \uD83D\uDE00""#).unwrap(), "中文 😀");
        assert_eq!(text_of(r#""\uD83D-\uDE00""#).unwrap(), "\u{fffd}-\u{fffd}");
        assert_eq!(text_of(r#""\uD83D\u0041""#).unwrap(), "\u{fffd}A");
    }

    #[test]
    fn quotes_and_backslashes_are_found_wherever_they_are() {
        for size in 0..40 {
            for at in 0..size {
                for special in *b"\"\\" {
                    let mut bytes = vec![b'\x80'; size];
                    bytes[at] = special;
                    // The neighbours differ by one bit or one from what is looked for.
                    bytes[at + 1..].fill(special ^ 1);
                    assert_eq!(quote_or_backslash(&bytes), Some(at));
                    bytes[at] = special.wrapping_add(1);
                    assert_eq!(quote_or_backslash(&bytes), None);
                }
            }
        }
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(text_of(r#"  "ab\x""#), Err(JsonError::new(5, "bad escape")));
        assert_eq!(text_of(r#""ab\u00"#), Err(JsonError::new(0, "string without end")));
        assert_eq!(text_of(r#""ab\u00""#), Err(JsonError::new(3, "bad escape")));
        assert_eq!(text_of(r#""ab\"#), Err(JsonError::new(0, "string without end")));
    }

    #[test]
    fn values_of_any_shape_are_stepped_over() {
        for json in
            ["1", "-1.5e3", "null", "\"a\"", "{}", "[]", r#"{"a":[1,{"b":null}], 0 : "x", {"k":1}:2}"#]
        {
            let mut scanner = Scanner::new(json);
            scanner.skip_value().unwrap();
            scanner.end().unwrap();
        }
        for json in ["", "{", "[1", "{1}", "{\"a\"}", "[1 2]", "}", ","] {
            assert!(Scanner::new(json).skip_value().is_err(), "{json}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(JSON_DEPTH_MAX + 1);
        let error = Scanner::new(&deep).skip_value().unwrap_err();
        assert_eq!(error, JsonError::new(JSON_DEPTH_MAX, "nested too deeply"));
    }
}
