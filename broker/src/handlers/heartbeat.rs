//! HEART_BEAT (34) and CHECK_CLIENT_CONFIG (46).
//!
//! Every replica answers a heartbeat by itself and at once. What it says about the connection is soft state of this
//! replica; what is news about a consumer group (a member, a subscription, a group never seen) is proposed in the
//! background, once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_core::{
    Command, ConsumeFrom, ConsumeType, GroupConfig, Join, Member, MessageModel, Perm, Subscription,
    TopicConfig,
};
use flotilla_remoting::bodies::{self, CheckClientConfig, ConsumerData, HeartbeatData, SubscriptionData};
use flotilla_remoting::code::{RequestCode, ResponseCode};
use flotilla_remoting::names::retry_topic;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::debug;

use super::respond::done;
use crate::call::Call;
use crate::dispatch::Handler;
use crate::group::Group;
use crate::leader::LeaderCalls;
use crate::sessions::Sessions;

/// How long a join is tried: the client's next heartbeat comes after 30 s.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// Takes heartbeats.
pub struct HeartbeatHandler {
    pub group: Group,
    pub sessions: Arc<Sessions>,
    pub joins: Arc<Joins>,
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
        let data = match bodies::decode::<HeartbeatData>(&call.request.body) {
            Ok(data) => data,
            Err(error) => {
                return call.refuse(ResponseCode::SystemError, format!("heartbeat can't be read: {error}"));
            }
        };
        if let Some(connection) = &call.caller.connection {
            let producers =
                data.producer_data_set.iter().map(|producer| Arc::from(producer.group_name.as_str()));
            let consumers =
                data.consumer_data_set.iter().map(|consumer| Arc::from(consumer.group_name.as_str()));
            self.sessions.heartbeat(connection.id(), &data.client_id, producers, consumers);
        }
        for consumer in &data.consumer_data_set {
            let member = member(&data.client_id, consumer, &call);
            self.joins.ensure(&self.group, Arc::from(consumer.group_name.as_str()), member);
        }
        done(call);
    }
}

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

/// Joins that are under way, so that the heartbeats of a busy client propose each piece of news once.
pub struct Joins {
    leader: Arc<LeaderCalls>,
    runtime: Handle,
    under_way: Mutex<HashSet<(Arc<str>, Arc<str>)>>,
}

impl Joins {
    pub fn new(leader: Arc<LeaderCalls>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { leader, runtime, under_way: Mutex::default() })
    }

    /// Makes sure that the group has this member as it describes itself; returns at once.
    pub fn ensure(self: &Arc<Self>, group: &Group, name: Arc<str>, member: Member) {
        let commands = news(group, &name, &member);
        if commands.is_empty() {
            return;
        }
        let key = (name, member.client_id.clone());
        if !self.under_way.lock().insert(key.clone()) {
            return;
        }
        let this = self.clone();
        self.runtime.spawn(async move {
            for command in commands {
                let what = command.name();
                if let Err(error) = this.leader.propose(command, Instant::now() + JOIN_PATIENCE).await {
                    debug!(group = %key.0, client = %key.1, what, %error, "heartbeat's news is not in the log, the next one tries again");
                    break;
                }
            }
            this.under_way.lock().remove(&key);
        });
    }
}

/// The commands that make the tables agree with what a member says of itself.
fn news(group: &Group, name: &Arc<str>, member: &Member) -> Vec<Command> {
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
