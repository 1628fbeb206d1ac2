//! One run: a cluster, a workload and faults for some time, then calm, a last look at everything, and the verdict.
//!
//! ```text
//! start ── prepared ── faults and work ── healed, work goes on ── writes end ── all is read ── stopped ── looked at
//!                      '------------------ seconds ------------------'
//! ```

mod args;
mod facts;
mod progress;
mod routes;
mod sending;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use tokio::task::JoinError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

pub use args::{NetworkKind, Product, RunArgs, Target};
pub use facts::is_survived;
pub use sending::{ClientKind, Sending};

use crate::checker::ALL_HEALED;
use crate::cluster::dledger::DLedger;
use crate::cluster::flotilla::Flotilla;
use crate::cluster::{Ability, Cluster, Fabric, Layout, Server, eventually};
use crate::nemesis::{Nemesis, Plan, Tally};
use crate::recorder::Recorder;
use crate::report::HISTORY_FILE;
use crate::workload::{Env, Phases, Sends};

/// Longest time until a workload has its topics and clients.
const PREPARE: Duration = Duration::from_secs(120);
/// Longest time for the last reads.
const DRAIN: Duration = Duration::from_secs(300);
/// Longest wait, when the time of faults is over, for kinds that did not have their turn.
const OVERTIME: Duration = Duration::from_secs(60);
/// Longest wait, from the end of the calm on, until something that a client writes is acknowledged.
const RECOVERY: Duration = Duration::from_secs(60);
/// Longest wait until all replicas hold the same.
const SETTLE: Duration = Duration::from_secs(60);

/// Does a run in a folder that is made for it; the history is complete when this returns. Gives why it did not come to its
/// end if so: what the product did wrong is in the history as that, and what only the harness could not do as something that
/// is not known. Dropped, all processes end.
///
/// # Errors
/// There is no history to judge: the arguments contradict each other or the product can't do what they ask for, its
/// processes could not be started, a file could not be written.
pub async fn run(args: &RunArgs, folder: &Path) -> anyhow::Result<Option<String>> {
    let server = server(args)?;
    let sends = args.sending.prepare(args.workload).await?;
    for nemesis in &args.nemesis {
        if let Some(ability) = nemesis.needs().filter(|ability| !server.can(*ability)) {
            bail!("{nemesis}: {} can't do that ({ability:?})", server.name());
        }
    }
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let recorder = Recorder::create(&folder.join(HISTORY_FILE))?;
    let started = std::time::SystemTime::now();
    let (layout, network) = network(args, folder.clone()).await?;
    facts::facts(args, &*server, &sends, &layout, started).save(&folder)?;
    let cluster = Arc::new(Cluster::start(server, layout, network)?);
    let _ends = Ends(cluster.clone());
    let mut outcome = act(args, sends, &cluster, &recorder).await;
    note_ended(&cluster, &recorder);
    cluster.stop();
    if outcome.is_ok() {
        outcome = look(&cluster, &recorder).await;
    }
    let broke_off = outcome.err().map(|error| format!("{error:#}"));
    if let Some(why) = &broke_off {
        error!(why, "the run did not come to its end");
        recorder.not_inspected("the run came to its end", why);
    }
    recorder.finish()?;
    ensure!(!recorder.is_broken(), "the history can't be written");
    Ok(broke_off)
}

