//! Reads what a topic holds at its own pace and commits how far it came.
//!
//! `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p flotilla-client --example pull -- TOPIC GROUP`

use std::time::Duration;

use flotilla_client::{Client, ClientOptions, PullConsumer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    let group = arguments.next().unwrap_or_else(|| "example-pull".to_owned());
    let client = Client::new(ClientOptions::default())?;
    let consumer = PullConsumer::builder(&client).group(&group).subscribe(&topic, "*").start().await?;
    loop {
        let messages = consumer.poll(Duration::from_secs(5)).await?;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            println!(
                "queue {} at {}: {:?}",
                message.queue().queue_id,
                message.queue_offset(),
                message.body()
            );
        }
        consumer.commit().await?;
    }
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
