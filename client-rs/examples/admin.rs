//! Looks at a cluster and at a topic's consumers, and makes a topic.
//!
//!     cargo run -p flotilla-client --example admin -- TOPIC [GROUP]
//!
//! `NAMESRV_ADDR` says where the name servers are, `127.0.0.1:9876` without it.

use flotilla_client::admin::{AdminClient, Scope, TopicSettings};
use flotilla_client::{Client, ClientOptions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topic, groups @ ..] = arguments.as_slice() else { anyhow::bail!("usage: admin TOPIC [GROUP]") };
    let client = Client::new(ClientOptions::default())?;
    let admin = AdminClient::new(&client);

    for (broker_name, id, address) in admin.cluster().await?.replicas() {
        let info = admin.broker_info(address).await?;
        let role = if id == 0 { "leads" } else { "follows" };
        let (version, end) = (info.version().unwrap_or("unknown"), info.log_end().unwrap_or(-1));
        println!("{broker_name} at {address} {role}: version {version}, log ends at {end}");
    }

    if !admin.topic_exists(topic).await? {
        admin.create_topic(topic, &TopicSettings::queues(8), &Scope::All).await?;
        println!("made {topic}");
    }
    for (queue, ends) in admin.topic_stats(topic).await?.offset_table {
        println!(
            "{} queue {}: {} to {}",
            queue.broker_name, queue.queue_id, ends.min_offset, ends.max_offset
        );
    }

    for group in groups {
        let progress = admin.progress(group, Some(topic)).await?;
        println!("{group} is {} messages behind in {topic}", progress.lag_of(topic));
        let members = admin.consumers(group).await?.map_or(0, |online| online.connection_set.len());
        println!("{group} has {members} members online");
    }
    client.shutdown().await;
    Ok(())
}
