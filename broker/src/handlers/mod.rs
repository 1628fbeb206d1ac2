//! What each request code does. One file per subject; a handler holds the few capabilities that it needs.

pub mod broker_config;
pub mod broker_stats;
pub mod changes;
pub mod clients;
pub mod cluster;
pub mod connections;
pub mod consume_queue;
pub mod consume_stats;
pub mod dead_letter;
pub mod delay_offsets;
mod deletion_rounds;
pub mod groups;
pub mod heartbeat;
pub mod locks;
pub mod members;
pub mod offset_tables;
pub mod offsets;
pub mod pages;
pub mod pull;
pub mod queries;
pub mod queues;
pub mod reads;
pub mod replication;
pub mod reply;
pub mod reset_offset;
pub mod reset_push;
pub mod respond;
pub mod runtime_info;
pub mod send;
pub mod send_answer;
pub mod send_back;
pub mod subscriptions;
pub mod topic_changes;
pub mod topics;
pub mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flotilla_net::ClientPool;
use flotilla_raft_store::log::LogReader;
use flotilla_remoting::code::RequestCode as Code;
use flotilla_remoting::names;
use tokio::runtime::Handle;

use crate::config::BrokerConfig;
use crate::dispatch::table::{Access, Placement, Table};
use crate::dispatch::{Dispatcher, Handler};
use crate::group::Group;
use crate::group::encoder::Encoder;
use crate::group::proposer::InFlight;
use crate::leader::{LeaderCalls, Locks, Relays, Reports, Tell};
use crate::limits::PULL_HOLD_MAX;
use crate::long_poll::LongPolls;
use crate::metrics::Metrics;
use crate::pulled::PulledOffsets;
use crate::registration::Visibility;
use crate::retention::Asked;
use crate::retention::disk::DiskState;
use crate::series::Series;
use crate::sessions::Sessions;
use crate::stats::Stats;
use crate::views::ConsumeQueues;
use crate::views::keys::KeyIndex;

/// All that handlers are made of.
pub struct Parts {
    pub group: Group,
    pub dispatcher: Arc<Dispatcher>,
    pub leader: Arc<LeaderCalls>,
    pub sessions: Arc<Sessions>,
    pub relays: Arc<Relays>,
    pub tell: Arc<Tell>,
    pub locks: Arc<Locks>,
    /// Address that goes into messages.
    pub store_host: SocketAddr,
    pub offsets: Arc<offsets::PendingOffsets>,
    pub views: Arc<ConsumeQueues>,
    pub keys: Option<Arc<KeyIndex>>,
    pub polls: Arc<LongPolls>,
    pub log: LogReader,
    pub visibility: Arc<Visibility>,
    pub joins: Arc<heartbeat::Joins>,
    pub runtime: Handle,
    pub metrics: Metrics,
    pub series: Arc<Series>,
    pub pool: ClientPool,
    pub disk: Arc<DiskState>,
    pub encoder: Encoder,
    pub config: BrokerConfig,
    pub stats: Arc<Stats>,
    pub in_flight: Arc<InFlight>,
    /// Port that clients really connect to.
    pub port: u16,
    /// What the other replicas hold, as the leader is told.
    pub reports: Arc<Reports>,
    pub pulled: Arc<PulledOffsets>,
    pub asked: Arc<Asked>,
    /// The address that clients use.
    pub address: String,
}

/// Hold of administrators' requests: their tools wait 5 s.
const ADMIN: Duration = Duration::from_millis(4000);

