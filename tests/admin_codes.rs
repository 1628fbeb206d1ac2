//! What administrators' tools ask of a group about topics, consumer groups and offsets, asked at every replica.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use flotilla_remoting::bodies::{
    self, AllConsumerOffset, ConsumeFromWhere, ConsumeStats, ConsumeStatsList, ConsumeTimeSpans, ConsumeType,
    ConsumerConnection, ConsumerData, CorrectionOffsets, CreateTopicList, GroupForbidden, GroupList,
    HaStatus, HeartbeatData, MessageModel, MessageQueue, ProducerConnection, ProducerData, ProducerTable,
    QueryConsumeQueueResponse, QuerySubscriptionResponse, ResetOffsetBody, SubscriptionData,
    SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper, TopicConfig,
    TopicConfigWrapper, TopicList, TopicStatsTable,
};
use flotilla_remoting::{ExtFields, Frame, RequestCode as Code, ResponseCode};
use serde::de::DeserializeOwned;
use support::settings::{BROKER, NODES};
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, admin, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(5);

fn ext(fields: &[(&str, &str)]) -> ExtFields {
    fields.iter().copied().collect()
}

/// Asks and reads the body of a success.
async fn body<T: DeserializeOwned>(
    client: &Client,
    address: &str,
    code: Code,
    fields: &[(&str, &str)],
) -> anyhow::Result<T> {
    let answer = client.request(address, code, ext(fields), Bytes::new()).await;
    let answer = answer.with_context(|| format!("{code} {fields:?}"))?;
    bodies::decode(&answer.body).with_context(|| format!("{code}: {:?}", answer.body))
}

/// Asks and wants success without a body.
async fn done(client: &Client, address: &str, code: Code, fields: &[(&str, &str)]) -> anyhow::Result<()> {
    let answer = client.request(address, code, ext(fields), Bytes::new()).await;
    let answer = answer.with_context(|| format!("{code} {fields:?}"))?;
    ensure!(answer.body.is_empty(), "{code}: {:?}", answer.body);
    Ok(())
}

/// The code of an answer, whatever it is.
async fn code_of(
    client: &Client,
    address: &str,
    code: Code,
    fields: &[(&str, &str)],
) -> anyhow::Result<(ResponseCode, String)> {
    let answer = client.ask(address, Frame::request(code, ext(fields), Bytes::new()), WAIT).await?;
    let remark = answer.header.remark.clone().unwrap_or_default();
    Ok((answer.header.response_code(), remark))
}

fn queue(topic: &str, queue_id: i32) -> MessageQueue {
    MessageQueue { broker_name: BROKER.to_owned(), queue_id, topic: topic.to_owned() }
}

/// The group, a client, and the addresses of the leader and of a follower.
async fn group() -> anyhow::Result<(Cluster, Client, String, String)> {
    let cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let follower = cluster.other_than(&[leader]);
    let (client, at) = (cluster.client(), [cluster.address(leader), cluster.address(follower)]);
    let [leader, follower] = at;
    Ok((cluster, client, leader, follower))
}

