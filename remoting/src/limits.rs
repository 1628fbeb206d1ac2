//! Every bound of this crate, with its unit and its reason.

/// Largest frame, in bytes, the 4-byte length included.
/// Source: RocketMQ 5.3 NettyDecoder, `com.rocketmq.remoting.frameMaxLength`.
pub const FRAME_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Most entries in the `extFields` of one frame. Real headers carry fewer than forty; the bound keeps the search for
/// duplicates (last one wins) short for hostile input.
pub const EXT_FIELD_COUNT_MAX: usize = 1024;

/// Deepest nesting of objects and arrays in a JSON header or body. The deepest official body has six levels.
pub const JSON_DEPTH_MAX: usize = 64;

/// Most `$ref` links followed while one JSON body is read. Keeps links to links from growing without bound.
pub const JSON_LINK_COUNT_MAX: usize = 1024;

/// Most bytes of text read again because of links, in bytes: a body may follow this many divided by its own size.
pub const JSON_LINKED_SIZE_MAX: usize = 32 * 1024 * 1024;

/// Most memory, in bytes, that the elements of lists and maps take while one JSON body is read, beside its texts. Lists
/// grow by doubling, so that up to twice as much is reserved. A full frame of consumer offsets, the body with the smallest
/// elements, needs about 100 MiB.
pub const JSON_BUILT_SIZE_MAX: usize = 128 * 1024 * 1024;

/// Most tags in one subscription expression.
pub const TAG_COUNT_MAX: usize = 1024;

/// Largest bit set of a batch acknowledgement, in bytes: 65,536 messages of one queue.
pub const ACK_BIT_SET_SIZE_MAX: usize = 8 * 1024;

/// Largest inflated size, in bytes, of a compressed registration body. A topic takes some 60 to 150 bytes there.
pub const REGISTRATION_SIZE_MAX: usize = 32 * 1024 * 1024;

/// Most topics in a compressed registration body.
pub const REGISTRATION_TOPIC_COUNT_MAX: usize = 400_000;

/// Longest property text of one message, in bytes: its length is an int16 in the record.
pub const PROPERTIES_SIZE_MAX: usize = 32_767;

/// Longest topic in bytes under message layout V1, whose length is one signed byte.
pub const TOPIC_SIZE_MAX_V1: usize = 127;

/// Longest topic in bytes that the message layout V2 can hold (int16).
pub const TOPIC_SIZE_MAX_V2: usize = 32_767;

const _: () = assert!(FRAME_SIZE_MAX <= i32::MAX as usize);
const _: () = assert!(FRAME_SIZE_MAX <= u32::MAX as usize);
