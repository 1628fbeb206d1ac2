//! A fixed set of seeds, each run twice; seeds that have found something once; and faulty products, which must be found.

use std::path::Path;
use std::process::{Command, Output};

/// Virtual seconds with faults in each run.
const SECONDS: &str = "10";

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flotilla-sim")).args(arguments).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_fixed_set_of_seeds_is_clean_and_each_gives_the_same_run_twice() {
    let output = simulate(&["--seeds", "16", "--from", "1", "--seconds", SECONDS]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn different_seeds_give_different_runs() {
    let one = text(&simulate(&["run", "--seed", "1", "--seconds", "2"]));
    let other = text(&simulate(&["run", "--seed", "2", "--seconds", "2"]));
    let trace = |line: &str| line.split(' ').nth(2).map(str::to_owned);
    assert!(trace(&one).is_some());
    assert_ne!(trace(&one), trace(&other));
}

/// Lines of `seeds.txt`: seed, virtual seconds, and what it was.
#[test]
fn seeds_that_have_found_something_are_clean_now() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt");
    let seeds = std::fs::read_to_string(path).expect("the file of seeds");
    for line in seeds.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (seed, seconds) = (words.next().expect("a seed"), words.next().expect("its seconds"));
        let output = simulate(&["run", "--seed", seed, "--seconds", seconds]);
        assert!(output.status.success(), "{line}\n{}", text(&output));
    }
}

#[test]
fn every_mutant_is_found_within_a_few_seeds() {
    let mutants = [
        ("skipped-sync", "durability"),
        ("unsynced-vote", "vote durability"),
        ("unsynced-names", "durability"),
        ("skipped-entry", "n1"),
        ("kept-numbers", "cannot be stamped"),
        ("ahead-checkpoint", "durability"),
        ("swapped-answers", "history"),
    ];
    for (mutant, by) in mutants {
        let output = simulate(&["--seeds", "10", "--seconds", SECONDS, "--once-each", "--mutant", mutant]);
        let found = text(&output);
        assert!(!output.status.success() && found.contains(by), "{mutant} is not found by {by}:\n{found}");
    }
}
