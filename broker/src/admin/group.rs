//! The cluster, the Raft group, and the hand-over of leadership.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::extract::Body;
use super::problem::Problem;
use super::source::Group;
use super::{Source, replica_name};

#[derive(Serialize)]
pub(super) struct ClusterView {
    cluster: String,
    broker_name: String,
    group: String,
    #[serde(rename = "self")]
    own: String,
    leader: Option<String>,
    client_address: String,
    replicas: Vec<MemberView>,
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    raft_address: String,
    is_leader: bool,
    is_self: bool,
}

#[derive(Serialize)]
pub(super) struct GroupView {
    group: String,
    #[serde(rename = "self")]
    own: String,
    role: &'static str,
    leader: Option<String>,
    term: u64,
    last_log: Option<u64>,
    commit: Option<u64>,
    applied: Option<u64>,
    snapshot: Option<u64>,
    purged: Option<u64>,
    waiting_for: Option<String>,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize)]
struct ReplicaView {
    id: String,
    raft_address: String,
    is_leader: bool,
    /// Known to the leader only.
    matched: Option<u64>,
    /// Entries of the leader's log that the replica is not known to hold.
    lag: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferRequest {
    to: Option<String>,
}

#[derive(Serialize)]
struct TransferView {
    from: String,
    leader: Option<String>,
    term: u64,
}

pub(super) async fn cluster(State(source): State<Source>) -> Json<ClusterView> {
    let (node, group) = (source.node(), source.group());
    let replicas = node.members.into_iter().map(|member| MemberView {
        id: replica_name(member.replica),
        raft_address: member.raft_address,
        is_leader: group.leader == Some(member.replica),
        is_self: member.replica == node.replica,
    });
    Json(ClusterView {
        cluster: node.cluster,
        broker_name: node.broker_name,
        own: replica_name(node.replica),
        client_address: node.client_address,
        leader: group.leader.map(replica_name),
        replicas: replicas.collect(),
        group: group.name,
    })
}

pub(super) async fn group(State(source): State<Source>) -> Json<GroupView> {
    let (node, group) = (source.node(), source.group());
    let replicas = node.members.into_iter().map(|member| ReplicaView {
        id: replica_name(member.replica),
        raft_address: member.raft_address,
        is_leader: group.leader == Some(member.replica),
        matched: matched(&group, member.replica),
        lag: lag(&group, member.replica),
    });
    Json(GroupView {
        replicas: replicas.collect(),
        own: replica_name(group.replica),
        role: group.role,
        leader: group.leader.map(replica_name),
        term: group.term,
        last_log: group.last_log,
        commit: group.committed,
        applied: group.applied,
        snapshot: group.snapshot,
        purged: group.purged,
        waiting_for: group.waiting_for,
        group: group.name,
    })
}

/// Moves leadership. 200: the new leader is known; 202: it was asked to take over and isn't known yet.
pub(super) async fn transfer(
    State(source): State<Source>,
    Body(body): Body,
) -> Result<impl IntoResponse, Problem> {
    let request: TransferRequest = match body.trim_ascii() {
        [] => TransferRequest::default(),
        text => serde_json::from_slice(text).map_err(|error| Problem::invalid(format!("body: {error}")))?,
    };
    let to = request.to.map(|name| known_replica(&source, &name)).transpose()?;
    let done = source.transfer(to).await?;
    let status = if done.leader.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let view = TransferView {
        from: replica_name(done.from),
        leader: done.leader.map(replica_name),
        term: done.term,
    };
    Ok((status, Json(view)))
}

fn known_replica(source: &Source, name: &str) -> Result<u64, Problem> {
    let members = source.node().members;
    let found = members.iter().find(|member| replica_name(member.replica) == name);
    found.map(|member| member.replica).ok_or_else(|| {
        let known: Vec<_> = members.iter().map(|member| replica_name(member.replica)).collect();
        Problem::invalid(format!("to: '{name}' is not one of {}", known.join(", ")))
    })
}

fn matched(group: &Group, replica: u64) -> Option<u64> {
    group.progress.iter().find(|progress| progress.replica == replica)?.matched
}

fn lag(group: &Group, replica: u64) -> Option<u64> {
    let progress = group.progress.iter().find(|progress| progress.replica == replica)?;
    let in_log = group.last_log.map_or(0, |last| last + 1);
    Some(in_log.saturating_sub(progress.matched.map_or(0, |index| index + 1)))
}