#[test]
fn topics_are_made_changed_listed_and_deleted_through_any_replica() {
    run(LIMIT, async {
        let (cluster, client, leader, follower) = group().await?;
        let put = |attributes: &'static str| {
            [
                ("topic", "orders"),
                ("defaultTopic", "TBW102"),
                ("readQueueNums", "4"),
                ("writeQueueNums", "2"),
                ("perm", "6"),
                ("topicFilterType", "SINGLE_TAG"),
                ("order", "true"),
                ("attributes", attributes),
            ]
        };
        done(&client, &follower, Code::UpdateAndCreateTopic, &put("+message.type=FIFO")).await?;
        // Whoever asks a name server next finds it.
        ensure!(client.route("orders").await?.queue_datas[0].read_queue_nums == 4);
        let topic = [("topic", "orders"), ("lo", "true")];
        let config: TopicConfig = body(&client, &leader, Code::GetTopicConfig, &topic).await?;
        ensure!(config.order && config.attributes["message.type"] == "FIFO", "{config:?}");
        done(&client, &leader, Code::UpdateAndCreateTopic, &put("-message.type")).await?;
        let config: TopicConfig = body(&client, &follower, Code::GetTopicConfig, &topic).await?;
        ensure!(config.attributes.is_empty(), "{config:?}");
        for (attributes, expected) in [
            ("-message.type", ResponseCode::SystemError),
            ("+unknown=1", ResponseCode::SystemError),
            ("+message.type=MIXED", ResponseCode::InvalidParameter),
        ] {
            let (code, remark) =
                code_of(&client, &leader, Code::UpdateAndCreateTopic, &put(attributes)).await?;
            ensure!(code == expected, "{attributes}: {code:?} {remark}");
        }

        // Each queue that can be read or written has its figures.
        client.send(&leader, &Message::new("orders", 1, "first")).await?;
        let stats: TopicStatsTable =
            body(&client, &follower, Code::GetTopicStatsInfo, &[("topic", "orders")]).await?;
        ensure!(stats.offset_table.keys().map(|queue| queue.queue_id).eq(0..4), "{stats:?}");
        ensure!(stats.offset_table[&queue("orders", 1)].max_offset == 1, "{stats:?}");

        // A list is taken as a whole or not at all.
        let list = |names: &[&str]| {
            let topics = names
                .iter()
                .map(|name| TopicConfig { topic_name: (*name).to_owned(), ..TopicConfig::default() });
            bodies::encode(&CreateTopicList { topic_config_list: topics.collect() })
        };
        let refused = client
            .request(&leader, Code::UpdateAndCreateTopicList, ExtFields::new(), list(&["l1", "TBW102"]))
            .await;
        ensure!(refused.as_ref().is_err_and(|error| error.code() == Some(29)), "{refused:?}");
        let (code, _) = code_of(&client, &leader, Code::GetTopicConfig, &[("topic", "l1")]).await?;
        ensure!(code == ResponseCode::TopicNotExist, "{code:?}");
        let names = ["l1", "l2", "l3"];
        client.request(&follower, Code::UpdateAndCreateTopicList, ExtFields::new(), list(&names)).await?;

        // Everything at once, or in pages that a client takes until it has all but one.
        let all: TopicConfigWrapper = body(&client, &leader, Code::GetAllTopicConfig, &[]).await?;
        ensure!(names.iter().all(|name| all.topic_config_table.contains_key(*name)), "{all:?}");
        ensure!(pages(&client, &follower).await? == all.topic_config_table);
        let system: TopicList = body(&client, &leader, Code::GetSystemTopicListFromBroker, &[]).await?;
        for name in ["TBW102", "SCHEDULE_TOPIC_XXXX", "TestCluster", BROKER] {
            ensure!(system.topic_list.iter().any(|topic| topic == name), "{name}: {system:?}");
        }
        ensure!(!system.topic_list.iter().any(|topic| topic == "orders"), "{system:?}");

        // A deletion ends what waits for messages, and numbers stay taken.
        let waiting = tokio::spawn({
            let (client, follower) = (client.clone(), follower.clone());
            async move {
                let pull = Pull { hold: Duration::from_secs(20), ..Pull::from("orders", 0, 0) };
                client.pull(&follower, &pull).await
            }
        });
        for name in ["TBW102", "TestCluster", ""] {
            let (code, remark) =
                code_of(&client, &leader, Code::DeleteTopicInBroker, &[("topic", name)]).await?;
            ensure!(code == ResponseCode::InvalidParameter, "{name}: {code:?} {remark}");
        }
        eventually(SOON, "the pull waits", || async {
            let held = held_pulls(&cluster).await.map_err(|error| error.to_string())?;
            claim(held >= 1.0, format!("{held}"))
        })
        .await?;
        done(&client, &follower, Code::DeleteTopicInBroker, &[("topic", "orders")]).await?;
        let ended = waiting.await?;
        ensure!(ended.as_ref().is_err_and(|error| error.code() == Some(17)), "{ended:?}");
        let route = client.route("orders").await;
        ensure!(route.as_ref().is_err_and(|error| error.code() == Some(17)), "{route:?}");
        done(&client, &leader, Code::DeleteTopicInBroker, &[("topic", "orders")]).await?;
        client.create_topic(&leader, "orders", 2, 6).await?;
        let sent = client.send(&leader, &Message::new("orders", 1, "second")).await?;
        ensure!(sent.offset == 1, "{sent:?}");
        cluster.finish();
        Ok(())
    });
}

