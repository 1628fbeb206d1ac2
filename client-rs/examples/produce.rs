//! Sends messages one after another, many at a time, in batches that gather by themselves, and in order by key.
//!
//! `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p flotilla-client --example produce -- TOPIC`

use std::time::Duration;

use flotilla_client::{Client, ClientOptions, Message, Producer};
use futures::future::try_join_all;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let topic = std::env::args().nth(1).unwrap_or_else(|| "orders".to_owned());
    let client = Client::new(ClientOptions::default())?;
    let producer = Producer::builder(&client).group("example-producer").start().await?;

    let result = producer.send(Message::new(&topic, "paid").tag("eu").key("order-17")).await?;
    println!("{} is in {:?} at {}", result.message_id(), result.queue(), result.queue_offset());

    // Each send is under way as soon as it is called; awaiting comes later.
    let sends = (0..1_000).map(|number| producer.send(Message::new(&topic, format!("event {number}"))));
    println!("{} more are stored", try_join_all(sends).await?.len());

    // Messages of one key keep their order when each is awaited before the next.
    for step in ["ordered", "paid", "shipped"] {
        producer.send_by_key(Message::new(&topic, step).key("order-18"), "order-18").await?;
    }
    producer.shutdown().await;

    // Messages that are sent within 5 ms travel together: less for everybody to do, for a little more latency.
    let producer =
        Producer::builder(&client).group("example-batches").linger(Duration::from_millis(5)).start().await?;
    let sends = (0..1_000).map(|number| producer.send(Message::new(&topic, format!("reading {number}"))));
    println!("{} are stored in batches", try_join_all(sends).await?.len());
    producer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
