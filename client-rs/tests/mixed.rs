//! The Rust client and the official Java client beside each other: what one sends the other reads, and both share the queues of
//! one group. Needs `COMPAT_JAVA_CLASSPATH`, which tests/compat/rust/run.sh sets; says "skipped" without.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flotilla_client::admin::{AdminClient, Scope, TopicSettings};
use flotilla_client::{
    Client, Codec, ConsumeFrom, Message, MessageQueue, OrderlyOutcome, Outcome, Producer, PushConsumer,
    ReceivedMessage,
};
use tokio::sync::mpsc;

use support::java::{Java, word};
use support::{PATIENCE, Server, eventually, server, unique};

/// Values that survive only when both sides read the property text alike.
const QUIRKS: [(&str, &str); 6] = [
    ("plain", "value"),
    ("空白", "Grüße, 世界 🚀"),
    ("spaces and = : ;", " leading, trailing "),
    ("newline", "a\nb\r\tc"),
    ("quotes", "\"'\\{}[]"),
    ("n", "0"),
];

struct Fixture {
    _server: Arc<Server>,
    client: Client,
    admin: AdminClient,
    java: Java,
    topic: String,
    group: String,
}

impl Fixture {
    async fn new(name: &str, queues: u32) -> Option<Fixture> {
        let server = server();
        let java = Java::start(server.name_server()).await?;
        let client = server.client();
        let admin = AdminClient::new(&client).patience(Duration::from_secs(30));
        let (topic, group) = (unique(name), unique(name));
        admin.create_topic(&topic, &TopicSettings::queues(queues), &Scope::All).await.unwrap();
        Some(Fixture { _server: server, client, admin, java, topic, group })
    }

    async fn producer(&self, codec: Option<Codec>) -> Producer {
        let builder = Producer::builder(&self.client).group(unique("mixed")).compress_above(1);
        builder.compression(codec).send_timeout(Duration::from_secs(20)).start().await.unwrap()
    }

    /// A push consumer of the fixture's group, and what it is given.
    async fn consumer(&self) -> (PushConsumer, mpsc::UnboundedReceiver<ReceivedMessage>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let consumer = PushConsumer::builder(&self.client)
            .group(&self.group)
            .subscribe(&self.topic, "*")
            .consume_from(ConsumeFrom::First)
            .start(move |messages| {
                let sender = sender.clone();
                async move {
                    messages.into_iter().for_each(|message| drop(sender.send(message)));
                    Outcome::Success
                }
            })
            .await
            .unwrap();
        (consumer, receiver)
    }

    async fn java_consumer(&mut self, kind: &str) {
        let line = format!("consumer {} {} {} {kind}", self.group, self.topic, word("*"));
        self.java.tell(&line).await.unwrap();
    }

    async fn java_queues(&mut self) -> BTreeSet<String> {
        let answer = self.java.tell(&format!("queues {}", self.group)).await.unwrap();
        answer.into_iter().filter(|queue| !queue.is_empty()).collect()
    }
}

async fn next(receiver: &mut mpsc::UnboundedReceiver<ReceivedMessage>) -> ReceivedMessage {
    let message = tokio::time::timeout(PATIENCE, receiver.recv()).await;
    message.expect("no message at the Rust consumer").unwrap()
}

fn name(queue: &MessageQueue) -> String {
    format!("{}:{}:{}", queue.topic, queue.broker_name, queue.queue_id)
}

fn body(codec: &str) -> String {
    format!("{codec} ").repeat(2_000)
}

const CODECS: [(&str, Option<Codec>); 4] = [
    ("NONE", None),
    ("ZLIB", Some(Codec::Zlib(5))),
    ("LZ4", Some(Codec::Lz4)),
    ("ZSTD", Some(Codec::Zstd(3))),
];

