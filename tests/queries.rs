//! QUERY_MESSAGE and VIEW_MESSAGE_BY_ID on every replica: over memory and files, lost files, restarts and deletion.
//!
//! Which messages fit, their order and limits are the index's own tests (`broker/src/views/keys/tests`).

mod support;

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use flotilla_remoting::headers::{QueryMessageRequest, QueryMessageResponse, ViewMessageRequest};
use flotilla_remoting::{Frame, RequestCode, ResponseCode};
use support::exchange::{now_ms, refused_with};
use support::settings::NODES;
use support::stored::{Stored, decode};
use support::wait::claim;
use support::{Client, Cluster, Message, eventually, run};

const LIMIT: Duration = Duration::from_secs(150);
const PHASE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(15);
const TOPIC: &str = "keyed";

/// What a query says.
#[derive(Clone, Copy)]
struct Query<'a> {
    key: &'a str,
    max: i32,
    begin: i64,
    end: i64,
    unique: bool,
}

fn any(key: &str) -> Query<'_> {
    Query { key, max: 64, begin: 0, end: i64::MAX, unique: false }
}

async fn ask(client: &Client, address: &str, query: Query<'_>) -> anyhow::Result<Frame> {
    let header = QueryMessageRequest {
        topic: TOPIC,
        key: query.key,
        max_num: query.max,
        begin_timestamp: query.begin,
        end_timestamp: query.end,
    };
    let mut ext = header.encode();
    ext.insert("_UNIQUE_KEY_QUERY", if query.unique { "true" } else { "false" });
    Ok(client.ask(address, Frame::request(RequestCode::QueryMessage, ext, Bytes::new()), PATIENCE).await?)
}

/// The messages of an answer; none with code 22, which has the same header.
async fn found(client: &Client, address: &str, query: Query<'_>) -> anyhow::Result<Vec<Stored>> {
    let answer = ask(client, address, query).await?;
    let header = QueryMessageResponse::decode(&answer.header.ext)?;
    ensure!(
        header.index_last_update_timestamp > 0 && header.index_last_update_physical_offset > 0,
        "{header:?}"
    );
    match answer.header.response_code() {
        ResponseCode::Success => decode(&answer.body),
        ResponseCode::QueryNotFound => Ok(Vec::new()),
        other => anyhow::bail!("{other:?}: {:?}", answer.header.remark),
    }
}

fn names(messages: &[Stored]) -> Vec<String> {
    messages.iter().map(Stored::key).collect()
}

async fn view(client: &Client, address: &str, position: i64) -> Result<Vec<Stored>, support::Failure> {
    let ext = ViewMessageRequest { offset: position, topic: None }.encode();
    let answer = client.request(address, RequestCode::ViewMessageById, ext, Bytes::new()).await?;
    decode(&answer.body).map_err(|error| support::Failure::Answer(format!("{error:#}")))
}

/// Every node gives the same answers; a follower also for what it does not have yet.
async fn check(cluster: &Cluster, client: &Client) -> anyhow::Result<()> {
    for node in 0..NODES {
        let address = cluster.address(node);
        for number in [0, 57, 399] {
            let by_key = found(client, &address, any(&format!("order-{number}"))).await?;
            ensure!(names(&by_key) == [format!("m-{number}")], "n{node} {number}: {by_key:?}");
            let id = format!("ID{number:030}");
            let by_id = found(client, &address, Query { unique: true, max: 0, ..any(&id) }).await?;
            ensure!(names(&by_id) == [format!("m-{number}")], "n{node} {number}: {by_id:?}");
            // The message is seen by its id at whichever replica.
            let viewed = view(client, &address, by_key[0].position).await?;
            ensure!(names(&viewed) == names(&by_key) && viewed[0].offset == by_key[0].offset);
        }
        let newest = found(client, &address, Query { max: 3, ..any("all") }).await?;
        ensure!(names(&newest) == ["m-397", "m-398", "m-399"], "n{node}: {newest:?}");
        ensure!(found(client, &address, any("all")).await?.len() == 64, "n{node}: at most 64");
        let middle = found(client, &address, any("order-200")).await?[0].store_time;
        let window = Query { begin: middle, end: middle, ..any("order-200") };
        ensure!(found(client, &address, window).await?.len() == 1);
        for outside in
            [Query { end: middle - 1, ..window }, Query { begin: middle + 1, end: i64::MAX, ..window }]
        {
            ensure!(found(client, &address, outside).await?.is_empty(), "n{node}");
        }
        ensure!(found(client, &address, any("order-")).await?.is_empty(), "n{node}");
        let bad = view(client, &address, 5).await;
        ensure!(
            refused_with(bad, ResponseCode::SystemError)?.contains("can not find message by the offset, 5")
        );
    }
    Ok(())
}

