//! How long each kind of fault keeps clients from being acknowledged: trials of one kind after the other, each on a cluster
//! of its own that is left to get well in between; median and worst.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::checker::{Outage, Outcome};
use crate::judge;
use crate::nemesis::Nemesis;
use crate::run::{self, Product, RunArgs, Sending, Target};
use crate::workload::Workload;

/// What is measured unless told otherwise.
const KINDS: [Nemesis; 8] = [
    Nemesis::KillLeader,
    Nemesis::StopLeader,
    Nemesis::PauseLeader,
    Nemesis::IsolateLeader,
    Nemesis::OneWay,
    Nemesis::Transfer,
    Nemesis::RollingRestart,
    Nemesis::KillAll,
];

/// Seconds that a fault goes on after a client that asks for routes by a clock must have asked: elections, registration and
/// one time-out of a send. Ended before, what was broken would answer again, and the outage would be the fault's length.
const HOLD_MORE: u32 = 8;

/// Arguments of the table.
#[derive(Args, Clone, Debug)]
pub struct OutagesArgs {
    /// Kinds of faults, separated by commas [default: those of the table in docs/guarantees.md]
    #[arg(long, short, value_enum, value_delimiter = ',')]
    pub nemesis: Vec<Nemesis>,

    /// Faults of each kind. What 20 of a kind take: 2 to 4 minutes; stop-leader up to 15 and rolling-restart up to 40, since each
    /// broker drains for up to 35 s before it stops. With --client java faults go on for 8 s more than its route poll, so that no broker comes back
    /// before the client has asked: at the default poll 15 minutes, stop-leader up to 25
    #[arg(long, default_value_t = 20)]
    pub trials: u32,

    /// Decides about victims and times [default: drawn, and told]
    #[arg(long)]
    pub seed: Option<u64>,

    #[command(flatten)]
    pub target: Target,

    #[command(flatten)]
    pub sending: Sending,

    /// Folder of all [default: target/jepsen/outages-SEED]
    #[arg(long)]
    pub out: Option<PathBuf>,

    /// Sends a second of all clients together: an outage is known to some thousandths of a second divided by this
    #[arg(long, default_value_t = 400)]
    pub rate: u32,
}

/// One kind.
#[derive(Debug, Serialize)]
struct Row {
    /// The client library that sent.
    client: String,
    /// How often it asked for routes, in ms; `None` where it asks at the first sign that one is stale.
    poll_ms: Option<u32>,
    fault: String,
    trials: usize,
    median_ms: Option<f64>,
    /// The median may be longer: gaps of trials that nobody recovered from are among those up to it.
    median_at_least: bool,
    worst_ms: Option<f64>,
    /// The worst may be longer: there is a gap that no answer ended.
    worst_at_least: bool,
    /// Sends that failed, and those of unknown outcome, over all trials.
    failed: u64,
    unknown: u64,
    /// Trials whose longest gap no acknowledgement ended, but the next fault or the end of the sends, and those during which
    /// nobody tried anything.
    not_recovered: usize,
    outages_ms: Vec<f64>,
    command: String,
}

