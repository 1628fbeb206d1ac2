//! From a checked message to the bytes that are stored. Source: message.md 1 and 4; SendMessageProcessor 5.3.3.

use std::net::SocketAddr;

use bytes::BytesMut;
use flotilla_remoting::message::properties;
use flotilla_remoting::message::{
    LayoutVersion, MessageError, MessageView, StoredMessage, SysFlag, encode_stored, encoded_size,
};

use super::work::{NewMessage, SendWork};

/// What this node adds to each message that it stores. Cheap to clone compared with what it is used for.
#[derive(Clone, Debug)]
pub struct Encoder {
    store_host: SocketAddr,
    region: String,
    trace_on: &'static str,
    cluster: String,
}

impl Encoder {
    /// `store_host` is the address that clients reach this node under: tools decode it out of message ids.
    pub fn new(store_host: SocketAddr, region: &str, trace_on: bool, cluster: &str) -> Self {
        let trace_on = if trace_on { "true" } else { "false" };
        Self { store_host, region: region.to_owned(), trace_on, cluster: cluster.to_owned() }
    }

    /// Bytes that a message takes in the log.
    ///
    /// # Errors
    /// Something in it is longer than the layout can say.
    pub fn size(&self, topic: &str, message: &NewMessage) -> Result<usize, MessageError> {
        let added = self.added();
        encoded_size(&self.stored(topic, 0, message, of(message, &added)))
    }

    /// Writes all messages of a send. Offsets and store time are zero until the entry is stamped.
    pub fn encode(&self, send: &SendWork, out: &mut BytesMut) {
        let added = self.added();
        let queue_id = i32::try_from(send.queue_id).unwrap_or(i32::MAX);
        for message in send.messages.as_slice() {
            let stored = self.stored(&send.topic, queue_id, message, of(message, &added));
            let size =
                encode_stored(&stored, out).expect("the handler has computed the size of the same message");
            debug_assert_eq!(size, message.size);
        }
    }

    /// Writes a message that was stored before once more, for another queue: a new id, and otherwise what it was.
    ///
    /// # Errors
    /// The topic does not fit the layout.
    // Source: RocketMQ 5.3 ScheduleMessageService#messageTimeUp; the store host is this node's, not the first one's, because the
    // new id is to lead to a replica that is alive.
    pub fn encode_again(
        &self,
        message: &MessageView<'_>,
        topic: &str,
        queue_id: u32,
        out: &mut BytesMut,
    ) -> Result<usize, MessageError> {
        let stored = StoredMessage {
            topic,
            queue_id: i32::try_from(queue_id).unwrap_or(i32::MAX),
            flag: message.flag(),
            sys_flag: message.sys_flag(),
            queue_offset: 0,
            physical_offset: 0,
            born_timestamp: message.born_timestamp(),
            born_host: message.born_host(),
            store_timestamp: 0,
            store_host: self.store_host,
            reconsume_times: message.reconsume_times(),
            prepared_transaction_offset: 0,
            body: message.body(),
            properties: message.properties(),
            added_properties: &[],
            layout: LayoutVersion::Auto,
            with_property_crc: false,
        };
        encode_stored(&stored, out)
    }

    fn added(&self) -> [(&str, &str); 3] {
        [
            (properties::MESSAGE_REGION, &self.region),
            (properties::TRACE_ON, self.trace_on),
            (properties::CLUSTER, &self.cluster),
        ]
    }

    fn stored<'a>(
        &self,
        topic: &'a str,
        queue_id: i32,
        message: &'a NewMessage,
        added: &'a [(&'a str, &'a str)],
    ) -> StoredMessage<'a> {
        StoredMessage {
            topic,
            queue_id,
            flag: message.flag,
            sys_flag: SysFlag(message.sys_flag),
            queue_offset: 0,
            physical_offset: 0,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            store_timestamp: 0,
            store_host: self.store_host,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: 0,
            body: &message.body,
            properties: &message.properties,
            added_properties: added,
            layout: LayoutVersion::Auto,
            with_property_crc: false,
        }
    }
}

/// What is added to a message: nothing to one that has it.
fn of<'a>(message: &NewMessage, added: &'a [(&'a str, &'a str)]) -> &'a [(&'a str, &'a str)] {
    if message.complete { &[] } else { added }
}
