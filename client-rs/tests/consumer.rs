//! Push consumers against a server: what they get, and what the next member gets after them.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flotilla_client::{
    ClientError, ConsumeFrom, Event, Expression, Metrics, Model, Outcome, PushConsumer, ReceivedMessage,
};
use flotilla_remoting::bodies::{self, ConsumeDirectlyResult, ConsumerRunningInfo, ConsumerStatusBody};
use flotilla_remoting::headers::{
    ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest, GetConsumerStatusRequest,
    ResetOffsetRequest,
};
use flotilla_remoting::{RequestCode, names};
use futures::StreamExt;
use parking_lot::Mutex;
use support::raw::Raw;
use support::{Server, eventually, server, unique};
use tokio::sync::Semaphore;

/// Bodies that listeners got, in their order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, messages: &[ReceivedMessage]) {
        self.0.lock().extend(messages.iter().map(text));
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    async fn count(&self, what: &str, count: usize) {
        eventually(what, || async {
            let seen = self.0.lock().len();
            if seen >= count { Ok(()) } else { Err(format!("{seen} of {count}")) }
        })
        .await;
    }
}

fn text(message: &ReceivedMessage) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

fn sorted(mut bodies: Vec<String>) -> Vec<String> {
    bodies.sort();
    bodies
}

/// A topic of its own with messages `0..count` spread over its queues.
async fn filled(raw: &Raw, prefix: &str, queues: i32, count: usize) -> String {
    let topic = unique(prefix);
    raw.create_topic(&topic, queues).await.unwrap();
    fill(raw, &topic, queues, 0..count).await;
    topic
}

async fn fill(raw: &Raw, topic: &str, queues: i32, numbers: std::ops::Range<usize>) {
    for number in numbers {
        raw.send(topic, number as i32 % queues, "", &format!("{number:04}")).await;
    }
}

fn bodies_of(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:04}")).collect()
}

async fn queues_of(consumer: &PushConsumer, topic: &str, count: usize) {
    eventually("queues", || async {
        let queues = consumer.queues().into_iter().filter(|queue| queue.topic == topic).count();
        if queues == count { Ok(()) } else { Err(format!("{queues} of {count}")) }
    })
    .await;
}

