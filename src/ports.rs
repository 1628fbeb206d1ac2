//! The ports of a standalone group: chosen by the system once, kept in the data folder, and taken again while free, so
//! that offset ids and clients' cached routes stay good across a restart.
//!
//! The file is `ports.properties`: `nodes=3`, `namesrv=9876`, `n0.raft=…`, `n0.client=…`, `n0.admin=…`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use flotilla_broker::config::parse_properties;

const FILE: &str = "ports.properties";

/// Ports remembered from the last start, and chosen in this one.
#[derive(Debug)]
pub struct Ports {
    path: PathBuf,
    kept: BTreeMap<String, u16>,
}

/// The bound sockets of one node.
pub struct NodeSockets {
    pub raft: TcpListener,
    pub client: TcpListener,
    pub admin: TcpListener,
}

impl Ports {
    /// Reads what the folder remembers.
    ///
    /// # Errors
    /// The folder was made with another number of nodes, or the file can't be read.
    pub fn open(data: &Path, nodes: u16) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        let mut ports = Self { kept: BTreeMap::new(), path };
        match std::fs::read(&ports.path) {
            Ok(bytes) => ports.read(&bytes).with_context(|| format!("{}", ports.path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{}", ports.path.display())),
        }
        let made_with = *ports.kept.entry("nodes".to_owned()).or_insert(nodes);
        if made_with != nodes {
            bail!("{} holds a group of {made_with}: start it with --nodes {made_with}", data.display());
        }
        Ok(ports)
    }

    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        for property in parse_properties(bytes)? {
            let port = property.value.trim().parse();
            let port = port.with_context(|| format!("line {}: expected a port", property.line))?;
            self.kept.insert(property.key, port);
        }
        Ok(())
    }

    /// Binds a port: the wanted one if given, else the remembered one, else a free one.
    ///
    /// # Errors
    /// The wanted one is taken, or nothing can be bound at that address.
    pub fn bind(&mut self, name: &str, ip: IpAddr, wanted: Option<u16>) -> anyhow::Result<TcpListener> {
        let remembered = self.kept.get(name).copied();
        let bound = match (wanted, remembered) {
            (Some(port), _) => TcpListener::bind((ip, port)),
            (None, Some(port)) => TcpListener::bind((ip, port)).or_else(|_| TcpListener::bind((ip, 0))),
            (None, None) => TcpListener::bind((ip, 0)),
        };
        let bound = bound.with_context(|| {
            format!("can't listen on {} for {name}", SocketAddr::new(ip, wanted.unwrap_or(0)))
        })?;
        self.kept.insert(name.to_owned(), bound.local_addr()?.port());
        Ok(bound)
    }

    /// Binds `preferred` if it is free, else what [`Self::bind`] finds.
    pub fn bind_preferring(&mut self, name: &str, preferred: SocketAddr) -> anyhow::Result<TcpListener> {
        match TcpListener::bind(preferred) {
            Ok(bound) => {
                self.kept.insert(name.to_owned(), preferred.port());
                Ok(bound)
            }
            Err(_) => self.bind(name, preferred.ip(), None),
        }
    }

    /// Binds all sockets of a node but the given administration.
    pub fn bind_node(
        &mut self,
        node: u16,
        clients: IpAddr,
        admin: TcpListener,
    ) -> anyhow::Result<NodeSockets> {
        let loopback = Ipv4Addr::LOCALHOST.into();
        Ok(NodeSockets {
            raft: self.bind(&format!("n{node}.raft"), loopback, None)?,
            client: self.bind(&format!("n{node}.client"), clients, None)?,
            admin,
        })
    }

    /// Keeps the ports for the next start. A crash leaves the old file or the new one.
    pub fn save(&self) -> anyhow::Result<()> {
        let mut text =
            String::from("# Ports of this group. One that is taken at the next start is replaced.\n");
        for (name, port) in &self.kept {
            text.push_str(&format!("{name}={port}\n"));
        }
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).with_context(|| format!("{}", new.display()))?;
        std::fs::rename(&new, &self.path).with_context(|| format!("{}", self.path.display()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_port_is_taken_again_while_it_is_free_and_replaced_when_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut ports = Ports::open(folder.path(), 3).unwrap();
        let first = ports.bind("n0.raft", LOOPBACK, None).unwrap();
        let chosen = port(&first);
        ports.save().unwrap();

        let mut while_taken = Ports::open(folder.path(), 3).unwrap();
        assert_ne!(port(&while_taken.bind("n0.raft", LOOPBACK, None).unwrap()), chosen);
        drop(first);
        let mut again = Ports::open(folder.path(), 3).unwrap();
        assert_eq!(port(&again.bind("n0.raft", LOOPBACK, None).unwrap()), chosen);
    }

    #[test]
    fn a_preferred_port_gives_way_but_a_wanted_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut ports = Ports::open(folder.path(), 1).unwrap();
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        assert_ne!(ports.bind_preferring("namesrv", address).unwrap().local_addr().unwrap(), address);
        let error = ports.bind("namesrv", LOOPBACK, Some(address.port())).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        drop(taken);
        assert_eq!(ports.bind_preferring("namesrv", address).unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn another_number_of_nodes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Ports::open(folder.path(), 3).unwrap().save().unwrap();
        let error = Ports::open(folder.path(), 1).unwrap_err().to_string();
        assert!(error.contains("--nodes 3"), "{error}");
        assert!(Ports::open(folder.path(), 3).is_ok());
    }
}
