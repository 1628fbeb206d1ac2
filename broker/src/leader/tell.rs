//! One-way frames to members of a group, wherever they are connected (FAILOVER.md 13).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::frame::Frame;
use tracing::debug;

use super::reports::Reports;
use crate::peers::links::Links;
use crate::peers::wire;
use crate::sessions::Sessions;

/// Tells members. For the leader, who knows where they are.
pub struct Tell {
    pub sessions: Arc<Sessions>,
    pub reports: Arc<Reports>,
    pub links: Arc<Links>,
}

impl Tell {
    /// Sends the frame to the members here, and gives what is left to do: one request to each replica that holds some of the
    /// others, so that nobody waits for one that hangs.
    pub fn members(
        &self,
        group: &Arc<str>,
        client_ids: Vec<Arc<str>>,
        frame: &Frame,
        limit: Duration,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let mut elsewhere: HashMap<u64, Vec<Arc<str>>> = HashMap::new();
        for client_id in client_ids {
            if let Some(connection) = self.sessions.consumer(group, &client_id) {
                // A failure means that the connection has just ended.
                let _ = connection.oneway(frame.clone());
                continue;
            }
            match self.reports.holders(group, &client_id).first() {
                Some(holder) => elsewhere.entry(*holder).or_default().push(client_id),
                None => {
                    debug!(group = %group, client = %client_id, "no replica holds the member's connection, not told");
                }
            }
        }
        let telling = elsewhere.into_iter().map(|(holder, client_ids)| {
            let (links, delivery) = (self.links.clone(), wire::deliver(&client_ids, frame));
            async move {
                let _ = links.tell(holder, delivery, limit).await;
            }
        });
        telling.collect()
    }
}
