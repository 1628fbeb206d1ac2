//! Consumer groups on one replica: the broker's own sessions, joins, reports and the leader's duty to drop who is gone, with
//! connections of the simulated network under them.
//!
//! What a node has around them is written down here once more, as short as it can be: which request does what (a heartbeat, a
//! report, a peer's proposal), and that whoever is connected and was dropped joins again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_broker::membership::{
    ForwardError, Joins, LeaderCalls, MemberDuty, PeerCalls, Reports, Sessions, report_to_leader, wire,
};
use flotilla_broker::party::Party as _;
use flotilla_broker::registration::NoRequests;
use flotilla_core::{Answer, Command, ConsumeFrom, ConsumeType, Member, MessageModel};
use flotilla_net::{
    ByteBudget, BytesPermit, ClientPool, CloseReason, Connection, ConnectionOptions, PoolOptions,
    RequestError, Service,
};
use flotilla_remoting::Frame;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::mutants::Mutant;
use crate::net::{Caller, Door, Plug};
use crate::party::Spokesman;

/// The group whose members are looked at.
pub const WATCHED: &str = "watched";
/// Between two looks whether somebody who is connected was dropped.
const HEAL_EVERY: Duration = Duration::from_millis(200);
/// As long as a leader lets a peer's proposal wait.
const PROPOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Where clients call a replica.
pub fn clients_door(host: usize) -> String {
    format!("n{host}:10911")
}

/// Where one replica calls another: a door each, so that who called is known.
fn peers_door(host: usize, from: usize) -> String {
    format!("n{host}:{}", 20_000 + from)
}

/// What the broker's parts of one process share.
struct Parts {
    party: Spokesman,
    sessions: Arc<Sessions>,
    reports: Arc<Reports>,
    joins: Arc<Joins<Spokesman, Calls>>,
    runtime: Handle,
}

/// Begins; must be called within the process's runtime. Gives the clients that are connected.
///
/// # Panics
/// A port is taken.
pub fn begin(
    (host, plug): (usize, &Plug),
    hosts: usize,
    party: Spokesman,
    mutant: Option<Mutant>,
) -> Arc<Sessions> {
    let forgets = mutant == Some(Mutant::ForgottenMembers) && host == 1;
    let pool = ClientPool::dialling(PoolOptions::default(), Caller::new(plug.clone()), Arc::new(NoRequests));
    let links = Arc::new(Calls { host, pool, forgets });
    let leader = LeaderCalls::new(party.clone(), Arc::clone(&links));
    let (sessions, reports) = (Arc::new(Sessions::default()), Arc::new(Reports::default()));
    let runtime = Handle::current();
    let joins = Joins::new(party.clone(), leader, runtime.clone());
    let parts = Arc::new(Parts {
        party: party.clone(),
        sessions: Arc::clone(&sessions),
        reports: Arc::clone(&reports),
        joins,
        runtime,
    });
    serve(plug, &clients_door(host), Arc::new(Clients(Arc::clone(&parts))));
    for from in (0..hosts).filter(|from| *from != host) {
        serve(plug, &peers_door(host, from), Arc::new(Peer { from: from as u64, parts: Arc::clone(&parts) }));
    }
    let stop = CancellationToken::new();
    tokio::spawn(report_to_leader(party.clone(), links, Arc::clone(&sessions), stop.clone()));
    let duty = MemberDuty {
        group: party,
        reports,
        sessions: Arc::clone(&sessions),
        self_index: host as u64,
        peers: (0..hosts as u64).collect(),
    };
    tokio::spawn(duty.run(stop));
    tokio::spawn(heal(parts));
    sessions
}

fn serve(plug: &Plug, address: &str, service: Arc<dyn Service>) {
    let mut door = Door::open(plug, address).expect("its own port");
    tokio::spawn(async move {
        while let Ok(stream) = door.accept().await {
            let (options, budget) = (ConnectionOptions::default(), ByteBudget::new(1 << 20));
            Connection::over_stream(stream, options, budget, Arc::clone(&service));
        }
    });
}

