//! Fixed queues. Source: RocketMQ 5.3 AllocateMessageQueueByConfig.

use flotilla_remoting::bodies::MessageQueue;

use super::Allocation;

/// This member gets exactly these queues, whoever else there is.
#[derive(Clone, Debug, Default)]
pub struct ByConfig {
    /// The queues, of all topics that are subscribed.
    pub queues: Vec<MessageQueue>,
}

impl Allocation for ByConfig {
    fn name(&self) -> String {
        "CONFIG".into()
    }

    /// Those of the fixed queues that the topic has. Java returns all of them for every topic, so that a consumer of several
    /// topics would pull queues of one by the subscription of another.
    fn allocate(
        &self,
        _me: &str,
        queues: &[MessageQueue],
        _members: &[String],
    ) -> Result<Vec<MessageQueue>, String> {
        Ok(queues.iter().filter(|queue| self.queues.contains(queue)).cloned().collect())
    }
}
