//! The `flotilla` command as a user meets it: help, refusals, and what `standalone` keeps in its folder.
//!
//! Real processes and sockets; every port comes from the system.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_flotilla");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/three-node/n0.properties");

fn command() -> Command {
    let mut command = Command::new(BINARY);
    // The developer's own variables must not decide what a test sees.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOTILLA_")) {
        command.env_remove(name);
    }
    command.env_remove("NAMESRV_ADDR").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_given_on_every_level() {
    let levels: [&[&str]; 8] = [
        &[],
        &["namesrv"],
        &["broker"],
        &["standalone"],
        &["log"],
        &["log", "inspect"],
        &["log", "verify"],
        &["check-config"],
    ];
    for level in levels {
        let output = run(&[level, &["--help"]].concat());
        assert!(output.status.success(), "{level:?}");
        let help = text(&output.stdout);
        assert!(help.contains("Usage: flotilla"), "{level:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{level:?}: {help}");
    }
    assert_eq!(run(&["brokr"]).status.code(), Some(2));
}

#[test]
fn the_effective_configuration_is_printed_with_its_origins() {
    let output = command()
        .args(["broker", "-c", EXAMPLE, "--set", "flushDiskType=ASYNC_FLUSH", "--print-config"])
        .env("FLOTILLA_LISTEN_PORT", "12345")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("# --set\nflushDiskType=ASYNC_FLUSH\n"), "{printed}");
    assert!(printed.contains("# environment FLOTILLA_LISTEN_PORT\nlistenPort=12345\n"), "{printed}");
    assert!(printed.contains("n0.properties:10\ndLegerSelfId=n0\n"), "{printed}");
    let important = run(&["broker", "-c", EXAMPLE, "-m"]);
    let printed = text(&important.stdout);
    assert!(printed.contains("dLegerSelfId=n0\n") && printed.lines().count() < 30, "{printed}");
}

#[test]
fn a_contradiction_refuses_the_start_on_standard_error() {
    let output = run(&["broker", "-c", EXAMPLE, "--set", "dLegerSelfId=n7", "--set", "brokerRole=SLAVE"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("dLegerPeers lists n0, n1, n2 only"), "{told}");
    assert!(told.contains("brokerRole=SLAVE"), "{told}");
    assert!(output.stdout.is_empty());
    let missing = run(&["broker", "-c", "no/such/file"]);
    assert!(text(&missing.stderr).contains("no/such/file"));
}

/// Whoever runs the wrong binary must not take what holds without a fault for a proof (docs/testing.md).
#[cfg(not(feature = "faults"))]
#[test]
fn a_build_without_fault_hooks_refuses_to_start_where_one_is_asked_for() {
    for arguments in [["broker", "-c", EXAMPLE, "--print-config"], ["namesrv", "--set", "listenPort=0", "-p"]]
    {
        for (name, value) in [("FLOTILLA_POWER_LOSS", "journal"), ("FLOTILLA_MUTANT", "forget-vote")] {
            let output = command().args(arguments).env(name, value).output().unwrap();
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {name}: {told}");
            assert!(told.contains(&format!("{name} is set: this build has no fault hooks")), "{told}");
            assert!(output.stdout.is_empty(), "{arguments:?} {name}");
        }
    }
}

fn checked(file: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.conf");
    std::fs::write(&path, file).unwrap();
    let output = run(&[&["check-config", path.to_str().unwrap()], arguments].concat());
    (output.status.code(), text(&output.stdout).replace(path.to_str().unwrap(), "b.conf"))
}

const SOUND: &str = "brokerName=b\ndLegerPeers=n0-127.0.0.1:40911\ndLegerSelfId=n0\nbrokerIP1=127.0.0.1\n";

#[test]
fn check_config_tells_what_each_key_of_a_file_does() {
    let file = format!("{SOUND}mapedFileSizeCommitLog=67108864\nhaListenPort=10912\nlistenProt=1\n");
    let (code, table) = checked(&file, &[]);
    assert_eq!(code, Some(0), "{table}");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["KEY", "VALUE", "SOURCE", "EFFECT"]);
    let row = |key: &str| {
        let row = rows.iter().find(|row| row.first() == Some(&key));
        row.unwrap_or_else(|| panic!("{key}: {table}")).join(" ")
    };
    assert_eq!(row("brokerName"), "brokerName b b.conf:1 used");
    assert!(row("mappedFileSizeCommitLog").starts_with("mappedFileSizeCommitLog 67108864 b.conf:5 mapped: "));
    assert!(row("haListenPort").starts_with("haListenPort 10912 b.conf:6 no effect, because "));
    assert_eq!(row("listenProt"), "listenProt 1 b.conf:7 unknown, did you mean listenPort?");
    assert!(!table.contains("maxMessageSize"), "defaults are left out: {table}");
    assert!(table.ends_with("ok: it would start\n"), "{table}");
    let (_, all) = checked(&file, &["--all"]);
    assert!(all.contains("maxMessageSize ") && all.lines().count() > 500, "{all}");
}

