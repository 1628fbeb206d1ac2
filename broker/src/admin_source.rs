//! What the admin server is told about this node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flotilla_core::{ConsumeType, MessageModel, Tables, TopicConfig};
use flotilla_raft_store::raft::{LATENCY_BOUNDS_US, Role, TransferError};
use flotilla_raft_store::types::FlushMode;
use flotilla_raft_store::wall_clock;
use flotilla_remoting::language::Language;
use flotilla_remoting::names::is_system_topic;

use crate::admin::{
    AdminError, AdminSource, Answer, Check, ConsumerGroup, ConsumerGroupDetail, Group as AdminGroup,
    GroupMember, Member, Node, Progress, Queue, QueueOffset, Subscription, Topic, Transfer,
};
use crate::config::BrokerConfig;
use crate::group::proposer::InFlight;
use crate::group::{Group, Standing, transfer};
use crate::long_poll::LongPolls;
use crate::metrics::{
    ClientGauges, ConsumerLag, DelayLevel, Gauges, Lags, LogCounters, Metrics, RaftGauges, StorageGauges,
};
use crate::peers::links::{ForwardError, Links};
use crate::peers::wire;
use crate::registration::Visibility;
use crate::retention::Expiring;
use crate::retention::disk::DiskState;
use crate::sessions::Sessions;
use crate::views::ConsumeQueues;
use crate::views::keys::KeyIndex;

/// Lags of topics, and of queues, in one scrape: beyond it the answer would grow with every group and topic.
const LAGS_MAX: usize = 10_000;

/// The node, seen from its administration.
pub struct NodeSource {
    pub config: BrokerConfig,
    pub group: Group,
    pub in_flight: Arc<InFlight>,
    pub links: Arc<Links>,
    pub views: Arc<ConsumeQueues>,
    pub keys: Option<Arc<KeyIndex>>,
    pub sessions: Arc<Sessions>,
    pub polls: Arc<LongPolls>,
    pub metrics: Metrics,
    pub visibility: Arc<Visibility>,
    pub budget: flotilla_net::ByteBudget,
    pub disk: Arc<DiskState>,
    pub expiring: Arc<Expiring>,
    pub listen: SocketAddr,
}

impl AdminSource for NodeSource {
    fn node(&self) -> Node {
        let members = self
            .config
            .raft
            .peers
            .iter()
            .map(|peer| Member { replica: peer.index.into(), raft_address: peer.address() });
        Node {
            cluster: self.config.identity.cluster.clone(),
            broker_name: self.config.identity.broker_name.clone(),
            replica: self.config.raft.self_index,
            client_address: self.config.identity.advertised(self.listen.port()),
            members: members.collect(),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let status = self.group.status().borrow().clone();
        let member = status.waiting_for.is_none() && !matches!(status.role, Role::Blank | Role::Stopped);
        let named = self.group.tables().identity().is_some();
        let check = |name, ok, detail: String| Check { name, ok, detail };
        vec![
            check(
                "member",
                member,
                status.waiting_for.unwrap_or_else(|| format!("takes part as {}", status.role.name())),
            ),
            check(
                "leader",
                status.leader.is_some(),
                match status.leader {
                    Some(leader) => format!("n{leader} leads term {}", status.term),
                    None => "no leader is known".to_owned(),
                },
            ),
            check(
                "tables",
                named,
                if named { "system topics are applied" } else { "system topics are not applied" }.into(),
            ),
            check(
                "views",
                self.views.is_ready(),
                "every applied message can be found by its queue offset".into(),
            ),
            check("registered", self.visibility.registered(), "known to a name server".into()),
        ]
    }

    fn group(&self) -> AdminGroup {
        let status = self.group.status().borrow().clone();
        AdminGroup {
            name: self.config.raft.group.clone(),
            replica: self.config.raft.self_index,
            role: status.role.name(),
            leader: status.leader,
            term: status.term,
            last_log: status.last_log,
            committed: status.committed,
            applied: status.applied,
            snapshot: status.snapshot,
            purged: status.purged,
            progress: status
                .replication
                .iter()
                .map(|p| Progress { replica: p.peer, matched: p.matched })
                .collect(),
            waiting_for: status.waiting_for,
        }
    }

    fn transfer(&self, to: Option<u64>) -> Answer<'_, Transfer> {
        Box::pin(self.transfer_leadership(to))
    }