/// Ends a cluster when a run is over or dropped, whoever else still holds the cluster then.
struct Ends(Arc<Cluster>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn network(args: &RunArgs, folder: PathBuf) -> anyhow::Result<(Layout, Box<dyn Fabric>)> {
    let (flush, nodes, name_servers) = (args.flush, args.nodes, args.name_servers);
    let settings = args.settings.clone();
    match args.network {
        NetworkKind::Proxies => {
            let seed = args.seed();
            let made = Layout::behind_proxies(folder, flush, nodes, name_servers, settings, seed).await?;
            Ok((made.0, Box::new(made.1)))
        }
        NetworkKind::Namespaces => {
            let slow = args.nemesis.iter().find(|nemesis| nemesis.needs_proxies());
            ensure!(
                slow.is_none(),
                "{}: needs --network proxies",
                slow.map_or(String::new(), ToString::to_string)
            );
            let made = Layout::in_namespaces(folder, flush, nodes, name_servers, settings)?;
            Ok((made.0, Box::new(made.1)))
        }
    }
}

fn server(args: &RunArgs) -> anyhow::Result<Box<dyn Server>> {
    ensure!([3, 5].contains(&args.nodes), "--nodes {}: 3 or 5", args.nodes);
    ensure!((1..=3).contains(&args.name_servers), "--name-servers {}: 1 to 3", args.name_servers);
    let loses_power = |kind: &Nemesis| kind.needs() == Some(Ability::PowerLoss);
    let power_loss = args.nemesis.iter().any(loses_power);
    let mutant = args.mutant.clone();
    product(&args.target, power_loss, mutant)
}

fn product(target: &Target, power_loss: bool, mutant: Option<String>) -> anyhow::Result<Box<dyn Server>> {
    match target.server {
        Product::Flotilla => Ok(Box::new(Flotilla::new(&target.binary, power_loss, mutant)?)),
        Product::RocketmqDledger => {
            let home = target.rocketmq_home.as_deref();
            Ok(Box::new(DLedger::new(home, Path::new("target/jepsen-rocketmq"))?))
        }
    }
}

/// What a product, or this build of it, can be made to suffer.
///
/// # Errors
/// It can't be found.
pub fn abilities(target: &Target) -> anyhow::Result<Vec<Ability>> {
    let server = match product(target, true, None) {
        Ok(server) => server,
        // A build without that mode; what else is wrong is told then.
        Err(_) => product(target, false, None)?,
    };
    let all = [Ability::Transfer, Ability::Views, Ability::Log, Ability::Clock, Ability::PowerLoss];
    Ok(all.into_iter().filter(|ability| server.can(*ability)).collect())
}

/// Everything that clients and faults do.
async fn act(
    args: &RunArgs,
    sends: Sends,
    cluster: &Arc<Cluster>,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    cluster.ready().await.context("the cluster does not start")?;
    let phases = Phases::default();
    let env = Env {
        cluster: cluster.clone(),
        recorder: recorder.clone(),
        seed: args.seed(),
        rate: args.rate,
        sends,
        phases: phases.clone(),
    };
    let mut work = AbortOnDropHandle::new(tokio::spawn(args.workload.run(env)));
    tokio::select! {
        ended = &mut work => return ended.context("the workload")?.context("the workload ended too early"),
        prepared = timeout(PREPARE, phases.prepared.cancelled()) => prepared.context("the workload is not prepared")?,
    }
    sleep(args.settle()).await;
    info!(workload = %args.workload, leader = ?cluster.leader().await, "prepared, the run begins");
    let tally = Arc::new(Tally::default());
    let routes = routes::Watch::begin(cluster.clone())?;
    let _progress = progress::show(cluster.clone(), recorder.clone(), tally.clone(), args.seconds);
    let began = Instant::now();
    let calm = Duration::from_secs((args.seconds / 5).clamp(3, 10));
    let total = Duration::from_secs(args.seconds);
    let stop = CancellationToken::new();
    let plan = Plan {
        kinds: args.nemesis.clone(),
        seed: args.seed() ^ 0x6E65_6D65_7369_7321,
        hold: args.hold.map(Duration::from_secs),
        hold_max: hold_max(args, total.saturating_sub(calm)),
        faults_max: args.faults,
    };
    let nemesis = plan.run(cluster.clone(), recorder.clone(), tally.clone(), stop.clone());
    let faults_are_counted = args.faults.is_some() && !args.nemesis.is_empty();
    let timer = async {
        if !faults_are_counted {
            sleep(total.saturating_sub(calm)).await;
            all_kinds(&args.nemesis, &tally).await;
            stop.cancel();
        }
    };
    tokio::select! {
        ended = &mut work => return ended.context("the workload")?.context("the workload ended too early"),
        ((), ()) = async { tokio::join!(nemesis, timer) } => {}
    }
    let failed = cluster.heal();
    recorder
        .inspected(ALL_HEALED, if failed.is_empty() { Ok(String::new()) } else { Err(failed.join("; ")) });
    let healed = recorder.now();
    let well = cluster.ready().await;
    recorder.inspected("the cluster gets well again", as_found(&well));
    well.context("the cluster does not get well again")?;
    info!("faults are over, the cluster is well");
    let rest = if faults_are_counted { calm } else { calm.max(total.saturating_sub(began.elapsed())) };
    sleep(rest).await;
    let served = eventually(RECOVERY, "clients are acknowledged again", || async {
        let last = Duration::from_nanos(recorder.counts().last_ack.load(Ordering::Relaxed));
        if last > healed { Ok(()) } else { Err(format!("last at {last:?}, healed at {healed:?}")) }
    });
    if let Err(error) = served.await {
        // The checker of availability sees it too.
        warn!(error = format!("{error:#}"), "clients are not served");
    }
    phases.writes_end.cancel();
    info!("writes end, everything is read");
    let read = match timeout(DRAIN, &mut work).await {
        Err(_) => Err(anyhow!("the last reads take too long")),
        Ok(ended) => ended.context("the workload")?,
    };
    if !read.as_ref().is_err_and(|error| error.is::<JoinError>()) {
        // A worker of ours that panicked says nothing of the product.
        recorder.inspected("everything can be read at last", as_found(&read));
    }
    read.context("the last reads")?;
    routes.end(recorder);
    let (server, same) = (cluster.server(), "all replicas hold the same");
    // Nothing is claimed of a product that can't tell.
    if server.can(Ability::ReplicaState) {
        let settled = eventually(SETTLE, same, || server.settled(cluster.layout())).await;
        recorder.inspected(same, settled.map(|()| String::new()).map_err(|error| format!("{error:#}")));
    }
    Ok(())
}

/// What came of something that a cluster that is well must be able to do.
fn as_found(outcome: &anyhow::Result<()>) -> Result<String, String> {
    outcome.as_ref().map(|()| String::new()).map_err(|error| format!("{error:#}"))
}

/// Waits, not too long, until every kind of fault was brought about once: a run that was too short for one of them, or too
/// unlucky, has not shown what it was to show.
async fn all_kinds(kinds: &[Nemesis], tally: &Tally) {
    let all = || {
        let begun = tally.kinds.lock();
        let missing: Vec<String> =
            kinds.iter().filter(|kind| !begun.contains(kind)).map(ToString::to_string).collect();
        std::future::ready(if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) })
    };
    if let Err(error) = eventually(OVERTIME, "each kind of fault was brought about", all).await {
        warn!(error = format!("{error:#}"), "faults that never came about");
    }
}

