//! The command as scripts see it: exit codes, and what is written where.

use std::path::Path;
use std::process::{Command, Output};

fn line(index: u64, process: i32, kind: &str, name: &str, value: &str) -> String {
    let time = index * 1_000_000;
    format!(
        r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{name}","value":{value}}}"#
    )
}

/// A send that was acknowledged under a fault, the drain, and a read of what `kept` says.
fn history(kept: bool, drained: bool) -> String {
    let fault = r#"{"fault":"stop","number":1,"nodes":[0],"begins":true}"#;
    let send = r#"{"topic":"t","id":7}"#;
    let seen = if kept { r#"[{"queue":0,"offset":0,"id":7}]"# } else { "[]" };
    let max = u8::from(kept);
    let mut lines = vec![
        line(0, -1, "info", "fault", fault),
        line(1, 0, "invoke", "send", send),
        line(2, 0, "ok", "send", r#"{"topic":"t","id":7,"queue":0,"offset":0}"#),
    ];
    if drained {
        lines.push(line(3, -1, "info", "drained", r#"{"topic":"t"}"#));
    }
    let next = lines.len() as u64;
    lines.push(line(next, 1, "invoke", "pull", r#"{"topic":"t","queue":0,"from":0}"#));
    let answer = format!(r#"{{"topic":"t","queue":0,"from":0,"max":{max},"seen":{seen}}}"#);
    lines.push(line(next + 1, 1, "ok", "pull", &answer));
    lines.join("\n") + "\n"
}

fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flotilla-jepsen"));
    let Output { status, stdout, stderr } =
        command.args(arguments).current_dir(folder).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn folder_with(history: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("history.jsonl"), history).expect("written");
    folder
}

#[test]
fn the_exit_code_is_the_verdict() {
    for (text, code, verdict) in [
        (history(true, true), 0, "verdict: valid\n"),
        (history(false, true), 1, "verdict: INVALID\n"),
        (history(true, false), 2, "verdict: unknown\n"),
    ] {
        let folder = folder_with(&text);
        let (status, stdout, _) = run(&["check", "history.jsonl"], folder.path());
        assert_eq!(status, Some(code), "{stdout}");
        assert!(stdout.ends_with(verdict), "{stdout}");
    }
}

#[test]
fn what_can_not_be_judged_exits_with_2_and_says_where() {
    let folder = folder_with(&(history(true, true) + "{}\n"));
    let (status, stdout, stderr) = run(&["check", "history.jsonl"], folder.path());
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("history.jsonl: line 7: no operation"), "{stderr}");
    assert_eq!(run(&["check", "absent.jsonl"], folder.path()).0, Some(2));
    assert_eq!(run(&["check"], folder.path()).0, Some(2));
}

#[test]
fn a_limit_makes_outages_count() {
    let folder = folder_with(&history(true, true));
    let check = |limit: &str| run(&["check", "history.jsonl", "--limit-ms", limit], folder.path()).0;
    assert_eq!((check("0"), check("1000")), (Some(1), Some(0)));
}

#[test]
fn verdicts_and_outages_are_given_as_json_and_the_history_as_edn() {
    let folder = folder_with(&history(false, true));
    let (status, stdout, _) =
        run(&["check", "history.jsonl", "--json", "--edn", "history.edn"], folder.path());
    assert_eq!(status, Some(1));
    let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(answer["outcome"], "invalid");
    assert_eq!(answer["findings"][0]["checker"], "acked-kept");
    assert_eq!(answer["findings"][0]["verdict"]["anomalies"][0]["kind"], "lost");
    assert_eq!(answer["outages"][0]["kind"], "stop");
    let edn = std::fs::read_to_string(folder.path().join("history.edn")).expect("written");
    assert_eq!(edn.lines().count(), 6);
    assert!(edn.contains(":process 0, :type :ok, :f :send"), "{edn}");
}

#[test]
fn a_report_is_written_into_the_folder_of_the_run() {
    let folder = folder_with(&history(false, true));
    let (status, _, stderr) = run(&["report", "."], folder.path());
    assert_eq!(status, Some(2));
    assert!(stderr.contains("run.json"), "{stderr}");
    let facts = r#"{"seed":42,"command":["flotilla-jepsen","run"],"workload":"queue","nemeses":["stop"],
        "server":{"kind":"flotilla","version":"1"},"nodes":[],"started_at_ms":0,"seconds":1,
        "limits":{"stop":{"outage_ms":1000}},
        "machine":{"cores":1,"memory_mib":1,"processor":"","kernel":""}}"#;
    std::fs::write(folder.path().join("run.json"), facts).expect("written");
    let (status, stdout, stderr) = run(&["report", "."], folder.path());
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stdout.contains("report.html"), "{stdout}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("written");
    assert!(page.contains("<h1>INVALID</h1>") && page.contains("id 7 was acknowledged and is lost"));
}

#[test]
fn what_the_run_had_to_show_is_taken_from_run_json() {
    let folder = folder_with(&history(true, true));
    let facts = r#"{"seed":42,"command":[],"workload":"queue","nemeses":[],"must_judge":["consumed"],
        "server":{"kind":"flotilla","version":"1"},"nodes":[],"started_at_ms":0,"seconds":1,
        "machine":{"cores":1,"memory_mib":1,"processor":"","kernel":""}}"#;
    std::fs::write(folder.path().join("run.json"), facts).expect("written");
    let (status, stdout, _) = run(&["check", "history.jsonl"], folder.path());
    assert_eq!(status, Some(2));
    assert!(stdout.contains("holds nothing of what this run was to show"), "{stdout}");
}

#[test]
fn a_history_that_lies_there_is_not_the_verdict_of_a_run_that_did_not_begin() {
    let folder = folder_with(&history(true, true));
    let facts = r#"{"seed":42,"command":[],"workload":"queue","nemeses":[],
        "server":{"kind":"flotilla","version":"1"},"nodes":[],"started_at_ms":0,"seconds":1,
        "machine":{"cores":1,"memory_mib":1,"processor":"","kernel":""}}"#;
    std::fs::write(folder.path().join("run.json"), facts).expect("written");
    assert_eq!(run(&["report", "."], folder.path()).0, Some(0));
    let (status, stdout, stderr) = run(&["run", "--binary", "/bin/true", "--out", "."], folder.path());
    assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("history.jsonl"), "{stderr}");
}
