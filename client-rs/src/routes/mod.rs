//! Routes of the topics in use: learnt when first asked for, refreshed on a timer, and at once on the first sign that one
//! is out of date.
//!
//! ```text
//! unknown --get--> known --timer--> known
//!                    | suspect(address): asked again every 50 to 200 ms until the answer differs, at most 5 s
//!                    v
//!                 suspected --> known
//! ```
//! A route that names another leader than the one before makes the old one's address deposed (`deposed.rs`): all routes that it
//! leads are asked for at once, and what is outstanding there ends early (`vigil.rs`).
//!
//! Official clients look for a new route on a timer only, which is what makes a fail-over cost them up to 30 s.

mod deposed;
mod leaders;
mod topic_route;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flotilla_remoting::bodies::{self, TopicRouteData};
use flotilla_remoting::headers::GetRouteInfoRequest;
use flotilla_remoting::names::AUTO_CREATE_TOPIC;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use deposed::Deposed;
pub(crate) use deposed::Fall;
pub use topic_route::{LEADER, TopicRoute};

use crate::error::{ClientError, Result};
use crate::limits;
use crate::metrics::{Event, Metrics};
use crate::name_servers::NameServerList;
use crate::remote::{Remote, success};

/// The routes of a client; shared by clone.
#[derive(Clone)]
pub(crate) struct Routes {
    inner: Arc<Inner>,
}

struct Inner {
    remote: Remote,
    name_servers: NameServerList,
    topics: Mutex<HashMap<String, Arc<Entry>>>,
    metrics: Arc<dyn Metrics>,
    stop: CancellationToken,
    tracker: TaskTracker,
    /// Bounds the questions for suspected routes.
    suspecting: Semaphore,
    deposed: Deposed,
}

struct Entry {
    route: watch::Sender<Option<Arc<TopicRoute>>>,
    /// Whether a task is looking for a new route.
    suspected: AtomicBool,
    /// Since when the route is suspected of being out of date; the new one is told of once, whoever learns it.
    doubted: Mutex<Option<Instant>>,
    /// Held over the first request, so that many callers make one.
    first: tokio::sync::Mutex<()>,
}

impl Routes {
    pub(crate) fn new(
        remote: Remote,
        name_servers: NameServerList,
        metrics: Arc<dyn Metrics>,
        stop: CancellationToken,
        tracker: TaskTracker,
    ) -> Routes {
        let inner = Inner {
            remote,
            name_servers,
            topics: Mutex::default(),
            metrics,
            stop,
            tracker,
            suspecting: Semaphore::new(limits::SUSPECTS_AT_ONCE),
            deposed: Deposed::default(),
        };
        Routes { inner: Arc::new(inner) }
    }

    /// The route that is known, or the name servers' answer. Safe to drop.
    ///
    /// # Errors
    /// `NoRoute` when no broker has the topic; what kept the name servers from answering.
    pub(crate) async fn get(&self, topic: &str) -> Result<Arc<TopicRoute>> {
        let entry = self.entry(topic);
        if let Some(route) = entry.known() {
            return Ok(route);
        }
        let _first = entry.first.lock().await;
        if let Some(route) = entry.known() {
            return Ok(route);
        }
        self.refresh(topic).await
    }

    /// [`Routes::get`] for a producer: a topic that does not exist yet gets the route of the template that brokers create
    /// topics from, with at most `queue_count` queues a broker.
    ///
    /// # Errors
    /// As [`Routes::get`], and `NoRoute` only when brokers create no topics either.
    pub(crate) async fn get_or_template(&self, topic: &str, queue_count: i32) -> Result<Arc<TopicRoute>> {
        match self.get(topic).await {
            Err(ClientError::NoRoute { topic, reason }) => {
                let template = match self.fetch(AUTO_CREATE_TOPIC).await {
                    Ok(template) => template,
                    Err(ClientError::NoRoute { .. }) => return Err(ClientError::NoRoute { topic, reason }),
                    Err(error) => return Err(error),
                };
                // Kept, so that its brokers get heartbeats before anything is sent to them.
                self.keep(AUTO_CREATE_TOPIC, template.clone());
                let route = TopicRoute::from_template(&topic, template, queue_count);
                if route.write_queues().is_empty() {
                    return Err(ClientError::NoRoute { topic, reason });
                }
                // Not kept: the topic's own route counts as soon as it exists.
                Ok(Arc::new(route))
            }
            other => other,
        }
    }

