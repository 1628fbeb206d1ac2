//! A cluster under test: real processes, and the network between them.
//!
//! | file          | subject                                                    |
//! |---------------|------------------------------------------------------------|
//! | `layout.rs`   | folders, and addresses as each party is told them           |
//! | `server.rs`   | what differs between the products under test                |
//! | `flotilla.rs` | Flotilla                                                    |
//! | `dledger.rs`  | Apache RocketMQ with DLedger                                |
//! | `records.rs`  | Flotilla's log on disk, for comparing replicas and torn tails |
//! | `fabric.rs`   | the network between them; `namespaces.rs`: one of namespaces; the other one is made of proxies |
//! | `process.rs`  | one process                                                 |
//! | `http.rs`, `wait.rs` | what they need                                       |
//!
//! Everything ends with the cluster at the latest, also when the run fails or is interrupted.

pub mod dledger;
mod fabric;
pub mod flotilla;
mod http;
mod layout;
mod namespaces;
mod process;
pub mod records;
mod server;
#[cfg(test)]
mod tests;
mod wait;

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use tracing::{info, warn};

pub use fabric::Fabric;
pub use layout::{Flush, Layout, NodePlace};
pub use server::{Ability, Inspection, Role, Server};
pub use wait::eventually;

use crate::proxy::End;
use process::Process;

/// Longest wait for a node or the group to be ready. A JVM beside builds takes tens of seconds.
const READY: Duration = Duration::from_secs(90);

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    server: Box<dyn Server>,
    layout: Layout,
    network: Box<dyn Fabric>,
    nodes: Vec<Mutex<Option<Process>>>,
    name_servers: Vec<Mutex<Option<Process>>>,
    /// Those that had ended by themselves when they were to be killed or stopped.
    too_late: Mutex<Vec<(End, ExitStatus)>>,
}

/// How a broker ended that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As it should.
    Clean,
    /// By itself, and not as it should.
    Wrong(ExitStatus),
    /// Not in time: it was killed.
    TooSlow,
    /// Before it was asked: [`Cluster::ended_by_themselves`] tells of it.
    Before,
}

impl Cluster {
    /// Starts all processes and returns at once.
    ///
    /// # Errors
    /// A folder or file can't be written, a command can't be started.
    pub fn start(
        server: Box<dyn Server>,
        layout: Layout,
        network: Box<dyn Fabric>,
    ) -> anyhow::Result<Cluster> {
        for folder in ["logs", "nodes"] {
            std::fs::create_dir_all(layout.folder.join(folder))?;
        }
        let slots = |count| (0..count).map(|_| Mutex::new(None)).collect();
        let (nodes, name_servers) = (slots(layout.nodes.len()), slots(layout.name_servers.len()));
        let too_late = Mutex::new(Vec::new());
        let cluster = Cluster { server, layout, network, nodes, name_servers, too_late };
        for number in 0..cluster.name_servers.len() {
            cluster.start_name_server(number)?;
        }
        for number in 0..cluster.nodes.len() {
            cluster.start_node(number)?;
        }
        Ok(cluster)
    }

    /// The product.
    pub fn server(&self) -> &dyn Server {
        &*self.server
    }

    /// Folders and addresses.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The network between all parties.
    pub fn network(&self) -> &dyn Fabric {
        &*self.network
    }

    /// Number of brokers.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Number of name servers.
    pub fn name_server_count(&self) -> usize {
        self.name_servers.len()
    }

    /// Brokers that run and are not paused.
    pub fn active(&self) -> Vec<usize> {
        let active =
            |node: &usize| self.nodes[*node].lock().as_ref().is_some_and(|process| !process.is_paused());
        (0..self.size()).filter(active).collect()
    }

    /// Brokers that run, paused or not.
    pub fn running(&self) -> Vec<usize> {
        (0..self.size()).filter(|node| self.nodes[*node].lock().is_some()).collect()
    }

    /// Starts a broker that does not run.
    ///
    /// # Errors
    /// It runs, or can't be started.
    pub fn start_node(&self, node: usize) -> anyhow::Result<()> {
        let mut slot = self.nodes[node].lock();
        ensure!(slot.is_none(), "n{node} runs");
        let name = format!("n{node}");
        let command = self.network.inside(End::Node(node), self.server.node(&self.layout, node)?);
        *slot = Some(Process::start(&name, command, &self.layout.log(&name))?);
        self.network.starts(End::Node(node));
        Ok(())
    }

    /// Kill -9 of a broker. One that has just ended by itself is told of by [`Cluster::ended_by_themselves`].
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_node(&self, node: usize) -> anyhow::Result<()> {
        let process = self.nodes[node].lock().take();
        let mut process = process.with_context(|| format!("n{node} does not run"))?;
        if !self.is_too_late(End::Node(node), &mut process)? {
            process.kill()?;
        }
        self.network.ended(End::Node(node));
        Ok(())
    }

    /// SIGTERM to a broker, which goes on first if it is paused; kills it when the time is up, or when this is dropped
    /// half-way.
    ///
    /// # Errors
    /// It does not run.
    pub async fn terminate_node(&self, node: usize, limit: Duration) -> anyhow::Result<Stop> {
        let process = self.nodes[node].lock().take();
        let mut process = process.with_context(|| format!("n{node} does not run"))?;
        let stop = if self.is_too_late(End::Node(node), &mut process)? {
            Stop::Before
        } else {
            match process.terminate(limit).await? {
                Some(status) if self.server.is_clean(status) => Stop::Clean,
                Some(status) => Stop::Wrong(status),
                None => Stop::TooSlow,
            }
        };
        self.network.ended(End::Node(node));
        Ok(stop)
    }

