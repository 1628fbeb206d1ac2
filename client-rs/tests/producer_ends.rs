//! What a producer does while something is missing - a name server, a leader, room - and what it says when it is shut down
//! meanwhile: against servers that follow a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flotilla_client::{
    Client, ClientError, ClientOptions, Event, Message, Metrics, Producer, ProducerBuilder, ResponseCode,
    TransactionProducer, TransactionState,
};
use flotilla_remoting::RequestCode;
use support::eventually;
use support::scripted::{Act, ScriptedBroker, ScriptedNameServer, nobody, silent};

/// Long enough for whatever is to happen; a test that waits for it to pass fails by it.
const LONG: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Counts {
    sent: Mutex<Vec<bool>>,
    retried: Mutex<usize>,
}

impl Metrics for Counts {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Sent { ok, .. } => self.sent.lock().unwrap().push(ok),
            Event::SendRetried { .. } => *self.retried.lock().unwrap() += 1,
            _ => {}
        }
    }
}

struct World {
    name_server: ScriptedNameServer,
    counts: Arc<Counts>,
    client: Client,
}

impl World {
    fn new() -> World {
        let (name_server, counts) = (ScriptedNameServer::start(), Arc::new(Counts::default()));
        let options = ClientOptions::new(&name_server.address.to_string()).unwrap();
        let client = options.metrics(counts.clone()).start().unwrap();
        World { name_server, counts, client }
    }

    fn builder(&self) -> ProducerBuilder {
        Producer::builder(&self.client).group("g").send_timeout(LONG)
    }

    async fn producer(&self) -> Producer {
        self.builder().start().await.unwrap()
    }
}

fn message() -> Message {
    Message::new("t", "body")
}

async fn sends_arrive(broker: &ScriptedBroker, count: usize) {
    eventually("sends", || async {
        let sent = broker.sent().len();
        (sent >= count).then_some(()).ok_or_else(|| format!("{sent} of {count}"))
    })
    .await;
}

#[tokio::test]
async fn what_is_in_flight_when_the_client_stops_may_be_stored() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Silence]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.producer().await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    producer.send_with_callback(message(), |result| sender.send(result).unwrap()).await.unwrap();
    sends_arrive(&broker, 1).await;
    let flying = producer.send(message());
    sends_arrive(&broker, 2).await;
    world.client.shutdown().await;
    let error = receiver.await.unwrap().unwrap_err();
    assert!(error.outcome_is_unknown(), "{error}");
    let error = flying.await.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error}");
    assert_eq!(*world.counts.sent.lock().unwrap(), [false, false], "metrics hear of each");
}

#[tokio::test]
async fn what_waits_when_the_client_stops_was_not_sent() {
    let world = World::new();
    world.name_server.route("t", &[]);
    let producer = world.producer().await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    producer.send_with_callback(message(), |result| sender.send(result).unwrap()).await.unwrap();
    let waiting = tokio::spawn(producer.send(message()));
    eventually("question for the route", || async {
        (world.name_server.asked("t") > 2).then_some(()).ok_or_else(|| "not asked".to_owned())
    })
    .await;
    world.client.shutdown().await;
    assert!(matches!(receiver.await.unwrap(), Err(ClientError::Stopped)));
    assert!(matches!(waiting.await.unwrap(), Err(ClientError::Stopped)));
}

#[tokio::test]
async fn a_silent_name_server_costs_a_part_of_a_send() {
    let name_server = ScriptedNameServer::start();
    let broker = ScriptedBroker::start([Act::Store]);
    name_server.route("t", &[("b", &[broker.address])]);
    let (_listener, silent) = silent();
    // Which one is asked first is a matter of chance.
    let sends = (0..8).map(|_| async {
        let client = Client::connect(&format!("{silent};{}", name_server.address)).unwrap();
        let producer =
            Producer::builder(&client).send_timeout(Duration::from_millis(2_900)).start().await.unwrap();
        producer.send(message()).await.unwrap();
    });
    futures::future::join_all(sends).await;
}

