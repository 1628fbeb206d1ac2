//! Consumers that are given messages: the library pulls and calls a listener.
//!
//! | file               | subject                                                       |
//! |--------------------|---------------------------------------------------------------|
//! | `builder.rs`       | makes consumers; `settings.rs` checks what it was told        |
//! | `core.rs`          | what the tasks share; start and farewell                      |
//! | `hand_over.rs`     | queues that come, go, or are set to another offset            |
//! | `owned.rs`         | a queue that this member has                                  |
//! | `process_queue.rs` | what is held of a queue, and its offset; pure                 |
//! | `pull_loop.rs`     | the task of a queue: start, room, pulls                       |
//! | `workers.rs`       | listener calls of concurrent consumers; `work.rs` their queue |
//! | `orderly.rs`       | listener calls of orderly consumers                           |
//! | `keep.rs`          | offsets stored, locks renewed                                 |
//! | `member.rs`        | what brokers ask                                              |
//! | `stream.rs`        | messages as a stream                                          |

mod builder;
mod core;
mod hand_over;
mod keep;
mod listener;
mod member;
mod orderly;
mod outcome;
mod owned;
mod process_queue;
mod pull_loop;
mod settings;
mod stream;
mod work;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_remoting::bodies::MessageQueue;

pub use builder::PushConsumerBuilder;
pub use outcome::{OrderlyOutcome, Outcome};
pub use stream::{Delivery, MessageStream};

use crate::client::Client;
use crate::error::Result;

/// A consumer that calls a listener.
///
/// Dropped, it stops as [`PushConsumer::shutdown`] does, in the background.
pub struct PushConsumer {
    core: Arc<core::Core>,
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
        Ok(PushConsumer { core: core::Core::start(client, settings, listener).await? })
    }

    /// Group.
    pub fn group(&self) -> &str {
        &self.core.settings.common.group
    }

    /// Pulls no more; what is held is still given to the listener, and so are messages of pulls that are under way.
    pub fn pause(&self) {
        self.core.paused.send_replace(true);
    }

    /// Pulls again.
    pub fn resume(&self) {
        self.core.paused.send_replace(false);
    }

    /// Claims that it is paused.
    pub fn is_paused(&self) -> bool {
        *self.core.paused.borrow()
    }

    /// Queues that this member has now, sorted; those of the group's retry topic too.
    pub fn queues(&self) -> Vec<MessageQueue> {
        self.core.queues.lock().held.keys().cloned().collect()
    }

    /// By queue the offset up to which everything is consumed, for queues that have been begun.
    pub fn offsets(&self) -> BTreeMap<MessageQueue, i64> {
        self.core.consumed()
    }

    /// Stops: pulls no more, waits for the listener calls that run (at most the stop wait), commits the offsets, gives up the
    /// locks and leaves the group, so that the next member goes on exactly behind what was consumed. Messages that were
    /// pulled and not given to the listener come again there.
    ///
    /// # Cancellation
    /// Dropped, the rest happens in the background.
    pub async fn shutdown(self) {
        self.core.member.stop.cancel();
        self.core.member.stopped.cancelled().await;
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        self.core.member.stop.cancel();
    }
}

impl std::fmt::Debug for PushConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushConsumer").field("group", &self.group()).finish_non_exhaustive()
    }
}
