//! What a producer does when brokers fail, refuse, or are not where the route says: against brokers that follow a script, and
//! that count what arrives. The point is what is repeated and what is not.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flotilla_client::{
    Client, ClientError, ClientOptions, Codec, Event, Message, Metrics, Producer, ProducerBuilder,
    ResponseCode, SendStatus,
};
use flotilla_remoting::RequestCode;
use support::scripted::{Act, ScriptedBroker, ScriptedNameServer, nobody};

/// Long enough for whatever is to happen; a test that waits for it to pass fails by it.
const LONG: Duration = Duration::from_secs(30);

struct World {
    name_server: ScriptedNameServer,
    client: Client,
}

impl World {
    fn new() -> World {
        let name_server = ScriptedNameServer::start();
        let client = Client::connect(&name_server.address.to_string()).unwrap();
        World { name_server, client }
    }

    fn builder(&self) -> ProducerBuilder {
        Producer::builder(&self.client).group("g").send_timeout(LONG)
    }

    async fn producer(&self) -> Producer {
        self.builder().start().await.unwrap()
    }
}

fn message() -> Message {
    Message::new("t", "body").tag("a")
}

#[tokio::test]
async fn a_refused_connection_costs_one_hop_to_another_replica() {
    let world = World::new();
    let replica = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[nobody(), replica.address])]);
    let producer = world.producer().await;
    for _ in 0..3 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(result.queue().broker_name, "b");
    }
    assert_eq!(replica.sent().len(), 3);
}

#[tokio::test]
async fn another_broker_name_takes_over_from_one_that_is_gone() {
    let world = World::new();
    let other = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("a", &[nobody()]), ("b", &[other.address])]);
    let producer = world.producer().await;
    for _ in 0..8 {
        producer.send(message()).await.unwrap();
    }
    assert_eq!(other.sent().len(), 8);
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_unknown_and_nothing_is_repeated() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Close, Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let error = world.producer().await.send(message()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error}");
    assert!(error.outcome_is_unknown());
    assert_eq!(broker.sent().len(), 1);
}

#[tokio::test]
async fn unknown_outcomes_are_repeated_when_asked_for() {
    let world = World::new();
    let unknown = "leadership changed while the message was being stored: the outcome is not known";
    let broker = ScriptedBroker::start([
        Act::Close,
        Act::Refuse(ResponseCode::ServiceNotAvailable, unknown),
        Act::Refuse(ResponseCode::SystemError, "in-sync replicas not enough"),
        Act::Store,
    ]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().retry_unknown(true).start().await.unwrap();
    producer.send(message()).await.unwrap();
    let sent = broker.sent();
    assert_eq!(sent.len(), 4);
    // The same message with the same id, so that consumers can tell.
    assert!(sent.iter().all(|one| one.field("i") == sent[0].field("i") && one.body == sent[0].body));
}

#[tokio::test]
async fn a_later_refusal_does_not_hide_that_an_attempt_may_have_stored() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Close, Act::Refuse(ResponseCode::MessageIllegal, "no")]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().retry_unknown(true).start().await.unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error}");
    assert_eq!(broker.sent().len(), 2);
}

#[tokio::test]
async fn refusals_that_stored_nothing_are_repeated() {
    let codes = [
        ResponseCode::ServiceNotAvailable,
        ResponseCode::SystemBusy,
        ResponseCode::FlowControl,
        ResponseCode::GoAway,
        ResponseCode::NotLeader,
        ResponseCode::NotLeaderForQueue,
        ResponseCode::TopicNotExist,
        ResponseCode::NoPermission,
    ];
    for code in codes {
        let world = World::new();
        let broker = ScriptedBroker::start([Act::Refuse(code, "not now"), Act::Store]);
        world.name_server.route("t", &[("b", &[broker.address])]);
        world.producer().await.send(message()).await.unwrap();
        assert_eq!(broker.sent().len(), 2, "{code}");
    }
}

