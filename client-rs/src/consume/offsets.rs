//! Where offsets are kept: at the broker, or in a file of a broadcasting consumer.

use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use futures::StreamExt;
use futures::stream;

use super::calls::{Calls, Start};
use super::offset_file::OffsetFile;
use super::{ConsumeFrom, Model};
use crate::error::Result;
use crate::limits::COMMITS_AT_ONCE;

/// Offsets of a consumer.
#[derive(Clone)]
pub(crate) struct Offsets {
    calls: Calls,
    file: Option<Arc<OffsetFile>>,
}

impl Offsets {
    /// # Errors
    /// `Invalid` when the file of a broadcasting consumer can't be read.
    pub(crate) fn open(calls: Calls, model: Model, folder: Option<&std::path::Path>) -> Result<Offsets> {
        let file = match model {
            Model::Clustering => None,
            Model::Broadcasting => {
                let client = &calls.client.broadcast_id;
                Some(Arc::new(OffsetFile::open(folder, client, &calls.group)?))
            }
        };
        Ok(Offsets { calls, file })
    }

    /// The offset that is stored for a queue.
    pub(crate) async fn stored(&self, queue: &MessageQueue) -> Result<Option<i64>> {
        match &self.file {
            Some(file) => Ok(file.get(queue)),
            None => self.calls.committed(queue).await,
        }
    }

    /// Where a queue is begun.
    pub(crate) async fn start(&self, queue: &MessageQueue, from: ConsumeFrom) -> Result<Start> {
        if let Some(offset) = self.stored(queue).await? {
            return Ok(Start { offset, stored: true });
        }
        Ok(Start { offset: self.calls.first_offset(queue, from).await?, stored: false })
    }

    /// Stores offsets, several at once; gives the queues that failed with the reasons.
    ///
    /// # Cancellation
    /// Dropped half-way, some may be stored.
    pub(crate) async fn store(
        &self,
        offsets: Vec<(Arc<MessageQueue>, i64)>,
        patience: Duration,
    ) -> Vec<(Arc<MessageQueue>, crate::ClientError)> {
        if let Some(file) = &self.file {
            return match file.set(&offsets).await {
                Ok(()) => Vec::new(),
                Err(error) => offsets.into_iter().map(|(queue, _)| (queue, error.clone())).collect(),
            };
        }
        let commits = offsets.into_iter().map(|(queue, offset)| async move {
            let outcome = self.calls.commit(&queue, offset, patience).await;
            outcome.err().map(|error| (queue, error))
        });
        let done = stream::iter(commits).buffer_unordered(COMMITS_AT_ONCE).collect::<Vec<_>>().await;
        done.into_iter().flatten().collect()
    }
}
