//! Messages as a pull or a view by id gives them.

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::message::{self, OffsetMessageId};

/// A stored message, taken out of an answer.
#[derive(Clone, Debug)]
pub struct Stored {
    pub topic: String,
    pub queue: i32,
    pub offset: i64,
    /// Log position.
    pub position: i64,
    pub store_time: i64,
    pub born_time: i64,
    pub reconsume_times: i32,
    pub flag: i32,
    pub properties: String,
    pub body: Bytes,
    pub id: OffsetMessageId,
}

impl Stored {
    /// Value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        message::properties::get(&self.properties, name)
    }

    /// The body up to its first line feed: the name that the load gives to each attempt.
    pub fn key(&self) -> String {
        let end = self.body.iter().position(|byte| *byte == b'\n').unwrap_or(self.body.len());
        String::from_utf8_lossy(&self.body[..end]).into_owned()
    }
}

/// All records of an answer's body; a damaged one is an error.
pub fn decode(body: &Bytes) -> anyhow::Result<Vec<Stored>> {
    message::messages(body)
        .map(|view| {
            let view = view.context("record in an answer")?;
            ensure!(view.body_is_intact(), "body CRC of {} is wrong", view.offset_message_id());
            Ok(Stored {
                topic: view.topic().to_owned(),
                queue: view.queue_id(),
                offset: view.queue_offset(),
                position: view.physical_offset(),
                store_time: view.store_timestamp(),
                born_time: view.born_timestamp(),
                reconsume_times: view.reconsume_times(),
                flag: view.flag(),
                properties: view.properties().to_owned(),
                body: body.slice_ref(view.body()),
                id: view.offset_message_id(),
            })
        })
        .collect()
}
