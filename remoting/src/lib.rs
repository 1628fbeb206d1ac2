//! The wire contract of the RocketMQ remoting protocol: frames, codes, headers, bodies, the message layout,
//! properties, ids and names.
//!
//! Pure: no socket, file, clock, task or randomness; whoever needs a time or a random number hands it in. Decoding
//! borrows from the received bytes, never panics, never allocates beyond the limits of [`limits`], and an error says
//! what was wrong and where.
//!
//! | module      | subject                                                                   |
//! |-------------|---------------------------------------------------------------------------|
//! | [`frame`]   | one frame: length, header (JSON or binary), body; splitting a byte stream  |
//! | [`ext`]     | the `extFields` map of a header                                           |
//! | [`code`]    | request and response codes                                                |
//! | [`headers`] | the typed header of each code                                             |
//! | [`bodies`]  | JSON bodies in the dialect of the Java library, compressed registration   |
//! | [`json`]    | reader and writer of that dialect                                         |
//! | [`message`] | the stored message, properties, tags, ids, batches                        |
//! | [`names`]   | topic and group names                                                     |
//! | [`pop`]     | receipt handles and offset lists of pop consumption, recall handles       |
//! | [`acl`]     | what a request's signature covers                                         |
//! | [`base64`]  | signatures, bit sets, recall handles                                       |
//! | [`trace`]   | records of message traces                                                 |
//! | [`fuzzing`] | one entry per decoder for fuzzers                                         |
//! | [`version`] | protocol version numbers                                                  |
//!
//! What a code means and when it is sent is the business of the crates above.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod acl;
pub mod base64;
pub mod bodies;
pub mod code;
pub mod ext;
pub mod frame;
pub mod fuzzing;
pub mod headers;
pub mod json;
pub mod language;
pub mod limits;
pub mod message;
pub mod names;
pub mod pop;
pub mod trace;
pub mod version;

pub use code::{RequestCode, ResponseCode};
pub use ext::ExtFields;
pub use frame::{FRAME_SIZE_MAX, Frame, FrameError, Header, SerializeType, split_frame};
pub use headers::HeaderError;
pub use language::Language;
