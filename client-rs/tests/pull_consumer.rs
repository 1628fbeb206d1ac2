//! Pull consumers against a server: polls, seeks, commits.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use flotilla_client::{ClientError, ConsumeFrom, MessageQueue, PullConsumer, ReceivedMessage};
use support::raw::Raw;
use support::{PATIENCE, eventually, server, unique};

async fn filled(raw: &Raw, queues: i32, count: i32) -> String {
    let topic = unique("pull");
    raw.create_topic(&topic, queues).await.unwrap();
    for number in 0..count {
        raw.send(&topic, number % queues, if number % 3 == 0 { "third" } else { "" }, &number.to_string())
            .await;
    }
    topic
}

fn number(message: &ReceivedMessage) -> i32 {
    String::from_utf8_lossy(message.body()).parse().unwrap()
}

async fn poll_until(consumer: &PullConsumer, count: usize) -> Vec<i32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let messages = consumer.poll(PATIENCE).await.unwrap();
        assert!(!messages.is_empty(), "{} of {count}", numbers.len());
        numbers.extend(messages.iter().map(number));
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_and_commits_decide_where_the_next_one_goes_on() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, 1, 50).await;
    let (client, group) = (server.client(), unique("g"));
    let start = || {
        PullConsumer::builder(&client)
            .group(&group)
            .consume_from(ConsumeFrom::First)
            .auto_commit(false)
            .pull_batch_size(10)
            .start()
    };
    let consumer = start().await.unwrap();
    let queues = consumer.fetch_message_queues(&topic).await.unwrap();
    let queue = queues[0].clone();
    assert!(matches!(consumer.seek(&queue, 1).await, Err(ClientError::Invalid(_))), "not assigned");
    consumer.assign(queues.clone()).await.unwrap();
    assert_eq!(consumer.assignment(), queues);
    assert_eq!(poll_until(&consumer, 50).await, (0..50).collect::<Vec<_>>());
    assert_eq!(consumer.position(&queue), Some(50));
    assert!(consumer.poll(Duration::from_millis(10)).await.unwrap().is_empty());

    consumer.seek(&queue, 20).await.unwrap();
    assert_eq!(poll_until(&consumer, 10).await, (20..30).collect::<Vec<_>>());
    consumer.commit().await.unwrap();
    assert_eq!(consumer.committed(&queue).await.unwrap(), Some(30));
    assert!(matches!(consumer.seek(&queue, 51).await, Err(ClientError::Invalid(_))));
    consumer.seek_to_begin(&queue).await.unwrap();
    assert_eq!(poll_until(&consumer, 10).await[0], 0);
    consumer.seek_to_end(&queue).await.unwrap();
    assert_eq!(consumer.position(&queue), Some(50));
    assert_eq!(consumer.offset_for_timestamp(&queue, 0).await.unwrap(), 0);
    assert_eq!(consumer.offset_for_timestamp(&queue, i64::MAX / 2).await.unwrap(), 50);
    // Not committed: the next one goes on behind the last commit.
    consumer.shutdown().await;
    let next = start().await.unwrap();
    next.assign(queues).await.unwrap();
    assert_eq!(poll_until(&next, 20).await, (30..50).collect::<Vec<_>>());
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_queues_and_a_stop_commits_what_was_polled() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, 4, 100).await;
    let group = unique("g");
    let (one, two) = (server.client(), server.client());
    let start = |client| {
        let builder = PullConsumer::builder(client).group(&group).consume_from(ConsumeFrom::First);
        builder.subscribe(&topic, "*").start()
    };
    let first = start(&one).await.unwrap();
    let mut seen: BTreeSet<i32> = poll_until(&first, 100).await.into_iter().collect();
    assert_eq!(seen.len(), 100);
    assert!(matches!(first.assign(Vec::new()).await, Err(ClientError::Invalid(_))));
    // A poll says that what earlier ones gave is consumed: queues that are given up are committed up to there.
    assert!(first.poll(Duration::ZERO).await.unwrap().is_empty());
    let second = start(&two).await.unwrap();
    eventually("shared", || async {
        let counts = (first.assignment().len(), second.assignment().len());
        if counts == (2, 2) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    first.shutdown().await;
    eventually("taken over", || async {
        let count = second.assignment().len();
        if count == 4 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    for number in 100..120 {
        raw.send(&topic, number % 4, "", &number.to_string()).await;
    }
    let rest = poll_until(&second, 20).await;
    second.shutdown().await;
    let count = rest.len();
    seen.extend(rest);
    assert_eq!((count, seen.len()), (20, 120), "nothing twice, nothing lost");
    for queue_id in 0..4 {
        assert_eq!(raw.committed(&group, &topic, queue_id).await.unwrap(), 30);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_select_and_a_paused_queue_waits() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, 1, 30).await;
    let client = server.client();
    let consumer = PullConsumer::builder(&client)
        .group(unique("g"))
        .consume_from(ConsumeFrom::First)
        .start()
        .await
        .unwrap();
    consumer.subscribe(&topic, "third").await.unwrap();
    assert_eq!(poll_until(&consumer, 10).await, (0..30).step_by(3).collect::<Vec<_>>());
    let queues: Vec<MessageQueue> = consumer.assignment();
    consumer.pause(&queues);
    raw.send(&topic, 0, "third", "30").await;
    assert!(consumer.poll(Duration::from_millis(200)).await.unwrap().is_empty());
    consumer.resume(&queues);
    assert_eq!(poll_until(&consumer, 1).await, [30]);
    consumer.shutdown().await;
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_dropped_commits_only_what_earlier_polls_gave() {
    let server = server();
    let raw = server.raw();
    let topic = filled(&raw, 1, 30).await;
    let (client, group) = (server.client(), unique("g"));
    let start = || async {
        let builder = PullConsumer::builder(&client).group(&group).consume_from(ConsumeFrom::First);
        // The group is free again when the farewell of the one before has ended.
        eventually("the group", || async {
            let started = builder.clone().pull_batch_size(10).subscribe(&topic, "*").start().await;
            started.map_err(|error| error.to_string())
        })
        .await
    };
    let first = start().await;
    assert_eq!(poll_until(&first, 20).await, (0..20).collect::<Vec<_>>());
    // The messages of the latest poll are still worked on.
    drop(first);
    let second = start().await;
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 10);
    assert_eq!(poll_until(&second, 20).await, (10..30).collect::<Vec<_>>());
    second.shutdown().await;
    assert_eq!(raw.committed(&group, &topic, 0).await.unwrap(), 30);
    client.shutdown().await;
}
