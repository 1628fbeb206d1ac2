//! Tells, in the log, of settings that are the group's: once at start which differ from this node's file, then each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::Settings as GroupSettings;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Settings, group_shown};
use crate::group::Group;

/// Pause between looks whether the group has its settings yet.
const LOOK: Duration = Duration::from_millis(100);

/// Watches the settings of the group.
pub struct SettingsWatch {
    pub group: Group,
    /// What this node was started with.
    pub own: Arc<Settings>,
    /// Rung when a change was applied.
    pub changed: Arc<Notify>,
}

impl SettingsWatch {
    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        while !self.has_settings() {
            self.group.changed(Instant::now() + LOOK).await;
        }
        let mut seen = self.now();
        for (key, value) in group_shown(&seen) {
            let own = self.own.get(key);
            if own.text != value {
                info!(
                    "{key}={value} is the group's setting and counts, not {}; change it with updateBrokerConfig",
                    own.named()
                );
            }
        }
        loop {
            self.changed.notified().await;
            let now = self.now();
            for ((key, before), (_, after)) in group_shown(&seen).zip(group_shown(&now)) {
                if before != after {
                    info!(key, %before, %after, "setting of the group changed");
                }
            }
            seen = now;
        }
    }

    fn now(&self) -> GroupSettings {
        self.group.tables().settings().clone()
    }

    /// True when the group has its names and this replica has applied what it knows to be committed.
    fn has_settings(&self) -> bool {
        let status = self.group.status().borrow().clone();
        let caught_up = status.committed.is_some_and(|committed| status.applied >= Some(committed));
        status.leader.is_some() && caught_up && self.group.tables().identity().is_some()
    }
}