#[tokio::test]
async fn refusals_that_are_final_or_perhaps_stored_are_not_repeated() {
    let codes = [
        ResponseCode::SystemError,
        ResponseCode::MessageIllegal,
        ResponseCode::InvalidParameter,
        ResponseCode::RequestCodeNotSupported,
        ResponseCode::from_i32(9_999),
    ];
    for code in codes {
        let world = World::new();
        let broker = ScriptedBroker::start([Act::Refuse(code, "because"), Act::Store]);
        world.name_server.route("t", &[("b", &[broker.address])]);
        let error = world.producer().await.send(message()).await.unwrap_err();
        assert_eq!(error.outcome_is_unknown(), code == ResponseCode::SystemError, "{error}");
        match error {
            ClientError::Refused { code: told, remark, .. } => {
                assert_eq!((told, &*remark), (code, "because"))
            }
            other => panic!("{code}: {other}"),
        }
        assert_eq!(broker.sent().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_topic_that_a_broker_does_not_have_is_tried_three_times() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Refuse(ResponseCode::TopicNotExist, "apply first")]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let error = world.producer().await.send(message()).await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseCode::TopicNotExist));
    assert_eq!(broker.sent().len(), 3);
}

#[tokio::test]
async fn retries_have_a_bound() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Refuse(ResponseCode::SystemBusy, "busy")]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().retries_max(4).start().await.unwrap();
    assert_eq!(producer.send(message()).await.unwrap_err().code(), Some(ResponseCode::SystemBusy));
    assert_eq!(broker.sent().len(), 5);
}

#[tokio::test]
async fn stored_but_less_well_is_a_status_and_no_error() {
    let statuses = [
        (ResponseCode::FlushDiskTimeout, SendStatus::FlushDiskTimeout),
        (ResponseCode::SlaveNotAvailable, SendStatus::SlaveNotAvailable),
        (ResponseCode::FlushSlaveTimeout, SendStatus::FlushSlaveTimeout),
    ];
    for (code, status) in statuses {
        let world = World::new();
        let broker = ScriptedBroker::start([Act::StoreWith(code)]);
        world.name_server.route("t", &[("b", &[broker.address])]);
        assert_eq!(world.producer().await.send(message()).await.unwrap().status(), status);
        assert_eq!(broker.sent().len(), 1);
    }
}

#[tokio::test]
async fn a_stale_route_is_replaced_within_the_same_send() {
    let world = World::new();
    let deposed = ScriptedBroker::start([Act::Refuse(ResponseCode::ServiceNotAvailable, "not the leader")]);
    let elected = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[deposed.address])]);
    let producer = world.producer().await;
    let sending = tokio::spawn(producer.send(message()));
    support::eventually("first attempt", || async {
        (!deposed.sent().is_empty()).then_some(()).ok_or_else(|| "nothing was sent".to_owned())
    })
    .await;
    world.name_server.route("t", &[("b", &[elected.address])]);
    // The timer of the routes, 30 s, must have nothing to do with it.
    let result = tokio::time::timeout(Duration::from_secs(10), sending).await.unwrap().unwrap().unwrap();
    assert_eq!(result.queue().broker_name, "b");
    assert_eq!(elected.sent().len(), 1);
}

#[tokio::test]
async fn a_key_stays_with_its_queue_while_it_is_retried() {
    let world = World::new();
    let busy = Act::Refuse(ResponseCode::SystemBusy, "busy");
    let broker = ScriptedBroker::start([busy.clone(), busy.clone(), busy, Act::Store]);
    let other = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("a", &[broker.address]), ("b", &[other.address])]);
    let producer = world.producer().await;
    // "a".hashCode() is 97: queue 1 of 4, the second one of broker a.
    let result = producer.send_by_key(message(), "a").await.unwrap();
    assert_eq!((&*result.queue().broker_name, result.queue().queue_id), ("a", 1));
    let sent = broker.sent();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|one| one.field("e") == "1"));
    assert!(other.sent().is_empty());
}

#[tokio::test]
async fn silence_ends_with_the_deadline_and_an_unknown_outcome() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Silence]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().send_timeout(Duration::from_millis(300)).start().await.unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error}");
    assert_eq!(broker.sent().len(), 1);
}

#[tokio::test]
async fn bounds_of_what_is_in_flight_hold_and_say_so() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store, Act::Silence]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let builder = world.builder().send_timeout(Duration::from_secs(1)).in_flight_max(1);
    let producer = builder.start().await.unwrap();
    // Route and connection are there then, so that the next one begins at once.
    producer.send(message()).await.unwrap();
    let first = producer.send(message());
    let second = producer.send(message()).await.unwrap_err();
    assert!(matches!(second, ClientError::Busy(_)), "{second}");
    assert!(first.await.unwrap_err().outcome_is_unknown());
    assert_eq!(broker.sent().len(), 2);
    // The room came back with the end of the first one.
    broker.then([Act::Store]);
    producer.send(message()).await.unwrap();
}

