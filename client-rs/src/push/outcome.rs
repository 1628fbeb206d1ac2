//! What a listener says about the messages it was given.

use std::time::Duration;

/// What a concurrent listener says about the messages it was given. A panic counts as [`Outcome::Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All are consumed.
    Success,
    /// The first so many are consumed, the others are delivered again.
    Partly(usize),
    /// All are delivered again, later the more often that has happened.
    Retry,
    /// All are delivered again after the delay of this level (1 to 18, see [`crate::Message::delay_level`]).
    RetryAtLevel(u32),
    /// All go to the group's dead-letter topic at once.
    DeadLetter,
}

impl<E> From<Result<(), E>> for Outcome {
    /// An error means [`Outcome::Retry`].
    fn from(result: Result<(), E>) -> Outcome {
        if result.is_ok() { Outcome::Success } else { Outcome::Retry }
    }
}

/// What an orderly listener says about the messages it was given. A panic counts as [`OrderlyOutcome::Suspend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderlyOutcome {
    /// All are consumed.
    Success,
    /// The queue pauses for the consumer's suspend time, then the same messages come again.
    Suspend,
    /// As [`OrderlyOutcome::Suspend`] with another pause: 10 ms to 30 s.
    SuspendFor(Duration),
}

impl<E> From<Result<(), E>> for OrderlyOutcome {
    /// An error means [`OrderlyOutcome::Suspend`].
    fn from(result: Result<(), E>) -> OrderlyOutcome {
        if result.is_ok() { OrderlyOutcome::Success } else { OrderlyOutcome::Suspend }
    }
}
