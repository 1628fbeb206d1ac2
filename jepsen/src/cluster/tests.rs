//! How processes end, with shell commands in the brokers' place.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::bail;
use futures::future::BoxFuture;

use super::{Ability, Cluster, Flush, Inspection, Layout, Role, Server, Stop, eventually};
use crate::proxy::End;

const PATIENCE: Duration = Duration::from_secs(60);

/// Each node runs this script.
#[derive(Debug)]
struct Scripts([&'static str; 3]);

impl Server for Scripts {
    fn name(&self) -> &'static str {
        "scripts"
    }

    fn version(&self) -> String {
        String::new()
    }

    fn name_server(&self, layout: &Layout, _: usize) -> anyhow::Result<Command> {
        self.node(layout, 0)
    }

    fn node(&self, _: &Layout, number: usize) -> anyhow::Result<Command> {
        let mut command = Command::new("sh");
        command.args(["-c", self.0[number]]);
        Ok(command)
    }

    fn ready<'a>(&'a self, _: &'a Layout, _: usize) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn roles<'a>(&'a self, _: &'a Layout, _: &'a [usize]) -> BoxFuture<'a, Vec<Role>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn transfer<'a>(&'a self, _: &'a Layout, _: usize, _: usize) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async { bail!("a script leads nobody") })
    }

    fn settled<'a>(&'a self, _: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn inspect(&self, _: &Layout) -> Vec<Inspection> {
        Vec::new()
    }

    fn power_loss(&self, _: &Layout, _: usize, _: u64) -> Option<Command> {
        None
    }

    fn is_clean(&self, status: ExitStatus) -> bool {
        status.success()
    }

    fn can(&self, _: Ability) -> bool {
        false
    }
}

/// With its folder, which must outlive it.
async fn cluster(scripts: [&'static str; 3]) -> (Cluster, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_owned();
    let (layout, network) =
        Layout::behind_proxies(place, Flush::Sync, 3, 1, Vec::new(), 1).await.expect("a network");
    (Cluster::start(Box::new(Scripts(scripts)), layout, Box::new(network)).expect("started"), folder)
}

/// Waits for what a script says in its log.
async fn said(cluster: &Cluster, node: usize, what: &str) {
    let log = cluster.layout().log(&format!("n{node}"));
    let look = || {
        std::future::ready(std::fs::read_to_string(&log).ok().filter(|text| text.contains(what)).ok_or("no"))
    };
    eventually(PATIENCE, what, look).await.expect("said");
}

#[tokio::test]
async fn a_crash_does_not_pass_as_a_kill_or_a_stop() {
    let (cluster, _folder) = cluster(["sleep 600", "exit 3", "exit 4"]).await;
    for node in [1, 2] {
        let look = || {
            let mut slot = cluster.nodes[node].lock();
            let ended =
                slot.as_mut().is_some_and(|process| process.ended().is_ok_and(|status| status.is_some()));
            std::future::ready(ended.then_some(()).ok_or("it runs"))
        };
        eventually(PATIENCE, "the script ends", look).await.expect("ended");
    }
    cluster.kill_node(0).expect("killed");
    cluster.kill_node(1).expect("it is dead already");
    assert_eq!(cluster.terminate_node(2, PATIENCE).await.expect("it is dead already"), Stop::Before);
    let told: Vec<_> =
        cluster.ended_by_themselves().into_iter().map(|(end, status)| (end, status.code())).collect();
    assert_eq!(told, [(End::Node(1), Some(3)), (End::Node(2), Some(4))]);
    assert_eq!(cluster.ended_by_themselves(), []);
    cluster.start_node(1).expect("it can be started again");
}

#[tokio::test]
async fn a_stop_is_clean_or_says_why_not() {
    let obeys = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let fails = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let (cluster, _folder) = cluster([obeys, fails, "echo up; exec sleep 600"]).await;
    for node in 0..3 {
        said(&cluster, node, "up").await;
    }
    // One that stands still is told too.
    cluster.pause_node(0).expect("paused");
    assert_eq!(cluster.terminate_node(0, PATIENCE).await.expect("stopped"), Stop::Clean);
    let Stop::Wrong(status) = cluster.terminate_node(1, PATIENCE).await.expect("stopped") else {
        panic!("the script ends with 5");
    };
    assert_eq!(status.code(), Some(5));
    assert!(matches!(cluster.terminate_node(2, PATIENCE).await.expect("stopped"), Stop::Wrong(_)));
    assert_eq!(cluster.ended_by_themselves(), []);
}
