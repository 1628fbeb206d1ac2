//! Delayed messages: which level a send asks for, what is stored until then, and where a due message goes.
//!
//! A message is looked at as a request for a delay once, when its client sends it. What is delivered still shows `DELAY`,
//! `REAL_TOPIC` and `REAL_QID`, as in RocketMQ, and means nothing by them.
// Source: RocketMQ 5.3 HookUtils#handleScheduleMessage and ScheduleMessageService#messageTimeUp.

use flotilla_remoting::message::properties;

use crate::limits::QUEUES_PER_TOPIC_MAX;
use crate::tables::Tables;

/// Properties that ask for another time of delivery; a level makes the broker forget them.
const TIMERS: [&str; 3] =
    [properties::TIMER_DELIVER_MS, properties::TIMER_DELAY_SECONDS, properties::TIMER_DELAY_MS];

/// The level that a property text asks for; 0 and below is none.
///
/// # Errors
/// The value is no number.
// Source: RocketMQ 5.3 Message#getDelayTimeLevel (Integer.parseInt).
pub fn asked_level(text: &str) -> Result<i32, std::num::ParseIntError> {
    properties::get(text, properties::DELAY).map_or(Ok(0), str::parse)
}

/// The text of a message that waits for its level: where it belongs, and the level that counts for it.
pub fn delayed_properties(text: &str, level: u32, topic: &str, queue_id: u32) -> String {
    const OWN: [&str; 3] = [properties::DELAY, properties::REAL_TOPIC, properties::REAL_QUEUE_ID];
    let dropped = [OWN, TIMERS].concat();
    let mut text = properties::without(text, &dropped);
    properties::append(&mut text, properties::DELAY, &level.to_string());
    properties::append(&mut text, properties::REAL_TOPIC, topic);
    properties::append(&mut text, properties::REAL_QUEUE_ID, &queue_id.to_string());
    text
}

/// Topic and queue that a message in the schedule topic belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealPlace<'a> {
    pub topic: &'a str,
    pub queue_id: u32,
}

/// Reads the real place; absent from no message that a broker of this kind has delayed.
pub fn real_place(text: &str) -> Option<RealPlace<'_>> {
    let topic = properties::get(text, properties::REAL_TOPIC)?;
    let queue_id = properties::get(text, properties::REAL_QUEUE_ID)?.parse().ok()?;
    Some(RealPlace { topic, queue_id })
}

/// Where a due message is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    Queue(u32),
    /// The topic has fewer queues now than when the message was sent: it goes to one that there is. RocketMQ stores it where
    /// no consumer looks.
    OtherQueue(u32),
    /// The topic was deleted, and its messages with it.
    TopicGone,
}

/// Decides from applied state.
pub fn redelivery(tables: &Tables, place: RealPlace<'_>) -> Redelivery {
    let Some(config) = tables.topic(place.topic) else { return Redelivery::TopicGone };
    let count = config.queue_count().clamp(1, QUEUES_PER_TOPIC_MAX);
    if place.queue_id < count {
        Redelivery::Queue(place.queue_id)
    } else {
        // Consumers read these, writers may be fewer.
        Redelivery::OtherQueue(place.queue_id % config.read_queue_count.clamp(1, count))
    }
}
