//! Beginning and ending one fault.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use tokio::time::sleep;

use super::Nemesis;
use super::damage;
use super::links::{resets, slow, throttle};
use super::partition::{self, Partition, Size, names};
use crate::cluster::flotilla::Flotilla;
use crate::cluster::{Cluster, Stop};
use crate::proxy::{Disturbance, End, Way};
use crate::recorder::Recorder;

/// Longest wait for a broker that was started again. One that can't be ready because another fault goes on is left to the
/// end of the run, when all must be.
const REJOIN: Duration = Duration::from_secs(20);
/// Time between registrations of a broker, and some more. Source: docs/operating.md, `registerNameServerPeriod`.
const REGISTRATION: Duration = Duration::from_millis(10_200);
/// Longest wait for a broker to stop after SIGTERM.
const STOP: Duration = Duration::from_secs(45);

/// A fault that has its victims and has not begun.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Nemesis,
    pub(super) nodes: Vec<usize>,
    /// Which name servers.
    name_servers: Vec<usize>,
    partition: Option<Partition>,
}

/// A fault that was brought about, or part of one.
#[derive(Debug)]
pub(super) struct Begun {
    /// What ends it.
    pub(super) undo: Undo,
    /// For readers.
    pub(super) detail: String,
    /// Why it is not the fault that was wanted; what was done must be ended all the same.
    pub(super) missed: Option<String>,
}

impl Begun {
    fn whole(undo: Undo, detail: impl Into<String>) -> Begun {
        Begun { undo, detail: detail.into(), missed: None }
    }
}

/// What ends a fault.
#[derive(Debug)]
pub(super) enum Undo {
    /// It has ended by itself.
    Nothing,
    /// Brokers are started.
    Start(Vec<usize>),
    /// Brokers go on.
    Resume(Vec<usize>),
    /// A disturbance of the network ends.
    Settle,
    /// Name servers are started.
    StartNameServers(Vec<usize>),
    /// Clocks are right again.
    SetClocks(Vec<usize>),
}

/// Seconds for which a fault goes on.
pub(super) fn hold(kind: Nemesis, random: &mut SmallRng) -> Duration {
    let range: Range<f64> = match kind {
        Nemesis::PauseLeader | Nemesis::PauseOne | Nemesis::PauseMajority => {
            // Mostly short, some up to a minute.
            if random.random_bool(0.85) { 1.0..12.0 } else { 12.0..60.0 }
        }
        Nemesis::IsolateLeader
        | Nemesis::IsolateMinority
        | Nemesis::Halves
        | Nemesis::Bridge
        | Nemesis::Ring
        | Nemesis::OneWay
        | Nemesis::Clock => 2.0..12.0,
        Nemesis::LateRegistration => 8.0..14.0,
        Nemesis::Slow | Nemesis::Throttle | Nemesis::Resets => 4.0..12.0,
        Nemesis::Transfer | Nemesis::RollingRestart => 0.1..0.2,
        Nemesis::NameServer | Nemesis::NameServers => 0.5..6.0,
        Nemesis::KillOne
        | Nemesis::KillLeader
        | Nemesis::KillMajority
        | Nemesis::KillAll
        | Nemesis::StopLeader
        | Nemesis::TornTail
        | Nemesis::DamagedViews
        | Nemesis::DeletedViews
        | Nemesis::PowerLoss
        | Nemesis::PowerLossAll => 0.5..8.0,
    };
    Duration::from_secs_f64(random.random_range(range))
}