#[tokio::test]
async fn room_comes_back_with_the_answer_whether_anybody_looks_or_not() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().in_flight_max(2).start().await.unwrap();
    producer.send(message()).await.unwrap();
    let unseen = [producer.send(message()), producer.send(message())];
    producer.send(message()).await.unwrap();
    for send in unseen {
        send.await.unwrap();
    }
}

#[tokio::test]
async fn the_leader_is_asked_again_after_a_moment_under_the_same_route() {
    let world = World::new();
    let busy = Act::Refuse(ResponseCode::ServiceNotAvailable, "not now");
    let (leader, replica) = (ScriptedBroker::start([busy, Act::Store]), ScriptedBroker::start([Act::Store]));
    world.name_server.route("t", &[("b", &[leader.address, replica.address])]);
    let producer = world.producer().await;
    producer.send(message()).await.unwrap();
    assert_eq!((leader.sent().len(), replica.sent().len()), (1, 1));
    support::eventually("a send to the leader", || async {
        producer.send(message()).await.map_err(|error| error.to_string())?;
        (leader.sent().len() > 1).then_some(()).ok_or_else(|| "all go to the replica".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_send_begins_without_being_polled_and_goes_on_when_dropped() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.producer().await;
    producer.send(message()).await.unwrap();
    drop(producer.send(message()));
    support::eventually("second message", || async {
        (broker.sent().len() == 2).then_some(()).ok_or_else(|| "not there".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_callback_gets_the_result_also_after_retries() {
    let world = World::new();
    let broker = ScriptedBroker::start([
        Act::Refuse(ResponseCode::SystemBusy, "busy"),
        Act::Store,
        Act::Refuse(ResponseCode::MessageIllegal, "no"),
    ]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.producer().await;
    for expected in [Ok(1), Err(Some(ResponseCode::MessageIllegal))] {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        producer.send_with_callback(message(), |result| sender.send(result).unwrap()).await.unwrap();
        let result = receiver.await.unwrap();
        assert_eq!(result.map(|result| result.queue_offset()).map_err(|error| error.code()), expected);
    }
}

#[tokio::test]
async fn a_topic_without_route_fails_at_once_and_one_without_broker_is_waited_for() {
    let world = World::new();
    let producer = world.producer().await;
    let error = producer.send(message()).await.unwrap_err();
    assert!(matches!(error, ClientError::NoRoute { .. }), "{error}");
    // Known, but nobody serves it.
    world.name_server.route("t", &[]);
    let sending = tokio::spawn(producer.send(message()));
    let before = world.name_server.asked("t");
    support::eventually("question for the route", || async {
        (world.name_server.asked("t") > before + 1).then_some(()).ok_or_else(|| "not asked".to_owned())
    })
    .await;
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn many_first_sends_ask_for_the_route_once() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("TBW102", &[("b", &[broker.address])]);
    let producer = world.builder().topic_queue_count(1).start().await.unwrap();
    let sends: Vec<_> = (0..100).map(|_| tokio::spawn(producer.send(message()))).collect();
    for send in sends {
        assert_eq!(send.await.unwrap().unwrap().queue().queue_id, 0, "one queue was asked for");
    }
    assert!(world.name_server.asked("TBW102") < 20, "asked {} times", world.name_server.asked("TBW102"));
    assert_eq!(broker.sent()[0].field("d"), "1");
}

#[tokio::test]
async fn a_send_has_the_fields_that_brokers_expect() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().compression(Some(Codec::Lz4)).start().await.unwrap();
    let queue = producer.queues("t").await.unwrap()[1].clone();
    let large = Message::new("t", vec![7; 5_000]).flag(3);
    let result = producer.send_to(large, &queue).await.unwrap();
    let sent = &broker.sent()[0];
    assert_eq!(sent.code, RequestCode::SendMessageV2);
    for (key, value) in [
        ("a", "g"),
        ("b", "t"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "1"),
        ("h", "3"),
        ("m", "false"),
        ("n", "b"),
    ] {
        assert_eq!(sent.field(key), value, "{key}");
    }
    assert_eq!(sent.field("f"), (0x1 | 0x100).to_string(), "compressed by LZ4");
    assert!(sent.body.len() < 5_000);
    assert_eq!(sent.field("i"), format!("UNIQ_KEY\u{1}{}\u{2}", result.message_id()));
    let error = producer.send_to(Message::new("u", "b"), &queue).await.unwrap_err();
    assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    let error = producer.send_with(message(), |queues| queues.len()).await.unwrap_err();
    assert!(matches!(error, ClientError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn lingering_messages_go_as_one_batch_and_each_gets_its_own_result() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Refuse(ResponseCode::SystemBusy, "busy"), Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().linger(Duration::from_secs(10)).batch_count_max(3).start().await.unwrap();
    let sends: Vec<_> = (0..3).map(|_| producer.send(message())).collect();
    let mut results = Vec::new();
    for send in sends {
        results.push(send.await.unwrap());
    }
    let sent = broker.sent();
    assert_eq!(sent.len(), 2, "one batch, repeated as a whole");
    assert!(sent.iter().all(|one| one.code == RequestCode::SendBatchMessage && one.field("m") == "true"));
    let offsets: Vec<i64> = results.iter().map(|result| result.queue_offset()).collect();
    assert_eq!(offsets, [1, 2, 3]);
    let ids: Vec<&str> = results.iter().map(|result| result.offset_message_id()).collect();
    assert_eq!(ids, ["1-0", "1-1", "1-2"]);
    let unique: std::collections::HashSet<&str> = results.iter().map(|result| result.message_id()).collect();
    assert_eq!(unique.len(), 3);

    // Those that no batch can hold go alone and at once, those of a key go together, and a flush lets all go.
    producer.send(message().delay_level(1)).await.unwrap();
    let keyed = [producer.send_by_key(message(), "a"), producer.send_by_key(message(), "a")];
    let any = producer.send(message());
    producer.flush();
    for send in keyed {
        assert_eq!(send.await.unwrap().queue().queue_id, 1);
    }
    any.await.unwrap();
    let sent = broker.sent();
    assert_eq!(sent.len(), 5);
    assert_eq!(sent[2].code, RequestCode::SendMessageV2);
}

#[derive(Debug, Default)]
struct Counts {
    sent: Mutex<Vec<(usize, bool)>>,
    retried: Mutex<usize>,
}

impl Metrics for Counts {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Sent { messages, ok, .. } => self.sent.lock().unwrap().push((messages, ok)),
            Event::SendRetried { .. } => *self.retried.lock().unwrap() += 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn metrics_hear_of_every_send_and_retry() {
    let name_server = ScriptedNameServer::start();
    let counts = Arc::new(Counts::default());
    let options = ClientOptions::new(&name_server.address.to_string()).unwrap().metrics(counts.clone());
    let client = options.start().unwrap();
    let busy = Act::Refuse(ResponseCode::SystemBusy, "busy");
    let broker = ScriptedBroker::start([busy, Act::Store, Act::Close, Act::Store]);
    name_server.route("t", &[("b", &[broker.address])]);
    let producer = Producer::builder(&client).start().await.unwrap();
    producer.send(message()).await.unwrap();
    producer.send(message()).await.unwrap_err();
    producer.send_batch(vec![message(), message()]).await.unwrap();
    assert_eq!(*counts.sent.lock().unwrap(), [(1, true), (1, false), (2, true)]);
    assert_eq!(*counts.retried.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_batch_that_fails_half_way_tells_what_is_stored() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store, Act::Close, Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().batch_count_max(2).start().await.unwrap();
    let error = producer.send_batch((0..5).map(|_| message()).collect()).await.unwrap_err();
    assert_eq!(error.stored.len(), 2);
    assert!(error.error.outcome_is_unknown());
    assert_eq!(broker.sent().len(), 2);
    let queues: Vec<String> = broker.sent().iter().map(|one| one.field("e").to_owned()).collect();
    assert_eq!(queues[0], queues[1], "all parts go to one queue");
}

#[tokio::test]
async fn shutdown_sends_what_waits_and_frees_the_group() {
    let world = World::new();
    let broker = ScriptedBroker::start([Act::Store]);
    world.name_server.route("t", &[("b", &[broker.address])]);
    let producer = world.builder().linger(Duration::from_secs(20)).start().await.unwrap();
    assert!(matches!(world.builder().start().await, Err(ClientError::Invalid(_))), "the group is taken");
    let waiting = producer.send(message());
    producer.shutdown().await;
    waiting.await.unwrap();
    assert_eq!(broker.sent().len(), 1);
    assert!(matches!(producer.send(message()).await, Err(ClientError::Stopped)));
    let next = world.producer().await;
    drop(producer);
    assert!(world.builder().start().await.is_err(), "the group is the second one's");
    drop(next);
    world.producer().await.send(message()).await.unwrap();
}
