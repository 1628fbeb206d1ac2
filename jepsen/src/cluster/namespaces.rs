//! A network of namespaces: each broker and name server has one, with a pair of virtual links to a common bridge. Needs root
//! and `ip`, nothing else.
//!
//! Who shall not be heard is given a wrong hardware address for whoever shall not hear: frames leave and reach nobody, new
//! connections get no answer, open ones wait and repeat, as on a real network, each direction by itself. All neighbours are
//! fixed entries, so nothing depends on ARP getting through.
//!
//! Two subnets share the links, one for the parties and one for the harness, so that it sees nodes that nobody else does.
//! LIMIT: links can be cut here, not slowed down or reset (`tc netem` is not in every kernel): for that use the proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use rand::Rng;
use tracing::warn;

use super::fabric::Fabric;
use super::layout::{Flush, Layout, NameServerPlace, NodePlace};
use crate::proxy::{Disturbance, End};

/// Nobody has it.
const NOBODY: &str = "02:00:de:ad:00:00";
const CLIENT_PORT: u16 = 10911;
const RAFT_PORT: u16 = 40911;
const ADMIN_PORT: u16 = 8088;
const NAME_SERVER_PORT: u16 = 9876;

/// The namespaces of one cluster; they go when it is dropped.
#[derive(Debug)]
pub struct Namespaces {
    names: Names,
    ends: Vec<End>,
    disturbances: Mutex<BTreeMap<u32, Disturbance>>,
    /// Cuts in force.
    cut: Mutex<BTreeSet<(End, End)>>,
    gone: AtomicBool,
}

/// Names and addresses, all from one number.
#[derive(Clone, Copy, Debug)]
struct Names(u16);

impl Names {
    fn bridge(self) -> String {
        format!("fj{:04x}", self.0)
    }

    fn namespace(self, end: End) -> String {
        format!("{}-{}", self.bridge(), self.host(end))
    }

    /// The bridge's side of the links of an end.
    fn port(self, end: End) -> String {
        format!("{}p{}", self.bridge(), self.host(end))
    }

    fn host(self, end: End) -> u8 {
        // Clusters have five nodes and three name servers at most.
        let number = |number: usize| u8::try_from(number).unwrap_or(u8::MAX / 8);
        match end {
            End::Clients => 1,
            End::Node(node) => 10 + number(node),
            End::NameServer(name_server) => 50 + number(name_server),
        }
    }

    /// `.0` the parties, `.1` the harness.
    fn address(self, end: End, harness: bool) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(10, 128 | high, low & 0xFE | u8::from(harness), self.host(end))
    }

    fn hardware(self, end: End) -> String {
        let [high, low] = self.0.to_be_bytes();
        format!("02:00:{high:02x}:{low:02x}:00:{:02x}", self.host(end))
    }
}

impl Layout {
    /// Makes the namespaces of a cluster.
    ///
    /// # Errors
    /// Not root, no `ip`, or a kernel without namespaces.
    pub fn in_namespaces(
        folder: PathBuf,
        flush: Flush,
        nodes: usize,
        name_servers: usize,
        settings: Vec<(String, String)>,
    ) -> anyhow::Result<(Layout, Namespaces)> {
        // The lowest bit tells the two subnets apart.
        let names = Names(rand::rng().random_range(0..0x7F00) & !1);
        let ends = (0..nodes).map(End::Node).chain((0..name_servers).map(End::NameServer));
        let ends: Vec<End> = ends.chain([End::Clients]).collect();
        let namespaces = Namespaces {
            names,
            ends,
            disturbances: Mutex::default(),
            cut: Mutex::default(),
            gone: AtomicBool::new(false),
        };
        namespaces.make().context("network namespaces need root and iproute2")?;
        let at = |end, port| SocketAddr::from((names.address(end, false), port));
        let all_name_servers: Vec<SocketAddr> =
            (0..name_servers).map(|number| at(End::NameServer(number), NAME_SERVER_PORT)).collect();
        let places = (0..nodes).map(|number| NodePlace {
            client: at(End::Node(number), CLIENT_PORT),
            advertised: at(End::Node(number), CLIENT_PORT),
            raft: at(End::Node(number), RAFT_PORT),
            admin: SocketAddr::from((names.address(End::Node(number), true), ADMIN_PORT)),
            peers: (0..nodes).map(|peer| at(End::Node(peer), RAFT_PORT)).collect(),
            name_servers: all_name_servers.clone(),
        });
        let nodes = places.collect();
        let name_servers =
            all_name_servers.iter().map(|listen| NameServerPlace { listen: *listen, for_clients: *listen });
        let layout = Layout { folder, flush, nodes, name_servers: name_servers.collect(), settings };
        Ok((layout, namespaces))
    }
}

