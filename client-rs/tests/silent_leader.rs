//! A leader that falls silent - paused, cut off - closes no connection and refuses nothing: what the client does when others
//! have elected a successor meanwhile, and what it leaves alone while they have not. Against servers that follow a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::future::Future;
use std::time::Duration;

use flotilla_client::{Client, ClientOptions, ConsumeFrom, Message, Producer, ProducerBuilder, PullConsumer};
use flotilla_remoting::RequestCode;
use support::desk::DeskBroker;
use support::eventually;
use support::scripted::{Act, ScriptedBroker, ScriptedNameServer};

/// What calls are allowed; nothing here may take as long.
const LONG: Duration = Duration::from_secs(60);

/// What they may take: a small part of the above, and much more than they need.
const SOON: Duration = Duration::from_secs(20);

struct World {
    names: ScriptedNameServer,
    client: Client,
}

impl World {
    fn new() -> World {
        let names = ScriptedNameServer::start();
        let options = ClientOptions::new(&names.address.to_string()).unwrap();
        let client = ClientOptions { call_timeout: LONG, ..options }.start().unwrap();
        World { names, client }
    }

    fn builder(&self) -> ProducerBuilder {
        Producer::builder(&self.client).group("g").send_timeout(LONG)
    }
}

fn message() -> Message {
    Message::new("t", "body")
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("well before the time-out of the call")
}

async fn sends_arrive(broker: &ScriptedBroker, count: usize) {
    eventually("sends", || async {
        let sent = broker.sent().len();
        (sent >= count).then_some(()).ok_or_else(|| format!("{sent} of {count}"))
    })
    .await;
}

#[tokio::test]
async fn sends_at_a_silent_leader_end_unknown_once_there_is_a_successor_and_new_ones_go_there() {
    let world = World::new();
    let (paused, elected) =
        (ScriptedBroker::start([Act::Store, Act::Silence]), ScriptedBroker::start([Act::Store]));
    world.names.route("t", &[("b", &[paused.address])]);
    let producer = world.builder().start().await.unwrap();
    producer.send(message()).await.unwrap();
    let (flying, polled) = (producer.send(message()), tokio::spawn(producer.send(message())));
    sends_arrive(&paused, 3).await;
    world.names.route("t", &[("b", &[elected.address])]);
    for error in [soon(flying).await.unwrap_err(), soon(polled).await.unwrap().unwrap_err()] {
        assert!(error.outcome_is_unknown(), "{error}");
    }
    assert!(elected.sent().is_empty(), "what may be stored was sent elsewhere");
    soon(producer.send(message())).await.unwrap();
    assert_eq!((paused.sent().len(), elected.sent().len()), (3, 1));
}

#[tokio::test]
async fn they_are_repeated_at_the_successor_when_that_is_asked_for() {
    let world = World::new();
    let (paused, elected) = (ScriptedBroker::start([Act::Silence]), ScriptedBroker::start([Act::Store]));
    world.names.route("t", &[("b", &[paused.address])]);
    let producer = world.builder().retry_unknown(true).start().await.unwrap();
    let flying = tokio::spawn(producer.send(message()));
    sends_arrive(&paused, 1).await;
    world.names.route("t", &[("b", &[elected.address])]);
    soon(flying).await.unwrap().unwrap();
    assert_eq!((paused.sent().len(), elected.sent().len()), (1, 1));
}

#[tokio::test]
async fn a_slow_leader_is_waited_for_as_long_as_no_other_leads() {
    let world = World::new();
    let slow = Duration::from_secs(3);
    let broker = ScriptedBroker::start([Act::Store, Act::StoreAfter(slow), Act::StoreAfter(slow / 15)]);
    world.names.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().start().await.unwrap();
    producer.send(message()).await.unwrap();
    let before = world.names.asked("t");
    let late = tokio::spawn(producer.send(message()));
    sends_arrive(&broker, 2).await;
    for _ in 0..10 {
        // The others are answered soon.
        producer.send(message()).await.unwrap();
    }
    late.await.unwrap().unwrap();
    let asked = world.names.asked("t") - before;
    assert!((1..=25).contains(&asked), "asked {asked} times");
    assert_eq!(broker.sent().len(), 12);
}