/// Tools ask each replica to delete, and somebody may make the topic again before they have asked the last.
#[test]
fn a_topic_made_again_while_its_deletion_goes_round_the_replicas_stays() {
    run(LIMIT, async {
        let (cluster, client, leader, _) = group().await?;
        let others: Vec<String> =
            (0..NODES).map(|node| cluster.address(node)).filter(|address| *address != leader).collect();
        let orders = [
            [leader.clone(), others[0].clone(), others[1].clone()],
            [others[1].clone(), leader.clone(), others[0].clone()],
        ];
        for (topic, order) in ["t1", "t2"].into_iter().zip(orders) {
            let header = [("topic", topic)];
            let exists = async || {
                let (code, remark) = code_of(&client, &leader, Code::GetTopicConfig, &header).await?;
                anyhow::Ok((code == ResponseCode::Success, remark))
            };
            client.create_topic(&leader, topic, 2, 6).await?;
            client.send(&leader, &Message::new(topic, 0, "first")).await?;
            done(&client, &order[0], Code::DeleteTopicInBroker, &header).await?;
            ensure!(!exists().await?.0, "{topic} was deleted");
            client.create_topic(&leader, topic, 2, 6).await?;
            let sent = client.send(&leader, &Message::new(topic, 0, "second")).await?;
            for address in &order[1..] {
                done(&client, address, Code::DeleteTopicInBroker, &header).await?;
                ensure!(exists().await?.0, "{topic} was made again, and deleted by {address}");
            }
            let stored = client.read(&leader, topic, 0, sent.offset).await?;
            ensure!(stored.len() == 1 && stored[0].key() == "second", "{stored:?}");
            // The next wish is heard.
            done(&client, &order[0], Code::DeleteTopicInBroker, &header).await?;
            ensure!(!exists().await?.0, "{topic} was to be deleted once more");
        }
        // Where nothing was deleted no round has begun.
        let header = [("topic", "t3")];
        done(&client, &leader, Code::DeleteTopicInBroker, &header).await?;
        client.create_topic(&leader, "t3", 2, 6).await?;
        done(&client, &others[0], Code::DeleteTopicInBroker, &header).await?;
        let (code, _) = code_of(&client, &leader, Code::GetTopicConfig, &header).await?;
        ensure!(code != ResponseCode::Success, "a first wish to delete t3 was taken for the rest of one");
        cluster.finish();
        Ok(())
    });
}

/// Pulls that wait at the nodes that run.
async fn held_pulls(cluster: &Cluster) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for node in 0..NODES {
        let page = admin::call(cluster.admin(node), "GET", "/metrics", "").await?.body;
        let line = page.lines().find(|line| line.starts_with("flotilla_long_polls_held"));
        let value = line.and_then(|line| line.rsplit(' ').next()).context("no number of held pulls")?;
        sum += value.parse::<f64>()?;
    }
    Ok(sum)
}

/// The topics, asked for in pages of 5 as MQClientAPIImpl does.
async fn pages(client: &Client, address: &str) -> anyhow::Result<BTreeMap<String, TopicConfig>> {
    let mut topics = BTreeMap::new();
    let mut version = String::new();
    loop {
        let from = topics.len().to_string();
        let fields = [("topicSeq", &*from), ("maxTopicNum", "5"), ("dataVersion", &*version)];
        let answer = client.request(address, Code::GetAllTopicConfig, ext(&fields), Bytes::new()).await?;
        let total: usize = answer.header.ext.get("totalTopicNum").context("total")?.parse()?;
        let page: TopicConfigWrapper = bodies::decode(&answer.body)?;
        ensure!(page.topic_config_table.len() <= 6, "{}", page.topic_config_table.len());
        topics.extend(page.topic_config_table);
        version = String::from_utf8(bodies::encode(&page.data_version).to_vec())?;
        if topics.len() >= total - 1 {
            return Ok(topics);
        }
    }
}

