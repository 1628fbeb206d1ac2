//! Who is connected where: each replica reports to the leader, the leader keeps the reports of its term.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::limits::PRESENCE_GRACE;
use crate::party::{Party, Standing};
use crate::peers::calls::PeerCalls;
use crate::peers::wire;
use crate::sessions::Sessions;
use crate::sessions::presence::Presence;
use crate::sessions::producers::Producer;

type Member = (Arc<str>, Arc<str>);

/// A report is repeated after this time although nothing has changed, so that a lost one is made good.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A report that came so long before the first look of a term was for an earlier one, and its replica may hold others by now. It
/// says nothing: who still follows has reported again since, and who is cut off must not be taken for one that holds nobody.
const EARLY_MAX: Duration = Duration::from_secs(2);

/// The same for the longer report of producers, which only tools and checks of transactions need.
const PRODUCER_REPORT_INTERVAL: Duration = Duration::from_secs(3);

/// A new leader waits for the others' reports of producers for this time; only a dead replica is silent for longer.
const PRODUCER_GRACE: Duration = Duration::from_secs(2);

/// The reports that reached this replica while it leads.
#[derive(Default)]
pub struct Reports {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    term: u64,
    presence: Option<Presence>,
    /// Reports that came before this replica knew that it leads; the first look of the new term takes those in that are young
    /// enough to have been meant for it.
    early: HashMap<u64, Early>,
    /// When this replica was first seen to lead in the term.
    led_since: Option<Instant>,
    /// Producers by replica, each list with the number of the stream that it came over.
    producers: HashMap<u64, (u64, Vec<Producer>)>,
}

struct Early {
    stream: u64,
    at: Instant,
    members: Vec<Member>,
}

/// Stream number of this replica's own reports, which come over none; those of connections begin at 1.
const OWN_STREAM: u64 = 0;

impl Reports {
    /// Takes a replica's whole list, which came over the stream with this number.
    pub fn report(&self, replica: u64, stream: u64, members: Vec<Member>, now: Instant) {
        let mut state = self.state.lock();
        match &mut state.presence {
            Some(presence) => presence.report(replica, stream, members, now),
            None => drop(state.early.insert(replica, Early { stream, at: now, members })),
        }
    }

    /// Takes a replica's whole list of producers.
    pub fn report_producers(&self, replica: u64, stream: u64, producers: Vec<Producer>) {
        self.state.lock().producers.insert(replica, (stream, producers));
    }

    /// Replicas that hold a connection of this client as a producer.
    pub fn producer_holders(&self, client_id: &str) -> Vec<u64> {
        let state = self.state.lock();
        let holds = |list: &[Producer]| list.iter().any(|producer| &*producer.client_id == client_id);
        let mut holders: Vec<u64> = state
            .producers
            .iter()
            .filter(|(_, (_, list))| holds(list))
            .map(|(replica, _)| *replica)
            .collect();
        holders.sort_unstable();
        holders
    }

    /// The producers that other replicas hold.
    pub fn producers(&self) -> Vec<Producer> {
        let state = self.state.lock();
        state.producers.values().flat_map(|(_, producers)| producers.iter().cloned()).collect()
    }

    /// True when every other replica has reported its producers, or has had the time to.
    pub fn are_complete(&self, own: u64, peers: &[u64], now: Instant) -> bool {
        let state = self.state.lock();
        let reported = |peer: &u64| *peer == own || state.producers.contains_key(peer);
        peers.iter().all(reported)
            || state.led_since.is_some_and(|since| now.saturating_duration_since(since) >= PRODUCER_GRACE)
    }

    /// A stream of a replica has ended.
    pub fn replica_lost(&self, replica: u64, stream: u64, now: Instant) {
        let mut state = self.state.lock();
        if state.producers.get(&replica).is_some_and(|(over, _)| *over == stream) {
            state.producers.remove(&replica);
        }
        if state.early.get(&replica).is_some_and(|early| early.stream == stream) {
            state.early.remove(&replica);
        }
        if let Some(presence) = &mut state.presence {
            presence.replica_lost(replica, stream, now);
        }
    }

    /// Replicas that hold a connection of the member.
    pub fn holders(&self, group: &Arc<str>, client_id: &Arc<str>) -> Vec<u64> {
        self.state
            .lock()
            .presence
            .as_ref()
            .map_or_else(Vec::new, |presence| presence.holders(group, client_id))
    }