/// Whoever is connected and no member joins again.
async fn heal(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(HEAL_EVERY).await;
        for (group, client_id) in parts.sessions.consumers() {
            if let Some(member) = parts.sessions.member(&group, &client_id) {
                parts.joins.ensure(group, member);
            }
        }
    }
}

/// Serves clients: whatever they send is a heartbeat, whose body is the client's id.
struct Clients(Arc<Parts>);

impl Service for Clients {
    fn connected(&self, connection: &Arc<Connection>) {
        self.0.sessions.connected(connection);
    }

    fn disconnected(&self, connection: &Arc<Connection>, _: &CloseReason) {
        self.0.sessions.disconnected(connection.id());
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let client_id = String::from_utf8_lossy(&request.body);
        let group: Arc<str> = Arc::from(WATCHED);
        let member = member(&client_id);
        self.0.sessions.heartbeat(connection.id(), &client_id, [], [Arc::clone(&group)]);
        self.0.sessions.remember(connection.id(), [(Arc::clone(&group), member.clone())]);
        self.0.joins.ensure(group, member);
        // A failure means that the client is gone.
        connection.reply(wire::answered(request.header.opaque), permit).ok();
    }
}

fn member(client_id: &str) -> Member {
    Member {
        client_id: Arc::from(client_id),
        language: 0,
        version: 479,
        address: Arc::from("10.0.0.1:1"),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Clustering,
        consume_from: ConsumeFrom::LastOffset,
        unit_mode: false,
        subscriptions: BTreeMap::new(),
    }
}

/// Serves one peer.
struct Peer {
    from: u64,
    parts: Arc<Parts>,
}

impl Service for Peer {
    fn disconnected(&self, connection: &Arc<Connection>, _: &CloseReason) {
        self.parts.reports.replica_lost(self.from, connection.id(), Instant::now());
    }

    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let opaque = request.header.opaque;
        match request.header.code {
            wire::PRESENCE => {
                let members = wire::present(request.body).expect("a report as replicas write it");
                self.parts.reports.report(self.from, connection.id(), members, Instant::now());
                connection.reply(wire::answered(opaque), permit).ok();
            }
            wire::PROPOSE => {
                let command = Command::decode(&request.body).expect("a command as replicas write it");
                let (party, connection) = (self.parts.party.clone(), Arc::clone(connection));
                self.parts.runtime.spawn(async move {
                    let deadline = Instant::now() + PROPOSE_PATIENCE;
                    let answer =
                        if party.leads() { party.propose(command, deadline).await.ok() } else { None };
                    let answer = answer.map_or(wire::not_proposed(opaque), |answer| Frame {
                        body: answer.encode(),
                        ..wire::answered(opaque)
                    });
                    connection.reply(answer, permit).ok();
                });
            }
            // Producers are not looked at.
            _ => {
                connection.reply(wire::answered(opaque), permit).ok();
            }
        }
    }
}

/// Calls of the other replicas.
struct Calls {
    host: usize,
    pool: ClientPool,
    /// For [`Mutant::ForgottenMembers`].
    forgets: bool,
}

impl Calls {
    async fn ask(&self, peer: u64, frame: Frame, timeout: Duration) -> Result<Frame, ForwardError> {
        let answer = self.pool.request(&peers_door(peer as usize, self.host), frame, timeout).await;
        let answer = answer.map_err(|error| match error {
            RequestError::NotSent(_) => ForwardError::NotProposed,
            error => ForwardError::Unknown(error.to_string()),
        })?;
        match answer.header.code {
            wire::ANSWERED => Ok(answer),
            _ => Err(ForwardError::NotProposed),
        }
    }
}

impl PeerCalls for Calls {
    async fn propose(&self, peer: u64, command: &Command, timeout: Duration) -> Result<Answer, ForwardError> {
        let answer = self.ask(peer, wire::request(wire::PROPOSE, command.encode()), timeout).await?;
        Answer::decode(&answer.body).map_err(|error| ForwardError::Unknown(error.to_string()))
    }

    async fn tell(&self, peer: u64, frame: Frame, timeout: Duration) -> Result<(), ForwardError> {
        let frame =
            if self.forgets && frame.header.code == wire::PRESENCE { wire::presence(&[]) } else { frame };
        self.ask(peer, frame, timeout).await.map(drop)
    }
}
