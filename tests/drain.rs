//! What clients see of a node that is stopped: a consumer that waits for messages is sent on, a producer loses no send.

mod support;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use flotilla_client::{Message, Producer};
use flotilla_remoting::ResponseCode;
use support::exchange::Pulled;
use support::load::{Load, Plan};
use support::{Client, Cluster, Failure, Pull, run};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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

/// Tasks that send one message after the other, until told to stop. Gives the number of messages that were stored.
fn keep_sending(
    producer: &Producer,
    topic: &'static str,
    stop: &CancellationToken,
) -> JoinSet<anyhow::Result<u64>> {
    let mut senders = JoinSet::new();
    for _ in 0..12 {
        let (producer, stop) = (producer.clone(), stop.clone());
        senders.spawn(async move {
            let mut stored = 0;
            while !stop.is_cancelled() {
                producer.send(Message::new(topic, "ours")).await?;
                stored += 1;
            }
            Ok(stored)
        });
    }
    senders
}

#[test]
fn a_planned_stop_under_load_leaves_no_send_unknown_however_short_the_drain() {
    run(LIMIT, async {
        // Clients are still there when it ends.
        let drain = [("drainMillis", "300"), ("drainIdleMillis", "20000")];
        let mut cluster = Cluster::start_with(&drain).await?;
        let client = cluster.client();
        let address = cluster.address(cluster.leader().await?);
        for topic in ["raw", "library"] {
            client.create_topic(&address, topic, 8, 6).await?;
        }
        let library = flotilla_client::Client::connect(&cluster.name_server())?;
        let producer = Producer::builder(&library).group("senders").start().await?;
        let stop = CancellationToken::new();
        let mut sending = keep_sending(&producer, "library", &stop);
        let load = Load::start(&client, Plan::new("raw", 8)).await?;
        for _ in 0..4 {
            load.more(300, Duration::from_secs(20)).await?;
            let leader = cluster.leader().await?;
            cluster.terminate(leader).await?;
            load.more(300, Duration::from_secs(20)).await?;
            cluster.restart(leader).await?;
        }
        stop.cancel();
        let mut stored = 0;
        while let Some(sender) = sending.join_next().await {
            stored += sender?.context("a send of our client library failed")?;
        }
        producer.shutdown().await;
        library.shutdown().await;
        let history = load.stop().await;
        eprintln!("{} and {stored} sends stored; {}", history.acked.len(), history.failures());
        for failed in &history.failed {
            match &failed.failure {
                Failure::NotSent(_) => {}
                Failure::Refused { code: 14, remark } if remark.contains("nothing was done") => {}
                other => bail!("{other}: {failed:?}"),
            }
        }
        cluster.settled().await?;
        let queues = history.check_at(&client, &cluster.address(cluster.leader().await?)).await?;
        let count: usize = queues.iter().map(Vec::len).sum();
        ensure!(count == history.acked.len(), "{count} stored, {} acked", history.acked.len());
        cluster.finish();
        Ok(())
    });
}