    /// Members among `all` that are gone; called by the leader of `term`, which adds its own connections.
    pub fn gone(
        &self,
        term: u64,
        own: (u64, Vec<Member>),
        all: Vec<Member>,
        peers: &[u64],
        now: Instant,
    ) -> Vec<Member> {
        let mut state = self.state.lock();
        if state.term != term || state.presence.is_none() {
            state.term = term;
            let mut presence = Presence::new(now, PRESENCE_GRACE);
            let young = |early: &Early| now.saturating_duration_since(early.at) < EARLY_MAX;
            for (replica, early) in state.early.drain().filter(|(_, early)| young(early)) {
                presence.report(replica, early.stream, early.members, early.at);
            }
            state.presence = Some(presence);
            state.led_since = Some(now);
        }
        let Some(presence) = &mut state.presence else { return Vec::new() };
        presence.report(own.0, OWN_STREAM, own.1, now);
        presence.gone(all, peers, now)
    }

    /// This replica does not lead: what it knew of others is stale.
    pub fn deposed(&self) {
        let mut state = self.state.lock();
        // Only at the change: what comes afterwards is for the term in which this replica may lead again.
        if state.presence.take().is_some() {
            state.producers.clear();
            state.led_since = None;
        }
    }
}

/// Tells the leader who is connected here: on each change, on each new leader, and every now and then. Runs until stopped.
pub async fn report_to_leader(
    group: impl Party,
    links: Arc<impl PeerCalls>,
    sessions: Arc<Sessions>,
    stop: CancellationToken,
) {
    let mut changes = sessions.watch();
    let mut producer_changes = sessions.watch_producers();
    let mut status = group.leadership();
    // Whom which producers were told to, in which term, and when.
    let mut told: Option<((u64, u64, u64), Instant)> = None;
    loop {
        let (known, term) = {
            let status = status.borrow_and_update();
            (status.leader, status.term)
        };
        changes.mark_unchanged();
        let new_leader = status.wait_for(|status| status.leader != known);
        let telling = async {
            if let Standing::Following { leader } = group.standing() {
                let report = wire::presence(&sessions.consumers());
                // A report that did not arrive is repeated within a second.
                let _ = links.tell(leader, report, REPORT_INTERVAL).await;
                let now = (leader, term, *producer_changes.borrow_and_update());
                if told.is_none_or(|(then, at)| then != now || at.elapsed() >= PRODUCER_REPORT_INTERVAL) {
                    let report = wire::producers(&sessions.producers());
                    let arrived = links.tell(leader, report, REPORT_INTERVAL).await.is_ok();
                    told = arrived.then(|| (now, Instant::now()));
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = producer_changes.changed() => {}
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
        };
        // A leader that hangs does not hold up the report to its successor.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = new_leader => {}
            () = telling => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(client: &str) -> Producer {
        Producer {
            group: Arc::from("p"),
            client_id: Arc::from(client),
            address: Arc::from("10.0.0.1:1"),
            language: 0,
            version: 479,
            heard_ms: 5,
        }
    }

    #[test]
    fn a_report_to_an_earlier_term_does_not_let_a_new_leader_drop_who_has_come_since() {
        let reports = Reports::default();
        let before = Instant::now();
        let client: Member = (Arc::from("g"), Arc::from("a"));
        // Replica 1 still took this one for the leader; since then it holds the client, and nothing of it arrives here any more.
        reports.report(1, 7, Vec::new(), before);
        let led = before + Duration::from_secs(20);
        let look = |now| reports.gone(9, (0, Vec::new()), vec![client.clone()], &[0, 1], now);
        assert!(look(led).is_empty());
        assert!(look(led + Duration::from_secs(10)).is_empty(), "replica 1 has said nothing in this term");
        // One that came just before the first look counts.
        let reports = Reports::default();
        reports.report(1, 7, Vec::new(), led - Duration::from_millis(500));
        let look = |now| reports.gone(9, (0, Vec::new()), vec![client.clone()], &[0, 1], now);
        assert!(look(led).is_empty());
        assert_eq!(look(led + Duration::from_secs(2)), std::slice::from_ref(&client));
    }

    #[test]
    fn producers_are_found_where_they_were_reported_until_the_stream_ends() {
        let reports = Reports::default();
        // Before the first look of a term as well as after it.
        reports.report_producers(1, 1, vec![producer("a"), producer("b")]);
        assert_eq!(reports.producer_holders("a"), [1]);
        reports.gone(7, (0, Vec::new()), Vec::new(), &[0, 1, 2], Instant::now());
        reports.report_producers(2, 5, vec![producer("a")]);
        assert_eq!((reports.producer_holders("a"), reports.producer_holders("b")), (vec![1, 2], vec![1]));
        reports.replica_lost(1, 9, Instant::now());
        reports.replica_lost(2, 5, Instant::now());
        assert_eq!(reports.producer_holders("a"), [1]);
        reports.deposed();
        assert!(reports.producer_holders("a").is_empty(), "what it knew of others is stale");
    }
}
