//! A group under test: a name server and three brokers, each a process of its own, in a temporary folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::admin::{self, GroupView, QueueBounds};
use super::client::Client;
use super::process::{Process, flotilla};
use super::settings::{NODES, Ports};
use super::wait::{claim, eventually};

/// Longest wait for a group or a node to be ready. A start is far quicker; builds may run beside the tests.
const READY: Duration = Duration::from_secs(30);
/// Longest wait for a leader that all living nodes agree on.
const LEADER: Duration = Duration::from_secs(15);
/// Starts with other ports when the system has given one of them to somebody else meanwhile.
const START_ATTEMPTS: usize = 4;
const LOG_LINES: usize = 60;
/// Segments that a load of some thousand messages fills several times.
pub const SEGMENTS_4_MIB: [(&str, &str); 2] =
    [("mappedFileSizeCommitLog", "4194304"), ("maxMessageSize", "1048576")];

/// What of docs/testing.md is on in the processes of a group.
#[derive(Debug, Default, Clone, Copy)]
pub struct Hooks {
    /// Each broker's wall clock can be moved.
    pub clock: bool,
    /// What a broker has not synced can be taken back; needs the feature `faults`.
    pub power_loss: bool,
    /// All processes are this mutant; needs the feature `faults`.
    pub mutant: Option<&'static str>,
}

/// A running group.
#[derive(Debug)]
pub struct Cluster {
    folder: Option<TempDir>,
    ports: Ports,
    extra: Vec<(&'static str, String)>,
    hooks: Hooks,
    name_server: Option<Process>,
    nodes: [Option<Process>; NODES],
    /// All went well: nothing to tell when this is dropped.
    succeeded: bool,
}

impl Cluster {
    /// Starts a group whose log segments hold 4 MiB and waits until it serves clients.
    pub async fn start() -> anyhow::Result<Cluster> {
        Cluster::start_with(&SEGMENTS_4_MIB).await
    }

    /// Starts a group with the smallest log segments, 1 MiB.
    pub async fn start_with_small_segments() -> anyhow::Result<Cluster> {
        let size = ("mappedFileSizeCommitLog", "1048576");
        Cluster::start_with(&[size, ("maxMessageSize", "65536"), ("raftAppendBytesMax", "524288")]).await
    }

    /// A group with the usual limits, its client, and the addresses of the leader and of another replica.
    pub async fn with_client() -> anyhow::Result<(Cluster, Client, [String; 2])> {
        let cluster = Cluster::start_with(&[]).await?;
        let leader = cluster.leader().await?;
        let addresses = [cluster.address(leader), cluster.address(cluster.other_than(&[leader]))];
        let client = cluster.client();
        Ok((cluster, client, addresses))
    }

