//! Questions of tools that a client answers (307, 309, 223): asked at any replica, of a client that is connected to another one
//! (FAILOVER.md 13).

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, ConsumerStatusBody, MessageQueue, ResetOffsetBody, ResetOffsetBodyForC,
};
use flotilla_remoting::headers::{
    ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest, GetConsumerStatusRequest,
    ResetOffsetRequest,
};
use flotilla_remoting::language::Language;
use flotilla_remoting::{ExtFields, Frame, RequestCode, ResponseCode};
use support::beat;
use support::settings::{BROKER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Message, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(10);
/// Longer than a broker waits for a client.
const PATIENT: Duration = Duration::from_secs(20);
const TOPIC: &str = "asked";
const GROUP: &str = "askers";

fn running_info(client_id: &str) -> Frame {
    let header = GetConsumerRunningInfoRequest { consumer_group: GROUP, client_id, jstack_enable: false };
    Frame::request(RequestCode::GetConsumerRunningInfo, header.encode(), Bytes::new())
}

/// What a client answers; nothing of it means anything to a broker.
fn answer(code: i32) -> Frame {
    let mut ext = ExtFields::new();
    ext.insert("of", "the client");
    let mut frame = Frame::response(ResponseCode::from_i32(code), Some("as the client says".to_owned()));
    frame.header.ext = ext;
    frame.body = Bytes::from_static(b"{\"mqTable\":{{\"queueId\":0}:{}},\xff\x00}");
    frame
}

/// A consumer that is connected to these replicas only.
async fn consumer(cluster: &Cluster, id: &str, nodes: &[usize]) -> anyhow::Result<Client> {
    let client = cluster.client();
    for node in nodes {
        client.heartbeat(&cluster.address(*node), &beat::consumer(id, GROUP, TOPIC, "*")).await?;
    }
    Ok(client)
}

/// Waits until the client can be asked through this replica.
async fn asked_through(tool: &Client, address: &str, client_id: &str) -> anyhow::Result<Frame> {
    eventually(PATIENT, &format!("{client_id} is asked through {address}"), || async {
        let got = tool.ask(address, running_info(client_id), PATIENT).await.map_err(|e| e.to_string())?;
        let offline = got.header.remark.as_deref().is_some_and(|remark| remark.ends_with("not online"));
        claim(!offline, format!("{:?}", got.header.remark))?;
        Ok::<_, String>(got)
    })
    .await
}

#[test]
fn a_client_of_one_replica_is_asked_through_any_and_its_answer_is_relayed_as_it_is() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let follower = cluster.other_than(&[leader]);
        let tool = cluster.client();
        tool.create_topic(&cluster.address(leader), TOPIC, 2, 6).await?;
        let client = consumer(&cluster, "c1", &[follower]).await?;
        for code in [0, 1] {
            let wanted = answer(code);
            client.inbox.answer(RequestCode::GetConsumerRunningInfo, wanted.clone());
            for node in 0..NODES {
                let got = asked_through(&tool, &cluster.address(node), "c1").await?;
                ensure!(got.header.code == code, "at n{node}: {got:?}");
                ensure!(got.header.remark == wanted.header.remark && got.body == wanted.body, "{got:?}");
                ensure!(got.header.ext.get("of") == Some("the client"), "at n{node}: {got:?}");
            }
        }
        let asked = client.inbox.received(RequestCode::GetConsumerRunningInfo);
        let header = GetConsumerRunningInfoRequest::decode(&asked[0].header.ext)?;
        ensure!((header.consumer_group, header.client_id) == (GROUP, "c1"), "{header:?}");

        // A message by its id, consumed directly: the client gets the stored record.
        let sent = tool.send(&cluster.address(leader), &Message::new(TOPIC, 1, "directly")).await?;
        client.inbox.answer(RequestCode::ConsumeMessageDirectly, answer(0));
        let header = ConsumeMessageDirectlyRequest {
            consumer_group: GROUP,
            client_id: Some("c1"),
            message_id: Some(&sent.id),
            broker_name: None,
            topic: Some(TOPIC),
            topic_sys_flag: None,
            group_sys_flag: None,
        };
        for node in 0..NODES {
            let frame = Frame::request(RequestCode::ConsumeMessageDirectly, header.encode(), Bytes::new());
            let got = tool.ask(&cluster.address(node), frame, PATIENT).await?;
            ensure!(got.header.code == 0 && got.body == answer(0).body, "at n{node}: {got:?}");
        }
        let asked = client.inbox.received(RequestCode::ConsumeMessageDirectly);
        ensure!(asked.len() == NODES, "asked once for each request, not {} times", asked.len());
        let got = ConsumeMessageDirectlyRequest::decode(&asked[0].header.ext)?;
        ensure!(got.broker_name == Some(BROKER) && got.topic_sys_flag == Some(0), "{got:?}");
        ensure!(got.group_sys_flag == Some(0), "{got:?}");
        let stored = support::stored::decode(&asked[0].body)?;
        ensure!(stored.len() == 1 && stored[0].body == "directly", "{stored:?}");
        ensure!((stored[0].queue, stored[0].offset) == (1, sent.offset), "{stored:?}");

        // A message that there is not, and an id that is none.
        for id in ["7F00000100002A9F7FFFFFFFFFFFFFF0", "?"] {
            let header = ConsumeMessageDirectlyRequest { message_id: Some(id), ..header };
            let frame = Frame::request(RequestCode::ConsumeMessageDirectly, header.encode(), Bytes::new());
            let got = tool.ask(&cluster.address(leader), frame, PATIENT).await?;
            ensure!(got.header.code == 1, "{got:?}");
        }
        ensure!(client.inbox.count(RequestCode::ConsumeMessageDirectly) == NODES);
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_client_that_can_not_be_asked_is_refused_as_rocketmq_does() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let follower = cluster.other_than(&[leader]);
        let (here, tool) = (cluster.address(leader), cluster.client());
        tool.create_topic(&here, TOPIC, 2, 6).await?;
        let got = tool.ask(&here, running_info("nobody"), PATIENT).await?;
        ensure!(got.header.code == 1, "{got:?}");
        ensure!(got.header.remark.as_deref() == Some("The Consumer <askers> <nobody> not online"), "{got:?}");

        // Too old to be asked: the version that its heartbeat came with.
        let old = cluster.client();
        let body = bodies::encode(&beat::consumer("old", GROUP, TOPIC, "*"));
        let mut frame = Frame::request(RequestCode::Heartbeat, ExtFields::new(), body);
        frame.header.version = 61;
        ensure!(old.ask(&cluster.address(follower), frame, PATIENT).await?.header.code == 0);
        let got = asked_through(&tool, &here, "old").await?;
        let remark = got.header.remark.as_deref().unwrap_or_default();
        ensure!(got.header.code == 1, "{got:?}");
        ensure!(
            remark
                == "The Consumer <old> Version <V3_61> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
            "{remark}"
        );
        ensure!(old.inbox.count(RequestCode::GetConsumerRunningInfo) == 0);

        // One that does not answer costs the asker its time, and nobody else any.
        let mute = consumer(&cluster, "mute", &[follower]).await?;
        let quick = consumer(&cluster, "quick", &[follower]).await?;
        quick.inbox.answer(RequestCode::GetConsumerRunningInfo, answer(0));
        let waiting = tokio::spawn({
            let (tool, here) = (tool.clone(), here.clone());
            async move { asked_through(&tool, &here, "mute").await }
        });
        eventually(SOON, "the mute one is asked", || async {
            claim(mute.inbox.count(RequestCode::GetConsumerRunningInfo) > 0, "not yet")
        })
        .await?;
        for _ in 0..20 {
            ensure!(asked_through(&tool, &here, "quick").await?.header.code == 0);
        }
        ensure!(!waiting.is_finished(), "the mute one has not answered");
        let got = waiting.await?.context("an answer after all")?;
        ensure!(got.header.code == 207, "{got:?}");
        let remark = got.header.remark.as_deref().unwrap_or_default();
        ensure!(remark.starts_with("consumer <askers> <mute> Timeout"), "{remark}");

        // Its replica is gone; it comes back over another one.
        cluster.kill(follower)?;
        eventually(SOON, "it is not online any more", || async {
            let got = tool.ask(&here, running_info("quick"), PATIENT).await.map_err(|e| e.to_string())?;
            claim(got.header.code == 1, format!("{got:?}"))
        })
        .await?;
        quick.heartbeat(&here, &beat::consumer("quick", GROUP, TOPIC, "*")).await?;
        ensure!(asked_through(&tool, &here, "quick").await?.header.code == 0);
        cluster.finish();
        Ok(())
    });
}

