//! A topic inside the tables: its configuration while it exists, its queues for ever.

use std::sync::Arc;

use crate::model::{QueueHead, TopicConfig};

/// `config` is absent after a deletion: the state is then a tombstone that keeps the queue numbers.
#[derive(Debug, Clone)]
pub(crate) struct TopicState {
    pub(crate) name: Arc<str>,
    pub(crate) config: Option<TopicConfig>,
    /// Indexed by queue id. Longer than the configuration says when the topic once had more queues, shorter when its last
    /// queues never held a message.
    pub(crate) queues: Vec<QueueHead>,
}

impl TopicState {
    pub(crate) fn new(name: &Arc<str>) -> Self {
        Self { name: name.clone(), config: None, queues: Vec::new() }
    }

    #[inline]
    pub(crate) fn queue_mut(&mut self, queue_id: u32) -> &mut QueueHead {
        let index = queue_id as usize;
        if index >= self.queues.len() {
            self.queues.resize(index + 1, QueueHead::default());
        }
        &mut self.queues[index]
    }

    /// The head of a queue that the configuration knows or that holds numbers.
    pub(crate) fn queue(&self, queue_id: u32) -> Option<QueueHead> {
        match self.queues.get(queue_id as usize) {
            Some(head) => Some(*head),
            None => {
                let configured = self.config.as_ref().is_some_and(|config| queue_id < config.queue_count());
                configured.then(QueueHead::default)
            }
        }
    }

    /// Forgets the configuration and hides the messages.
    pub(crate) fn bury(&mut self) {
        self.config = None;
        for head in &mut self.queues {
            head.bury();
        }
    }
}
