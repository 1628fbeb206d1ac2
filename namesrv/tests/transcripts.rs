//! What the official name server answered to official clients and tools, asked again here: same code, remark and fields,
//! and a body that says the same.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::*;
use flotilla_remoting::bodies::{
    BrokerMemberGroupBody, ClusterInfo, KvTable, TopicConfig, TopicList, TopicRouteData, decode,
};
use flotilla_remoting::headers::RegisterTopicRequest;
use flotilla_remoting::{ExtFields, Frame, RequestCode};
use serde_json::Value;

/// The recorded broker, with those of its topics that were there from the start.
fn recorded_broker() -> Broker {
    let names = ["RMQ_SYS_TRANS_HALF_TOPIC", "BenchmarkTest", "DefaultCluster", "broker-a"];
    let mut topics: Vec<TopicConfig> = names.iter().map(|name| topic(name, 1, 6)).collect();
    topics.push(topic("TBW102", 8, 7));
    Broker { address: "127.0.0.1:31911".into(), topics, ..Broker::apache(0) }
}

/// Topics come into being between the recorded requests; this lets them.
async fn bring_about(client: &Client, request: &Value, response: &Value) {
    let text = response["bodyText"].as_str().unwrap_or_default().as_bytes();
    match request["code"].as_i64().unwrap() {
        105 if response["code"] == 0 => {
            add_topic(client, request["extFields"]["topic"].as_str().unwrap(), text).await
        }
        206 => {
            let route =
                r#"{"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"writeQueueNums":4}]}"#;
            let known = client.ask(RequestCode::GetAllTopicListFromNameServer, ExtFields::new(), "").await;
            let known: TopicList = decode(&known.body).unwrap();
            for topic in decode::<TopicList>(text).unwrap().topic_list {
                if !known.topic_list.contains(&topic) {
                    add_topic(client, &topic, route.as_bytes()).await;
                }
            }
        }
        _ => {}
    }
}

async fn add_topic(client: &Client, topic: &str, route: &[u8]) {
    let header = RegisterTopicRequest { topic }.encode();
    client.ask(RequestCode::RegisterTopicInNamesrv, header, route.to_vec()).await;
}

fn frame_of(request: &Value) -> Frame {
    let code = RequestCode::from_i32(i32::try_from(request["code"].as_i64().unwrap()).unwrap());
    let mut frame = Frame::request(code, fields_of(&request["extFields"]), bytes::Bytes::new());
    frame.header.version = i32::try_from(request["version"].as_i64().unwrap()).unwrap();
    frame
}

fn fields_of(fields: &Value) -> ExtFields {
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect()
}

/// Claims that two bodies of a code say the same. Lists have the order of a hash table at Apache's.
fn same_body(code: i64, recorded: &str, ours: &[u8]) -> bool {
    let recorded = recorded.as_bytes();
    match code {
        105 => decode::<TopicRouteData>(recorded).unwrap() == decode(ours).unwrap(),
        106 => decode::<ClusterInfo>(recorded).unwrap() == decode(ours).unwrap(),
        901 => decode::<BrokerMemberGroupBody>(recorded).unwrap() == decode(ours).unwrap(),
        219 => decode::<KvTable>(recorded).unwrap() == decode(ours).unwrap(),
        206 | 224 | 304 | 311 => {
            let [recorded, ours]: [TopicList; 2] = [decode(recorded).unwrap(), decode(ours).unwrap()];
            let set = |list: &TopicList| list.topic_list.iter().cloned().collect::<BTreeSet<_>>();
            recorded.broker_addr == ours.broker_addr && set(&recorded) == set(&ours)
        }
        other => panic!("no body is known for code {other}"),
    }
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_answers() {
    let server = start().await;
    let client = Client::connect(&server).await;
    client.register(&recorded_broker()).await;
    let transcripts = vectors("transcripts.json");
    let all = transcripts.as_array().unwrap().iter().filter(|exchange| exchange["to"] == "nameserver");
    let mut count = 0;
    for exchange in all {
        let (request, response) = (&exchange["request"], &exchange["response"]);
        bring_about(&client, request, response).await;
        let answer = client.0.request(frame_of(request), LONG).await.unwrap();
        let header = &answer.header;
        let context = format!("{}: {request}\n{header:?}", exchange["phase"]);
        let numbers = [header.code, header.flag, header.version].map(i64::from);
        let recorded = ["code", "flag", "version"].map(|key| response[key].as_i64().unwrap());
        assert_eq!(numbers, recorded, "{context}");
        assert_eq!(header.language.name(), response["language"].as_str(), "{context}");
        // A default remark that the official server forgets to take back on success.
        let left_over = response["code"] == 0 && response["remark"] == "not set any response code";
        let remark = response["remark"].as_str().filter(|_| !left_over);
        assert_eq!(header.remark.as_deref(), remark, "{context}");
        assert_eq!(header.ext, fields_of(&response["extFields"]), "{context}");
        if let Some(text) = response["bodyText"].as_str() {
            let code = request["code"].as_i64().unwrap();
            assert!(same_body(code, text, &answer.body), "{context}\n{text}\n{:?}", answer.body);
        } else if response["bodyNote"].is_null() {
            assert!(answer.body.is_empty(), "{context}");
        }
        count += 1;
    }
    assert!(count > 40, "only {count} recorded exchanges");
    server.stop().await;
}
