//! Consumers at a broker that fails, moves offsets, takes locks away, or answers late.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use flotilla_client::allocate::Allocation;
use flotilla_client::{
    Client, ClientError, ConsumeFrom, Expression, MessageQueue, OrderlyOutcome, Outcome, PullConsumer,
    PushConsumer, PushConsumerBuilder, ReceivedMessage, ResponseCode,
};
use flotilla_remoting::RequestCode;
use flotilla_remoting::bodies::{self, ConsumeDirectlyResult};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::ConsumeMessageDirectlyRequest;
use futures::StreamExt;
use parking_lot::Mutex;
use support::desk::{DeskBroker, record};
use support::scripted::{ScriptedNameServer, nobody};
use support::{PATIENCE, eventually};
use tokio::sync::Semaphore;

const GROUP: &str = "g";
const TOPIC: &str = "t";

/// A broker of queue 0 and an empty queue 1, and a client that finds it.
struct Stage {
    desk: DeskBroker,
    client: Client,
    _names: ScriptedNameServer,
}

impl Stage {
    fn new(offsets: std::ops::Range<i64>) -> Stage {
        let (desk, names) = (DeskBroker::start(offsets), ScriptedNameServer::start());
        names.route(TOPIC, &[("b", &[desk.address])]);
        let client = Client::connect(&names.address.to_string()).unwrap();
        Stage { desk, client, _names: names }
    }

    fn push(&self) -> PushConsumerBuilder {
        PushConsumer::builder(&self.client)
            .group(GROUP)
            .subscribe(TOPIC, "*")
            .consume_from(ConsumeFrom::First)
    }

    fn committed(&self, queue: i32) -> Option<i64> {
        self.desk.desk().committed.get(&queue).copied()
    }
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { topic: TOPIC.into(), broker_name: "b".into(), queue_id }
}

fn number(message: &ReceivedMessage) -> i64 {
    String::from_utf8_lossy(message.body()).parse().unwrap()
}

/// Numbers of the messages that a listener got; each call needs a permit to end.
#[derive(Clone)]
struct Calls {
    begun: Arc<Mutex<Vec<i64>>>,
    gate: Arc<Semaphore>,
}

impl Calls {
    fn new(permits: usize) -> Calls {
        Calls { begun: Arc::default(), gate: Arc::new(Semaphore::new(permits)) }
    }

    fn free() -> Calls {
        Calls::new(Semaphore::MAX_PERMITS)
    }

    async fn run<T>(self, messages: Vec<ReceivedMessage>, outcome: T) -> T {
        self.begun.lock().extend(messages.iter().map(number));
        self.gate.acquire().await.unwrap().forget();
        outcome
    }

