//! Replicas that hang: their connections stay open and nothing is answered (SIGSTOP). The others keep each request's time
//! (FAILOVER.md 8), reports and notices pass the one that hangs, and what it alone held is given up and healed (1, 13, 14).

mod support;

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::code::OUTCOME_UNKNOWN;
use flotilla_remoting::headers::GetConsumerRunningInfoRequest;
use flotilla_remoting::{Frame, RequestCode, ResponseCode};
use support::beat;
use support::exchange::send_header;
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Message, eventually, run};

const LIMIT: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(10);
/// What a request may take at most, its hold budget of 2 s and a slow machine in it.
const BUDGET: Duration = Duration::from_secs(5);
/// Longer than any wait for a client.
const PATIENT: Duration = Duration::from_secs(20);
const TOPIC: &str = "hangs";
const GROUP: &str = "members";

/// A consumer that is connected to these replicas and answers when it is asked.
async fn consumer(cluster: &Cluster, id: &str, nodes: &[usize]) -> anyhow::Result<Client> {
    let client = cluster.client();
    let answer = Frame::response(ResponseCode::Success, None);
    client.inbox.answer(RequestCode::GetConsumerRunningInfo, answer);
    for node in nodes {
        client.heartbeat(&cluster.address(*node), &beat::consumer(id, GROUP, TOPIC, "*")).await?;
    }
    Ok(client)
}

async fn running_info(tool: &Client, address: &str, client_id: &str) -> anyhow::Result<Frame> {
    let header = GetConsumerRunningInfoRequest { consumer_group: GROUP, client_id, jstack_enable: false };
    let frame = Frame::request(RequestCode::GetConsumerRunningInfo, header.encode(), Bytes::new());
    Ok(tool.ask(address, frame, PATIENT).await?)
}

async fn members_are(tool: &Client, address: &str, expected: &[&str]) -> anyhow::Result<()> {
    eventually(SOON, &format!("{address} lists {expected:?}"), || async {
        let list = tool.consumers(address, GROUP).await.map_err(|error| error.to_string())?;
        claim(list == expected, format!("{list:?}"))
    })
    .await
}

/// Claims that something is done within the budget of a request.
async fn in_time<T>(what: &str, doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = tokio::time::timeout(BUDGET, doing).await;
    done.with_context(|| format!("{what}: not within {:?}", began.elapsed()))?
        .with_context(|| what.to_owned())
}

#[test]
fn a_follower_that_hangs_holds_up_nobody_else() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let hanging = cluster.other_than(&[leader]);
        let other = cluster.other_than(&[leader, hanging]);
        let (here, there) = (cluster.address(leader), cluster.address(other));
        let tool = cluster.client();
        tool.create_topic(&here, TOPIC, 4, 6).await?;
        let at_leader = consumer(&cluster, "c1", &[leader]).await?;
        let at_other = consumer(&cluster, "c2", &[other]).await?;
        let at_hanging = consumer(&cluster, "c3", &[hanging]).await?;
        members_are(&tool, &here, &["c1", "c2", "c3"]).await?;
        for client_id in ["c1", "c2", "c3"] {
            eventually(SOON, "each can be asked", || async {
                let got = running_info(&tool, &here, client_id).await.map_err(|e| e.to_string())?;
                claim(got.header.code == 0, format!("{got:?}"))
            })
            .await?;
        }

        cluster.process(hanging)?.pause().await?;
        let told = [&at_leader, &at_other].map(|c| c.inbox.count(RequestCode::NotifyConsumerIdsChanged));
        // Asks the one that hangs for its client: that takes its own time and nobody else's.
        let waiting = tokio::spawn({
            let (tool, there) = (tool.clone(), there.clone());
            async move { running_info(&tool, &there, "c3").await }
        });
        let newcomer = consumer(&cluster, "c4", &[other]).await?;
        for (client, before) in [&at_leader, &at_other].into_iter().zip(told) {
            eventually(SOON, "the others hear of the newcomer", || async {
                let now = client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
                claim(now > before, format!("{now} notices"))
            })
            .await?;
        }
        for round in 0..5 {
            for address in [&here, &there] {
                let list = in_time("38", async { Ok(tool.consumers(address, GROUP).await?) }).await?;
                ensure!(list == ["c1", "c2", "c3", "c4"], "round {round}: {list:?}");
                for client_id in ["c1", "c2"] {
                    let got = in_time("307", running_info(&tool, address, client_id)).await?;
                    ensure!(got.header.code == 0, "{client_id} in round {round}: {got:?}");
                }
                let locked = async { Ok(tool.lock(address, GROUP, "c1", TOPIC, &[0]).await?) };
                ensure!(in_time("41", locked).await? == [0]);
                let message = Message::new(TOPIC, 0, "x");
                in_time("310", async { Ok(tool.send(address, &message).await?) }).await?;
                let committed = async { Ok(tool.commit(address, GROUP, TOPIC, 0, round).await?) };
                in_time("15", committed).await?;
                in_time("14", async { Ok(tool.committed(address, GROUP, TOPIC, 0).await?) }).await?;
            }
        }
        let got = waiting.await??;
        ensure!(got.header.code == 207, "the client behind the one that hangs: {got:?}");
        cluster.process(hanging)?.resume()?;
        eventually(SOON, "its client is asked again", || async {
            let got = running_info(&tool, &there, "c3").await.map_err(|error| error.to_string())?;
            claim(got.header.code == 0, format!("{got:?}"))
        })
        .await?;
        for client in [&at_leader, &at_other, &at_hanging, &newcomer] {
            client.close().await;
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_leader_that_hangs_is_left_within_the_budget_of_each_request() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let tool = cluster.client();
        tool.create_topic(&cluster.address(leader), TOPIC, 4, 6).await?;
        // Connected to a follower only: the next leader has to hear of it from there.
        let member = consumer(&cluster, "c1", &others[..1]).await?;
        members_are(&tool, &cluster.address(leader), &["c1"]).await?;
        tool.commit(&cluster.address(leader), GROUP, TOPIC, 0, 7).await?;

        cluster.process(leader)?.pause().await?;
        // Asked at once, while the followers still forward to the one that hangs. Each has an answer in its time; what may be
        // asked twice finds the next leader within it or is told to come again.
        let mut asking = tokio::task::JoinSet::new();
        for node in &others {
            let address = cluster.address(*node);
            for code in ["38", "14", "30", "41", "310"] {
                let (tool, address) = (cluster.client(), address.clone());
                asking.spawn(async move {
                    let outcome = in_time(code, async {
                        Ok(match code {
                            "38" => tool.consumers(&address, GROUP).await.map(drop),
                            "14" => tool.committed(&address, GROUP, TOPIC, 0).await.map(drop),
                            "30" => tool.max(&address, TOPIC, 0).await.map(drop),
                            "41" => tool.lock(&address, GROUP, "c1", TOPIC, &[0]).await.map(drop),
                            _ => tool.send(&address, &Message::new(TOPIC, 0, "x")).await.map(drop),
                        })
                    });
                    (code, outcome.await)
                });
            }
        }
        while let Some(asked) = asking.join_next().await {
            let (code, outcome) = asked?;
            match outcome? {
                Ok(()) => {}
                Err(support::Failure::Refused { code: 1 | 14, .. }) => {}
                Err(other) => anyhow::bail!("{code}: {other}"),
            }
        }

        let successor = cluster.leader_among(&others).await?;
        for node in &others {
            let address = cluster.address(*node);
            let committed = async { Ok(tool.committed(&address, GROUP, TOPIC, 0).await?) };
            ensure!(in_time("14 afterwards", committed).await? == 7);
            members_are(&tool, &address, &["c1"]).await?;
            eventually(SOON, "the member is asked through its replica", || async {
                let got = running_info(&tool, &address, "c1").await.map_err(|error| error.to_string())?;
                claim(got.header.code == 0, format!("{got:?}"))
            })
            .await?;
        }
        cluster.process(leader)?.resume()?;
        eventually(SOON, "the one that hung follows", || async {
            let view = cluster.group(leader).await.map_err(|error| format!("{error:#}"))?;
            claim(view.role == "follower" && view.leader == Some(successor), format!("{view:?}"))
        })
        .await?;
        member.close().await;
        cluster.finish();
        Ok(())
    });
}

