//! `flotilla standalone`: one command, and a whole group serves clients.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use support::process::Process;
use support::{Client, Message, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(60);
/// Three seconds are promised of a release build on a machine of its own.
const READY: Duration = if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_secs(3) };
const STOP: Duration = Duration::from_secs(10);

/// The block on standard output, taken apart.
#[derive(Debug)]
struct Ready {
    name_server: String,
    admin: u16,
    data: String,
    after: Duration,
}

async fn start(name: &str, folder: &Path) -> anyhow::Result<(Process, Ready)> {
    let arguments = ["standalone", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let begun = Instant::now();
    let process = Process::start(name, folder, &arguments)?;
    let block = eventually(READY, "the ready block", || async {
        let out = process.out();
        if out.contains("stop") && out.ends_with('\n') { Ok(out) } else { Err(out) }
    })
    .await
    .with_context(|| process.last_lines(40))?;
    let after = begun.elapsed();
    ensure!(block.starts_with("ready\n"), "{block}");
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.map(|rest| rest.trim().to_owned()).with_context(|| format!("{name} in {block}"))
    };
    let admin = field("admin")?;
    let admin = admin.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
    let ready = Ready {
        name_server: field("name server")?,
        admin: admin.context("port of the administration")?,
        data: field("data")?,
        after,
    };
    Ok((process, ready))
}

#[test]
fn standalone_serves_within_seconds_keeps_its_data_and_stops_cleanly() {
    run(LIMIT, async {
        let folder = tempfile::tempdir()?;
        let (process, ready) = start("first", folder.path()).await?;
        eprintln!("ready after {:?}", ready.after);
        ensure!(Path::new(&ready.data) == folder.path().join("data").canonicalize()?, "{ready:?}");

        // A client that knows nothing but the name server.
        let client = Client::new(&ready.name_server);
        let leader = client.leader("TBW102").await?;
        ensure!(client.addresses("TBW102").await?.len() == 3);
        for number in 0..10 {
            let sent = client.send(&leader, &Message::new("hello", 0, format!("{number}"))).await?;
            ensure!(sent.offset == number, "{sent:?}");
        }
        let received = client.read(&client.leader("hello").await?, "hello", 0, 0).await?;
        ensure!(received.len() == 10);
        for path in ["/livez", "/readyz", "/version", "/metrics", "/v1/cluster", "/v1/group", "/v1/topics"] {
            let answer = admin::call(ready.admin, "GET", path, "").await?;
            ensure!(answer.status == 200, "{path}: {answer:?}");
        }
        let answer = admin::call(ready.admin, "GET", "/v1/nothing", "").await?;
        ensure!(answer.status == 404 && answer.head.contains("application/problem+json"), "{answer:?}");

        process.terminate(STOP).await.with_context(|| process.last_lines(40))?;
        let (process, ready) = start("second", folder.path()).await?;
        let client = Client::new(&ready.name_server);
        let leader = client.leader("hello").await?;
        let kept: Vec<String> =
            client.read(&leader, "hello", 0, 0).await?.iter().map(|message| message.key()).collect();
        ensure!(kept == (0..10).map(|number| number.to_string()).collect::<Vec<_>>(), "{kept:?}");
        let sent = client.send(&leader, &Message::new("hello", 0, "after the restart")).await?;
        ensure!(sent.offset == 10, "{sent:?}");
        process.terminate(STOP).await.with_context(|| process.last_lines(40))?;
        Ok(())
    });
}
