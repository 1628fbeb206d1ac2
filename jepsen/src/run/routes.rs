//! Watches what name servers tell: once a name server has told the leader of a term, it never again tells a node that leads
//! no higher term (FAILOVER rule of the product: "a deposed leader's entry never replaces its successor's").
//!
//! Looked at from outside: every name server is asked directly, and every broker for its role. A name server that does not
//! answer may have been started anew and has forgotten terms. A broker that does not answer proves nothing: only one that
//! says itself that it does not lead, twice and for a while, counts as deposed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_client::{AdminClient, ClientOptions};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, Role};
use crate::recorder::Recorder;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(150);
/// Longest wait for a name server.
const ANSWER: Duration = Duration::from_millis(500);
/// A route may be wrong for so long: looks at name servers and at brokers are not at the same moment.
const GRACE: Duration = Duration::from_millis(1_000);

/// A watch that goes on until it is ended or dropped.
pub(super) struct Watch {
    found: Arc<Mutex<Found>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Found {
    /// Answers that told a leader of a known term: others prove nothing.
    looks: u64,
    wrong: Vec<String>,
}

impl Watch {
    pub(super) fn begin(cluster: Arc<Cluster>) -> anyhow::Result<Watch> {
        let found = Arc::new(Mutex::new(Found::default()));
        let mut asked = Vec::new();
        for (number, place) in cluster.layout().name_servers.iter().enumerate() {
            let options = ClientOptions::new(&place.listen.to_string())?;
            let client = options.instance_name(format!("route-watch-{number}")).start()?;
            asked.push(AdminClient::new(&client).patience(Duration::ZERO));
        }
        let task = tokio::spawn(watch(cluster, asked, found.clone()));
        Ok(Watch { found, _task: AbortOnDropHandle::new(task) })
    }

    /// Records what was seen.
    pub(super) fn end(self, recorder: &Recorder) {
        self.found.lock().record(recorder);
    }
}

impl Found {
    fn record(&self, recorder: &Recorder) {
        let what = "routes never go back to a deposed leader";
        if !self.wrong.is_empty() {
            recorder.inspected(what, Err(self.wrong.join("; ")));
        } else if self.looks == 0 {
            recorder.not_inspected(what, "no name server told of a leader whose term is known");
        } else {
            recorder.inspected(what, Ok(format!("{} looks", self.looks)));
        }
    }
}

async fn watch(cluster: Arc<Cluster>, asked: Vec<AdminClient>, found: Arc<Mutex<Found>>) {
    let mut seen: Vec<Seen> = asked.iter().map(|_| Seen::default()).collect();
    let mut terms = BTreeMap::new();
    let began = Instant::now();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let roles = cluster.roles().await;
        for role in roles.iter().filter(|role| role.leads) {
            let term = terms.entry(role.node).or_insert(0);
            *term = role.term.max(*term);
        }
        for (number, admin) in asked.iter().enumerate() {
            let told = match timeout(ANSWER, admin.cluster()).await {
                Ok(Ok(told)) => {
                    told.leaders().values().next().and_then(|address| cluster.layout().node_at(address))
                }
                Ok(Err(_)) | Err(_) => {
                    seen[number] = Seen::default();
                    continue;
                }
            };
            let wrong = seen[number].told(told, &terms, &roles, Instant::now());
            let mut found = found.lock();
            found.looks += u64::from(told.is_some_and(|node| terms.contains_key(&node)));
            if let Some(wrong) = wrong {
                let at = began.elapsed().as_secs_f64();
                found.wrong.push(format!("{at:.1} s after the run began: name server {number} {wrong}"));
            }
        }
    }
}

/// What one name server has told.
#[derive(Debug, Default)]
struct Seen {
    /// Highest term of whom it told.
    highest: u64,
    /// The deposed leader that it tells now.
    deposed: Option<Deposed>,
}

#[derive(Clone, Copy, Debug)]
struct Deposed {
    node: usize,
    since: Instant,
    /// How often that node has said that it does not lead.
    denials: u32,
    noted: bool,
}

impl Seen {
    /// Notes an answer; gives what is wrong, once for each time that a route goes back.
    fn told(
        &mut self,
        node: Option<usize>,
        terms: &BTreeMap<usize, u64>,
        roles: &[Role],
        now: Instant,
    ) -> Option<String> {
        let Some(node) = node else {
            self.deposed = None;
            return None;
        };
        let term = terms.get(&node).copied().unwrap_or(0);
        if term >= self.highest {
            self.highest = term;
            self.deposed = None;
            return None;
        }
        let denies = roles.iter().any(|role| role.node == node && (!role.leads || role.term < self.highest));
        let begun = Deposed { node, since: now, denials: 0, noted: false };
        let deposed = self.deposed.get_or_insert(begun);
        if deposed.node != node {
            *deposed = begun;
        }
        deposed.denials = deposed.denials.saturating_add(u32::from(denies));
        if deposed.noted || deposed.denials < 2 || now - deposed.since < GRACE {
            return None;
        }
        deposed.noted = true;
        let highest = self.highest;
        Some(format!(
            "told n{node}, leader of term {term} at last, after it had told the leader of term {highest}"
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::checker::{Checker, Inspections, Outcome};
    use crate::history::History;

    #[test]
    fn what_nobody_looked_at_is_not_known() {
        let recorded = |found: Found| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("history.jsonl");
            let recorder = Recorder::create(&path).unwrap();
            found.record(&recorder);
            recorder.finish().unwrap();
            let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
            Inspections.check(&History::read(file).unwrap()).outcome
        };
        let wrong = || vec!["told n0".to_owned()];
        assert_eq!(recorded(Found::default()), Outcome::Unknown);
        assert_eq!(recorded(Found { looks: 3, wrong: vec![] }), Outcome::Valid);
        assert_eq!(recorded(Found { looks: 3, wrong: wrong() }), Outcome::Invalid);
    }

    fn follower(node: usize) -> Role {
        Role { node, term: 9, leads: false }
    }

    #[test]
    fn a_route_that_goes_back_is_found_and_one_that_follows_is_not() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut terms = BTreeMap::from([(0, 3), (1, 4)]);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(seen.told(Some(0), &terms, &[], at(0)), None);
        assert_eq!(seen.told(Some(1), &terms, &[follower(0)], at(100)), None);
        // Back to the first one: wrong after a while, and only where that one says itself that it does not lead.
        for ms in (200..3_000).step_by(200) {
            assert_eq!(seen.told(Some(0), &terms, &[], at(ms)), None);
        }
        let wrong: Vec<_> = (3_000..6_000)
            .step_by(200)
            .filter_map(|ms| seen.told(Some(0), &terms, &[follower(0)], at(ms)))
            .collect();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        // It leads again, and is told again.
        terms.insert(0, 5);
        for ms in (6_000..9_000).step_by(200) {
            assert_eq!(seen.told(Some(0), &terms, &[], at(ms)), None);
        }
    }
}
