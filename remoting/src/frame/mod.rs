//! One frame of the remoting protocol, big endian.
//!
//! | offset        | size               | field         | meaning                                        |
//! |--------------:|-------------------:|---------------|------------------------------------------------|
//! |             0 |                  4 | total         | bytes after this field: 4 + header + body       |
//! |             4 |                  1 | serializeType | 0 JSON header, 1 binary header                  |
//! |             5 |                  3 | headerLength  | unsigned                                        |
//! |             8 |       headerLength | header        | see `json.rs` and `binary.rs` of this folder    |
//! | 8 + header    | total - 4 - header | body          | raw bytes; zero length means absent             |
//!
//! An error means that the connection can't be understood any more: the caller closes it without an answer, as the
//! official server does. Decoding a frame allocates at most four times the size of its header plus 64 KiB.
//! Source: RocketMQ 5.3 RemotingCommand, NettyDecoder; vectors of kind `remoting_frame`.

mod binary;
mod json;
mod number;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::code::{RequestCode, ResponseCode};
use crate::ext::ExtFields;
use crate::json::JsonError;
use crate::language::Language;
use crate::version;

pub use crate::limits::FRAME_SIZE_MAX;

/// Bit 0 of `flag`: the frame is a response.
const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of `flag`: nobody waits for an answer, not even for an error.
const FLAG_ONEWAY: i32 = 2;

const LENGTH_SIZE: usize = 4;
const HEADER_LENGTH_SIZE: usize = 4;
/// Largest header: its length has 24 bits.
const HEADER_SIZE_MAX: usize = 0xFF_FFFF;

/// How the header of a frame is written; chosen per frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SerializeType {
    /// 0, `JSON`: what every client reads and what responses use.
    #[default]
    Json,
    /// 1, `ROCKETMQ`: binary; cuts codes to 16 bits and can't tell an empty text from none.
    Rocketmq,
}

/// Header of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Request code or response code, as it came: a binary header may have cut it (see [`Header::request_code`]).
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Protocol version of the sender, see [`crate::version`].
    pub version: i32,
    /// Request id: chosen by the requester, unique per connection while pending, copied into the response. Any i32.
    pub opaque: i32,
    /// Bit 0 response, bit 1 one-way.
    pub flag: i32,
    /// Error text of a response; empty texts are kept in JSON headers only.
    pub remark: Option<String>,
    /// Custom header fields.
    pub ext: ExtFields,
    /// Encoding of this header.
    pub serialize: SerializeType,
}

/// Header and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body; empty means absent.
    pub body: Bytes,
}

/// A stream of bytes that is no sequence of frames. The connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field exceeds the limit or is negative.
    #[error("frame of {size} bytes exceeds the limit of {size_max} bytes")]
    TooLarge {
        /// Announced size in bytes, with the length field.
        size: u64,
        /// Limit in bytes.
        size_max: usize,
    },
    /// Fewer bytes than the fixed part of a frame needs.
    #[error("frame of {size} bytes is too short")]
    TooShort {
        /// Size in bytes, without the length field.
        size: usize,
    },
    /// The header length goes beyond the frame.
    #[error("header of {header_size} bytes goes beyond the frame of {size} bytes")]
    HeaderTooLong {
        /// Announced size of the header in bytes.
        header_size: usize,
        /// Size of the frame in bytes, without the length field.
        size: usize,
    },
    /// The serialize type is neither 0 nor 1.
    #[error("unknown serialize type {0}")]
    SerializeType(u8),
    /// The header holds bytes that are no UTF-8.
    #[error("header text is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset in the header.
        at: usize,
    },
    /// A JSON header that is none.
    #[error("JSON header: {0}")]
    Json(#[from] JsonError),
    /// A binary header that ends early or has a length that goes beyond it.
    #[error("binary header: {field} at byte {at} goes beyond the {size} bytes")]
    Binary {
        /// Which part.
        field: &'static str,
        /// Offset of the part in the header.
        at: usize,
        /// Bytes that it may use.
        size: usize,
    },
    /// More ext fields than [`crate::limits::EXT_FIELD_COUNT_MAX`].
    #[error("more than {max} ext fields at header byte {at}", max = crate::limits::EXT_FIELD_COUNT_MAX)]
    TooManyFields {
        /// Offset in the header.
        at: usize,
    },
}