    /// Claims that a process had ended before anybody did anything to it, and keeps that.
    fn is_too_late(&self, end: End, process: &mut Process) -> anyhow::Result<bool> {
        let status = process.ended()?;
        self.too_late.lock().extend(status.map(|status| (end, status)));
        Ok(status.is_some())
    }

    /// SIGSTOP to a broker.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause_node(&self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].lock().as_mut().with_context(|| format!("n{node} does not run"))?.pause()
    }

    /// SIGCONT to a broker, if it runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn resume_node(&self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].lock().as_mut().map_or(Ok(()), Process::resume)
    }

    /// Starts a name server that does not run.
    ///
    /// # Errors
    /// It runs, or can't be started.
    pub fn start_name_server(&self, number: usize) -> anyhow::Result<()> {
        let mut slot = self.name_servers[number].lock();
        ensure!(slot.is_none(), "name server {number} runs");
        let name = format!("namesrv{number}");
        let command =
            self.network.inside(End::NameServer(number), self.server.name_server(&self.layout, number)?);
        *slot = Some(Process::start(&name, command, &self.layout.log(&name))?);
        self.network.starts(End::NameServer(number));
        Ok(())
    }

    /// Kill -9 of a name server.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_name_server(&self, number: usize) -> anyhow::Result<()> {
        let process = self.name_servers[number].lock().take();
        let mut process = process.with_context(|| format!("name server {number} does not run"))?;
        if !self.is_too_late(End::NameServer(number), &mut process)? {
            process.kill()?;
        }
        self.network.ended(End::NameServer(number));
        Ok(())
    }

    /// Brokers and name servers that ended though nobody had told them to, and how. Each is told of once and counts as not
    /// running from then on.
    pub fn ended_by_themselves(&self) -> Vec<(End, ExitStatus)> {
        let nodes = self.nodes.iter().enumerate().map(|(number, slot)| (End::Node(number), slot));
        let name_servers = self.name_servers.iter().enumerate();
        let all = nodes.chain(name_servers.map(|(number, slot)| (End::NameServer(number), slot)));
        let mut ended = std::mem::take(&mut *self.too_late.lock());
        for (end, slot) in all {
            let mut slot = slot.lock();
            if let Some(Ok(Some(status))) = slot.as_mut().map(Process::ended) {
                *slot = None;
                self.network.ended(end);
                ended.push((end, status));
            }
        }
        ended
    }

    /// What each broker that is active says about its role.
    pub async fn roles(&self) -> Vec<Role> {
        let active = self.active();
        self.server.roles(&self.layout, &active).await
    }

    /// The leader among the brokers that are active. An old one that nobody hears may not know yet: the highest term counts.
    pub async fn leader(&self) -> Option<usize> {
        let leading = self.roles().await.into_iter().filter(|role| role.leads);
        leading.max_by_key(|role| role.term).map(|role| role.node)
    }

    /// Waits until one broker takes part again.
    ///
    /// # Errors
    /// It ended, or the time is up.
    pub async fn node_ready(&self, node: usize) -> anyhow::Result<()> {
        eventually(READY, &format!("n{node} is ready"), || self.server.ready(&self.layout, node)).await
    }

    /// Waits until all brokers take part and there is a leader.
    ///
    /// # Errors
    /// One does not run or ended, or the time is up.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for node in 0..self.size() {
            if self.nodes[node].lock().is_none() {
                bail!("n{node} does not run");
            }
            let ready = self.node_ready(node).await;
            if let Some((end, status)) = self.ended_by_themselves().into_iter().next() {
                bail!("{end:?} ended by itself with {status}, see its log");
            }
            ready?;
        }
        eventually(READY, "there is a leader", || async { self.leader().await.ok_or("none") }).await?;
        Ok(())
    }

    /// Undoes everything: the network works, who is paused goes on, who does not run is started. Gives what failed.
    pub fn heal(&self) -> Vec<String> {
        let mut failed = Vec::new();
        let mut note = |result: anyhow::Result<()>| {
            if let Err(error) = result {
                warn!(error = format!("{error:#}"), "can't be healed");
                failed.push(format!("{error:#}"));
            }
        };
        note(self.network.heal());
        for number in 0..self.name_servers.len() {
            if self.name_servers[number].lock().is_none() {
                note(self.start_name_server(number));
            }
        }
        for node in 0..self.size() {
            if self.nodes[node].lock().is_none() {
                note(self.start_node(node));
            } else if !self.active().contains(&node) {
                note(self.resume_node(node));
            }
        }
        failed
    }

    /// Kills everything, and takes the network away: nothing can be started again.
    pub fn end(&self) {
        self.stop();
        self.network.end();
    }

    /// Kills everything.
    pub fn stop(&self) {
        let mut stopped = 0;
        for slot in self.nodes.iter().chain(&self.name_servers) {
            // The handle kills its process.
            stopped += usize::from(slot.lock().take().is_some());
        }
        if stopped > 0 {
            info!(processes = stopped, "cluster stopped");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}
