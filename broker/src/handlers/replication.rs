//! GET_BROKER_HA_STATUS (907): how far each replica is, in the words of a master with slaves.

use std::collections::HashMap;

use flotilla_raft_store::raft::Status;
use flotilla_remoting::bodies::{HaClientRuntimeInfo, HaConnectionInfo, HaStatus};
use tokio::runtime::Handle;

use super::respond::{Success, answer};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;

/// Serves 907 on any replica: each speaks of itself.
pub struct ReplicationHandler {
    pub group: Group,
    pub runtime: Handle,
    /// Raft addresses by peer index.
    pub peers: HashMap<u64, String>,
    pub self_index: u64,
}

impl Handler for ReplicationHandler {
    fn handle(&self, call: Call) {
        let status = self.group.status().borrow().clone();
        let (group, peers, self_index) = (self.group.clone(), self.peers.clone(), self.self_index);
        self.runtime.spawn_blocking(move || {
            let status = match status.replication.is_empty() {
                true => of_follower(&group, &status, &peers),
                false => of_leader(&group, &status, &peers, self_index),
            };
            answer(call, Ok(Success::body(&status)));
        });
    }
}

/// A replica counts as in sync when it has everything that is committed.
/// LIMIT: bytes per second are not measured per replica and shown as 0.
fn of_leader(group: &Group, status: &Status, peers: &HashMap<u64, String>, own: u64) -> HaStatus {
    let log = group.replica().log();
    let end = position(log.bounds().1);
    let others = status.replication.iter().filter(|progress| progress.peer != own);
    let connections = others.map(|progress| {
        let point = progress.matched.and_then(|index| log.point(index).ok());
        let acknowledged = point.map_or(0, |point| position(point.end));
        HaConnectionInfo {
            addr: peers.get(&progress.peer).cloned().unwrap_or_default(),
            diff: (end - acknowledged).max(0),
            in_sync: progress.matched >= status.committed,
            slave_ack_offset: acknowledged,
            transfer_from_where: acknowledged,
            transferred_byte_in_second: 0,
        }
    });
    let connections: Vec<HaConnectionInfo> = connections.collect();
    HaStatus {
        in_sync_slave_nums: i32::try_from(connections.iter().filter(|copy| copy.in_sync).count())
            .unwrap_or(i32::MAX),
        ha_connection_info: connections,
        master: true,
        master_commit_log_max_offset: end,
        ..HaStatus::default()
    }
}

fn of_follower(group: &Group, status: &Status, peers: &HashMap<u64, String>) -> HaStatus {
    let log = group.replica().log();
    let leader = status.leader.and_then(|leader| peers.get(&leader).cloned());
    HaStatus {
        ha_client_runtime_info: HaClientRuntimeInfo {
            master_addr: leader,
            master_flush_offset: position(log.synced()),
            max_offset: position(log.bounds().1),
            ..HaClientRuntimeInfo::default()
        },
        ..HaStatus::default()
    }
}

fn position(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
