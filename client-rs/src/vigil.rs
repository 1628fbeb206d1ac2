//! Watches the brokers that owe answers: a leader that is paused, cut off or gone without a word closes no connection, and
//! only what does not come tells of it.
//!
//! ```text
//! an answer is overdue (`silence_limit`) --> the route is asked for, 20 times a second at first, 5 to 10 times for 5 s, then seldom
//!     the route names another leader --> new requests go there by the route; nothing is done here about them
//!         grace: 5 ms if nothing at all has come for the limit, else 500 ms
//!         --> what is outstanding at the old leader ends: `Unknown`
//! only held requests (long polls) are outstanding, and nothing has come for 1 s --> a small request: its answer may be overdue
//!     and every 2 s the route is asked for: a leader that is cut off from its group may answer that and hear of no message
//! ```
//! - Nothing ends before a route names another leader: a broker that is slow, or a group without a quorum, is waited for as
//!   long as the caller said. So the price of a limit that is too short is some questions to name servers.
//! - What ends may have been done, or may yet be: it is as unknown as after a time-out, only earlier, and like that no producer
//!   repeats it unless asked to. Calls that do no harm when done twice (pulls, offsets, administration) go to the new leader.
//! - A leader that is alive and was deposed (a transfer, a cut between brokers only) answers by itself as a rule, so it has the
//!   longer grace. Requests sent to it after its fall, such as pulls at a replica, or sends that it keeps until the group has a
//!   leader again, are its business, also while it is silent. The fall ends when the last route that names it is refreshed.
//! - One topic stands for all that a broker leads: its answer makes the others be asked for (`Routes::keep`). So a broker in
//!   thousands of routes costs no more questions than one in a single route until it is deposed.
//! - The small request is CHECK_CLIENT_CONFIG (46) with a subscription by tag: brokers answer it at once, on a thread of its own
//!   kind, leader or not, and it changes nothing. A heartbeat would carry all subscriptions. Sources: RocketMQ 5.3
//!   ClientManageProcessor.checkClientConfig, BrokerController.registerProcessor.
//!
//! Another design would let each send watch its topic's route. It would need a timer for each, or a task, and would leave out
//! everything that is no send; connections know what they owe.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use flotilla_net::{Connection, Expected};
use flotilla_remoting::bodies::{self, CheckClientConfig, SubscriptionData};
use flotilla_remoting::{ExtFields, RequestCode};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::client::Inner;
use crate::limits;
use crate::remote::Remote;
use crate::routes::{Fall, Routes};

/// The watch over the connections of a client.
pub(crate) struct Vigil {
    remote: Remote,
    routes: Routes,
    limit: Duration,
    /// Body of the small request.
    probe: Bytes,
    /// By number of the connection; one of a kind for each at most.
    doubts: HashMap<(u64, Doubt), Doubted>,
}

/// Why a broker may lead no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Doubt {
    /// It owes answers and gives none.
    Silent,
    /// It owes answers and gives others.
    Slow,
    /// It has nothing to tell.
    Quiet,
}

/// A broker that may lead no more.
struct Doubted {
    since: Instant,
    /// When there was reason to doubt last.
    seen: Instant,
    ask_at: Instant,
    /// Alive while a question is under way.
    asking: Weak<()>,
}

impl Vigil {
    pub(crate) fn new(client: &Inner, limit: Duration) -> Vigil {
        let probe = CheckClientConfig {
            client_id: client.client_id.clone(),
            group: "CLIENT_INNER_PRODUCER".to_owned(),
            namespace: None,
            subscription_data: SubscriptionData { sub_string: "*".to_owned(), ..SubscriptionData::default() },
        };
        Vigil {
            remote: client.remote.clone(),
            routes: client.routes.clone(),
            limit,
            probe: bodies::encode(&probe),
            doubts: HashMap::new(),
        }
    }

    /// Watches for ever.
    pub(crate) async fn keep(mut self) {
        loop {
            let owes = self.doubts.keys().any(|(_, doubt)| *doubt != Doubt::Quiet);
            sleep(if owes { limits::VIGIL_PERIOD_OVERDUE } else { limits::VIGIL_PERIOD }).await;
            let now = Instant::now();
            self.doubts.retain(|_, doubted| passed(doubted.seen, now) < limits::VIGIL_CALM);
            for (address, connection) in self.remote.open_connections() {
                if connection.pending_requests() > 0 {
                    self.look(&address, &connection, now);
                }
            }
        }
    }

    fn look(&mut self, address: &str, connection: &Connection, now: Instant) {
        let heard = connection.last_heard();
        let is_silent = passed(heard, now) >= self.limit;
        let fall = self.routes.deposed(address);
        let given_up = fall.and_then(|fall| given_up(fall, is_silent, self.limit, now));
        let count = given_up.map_or(0, |sent_by| connection.give_up(sent_by));
        if count > 0 {
            info!(address, count, is_silent, "requests at a deposed leader are given up");
        }
        match connection.oldest_request(Expected::Soon) {
            Some(sent) if passed(sent, now) >= self.limit => {
                let doubt = if is_silent { Doubt::Silent } else { Doubt::Slow };
                if let Some(topic) = self.routes.topic_led_by(address) {
                    self.ask(address, topic, (connection.id(), doubt), now);
                }
            }
            Some(_) => {}
            None => {
                let held = connection.oldest_request(Expected::Held).map(|sent| sent.max(heard));
                // A leader that gives no sign of life may have a successor; of others it does not matter.
                if held.is_some_and(|quiet| passed(quiet, now) >= limits::PROBE_AFTER)
                    && let Some(topic) = self.routes.topic_led_by(address)
                {
                    self.probe(connection);
                    self.ask(address, topic, (connection.id(), Doubt::Quiet), now);
                }
            }
        }
    }

