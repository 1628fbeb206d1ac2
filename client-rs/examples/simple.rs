//! Receives messages when it wants some, and acknowledges each. Needs brokers with pop: RocketMQ 5.
//!
//!     cargo run -p flotilla-client --example simple -- TOPIC GROUP
//!
//! `NAMESRV_ADDR` says where the name servers are, `127.0.0.1:9876` without it.

use std::time::Duration;

use flotilla_client::{Client, ClientOptions, SimpleConsumer};

/// How long a message is hidden from the other members of the group.
const INVISIBLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topic, group] = arguments.as_slice() else { anyhow::bail!("usage: simple TOPIC GROUP") };
    let client = Client::new(ClientOptions::default())?;
    let consumer = SimpleConsumer::builder(&client).group(group).subscribe(topic, "*").start().await?;
    loop {
        let messages = consumer.receive(16, INVISIBLE, Duration::from_secs(10)).await?;
        if messages.is_empty() {
            println!("nothing new for 10 s: done");
            break;
        }
        for mut message in messages {
            if message.body().len() > 1_000_000 {
                // Much work: others shall not get it meanwhile.
                consumer.change_invisible(&mut message, 4 * INVISIBLE).await?;
            }
            println!("{} {}: {} bytes", message.topic(), message.message_id(), message.body().len());
            // Not acknowledged, it would come again after its time.
            consumer.ack(&message).await?;
        }
    }
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
