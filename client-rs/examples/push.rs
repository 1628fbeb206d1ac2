//! Listens to a topic as a member of a group until Ctrl-C; what is being worked on is finished and its offsets are committed.
//!
//! `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p flotilla-client --example push -- TOPIC GROUP`

use flotilla_client::{Client, ClientOptions, ConsumeFrom, Outcome, PushConsumer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let group = arguments.next().unwrap_or_else(|| "example-push".to_owned());
    let client = Client::new(ClientOptions::default())?;
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .start(|messages| async move {
            for message in messages {
                println!(
                    "queue {} at {}: {:?}",
                    message.queue().queue_id,
                    message.queue_offset(),
                    message.body()
                );
            }
            Outcome::Success
        })
        .await?;
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
