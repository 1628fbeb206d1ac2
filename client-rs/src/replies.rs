//! Requests of this client (request-reply) that wait for the reply message of another (326).
//! Source: RocketMQ 5.3 RequestFutureHolder, ClientRemotingProcessor.receiveReplyMessage.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_remoting::ResponseCode;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::PushReplyMessageRequest;
use flotilla_remoting::message::{SysFlag, properties};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::compression::decompress;
use crate::error::{ClientError, Result};
use crate::limits::REQUESTS_MAX;

/// A reply to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Body, decompressed.
    pub body: Bytes,
    /// Opaque flag of the replier.
    pub flag: i32,
    /// Property text.
    properties: String,
}

impl Reply {
    /// Value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }
}

/// Requests that wait, by correlation id.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: Mutex<HashMap<String, oneshot::Sender<Reply>>>,
}

/// A request that waits; dropped, it waits no more.
pub(crate) struct Waiting {
    replies: Arc<Replies>,
    correlation_id: String,
    receiver: oneshot::Receiver<Reply>,
}

impl Replies {
    /// # Errors
    /// `Busy` when too many wait.
    pub(crate) fn expect(self: &Arc<Replies>, correlation_id: String) -> Result<Waiting> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= REQUESTS_MAX {
            return Err(ClientError::Busy(format!("{REQUESTS_MAX} requests wait for their replies")));
        }
        waiting.insert(correlation_id.clone(), sender);
        Ok(Waiting { replies: self.clone(), correlation_id, receiver })
    }

    /// A reply came.
    pub(crate) fn arrived(&self, request: &Frame) -> std::result::Result<Frame, String> {
        let header =
            PushReplyMessageRequest::decode(&request.header.ext).map_err(|error| error.to_string())?;
        let text = header.properties.unwrap_or_default();
        let id =
            properties::get(text, properties::CORRELATION_ID).ok_or("the reply has no correlation id")?;
        let body = match SysFlag(header.sys_flag).compression() {
            Some(compression) => decompress(&request.body, compression)?,
            None => request.body.clone(),
        };
        match self.waiting.lock().remove(id) {
            // Whoever waited may have given up just now.
            Some(sender) => drop(sender.send(Reply { body, flag: header.flag, properties: text.to_owned() })),
            None => tracing::debug!(correlation_id = id, "a reply that nobody waits for: it came too late"),
        }
        Ok(request.reply(ResponseCode::Success, None))
    }
}

impl Waiting {
    /// The reply. Safe to drop.
    pub(crate) async fn reply(&mut self) -> Result<Reply> {
        (&mut self.receiver).await.map_err(|_| ClientError::Stopped)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.correlation_id);
    }
}
