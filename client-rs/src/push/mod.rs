//! Consumers that are given messages: the library pulls and calls a listener.

mod builder;
mod listener;
mod outcome;
mod settings;
mod stream;

use std::collections::BTreeMap;

use flotilla_remoting::bodies::MessageQueue;

pub use builder::PushConsumerBuilder;
pub use outcome::{OrderlyOutcome, Outcome};
pub use stream::{Delivery, MessageStream};

use crate::client::Client;
use crate::error::{ClientError, Result};

/// A consumer that calls a listener.
///
/// Dropped, it stops as [`PushConsumer::shutdown`] does, in the background.
#[derive(Debug)]
pub struct PushConsumer {
    settings: settings::Settings,
}

impl PushConsumer {
    /// Begins a consumer of a client.
    pub fn builder(client: &Client) -> PushConsumerBuilder {
        PushConsumerBuilder::new(client)
    }

    pub(crate) async fn start(
        client: Client,
        settings: settings::Settings,
        listener: listener::Kind,
    ) -> Result<PushConsumer> {
        settings.check()?;
        let _ = (client, listener.is_orderly());
        Err(ClientError::Invalid("push consumers are not there yet".into()))
    }

    /// Group.
    pub fn group(&self) -> &str {
        &self.settings.group
    }

    /// Pulls no more; what is held is still given to the listener.
    pub fn pause(&self) {}

    /// Pulls again.
    pub fn resume(&self) {}

    /// Claims that it is paused.
    pub fn is_paused(&self) -> bool {
        false
    }

    /// Queues that this member has now, sorted.
    pub fn queues(&self) -> Vec<MessageQueue> {
        Vec::new()
    }

    /// By queue the offset up to which everything is consumed, for queues of which something is.
    pub fn offsets(&self) -> BTreeMap<MessageQueue, i64> {
        BTreeMap::new()
    }

    /// Stops: pulls no more, waits for the listener calls that run (at most the stop wait), commits the offsets, gives up the
    /// locks and leaves the group, so that the next member goes on exactly behind what was consumed. Messages that were
    /// pulled and not given to the listener come again there.
    ///
    /// # Cancellation
    /// Dropped, the rest happens in the background.
    pub async fn shutdown(self) {}
}