impl Fault {
    /// Chooses victims. What needs a leader and finds none takes any node.
    pub(super) async fn choose(kind: Nemesis, cluster: &Cluster, random: &mut SmallRng) -> Fault {
        let size = Size { nodes: cluster.size(), name_servers: cluster.name_server_count() };
        // Drawn in any case, so that the choices that follow don't depend on whether there was a leader.
        let any = random.random_range(0..size.nodes);
        let leader = cluster.leader().await;
        let first = leader.unwrap_or(any);
        let mut shuffled: Vec<usize> = (0..size.nodes).collect();
        shuffled.shuffle(random);
        let majority = shuffled[..size.nodes / 2 + 1].to_vec();
        let mut fault = Fault { kind, nodes: Vec::new(), name_servers: Vec::new(), partition: None };
        match kind {
            Nemesis::KillOne
            | Nemesis::PauseOne
            | Nemesis::TornTail
            | Nemesis::DamagedViews
            | Nemesis::DeletedViews
            | Nemesis::PowerLoss
            | Nemesis::Throttle => fault.nodes = vec![any],
            Nemesis::KillLeader | Nemesis::PauseLeader | Nemesis::StopLeader => fault.nodes = vec![first],
            Nemesis::KillMajority | Nemesis::PauseMajority => fault.nodes = majority,
            Nemesis::KillAll | Nemesis::PowerLossAll | Nemesis::RollingRestart | Nemesis::Slow => {
                fault.nodes = shuffled;
            }
            Nemesis::Resets => fault.nodes = if random.random_bool(0.5) { vec![any] } else { shuffled },
            Nemesis::Clock => {
                let count = random.random_range(1..=size.nodes);
                fault.nodes = shuffled[..count].to_vec();
            }
            Nemesis::Transfer | Nemesis::LateRegistration => {
                let others: Vec<usize> = shuffled.into_iter().filter(|node| *node != first).collect();
                fault.nodes = vec![first, others[0]];
            }
            Nemesis::NameServer => fault.name_servers = vec![random.random_range(0..size.name_servers)],
            Nemesis::NameServers => fault.name_servers = (0..size.name_servers).collect(),
            Nemesis::IsolateLeader => fault.partition = Some(partition::isolate(&[first], size, random)),
            Nemesis::IsolateMinority => {
                let inside = partition::minority(leader, size.nodes, random);
                fault.partition = Some(partition::isolate(&inside, size, random));
            }
            Nemesis::Halves => {
                let inside = partition::half(size.nodes, random);
                fault.partition = Some(partition::isolate(&inside, size, random));
            }
            Nemesis::Bridge => fault.partition = Some(partition::bridge(size.nodes, random)),
            Nemesis::Ring => fault.partition = Some(partition::ring(size.nodes, random)),
            Nemesis::OneWay => fault.partition = Some(partition::one_way(first, size.nodes, random)),
        }
        if let Some(partition) = &fault.partition {
            fault.nodes.clone_from(&partition.nodes);
        }
        fault
    }