#[tokio::test]
async fn a_silent_leader_costs_name_servers_few_questions_however_many_topics_it_leads() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Silence]);
    let producer = world.builder().start().await.unwrap();
    let topics: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        world.names.route(topic, &[("b", &[broker.address])]);
        producer.queues(topic).await.unwrap();
    }
    let mut sends: Vec<_> =
        topics.iter().map(|topic| producer.send(Message::new(topic.clone(), "b"))).collect();
    let first = sends.pop().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(3), first).await;
    assert!(ended.is_err(), "there is no successor: {ended:?}");
    let asked: usize = topics.iter().map(|topic| world.names.asked(topic)).sum();
    assert!(asked > topics.len(), "nobody asked");
    assert!(asked <= topics.len() + 40, "asked {asked} times");

    // One answer is enough for all.
    let elected = ScriptedBroker::start([Act::Store]);
    for topic in &topics {
        world.names.route(topic, &[("b", &[elected.address])]);
    }
    for send in sends {
        assert!(soon(send).await.unwrap_err().outcome_is_unknown());
    }
    for topic in &topics {
        soon(producer.send(Message::new(topic.clone(), "b"))).await.unwrap();
    }
    assert_eq!((broker.sent().len(), elected.sent().len()), (50, 50));
}

#[tokio::test]
async fn a_consumer_whose_pull_is_held_leaves_a_silent_leader_too() {
    a_consumer_goes_on_at_the_successor(async |_, paused| {
        paused.desk().mute = true;
        // A sign of life was asked for and is not given.
        paused.until(&format!("mute {}", RequestCode::CheckClientConfig), 1).await;
    })
    .await;
}

#[tokio::test]
async fn it_leaves_one_that_gives_signs_of_life_and_is_cut_off_from_its_group_as_well() {
    a_consumer_goes_on_at_the_successor(async |world, cut_off| {
        eventually("signs of life", || async {
            let probed = cut_off.desk().probed;
            (probed >= 2).then_some(()).ok_or_else(|| format!("{probed} given"))
        })
        .await;
        let before = world.names.asked("t");
        eventually("a question for the route", || async {
            (world.names.asked("t") > before).then_some(()).ok_or_else(|| "nobody asked".to_owned())
        })
        .await;
    })
    .await;
}

/// A consumer reads all that its broker has; that one then has no more and `falls`, and another one leads and has more.
async fn a_consumer_goes_on_at_the_successor(falls: impl AsyncFnOnce(&World, &DeskBroker)) {
    let world = World::new();
    let (paused, elected) = (DeskBroker::start(0..2), DeskBroker::start(0..4));
    paused.desk().silent = true;
    world.names.route("t", &[("b", &[paused.address])]);
    let consumer = PullConsumer::builder(&world.client)
        .group("g")
        .consume_from(ConsumeFrom::First)
        .auto_commit(false)
        .start()
        .await
        .unwrap();
    let queue = consumer.fetch_message_queues("t").await.unwrap()[0].clone();
    consumer.assign(vec![queue.clone()]).await.unwrap();
    consumer.seek(&queue, 0).await.unwrap();
    let mut bodies = Vec::new();
    let poll = async |bodies: &mut Vec<String>, count: usize| {
        while bodies.len() < count {
            let messages = consumer.poll(Duration::from_secs(1)).await.unwrap();
            bodies.extend(messages.iter().map(|m| String::from_utf8_lossy(m.body()).into_owned()));
        }
    };
    soon(poll(&mut bodies, 2)).await;
    falls(&world, &paused).await;
    world.names.route("t", &[("b", &[elected.address])]);
    soon(poll(&mut bodies, 4)).await;
    assert_eq!(bodies, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn calls_that_may_be_done_twice_go_on_at_the_successor() {
    let world = World::new();
    let (paused, elected) = (DeskBroker::start(0..1), DeskBroker::start(0..1));
    elected.desk().committed.insert(0, 7);
    world.names.route("t", &[("b", &[paused.address])]);
    let consumer = PullConsumer::builder(&world.client).group("g").start().await.unwrap();
    let queue = consumer.fetch_message_queues("t").await.unwrap()[0].clone();
    paused.desk().mute = true;
    let asking = consumer.committed(&queue);
    let switching = async {
        paused.until("mute", 1).await;
        world.names.route("t", &[("b", &[elected.address])]);
    };
    let (committed, ()) = tokio::join!(soon(asking), switching);
    assert_eq!(committed.unwrap(), Some(7));
}
