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
use super::offsets::Offsets;
use super::settings::Common;
use super::stats::Stats;
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::members::ConsumerMember;
use crate::unique_id::now_ms;

/// What every consumer has.
pub(crate) struct Member {
    pub(crate) calls: Calls,
    pub(crate) offsets: Offsets,
    pub(crate) balancer: Arc<Balancer>,
    /// Held while offsets are stored, so that an older one never overtakes a newer one.
    pub(crate) storing: tokio::sync::Mutex<()>,
    pub(crate) stats: Stats,
    pub(crate) started_ms: i64,
    /// Wants the end.
    pub(crate) stop: CancellationToken,
    /// Notes the end.
    pub(crate) stopped: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Member {
    /// Does not join the group yet.
    ///
    /// # Errors
    /// `Invalid` when the file of a broadcasting consumer's offsets can't be used.
    pub(crate) fn open(client: &Client, settings: &Common) -> Result<Member> {
        let calls = Calls { client: client.inner.clone(), group: settings.group.as_str().into() };
        let (model, strategy) = (settings.model, settings.strategy.clone());
        Ok(Member {
            offsets: Offsets::open(calls.clone(), model, settings.offsets_folder.as_deref())?,
            balancer: Arc::new(Balancer::new(calls.clone(), model, strategy)),
            calls,
            storing: tokio::sync::Mutex::default(),
            stats: Stats::default(),
            started_ms: now_ms(),
            stop: client.inner.stop.child_token(),
            stopped: CancellationToken::new(),
            tracker: TaskTracker::new(),
        })
    }
}

/// The group's name at the client; given free when dropped.
struct Name<'a>(&'a Calls);

impl Drop for Name<'_> {
    fn drop(&mut self) {
        self.0.client.members.remove_consumer(&self.0.group);
    }
}

/// A consumer.
pub(crate) trait Life: ConsumerMember + Holder {
    fn member(&self) -> &Member;
    /// Learns what is needed and joins the group. May be dropped half-way.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;
    /// Begins the tasks of one that has joined.
    fn begin(self: &Arc<Self>);
    /// Ends what was begun; the consumer leaves its group afterwards.
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
    let Member { calls, stop, tracker, .. } = consumer.member();
    client.inner.members.add_consumer(&calls.group, &member)?;
    let given_up = stop.clone().drop_guard();
    let (report, joined) = oneshot::channel();
    tracker.spawn(live(consumer.clone(), client, report));
    joined.await.unwrap_or(Err(ClientError::Stopped))?;
    given_up.disarm();
    Ok(())
}

async fn live<C: Life>(consumer: Arc<C>, client: Client, report: oneshot::Sender<Result<()>>) {
    let Member { calls, balancer, stop, stopped, .. } = consumer.member();
    let Calls { group, client: inner } = calls;
    // A panic of whom the consumer calls, such as a strategy, ends it too; dropped in reverse order.
    let (_stopped, _stop) = (stopped.clone().drop_guard(), stop.clone().drop_guard());
    let name = Name(calls);
    let joined = tokio::select! {
        () = stop.cancelled() => Err(ClientError::Stopped),
        joined = consumer.prepare() => joined,
    };
    let failed = match joined {
        Ok(()) => {
            if report.send(Ok(())).is_ok() {
                info!(%group, client = %inner.client_id, "consumer started");
                consumer.begin();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = balancer.run(&*consumer) => {}
                }
            }
            None
        }
        Err(error) => Some((report, error)),
    };
    stop.cancel();
    consumer.farewell().await;
    inner.leave(None, Some(group), name).await;
    info!(%group, "consumer stopped");
    stopped.cancel();
    if let Some((report, error)) = failed {
        // Last: whoever hears of it may try again at once, and finds the group free.
        let _ = report.send(Err(error));
    }
    drop(client);
}