/// Measures and prints the table; gives the worst outcome of the checkers on the way. Dropped, all processes end.
///
/// # Errors
/// The product can't be found; the table can't be written.
pub async fn outages(args: &OutagesArgs) -> anyhow::Result<Outcome> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("target/jepsen/outages-{seed}")));
    let able = run::abilities(&args.target)?;
    // What is missing is told before anything is measured.
    args.sending.prepare(Workload::Queue).await?;
    let kinds = if args.nemesis.is_empty() { &KINDS[..] } else { &args.nemesis };
    // Without a row nothing was seen.
    let (mut rows, mut outcome) = (Vec::new(), Outcome::Absent);
    eprintln!("seed {seed}, folder {}", folder.display());
    for kind in kinds {
        if kind.needs().is_some_and(|ability| !able.contains(&ability)) {
            eprintln!("{kind}: this product can't be made to suffer that");
            continue;
        }
        let run = RunArgs {
            nemesis: vec![*kind],
            faults: Some(args.trials),
            // The gaps are what is asked for, not a verdict on them.
            limit_ms: Some(0),
            seconds: 15,
            seed: Some(seed),
            target: args.target.clone(),
            out: Some(folder.join(kind.to_string())),
            rate: args.rate,
            hold: args.sending.poll().filter(|_| lasts(*kind)).map(hold),
            sending: args.sending.clone(),
            settings: settings(args.target.server),
            ..RunArgs::default()
        };
        let judged = match judge::run_and_judge(&run).await {
            Ok(judged) => judged,
            Err(error) => {
                eprintln!("{kind}: not done, or not judged: {error:#}");
                outcome = outcome.max(Outcome::Unknown);
                continue;
            }
        };
        eprintln!("{kind}: {}", judged.text());
        outcome = outcome.max(judged.outcome);
        rows.push(Row::new(*kind, &args.sending, &judged.outages, run.command()));
        std::fs::write(folder.join("outages.json"), serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    println!("{}", table(&rows));
    Ok(if outcome == Outcome::Absent { Outcome::Unknown } else { outcome })
}

/// A planned stop is measured as operators have it, with the drain that outlasts the clients' route refresh.
fn settings(server: Product) -> Vec<(String, String)> {
    match server {
        Product::Flotilla => vec![("drainMillis".to_owned(), "35000".to_owned())],
        Product::RocketmqDledger => Vec::new(),
    }
}

/// Claims that clients are served while the fault goes on, and that it does not end by itself.
fn lasts(kind: Nemesis) -> bool {
    kind != Nemesis::Transfer && kind != Nemesis::RollingRestart && run::is_survived(kind)
}

/// Seconds that a fault goes on so that a client that asks for routes every so many ms has asked meanwhile.
fn hold(poll_ms: u32) -> u64 {
    u64::from(poll_ms.div_ceil(1000) + HOLD_MORE)
}

impl Row {
    fn new(kind: Nemesis, sending: &Sending, outages: &[Outage], command: Vec<String>) -> Row {
        let mut gaps: Vec<(f64, bool)> =
            outages.iter().filter_map(|outage| Some((outage.outage_ms?, outage.recovered))).collect();
        gaps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lasted: Vec<f64> = gaps.iter().map(|(lasted, _)| *lasted).collect();
        let open = |gaps: &[(f64, bool)]| gaps.iter().any(|(_, recovered)| !recovered);
        Row {
            client: sending.name(),
            poll_ms: sending.poll(),
            fault: kind.to_string(),
            trials: outages.len(),
            median_ms: median(&lasted),
            median_at_least: open(&gaps[..gaps.len().min(gaps.len() / 2 + 1)]),
            worst_ms: lasted.last().copied(),
            worst_at_least: open(&gaps),
            failed: outages.iter().map(|outage| outage.failed_count).sum(),
            unknown: outages.iter().map(|outage| outage.unknown_count).sum(),
            not_recovered: outages.iter().filter(|outage| !outage.recovered).count(),
            outages_ms: lasted,
            command: command.join(" "),
        }
    }
}

/// Of sorted numbers; the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(*upper) } else { Some(f64::midpoint(*upper, sorted[middle - 1])) }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| client | route poll, ms | fault | trials | not ended by an answer | median, ms | worst, ms | sends failed | \
                    sends of unknown outcome |\n"
        .to_owned();
    text.push_str("|---|---:|---|---:|---:|---:|---:|---:|---:|\n");
    let number = |number: Option<f64>, at_least: bool| {
        let mark = if at_least { "≥ " } else { "" };
        number.map_or("–".to_owned(), |number| format!("{mark}{number:.0}"))
    };
    for row in rows {
        let median = number(row.median_ms, row.median_at_least);
        let worst = number(row.worst_ms, row.worst_at_least);
        let poll = row.poll_ms.map_or("–".to_owned(), |poll| poll.to_string());
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {poll} | {} | {} | {} | {median} | {worst} | {} | {} |",
            row.client, row.fault, row.trials, row.not_recovered, row.failed, row.unknown
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::checker::CountFrom;
    use crate::run::ClientKind;

    use super::*;

    fn trial(outage_ms: Option<f64>, recovered: bool) -> Outage {
        Outage {
            kind: "kill-leader".into(),
            number: 0,
            nodes: vec![0],
            detail: String::new(),
            began: 0,
            healed: Some(1),
            outage_ms,
            counted_from: CountFrom::Begin,
            since_begin_ms: outage_ms,
            recovered,
            failed_count: 1,
            unknown_count: 2,
            limit_ms: None,
            lines: vec![],
        }
    }

    fn line(trials: &[Outage]) -> String {
        let text = table(&[Row::new(Nemesis::KillLeader, &Sending::default(), trials, vec![])]);
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_trial_that_never_recovered_is_told() {
        let ended = [trial(Some(10.0), true), trial(Some(30.0), true), trial(Some(20.0), true)];
        assert_eq!(line(&ended), "| Rust, ours | – | kill-leader | 3 | 0 | 20 | 30 | 3 | 6 |");
        let worst = [trial(Some(10.0), true), trial(Some(30.0), false), trial(Some(20.0), true)];
        assert_eq!(line(&worst), "| Rust, ours | – | kill-leader | 3 | 1 | 20 | ≥ 30 | 3 | 6 |");
        // A short gap that nothing ended may have been the longest.
        let short = [trial(Some(10.0), false), trial(Some(30.0), true), trial(Some(20.0), true)];
        assert_eq!(line(&short), "| Rust, ours | – | kill-leader | 3 | 1 | ≥ 20 | ≥ 30 | 3 | 6 |");
        assert_eq!(line(&[trial(None, false)]), "| Rust, ours | – | kill-leader | 1 | 1 | – | – | 1 | 2 |");
        assert_eq!(line(&[]), "| Rust, ours | – | kill-leader | 0 | 0 | – | – | 0 | 0 |");
    }

    #[test]
    fn the_table_names_the_client_and_its_poll() {
        let row = |poll_ms| {
            let sending = Sending { client: ClientKind::Java, poll_ms };
            table(&[Row::new(Nemesis::Transfer, &sending, &[], vec![])])
        };
        assert!(row(None).contains("| Java 5.5.0 | 30000 | transfer |"), "{}", row(None));
        assert!(row(Some(1000)).contains("| Java 5.5.0 | 1000 | transfer |"));
    }

    #[test]
    fn a_fault_outlasts_the_route_poll_where_that_tells_something() {
        assert_eq!((hold(1000), hold(30_000), hold(1)), (9, 38, 9));
        let lasting = KINDS.into_iter().filter(|kind| lasts(*kind)).count();
        assert_eq!(lasting, KINDS.len() - 3);
        assert!(!lasts(Nemesis::KillAll));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }
}
