//! Results as Markdown tables: medians, ratios by pairs of neighbours, what each ack means.

use std::fmt::Write;

use super::results::{OURS, Run, distinct, greatest_of, median_of, of, pairs, ratios};
use crate::bench::outcome::grouped;

/// All tables of a comparison.
pub fn tables(runs: &[Run]) -> String {
    let mut page = String::new();
    let rounds = runs.iter().map(|run| run.round).max().unwrap_or(0);
    let commits = distinct(runs, |run| &run.commit).join(", ");
    let cores = runs.iter().map(|run| run.cores).max().unwrap_or(0);
    // Writing to a text can't fail.
    let _ = writeln!(page, "{rounds} rounds on {cores} CPUs, commit {commits}. Medians of all rounds.\n");
    medians(&mut page, runs);
    for peer in distinct(runs, |run| &run.server).into_iter().filter(|server| *server != OURS) {
        against(&mut page, runs, peer);
    }
    policies(&mut page, runs);
    page
}

const MEDIANS_HEAD: &str = "\
| row | server | msg/s | MB/s | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms | brokers' CPU µs/msg | client's CPU µs/msg | disk B/msg | not acked, worst round |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

fn medians(page: &mut String, runs: &[Run]) {
    page.push_str(MEDIANS_HEAD);
    for row in distinct(runs, |run| &run.row) {
        for server in distinct(runs, |run| &run.server) {
            let mine = of(runs, row, server);
            if mine.is_empty() {
                continue;
            }
            let milliseconds = |quantile: Option<f64>| quantile.map_or("-".to_owned(), |us| digits(us / 1e3));
            let cells = [
                whole(median_of(&mine, |run| Some(run.messages_per_second))),
                median_of(&mine, |run| Some(run.bytes_per_second / 1e6)).map_or("-".to_owned(), digits),
                milliseconds(median_of(&mine, |run| run.latency(|summary| summary.p50))),
                milliseconds(median_of(&mine, |run| run.latency(|summary| summary.p90))),
                milliseconds(median_of(&mine, |run| run.latency(|summary| summary.p99))),
                milliseconds(median_of(&mine, |run| run.latency(|summary| summary.p999))),
                milliseconds(median_of(&mine, |run| run.latency(|summary| summary.max))),
                median_of(&mine, Run::server_cpu_us).map_or("-".to_owned(), digits),
                median_of(&mine, Run::client_cpu_us).map_or("-".to_owned(), digits),
                whole(median_of(&mine, Run::disk_bytes_per_message)),
                whole(greatest_of(&mine, Run::not_acked)),
            ];
            let _ = writeln!(page, "| {row} | {server} | {} |", cells.join(" | "));
        }
    }
}

fn against(page: &mut String, runs: &[Run], peer: &str) {
    let rows = distinct(runs, |run| &run.row);
    let pairs: Vec<_> = rows.iter().map(|row| (*row, pairs(runs, row, peer))).collect();
    if pairs.iter().all(|(_, pairs)| pairs.is_empty()) {
        return;
    }
    let _ = write!(
        page,
        "\nFlotilla / {peer}, by pairs of neighbouring runs: median (least to greatest). More is better for rates, less \
         for latencies and bytes.\n\n\
         | row | msg/s | msg per second of the brokers' CPU | p50 | p99 | disk B/msg | pairs |\n\
         |---|---:|---:|---:|---:|---:|---:|\n"
    );
    for (row, pairs) in pairs.iter().filter(|(_, pairs)| !pairs.is_empty()) {
        let cells = [
            ratio(ratios(pairs, |run| Some(run.messages_per_second))),
            ratio(ratios(pairs, Run::messages_per_cpu_second)),
            ratio(ratios(pairs, |run| run.latency(|summary| summary.p50))),
            ratio(ratios(pairs, |run| run.latency(|summary| summary.p99))),
            ratio(ratios(pairs, Run::disk_bytes_per_message)),
        ];
        let _ = writeln!(page, "| {row} | {} | {} |", cells.join(" | "), pairs.len());
    }
}

fn policies(page: &mut String, runs: &[Run]) {
    page.push_str("\nWhat an ack means:\n\n");
    for server in distinct(runs, |run| &run.server) {
        let mine: Vec<Run> = runs.iter().filter(|run| run.server == server).cloned().collect();
        for policy in distinct(&mine, |run| &run.ack_policy) {
            let version = mine.iter().find(|run| run.ack_policy == policy).map_or("", |run| &run.version);
            let rows: Vec<&str> = distinct(&mine, |run| &run.row)
                .into_iter()
                .filter(|row| mine.iter().any(|run| run.row == *row && run.ack_policy == policy))
                .collect();
            let all = rows.len() == distinct(&mine, |run| &run.row).len();
            let rows = if all { String::new() } else { format!(" ({})", rows.join(", ")) };
            let _ = writeln!(page, "- {server} {version}{rows}: {policy}");
        }
    }
}

fn whole(figure: Option<f64>) -> String {
    figure.map_or("-".to_owned(), |figure| grouped(figure.round() as u64))
}

/// Three digits that count, more for large numbers.
fn digits(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => grouped(figure.round() as u64),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

fn ratio(figures: Option<[f64; 3]>) -> String {
    figures.map_or("-".to_owned(), |[middle, least, greatest]| {
        format!("{} ({} to {})", digits(middle), digits(least), digits(greatest))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::results::{read, tests::RESULTS};
    use super::*;

    #[test]
    fn the_tables_hold_medians_ratios_and_policies() {
        let tables = tables(&read(RESULTS).unwrap());
        let lines = [
            "2 rounds on 2 CPUs, commit abc1234. Medians of all rounds.",
            "| sync-64 | flotilla | 10,500 | 10.8 | 4.50 | 9.00 | 22.5 | 40.5 | 90.0 | 19.1 | 9.55 | 3,055 | 0 |",
            "| consume-100 | kafka | 900,000 | 90.0 | - | - | - | - | - | 0.30 | 1.00 | 67 | - |",
            "| sync-64 | 5.50 (5.00 to 6.00) | 11.0 (10.0 to 12.0) | 0.15 (0.15 to 0.15) | 0.15 (0.15 to 0.15) | 0.98 (0.89 to 1.07) | 2 |",
            "- flotilla 0.1.0: fdatasync on a majority",
        ];
        for line in lines {
            assert!(tables.lines().any(|found| found == line), "{line}\nis not in\n{tables}");
        }
    }

    #[test]
    fn the_same_results_give_the_same_tables() {
        let runs = read(RESULTS).unwrap();
        assert_eq!(tables(&runs), tables(&runs));
    }

    #[test]
    fn one_round_without_acks_shows_though_the_others_had_them() {
        let mut runs = read(RESULTS).unwrap();
        let run = runs.iter_mut().find(|run| run.row == "sync-64" && run.server == OURS).unwrap();
        run.unknown = Some(5_000);
        let tables = tables(&runs);
        let row = tables.lines().find(|line| line.starts_with("| sync-64 | flotilla |")).unwrap();
        assert!(row.ends_with("| 5,000 |"), "{row}");
        assert!(tables.contains("| not acked, worst round |"), "{tables}");
    }
}