/// Takes the next whole frame, without its length field, off the front of a receive buffer; `None` when more bytes are
/// needed. Reserves nothing: the caller decides how to read on ([`frame_size`] tells how much is missing).
///
/// # Errors
/// [`FrameError::TooLarge`] or [`FrameError::TooShort`] by the length field alone; the buffer is left as it is.
pub fn split_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    split_frame_with_max(buffer, FRAME_SIZE_MAX)
}

/// [`split_frame`] with another limit, in bytes with the length field.
///
/// # Errors
/// As [`split_frame`].
pub fn split_frame_with_max(buffer: &mut BytesMut, size_max: usize) -> Result<Option<Bytes>, FrameError> {
    match frame_size(buffer, size_max)? {
        Some(size) if buffer.len() >= size => {
            buffer.advance(LENGTH_SIZE);
            Ok(Some(buffer.split_to(size - LENGTH_SIZE).freeze()))
        }
        _ => Ok(None),
    }
}

/// Size in bytes, with the length field, of the frame that starts a buffer; `None` before its four bytes are there.
///
/// # Errors
/// As [`split_frame`].
pub fn frame_size(buffer: &[u8], size_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_SIZE>() else { return Ok(None) };
    let size = u64::from(u32::from_be_bytes(*length)) + LENGTH_SIZE as u64;
    match usize::try_from(size) {
        Ok(size) if size < LENGTH_SIZE + HEADER_LENGTH_SIZE => {
            Err(FrameError::TooShort { size: size - LENGTH_SIZE })
        }
        Ok(size) if size <= size_max => Ok(Some(size)),
        _ => Err(FrameError::TooLarge { size, size_max }),
    }
}

impl Frame {
    /// A request with JSON header and opaque 0; the connection that sends it chooses the opaque.
    pub fn request(code: RequestCode, ext: ExtFields, body: Bytes) -> Frame {
        Frame { header: Header::new(code.as_i32(), 0, ext), body }
    }

    /// A request that wants no answer.
    pub fn oneway_request(code: RequestCode, ext: ExtFields, body: Bytes) -> Frame {
        Frame { header: Header::new(code.as_i32(), FLAG_ONEWAY, ext), body }
    }

    /// A response with JSON header, opaque 0, no fields and no body.
    pub fn response(code: ResponseCode, remark: Option<String>) -> Frame {
        let mut header = Header::new(code.as_i32(), FLAG_RESPONSE, ExtFields::new());
        header.remark = remark;
        Frame { header, body: Bytes::new() }
    }

    /// The response to this request: its opaque, JSON header (which every client reads), no fields, no body.
    pub fn reply(&self, code: ResponseCode, remark: Option<String>) -> Frame {
        let mut reply = Frame::response(code, remark);
        reply.header.opaque = self.header.opaque;
        reply
    }

    /// The successful response to this request with header fields and a body.
    pub fn reply_with(&self, ext: ExtFields, body: Bytes) -> Frame {
        let mut reply = self.reply(ResponseCode::Success, None);
        reply.header.ext = ext;
        reply.body = body;
        reply
    }

    /// Claims that this frame answers a request.
    pub fn is_response(&self) -> bool {
        self.header.flag & FLAG_RESPONSE != 0
    }

    /// Claims that nobody waits for an answer.
    pub fn is_oneway(&self) -> bool {
        self.header.flag & FLAG_ONEWAY != 0
    }

