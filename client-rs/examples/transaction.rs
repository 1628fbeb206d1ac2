//! Sends a message that is delivered if, and only if, a local transaction has committed. Needs brokers with transactions: RocketMQ.
//!
//!     cargo run -p flotilla-client --example transaction -- TOPIC
//!
//! `NAMESRV_ADDR` says where the name servers are, `127.0.0.1:9876` without it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use flotilla_client::{Client, ClientOptions, Message, Producer, TransactionState};

/// Stands for a database that has a table of the messages whose transactions have committed.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashSet<String>>>);

impl Database {
    fn commit(&self, message_id: &str) {
        self.0.lock().expect("not poisoned").insert(message_id.to_owned());
    }

    fn has(&self, message_id: &str) -> bool {
        self.0.lock().expect("not poisoned").contains(message_id)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let topic = std::env::args().nth(1).unwrap_or_else(|| "orders".to_owned());
    let client = Client::new(ClientOptions::default())?;
    let database = Database::default();

    // Brokers ask about messages of which they have heard no end: any member of the group is asked, also after a restart.
    let asked = database.clone();
    let producer = Producer::builder(&client)
        .group("example-transactions")
        .start_transactional(move |message| {
            let state = if asked.has(&message.message_id()) {
                TransactionState::Commit
            } else {
                TransactionState::Rollback
            };
            async move { state }
        })
        .await?;

    let outcome = producer
        .send_in_transaction(Message::new(&topic, "paid").key("order-17"), async |sent| {
            // The message is stored and nobody sees it. Its id belongs into the transaction: it is what the check looks for.
            database.commit(sent.message_id());
            TransactionState::Commit
        })
        .await?;
    println!("{} ended with {:?}", outcome.sent.message_id(), outcome.state);
    if let Some(error) = outcome.not_told {
        println!("the broker has not heard of it and will ask: {error}");
    }
    producer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
