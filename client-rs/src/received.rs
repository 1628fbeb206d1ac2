//! A message that came from a broker.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_remoting::bodies::MessageQueue;
use flotilla_remoting::message::{LayoutError, MessageView, SysFlag, properties};

use crate::compression::decompress;

/// A message that came from a broker. Cloning is cheap: the bytes are shared with the answer that brought it.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    queue: Arc<MessageQueue>,
    body: Bytes,
    properties: Bytes,
    queue_offset: i64,
    physical_offset: i64,
    born_timestamp: i64,
    store_timestamp: i64,
    born_host: SocketAddr,
    store_host: SocketAddr,
    flag: i32,
    sys_flag: SysFlag,
    reconsume_times: i32,
}

impl ReceivedMessage {
    /// Reads a record; `source` holds its bytes, so that the body is not copied. A body that can't be decompressed stays as
    /// it is, as official clients do, with a warning.
    pub(crate) fn new(queue: &Arc<MessageQueue>, source: &Bytes, view: &MessageView<'_>) -> ReceivedMessage {
        let sys_flag = view.sys_flag();
        let mut body = slice(source, view.body());
        if let Some(compression) = sys_flag.compression() {
            match decompress(&body, compression) {
                Ok(plain) => body = plain,
                Err(reason) => tracing::warn!(
                    topic = view.topic(),
                    queue_offset = view.queue_offset(),
                    reason,
                    "body can't be decompressed: passed on as it is"
                ),
            }
        }
        // A queue of another name: a message from a retry topic, or one that was looked up.
        let same = view.topic() == queue.topic && view.queue_id() == queue.queue_id;
        let queue = if same {
            queue.clone()
        } else {
            Arc::new(MessageQueue {
                topic: view.topic().to_owned(),
                queue_id: view.queue_id(),
                broker_name: queue.broker_name.clone(),
            })
        };
        ReceivedMessage {
            queue,
            body,
            properties: slice(source, view.properties().as_bytes()),
            queue_offset: view.queue_offset(),
            physical_offset: view.physical_offset(),
            born_timestamp: view.born_timestamp(),
            store_timestamp: view.store_timestamp(),
            born_host: view.born_host(),
            store_host: view.store_host(),
            flag: view.flag(),
            sys_flag,
            reconsume_times: view.reconsume_times(),
        }
    }

    /// All messages of an answer to a pull, in order; `queue` is the one that was asked.
    ///
    /// # Errors
    /// Where the bytes are no record.
    pub fn all(queue: &Arc<MessageQueue>, body: &Bytes) -> Result<Vec<ReceivedMessage>, LayoutError> {
        flotilla_remoting::message::messages(body)
            .map(|view| Ok(ReceivedMessage::new(queue, body, &view?)))
            .collect()
    }

    /// Topic. Of a message that is delivered again: the one it was sent to.
    pub fn topic(&self) -> &str {
        self.property(properties::RETRY_TOPIC).unwrap_or(&self.queue.topic)
    }

    /// Queue that the message came from; of one that is delivered again a queue of the group's retry topic.
    pub fn queue(&self) -> &Arc<MessageQueue> {
        &self.queue
    }

    /// Body, decompressed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Number of the message in its queue.
    pub fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// Position in the broker's log, in bytes.
    pub fn physical_offset(&self) -> i64 {
        self.physical_offset
    }

    /// When the producer made it, in ms since 1970.
    pub fn born_timestamp(&self) -> i64 {
        self.born_timestamp
    }

    /// When the broker stored it, in ms since 1970.
    pub fn store_timestamp(&self) -> i64 {
        self.store_timestamp
    }

    /// Address of the producer.
    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }

    /// Address of the broker that stored it.
    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }

    /// Opaque flag of the application.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    /// Flags of the system, as stored.
    pub fn sys_flag(&self) -> SysFlag {
        self.sys_flag
    }

    /// How often it was consumed in vain.
    pub fn reconsume_times(&self) -> i32 {
        self.reconsume_times
    }

    /// All properties, those of the system too.
    pub fn properties(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        properties::iter(self.properties_text())
    }

    /// Value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(self.properties_text(), name)
    }

    /// Tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(properties::TAGS)
    }

    /// Keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(properties::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// Unique id that the producer gave it; without one the id by store host and position.
    pub fn message_id(&self) -> String {
        self.property(properties::UNIQUE_KEY).map_or_else(|| self.offset_message_id(), str::to_owned)
    }

    /// Id by store host and position: what `view message by id` takes.
    pub fn offset_message_id(&self) -> String {
        let (host, physical_offset) = (self.store_host, self.physical_offset);
        flotilla_remoting::message::OffsetMessageId { host, physical_offset }.to_string()
    }

    /// The property text of the wire.
    pub(crate) fn properties_text(&self) -> &str {
        std::str::from_utf8(&self.properties).expect("checked when the record was read")
    }

    /// Sets the number of vain attempts, for consumers that count by themselves.
    pub(crate) fn set_reconsume_times(&mut self, times: i32) {
        self.reconsume_times = times;
    }
}

/// A part of `source` as bytes of its own count, without a copy.
fn slice(source: &Bytes, part: &[u8]) -> Bytes {
    // `slice_ref` of nothing would point anywhere.
    if part.is_empty() { Bytes::new() } else { source.slice_ref(part) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use bytes::BytesMut;
    use flotilla_remoting::message::{LayoutVersion, StoredMessage, encode_stored};

    use super::*;

    /// A message of queue 0 of topic `t` at broker `b`, for tests.
    pub(crate) fn message(queue_offset: i64, body_size: usize) -> ReceivedMessage {
        let host = SocketAddr::from(([127, 0, 0, 1], 10911));
        ReceivedMessage {
            queue: Arc::new(MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: 0 }),
            body: vec![b'x'; body_size].into(),
            properties: Bytes::new(),
            queue_offset,
            physical_offset: 0,
            born_timestamp: 0,
            store_timestamp: 0,
            born_host: host,
            store_host: host,
            flag: 0,
            sys_flag: SysFlag(0),
            reconsume_times: 0,
        }
    }

    /// A message as brokers store and send it, for tests.
    pub(crate) fn record(topic: &str, queue_id: i32, queue_offset: i64, properties: &str) -> Vec<u8> {
        let host = "127.0.0.1:10911".parse().unwrap();
        let message = StoredMessage {
            topic,
            queue_id,
            flag: 0,
            sys_flag: SysFlag(0),
            queue_offset,
            physical_offset: queue_offset * 100,
            born_timestamp: 1,
            born_host: host,
            store_timestamp: 2,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties,
            added_properties: &[],
            layout: LayoutVersion::Auto,
            with_property_crc: false,
        };
        let mut bytes = BytesMut::new();
        encode_stored(&message, &mut bytes).unwrap();
        bytes.to_vec()
    }
}