#[tokio::test]
async fn a_silent_name_server_is_avoided_also_by_those_who_did_not_wait_for_it() {
    let name_server = ScriptedNameServer::start();
    name_server.route("t", &[]);
    let (_listener, silent) = silent();
    let asks = (0..8).map(|_| async {
        let client = Client::connect(&format!("{silent};{}", name_server.address)).unwrap();
        let producer = Producer::builder(&client).start().await.unwrap();
        // Gives up before any answer can be missed.
        let _ = tokio::time::timeout(Duration::from_millis(300), producer.queues("t")).await;
        let queues = tokio::time::timeout(Duration::from_millis(900), producer.queues("t")).await;
        queues.expect("the other name server is asked").unwrap();
    });
    futures::future::join_all(asks).await;
}

#[tokio::test]
async fn attempts_are_spaced_when_every_address_of_several_brokers_refuses() {
    let world = World::new();
    let (a, b) = ([nobody(), nobody()], [nobody(), nobody()]);
    world.name_server.route("t", &[("a", &a), ("b", &b)]);
    let producer = world.builder().send_timeout(Duration::from_secs(1)).start().await.unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotSent { .. }), "{error}");
    let retried = *world.counts.retried.lock().unwrap();
    assert!(retried < 100, "{retried} attempts within a second");
}

#[tokio::test]
async fn a_refusal_of_one_broker_is_not_asked_for_twice() {
    let world = World::new();
    let refusing = ScriptedBroker::start([Act::Refuse(ResponseCode::NoPermission, "not here")]);
    let other = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("a", &[refusing.address]), ("b", &[other.address])]);
    let producer = world.producer().await;
    for _ in 0..6 {
        let before = refusing.sent().len();
        producer.send(message()).await.unwrap();
        assert!(refusing.sent().len() <= before + 1, "one send met the refusal twice");
    }
}

#[tokio::test]
async fn a_failure_to_learn_the_template_is_no_missing_topic() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("TBW102", &[("b", &[broker.address])]);
    world.name_server.close_once("TBW102");
    world.producer().await.send(message()).await.unwrap();
}

#[tokio::test]
async fn a_chosen_queue_whose_broker_is_not_in_the_route_is_waited_for() {
    let world = World::new();
    let (back, other) = (ScriptedBroker::start([Act::Store]), ScriptedBroker::start([Act::Store]));
    world.name_server.route("t", &[("a", &[back.address]), ("b", &[other.address])]);
    let queue = world.producer().await.queues("t").await.unwrap()[0].clone();
    assert_eq!(queue.broker_name, "a");
    // A client that has never seen broker a.
    let client = Client::connect(&world.name_server.address.to_string()).unwrap();
    world.name_server.route("t", &[("b", &[other.address])]);
    let producer = Producer::builder(&client).send_timeout(LONG).start().await.unwrap();
    let before = world.name_server.asked("t");
    let sending = tokio::spawn(producer.send_to(message(), &queue));
    eventually("question for the route", || async {
        (world.name_server.asked("t") > before + 2).then_some(()).ok_or_else(|| "not asked".to_owned())
    })
    .await;
    world.name_server.route("t", &[("a", &[back.address]), ("b", &[other.address])]);
    assert_eq!(sending.await.unwrap().unwrap().queue().broker_name, "a");
    assert!(other.sent().is_empty());
}

#[tokio::test]
async fn a_request_does_not_wait_for_brokers_of_other_topics() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    let (_listener, silent) = silent();
    world.name_server.route("t", &[("b", &[broker.address])]);
    world.name_server.route("u", &[("gone", &[silent])]);
    let producer = world.producer().await;
    producer.queues("u").await.unwrap();
    let error = producer.request(message(), Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(broker.sent().len(), 1, "{error}");
    assert!(error.outcome_is_unknown(), "stored, and nobody replied: {error}");
    assert!(broker.asked(RequestCode::Heartbeat) > 0);
}

#[tokio::test]
async fn requests_of_a_time_share_one_heartbeat() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.producer().await;
    let requests = (0..50).map(|_| producer.request(message(), Duration::from_secs(2)));
    for error in futures::future::join_all(requests).await.into_iter().map(Result::unwrap_err) {
        assert!(error.outcome_is_unknown(), "stored, and nobody replied: {error}");
    }
    assert_eq!(broker.sent().len(), 50);
    // Those of the client itself, for a new member and a new route, are among them.
    let heard = broker.asked(RequestCode::Heartbeat);
    assert!((1..10).contains(&heard), "{heard} heartbeats");
}

