//! Settings at run time: GET_BROKER_CONFIG (26) and UPDATE_BROKER_CONFIG (25) against a group of three processes.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{self, DataVersion};
use flotilla_remoting::headers::GetBrokerConfigResponse;
use flotilla_remoting::{ExtFields, RequestCode, ResponseCode};
use support::exchange::refused_with;
use support::settings::{BROKER, CLUSTER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(10);

/// Keys and values as `java.util.Properties` would read them, and the counter of the version.
async fn config(client: &Client, address: &str) -> anyhow::Result<(BTreeMap<String, String>, i64)> {
    let code = RequestCode::GetBrokerConfig;
    let answer = client.request(address, code, ExtFields::new(), Bytes::new()).await?;
    let text = std::str::from_utf8(&answer.body)?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.is_sorted(), "sorted by name");
    let pairs = lines.iter().map(|line| line.split_once('=')).collect::<Option<Vec<_>>>();
    let pairs = pairs.context("each line is name=value")?;
    let header = GetBrokerConfigResponse::decode(&answer.header.ext)?;
    let version: DataVersion = bodies::decode(header.version.as_bytes())?;
    let all = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok((all, version.counter))
}

async fn update(client: &Client, address: &str, body: &str) -> Result<(), Failure> {
    let body = Bytes::from(body.to_owned());
    client.request(address, RequestCode::UpdateBrokerConfig, ExtFields::new(), body).await.map(drop)
}

async fn everywhere(cluster: &Cluster, client: &Client, name: &str, value: &str) -> anyhow::Result<()> {
    for node in 0..NODES {
        let address = cluster.address(node);
        eventually(SOON, &format!("n{node} shows {name}={value}"), || async {
            let (all, _) = config(client, &address).await.map_err(|error| format!("{error:#}"))?;
            claim(all.get(name).is_some_and(|shown| shown == value), format!("{:?}", all.get(name)))
        })
        .await?;
    }
    Ok(())
}

