//! Offset rules of PULL_MESSAGE.
//!
//! | condition                              | status                   | code                      | nextBeginOffset |
//! |----------------------------------------|--------------------------|---------------------------|-----------------|
//! | no such queue                          | no matched logic queue   | 21 if offset ≠ 0, else 19 | 0               |
//! | max = 0                                | no message in queue      | 21 if offset ≠ 0, else 19 | 0               |
//! | offset < min                           | offset too small         | 21                        | min             |
//! | offset = max                           | offset overflow one      | 19                        | offset          |
//! | offset > max                           | offset overflow badly    | 21                        | max             |
//! | min ≤ offset < max                     | read                     |                           |                 |
//!
//! A replica that does not lead must not answer 19, 20 or 21 from its own state (a consumer would be rewound); it holds or
//! forwards what is not a read.
// Source: RocketMQ 5.3 DefaultMessageStore#getMessage and PullMessageProcessor.

use crate::model::QueueRange;

/// How a pull ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullStatus {
    Found,
    NoMatchedMessage,
    MessageWasRemoving,
    OffsetFoundNull,
    NoMatchedLogicQueue,
    NoMessageInQueue,
    OffsetTooSmall,
    OffsetOverflowOne,
    OffsetOverflowBadly,
    OffsetReset,
}

impl PullStatus {
    /// The name that RocketMQ puts into the remark.
    pub fn remark(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            Self::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
            Self::OffsetFoundNull => "OFFSET_FOUND_NULL",
            Self::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
            Self::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
            Self::OffsetTooSmall => "OFFSET_TOO_SMALL",
            Self::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            Self::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            Self::OffsetReset => "OFFSET_RESET",
        }
    }

    /// Response code, given the offset that was asked for: 0 found, 19 not found, 20 retry immediately, 21 offset moved.
    pub fn code(self, requested: i64) -> i32 {
        match self {
            Self::Found => 0,
            Self::NoMatchedMessage | Self::MessageWasRemoving => 20,
            Self::OffsetFoundNull | Self::OffsetOverflowOne => 19,
            Self::NoMatchedLogicQueue | Self::NoMessageInQueue if requested == 0 => 19,
            Self::NoMatchedLogicQueue | Self::NoMessageInQueue => 21,
            Self::OffsetTooSmall | Self::OffsetOverflowBadly | Self::OffsetReset => 21,
        }
    }
}

/// What to do with a pull before any unit is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetDecision {
    /// Read units from the requested offset.
    Read,
    /// Answer (or, for code 19, hold) with this.
    Answer { status: PullStatus, code: i32, next_begin_offset: i64 },
}

impl OffsetDecision {
    /// True when the request may wait for new messages (code 19).
    pub fn may_wait(self) -> bool {
        matches!(self, Self::Answer { code: 19, .. })
    }
}

/// Applies the table above; `range` is absent when there is no such queue.
pub fn decide_pull_offset(range: Option<QueueRange>, requested: i64) -> OffsetDecision {
    let (status, next_begin_offset) = match range {
        None => (PullStatus::NoMatchedLogicQueue, 0),
        Some(QueueRange { max: 0, .. }) => (PullStatus::NoMessageInQueue, 0),
        Some(QueueRange { min, .. }) if requested < min => (PullStatus::OffsetTooSmall, min),
        Some(QueueRange { max, .. }) if requested < max => return OffsetDecision::Read,
        Some(QueueRange { max, .. }) if requested == max => (PullStatus::OffsetOverflowOne, requested),
        Some(QueueRange { max, .. }) => (PullStatus::OffsetOverflowBadly, max),
    };
    OffsetDecision::Answer { status, code: status.code(requested), next_begin_offset }
}
