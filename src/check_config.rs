//! `flotilla check-config`: what a configuration file says, key by key, without starting anything.

use std::process::ExitCode;

use flotilla_broker::config::{self, Line, Report, RouteProbe, Sources};
use serde_json::{Value, json};

use crate::broker;
use crate::cli::{CheckConfigArgs, ConfigKind, OutputFormat};
use crate::namesrv;

/// Prints the report and gives the exit code: 1 when a start would be refused.
pub fn run(args: CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let file = broker::read(&args.file)?;
    let report = match args.kind {
        ConfigKind::Broker => {
            let environment = broker::environment();
            config::report(&Sources { file: Some(file), environment, overrides: args.set }, &RouteProbe)
        }
        ConfigKind::Namesrv => namesrv::report(&namesrv::sources(Some(file), args.set)),
    };
    let shown = report.lines.iter().filter(|line| args.all || line.given);
    match args.output {
        OutputFormat::Json => println!("{:#}", as_json(&report, shown)),
        OutputFormat::Table => print!("{}", as_table(&report, shown)),
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json<'a>(report: &Report, lines: impl Iterator<Item = &'a Line>) -> Value {
    let keys: Vec<Value> = lines
        .map(|line| {
            json!({
                "key": line.key,
                "value": line.value,
                "source": line.source,
                "effect": line.effect,
                "detail": line.detail,
            })
        })
        .collect();
    json!({
        "starts": report.problems.is_empty(),
        "keys": keys,
        "warnings": report.warnings,
        "problems": report.problems,
    })
}

fn as_table<'a>(report: &Report, lines: impl Iterator<Item = &'a Line>) -> String {
    let rows: Vec<[String; 4]> =
        lines.map(|line| [line.key.clone(), line.value.clone(), line.source.clone(), effect(line)]).collect();
    let head = ["KEY", "VALUE", "SOURCE", "EFFECT"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for [key, value, source, effect] in std::iter::once(&head).chain(&rows) {
        let [one, two, three] = widths;
        text += &format!("{key:one$}  {value:two$}  {source:three$}  {effect}\n");
    }
    for warning in &report.warnings {
        text += &format!("warning: {warning}\n");
    }
    for problem in &report.problems {
        text += &format!("refused: {problem}\n");
    }
    text + if report.problems.is_empty() { "ok: it would start\n" } else { "it would not start\n" }
}

fn effect(line: &Line) -> String {
    match (line.effect, line.detail.as_str()) {
        ("mapped", detail) => format!("mapped: {detail}"),
        ("none", detail) => format!("no effect, because {detail}"),
        (effect, "") => effect.to_owned(),
        (effect, detail) => format!("{effect}, {detail}"),
    }
}
