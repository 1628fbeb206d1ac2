//! The leader takes members out of their groups when no replica holds a connection of them any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{Command, LeaveReason};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::reports::Reports;
use crate::group::Group;
use crate::party::{Party, Standing};
use crate::sessions::Sessions;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What the duty needs.
pub struct MemberDuty<P = Group> {
    pub group: P,
    pub reports: Arc<Reports>,
    pub sessions: Arc<Sessions>,
    pub self_index: u64,
    pub peers: Vec<u64>,
}

impl<P: Party> MemberDuty<P> {
    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.sessions.watch();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            match self.group.standing() {
                Standing::Leading { term } => self.look(term).await,
                Standing::Following { .. } => self.reports.deposed(),
                Standing::Unsettled => {}
            }
        }
    }

    async fn look(&self, term: u64) {
        let all: Vec<_> = {
            let tables = self.group.tables();
            let groups = tables.groups_with_members().into_iter();
            groups
                .flat_map(|(group, members)| members.client_ids().map(|id| (group.clone(), id.clone())))
                .collect()
        };
        let own = (self.self_index, self.sessions.consumers());
        for (group, client_id) in self.reports.gone(term, own, all, &self.peers, Instant::now()) {
            // Each proposal takes its time, in which a later one of the list may have come back.
            let back = self.sessions.consumer(&group, &client_id).is_some()
                || !self.reports.holders(&group, &client_id).is_empty();
            if back {
                continue;
            }
            info!(group = %group, client = %client_id, "consumer has left: no replica holds a connection of it");
            let command = Command::Leave { group, client_id, reason: LeaveReason::ChannelsClosed };
            // In this term or never: the next leader knows whom it holds itself, and who has reported to it. What fails here is seen
            // as missing again at the next look.
            let proposed = self.group.propose_in(term, command);
            let _ = tokio::time::timeout(LOOK_INTERVAL, proposed).await;
        }
    }
}