async fn start(client: &flotilla_client::Client, group: &str, topic: &str, seen: &Seen) -> PushConsumer {
    let seen = seen.clone();
    PushConsumer::builder(client)
        .group(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::First)
        .consume_batch_size(8)
        .start(move |messages| {
            seen.add(&messages);
            async { Outcome::Success }
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_consumed_once_while_members_join_and_leave() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "join", 4, 100).await;
    let (group, seen) = (unique("g"), Seen::default());
    let (first_client, second_client) = (server.client(), server.client());
    let first = start(&first_client, &group, &topic, &seen).await;
    seen.count("all at one member", 100).await;

    let second = start(&second_client, &group, &topic, &seen).await;
    queues_of(&second, &topic, 2).await;
    queues_of(&first, &topic, 2).await;
    fill(&raw, &topic, 4, 100..200).await;
    seen.count("all at two members", 200).await;

    first.shutdown().await;
    queues_of(&second, &topic, 4).await;
    fill(&raw, &topic, 4, 200..300).await;
    seen.count("all at the other member", 300).await;
    second.shutdown().await;
    assert_eq!(sorted(seen.all()), bodies_of(0..300));
    for queue in 0..4 {
        assert_eq!(raw.committed(&group, &topic, queue).await.unwrap(), 75);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_loses_and_repeats_nothing() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "stop", 2, 300).await;
    let group = unique("g");
    let seen = Seen::default();
    for turn in 0..2 {
        let client = server.client();
        // In the first turn the last calls end when the stop has begun.
        let gate = Arc::new(Semaphore::new(if turn == 0 { 10 } else { Semaphore::MAX_PERMITS }));
        let (given, held) = (seen.clone(), gate.clone());
        let consumer = PushConsumer::builder(&client)
            .group(&group)
            .subscribe(&topic, "*")
            .consume_from(ConsumeFrom::First)
            .concurrency(3)
            .consume_batch_size(4)
            .start(move |messages| {
                let (given, held) = (given.clone(), held.clone());
                async move {
                    held.acquire().await.expect("open").forget();
                    given.add(&messages);
                    Outcome::Success
                }
            })
            .await
            .unwrap();
        if turn == 0 {
            seen.count("ten calls", 10).await;
            // The stop is under way before the calls that it has to wait for end.
            let open = async { gate.add_permits(Semaphore::MAX_PERMITS / 2) };
            tokio::join!(biased; consumer.shutdown(), open);
        } else {
            seen.count("all", 300).await;
            consumer.shutdown().await;
        }
    }
    assert_eq!(sorted(seen.all()), bodies_of(0..300));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_select_and_conditions_are_taken_or_refused() {
    let server = server();
    let raw = server.raw();
    let topic = unique("tags");
    raw.create_topic(&topic, 1).await.unwrap();
    // "Aa" and "BB" have the same hash: only the consumer can tell them apart.
    for (tag, body) in [("Aa", "1"), ("BB", "2"), ("c", "3"), ("", "4"), ("Aa", "5")] {
        raw.send(&topic, 0, tag, body).await;
    }
    let (client, seen, group) = (server.client(), Seen::default(), unique("g"));
    let given = seen.clone();
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "Aa || c")
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            given.add(&messages);
            async { Outcome::Success }
        })
        .await
        .unwrap();
    seen.count("selected", 3).await;
    consumer.shutdown().await;
    assert_eq!(sorted(seen.all()), ["1", "3", "5"]);
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 5, "what was filtered out counts too");

    let seen = Seen::default();
    let given = seen.clone();
    let started = PushConsumer::builder(&client)
        .group(unique("g"))
        .subscribe(&topic, Expression::sql92("TAGS = 'c'"))
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            given.add(&messages);
            async { Outcome::Success }
        })
        .await;
    match started {
        Ok(consumer) => {
            seen.count("selected by condition", 1).await;
            consumer.shutdown().await;
            assert_eq!(seen.all(), ["3"]);
        }
        // A broker without `enablePropertyFilter`.
        Err(ClientError::Refused { remark, .. }) => assert!(remark.contains("SQL92"), "{remark}"),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasting_gives_everything_to_each_and_goes_on_after_a_restart() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "broadcast", 2, 20).await;
    let group = unique("g");
    let folder = tempfile::tempdir().unwrap();
    let member = |name: &str, seen: &Seen| {
        let client = server.options().instance_name(name).start().unwrap();
        let (seen, topic, group, folder) =
            (seen.clone(), topic.clone(), group.clone(), folder.path().to_owned());
        async move {
            PushConsumer::builder(&client)
                .group(group)
                .subscribe(topic, "*")
                .model(Model::Broadcasting)
                .consume_from(ConsumeFrom::First)
                .offsets_folder(folder)
                .start(move |messages| {
                    seen.add(&messages);
                    async { Outcome::Success }
                })
                .await
                .unwrap()
        }
    };
    let (one, two) = (Seen::default(), Seen::default());
    let first = member("one", &one).await;
    let second = member("two", &two).await;
    one.count("all at one", 20).await;
    two.count("all at two", 20).await;
    first.shutdown().await;
    fill(&raw, &topic, 2, 20..30).await;
    let first = member("one", &one).await;
    one.count("the rest at one", 30).await;
    two.count("the rest at two", 30).await;
    first.shutdown().await;
    second.shutdown().await;
    assert_eq!(sorted(one.all()), bodies_of(0..30));
    assert_eq!(sorted(two.all()), bodies_of(0..30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_comes_again_and_then_is_a_dead_letter() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "retry", 1, 3).await;
    let (client, group) = (server.client(), unique("g"));
    // Attempts of each message: how often it had failed, and where it came from.
    type Attempts = BTreeMap<String, Vec<(i32, String)>>;
    let attempts: Arc<Mutex<Attempts>> = Arc::default();
    let noted = attempts.clone();
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .max_reconsume_times(1)
        .start(move |messages| {
            let message = &messages[0];
            let attempt = (message.reconsume_times(), message.topic().to_owned());
            noted.lock().entry(text(message)).or_default().push(attempt);
            let (body, times) = (text(message), message.reconsume_times());
            async move {
                match body.as_str() {
                    "0000" => Outcome::Success,
                    "0001" if times == 0 => panic!("a listener that panics"),
                    "0001" => Outcome::DeadLetter,
                    _ => Outcome::RetryAtLevel(1),
                }
            }
        })
        .await
        .unwrap();
    let dead = Seen::default();
    let letters = start(&server.client(), &unique("g"), &names::dlq_topic(&group), &dead).await;
    dead.count("dead letters", 2).await;
    assert_eq!(sorted(dead.all()), ["0001", "0002"]);
    let attempt = |times| (times, topic.clone());
    let expected = BTreeMap::from([
        ("0000".to_owned(), vec![attempt(0)]),
        ("0001".to_owned(), vec![attempt(0), attempt(1)]),
        ("0002".to_owned(), vec![attempt(0), attempt(1)]),
    ]);
    assert_eq!(*attempts.lock(), expected, "under the original topic, once more each");
    letters.shutdown().await;
    consumer.shutdown().await;
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_offset_takes_the_consumer_back() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "reset", 2, 20).await;
    let (client, group, seen) = (server.client(), unique("g"), Seen::default());
    let consumer = start(&client, &group, &topic, &seen).await;
    seen.count("all", 20).await;
    eventually("offsets stored", || async {
        let sum = raw.committed(&group, &topic, 0).await.unwrap_or(0)
            + raw.committed(&group, &topic, 1).await.unwrap_or(0);
        if sum == 20 { Ok(()) } else { Err(sum.to_string()) }
    })
    .await;
    let header = ResetOffsetRequest {
        topic: &topic,
        group: &group,
        queue_id: -1,
        offset: None,
        timestamp: 0,
        is_force: true,
    };
    let leader = raw.leader(&topic).await.unwrap();
    raw.ask(&leader, RequestCode::InvokeBrokerToResetOffset, header.encode(), bytes::Bytes::new())
        .await
        .unwrap();
    seen.count("all again", 40).await;
    consumer.shutdown().await;
    assert_eq!(sorted(seen.all()), sorted([bodies_of(0..20), bodies_of(0..20)].concat()));
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_asks_the_consumer() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "asked", 1, 5).await;
    let (client, group, seen) = (server.client(), unique("g"), Seen::default());
    let consumer = start(&client, &group, &topic, &seen).await;
    seen.count("all", 5).await;
    eventually("consumed", || async {
        let offsets = consumer.offsets();
        if offsets.iter().any(|(queue, offset)| queue.topic == topic && *offset == 5) {
            Ok(())
        } else {
            Err(format!("{offsets:?}"))
        }
    })
    .await;
    let leader = raw.leader(&topic).await.unwrap();
    let id = client.client_id();
    let header =
        GetConsumerRunningInfoRequest { consumer_group: &group, client_id: id, jstack_enable: false };
    let code = RequestCode::GetConsumerRunningInfo;
    let answer = raw.ask(&leader, code, header.encode(), bytes::Bytes::new()).await.unwrap();
    let info: ConsumerRunningInfo = bodies::decode(&answer.body).unwrap();
    assert_eq!(info.properties["PROP_CONSUME_TYPE"], "CONSUME_PASSIVELY");
    assert!(info.properties["PROP_CONSUMER_START_TIMESTAMP"].parse::<i64>().unwrap() > 0);
    let queue = consumer.queues().into_iter().find(|queue| queue.topic == topic).unwrap();
    assert_eq!(info.mq_table[&queue].commit_offset, 5);
    assert!(info.status_table[&topic].consume_ok_tps > 0.0);

    let header = GetConsumerStatusRequest { topic: &topic, group: &group, client_addr: None };
    let code = RequestCode::InvokeBrokerToGetConsumerStatus;
    let answer = raw.ask(&leader, code, header.encode(), bytes::Bytes::new()).await.unwrap();
    let status: ConsumerStatusBody = bodies::decode(&answer.body).unwrap();
    assert_eq!(status.consumer_table.unwrap()[id][&queue], 5);

    let probe = Arc::new(Mutex::new(None));
    let kept = probe.clone();
    let other = PushConsumer::builder(&client)
        .group(unique("g"))
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            kept.lock().get_or_insert_with(|| messages[0].offset_message_id());
            async { Outcome::Success }
        })
        .await
        .unwrap();
    let message_id = eventually("a message", || async { probe.lock().clone().ok_or(String::new()) }).await;
    other.shutdown().await;
    let header = ConsumeMessageDirectlyRequest {
        consumer_group: &group,
        client_id: Some(id),
        message_id: Some(&message_id),
        broker_name: Some(&queue.broker_name),
        topic: Some(&topic),
        topic_sys_flag: None,
        group_sys_flag: None,
    };
    let code = RequestCode::ConsumeMessageDirectly;
    let answer = raw.ask(&leader, code, header.encode(), bytes::Bytes::new()).await.unwrap();
    let result: ConsumeDirectlyResult = bodies::decode(&answer.body).unwrap();
    assert_eq!(result.consume_result.as_deref(), Some("CR_SUCCESS"));
    assert_eq!(seen.all().len(), 6);
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_again_what_is_not_acknowledged() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "stream", 2, 12).await;
    let (client, group) = (server.client(), unique("g"));
    let builder =
        PushConsumer::builder(&client).group(&group).subscribe(&topic, "*").consume_from(ConsumeFrom::First);
    let mut stream = builder.clone().stream(4).await.unwrap();
    let mut first = BTreeSet::new();
    for _ in 0..6 {
        let delivery = stream.next().await.unwrap();
        first.insert(text(delivery.message()));
        delivery.ack();
    }
    stream.shutdown().await;
    let mut stream = builder.stream(4).await.unwrap();
    let mut rest = BTreeSet::new();
    let mut retried = None;
    while rest.len() < 6 {
        let delivery = stream.next().await.unwrap();
        let body = text(delivery.message());
        if retried.is_none() {
            retried = Some(body);
            delivery.retry_later(Some(1));
            continue;
        }
        assert_eq!(delivery.message().reconsume_times() > 0, retried.as_ref() == Some(&body));
        rest.insert(body);
        delivery.ack();
    }
    stream.shutdown().await;
    assert_eq!(first.union(&rest).cloned().collect::<Vec<_>>(), bodies_of(0..12));
    assert!(first.is_disjoint(&rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_gets_nothing_new() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "pause", 1, 1).await;
    let (client, group, seen) = (server.client(), unique("g"), Seen::default());
    let consumer = start(&client, &group, &topic, &seen).await;
    seen.count("the first", 1).await;
    consumer.pause();
    assert!(consumer.is_paused());
    // One more may come with the pull that is under way; behind it nothing.
    fill(&raw, &topic, 1, 1..2).await;
    seen.count("the pull under way", 2).await;
    fill(&raw, &topic, 1, 2..4).await;
    let other = Seen::default();
    let witness = start(&server.client(), &unique("g"), &topic, &other).await;
    other.count("all at a witness", 4).await;
    assert_eq!(seen.all().len(), 2);
    consumer.resume();
    seen.count("the rest", 4).await;
    witness.shutdown().await;
    consumer.shutdown().await;
}