    fn topics(&self, after: &str, limit: usize) -> Answer<'_, Vec<Topic>> {
        let tables = self.group.tables();
        let found =
            tables.topics().into_iter().filter(|topic| &*topic.name > after).take(limit).map(topic).collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn topic(&self, name: &str) -> Answer<'_, Option<Topic>> {
        let found = self.group.tables().topic(name).map(topic);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn queues(&self, name: &str) -> Answer<'_, Option<Vec<Queue>>> {
        let tables = self.group.tables();
        let found = tables.topic(name).map(|topic| {
            (0..topic.queue_count()).filter_map(|queue_id| queue(&tables, name, queue_id)).collect::<Vec<_>>()
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn consumer_groups(&self, after: &str, limit: usize) -> Answer<'_, Vec<ConsumerGroup>> {
        let tables = self.group.tables();
        let names =
            tables.groups().into_iter().map(|group| group.name.clone()).filter(|name| &**name > after);
        let found = names.take(limit).map(|name| consumer_group(&tables, &name)).collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn consumer_group(&self, name: &str) -> Answer<'_, Option<ConsumerGroupDetail>> {
        let tables = self.group.tables();
        let known = tables.group(name).is_some() || tables.members(name).is_some();
        let found = known.then(|| consumer_group_detail(&tables, name));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            raft: self.raft_gauges(),
            log: self.log_counters(),
            storage: self.storage_gauges(),
            clients: self.client_gauges(),
            lags: if self.group.leads() { self.lags() } else { Lags::default() },
            expiring: self.expiring.list(),
            delays: delays(&self.group.tables()),
        }
    }
}

impl NodeSource {
    /// Computed from a copy of the tables, so that apply need not wait.
    fn lags(&self) -> Lags {
        let tables = self.group.tables().clone();
        lags(&tables)
    }

