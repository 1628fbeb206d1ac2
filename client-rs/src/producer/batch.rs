//! Messages as the records of a batch, and batches that are not too large.

use bytes::BytesMut;
use flotilla_remoting::message::batch::{BatchRecord, encode_record};
use flotilla_remoting::names;
use tokio::time::Instant;

use super::options::Options;
use crate::error::{ClientError, Result};
use crate::message::Message;

/// Bytes of a record around body and properties. Source: `flotilla_remoting::message::batch`.
const RECORD_OVERHEAD: usize = 22;

/// Records that go as one request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: BytesMut,
    pub(super) message_ids: Vec<String>,
    /// When the caller of its oldest message called.
    pub(super) began: Instant,
}

impl Batch {
    pub(super) fn new(began: Instant) -> Batch {
        Batch { records: BytesMut::new(), message_ids: Vec::new(), began }
    }

    /// Claims that a record of so many bytes would make it too large. The first one always fits.
    pub(super) fn is_full_for(&self, record_size: usize, options: &Options) -> bool {
        let count = self.message_ids.len();
        count > 0
            && (count >= options.batch_count_max || self.records.len() + record_size > options.batch_size_max)
    }

    /// Appends a message that was checked and has its unique id.
    ///
    /// # Errors
    /// `Invalid` when it can't be written.
    pub(super) fn push(&mut self, mut message: Message) -> Result<()> {
        let text = message.properties_text();
        let record = BatchRecord { flag: message.get_flag(), body: message.body(), properties: &text };
        encode_record(&record, &mut self.records).map_err(|error| ClientError::Invalid(error.to_string()))?;
        self.message_ids.push(message.take_unique_id());
        Ok(())
    }
}

/// Bytes of a message as a record, once it has its unique id.
pub(super) fn record_size(message: &Message) -> usize {
    RECORD_OVERHEAD + message.body().len() + message.properties_size()
}

/// Refuses what a batch can't hold: its messages share topic, flags and fate.
/// Source: RocketMQ 5.3 MessageBatch.generateFromList.
///
/// # Errors
/// `Invalid`, with the reason.
pub(super) fn check(messages: &[Message]) -> Result<()> {
    let invalid = |reason: String| Err(ClientError::Invalid(reason));
    let Some(first) = messages.first() else { return invalid("the batch is empty".into()) };
    let topic = first.topic();
    if names::is_retry_topic(topic) {
        return invalid(format!("retry topic {topic} takes no batches"));
    }
    for (index, message) in messages.iter().enumerate() {
        if message.topic() != topic {
            return invalid(format!("message {index} is for topic {}, not {topic}", message.topic()));
        }
        if message.is_delayed() {
            return invalid(format!("message {index} is delayed, which messages of a batch can't be"));
        }
    }
    Ok(())
}

/// Cuts messages that have their unique ids into parts that fit, in order. One that is too large alone is a part of its own.
pub(super) fn split(messages: Vec<Message>, options: &Options) -> Vec<Vec<Message>> {
    let mut parts = Vec::new();
    let (mut part, mut size) = (Vec::new(), 0);
    for message in messages {
        let record_size = record_size(&message);
        let is_full = part.len() >= options.batch_count_max || size + record_size > options.batch_size_max;
        if is_full && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += record_size;
        part.push(message);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flotilla_remoting::message::batch::records;

    use super::*;

    fn messages(sizes: &[usize]) -> Vec<Message> {
        let message = |size: &usize| {
            let mut message = Message::new("t", vec![b'x'; *size]);
            message.ensure_unique_id();
            message
        };
        sizes.iter().map(message).collect()
    }

    fn lengths(parts: &[Vec<Message>]) -> Vec<usize> {
        parts.iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_are_cut_by_size_and_by_count() {
        let one = record_size(&messages(&[100])[0]);
        let options = Options { batch_size_max: 3 * one, batch_count_max: 10, ..Options::default() };
        assert_eq!(lengths(&split(messages(&[100; 7]), &options)), [3, 3, 1]);
        assert_eq!(lengths(&split(messages(&[100, 100, 5_000, 100]), &options)), [2, 1, 1]);
        let options = Options { batch_count_max: 2, ..options };
        assert_eq!(lengths(&split(messages(&[100; 5]), &options)), [2, 2, 1]);
        assert_eq!(lengths(&split(messages(&[9_000]), &options)), [1]);
    }

    #[test]
    fn the_size_of_a_record_is_known_beforehand() {
        let mut batch = Batch::new(Instant::now());
        let mut expected = 0;
        for message in messages(&[1, 1_000]) {
            let message = message.property("größe", "日本語");
            expected += record_size(&message);
            batch.push(message).unwrap();
        }
        assert_eq!(batch.records.len(), expected);
        assert_eq!(records(&batch.records).filter(|record| record.is_ok()).count(), 2);
        assert!(batch.message_ids.iter().all(|id| !id.is_empty()));
    }

    #[test]
    fn what_a_batch_cannot_hold_is_refused() {
        let good = || Message::new("t", "b");
        check(&[good(), good()]).unwrap();
        let wrong = [
            vec![],
            vec![good(), Message::new("u", "b")],
            vec![good(), good().delay_level(3)],
            vec![good().deliver_at_ms(5)],
            vec![Message::new("%RETRY%g", "b")],
        ];
        for messages in wrong {
            assert!(matches!(check(&messages), Err(ClientError::Invalid(_))), "{messages:?}");
        }
    }
}
