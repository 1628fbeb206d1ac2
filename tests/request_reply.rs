//! Request–reply (324, 325 to 326): the requester is connected to one replica, the replier talks to another, and the leader
//! changes (FAILOVER.md 13). And the switches of replies and of lite pulls.

mod support;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::headers::{PushReplyMessageRequest, SendMessageRequest};
use flotilla_remoting::message::properties;
use flotilla_remoting::{Frame, RequestCode, ResponseCode};
use support::beat;
use support::client::TIMEOUT;
use support::exchange::{now_ms, pulled, refused_with, succeeded};
use support::settings::{BROKER, CLUSTER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(10);

fn reply_topic() -> String {
    format!("{CLUSTER}_REPLY_TOPIC")
}

/// A reply as Java's replier sends it: the body `pong` and the properties of the request.
fn reply(code: RequestCode, requester: Option<&str>, correlation: &str) -> Frame {
    let mut text = String::new();
    for (name, value) in [("MSG_TYPE", "reply"), ("CORRELATION_ID", correlation), ("TTL", "15000")] {
        properties::append(&mut text, name, value);
    }
    if let Some(requester) = requester {
        properties::append(&mut text, "REPLY_TO_CLIENT", requester);
    }
    let topic = reply_topic();
    let header = SendMessageRequest {
        producer_group: "repliers",
        topic: &topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: now_ms(),
        flag: 3,
        properties: Some(&text),
        reconsume_times: Some(0),
        unit_mode: false,
        batch: false,
        max_reconsume_times: None,
        broker_name: Some(BROKER),
    };
    let ext = match code {
        RequestCode::SendReplyMessageV2 => header.encode_short(),
        _ => header.encode(),
    };
    Frame::request(code, ext, Bytes::from_static(b"pong"))
}

/// A requester that is connected to one replica and takes every reply.
async fn requester(address: &str, cluster: &Cluster, id: &str) -> anyhow::Result<Client> {
    let client = cluster.client();
    client.inbox.answer(RequestCode::PushReplyMessageToClient, Frame::response(ResponseCode::Success, None));
    client.heartbeat(address, &beat::producer(id, "requesters")).await?;
    Ok(client)
}

/// Replies until the requester is found.
async fn replied(replier: &Client, address: &str, requester: &str, id: &str) -> anyhow::Result<Frame> {
    eventually(SOON, &format!("{requester} is found through {address}"), || async {
        let frame = reply(RequestCode::SendReplyMessageV2, Some(requester), id);
        succeeded(replier.ask(address, frame, TIMEOUT).await?)
    })
    .await
}

#[test]
fn a_reply_reaches_its_requester_through_whichever_replica_holds_it() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let holder = cluster.other_than(&[leader]);
        let client = requester(&cluster.address(holder), &cluster, "r1").await?;
        let replier = cluster.client();
        for node in 0..NODES {
            let id = format!("to-n{node}");
            let answer = replied(&replier, &cluster.address(node), "r1", &id).await?;
            ensure!(answer.header.ext.get("MSG_REGION") == Some("DefaultRegion"), "{answer:?}");
            ensure!(answer.header.ext.get("TRACE_ON") == Some("true"), "{answer:?}");

            let got = client.inbox.received(RequestCode::PushReplyMessageToClient);
            ensure!(got.len() == node + 1, "{} replies after {} requests", got.len(), node + 1);
            let got = got.last().context("a reply")?;
            ensure!(got.body == "pong", "{got:?}");
            let header = PushReplyMessageRequest::decode(&got.header.ext)?;
            ensure!((header.producer_group, header.flag) == ("repliers", 3), "{header:?}");
            ensure!(header.topic == reply_topic(), "{header:?}");
            ensure!(header.born_host.starts_with("127.0.0.1:"), "the replier's address: {header:?}");
            let text = header.properties.unwrap_or_default();
            ensure!(properties::get(text, "CORRELATION_ID") == Some(&id), "{text}");
            let pushed = properties::get(text, "PUSH_REPLY_TIME").context("when it was pushed")?;
            ensure!(pushed.parse::<i64>()? <= now_ms(), "{pushed}");

            // A copy is kept, without the time.
            let offset: i64 = answer.header.ext.get("queueOffset").context("offset")?.parse()?;
            let stored = replier.read(&cluster.address(leader), &reply_topic(), 0, offset).await?;
            let stored = stored.first().context("the stored reply")?;
            ensure!(stored.id.to_string() == answer.header.ext.get("msgId").unwrap_or_default());
            ensure!(stored.body == "pong" && stored.property("CORRELATION_ID") == Some(&id), "{stored:?}");
            ensure!(stored.property("PUSH_REPLY_TIME").is_none(), "{stored:?}");
        }

        // After a change of the leader the requester is found again without a heartbeat.
        cluster.kill(leader)?;
        cluster.leader().await?;
        let other = (0..NODES).find(|node| ![leader, holder].contains(node)).context("a third")?;
        replied(&replier, &cluster.address(other), "r1", "after").await?;
        let got = client.inbox.received(RequestCode::PushReplyMessageToClient);
        let header = PushReplyMessageRequest::decode(&got.last().context("a reply")?.header.ext)?;
        ensure!(properties::get(header.properties.unwrap_or_default(), "CORRELATION_ID") == Some("after"));
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_reply_that_does_not_reach_its_requester_says_so_and_is_stored() {
    run(LIMIT, async {
        let (cluster, replier, [here, there]) = Cluster::with_client().await?;
        let code = RequestCode::SendReplyMessage;
        // Recorded of RocketMQ 5.3.3: the answer names the stored copy all the same.
        for address in [&here, &there] {
            let answer = replier.ask(address, reply(code, Some("nobody"), "x"), TIMEOUT).await?;
            ensure!(answer.header.code == 1, "{answer:?}");
            let remark = answer.header.remark.as_deref().unwrap_or_default();
            ensure!(remark == "push reply message fail, channel of <nobody> not found.", "{remark}");
            for key in ["msgId", "queueId", "queueOffset", "MSG_REGION", "TRACE_ON"] {
                ensure!(answer.header.ext.get(key).is_some(), "{key} in {answer:?}");
            }
        }
        let answer = replier.ask(&here, reply(code, None, "x"), TIMEOUT).await?;
        ensure!(answer.header.code == 1, "{answer:?}");
        let remark = answer.header.remark.as_deref().unwrap_or_default();
        ensure!(remark == "reply message properties[REPLY_TO_CLIENT] is null", "{remark}");

        // A requester that refuses it, and one that has gone.
        let client = requester(&there, &cluster, "r1").await?;
        replied(&replier, &here, "r1", "x").await?;
        client
            .inbox
            .answer(RequestCode::PushReplyMessageToClient, Frame::response(ResponseCode::SystemError, None));
        let answer = replier.ask(&here, reply(code, Some("r1"), "x"), TIMEOUT).await?;
        ensure!(answer.header.remark.as_deref() == Some("push reply message to r1fail."), "{answer:?}");
        client.close().await;
        eventually(SOON, "the requester has gone", || async {
            let answer = replier.ask(&here, reply(code, Some("r1"), "x"), TIMEOUT).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let remark = answer.header.remark.as_deref().unwrap_or_default();
            claim(remark.ends_with("channel of <r1> not found."), remark)
        })
        .await?;
        let stored = replier.read(&here, &reply_topic(), 0, 0).await?;
        ensure!(stored.len() >= 6, "{} replies are stored", stored.len());

        // What no send would be allowed reaches nobody.
        let mut frame = reply(code, Some("r1"), "x");
        frame.header.ext.insert("topic", "SCHEDULE_TOPIC_XXXX");
        let answer = replier.ask(&here, frame, TIMEOUT).await?;
        ensure!(answer.header.code == ResponseCode::NoPermission.as_i32(), "{answer:?}");
        cluster.finish();
        Ok(())
    });
}

/// A lite pull is a pull with a switch of its own.
async fn lite(client: &Client, address: &str, pull: &Pull<'_>) -> Result<support::Pulled, Failure> {
    let mut ext = pull.ext();
    let flags: i32 = ext.get("sysFlag").and_then(|flags| flags.parse().ok()).unwrap_or(0);
    ext.insert("sysFlag", &(flags | 16).to_string());
    pulled(client.ask(address, Frame::request(RequestCode::LitePullMessage, ext, Bytes::new()), SOON).await?)
}

#[test]
fn lite_pulls_are_answered_like_pulls_by_any_replica() {
    run(LIMIT, async {
        let (cluster, client, [here, there]) = Cluster::with_client().await?;
        client.create_topic(&here, "lite", 1, 6).await?;
        for number in 0..3 {
            client.send(&here, &Message::new("lite", 0, format!("{number}"))).await?;
        }
        cluster.settled().await?;
        for (address, end) in [(&here, 3), (&there, 4)] {
            let found = lite(&client, address, &Pull::from("lite", 0, 1)).await?;
            ensure!(found.code == ResponseCode::Success && found.next == end, "{found:?}");
            ensure!(found.messages.len() as i64 == end - 1, "{found:?}");
            // Held until a message comes.
            let pull = Pull { hold: SOON / 2, ..Pull::from("lite", 0, end) };
            let message = Message::new("lite", 0, "wakes");
            let (woken, sent) = tokio::join!(lite(&client, address, &pull), client.send(&here, &message));
            ensure!(sent?.offset == end);
            let woken = woken?;
            ensure!(woken.code == ResponseCode::Success && woken.next == end + 1, "{woken:?}");
            // The end of a queue is the leader's to tell.
            let at_end = lite(&client, address, &Pull::from("lite", 0, end + 1)).await?;
            ensure!((at_end.code, at_end.next) == (ResponseCode::PullNotFound, end + 1), "{at_end:?}");
            cluster.settled().await?;
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn switches_turn_lite_pulls_and_the_copies_of_replies_off() {
    run(LIMIT, async {
        let switches = [("litePullMessageEnable", "false"), ("storeReplyMessageEnable", "false")];
        let cluster = Cluster::start_with(&switches).await?;
        let leader = cluster.leader().await?;
        let (here, client) = (cluster.address(leader), cluster.client());
        client.create_topic(&here, "lite", 1, 6).await?;
        let refused = lite(&client, &here, &Pull::from("lite", 0, 0)).await;
        let remark = refused_with(refused, ResponseCode::NoPermission)?;
        ensure!(remark == "the broker[127.0.0.1] for lite pull consumer is forbidden", "{remark}");
        ensure!(client.pull(&here, &Pull::from("lite", 0, 0)).await?.code == ResponseCode::PullNotFound);

        let asking = requester(&here, &cluster, "r1").await?;
        let answer = replied(&client, &here, "r1", "x").await?;
        ensure!(answer.header.ext.get("msgId") == Some("0"), "{answer:?}");
        ensure!(answer.header.ext.get("queueOffset") == Some("0"), "{answer:?}");
        ensure!(asking.inbox.count(RequestCode::PushReplyMessageToClient) == 1);
        ensure!(client.max(&here, &reply_topic(), 0).await? == 0, "nothing is stored");
        cluster.finish();
        Ok(())
    });
}