#[test]
fn check_config_fails_where_a_start_would_be_refused_and_shows_everything() {
    let file = format!("{SOUND}listenPort=99999\nbrokerRole=SLAVE\nfileReservedTime=1\n");
    let (code, json) = checked(&file, &["--output", "json"]);
    assert_eq!(code, Some(1), "{json}");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["starts"], false);
    let problems: Vec<&str> =
        report["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap()).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("listenPort=99999 (b.conf:5): "), "{problems:?}");
    assert!(problems[1].starts_with("brokerRole=SLAVE (b.conf:6): "), "{problems:?}");
    let keys = report["keys"].as_array().unwrap();
    let reserved = keys.iter().find(|key| key["key"] == "fileReservedTime").unwrap();
    assert_eq!((&reserved["value"], &reserved["source"]), (&"1".into(), &"b.conf:7".into()));
    let slave = format!("{SOUND}brokerRole=SLAVE\n");
    let (code, table) = checked(&slave, &["--set", "brokerRole=ASYNC_MASTER"]);
    assert_eq!(code, Some(0), "what is set on the command line counts more: {table}");
    let missing = run(&["check-config", "no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("no/such/file"));
}

#[test]
fn check_config_knows_the_keys_of_a_name_server() {
    let file = "listenPort=9876\nserverWorkerThreads=4\norderMessageEnabel=true\n";
    let (code, table) = checked(file, &["--kind", "namesrv"]);
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("did you mean orderMessageEnable?"), "{table}");
    assert!(table.contains("no effect, because connections share one run-time"), "{table}");
    let (code, table) = checked("enableControllerInNamesrv=true\nbindAddress=here\n", &["--kind", "namesrv"]);
    assert_eq!(code, Some(1), "{table}");
    assert_eq!(table.matches("refused: ").count(), 2, "{table}");
}

#[test]
fn a_name_server_takes_a_file_and_prints_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("namesrv.conf");
    std::fs::write(&path, "listenPort=1234\norderMessageEnable=true\n").unwrap();
    let path = path.to_str().unwrap();
    let output = run(&["namesrv", "-c", path, "--set", "listenPort=0", "-p"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("# --set\nlistenPort=0\n"), "{printed}");
    assert!(printed.contains(&format!("# {path}:2\norderMessageEnable=true\n")), "{printed}");
    let refused = run(&["namesrv", "-c", path, "--set", "enableControllerInNamesrv=true"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("enableControllerInNamesrv"), "{}", text(&refused.stderr));
}

/// A running `standalone`; killed with the test if it was not stopped.
struct Standalone {
    child: Child,
    admin: String,
}

impl Standalone {
    fn start(data: &Path) -> Self {
        let mut child = command()
            .args(["standalone", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut block = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = |name: &str| {
            let line = block.next().expect("standalone ended before it was ready").unwrap();
            line.trim()
                .strip_prefix(name)
                .unwrap_or_else(|| panic!("expected {name}, got {line}"))
                .trim()
                .to_owned()
        };
        assert_eq!(line("ready"), "");
        line("name server");
        let admin = line("admin");
        assert_eq!(Path::new(&line("data")), data.canonicalize().unwrap());
        assert_eq!(line("stop"), "Ctrl-C");
        Self { child, admin: admin.strip_prefix("http://").unwrap().to_owned() }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: sends a signal to a child that this test has started and not yet waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "standalone does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn standalone_keeps_its_ports_and_its_log_and_refuses_another_number_of_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut first = Standalone::start(&data);
    let cluster = first.get("/v1/cluster");
    first.signal(libc::SIGTERM);
    assert_eq!(first.wait(), Some(0));

    let mut second = Standalone::start(&data);
    let again = second.get("/v1/cluster");
    let address = |cluster: &str| {
        cluster.split("\"client_address\":").nth(1).unwrap().split('"').nth(1).unwrap().to_owned()
    };
    assert_eq!(address(&again), address(&cluster), "ports are kept");
    let group = second.get("/v1/group");
    assert!(
        !group.contains(r#""term":1,"#),
        "the log of the first run is there, so its term has passed: {group}"
    );
    second.signal(libc::SIGINT);
    assert_eq!(second.wait(), Some(0));

    let other = run(&["standalone", "--nodes", "1", "--data", data.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("--nodes 3"), "{}", text(&other.stderr));
}
