//! Passes on what apply reports to whom it concerns.
//!
//! While this replica leads: topics to the name servers, members to the notices. On every replica: settings to their watch, and
//! members that were dropped although they are connected here join again at once (FAILOVER.md 1).

use std::sync::Arc;

use tokio::sync::Notify;

use crate::group::Group;
use crate::group::machine::Change;
use crate::handlers::heartbeat::Joins;
use crate::news::News;
use crate::registration::Visibility;
use crate::sessions::Sessions;

/// Whom changes concern.
pub struct Changes {
    pub changes: Arc<News<Change>>,
    pub members: Arc<News<Arc<str>>>,
    pub settings: Arc<Notify>,
    pub visibility: Arc<Visibility>,
    pub group: Group,
    pub sessions: Arc<Sessions>,
    pub joins: Arc<Joins>,
}

impl Changes {
    /// Runs for ever.
    pub async fn pass_on(self) {
        loop {
            let batch = self.changes.take().await;
            let leads = self.group.leads();
            if batch.anything {
                self.anything(leads);
            }
            for change in batch.items {
                match change {
                    Change::Settings => self.settings.notify_one(),
                    Change::Dropped(group, client_id) => self.heal(group, &client_id),
                    Change::Topics | Change::Members(_) if !leads => {}
                    Change::Topics => self.visibility.wake(),
                    Change::Members(group) => self.members.tell(group),
                }
            }
        }
    }

    fn anything(&self, leads: bool) {
        self.settings.notify_one();
        if leads {
            self.visibility.wake();
            self.members.tell_anything();
        }
        for (group, client_id) in self.sessions.consumers() {
            self.heal(group, &client_id);
        }
    }

    fn heal(&self, group: Arc<str>, client_id: &str) {
        if let Some(member) = self.sessions.member(&group, client_id) {
            self.joins.ensure(group, member);
        }
    }
}
