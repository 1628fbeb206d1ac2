//! `flotilla log`: a folder that is whole is told so, damage is named with file and offset.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use support::process::flotilla;
use support::settings::NODES;
use support::{Cluster, Load, Plan, run};

const LIMIT: Duration = Duration::from_secs(60);
const PHASE: Duration = Duration::from_secs(30);
/// Bytes of a log entry in this group: its `raftAppendBytesMax`.
const ENTRY_SIZE_MAX: u64 = 524_288;

/// Exit code, standard output, standard error.
fn log(command: &str, folder: &Path) -> anyhow::Result<(i32, String, String)> {
    let output = flotilla(&["log", command, &folder.display().to_string()]).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().context("an exit code")?, text(&output.stdout), text(&output.stderr)))
}

#[test]
fn log_verify_finds_a_flipped_byte_and_log_inspect_shows_the_segments() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with_small_segments().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "damage", 1, 6).await?;
        let load = Load::start(&client, Plan { body_size: 8192, ..Plan::new("damage", 1) }).await?;
        load.more(400, PHASE).await?;
        let history = load.stop().await;
        cluster.settled().await?;
        // A record in the middle of the log, by a message that lies in it.
        let stored = client.read(&cluster.address(leader), "damage", 0, 0).await?;
        let message = &stored[stored.len() / 2];
        let needle = message.key();
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        cluster.verify_logs()?;

        let data = cluster.data(0);
        let (code, out, err) = log("inspect", &data)?;
        ensure!(code == 0, "{out}{err}");
        let segments = segment_files(&data)?;
        ensure!(segments.len() > 2, "{segments:?}");
        ensure!(out.to_lowercase().contains("segment"), "{out}");
        for expected in ["term", "index", "vote", "checkpoint"] {
            ensure!(out.to_lowercase().contains(expected), "{expected} in:\n{out}");
        }

        let (file, at) = find(&segments, needle.as_bytes())?.context("the message is in a segment")?;
        let open = fs::File::options().read(true).write(true).open(&file)?;
        let mut byte = [0];
        open.read_exact_at(&mut byte, at + 100)?;
        open.write_all_at(&[byte[0] ^ 0x10], at + 100)?;
        let (code, out, err) = log("verify", &data)?;
        let told = format!("{out}{err}");
        ensure!(code == 1, "exit code {code}: {told}");
        ensure!(told.contains(&file.display().to_string()), "{} in: {told}", file.display());
        // The record that holds the byte begins a little before the message does.
        let offset = told.split("at byte ").nth(1).and_then(|rest| rest.split([':', ' ', '\n']).next());
        let offset: u64 = offset.context("at byte ...")?.parse()?;
        ensure!((at.saturating_sub(ENTRY_SIZE_MAX)..at).contains(&offset), "byte {at} was flipped: {told}");

        // The other nodes are as they were, and a folder that is none is no clean log.
        for node in 1..NODES {
            ensure!(log("verify", &cluster.data(node))?.0 == 0);
        }
        let (code, out, err) = log("verify", &cluster.data(0).join("nothing"))?;
        ensure!(code != 0, "{out}{err}");
        cluster.finish();
        Ok(())
    });
}

/// Files of the size of a segment below a data folder, by name.
fn segment_files(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![data.join("store")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path)?.len() >= 1_048_576 {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The file that holds these bytes, and where.
fn find(files: &[PathBuf], needle: &[u8]) -> anyhow::Result<Option<(PathBuf, u64)>> {
    for file in files {
        let bytes = fs::read(file)?;
        // The name stands at the start of a body, and a line feed ends it.
        let mut whole = needle.to_vec();
        whole.push(b'\n');
        if let Some(at) = bytes.windows(whole.len()).position(|window| window == whole) {
            return Ok(Some((file.clone(), at as u64)));
        }
    }
    Ok(None)
}