    async fn transfer_leadership(&self, to: Option<u64>) -> Result<Transfer, AdminError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.group.standing() {
                Standing::Leading { term } => return self.transfer_here(term, to).await,
                Standing::Following { leader } => {
                    let asked = self.links.tell(leader, wire::transfer(to), Duration::from_secs(4)).await;
                    return match asked {
                        Ok(()) => Ok(self.after_transfer(leader, deadline).await),
                        Err(ForwardError::NotProposed) => Err(AdminError::Conflict {
                            reason: "the leader did not hand over".into(),
                            leader: Some(leader),
                        }),
                        Err(ForwardError::Unknown(reason)) => {
                            Err(AdminError::Timeout { reason, leader: Some(leader) })
                        }
                    };
                }
                Standing::Unsettled if Instant::now() >= deadline => {
                    return Err(AdminError::NoLeader("no leader is known".into()));
                }
                Standing::Unsettled => self.group.changed(deadline).await,
            }
        }
    }

    async fn transfer_here(&self, term: u64, to: Option<u64>) -> Result<Transfer, AdminError> {
        let own = self.config.raft.self_index;
        if to == Some(own) {
            return Ok(Transfer { from: own, leader: Some(own), term });
        }
        if let Some(target) = to
            && self.links.tell(target, wire::ping(), Duration::from_millis(500)).await.is_err()
        {
            let reason = format!("n{target} can't be reached, n{own} goes on leading");
            return Err(AdminError::Conflict { reason, leader: Some(own) });
        }
        match transfer::transfer(&self.group, &self.in_flight, to).await {
            Ok(()) => {
                let done = self.after_transfer(own, Instant::now() + Duration::from_secs(2)).await;
                match (to, done.leader) {
                    (Some(target), Some(leader)) if target != leader => {
                        let reason = format!("n{target} did not take over, n{leader} was elected");
                        Err(AdminError::Timeout { reason, leader: Some(leader) })
                    }
                    _ => Ok(done),
                }
            }
            Err(error @ (TransferError::NotLeader | TransferError::NoTarget(_))) => {
                Err(AdminError::Conflict {
                    reason: error.to_string(),
                    leader: self.group.status().borrow().leader,
                })
            }
            Err(TransferError::Timeout) => Err(AdminError::Timeout {
                reason: TransferError::Timeout.to_string(),
                leader: self.group.status().borrow().leader,
            }),
            Err(TransferError::Stopped) => Err(AdminError::Internal(TransferError::Stopped.to_string())),
        }
    }

    /// Waits a little for the new leader to show.
    async fn after_transfer(&self, from: u64, deadline: Instant) -> Transfer {
        let mut status = self.group.leadership();
        let shown = status.wait_for(|status| status.leader.is_some_and(|leader| leader != from));
        let _ = tokio::time::timeout_at(deadline.into(), shown).await;
        let status = self.group.status().borrow().clone();
        Transfer { from, leader: status.leader, term: status.term }
    }

    fn raft_gauges(&self) -> RaftGauges {
        let status = self.group.status().borrow().clone();
        RaftGauges {
            role: status.role.name(),
            term: status.term,
            leader: status.leader,
            last_log: status.last_log.unwrap_or(0),
            committed: status.committed.unwrap_or(0),
            applied: status.applied.unwrap_or(0),
            replicas: status.replication.iter().map(|progress| (progress.peer, progress.matched)).collect(),
        }
    }

    fn log_counters(&self) -> LogCounters {
        let counters = self.group.replica().counters();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        LogCounters {
            flush_bounds_us: &LATENCY_BOUNDS_US,
            flush_buckets: counters.flush.buckets(),
            flush_sum_us: counters.flush.sum_us(),
            appended_records: read(&counters.appended_records),
            appended_bytes: read(&counters.appended_bytes),
            append_requests: read(&counters.append_requests),
            append_request_records: read(&counters.append_request_records),
            elections: read(&counters.elections),
            terms_led: read(&counters.terms_led),
            busy: read(&counters.busy),
            in_flight_bytes: read(&counters.in_flight_bytes),
            slow_polls: read(&counters.slow_polls),
            checkpoints: read(&counters.checkpoints),
            installs: read(&counters.installs),
        }
    }

    fn storage_gauges(&self) -> StorageGauges {
        let log = self.group.replica().log();
        let segments = log.segments();
        let (first, end) = log.bounds();
        let oldest = segments.first().map_or(0, |segment| segment.first_time_ms);
        let disk = disk_space(&self.config.disk.root);
        StorageGauges {
            segments: segments.len() as u64,
            log_bytes: end.saturating_sub(first),
            disk_total_bytes: disk.0,
            disk_free_bytes: disk.1,
            flush_behind_bytes: end.saturating_sub(log.synced()),
            dispatch_behind_bytes: end.saturating_sub(self.group.tables().applied().end_position),
            reserved: if oldest == 0 {
                Duration::ZERO
            } else {
                Duration::from_millis(wall_clock::now_ms().saturating_sub(oldest))
            },
            flush_is_sync: self.config.disk.flush == FlushMode::Sync,
            disk_used_percent: self.disk.used_percent(),
            disk_refuses: self.disk.refuses(),
            key_index_behind: self.keys.as_ref().map_or(0, |keys| keys.behind()),
        }
    }

    fn client_gauges(&self) -> ClientGauges {
        let tables = self.group.tables();
        ClientGauges {
            connections: self.sessions.connection_count() as u64,
            producers: self.sessions.producer_count() as u64,
            consumers: self.sessions.consumers().len() as u64,
            topics: tables.topics().len() as u64,
            groups: tables.groups().len() as u64,
            long_polls: self.polls.len() as u64,
            in_flight_bytes: self.budget.in_use() as u64,
            permission: tables.settings().broker_permission.0.into(),
        }
    }
}

/// Bytes in all and free, of the file system under a folder; zeros when it can't be asked.
fn disk_space(folder: &std::path::Path) -> (u64, u64) {
    rustix::fs::statvfs(folder)
        .map_or((0, 0), |space| (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize))
}

