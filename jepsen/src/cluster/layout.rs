//! Where everything of one cluster is: folders, and addresses as each party is told them.
//!
//! All addresses are on loopback, in a network `127.a.b` drawn for each run, so that two runs on one machine don't get in
//! each other's way. A node listens for clients at an address of its own, `127.a.b.10 + i`; its proxy listens at
//! `127.a.b.110 + i` with the same port, because brokers advertise another host than they listen on, but not another
//! port. Each caller has a port of its own for each node that it calls, so that directions and pairs can be told apart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;
use rand::Rng;

use crate::proxy::{End, Network};

/// How often other ports are tried when the system has given one to somebody else.
const PORT_ATTEMPTS: usize = 32;

/// When a broker acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flush {
    /// When a majority has flushed.
    Sync,
    /// When a majority has it in memory.
    Async,
}

impl Flush {
    /// Value of `flushDiskType`.
    pub fn key(self) -> &'static str {
        match self {
            Flush::Sync => "SYNC_FLUSH",
            Flush::Async => "ASYNC_FLUSH",
        }
    }
}

/// Addresses of one node.
#[derive(Clone, Debug)]
pub struct NodePlace {
    /// Where it listens for clients.
    pub client: SocketAddr,
    /// What clients are told: the proxy in front of it.
    pub advertised: SocketAddr,
    /// Where it listens for its peers.
    pub raft: SocketAddr,
    /// Where it listens for the harness.
    pub admin: SocketAddr,
    /// Where it finds each peer, by number; itself at `raft`.
    pub peers: Vec<SocketAddr>,
    /// Where it finds the name servers.
    pub name_servers: Vec<SocketAddr>,
}

/// Addresses of one name server.
#[derive(Clone, Debug)]
pub struct NameServerPlace {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where clients find it.
    pub for_clients: SocketAddr,
}

/// A whole cluster.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Folder of the run.
    pub folder: PathBuf,
    /// When brokers acknowledge.
    pub flush: Flush,
    /// Brokers, by number.
    pub nodes: Vec<NodePlace>,
    /// Name servers, by number.
    pub name_servers: Vec<NameServerPlace>,
    /// More settings of the brokers, `key=value`.
    pub settings: Vec<(String, String)>,
}

impl Layout {
    /// Draws addresses and opens a proxy for each pair.
    ///
    /// # Errors
    /// No free ports.
    pub async fn behind_proxies(
        folder: PathBuf,
        flush: Flush,
        nodes: usize,
        name_servers: usize,
        settings: Vec<(String, String)>,
        seed: u64,
    ) -> anyhow::Result<(Layout, Network)> {
        let mut network = Network::new(seed);
        // Not from the seed: two runs of one seed may go on at once.
        let subnet = Subnet(rand::rng().random_range(16..=250), rand::rng().random_range(1..=250));
        let mut layout = Layout { folder, flush, nodes: Vec::new(), name_servers: Vec::new(), settings };
        for number in 0..name_servers {
            let listen = free(subnet.host(50, number))?;
            let end = End::NameServer(number);
            let for_clients = network.add(End::Clients, end, (subnet.proxies(), 0), listen).await?;
            layout.name_servers.push(NameServerPlace { listen, for_clients });
        }
        for number in 0..nodes {
            let own = subnet.host(10, number);
            let (client, advertised) =
                client_port(&mut network, number, own, subnet.host(110, number)).await?;
            let place = NodePlace {
                client,
                advertised,
                raft: free(own)?,
                admin: free(own)?,
                peers: Vec::new(),
                name_servers: Vec::new(),
            };
            layout.nodes.push(place);
        }
        let rafts: Vec<SocketAddr> = layout.nodes.iter().map(|node| node.raft).collect();
        for (number, node) in layout.nodes.iter_mut().enumerate() {
            let caller = End::Node(number);
            for (peer, raft) in rafts.iter().enumerate() {
                let address = match peer == number {
                    true => *raft,
                    false => network.add(caller, End::Node(peer), (subnet.proxies(), 0), *raft).await?,
                };
                node.peers.push(address);
            }
            for (number, place) in layout.name_servers.iter().enumerate() {
                let end = End::NameServer(number);
                node.name_servers.push(network.add(caller, end, (subnet.proxies(), 0), place.listen).await?);
            }
        }
        Ok((layout, network))
    }

    /// Name servers as clients of the workload are told: `host:port;...`.
    pub fn name_servers_for_clients(&self) -> String {
        join(self.name_servers.iter().map(|place| place.for_clients))
    }

    /// Name servers as a node is told.
    pub fn name_servers_for_node(&self, node: usize) -> String {
        join(self.nodes[node].name_servers.iter().copied())
    }

    /// `dLegerPeers` as a node is told.
    pub fn peers(&self, node: usize) -> String {
        let peers = self.nodes[node].peers.iter().enumerate();
        peers.map(|(peer, address)| format!("n{peer}-{address}")).collect::<Vec<_>>().join(";")
    }

    /// Data folder of a node.
    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.join(format!("nodes/n{node}"))
    }

    /// Log file of a process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.folder.join(format!("logs/{process}.log"))
    }

    /// Number of the node that clients are told at an address.
    pub fn node_at(&self, advertised: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.advertised.to_string() == advertised)
    }
}

#[derive(Clone, Copy)]
struct Subnet(u8, u8);

impl Subnet {
    fn host(self, base: u8, number: usize) -> Ipv4Addr {
        // Clusters have five nodes at most.
        let number = u8::try_from(number).unwrap_or(u8::MAX / 4);
        Ipv4Addr::new(127, self.0, self.1, base + number)
    }

    fn proxies(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, 1)
    }
}

fn join(addresses: impl Iterator<Item = SocketAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(";")
}

/// A port that the system gave a moment ago, free on every address: DLedger listens on all of them.
fn free(own: Ipv4Addr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no free port")?;
    Ok(SocketAddr::from((own, listener.local_addr()?.port())))
}

/// A port that is free for the node and for the proxy in front of it.
async fn client_port(
    network: &mut Network,
    number: usize,
    own: Ipv4Addr,
    proxy: Ipv4Addr,
) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let mut failure = None;
    for _ in 0..PORT_ATTEMPTS {
        let client = free(own)?;
        match network.add(End::Clients, End::Node(number), (proxy, client.port()), client).await {
            Ok(advertised) => return Ok((client, advertised)),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.context("no port was tried")?.context("no port that is free on two addresses"))
}
