//! Flotilla: how its processes are started and asked. Keys and calls: docs/operating.md; files: docs/storage.md.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use super::http;
use super::layout::Layout;
use super::records::{self, Log};
use super::server::{Ability, Inspection, Role, Server};

/// Longest wait for an answer about the state of a node.
const LOOK: Duration = Duration::from_millis(700);
/// Longest wait for a change of leaders.
const TRANSFER: Duration = Duration::from_secs(15);
/// Reads the offset of its clock from this file; milliseconds, looked at about once a second.
const CLOCK: &str = "FLOTILLA_CLOCK_OFFSET_FILE";
/// Keeps what was not synced in this folder, so that `flotilla power-loss restore` can take it away.
const POWER_LOSS: &str = "FLOTILLA_POWER_LOSS";

/// Turns one deliberate fault of the product on, to show that it is caught.
const MUTANT: &str = "FLOTILLA_MUTANT";

/// Flotilla by a binary.
#[derive(Debug)]
pub struct Flotilla {
    binary: PathBuf,
    has_clock: bool,
    has_faults: bool,
    /// Nodes note what is not synced.
    power_loss: bool,
    mutant: Option<String>,
}

impl Flotilla {
    /// The product of a binary. With `power_loss` its nodes note what is not synced, which costs time; with `mutant` they
    /// break a promise.
    ///
    /// # Errors
    /// There is no such file, or it is built without what is asked for.
    pub fn new(binary: &Path, power_loss: bool, mutant: Option<String>) -> anyhow::Result<Flotilla> {
        let binary = binary.canonicalize().with_context(|| format!("--binary {}", binary.display()))?;
        let bytes = std::fs::read(&binary).with_context(|| format!("--binary {}", binary.display()))?;
        let has_clock = contains(&bytes, CLOCK);
        let mut flotilla = Flotilla { binary, has_clock, has_faults: false, power_loss, mutant };
        let help = flotilla.command(&["power-loss", "--help"]).output().context("--binary can't be run")?;
        flotilla.has_faults = help.status.success();
        ensure!(
            flotilla.has_faults || !power_loss && flotilla.mutant.is_none(),
            "{} has neither power loss nor mutants: build it with --features faults",
            flotilla.binary.display()
        );
        Ok(flotilla)
    }

    /// File with the offset of a node's clock.
    pub fn clock_file(layout: &Layout, node: usize) -> PathBuf {
        layout.folder.join(format!("nodes/n{node}.clock"))
    }