#[tokio::test]
async fn a_second_shutdown_leaves_the_next_producer_of_the_group_alone() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let first = world.producer().await;
    let clone = first.clone();
    first.send(message()).await.unwrap();
    first.shutdown().await;
    assert_eq!(broker.asked(RequestCode::UnregisterClient), 1);
    let next = world.producer().await;
    clone.shutdown().await;
    assert_eq!(broker.asked(RequestCode::UnregisterClient), 1, "the name is the next one's");
    assert!(world.builder().start().await.is_err(), "and stays it");
    next.shutdown().await;
    assert_eq!(broker.asked(RequestCode::UnregisterClient), 2);
}

#[tokio::test]
async fn properties_must_fit_with_the_unique_id() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let filler = "x".repeat(32_767 - "name".len() - 2);
    let full = || message().property("name", filler.clone());
    let is_invalid = |error: ClientError| assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    let producer = world.producer().await;
    is_invalid(producer.send(full()).await.unwrap_err());
    is_invalid(producer.send_batch(vec![message(), full()]).await.unwrap_err().error);
    let lingering =
        world.builder().group("lingering").linger(Duration::from_millis(1)).start().await.unwrap();
    is_invalid(lingering.send(full()).await.unwrap_err());
    is_invalid(lingering.send_with_callback(full(), |_| panic!("nothing was sent")).await.unwrap_err());
    assert!(broker.sent().is_empty());
}

#[tokio::test]
async fn what_no_frame_holds_is_the_callers_mistake_and_no_sign_against_the_leader() {
    let world = World::new();
    let (leader, replica) = (ScriptedBroker::start([Act::Store]), ScriptedBroker::start([Act::Store]));
    world.name_server.route("t", &[("b", &[leader.address, replica.address])]);
    let builder = world.builder().body_size_max(usize::MAX).batch_size_max(usize::MAX).compression(None);
    let producer = builder.in_flight_bytes_max(u32::MAX).start().await.unwrap();
    producer.send(message()).await.unwrap();
    let error = producer.send(Message::new("t", vec![0; 17 << 20])).await.unwrap_err();
    assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    // More than a frame holds together: two batches, whatever the setting says.
    let halves = (0..2).map(|_| Message::new("t", vec![0; 9 << 20])).collect();
    assert_eq!(producer.send_batch(halves).await.unwrap().len(), 2);
    producer.send(message()).await.unwrap();
    assert!(replica.sent().is_empty(), "the leader did nothing wrong");
}

#[tokio::test]
async fn time_spent_waiting_for_room_counts_for_a_message_that_lingers() {
    let world = World::new();
    // The second one gets its room when its time is nearly over.
    let broker = ScriptedBroker::start([Act::StoreAfter(Duration::from_millis(3_800)), Act::Silence]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let builder = world.builder().send_timeout(Duration::from_secs(4)).in_flight_max(1);
    let producer = builder.linger(Duration::from_millis(1)).batch_count_max(1).start().await.unwrap();
    let first = producer.send(message());
    sends_arrive(&broker, 1).await;
    let began = std::time::Instant::now();
    let second = producer.send(message());
    let (first, second) = tokio::join!(first, second);
    first.unwrap();
    second.unwrap_err();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(7_500), "the second one had its time anew: {took:?}");
}

#[tokio::test]
async fn a_decision_whose_outcome_is_not_known_is_not_repeated() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    let unknown = "leadership changed while the decision was being stored: the outcome is not known";
    broker.refuse(RequestCode::EndTransaction, ResponseCode::ServiceNotAvailable, unknown);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let builder = TransactionProducer::builder(&world.client).group("g");
    let producer = builder.start_transactional(|_| async { TransactionState::Unknown }).await.unwrap();
    let outcome = producer.send_in_transaction(message(), async |_| TransactionState::Commit).await.unwrap();
    assert!(outcome.not_told.is_some_and(|error| error.outcome_is_unknown()));
    assert_eq!(broker.asked(RequestCode::EndTransaction), 1);
}
