//! Reads what a trial has stored: from where the queues ended before it to where they end after it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use flotilla_client::MessageQueue;
use flotilla_client::admin::TopicOffset;

use crate::bench::groups;
use crate::bench::receivers::{MeasuredBy, Reading, Receiver};
use crate::bench::senders::Load;
use crate::bench::stage::Stage;
use crate::bench::topic;
use crate::signals::Signals;

/// First and next offset by queue.
type Ends = BTreeMap<MessageQueue, TopicOffset>;

const POLL: Duration = Duration::from_millis(500);
/// Nothing for so long ends it: what is missing then is lost.
const IDLE: Duration = Duration::from_secs(10);
/// After an election it takes a moment until the new leader may speak of ends.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const ENDS_PAUSE: Duration = Duration::from_millis(200);

/// Everything between the ends before the trial and those of now.
///
/// # Errors
/// The group has no leader that answers, or the user has enough.
pub async fn read_back(load: &Load, stage: &Stage, before: Ends) -> anyhow::Result<Reading> {
    let mut signals = Signals::listen()?;
    let group = groups::name(load.run, "back");
    let reading = tokio::select! {
        reading = read(load, stage, before, &group) => reading.context("what was sent can't be read back"),
        _ = signals.next() => bail!("interrupted while reading back"),
    };
    groups::delete(&load.name_servers, &[group]).await;
    reading
}

async fn read(load: &Load, stage: &Stage, before: Ends, group: &str) -> anyhow::Result<Reading> {
    let after = ends(load).await?;
    let from = starts(&before, &after);
    let after = after.into_iter().map(|(queue, offset)| (queue, offset.max_offset)).collect();
    let receiver = Receiver::start(&load.name_servers, &load.topic, group, false).await?;
    receiver.take_from(&from).await?;
    let mut reading = Reading::new(Some(load.run));
    let mut last_us = stage.clock.now_us();
    // Several senders' messages lie between; a position that is reached says that nothing is left.
    while !receiver.has_reached(&after, &from) {
        let messages = receiver.poll(POLL).await?;
        let now_us = stage.clock.now_us();
        if !messages.is_empty() {
            last_us = now_us;
            reading.arrived(stage, &messages, MeasuredBy::Sending);
        } else if Duration::from_micros(now_us.saturating_sub(last_us)) > IDLE {
            eprintln!("no more messages for {} s, though the queues go on", IDLE.as_secs());
            break;
        }
    }
    receiver.stop().await;
    Ok(reading)
}

/// Where each queue is read from: where it ended before. A queue that ends sooner by now, or begins later, has lost messages:
/// they are missing in what is read, and no reason not to read the rest.
fn starts(before: &Ends, after: &Ends) -> BTreeMap<MessageQueue, i64> {
    let start = |(queue, now): (&MessageQueue, &TopicOffset)| {
        let ended = before.get(queue).map_or(0, |before| before.max_offset);
        (queue.clone(), ended.max(now.min_offset).min(now.max_offset))
    };
    after.iter().map(start).collect()
}

async fn ends(load: &Load) -> anyhow::Result<Ends> {
    let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
    loop {
        match topic::ends(&load.name_servers, &load.topic).await {
            Ok(ends) => return Ok(ends),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(ENDS_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_lost_its_tail_or_its_head_is_read_all_the_same() {
        let queue = |queue_id| MessageQueue { topic: "t".to_owned(), broker_name: "b".to_owned(), queue_id };
        let ends = |all: &[(i64, i64)]| -> Ends {
            let offset = |(min, max): &(i64, i64)| TopicOffset {
                min_offset: *min,
                max_offset: *max,
                ..TopicOffset::default()
            };
            (0..).map(queue).zip(all.iter().map(offset)).collect()
        };
        let before = ends(&[(0, 10), (0, 10), (0, 10)]);
        // As it should be, without its tail, without its head, and new.
        let after = ends(&[(0, 15), (0, 7), (12, 15), (0, 5)]);
        assert_eq!(starts(&before, &after).into_values().collect::<Vec<_>>(), [10, 7, 12, 0]);
    }
}
