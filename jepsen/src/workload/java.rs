//! Senders of the workload `queue` that are threads of the official Java client, one producer with its defaults.
//!
//! The library tries again by itself what may have been done, so a message may be stored more than once: each send says in
//! the history how often it may have been, and `stored-once` allows that much and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::Rng;

use super::Env;
use super::common::{PADDING_MAX, is_refusal, pace};
use super::party::Seat;
use crate::history::Act;
use crate::java::{Java, Outcome, Program};
use crate::proxy::End;

/// Starts the program for so many senders.
pub(super) async fn start(env: &Env, java: &Java, topic: &str, senders: u32) -> anyhow::Result<Arc<Program>> {
    let layout = env.cluster.layout();
    let (home, log) = (layout.folder.join("home/java-client"), layout.log("java-client"));
    std::fs::create_dir_all(&home)?;
    let whom = (layout.name_servers_for_clients(), topic);
    let inside = |command| env.cluster.network().inside(End::Clients, command);
    let program = Program::start(java, (&whom.0, whom.1), senders, &home, &log, inside).await?;
    let ready = program.ready();
    tracing::info!(client = ready.client, poll_ms = ready.poll_ms, "the Java client sends");
    Ok(Arc::new(program))
}

/// Sends messages without a key to any queue, at most `rate` a second of all senders together, until the writes end. `cold` is
/// how many senders were never acknowledged: the last of them says that all is prepared. A runtime that still loads its classes takes seconds
/// on a busy machine, which no fault is to answer for.
///
/// # Errors
/// The program is of no use any more.
pub(super) async fn send_anywhere(
    seat: Seat,
    program: Arc<Program>,
    rate: u32,
    cold: Arc<AtomicU32>,
) -> anyhow::Result<()> {
    let mut random = seat.random();
    let Seat { env, ids, party, number } = seat;
    let mut session = env.recorder.session();
    let mut ticks = pace(rate, party.sender_count(), &mut random);
    let attempts_max = program.ready().attempts_max;
    let mut is_cold = true;
    while !env.phases.writes_end.is_cancelled() {
        ticks.tick().await;
        let (id, topic) = (ids.next(), party.topic);
        let act = |queue, offset, copies_max| Act::Send {
            topic: topic.to_owned(),
            id,
            key: None,
            queue,
            offset,
            copies_max: Some(copies_max),
        };
        session.invoke(act(None, None, attempts_max));
        let ended = program.send(number, id, random.random_range(0..PADDING_MAX)).await?;
        let copies_max = ended.copies_max(is_refusal);
        match ended.outcome(is_refusal) {
            Outcome::Ok(queue, offset) => {
                session.ok(act(Some(queue), Some(offset), copies_max));
                if std::mem::take(&mut is_cold) && cold.fetch_sub(1, Ordering::Relaxed) == 1 {
                    env.phases.prepared.cancel();
                }
            }
            Outcome::Fail(why) => session.fail(act(None, None, copies_max), why),
            Outcome::Info(why) => session.info(act(None, None, copies_max), why),
        }
    }
    Ok(())
}
