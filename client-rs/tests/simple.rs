//! The simple consumer. RocketMQ serves pop, and there everything is tried; Flotilla refuses it so far, and there the refusal is.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_client::admin::{AdminClient, GroupSettings, MessageRequestMode, Scope, TopicSettings};
use flotilla_client::simple::{Assignment, ReceiptHandle, TopicMark};
use flotilla_client::{Client, ClientError, ResponseCode, SimpleConsumer};

use support::raw::Raw;
use support::{PATIENCE, Server, eventually, server, unique};

/// Long enough that nothing comes again by itself.
const HIDDEN: Duration = Duration::from_secs(120);

struct Fixture {
    _server: Arc<Server>,
    client: Client,
    admin: AdminClient,
    raw: Raw,
    topic: String,
    group: String,
    leader: String,
    /// The server has pop.
    pops: bool,
}

impl Fixture {
    async fn new(name: &str, queues: u32) -> Fixture {
        let server = server();
        let client = server.client();
        let admin = AdminClient::new(&client).patience(Duration::from_secs(30));
        let leader = eventually("a leader", async || {
            let cluster = admin.cluster().await.map_err(|error| error.to_string())?;
            cluster.leaders().values().next().map(|leader| (*leader).to_owned()).ok_or("no leader yet".into())
        })
        .await;
        let (topic, group) = (unique(name), unique(name));
        admin.create_topic(&topic, &TopicSettings::queues(queues), &Scope::All).await.unwrap();
        let settings = GroupSettings { group_name: group.clone(), ..GroupSettings::default() };
        admin.create_group(&settings, &Scope::All).await.unwrap();
        // A broker that has pop knows which topics are read so.
        let mode = admin.set_request_mode(&topic, &group, MessageRequestMode::Pull, 0).await;
        let pops = match mode {
            Ok(()) => true,
            Err(error) if error.code() == Some(ResponseCode::RequestCodeNotSupported) => false,
            Err(error) => panic!("{error}"),
        };
        let raw = server.raw();
        Fixture { _server: server, client, admin, raw, topic, group, leader, pops }
    }

    /// For tests that need pop: says aloud what is not tested.
    async fn popping(name: &str, queues: u32) -> Option<Fixture> {
        let it = Fixture::new(name, queues).await;
        if !it.pops {
            eprintln!("skipped: {name} needs pop, which this server does not have");
            return None;
        }
        Some(it)
    }

    async fn consumer(&self, tags: &str) -> SimpleConsumer {
        SimpleConsumer::builder(&self.client)
            .group(&self.group)
            .subscribe(&self.topic, tags)
            .start()
            .await
            .unwrap()
    }