    /// The name servers' answer as it is, which is not kept: for tools that look at many topics once.
    ///
    /// # Errors
    /// As [`Routes::get`].
    pub(crate) async fn look(&self, topic: &str) -> Result<TopicRouteData> {
        self.fetch(topic).await
    }

    /// The route if it is known.
    pub(crate) fn known(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.inner.topics.lock().get(topic)?.known()
    }

    /// Tells every new route of a topic; `None` until the first.
    pub(crate) fn watch(&self, topic: &str) -> watch::Receiver<Option<Arc<TopicRoute>>> {
        self.entry(topic).route.subscribe()
    }

    /// Asks the name servers and keeps the answer. Safe to drop.
    ///
    /// # Errors
    /// As [`Routes::get`]; the old route stays.
    pub(crate) async fn refresh(&self, topic: &str) -> Result<Arc<TopicRoute>> {
        let data = self.fetch(topic).await?;
        Ok(self.keep(topic, data))
    }

    /// Takes a name server's answer for the route of a topic.
    pub(crate) fn keep(&self, topic: &str, data: TopicRouteData) -> Arc<TopicRoute> {
        let route = Arc::new(TopicRoute::new(topic, data));
        let entry = self.entry(topic);
        let mut old = None;
        let changed = entry.route.send_if_modified(|known| {
            let differs = known.as_deref() != Some(&*route);
            if differs {
                old = known.replace(route.clone());
            }
            differs
        });
        if changed {
            debug!(topic, ?route, "route learnt");
        }
        if changed && old.is_none() {
            self.inner.deposed.begin(&route);
        }
        if let Some(old) = old {
            if let Some(since) = entry.trust() {
                let took = since.elapsed();
                info!(topic, ?took, "new route found");
                self.inner.metrics.event(Event::RouteChanged { topic, took });
            }
            for address in self.inner.deposed.note(&old, &route) {
                info!(topic, address, "another leads by now");
                self.refresh_led_by(&address);
            }
        }
        route
    }