#[test]
fn groups_are_made_forbidden_and_deleted_through_any_replica_and_a_fail_over() {
    run(LIMIT, async {
        let (mut cluster, client, leader, follower) = group().await?;
        let of = |name: &str, retries| SubscriptionGroupConfig {
            group_name: name.to_owned(),
            retry_max_times: retries,
            ..SubscriptionGroupConfig::default()
        };
        let code = Code::UpdateAndCreateSubscriptionGroup;
        client.request(&follower, code, ExtFields::new(), bodies::encode(&of("g", 3))).await?;
        let refused = client.request(&leader, code, ExtFields::new(), bodies::encode(&of("a b", 3))).await;
        ensure!(refused.as_ref().is_err_and(|error| error.code() == Some(29)), "{refused:?}");
        let list = SubscriptionGroupList { group_config_list: vec![of("h", 4), of("i", 5)] };
        let code = Code::UpdateAndCreateSubscriptionGroupList;
        client.request(&follower, code, ExtFields::new(), bodies::encode(&list)).await?;
        let one: SubscriptionGroupConfig =
            body(&client, &leader, Code::GetSubscriptionGroupConfig, &[("group", "h")]).await?;
        ensure!(one == of("h", 4), "{one:?}");

        client.create_topic(&leader, "news", 1, 6).await?;
        client.send(&leader, &Message::new("news", 0, "m")).await?;
        client.commit(&leader, "g", "news", 0, 1).await?;
        let forbid = |readable: &'static str| [("group", "g"), ("topic", "news"), ("readable", readable)];
        let told: GroupForbidden =
            body(&client, &follower, Code::UpdateAndGetGroupForbidden, &forbid("false")).await?;
        ensure!(!told.readable && told.writeable && told.group == "g", "{told:?}");
        cluster.kill(cluster.node_at(&leader)?)?;
        let leader = cluster.address(cluster.leader().await?);

        // What was forbidden stays so, for pulls with a subscription of their own, too.
        let pull = Pull { group: "g", ..Pull::from("news", 0, 0) };
        let frame = Frame::request(Code::PullMessage, pull.ext(), Bytes::new());
        let answer = client.ask(&leader, frame, WAIT).await?;
        let header = &answer.header;
        ensure!(header.response_code() == ResponseCode::NoPermission, "{header:?}");
        ensure!(header.ext.get("forbiddenType") == Some("5"), "{header:?}");
        let all: SubscriptionGroupWrapper =
            body(&client, &leader, Code::GetAllSubscriptionGroupConfig, &[]).await?;
        ensure!(all.subscription_group_table["i"] == of("i", 5), "{all:?}");
        ensure!(all.forbidden_table == Some([("g".into(), [("news".into(), 4)].into())].into()), "{all:?}");
        let asked: GroupForbidden =
            body(&client, &leader, Code::UpdateAndGetGroupForbidden, &[("group", "g"), ("topic", "news")])
                .await?;
        ensure!(!asked.readable, "{asked:?}");
        let told: GroupForbidden =
            body(&client, &leader, Code::UpdateAndGetGroupForbidden, &forbid("true")).await?;
        ensure!(told.readable, "{told:?}");
        ensure!(client.pull(&leader, &pull).await?.messages.len() == 1);

        done(&client, &leader, Code::DeleteSubscriptionGroup, &[("groupName", "g")]).await?;
        ensure!(client.committed(&leader, "g", "news", 0).await? == 1, "offsets are kept");
        let clean = [("groupName", "g"), ("cleanOffset", "true")];
        done(&client, &leader, Code::DeleteSubscriptionGroup, &clean).await?;
        let gone = client.committed(&leader, "g", "news", 0).await;
        ensure!(gone.as_ref().is_err_and(|error| error.code() == Some(22)), "{gone:?}");
        cluster.finish();
        Ok(())
    });
}