    /// Begins it. Where it fails with an error, what was done is left to the end of the run.
    ///
    /// # Errors
    /// It can't be done: a victim does not run, a file can't be written.
    pub(super) async fn begin(
        self,
        number: u32,
        cluster: &Cluster,
        recorder: &Recorder,
        random: &mut SmallRng,
    ) -> anyhow::Result<Begun> {
        let nodes = self.nodes;
        match self.kind {
            Nemesis::KillOne | Nemesis::KillLeader | Nemesis::KillMajority | Nemesis::KillAll => {
                let victims = kill(cluster, &nodes)?;
                let detail = format!("{} killed", names(&victims));
                Ok(Begun::whole(Undo::Start(victims), detail))
            }
            Nemesis::StopLeader => {
                let how = stop(cluster, recorder, nodes[0]).await?;
                Ok(Begun::whole(Undo::Start(nodes.clone()), format!("{} {how}", names(&nodes))))
            }
            Nemesis::PauseLeader | Nemesis::PauseOne | Nemesis::PauseMajority => {
                for node in &nodes {
                    cluster.pause_node(*node)?;
                }
                Ok(Begun::whole(Undo::Resume(nodes.clone()), format!("{} stands still", names(&nodes))))
            }
            Nemesis::IsolateLeader
            | Nemesis::IsolateMinority
            | Nemesis::Halves
            | Nemesis::Bridge
            | Nemesis::Ring
            | Nemesis::OneWay => {
                let partition = self.partition.context("a partition is chosen")?;
                cluster.network().disturb(number, partition.disturbance)?;
                Ok(Begun::whole(Undo::Settle, partition.detail))
            }
            Nemesis::Slow => {
                let (disturbance, detail) = slow(cluster.size(), random);
                cluster.network().disturb(number, disturbance)?;
                Ok(Begun::whole(Undo::Settle, detail))
            }
            Nemesis::Throttle => {
                let (disturbance, detail) = throttle(nodes[0], cluster.size(), random);
                cluster.network().disturb(number, disturbance)?;
                Ok(Begun::whole(Undo::Settle, detail))
            }
            Nemesis::Resets => {
                let (disturbance, detail) = resets(&nodes, cluster.size(), random);
                cluster.network().disturb(number, disturbance)?;
                Ok(Begun::whole(Undo::Settle, detail))
            }
            Nemesis::Transfer => {
                let (from, to) = (nodes[0], nodes[1]);
                let said = cluster.server().transfer(cluster.layout(), from, to).await?;
                Ok(Begun::whole(Undo::Nothing, format!("from n{from} to n{to}: {}", said.trim())))
            }
            Nemesis::LateRegistration => {
                let (from, to) = (nodes[0], nodes[1]);
                let way =
                    Way { delay: Duration::from_millis(random.random_range(2_000..6_000)), ..Way::default() };
                let late = |number| ((End::Node(from), End::NameServer(number)), way);
                let slow = (0..cluster.name_server_count()).map(late).collect();
                cluster.network().disturb(number, Disturbance { slow, ..Disturbance::default() })?;
                // Longer than a registration period, so that one is on its way when leadership goes.
                sleep(REGISTRATION).await;
                let (said, missed) = told(cluster.server().transfer(cluster.layout(), from, to).await);
                let late = format!("n{from} is heard by name servers {:?} late", way.delay);
                Ok(Begun { undo: Undo::Settle, detail: format!("{late}; to n{to}: {}", said.trim()), missed })
            }
            Nemesis::NameServer | Nemesis::NameServers => {
                for name_server in &self.name_servers {
                    cluster.kill_name_server(*name_server)?;
                }
                let detail = format!("name servers {:?} killed", self.name_servers);
                Ok(Begun::whole(Undo::StartNameServers(self.name_servers), detail))
            }
            Nemesis::RollingRestart => {
                Ok(Begun::whole(Undo::Nothing, roll(cluster, recorder, &nodes).await?))
            }
            Nemesis::TornTail | Nemesis::DamagedViews | Nemesis::DeletedViews => {
                let node = nodes[0];
                kill(cluster, &[node])?;
                let data = cluster.layout().data(node);
                let detail = match self.kind {
                    Nemesis::TornTail => damage::tear(&data, random),
                    Nemesis::DamagedViews => damage::damage_views(&data, random),
                    _ => damage::delete_views(&data, random),
                };
                let (said, missed) = told(detail);
                // It is started again in any case.
                let undo = Undo::Start(vec![node]);
                Ok(Begun { undo, detail: format!("n{node} killed, {said}"), missed })
            }
            Nemesis::Clock => {
                let offsets = jumps(&nodes, random);
                set_clocks(cluster, &offsets)?;
                Ok(Begun::whole(Undo::SetClocks(nodes), format!("offsets in ms by node: {offsets:?}")))
            }
            Nemesis::PowerLoss | Nemesis::PowerLossAll => {
                let victims = kill(cluster, &nodes)?;
                let (mut said, mut missed) = (Vec::new(), None);
                for node in &victims {
                    let (lost, why_not) = told(lose_power(cluster, *node, random.random()).await);
                    said.push(lost);
                    missed = missed.or(why_not.map(|why| format!("n{node} lost nothing: {why}")));
                }
                let detail = format!("{} without power: {}", names(&victims), said.join("; "));
                // They are started again in any case.
                Ok(Begun { undo: Undo::Start(victims), detail, missed })
            }
        }
    }
}