#[tokio::test(flavor = "multi_thread")]
async fn java_reads_what_rust_sends_by_every_codec() {
    let Some(mut it) = Fixture::new("to_java", 1).await else { return };
    it.java_consumer("concurrent").await;
    for (name, codec) in CODECS {
        let producer = it.producer(codec).await;
        let mut message = Message::new(&it.topic, body(name)).tag(name).key("k1").key("k2").flag(7);
        for (name, value) in QUIRKS {
            message = message.property(name, value);
        }
        let sent = producer.send(message).await.unwrap();
        let got = it.java.got().await;
        assert_eq!(String::from_utf8(got.body).unwrap(), body(name));
        assert_eq!((got.message_id.as_str(), got.queue_offset), (sent.message_id(), sent.queue_offset()));
        assert_eq!((got.flag, got.attempts, got.queue_id), (7, 0, 0));
        assert_eq!((got.properties["TAGS"].as_str(), got.properties["KEYS"].as_str()), (name, "k1 k2"));
        for (name, value) in QUIRKS {
            assert_eq!(got.properties[name], value, "{name}");
        }
        producer.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_reads_what_java_sends_by_every_codec() {
    let Some(mut it) = Fixture::new("to_rust", 1).await else { return };
    let (consumer, mut received) = it.consumer().await;
    for (name, codec) in CODECS {
        it.java.tell(&format!("producer {} {name}", it.group)).await.unwrap();
        let pairs: Vec<String> =
            QUIRKS.iter().map(|(name, value)| format!("{}:{}", word(name), word(value))).collect();
        let line = format!(
            "send {} {} {} -3 {} {}",
            it.topic,
            word(name),
            word("k1 k2"),
            word(body(name)),
            pairs.join(" ")
        );
        let sent = it.java.tell(&line).await.unwrap();
        let message = next(&mut received).await;
        assert_eq!(message.body(), body(name).as_bytes());
        assert_eq!(message.sys_flag().compression().is_some(), codec.is_some(), "{name}");
        assert_eq!(
            (message.message_id(), message.queue_offset().to_string()),
            (sent[0].clone(), sent[3].clone())
        );
        assert_eq!((message.flag(), message.tag(), message.topic()), (-3, Some(name), it.topic.as_str()));
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        for (name, value) in QUIRKS {
            assert_eq!(message.property(name), Some(value), "{name}");
        }
    }
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_go_both_ways_in_order() {
    let Some(mut it) = Fixture::new("batch", 1).await else { return };
    let bodies: Vec<String> = (0..10).map(|n| format!("body {n}")).collect();
    it.java_consumer("orderly").await;
    let producer = it.producer(None).await;
    let messages = bodies.iter().map(|body| Message::new(&it.topic, body.clone()).tag("t")).collect();
    producer.send_batch(messages).await.unwrap();
    for body in &bodies {
        let got = it.java.got().await;
        assert_eq!(
            (String::from_utf8(got.body).unwrap(), got.properties["TAGS"].as_str()),
            (body.clone(), "t")
        );
    }
    it.java.tell(&format!("stop {}", it.group)).await.unwrap();

    it.java.tell(&format!("producer {} NONE", it.group)).await.unwrap();
    let words: Vec<String> = bodies.iter().map(word).collect();
    it.java.tell(&format!("batch {} {}", it.topic, words.join(" "))).await.unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder(&it.client)
        .group(&it.group)
        .subscribe(&it.topic, "*")
        .start_orderly(move |messages| {
            let sender = sender.clone();
            async move {
                messages.into_iter().for_each(|message| drop(sender.send(message)));
                OrderlyOutcome::Success
            }
        })
        .await
        .unwrap();
    // The offset that the Java consumer left is where the Rust consumer goes on.
    for body in &bodies {
        let message = next(&mut received).await;
        assert_eq!(message.body(), body.as_bytes());
        assert!(message.queue_offset() >= 10);
    }
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clients_share_the_queues_of_a_group_and_take_over_from_each_other() {
    let Some(mut it) = Fixture::new("shared", 8).await else { return };
    let all: BTreeSet<String> =
        it.admin.topic_stats(&it.topic).await.unwrap().offset_table.keys().map(name).collect();
    it.java_consumer("concurrent").await;
    let (consumer, mut received) = it.consumer().await;
    let mut shares = (BTreeSet::new(), BTreeSet::new());
    eventually("halves", async || {
        let rust: BTreeSet<String> =
            consumer.queues().iter().filter(|queue| queue.topic == it.topic).map(name).collect();
        let java = it.java_queues().await;
        let whole: BTreeSet<String> = rust.union(&java).cloned().collect();
        let fair = rust.is_disjoint(&java) && whole == all && rust.len().abs_diff(java.len()) <= 1;
        shares = (rust, java);
        if fair { Ok(()) } else { Err(format!("{shares:?}")) }
    })
    .await;
    let producer = it.producer(None).await;
    let queues = producer.queues(&it.topic).await.unwrap();
    let mut sent = BTreeMap::new();
    for n in 0..80 {
        let queue = &queues[n % queues.len()];
        let result = producer.send_to(Message::new(&it.topic, format!("{n}")), queue).await.unwrap();
        sent.insert(result.message_id().to_owned(), name(queue));
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    eventually("all messages", async || {
        while let Ok(message) = received.try_recv() {
            assert!(seen.insert(message.message_id(), "rust").is_none(), "{message:?} came twice");
        }
        for got in it.java.got_already() {
            assert!(seen.insert(got.message_id.clone(), "java").is_none(), "{got:?} came twice");
        }
        if seen.len() == sent.len() { Ok(()) } else { Err(format!("{} of {}", seen.len(), sent.len())) }
    })
    .await;
    for (id, queue) in &sent {
        let owner = if shares.0.contains(queue) { "rust" } else { "java" };
        assert_eq!(seen[id], owner, "{queue}");
    }
    consumer.shutdown().await;
    eventually("everything at Java's", async || {
        let java = it.java_queues().await;
        if java == all { Ok(()) } else { Err(format!("{java:?}")) }
    })
    .await;
    // What the Rust consumer committed is not given to the Java consumer again.
    producer.send(Message::new(&it.topic, "after")).await.unwrap();
    let got = it.java.got().await;
    assert_eq!(String::from_utf8(got.body).unwrap(), "after");
    let (consumer, _received) = it.consumer().await;
    it.java.tell(&format!("stop {}", it.group)).await.unwrap();
    eventually("everything at Rust's", async || {
        let rust: BTreeSet<String> =
            consumer.queues().iter().filter(|queue| queue.topic == it.topic).map(name).collect();
        if rust == all { Ok(()) } else { Err(format!("{rust:?}")) }
    })
    .await;
    eventually("no lag", async || {
        let lag = it.admin.progress(&it.group, Some(&it.topic)).await.unwrap().lag_of(&it.topic);
        if lag == 0 { Ok(()) } else { Err(format!("{lag}")) }
    })
    .await;
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_java_fails_rust_tries_again() {
    let Some(mut it) = Fixture::new("retried", 1).await else { return };
    it.java_consumer("failing-once").await;
    let producer = it.producer(None).await;
    let sent = producer.send(Message::new(&it.topic, "again").tag("t").property("p", "v")).await.unwrap();
    assert_eq!(it.java.got().await.attempts, 0);
    it.java.tell(&format!("stop {}", it.group)).await.unwrap();
    let (consumer, mut received) = it.consumer().await;
    let message = next(&mut received).await;
    assert_eq!((message.message_id().as_str(), message.reconsume_times()), (sent.message_id(), 1));
    assert_eq!((message.topic(), message.body().as_ref()), (it.topic.as_str(), b"again".as_slice()));
    assert_eq!((message.tag(), message.property("p")), (Some("t"), Some("v")));
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rust_fails_java_tries_again() {
    let Some(mut it) = Fixture::new("failed", 1).await else { return };
    let (sender, mut received) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder(&it.client)
        .group(&it.group)
        .subscribe(&it.topic, "*")
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            let sender = sender.clone();
            async move {
                messages.into_iter().for_each(|message| drop(sender.send(message)));
                Outcome::RetryAtLevel(1)
            }
        })
        .await
        .unwrap();
    it.java.tell(&format!("producer {} ZLIB", it.group)).await.unwrap();
    let line = format!(
        "send {} {} {} 0 {} {}:{}",
        it.topic,
        word("t"),
        word("k"),
        word("again"),
        word("p"),
        word("v")
    );
    let sent = it.java.tell(&line).await.unwrap();
    assert_eq!(next(&mut received).await.reconsume_times(), 0);
    consumer.shutdown().await;
    it.java_consumer("concurrent").await;
    let got = it.java.got().await;
    assert_eq!((got.message_id.as_str(), got.topic.as_str()), (sent[0].as_str(), it.topic.as_str()));
    assert!(got.attempts >= 1, "{got:?}");
    assert_eq!((got.body.as_slice(), got.properties["p"].as_str()), (b"again".as_slice(), "v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_across_clients() {
    let Some(mut it) = Fixture::new("request", 1).await else { return };
    it.java.tell(&format!("producer {} ZLIB", unique("replies"))).await.unwrap();
    it.java_consumer("replying").await;
    let producer = it.producer(None).await;
    let reply = producer.request(Message::new(&it.topic, "question"), PATIENCE).await.unwrap();
    assert_eq!(reply.body, "question");
    it.java.tell(&format!("stop {}", it.group)).await.unwrap();

    let replies = it.producer(Some(Codec::Zlib(5))).await;
    let consumer = PushConsumer::builder(&it.client)
        .group(&it.group)
        .subscribe(&it.topic, "*")
        .start(move |messages| {
            let replies = replies.clone();
            async move {
                for message in messages {
                    replies.reply(&message, format!("to {:?}", message.body())).await.unwrap();
                }
                Outcome::Success
            }
        })
        .await
        .unwrap();
    let line = format!("request {} {} {}", it.topic, word("from Java"), PATIENCE.as_millis());
    let answer = it.java.tell(&line).await.unwrap();
    let text = String::from_utf8(support::java::bytes(&answer[0]).unwrap()).unwrap();
    assert_eq!(text, format!("to {:?}", bytes::Bytes::from("from Java")));
    consumer.shutdown().await;
}
