//! HEART_BEAT (34) and CHECK_CLIENT_CONFIG (46).
//!
//! Every replica answers a heartbeat by itself and at once. What it says about the connection is soft state of this
//! replica; what is news about a consumer group (a member, a subscription, a group never seen) is proposed in the
//! background, once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{
    Answer, Command, ConsumeFrom, ConsumeType, GroupConfig, Join, Member, MessageModel, Perm, Subscription,
    TopicConfig,
};
use flotilla_remoting::bodies::{self, CheckClientConfig, ConsumerData, HeartbeatData, SubscriptionData};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::names::{self, retry_topic};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::debug;

use super::members::check_client_id;
use super::respond::done;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::leader::calls::CallError;
use crate::metrics::Metrics;
use crate::party::Party;
use crate::peers::calls::PeerCalls;
use crate::peers::links::Links;
use crate::sessions::Sessions;
use crate::wall_clock::now_ms;

/// How long a join is tried: the client's next heartbeat comes after 30 s.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a join whose outcome is unknown is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Takes heartbeats.
pub struct HeartbeatHandler {
    pub sessions: Arc<Sessions>,
    pub joins: Arc<Joins>,
    pub metrics: Metrics,
}

impl Handler for HeartbeatHandler {
    fn handle(&self, call: Call) {
        match call.code() {
            RequestCode::CheckClientConfig => check_client_config(call),
            _ => self.heartbeat(call),
        }
    }
}

impl HeartbeatHandler {
    fn heartbeat(&self, call: Call) {
        let started = Instant::now();
        let data = match bodies::decode::<HeartbeatData>(&call.request.body) {
            Ok(data) => data,
            Err(error) => {
                return call.refuse(ResponseCode::SystemError, format!("heartbeat can't be read: {error}"));
            }
        };
        if let Err(remark) = check(&data) {
            return call.refuse(ResponseCode::InvalidParameter, remark);
        }
        let consumers: Vec<(Arc<str>, Member)> = data
            .consumer_data_set
            .iter()
            .map(|consumer| {
                (Arc::from(consumer.group_name.as_str()), member(&data.client_id, consumer, &call))
            })
            .collect();
        if let Some(connection) = &call.caller.connection {
            let header = &call.request.header;
            self.sessions.describe(connection.id(), header.language.code(), header.version, now_ms());
            let producers =
                data.producer_data_set.iter().map(|producer| Arc::from(producer.group_name.as_str()));
            let groups = consumers.iter().map(|(group, _)| group.clone());
            self.sessions.heartbeat(connection.id(), &data.client_id, producers, groups);
            self.sessions.remember(connection.id(), consumers.iter().cloned());
        }
        let groups = (data.producer_data_set.len(), consumers.len());
        for (group, member) in consumers {
            self.joins.ensure(group, member);
        }
        self.metrics.registrations().heartbeat(groups.0, groups.1, started.elapsed());
        done(call);
    }
}

/// What a heartbeat brings goes into the log, so its names and sizes have limits. Source of the names' form: Validators 5.3.3.
fn check(data: &HeartbeatData) -> Result<(), String> {
    check_client_id(&data.client_id)?;
    for producer in &data.producer_data_set {
        if producer.group_name.len() > PRODUCER_GROUP_SIZE_MAX {
            return Err(format!("producer group of more than {PRODUCER_GROUP_SIZE_MAX} bytes"));
        }
    }
    for consumer in &data.consumer_data_set {
        names::check_group(&consumer.group_name).map_err(|error| error.to_string())?;
        if consumer.subscription_data_set.len() > SUBSCRIPTIONS_MAX {
            return Err(format!("more than {SUBSCRIPTIONS_MAX} subscriptions"));
        }
        for subscription in &consumer.subscription_data_set {
            names::check_topic(&subscription.topic).map_err(|error| error.to_string())?;
            let expression_type = subscription.expression_type.as_deref().unwrap_or("");
            if subscription.sub_string.len() > EXPRESSION_SIZE_MAX
                || expression_type.len() > EXPRESSION_TYPE_SIZE_MAX
            {
                return Err(format!("subscription of topic {} is too long", subscription.topic));
            }
        }
    }
    Ok(())
}

/// Bytes of a producer group's name: it travels to the leader.
const PRODUCER_GROUP_SIZE_MAX: usize = 255;
/// Topics that one member may subscribe.
const SUBSCRIPTIONS_MAX: usize = 4096;
/// Bytes of a subscription's expression.
const EXPRESSION_SIZE_MAX: usize = 64 * 1024;
/// Bytes of the name of an expression's language.
const EXPRESSION_TYPE_SIZE_MAX: usize = 32;

/// Only TAG expressions pass: SQL92 needs `enablePropertyFilter`, which comes with a later release.
/// Source: ClientManageProcessor.checkClientConfig 5.3.3.
fn check_client_config(call: Call) {
    match bodies::decode::<CheckClientConfig>(&call.request.body) {
        Ok(check) if check.subscription_data.is_tag() => done(call),
        Ok(_) => {
            let remark = "the broker does not support consumer to filter message by SQL92";
            call.refuse(ResponseCode::SystemError, remark);
        }
        Err(error) => {
            call.refuse(ResponseCode::SystemError, format!("client configuration can't be read: {error}"))
        }
    }
}