/// The dispatch table of a node, and the handler that also runs the held pulls.
///
/// Hold budgets lie below what clients wait, retries included. Source: FAILOVER.md 8; DefaultMQProducer 5.3.3 (3 s for a
/// send), MQClientAPIImpl (5 s for most calls), brokerSuspendMaxTimeMillis (30 s for a pull).
pub fn table(parts: Parts) -> (Table, pull::PullHandler) {
    const QUICK: Duration = Duration::from_millis(2000);
    const PULL: Duration = Duration::from_millis(28_000);
    const SEND_BACK: Duration = Duration::from_millis(2500);
    const ADMIN: Duration = Duration::from_millis(4000);
    // Clients wait 15 s. Source: MQAdminImpl 5.3.3.
    const QUERY: Duration = Duration::from_millis(12_000);
    let send_hold = parts.config.serving.forward_hold;
    use Access::{Propose, Read, Session};
    use Placement::{Leader, Local, LocalIfFound};

    let pulls = pull_handler(&parts);
    let send: Arc<dyn Handler> = Arc::new(send_handler(&parts));
    let queues: Arc<dyn Handler> = Arc::new(queue_handler(&parts));
    let offsets: Arc<dyn Handler> = Arc::new(offset_handler(&parts));
    let heartbeat: Arc<dyn Handler> = Arc::new(heartbeat_handler(&parts));
    let mut table = Table::new(parts.metrics.clone());
    for code in send::CODES {
        table.add(code, Leader, Propose, send_hold, send.clone());
    }
    table.add(Code::ConsumerSendMessageBack, Leader, Propose, SEND_BACK, Arc::new(send_back_handler(&parts)));
    table.add(Code::GetAllDelayOffset, Leader, Read, QUICK, Arc::new(delay_offset_handler(&parts)));
    table.add(Code::PullMessage, LocalIfFound, Read, PULL, Arc::new(pulls.clone()));
    table.add(Code::LitePullMessage, LocalIfFound, Read, PULL, Arc::new(pulls.clone()));
    table.add(Code::QueryConsumerOffset, Leader, Read, QUICK, offsets.clone());
    table.add(Code::UpdateConsumerOffset, Leader, Propose, QUICK, offsets);
    table.add(Code::SearchOffsetByTimestamp, Leader, Read, QUICK, queues.clone());
    table.add(Code::GetMaxOffset, Leader, Read, QUICK, queues.clone());
    table.add(Code::GetMinOffset, Leader, Read, QUICK, queues.clone());
    table.add(Code::GetEarliestMessageStoreTime, Leader, Read, QUICK, queues.clone());
    table.add(Code::ViewMessageById, LocalIfFound, Read, QUICK, queues);
    table.add(Code::QueryMessage, LocalIfFound, Read, QUERY, Arc::new(query_handler(&parts)));
    table.add(Code::Heartbeat, Local, Session, QUICK, heartbeat.clone());
    table.add(Code::CheckClientConfig, Local, Session, QUICK, heartbeat);
    table.add(Code::UnregisterClient, Local, Session, QUICK, Arc::new(unregister_handler(&parts)));
    table.add(Code::GetConsumerListByGroup, LocalIfFound, Session, QUICK, Arc::new(list_handler(&parts)));
    let locks: Arc<dyn Handler> = Arc::new(lock_handler(&parts));
    table.add(Code::LockBatchMq, LocalIfFound, Propose, locks::HOLD, locks.clone());
    table.add(Code::UnlockBatchMq, LocalIfFound, Propose, locks::HOLD, locks);
    let replies: Arc<dyn Handler> = Arc::new(reply_handler(&parts));
    for code in reply::CODES {
        table.add(code, Leader, Propose, send_hold, replies.clone());
    }
    let clients: Arc<dyn Handler> = Arc::new(client_handler(&parts));
    table.add(Code::GetConsumerRunningInfo, Leader, Read, clients::HOLD, clients.clone());
    table.add(Code::ConsumeMessageDirectly, Leader, Propose, clients::HOLD, clients.clone());
    table.add(Code::InvokeBrokerToGetConsumerStatus, Leader, Read, clients::HOLD, clients);
    let config: Arc<dyn Handler> = Arc::new(config_handler(&parts));
    table.add(Code::UpdateBrokerConfig, Local, Propose, ADMIN, config.clone());
    table.add(Code::GetBrokerConfig, Local, Read, ADMIN, config);
    table.add(Code::GetBrokerRuntimeInfo, Local, Read, ADMIN, Arc::new(runtime_info_handler(&parts)));
    let stats = broker_stats::BrokerStatsHandler { stats: parts.stats.clone() };
    table.add(Code::ViewBrokerStatsData, Local, Read, ADMIN, Arc::new(stats));
    table.add(Code::GetBrokerClusterInfo, Local, Read, ADMIN, Arc::new(cluster_handler(&parts)));
    admin_rows(&mut table, &parts);
    (table, pulls)
}

