//! Requests and answers over real sockets: correlation, order, batching, bodies in parts, end of a connection.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use flotilla_net::{
    ByteBudget, CloseReason, Connection, ConnectionOptions, ListenOptions, Outgoing, RequestError, SendError,
};
use flotilla_remoting::ExtFields;
use tokio::net::{TcpListener, TcpStream};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_request_gets_its_own_answer() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..500_u32 {
        let connection = connection.clone();
        asked.spawn(async move {
            let body = Bytes::copy_from_slice(&number.to_be_bytes());
            let answer = connection.request(request(body.clone()), LONG).await.unwrap();
            assert!(success(&answer));
            assert_eq!(answer.body, body);
        });
    }
    while let Some(result) = asked.join_next().await {
        result.unwrap();
    }
    assert_eq!(connection.pending_requests(), 0);
}

#[tokio::test]
async fn answers_out_of_order_find_their_requests() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let asker = |body: &'static str| {
        let connection = connection.clone();
        tokio::spawn(async move { connection.request(request(body), LONG).await.unwrap().body })
    };
    let first = asker("first");
    let (there, one) = next_batch(&mut seen).await;
    let second = asker("second");
    let (_, two) = next_batch(&mut seen).await;
    for (frame, permit) in two.into_iter().chain(one) {
        let body = frame.body.clone();
        there.reply(frame.reply_with(ExtFields::new(), body), permit).unwrap();
    }
    assert_eq!(second.await.unwrap(), "second");
    assert_eq!(first.await.unwrap(), "first");
}

#[tokio::test]
async fn frames_of_one_read_come_as_one_batch_in_order() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let all: Vec<u8> = (0..20).flat_map(|opaque| raw_request(opaque, b"x")).collect();
    write(&mut stream, &all).await;
    let (_, requests) = next_batch(&mut seen).await;
    let opaques: Vec<i32> = requests.iter().map(|(frame, _)| frame.header.opaque).collect();
    assert_eq!(opaques, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_read_once_whole() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in raw_request(7, b"slowly") {
        write(&mut stream, &[byte]).await;
        tokio::task::yield_now().await;
    }
    let answer = read_frame(&mut stream).await.unwrap();
    assert_eq!((answer.header.opaque, &answer.body[..]), (7, &b"slowly"[..]));
}

#[tokio::test]
async fn a_body_in_large_and_small_parts_arrives_as_one() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let asker = tokio::spawn(async move { connection.request(request(""), LONG).await.unwrap() });
    let (there, mut requests) = next_batch(&mut seen).await;
    let (asked, permit) = requests.remove(0);
    let sizes = [3, 100_000, 0, 2048, 2049, 1_000_000, 1];
    let parts: Vec<Bytes> =
        sizes.iter().enumerate().map(|(index, size)| Bytes::from(vec![index as u8; *size])).collect();
    let expected: Vec<u8> =
        [&b"head"[..]].into_iter().chain(parts.iter().map(|part| &part[..])).flatten().copied().collect();
    let reply = asked.reply_with(ExtFields::new(), Bytes::from_static(b"head"));
    there.reply_parts(reply, parts, permit).unwrap();
    assert!(asker.await.unwrap().body == expected);
}

#[tokio::test]
async fn a_large_request_passes_and_its_bytes_are_given_back() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let body = Bytes::from(vec![7; 8 << 20]);
    let answer = connection.request(request(body.clone()), LONG).await.unwrap();
    assert!(answer.body == body);
    until(|| server.budget.in_use() == 0).await;
}

#[tokio::test]
async fn both_sides_may_ask_on_one_connection() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let _connection = connect(server.address, Arc::new(Echo)).await;
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    let answer = there.request(request("to the client"), LONG).await.unwrap();
    assert_eq!(answer.body, "to the client");
}

#[tokio::test]
async fn a_oneway_request_carries_its_flag_and_gets_no_answer() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    connection.oneway(request("quiet")).unwrap();
    // The answer to the second would be behind one to the first.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut quiet = request("quiet");
    quiet.header.flag = 2;
    write(&mut stream, &bytes_of(&quiet)).await;
    write(&mut stream, &raw_request(9, b"loud")).await;
    assert_eq!(read_frame(&mut stream).await.unwrap().header.opaque, 9);
}