fn member(client_id: &str, consumer: &ConsumerData, call: &Call) -> Member {
    let subscriptions: BTreeMap<Arc<str>, Subscription> = consumer
        .subscription_data_set
        .iter()
        .map(|data| {
            let subscription = subscription(data);
            (subscription.topic.clone(), subscription)
        })
        .collect();
    Member {
        client_id: Arc::from(client_id),
        language: call.request.header.language.code(),
        version: call.request.header.version,
        address: Arc::from(call.caller.address.to_string()),
        consume_type: ConsumeType::parse(consumer.consume_type.name()).unwrap_or(ConsumeType::Passively),
        message_model: MessageModel::parse(consumer.message_model.name()).unwrap_or(MessageModel::Clustering),
        consume_from: ConsumeFrom::parse(consumer.consume_from_where.name())
            .unwrap_or(ConsumeFrom::LastOffset),
        unit_mode: consumer.unit_mode,
        subscriptions,
    }
}

fn subscription(data: &SubscriptionData) -> Subscription {
    Subscription {
        topic: Arc::from(data.topic.as_str()),
        expression: Arc::from(data.sub_string.as_str()),
        expression_type: Arc::from(
            data.expression_type.as_deref().filter(|t| !t.is_empty()).unwrap_or("TAG"),
        ),
        version: data.sub_version,
        class_filter_mode: data.class_filter_mode,
    }
}

/// Group and client id.
type Key = (Arc<str>, Arc<str>);

/// Joins that are under way, so that the heartbeats of a busy client propose each piece of news once.
pub struct Joins<P = Group, L = Links> {
    group: P,
    leader: Arc<LeaderCalls<P, L>>,
    runtime: Handle,
    /// The newest description of each member whose join is under way, by group and client id.
    under_way: Mutex<HashMap<Key, Member>>,
}

impl<P: Party, L: PeerCalls> Joins<P, L> {
    pub fn new(group: P, leader: Arc<LeaderCalls<P, L>>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { group, leader, runtime, under_way: Mutex::default() })
    }

    /// True while a member of the group is about to join.
    pub fn awaits(&self, group: &str) -> bool {
        self.under_way.lock().keys().any(|(name, _)| &**name == group)
    }

    /// Makes sure that the group has this member as it describes itself; returns at once.
    pub fn ensure(self: &Arc<Self>, name: Arc<str>, member: Member) {
        if news(&self.group, &name, &member).is_empty() {
            return;
        }
        let key = (name, member.client_id.clone());
        if self.under_way.lock().insert(key.clone(), member).is_some() {
            return;
        }
        let this = self.clone();
        self.runtime.spawn(async move { this.join(key).await });
    }

    /// Forgets a member that leaves: what is not proposed of its join yet will not be.
    pub fn forget(&self, name: &str, client_id: &str) {
        self.under_way.lock().retain(|(group, id), _| &**group != name || &**id != client_id);
    }

    /// Proposes what is new about a member, and again what a later heartbeat has changed meanwhile.
    async fn join(self: Arc<Self>, key: Key) {
        let deadline = Instant::now() + JOIN_PATIENCE;
        'again: while let Some(member) = self.description(&key) {
            for command in news(&self.group, &key.0, &member) {
                let what = command.name();
                if self.description(&key).is_none() {
                    return;
                }
                let answer = self.leader.propose(command, deadline).await;
                if answer == Err(CallError::Unknown) && Instant::now() < deadline {
                    // Its leader may be gone: what is new is looked up again. Twice does no harm.
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue 'again;
                }
                if !matches!(answer, Ok(Answer::Done | Answer::Unchanged)) {
                    // What was refused would be refused again; what found no leader comes with the next heartbeat.
                    debug!(group = %key.0, client = %key.1, what, ?answer, "heartbeat's news is not in the log");
                    self.under_way.lock().remove(&key);
                    return;
                }
            }
            let mut under_way = self.under_way.lock();
            if under_way.get(&key).is_none_or(|newest| !newest.differs(&member)) {
                under_way.remove(&key);
                return;
            }
        }
    }

    fn description(&self, key: &Key) -> Option<Member> {
        self.under_way.lock().get(key).cloned()
    }
}

/// The commands that make the tables agree with what a member says of itself.
fn news(group: &impl Party, name: &Arc<str>, member: &Member) -> Vec<Command> {
    let tables = group.tables();
    let mut commands = Vec::new();
    match tables.group(name) {
        None if !tables.settings().auto_create_group => return commands,
        None => commands.push(Command::CreateGroup(GroupConfig::new(name.clone()))),
        Some(_) => {}
    }
    let retry = retry_topic(name);
    if tables.topic(&retry).is_none() {
        let queues = tables.group(name).map_or(1, |config| config.retry_queue_count);
        commands.push(Command::CreateTopic(TopicConfig::new(retry, queues, Perm::READ_WRITE)));
    }
    if !tables.is_renewal(name, member) {
        commands.push(Command::Join(Box::new(Join { group: name.clone(), member: member.clone() })));
    }
    commands
}
