//! Listens to a topic and keeps the order of each queue: a message is worked on only when the one before it has succeeded.
//!
//! `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p flotilla-client --example orderly -- TOPIC GROUP`, ended by Ctrl-C

use std::time::Duration;

use flotilla_client::{Client, ClientOptions, ConsumeFrom, OrderlyOutcome, PushConsumer, ReceivedMessage};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let group = arguments.next().unwrap_or_else(|| "example-orderly".to_owned());
    let client = Client::new(ClientOptions::default())?;
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        // What can't be done now is tried so often, then it goes to the group's dead letters and the queue goes on.
        .max_reconsume_times(16)
        .start_orderly(|messages| async move {
            for message in &messages {
                if let Err(error) = work(message) {
                    eprintln!("not now: {error:#}");
                    // The queue waits: nothing overtakes this message.
                    return OrderlyOutcome::SuspendFor(Duration::from_secs(1));
                }
            }
            OrderlyOutcome::Success
        })
        .await?;
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}

fn work(message: &ReceivedMessage) -> anyhow::Result<()> {
    let step = std::str::from_utf8(message.body())?;
    println!("queue {} at {}: {step}", message.queue().queue_id, message.queue_offset());
    Ok(())
}
