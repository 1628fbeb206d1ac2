//! NOTIFY_CONSUMER_IDS_CHANGED (40): the leader tells the members of a group that its membership has changed, after the
//! change is applied, at most once per group in [`NOTICE_INTERVAL`], through whichever replica holds each member's
//! connection (FAILOVER.md 14).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_remoting::code::RequestCode;
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::Frame;
use tokio::sync::mpsc;
use tracing::debug;

use super::reports::Reports;
use crate::group::Group;
use crate::limits::NOTICE_INTERVAL;
use crate::peers::links::Links;
use crate::peers::wire;
use crate::sessions::Sessions;

/// Sends the notices.
pub struct Notices {
    pub group: Group,
    pub sessions: Arc<Sessions>,
    pub reports: Arc<Reports>,
    pub links: Arc<Links>,
}

impl Notices {
    /// Runs until the channel of changed groups closes.
    pub async fn run(self, mut changed: mpsc::UnboundedReceiver<Arc<str>>) {
        // Group -> when its next notice is due. Entries leave when their interval is over.
        let mut due: HashMap<Arc<str>, (Instant, bool)> = HashMap::new();
        loop {
            let next = due.values().map(|(at, _)| *at).min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                group = changed.recv() => {
                    let Some(group) = group else { return };
                    match due.get_mut(&group) {
                        Some((_, again)) => *again = true,
                        None => {
                            self.notify(&group).await;
                            due.insert(group, (Instant::now() + NOTICE_INTERVAL, false));
                        }
                    }
                }
                () = timer => {
                    let now = Instant::now();
                    let ready: Vec<Arc<str>> =
                        due.iter().filter(|(_, (at, _))| *at <= now).map(|(group, _)| group.clone()).collect();
                    for group in ready {
                        if due.remove(&group).is_some_and(|(_, again)| again) {
                            self.notify(&group).await;
                            due.insert(group, (Instant::now() + NOTICE_INTERVAL, false));
                        }
                    }
                }
            }
        }
    }

    async fn notify(&self, group: &Arc<str>) {
        if !self.group.leads() {
            return;
        }
        let members: Vec<Arc<str>> = {
            let tables = self.group.tables();
            let wanted = tables.group(group).is_none_or(|config| config.notify_consumer_ids_changed_enable);
            if !wanted {
                return;
            }
            tables.members(group).map(|members| members.client_ids().cloned().collect()).unwrap_or_default()
        };
        for client_id in members {
            let mut ext = ExtFields::default();
            ext.insert("consumerGroup", group);
            let frame = Frame::request(RequestCode::NotifyConsumerIdsChanged, ext, bytes::Bytes::new());
            if let Some(connection) = self.sessions.consumer(group, &client_id) {
                // Losing a notice costs the client a wait until its own rebalance, every 20 s.
                let _ = connection.oneway(frame);
                continue;
            }
            let holder = self.reports.holders(group, &client_id).first().copied();
            let Some(holder) = holder else {
                debug!(group = %group, client = %client_id, "no replica holds the member's connection, not notified");
                continue;
            };
            let _ =
                self.links.tell(holder, wire::deliver(&client_id, &frame), Duration::from_millis(500)).await;
        }
    }
}