/// Counts what arrives.
#[derive(Debug, Default)]
struct Arrivals(AtomicUsize);

impl Metrics for Arrivals {
    fn event(&self, event: Event<'_>) {
        if let Event::Received { messages, .. } = event {
            self.0.fetch_add(messages, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_slow_stops_the_pulls() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, "slow", 1, 100).await;
    let arrivals = Arc::new(Arrivals::default());
    let client = server.options().metrics(arrivals.clone()).start().unwrap();
    let (seen, gate) = (Seen::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let (given, passing) = (seen.clone(), gate.clone());
    let consumer = PushConsumer::builder(&client)
        .group(unique("g"))
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .pull_batch_size(5)
        .queue_messages_max(10)
        .start(move |messages| {
            let (given, passing) = (given.clone(), passing.clone());
            async move {
                passing.acquire().await.unwrap().forget();
                given.add(&messages);
                Outcome::Success
            }
        })
        .await
        .unwrap();
    eventually("the bound", || async {
        let count = arrivals.0.load(Ordering::SeqCst);
        if count > 10 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    // Meanwhile another one gets everything.
    let other = Seen::default();
    let witness = start(&server.client(), &unique("g"), &topic, &other).await;
    other.count("all at a witness", 100).await;
    assert_eq!(arrivals.0.load(Ordering::SeqCst), 15, "one pull more than the bound");
    gate.add_permits(100);
    seen.count("all", 100).await;
    witness.shutdown().await;
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_leader_costs_no_message() {
    let Some(mut server) = Server::own() else { return };
    let raw = server.raw();
    let topic = filled(&raw, "fail_over", 2, 50).await;
    let (client, group, seen) = (server.client(), unique("g"), Seen::default());
    let consumer = start(&client, &group, &topic, &seen).await;
    seen.count("before", 50).await;
    server.stop_leader().await;
    fill(&raw, &topic, 2, 50..100).await;
    let all: BTreeSet<String> = bodies_of(0..100).into_iter().collect();
    eventually("after", || async {
        let seen: BTreeSet<String> = seen.all().into_iter().collect();
        if seen == all { Ok(()) } else { Err(format!("{} of 100", seen.len())) }
    })
    .await;
    consumer.shutdown().await;
    client.shutdown().await;
    let committed = raw.committed(&group, &topic, 0).await.unwrap();
    assert!(committed >= 50, "the new leader has the offset: {committed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_groups_that_make_no_sense_are_refused_before_anything_happens() {
    let server = server();
    let client = server.client();
    let listener = |_: Vec<ReceivedMessage>| async { Outcome::Success };
    let nothing = PushConsumer::builder(&client).group("g").start(listener).await;
    assert!(matches!(nothing, Err(ClientError::Invalid(_))));
    let topic = unique("none");
    let builder = PushConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
    for wrong in
        [builder.clone().concurrency(0), builder.clone().pull_batch_size(2_000), builder.clone().group("a b")]
    {
        assert!(matches!(wrong.start(listener).await, Err(ClientError::Invalid(_))));
    }
    let one = builder.clone().start(listener).await.unwrap();
    assert!(matches!(builder.start(listener).await, Err(ClientError::Invalid(_))), "the group is taken");
    one.shutdown().await;
}
