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
    let levels: [&[&str]; 7] =
        [&[], &["namesrv"], &["broker"], &["standalone"], &["log"], &["log", "inspect"], &["log", "verify"]];
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
