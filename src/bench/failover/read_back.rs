//! Reads what a trial has stored: from where the queues ended before it to where they end after it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use flotilla_client::MessageQueue;

use crate::bench::receivers::{MeasuredBy, Reading, Receiver};
use crate::bench::senders::Load;
use crate::bench::stage::Stage;
use crate::bench::topic;
use crate::signals::Signals;

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
pub async fn read_back(
    load: &Load,
    stage: &Stage,
    before: BTreeMap<MessageQueue, i64>,
) -> anyhow::Result<Reading> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        reading = read(load, stage, before) => reading.context("what was sent can't be read back"),
        _ = signals.next() => bail!("interrupted while reading back"),
    }
}

async fn read(load: &Load, stage: &Stage, before: BTreeMap<MessageQueue, i64>) -> anyhow::Result<Reading> {
    let after = ends(load).await?;
    let from: BTreeMap<MessageQueue, i64> =
        after.keys().map(|queue| (queue.clone(), before.get(queue).copied().unwrap_or(0))).collect();
    let group = format!("flotilla_bench_{:x}_back", load.run);
    let receiver = Receiver::start(&load.name_servers, &load.topic, &group, false).await?;
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

async fn ends(load: &Load) -> anyhow::Result<BTreeMap<MessageQueue, i64>> {
    let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
    loop {
        match topic::ends(&load.name_servers, &load.topic).await {
            Ok(ends) => return Ok(ends),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(ENDS_PAUSE).await,
        }
    }
}
