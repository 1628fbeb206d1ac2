//! Who leads, as far as the known routes tell, and who did: asked about addresses, not topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tracing::debug;

use super::Routes;
use super::deposed::Fall;
use crate::limits;

impl Routes {
    /// Address of a broker name's leader, by any route that names it.
    pub(crate) fn leader(&self, broker_name: &str) -> Option<String> {
        let topics = self.inner.topics.lock();
        topics.values().find_map(|entry| entry.known()?.leader(broker_name).map(str::to_owned))
    }

    /// A topic with queues that this address leads.
    pub(crate) fn topic_led_by(&self, address: &str) -> Option<String> {
        self.led_by(address, 1).pop()
    }

    /// Topics with queues that this address leads, so many at most.
    fn led_by(&self, address: &str, count_max: usize) -> Vec<String> {
        let topics = self.inner.topics.lock();
        let is_led = |route: Arc<super::TopicRoute>| route.is_led_by(address);
        let led = topics.iter().filter(|(_, entry)| entry.known().is_some_and(is_led));
        led.take(count_max).map(|(topic, _)| topic.clone()).collect()
    }

    /// When it became known that another leads in place of this address; `None` also while it leads another broker name.
    pub(crate) fn deposed(&self, address: &str) -> Option<Fall> {
        let loss = self.inner.deposed.loss(address)?;
        let topics = self.inner.topics.lock();
        let leads_another = topics.values().filter_map(|entry| entry.known()).any(|route| {
            let mut names = route.brokers().keys();
            names.any(|name| !loss.broker_names.contains(name) && route.leader(name) == Some(address))
        });
        (!leads_another).then_some(loss.fall)
    }

    /// Asks for the routes of all topics with queues that this address leads, as far as they know: another one told of its
    /// successor.
    pub(super) fn refresh_led_by(&self, address: &str) {
        let led = self.led_by(address, usize::MAX);
        if led.is_empty() {
            return;
        }
        let routes = self.clone();
        self.spawn(async move {
            let refresh = |topic: String| {
                let routes = routes.clone();
                async move {
                    if let Err(error) = routes.refresh(&topic).await {
                        debug!(topic, %error, "route not refreshed");
                    }
                }
            };
            let all = stream::iter(led).map(refresh).buffer_unordered(limits::SUSPECTS_AT_ONCE);
            all.for_each(|()| async {}).await;
        });
    }

    /// Asks for the route of a topic in the background; `turn` is dropped when that is done. `since` is when it was suspected.
    pub(crate) fn refresh_soon(&self, topic: String, since: Instant, turn: Arc<()>) {
        let routes = self.clone();
        self.spawn(async move {
            let _turn = turn;
            let entry = routes.entry(&topic);
            let is_mine = entry.doubt(since);
            if let Err(error) = routes.refresh(&topic).await {
                debug!(topic, %error, "no route");
            }
            // Else the suspicion is of somebody who goes on asking.
            if is_mine && !entry.suspected.load(Ordering::Acquire) {
                entry.trust();
            }
        });
    }

    /// Runs a task until it ends or the client stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        crate::client::spawn_until(&self.inner.tracker, &self.inner.stop, task);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use flotilla_remoting::bodies::{BrokerData, TopicRouteData};
    use tokio::time::Instant;

    use crate::client::Client;
    use crate::metrics::{Event, Metrics};
    use crate::options::ClientOptions;

    #[derive(Debug, Default)]
    struct Changes(AtomicUsize);

    impl Metrics for Changes {
        fn event(&self, event: Event<'_>) {
            if let Event::RouteChanged { .. } = event {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn led_by(broker_name: &str, leader: &str) -> TopicRouteData {
        let broker = BrokerData {
            broker_name: broker_name.to_owned(),
            broker_addrs: [(0, leader.to_owned())].into(),
            ..BrokerData::default()
        };
        TopicRouteData { broker_datas: vec![broker], ..TopicRouteData::default() }
    }

    #[tokio::test]
    async fn an_address_that_leads_another_name_is_not_deposed() {
        let client = Client::connect("127.0.0.1:1").unwrap();
        let routes = &client.inner.routes;
        routes.keep("t", led_by("b", "x:1"));
        routes.keep("u", led_by("c", "x:1"));
        routes.keep("t", led_by("b", "y:1"));
        assert_eq!(routes.deposed("x:1"), None, "it leads c");
        routes.keep("u", led_by("c", "y:1"));
        assert!(routes.deposed("x:1").is_some());
        assert_eq!(routes.deposed("y:1"), None);
    }

    #[tokio::test]
    async fn a_new_route_is_told_of_once_however_many_suspected_the_old_one() {
        let changes = Arc::new(Changes::default());
        let options = ClientOptions::new("127.0.0.1:1").unwrap();
        let client = Client::new(ClientOptions { metrics: changes.clone(), ..options }).unwrap();
        let routes = &client.inner.routes;
        let told = || changes.0.load(Ordering::Relaxed);
        routes.keep("t", led_by("b", "x:1"));
        assert!(routes.entry("t").doubt(Instant::now()));
        assert!(!routes.entry("t").doubt(Instant::now()));
        routes.keep("t", led_by("b", "x:1"));
        assert_eq!(told(), 0, "it is the old one");
        routes.keep("t", led_by("b", "y:1"));
        assert_eq!(told(), 1);
        routes.keep("t", led_by("b", "x:1"));
        assert_eq!(told(), 1, "nobody suspected it");
    }
}