/// Codes of administrators' tools about topics, groups and offsets.
fn admin_rows(table: &mut Table, parts: &Parts) {
    use Access::{Propose, Read, Session};
    use Placement::{Leader, Local};

    let reads = reads::Reads {
        group: parts.group.clone(),
        dispatcher: parts.dispatcher.clone(),
        runtime: parts.runtime.clone(),
    };
    let changes = changes::Changes::new(parts.group.clone(), parts.leader.clone());
    let broker_name = parts.config.identity.broker_name.clone();
    let mut add = |codes: &[Code], placement, access, handler: Arc<dyn Handler>| {
        for code in codes {
            table.add(*code, placement, access, ADMIN, handler.clone());
        }
    };

    let topics = topics::TopicHandler {
        reads: reads.clone(),
        broker_name: broker_name.clone(),
        stats: parts.stats.clone(),
    };
    let codes = [
        Code::GetAllTopicConfig,
        Code::GetTopicConfig,
        Code::GetTopicStatsInfo,
        Code::GetSystemTopicListFromBroker,
    ];
    add(&codes, Leader, Read, Arc::new(topics));
    let topic_changes = topic_changes::TopicChangeHandler {
        changes: changes.clone(),
        visibility: parts.visibility.clone(),
        rounds: Arc::default(),
        runtime: parts.runtime.clone(),
    };
    let codes = [Code::UpdateAndCreateTopic, Code::UpdateAndCreateTopicList, Code::DeleteTopicInBroker];
    add(&codes, Leader, Propose, Arc::new(topic_changes));

    let groups = groups::GroupHandler { reads: reads.clone() };
    let codes = [Code::GetAllSubscriptionGroupConfig, Code::GetSubscriptionGroupConfig];
    add(&codes, Leader, Read, Arc::new(groups));
    let group_changes =
        groups::GroupChangeHandler { changes: changes.clone(), runtime: parts.runtime.clone() };
    let codes = [
        Code::UpdateAndCreateSubscriptionGroup,
        Code::UpdateAndCreateSubscriptionGroupList,
        Code::DeleteSubscriptionGroup,
        Code::UpdateAndGetGroupForbidden,
    ];
    add(&codes, Leader, Propose, Arc::new(group_changes));

    let subscriptions =
        subscriptions::SubscriptionHandler { reads: reads.clone(), address: parts.address.clone() };
    let codes =
        [Code::QueryTopicConsumeByWho, Code::QueryTopicsByConsumer, Code::QuerySubscriptionByConsumer];
    add(&codes, Leader, Read, Arc::new(subscriptions));
    let consumers = connections::ConsumerConnections { reads: reads.clone() };
    add(&[Code::GetConsumerConnectionList], Leader, Session, Arc::new(consumers));
    let producers = connections::ProducerConnections {
        reads: reads.clone(),
        sessions: parts.sessions.clone(),
        reports: parts.reports.clone(),
        self_index: parts.config.raft.self_index,
        peers: parts.config.raft.peers.iter().map(|peer| peer.index.into()).collect(),
    };
    let codes = [Code::GetProducerConnectionList, Code::GetAllProducerInfo];
    add(&codes, Leader, Session, Arc::new(producers));

    let look = consume_stats::Look {
        views: parts.views.clone(),
        log: parts.log.clone(),
        pulled: parts.pulled.clone(),
        stats: parts.stats.clone(),
        broker_name: broker_name.clone(),
        address: parts.address.clone(),
    };
    let stats = consume_stats::ConsumeStatsHandler { reads: reads.clone(), look: Arc::new(look) };
    let codes = [Code::GetConsumeStats, Code::GetBrokerConsumeStats, Code::QueryConsumeTimeSpan];
    add(&codes, Leader, Read, Arc::new(stats));
    let offsets = offset_tables::OffsetTableHandler { reads: reads.clone() };
    let codes = [Code::GetAllConsumerOffset, Code::QueryCorrectionOffset];
    add(&codes, Leader, Read, Arc::new(offsets));
    let clone = offset_tables::CloneHandler {
        changes: changes.clone(),
        pending: parts.offsets.clone(),
        runtime: parts.runtime.clone(),
    };
    add(&[Code::CloneGroupOffset], Leader, Propose, Arc::new(clone));
    let reset = reset_offset::ResetOffsetHandler {
        reads: reads.clone(),
        changes,
        views: parts.views.clone(),
        log: parts.log.clone(),
        broker_name,
        push: (!parts.config.serving.reset_in_log).then(|| parts.tell.clone()),
    };
    add(&[Code::InvokeBrokerToResetOffset], Leader, Propose, Arc::new(reset));
    let units = consume_queue::ConsumeQueueHandler { reads, views: parts.views.clone() };
    add(&[Code::QueryConsumeQueue], Leader, Read, Arc::new(units));

    let expired = upkeep::ExpiredLogHandler { asked: parts.asked.clone() };
    add(&[Code::DeleteExpiredCommitLog], Leader, Propose, Arc::new(expired));
    let upkeep = upkeep::UpkeepHandler { views: parts.views.clone() };
    let codes = [Code::CleanExpiredConsumeQueue, Code::CleanUnusedTopic, Code::NotifyMinBrokerIdChange];
    add(&codes, Local, Read, Arc::new(upkeep));
    let replication = replication::ReplicationHandler {
        group: parts.group.clone(),
        stats: parts.stats.clone(),
        runtime: parts.runtime.clone(),
        peers: parts.config.raft.peers.iter().map(|peer| (peer.index.into(), peer.address())).collect(),
        self_index: parts.config.raft.self_index,
    };
    add(&[Code::GetBrokerHaStatus], Local, Read, Arc::new(replication));
}

