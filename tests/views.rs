//! Consume-queue views that were damaged while their node was down: the same answers as before.
//!
//! Method: several sealed segments, so that there are view files; the answers of every node; one kind of damage per node;
//! a restart of all; the same answers.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::{BoundaryType, OffsetResponse, SearchOffsetRequest};
use flotilla_remoting::{RequestCode, ResponseCode};
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Load, Plan, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 3;

#[test]
fn damaged_views_change_no_answer() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with_small_segments().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let address = cluster.address(leader);
        client.create_topic(&address, "views", QUEUES, 6).await?;
        let load = Load::start(&client, Plan { body_size: 4096, ..Plan::new("views", QUEUES) }).await?;
        load.more(1200, PHASE).await?;
        let history = load.stop().await;
        client.commit(&address, "g", "views", 1, 7).await?;
        history.check_everywhere(&cluster, &client).await?;
        for node in 0..NODES {
            let folder = cluster.data(node);
            eventually(PHASE, "each node has view files", || async {
                claim(view_files(&folder).len() >= 3, "few")
            })
            .await?;
        }
        let mut before = Vec::new();
        for node in 0..NODES {
            before.push(answers(&cluster, &client, node).await.with_context(|| format!("n{node} before"))?);
        }

        for node in 0..NODES {
            cluster.kill(node)?;
        }
        let damages: [Damage; NODES] = [delete, truncate_or_flip, zero];
        for (node, damage) in damages.iter().enumerate() {
            damage(&view_files(&cluster.data(node)))?;
        }
        for node in 0..NODES {
            cluster.begin_restart(node)?;
        }
        cluster.ready().await?;
        cluster.settled().await?;
        for (node, before) in before.iter().enumerate() {
            let after = answers(&cluster, &client, node).await.with_context(|| format!("n{node} after"))?;
            ensure!(after == *before, "n{node} answers otherwise:\n{before:#?}\n{after:#?}");
        }
        history.check_everywhere(&cluster, &client).await?;

        // A view from the future: that of a node which has more.
        let (donor, taker) = (0, 2);
        let load = Load::start(&client, Plan { body_size: 4096, ..Plan::new("views", QUEUES) });
        let load = load.await?;
        load.more(600, PHASE).await?;
        let _ = load.stop().await;
        cluster.settled().await?;
        let bounds = cluster.queues(donor, "views").await?;
        for node in 0..NODES {
            cluster.kill(node)?;
        }
        let [from, to] = [donor, taker].map(|node| view_files(&cluster.data(node)));
        // Each file takes the place of its predecessor.
        for (source, target) in from.iter().skip(1).zip(&to) {
            fs::copy(source, target)?;
        }
        for node in 0..NODES {
            cluster.begin_restart(node)?;
        }
        cluster.ready().await?;
        cluster.settled().await?;
        for queue in 0..QUEUES {
            let stored = client.read(&cluster.address(taker), "views", queue, 0).await?;
            support::history::check_queue(&stored)?;
            ensure!(
                stored.len() as u64 == bounds[queue as usize].max,
                "{} messages in {queue}",
                stored.len()
            );
        }
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// What happens to all files of a node's views.
type Damage = fn(&[PathBuf]) -> anyhow::Result<()>;

/// What a node says of its queues, message by message.
#[derive(Debug, PartialEq)]
struct Answers {
    /// Queue, offset, position, store time, name.
    messages: Vec<(i32, i64, i64, i64, String)>,
    bounds: Vec<(i64, i64)>,
    middle_by_time: i64,
    committed: i64,
    /// Where pulls end that want a tag which no message has.
    filtered: (ResponseCode, i64),
}

async fn answers(cluster: &Cluster, client: &Client, node: usize) -> anyhow::Result<Answers> {
    let address = cluster.address(node);
    let mut messages = Vec::new();
    let mut bounds = Vec::new();
    for queue in 0..QUEUES {
        let stored = client.read(&address, "views", queue, 0).await?;
        messages.extend(stored.iter().map(|m| (m.queue, m.offset, m.position, m.store_time, m.key())));
        let min = client.bound(RequestCode::GetMinOffset, &address, "views", queue).await?;
        bounds.push((min, client.max(&address, "views", queue).await?));
    }
    let timestamp = messages[messages.len() / 2].3;
    let header =
        SearchOffsetRequest { topic: "views", queue_id: 1, timestamp, boundary_type: BoundaryType::Lower };
    let code = RequestCode::SearchOffsetByTimestamp;
    let found = client.request(&address, code, header.encode(), Bytes::new()).await?;
    // How much one pull examines is the broker's choice; that it goes on, and to the end, is not.
    let mut filtered = (ResponseCode::PullRetryImmediately, 3);
    while filtered.0 == ResponseCode::PullRetryImmediately {
        let pull = Pull { subscription: Some("no-such-tag"), ..Pull::from("views", 2, filtered.1) };
        let pulled = client.pull(&address, &pull).await?;
        ensure!(pulled.next > filtered.1 || pulled.code == ResponseCode::PullNotFound, "{pulled:?}");
        filtered = (pulled.code, pulled.next);
    }
    Ok(Answers {
        messages,
        bounds,
        middle_by_time: OffsetResponse::decode(&found.header.ext)?.offset,
        committed: client.committed(&address, "g", "views", 1).await?,
        filtered,
    })
}

/// All files below the views' folder, by name.
fn view_files(data: &Path) -> Vec<PathBuf> {
    let mut folders = vec![data.join("views")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn delete(files: &[PathBuf]) -> anyhow::Result<()> {
    for file in files {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// Every other file loses its second half; the others keep their size and have one wrong bit, in the last unit.
fn truncate_or_flip(files: &[PathBuf]) -> anyhow::Result<()> {
    for (number, path) in files.iter().enumerate() {
        let file = fs::File::options().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        if number % 2 == 0 {
            file.set_len(size / 2)?;
            continue;
        }
        let mut byte = [0];
        let at = size - 15;
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 4], at)?;
    }
    Ok(())
}

/// Zeros in all of every other file, and in the second half of the others.
fn zero(files: &[PathBuf]) -> anyhow::Result<()> {
    for (number, path) in files.iter().enumerate() {
        let mut bytes = fs::read(path)?;
        let from = if number % 2 == 0 { 0 } else { bytes.len() / 2 };
        bytes[from..].fill(0);
        fs::write(path, bytes)?;
    }
    Ok(())
}