    /// Starts a group with these properties beside the usual ones.
    pub async fn start_with(extra: &[(&'static str, &str)]) -> anyhow::Result<Cluster> {
        Cluster::start_hooked(extra, Hooks::default()).await
    }

    /// The same with hooks.
    pub async fn start_hooked(extra: &[(&'static str, &str)], hooks: Hooks) -> anyhow::Result<Cluster> {
        for attempt in 1.. {
            let mut cluster = Cluster::begin_hooked(extra, hooks)?;
            match cluster.ready().await {
                Ok(()) => return Ok(cluster),
                Err(_) if attempt < START_ATTEMPTS && cluster.port_is_taken() => cluster.succeeded = true,
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Starts all processes and returns at once.
    pub fn begin(extra: &[(&'static str, &str)]) -> anyhow::Result<Cluster> {
        Cluster::begin_hooked(extra, Hooks::default())
    }

    fn begin_hooked(extra: &[(&'static str, &str)], hooks: Hooks) -> anyhow::Result<Cluster> {
        let extra = extra.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut cluster = Cluster {
            folder: Some(tempfile::Builder::new().prefix("flotilla-").tempdir()?),
            ports: Ports::free()?,
            extra,
            hooks,
            name_server: None,
            nodes: [None, None, None],
            succeeded: false,
        };
        cluster.start_name_server()?;
        for node in 0..NODES {
            cluster.spawn(node)?;
        }
        Ok(cluster)
    }

    fn folder(&self) -> PathBuf {
        self.folder.as_ref().expect("the folder stays until the end").path().to_owned()
    }

    /// Data folder of a node.
    pub fn data(&self, node: usize) -> PathBuf {
        self.folder().join(format!("n{node}"))
    }

    /// Address of a node for clients.
    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.ports.nodes[node].client)
    }

    /// Node with this address for clients.
    pub fn node_at(&self, address: &str) -> anyhow::Result<usize> {
        (0..NODES)
            .find(|node| self.address(*node) == address)
            .with_context(|| format!("no node at {address}"))
    }

    /// Address of the name server.
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.ports.name_server)
    }

    /// Port of a node's administration.
    pub fn admin(&self, node: usize) -> u16 {
        self.ports.nodes[node].admin
    }

    /// A new client.
    pub fn client(&self) -> Client {
        Client::new(&self.name_server())
    }

    /// Starts the name server.
    pub fn start_name_server(&mut self) -> anyhow::Result<()> {
        let listen = self.name_server();
        let admin = format!("127.0.0.1:{}", self.ports.name_server_admin);
        let arguments = ["namesrv", "--listen", &listen, "--admin", &admin];
        self.name_server = Some(Process::start_in("namesrv", &self.folder(), &arguments, &self.mutant())?);
        Ok(())
    }

    /// Kills the name server.
    pub fn kill_name_server(&mut self) -> anyhow::Result<()> {
        self.name_server.take().context("the name server runs")?.kill()
    }

    fn spawn(&mut self, node: usize) -> anyhow::Result<()> {
        let file = self.folder().join(format!("n{node}.properties"));
        std::fs::write(&file, self.ports.properties(node, &self.data(node), &self.extra))?;
        let (name, file) = (format!("n{node}"), file.display().to_string());
        let mut environment = self.mutant();
        if self.hooks.clock {
            environment
                .push(("FLOTILLA_CLOCK_OFFSET_FILE", self.clock_offset_file(node).display().to_string()));
        }
        if self.hooks.power_loss {
            environment.push(("FLOTILLA_POWER_LOSS", self.undo_journal(node).display().to_string()));
        }
        self.nodes[node] =
            Some(Process::start_in(&name, &self.folder(), &["broker", "-c", &file], &environment)?);
        Ok(())
    }

    fn mutant(&self) -> Vec<(&'static str, String)> {
        self.hooks.mutant.map(|name| ("FLOTILLA_MUTANT", name.to_owned())).into_iter().collect()
    }

    fn undo_journal(&self, node: usize) -> PathBuf {
        self.folder().join(format!("n{node}.undo"))
    }

    /// Takes from a killed node what its machine would have forgotten: all that was not synced, or what the seed draws. Gives what
    /// the command tells of it.
    pub fn lose_power(&self, node: usize, seed: Option<u64>) -> anyhow::Result<String> {
        ensure!(self.nodes[node].is_none(), "n{node} runs");
        let journal = self.undo_journal(node).display().to_string();
        let loss = seed.map_or("--all-lost".to_owned(), |seed| format!("--seed={seed}"));
        let output = flotilla(&["power-loss", "restore", &journal, &loss]).output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        Ok(told)
    }

    fn clock_offset_file(&self, node: usize) -> PathBuf {
        self.folder().join(format!("n{node}.clock"))
    }

    /// Sets how far a node's wall clock is from the right time. The node sees it within a fifth of a second.
    pub fn set_clock(&self, node: usize, offset_ms: i64) -> anyhow::Result<()> {
        let file = self.clock_offset_file(node);
        let next = file.with_extension("next");
        std::fs::write(&next, offset_ms.to_string())?;
        Ok(std::fs::rename(next, file)?)
    }

    /// The process of a node.
    pub fn process(&self, node: usize) -> anyhow::Result<&Process> {
        self.nodes[node].as_ref().with_context(|| format!("n{node} does not run"))
    }

    /// Kill -9 of a node.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].take().with_context(|| format!("n{node} does not run"))?.kill()
    }

    /// SIGTERM to a node, and exit code 0.
    pub async fn terminate(&mut self, node: usize) -> anyhow::Result<()> {
        let process = self.nodes[node].take().with_context(|| format!("n{node} does not run"))?;
        let ended = process.terminate(Duration::from_secs(10)).await;
        if ended.is_err() {
            eprintln!("{}", process.last_lines(LOG_LINES));
        }
        ended
    }

    /// Starts a node that does not run and returns at once.
    pub fn begin_restart(&mut self, node: usize) -> anyhow::Result<()> {
        ensure!(self.nodes[node].is_none(), "n{node} runs");
        self.spawn(node)
    }

    /// Starts a node that does not run and waits until it is ready.
    pub async fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.begin_restart(node)?;
        self.node_ready(node).await
    }

    /// Waits until each node that runs is ready and they agree on a leader that the name server tells as id 0.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        for node in 0..NODES {
            if self.nodes[node].is_some() {
                self.node_ready(node).await?;
            }
        }
        let leader = self.leader().await?;
        self.shown_as_leader(leader).await
    }

    /// Waits until a node's `/readyz` says yes. A node whose port was taken for a moment is started once more.
    pub async fn node_ready(&mut self, node: usize) -> anyhow::Result<()> {
        let admin = self.admin(node);
        let deadline = tokio::time::Instant::now() + READY;
        loop {
            let ended = self.process(node)?.ended()?;
            if let Some(status) = ended {
                let taken = self.port_is_taken();
                ensure!(taken && tokio::time::Instant::now() < deadline, "n{node} ended with {status}");
                self.spawn(node)?;
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let what = format!("n{node} is ready");
            let look = Duration::from_secs(1).min(left);
            let looked = eventually(look, &what, || async move {
                let answer =
                    admin::call(admin, "GET", "/readyz", "").await.map_err(|error| format!("{error:#}"))?;
                claim(answer.status == 200, answer.body)
            });
            match looked.await {
                Ok(()) => return Ok(()),
                Err(error) if left <= look => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// A log that tells of a port in use.
    fn port_is_taken(&self) -> bool {
        let processes = self.nodes.iter().chain([&self.name_server]).flatten();
        processes.map(Process::log).any(|log| log.contains("in use"))
    }

    /// What a node says of its group.
    pub async fn group(&self, node: usize) -> anyhow::Result<GroupView> {
        admin::group(self.admin(node)).await.with_context(|| format!("group of n{node}"))
    }

    /// Range of each queue of a topic as a node has applied it.
    pub async fn queues(&self, node: usize, topic: &str) -> anyhow::Result<Vec<QueueBounds>> {
        admin::queues(self.admin(node), topic).await.with_context(|| format!("queues of {topic} at n{node}"))
    }

    /// The leader that all running nodes agree on, in one term.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let running: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].is_some()).collect();
        self.leader_among(&running).await
    }

    /// The leader that these nodes agree on, in one term, and that is one of them.
    pub async fn leader_among(&self, nodes: &[usize]) -> anyhow::Result<usize> {
        let what = format!("nodes {nodes:?} agree on a leader among them");
        eventually(LEADER, &what, || async {
            let mut views = Vec::new();
            for node in nodes {
                views.push(self.group(*node).await.map_err(|error| format!("{error:#}"))?);
            }
            let leader = views[0].leader.ok_or("no leader")?;
            let agreed = views.iter().all(|view| (view.leader, view.term) == (Some(leader), views[0].term));
            let leads =
                nodes.iter().position(|node| *node == leader).is_some_and(|at| views[at].role == "leader");
            claim(agreed && leads, format!("{views:?}"))?;
            Ok::<_, String>(leader)
        })
        .await
    }

    /// Waits until the name server tells a node as id 0.
    pub async fn shown_as_leader(&self, node: usize) -> anyhow::Result<()> {
        let (client, address) = (self.client(), self.address(node));
        let what = format!("the name server tells n{node} as id 0");
        eventually(LEADER, &what, || async {
            let members = client.member_group().await.map_err(|error| format!("{error:#}"))?;
            claim(members.contains(&(0, address.clone())), format!("{members:?}"))
        })
        .await?;
        client.close().await;
        Ok(())
    }

    /// A node that runs and does not lead.
    pub fn other_than(&self, nodes: &[usize]) -> usize {
        (0..NODES).find(|node| !nodes.contains(node)).expect("a group has three nodes")
    }

    /// Asks a node to hand leadership over; gives the status and the body of the answer.
    pub async fn transfer(&self, asked: usize, to: usize) -> anyhow::Result<(u16, String)> {
        let body = format!("{{\"to\":\"n{to}\"}}");
        let answer = admin::call(self.admin(asked), "POST", "/v1/group/transfer-leader", &body).await?;
        Ok((answer.status, answer.body))
    }

    /// No node has ended by itself.
    pub fn all_run(&self) -> anyhow::Result<()> {
        for process in self.nodes.iter().flatten() {
            if let Some(status) = process.ended()? {
                bail!("{} ended by itself with {status}", process.name());
            }
        }
        Ok(())
    }

    /// Waits until all running nodes have applied the same log, with no writer about.
    pub async fn settled(&self) -> anyhow::Result<()> {
        self.all_run()?;
        let running: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].is_some()).collect();
        eventually(READY, "all nodes have applied the same", || async {
            let mut views = Vec::new();
            for node in &running {
                views.push(self.group(*node).await.map_err(|error| format!("{error:#}"))?);
            }
            let first = &views[0];
            let same = views.iter().all(|view| {
                view.applied == first.applied && view.term == first.term && view.applied == view.last_log
            });
            claim(same, format!("{views:?}"))
        })
        .await
    }

    /// Kills what runs and has `flotilla log verify` check each data folder.
    pub fn verify_logs(&mut self) -> anyhow::Result<()> {
        self.all_run()?;
        for node in 0..NODES {
            if self.nodes[node].is_some() {
                self.kill(node)?;
            }
        }
        for node in 0..NODES {
            let folder = self.data(node).display().to_string();
            let output = flotilla(&["log", "verify", &folder]).output()?;
            if !output.status.success() {
                let (out, err) =
                    (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                bail!("log verify of n{node}: {}\n{out}\n{err}", output.status);
            }
        }
        Ok(())
    }

    /// The scenario held: ends the processes and removes the folder.
    pub fn finish(mut self) {
        self.succeeded = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let processes: Vec<Process> =
            self.nodes.iter_mut().chain([&mut self.name_server]).filter_map(Option::take).collect();
        if self.succeeded {
            return;
        }
        for process in &processes {
            eprintln!("{}", process.last_lines(LOG_LINES));
        }
        if let Some(folder) = self.folder.take() {
            eprintln!("the group's folder is kept: {}", folder.keep().display());
        }
    }
}