#[test]
fn where_consumers_stand_is_asked_of_each_of_them() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let followers: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let (here, tool) = (cluster.address(followers[0]), cluster.client());
        tool.create_topic(&cluster.address(leader), TOPIC, 2, 6).await?;
        let status = |wanted: Option<&'static str>| {
            let header = GetConsumerStatusRequest { topic: TOPIC, group: GROUP, client_addr: wanted };
            let code = RequestCode::InvokeBrokerToGetConsumerStatus;
            Frame::request(code, header.encode(), Bytes::new())
        };
        let got = tool.ask(&here, status(None), PATIENT).await?;
        let remark = got.header.remark.as_deref().unwrap_or_default();
        ensure!(got.header.code == 1, "{got:?}");
        ensure!(remark == "No Any Consumer online in the consumer group: [askers]", "{remark}");

        let queue = |queue_id| MessageQueue { broker_name: BROKER.into(), queue_id, topic: TOPIC.into() };
        let mut clients = Vec::new();
        for (number, node) in (0..).zip([leader, followers[0], followers[1]]) {
            let client = consumer(&cluster, &format!("c{number}"), &[node]).await?;
            let body = ConsumerStatusBody {
                message_queue_table: [(queue(number), i64::from(number) * 10)].into(),
                ..ConsumerStatusBody::default()
            };
            let mut frame = Frame::response(ResponseCode::Success, None);
            frame.body = bodies::encode(&body);
            client.inbox.answer(RequestCode::GetConsumerStatusFromClient, frame);
            clients.push(client);
        }
        let table = eventually(SOON, "all three have answered", || async {
            let got = tool.ask(&here, status(Some("")), PATIENT).await.map_err(|e| e.to_string())?;
            let body: ConsumerStatusBody = bodies::decode(&got.body).map_err(|e| e.to_string())?;
            let table = body.consumer_table.unwrap_or_default();
            claim(table.len() == 3, format!("{table:?}"))?;
            Ok::<_, String>(table)
        })
        .await?;
        ensure!(table["c2"] == [(queue(2), 20)].into(), "{table:?}");
        let asked = clients[0].inbox.received(RequestCode::GetConsumerStatusFromClient);
        let header = GetConsumerStatusRequest::decode(&asked[0].header.ext)?;
        ensure!((header.topic, header.group) == (TOPIC, GROUP), "{header:?}");

        let got = tool.ask(&here, status(Some("c1")), PATIENT).await?;
        let body: ConsumerStatusBody = bodies::decode(&got.body)?;
        let table = body.consumer_table.unwrap_or_default();
        ensure!(table.keys().map(String::as_str).collect::<Vec<_>>() == ["c1"], "{table:?}");
        cluster.finish();
        Ok(())
    });
}

