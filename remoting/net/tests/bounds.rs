//! Every limit of a connection and a listener: what happens at it, and that nothing else happens.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use flotilla_net::{
    ByteBudget, CloseReason, Connection, ConnectionOptions, Expected, ListenOptions, OverBudget, Overflow,
    RequestError, SendError, Unsent, limits::FRAME_SIZE_MAX,
};
use flotilla_remoting::ResponseCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn with_connection(change: impl FnOnce(&mut ConnectionOptions)) -> ListenOptions {
    let mut options = ListenOptions::default();
    change(&mut options.connection);
    options
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_without_an_answer() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, with_connection(|options| options.frame_size_max = 1000));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    write(&mut stream, &997_u32.to_be_bytes()).await;
    assert!(read_frame(&mut stream).await.is_none());
    assert!(matches!(next_end(&mut seen).await, CloseReason::Malformed(_)));
}

#[tokio::test]
async fn malformed_bytes_close_without_an_answer_but_frames_before_them_are_served() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = raw_request(1, b"good");
    // A header of three bytes that is no JSON.
    bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 3, b'b', b'a', b'd']);
    write(&mut stream, &bytes).await;
    let (_, requests) = next_batch(&mut seen).await;
    assert_eq!(requests.len(), 1);
    assert!(matches!(next_end(&mut seen).await, CloseReason::Malformed(_)));
    assert!(read_frame(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_is_forgotten() {
    let server = serve(Arc::new(Silent), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    tokio::time::pause();
    let start = Instant::now();
    let result = connection.request(request("x"), Duration::from_millis(700)).await;
    assert_eq!(result, Err(RequestError::Timeout));
    let passed = start.elapsed();
    assert!(passed >= Duration::from_millis(700) && passed <= Duration::from_millis(760), "{passed:?}");
    assert_eq!(connection.pending_requests(), 0);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn what_is_given_up_ends_at_once_and_what_was_sent_later_waits_on() {
    let server = serve(Arc::new(Silent), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let soon = connection.request(request("x"), LONG);
    let held = connection.request_expecting(Expected::Held, request("y"), LONG);
    tokio::pin!(soon, held);
    assert!(futures::poll!(&mut soon).is_pending() && futures::poll!(&mut held).is_pending());
    let oldest = |expected| connection.oldest_request(expected).unwrap();
    assert!(oldest(Expected::Soon) <= oldest(Expected::Held));
    let sent_by = Instant::now();
    while Instant::now() <= sent_by {
        tokio::task::yield_now().await;
    }
    let later = connection.request(request("z"), LONG);
    tokio::pin!(later);
    assert!(futures::poll!(&mut later).is_pending());
    assert_eq!(connection.give_up(sent_by), 2);
    assert_eq!(soon.await, Err(RequestError::GivenUp));
    assert_eq!(held.await, Err(RequestError::GivenUp));
    assert!(futures::poll!(&mut later).is_pending());
    assert!(oldest(Expected::Soon) > sent_by && connection.oldest_request(Expected::Held).is_none());
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_dropped_request_is_forgotten() {
    let server = serve(Arc::new(Silent), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    {
        let asking = connection.request(request("x"), LONG);
        tokio::pin!(asking);
        assert!(futures::poll!(&mut asking).is_pending());
        assert_eq!(connection.pending_requests(), 1);
    }
    assert_eq!(connection.pending_requests(), 0);
}

#[tokio::test]
async fn requests_beyond_the_pending_limit_are_not_sent() {
    let server = serve(Arc::new(Silent), ListenOptions::default());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let options = ConnectionOptions { pending_requests_max: 1, ..Default::default() };
    let connection = Connection::over(stream, options, ByteBudget::new(1), Arc::new(Silent)).unwrap();
    let first = connection.request(request("x"), LONG);
    tokio::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    let refused = connection.request(request("y"), LONG).await;
    assert!(matches!(refused, Err(RequestError::NotSent(Unsent::Busy(_)))), "{refused:?}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    tokio::time::pause();
    let start = Instant::now();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(100)).await;
        there.oneway(request("ping")).unwrap();
        until(|| there.write_queue_bytes() == 0).await;
    }
    assert!(!there.is_closed());
    assert_eq!(next_end(&mut seen).await, CloseReason::Idle);
    let passed = start.elapsed();
    assert!(passed >= Duration::from_secs(420) && passed < Duration::from_secs(422), "{passed:?}");
    connection.closed().cancelled().await;
    until(|| server.stats.closed.load(Ordering::Relaxed) == 1).await;
    assert_eq!(server.stats.idle_closed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_receiver_that_does_not_read_is_closed_at_the_bound() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, with_connection(|options| options.write_queue_bytes_max = 1 << 20));
    let _deaf = TcpStream::connect(server.address).await.unwrap();
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    let mut queued_max = 0;
    let refused = loop {
        match there.send(request(vec![0; 64 << 10])) {
            Ok(()) => queued_max = queued_max.max(there.write_queue_bytes()),
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused, SendError::Full);
    assert!(queued_max <= 1 << 20, "{queued_max}");
    assert_eq!(next_end(&mut seen).await, CloseReason::SlowReceiver);
    until(|| server.stats.slow_closed.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_connection_that_refuses_at_the_bound_stays_and_the_frame_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut deaf, _) = listener.accept().await.unwrap();
    let options = ConnectionOptions {
        write_queue_bytes_max: 1 << 20,
        overflow: Overflow::Refuse,
        ..Default::default()
    };
    let there = Connection::over(stream, options, ByteBudget::new(1 << 20), Arc::new(Silent)).unwrap();
    let mut taken = 0;
    while there.send(request(vec![0; 64 << 10])).is_ok() {
        taken += 1;
        tokio::task::yield_now().await;
    }
    let queued = there.write_queue_bytes();
    let refused = there.request(request(vec![0; 64 << 10]), LONG).await;
    assert!(matches!(refused, Err(RequestError::NotSent(Unsent::Busy(_)))), "{refused:?}");
    let too_large = there.request(request(vec![0; FRAME_SIZE_MAX]), LONG).await;
    assert_eq!(too_large, Err(RequestError::NotSent(Unsent::TooLarge)));
    assert_eq!(there.write_queue_bytes(), queued, "what was refused is not counted");
    assert!(!there.is_closed());
    // What was taken arrives, and nothing of what was refused.
    there.finish(CloseReason::Requested("test".into()));
    let mut arrived = 0;
    while let Some(frame) = read_frame(&mut deaf).await {
        assert_eq!(frame.body.len(), 64 << 10);
        arrived += 1;
    }
    assert_eq!(arrived, taken);
}

#[tokio::test]
async fn over_the_in_flight_budget_requests_are_answered_busy_until_bytes_come_back() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions { in_flight_bytes_max: 10_000, ..Default::default() });
    let connection = connect(server.address, Arc::new(Silent)).await;
    let held = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.request(request(vec![0; 9_000]), LONG).await })
    };
    let (there, mut requests) = next_batch(&mut seen).await;
    let busy = connection.request(request(vec![0; 2_000]), LONG).await.unwrap();
    assert_eq!(busy.header.response_code(), ResponseCode::SystemBusy);
    assert!(busy.header.remark.unwrap().starts_with("[OVERLOAD]system busy"));
    let (frame, permit) = requests.remove(0);
    there.reply(frame.reply(ResponseCode::Success, None), permit).unwrap();
    assert!(success(&held.await.unwrap().unwrap()));
    until(|| server.budget.in_use() == 0).await;
    let _served = tokio::spawn(async move { connection.request(request(vec![0; 2_000]), LONG).await });
    assert_eq!(next_batch(&mut seen).await.1.len(), 1);
}

#[tokio::test]
async fn a_pausing_listener_reads_on_when_bytes_come_back() {
    let (recorder, mut seen) = Recorder::new();
    let mut options = with_connection(|options| options.over_budget = OverBudget::Pause);
    options.in_flight_bytes_max = 10_000;
    let server = serve(recorder, options);
    let connection = connect(server.address, Arc::new(Silent)).await;
    connection.oneway(request(vec![0; 20_000])).unwrap();
    let (_, held) = next_batch(&mut seen).await;
    tokio::time::pause();
    let unread = connection.request(request("unread"), Duration::from_secs(3)).await;
    assert_eq!(unread, Err(RequestError::Timeout));
    assert!(seen.try_recv().is_err(), "nothing was read while the budget was used up");
    drop(held);
    assert_eq!(next_batch(&mut seen).await.1[0].0.body, "unread");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_freed_place_is_used() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions { connections_max: 1, ..Default::default() });
    let first = TcpStream::connect(server.address).await.unwrap();
    let Some(Seen::Connected(_)) = seen.recv().await else { panic!("not connected first") };
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(read_frame(&mut second).await.is_none());
    drop(first);
    next_end(&mut seen).await;
    until(|| server.stats.connections.load(Ordering::Relaxed) == 0).await;
    // The place is free a moment after the count says so: the task that holds it has to end.
    loop {
        let _third = TcpStream::connect(server.address).await.unwrap();
        let Ok(event) = tokio::time::timeout(Duration::from_millis(20), seen.recv()).await else { continue };
        assert!(matches!(event, Some(Seen::Connected(_))));
        break;
    }
}

#[tokio::test]
async fn announced_bytes_cost_nothing_and_partial_frames_are_bounded() {
    let (recorder, mut seen) = Recorder::new();
    let mut options = with_connection(|options| options.frame_size_max = 2 << 20);
    options.in_flight_bytes_max = 1 << 20;
    let server = serve(recorder, options);
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        write(&mut stream, &2_000_000_u32.to_be_bytes()).await;
        streams.push(stream);
    }
    until(|| server.stats.bytes_read.load(Ordering::Relaxed) == 400).await;
    assert_eq!(server.budget.in_use(), 0, "100 announced frames of 2 MB");
    let partial = vec![0; 1_900_000];
    write(&mut streams[0], &partial).await;
    until(|| server.budget.in_use() > 1_500_000).await;
    // Fails when the server closes before it has taken everything.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut streams[1], &partial).await;
    assert_eq!(next_end(&mut seen).await, CloseReason::OverBudget);
    until(|| server.stats.connections.load(Ordering::Relaxed) == 99).await;
    assert!(server.budget.in_use() > 1_500_000, "the first is still being received");
}

#[tokio::test]
async fn a_connection_that_cannot_finish_is_closed_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let _deaf = listener.accept().await.unwrap();
    let connection =
        Connection::over(stream, ConnectionOptions::default(), ByteBudget::new(1), Arc::new(Silent)).unwrap();
    connection.send(request(vec![0; 12 << 20])).unwrap();
    tokio::time::pause();
    let start = Instant::now();
    connection.finish(CloseReason::Requested("drained".into()));
    connection.closed().cancelled().await;
    assert!(start.elapsed() >= Duration::from_secs(5));
}
