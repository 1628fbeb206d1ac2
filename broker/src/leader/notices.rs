//! NOTIFY_CONSUMER_IDS_CHANGED (40): the leader tells the members of a group that its membership has changed, after the
//! change is applied, at most once per group in [`NOTICE_INTERVAL`], through whichever replica holds each member's
//! connection (FAILOVER.md 14).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use flotilla_core::MessageModel;
use flotilla_remoting::code::RequestCode;
use flotilla_remoting::ext::ExtFields;
use flotilla_remoting::frame::Frame;
use tokio::task::JoinSet;

use super::tell::Tell;
use crate::group::Group;
use crate::limits::NOTICE_INTERVAL;
use crate::news::News;

/// Sends the notices.
pub struct Notices {
    pub group: Group,
    pub tell: Arc<Tell>,
}

impl Notices {
    /// Runs for ever. Dropped, it gives up the requests under way.
    pub async fn run(self, changed: Arc<News<Arc<str>>>) {
        // Group -> when its next notice is due. Entries leave when their interval is over.
        let mut due: HashMap<Arc<str>, (Instant, bool)> = HashMap::new();
        let mut under_way = JoinSet::new();
        loop {
            let next = due.values().map(|(at, _)| *at).min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(_) = under_way.join_next() => {}
                batch = changed.take() => {
                    let groups = if batch.anything { self.all_groups() } else { batch.items };
                    for group in groups {
                        match due.get_mut(&group) {
                            Some((_, again)) => *again = true,
                            None => {
                                self.notify(&group, &mut under_way);
                                due.insert(group, (Instant::now() + NOTICE_INTERVAL, false));
                            }
                        }
                    }
                }
                () = timer => {
                    let now = Instant::now();
                    let ready: Vec<Arc<str>> =
                        due.iter().filter(|(_, (at, _))| *at <= now).map(|(group, _)| group.clone()).collect();
                    for group in ready {
                        if due.remove(&group).is_some_and(|(_, again)| again) {
                            self.notify(&group, &mut under_way);
                            due.insert(group, (Instant::now() + NOTICE_INTERVAL, false));
                        }
                    }
                }
            }
        }
    }

    fn all_groups(&self) -> HashSet<Arc<str>> {
        let tables = self.group.tables();
        tables.groups_with_members().into_iter().map(|(group, _)| group.clone()).collect()
    }

    /// Tells the members here at once, and those elsewhere in one request to each replica that holds some: nobody waits
    /// for a replica that hangs. A group's next notice comes no earlier than this one's requests end, so that no replica has
    /// two of the same group under way.
    fn notify(&self, group: &Arc<str>, under_way: &mut JoinSet<()>) {
        if !self.group.leads() {
            return;
        }
        let members: Vec<Arc<str>> = {
            let tables = self.group.tables();
            let wanted = tables.group(group).is_none_or(|config| config.notify_consumer_ids_changed_enable);
            if !wanted {
                return;
            }
            match tables.members(group) {
                // Each member of a broadcasting group reads all queues whoever else is there: there is nothing to divide anew.
                // Source: ConsumerManager.registerConsumer 5.3.3.
                Some(members) if members.message_model() != Some(MessageModel::Broadcasting) => {
                    members.client_ids().cloned().collect()
                }
                Some(_) | None => return,
            }
        };
        let mut ext = ExtFields::default();
        ext.insert("consumerGroup", group);
        let frame = Frame::request(RequestCode::NotifyConsumerIdsChanged, ext, bytes::Bytes::new());
        // Losing a notice costs a client a wait until its own rebalance, every 20 s.
        for telling in self.tell.members(group, members, &frame, NOTICE_INTERVAL) {
            under_way.spawn(telling);
        }
    }
}
