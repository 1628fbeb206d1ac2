//! Equal shares: runs of neighbours, or by turns.
//! Source: RocketMQ 5.3 AllocateMessageQueueAveragely, AllocateMessageQueueAveragelyByCircle.

use flotilla_remoting::bodies::MessageQueue;

use super::{Allocation, index_of};

/// Each member gets a run of neighbouring queues; the first ones get one more when they don't divide. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Averagely;

impl Allocation for Averagely {
    fn name(&self) -> String {
        "AVG".into()
    }

    fn allocate(
        &self,
        me: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, String> {
        let Some(index) = index_of(me, members) else { return Ok(Vec::new()) };
        let (size, rest) = (queues.len() / members.len(), queues.len() % members.len());
        let start = index * size + index.min(rest);
        let end = start + size + usize::from(index < rest);
        Ok(queues[start..end].to_vec())
    }
}

/// The queues are dealt like cards: member 0 gets the first, member 1 the second, and so on.
#[derive(Clone, Copy, Debug, Default)]
pub struct AveragelyByCircle;

impl Allocation for AveragelyByCircle {
    fn name(&self) -> String {
        "AVG_BY_CIRCLE".into()
    }

    fn allocate(
        &self,
        me: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, String> {
        let Some(index) = index_of(me, members) else { return Ok(Vec::new()) };
        Ok(queues.iter().skip(index).step_by(members.len()).cloned().collect())
    }
}
