//! Payload of an application entry: commands first, then messages, taking effect together or not at all.
//!
//! | offset | size | field         | meaning                                            |
//! |-------:|-----:|---------------|----------------------------------------------------|
//! |      0 |    4 | commands size | little endian, bytes of the commands               |
//! |      4 |    n | commands      | back to back, layout in `command`                  |
//! |    4+n |      | messages      | back to back in the stored layout, big endian      |
//!
//! A batch of sends has no commands, so its first message begins at byte 4.

use bytes::{BufMut, BytesMut};

use crate::codec::CodecError;
use crate::command::Command;
use crate::message::{MessageError, MessageReason, MessageShape};

/// Bytes before the commands.
pub const PAYLOAD_HEADER_SIZE: usize = 4;

/// Why bytes are not a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("payload of {0} bytes is shorter than its header says")]
    Truncated(usize),
    #[error(transparent)]
    Command(#[from] CodecError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// The two parts of a payload, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    pub commands: &'a [u8],
    pub messages: &'a [u8],
    /// Where the messages begin inside the payload.
    pub messages_at: usize,
}

impl<'a> Payload<'a> {
    /// Cuts the parts without looking into them.
    ///
    /// # Errors
    /// When the header is missing or claims more commands than there are bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let truncated = || PayloadError::Truncated(bytes.len());
        let (head, rest) = bytes.split_first_chunk::<PAYLOAD_HEADER_SIZE>().ok_or_else(truncated)?;
        let commands_size = u32::from_le_bytes(*head) as usize;
        let (commands, messages) = rest.split_at_checked(commands_size).ok_or_else(truncated)?;
        Ok(Self { commands, messages, messages_at: PAYLOAD_HEADER_SIZE + commands_size })
    }
}

/// Collects commands and messages into one payload with room for the log's record header before it.
///
/// The usual payload has messages only; they are copied once, into their final place. Commands may come at any time: they are
/// kept aside, and only then the messages move once more.
#[derive(Debug)]
pub struct PayloadBuilder {
    head_room: usize,
    commands: Vec<u8>,
    command_count: usize,
    bytes: BytesMut,
}

impl PayloadBuilder {
    /// `head_room` bytes of zeros come before the payload; `capacity` is the expected size of the messages.
    pub fn new(head_room: usize, capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(head_room + PAYLOAD_HEADER_SIZE + capacity);
        bytes.put_bytes(0, head_room + PAYLOAD_HEADER_SIZE);
        Self { head_room, commands: Vec::new(), command_count: 0, bytes }
    }

    pub fn push_command(&mut self, command: &Command) {
        command.encode_framed(&mut self.commands);
        self.command_count += 1;
    }

    /// Appends one message in the stored layout.
    ///
    /// # Errors
    /// When the bytes are not exactly one valid message; nothing is added then. This check is what lets stamping and applying
    /// treat a bad message as a bug of ours.
    pub fn push_message(&mut self, message: &[u8]) -> Result<(), MessageError> {
        let offset = self.messages_size();
        let shape = MessageShape::parse(message).map_err(|reason| MessageError { offset, reason })?;
        if shape.size as usize != message.len() {
            return Err(MessageError { offset, reason: MessageReason::Size(shape.size) });
        }
        if std::str::from_utf8(shape.topic(message)).is_err() {
            return Err(MessageError { offset, reason: MessageReason::Topic });
        }
        self.bytes.put_slice(message);
        Ok(())
    }

    /// The buffer behind everything so far, for an encoder that writes messages straight into their final place. It must only
    /// append, and only whole messages in the stored layout with queue ids within the limits: stamping finds anything else,
    /// and that stops the node.
    pub fn messages(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub fn command_count(&self) -> usize {
        self.command_count
    }

    pub fn is_empty(&self) -> bool {
        self.command_count == 0 && self.messages_size() == 0
    }

    /// Size of the payload so far, without head room.
    pub fn size(&self) -> usize {
        PAYLOAD_HEADER_SIZE + self.commands.len() + self.messages_size()
    }

    fn messages_size(&self) -> usize {
        self.bytes.len() - self.head_room - PAYLOAD_HEADER_SIZE
    }

    /// Head room and payload in one piece.
    pub fn finish(mut self) -> BytesMut {
        if !self.commands.is_empty() {
            let messages_at = self.head_room + PAYLOAD_HEADER_SIZE;
            let mut whole = BytesMut::with_capacity(self.bytes.len() + self.commands.len());
            whole.put_slice(&self.bytes[..messages_at]);
            whole.put_slice(&self.commands);
            whole.put_slice(&self.bytes[messages_at..]);
            self.bytes = whole;
        }
        let commands_size = u32::try_from(self.commands.len()).expect("a payload is far below 4 GiB");
        self.bytes[self.head_room..self.head_room + PAYLOAD_HEADER_SIZE]
            .copy_from_slice(&commands_size.to_le_bytes());
        self.bytes
    }
}