#[tokio::test]
async fn replies_pushed_before_finish_arrive_and_then_the_stream_ends() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    write(&mut stream, &raw_request(1, b"a")).await;
    let (there, requests) = next_batch(&mut seen).await;
    for (frame, permit) in requests {
        there.reply(frame.reply_with(ExtFields::new(), Bytes::from(vec![1; 300_000])), permit).unwrap();
    }
    there.finish(CloseReason::Requested("drained".into()));
    assert_eq!(there.send(request("late")), Err(SendError::Closed));
    assert_eq!(read_frame(&mut stream).await.unwrap().body.len(), 300_000);
    assert!(read_frame(&mut stream).await.is_none());
    assert_eq!(next_end(&mut seen).await, CloseReason::Requested("drained".into()));
}

#[tokio::test]
async fn a_request_in_flight_fails_as_closed_when_the_peer_goes() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let asker = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.request(request("x"), LONG).await })
    };
    let (there, _) = next_batch(&mut seen).await;
    there.close(CloseReason::Requested("test".into()));
    assert_eq!(asker.await.unwrap(), Err(RequestError::Closed));
    assert_eq!(connection.close_reason(), Some(&CloseReason::Peer));
    assert!(matches!(connection.request(request("y"), LONG).await, Err(RequestError::NotSent(_))));
}

#[tokio::test]
async fn requests_that_never_reached_the_socket_fail_as_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // Accepted and never read: the first frames fill the socket, the writer sticks.
    let _deaf = listener.accept().await.unwrap();
    let connection =
        Connection::over(stream, ConnectionOptions::default(), ByteBudget::new(1), Arc::new(Silent)).unwrap();
    let ask = |size: usize| {
        let connection = connection.clone();
        tokio::spawn(async move { connection.request(request(vec![0; size]), LONG).await })
    };
    let stuck = ask(12 << 20);
    until(|| connection.pending_requests() == 1).await;
    // The writer has taken the first frame when it runs next; only then is the second queued.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let waiting = ask(10);
    until(|| connection.pending_requests() == 2).await;
    connection.close(CloseReason::Requested("test".into()));
    assert_eq!(stuck.await.unwrap(), Err(RequestError::Closed));
    assert!(matches!(waiting.await.unwrap(), Err(RequestError::NotSent(_))));
}

#[tokio::test]
async fn many_frames_are_taken_together_or_not_at_all() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let too_large = Outgoing::new(request(vec![0; 17 << 20]));
    let refused = connection.send_all(vec![Outgoing::new(request("a")), too_large]);
    assert_eq!(refused, Err(SendError::TooLarge));
    assert_eq!(connection.write_queue_bytes(), 0);
    assert!(!connection.is_closed());
    assert!(connection.request(request("still open"), LONG).await.is_ok());
}

#[tokio::test]
async fn the_listener_ends_with_all_its_connections_and_its_port_can_be_bound_again() {
    let (recorder, mut seen) = Recorder::new();
    let mut server = serve(recorder, ListenOptions::default());
    let connection = connect(server.address, Arc::new(Silent)).await;
    let Some(Seen::Connected(_)) = seen.recv().await else { panic!("not connected first") };
    server.stop.cancel();
    (&mut server.task).await.unwrap();
    connection.closed().cancelled().await;
    assert!(matches!(next_end(&mut seen).await, CloseReason::Requested(_)));
    flotilla_net::Listener::bind(server.address, ListenOptions::default()).unwrap();
}

#[tokio::test]
async fn a_listener_that_stops_writes_what_its_connections_hold() {
    const FRAMES: usize = 100;
    let (recorder, mut seen) = Recorder::new();
    let mut server = serve(recorder, ListenOptions::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    for _ in 0..FRAMES {
        there.send(request(vec![1; 64 << 10])).unwrap();
    }
    server.stop.cancel();
    let mut arrived = 0;
    while let Some(frame) = read_frame(&mut stream).await {
        assert_eq!(frame.body.len(), 64 << 10);
        arrived += 1;
    }
    assert_eq!(arrived, FRAMES);
    (&mut server.task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_stops_does_not_wait_long_for_who_does_not_read() {
    let (recorder, mut seen) = Recorder::new();
    let mut server = serve(recorder, ListenOptions::default());
    let _deaf = TcpStream::connect(server.address).await.unwrap();
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    for _ in 0..400 {
        there.send(request(vec![1; 64 << 10])).unwrap();
    }
    let start = tokio::time::Instant::now();
    server.stop.cancel();
    (&mut server.task).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
}