fn consumer(client_id: &str, group: &str, topic: &str) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: group.to_owned(),
            consume_type: ConsumeType::Passively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::FirstOffset,
            unit_mode: false,
            subscription_data_set: vec![SubscriptionData {
                topic: topic.to_owned(),
                sub_string: "TagA || TagB".to_owned(),
                sub_version: 1,
                expression_type: Some("TAG".to_owned()),
                ..SubscriptionData::default()
            }],
        }],
        ..HeartbeatData::default()
    }
}

#[test]
fn progress_of_groups_is_told_by_every_replica() {
    run(LIMIT, async {
        let (cluster, client, leader, follower) = group().await?;
        client.create_topic(&leader, "stream", 2, 6).await?;
        for number in 0..5 {
            client
                .send(&leader, &Message::new("stream", 0, format!("{number}")).with("TAGS", "TagA"))
                .await?;
        }
        client.pull(&leader, &Pull { group: "g", messages_max: 4, ..Pull::from("stream", 0, 0) }).await?;
        client.commit(&leader, "g", "stream", 0, 3).await?;
        client.commit(&leader, "other", "stream", 0, 4).await?;

        let group = [("consumerGroup", "g")];
        let stats: ConsumeStats = body(&client, &follower, Code::GetConsumeStats, &group).await?;
        let of = |queue_id| stats.offset_table[&queue("stream", queue_id)].clone();
        let first = of(0);
        ensure!((first.broker_offset, first.consumer_offset, first.pull_offset) == (5, 3, 4), "{first:?}");
        ensure!(first.last_timestamp > 0, "{first:?}");
        let second = of(1);
        ensure!(
            (second.broker_offset, second.consumer_offset, second.last_timestamp) == (0, 0, 0),
            "{second:?}"
        );
        let unknown = [("consumerGroup", "nobody")];
        let none: ConsumeStats = body(&client, &leader, Code::GetConsumeStats, &unknown).await?;
        ensure!(none.offset_table.is_empty(), "{none:?}");

        let all: ConsumeStatsList =
            body(&client, &follower, Code::GetBrokerConsumeStats, &[("isOrder", "false")]).await?;
        ensure!((all.total_diff, all.total_inflight_diff) == (3, 1) || all.total_diff == 0, "{all:?}");
        let spans = [("topic", "stream"), ("group", "g")];
        let spans: ConsumeTimeSpans = body(&client, &leader, Code::QueryConsumeTimeSpan, &spans).await?;
        let [first, second] = &spans.consume_time_span_set[..] else { anyhow::bail!("{spans:?}") };
        let (min, max) = (first.min_time_stamp, first.max_time_stamp);
        ensure!(min <= first.consume_time_stamp && first.consume_time_stamp <= max, "{first:?}");
        ensure!(second.max_time_stamp == -1, "{second:?}");

        let who: GroupList =
            body(&client, &follower, Code::QueryTopicConsumeByWho, &[("topic", "stream")]).await?;
        ensure!(who.group_list == ["g", "other"], "{who:?}");
        let topics: TopicList =
            body(&client, &leader, Code::QueryTopicsByConsumer, &[("group", "g")]).await?;
        ensure!(topics.topic_list == ["stream"], "{topics:?}");
        let offsets: AllConsumerOffset = body(&client, &follower, Code::GetAllConsumerOffset, &[]).await?;
        ensure!(offsets.offset_table["stream@g"] == [(0, 3)].into(), "{offsets:?}");
        let compare = [("topic", "stream"), ("compareGroup", "g"), ("filterGroups", "other")];
        let corrected: CorrectionOffsets =
            body(&client, &leader, Code::QueryCorrectionOffset, &compare).await?;
        ensure!(corrected.correction_offsets == [(0, 3)].into(), "{corrected:?}");
        let again: AllConsumerOffset = body(&client, &leader, Code::GetAllConsumerOffset, &[]).await?;
        ensure!(again.offset_table == offsets.offset_table, "{again:?}");

        let copy = [("srcGroup", "g"), ("destGroup", "copy"), ("topic", "stream"), ("offline", "true")];
        done(&client, &follower, Code::CloneGroupOffset, &copy).await?;
        ensure!(client.committed(&leader, "copy", "stream", 0).await? == 3);

        client.heartbeat(&leader, &consumer("c1", "g", "stream")).await?;
        let units =
            [("topic", "stream"), ("queueId", "0"), ("index", "1"), ("count", "2"), ("consumerGroup", "g")];
        let subscription = [("group", "g"), ("topic", "stream")];
        eventually(SOON, "the subscription is known", || async {
            let found: QuerySubscriptionResponse =
                body(&client, &follower, Code::QuerySubscriptionByConsumer, &subscription).await?;
            let tags = found.subscription_data.context("none")?.tags_set;
            ensure!(tags == ["TagA", "TagB"], "{tags:?}");
            anyhow::Ok(())
        })
        .await?;
        let found: QueryConsumeQueueResponse =
            body(&client, &follower, Code::QueryConsumeQueue, &units).await?;
        ensure!(
            (found.min_queue_index, found.max_queue_index, found.queue_data.len()) == (0, 5, 2),
            "{found:?}"
        );
        ensure!(found.queue_data[0].tags_code == 2_598_919, "{found:?}");
        let (code, _) = code_of(
            &client,
            &leader,
            Code::QueryConsumeQueue,
            &[("topic", "none"), ("queueId", "0"), ("index", "0"), ("count", "1")],
        )
        .await?;
        ensure!(code == ResponseCode::SystemError, "{code:?}");
        cluster.finish();
        Ok(())
    });
}

