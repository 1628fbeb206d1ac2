//! Answers to sends, written when their entry has been applied.

use std::net::SocketAddr;
use std::time::Instant;

use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::SendMessageResponse;
use flotilla_remoting::message::OffsetMessageId;

use crate::call::Call;
use crate::group::machine::Place;
use crate::group::work::SendWork;
use crate::metrics::{Cause, Metrics};

/// Writes answers to sends. Runs on the Raft thread, so it only formats and queues.
pub struct SendAnswers {
    pub store_host: SocketAddr,
    pub region: String,
    pub trace_on: bool,
    pub metrics: Metrics,
}

impl SendAnswers {
    /// Answers all sends of an entry; `places` has one element per message, in order.
    pub fn stored(&self, sends: Vec<SendWork>, places: &[Place]) {
        let now = Instant::now();
        let mut places = places.iter();
        for send in sends {
            let count = send.messages.count();
            let Some(first) = places.as_slice().first().copied() else {
                unreachable!("apply answers each message of its entry");
            };
            let message_id = if count == 1 {
                self.id(first)
            } else {
                let ids = places.as_slice()[..count].iter().map(|place| self.id(*place));
                ids.collect::<Vec<_>>().join(",")
            };
            places = places.as_slice()[count..].iter();
            let took = now.saturating_duration_since(send.call.reply.since());
            self.metrics.put_times().count(took);
            send.series.answered(send.queue_id, took);
            self.answer(send, message_id, first.queue_offset);
        }
        assert!(places.as_slice().is_empty(), "each message of an entry belongs to a send");
    }

    fn id(&self, place: Place) -> String {
        OffsetMessageId { host: self.store_host, physical_offset: place.physical_offset }.to_string()
    }

    fn answer(&self, send: SendWork, message_id: String, queue_offset: i64) {
        let header = SendMessageResponse {
            message_id: &message_id,
            queue_id: i32::try_from(send.queue_id).unwrap_or(i32::MAX),
            queue_offset,
            transaction_id: send.unique_id.as_deref(),
            batch_unique_id: None,
            recall_handle: None,
        };
        let mut ext = header.encode();
        ext.insert("MSG_REGION", &self.region);
        ext.insert("TRACE_ON", if self.trace_on { "true" } else { "false" });
        let mut response = send.call.request.reply(ResponseCode::Success, None);
        response.header.ext = ext;
        send.call.reply.send(response);
    }

    /// Refuses a send because too much is in flight. Nothing was stored.
    pub fn busy(&self, call: Call) {
        self.metrics.rejected(Cause::Busy);
        call.refuse(ResponseCode::SystemBusy, "[OVERLOAD]system busy, too many bytes in flight");
    }

    /// Refuses messages that do not fit into one entry of the log.
    pub fn too_large(&self, call: Call) {
        self.metrics.rejected(Cause::TooLarge);
        call.refuse(ResponseCode::MessageIllegal, "the message does not fit into a segment of the log");
    }

    /// Tells that it is not known whether the messages were stored. Clients that retry may store them twice, as with any
    /// RocketMQ broker that dies between storing and answering.
    pub fn unknown(&self, call: Call) {
        self.metrics.unknown_outcome();
        call.refuse(
            ResponseCode::ServiceNotAvailable,
            "leadership changed while the message was being stored: the outcome is not known",
        );
    }
}
