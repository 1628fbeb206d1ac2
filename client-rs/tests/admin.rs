//! The admin client against a server: Flotilla's group of three within this process, or what `NAMESRV_ADDR` names.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_client::admin::{
    AdminClient, BoundaryType, GroupSettings, KeyQuery, MessageType, ResetTo, Scope, StatsKind, TopicSettings,
};
use flotilla_client::{Client, ClientError, MessageQueue, ResponseCode};

use support::raw::{Raw, Sent};
use support::{Server, eventually, server, unique};

/// A topic with one queue at one broker name, and what talks to it.
struct Fixture {
    _server: Arc<Server>,
    client: Client,
    admin: AdminClient,
    raw: Raw,
    topic: String,
    broker_name: String,
    leader: String,
}

impl Fixture {
    async fn new(name: &str) -> Fixture {
        let server = server();
        let client = server.client();
        let admin = AdminClient::new(&client).patience(Duration::from_secs(30));
        let (broker_name, leader) = eventually("a leader", async || {
            let cluster = admin.cluster().await.map_err(|error| error.to_string())?;
            let leaders = cluster.leaders();
            let first = leaders.first_key_value().ok_or("no leader yet")?;
            Ok(((*first.0).to_owned(), (*first.1).to_owned()))
        })
        .await;
        let topic = unique(name);
        let scope = Scope::Broker(broker_name.clone());
        admin.create_topic(&topic, &TopicSettings::queues(1), &scope).await.unwrap();
        let raw = server.raw();
        Fixture { _server: server, client, admin, raw, topic, broker_name, leader }
    }

    fn queue(&self) -> MessageQueue {
        MessageQueue { broker_name: self.broker_name.clone(), queue_id: 0, topic: self.topic.clone() }
    }

    async fn send(&self, body: &str, properties: &[(&str, &str)]) -> Sent {
        self.raw.send_to(&self.leader, &self.topic, 0, body, properties).await.unwrap()
    }

