//! Ports and properties files of a group under test.

use std::fmt::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// Cluster of every group under test.
pub const CLUSTER: &str = "TestCluster";
/// Broker name of every group under test.
pub const BROKER: &str = "broker-a";
/// Nodes of a group.
pub const NODES: usize = 3;

/// Ports of one node.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts {
    pub client: u16,
    pub raft: u16,
    pub admin: u16,
}

/// All ports of a group.
#[derive(Clone, Debug)]
pub struct Ports {
    pub name_server: u16,
    pub name_server_admin: u16,
    pub nodes: [NodePorts; NODES],
}

/// A port where nobody listens, as the system gave it a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Ports {
    /// Ports that the system gave a moment ago. Held all at once, so that they differ, and released here: whoever
    /// finds one taken after all starts over with others.
    pub fn free() -> anyhow::Result<Ports> {
        let mut held = Vec::new();
        let mut next = || -> std::io::Result<u16> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        let mut node =
            || Ok::<_, std::io::Error>(NodePorts { client: next()?, raft: next()?, admin: next()? });
        let nodes = [node()?, node()?, node()?];
        Ok(Ports { name_server: next()?, name_server_admin: next()?, nodes })
    }

    /// Properties of a node; `extra` lines come last.
    pub fn properties(&self, node: usize, folder: &Path, extra: &[(&str, String)]) -> String {
        let own = self.nodes[node];
        let peers: Vec<String> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(id, ports)| format!("n{id}-127.0.0.1:{}", ports.raft))
            .collect();
        let mut lines = vec![
            ("brokerClusterName", CLUSTER.to_owned()),
            ("brokerName", BROKER.to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("bindAddress", "127.0.0.1".to_owned()),
            ("listenPort", own.client.to_string()),
            ("namesrvAddr", format!("127.0.0.1:{}", self.name_server)),
            ("storePathRootDir", folder.display().to_string()),
            ("enableDLegerCommitLog", "true".to_owned()),
            ("dLegerGroup", BROKER.to_owned()),
            ("dLegerPeers", peers.join(";")),
            ("dLegerSelfId", format!("n{node}")),
            ("flushDiskType", "SYNC_FLUSH".to_owned()),
            // Files are allocated ahead: small ones, for the folders of failed tests are kept.
            ("mappedFileSizeCommitLog", "16777216".to_owned()),
            // The machine's disk may be nearly full; what a broker makes of that is for tests with probes of their own.
            ("cleanFileForciblyEnable", "false".to_owned()),
            ("diskSpaceWarningLevelRatio", "99".to_owned()),
            ("adminListen", format!("127.0.0.1:{}", own.admin)),
            // A graceful stop without clients of the test that linger: an explicit setting (FAILOVER.md 6).
            ("drainMillis", "0".to_owned()),
        ];
        for (key, value) in extra {
            lines.retain(|(known, _)| known != key);
            lines.push((key, value.clone()));
        }
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }
}