    async fn send(&self, queue_id: i32, body: &str, properties: &[(&str, &str)]) {
        self.raw.send_to(&self.leader, &self.topic, queue_id, body, properties).await.unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn a_server_without_pop_refuses_with_its_reason() {
    run(async {
        let it = Fixture::new("refusal", 1).await;
        if it.pops {
            eprintln!("skipped: this server has pop");
            return;
        }
        let consumer = it.consumer("*").await;
        let began = Instant::now();
        let refused = consumer.receive(1, HIDDEN, PATIENCE).await.unwrap_err();
        assert!(began.elapsed() < PATIENCE / 2, "a refusal is not waited out");
        let handle = ReceiptHandle {
            start_offset: 0,
            pop_time: 1,
            invisible_time_ms: 1,
            revive_queue_id: 0,
            mark: TopicMark::Normal,
            broker_name: it.admin.cluster().await.unwrap().brokers.into_keys().next().unwrap(),
            queue_id: 0,
            message_offset: Some(0),
        };
        let ack = consumer.ack_handle(&it.topic, &handle).await.unwrap_err();
        let change = consumer.change_invisible_handle(&it.topic, &handle, HIDDEN).await.unwrap_err();
        for error in [refused, ack, change] {
            let ClientError::Refused { code, remark, .. } = &error else { panic!("{error}") };
            assert_eq!(*code, ResponseCode::RequestCodeNotSupported);
            assert!(remark.contains("pop consumption is not part of this version"), "{remark}");
        }
    });
}

#[test]
fn mistakes_are_named() {
    run(async {
        let it = Fixture::new("mistakes", 1).await;
        let nothing = SimpleConsumer::builder(&it.client).group(&it.group).start().await;
        assert!(matches!(nothing, Err(ClientError::Invalid(_))), "{nothing:?}");
        let group = SimpleConsumer::builder(&it.client).group("a b").subscribe(&it.topic, "*").start().await;
        assert!(matches!(group, Err(ClientError::Invalid(_))), "{group:?}");
        let missing = unique("missing");
        let topic =
            SimpleConsumer::builder(&it.client).group(&it.group).subscribe(&missing, "*").start().await;
        assert!(matches!(topic, Err(ClientError::NoRoute { .. })), "{topic:?}");
        let consumer = it.consumer("*").await;
        let twice =
            SimpleConsumer::builder(&it.client).group(&it.group).subscribe(&it.topic, "*").start().await;
        assert!(matches!(twice, Err(ClientError::Invalid(_))), "{twice:?}");
        for (max, invisible) in [(0, HIDDEN), (1, Duration::ZERO)] {
            let outcome = consumer.receive(max, invisible, PATIENCE).await;
            assert!(matches!(outcome, Err(ClientError::Invalid(_))), "{outcome:?}");
        }
        consumer.shutdown().await;
        it.consumer("*").await.shutdown().await;
    });
}

#[test]
fn each_message_is_given_once_and_none_is_left_after_its_acknowledgement() {
    run(async {
        let Some(it) = Fixture::popping("once", 4).await else { return };
        for n in 0..100 {
            it.send(n % 4, &format!("{n}"), &[("n", &format!("{n}"))]).await;
        }
        let consumer = it.consumer("*").await;
        let mut bodies = BTreeSet::new();
        eventually("all messages", async || {
            let messages = consumer.receive(40, HIDDEN, Duration::from_secs(5)).await.unwrap();
            assert!(messages.len() <= 40);
            for message in &messages {
                assert_eq!(message.topic(), it.topic);
                assert_eq!(message.property("n"), Some(text(message.body()).as_str()));
                assert_eq!(message.handle().message_offset, Some(message.queue_offset()));
                assert!(bodies.insert(text(message.body())), "{:?} was given twice", message.body());
            }
            // Half of them one by one.
            let (one, many) = messages.split_at(messages.len() / 2);
            for message in one {
                consumer.ack(message).await.unwrap();
            }
            assert!(consumer.ack_many(many).await.into_iter().all(|outcome| outcome.is_ok()));
            if bodies.len() == 100 { Ok(()) } else { Err(format!("{} messages", bodies.len())) }
        })
        .await;
        assert!(consumer.receive(10, HIDDEN, Duration::ZERO).await.unwrap().is_empty());
        eventually("no lag", async || {
            let progress = it.admin.progress(&it.group, Some(&it.topic)).await.unwrap();
            match (progress.queues.len(), progress.lag_of(&it.topic)) {
                (4.., 0) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        consumer.shutdown().await;
    });
}

#[test]
fn what_is_not_acknowledged_comes_again_and_can_be_acknowledged_then() {
    run(async {
        let Some(it) = Fixture::popping("again", 1).await else { return };
        it.send(0, "again", &[("TAGS", "t")]).await;
        let consumer = it.consumer("t").await;
        let mut first = consumer.receive(1, Duration::from_secs(2), PATIENCE).await.unwrap();
        let first = first.remove(0);
        assert_eq!((first.reconsume_times(), first.handle().mark), (0, TopicMark::Normal));
        let mut again = Vec::new();
        while again.is_empty() {
            again = consumer.receive(1, HIDDEN, PATIENCE).await.unwrap();
        }
        let second = &again[0];
        assert_eq!(
            (second.body(), second.topic(), second.reconsume_times()),
            (first.body(), it.topic.as_str(), 1)
        );
        assert_ne!(second.handle().mark, TopicMark::Normal, "it lies in a retry topic");
        consumer.ack(second).await.unwrap();
        // The first handle is too late, which is no error, and no use.
        consumer.ack(&first).await.unwrap();
        assert!(consumer.receive(1, HIDDEN, Duration::from_secs(4)).await.unwrap().is_empty());
    });
}

#[test]
fn a_longer_time_keeps_a_message_hidden_and_gives_a_new_handle() {
    run(async {
        let Some(it) = Fixture::popping("longer", 1).await else { return };
        it.send(0, "slow", &[]).await;
        let consumer = it.consumer("*").await;
        let mut messages = consumer.receive(1, Duration::from_secs(3), PATIENCE).await.unwrap();
        let message = &mut messages[0];
        let old = message.handle().clone();
        consumer.change_invisible(message, HIDDEN).await.unwrap();
        assert_ne!(*message.handle(), old);
        assert!(message.visible_at_ms() > old.pop_time + old.invisible_time_ms + 60_000);
        assert!(
            consumer.receive(1, HIDDEN, Duration::from_secs(6)).await.unwrap().is_empty(),
            "still hidden"
        );
        consumer.ack(message).await.unwrap();
    });
}

#[test]
fn a_waiting_receive_gets_a_message_of_any_topic_as_it_arrives() {
    run(async {
        let Some(it) = Fixture::popping("waiting", 2).await else { return };
        let other = unique("other");
        it.admin.create_topic(&other, &TopicSettings::queues(1), &Scope::All).await.unwrap();
        let builder = SimpleConsumer::builder(&it.client)
            .group(&it.group)
            .subscribe(&it.topic, "*")
            .subscribe(&other, "*");
        let consumer = builder.start().await.unwrap();
        assert!(consumer.receive(1, HIDDEN, Duration::ZERO).await.unwrap().is_empty());
        for topic in [&it.topic, &other, &it.topic] {
            let waiting = consumer.clone();
            let receive = tokio::spawn(async move { waiting.receive(1, HIDDEN, PATIENCE).await });
            it.raw.send_to(&it.leader, topic, 0, "arrived", &[]).await.unwrap();
            let messages = receive.await.unwrap().unwrap();
            assert_eq!((messages.len(), messages[0].topic()), (1, topic.as_str()));
            consumer.ack(&messages[0]).await.unwrap();
        }
    });
}

#[test]
fn only_subscribed_tags_come_and_the_others_count_as_consumed() {
    run(async {
        let Some(it) = Fixture::popping("tags", 1).await else { return };
        // "Aa" and "BB" have the same hash.
        for tag in ["Aa", "BB", "c", "Aa"] {
            it.send(0, tag, &[("TAGS", tag)]).await;
        }
        let consumer = it.consumer("Aa || d").await;
        let mut bodies = Vec::new();
        while bodies.len() < 2 {
            let messages = consumer.receive(32, HIDDEN, PATIENCE).await.unwrap();
            assert!(!messages.is_empty(), "only {bodies:?}");
            bodies.extend(messages.iter().map(|message| text(message.body())));
            consumer.ack_many(&messages).await.into_iter().for_each(|outcome| outcome.unwrap());
        }
        assert_eq!(bodies, ["Aa", "Aa"]);
        assert!(consumer.receive(32, HIDDEN, Duration::from_secs(1)).await.unwrap().is_empty());
    });
}

#[test]
fn an_ordered_queue_waits_for_its_messages() {
    run(async {
        let Some(it) = Fixture::popping("ordered", 1).await else { return };
        let settings = GroupSettings {
            group_name: it.group.clone(),
            consume_message_orderly: true,
            ..GroupSettings::default()
        };
        it.admin.create_group(&settings, &Scope::All).await.unwrap();
        for n in 0..4 {
            it.send(0, &format!("{n}"), &[]).await;
        }
        let builder =
            SimpleConsumer::builder(&it.client).group(&it.group).subscribe(&it.topic, "*").ordered();
        let consumer = builder.start().await.unwrap();
        let first = consumer.receive(2, HIDDEN, PATIENCE).await.unwrap();
        assert_eq!(first.iter().map(|message| text(message.body())).collect::<Vec<_>>(), ["0", "1"]);
        assert!(consumer.receive(2, HIDDEN, Duration::ZERO).await.unwrap().is_empty(), "the queue is held");
        consumer.ack_many(&first).await.into_iter().for_each(|outcome| outcome.unwrap());
        let then = consumer.receive(2, HIDDEN, PATIENCE).await.unwrap();
        assert_eq!(then.iter().map(|message| text(message.body())).collect::<Vec<_>>(), ["2", "3"]);
        consumer.ack_many(&then).await.into_iter().for_each(|outcome| outcome.unwrap());
    });
}

#[test]
fn brokers_share_out_queues_when_asked_to() {
    run(async {
        let Some(it) = Fixture::popping("shared", 4).await else { return };
        it.admin.set_request_mode(&it.topic, &it.group, MessageRequestMode::Pop, 0).await.unwrap();
        let assignment = || Assignment::Broker("AVG".into());
        let builder = SimpleConsumer::builder(&it.client)
            .group(&it.group)
            .subscribe(&it.topic, "*")
            .assignment(assignment());
        let consumer = builder.start().await.unwrap();
        let expected: BTreeMap<String, i32> = (0..8).map(|n| (format!("{n}"), n % 4)).collect();
        for (body, queue_id) in &expected {
            it.send(*queue_id, body, &[]).await;
        }
        let mut found = BTreeMap::new();
        eventually("all queues", async || {
            for message in consumer.receive(32, HIDDEN, Duration::from_secs(5)).await.unwrap() {
                found.insert(text(message.body()), message.queue().queue_id);
                consumer.ack(&message).await.unwrap();
            }
            if found.len() == expected.len() { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        assert_eq!(found, expected);
    });
}
