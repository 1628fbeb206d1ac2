//! Asks over a topic and waits for the answer; without a question, answers those of others until Ctrl-C.
//!
//!     cargo run -p flotilla-client --example request -- TOPIC
//!     cargo run -p flotilla-client --example request -- TOPIC 'what time is it?'
//!
//! `NAMESRV_ADDR` says where the name servers are, `127.0.0.1:9876` without it.

use std::time::Duration;

use flotilla_client::{Client, ClientOptions, Message, Outcome, Producer, PushConsumer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let client = Client::new(ClientOptions::default())?;
    match arguments.as_slice() {
        [topic] => answer(&client, topic).await?,
        [topic, question] => ask(&client, topic, question).await?,
        _ => anyhow::bail!("usage: request TOPIC [QUESTION]"),
    }
    client.shutdown().await;
    Ok(())
}

async fn ask(client: &Client, topic: &str, question: &str) -> anyhow::Result<()> {
    let producer = Producer::builder(client).group("example-asking").start().await?;
    // Whoever answers must be listening by now: a question that waits too long is answered in vain.
    let message = Message::new(topic, question.to_owned());
    let reply = producer.request(message, Duration::from_secs(10)).await?;
    println!("{}", String::from_utf8_lossy(&reply.body));
    producer.shutdown().await;
    Ok(())
}

async fn answer(client: &Client, topic: &str) -> anyhow::Result<()> {
    let producer = Producer::builder(client).group("example-answers").start().await?;
    let replier = producer.clone();
    let consumer = PushConsumer::builder(client)
        .group("example-answering")
        .subscribe(topic, "*")
        .start(move |messages| {
            let replier = replier.clone();
            async move {
                for message in &messages {
                    let question = String::from_utf8_lossy(message.body());
                    // Who asked may be gone: there is no use in trying again.
                    match replier.reply(message, format!("you asked: {question}")).await {
                        Ok(()) => println!("answered {question:?}"),
                        Err(error) => eprintln!("{question:?} has no answer: {error}"),
                    }
                }
                Outcome::Success
            }
        })
        .await?;
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    producer.shutdown().await;
    Ok(())
}
