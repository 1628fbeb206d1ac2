//! Keeps the name servers informed: one task per name server.
//!
//! The leader registers as broker 0 as soon as it has applied its own term's first entry and holds its lease; the others as
//! peer index + 1, for ever. The Raft term travels as `stateVersion`, so that a deposed leader's entry never replaces its
//! successor's (FAILOVER.md 3 to 5, 15). A deposed leader keeps its entry as broker 0, under which it forwards, until the
//! name server shows another broker 0, or for 5 s. One registration is under way per name server, the newest state wins.

pub(crate) mod body;
mod part;
mod visibility;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_core::{Command, Tables, TopicConfig};
use flotilla_net::{BytesPermit, ClientPool, Connection, Service};
use flotilla_raft_store::raft::Leadership;
use flotilla_remoting::bodies::{self, BrokerMemberGroupBody, KvTable};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::frame::Frame;
use flotilla_remoting::headers::{
    BrokerHeartbeatRequest, BrokerRequest, GetBrokerMemberGroupRequest, RegisterBrokerRequest,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::body::register_body;
use self::part::Part;
use self::visibility::Seen;
use crate::party::Party;

pub use self::visibility::Visibility;

const RETRY: Duration = Duration::from_millis(500);
/// Silence after which the registration says that this broker is gone.
const SILENCE_MS: i64 = 30_000;
/// How long a replica that does not lead waits for the name server to show a leader before it registers all the same.
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// Time between two questions whether it does.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks whether there is a leader again.
const NO_LEADER_PAUSE: Duration = Duration::from_millis(50);
/// Time between two looks at this replica's own part.
const PART_LOOK: Duration = Duration::from_millis(250);
/// Time after the first registration over a connection at which the name server has to show it still: Apache's may take the
/// end of the connection before for the end of the broker (FAILOVER.md 16).
const VERIFY_AFTER: Duration = Duration::from_secs(1);

/// Who this node is to a name server.
#[derive(Clone)]
pub struct Identity {
    pub cluster: String,
    pub broker_name: String,
    /// `host:port` that clients connect to.
    pub address: String,
    pub peer_index: u64,
}

/// Topics of an order configuration that exist and are not ordered yet, as they should be.
fn to_be_ordered(tables: &Tables, configuration: &BTreeMap<String, String>) -> Vec<TopicConfig> {
    let known = configuration.keys().filter_map(|topic| tables.topic(topic));
    known.filter(|topic| !topic.order).map(|topic| TopicConfig { order: true, ..topic.clone() }).collect()
}

/// Name servers ask nothing of us; what they send all the same (NOTIFY_MIN_BROKER_ID_CHANGE, 905) is not answered.
pub struct NoRequests;

impl Service for NoRequests {
    fn call(&self, _connection: &Arc<Connection>, request: Frame, _permit: BytesPermit) {
        tracing::debug!(code = request.header.code, "request of a name server ignored");
    }
}

/// Registers at one name server.
pub struct Registrar<P> {
    pub index: usize,
    pub name_server: String,
    pub identity: Identity,
    pub party: P,
    pub pool: ClientPool,
    pub visibility: Arc<Visibility>,
    /// Registrations are repeated after this time; our name server forgets a broker after [`SILENCE_MS`].
    pub interval: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// What has been said to one name server, and what has come of it.
#[derive(Default)]
struct Course {
    /// The last registration or heartbeat.
    said: Option<Instant>,
    /// The last registration was as broker 0.
    as_leader: bool,
    /// Since when this replica follows and the name server is connected.
    following_since: Option<Instant>,
    /// The connection that the last registration went over.
    over: Option<u64>,
    /// When to look whether the registration is still there.
    verify_at: Option<Instant>,
}

/// Why a registrar does something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// Its pause is over.
    Timer,
    /// Something has changed.
    News,
}

impl<P: Party> Registrar<P> {
    /// Runs until stopped, and then to the end of the request under way, so that nothing is registered afterwards. The entry
    /// stays, [`Registrar::unregister`] removes it.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut status = self.party.leadership();
        let mut course = Course::default();
        let mut woken = Woken::News;
        while !stop.is_cancelled() {
            let part = Part::of(&self.party);
            let mut pause = self.say(part, &mut course, woken).await;
            let connection = self.pool.open_connection(&self.name_server);
            if connection.is_none() {
                // The name server may have been restarted: whoever leads comes first there again (FAILOVER.md 7).
                course.following_since = None;
                pause = pause.min(RETRY);
            }
            woken = Woken::News;
            status.borrow_and_update();
            if Part::of(&self.party) != part {
                // It changed while the request was under way.
                continue;
            }
            let lost = async {
                match &connection {
                    Some(connection) => connection.closed().cancelled_owned().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = lost => course.following_since = None,
                () = self.visibility.woken(self.index) => {}
                () = self.plays_another(part, &mut status) => {}
                () = tokio::time::sleep(pause) => woken = Woken::Timer,
            }
        }
    }

    /// Says what there is to say and gives the time until something is to be said again.
    async fn say(&self, part: Part, course: &mut Course, woken: Woken) -> Duration {
        let (id, state_version, leads) = match part {
            Part::None => {
                if course.said.is_some_and(|said| said.elapsed() >= self.interval) {
                    // Without a leader for long, the entry must not expire: a route without brokers is worse than one
                    // whose brokers hold requests until there is a leader.
                    self.beat().await;
                    course.said = Some(Instant::now());
                }
                return NO_LEADER_PAUSE;
            }
            Part::Leader { term } => {
                course.following_since = None;
                (0, 2 * term + 1, true)
            }
            Part::Follower { term } => {
                let since = *course.following_since.get_or_insert_with(Instant::now);
                if since.elapsed() < LEADER_WAIT && !self.shows_another_leader().await {
                    return HAND_OVER_PAUSE;
                }
                (self.follower_id(), 2 * term, false)
            }
        };
        if woken == Woken::Timer
            && let Some(due) = course.verify_at.take_if(|due| Instant::now() >= *due)
        {
            if self.shows_this_node().await {
                let next = course.said.map_or(due, |said| said + self.interval);
                return next.saturating_duration_since(Instant::now());
            }
            warn!(name_server = %self.name_server, "the name server has lost the registration, registering again");
            course.over = None;
        }
        if course.as_leader && !leads {
            info!(name_server = %self.name_server, "handed over the entry of broker 0");
        }
        course.as_leader = leads;
        course.said = Some(Instant::now());
        if !self.register(id, state_version, leads).await {
            // Whatever connection it succeeds over at last, it is looked at again.
            (course.over, course.verify_at) = (None, None);
            return RETRY;
        }
        let over = self.pool.open_connection(&self.name_server).map(|connection| connection.id());
        if over.is_some() && over != course.over {
            course.over = over;
            course.verify_at = Some(Instant::now() + VERIFY_AFTER);
        }
        match course.verify_at {
            Some(at) => self.interval.min(at.saturating_duration_since(Instant::now())),
            None => self.interval,
        }
    }

    /// Waits until this replica plays another part. The look every now and then is for a lease, which comes and goes
    /// without a change of leadership. Cancel-safe.
    async fn plays_another(&self, part: Part, status: &mut watch::Receiver<Leadership>) {
        while Part::of(&self.party) == part {
            match tokio::time::timeout(PART_LOOK, status.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                // The replica has stopped: nothing changes any more.
                Ok(Err(_)) => std::future::pending().await,
            }
        }
    }

    fn follower_id(&self) -> i64 {
        i64::try_from(self.identity.peer_index).unwrap_or(i64::MAX - 1) + 1
    }

    /// Takes this node's entry away, when the node goes for good and [`Registrar::run`] has ended. Unless this node leads to
    /// the last, waits before for the name server to show its successor, as long as patience lasts (FAILOVER.md 4).
    pub async fn unregister(&self, patience: Duration) {
        let leads = matches!(Part::of(&self.party), Part::Leader { .. });
        if !leads && !patience.is_zero() {
            let successor = async {
                while !self.shows_another_leader().await {
                    tokio::time::sleep(HAND_OVER_PAUSE).await;
                }
            };
            if tokio::time::timeout(patience.min(LEADER_WAIT), successor).await.is_err() {
                warn!(name_server = %self.name_server, "the name server shows no other leader, unregistering all the same");
            }
        }
        let header = BrokerRequest {
            broker_name: &self.identity.broker_name,
            broker_addr: &self.identity.address,
            cluster_name: &self.identity.cluster,
            broker_id: if leads { 0 } else { self.follower_id() },
        };
        let frame = Frame::request(RequestCode::UnregisterBroker, header.encode(), Bytes::new());
        if let Err(error) = self.pool.request(&self.name_server, frame, self.timeout).await {
            warn!(name_server = %self.name_server, %error, "could not unregister, the entry expires by itself");
        }
    }

    /// Says "still here" without a table. Source: RocketMQ 5.3 BROKER_HEARTBEAT.
    async fn beat(&self) {
        let applied = self.party.tables().applied().index;
        let header = BrokerHeartbeatRequest {
            cluster_name: &self.identity.cluster,
            broker_addr: &self.identity.address,
            broker_name: &self.identity.broker_name,
            broker_id: None,
            epoch: None,
            max_offset: i64::try_from(applied).ok(),
            confirm_offset: None,
            heartbeat_timeout_ms: Some(SILENCE_MS),
            election_priority: None,
        };
        let mut ext = header.encode();
        ext.insert("flotilla", "1");
        let frame = Frame::request(RequestCode::BrokerHeartbeat, ext, Bytes::new());
        if let Err(error) = self.pool.request(&self.name_server, frame, self.timeout).await {
            tracing::debug!(name_server = %self.name_server, %error, "heartbeat failed");
        }
    }

    async fn shows_another_leader(&self) -> bool {
        let addresses = self.entries().await;
        addresses
            .is_some_and(|entries| entries.get(&0).is_some_and(|address| *address != self.identity.address))
    }

    /// Claims that an entry of this node is there, under whatever id. A name server that does not answer counts as one that
    /// has it: Apache's knows the question since 5.0, and a lost connection is noticed otherwise.
    async fn shows_this_node(&self) -> bool {
        let entries = self.entries().await;
        entries.is_none_or(|entries| entries.values().any(|address| *address == self.identity.address))
    }

    /// The group's addresses by broker id, as the name server shows them.
    async fn entries(&self) -> Option<BTreeMap<i64, String>> {
        let header = GetBrokerMemberGroupRequest {
            cluster_name: &self.identity.cluster,
            broker_name: &self.identity.broker_name,
        };
        let frame = Frame::request(RequestCode::GetBrokerMemberGroup, header.encode(), Bytes::new());
        let answer = self.pool.request(&self.name_server, frame, self.timeout).await.ok()?;
        if answer.header.response_code() != ResponseCode::Success {
            return None;
        }
        let members = bodies::decode::<BrokerMemberGroupBody>(&answer.body).ok()?;
        Some(members.broker_member_group.broker_addrs)
    }

    /// Sends one registration. True when the name server has taken it.
    async fn register(&self, broker_id: i64, state_version: u64, leads: bool) -> bool {
        // A copy, which is cheap: apply must not wait while thousands of topics are written out.
        let tables = Tables::clone(&self.party.tables());
        let topics = tables.topic_version().counter;
        let state_version = i64::try_from(state_version).unwrap_or(i64::MAX);
        let body = register_body(&tables, state_version).encode();
        let frame = self.registration(broker_id, body, tables.applied().index);
        let outcome = self.pool.request(&self.name_server, frame, self.timeout).await;
        match outcome {
            Ok(answer) if answer.header.response_code() == ResponseCode::Success => {
                let seen = Seen { topics: leads.then_some(topics), registered: true, reachable: true };
                if !self.visibility.seen(self.index).registered {
                    info!(name_server = %self.name_server, broker_id, "registered");
                }
                self.visibility.set(self.index, seen);
                if leads {
                    self.mark_ordered(&answer.body).await;
                }
                true
            }
            Ok(answer) => {
                let code = answer.header.code;
                warn!(name_server = %self.name_server, code, remark = ?answer.header.remark, "registration refused");
                self.visibility.set(self.index, Seen { reachable: false, ..Seen::default() });
                false
            }
            Err(error) => {
                if self.visibility.seen(self.index).reachable {
                    warn!(name_server = %self.name_server, %error, "registration failed, trying again");
                }
                self.visibility.set(self.index, Seen::default());
                false
            }
        }
    }

    /// Topics that the name server's order configuration names are ordered here, too.
    /// Source: TopicConfigManager.updateOrderTopicConfig 5.3.3, which never takes it back either.
    async fn mark_ordered(&self, answer: &[u8]) {
        if answer.is_empty() {
            return;
        }
        let Ok(KvTable { table }) = bodies::decode(answer) else {
            warn!(name_server = %self.name_server, "order configuration can't be read");
            return;
        };
        let unordered = to_be_ordered(&self.party.tables(), &table);
        for config in unordered {
            let topic = config.name.clone();
            let deadline = Instant::now() + self.timeout;
            match self.party.propose(Command::PutTopic(config), deadline).await {
                Ok(_) => info!(%topic, "topic is ordered now, as the name server's configuration says"),
                // The next registration brings the configuration again.
                Err(error) => warn!(%topic, %error, "topic is not ordered yet"),
            }
        }
    }

    fn registration(&self, broker_id: i64, body: Bytes, applied: u64) -> Frame {
        let header = RegisterBrokerRequest {
            broker_name: &self.identity.broker_name,
            broker_addr: &self.identity.address,
            cluster_name: &self.identity.cluster,
            ha_server_addr: &self.identity.address,
            broker_id,
            heartbeat_timeout_ms: Some(SILENCE_MS),
            enable_acting_master: Some(false),
            compressed: false,
            body_crc32: flotilla_remoting::message::body_crc(&body) as i32,
        };
        let mut ext = header.encode();
        // Our own name server keeps the entries of Flotilla's brokers beyond a closed connection, and lets the replica
        // that has applied most stand for a missing leader. Apache's ignores fields that it does not know.
        ext.insert("flotilla", "1");
        ext.insert_display("maxOffset", applied);
        Frame::request(RequestCode::RegisterBroker, ext, body)
    }
}