fn offset(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn topic(config: &TopicConfig) -> Topic {
    Topic {
        name: config.name.to_string(),
        read_queues: config.read_queue_count,
        write_queues: config.write_queue_count,
        permission: config.perm.0.into(),
        ordered: config.order,
        system: is_system_topic(&config.name),
    }
}

fn queue(tables: &Tables, topic: &str, queue_id: u32) -> Option<Queue> {
    let head = tables.queue_head(topic, queue_id)?;
    Some(Queue {
        queue: queue_id,
        min_offset: offset(head.min),
        max_offset: offset(head.max),
        last_time_ms: u64::try_from(head.last_store_time_ms).ok(),
    })
}

fn topics_of(tables: &Tables, group: &str) -> BTreeSet<Arc<str>> {
    let stored = tables.consumer_offsets(group).map(|(topic, _, _)| topic.clone());
    let members = tables.members(group);
    let subscribed = members.into_iter().flat_map(|members| members.subscriptions()).map(|s| s.topic.clone());
    stored.chain(subscribed).collect()
}

fn consumer_group(tables: &Tables, name: &str) -> ConsumerGroup {
    ConsumerGroup {
        name: name.to_owned(),
        member_count: tables.members(name).map_or(0, |members| members.members.len()),
        topics: topics_of(tables, name).iter().map(ToString::to_string).collect(),
    }
}

fn consumer_group_detail(tables: &Tables, name: &str) -> ConsumerGroupDetail {
    let members = tables.members(name);
    let first = members.and_then(|members| members.members.values().next());
    ConsumerGroupDetail {
        name: name.to_owned(),
        message_model: first.map(|member| match member.message_model {
            MessageModel::Broadcasting => "broadcasting",
            MessageModel::Clustering => "clustering",
        }),
        consume_type: first.map(|member| match member.consume_type {
            ConsumeType::Actively => "pull",
            ConsumeType::Passively => "push",
            ConsumeType::Pop => "pop",
        }),
        members: members.into_iter().flat_map(|members| members.members.values()).map(group_member).collect(),
        offsets: offsets(tables, name),
    }
}

fn group_member(member: &flotilla_core::Member) -> GroupMember {
    let language = Language::from_code(member.language);
    GroupMember {
        client_id: member.client_id.to_string(),
        language: language.name().map_or_else(|| member.language.to_string(), str::to_owned),
        version: member.version,
        subscriptions: member
            .subscriptions
            .values()
            .map(|subscription| Subscription {
                topic: subscription.topic.to_string(),
                expression: subscription.expression.to_string(),
                expression_type: subscription.expression_type.to_string(),
            })
            .collect(),
    }
}

fn offsets(tables: &Tables, group: &str) -> Vec<QueueOffset> {
    let mut offsets = Vec::new();
    for topic in topics_of(tables, group) {
        let queues = tables.topic(&topic).map_or(0, |config| config.read_queue_count);
        for queue_id in 0..queues {
            let Some(range) = tables.queue(&topic, queue_id) else { continue };
            offsets.push(QueueOffset {
                topic: topic.to_string(),
                queue: queue_id,
                min_offset: offset(range.min),
                max_offset: offset(range.max),
                committed: tables.consumer_offset(group, &topic, queue_id).map(offset),
            });
        }
    }
    offsets
}

fn delays(tables: &Tables) -> Vec<DelayLevel> {
    let levels = tables.delay_progress().into_iter();
    levels
        .map(|progress| DelayLevel {
            level: progress.level(),
            pending: progress.pending(),
            done: u64::try_from(progress.next).unwrap_or(0),
        })
        .collect()
}

fn lags(tables: &Tables) -> Lags {
    let mut lags = Lags::default();
    for group in tables.groups() {
        let mut by_topic: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        for queue in offsets(tables, &group.name) {
            let Some(messages) = queue.lag() else { continue };
            *by_topic.entry(queue.topic.clone()).or_default() += messages;
            if lags.queues.len() < LAGS_MAX {
                let group = group.name.to_string();
                lags.queues.push((queue.queue, ConsumerLag { topic: queue.topic, group, messages }));
            }
        }
        for (topic, messages) in by_topic {
            if lags.topics.len() == LAGS_MAX {
                return lags;
            }
            lags.topics.push(ConsumerLag { topic, group: group.name.to_string(), messages });
        }
    }
    lags
}
