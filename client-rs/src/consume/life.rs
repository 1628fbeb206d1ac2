//! The life of a consumer, from its start to its farewell.
//!
//! ```text
//! prepare --joined--> begin, rounds of the balancer --stop--> farewell
//!        \--failed-------------------------------------------> farewell, then the failure is told
//! ```
//! One task lives it, so that a start that nobody waits for any more, and a handle that is dropped, end as they should.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::balance::{Balancer, Holder};
use super::calls::Calls;
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::members::ConsumerMember;

/// A consumer.
pub(crate) trait Life: ConsumerMember + Holder {
    fn calls(&self) -> &Calls;
    fn balancer(&self) -> &Balancer;
    /// Wants the end.
    fn stop(&self) -> &CancellationToken;
    /// Notes the end.
    fn stopped(&self) -> &CancellationToken;
    fn tracker(&self) -> &TaskTracker;
    /// Learns what is needed and joins the group. May be dropped half-way.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;
    /// Begins the tasks of one that has joined.
    fn begin(self: &Arc<Self>);
    /// Ends what was begun, and leaves the group.
    fn farewell(&self) -> impl Future<Output = ()> + Send;
}

/// Starts a consumer; returns when it has joined its group, or when a failed start has left nothing behind.
///
/// # Errors
/// `Invalid` when the client has the group already; why the consumer could not join.
///
/// # Cancellation
/// Dropped half-way, the consumer is stopped in the background.
pub(crate) async fn start<C: Life>(client: Client, consumer: &Arc<C>) -> Result<()> {
    let member: Arc<dyn ConsumerMember> = consumer.clone();
    client.inner.members.add_consumer(&consumer.calls().group, &member)?;
    let given_up = consumer.stop().clone().drop_guard();
    let (report, joined) = oneshot::channel();
    consumer.tracker().spawn(live(consumer.clone(), client, report));
    joined.await.unwrap_or(Err(ClientError::Stopped))?;
    given_up.disarm();
    Ok(())
}

async fn live<C: Life>(consumer: Arc<C>, client: Client, report: oneshot::Sender<Result<()>>) {
    let joined = tokio::select! {
        () = consumer.stop().cancelled() => Err(ClientError::Stopped),
        joined = consumer.prepare() => joined,
    };
    let failed = match joined {
        Ok(()) => {
            if report.send(Ok(())).is_ok() {
                let Calls { group, client } = consumer.calls();
                info!(%group, client = %client.client_id, "consumer started");
                consumer.begin();
                tokio::select! {
                    () = consumer.stop().cancelled() => {}
                    () = consumer.balancer().run(&*consumer) => {}
                }
            }
            None
        }
        Err(error) => Some((report, error)),
    };
    consumer.stop().cancel();
    consumer.farewell().await;
    info!(group = %consumer.calls().group, "consumer stopped");
    consumer.stopped().cancel();
    if let Some((report, error)) = failed {
        // Last: whoever hears of it may try again at once, and finds the group free.
        let _ = report.send(Err(error));
    }
    drop(client);
}
