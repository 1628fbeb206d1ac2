//! Many runs one after the other: all workloads and all faults, a folder each, and a summary of all.
//!
//! | file         | subject                                       |
//! |--------------|-----------------------------------------------|
//! | `plan.rs`    | which runs                                    |
//! | `summary.rs` | table, `summary.json`, `index.html`           |

mod plan;
mod summary;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use tracing::{info, warn};

pub use plan::{Planned, plan};

use crate::checker::Outcome;
use crate::judge;
use crate::nemesis::Nemesis;
use crate::run::{self, Product, RunArgs, Target};
use summary::{Row, Summary};

/// Minutes of a short suite.
const SHORT: u64 = 5;

/// Arguments of a suite.
#[derive(Args, Clone, Debug)]
pub struct SuiteArgs {
    /// How long it takes
    #[arg(long, default_value_t = 60)]
    pub minutes: u64,

    /// Five minutes, with several kinds of faults in each run
    #[arg(long, conflicts_with = "minutes")]
    pub short: bool,

    /// Decides about all runs and their seeds [default: drawn, and told]
    #[arg(long)]
    pub seed: Option<u64>,

    /// Only these kinds of faults, separated by commas [default: all that the product can suffer]
    #[arg(long, short, value_enum, value_delimiter = ',')]
    pub nemesis: Vec<Nemesis>,

    #[command(flatten)]
    pub target: Target,

    /// Folder of the suite [default: target/jepsen/suite-SEED]
    #[arg(long)]
    pub out: Option<PathBuf>,

    /// Operations a second of all clients together
    #[arg(long, default_value_t = 200)]
    pub rate: u32,

    /// As for a run
    #[arg(long)]
    pub limit_ms: Option<u64>,

    /// Turns a deliberate fault of a Flotilla that is built with `--features faults` on
    #[arg(long)]
    pub mutant: Option<String>,

    /// Shows the runs and does none of them
    #[arg(long)]
    pub plan: bool,
}

/// Does a suite and gives the worst outcome of its runs: a run that could not be done is not known. Dropped, all processes
/// end.
///
/// # Errors
/// The product can't be found; the summary can't be written.
pub async fn suite(args: &SuiteArgs) -> anyhow::Result<Outcome> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("target/jepsen/suite-{seed}")));
    let able = run::abilities(&args.target)?;
    let wanted = if args.nemesis.is_empty() { Nemesis::value_variants() } else { &args.nemesis };
    let (kinds, left_out): (Vec<Nemesis>, Vec<Nemesis>) =
        wanted.iter().partition(|kind| kind.needs().is_none_or(|ability| able.contains(&ability)));
    if !left_out.is_empty() {
        warn!(?left_out, "faults that this product, or this build of it, can't be made to suffer");
    }
    ensure!(
        !kinds.is_empty(),
        "this product, or this build of it, can be made to suffer none of these faults"
    );
    let minutes = if args.short { SHORT } else { args.minutes };
    let runs = plan(minutes, seed, &kinds, args.target.server == Product::Flotilla);
    eprintln!("seed {seed}, {} runs, folder {}", runs.len(), folder.display());
    if args.plan {
        for (number, planned) in runs.iter().enumerate() {
            println!("{}", run_args(args, planned, folder.join(name(number, planned))).command().join(" "));
        }
        return Ok(Outcome::Valid);
    }
    std::fs::create_dir_all(&folder)?;
    let mut summary = Summary::new(seed, minutes, &args.target.server, &left_out);
    for (number, planned) in runs.iter().enumerate() {
        let name = name(number, planned);
        let run = run_args(args, planned, folder.join(&name));
        eprintln!("run {} of {}: {name}, seed {}", number + 1, runs.len(), planned.seed);
        let began = Instant::now();
        let judged = judge::run_and_judge(&run).await;
        let row = Row::new(&name, planned, run.command(), judged, began.elapsed());
        info!(run = name, outcome = ?row.outcome, "judged");
        summary.rows.push(row);
        // After each run, so that an interrupted suite has told what it saw.
        summary.save(&folder)?;
    }
    println!("{}", summary.table());
    eprintln!("{}", folder.join("index.html").display());
    Ok(summary.outcome())
}

fn name(number: usize, planned: &Planned) -> String {
    let kinds = match planned.nemeses.as_slice() {
        [one] => one.to_string(),
        some => format!("{}-kinds", some.len()),
    };
    format!("{:02}-{}-{kinds}", number + 1, planned.workload)
}

fn run_args(args: &SuiteArgs, planned: &Planned, folder: PathBuf) -> RunArgs {
    RunArgs {
        workload: planned.workload,
        nemesis: planned.nemeses.clone(),
        seconds: planned.seconds,
        nodes: planned.nodes,
        name_servers: planned.name_servers,
        seed: Some(planned.seed),
        flush: planned.flush,
        target: args.target.clone(),
        out: Some(folder),
        rate: args.rate,
        limit_ms: args.limit_ms,
        mutant: args.mutant.clone(),
        ..RunArgs::default()
    }
}