/// The older way of a reset: nothing is stored, the members of every replica are told.
#[test]
fn with_resets_by_the_members_each_is_told_where_to_go() {
    run(LIMIT, async {
        let cluster = Cluster::start_with(&[("useServerSideResetOffset", "false")]).await?;
        let leader = cluster.leader().await?;
        let follower = cluster.other_than(&[leader]);
        let (here, tool) = (cluster.address(leader), cluster.client());
        tool.create_topic(&here, TOPIC, 2, 6).await?;
        for number in 0..3 {
            tool.send(&here, &Message::new(TOPIC, 0, format!("{number}"))).await?;
        }
        let reset = |force: bool, language: Language| {
            let header = ResetOffsetRequest {
                topic: TOPIC,
                group: GROUP,
                queue_id: -1,
                offset: None,
                timestamp: -1,
                is_force: force,
            };
            let code = RequestCode::InvokeBrokerToResetOffset;
            let mut frame = Frame::request(code, header.encode(), Bytes::new());
            frame.header.language = language;
            frame
        };
        for queue in 0..2 {
            tool.commit(&here, GROUP, TOPIC, queue, 1).await?;
        }
        let got = tool.ask(&here, reset(true, Language::Java), PATIENT).await?;
        ensure!(got.header.code == ResponseCode::ConsumerNotOnline.as_i32(), "{got:?}");

        let members =
            [consumer(&cluster, "c1", &[leader]).await?, consumer(&cluster, "c2", &[follower]).await?];
        for client_id in ["c1", "c2"] {
            members.iter().for_each(|client| {
                client.inbox.answer(RequestCode::GetConsumerRunningInfo, answer(0));
            });
            asked_through(&tool, &here, client_id).await?;
        }
        let queue = |queue_id| MessageQueue { broker_name: BROKER.into(), queue_id, topic: TOPIC.into() };
        let code = RequestCode::ResetConsumerClientOffset;
        for (number, (force, language, first)) in
            [(true, Language::Java, 3), (false, Language::Cpp, 1)].into_iter().enumerate()
        {
            let got = tool.ask(&cluster.address(follower), reset(force, language), PATIENT).await?;
            ensure!(got.header.code == 0, "{got:?}");
            let expected = [(queue(0), first), (queue(1), 0)];
            let table: ResetOffsetBody = bodies::decode(&got.body)?;
            ensure!(table.offset_table == expected.clone().into(), "{table:?}");
            for client in &members {
                let told = eventually(SOON, "each member is told", || async {
                    let told = client.inbox.received(code);
                    claim(told.len() > number, format!("{} frames", told.len()))?;
                    Ok::<_, String>(told)
                })
                .await?;
                let told = told.last().context("a frame")?;
                let header = ResetOffsetRequest::decode(&told.header.ext)?;
                ensure!((header.topic, header.group, header.timestamp) == (TOPIC, GROUP, -1), "{header:?}");
                ensure!(told.is_oneway(), "{told:?}");
                if language == Language::Cpp {
                    let body: ResetOffsetBodyForC = bodies::decode(&told.body)?;
                    let offsets: Vec<i64> = body.offset_table.iter().map(|queue| queue.offset).collect();
                    ensure!(offsets == [first, 0], "{body:?}");
                } else {
                    let body: ResetOffsetBody = bodies::decode(&told.body)?;
                    ensure!(body.offset_table == expected.clone().into(), "{body:?}");
                }
            }
        }
        ensure!(
            tool.committed(&here, GROUP, TOPIC, 0).await? == 1,
            "the group's offset is the members' to set"
        );
        cluster.finish();
        Ok(())
    });
}
