//! GET_BROKER_HA_STATUS (907): how far each replica is, in the words of a master with slaves.

use std::collections::HashMap;
use std::sync::Arc;

use flotilla_raft_store::raft::Status;
use flotilla_remoting::bodies::{HaClientRuntimeInfo, HaConnectionInfo, HaStatus};
use tokio::runtime::Handle;

use super::respond::{Success, answer};
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::stats::Stats;

/// Serves 907 on any replica: each speaks of itself.
pub struct ReplicationHandler {
    pub group: Group,
    pub stats: Arc<Stats>,
    pub runtime: Handle,
    /// Raft addresses by peer index.
    pub peers: HashMap<u64, String>,
    pub self_index: u64,
}

impl Handler for ReplicationHandler {
    fn handle(&self, call: Call) {
        let status = self.group.status().borrow().clone();
        let (group, stats) = (self.group.clone(), self.stats.clone());
        let (peers, self_index) = (self.peers.clone(), self.self_index);
        self.runtime.spawn_blocking(move || {
            let status = match status.replication.is_empty() {
                true => of_follower(&group, &stats, &status, &peers),
                false => of_leader(&group, &stats, &status, &peers, self_index),
            };
            answer(call, Ok(Success::body(&status)));
        });
    }
}

/// A replica counts as in sync when it has everything that is committed.
fn of_leader(
    group: &Group,
    stats: &Stats,
    status: &Status,
    peers: &HashMap<u64, String>,
    own: u64,
) -> HaStatus {
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
            transferred_byte_in_second: position(stats.sent_per_second(progress.peer)),
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

/// LIMIT: when the leader was last read from or written to is not noted; tools show the times as those of 1970.
fn of_follower(group: &Group, stats: &Stats, status: &Status, peers: &HashMap<u64, String>) -> HaStatus {
    let log = group.replica().log();
    let leader = status.leader.and_then(|leader| peers.get(&leader).cloned());
    HaStatus {
        ha_client_runtime_info: HaClientRuntimeInfo {
            master_addr: leader,
            master_flush_offset: position(log.synced()),
            max_offset: position(log.bounds().1),
            transferred_byte_in_second: position(stats.appended_per_second()),
            ..HaClientRuntimeInfo::default()
        },
        ..HaStatus::default()
    }
}

fn position(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
