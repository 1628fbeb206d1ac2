//! Answers to sends, written when their entry has been applied.

use std::net::SocketAddr;
use std::time::Instant;

use flotilla_remoting::code::{OUTCOME_UNKNOWN, ResponseCode};
use flotilla_remoting::headers::SendMessageResponse;
use flotilla_remoting::message::OffsetMessageId;

use crate::call::Call;
use crate::group::machine::Place;
use crate::group::work::{SendAnswer, SendWork};
use crate::handlers::respond::done;
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
            if let Some(dead_letters) = &send.dead_letter {
                dead_letters.stored(matches!(send.answer, SendAnswer::TakenBack { .. }));
            }
            match send.answer {
                SendAnswer::Sent { queue_id, unique_id } => {
                    self.answer(send.call, queue_id, unique_id, message_id, first.queue_offset);
                }
                SendAnswer::TakenBack { group } => {
                    group.sent_back();
                    done(send.call);
                }
            }
        }
        assert!(places.as_slice().is_empty(), "each message of an entry belongs to a send");
    }

    fn id(&self, place: Place) -> String {
        OffsetMessageId { host: self.store_host, physical_offset: place.physical_offset }.to_string()
    }

    fn answer(
        &self,
        call: Call,
        queue_id: u32,
        unique_id: Option<String>,
        message_id: String,
        queue_offset: i64,
    ) {
        let header = SendMessageResponse {
            message_id: &message_id,
            queue_id: i32::try_from(queue_id).unwrap_or(i32::MAX),
            queue_offset,
            transaction_id: unique_id.as_deref(),
            batch_unique_id: None,
            recall_handle: None,
        };
        let mut ext = header.encode();
        ext.insert("MSG_REGION", &self.region);
        ext.insert("TRACE_ON", if self.trace_on { "true" } else { "false" });
        let mut response = call.request.reply(ResponseCode::Success, None);
        response.header.ext = ext;
        call.reply.send(response);
    }

    /// Refuses a send because too much is in flight. Nothing was stored.
    pub fn busy(&self, send: SendWork) {
        self.metrics.rejected(Cause::Busy);
        let remark = "[OVERLOAD]system busy, too many bytes in flight";
        refuse(send, ResponseCode::SystemBusy, remark, "OS_PAGE_CACHE_BUSY");
    }

    /// Refuses messages that do not fit into one entry of the log.
    pub fn too_large(&self, send: SendWork) {
        self.metrics.rejected(Cause::TooLarge);
        let remark = "the message does not fit into a segment of the log";
        refuse(send, ResponseCode::MessageIllegal, remark, "MESSAGE_ILLEGAL");
    }

    /// Tells that it is not known whether the messages were stored. Clients that retry may store them twice, as with any
    /// RocketMQ broker that dies between storing and answering.
    pub fn unknown(&self, send: SendWork) {
        self.metrics.unknown_outcome();
        let why = "leadership changed, or no majority answered, while the message was being stored";
        let remark = format!("{why}: {OUTCOME_UNKNOWN}");
        refuse(send, ResponseCode::ServiceNotAvailable, &remark, "UNKNOWN_ERROR");
    }
}

/// A message that was to be taken back is refused with code 1 and the name of RocketMQ's store status: the client then sends it to
/// its retry topic by itself. Source: AbstractSendMessageProcessor.consumerSendMsgBack 5.3.3.
fn refuse(send: SendWork, code: ResponseCode, remark: &str, status: &str) {
    match send.answer {
        SendAnswer::Sent { .. } => send.call.refuse(code, remark),
        SendAnswer::TakenBack { .. } => send.call.refuse(ResponseCode::SystemError, status),
    }
}