fn pull_handler(parts: &Parts) -> pull::PullHandler {
    let inner = pull::Pulls {
        group: parts.group.clone(),
        views: parts.views.clone(),
        log: parts.log.clone(),
        polls: parts.polls.clone(),
        offsets: parts.offsets.clone(),
        dispatcher: parts.dispatcher.clone(),
        runtime: parts.runtime.clone(),
        metrics: parts.metrics.clone(),
        series: parts.series.clone(),
        joins: parts.joins.clone(),
        leader: parts.leader.clone(),
        pulled: parts.pulled.clone(),
        hold_max: match parts.config.serving.long_polling {
            true => PULL_HOLD_MAX,
            false => parts.config.serving.short_polling,
        },
        lite_pull: parts.config.serving.lite_pull,
        host: parts.config.identity.advertised_host.clone(),
    };
    pull::PullHandler { inner: Arc::new(inner) }
}

fn send_handler(parts: &Parts) -> send::SendHandler {
    let inner = send::Sends {
        group: parts.group.clone(),
        dispatcher: parts.dispatcher.clone(),
        leader: parts.leader.clone(),
        locks: parts.locks.clone(),
        visibility: parts.visibility.clone(),
        disk: parts.disk.clone(),
        runtime: parts.runtime.clone(),
        broker_name: parts.config.identity.broker_name.clone(),
        encoder: parts.encoder.clone(),
        metrics: parts.metrics.clone(),
        series: parts.series.clone(),
        schedule_topic: Arc::from(names::SCHEDULE_TOPIC),
        region: parts.config.identity.region.clone(),
        trace_on: parts.config.identity.trace_on,
    };
    send::SendHandler { inner: Arc::new(inner) }
}

fn send_back_handler(parts: &Parts) -> send_back::SendBackHandler {
    let inner = send_back::SendBacks {
        group: parts.group.clone(),
        leader: parts.leader.clone(),
        log: parts.log.clone(),
        encoder: parts.encoder.clone(),
        runtime: parts.runtime.clone(),
        broker_name: parts.config.identity.broker_name.clone(),
        metrics: parts.metrics.clone(),
        series: parts.series.clone(),
        schedule_topic: Arc::from(names::SCHEDULE_TOPIC),
    };
    send_back::SendBackHandler { inner: Arc::new(inner) }
}

fn delay_offset_handler(parts: &Parts) -> delay_offsets::DelayOffsetHandler {
    delay_offsets::DelayOffsetHandler { group: parts.group.clone() }
}

fn queue_handler(parts: &Parts) -> queues::QueueHandler {
    queues::QueueHandler {
        group: parts.group.clone(),
        views: parts.views.clone(),
        log: parts.log.clone(),
        dispatcher: parts.dispatcher.clone(),
        runtime: parts.runtime.clone(),
    }
}