    /// Decodes a frame from the bytes after its length field. The body is a slice of them.
    ///
    /// # Errors
    /// Says what was wrong and at which byte of the header; the connection must be closed.
    pub fn decode(bytes: Bytes) -> Result<Frame, FrameError> {
        let Some(word) = bytes.first_chunk::<HEADER_LENGTH_SIZE>() else {
            return Err(FrameError::TooShort { size: bytes.len() });
        };
        let header_size = (u32::from_be_bytes(*word) & HEADER_SIZE_MAX as u32) as usize;
        let serialize = match word[0] {
            0 => SerializeType::Json,
            1 => SerializeType::Rocketmq,
            other => return Err(FrameError::SerializeType(other)),
        };
        let header_end = HEADER_LENGTH_SIZE + header_size;
        let Some(head) = bytes.get(HEADER_LENGTH_SIZE..header_end) else {
            return Err(FrameError::HeaderTooLong { header_size, size: bytes.len() });
        };
        let header = match serialize {
            SerializeType::Json => json::decode(head)?,
            SerializeType::Rocketmq => binary::decode(head)?,
        };
        // An empty slice would keep the whole receive buffer alive.
        let body = if header_end == bytes.len() { Bytes::new() } else { bytes.slice(header_end..) };
        Ok(Frame { header, body })
    }

    /// Appends length, header length and header; the body goes out separately, right behind.
    ///
    /// A header beyond 16 MiB can't be sent (a decoded one may grow when its control characters are escaped again): it
    /// goes out without ext fields and with a remark that says so, and the receiver answers that fields are missing.
    ///
    /// # Panics
    /// When the body exceeds 4 GiB: the caller has built a frame that nobody reads.
    pub fn encode_head(&self, out: &mut BytesMut) {
        self.encode_head_for_body(out, self.body.len());
    }

    /// [`Frame::encode_head`] for a body of so many bytes that is held elsewhere, as slices of the log for instance.
    ///
    /// # Panics
    /// As [`Frame::encode_head`].
    pub fn encode_head_for_body(&self, out: &mut BytesMut, body_size: usize) {
        let start = out.len();
        out.put_u64(0);
        let mut header_size = self.header.encode(out);
        if header_size > HEADER_SIZE_MAX {
            out.truncate(start + LENGTH_SIZE + HEADER_LENGTH_SIZE);
            let remark = Some("header too large".to_owned());
            header_size = Header { remark, ext: ExtFields::new(), ..self.header.clone() }.encode(out);
        }
        let total = u32::try_from(HEADER_LENGTH_SIZE + header_size + body_size).expect("frame fits 32 bits");
        let kind = match self.header.serialize {
            SerializeType::Json => 0,
            SerializeType::Rocketmq => 1_u32,
        };
        out[start..start + 4].copy_from_slice(&total.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&(kind << 24 | header_size as u32).to_be_bytes());
    }

    /// The whole frame in one piece, with its length field.
    ///
    /// # Panics
    /// As [`Frame::encode_head`].
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.body.len());
        self.encode_head(&mut out);
        out.extend_from_slice(&self.body);
        out.freeze()
    }
}

impl Header {
    /// A JSON header of our own version. Language is JAVA: it is the one that every client release can name.
    pub fn new(code: i32, flag: i32, ext: ExtFields) -> Header {
        Header {
            code,
            language: Language::Java,
            version: version::CURRENT,
            opaque: 0,
            flag,
            remark: None,
            ext,
            serialize: SerializeType::Json,
        }
    }

    /// Appends the header and gives its size in bytes.
    fn encode(&self, out: &mut BytesMut) -> usize {
        let start = out.len();
        match self.serialize {
            SerializeType::Json => json::encode(self, out),
            SerializeType::Rocketmq => binary::encode(self, out),
        }
        out.len() - start
    }

    /// The request code; undoes the cut to 16 bits of a binary header (200050 arrives as 3442).
    pub fn request_code(&self) -> RequestCode {
        match self.serialize {
            SerializeType::Json => RequestCode::from_i32(self.code),
            SerializeType::Rocketmq => RequestCode::from_binary_header(self.code),
        }
    }

    /// The response code.
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode::from_i32(self.code)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
