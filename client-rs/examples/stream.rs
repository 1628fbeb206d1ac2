//! Takes messages of a group from a stream, works on many at a time and acknowledges each by itself.
//!
//! `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p flotilla-client --example stream -- TOPIC GROUP [COUNT]`, ended by Ctrl-C or after COUNT messages

use flotilla_client::{Client, ClientOptions, ConsumeFrom, Delivery, PushConsumer};
use futures::{StreamExt, future};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let group = arguments.next().unwrap_or_else(|| "example-stream".to_owned());
    let count = arguments.next().map_or(Ok(usize::MAX), |count| count.parse())?;
    let client = Client::new(ClientOptions::default())?;
    // The stream gives at most 64 messages that are not acknowledged yet.
    let mut stream = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .stream(64)
        .await?;
    let working = stream.by_ref().take(count).for_each_concurrent(16, work);
    let stop = std::pin::pin!(tokio::signal::ctrl_c());
    future::select(std::pin::pin!(working), stop).await;
    // Commits what was acknowledged; all else comes again.
    stream.shutdown().await;
    client.shutdown().await;
    Ok(())
}

async fn work(delivery: Delivery) {
    println!("{}: {:?}", delivery.message().message_id(), delivery.message().body());
    // Or `retry_later`, or `dead_letter`; dropped without a word it comes again.
    delivery.ack();
}
