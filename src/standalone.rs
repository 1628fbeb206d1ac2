//! `flotilla standalone`: a name server and a whole group in this process, with real sockets and real files.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use flotilla_broker::config::{self, RouteProbe, Sources};
use flotilla_broker::{Broker, BrokerHandle, BrokerOptions};
use flotilla_namesrv::{NameServer, NameServerOptions};
use futures::future::{join_all, select_all, try_join_all};

use crate::broker;
use crate::cli::StandaloneArgs;
use crate::namesrv;
use crate::ports::{NodeSockets, Ports};
use crate::signals::Signals;

const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9876);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8088);

/// Keys that this command decides: setting them would contradict it.
const DECIDED: [&str; 8] = [
    "dLegerPeers",
    "dLegerSelfId",
    "listenPort",
    "bindAddress",
    "raftListen",
    "storePathRootDir",
    "namesrvAddr",
    "adminListen",
];

/// Smaller files than a server's: three replicas share one disk.
const DEFAULTS: [(&str, &str); 2] = [("mappedFileSizeCommitLog", "67108864"), ("brokerIP1", "127.0.0.1")];

/// Runs until a signal stops it, or a node fails.
pub async fn run(args: StandaloneArgs) -> anyhow::Result<()> {
    refuse_decided(&args.set)?;
    let mut signals = Signals::listen()?;
    std::fs::create_dir_all(&args.data).with_context(|| format!("data folder {}", args.data.display()))?;
    let data = args.data.canonicalize().with_context(|| format!("data folder {}", args.data.display()))?;

    let mut ports = Ports::open(&data, args.nodes)?;
    let sockets = Sockets::bind(&args, &mut ports)?;
    ports.save()?;
    let name_server_address = sockets.name_server.local_addr()?;
    let admin_address = sockets.nodes[0].admin.local_addr()?;

    let mut options = NameServerOptions {
        listener: Some(sockets.name_server),
        ..NameServerOptions::new(name_server_address)
    };
    namesrv::keep(&mut options, &data.join("namesrv"))?;
    let name_server = NameServer::start(options).await.context("the name server did not start")?;

    let peers = peers(&sockets.nodes)?;
    let starting = sockets.nodes.into_iter().zip(0..).map(|(sockets, node)| {
        let overrides = overrides(&args, &data, node, &peers, name_server_address);
        start_node(node, overrides, sockets)
    });
    let start = async {
        let nodes = try_join_all(starting).await?;
        join_all(nodes.iter().map(BrokerHandle::ready)).await;
        anyhow::Ok(nodes)
    };
    let nodes = tokio::select! {
        nodes = start => nodes?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before the start was complete");
            return Ok(());
        }
    };
    announce(name_server_address, admin_address, &data)?;

    let failed = select_all(nodes.iter().map(|node| Box::pin(broker::failed(node))));
    let failure = tokio::select! {
        (reason, node, _) = failed => Some(format!("node n{node} failed: {reason}")),
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            None
        }
    };
    // There is nobody to hand leadership over to, and no client that could go elsewhere.
    let stop = async {
        join_all(nodes.into_iter().map(|node| node.stop(false))).await;
        name_server.stop().await;
    };
    signals.stop_with(stop).await;
    failure.map_or(Ok(()), |reason| bail!(reason))
}

/// Everything that is listened on, bound before anything starts.
struct Sockets {
    name_server: std::net::TcpListener,
    nodes: Vec<NodeSockets>,
}

impl Sockets {
    fn bind(args: &StandaloneArgs, ports: &mut Ports) -> anyhow::Result<Self> {
        let name_server = match args.listen {
            Some(listen) => ports.bind("namesrv", listen.ip(), Some(listen.port())),
            None => ports.bind_preferring("namesrv", NAME_SERVER),
        }?;
        let clients = name_server.local_addr()?.ip();
        let mut nodes = Vec::new();
        for node in 0..args.nodes {
            let name = format!("n{node}.admin");
            let admin = match (node, args.admin) {
                (0, Some(listen)) => ports.bind(&name, listen.ip(), Some(listen.port())),
                (0, None) => ports.bind_preferring(&name, ADMIN),
                _ => ports.bind(&name, ADMIN.ip(), None),
            }?;
            nodes.push(ports.bind_node(node, clients, admin)?);
        }
        Ok(Self { name_server, nodes })
    }
}

