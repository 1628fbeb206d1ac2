//! Every kind of send is stored where its result says, as it was given: looked up by plain pulls. Against a group of three
//! replicas in this process, or the server that `NAMESRV_ADDR` names.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flotilla_client::{
    Client, ClientError, Codec, Event, Message, MessageQueue, Metrics, Producer, ProducerBuilder,
    ResponseCode, SendResult, SendStatus, TransactionProducer, TransactionState,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use support::raw::Raw;
use support::{PATIENCE, Server, eventually, server, unique};

fn builder(client: &Client) -> ProducerBuilder {
    // Patient: these tests are about what is stored, on a machine that may be busy.
    Producer::builder(client).group(unique("g")).send_timeout(PATIENCE)
}

async fn producer(server: &Server) -> Producer {
    builder(&server.client()).start().await.unwrap()
}

/// Checks that the message is where the result says, with this body.
async fn check(puller: &Raw, result: &SendResult, body: &[u8]) {
    let stored = puller.at(result.queue(), result.queue_offset()).await;
    assert_eq!(stored.body().as_ref(), body, "{result:?}");
    assert_eq!(stored.message_id(), result.message_id());
    assert_eq!(stored.offset_message_id(), result.offset_message_id());
    assert_eq!(result.status(), SendStatus::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_send_is_stored_where_its_result_says() {
    let server = server();
    let (producer, puller, topic) = (producer(&server).await, server.raw(), unique("kinds"));
    let message = |body: &str| Message::new(&topic, body.to_owned()).tag("a").key("k");

    let sent = producer.send(message("plain")).await.unwrap();
    check(&puller, &sent, b"plain").await;
    assert_eq!(sent.transaction_id(), Some(sent.message_id()));
    assert!(sent.region().is_some());

    let queues = producer.queues(&topic).await.unwrap();
    assert_eq!(queues.len(), 4);
    let last = queues.last().unwrap();
    let sent = producer.send_to(message("to a queue"), last).await.unwrap();
    assert_eq!(sent.queue(), last);
    check(&puller, &sent, b"to a queue").await;

    let first = producer.send_by_key(message("key 1"), "order-17").await.unwrap();
    let second = producer.send_by_key(message("key 2"), "order-17").await.unwrap();
    assert_eq!(first.queue(), second.queue());
    assert!(first.queue_offset() < second.queue_offset());
    check(&puller, &first, b"key 1").await;
    check(&puller, &second, b"key 2").await;

    let sent = producer.send_with(message("chosen"), |queues| queues.len() - 2).await.unwrap();
    assert_eq!(sent.queue(), &queues[2]);
    check(&puller, &sent, b"chosen").await;

    let bodies = ["batch 1", "batch 2", "batch 3"];
    let results = producer.send_batch(bodies.map(message).to_vec()).await.unwrap();
    assert_eq!(results.len(), 3);
    for (result, body) in results.iter().zip(bodies) {
        assert_eq!(result.queue(), results[0].queue());
        check(&puller, result, body.as_bytes()).await;
    }

    let (sender, receiver) = tokio::sync::oneshot::channel();
    producer.send_with_callback(message("callback"), |result| sender.send(result).unwrap()).await.unwrap();
    check(&puller, &receiver.await.unwrap().unwrap(), b"callback").await;

    // Nobody tells where it is.
    producer.send_oneway(message("one way")).await.unwrap();
    eventually("the one-way message", || async {
        for queue in &queues {
            let range = puller.range(queue).await.map_err(|error| error.to_string())?;
            let stored = puller.first(queue, range.1 as usize).await;
            if stored.iter().any(|message| message.body().as_ref() == b"one way") {
                return Ok(());
            }
        }
        Err("in no queue".to_owned())
    })
    .await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_back_whatever_compressed_them() {
    let server = server();
    let (puller, topic) = (server.raw(), unique("codecs"));
    let text: Vec<u8> = "all work and no play makes jack a dull boy\n".repeat(600).into_bytes();
    let noise: Vec<u8> = (0..20_000).map(|_| rand::random()).collect();
    let large: Vec<u8> = (0..250_000_u32).flat_map(|n| (n / 50).to_be_bytes()).collect();
    let codecs = [None, Some(Codec::Zlib(5)), Some(Codec::Zlib(0)), Some(Codec::Lz4), Some(Codec::Zstd(3))];
    for codec in codecs {
        let producer = builder(&server.client()).compression(codec).start().await.unwrap();
        for body in [&text, &noise, &large, &text[..100].to_vec(), &text[..4096].to_vec()] {
            let sent = producer.send(Message::new(&topic, body.clone())).await.unwrap();
            let stored = puller.at(sent.queue(), sent.queue_offset()).await;
            assert!(stored.body() == body, "{codec:?}, {} bytes", body.len());
            let shrinks = !matches!(codec, None | Some(Codec::Zlib(0)));
            let compressed = shrinks && body != &noise && body.len() >= 4096;
            assert_eq!(stored.sys_flag().compression().is_some(), compressed, "{codec:?}, {}", body.len());
        }
        producer.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_come_back_as_they_were_given() {
    let server = server();
    let (producer, puller, topic) = (producer(&server).await, server.raw(), unique("properties"));
    let mut many = Message::new(&topic, "many").flag(-7);
    for number in 0..500 {
        many = many.property(format!("name-{number}"), format!("value {number}"));
    }
    let odd = Message::new(&topic, "odd")
        .property("größe", "日本語 🦀")
        .property("a=b;c:d,e", "\"quotes\" \\ \t\n{json: [1]}")
        .property("n", "v")
        .property(" ", " ")
        .tag("täg")
        .key("ключ")
        .key("second");
    let long = Message::new(&topic, "long").property("long", "x".repeat(30_000)).sharding_key("s");
    let unkeyed = Message::new(&topic, vec![0, 1, 2, 255]);
    for message in [many, odd, long, unkeyed] {
        let sent = producer.send(message.clone()).await.unwrap();
        let batch = producer.send_batch(vec![message.clone(), message.clone()]).await.unwrap();
        for result in [&sent, &batch[0], &batch[1]] {
            let stored = puller.at(result.queue(), result.queue_offset()).await;
            assert_eq!(stored.body(), message.body());
            assert_eq!(stored.flag(), message.get_flag());
            assert_eq!(stored.tag(), message.get_tag());
            let told: BTreeMap<&str, &str> = stored.properties().collect();
            let given =
                ["größe", "a=b;c:d,e", "n", " ", "KEYS", "long", "__SHARDINGKEY", "name-0", "name-499"];
            for name in given {
                assert_eq!(told.get(name).copied(), message.get_property(name), "{name}");
            }
            assert_eq!(told.get("UNIQ_KEY").copied(), Some(result.message_id()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_beyond_the_bounds_goes_in_parts_and_keeps_its_order() {
    let server = server();
    let (puller, topic) = (server.raw(), unique("parts"));
    let producer = builder(&server.client()).batch_size_max(16 * 1024).start().await.unwrap();
    let body = |number: usize| format!("{number:05}{}", "x".repeat(1_000)).into_bytes();
    let messages: Vec<Message> = (0..50).map(|number| Message::new(&topic, body(number))).collect();
    let results = producer.send_batch(messages).await.unwrap();
    assert_eq!(results.len(), 50);
    let first = results[0].queue_offset();
    for (number, result) in results.iter().enumerate() {
        assert_eq!((result.queue(), result.queue_offset()), (results[0].queue(), first + number as i64));
        check(&puller, result, &body(number)).await;
    }
    let delayed = vec![Message::new(&topic, "a"), Message::new(&topic, "b").delay_level(1)];
    let error = producer.send_batch(delayed).await.unwrap_err();
    assert!(matches!(error.error, ClientError::Invalid(_)) && error.stored.is_empty(), "{error}");
}

#[derive(Debug, Default)]
struct Requests {
    count: AtomicUsize,
    messages: AtomicUsize,
}

impl Metrics for Requests {
    fn event(&self, event: Event<'_>) {
        if let Event::Sent { messages, .. } = event {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.messages.fetch_add(messages, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lingering_messages_share_requests_and_are_where_their_results_say() {
    let server = server();
    let (puller, topic) = (server.raw(), unique("linger"));
    let requests = Arc::new(Requests::default());
    let client = server.options().metrics(requests.clone()).start().unwrap();
    let linger = Duration::from_millis(20);
    let producer = builder(&client).linger(linger).batch_count_max(50).start().await.unwrap();
    // The queues of the topic are known then.
    producer.send(Message::new(&topic, "first")).await.unwrap();
    let body = |number: usize| format!("body {number}");
    let mut sends = Vec::new();
    for number in 0..1_000 {
        let message = Message::new(&topic, body(number));
        // Every other one by one of three keys.
        sends.push(if number % 2 == 0 {
            producer.send(message)
        } else {
            producer.send_by_key(message, format!("key {}", number % 3))
        });
    }
    let mut queues: HashMap<usize, Arc<MessageQueue>> = HashMap::new();
    for (number, send) in sends.into_iter().enumerate() {
        let result = send.await.unwrap();
        if number % 50 == 0 || number % 50 == 49 {
            check(&puller, &result, body(number).as_bytes()).await;
        }
        if number % 2 == 1 {
            let known = queues.entry(number % 3).or_insert_with(|| result.queue().clone());
            assert_eq!(known, result.queue(), "a key has one queue");
        }
    }
    producer.shutdown().await;
    assert_eq!(requests.messages.load(Ordering::Relaxed), 1_001);
    let count = requests.count.load(Ordering::Relaxed);
    assert!(count <= 100, "{count} requests for 1,001 messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_in_flight_are_all_stored_once_and_in_order() {
    const COUNT: usize = 5_000;
    let server = server();
    let (producer, puller, topic) = (producer(&server).await, server.raw(), unique("flight"));
    producer.send(Message::new(&topic, "first")).await.unwrap();
    let queue = producer.queues(&topic).await.unwrap()[0].clone();
    let before = puller.range(&queue).await.unwrap().1;
    // None of these is polled before all have begun.
    let mut sends: FuturesUnordered<_> =
        (0..COUNT).map(|number| producer.send_to(Message::new(&topic, number.to_string()), &queue)).collect();
    let mut offsets = HashSet::new();
    while let Some(result) = sends.next().await {
        assert!(offsets.insert(result.unwrap().queue_offset()));
    }
    assert_eq!(offsets.len(), COUNT);
    let stored = puller.first(&queue, before as usize + COUNT).await;
    let bodies: Vec<usize> = stored[before as usize..]
        .iter()
        .map(|message| String::from_utf8_lossy(message.body()).parse().unwrap())
        .collect();
    if server.is_flotilla() {
        assert_eq!(bodies, (0..COUNT).collect::<Vec<_>>());
    } else {
        // RocketMQ works on the requests of one connection with many threads.
        assert_eq!(bodies.iter().copied().collect::<HashSet<_>>(), (0..COUNT).collect());
    }
    assert_eq!(puller.range(&queue).await.unwrap().1, before + COUNT as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_get_every_result_and_the_caller_is_slowed_down() {
    const COUNT: usize = 3_000;
    let server = server();
    let topic = unique("callbacks");
    let producer = builder(&server.client()).in_flight_max(64).start().await.unwrap();
    let (in_flight, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ids = Arc::new(Mutex::new(HashSet::new()));
    for number in 0..COUNT {
        let (in_flight_then, ids) = (in_flight.clone(), ids.clone());
        let done = move |result: flotilla_client::Result<SendResult>| {
            in_flight_then.fetch_sub(1, Ordering::SeqCst);
            assert!(ids.lock().unwrap().insert(result.unwrap().offset_message_id().to_owned()));
        };
        let now = in_flight.fetch_add(1, Ordering::SeqCst);
        most.fetch_max(now, Ordering::SeqCst);
        producer.send_with_callback(Message::new(&topic, number.to_string()), done).await.unwrap();
    }
    producer.shutdown().await;
    assert_eq!(ids.lock().unwrap().len(), COUNT);
    assert!(most.load(Ordering::SeqCst) <= 64, "{most:?} in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_arrives_later_and_arbitrary_delays_do_or_are_refused() {
    let server = server();
    let (producer, puller, topic) = (producer(&server).await, server.raw(), unique("delay"));
    producer.send(Message::new(&topic, "first")).await.unwrap();
    let queue = producer.queues(&topic).await.unwrap()[1].clone();
    let before = puller.range(&queue).await.unwrap().1;
    let sent = producer.send_to(Message::new(&topic, "later").delay_level(1), &queue).await.unwrap();
    let delivered = puller.at(&queue, before).await;
    assert_eq!(delivered.body().as_ref(), b"later");
    assert_eq!(delivered.message_id(), sent.message_id());
    let waited = delivered.store_timestamp() - delivered.born_timestamp();
    assert!(waited >= 900, "delivered {waited} ms after its birth");

    let timed = Message::new(&topic, "timed").deliver_after(Duration::from_secs(2));
    match producer.send_to(timed, &queue).await {
        Ok(_) => {
            let timed = puller.at(&queue, before + 1).await;
            assert_eq!(timed.body().as_ref(), b"timed");
        }
        Err(error) => assert_eq!(error.code(), Some(ResponseCode::MessageIllegal), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_gets_its_reply() {
    let server = server();
    let topic = unique("request");
    let requester = producer(&server).await;
    // Made before, so that the replier knows the queues to look at.
    requester.send(Message::new(&topic, "first")).await.unwrap();
    let queues = requester.queues(&topic).await.unwrap();
    let puller = server.raw();
    let replier = producer(&server).await;
    let working = async {
        let request = eventually("the request", || async {
            for queue in &queues {
                let messages = puller.from(queue, 0).await.map_err(|error| error.to_string())?;
                let request = messages.into_iter().find(|message| message.body().as_ref() == b"ping");
                if let Some(request) = request {
                    return Ok(request);
                }
            }
            Err("not there".to_owned())
        })
        .await;
        replier.reply(&request, "pong").await.unwrap();
        request
    };
    let (reply, request) = tokio::join!(requester.request(Message::new(&topic, "ping"), PATIENCE), working);
    let reply = reply.unwrap();
    assert_eq!(reply.body.as_ref(), b"pong");
    assert_eq!(reply.property("CORRELATION_ID"), request.property("CORRELATION_ID"));

    let nobody = requester.request(Message::new(&topic, "hello?"), Duration::from_millis(500)).await;
    let error = nobody.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error}");
    let plain = puller.from(&queues[0], 0).await.unwrap().into_iter();
    if let Some(plain) = plain.into_iter().find(|message| message.property("REPLY_TO_CLIENT").is_none()) {
        assert!(matches!(replier.reply(&plain, "x").await, Err(ClientError::Invalid(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recalled_message_is_never_delivered_and_one_that_is_not_is() {
    let server = server();
    let (producer, puller, topic) = (producer(&server).await, server.raw(), unique("recall"));
    let first = producer.send(Message::new(&topic, "first")).await.unwrap();
    assert!(matches!(producer.recall(&topic, "nonsense").await, Err(ClientError::Invalid(_))));
    let queue = producer.queues(&topic).await.unwrap()[0].clone();
    let timed = |body: &'static str, seconds| {
        let message = Message::new(&topic, body).deliver_after(Duration::from_secs(seconds));
        producer.send_to(message, &queue)
    };
    if server.is_flotilla() {
        assert_eq!(timed("timed", 8).await.unwrap_err().code(), Some(ResponseCode::MessageIllegal));
        let text = format!("v1 {topic} {} 4000000000000 {}", first.queue().broker_name, first.message_id());
        let handle = flotilla_remoting::base64::encode_url_safe(text.as_bytes());
        let ClientError::Refused { code, remark, .. } = producer.recall(&topic, &handle).await.unwrap_err()
        else {
            panic!("a recall is refused by its code")
        };
        assert_eq!(code, ResponseCode::RequestCodeNotSupported);
        assert!(remark.contains("recall"), "{remark}");
        eprintln!("skipped: messages timed to a moment, which this server does not have");
        return;
    }
    let before = puller.range(&queue).await.unwrap().1;
    // In one queue, and due before the last one: when that is there, the others have come or never will.
    let recalled = timed("recalled", 8).await.unwrap();
    let kept = timed("kept", 8).await.unwrap();
    let last = timed("last", 11).await.unwrap();
    let handle = recalled.recall_handle().expect("brokers with recall give a handle");
    assert_eq!(producer.recall(&topic, handle).await.unwrap(), recalled.message_id());
    assert_eq!(producer.recall(&topic, handle).await.unwrap(), recalled.message_id(), "twice does no harm");

    let delivered = [puller.at(&queue, before).await, puller.at(&queue, before + 1).await];
    let delivered = delivered.each_ref().map(|message| message.message_id());
    assert_eq!(delivered, [kept.message_id(), last.message_id()]);
    assert_eq!(puller.range(&queue).await.unwrap().1, before + 2);
    let late = producer.recall(&topic, kept.recall_handle().unwrap()).await.unwrap_err();
    assert_eq!(late.code(), Some(ResponseCode::IllegalOperation), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_commit_roll_back_and_are_checked_or_are_refused() {
    let server = server();
    let (puller, topic) = (server.raw(), unique("transaction"));
    let checked = Arc::new(Mutex::new(Vec::new()));
    let seen = checked.clone();
    let producer: TransactionProducer = builder(&server.client())
        .start_transactional(move |message| {
            seen.lock().unwrap().push(message.message_id());
            async { TransactionState::Commit }
        })
        .await
        .unwrap();
    producer.producer().send(Message::new(&topic, "first")).await.unwrap();
    let queues = producer.producer().queues(&topic).await.unwrap();
    let commit = Message::new(&topic, "committed").tag("a");
    let outcome = match producer.send_in_transaction(commit, async |_| TransactionState::Commit).await {
        Ok(outcome) => outcome,
        Err(error) => {
            // A server without transactions must say so, and must not have stored anything.
            assert_eq!(error.code(), Some(ResponseCode::MessageIllegal), "{error}");
            return;
        }
    };
    assert!(outcome.not_told.is_none(), "{outcome:?}");
    let rollback = Message::new(&topic, "rolled back");
    let outcome = producer.send_in_transaction(rollback, async |_| TransactionState::Rollback).await.unwrap();
    assert!(outcome.not_told.is_none(), "{outcome:?}");
    let asked = Message::new(&topic, "asked about").property("CHECK_IMMUNITY_TIME_IN_SECONDS", "1");
    let mut id = String::new();
    let outcome = producer
        .send_in_transaction(asked, async |sent| {
            id = sent.message_id().to_owned();
            TransactionState::Unknown
        })
        .await
        .unwrap();
    assert_eq!(outcome.sent.message_id(), id);
    // Brokers look every 30 s.
    let bodies = eventually("both messages", || async {
        let mut bodies = Vec::new();
        for queue in &queues {
            let messages = puller.from(queue, 0).await.map_err(|error| error.to_string())?;
            bodies.extend(messages.iter().map(|one| String::from_utf8_lossy(one.body()).into_owned()));
        }
        bodies.sort();
        if bodies.len() >= 3 { Ok(bodies) } else { Err(format!("{bodies:?}")) }
    })
    .await;
    assert_eq!(bodies, ["asked about", "committed", "first"]);
    assert!(checked.lock().unwrap().contains(&id));
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_sent_are_refused_before_anything_is() {
    let server = server();
    let (producer, topic) = (producer(&server).await, unique("invalid"));
    let wrong = [
        Message::new(&topic, ""),
        Message::new("no topic", "b"),
        Message::new("SCHEDULE_TOPIC_XXXX", "b"),
        Message::new(&topic, vec![0; 5 * 1024 * 1024]),
        Message::new(&topic, "b").property("REAL_TOPIC", "x"),
        Message::new(&topic, "b").property("a\u{1}", "x"),
    ];
    for message in wrong {
        let error = producer.send(message).await.unwrap_err();
        assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    }
}