impl Undo {
    /// Ends the fault; gives what readers want to know. Dropped half-way, the rest is left to the end of the run.
    ///
    /// # Errors
    /// A process can't be started.
    pub(super) async fn end(self, number: u32, cluster: &Cluster) -> anyhow::Result<String> {
        match self {
            Undo::Nothing => Ok(String::new()),
            Undo::Start(nodes) => {
                for node in &nodes {
                    cluster.start_node(*node)?;
                }
                for node in &nodes {
                    if tokio::time::timeout(REJOIN, cluster.node_ready(*node)).await.is_err() {
                        return Ok(format!("n{node} started and not ready after {REJOIN:?}"));
                    }
                }
                Ok(format!("{} started and ready", names(&nodes)))
            }
            Undo::Resume(nodes) => {
                for node in &nodes {
                    cluster.resume_node(*node)?;
                }
                Ok(format!("{} goes on", names(&nodes)))
            }
            Undo::Settle => {
                cluster.network().settle(number)?;
                Ok(String::new())
            }
            Undo::StartNameServers(name_servers) => {
                for name_server in &name_servers {
                    cluster.start_name_server(*name_server)?;
                }
                Ok(format!("name servers {name_servers:?} started"))
            }
            Undo::SetClocks(nodes) => {
                set_clocks(cluster, &nodes.iter().map(|node| (*node, 0)).collect())?;
                Ok("clocks are right".to_owned())
            }
        }
    }
}

/// What was said, and why it failed if it did.
fn told(said: anyhow::Result<String>) -> (String, Option<String>) {
    match said {
        Ok(said) => (said, None),
        Err(error) => (String::new(), Some(format!("{error:#}"))),
    }
}

/// Kills those of the victims that run; gives them.
fn kill(cluster: &Cluster, nodes: &[usize]) -> anyhow::Result<Vec<usize>> {
    let running = cluster.running();
    let victims: Vec<usize> = nodes.iter().copied().filter(|node| running.contains(node)).collect();
    ensure!(!victims.is_empty(), "{} does not run", names(nodes));
    victims.iter().try_for_each(|node| cluster.kill_node(*node))?;
    Ok(victims)
}

/// Asks a broker to stop; gives how it did. One that does not stop as it should is something that a product must not do.
async fn stop(cluster: &Cluster, recorder: &Recorder, node: usize) -> anyhow::Result<String> {
    let wrong = match cluster.terminate_node(node, STOP).await? {
        Stop::Clean => return Ok("stopped".to_owned()),
        Stop::Before => return Ok("had ended by itself before".to_owned()),
        Stop::Wrong(status) => format!("ended with {status}"),
        Stop::TooSlow => format!("did not end within {STOP:?}"),
    };
    recorder.inspected(&format!("n{node} stops when it is asked to"), Err(wrong.clone()));
    Ok(wrong)
}

/// Each in turn is asked to stop, and is started again before the next one.
async fn roll(cluster: &Cluster, recorder: &Recorder, nodes: &[usize]) -> anyhow::Result<String> {
    let mut said = Vec::new();
    for node in nodes {
        let how = stop(cluster, recorder, *node).await?;
        cluster.start_node(*node)?;
        let ready =
            tokio::time::timeout(REJOIN, cluster.node_ready(*node)).await.is_ok_and(|ready| ready.is_ok());
        said.push(format!("n{node} {how}, {}", if ready { "ready again" } else { "not ready yet" }));
        // As an operator would: the next one when this one has its clients again.
        sleep(Duration::from_millis(500)).await;
    }
    Ok(said.join("; "))
}

async fn lose_power(cluster: &Cluster, node: usize, seed: u64) -> anyhow::Result<String> {
    let command = cluster.server().power_loss(cluster.layout(), node, seed);
    let mut command = command.context("the product has no power-loss mode")?;
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "power-loss restore: {}: {}", output.status, said.trim());
    Ok(format!("n{node} seed {seed} {}", said.trim()))
}

/// Offsets in ms: from parts of an election time-out up to hours, forwards and back.
fn jumps(nodes: &[usize], random: &mut SmallRng) -> BTreeMap<usize, i64> {
    let mut offset = || {
        let size = [200, 900, 5_000, 60_000, 3_600_000, 90_000_000].choose(random).copied().unwrap_or(900);
        let part = random.random_range(size / 2..=size);
        if random.random_bool(0.5) { part } else { -part }
    };
    nodes.iter().map(|node| (*node, offset())).collect()
}

fn set_clocks(cluster: &Cluster, offsets: &BTreeMap<usize, i64>) -> anyhow::Result<()> {
    for (node, offset) in offsets {
        // Replaced as a whole: the node may look at any moment.
        let file = Flotilla::clock_file(cluster.layout(), *node);
        let new = file.with_extension("clock.new");
        std::fs::write(&new, format!("{offset}\n"))?;
        std::fs::rename(new, file)?;
    }
    Ok(())
}