fn refuse_decided(set: &[String]) -> anyhow::Result<()> {
    let key_of = |text: &str| text.split('=').next().unwrap_or_default().trim().to_owned();
    match set.iter().map(|text| key_of(text)).find(|key| DECIDED.contains(&key.as_str())) {
        Some(key) => bail!("--set {key}: standalone decides this itself; use `flotilla broker` to choose it"),
        None => Ok(()),
    }
}

fn peers(nodes: &[NodeSockets]) -> anyhow::Result<String> {
    let peer = |(node, sockets): (usize, &NodeSockets)| Ok(format!("n{node}-{}", sockets.raft.local_addr()?));
    let peers: anyhow::Result<Vec<String>> = nodes.iter().enumerate().map(peer).collect();
    Ok(peers?.join(";"))
}

/// `key=value` texts of one node: defaults of this command, the user's, and what this command decides.
fn overrides(
    args: &StandaloneArgs,
    data: &Path,
    node: u16,
    peers: &str,
    name_server: SocketAddr,
) -> Vec<String> {
    let is_set =
        |key: &str| args.set.iter().any(|text| text.split('=').next().is_some_and(|set| set.trim() == key));
    let defaults =
        DEFAULTS.iter().filter(|(key, _)| !is_set(key)).map(|(key, value)| format!("{key}={value}"));
    let reachable = match name_server.ip().is_unspecified() {
        true => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), name_server.port()),
        false => name_server,
    };
    let decided = [
        format!("dLegerPeers={peers}"),
        format!("dLegerSelfId=n{node}"),
        "listenPort=0".to_owned(),
        format!("bindAddress={}", name_server.ip()),
        format!("storePathRootDir={}", data.join(format!("n{node}")).display()),
        format!("namesrvAddr={reachable}"),
    ];
    defaults.chain(args.set.iter().cloned()).chain(decided).collect()
}

async fn start_node(node: u16, overrides: Vec<String>, sockets: NodeSockets) -> anyhow::Result<BrokerHandle> {
    let sources = Sources { file: None, environment: broker::environment(), overrides };
    let loaded = tokio::task::spawn_blocking(move || config::load(&sources, &RouteProbe)).await??;
    if node == 0 {
        broker::tell(&loaded.notes);
    }
    let mut options = BrokerOptions::new(loaded.config);
    options.listener = Some(sockets.client);
    options.admin_listener = Some(sockets.admin);
    options.raft_listener = Some(sockets.raft);
    Broker::start(options).await.with_context(|| format!("node n{node} did not start"))
}

/// The one block on standard output.
fn announce(name_server: SocketAddr, admin: SocketAddr, data: &Path) -> anyhow::Result<()> {
    let block = format!(
        "ready\n  name server  {name_server}\n  admin        http://{admin}\n  data         {}\n  stop         Ctrl-C\n",
        data.display()
    );
    let mut out = std::io::stdout().lock();
    out.write_all(block.as_bytes()).and_then(|()| out.flush()).context("standard output")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &str) -> StandaloneArgs {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Standalone(args) => args,
            _ => panic!("not standalone"),
        }
    }

    #[test]
    fn what_standalone_decides_can_not_be_set() {
        for key in DECIDED {
            assert!(refuse_decided(&[format!("{key}=1")]).is_err(), "{key}");
        }
        assert!(refuse_decided(&["flushDiskType=ASYNC_FLUSH".to_owned()]).is_ok());
    }

    #[test]
    fn each_node_gets_a_configuration_that_may_start() {
        let args = args("flotilla standalone --set brokerIP1=10.0.0.9 --set flushDiskType=ASYNC_FLUSH");
        let peers = "n0-127.0.0.1:1;n1-127.0.0.1:2;n2-127.0.0.1:3";
        for node in 0..3 {
            let overrides = overrides(&args, Path::new("/d"), node, peers, "0.0.0.0:9876".parse().unwrap());
            let loaded = config::load(&Sources { overrides, ..Sources::default() }, &RouteProbe).unwrap();
            assert_eq!(loaded.notes, []);
            assert_eq!(loaded.config.raft.self_index, u64::from(node));
            assert_eq!(loaded.config.identity.advertised_host, "10.0.0.9");
            assert_eq!(loaded.config.registration.name_servers, ["127.0.0.1:9876"]);
            assert_eq!(loaded.config.disk.root, Path::new("/d").join(format!("n{node}")));
        }
    }
}
