//! Body of a batch send: records back to back, big endian.
//!
//! | offset | size | field            | meaning                       |
//! |-------:|-----:|------------------|-------------------------------|
//! |      0 |    4 | totalSize        | whole record                  |
//! |      4 |    4 | magic            | 0, not looked at              |
//! |      8 |    4 | bodyCRC          | 0, not looked at              |
//! |     12 |    4 | flag             | the user's                    |
//! |     16 |    4 | bodyLength       |                               |
//! |     20 |      | body             | not compressed                |
//! |        |    2 | propertiesLength |                               |
//! |        |      | properties       |                               |
//!
//! Topic, queue, `sysFlag` and born data come from the request's header.
//! Source: RocketMQ 5.3 MessageDecoder.encodeMessage, MessageExtEncoder; vector `batch_body_3`.

use bytes::{BufMut, BytesMut};

use super::encode::MessageError;
use crate::limits::PROPERTIES_SIZE_MAX;

/// Bytes of a record without body and properties.
const EMPTY_SIZE: usize = 4 + 4 + 4 + 4 + 4 + 2;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord<'a> {
    /// Opaque flag of the user.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Property text.
    pub properties: &'a str,
}

/// A batch body that is none. To a send it is MESSAGE_ILLEGAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("batch record {index} at byte {at}: {problem}")]
pub struct BatchError {
    /// Number of the record, from 0.
    pub index: usize,
    /// Offset of the record in the body.
    pub at: usize,
    /// What is wrong.
    pub problem: BatchProblem,
}

/// What is wrong with a batch record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchProblem {
    /// The record or one of its parts goes beyond the body.
    #[error("{0} goes beyond the body")]
    TooShort(&'static str),
    /// A length is negative.
    #[error("{0} is negative")]
    Negative(&'static str),
    /// `totalSize` is not the sum of the fields.
    #[error("totalSize is not the sum of the fields")]
    SizeMismatch,
    /// The properties are no UTF-8.
    #[error("properties are not UTF-8")]
    NotUtf8,
}

/// All records of a batch body; ends after the first error.
pub fn records(body: &[u8]) -> impl Iterator<Item = Result<BatchRecord<'_>, BatchError>> {
    let mut rest = body;
    let mut index = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = body.len() - rest.len();
        Some(match split(rest) {
            Ok((record, behind)) => {
                rest = behind;
                index += 1;
                Ok(record)
            }
            Err(problem) => {
                rest = &[];
                Err(BatchError { index, at, problem })
            }
        })
    })
}

fn split(bytes: &[u8]) -> Result<(BatchRecord<'_>, &[u8]), BatchProblem> {
    let total_size = length(i32_at(bytes, 0, "totalSize")?.into(), "totalSize")?;
    let (record, rest) = bytes.split_at_checked(total_size).ok_or(BatchProblem::TooShort("record"))?;
    let flag = i32_at(record, 12, "flag")?;
    let body_size = length(i32_at(record, 16, "bodyLength")?.into(), "bodyLength")?;
    let (body, tail) = record[20..].split_at_checked(body_size).ok_or(BatchProblem::TooShort("body"))?;
    let properties_size = tail.first_chunk().ok_or(BatchProblem::TooShort("propertiesLength"))?;
    let properties_size = length(i16::from_be_bytes(*properties_size).into(), "propertiesLength")?;
    let (properties, left) =
        tail[2..].split_at_checked(properties_size).ok_or(BatchProblem::TooShort("properties"))?;
    if !left.is_empty() {
        return Err(BatchProblem::SizeMismatch);
    }
    let properties = std::str::from_utf8(properties).map_err(|_| BatchProblem::NotUtf8)?;
    Ok((BatchRecord { flag, body, properties }, rest))
}

fn i32_at(bytes: &[u8], at: usize, field: &'static str) -> Result<i32, BatchProblem> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(BatchProblem::TooShort(field))?;
    Ok(i32::from_be_bytes(*bytes))
}

fn length(value: i64, field: &'static str) -> Result<usize, BatchProblem> {
    usize::try_from(value).map_err(|_| BatchProblem::Negative(field))
}

/// Appends one record.
///
/// # Errors
/// The properties or the record are too large for their length fields; nothing is written then.
pub fn encode_record(record: &BatchRecord<'_>, out: &mut BytesMut) -> Result<(), MessageError> {
    let properties_size = record.properties.len();
    if properties_size > PROPERTIES_SIZE_MAX {
        return Err(MessageError::PropertiesTooLong { size: properties_size });
    }
    let size = EMPTY_SIZE + record.body.len() + properties_size;
    let Ok(total_size) = i32::try_from(size) else {
        return Err(MessageError::TooLarge { size });
    };
    out.reserve(size);
    out.put_i32(total_size);
    out.put_i32(0);
    out.put_i32(0);
    out.put_i32(record.flag);
    // Both sizes are checked above.
    out.put_i32(record.body.len() as i32);
    out.put_slice(record.body);
    out.put_i16(properties_size as i16);
    out.put_slice(record.properties.as_bytes());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn body() -> BytesMut {
        let mut body = BytesMut::new();
        for flag in 0..2 {
            encode_record(&BatchRecord { flag, body: b"abc", properties: "a\u{1}b\u{2}" }, &mut body)
                .unwrap();
        }
        body
    }

    #[test]
    fn errors_name_record_and_place() {
        let size = EMPTY_SIZE + 3 + 4;
        let cut = body();
        let outcome: Vec<_> = records(&cut[..cut.len() - 1]).collect();
        assert_eq!(
            outcome[1],
            Err(BatchError { index: 1, at: size, problem: BatchProblem::TooShort("record") })
        );
        assert_eq!(outcome.len(), 2);
        let mut wrong = body();
        wrong[0] = 0x80;
        let problem = BatchProblem::Negative("totalSize");
        assert_eq!(records(&wrong).next().unwrap(), Err(BatchError { index: 0, at: 0, problem }));
        let mut wrong = body();
        wrong[19] = 2;
        assert!(records(&wrong).next().unwrap().is_err());
    }

    #[test]
    fn too_large_properties_are_refused() {
        let properties = "x".repeat(PROPERTIES_SIZE_MAX + 1);
        let record = BatchRecord { flag: 0, body: b"", properties: &properties };
        let mut out = BytesMut::new();
        assert!(matches!(encode_record(&record, &mut out), Err(MessageError::PropertiesTooLong { .. })));
        assert!(out.is_empty());
    }
}
