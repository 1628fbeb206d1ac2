//! Registration of a broker at a name server (103), plain JSON or compressed.
//!
//! The compressed form is one zlib stream over, big endian:
//!
//! | part                                                                   |
//! |------------------------------------------------------------------------|
//! | length (4), data version as JSON                                       |
//! | number of topics (4), per topic length (4) and line                    |
//! | length (4), list of filter servers as JSON                             |
//! | from 5.0.0 on: number of mappings (4), per mapping length (4) and JSON |
//!
//! System flag and order of topics are lost in it. Inflating stops at [`REGISTRATION_SIZE_MAX`].
//! Source: RocketMQ 5.3 RegisterBrokerBody; vector `register_broker_body_compressed`.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::topic::{TopicConfig, TopicConfigWrapper, TopicLineError};
use super::{body, decode, encode};
use crate::json::{self, JsonError};
use crate::limits::{REGISTRATION_SIZE_MAX, REGISTRATION_TOPIC_COUNT_MAX};
use crate::version;

body! {
    /// Body of REGISTER_BROKER (103).
    pub struct RegisterBrokerBody {
        /// Filter servers, used no more.
        pub filter_server_list: Vec<String>,
        /// All topics.
        pub topic_config_serialize_wrapper: TopicConfigWrapper,
    }
}

/// A registration body that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterBodyError {
    /// The plain form is no such JSON.
    #[error("registration body: {0}")]
    Json(#[from] JsonError),
    /// The stream is no zlib.
    #[error("registration body: zlib stream is broken: {0}")]
    Inflate(String),
    /// More inflated bytes than [`REGISTRATION_SIZE_MAX`].
    #[error("registration body inflates beyond {REGISTRATION_SIZE_MAX} bytes")]
    TooLarge,
    /// More topics than [`REGISTRATION_TOPIC_COUNT_MAX`].
    #[error("registration body has {0} topics, the limit is {REGISTRATION_TOPIC_COUNT_MAX}")]
    TooManyTopics(usize),
    /// A part goes beyond the inflated bytes.
    #[error("inflated registration body: {part} at byte {at} goes beyond the {size} bytes")]
    TooShort {
        /// The part.
        part: &'static str,
        /// Offset in the inflated bytes.
        at: usize,
        /// Inflated size in bytes.
        size: usize,
    },
    /// A part is no UTF-8.
    #[error("inflated registration body: {part} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// The part.
        part: &'static str,
        /// Offset in the inflated bytes.
        at: usize,
    },
    /// A part is no such JSON.
    #[error("inflated registration body: {part}: {error}")]
    Part {
        /// The part.
        part: &'static str,
        /// What is wrong in it.
        error: JsonError,
    },
    /// A topic line can't be read.
    #[error("inflated registration body at byte {at}: {error}")]
    Topic {
        /// Offset of the line in the inflated bytes.
        at: usize,
        /// What is wrong in it.
        error: TopicLineError,
    },
}

impl RegisterBrokerBody {
    /// Reads a body; `compressed` comes from the header, `version` is the sender's.
    ///
    /// # Errors
    /// What was wrong and where; answer SYSTEM_ERROR.
    pub fn decode(
        bytes: &[u8],
        compressed: bool,
        version: i32,
    ) -> Result<RegisterBrokerBody, RegisterBodyError> {
        if compressed { registration_of_inflated(&inflate(bytes)?, version) } else { Ok(decode(bytes)?) }
    }

    /// Writes the plain form.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Writes the compressed form for a name server of our own version.
    pub fn encode_compressed(&self) -> Bytes {
        deflate(&self.uncompressed_parts())
    }

    /// The bytes under the compression, by which two compressed bodies can be compared.
    pub fn uncompressed_parts(&self) -> Bytes {
        let wrapper = &self.topic_config_serialize_wrapper;
        let mut out = BytesMut::with_capacity(1024);
        put_part(&mut out, &json::to_vec(&wrapper.data_version));
        put_size(&mut out, wrapper.topic_config_table.len());
        for topic in wrapper.topic_config_table.values() {
            put_part(&mut out, topic.to_line().as_bytes());
        }
        put_part(&mut out, &json::to_vec(&self.filter_server_list));
        put_size(&mut out, wrapper.topic_queue_mapping_info_map.len());
        for mapping in wrapper.topic_queue_mapping_info_map.values() {
            put_part(&mut out, &json::to_vec(mapping));
        }
        out.freeze()
    }
}

