//! The client pool: one connection per address, reconnect, back-off, stop.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use flotilla_net::{
    ByteBudget, ClientPool, CloseReason, ConnectError, Connection, ConnectionOptions, Dial, Dialling,
    ListenOptions, Listener, PoolOptions, RequestError, Stream,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(60);

fn pool() -> ClientPool {
    ClientPool::new(PoolOptions::default(), Arc::new(Echo))
}

/// An address where nobody listens.
async fn free_address() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn callers_of_one_address_share_a_connection() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let pool = pool();
    let address = server.address.to_string();
    let (one, two) = tokio::join!(pool.get(&address), pool.get(&address));
    assert_eq!(one.unwrap().id(), two.unwrap().id());
    assert_eq!(pool.request(&address, request("x"), LONG).await.unwrap().body, "x");
    pool.stop().await;
    assert_eq!(pool.get(&address).await.unwrap_err(), ConnectError::Stopped);
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let server = serve(Arc::new(Echo), ListenOptions::default());
    let pool = pool();
    let address = server.address.to_string();
    let first = pool.get(&address).await.unwrap();
    first.close(CloseReason::Requested("test".into()));
    assert!(pool.open_connection(&address).is_none());
    let second = pool.get(&address).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(pool.open_connection(&address).unwrap().id(), second.id());
}

#[tokio::test]
async fn a_refused_address_is_left_alone_for_a_growing_pause() {
    let address = free_address().await;
    let pool = pool();
    let text = address.to_string();
    tokio::time::pause();
    assert!(matches!(pool.get(&text).await, Err(ConnectError::Failed { .. })));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let Err(ConnectError::BackingOff { retry_in, .. }) = pool.get(&text).await else {
            panic!("not backing off")
        };
        pauses.push(retry_in.as_millis());
        tokio::time::advance(retry_in).await;
        assert!(matches!(pool.get(&text).await, Err(ConnectError::Failed { .. })));
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
    // Once the address answers, the next attempt succeeds and nothing is left of the back-off.
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    let listener = Listener::bind(address, ListenOptions::default()).unwrap();
    let stop = CancellationToken::new();
    let task = listener.serve(Arc::new(Echo), stop.clone());
    let first = pool.get(&text).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    first.closed().cancelled().await;
    assert!(matches!(pool.get(&text).await, Err(ConnectError::Failed { .. })));
    let Err(ConnectError::BackingOff { retry_in, .. }) = pool.get(&text).await else { panic!() };
    assert!(retry_in <= Duration::from_millis(50));
}

#[tokio::test]
async fn without_a_connection_a_request_was_not_sent() {
    let pool = pool();
    let address = free_address().await.to_string();
    for address in [&address[..], "no port", ":1"] {
        let result = pool.request(address, request("x"), LONG).await;
        assert!(matches!(result, Err(RequestError::NotSent(_))), "{result:?}");
    }
}

#[tokio::test]
async fn the_other_side_may_ask_over_a_pooled_connection() {
    let (recorder, mut seen) = Recorder::new();
    let server = serve(recorder, ListenOptions::default());
    let pool = pool();
    pool.get(&server.address.to_string()).await.unwrap();
    let Some(Seen::Connected(there)) = seen.recv().await else { panic!("not connected first") };
    assert_eq!(there.request(request("back"), LONG).await.unwrap().body, "back");
}

/// Ends of pipes within the process.
struct Pipes;

impl Dial for Pipes {
    fn dial(&self, address: &str) -> Dialling {
        let refused = address == "nobody";
        Box::pin(async move {
            if refused {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let address = "10.0.0.1:1".parse().unwrap();
            let (near, far) = tokio::io::duplex(1024);
            let stream = |end| {
                let (read, write) = tokio::io::split(end);
                Stream { read: Box::new(read), write: Box::new(write), peer: address, local: address }
            };
            let (options, budget) = (ConnectionOptions::default(), ByteBudget::new(1 << 20));
            Connection::over_stream(stream(far), options, budget, Arc::new(Echo));
            Ok(stream(near))
        })
    }
}

#[tokio::test]
async fn a_pool_speaks_over_whatever_streams_it_is_given() {
    let pool = ClientPool::dialling(PoolOptions::default(), Arc::new(Pipes), Arc::new(Echo));
    assert_eq!(pool.request("anywhere", request("x"), LONG).await.unwrap().body, "x");
    let connection = pool.open_connection("anywhere").unwrap();
    assert_eq!(connection.peer().to_string(), "10.0.0.1:1");
    assert!(matches!(pool.get("nobody").await, Err(ConnectError::Failed { .. })));
    pool.stop().await;
    assert!(connection.is_closed());
}
