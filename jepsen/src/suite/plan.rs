//! Which runs a suite is made of. Pure: the seed and the time decide.
//!
//! Every kind of fault that the product can suffer takes part. With enough time each kind comes alone
//! first, and what is left goes to runs in which several come together; with little time the kinds are dealt out to fewer
//! runs: one for each workload from four minutes on, and with less time as many as there is time for.

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::cluster::Flush;
use crate::nemesis::Nemesis;
use crate::workload::Workload;

/// Seconds that a run takes beside its own: start, last reads, a look at the logs.
const AROUND: u64 = 15;
/// Seconds of a run with one kind of fault.
const ALONE: u64 = 30;
/// Seconds of a run with several kinds.
const TOGETHER: u64 = 60;
/// Seconds of a run of a short suite, at least: one fault of each of its kinds.
const SHORT_MIN: u64 = 25;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub workload: Workload,
    pub nemeses: Vec<Nemesis>,
    pub seconds: u64,
    pub seed: u64,
    pub nodes: usize,
    pub name_servers: usize,
    pub flush: Flush,
}

/// What `ASYNC_FLUSH` does not promise to survive: answers are given for what is not on any disk yet.
const LOSE_UNSYNCED: [Nemesis; 2] = [Nemesis::PowerLoss, Nemesis::PowerLossAll];

/// Runs for so many minutes.
pub fn plan(minutes: u64, seed: u64, kinds: &[Nemesis], five_nodes: bool) -> Vec<Planned> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut left = minutes * 60;
    let mut runs = Vec::new();
    let mut workloads = Workload::value_variants().to_vec();
    workloads.shuffle(&mut random);
    let mut kinds = kinds.to_vec();
    kinds.shuffle(&mut random);
    let alone = kinds.len() as u64 * (ALONE + AROUND);
    if alone * 10 > left * 7 {
        return short(left, &workloads, &kinds, &mut random);
    }
    for kind in &kinds {
        let workload = workloads[runs.len() % workloads.len()];
        let planned = Planned { seconds: ALONE, ..single(workload, vec![*kind], &mut random) };
        runs.push(planned);
        left -= ALONE + AROUND;
    }
    while left >= TOGETHER + AROUND {
        let workload = workloads[runs.len() % workloads.len()];
        let mut some = kinds.clone();
        some.shuffle(&mut random);
        some.truncate(random.random_range(3..=6).min(some.len()));
        let mut planned = Planned { seconds: TOGETHER, ..single(workload, some, &mut random) };
        if five_nodes && random.random_bool(0.35) {
            planned.nodes = 5;
        }
        planned.name_servers = random.random_range(1..=3);
        if random.random_bool(0.2) {
            planned.flush = Flush::Async;
            planned.nemeses.retain(|kind| !LOSE_UNSYNCED.contains(kind));
            if planned.nemeses.is_empty() {
                planned.nemeses.push(Nemesis::IsolateLeader);
            }
        }
        runs.push(planned);
        left -= TOGETHER + AROUND;
    }
    runs
}

fn short(seconds: u64, workloads: &[Workload], kinds: &[Nemesis], random: &mut SmallRng) -> Vec<Planned> {
    let count = (seconds / (SHORT_MIN + AROUND)).clamp(1, workloads.len() as u64);
    let each = (seconds / count).saturating_sub(AROUND).max(SHORT_MIN);
    (0..count)
        .map(|number| {
            let at = usize::try_from(number).unwrap_or(0);
            let step = usize::try_from(count).unwrap_or(1);
            let mut own: Vec<Nemesis> = kinds.iter().copied().skip(at).step_by(step).collect();
            if own.is_empty() {
                // Fewer kinds than runs: a run without a fault would show nothing.
                own.extend(kinds.get(at % kinds.len().max(1)));
            }
            Planned { seconds: each, ..single(workloads[at % workloads.len()], own, random) }
        })
        .collect()
}

fn single(workload: Workload, nemeses: Vec<Nemesis>, random: &mut SmallRng) -> Planned {
    Planned {
        workload,
        nemeses,
        seconds: 0,
        // Short enough to be typed.
        seed: random.random_range(0..1_000_000_000),
        nodes: 3,
        name_servers: 1,
        flush: Flush::Sync,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn seconds(runs: &[Planned]) -> u64 {
        runs.iter().map(|run| run.seconds + AROUND).sum()
    }

    #[test]
    fn an_hour_has_every_kind_alone_and_every_workload() {
        let kinds = Nemesis::value_variants();
        let runs = plan(60, 1, kinds, true);
        assert!((50 * 60..=60 * 60).contains(&seconds(&runs)), "{}", seconds(&runs));
        let alone: BTreeSet<_> =
            runs.iter().filter(|run| run.nemeses.len() == 1).map(|run| run.nemeses[0]).collect();
        assert_eq!(alone.len(), kinds.len());
        let workloads: BTreeSet<_> = runs.iter().map(|run| run.workload).collect();
        assert_eq!(workloads.len(), Workload::value_variants().len());
        let combined = |run: &&Planned| run.nemeses.len() > 1 && run.flush == Flush::Async;
        for run in runs.iter().filter(combined) {
            assert!(run.nemeses.iter().all(|kind| !LOSE_UNSYNCED.contains(kind)), "{run:?}");
        }
        assert_eq!(runs, plan(60, 1, kinds, true));
    }

    #[test]
    fn four_minutes_have_every_workload_and_less_time_fewer() {
        let workloads = |minutes| {
            let runs = plan(minutes, 3, Nemesis::value_variants(), true);
            let seen: BTreeSet<_> = runs.iter().flat_map(|run| run.nemeses.clone()).collect();
            assert_eq!(seen.len(), Nemesis::value_variants().len());
            runs.iter().map(|run| run.workload).collect::<BTreeSet<_>>().len()
        };
        assert_eq!([4, 3, 1].map(workloads), [Workload::value_variants().len(), 4, 1]);
    }

    #[test]
    fn no_run_is_without_a_fault() {
        for minutes in [1, 2, 5, 60] {
            let runs = plan(minutes, 7, &[Nemesis::KillLeader, Nemesis::Ring], true);
            assert!(!runs.is_empty());
            assert!(runs.iter().all(|run| !run.nemeses.is_empty()), "{runs:?}");
        }
    }

    #[test]
    fn five_minutes_have_every_kind_and_every_workload() {
        let kinds = Nemesis::value_variants();
        let runs = plan(5, 3, kinds, true);
        assert!((4 * 60..=6 * 60).contains(&seconds(&runs)), "{}", seconds(&runs));
        let seen: BTreeSet<_> = runs.iter().flat_map(|run| &run.nemeses).collect();
        assert_eq!(seen.len(), kinds.len());
        let workloads: BTreeSet<_> = runs.iter().map(|run| run.workload).collect();
        assert_eq!(workloads.len(), Workload::value_variants().len());
    }
}