    /// Something at `address` failed in a way that a stale route would explain: routes that name it are asked for again at
    /// once, until they change. Returns at once.
    pub(crate) fn suspect(&self, address: &str, why: &ClientError) {
        // Routes that name another leader already are newer than what failed.
        let is_deposed = self.inner.deposed.loss(address).is_some();
        let names = |route: &TopicRoute| {
            if is_deposed { route.is_led_by(address) } else { route.addresses().any(|a| a == address) }
        };
        let suspects: Vec<(String, Arc<Entry>)> = {
            let topics = self.inner.topics.lock();
            // Every request that fails comes here: those that are looked for already cost no more than a glance.
            let is_new = |entry: &Entry| {
                !entry.suspected.load(Ordering::Acquire)
                    && entry.known().is_some_and(|route| names(&route))
                    && !entry.suspected.swap(true, Ordering::AcqRel)
            };
            topics.iter().filter(|(_, entry)| is_new(entry)).map(|(t, e)| (t.clone(), e.clone())).collect()
        };
        for (topic, entry) in suspects {
            info!(topic, address, %why, "route suspected of being out of date");
            entry.doubt(Instant::now());
            let routes = self.clone();
            let stop = self.inner.stop.clone();
            self.inner.tracker.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = routes.look_for_change(&topic, &entry) => {}
                }
                entry.trust();
                entry.suspected.store(false, Ordering::Release);
            });
        }
    }

    async fn look_for_change(&self, topic: &str, entry: &Entry) {
        let began = Instant::now();
        let old = entry.known();
        let mut pause = limits::SUSPECT_PAUSE_MIN;
        while began.elapsed() < limits::SUSPECT_FOR {
            let turn = self.inner.suspecting.acquire().await;
            let found = self.refresh(topic).await;
            drop(turn);
            match found {
                Ok(new) if old.as_deref() != Some(&*new) => return,
                Ok(_) => {}
                Err(error) => debug!(topic, %error, "no route"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(limits::SUSPECT_PAUSE_MAX);
        }
    }

    /// Refreshes all known routes for ever, every `period`.
    pub(crate) async fn keep_fresh(&self, period: Duration) {
        loop {
            sleep(period).await;
            self.inner.name_servers.refresh().await;
            let topics: Vec<String> = self.inner.topics.lock().keys().cloned().collect();
            for topic in topics {
                match self.refresh(&topic).await {
                    Ok(_) => {}
                    Err(ClientError::NoRoute { reason, .. }) => {
                        debug!(topic, reason, "topic has no route; what was known stays");
                    }
                    Err(error) => warn!(topic, %error, "route not refreshed"),
                }
            }
        }
    }

    /// Every broker address of the known routes, by broker name and id.
    pub(crate) fn brokers(&self) -> Vec<(String, i64, String)> {
        let topics = self.inner.topics.lock();
        let mut brokers: Vec<(String, i64, String)> = Vec::new();
        for route in topics.values().filter_map(|entry| entry.known()) {
            for (name, broker) in route.brokers() {
                brokers.extend(broker.broker_addrs.iter().map(|(id, at)| (name.clone(), *id, at.clone())));
            }
        }
        brokers.sort();
        brokers.dedup();
        brokers
    }

    /// Asks the name servers in turn, the preferred one first. Safe to drop: one that has not answered by then is not asked
    /// first again.
    ///
    /// # Errors
    /// The last one's failure; `Busy` and `Invalid` at once.
    pub(crate) async fn ask_name_server(
        &self,
        code: RequestCode,
        ext: ExtFields,
        body: Bytes,
    ) -> Result<(String, flotilla_remoting::Frame)> {
        let addresses = self.inner.name_servers.addresses().await?;
        let limit = self.inner.remote.call_timeout();
        let last = addresses.len().saturating_sub(1);
        let mut failure =
            ClientError::NoRoute { topic: "name servers".into(), reason: "none is known".into() };
        for (number, address) in addresses.into_iter().enumerate() {
            let limit = if number < last { limit.min(limits::NAME_SERVER_PATIENCE) } else { limit };
            let avoid = Avoid { list: &self.inner.name_servers, address: &address };
            match self.inner.remote.ask(&address, code, ext.clone(), body.clone(), limit).await {
                Ok(frame) => {
                    avoid.never();
                    return Ok((address, frame));
                }
                // Not the name server's doing.
                Err(error @ (ClientError::Busy(_) | ClientError::Invalid(_))) => {
                    avoid.never();
                    return Err(error);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Addresses of the name servers, for calls that all of them must get.
    pub(crate) async fn name_server_addresses(&self) -> Result<Vec<String>> {
        self.inner.name_servers.addresses().await
    }

    async fn fetch(&self, topic: &str) -> Result<TopicRouteData> {
        let header = GetRouteInfoRequest { topic, accept_standard_json_only: true };
        let (address, frame) =
            self.ask_name_server(RequestCode::GetRouteInfoByTopic, header.encode(), Bytes::new()).await?;
        if frame.header.response_code() == ResponseCode::TopicNotExist {
            let reason = frame.header.remark.unwrap_or_default();
            return Err(ClientError::NoRoute { topic: topic.to_owned(), reason });
        }
        let frame = success(&address, frame)?;
        bodies::decode(&frame.body).map_err(|error| ClientError::malformed(&address, error))
    }

    fn entry(&self, topic: &str) -> Arc<Entry> {
        let mut topics = self.inner.topics.lock();
        if let Some(entry) = topics.get(topic) {
            return entry.clone();
        }
        if topics.len() >= limits::ROUTES_MAX {
            // Those that nobody watches are learnt again when they are needed.
            topics.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.route.receiver_count() > 0);
        }
        topics.entry(topic.to_owned()).or_default().clone()
    }
}

/// A question to a name server. Dropped before the answer, others are asked first from then on: whoever asked may have had no
/// more time than a silent name server takes away.
struct Avoid<'a> {
    list: &'a NameServerList,
    address: &'a str,
}

impl Avoid<'_> {
    /// It has answered.
    fn never(self) {
        std::mem::forget(self);
    }
}

impl Drop for Avoid<'_> {
    fn drop(&mut self) {
        self.list.avoid(self.address);
    }
}

impl Default for Entry {
    fn default() -> Self {
        Entry {
            route: watch::Sender::new(None),
            suspected: AtomicBool::new(false),
            doubted: Mutex::default(),
            first: tokio::sync::Mutex::default(),
        }
    }
}

impl Entry {
    fn known(&self) -> Option<Arc<TopicRoute>> {
        self.route.borrow().clone()
    }

    /// Notes that the route is suspected; claims that it was not before.
    fn doubt(&self, since: Instant) -> bool {
        let mut doubted = self.doubted.lock();
        let is_new = doubted.is_none();
        doubted.get_or_insert(since);
        is_new
    }

    /// Ends a suspicion; tells since when it was.
    fn trust(&self) -> Option<Instant> {
        self.doubted.lock().take()
    }
}
