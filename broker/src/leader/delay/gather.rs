//! Collects what is due into one entry, and finds out when the rest will be. Blocks: cold messages are read from the disk.

use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;
use flotilla_core::rules::{Redelivery, real_place, redelivery};
use flotilla_core::{DelayDone, DelayHistory};
use flotilla_remoting::message::MessageView;
use tracing::error;

use super::entry::{Draft, Entry};
use super::ground::Ground;

/// Pause before another look at a queue whose view is being rebuilt or has not caught up with the tables, ms.
const REBUILD_PAUSE_MS: u64 = 20;
/// Pause before another look at a queue that can't be read, ms.
const DAMAGE_PAUSE_MS: u64 = 5000;

/// Leader time is slewed and cut to milliseconds, so the store time can lie one behind the clock that the sender looked at.
const EDGE_MS: u64 = 1;

/// The first message that waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub offset: i64,
    /// Leader time at which it is worth looking at.
    pub due_ms: u64,
}

/// A queue to look at, as the tables have it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub queue_id: u32,
    /// Number of the first message that is not delivered.
    pub next: i64,
    /// Next number of the queue.
    pub max: i64,
    /// First number that retention has left.
    pub min: i64,
    /// Log position below which retention has left nothing.
    pub minimum_position: u64,
}

/// What to look for. All of it is of one moment.
#[derive(Debug)]
pub struct Wanted {
    /// In the order in which they are served.
    pub looks: Vec<Look>,
    pub history: DelayHistory,
    pub now_ms: u64,
    /// Bytes of messages in the entry, unless one message alone is larger.
    pub bytes_max: usize,
}

/// What was found.
pub struct Gathered {
    pub entry: Option<Entry>,
    /// The first message of each queue that was looked at and does not go on with the entry.
    pub heads: Vec<(u32, Head)>,
}

/// How the look at one queue ended.
enum End {
    /// Nothing more of it is due before this time.
    NotBefore(u64),
    /// The entry is full.
    Full,
    /// All that the tables knew of is in the entry.
    Served,
}

/// Looks at the queues in turn until the entry is full.
pub fn gather(ground: &impl Ground, wanted: &Wanted) -> Gathered {
    let mut draft = Draft::new(wanted.bytes_max);
    let mut heads = Vec::new();
    for look in &wanted.looks {
        let mut reach = Reach::of(look, &mut draft);
        let end = match serve(ground, wanted, look, &mut reach, &mut draft) {
            Ok(end) => end,
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                End::NotBefore(wanted.now_ms + REBUILD_PAUSE_MS)
            }
            // LIMIT: a message that this replica can't read holds up its level until another one leads; it is never passed over.
            Err(failure) => {
                let (queue_id, offset) = (look.queue_id, reach.to);
                error!(queue_id, offset, error = %failure, "a delayed message can't be read");
                End::NotBefore(wanted.now_ms + DAMAGE_PAUSE_MS)
            }
        };
        if reach.to > look.next {
            draft.done(DelayDone {
                queue_id: look.queue_id,
                from: look.next,
                to: reach.to,
                position: reach.position,
            });
        }
        match end {
            End::NotBefore(due_ms) => heads.push((look.queue_id, Head { offset: reach.to, due_ms })),
            End::Full => break,
            End::Served => {}
        }
    }
    Gathered { entry: draft.finish(), heads }
}

/// How far a queue is in the entry.
struct Reach {
    /// Number behind the last message that was dealt with.
    to: i64,
    /// Log position behind it.
    position: u64,
}

impl Reach {
    fn of(look: &Look, draft: &mut Draft) -> Self {
        if look.min > look.next {
            draft.purged(look.queue_id, look.next, look.min);
        }
        Self { to: look.next.max(look.min), position: look.minimum_position }
    }
}

fn serve(
    ground: &impl Ground,
    wanted: &Wanted,
    look: &Look,
    reach: &mut Reach,
    draft: &mut Draft,
) -> io::Result<End> {
    if reach.to >= look.max {
        return Ok(End::Served);
    }
    let mut end = None;
    ground.walk(look.queue_id, reach.to, &mut |offset, bytes: &Bytes| {
        let (message, _) = MessageView::parse(bytes).map_err(io::Error::other)?;
        let position = message.physical_offset().cast_unsigned();
        let stored_ms = u64::try_from(message.store_timestamp()).unwrap_or(0);
        let due_ms = stored_ms.saturating_add(wanted.history.delay_ms(look.queue_id, position) + EDGE_MS);
        if due_ms > wanted.now_ms {
            end = Some(End::NotBefore(due_ms));
            return Ok(ControlFlow::Break(()));
        }
        if draft.is_full_for(&message) {
            end = Some(End::Full);
            return Ok(ControlFlow::Break(()));
        }
        take(ground, draft, look.queue_id, &message);
        *reach = Reach { to: offset + 1, position: position + 1 };
        if reach.to < look.max {
            return Ok(ControlFlow::Continue(()));
        }
        // What came later may have been stored under another list of delays than the one at hand.
        end = Some(End::Served);
        Ok(ControlFlow::Break(()))
    })?;
    // A view that ends before the tables do is a moment behind them.
    Ok(end.unwrap_or(End::NotBefore(wanted.now_ms + REBUILD_PAUSE_MS)))
}

/// Puts a due message into the entry, or notes why it goes nowhere.
fn take(ground: &impl Ground, draft: &mut Draft, queue_id: u32, message: &MessageView<'_>) {
    let Some(place) = real_place(message.properties()) else { return draft.malformed(queue_id, message) };
    // The lock is held for the decision alone: the next message may have to be read from the disk.
    let decision = redelivery(&ground.tables(), place);
    match decision {
        Redelivery::Queue(real_queue) => draft.deliver(ground.encoder(), message, place.topic, real_queue),
        Redelivery::OtherQueue(other) => {
            draft.moved(place.topic, place.queue_id, other);
            draft.deliver(ground.encoder(), message, place.topic, other);
        }
        Redelivery::TopicGone => draft.topic_gone(place.topic),
    }
}