#[test]
fn what_is_shown_is_what_counts() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        let (at_leader, _) = config(&client, &leader).await?;
        let (at_other, _) = config(&client, &other).await?;
        ensure!(at_leader.len() > 500, "all keys of RocketMQ: {}", at_leader.len());
        let node = cluster.node_at(&leader)?;
        let expected = [
            ("brokerName", BROKER.to_owned()),
            ("brokerClusterName", CLUSTER.to_owned()),
            ("brokerId", "0".to_owned()),
            ("brokerRole", "SYNC_MASTER".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("listenPort", leader.rsplit(':').next().unwrap_or_default().to_owned()),
            ("flushDiskType", "SYNC_FLUSH".to_owned()),
            ("storePathRootDir", cluster.data(node).display().to_string()),
            ("maxMessageSize", "4194304".to_owned()),
            ("fileReservedTime", "72".to_owned()),
            ("deleteWhen", "04".to_owned()),
            ("brokerPermission", "6".to_owned()),
            ("autoCreateTopicEnable", "true".to_owned()),
            ("defaultTopicQueueNums", "8".to_owned()),
            ("namesrvAddr", cluster.name_server()),
        ];
        for (name, value) in expected {
            ensure!(at_leader.get(name) == Some(&value), "{name}: {:?}, not {value}", at_leader.get(name));
        }
        ensure!(at_other["brokerRole"] == "SLAVE" && at_other["brokerId"] != "0");
        for name in ["messageDelayLevel", "transientStorePoolEnable", "haListenPort", "traceOn"] {
            ensure!(at_leader.contains_key(name), "tools look at {name}");
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_setting_of_the_group_is_changed_at_any_replica_and_holds_through_a_kill_of_all() {
    run(LIMIT, async {
        let mut cluster = Cluster::start_with(&[("autoCreateTopicEnable", "true")]).await?;
        let client = cluster.client();
        let leader = cluster.leader().await?;
        let other = cluster.address(cluster.other_than(&[leader]));
        let (_, before) = config(&client, &other).await?;

        update(&client, &other, "autoCreateTopicEnable=false\nfileReservedTime=48\n").await?;
        // Who was told of success sees it where it asked.
        let (shown, after) = config(&client, &other).await?;
        ensure!(shown["autoCreateTopicEnable"] == "false" && shown["fileReservedTime"] == "48");
        ensure!(after == before + 1, "{before} and {after}");
        everywhere(&cluster, &client, "autoCreateTopicEnable", "false").await?;
        let message = Message::new("never-made", 0, "x");
        let leader_address = cluster.address(leader);
        refused_with(client.send(&leader_address, &message).await, ResponseCode::TopicNotExist)?;
        // The same again is a success without a change.
        update(&client, &other, "autoCreateTopicEnable=false").await?;
        ensure!(config(&client, &other).await?.1 == after);

        for node in 0..NODES {
            cluster.kill(node)?;
        }
        for node in 0..NODES {
            cluster.begin_restart(node)?;
        }
        for node in 0..NODES {
            cluster.node_ready(node).await?;
        }
        everywhere(&cluster, &client, "autoCreateTopicEnable", "false").await?;
        everywhere(&cluster, &client, "fileReservedTime", "48").await?;
        let leader = cluster.leader().await?;
        let answer = client.send(&cluster.address(leader), &message).await;
        refused_with(answer, ResponseCode::TopicNotExist)?;
        for node in 0..NODES {
            let told = "autoCreateTopicEnable=false is the group's setting and counts";
            eventually(SOON, &format!("n{node} tells that its file says otherwise"), || async {
                let log = cluster.process(node).map_err(|error| error.to_string())?.log();
                claim(log.contains(told), "no such line")
            })
            .await?;
        }
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_refused_update_changes_nothing() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        let before = config(&client, &leader).await?;
        let refused = [
            ("configBlackList=x", ResponseCode::NoPermission),
            ("brokerConfigPath=/tmp/x", ResponseCode::NoPermission),
            ("brokerPermission=5", ResponseCode::SystemError),
            ("noSuchKey=1", ResponseCode::SystemError),
            ("listenPort=1", ResponseCode::SystemError),
            ("sendMessageThreadPoolNums=99", ResponseCode::SystemError),
            ("broken=\\u12", ResponseCode::SystemError),
        ];
        for (line, code) in refused {
            for address in [&leader, &other] {
                let body = format!("fileReservedTime=1\n{line}\n");
                refused_with(update(&client, address, &body).await, code).context(line)?;
            }
        }
        ensure!(config(&client, &leader).await? == before);
        cluster.finish();
        Ok(())
    });
}

#[test]
fn the_permission_of_the_broker_acts_at_once_and_shows_in_routes() {
    run(LIMIT, async {
        let (cluster, client, [leader, other]) = Cluster::with_client().await?;
        client.create_topic(&leader, "guarded", 1, 6).await?;
        client.send(&leader, &Message::new("guarded", 0, "before")).await?;

        update(&client, &leader, "brokerPermission=4").await?;
        let message = Message::new("guarded", 0, "refused");
        for address in [&leader, &other] {
            refused_with(client.send(address, &message).await, ResponseCode::NoPermission)?;
        }
        ensure!(client.read(&leader, "guarded", 0, 0).await?.len() == 1, "reading goes on");
        eventually(SOON, "the route says so", || async {
            let route = client.route("guarded").await.map_err(|error| error.to_string())?;
            claim(route.queue_datas[0].perm == 4, format!("{route:?}"))
        })
        .await?;

        update(&client, &leader, "brokerPermission=2").await?;
        client.send(&leader, &message).await?;
        refused_with(client.pull(&leader, &Pull::from("guarded", 0, 0)).await, ResponseCode::NoPermission)?;
        update(&client, &other, "brokerPermission=6").await?;
        ensure!(client.read(&leader, "guarded", 0, 0).await?.len() == 2);
        cluster.finish();
        Ok(())
    });
}
