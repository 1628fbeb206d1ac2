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
    // With the invariants that may find it first, as their findings begin, and what they say. Whoever looks first at a log that
    // lost its end finds the loss.
    let mutants: [(&str, &[&str], &str); 9] = [
        ("skipped-sync", &["durability: ", "log matching: n0's log can't be read at 0: damage in "], ""),
        ("unsynced-vote", &["vote durability: "], "its disk says"),
        ("unsynced-names", &["durability: "], ""),
        ("skipped-entry", &["tables equal: n1 "], ""),
        ("kept-numbers", &["stopped by itself: "], "cannot be stamped"),
        ("ahead-checkpoint", &["durability: "], "a start would refuse the log"),
        ("swapped-answers", &["history: "], "was refused"),
        ("kept-claim", &["route terms: "], "the term's leader is"),
        ("forgotten-members", &["consumer lists: "], "whom n1 has held since"),
    ];
    for (mutant, by, what) in mutants {
        is_found(mutant, by, what, "10");
    }
}

/// The product's own mutant, which takes a slow way to a name server and a change of the leader at the right time.
#[cfg(feature = "faults")]
#[test]
fn a_name_server_that_takes_a_lower_term_is_found() {
    is_found("accept-lower-term", &["route terms: "], ", after n", "40");
}

/// Runs so many seeds of a mutant; one of the invariants finds it, and says so.
fn is_found(mutant: &str, by: &[&str], what: &str, seeds: &str) {
    let options = ["--seconds", SECONDS, "--once-each", "--until-found", "--jobs", "1", "--mutant", mutant];
    let output = simulate(&[&["--seeds", seeds], options.as_slice()].concat());
    let told = text(&output);
    let found =
        told.lines().filter(|line| line.starts_with("seed ")).filter_map(|line| line.split_once(": "));
    let found: Vec<&str> = found.map(|(_, finding)| finding).collect();
    let [finding] = found.as_slice() else { panic!("{mutant} is not found, or more than once:\n{told}") };
    assert!(!output.status.success(), "{mutant}: a finding is a failure");
    let is_found = by.iter().any(|by| finding.starts_with(by)) && finding.contains(what);
    assert!(is_found, "{mutant} is not found by {by:?}:\n{told}");
    assert!(told.contains(&format!(" --mutant {mutant} --trace ")), "a run like that again: {told}");
}