    async fn until(&self, count: usize) -> Vec<i64> {
        eventually("calls", || async {
            let begun = self.begun.lock().clone();
            if begun.len() >= count { Ok(begun) } else { Err(format!("{begun:?}")) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_offset_is_stored_even_when_the_member_leaves_before_the_first_answer() {
    let stage = Stage::new(0..7);
    stage.desk.desk().silent = true;
    for (from, start) in [(ConsumeFrom::Last, 7), (ConsumeFrom::TimestampMs(3), 3)] {
        stage.desk.desk().committed.clear();
        stage.desk.desk().log.clear();
        let calls = Calls::new(0);
        let consumer = stage.push().consume_from(from).stop_wait(Duration::from_millis(50));
        let consumer =
            consumer.start(move |messages| calls.clone().run(messages, Outcome::Success)).await.unwrap();
        eventually("begun", || async {
            let offsets = consumer.offsets();
            if offsets.len() == 2 { Ok(()) } else { Err(format!("{offsets:?}")) }
        })
        .await;
        consumer.shutdown().await;
        assert_eq!((stage.committed(0), stage.committed(1)), (Some(start), Some(0)), "{from:?}");
    }
    stage.client.shutdown().await;
}

/// A strategy with a bug.
#[derive(Debug)]
struct Panics;

impl Allocation for Panics {
    fn name(&self) -> String {
        "PANICS".to_owned()
    }

    fn allocate(&self, _: &str, _: &[MessageQueue], _: &[String]) -> Result<Vec<MessageQueue>, String> {
        panic!("as the test says")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_strategy_panics_ends_and_leaves_its_name_to_another() {
    let stage = Stage::new(0..1);
    let calls = Calls::free();
    let given = calls.clone();
    let consumer = stage.push().strategy(Panics);
    let consumer = consumer.start(move |messages| given.clone().run(messages, Outcome::Success)).await;
    let consumer = consumer.unwrap();
    let given = calls.clone();
    // The name is free when the first one has ended.
    let _next = eventually("a free name", || async {
        let given = given.clone();
        let next = stage.push().start(move |messages| given.clone().run(messages, Outcome::Success));
        next.await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(calls.until(1).await, [0]);
    tokio::time::timeout(PATIENCE, consumer.shutdown()).await.expect("it has ended");
    tokio::time::timeout(PATIENCE, stage.client.shutdown()).await.expect("nothing of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_pulled_are_consumed_before_a_corrected_offset_is_taken() {
    let stage = Stage::new(0..5);
    stage.desk.desk().moved = Some((5, 100));
    let calls = Calls::new(0);
    let given = calls.clone();
    let consumer =
        stage.push().concurrency(1).start(move |messages| given.clone().run(messages, Outcome::Success));
    let consumer = consumer.await.unwrap();
    stage.desk.until("moved 5", 1).await;
    assert_eq!(calls.until(1).await, [0]);
    calls.gate.add_permits(10);
    stage.desk.until("commit 0 100", 1).await;
    consumer.shutdown().await;
    assert_eq!(*calls.begun.lock(), [0, 1, 2, 3, 4]);
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_not_overridden_by_what_the_consumer_had() {
    let stage = Stage::new(0..5);
    stage.desk.desk().silent = true;
    let calls = Calls::new(4);
    let given = calls.clone();
    let builder = stage.push().concurrency(1).persist_interval(Duration::from_millis(20));
    let consumer =
        builder.start(move |messages| given.clone().run(messages, Outcome::Success)).await.unwrap();
    calls.until(5).await;
    stage.desk.until("commit 0 4", 1).await;
    let before = stage.desk.desk().log.len();
    stage.desk.reset(GROUP, queue(0), 2).await;
    // The fifth call ends after the reset has begun, and the stop comes before it is over.
    calls.gate.add_permits(1);
    consumer.shutdown().await;
    stage.desk.until("commit 0 2", 1).await;
    let log = stage.desk.desk().log.split_off(before);
    let set = log.iter().position(|line| line == "commit 0 2").unwrap();
    assert!(!log[set..].iter().any(|line| line == "commit 0 5" || line == "commit 0 4"), "{log:?}");
    stage.client.shutdown().await;
}

/// Takes the time that a reset waits for listener calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_during_a_stop_is_not_overridden_by_the_farewell() {
    let stage = Stage::new(0..5);
    stage.desk.desk().silent = true;
    let calls = Calls::new(4);
    let given = calls.clone();
    let builder = stage.push().concurrency(1).persist_interval(PATIENCE).stop_wait(PATIENCE);
    let consumer =
        builder.start(move |messages| given.clone().run(messages, Outcome::Success)).await.unwrap();
    calls.until(5).await;
    // The farewell begins and waits for the fifth call; the reset waits for it, too, but not as long.
    let mut stopping = Box::pin(consumer.shutdown());
    assert!(futures::poll!(&mut stopping).is_pending());
    stage.desk.reset(GROUP, queue(0), 2).await;
    stage.desk.until("commit 0 2", 1).await;
    calls.gate.add_permits(1);
    stopping.await;
    assert_eq!(stage.committed(0), Some(2), "{:?}", stage.desk.desk().log);
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_asked_at_another_broker_name_when_the_first_is_dead() {
    let (desk, names) = (DeskBroker::start(0..3), ScriptedNameServer::start());
    names.route(TOPIC, &[("a", &[nobody()]), ("b", &[desk.address])]);
    let client = Client::connect(&names.address.to_string()).unwrap();
    let calls = Calls::free();
    let given = calls.clone();
    let builder = PushConsumer::builder(&client).group(GROUP).subscribe(TOPIC, "*");
    let consumer = builder.consume_from(ConsumeFrom::First);
    let consumer =
        consumer.start(move |messages| given.clone().run(messages, Outcome::Success)).await.unwrap();
    assert_eq!(calls.until(3).await.len(), 3);
    consumer.shutdown().await;
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_failed_can_be_tried_again_at_once() {
    let stage = Stage::new(0..3);
    let code = RequestCode::CheckClientConfig;
    stage.desk.desk().refused.insert(code, ResponseCode::SubscriptionParseFailed);
    let calls = Calls::free();
    let push = || {
        let given = calls.clone();
        let builder = stage.push().subscribe(TOPIC, Expression::sql92("a > 1"));
        builder.start(move |messages| given.clone().run(messages, Outcome::Success))
    };
    let pull = || {
        let builder = PullConsumer::builder(&stage.client).group(GROUP);
        builder.subscribe(TOPIC, Expression::sql92("a > 1")).start()
    };
    for _ in 0..5 {
        assert!(matches!(push().await, Err(ClientError::Refused { .. })));
        assert!(matches!(pull().await, Err(ClientError::Refused { .. })));
    }
    stage.desk.desk().refused.clear();
    push().await.unwrap().shutdown().await;
    pull().await.unwrap().shutdown().await;
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_does_not_wait_for_a_call_keeps_its_queue_locked() {
    let stage = Stage::new(0..3);
    let calls = Calls::new(1);
    let given = calls.clone();
    let builder = stage.push().stop_wait(Duration::from_millis(50));
    let consumer =
        builder.start_orderly(move |messages| given.clone().run(messages, OrderlyOutcome::Success));
    let consumer = consumer.await.unwrap();
    calls.until(2).await;
    stage.desk.until("lock 1", 1).await;
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(1), "the second call has not ended");
    assert_eq!((stage.desk.count("unlock 0"), stage.desk.count("unlock 1")), (0, 1));
    calls.gate.add_permits(1);
    stage.client.shutdown().await;
}

/// Takes the time between two renewals of locks.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_lock_was_lost_is_begun_anew_where_the_other_member_left_off() {
    let stage = Stage::new(0..10);
    let calls = Calls::new(1);
    let given = calls.clone();
    let builder = stage.push().persist_interval(Duration::from_millis(50));
    let consumer =
        builder.start_orderly(move |messages| given.clone().run(messages, OrderlyOutcome::Success));
    let consumer = consumer.await.unwrap();
    assert_eq!(calls.until(2).await, [0, 1]);
    stage.desk.until("commit 0 1", 1).await;
    stage.desk.desk().grants = false;
    stage.desk.until("no lock 0", 1).await;
    {
        // Another member has had the queue.
        let mut desk = stage.desk.desk();
        desk.committed.insert(0, 6);
        desk.log.clear();
        desk.grants = true;
    }
    calls.gate.add_permits(100);
    assert_eq!(calls.until(6).await, [0, 1, 6, 7, 8, 9]);
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(10));
    let log = stage.desk.desk().log.clone();
    let commits = log.iter().filter_map(|line| line.strip_prefix("commit 0 ")?.parse::<i64>().ok());
    assert!(commits.min() >= Some(6), "{log:?}");
    stage.client.shutdown().await;
}

/// Takes the time between two renewals of locks.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_given_up_stays_locked_for_as_long_as_its_call_runs() {
    let stage = Stage::new(0..3);
    let calls = Calls::new(1);
    let given = calls.clone();
    let builder = stage.push().persist_interval(PATIENCE);
    let consumer =
        builder.start_orderly(move |messages| given.clone().run(messages, OrderlyOutcome::Success));
    let consumer = consumer.await.unwrap();
    assert_eq!(calls.until(2).await, [0, 1]);
    // Before this member in the order of ids: it gets the first queue.
    stage.desk.desk().others.push("0".into());
    stage.desk.members_changed(GROUP).await;
    // What was consumed before is known to the other member at once.
    stage.desk.until("commit 0 1", 1).await;
    assert_eq!(consumer.queues(), [queue(1)]);
    let renewed = stage.desk.count("lock 0") + 1;
    stage.desk.until("lock 0", renewed).await;
    assert_eq!(stage.desk.count("unlock 0"), 0);
    calls.gate.add_permits(1);
    stage.desk.until("unlock 0", 1).await;
    let mut log = stage.desk.desk().log.clone();
    consumer.shutdown().await;
    assert_eq!(*calls.begun.lock(), [0, 1]);
    log.retain(|line| line.ends_with("lock 0") || line.starts_with("commit 0"));
    assert!(log.ends_with(&["lock 0", "commit 0 2", "unlock 0"].map(str::to_owned)), "{log:?}");
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_not_pulled_beyond_its_bounds_before_something_is_consumed() {
    type Bound = fn(PushConsumerBuilder) -> PushConsumerBuilder;
    let bounds: [(&str, Bound, usize); 5] = [
        ("span_max", |builder| builder.span_max(3), 6),
        ("bytes_max", |builder| builder.bytes_max(3), 4),
        ("messages_max", |builder| builder.messages_max(3), 4),
        ("queue_bytes_max", |builder| builder.queue_bytes_max(3), 4),
        ("queue_messages_max", |builder| builder.queue_messages_max(3), 4),
    ];
    for (name, bound, count) in bounds {
        // Bodies of one byte.
        let stage = Stage::new(0..10);
        let calls = Calls::new(0);
        let given = calls.clone();
        let builder = bound(stage.push().pull_batch_size(2));
        let consumer = builder.start(move |messages| given.clone().run(messages, Outcome::Success));
        let consumer = consumer.await.unwrap();
        calls.until(count).await;
        let more = tokio::time::timeout(Duration::from_millis(300), calls.until(count + 1)).await;
        assert!(more.is_err(), "{name}: {more:?}");
        calls.gate.add_permits(10);
        assert_eq!(calls.until(10).await.len(), 10, "{name}");
        consumer.shutdown().await;
        assert_eq!(stage.committed(0), Some(10), "{name}");
        stage.client.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listener_did_not_consume_or_finish_in_time_is_handed_back() {
    let stage = Stage::new(0..4);
    let calls = Calls::free();
    let given = calls.clone();
    let builder = stage.push().consume_batch_size(4);
    let consumer =
        builder.start(move |messages| given.clone().run(messages, Outcome::Partly(2))).await.unwrap();
    stage.desk.until("back", 2).await;
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(4));
    assert_eq!((stage.desk.count("back 2 level 0"), stage.desk.count("back 3 level 0")), (1, 1));

    stage.desk.desk().committed.insert(0, 3);
    let never = Calls::new(0);
    let builder = stage.push().consume_timeout(Duration::from_millis(50));
    let consumer =
        builder.start(move |messages| never.clone().run(messages, Outcome::Success)).await.unwrap();
    stage.desk.until("back 3 level 3", 1).await;
    // An administrator's message likewise.
    let header = ConsumeMessageDirectlyRequest {
        consumer_group: GROUP,
        client_id: Some(stage.client.client_id()),
        message_id: None,
        broker_name: Some("b"),
        topic: None,
        topic_sys_flag: None,
        group_sys_flag: None,
    };
    let request = Frame::request(RequestCode::ConsumeMessageDirectly, header.encode(), record(TOPIC, 9, "9"));
    let answer = stage.desk.ask(request).await;
    let result: ConsumeDirectlyResult = bodies::decode(&answer.body).unwrap();
    assert_eq!(result.consume_result.as_deref(), Some("CR_LATER"), "{result:?}");
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(4));

    stage.desk.desk().committed.insert(0, 3);
    let mut stream = stage.push().consume_timeout(Duration::from_millis(50)).stream(1).await.unwrap();
    stage.desk.until("back 3 level 3", 2).await;
    // Nobody took it in time: a stream must not give what comes again elsewhere.
    stage.desk.desk().messages.insert(4, "4".into());
    let delivery = stream.next().await.unwrap();
    assert_eq!(number(delivery.message()), 4);
    delivery.ack();
    stream.shutdown().await;
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_suspended_gives_the_same_messages_again() {
    let stage = Stage::new(0..2);
    let calls = Calls::free();
    let given = calls.clone();
    let consumer = stage.push().suspend(Duration::from_secs(30)).start_orderly(move |messages| {
        let again = messages[0].reconsume_times() < 2;
        let pause = OrderlyOutcome::SuspendFor(Duration::from_millis(10));
        given.clone().run(messages, if again { pause } else { OrderlyOutcome::Success })
    });
    let consumer = consumer.await.unwrap();
    assert_eq!(calls.until(6).await, [0, 0, 0, 1, 1, 1]);
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(2));
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_consumer_commits_in_time_and_follows_a_reset_at_an_old_broker() {
    let stage = Stage::new(0..6);
    let code = RequestCode::LitePullMessage;
    stage.desk.desk().refused.insert(code, ResponseCode::RequestCodeNotSupported);
    let builder = PullConsumer::builder(&stage.client).group(GROUP).consume_from(ConsumeFrom::First);
    let consumer = builder.pull_batch_size(3).auto_commit_interval(Duration::from_millis(100)).start();
    let consumer = consumer.await.unwrap();
    consumer.assign(vec![queue(0)]).await.unwrap();
    let poll = async || consumer.poll(PATIENCE).await.unwrap().iter().map(number).collect::<Vec<_>>();
    assert_eq!(poll().await, [0, 1, 2]);
    assert_eq!(poll().await, [3, 4, 5]);
    eventually("an automatic commit", || async {
        assert!(consumer.poll(Duration::from_millis(10)).await.unwrap().is_empty());
        let committed = stage.committed(0);
        if committed == Some(6) { Ok(()) } else { Err(format!("{committed:?}")) }
    })
    .await;
    stage.desk.reset(GROUP, queue(0), 1).await;
    assert_eq!(poll().await, [1, 2, 3]);
    consumer.shutdown().await;
    assert_eq!(stage.committed(0), Some(4));
    stage.client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_assigned_again_waits_for_the_commit_of_its_time_before() {
    let stage = Stage::new(0..6);
    let builder = PullConsumer::builder(&stage.client).group(GROUP).consume_from(ConsumeFrom::First);
    let consumer = builder.pull_batch_size(3).auto_commit_interval(PATIENCE).start().await.unwrap();
    consumer.assign(vec![queue(0)]).await.unwrap();
    let poll = async |wait| consumer.poll(wait).await.unwrap().iter().map(number).collect::<Vec<_>>();
    assert_eq!(poll(PATIENCE).await, [0, 1, 2]);
    assert_eq!(poll(PATIENCE).await, [3, 4, 5]);
    stage.desk.desk().keeps_commits = true;
    consumer.assign(Vec::new()).await.unwrap();
    stage.desk.until("kept", 1).await;
    consumer.assign(vec![queue(0)]).await.unwrap();
    assert!(poll(Duration::from_millis(200)).await.is_empty(), "the offset is not known yet");
    stage.desk.answer_commits();
    assert_eq!(poll(PATIENCE).await, [3, 4, 5]);
    consumer.shutdown().await;
    stage.client.shutdown().await;
}