    /// A command line that reads no settings from the environment of the harness.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("FLOTILLA_") || text == "NAMESRV_ADDR" || text == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
    }

    fn mutate(&self, command: &mut Command) {
        if let Some(mutant) = &self.mutant {
            command.env(MUTANT, mutant);
        }
    }

    fn properties(layout: &Layout, number: usize) -> String {
        let place = &layout.nodes[number];
        let mut lines: Vec<(String, String)> = [
            ("brokerClusterName", "JepsenCluster".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("brokerIP1", place.advertised.ip().to_string()),
            ("bindAddress", place.client.ip().to_string()),
            ("listenPort", place.client.port().to_string()),
            ("namesrvAddr", layout.name_servers_for_node(number)),
            ("storePathRootDir", layout.data(number).display().to_string()),
            ("enableDLegerCommitLog", "true".to_owned()),
            ("dLegerGroup", "broker-a".to_owned()),
            ("dLegerPeers", layout.peers(number)),
            ("dLegerSelfId", format!("n{number}")),
            ("flushDiskType", layout.flush.key().to_owned()),
            ("adminListen", place.admin.to_string()),
            // Small segments, so that sealing, checkpoints and views take part.
            ("mappedFileSizeCommitLog", "4194304".to_owned()),
            ("maxMessageSize", "1048576".to_owned()),
            // The machine's disk may be nearly full; nothing is to be deleted for that.
            ("diskMaxUsedSpaceRatio", "95".to_owned()),
            ("cleanFileForciblyEnable", "false".to_owned()),
            ("diskSpaceWarningLevelRatio", "99".to_owned()),
            // A rolling restart of a minute is no use here: clients of the harness follow at once.
            ("drainMillis", "8000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec();
        for (key, value) in &layout.settings {
            lines.retain(|(known, _)| known != key);
            lines.push((key.clone(), value.clone()));
        }
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }

    fn verify(&self, folder: &Path) -> Result<String, String> {
        let output = self.command(&["log", "verify"]).arg(folder).output();
        let Output { status, stdout, stderr } = output.map_err(|error| error.to_string())?;
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let said = said.trim().to_owned();
        if status.success() { Ok(said) } else { Err(format!("{status}: {said}")) }
    }
}

impl Server for Flotilla {
    fn name(&self) -> &'static str {
        "flotilla"
    }

    fn version(&self) -> String {
        let said = self.command(&["--version"]).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).trim().trim_start_matches("flotilla ").to_owned()
    }

    fn name_server(&self, layout: &Layout, number: usize) -> anyhow::Result<Command> {
        let listen = layout.name_servers[number].listen.to_string();
        let data = layout.folder.join(format!("nodes/namesrv{number}")).display().to_string();
        let mut command = self.command(&["namesrv", "--listen", &listen, "--data", &data]);
        self.mutate(&mut command);
        Ok(command)
    }

    fn node(&self, layout: &Layout, number: usize) -> anyhow::Result<Command> {
        let file = layout.folder.join(format!("nodes/n{number}.properties"));
        std::fs::write(&file, Flotilla::properties(layout, number))?;
        let mut command = self.command(&["broker", "-c", &file.display().to_string()]);
        if self.has_clock {
            let clock = Flotilla::clock_file(layout, number);
            if !clock.exists() {
                std::fs::write(&clock, "0\n")?;
            }
            command.env(CLOCK, clock);
        }
        if self.power_loss {
            command.env(POWER_LOSS, power_loss_folder(layout, number));
        }
        self.mutate(&mut command);
        Ok(command)
    }

    fn ready<'a>(&'a self, layout: &'a Layout, node: usize) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let answer = http::call(layout.nodes[node].admin, "GET", "/readyz", "", LOOK).await;
            match answer {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("{status} {body}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    fn roles<'a>(&'a self, layout: &'a Layout, among: &'a [usize]) -> BoxFuture<'a, Vec<Role>> {
        Box::pin(async move {
            let views = join_all(among.iter().map(|node| view(layout.nodes[*node].admin))).await;
            let said = among.iter().zip(views).filter_map(|(node, view)| {
                let view = view.ok()?;
                Some(Role { node: *node, term: view["term"].as_u64()?, leads: view["role"] == "leader" })
            });
            said.collect()
        })
    }

    fn transfer<'a>(
        &'a self,
        layout: &'a Layout,
        asked: usize,
        to: usize,
    ) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move {
            let body = format!("{{\"to\":\"n{to}\"}}");
            let admin = layout.nodes[asked].admin;
            let path = "/v1/group/transfer-leader";
            let (status, said) = http::call(admin, "POST", path, &body, TRANSFER).await?;
            ensure!(status == 200 || status == 202, "{status} {said}");
            Ok(format!("{status} {said}"))
        })
    }

    fn settled<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let views = join_all(layout.nodes.iter().map(|node| view(node.admin))).await;
            let mut seen = Vec::new();
            for view in views {
                let view = view.map_err(|error| format!("{error:#}"))?;
                seen.push(["term", "last_log", "applied"].map(|key| view[key].as_u64()));
            }
            let same = seen.iter().all(|one| *one == seen[0] && one[1] == one[2]);
            if same { Ok(()) } else { Err(format!("term, last entry, applied entry of each node: {seen:?}")) }
        })
    }

    fn inspect(&self, layout: &Layout) -> Vec<Inspection> {
        let nodes = 0..layout.nodes.len();
        let mut found: Vec<Inspection> = nodes
            .clone()
            .map(|node| (format!("flotilla log verify n{node}"), self.verify(&layout.data(node))))
            .collect();
        let logs: anyhow::Result<Vec<Log>> = nodes.map(|node| Log::read(&layout.data(node))).collect();
        let compared = match logs {
            Ok(logs) => records::compare(&logs),
            Err(error) => Err(format!("{error:#}")),
        };
        found.push(("logs of all replicas compared byte by byte".to_owned(), compared));
        found
    }

    /// Every third time all is lost; otherwise the seed draws what survives, is lost or is torn.
    fn power_loss(&self, layout: &Layout, node: usize, seed: u64) -> Option<Command> {
        let mut command = self.command(&["power-loss", "restore"]);
        command.arg(power_loss_folder(layout, node));
        match seed % 3 {
            0 => command.arg("--all-lost"),
            _ => command.args(["--seed", &seed.to_string()]),
        };
        self.power_loss.then_some(command)
    }

    fn is_clean(&self, status: ExitStatus) -> bool {
        status.success()
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Transfer
            | Ability::Views
            | Ability::Log
            | Ability::ReplicaReads
            | Ability::ReplicaState => true,
            Ability::Clock => self.has_clock,
            Ability::PowerLoss => self.has_faults && self.power_loss,
        }
    }
}

fn power_loss_folder(layout: &Layout, node: usize) -> PathBuf {
    layout.folder.join(format!("nodes/n{node}.unsynced"))
}

/// `GET /v1/group`.
async fn view(admin: SocketAddr) -> anyhow::Result<Value> {
    let (status, body) = http::call(admin, "GET", "/v1/group", "", LOOK).await?;
    if status != 200 {
        bail!("{status} {body}");
    }
    Ok(serde_json::from_str(&body)?)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
