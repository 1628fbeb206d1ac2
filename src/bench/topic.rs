//! The topic of a run: made when missing, and how far its queues reach.

use std::collections::BTreeMap;

use anyhow::Context;
use flotilla_client::admin::{AdminClient, Scope, TopicOffset, TopicSettings};
use flotilla_client::{Client, MessageQueue};

/// Makes the topic on all brokers unless it exists.
///
/// # Errors
/// No name server answers, no broker is known, or a broker refuses.
pub async fn ensure(name_servers: &str, topic: &str, queues: u32) -> anyhow::Result<()> {
    let client = Client::connect(name_servers)?;
    let admin = AdminClient::new(&client);
    let done = async {
        let exists = admin.topic_exists(topic).await;
        if !exists.with_context(|| format!("name server {name_servers}"))? {
            let settings = TopicSettings::queues(queues);
            let created = admin.create_topic(topic, &settings, &Scope::All).await;
            created.with_context(|| format!("topic {topic} can't be created"))?;
        }
        anyhow::Ok(())
    };
    let done = done.await;
    client.shutdown().await;
    done
}

/// Offsets of the oldest message of each queue and behind its newest.
///
/// # Errors
/// The leader of a broker name does not answer.
pub async fn ends(name_servers: &str, topic: &str) -> anyhow::Result<BTreeMap<MessageQueue, TopicOffset>> {
    let client = Client::connect(name_servers)?;
    let stats = AdminClient::new(&client).topic_stats(topic).await;
    client.shutdown().await;
    let stats = stats.with_context(|| format!("offsets of topic {topic}"))?;
    Ok(stats.offset_table)
}
