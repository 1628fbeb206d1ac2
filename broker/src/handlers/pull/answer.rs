//! The messages that a pull gets, and its answers.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_core::QueueRange;
use flotilla_remoting::code::ResponseCode;
use flotilla_remoting::headers::PullMessageResponse;
use tracing::error;

use super::{Pull, Pulls};
use crate::long_poll::SysFlags;
use crate::views::Unit;

impl Pulls {
    /// Reads the picked messages and answers: from memory here, from disk on a thread that may block.
    pub(super) fn read(self: &Arc<Self>, pull: Pull, picked: Vec<Unit>, next: i64, range: QueueRange) {
        let mut parts = Vec::with_capacity(picked.len());
        for unit in &picked {
            match self.log.read_recent(unit.physical_offset as u64, unit.size) {
                Some(bytes) => parts.push(bytes),
                None => break,
            }
        }
        if parts.len() == picked.len() {
            self.answer_found(pull, parts, next, range);
            return;
        }
        let this = self.clone();
        self.runtime.spawn_blocking(move || {
            for unit in &picked[parts.len()..] {
                match this.log.read(unit.physical_offset as u64, unit.size) {
                    Ok(bytes) => parts.push(bytes),
                    // Retention has passed it since the range was looked up: the look at the new range says so.
                    Err(_) if this.is_retired(unit) => return this.serve(pull),
                    Err(error) => {
                        error!(position = unit.physical_offset, size = unit.size, %error, "stored message can't be read");
                        let remark = format!("message at {} can't be read", unit.physical_offset);
                        pull.call.refuse(ResponseCode::SystemError, remark);
                        return;
                    }
                }
            }
            this.answer_found(pull, parts, next, range);
        });
    }

    /// True for a message that retention has given up.
    fn is_retired(&self, unit: &Unit) -> bool {
        unit.physical_offset.cast_unsigned() < self.group.tables().minimum_position()
    }

    pub(super) fn answer_found(&self, pull: Pull, parts: Vec<Bytes>, next: i64, range: QueueRange) {
        self.pulled.note(&pull.group, &pull.topic, pull.queue_id, next);
        let (took, bytes) = (pull.since.elapsed(), parts.iter().map(|part| part.len() as u64).sum());
        pull.series.delivered(pull.queue_id, parts.len() as u64, bytes, took);
        self.metrics.get_times().count(took);
        let mut response = pull.call.request.reply(ResponseCode::Success, None);
        response.header.ext = header(next, covering(range, next), pull.flags).encode();
        pull.call.reply.send_parts(response, parts);
    }

    pub(super) fn answer_empty(&self, pull: Pull, code: ResponseCode, next: i64, range: QueueRange) {
        self.metrics.pull_without_messages();
        let mut response = pull.call.request.reply(code, None);
        response.header.ext = header(next, range, pull.flags).encode();
        pull.call.reply.send(response);
    }
}

/// The range to tell with messages before `next`: the queue may have grown since its range was looked up, and what is given is
/// never behind the end that is told.
fn covering(range: QueueRange, next: i64) -> QueueRange {
    QueueRange { max: range.max.max(next), ..range }
}

pub(super) fn header(next: i64, range: QueueRange, flags: SysFlags) -> PullMessageResponse {
    PullMessageResponse {
        suggest_which_broker_id: 0,
        next_begin_offset: next,
        min_offset: range.min,
        max_offset: range.max,
        offset_delta: None,
        topic_sys_flag: Some(flags.topic),
        group_sys_flag: Some(flags.group),
        forbidden_type: None,
    }
}

/// Chooses messages among the units that start at the pull's offset; also gives the offset behind the last one examined.
pub(super) fn pick(units: &[Unit], pull: &Pull) -> (Vec<Unit>, i64) {
    let mut picked = Vec::new();
    let mut next = pull.offset;
    let mut bytes = 0;
    for unit in units {
        if pull.filter.matches(unit.tags_code) {
            let size = unit.size as usize;
            if picked.len() == pull.messages_max || (!picked.is_empty() && bytes + size > pull.bytes_max) {
                break;
            }
            bytes += size;
            picked.push(*unit);
        }
        next += 1;
    }
    (picked, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_not_behind_the_end_that_is_told() {
        let range = QueueRange { min: 3, max: 8 };
        assert_eq!((covering(range, 8).max, covering(range, 5).max), (8, 8));
        assert_eq!(covering(range, 11), QueueRange { min: 3, max: 11 }, "the queue has grown meanwhile");
    }
}
