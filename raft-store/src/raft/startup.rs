//! What is looked at before a replica runs: its settings, its port, and who it is.

use std::io;

use openraft::{Config, SnapshotPolicy};
use rand::Rng;
use tracing::warn;

use super::options::ReplicaOptions;
use super::replica::StartError;
use crate::identity::Identity;
use crate::log::{Recovered, RecoveredVote};
use crate::net::{Listener, Network};
use crate::vfs::Vfs;

pub(crate) fn config(options: &ReplicaOptions) -> Result<Config, StartError> {
    let config = Config {
        cluster_name: options.group.clone(),
        heartbeat_interval: options.heartbeat_ms,
        election_timeout_min: options.election_ms.0,
        election_timeout_max: options.election_ms.1,
        // Requests are bounded in bytes by the reader; this only keeps counts of tiny records sane.
        max_payload_entries: 4096,
        max_append_entries: Some(4096),
        api_batch_capacity: 4096,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 120_000,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|error| StartError::Options(error.to_string()))
}

pub(crate) fn check(options: &ReplicaOptions) -> Result<(), StartError> {
    let refuse = |reason: String| Err(StartError::Options(reason));
    if !options.peers.iter().any(|peer| peer.index == options.self_index) {
        return refuse(format!("n{} is not one of the peers", options.self_index));
    }
    if options.window == 0 || options.append_bytes_max == 0 {
        return refuse("the append window and its bytes must not be zero".into());
    }
    Ok(())
}

/// The node's identity: the stored one unless the folder shows that the node's memory is lost.
pub(crate) fn identity(
    vfs: &dyn Vfs,
    options: &ReplicaOptions,
    recovered: &Recovered,
) -> Result<Identity, StartError> {
    let fresh = || Identity::new(&options.cluster, &options.group, options.self_index, rand::rng().random());
    let stored = Identity::load(vfs, &options.dir)?;
    let identity = match stored {
        Some(identity) => {
            if (identity.cluster.as_str(), identity.group.as_str()) != (&options.cluster, &options.group) {
                return Err(StartError::Options(format!(
                    "{} belongs to group {} of cluster {}",
                    options.dir.display(),
                    identity.group,
                    identity.cluster
                )));
            }
            if identity.node.peer_index() != options.self_index {
                return Err(StartError::Options(format!(
                    "{} belongs to n{}",
                    options.dir.display(),
                    identity.node.peer_index()
                )));
            }
            let lost = match recovered.vote {
                RecoveredVote::Lost => Some("its vote is lost"),
                // With its first entry and no vote yet the node was stopped twice while it formed the group.
                RecoveredVote::Never if identity.formed && recovered.last.is_none() => {
                    Some("its log is gone")
                }
                RecoveredVote::Never | RecoveredVote::Saved(_) => None,
            };
            match lost {
                None => return Ok(identity),
                Some(reason) => {
                    let fresh = fresh();
                    warn!(old = %identity.node, new = %fresh.node, reason, "the node comes back under a new id");
                    fresh
                }
            }
        }
        None => fresh(),
    };
    identity.store(vfs, &options.dir)?;
    Ok(identity)
}

pub(crate) fn listen(options: &ReplicaOptions) -> Result<Listener, StartError> {
    let own = options.peers.iter().find(|peer| peer.index == options.self_index);
    let (address, bound) = match (&options.network, &options.listener, &options.listen, own) {
        (Network::Tcp, Some(listener), _, _) => {
            ("the given port".to_owned(), listener.try_clone().and_then(on_port))
        }
        (network, _, Some(address), _) => (address.clone(), bind(network, address)),
        (network, _, None, Some(peer)) => (peer.address(), bind(network, &peer.address())),
        (_, _, None, None) => {
            return Err(StartError::Options("this node is not one of the peers".into()));
        }
    };
    bound.map_err(|source| StartError::Bind { address, source })
}

fn bind(network: &Network, address: &str) -> io::Result<Listener> {
    match network {
        Network::Tcp => std::net::TcpListener::bind(address).and_then(on_port),
        Network::Other(net) => net.listen(address).map(Listener::Other),
    }
}

fn on_port(listener: std::net::TcpListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::peers::Peer;
    use crate::types::LogId;
    use crate::vfs::MemVfs;

    fn options() -> ReplicaOptions {
        let peer = Peer { index: 3, host: "h".into(), port: 1 };
        ReplicaOptions::new("/node", "c", "g", vec![peer], 3)
    }

    fn recovered(vote: RecoveredVote, last: Option<LogId>) -> Recovered {
        Recovered {
            blank: false,
            last,
            purged: None,
            committed: None,
            vote,
            checkpoint: None,
            snapshot: None,
            torn_tail: None,
            quarantined: false,
        }
    }

    /// Forming writes the first entry before the first vote; a node that is stopped in between, once before and once
    /// after it noted that the group exists, is still the one that the others have promised to.
    #[test]
    fn a_node_stopped_twice_while_forming_keeps_its_id() {
        let vfs = MemVfs::new();
        vfs.create_dir_all(&options().dir).unwrap();
        let blank = recovered(RecoveredVote::Never, None);
        let first = identity(&vfs, &options(), &blank).unwrap();
        let entry_0 = recovered(RecoveredVote::Never, Some(LogId::new(0, 0)));
        assert_eq!(identity(&vfs, &options(), &entry_0).unwrap().node, first.node);
        Identity { formed: true, ..first.clone() }.store(&vfs, &options().dir).unwrap();
        assert_eq!(identity(&vfs, &options(), &entry_0).unwrap().node, first.node);
        assert_ne!(
            identity(&vfs, &options(), &blank).unwrap().node,
            first.node,
            "a wiped log is another node"
        );
        let lost = recovered(RecoveredVote::Lost, Some(LogId::new(0, 0)));
        let second = identity(&vfs, &options(), &blank).unwrap();
        assert_ne!(identity(&vfs, &options(), &lost).unwrap().node, second.node, "so is a lost vote");
    }
}
