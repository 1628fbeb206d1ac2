//! What workloads share: clients, bodies, outcomes, sending and reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use flotilla_client::admin::{Scope, TopicSettings};
use flotilla_client::{
    AdminClient, Client, ClientError, ClientOptions, Message, MessageQueue, Producer, PushConsumer,
    ReceivedMessage, ResponseCode, SendStatus,
};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use tracing::{debug, info};

use super::Env;
use crate::history::{Act, Seen};
use crate::recorder::Session;

/// Longest wait for a cluster that is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for consumers to have consumed everything, at the end.
const CONSUMED: Duration = Duration::from_secs(90);
/// Longest time for the last read of one queue.
pub(super) const LAST_READ: Duration = Duration::from_secs(20);
/// As the clusters under test call all their brokers.
pub(super) const BROKER: &str = "broker-a";
/// Messages of one read.
const READ_MAX: i32 = 64;
/// Largest padding of a body, in bytes.
pub(super) const PADDING_MAX: usize = 600;

/// A client of its own, with its own connections.
pub(super) fn client(env: &Env, name: &str) -> anyhow::Result<Client> {
    let name_servers = env.cluster.layout().name_servers_for_clients();
    Ok(ClientOptions::new(&name_servers)?.instance_name(name).start()?)
}

/// Creates a topic of a cluster that is well, and waits until it has a route.
pub(super) async fn create_topic(client: &Client, topic: &str, queues: u32) -> anyhow::Result<()> {
    let admin = AdminClient::new(client);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let created = admin.create_topic(topic, &TopicSettings::queues(queues), &Scope::All).await;
        let exists = match created {
            Ok(()) => admin.topic_exists(topic).await,
            Err(error) => Err(error),
        };
        match exists {
            Ok(true) => return Ok(()),
            _ if Instant::now() > deadline => bail!("topic {topic} can't be created: {exists:?}"),
            other => debug!(topic, ?other, "topic not created yet"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Queues of a topic of a cluster that is well, by number.
pub(super) async fn queues_of(producer: &Producer, topic: &str) -> anyhow::Result<Vec<MessageQueue>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match producer.queues(topic).await {
            Ok(queues) => {
                let mut queues: Vec<MessageQueue> = queues.iter().map(|queue| (**queue).clone()).collect();
                queues.sort_by_key(|queue| queue.queue_id);
                return Ok(queues);
            }
            Err(error) if Instant::now() > deadline => return Err(error).context(topic.to_owned()),
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// How an operation ended that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was certainly not done.
    Fail,
    /// Nobody knows.
    Info,
}

/// Judges an error of a client library. Refusals count as "not done" only where the code says that the server stopped before
/// it did anything: a list, so that a code that nobody thought of is unknown.
pub(super) fn outcome(error: &ClientError) -> Outcome {
    match error {
        ClientError::Invalid(_)
        | ClientError::NotSent { .. }
        | ClientError::NoRoute { .. }
        | ClientError::Deadline(_)
        | ClientError::Busy(_)
        | ClientError::Stopped => Outcome::Fail,
        ClientError::Refused { code, .. } if is_refusal(*code) => Outcome::Fail,
        _ => Outcome::Info,
    }
}

/// Claims that a server that answers with this code stopped before it did anything.
pub(super) fn is_refusal(code: ResponseCode) -> bool {
    matches!(
        code,
        ResponseCode::ServiceNotAvailable
            | ResponseCode::SystemBusy
            | ResponseCode::FlowControl
            | ResponseCode::NotLeader
            | ResponseCode::NotLeaderForQueue
            | ResponseCode::GoAway
            | ResponseCode::NoPermission
            | ResponseCode::TopicNotExist
    )
}

/// Ends an operation that did not succeed.
pub(super) fn failed(session: &mut Session, act: Act, error: &ClientError) {
    match outcome(error) {
        Outcome::Fail => session.fail(act, error),
        Outcome::Info => session.info(act, error),
    }
}

/// Numbers of messages, unique in a run.
#[derive(Debug, Default)]
pub(super) struct Ids(AtomicU64);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A body that tells its number: `id:` the number `;` and padding.
pub(super) fn body(id: u64, random: &mut SmallRng) -> Vec<u8> {
    let mut body = format!("id:{id};").into_bytes();
    body.resize(body.len() + random.random_range(0..PADDING_MAX), b'.');
    body
}

/// The number in a body; `None` for one that is none of ours.
pub(super) fn id_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (id, padding) = text.strip_prefix("id:")?.split_once(';')?;
    if padding.bytes().all(|byte| byte == b'.') { id.parse().ok() } else { None }
}

/// What a reader or listener was given.
pub(super) fn seen(message: &ReceivedMessage) -> Seen {
    Seen {
        queue: u32::try_from(message.queue().queue_id).unwrap_or(u32::MAX),
        offset: u64::try_from(message.queue_offset()).unwrap_or(u64::MAX),
        id: id_of(message.body()),
        key: message.keys().next().map(str::to_owned),
        redelivered: u32::try_from(message.reconsume_times()).unwrap_or(0),
    }
}

/// Ticks so that `workers` of them make `rate` a second, not all at the same moments.
pub(super) fn pace(rate: u32, workers: u32, random: &mut SmallRng) -> Interval {
    let period = Duration::from_secs_f64(f64::from(workers) / f64::from(rate.max(1)));
    let mut ticks = interval_at(Instant::now() + period.mul_f64(random.random::<f64>()), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Where a message goes.
pub(super) enum Place<'a> {
    /// To any queue.
    Any,
    /// To this one.
    Queue(&'a MessageQueue),
    /// To the queue of its key.
    OfKey,
}

/// Sends one message, once, and records it. Claims that it was acknowledged.
pub(super) async fn send(
    producer: &Producer,
    session: &mut Session,
    topic: &str,
    id: u64,
    key: Option<&str>,
    place: Place<'_>,
    body: Vec<u8>,
) -> bool {
    let asked = match place {
        Place::Queue(queue) => u32::try_from(queue.queue_id).ok(),
        Place::Any | Place::OfKey => None,
    };
    let key_text = key.map(str::to_owned);
    let act = |queue, offset| Act::Send {
        topic: topic.to_owned(),
        id,
        key: key_text.clone(),
        queue,
        offset,
        copies_max: None,
    };
    let mut message = Message::new(topic, body);
    if let Some(key) = key {
        message = message.key(key);
    }
    session.invoke(act(asked, None));
    let sent = match place {
        Place::Any => producer.send(message).await,
        Place::Queue(queue) => producer.send_to(message, queue).await,
        Place::OfKey => producer.send_by_key(message, key.unwrap_or_default()).await,
    };
    match sent {
        Ok(result) => {
            let queue = u32::try_from(result.queue().queue_id).ok();
            let done = act(queue, u64::try_from(result.queue_offset()).ok());
            match result.status() {
                SendStatus::Ok => {
                    session.ok(done);
                    return true;
                }
                // Stored somewhere, and promised nothing.
                status => session.info(done, format!("{status:?}")),
            }
        }
        Err(error) => failed(session, act(asked, None), &error),
    }
    false
}

/// Reads one queue once from its leader, and records it; gives the offset to read next and the queue's end.
pub(super) async fn read(
    admin: &AdminClient,
    session: &Session,
    queue: &MessageQueue,
    from: u64,
) -> Result<(u64, u64), ClientError> {
    let number = u32::try_from(queue.queue_id).unwrap_or(u32::MAX);
    let act =
        |max, seen| Act::Pull { topic: queue.topic.clone(), queue: number, from, max, seen, node: None };
    session.invoke(act(None, Vec::new()));
    match admin.messages_at(queue, i64::try_from(from).unwrap_or(i64::MAX), READ_MAX).await {
        Ok(pulled) => {
            let max = u64::try_from(pulled.max_offset).unwrap_or(0);
            session.ok(act(Some(max), pulled.messages.iter().map(seen).collect()));
            Ok((u64::try_from(pulled.next_offset).unwrap_or(0), max))
        }
        Err(error) => {
            // A read does nothing.
            session.fail(act(None, Vec::new()), &error);
            Err(error)
        }
    }
}

/// Reads all queues of a topic, each to its end. A queue that can't be read is noted as something wrong: the cluster is well.
pub(super) async fn read_everything(env: &Env, client: &Client, topic: &str, queues: u32) {
    let (admin, session) = (AdminClient::new(client), env.recorder.session());
    for number in 0..queues {
        let queue = queue(topic, number);
        if let Err(error) = read_all(&admin, &session, &queue).await {
            env.recorder
                .inspected(&format!("queue {number} of {topic} can be read"), Err(format!("{error:#}")));
        }
    }
}

/// A queue by its number.
pub(super) fn queue(topic: &str, number: u32) -> MessageQueue {
    let queue_id = i32::try_from(number).unwrap_or(i32::MAX);
    MessageQueue { broker_name: BROKER.to_owned(), queue_id, topic: topic.to_owned() }
}

async fn read_all(admin: &AdminClient, session: &Session, queue: &MessageQueue) -> anyhow::Result<()> {
    let deadline = Instant::now() + LAST_READ;
    let mut from = 0;
    loop {
        match read(admin, session, queue, from).await {
            Ok((next, max)) if next >= max => return Ok(()),
            Ok((next, _)) if next > from => from = next,
            Ok((next, max)) if Instant::now() > deadline => {
                bail!("a read at {from} of {max} goes on at {next}")
            }
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Ok(_) | Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Waits until a group has consumed all of a topic; false when that takes too long.
pub(super) async fn consumed(admin: &AdminClient, group: &str, topic: &str) -> bool {
    let deadline = Instant::now() + CONSUMED;
    let mut last = String::new();
    while Instant::now() < deadline {
        match admin.progress(group, Some(topic)).await {
            Ok(progress) if progress.lag_of(topic) == 0 => return true,
            Ok(progress) => last = format!("{} behind", progress.lag_of(topic)),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(300)).await;
    }
    info!(group, topic, last, "not all consumed");
    false
}

/// Processes for calls of listeners, which run several at once.
#[derive(Clone, Debug)]
pub(super) struct Listeners {
    recorder: crate::recorder::Recorder,
    idle: Arc<Mutex<Vec<Session>>>,
}

impl Listeners {
    pub(super) fn new(env: &Env) -> Listeners {
        Listeners { recorder: env.recorder.clone(), idle: Arc::default() }
    }

    /// A process that does nothing else now. Give it back with [`Listeners::done`].
    pub(super) fn begin(&self) -> Session {
        let idle = self.idle.lock().pop();
        idle.unwrap_or_else(|| self.recorder.session())
    }

    pub(super) fn done(&self, session: Session) {
        self.idle.lock().push(session);
    }
}

/// What a listener is told, as an act.
pub(super) fn consume(group: &str, topic: &str, message: &ReceivedMessage) -> Act {
    Act::Consume { group: group.to_owned(), topic: topic.to_owned(), seen: seen(message) }
}

/// Stops consumers, each bounded.
pub(super) async fn stop_consumers(consumers: Vec<PushConsumer>) {
    for consumer in consumers {
        // What a consumer that can't say farewell leaves behind matters to nobody any more.
        let _ = tokio::time::timeout(Duration::from_secs(15), consumer.shutdown()).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_body_tells_its_number_and_a_changed_one_does_not() {
        let mut random = SmallRng::seed_from_u64(5);
        for id in [0, 7, u64::MAX] {
            let mut body = body(id, &mut random);
            assert_eq!(id_of(&body), Some(id));
            body.push(b'x');
            assert_eq!(id_of(&body), None);
        }
        assert_eq!(id_of(b"hello"), None);
    }

    #[test]
    fn an_unknown_outcome_is_never_a_failure() {
        let address = || "a".to_owned();
        let unknown = ClientError::Unknown { address: address(), reason: String::new() };
        let refused = |code| ClientError::Refused { address: address(), code, remark: String::new() };
        assert_eq!(outcome(&unknown), Outcome::Info);
        assert_eq!(outcome(&refused(ResponseCode::SystemError)), Outcome::Info);
        assert_eq!(outcome(&refused(ResponseCode::SystemBusy)), Outcome::Fail);
        assert_eq!(
            outcome(&ClientError::NotSent { address: address(), reason: String::new() }),
            Outcome::Fail
        );
    }
}
