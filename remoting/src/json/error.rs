//! What was wrong in a JSON text, and where.

use std::fmt::Display;

/// A JSON text that does not follow the dialect or does not fit the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// Byte offset in the text.
    pub at: usize,
    /// What was found wrong, lower case.
    pub what: String,
}

impl JsonError {
    /// An error at a byte offset.
    pub fn new(at: usize, what: impl Into<String>) -> JsonError {
        JsonError { at, what: what.into() }
    }

    /// Gives the offset to an error that a serde type raised without knowing it.
    pub(super) fn or_at(mut self, at: usize) -> JsonError {
        if self.at == UNKNOWN {
            self.at = at;
        }
        self
    }
}

/// Offset of errors raised by serde types, replaced on the way out.
const UNKNOWN: usize = usize::MAX;

/// Longest message kept: serde puts the offending value into it, which may be large.
const WHAT_SIZE_MAX: usize = 200;

fn shortened(text: String) -> String {
    if text.len() <= WHAT_SIZE_MAX {
        return text;
    }
    let mut end = WHAT_SIZE_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

impl serde::de::Error for JsonError {
    fn custom<T: Display>(what: T) -> JsonError {
        JsonError::new(UNKNOWN, shortened(what.to_string()))
    }
}

impl serde::ser::Error for JsonError {
    fn custom<T: Display>(what: T) -> JsonError {
        JsonError::new(UNKNOWN, shortened(what.to_string()))
    }
}
