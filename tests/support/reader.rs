//! A consumer that reads along, at all replicas in turn, and notes each answer that would move it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use flotilla_remoting::ResponseCode;
use tokio::task::JoinHandle;

use super::client::Client;
use super::exchange::{Failure, Pull};
use super::stored::Stored;

/// How long each pull may be held: short, so that many answers are given while nothing comes.
const HOLD: Duration = Duration::from_millis(300);
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What a consumer has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub messages: Vec<Stored>,
    /// Answers that no client may get here: what they were.
    pub wrong: Vec<String>,
    /// Answers with messages, and without.
    pub found: usize,
    pub empty: usize,
    pub failures: Vec<Failure>,
}

/// A consumer of one queue under way.
pub struct Reader {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

impl Reader {
    /// Reads a queue from its beginning, each pull at the next of these replicas.
    pub fn start(client: &Client, topic: &str, queue: i32, addresses: &[String]) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let reading = read_along(client.clone(), topic.to_owned(), queue, addresses.to_vec(), stop.clone());
        Reader { stop, task: tokio::spawn(reading) }
    }

    /// Reads what is left and gives what was seen: dense, each message once.
    pub async fn stop(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        let seen = self.task.await?;
        for (expected, message) in (0..).zip(&seen.messages) {
            ensure!(message.offset == expected, "consumed offset {} where {expected} is due", message.offset);
        }
        Ok(seen)
    }
}

async fn read_along(
    client: Client,
    topic: String,
    queue: i32,
    addresses: Vec<String>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let mut seen = Seen::default();
    let mut next = 0;
    for turn in 0.. {
        let address = &addresses[turn % addresses.len()];
        let last = stop.load(Ordering::SeqCst);
        let pull = Pull { hold: HOLD, messages_max: 256, ..Pull::from(&topic, queue, next) };
        match client.pull(address, &pull).await {
            Ok(pulled) => {
                // The offset asked for was given by the group before, so it can be neither too small nor too large.
                let moved = pulled.code == ResponseCode::PullOffsetMoved || pulled.next < next;
                if moved {
                    seen.wrong.push(format!("{:?} at {next}: go on at {}", pulled.code, pulled.next));
                }
                if pulled.code == ResponseCode::Success {
                    seen.found += 1;
                    seen.messages.extend(pulled.messages);
                } else {
                    seen.empty += 1;
                    if last && !moved {
                        return seen;
                    }
                }
                next = next.max(pulled.next);
            }
            Err(failure) => {
                seen.failures.push(failure);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    seen
}