#[test]
fn a_reset_moves_a_group_whatever_its_members_commit_and_through_a_fail_over() {
    run(LIMIT, async {
        let (mut cluster, client, leader, follower) = group().await?;
        client.create_topic(&leader, "stream", 1, 6).await?;
        for number in 0..5 {
            client.send(&leader, &Message::new("stream", 0, format!("{number}"))).await?;
        }
        let group = SubscriptionGroupConfig { group_name: "g".into(), ..SubscriptionGroupConfig::default() };
        let code = Code::UpdateAndCreateSubscriptionGroup;
        client.request(&leader, code, ExtFields::new(), bodies::encode(&group)).await?;
        client.commit(&leader, "g", "stream", 0, 5).await?;
        let at = |offset| Pull { group: "g", ..Pull::from("stream", 0, offset) };
        let waiting = tokio::spawn({
            let (client, follower) = (client.clone(), follower.clone());
            async move {
                let pull = Pull { group: "g", hold: Duration::from_secs(20), ..Pull::from("stream", 0, 5) };
                client.pull(&follower, &pull).await
            }
        });
        eventually(SOON, "the pull waits", || async {
            let held = held_pulls(&cluster).await.map_err(|error| error.to_string())?;
            claim(held >= 1.0, format!("{held}"))
        })
        .await?;

        let to = |offset: &'static str| {
            [
                ("topic", "stream"),
                ("group", "g"),
                ("queueId", "-1"),
                ("offset", "-1"),
                ("timestamp", offset),
                ("isForce", "true"),
            ]
        };
        let table: ResetOffsetBody =
            body(&client, &follower, Code::InvokeBrokerToResetOffset, &to("0")).await?;
        ensure!(table.offset_table == [(queue("stream", 0), 0)].into(), "{table:?}");
        // The reader that waits at the end is told at once, and again until it follows.
        let moved = waiting.await??;
        ensure!((moved.code, moved.next) == (ResponseCode::PullOffsetMoved, 0), "{moved:?}");
        for address in [&leader, &follower] {
            let moved = client.pull(address, &at(5)).await?;
            ensure!((moved.code, moved.next) == (ResponseCode::PullOffsetMoved, 0), "{address}: {moved:?}");
            client.commit(address, "g", "stream", 0, 5).await?;
            ensure!(client.committed(address, "g", "stream", 0).await? == 0, "a commit from before");
        }

        // A new leader knows of it, too.
        cluster.kill(cluster.node_at(&leader)?)?;
        let leader = cluster.address(cluster.leader().await?);
        let moved = client.pull(&leader, &at(4)).await?;
        ensure!((moved.code, moved.next) == (ResponseCode::PullOffsetMoved, 0), "{moved:?}");
        ensure!(client.pull(&leader, &at(0)).await?.messages.len() == 5);
        ensure!(client.pull(&leader, &at(4)).await?.messages.len() == 1, "the group has followed");
        client.commit(&leader, "g", "stream", 0, 2).await?;
        ensure!(client.committed(&leader, "g", "stream", 0).await? == 2);

        // One queue to an offset, within what there is.
        let one = |offset: &'static str| {
            let mut fields = to("0");
            (fields[2].1, fields[3].1) = ("0", offset);
            fields
        };
        for (fields, expected) in [
            (one("3").to_vec(), ResponseCode::Success),
            (one("7").to_vec(), ResponseCode::SystemError),
            ([("topic", "none"), ("group", "g"), ("timestamp", "0")].to_vec(), ResponseCode::TopicNotExist),
            (
                [("topic", "stream"), ("group", "nobody"), ("timestamp", "0")].to_vec(),
                ResponseCode::SubscriptionGroupNotExist,
            ),
        ] {
            let (code, remark) = code_of(&client, &leader, Code::InvokeBrokerToResetOffset, &fields).await?;
            ensure!(code == expected, "{fields:?}: {code:?} {remark}");
        }
        ensure!(client.committed(&leader, "g", "stream", 0).await? == 3);
        cluster.finish();
        Ok(())
    });
}