/// How long one fault may go on, so that several have their turn.
fn hold_max(args: &RunArgs, time: Duration) -> Duration {
    if args.faults.is_some() {
        return Duration::from_secs(5);
    }
    let kinds = u32::try_from(args.nemesis.len()).unwrap_or(u32::MAX).saturating_add(1);
    (time / kinds).mul_f64(0.8).clamp(Duration::from_secs(2), Duration::from_secs(60))
}

/// What is on disk when all has stopped.
async fn look(cluster: &Arc<Cluster>, recorder: &Recorder) -> anyhow::Result<()> {
    let looking = cluster.clone();
    let found = tokio::task::spawn_blocking(move || looking.server().inspect(looking.layout())).await?;
    for (what, outcome) in found {
        match &outcome {
            Ok(found) => info!(what, found, "looked at"),
            Err(found) => error!(what, found, "looked at"),
        }
        recorder.inspected(&what, outcome);
    }
    Ok(())
}

/// Notes processes that ended though nobody told them to: something that a product must not do, whatever its clients saw.
fn note_ended(cluster: &Cluster, recorder: &Recorder) {
    for (end, status) in cluster.ended_by_themselves() {
        warn!(?end, %status, "a process ended by itself");
        recorder
            .inspected(&format!("{end:?} runs"), Err(format!("it ended by itself: {status}; see its log")));
    }
}