    async fn group(&self, name: &str) -> String {
        let group = unique(name);
        let settings = GroupSettings { group_name: group.clone(), ..GroupSettings::default() };
        self.admin.create_group(&settings, &Scope::All).await.unwrap();
        group
    }
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test on a run-time of its own: the embedded server has another, and outlives it.
fn run(test: impl Future<Output = ()>) {
    tokio().block_on(test);
}

#[test]
fn a_topic_lives_from_creation_to_deletion() {
    run(async {
        let it = Fixture::new("life").await;
        assert!(it.admin.topics().await.unwrap().contains(&it.topic), "the name servers know it at once");
        let route = it.admin.topic_route(&it.topic).await.unwrap();
        assert_eq!((route.queue_datas[0].write_queue_nums, route.queue_datas[0].perm), (1, 6));
        assert_eq!(it.admin.topic_config(&it.topic).await.unwrap()[&it.broker_name].read_queue_nums, 1);

        let more = TopicSettings { writable: false, ..TopicSettings::queues(3) };
        it.admin.create_topic(&it.topic, &more, &Scope::All).await.unwrap();
        let config = &it.admin.topic_configs(&it.broker_name).await.unwrap()[&it.topic];
        assert_eq!((config.write_queue_nums, config.perm), (3, 4));
        assert_eq!(TopicSettings::of(config), more);

        it.admin.set_order(&it.topic, &format!("{}:3", it.broker_name)).await.unwrap();
        it.admin.delete_topic(&it.topic, &Scope::All).await.unwrap();
        assert!(!it.admin.topics().await.unwrap().contains(&it.topic));
        assert!(!it.admin.topic_exists(&it.topic).await.unwrap());
        assert!(matches!(it.admin.topic_route(&it.topic).await, Err(ClientError::NoRoute { .. })));
        assert_eq!(it.admin.kv("ORDER_TOPIC_CONFIG", &it.topic).await.unwrap(), None);
        it.admin.delete_topic(&it.topic, &Scope::All).await.expect("once more does no harm");
    });
}

#[test]
fn a_topic_of_a_cluster_is_deleted_with_its_messages() {
    run(async {
        let it = Fixture::new("cluster").await;
        it.send("gone", &[]).await;
        let cluster = it.admin.cluster().await.unwrap();
        let (name, _) = cluster.clusters.iter().find(|(_, names)| names.contains(&it.broker_name)).unwrap();
        assert!(it.admin.topics_of_cluster(name).await.unwrap().contains(&it.topic));
        assert_eq!(it.admin.topics_of_cluster("no such cluster").await.unwrap(), Vec::<String>::new());
        let scope = Scope::Cluster(name.clone());
        it.admin.delete_topic(&it.topic, &scope).await.unwrap();
        it.admin.create_topic(&it.topic, &TopicSettings::queues(1), &scope).await.unwrap();
        let ends = it.admin.topic_stats(&it.topic).await.unwrap().offset_table[&it.queue()].clone();
        assert_eq!(ends.max_offset - ends.min_offset, 0, "{ends:?}");
    });
}

#[test]
fn mistakes_are_named() {
    run(async {
        let it = Fixture::new("mistakes").await;
        let settings = TopicSettings::queues(1);
        for wrong in ["", "a b", "名"] {
            let outcome = it.admin.create_topic(wrong, &settings, &Scope::All).await;
            assert!(matches!(outcome, Err(ClientError::Invalid(_))), "{wrong:?}: {outcome:?}");
        }
        let none = it.admin.create_topic("t", &TopicSettings::queues(0), &Scope::All).await;
        assert!(matches!(none, Err(ClientError::Invalid(_))), "{none:?}");
        let nowhere = it.admin.create_topic("t", &settings, &Scope::Broker("no such broker".into())).await;
        assert!(matches!(nowhere, Err(ClientError::NoRoute { .. })), "{nowhere:?}");
        let system = it.admin.create_topic("SELF_TEST_TOPIC", &settings, &Scope::All).await;
        assert_eq!(system.unwrap_err().code(), Some(ResponseCode::InvalidParameter));
        let attribute = TopicSettings {
            attributes: BTreeMap::from([("no.such.attribute".to_owned(), Some("x".to_owned()))]),
            ..settings
        };
        let refused = it.admin.create_topic(&unique("t"), &attribute, &Scope::All).await.unwrap_err();
        assert!(refused.code().is_some(), "{refused}");
        let missing = it.admin.topic_stats("no_such_topic_at_all").await;
        assert!(matches!(missing, Err(ClientError::NoRoute { .. })), "{missing:?}");
    });
}

#[test]
fn a_topic_keeps_its_kind_of_messages() {
    run(async {
        let it = Fixture::new("kind").await;
        let topic = unique("fifo");
        let settings = TopicSettings::queues(1).message_type(MessageType::Fifo);
        it.admin.create_topic(&topic, &settings, &Scope::All).await.unwrap();
        let config = it.admin.topic_config(&topic).await.unwrap();
        assert_eq!(config[&it.broker_name].attributes["message.type"], "FIFO");
    });
}

#[test]
fn a_group_lives_from_creation_to_deletion() {
    run(async {
        let it = Fixture::new("groups").await;
        let group = it.group("group").await;
        assert!(it.admin.groups().await.unwrap().contains(&group));
        let settings = GroupSettings {
            group_name: group.clone(),
            retry_max_times: 3,
            consume_enable: false,
            ..GroupSettings::default()
        };
        it.admin.create_group(&settings, &Scope::All).await.unwrap();
        let config = it.admin.group_config(&it.broker_name, &group).await.unwrap();
        assert_eq!((config.retry_max_times, config.consume_enable), (3, false));
        assert_eq!(it.admin.group_configs(&it.broker_name).await.unwrap()[&group], config);

        it.admin.commit_offset(&group, &it.queue(), 0).await.unwrap();
        assert_eq!(it.admin.groups_of_topic(&it.topic).await.unwrap(), [group.as_str()]);
        assert_eq!(it.admin.topics_of_group(&group).await.unwrap(), [it.topic.as_str()]);
        it.admin.delete_group(&group, true, &Scope::All).await.unwrap();
        assert!(!it.admin.groups().await.unwrap().contains(&group));
        assert_eq!(it.admin.groups_of_topic(&it.topic).await.unwrap(), Vec::<String>::new());
        let wrong = GroupSettings { group_name: "a b".into(), ..GroupSettings::default() };
        assert!(matches!(it.admin.create_group(&wrong, &Scope::All).await, Err(ClientError::Invalid(_))));
    });
}

#[test]
fn progress_counts_what_is_left() {
    run(async {
        let it = Fixture::new("progress").await;
        let group = it.group("progress").await;
        let queue = it.queue();
        for n in 0..10 {
            it.send(&format!("{n}"), &[]).await;
        }
        assert_eq!(it.admin.committed_offset(&group, &queue).await.unwrap(), None, "nothing was committed");
        it.admin.commit_offset(&group, &queue, 4).await.unwrap();
        assert_eq!(it.admin.committed_offset(&group, &queue).await.unwrap(), Some(4));
        let progress = it.admin.progress(&group, Some(&it.topic)).await.unwrap();
        let at = progress.queues[&queue];
        assert_eq!((at.end, at.committed, at.lag()), (10, 4, 6));
        assert_eq!((progress.lag(), progress.lag_of(&it.topic)), (6, 6));
        // A group that was never online has no retry topic: the brokers are found all the same.
        let whole = it.admin.progress(&group, None).await.unwrap();
        assert_eq!(whole.lag_of(&it.topic), 6);
        assert_eq!(it.admin.progress_at(&it.leader, &group, None).await.unwrap().lag_of(&it.topic), 6);
        let nobody = unique("nobody");
        assert!(it.admin.progress(&nobody, None).await.unwrap().queues.is_empty());
        let new = it.admin.progress(&nobody, Some(&it.topic)).await.unwrap();
        assert_eq!((new.queues.len(), new.lag()), (1, 10), "everything in a topic is left to a new group");
    });
}

#[test]
fn offsets_are_reset_by_time_to_both_ends_and_to_a_number() {
    run(async {
        let it = Fixture::new("reset").await;
        let group = it.group("reset").await;
        let queue = it.queue();
        for n in 0..5 {
            it.send(&format!("{n}"), &[]).await;
        }
        let stored: Vec<i64> = it
            .admin
            .messages_at(&queue, 0, 32)
            .await
            .unwrap()
            .messages
            .iter()
            .map(|m| m.store_timestamp())
            .collect();
        let middle = stored.iter().position(|time| *time == stored[3]).unwrap() as i64;
        it.admin.commit_offset(&group, &queue, 1).await.unwrap();
        let moved = it.admin.reset_offsets(&group, &it.topic, ResetTo::Time(stored[3]), true).await.unwrap();
        assert_eq!(moved, BTreeMap::from([(queue.clone(), middle)]));
        assert_eq!(it.admin.committed_offset(&group, &queue).await.unwrap(), Some(middle));
        let moved = it.admin.reset_offsets(&group, &it.topic, ResetTo::Latest, true).await.unwrap();
        assert_eq!(moved[&queue], 5);
        let moved = it.admin.reset_offsets(&group, &it.topic, ResetTo::Earliest, true).await.unwrap();
        assert_eq!(moved[&queue], 0);
        it.admin.reset_offset(&group, &queue, 2).await.unwrap();
        assert_eq!(it.admin.committed_offset(&group, &queue).await.unwrap(), Some(2));
        let beyond = it.admin.reset_offset(&group, &queue, 99).await.unwrap_err();
        assert!(beyond.code().is_some(), "{beyond}");
        let unknown = it.admin.reset_offsets(&unique("nobody"), &it.topic, ResetTo::Latest, true).await;
        assert_eq!(unknown.unwrap_err().code(), Some(ResponseCode::SubscriptionGroupNotExist));
    });
}

#[test]
fn offsets_are_cloned_to_another_group() {
    run(async {
        let it = Fixture::new("clone").await;
        let (from, to) = (it.group("from").await, it.group("to").await);
        for n in 0..3 {
            it.send(&format!("{n}"), &[]).await;
        }
        it.admin.commit_offset(&from, &it.queue(), 2).await.unwrap();
        it.admin.clone_offsets(&from, &to, &it.topic, true).await.unwrap();
        assert_eq!(it.admin.committed_offset(&to, &it.queue()).await.unwrap(), Some(2));
    });
}

#[test]
fn ends_of_a_queue_and_offsets_by_time_are_those_of_the_messages() {
    run(async {
        let it = Fixture::new("ends").await;
        let queue = it.queue();
        assert_eq!(it.admin.max_offset(&queue).await.unwrap(), 0);
        assert_eq!(it.admin.earliest_store_time(&queue).await.unwrap(), None, "an empty queue has no time");
        for n in 0..3 {
            it.send(&format!("{n}"), &[]).await;
        }
        assert_eq!(it.admin.min_offset(&queue).await.unwrap(), 0);
        assert_eq!(it.admin.max_offset(&queue).await.unwrap(), 3);
        let ends = &it.admin.topic_stats(&it.topic).await.unwrap().offset_table[&queue];
        assert_eq!((ends.min_offset, ends.max_offset), (0, 3));
        // Every replica answers: by itself, or by its leader.
        for (name, id, address) in it.admin.cluster().await.unwrap().replicas() {
            if name == it.broker_name {
                let ends = it.admin.offsets_at(address, &it.topic, 0).await.unwrap();
                assert_eq!(ends, (0, 3), "replica {id}");
                let stats = it.admin.topic_stats_at(address, &it.topic).await.unwrap();
                assert_eq!(stats.offset_table[&queue].max_offset, 3, "replica {id}");
            }
        }
        let messages = it.admin.messages_at(&queue, 0, 32).await.unwrap();
        let times: Vec<i64> = messages.messages.iter().map(|message| message.store_timestamp()).collect();
        assert_eq!(it.admin.earliest_store_time(&queue).await.unwrap(), Some(times[0]));
        let at = it.admin.search_offset(&queue, times[2], BoundaryType::Lower).await.unwrap();
        assert_eq!(at, times.iter().position(|time| *time == times[2]).unwrap() as i64);
        let last = it.admin.search_offset(&queue, times[0], BoundaryType::Upper).await.unwrap();
        assert_eq!(last, times.iter().rposition(|time| *time == times[0]).unwrap() as i64);
        assert_eq!(it.admin.search_offset(&queue, times[2] + 10_000, BoundaryType::Lower).await.unwrap(), 3);
        let units = it.admin.consume_queue(&queue, 0, 10).await.unwrap();
        let positions: Vec<i64> = units.queue_data.iter().map(|unit| unit.physic_offset).collect();
        let expected: Vec<i64> = messages.messages.iter().map(|message| message.physical_offset()).collect();
        assert_eq!(positions, expected);
    });
}

#[test]
fn messages_are_read_at_their_place() {
    run(async {
        let it = Fixture::new("place").await;
        let queue = it.queue();
        for n in 0..3 {
            it.send(&format!("body {n}"), &[("TAGS", "t")]).await;
        }
        let pulled = it.admin.messages_at(&queue, 1, 1).await.unwrap();
        assert_eq!((pulled.next_offset, pulled.min_offset, pulled.max_offset), (2, 0, 3));
        assert_eq!(pulled.messages[0].body(), "body 1");
        assert_eq!((pulled.messages[0].tag(), &**pulled.messages[0].queue()), (Some("t"), &queue));
        let beyond = it.admin.messages_at(&queue, 3, 1).await.unwrap();
        assert_eq!((beyond.messages.len(), beyond.next_offset), (0, 3));
        let far = it.admin.messages_at(&queue, 99, 1).await.unwrap();
        assert_eq!((far.messages.len(), far.next_offset), (0, 3), "the offset to go on with");
    });
}

#[test]
fn messages_are_found_by_both_ids_and_by_key() {
    run(async {
        let it = Fixture::new("find").await;
        let key = unique("key");
        let first = it.send("first", &[("KEYS", &format!("{key} other"))]).await;
        let second = it.send("second", &[("KEYS", &key)]).await;
        it.send("third", &[("KEYS", "another")]).await;
        let by_id = it.admin.message_by_offset_id(&it.topic, &first.offset_id).await.unwrap();
        assert_eq!((by_id.body(), by_id.message_id()), (&"first".into(), first.unique_id.clone()));
        assert_eq!(by_id.offset_message_id(), first.offset_id);
        assert_eq!(by_id.queue().broker_name, it.broker_name);
        let found = eventually("the index", async || {
            let found = it.admin.messages_by_key(&it.topic, &key, KeyQuery::default()).await.unwrap();
            if found.len() == 2 { Ok(found) } else { Err(format!("{} messages", found.len())) }
        })
        .await;
        assert_eq!(
            (found[0].queue_offset(), found[1].queue_offset()),
            (first.queue_offset, second.queue_offset)
        );
        let old = KeyQuery { to_ms: 1, ..KeyQuery::default() };
        assert_eq!(it.admin.messages_by_key(&it.topic, &key, old).await.unwrap().len(), 0);
        let by_unique = it.admin.message_by_unique_id(&it.topic, &second.unique_id).await.unwrap().unwrap();
        assert_eq!(by_unique.body(), "second");
        let missing =
            it.admin.message_by_unique_id(&it.topic, "7F000001000000000000000000000000").await.unwrap();
        assert!(missing.is_none());
        let wrong = it.admin.message_by_offset_id(&it.topic, "no id").await;
        assert!(matches!(wrong, Err(ClientError::Invalid(_))), "{wrong:?}");
    });
}

#[test]
fn brokers_tell_of_themselves_and_change_settings() {
    run(async {
        let it = Fixture::new("broker").await;
        it.send("counted", &[]).await;
        for (name, id, address) in it.admin.cluster().await.unwrap().replicas() {
            let info = it.admin.broker_info(address).await.unwrap();
            assert!(info.version().is_some_and(|version| version.starts_with('V')), "{name} {id}: {info:?}");
            assert!(info.log_end().unwrap() >= info.log_start().unwrap(), "{name} {id}");
            assert!(info.number("bootTimestamp").is_some(), "{name} {id}");
        }
        let before = it.admin.broker_config(&it.leader).await.unwrap();
        assert_eq!(before["brokerName"], it.broker_name);
        let (name, old) = ("fileReservedTime", before["fileReservedTime"].as_str());
        let new = if old == "97" { "98" } else { "97" };
        it.admin.update_broker_config(&it.leader, &[(name, new)]).await.unwrap();
        let after = it.admin.broker_config(&it.leader).await.unwrap();
        assert_eq!(after[name], new);
        it.admin.update_broker_config(&it.leader, &[(name, old)]).await.unwrap();
        let black = it.admin.update_broker_config(&it.leader, &[("brokerConfigPath", "/tmp/x")]).await;
        assert_eq!(black.unwrap_err().code(), Some(ResponseCode::NoPermission));
        let stats = it.admin.broker_stats(&it.leader, StatsKind::TopicPuts(&it.topic)).await.unwrap();
        assert!(stats.is_some(), "a message was counted");
        let none = it.admin.broker_stats(&it.leader, StatsKind::TopicPuts("no_such_topic")).await.unwrap();
        assert_eq!(none, None);
    });
}

#[test]
fn write_permission_goes_and_comes_back() {
    run(async {
        // Takes the permission from every topic of the broker: not while other tests send.
        let Some(server) = Server::own() else {
            eprintln!("skipped: takes the write permission from all topics of a server that is not its own");
            return;
        };
        let client = server.client();
        let admin = AdminClient::new(&client).patience(Duration::from_secs(30));
        let topic = unique("permission");
        admin.create_topic(&topic, &TopicSettings::queues(1), &Scope::All).await.unwrap();
        let broker_name = admin.cluster().await.unwrap().brokers.into_keys().next().unwrap();
        let count = admin.wipe_write_permission(&broker_name).await.unwrap();
        assert!(count.values().all(|count| *count > 0), "{count:?}");
        assert_eq!(admin.topic_route(&topic).await.unwrap().queue_datas[0].perm, 4);
        let count = admin.add_write_permission(&broker_name).await.unwrap();
        assert!(count.values().all(|count| *count > 0), "{count:?}");
        assert_eq!(admin.topic_route(&topic).await.unwrap().queue_datas[0].perm, 6);
    });
}

#[test]
fn name_servers_keep_values_and_settings() {
    run(async {
        let it = Fixture::new("names").await;
        let namespace = unique("space");
        assert_eq!(it.admin.kv(&namespace, "k").await.unwrap(), None);
        assert!(it.admin.kv_list(&namespace).await.unwrap().is_empty());
        it.admin.put_kv(&namespace, "k", "v = 1").await.unwrap();
        assert_eq!(it.admin.kv(&namespace, "k").await.unwrap().as_deref(), Some("v = 1"));
        assert_eq!(it.admin.kv_list(&namespace).await.unwrap()["k"], "v = 1");
        it.admin.delete_kv(&namespace, "k").await.unwrap();
        assert_eq!(it.admin.kv(&namespace, "k").await.unwrap(), None);
        let configs = it.admin.name_server_configs().await.unwrap();
        assert_eq!(configs.keys().cloned().collect::<Vec<_>>(), it.admin.name_servers().await.unwrap());
        assert!(configs.values().all(|config| config.contains_key("listenPort")), "{configs:?}");
        let black = it.admin.update_name_server_configs(&[("kvConfigPath", "/tmp/x")]).await;
        assert_eq!(black.unwrap_err().code(), Some(ResponseCode::NoPermission));
    });
}

#[test]
fn nobody_online_is_no_error() {
    run(async {
        let it = Fixture::new("offline").await;
        let group = it.group("offline").await;
        assert_eq!(it.admin.consumers(&group).await.unwrap(), None);
        assert_eq!(it.admin.producers(&group, &it.topic).await.unwrap(), None);
        assert!(!it.admin.all_producers(&Scope::All).await.unwrap().contains_key(&group));
        assert!(it.admin.running_info(&group, "1.2.3.4@none", false).await.unwrap_err().code().is_some());
        assert_eq!(it.admin.subscription(&group, &it.topic).await.unwrap(), None);
    });
}

#[test]
fn a_member_is_seen_and_tells_of_itself() {
    run(async {
        let it = Fixture::new("online").await;
        let group = it.group("online").await;
        let member =
            flotilla_client::SimpleConsumer::builder(&it.client).group(&group).subscribe(&it.topic, "a || b");
        let member = member.start().await.unwrap();
        let online = eventually("the member", async || {
            it.admin.consumers(&group).await.unwrap().ok_or_else(|| "nobody is online".to_owned())
        })
        .await;
        assert_eq!(online.connection_set.len(), 1);
        assert_eq!(online.connection_set[0].client_id, it.client.client_id());
        assert_eq!(online.subscription_table[&it.topic].sub_string, "a || b");
        let subscription = it.admin.subscription(&group, &it.topic).await.unwrap().unwrap();
        assert_eq!(subscription.tags_set.len(), 2);
        let info = it.admin.running_info(&group, it.client.client_id(), false).await.unwrap();
        assert_eq!(info.properties["PROP_CONSUME_TYPE"], "CONSUME_POP");
        let sent = it.send("directly", &[]).await;
        let message = it.admin.message_by_offset_id(&it.topic, &sent.offset_id).await.unwrap();
        let result = it.admin.consume_directly(&group, it.client.client_id(), &message).await.unwrap();
        assert_eq!(result.consume_result.as_deref(), Some("CR_THROW_EXCEPTION"), "{result:?}");
        member.shutdown().await;
        eventually("the absence", async || match it.admin.consumers(&group).await.unwrap() {
            None => Ok(()),
            Some(online) => Err(format!("{online:?}")),
        })
        .await;
    });
}

#[test]
fn calls_outlive_an_election() {
    run(async {
        let Some(mut server) = Server::own() else {
            eprintln!("skipped: stops the leader of a server that is not its own");
            return;
        };
        let client = server.client();
        let admin = AdminClient::new(&client).patience(Duration::from_secs(30));
        let topic = unique("election");
        admin.create_topic(&topic, &TopicSettings::queues(1), &Scope::All).await.unwrap();
        let cluster = admin.cluster().await.unwrap();
        let (broker_name, leader) = cluster.leaders().into_iter().next().unwrap();
        let queue = MessageQueue { broker_name: broker_name.to_owned(), queue_id: 0, topic: topic.clone() };
        let sent = server.raw().send_to(leader, &topic, 0, "kept", &[]).await.unwrap();
        assert_eq!(admin.max_offset(&queue).await.unwrap(), 1);
        server.stop_node_at(leader).await;
        assert_eq!(admin.max_offset(&queue).await.unwrap(), 1, "the new leader has the message");
        admin.create_topic(&unique("after"), &TopicSettings::queues(1), &Scope::All).await.unwrap();
        // The address in the id is gone; the log at the other replicas is the same.
        let message = admin.message_by_offset_id(&topic, &sent.offset_id).await.unwrap();
        assert_eq!(message.body(), "kept");
        let now = admin.cluster().await.unwrap();
        assert_ne!(now.leaders().get(broker_name), Some(&leader));
    });
}