impl Namespaces {
    fn make(&self) -> anyhow::Result<()> {
        let names = self.names;
        let bridge = names.bridge();
        let hardware = names.hardware(End::Clients);
        let mut root = vec![
            format!("link add {bridge} address {hardware} type bridge"),
            format!("link set {bridge} up"),
            format!("addr add {}/24 dev {bridge}", names.address(End::Clients, false)),
            format!("addr add {}/24 dev {bridge}", names.address(End::Clients, true)),
        ];
        for end in self.parties() {
            let (port, namespace) = (names.port(end), names.namespace(end));
            root.push(format!("netns add {namespace}"));
            root.push(format!(
                "link add {port} type veth peer name eth0 address {} netns {namespace}",
                names.hardware(end)
            ));
            root.push(format!("link set {port} master {bridge} up"));
        }
        ip(None, &root)?;
        for end in self.parties() {
            let mut own = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
            for harness in [false, true] {
                own.push(format!("addr add {}/24 dev eth0", names.address(end, harness)));
            }
            ip(Some(&names.namespace(end)), &own)?;
        }
        for from in &self.ends {
            let others = self.ends.iter().filter(|to| *to != from);
            let lines: Vec<String> = others
                .flat_map(|to| [false, true].map(|harness| self.neighbour(*from, *to, harness, true)))
                .collect();
            ip(self.place(*from).as_deref(), &lines)?;
        }
        Ok(())
    }

    /// All that have a namespace.
    fn parties(&self) -> impl Iterator<Item = End> {
        self.ends.iter().copied().filter(|end| *end != End::Clients)
    }

    /// Namespace of an end; clients are where the harness is.
    fn place(&self, end: End) -> Option<String> {
        (end != End::Clients).then(|| self.names.namespace(end))
    }

    /// What `from` is told about `to`.
    fn neighbour(&self, from: End, to: End, harness: bool, heard: bool) -> String {
        let device = if from == End::Clients { self.names.bridge() } else { "eth0".to_owned() };
        let hardware = if heard { self.names.hardware(to) } else { NOBODY.to_owned() };
        let address = self.names.address(to, harness);
        format!("neigh replace {address} lladdr {hardware} nud permanent dev {device}")
    }

    fn apply(&self, disturbances: &BTreeMap<u32, Disturbance>) -> anyhow::Result<()> {
        let wanted: BTreeSet<(End, End)> =
            disturbances.values().flat_map(|disturbance| disturbance.cuts.iter().copied()).collect();
        let mut cut = self.cut.lock();
        let mut lines: BTreeMap<End, Vec<String>> = BTreeMap::new();
        for (from, to) in wanted.symmetric_difference(&cut) {
            let heard = !wanted.contains(&(*from, *to));
            lines.entry(*from).or_default().push(self.neighbour(*from, *to, false, heard));
        }
        for (from, lines) in lines {
            ip(self.place(from).as_deref(), &lines)?;
        }
        *cut = wanted;
        Ok(())
    }
}

impl Fabric for Namespaces {
    fn disturb(&self, number: u32, disturbance: Disturbance) -> anyhow::Result<()> {
        if !(disturbance.slow.is_empty() && disturbance.resets.is_empty() && disturbance.refused.is_empty()) {
            bail!("links between namespaces can be cut, not slowed down or reset");
        }
        let mut disturbances = self.disturbances.lock();
        disturbances.insert(number, disturbance);
        self.apply(&disturbances)
    }

    fn settle(&self, number: u32) -> anyhow::Result<()> {
        let mut disturbances = self.disturbances.lock();
        disturbances.remove(&number);
        self.apply(&disturbances)
    }

    fn heal(&self) -> anyhow::Result<()> {
        let mut disturbances = self.disturbances.lock();
        disturbances.clear();
        self.apply(&disturbances)
    }

    /// The kernel refuses calls by itself.
    fn ended(&self, _: End) {}

    fn starts(&self, _: End) {}

    fn inside(&self, end: End, command: Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.names.namespace(end)]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Links go with their namespaces.
    fn end(&self) {
        if self.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        let gone = self.parties().map(|end| format!("netns del {}", self.names.namespace(end)));
        let lines: Vec<String> = gone.chain([format!("link del {}", self.names.bridge())]).collect();
        for line in lines {
            if let Err(error) = ip(None, &[line]) {
                warn!(error = format!("{error:#}"), "a network namespace can't be removed");
            }
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs lines of `ip`, in a namespace or where the harness is. Blocks for some milliseconds.
fn ip(namespace: Option<&str>, lines: &[String]) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("ip can't be run")?;
    let mut input = child.stdin.take().context("a pipe to ip")?;
    input.write_all((lines.join("\n") + "\n").as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