/// A leader that is left without a majority keeps no sender waiting until its own time is over: what is in the log without an
/// outcome is told to be so, what waits behind it is refused as not stored.
#[test]
fn a_leader_that_hears_nobody_leaves_no_send_without_an_answer() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let here = cluster.address(leader);
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let tool = cluster.client();
        tool.create_topic(&here, TOPIC, 4, 6).await?;
        for other in &others {
            cluster.process(*other)?.pause().await?;
        }
        // One after the other, so that they are in more entries than may be in flight, and some wait behind those.
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..12 {
            let (tool, here) = (tool.clone(), here.clone());
            let message = Message::new(TOPIC, 0, format!("{number}"));
            asking.spawn(async move {
                let header = send_header(&message, false);
                let frame =
                    Frame::request(RequestCode::SendMessageV2, header.encode_short(), message.body.clone());
                in_time("310", async { Ok(tool.ask(&here, frame, PATIENT).await?) }).await
            });
            // The pace of the load: sends that come at once would share an entry, and none would wait behind one.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut unknown = 0;
        while let Some(asked) = asking.join_next().await {
            let answer = asked??;
            ensure!(answer.header.code != ResponseCode::Success.as_i32(), "acknowledged by one of three");
            let remark = answer.header.remark.unwrap_or_default();
            unknown += usize::from(remark.contains(OUTCOME_UNKNOWN));
        }
        ensure!(unknown > 0, "nothing was appended: the scenario shows nothing");
        eprintln!("{unknown} of 12 were told that the outcome is not known");
        for other in &others {
            cluster.process(*other)?.resume()?;
        }
        cluster.settled().await?;
        cluster.finish();
        Ok(())
    });
}

/// A replica that has said nothing for 45 s holds nothing any more, though its stream is open; its client, which was connected
/// all the time, is a member again when the replica goes on, without a heartbeat of its own.
#[test]
fn what_a_hung_replica_held_is_given_up_and_joins_again_when_it_goes_on() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let hanging = cluster.other_than(&[leader]);
        let (here, tool) = (cluster.address(leader), cluster.client());
        tool.create_topic(&here, TOPIC, 4, 6).await?;
        let stays = consumer(&cluster, "c1", &[leader]).await?;
        let dropped = consumer(&cluster, "c2", &[hanging]).await?;
        members_are(&tool, &here, &["c1", "c2"]).await?;
        cluster.process(hanging)?.pause().await?;
        let paused = Instant::now();
        eventually(Duration::from_secs(90), "the leader gives up what the one that hangs held", || async {
            let list = tool.consumers(&here, GROUP).await.map_err(|error| error.to_string())?;
            claim(list == ["c1"], format!("{list:?}"))
        })
        .await?;
        // Reports come every second, so the last one may be that old.
        ensure!(paused.elapsed() > Duration::from_secs(43), "given up after {:?}", paused.elapsed());
        cluster.process(hanging)?.resume()?;
        members_are(&tool, &here, &["c1", "c2"]).await?;
        members_are(&tool, &cluster.address(hanging), &["c1", "c2"]).await?;
        stays.close().await;
        dropped.close().await;
        cluster.finish();
        Ok(())
    });
}
