//! Connections: application streams, and who is let in.

use std::io::{Read, Write};

use super::cluster::{Cluster, soon};
use crate::raft::Replica;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_streams_reach_the_peer_verified() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cluster = Cluster::start(3).await;
    let mut stream = soon("a stream", cluster.node(0).replica.connect_peer(2)).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let streams = &cluster.node(2).streams;
    let (from, accepted) = loop {
        let waiting = streams.1.notified();
        if let Some(accepted) = streams.0.lock().pop() {
            break accepted;
        }
        soon("the stream arrives", waiting).await;
    };
    assert_eq!(from, 0);
    tokio::task::spawn_blocking(move || {
        let mut accepted = accepted;
        accepted.set_nonblocking(false).unwrap();
        let mut said = [0; 4];
        accepted.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"ping");
        accepted.write_all(b"pong").unwrap();
    })
    .await
    .unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
    assert!(cluster.node(0).replica.connect_peer(7).await.is_err(), "not a configured peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_group_or_node_is_refused() {
    let mut cluster = Cluster::start(1).await;
    cluster.commit(1).await;
    cluster.stop_node(0).await;
    let mut options = cluster.options_of(0);
    options.group = "another".into();
    let start = |options| {
        let (machine, _) = super::machine::Chain::new();
        Replica::start(
            options,
            std::sync::Arc::new(crate::vfs::RealVfs),
            machine,
            Box::new(super::machine::Numbering::default()),
            std::sync::Arc::new(super::cluster::Streams::default()),
        )
    };
    let refused =
        tokio::task::spawn_blocking(move || start(options).err().map(|error| error.to_string())).await;
    let refused = refused.unwrap().expect("a store of another group is not opened");
    assert!(refused.contains("group"), "{refused}");
}

/// Bytes of other protocols and half handshakes close the connection and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_turned_away() {
    let cluster = Cluster::start(1).await;
    let address = cluster.node(0).replica.local_addr();
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0]] {
        let greeting = greeting.to_vec();
        let read = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(&greeting).and_then(|()| stream.shutdown(std::net::Shutdown::Write)).ok();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(|_| rest)
        });
        // Closed or reset, but not answered.
        if let Ok(rest) = soon("the connection ends", read).await.unwrap() {
            assert_eq!(rest, b"", "a stranger is told nothing");
        }
    }
    cluster.commit(1).await;
}
