//! After the last fault the group must come to life within bounded virtual time: one leader, new messages acknowledged, every
//! replica with the same log and the same tables, and each name server gives the group as it is: its leader as broker 0, the others
//! under the numbers that are theirs (FAILOVER rules 3 and 15). The consumers' group has whoever is there, and nobody else (rule 1).

use std::collections::BTreeSet;

use flotilla_raft_store::Record;
use flotilla_raft_store::raft::Role;

use crate::host::Running;
use crate::membership::WATCHED;
use crate::say;
use crate::world::World;

/// Time for an election, for catching up, for connections that only a time-out ends, and for a registration that is repeated where
/// nobody could tell that its name server has been another.
pub const CONVERGE_MS: u64 = 40_000;
/// A replica that is behind after that may go on for so long at most, while it does: thousands of records wait on links and for
/// segments that are drawn to be slow (one small piece in a round trip of 40 ms, seed 4003530).
const CATCH_UP_MS: u64 = 120_000;
/// One that has not come forward for so long stands still.
const STILL_MS: u64 = 2_000;
/// Time in which clients ask once more.
const SERVE_MS: u64 = 1_000;

/// Waits for the group's recovery and looks at what it has become.
///
/// # Errors
/// What it lacks after [`CONVERGE_MS`], or what stands still after that.
pub fn converge(world: &mut World) -> Result<(), String> {
    let begun_ms = world.now_ms();
    let mut asked = None;
    let mut hindmost = Hindmost::default();
    world.habits.set_asking(true);
    loop {
        world.step();
        if let Some(what) = world.violation() {
            return Err(what);
        }
        let acked = world.judge.lock().history.count("acked");
        match (asked, missing(world)) {
            // There is a leader: let clients ask for a while.
            (None, Ok(_)) | (None, Err(Lack::Behind(_))) => asked = Some((world.now_ms() + SERVE_MS, acked)),
            (Some((until_ms, before)), state) if world.now_ms() >= until_ms => {
                world.habits.set_asking(acked == before);
                if acked > before && state.is_ok() && settled(world).is_ok() {
                    say!("converged after {} ms", world.now_ms() - begun_ms);
                    world.look_at_logs();
                    world.look_at_disks();
                    return equal_logs(world);
                }
            }
            _ => {}
        }
        let taken_ms = world.now_ms() - begun_ms;
        if taken_ms > CONVERGE_MS {
            hindmost.look(world);
            let lack = match missing(world) {
                Ok(()) => settled(world).err().unwrap_or("no new message was acknowledged".to_owned()),
                Err(Lack::Behind(_)) if taken_ms < CATCH_UP_MS && hindmost.comes_forward(world) => continue,
                Err(Lack::Leader(what) | Lack::Behind(what)) => what,
            };
            return Err(format!("liveness: {taken_ms} ms after the last fault {lack}"));
        }
    }
}

/// How far the replica is that has applied least, and since when.
#[derive(Default)]
struct Hindmost {
    applied: Option<u64>,
    since_ms: u64,
}

impl Hindmost {
    fn look(&mut self, world: &World) {
        let running = world.hosts.iter().filter_map(|host| host.running());
        let applied = running.map(|running| running.status().applied.map_or(0, |applied| applied + 1)).min();
        if self.applied < applied {
            *self = Hindmost { applied, since_ms: world.now_ms() };
        }
    }

    fn comes_forward(&self, world: &World) -> bool {
        world.now_ms() - self.since_ms < STILL_MS
    }
}

enum Lack {
    Leader(String),
    Behind(String),
}

fn missing(world: &World) -> Result<(), Lack> {
    let mut leaders = 0;
    let mut ends = Vec::new();
    for host in &world.hosts {
        let Some(running) = host.running() else {
            return Err(Lack::Leader(format!("n{} does not run", host.index)));
        };
        let status = running.status();
        leaders += usize::from(status.role == Role::Leader && status.leads_safely());
        ends.push((host.index, status.last_log, status.applied));
    }
    if leaders != 1 {
        return Err(Lack::Leader(format!("{leaders} replicas lead")));
    }
    let end = ends.iter().map(|(_, last, _)| *last).max().flatten();
    match ends.iter().find(|(_, last, applied)| *last != end || *applied != end) {
        Some((host, last, applied)) => {
            Err(Lack::Behind(format!("n{host} has {last:?} and has applied {applied:?} of {end:?}")))
        }
        None => Ok(()),
    }
}

/// What name servers give, and whom the leader has in the consumers' group.
fn settled(world: &World) -> Result<(), String> {
    let Some(leader) = world.leader() else { return Err("no replica leads".into()) };
    world.names.settled(leader, world.hosts.len())?;
    let tables = world.hosts[leader].tables().ok_or("the leader does not run")?.lock();
    let members = tables.members(WATCHED).map(|members| members.client_ids().cloned().collect());
    let (members, present): (BTreeSet<_>, BTreeSet<_>) =
        (members.unwrap_or_default(), world.consumers.present().into_iter().collect());
    // A connection whose end nobody has told may stand for one that is not there, until it has been idle for too long.
    let held: BTreeSet<_> =
        world.hosts.iter().filter_map(|host| host.running()).flat_map(Running::consumers).collect();
    let gone = members.difference(&present).find(|gone| !held.contains(*gone));
    if !present.is_subset(&members) || gone.is_some() {
        return Err(format!("{members:?} are members, {held:?} are connected, and {present:?} are there"));
    }
    Ok(())
}

/// Logs and tables, byte for byte.
fn equal_logs(world: &World) -> Result<(), String> {
    let mut first: Option<(usize, u64, Vec<u32>)> = None;
    for host in &world.hosts {
        let (Some(running), Some(tables)) = (host.running(), host.tables()) else { continue };
        world.judge.lock().reference.compare_whole(host.index, &tables.lock())?;
        let log = running.replica.log();
        let start = log.first_index();
        let end = log.last().map_or(0, |last| last.index + 1);
        let mut sums = Vec::new();
        let mut next = start;
        while next < end {
            let records: Vec<Record> =
                log.entries(next, end, 1 << 20).map_err(|error| format!("n{}'s log: {error}", host.index))?;
            next += records.len() as u64;
            sums.extend(records.iter().map(Record::crc));
        }
        if let Some((other, other_start, other_sums)) = &first {
            let from = start.max(*other_start);
            let tail = |start: u64, sums: &[u32]| sums.get((from - start) as usize..).map(<[u32]>::to_vec);
            if tail(start, &sums) != tail(*other_start, other_sums) {
                return Err(format!("the logs of n{} and n{other} differ in the end", host.index));
            }
        } else {
            first = Some((host.index, start, sums));
        }
    }
    Ok(())
}
