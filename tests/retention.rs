//! Old segments are deleted: what the replicas say of it, and what they still hold.
//!
//! Method: segments of 1 MiB and a log of at most 4 MiB, filled several times over; then answers of all nodes are compared with
//! each other and with what was acked. Age, disk and what is still needed are the policy's own tests (`broker/src/retention`), a
//! full disk is `broker/tests/disk.rs`, and crashes at each write of a purge are those of the log (`raft-store/src/log/tests`).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::ViewMessageRequest;
use flotilla_remoting::{RequestCode, ResponseCode};
use support::admin::QueueBounds;
use support::exchange::refused_with;
use support::settings::NODES;
use support::stored::{Stored, decode};
use support::wait::claim;
use support::{Client, Cluster, Message, Pull, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(180);
const PHASE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 3;
const TOPIC: &str = "retained";
/// Messages of a batch; with their bodies of 8 KiB it stays below the largest message.
const BATCH: i32 = 7;
const LOG_BYTES_MAX: u64 = 4 << 20;

const SETTINGS: [(&str, &str); 5] = [
    ("mappedFileSizeCommitLog", "1048576"),
    ("maxMessageSize", "65536"),
    ("raftAppendBytesMax", "524288"),
    ("logRetentionBytesMax", "4194304"),
    ("cleanResourceInterval", "200"),
];

/// What was acked: queue and offset of each message, with its name.
type Acked = BTreeMap<(i32, i64), String>;

/// Sends batches in turn to the queues and notes what was acked.
async fn fill(client: &Client, address: &str, batches: i32, acked: &mut Acked) -> anyhow::Result<()> {
    for number in 0..batches {
        let queue = number % QUEUES;
        let name = |member: i32| format!("{}-{number}-{member}", acked.len());
        let names: Vec<String> = (0..BATCH).map(name).collect();
        let body = |name: &String| format!("{name}\n{}", "x".repeat(8192));
        let messages: Vec<Message> =
            names.iter().map(|name| Message::new(TOPIC, queue, body(name)).with("KEYS", name)).collect();
        let sent = client.send_batch(address, &messages).await?;
        for (offset, name) in (sent.offset..).zip(names) {
            acked.insert((queue, offset), name);
        }
    }
    Ok(())
}

/// Waits until these nodes show the same minimums, all above these.
async fn raised(cluster: &Cluster, nodes: &[usize], above: &[u64]) -> anyhow::Result<()> {
    eventually(PHASE, "all nodes show the same, higher minimums", || alike(cluster, nodes, above))
        .await
        .map(drop)
}

/// Waits until these nodes have also deleted what was to go, so that the minimums stay as they are; gives them by queue.
async fn deleted(cluster: &Cluster, nodes: &[usize], above: &[u64]) -> anyhow::Result<Vec<QueueBounds>> {
    eventually(PHASE, "all nodes have deleted the same", || async move {
        for node in nodes {
            let size = metric(cluster, *node, "rocketmq_storage_size{").await;
            let size = size.map_err(|error| format!("{error:#}"))?;
            claim(size <= LOG_BYTES_MAX, format!("the log of n{node} has {size} bytes"))?;
        }
        alike(cluster, nodes, above).await
    })
    .await
}

async fn alike(cluster: &Cluster, nodes: &[usize], above: &[u64]) -> Result<Vec<QueueBounds>, String> {
    let mut seen = Vec::new();
    for node in nodes {
        seen.push(cluster.queues(*node, TOPIC).await.map_err(|error| format!("{error:#}"))?);
    }
    let same = seen.iter().all(|bounds| *bounds == seen[0]);
    let higher = seen[0].iter().zip(above).all(|(bounds, above)| bounds.min > *above);
    claim(same && higher, format!("{seen:?}"))?;
    Ok(seen.swap_remove(0))
}

/// Number of a node's segments that are part of the log: spares have a word in their name.
fn segment_files(cluster: &Cluster, node: usize) -> usize {
    let files = fs::read_dir(cluster.data(node).join("store/log")).into_iter().flatten().flatten();
    let is_segment = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    files.filter(|file| is_segment(&file.file_name())).count()
}

/// Every node holds exactly what was acked from the minimum on.
async fn check(cluster: &Cluster, client: &Client, nodes: &[usize], acked: &Acked) -> anyhow::Result<()> {
    for node in nodes {
        let address = cluster.address(*node);
        for bounds in cluster.queues(*node, TOPIC).await? {
            let (queue, min) = (bounds.queue as i32, bounds.min as i64);
            let stored = client.read(&address, TOPIC, queue, min).await?;
            let found: Vec<(i64, String)> = stored.iter().map(|m| (m.offset, m.key())).collect();
            let kept = acked.range((queue, min)..(queue + 1, 0));
            let expected: Vec<(i64, String)> =
                kept.map(|((_, offset), name)| (*offset, name.clone())).collect();
            ensure!(
                found == expected,
                "n{node} queue {queue} from {min}: {} of {}",
                found.len(),
                expected.len()
            );
        }
    }
    Ok(())
}

async fn metric(cluster: &Cluster, node: usize, prefix: &str) -> anyhow::Result<u64> {
    let text = admin::call(cluster.admin(node), "GET", "/metrics", "").await?.body;
    let lines = text.lines().filter(|line| line.starts_with(prefix));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

async fn view(client: &Client, address: &str, position: i64) -> Result<Vec<Stored>, support::Failure> {
    let ext = ViewMessageRequest { offset: position, topic: Some(TOPIC) }.encode();
    let answer = client.request(address, RequestCode::ViewMessageById, ext, Bytes::new()).await?;
    decode(&answer.body).map_err(|error| support::Failure::Answer(format!("{error:#}")))
}

/// A group with the topic, its client and its leader.
async fn start() -> anyhow::Result<(Cluster, Client, usize)> {
    let cluster = Cluster::start_with(&SETTINGS).await?;
    let (client, leader) = (cluster.client(), cluster.leader().await?);
    client.create_topic(&cluster.address(leader), TOPIC, QUEUES, 6).await?;
    Ok((cluster, client, leader))
}

/// All nodes agree, and their logs are whole.
async fn end(mut cluster: Cluster) -> anyhow::Result<()> {
    cluster.settled().await?;
    cluster.verify_logs()?;
    cluster.finish();
    Ok(())
}

/// Makes another node lead.
async fn hand_over(cluster: &Cluster, from: usize, to: usize) -> anyhow::Result<()> {
    let (status, body) = cluster.transfer(from, to).await?;
    ensure!(status == 200 || status == 202, "{status} {body}");
    eventually(PHASE, "the node leads", || async {
        let now = cluster.leader().await.map_err(|error| format!("{error:#}"))?;
        claim(now == to, format!("n{now} leads"))
    })
    .await
}

#[test]
fn all_replicas_forget_the_same_and_keep_the_rest() {
    run(LIMIT, async {
        let (mut cluster, client, leader) = start().await?;
        let address = cluster.address(leader);
        let mut acked = Acked::new();
        fill(&client, &address, 6, &mut acked).await?;
        let early = client.read(&address, TOPIC, 0, 0).await?;
        fill(&client, &address, 200, &mut acked).await?;
        let all: Vec<usize> = (0..NODES).collect();
        let first = deleted(&cluster, &all, &[0; QUEUES as usize]).await?;
        check(&cluster, &client, &all, &acked).await?;

        // A pull below the minimum is sent to it by the leader, whoever is asked.
        for node in all.iter().copied() {
            let pulled = client.pull(&cluster.address(node), &Pull::from(TOPIC, 0, 3)).await?;
            let min = first[0].min as i64;
            ensure!(pulled.code == ResponseCode::PullOffsetMoved, "n{node}: {pulled:?}");
            ensure!(pulled.next >= min && pulled.min == pulled.next, "n{node}: {pulled:?}");
            let min = client.bound(RequestCode::GetMinOffset, &cluster.address(node), TOPIC, 0).await?;
            ensure!(min >= pulled.next, "n{node}: {min}");
            // And a message that is gone can't be seen by its id any more.
            let gone = view(&client, &cluster.address(node), early[0].position).await;
            refused_with(gone, ResponseCode::SystemError)?;
        }
        eventually(PHASE, "no node keeps more files than its log needs", || async {
            let files: Vec<usize> = all.iter().map(|node| segment_files(&cluster, *node)).collect();
            let most = LOG_BYTES_MAX / (1 << 20) + 2;
            claim(files.iter().all(|files| (*files as u64) < most), format!("{files:?} segments"))
        })
        .await?;
        // A minimum never goes back, whatever is restarted.
        for node in all.iter().copied() {
            cluster.kill(node)?;
            cluster.restart(node).await?;
            let minimums: Vec<u64> = first.iter().map(|bounds| bounds.min - 1).collect();
            deleted(&cluster, &all, &minimums).await?;
        }
        check(&cluster, &client, &all, &acked).await?;
        end(cluster).await
    });
}

#[test]
fn a_node_that_missed_the_deletion_comes_back_by_a_checkpoint_and_serves() {
    run(LIMIT, async {
        let (mut cluster, client, leader) = start().await?;
        let address = cluster.address(leader);
        let mut acked = Acked::new();
        fill(&client, &address, 6, &mut acked).await?;
        let down = cluster.other_than(&[leader]);
        cluster.kill(down)?;
        fill(&client, &address, 250, &mut acked).await?;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != down).collect();
        deleted(&cluster, &others, &[20; QUEUES as usize]).await?;
        cluster.restart(down).await?;
        cluster.settled().await?;
        ensure!(metric(&cluster, down, "flotilla_checkpoint_installs_total").await? == 1);
        let all: Vec<usize> = (0..NODES).collect();
        deleted(&cluster, &all, &[20; QUEUES as usize]).await?;
        check(&cluster, &client, &all, &acked).await?;

        // It leads, takes messages and gives what it was sent as entries.
        hand_over(&cluster, leader, down).await?;
        fill(&client, &cluster.address(down), 60, &mut acked).await.context("sends to the new leader")?;
        deleted(&cluster, &all, &[40; QUEUES as usize]).await?;
        check(&cluster, &client, &all, &acked).await?;
        end(cluster).await
    });
}

/// Kills fall between the raise, each replica's own boundary, and the purge, wherever they happen to.
#[test]
fn kills_while_segments_are_deleted_lose_nothing_that_was_to_stay() {
    run(LIMIT, async {
        let (mut cluster, client, _) = start().await?;
        let mut acked = Acked::new();
        let mut before = vec![0; QUEUES as usize];
        for round in 0..4 {
            let leader = cluster.leader().await?;
            fill(&client, &cluster.address(leader), 100, &mut acked).await.context("sends")?;
            let killed = if round % 2 == 0 { vec![leader] } else { (0..NODES).collect() };
            // The boundary has moved in the log; its files are about to go.
            raised(&cluster, &[leader], &before).await?;
            before = cluster.queues(leader, TOPIC).await?.iter().map(|bounds| bounds.min).collect();
            for node in &killed {
                cluster.kill(*node)?;
            }
            for node in &killed {
                cluster.begin_restart(*node)?;
            }
            cluster.ready().await?;
        }
        let all: Vec<usize> = (0..NODES).collect();
        deleted(&cluster, &all, &[0; QUEUES as usize]).await?;
        check(&cluster, &client, &all, &acked).await?;
        end(cluster).await
    });
}

#[test]
fn unread_messages_are_warned_of_before_they_go_and_counted_when_they_have_gone() {
    const SOON: &str = "flotilla_messages_expiring_unread{";
    const GONE: &str = "flotilla_messages_deleted_unread_total{";
    run(LIMIT, async {
        let (cluster, client, first) = start().await?;
        let address = cluster.address(first);
        let mut acked = Acked::new();
        fill(&client, &address, QUEUES, &mut acked).await?;
        // One group has read a message of each queue, another all that there will be.
        for queue in 0..QUEUES {
            client.commit(&address, "sleeps", TOPIC, queue, 1).await?;
        }
        // Within a tenth of the size that the log may have.
        while metric(&cluster, first, "rocketmq_storage_size{").await? < LOG_BYTES_MAX / 100 * 94 {
            fill(&client, &address, QUEUES, &mut acked).await?;
        }
        for bounds in cluster.queues(first, TOPIC).await? {
            ensure!(bounds.min == 0, "nothing has gone yet: {bounds:?}");
            client.commit(&address, "has-read", TOPIC, bounds.queue as i32, bounds.max as i64).await?;
        }
        // A leader looks ahead twice a minute, and when it has just taken over.
        let second = cluster.other_than(&[first]);
        hand_over(&cluster, first, second).await?;
        let warned = eventually(PHASE, "the new leader warns", || async {
            let soon = metric(&cluster, second, SOON).await.map_err(|error| format!("{error:#}"))?;
            claim(soon > 0, "nothing goes soon").map(|()| soon)
        })
        .await?;
        ensure!(warned < acked.len() as u64, "the first segments only: {warned}");
        let log = cluster.process(second)?.log();
        let warning = "messages that the group has not read will be deleted soon";
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains(warning)).collect();
        ensure!(warnings.len() == 1 && warnings[0].contains("sleeps"), "{warnings:?}");
        ensure!(metric(&cluster, second, GONE).await? == 0, "nothing has gone yet");
        eventually(PHASE, "whoever does not lead warns of nothing", || async {
            let soon = metric(&cluster, first, SOON).await.map_err(|error| format!("{error:#}"))?;
            claim(soon == 0, format!("{soon}"))
        })
        .await?;

        // So many that what goes is less than what the other group has read.
        fill(&client, &cluster.address(second), 30, &mut acked).await?;
        eventually(PHASE, "what has gone unread is counted, and nothing else", || async {
            let minimums = cluster.queues(second, TOPIC).await.map_err(|error| format!("{error:#}"))?;
            let unread: u64 = minimums.iter().map(|bounds| bounds.min.saturating_sub(1)).sum();
            let counted = metric(&cluster, second, GONE).await.map_err(|error| format!("{error:#}"))?;
            let told = minimums.iter().all(|bounds| bounds.min > 1) && unread >= warned;
            claim(told && counted == unread, format!("{counted} of {unread} after {warned}: {minimums:?}"))
        })
        .await?;
        end(cluster).await
    });
}