#[test]
fn messages_are_found_by_key_and_by_id_on_every_replica_also_after_the_index_was_lost() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with_small_segments().await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let address = cluster.address(leader);
        client.create_topic(&address, TOPIC, 4, 6).await?;
        let before = now_ms();
        for number in 0..400 {
            let body = format!("m-{number}\n{}", "x".repeat(8192));
            let message = Message::new(TOPIC, number % 4, body)
                .with("KEYS", &format!("order-{number} all"))
                .with("UNIQ_KEY", &format!("ID{number:030}"));
            client.send(&address, &message).await?;
            if number == 200 {
                // Whoever got an answer can find the message, here and elsewhere.
                for node in 0..NODES {
                    let just = found(&client, &cluster.address(node), any("order-200")).await?;
                    ensure!(just.len() == 1 && just[0].store_time >= before);
                }
            }
        }
        check(&cluster, &client).await?;
        for node in 0..NODES {
            let keys = cluster.data(node).join("views/keys");
            eventually(PHASE, "each node has key files", || {
                let count = fs::read_dir(&keys).into_iter().flatten().count();
                std::future::ready(claim(count >= 2, format!("n{node} has {count}")))
            })
            .await?;
        }
        for node in 0..NODES {
            cluster.kill(node)?;
            match node {
                0 => fs::remove_dir_all(cluster.data(node).join("views"))?,
                1 => {
                    for file in fs::read_dir(cluster.data(node).join("views/keys"))?.flatten() {
                        let size = file.metadata()?.len();
                        fs::write(file.path(), vec![0; size as usize])?;
                    }
                }
                _ => {}
            }
        }
        for node in 0..NODES {
            cluster.begin_restart(node)?;
        }
        cluster.ready().await?;
        check(&cluster, &client).await?;
        cluster.verify_logs()?;
        cluster.finish();
        Ok(())
    });
}

/// A retried or dead message keeps its keys; here: what a client sends to a retry topic is found there.
#[test]
fn queries_are_of_one_topic_and_bad_ones_are_refused() {
    run(LIMIT, async {
        let (cluster, client, addresses) = Cluster::with_client().await?;
        for topic in [TOPIC, "other"] {
            client.create_topic(&addresses[0], topic, 1, 6).await?;
            client
                .send(&addresses[0], &Message::new(topic, 0, topic.to_owned()).with("KEYS", "same"))
                .await?;
        }
        for address in &addresses {
            ensure!(names(&found(&client, address, any("same")).await?) == [TOPIC]);
            ensure!(found(&client, address, Query { max: 0, ..any("same") }).await?.is_empty());
            ensure!(found(&client, address, Query { max: -1, ..any("same") }).await?.is_empty());
            let mut ext = flotilla_remoting::ExtFields::new();
            ext.insert("topic", TOPIC);
            let frame = Frame::request(RequestCode::QueryMessage, ext, Bytes::new());
            let answer = client.ask(address, frame, PATIENCE).await?;
            ensure!(answer.header.response_code() == ResponseCode::SystemError, "{answer:?}");
        }
        cluster.finish();
        Ok(())
    });
}