    /// Asks whether it still leads this topic, unless that was asked just now. Each kind of doubt has a pace of its own: a leader that has
    /// been slow for long and falls silent is asked about at once.
    fn ask(&mut self, address: &str, topic: String, (connection, doubt): (u64, Doubt), now: Instant) {
        let doubted = self.doubts.entry((connection, doubt)).or_insert_with(|| {
            debug!(address, ?doubt, "leads no more, perhaps");
            Doubted { since: now, seen: now, ask_at: now + doubt.first_pause(), asking: Weak::new() }
        });
        doubted.seen = now;
        if now < doubted.ask_at || doubted.asking.strong_count() > 0 {
            return;
        }
        doubted.ask_at = now + doubt.pause(passed(doubted.since, now));
        let turn = Arc::new(());
        doubted.asking = Arc::downgrade(&turn);
        self.routes.refresh_soon(topic, doubted.since, turn);
    }

    /// Asks for a sign of life.
    fn probe(&self, connection: &Connection) {
        let frame = self.remote.frame(RequestCode::CheckClientConfig, ExtFields::new(), self.probe.clone());
        // Its time bounds how many there are: the next one goes when none is outstanding.
        self.remote.ask_with(connection, frame, self.remote.call_timeout(), Box::new(drop));
    }
}

impl Doubt {
    /// Time before the first question.
    fn first_pause(self) -> Duration {
        match self {
            Doubt::Silent | Doubt::Slow => Duration::ZERO,
            Doubt::Quiet => limits::VIGIL_PAUSE_QUIET,
        }
    }

    /// Time between questions about a broker that has been in doubt for so long.
    fn pause(self, doubted_for: Duration) -> Duration {
        match (self, doubted_for >= limits::SUSPECT_FOR) {
            (Doubt::Silent, false) if doubted_for < limits::VIGIL_EAGER_FOR => limits::VIGIL_PAUSE_EAGER,
            (Doubt::Silent, false) => limits::VIGIL_PAUSE_SILENT,
            (Doubt::Silent, true) => limits::VIGIL_PAUSE_SILENT_LONG,
            (Doubt::Slow, false) => limits::VIGIL_PAUSE_SLOW,
            (Doubt::Slow, true) => limits::VIGIL_PAUSE_SLOW_LONG,
            (Doubt::Quiet, _) => limits::VIGIL_PAUSE_QUIET,
        }
    }
}

/// What is waited for no longer at a leader that fell: requests sent at this time or before. That is what it had as a leader, as
/// far as routes told; while it is silent only what is overdue, else only what has had the grace.
fn given_up(fall: Fall, is_silent: bool, limit: Duration, now: Instant) -> Option<Instant> {
    let fallen_for = passed(fall.since, now);
    match is_silent {
        true if fallen_for >= limits::GRACE_SILENT => {
            // One that went by the old route may have been on its way when the new one came.
            now.checked_sub(limit).map(|by| by.min(fall.last + limits::ROUTE_LAG))
        }
        false if fallen_for >= limits::GRACE => now.checked_sub(limits::GRACE).map(|by| by.min(fall.last)),
        _ => None,
    }
}

fn passed(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_deposed_leader_has_a_grace_and_a_longer_one_while_it_gives_signs_of_life() {
        let (since, limit) = (Instant::now(), 400 * MS);
        let fall = Fall { since, last: since };
        assert_eq!(given_up(fall, true, limit, since + 4 * MS), None);
        assert_eq!(given_up(fall, true, limit, since + 5 * MS), Some(since - 395 * MS), "what is overdue");
        let now = since + 500 * MS;
        let by = given_up(fall, true, limit, now);
        assert_eq!(by, Some(since + limits::ROUTE_LAG), "not what it got as a follower");
        assert_eq!(given_up(fall, true, limit, since + 60_000 * MS), by, "however long it is silent");
        assert_eq!(given_up(fall, false, limit, since + 400 * MS), None);
        assert_eq!(given_up(fall, false, limit, now), Some(since), "not what it got as a follower");
    }

    #[tokio::test]
    async fn what_went_to_a_deposed_leader_by_a_route_not_refreshed_yet_is_given_up_too() {
        let (since, limit) = (Instant::now(), 400 * MS);
        let fall = Fall { since, last: since + 300 * MS };
        let (soon, late) = (since + 600 * MS, since + 2_000 * MS);
        assert_eq!(given_up(fall, true, limit, soon), Some(since + 200 * MS), "only what is overdue");
        assert_eq!(given_up(fall, true, limit, late), Some(fall.last + limits::ROUTE_LAG));
        assert_eq!(given_up(fall, false, limit, soon), Some(since + 100 * MS), "each has the grace");
        assert_eq!(given_up(fall, false, limit, late), Some(fall.last));
    }
}