fn query_handler(parts: &Parts) -> queries::QueryHandler {
    let limits = &parts.config.serving.queries;
    let inner = queries::Queries {
        group: parts.group.clone(),
        keys: parts.keys.clone(),
        log: parts.log.clone(),
        dispatcher: parts.dispatcher.clone(),
        runtime: parts.runtime.clone(),
        metrics: parts.metrics.clone(),
        unique_max: limits.unique_max,
        count_max: limits.count_max,
        running: queries::Queries::room(),
    };
    queries::QueryHandler { inner: Arc::new(inner) }
}

fn offset_handler(parts: &Parts) -> offsets::OffsetHandler {
    offsets::OffsetHandler {
        group: parts.group.clone(),
        dispatcher: parts.dispatcher.clone(),
        pending: parts.offsets.clone(),
        runtime: parts.runtime.clone(),
    }
}

fn heartbeat_handler(parts: &Parts) -> heartbeat::HeartbeatHandler {
    heartbeat::HeartbeatHandler {
        sessions: parts.sessions.clone(),
        joins: parts.joins.clone(),
        metrics: parts.metrics.clone(),
    }
}

fn unregister_handler(parts: &Parts) -> members::UnregisterHandler {
    members::UnregisterHandler {
        sessions: parts.sessions.clone(),
        offsets: parts.offsets.clone(),
        joins: parts.joins.clone(),
        leader: parts.leader.clone(),
        runtime: parts.runtime.clone(),
    }
}

fn list_handler(parts: &Parts) -> members::ConsumerListEntry {
    members::ConsumerListEntry {
        dispatcher: parts.dispatcher.clone(),
        sessions: parts.sessions.clone(),
        joins: parts.joins.clone(),
        group: parts.group.clone(),
        leader_side: members::ConsumerListHandler {
            group: parts.group.clone(),
            dispatcher: parts.dispatcher.clone(),
            runtime: parts.runtime.clone(),
        },
    }
}

fn lock_handler(parts: &Parts) -> locks::LockEntry {
    locks::LockEntry {
        dispatcher: parts.dispatcher.clone(),
        leader_side: locks::LockHandler {
            locks: parts.locks.clone(),
            dispatcher: parts.dispatcher.clone(),
            runtime: parts.runtime.clone(),
        },
        late: Arc::default(),
    }
}

fn reply_handler(parts: &Parts) -> reply::ReplyHandler {
    let inner = reply::Replies {
        group: parts.group.clone(),
        dispatcher: parts.dispatcher.clone(),
        relays: parts.relays.clone(),
        runtime: parts.runtime.clone(),
        broker_name: parts.config.identity.broker_name.clone(),
        store_host: parts.store_host,
        region: parts.config.identity.region.clone(),
        trace_on: parts.config.identity.trace_on,
        store: parts.config.serving.store_replies,
    };
    reply::ReplyHandler { inner: Arc::new(inner) }
}

fn client_handler(parts: &Parts) -> clients::ClientHandler {
    clients::ClientHandler {
        group: parts.group.clone(),
        relays: parts.relays.clone(),
        log: parts.log.clone(),
        runtime: parts.runtime.clone(),
        broker_name: parts.config.identity.broker_name.clone(),
    }
}

fn config_handler(parts: &Parts) -> broker_config::BrokerConfigHandler {
    broker_config::BrokerConfigHandler {
        group: parts.group.clone(),
        leader: parts.leader.clone(),
        runtime: parts.runtime.clone(),
        config: parts.config.clone(),
        port: parts.port,
    }
}

fn runtime_info_handler(parts: &Parts) -> runtime_info::RuntimeInfoHandler {
    runtime_info::RuntimeInfoHandler {
        group: parts.group.clone(),
        in_flight: parts.in_flight.clone(),
        stats: parts.stats.clone(),
        metrics: parts.metrics.clone(),
        root: parts.config.disk.root.clone(),
        runtime: parts.runtime.clone(),
    }
}

fn cluster_handler(parts: &Parts) -> cluster::ClusterHandler {
    cluster::ClusterHandler {
        name_servers: parts.config.registration.name_servers.clone(),
        pool: parts.pool.clone(),
        runtime: parts.runtime.clone(),
    }
}
