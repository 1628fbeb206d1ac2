//! What a consumer that waits for messages sees of a node that is stopped: it is sent on, never cut off.

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use flotilla_remoting::ResponseCode;
use support::exchange::Pulled;
use support::{Client, Cluster, Failure, Pull, run};
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(90);
/// What Java's consumers ask for (`brokerSuspendMaxTimeMillis`).
const HOLD: Duration = Duration::from_secs(15);
const QUEUES: i32 = 16;

/// One waiting pull per queue, all over one connection, from offset 0.
fn wait_for_messages(
    client: &Client,
    address: &str,
    topic: &'static str,
) -> JoinSet<Result<Pulled, Failure>> {
    let mut waiting = JoinSet::new();
    for queue in 0..QUEUES {
        let (client, address) = (client.clone(), address.to_owned());
        waiting.spawn(async move {
            client.pull(&address, &Pull { hold: HOLD, ..Pull::from(topic, queue, 0) }).await
        });
    }
    waiting
}

/// All of them are told to ask again from where they were.
async fn all_sent_on(mut waiting: JoinSet<Result<Pulled, Failure>>) -> anyhow::Result<()> {
    while let Some(answer) = waiting.join_next().await {
        let pulled = answer?.context("a waiting pull was not answered")?;
        ensure!(pulled.code == ResponseCode::PullRetryImmediately && pulled.next == 0, "{pulled:?}");
    }
    Ok(())
}

/// Waits until the node holds the pulls.
async fn held(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    let metrics = || async {
        let answer = support::admin::call(cluster.admin(node), "GET", "/metrics", "").await;
        let text = answer.map_err(|error| error.to_string())?.body;
        let line = text
            .lines()
            .find(|line| line.starts_with("flotilla_long_polls_held"))
            .unwrap_or_default()
            .to_owned();
        if line.ends_with(&format!(" {QUEUES}")) { Ok(()) } else { Err(format!("held: {line:?}")) }
    };
    support::eventually(Duration::from_secs(10), "the pulls are held", metrics).await
}

#[test]
fn a_draining_node_sends_waiting_pulls_on_and_stays_while_they_come_back() {
    run(LIMIT, async {
        let drain = [("drainMillis", "30000"), ("drainIdleMillis", "500")];
        let cluster = Cluster::start_with(&drain).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let address = cluster.address(leader);
        client.create_topic(&address, "waits", QUEUES, 6).await?;
        let waiting = wait_for_messages(&client, &address, "waits");
        held(&cluster, leader).await?;
        cluster.process(leader)?.ask_to_stop()?;
        all_sent_on(waiting).await?;
        // A consumer whose route is old comes back, and is waited for each time.
        for _ in 0..3 {
            all_sent_on(wait_for_messages(&client, &address, "waits")).await?;
        }
        cluster.process(leader)?.end(Duration::from_secs(10)).await?;
        let entries = client.member_group().await?;
        ensure!(entries.iter().all(|(_, entry)| *entry != address), "its entry is there: {entries:?}");
        ensure!(entries.iter().any(|(id, _)| *id == 0), "no leader is shown: {entries:?}");
        Ok(())
    });
}

#[test]
fn pulls_that_wait_at_the_end_of_the_drain_are_answered_before_the_connection_closes() {
    run(LIMIT, async {
        // Never idle for long enough: the drain time ends it.
        let drain = [("drainMillis", "1000"), ("drainIdleMillis", "20000")];
        let cluster = Cluster::start_with(&drain).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let address = cluster.address(leader);
        client.create_topic(&address, "ends", QUEUES, 6).await?;
        let waiting = wait_for_messages(&client, &address, "ends");
        held(&cluster, leader).await?;
        cluster.process(leader)?.ask_to_stop()?;
        all_sent_on(waiting).await?;
        cluster.process(leader)?.end(Duration::from_secs(10)).await?;
        Ok(())
    });
}
