//! How one ext field is read and written, by the type of the header's field.
//!
//! Source: RocketMQ 5.3 RemotingCommand.decodeCommandCustomHeader: decimal integers; a boolean is true for `true` in
//! any case and false otherwise.

use crate::ext::ExtFields;

/// A header field that is missing or can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header field {field} {problem}")]
pub struct HeaderError {
    /// Key of the field in the ext fields.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: HeaderProblem,
}

/// What is wrong with a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// A required field is absent.
    #[error("is missing")]
    Missing,
    /// The text is no decimal number of 32 bits.
    #[error("is no 32-bit integer")]
    NotI32,
    /// The text is no decimal number of 64 bits.
    #[error("is no 64-bit integer")]
    NotI64,
    /// The text is no name that the field knows.
    #[error("has an unknown value")]
    UnknownValue,
}

impl HeaderError {
    /// A required field that is absent.
    pub const fn missing(field: &'static str) -> HeaderError {
        HeaderError { field, problem: HeaderProblem::Missing }
    }
}

/// A type that can be a header field.
pub trait Field<'a>: Sized {
    /// Reads the field, or its absence.
    ///
    /// # Errors
    /// The field is required and absent, or its text can't be read.
    fn read(ext: &'a ExtFields, key: &'static str) -> Result<Self, HeaderError>;

    /// Writes the field; an absent one leaves nothing.
    fn write(&self, key: &'static str, ext: &mut ExtFields);
}

fn required<T>(value: Option<T>, key: &'static str) -> Result<T, HeaderError> {
    value.ok_or(HeaderError::missing(key))
}

/// Parses an integer as Java's `Integer.parseInt`: a sign is allowed, white space is not.
pub(super) fn parse_i32(text: &str, field: &'static str) -> Result<i32, HeaderError> {
    text.parse().map_err(|_| HeaderError { field, problem: HeaderProblem::NotI32 })
}

/// Parses an integer as Java's `Long.parseLong`.
pub(super) fn parse_i64(text: &str, field: &'static str) -> Result<i64, HeaderError> {
    text.parse().map_err(|_| HeaderError { field, problem: HeaderProblem::NotI64 })
}

/// Parses a boolean as Java's `Boolean.parseBoolean`.
pub(super) fn parse_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

impl<'a> Field<'a> for Option<&'a str> {
    fn read(ext: &'a ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        Ok(ext.get(key))
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        if let Some(text) = self {
            ext.insert(key, text);
        }
    }
}

impl<'a> Field<'a> for &'a str {
    fn read(ext: &'a ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        required(ext.get(key), key)
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        ext.insert(key, self);
    }
}

/// The required and the optional form of an integer.
macro_rules! integer_field {
    ($type:ty, $parse:ident) => {
        impl Field<'_> for Option<$type> {
            fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
                ext.get(key).map(|text| $parse(text, key)).transpose()
            }

            fn write(&self, key: &'static str, ext: &mut ExtFields) {
                if let Some(number) = self {
                    ext.insert_display(key, number);
                }
            }
        }

        impl Field<'_> for $type {
            fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
                required(Option::<$type>::read(ext, key)?, key)
            }

            fn write(&self, key: &'static str, ext: &mut ExtFields) {
                ext.insert_display(key, self);
            }
        }
    };
}

integer_field!(i32, parse_i32);
integer_field!(i64, parse_i64);

impl Field<'_> for Option<bool> {
    fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        Ok(ext.get(key).map(parse_bool))
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        if let Some(value) = self {
            value.write(key, ext);
        }
    }
}

impl Field<'_> for bool {
    fn read(ext: &ExtFields, key: &'static str) -> Result<Self, HeaderError> {
        Ok(Option::<bool>::read(ext, key)?.unwrap_or(false))
    }

    fn write(&self, key: &'static str, ext: &mut ExtFields) {
        ext.insert(key, if *self { "true" } else { "false" });
    }
}
