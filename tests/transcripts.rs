//! What Apache's broker answered to official clients and tools, asked again of a group: the same code, the same fields in the
//! header, bodies of the same form; or a difference that is listed here with its reason.
//!
//! Method: the recorded requests go to the leader in their order. Times are moved to now, offsets and ids of messages become
//! those that this group gave for the same message. Requests that a broker sends to clients are answered as recorded.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "replay/shape.rs"]
mod shape;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flotilla_net::{BytesPermit, ClientPool, Connection, PoolOptions, Service};
use flotilla_remoting::bodies::{
    self, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode as Code, ResponseCode};
use serde_json::Value;
use support::settings::CLUSTER;
use support::wait::claim;
use support::{Cluster, eventually, run};

const LIMIT: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(12);

/// Codes that are not answered yet; once they are, they are compared like the others.
const LATER: &[i32] = &[
    370, 400, 401, 402, 3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 3009, 3010, 200_050, 200_051,
    200_052, 200_053, 200_054, 200_055, 200_151,
];

/// Codes of which only some requests are refused for now: those whose message needs what is not there yet.
const LATER_IN_PART: &[i32] = &[10, 310, 320];

/// A difference that is meant: code, part of the phase's name (empty for all), how it begins, and why.
type Listed = (i32, &'static str, &'static str, &'static str);

const LISTED: &[Listed] = &[
    (
        34,
        "",
        "-ext.IS_",
        "heartbeats without subscriptions are not asked for, so support of them is not told",
    ),
    (
        14,
        "request_reply",
        "code 22 is 0",
        "an empty queue is a young one: its first message is not to be missed",
    ),
    (
        325,
        "request_reply",
        "code 1 is 0",
        "the requester that was recorded had gone by then; here it takes the reply",
    ),
    (11, "orderly", "code 0 is 19", "later: the retry that was recorded here came 10 s after its message"),
    (11, "send_for_view", "code 0 is 21", "later: the messages before it are not all accepted yet"),
    (11, "sql92", "code 0 is 1", "later: subscriptions by SQL92"),
];

/// The beginning of reasons for differences that may be gone already.
const LATER_REASON: &str = "later: ";

fn load() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/transcripts.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Answers a broker's requests as the recorded client did.
struct Recorded {
    answers: HashMap<i32, (i32, ExtFields, Bytes)>,
}

impl Service for Recorded {
    fn call(&self, connection: &Arc<Connection>, request: Frame, _permit: BytesPermit) {
        if let Some((code, fields, body)) = self.answers.get(&request.header.code)
            && !request.is_oneway()
        {
            let mut answer = request.reply(ResponseCode::from_i32(*code), None);
            (answer.header.ext, answer.body) = (fields.clone(), body.clone());
            let _ = connection.send(answer);
        }
    }
}

/// Codes of requests from brokers to clients.
const TO_CLIENTS: [i32; 5] = [39, 40, 220, 221, 326];

struct Replay {
    leader: String,
    recorded: Arc<Recorded>,
    /// Connections by client id; the empty one is that of tools.
    clients: HashMap<String, ClientPool>,
    /// What is added to a recorded time.
    shift_ms: i64,
    /// Ids and offsets that this group gave in place of the recorded ones.
    given: BTreeMap<String, String>,
}

impl Replay {
    fn new(leader: String, exchanges: &[Value]) -> Replay {
        let mut answers = HashMap::new();
        for exchange in exchanges {
            let code = number(&exchange["request"]["code"]);
            if matches!(code, 221 | 307 | 309 | 326) && exchange["response"]["code"] == 0 {
                let response = &exchange["response"];
                answers.insert(code, (0, fields_of(&response["extFields"]), body_of(response)));
            }
        }
        let first = exchanges[0]["request"]["extFields"]["g"].as_str().and_then(|text| text.parse().ok());
        let recorded: i64 = first.unwrap_or(1_795_633_124_059);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        Replay {
            leader,
            recorded: Arc::new(Recorded { answers }),
            clients: HashMap::new(),
            shift_ms: now - recorded,
            given: BTreeMap::new(),
        }
    }

    fn client(&mut self, id: &str) -> ClientPool {
        let recorded = self.recorded.clone();
        let pool = self.clients.entry(id.to_owned());
        pool.or_insert_with(|| ClientPool::new(PoolOptions::default(), recorded)).clone()
    }

    async fn ask(&mut self, id: &str, frame: Frame) -> anyhow::Result<Frame> {
        let pool = self.client(id);
        Ok(pool.request(&self.leader, frame, WAIT).await?)
    }

    /// The request as it would be made now.
    fn frame(&self, request: &Value) -> Frame {
        let mut fields = ExtFields::new();
        for (key, value) in request["extFields"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            let value = match &**key {
                // Nobody writes while this waits.
                "suspendTimeoutMillis" => value.parse::<i64>().unwrap().min(100).to_string(),
                "offset" | "msgId" | "key" => self.given.get(value).cloned().unwrap_or(value.to_owned()),
                _ => value.replace("DefaultCluster", CLUSTER),
            };
            fields.insert(key, &self.moved(&value));
        }
        let mut frame = Frame::request(Code::from_i32(number(&request["code"])), fields, body_of(request));
        frame.header.version = number(&request["version"]);
        frame
    }

    /// A recorded time as one of now.
    fn moved(&self, value: &str) -> String {
        match value.parse::<i64>() {
            Ok(time) if (1_795_300_000_000..1_795_700_000_000).contains(&time) => {
                (time + self.shift_ms).to_string()
            }
            Ok(_) | Err(_) => value.to_owned(),
        }
    }

    /// Lets the members be there that the recording had by then: not each of their heartbeats is in it.
    async fn bring_about(&mut self, request: &Value, response: &Value) -> anyhow::Result<()> {
        let fields = &request["extFields"];
        match number(&request["code"]) {
            38 if response["code"] == 0 => {
                let list: bodies::ConsumerList = bodies::decode(&body_of(response))?;
                for id in list.consumer_id_list {
                    self.join(&id, fields["consumerGroup"].as_str().unwrap(), "TopicLive").await?;
                }
            }
            // A pull without a subscription of its own.
            11 | 361 if fields["subscription"].is_null() && response["code"] != 24 => {
                if let (Some(group), Some(topic)) =
                    (fields["consumerGroup"].as_str(), fields["topic"].as_str())
                {
                    self.join(&format!("{group}@reader"), group, topic).await?;
                }
            }
            204 if response["code"] == 0 => {
                let group = fields["producerGroup"].as_str().unwrap().to_owned();
                let beat = HeartbeatData {
                    client_id: "192.0.2.2@producer".to_owned(),
                    producer_data_set: vec![bodies::ProducerData { group_name: group }],
                    ..HeartbeatData::default()
                };
                self.ask(
                    "producer",
                    Frame::request(Code::Heartbeat, ExtFields::new(), bodies::encode(&beat)),
                )
                .await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn join(&mut self, id: &str, group: &str, topic: &str) -> anyhow::Result<()> {
        let beat = HeartbeatData {
            client_id: id.to_owned(),
            consumer_data_set: vec![ConsumerData {
                group_name: group.to_owned(),
                consume_type: ConsumeType::Passively,
                message_model: MessageModel::Clustering,
                consume_from_where: ConsumeFromWhere::FirstOffset,
                unit_mode: false,
                subscription_data_set: [topic, &format!("%RETRY%{group}")]
                    .map(|topic| SubscriptionData {
                        topic: topic.to_owned(),
                        sub_string: "*".to_owned(),
                        sub_version: 1_795_633_127_379 + self.shift_ms,
                        expression_type: Some("TAG".to_owned()),
                        ..SubscriptionData::default()
                    })
                    .to_vec(),
            }],
            ..HeartbeatData::default()
        };
        let beat = Frame::request(Code::Heartbeat, ExtFields::new(), bodies::encode(&beat));
        self.ask(id, beat).await?;
        self.joined(group, id).await
    }

    /// Waits until a member is listed.
    async fn joined(&mut self, group: &str, id: &str) -> anyhow::Result<()> {
        let (pool, leader) = (self.client(""), self.leader.clone());
        eventually(SOON, &format!("{id} is in {group}"), || async {
            let mut fields = ExtFields::new();
            fields.insert("consumerGroup", group);
            let frame = Frame::request(Code::GetConsumerListByGroup, fields, Bytes::new());
            let answer = pool.request(&leader, frame, WAIT).await.map_err(|error| error.to_string())?;
            let list: bodies::ConsumerList = bodies::decode(&answer.body).unwrap_or_default();
            claim(list.consumer_id_list.iter().any(|one| one == id), format!("{list:?}"))
        })
        .await
    }

    /// Remembers what this group gave for the recorded message.
    fn note(&mut self, request: &Value, response: &Value, answer: &Frame) {
        if !matches!(number(&request["code"]), 310 | 320) {
            return;
        }
        let recorded = response["extFields"]["msgId"].as_str().unwrap_or_default();
        let ours = answer.header.ext.get("msgId").unwrap_or_default();
        for (recorded, ours) in recorded.split(',').zip(ours.split(',')) {
            self.given.insert(recorded.to_owned(), ours.to_owned());
            if let (Some(recorded), Some(ours)) = (offset_in(recorded), offset_in(ours)) {
                self.given.insert(recorded.to_string(), ours.to_string());
            }
        }
    }
}

/// The log offset in an offset id.
fn offset_in(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(id.len().checked_sub(16)?..)?, 16).ok()
}

fn number(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap()).unwrap()
}

fn fields_of(fields: &Value) -> ExtFields {
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect()
}

fn body_of(side: &Value) -> Bytes {
    match (side["bodyText"].as_str(), side["bodyHex"].as_str()) {
        (Some(text), _) => text.replace("DefaultCluster", CLUSTER).into_bytes().into(),
        (None, Some(hex)) => {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into()
        }
        (None, None) => Bytes::new(),
    }
}

/// Kind of a header field's text.
fn kind(text: &str) -> &'static str {
    match text {
        "true" | "false" => "flag",
        text if text.parse::<i64>().is_ok() => "integer",
        _ => "text",
    }
}

fn differences(response: &Value, answer: &Frame) -> Vec<String> {
    let mut out = Vec::new();
    let (recorded, found) = (number(&response["code"]), answer.header.code);
    if recorded != found {
        out.push(format!("code {recorded} is {found} {:?}", answer.header.remark));
        return out;
    }
    let recorded = fields_of(&response["extFields"]);
    for (key, value) in recorded.iter() {
        match answer.header.ext.get(key) {
            None => out.push(format!("-ext.{key}")),
            Some(ours) if kind(ours) != kind(value) => out.push(format!("!ext.{key} {value} is {ours}")),
            Some(_) => {}
        }
    }
    let more = answer.header.ext.iter().filter(|(key, _)| recorded.get(key).is_none());
    out.extend(more.map(|(key, _)| format!("+ext.{key}")));
    match response["bodyText"].as_str() {
        Some(text) if text.starts_with(['{', '[']) => {
            let ours = String::from_utf8_lossy(&answer.body).into_owned();
            match (shape::shape(text), shape::shape(&ours)) {
                (Ok(recorded), Ok(found)) => {
                    let mut differing = Vec::new();
                    recorded.differences(&found, "", &mut differing);
                    // What is behind the cut is not known.
                    differing.retain(|one| !(text.ends_with(" …cut") && one.starts_with('+')));
                    out.extend(differing);
                }
                (recorded, found) => out.push(format!("bodies {recorded:?} {found:?}: {ours}")),
            }
        }
        _ => {
            let has_body = ["bodyText", "bodyHex", "bodyNote"].iter().any(|key| !response[*key].is_null());
            if has_body == answer.body.is_empty() {
                out.push(format!("body {has_body} is {} bytes", answer.body.len()));
            }
        }
    }
    out
}

#[test]
fn recorded_requests_get_answers_of_the_recorded_form() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.address(cluster.leader().await?);
        let exchanges: Vec<Value> = load()
            .into_iter()
            .filter(|exchange| exchange["to"] == "broker" && exchange["request"].is_object())
            .collect();
        let mut replay = Replay::new(leader, &exchanges);
        let (mut equal, mut later, mut listed) = (0, BTreeSet::new(), BTreeSet::new());
        let mut unexpected = Vec::new();
        for exchange in &exchanges {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let (code, phase) = (number(&request["code"]), exchange["phase"].as_str().unwrap());
            if TO_CLIENTS.contains(&code) || response["code"].is_null() {
                continue;
            }
            replay.bring_about(request, response).await.with_context(|| format!("{phase} {code}"))?;
            let id = match code {
                34 => bodies::decode::<HeartbeatData>(&body_of(request))?.client_id,
                _ => String::new(),
            };
            let answer = replay.ask(&id, replay.frame(request)).await;
            let answer = answer.with_context(|| format!("{phase} {code}"))?;
            if code == 34 {
                for consumer in bodies::decode::<HeartbeatData>(&body_of(request))?.consumer_data_set {
                    replay.joined(&consumer.group_name, &id).await?;
                }
            }
            replay.note(request, response, &answer);
            let unsupported = answer.header.response_code() == ResponseCode::RequestCodeNotSupported;
            let remark = answer.header.remark.as_deref().unwrap_or_default();
            if (unsupported && response["code"] != 3 && LATER.contains(&code))
                || (remark.contains("not supported by this version") && LATER_IN_PART.contains(&code))
            {
                later.insert(code);
                continue;
            }
            let differences = differences(response, &answer);
            let mut is_equal = true;
            for difference in differences {
                is_equal = false;
                let known = LISTED.iter().position(|(listed, part, begin, _)| {
                    *listed == code && phase.contains(part) && difference.starts_with(begin)
                });
                match known {
                    Some(index) => drop(listed.insert(index)),
                    None => unexpected.push(format!("{phase} {code}: {difference}")),
                }
            }
            equal += usize::from(is_equal);
        }
        eprintln!("{equal} of {} answers are equal in form; not answered yet: {later:?}", exchanges.len());
        for index in &listed {
            eprintln!("listed: {:?}", LISTED[*index]);
        }
        ensure!(unexpected.is_empty(), "{unexpected:#?}");
        let unused: Vec<&Listed> = LISTED
            .iter()
            .enumerate()
            .filter(|(index, entry)| !listed.contains(index) && !entry.3.starts_with(LATER_REASON))
            .map(|(_, entry)| entry)
            .collect();
        if !unused.is_empty() {
            bail!("differences that are none any more: {unused:?}");
        }
        cluster.finish();
        Ok(())
    });
}