#[test]
fn connections_of_all_replicas_are_told_by_every_replica() {
    run(LIMIT, async {
        let (cluster, client, leader, follower) = group().await?;
        client.create_topic(&leader, "stream", 1, 6).await?;
        let producers = |names: &[&str]| HeartbeatData {
            client_id: "p1".to_owned(),
            producer_data_set: names
                .iter()
                .map(|name| ProducerData { group_name: (*name).to_owned() })
                .collect(),
            ..HeartbeatData::default()
        };
        // One producer at a follower, one at the leader, a consumer at the follower.
        let at_follower = cluster.client();
        at_follower.heartbeat(&follower, &producers(&["pg", "pg2"])).await?;
        let at_leader = cluster.client();
        at_leader.heartbeat(&leader, &HeartbeatData { client_id: "p2".into(), ..producers(&["pg"]) }).await?;
        client.heartbeat(&follower, &consumer("c1", "g", "stream")).await?;
        let producer = [("producerGroup", "pg")];
        for node in 0..NODES {
            let address = cluster.address(node);
            eventually(SOON, "both producers are told", || async {
                let found: ProducerConnection =
                    body(&client, &address, Code::GetProducerConnectionList, &producer).await?;
                let mut ids: Vec<_> = found.connection_set.iter().map(|c| c.client_id.clone()).collect();
                ids.sort();
                ensure!(ids == ["p1", "p2"], "{found:?}");
                anyhow::Ok(())
            })
            .await?;
            let all: ProducerTable = body(&client, &address, Code::GetAllProducerInfo, &[]).await?;
            ensure!(
                all.data["pg2"].len() == 1 && all.data["pg2"][0].remote_ip.starts_with("/127."),
                "{all:?}"
            );
            let consumers = [("consumerGroup", "g")];
            eventually(SOON, "the consumer is told", || async {
                let found: ConsumerConnection =
                    body(&client, &address, Code::GetConsumerConnectionList, &consumers).await?;
                ensure!(found.connection_set.len() == 1 && found.connection_set[0].client_id == "c1");
                ensure!(found.subscription_table["stream"].tags_set == ["TagA", "TagB"], "{found:?}");
                ensure!(found.consume_from_where == ConsumeFromWhere::FirstOffset, "{found:?}");
                anyhow::Ok(())
            })
            .await?;
            let (code, _) =
                code_of(&client, &address, Code::GetConsumerConnectionList, &[("consumerGroup", "no")])
                    .await?;
            ensure!(code == ResponseCode::ConsumerNotOnline, "{code:?}");
        }
        at_follower.close().await;
        eventually(SOON, "the producer that left is gone", || async {
            let found: ProducerConnection =
                body(&client, &leader, Code::GetProducerConnectionList, &producer).await?;
            ensure!(found.connection_set.len() == 1, "{found:?}");
            let (code, _) =
                code_of(&client, &leader, Code::GetProducerConnectionList, &[("producerGroup", "pg2")])
                    .await?;
            ensure!(code == ResponseCode::SystemError, "{code:?}");
            anyhow::Ok(())
        })
        .await?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn what_belongs_to_other_modes_is_refused_with_the_reason() {
    run(LIMIT, async {
        let (cluster, client, leader, follower) = group().await?;
        for (code, expected, word) in [
            (Code::GetBrokerEpochCache, ResponseCode::SystemError, "controller"),
            (Code::ControllerGetSyncStateData, ResponseCode::RequestCodeNotSupported, "controller"),
            (Code::ControllerElectMaster, ResponseCode::RequestCodeNotSupported, "controller"),
            (Code::CheckRocksdbCqWriteProgress, ResponseCode::RequestCodeNotSupported, "RocksDB"),
            (Code::ExportRocksdbConfigToJson, ResponseCode::RequestCodeNotSupported, "RocksDB"),
            (Code::ResetMasterFlushOffset, ResponseCode::RequestCodeNotSupported, "Raft"),
            (Code::AddBroker, ResponseCode::RequestCodeNotSupported, "container"),
        ] {
            let (found, remark) = code_of(&client, &follower, code, &[]).await?;
            ensure!(found == expected && remark.contains(word), "{code}: {found:?} {remark}");
        }
        for code in [Code::CleanExpiredConsumeQueue, Code::CleanUnusedTopic, Code::NotifyMinBrokerIdChange] {
            done(&client, &follower, code, &[]).await?;
        }
        eventually(SOON, "both followers have everything", || async {
            let status: HaStatus = body(&client, &leader, Code::GetBrokerHaStatus, &[]).await?;
            ensure!(status.master && status.in_sync_slave_nums == 2, "{status:?}");
            ensure!(status.ha_connection_info.iter().all(|copy| copy.slave_ack_offset > 0), "{status:?}");
            anyhow::Ok(())
        })
        .await?;
        let status: HaStatus = body(&client, &follower, Code::GetBrokerHaStatus, &[]).await?;
        ensure!(!status.master && status.ha_client_runtime_info.max_offset > 0, "{status:?}");
        client.create_topic(&leader, "moving", 1, 6).await?;
        eventually(SOON, "both sides see the log going to the followers", || async {
            let message = Message::new("moving", 0, "x".repeat(1000));
            client.send(&leader, &message).await?;
            let status: HaStatus = body(&client, &leader, Code::GetBrokerHaStatus, &[]).await?;
            let copies = &status.ha_connection_info;
            ensure!(copies.iter().all(|copy| copy.transferred_byte_in_second > 1000), "{status:?}");
            let status: HaStatus = body(&client, &follower, Code::GetBrokerHaStatus, &[]).await?;
            ensure!(status.ha_client_runtime_info.transferred_byte_in_second > 1000, "{status:?}");
            anyhow::Ok(())
        })
        .await?;
        cluster.finish();
        Ok(())
    });
}

#[test]
fn failures_keep_their_codes_when_a_follower_forwards() {
    run(LIMIT, async {
        let (cluster, client, _, follower) = group().await?;
        let missing =
            client.request(&follower, Code::GetTopicConfig, ext(&[("topic", "no")]), Bytes::new()).await;
        match missing {
            Err(Failure::Refused { code: 17, remark }) => {
                ensure!(remark == "No topic in this broker. topic: no", "{remark}");
            }
            other => anyhow::bail!("{other:?}"),
        }
        let bad = client.request(&follower, Code::GetConsumeStats, ExtFields::new(), Bytes::new()).await;
        ensure!(bad.as_ref().is_err_and(|error| error.code() == Some(1)), "{bad:?}");
        cluster.finish();
        Ok(())
    });
}
