//! The values that tables hold and commands carry. Each file is one subject and knows its binary form.

mod delay;
mod group;
mod member;
mod queue;
mod retention;
mod settings;
mod topic;

pub use delay::{DelayLevels, DelayLevelsError};
pub use group::{GroupConfig, RetryPolicy, SimpleSubscription};
pub use member::{ConsumeFrom, ConsumeType, GroupMembers, Member, MessageModel, Subscription};
pub use queue::{QueueHead, QueueRange};
pub use retention::{Hours, Retention};
pub use settings::{SettingChange, Settings};
pub use topic::{FilterType, Perm, TopicConfig};

use crate::codec::{CodecError, Decode, Encode, Reader, put_i64};

/// How often a table has changed and when it did last; both come from the log, so every replica names the same.
/// On the wire it is joined by `stateVersion`, which is about the sender's role and not about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataVersion {
    pub counter: i64,
    /// Time of the entry that changed the table, milliseconds since 1970.
    pub time_ms: i64,
}

impl DataVersion {
    pub(crate) fn advance(&mut self, time_ms: u64) {
        self.counter += 1;
        self.time_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
    }
}

impl Encode for DataVersion {
    fn encode(&self, out: &mut Vec<u8>) {
        put_i64(out, self.counter);
        put_i64(out, self.time_ms);
    }
}

impl Decode for DataVersion {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { counter: input.i64("data version counter")?, time_ms: input.i64("data version time")? })
    }
}
