//! Planned changes of the leader under load: no request fails, whichever replica its client talks to.

mod support;

use std::time::Duration;

use anyhow::ensure;
use support::cluster::SEGMENTS_4_MIB;
use support::settings::NODES;
use support::{Cluster, Load, Plan, Towards, run};

const LIMIT: Duration = Duration::from_secs(90);
const PHASE: Duration = Duration::from_secs(30);

#[test]
fn a_planned_transfer_fails_no_request() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let client = cluster.client();
        let mut leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "transfers", 4, 6).await?;
        let plan = Plan { towards: Towards::Everyone, ..Plan::new("transfers", 4) };
        let load = Load::start(&client, plan).await?;
        load.more(300, PHASE).await?;
        for turn in 0..5 {
            let to = (leader + 1 + turn % 2) % NODES;
            // Asked at any replica.
            let (status, body) = cluster.transfer(turn % NODES, to).await?;
            ensure!(status == 200, "transfer {turn} from n{leader} to n{to}: {status} {body}");
            ensure!(cluster.leader().await? == to, "transfer {turn}: n{to} does not lead");
            leader = to;
            load.more(300, PHASE).await?;
        }
        let history = load.stop().await;
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        let slowest = history.acked.iter().map(|ack| ack.at - ack.start).max().unwrap_or_default();
        eprintln!("{} acks, the slowest after {slowest:?}", history.acked.len());
        history.check_everywhere(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_leader_that_is_stopped_hands_over_and_fails_no_request() {
    run(LIMIT, async {
        // With time to drain, as in operation: clients leave when the route no longer tells this node as the leader.
        let drain = [("drainMillis", "20000"), ("drainIdleMillis", "500")];
        let mut cluster = Cluster::start_with(&[SEGMENTS_4_MIB, drain].concat()).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        client.create_topic(&cluster.address(leader), "stops", 4, 6).await?;
        let load = Load::start(&client, Plan { towards: Towards::Route, ..Plan::new("stops", 4) }).await?;
        load.more(300, PHASE).await?;
        let term = cluster.group(leader).await?.term;
        cluster.terminate(leader).await?;
        load.more(300, PHASE).await?;
        let successor = cluster.leader().await?;
        ensure!(cluster.group(successor).await?.term == term + 1, "handed over in one term");
        let entries = client.member_group().await?;
        ensure!(!entries.iter().any(|(_, address)| *address == cluster.address(leader)), "{entries:?}");
        cluster.restart(leader).await?;
        load.more(300, PHASE).await?;
        let history = load.stop().await;
        ensure!(history.failed.is_empty(), "failures:\n{}", history.failures());
        history.check_everywhere(&cluster, &client).await?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_transfer_that_can_not_be_done_says_so_and_changes_nothing() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let term = cluster.group(leader).await?.term;
        let (status, body) = cluster.transfer(leader, 7).await?;
        ensure!(status == 400 && body.contains("n7"), "{status} {body}");
        let (status, _) = cluster.transfer(leader, leader).await?;
        ensure!(status == 200, "to itself: {status}");

        let gone = cluster.other_than(&[leader]);
        cluster.kill(gone)?;
        let (status, body) = cluster.transfer(leader, gone).await?;
        ensure!([409, 504].contains(&status), "to a node that is gone: {status} {body}");
        let client = cluster.client();
        client.create_topic(&cluster.address(leader), "after", 1, 6).await?;
        client.send(&cluster.address(leader), &support::Message::new("after", 0, "x")).await?;
        let view = cluster.group(leader).await?;
        ensure!((view.role.as_str(), view.term) == ("leader", term), "{view:?}");
        cluster.finish();
        Ok(())
    });
}
