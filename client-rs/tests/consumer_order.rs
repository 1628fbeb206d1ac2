//! Orderly consumers: the order of each queue, over failures of the listener, members that come, and the end of the leader.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flotilla_client::{Client, ConsumeFrom, OrderlyOutcome, PushConsumer, ReceivedMessage};
use flotilla_remoting::names;
use parking_lot::Mutex;
use support::{Server, eventually, server, unique};

/// Consumed bodies by queue, in order; and the queues in which a call runs.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    consumed: BTreeMap<i32, Vec<String>>,
    running: BTreeSet<i32>,
}

impl Book {
    /// A call for a queue begins.
    fn enter(&self, queue_id: i32) {
        assert!(self.0.lock().running.insert(queue_id), "two calls at once for queue {queue_id}");
    }

    fn leave(&self, messages: &[ReceivedMessage], consumed: bool) {
        let queue_id = messages[0].queue().queue_id;
        let mut book = self.0.lock();
        book.running.remove(&queue_id);
        if consumed {
            let bodies = messages.iter().map(|message| String::from_utf8_lossy(message.body()).into_owned());
            book.consumed.entry(queue_id).or_default().extend(bodies);
        }
    }

    fn count(&self) -> usize {
        self.0.lock().consumed.values().map(Vec::len).sum()
    }

    async fn reaches(&self, count: usize) {
        eventually("consumed", || async {
            let seen = self.count();
            if seen >= count {
                Ok(())
            } else {
                Err(format!("{seen} of {count}: {:?}", self.0.lock().consumed))
            }
        })
        .await;
    }

    fn queues(&self) -> BTreeMap<i32, Vec<String>> {
        self.0.lock().consumed.clone()
    }
}

/// A consumer whose listener fails once on each message whose number ends in 7.
async fn start(client: &Client, group: &str, topic: &str, book: &Book) -> PushConsumer {
    let book = book.clone();
    let failed: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    PushConsumer::builder(client)
        .group(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::First)
        .suspend(Duration::from_millis(10))
        .start_orderly(move |messages| {
            let (book, failed) = (book.clone(), failed.clone());
            async move {
                book.enter(messages[0].queue().queue_id);
                tokio::task::yield_now().await;
                let body = String::from_utf8_lossy(messages[0].body()).into_owned();
                let fails = body.ends_with('7') && failed.lock().insert(body);
                book.leave(&messages, !fails);
                if fails { OrderlyOutcome::Suspend } else { OrderlyOutcome::Success }
            }
        })
        .await
        .unwrap()
}

fn numbers(range: std::ops::Range<usize>, queue_id: usize, queues: usize) -> Vec<String> {
    range.filter(|number| number % queues == queue_id).map(|number| format!("{number:04}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_keep_their_order_while_members_come_and_go_under_load() {
    let server = server();
    let raw = Arc::new(server.raw());
    let topic = unique("order");
    raw.create_topic(&topic, 4).await.unwrap();
    let (group, book) = (unique("g"), Book::default());
    let sending = tokio::spawn({
        let (raw, topic) = (raw.clone(), topic.clone());
        async move {
            for number in 0..400 {
                raw.send(&topic, number % 4, "", &format!("{number:04}")).await;
            }
        }
    });
    let first = start(&server.client(), &group, &topic, &book).await;
    book.reaches(50).await;
    let second = start(&server.client(), &group, &topic, &book).await;
    eventually("shared", || async {
        let queues = second.queues().iter().filter(|queue| queue.topic == topic).count();
        if queues == 2 { Ok(()) } else { Err(queues.to_string()) }
    })
    .await;
    first.shutdown().await;
    sending.await.unwrap();
    book.reaches(400).await;
    second.shutdown().await;
    for (queue_id, bodies) in book.queues() {
        assert_eq!(bodies, numbers(0..400, queue_id as usize, 4), "queue {queue_id}: in order, once each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_keep_their_order_when_the_leader_ends() {
    let Some(mut server) = Server::own() else { return };
    let raw = server.raw();
    let topic = unique("order");
    raw.create_topic(&topic, 2).await.unwrap();
    let (group, book) = (unique("g"), Book::default());
    let client = server.client();
    let consumer = start(&client, &group, &topic, &book).await;
    for number in 0..100 {
        raw.send(&topic, number % 2, "", &format!("{number:04}")).await;
    }
    book.reaches(60).await;
    server.stop_leader().await;
    for number in 100..200 {
        raw.send(&topic, number % 2, "", &format!("{number:04}")).await;
    }
    book.reaches(200).await;
    consumer.shutdown().await;
    client.shutdown().await;
    for (queue_id, mut bodies) in book.queues() {
        // A send whose outcome was not known may have been done twice.
        bodies.dedup();
        assert_eq!(bodies, numbers(0..200, queue_id as usize, 2), "queue {queue_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_blocks_its_queue_becomes_a_dead_letter() {
    let server = server();
    let raw = server.raw();
    let topic = unique("blocked");
    raw.create_topic(&topic, 1).await.unwrap();
    for body in ["a", "bad", "c"] {
        raw.send(&topic, 0, "", body).await;
    }
    let (client, group, seen) = (server.client(), unique("g"), Arc::new(Mutex::new(Vec::new())));
    let noted = seen.clone();
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .max_reconsume_times(2)
        .suspend(Duration::from_millis(10))
        .start_orderly(move |messages| {
            let body = String::from_utf8_lossy(messages[0].body()).into_owned();
            noted.lock().push((body.clone(), messages[0].reconsume_times()));
            async move { if body == "bad" { OrderlyOutcome::Suspend } else { OrderlyOutcome::Success } }
        })
        .await
        .unwrap();
    let dead = Arc::new(Mutex::new(Vec::new()));
    let found = dead.clone();
    let letters = PushConsumer::builder(&server.client())
        .group(unique("g"))
        .subscribe(names::dlq_topic(&group), "*")
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            found.lock().extend(messages.iter().map(|message| message.body().to_vec()));
            async { flotilla_client::Outcome::Success }
        })
        .await
        .unwrap();
    eventually("a dead letter", || async {
        if dead.lock().is_empty() { Err(format!("{:?}", seen.lock())) } else { Ok(()) }
    })
    .await;
    letters.shutdown().await;
    consumer.shutdown().await;
    let expected = [("a", 0), ("bad", 0), ("bad", 1), ("bad", 2), ("c", 0)];
    assert_eq!(*seen.lock(), expected.map(|(body, times)| (body.to_owned(), times)));
    assert_eq!(*dead.lock(), [b"bad".to_vec()]);
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 3);
}