fn put_size(out: &mut BytesMut, size: usize) {
    out.put_u32(u32::try_from(size).expect("a registration is far below 4 GiB"));
}

fn put_part(out: &mut BytesMut, part: &[u8]) {
    put_size(out, part.len());
    out.put_slice(part);
}

fn deflate(bytes: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to a Vec does not fail.
    encoder.write_all(bytes).expect("a vector takes every byte");
    encoder.finish().expect("a vector takes every byte").into()
}

/// Undoes a registration's zlib stream within [`REGISTRATION_SIZE_MAX`].
///
/// # Errors
/// [`RegisterBodyError::Inflate`] or [`RegisterBodyError::TooLarge`].
pub fn inflate(bytes: &[u8]) -> Result<Vec<u8>, RegisterBodyError> {
    let mut out = Vec::new();
    let limit = REGISTRATION_SIZE_MAX as u64 + 1;
    ZlibDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|error| RegisterBodyError::Inflate(error.to_string()))?;
    if out.len() > REGISTRATION_SIZE_MAX { Err(RegisterBodyError::TooLarge) } else { Ok(out) }
}

/// Cursor over the inflated parts.
struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn take(&mut self, size: usize, part: &'static str) -> Result<&'a [u8], RegisterBodyError> {
        let at = self.at;
        match at.checked_add(size).and_then(|end| self.bytes.get(at..end)) {
            Some(taken) => {
                self.at += size;
                Ok(taken)
            }
            None => Err(RegisterBodyError::TooShort { part, at, size: self.bytes.len() }),
        }
    }

    /// A count or length; a negative one goes beyond every body.
    fn size(&mut self, part: &'static str) -> Result<usize, RegisterBodyError> {
        let mut size = [0; 4];
        size.copy_from_slice(self.take(4, part)?);
        Ok(usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX))
    }

    fn part(&mut self, part: &'static str) -> Result<&'a [u8], RegisterBodyError> {
        let size = self.size(part)?;
        self.take(size, part)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, part: &'static str) -> Result<T, RegisterBodyError> {
        decode(self.part(part)?).map_err(|error| RegisterBodyError::Part { part, error })
    }
}

/// Reads the bytes under the compression; `version` is the sender's.
///
/// # Errors
/// As [`RegisterBrokerBody::decode`].
pub fn registration_of_inflated(bytes: &[u8], version: i32) -> Result<RegisterBrokerBody, RegisterBodyError> {
    let mut parts = Parts { bytes, at: 0 };
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version = parts.json("data version")?;
    let topic_count = parts.size("number of topics")?;
    if topic_count > REGISTRATION_TOPIC_COUNT_MAX {
        return Err(RegisterBodyError::TooManyTopics(topic_count));
    }
    for _ in 0..topic_count {
        let at = parts.at;
        let line = std::str::from_utf8(parts.part("topic")?)
            .map_err(|_| RegisterBodyError::NotUtf8 { part: "topic", at })?;
        let topic = TopicConfig::from_line(line).map_err(|error| RegisterBodyError::Topic { at, error })?;
        wrapper.topic_config_table.insert(topic.topic_name.clone(), topic);
    }
    body.filter_server_list = parts.json("filter servers")?;
    if version >= version::QUEUE_MAPPINGS && parts.at < bytes.len() {
        let wrapper = &mut body.topic_config_serialize_wrapper;
        for _ in 0..parts.size("number of mappings")? {
            let mapping: super::TopicQueueMappingInfo = parts.json("mapping")?;
            wrapper.topic_queue_mapping_info_map.insert(mapping.topic.clone(), mapping);
        }
    }
    Ok(body)
}
