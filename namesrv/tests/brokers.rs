//! Brokers at a running name server: registration in all its forms, connections that end, silence, the time after a start.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use flotilla_namesrv::ours;
use flotilla_remoting::bodies::{self, BrokerMemberGroupBody, DataVersion};
use flotilla_remoting::headers::{
    BrokerHeartbeatRequest, GetBrokerMemberGroupRequest, QueryDataVersionResponse, RegisterBrokerResponse,
};
use flotilla_remoting::message::body_crc;
use flotilla_remoting::{RequestCode, ResponseCode};

#[tokio::test]
async fn routes_wait_until_each_group_heard_of_has_a_leader() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let refusal = client.route("TopicTest").await;
    assert_eq!(code(&refusal), ResponseCode::SystemError);
    assert_eq!(refusal.header.remark.as_deref(), Some("name server not ready"));
    client.register(&Broker::ours(1, 5)).await;
    assert_eq!(code(&client.route("TopicTest").await), ResponseCode::SystemError);
    client.register(&Broker::ours(0, 5)).await;
    assert_eq!(client.addresses("TopicTest").await.unwrap().len(), 2);
    assert_eq!(client.addresses("absent").await, None);
}

#[tokio::test]
async fn routes_are_given_after_fifteen_seconds_in_any_case() {
    let server = start().await;
    let client = Client::connect(&server).await;
    client.register(&Broker::ours(1, 5)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(14)).await;
    assert_eq!(code(&client.route("TopicTest").await), ResponseCode::SystemError);
    tokio::time::advance(Duration::from_secs(1)).await;
    // The follower stands in.
    assert_eq!(client.addresses("TopicTest").await.unwrap(), [(0, "10.0.0.6:10911".to_owned())]);
}

#[tokio::test]
async fn a_compressed_registration_says_the_same_and_a_wrong_checksum_is_refused() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let broker = Broker::apache(0);
    let body = broker.body().encode_compressed();
    let mut fields = broker.fields();
    fields.insert("compressed", "true");
    fields.insert_display("bodyCrc32", body_crc(&body) ^ 1);
    let refused = client.ask(RequestCode::RegisterBroker, fields.clone(), body.clone()).await;
    assert_eq!(code(&refused), ResponseCode::SystemError);
    assert_eq!(refused.header.remark.as_deref(), Some("crc32 not match"));
    fields.insert_display("bodyCrc32", body_crc(&body));
    let accepted = client.ask(RequestCode::RegisterBroker, fields, body).await;
    assert_eq!(code(&accepted), ResponseCode::Success);
    assert_eq!(client.addresses("TopicTest").await.unwrap(), [(0, "10.0.0.5:10911".to_owned())]);
}

#[tokio::test]
async fn mistakes_are_answered_and_the_connection_stays() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let broker = Broker::apache(0);
    let mut nameless = broker.fields();
    nameless.remove("brokerName");
    let reply = client.ask(RequestCode::RegisterBroker, nameless, broker.body().encode()).await;
    assert_eq!(code(&reply), ResponseCode::SystemError);
    assert!(reply.header.remark.unwrap().contains("brokerName"));
    let reply = client.ask(RequestCode::RegisterBroker, broker.fields(), "{\"topicConfig").await;
    assert_eq!(code(&reply), ResponseCode::SystemError);
    let single = Broker { topics: vec![topic("one", 4, 6)], ..broker };
    let reply = client.register(&single).await;
    assert_eq!(reply.header.remark.as_deref(), Some("register broker failed"));
    assert_eq!(code(&client.register(&Broker::apache(0)).await), ResponseCode::Success);
}

#[tokio::test]
async fn a_slave_is_told_who_leads() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let leader = client.register(&Broker::ours(0, 1)).await;
    assert_eq!(RegisterBrokerResponse::decode(&leader.header.ext).unwrap().master_addr, None);
    let follower = client.register(&Broker::ours(2, 1)).await;
    let master = RegisterBrokerResponse::decode(&follower.header.ext).unwrap().master_addr;
    assert_eq!(master, Some("10.0.0.5:10911"));
}

#[tokio::test]
async fn a_lower_term_is_answered_with_success_and_ignored() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let mut leader = Broker::ours(0, 1);
    leader.version.state_version = 7;
    client.register(&leader).await;
    let deposed = Broker { address: "10.0.0.9:1".into(), ..Broker::ours(0, 1) };
    let reply = client.register(&deposed).await;
    assert_eq!(code(&reply), ResponseCode::Success);
    assert!(reply.header.ext.is_empty());
    assert_eq!(client.addresses("TopicTest").await.unwrap(), [(0, leader.address.clone())]);
}

#[tokio::test]
async fn the_end_of_its_connection_removes_apaches_broker_and_not_ours() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let (apache, own) = (Client::connect(&server).await, Client::connect(&server).await);
    let other =
        Broker { name: "broker-b", topics: vec![topic("x", 1, 6), topic("y", 1, 6)], ..Broker::ours(0, 1) };
    let other = Broker { address: "10.0.1.1:1".into(), ..other };
    apache.register(&Broker::apache(0)).await;
    own.register(&other).await;
    own.close();
    apache.close();
    until(|| async { client.addresses("TopicTest").await.is_none() }).await;
    assert_eq!(client.addresses("x").await.unwrap(), [(0, "10.0.1.1:1".to_owned())]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(client.addresses("x").await.is_some());
    // One scan after its deadline.
    tokio::time::advance(Duration::from_secs(7)).await;
    until(|| async { client.addresses("x").await.is_none() }).await;
}

#[tokio::test]
async fn a_silent_broker_is_removed_and_its_connection_closed() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let (silent, speaking) = (Client::connect(&server).await, Client::connect(&server).await);
    silent.register(&Broker { silence_ms: Some(10_000), ..Broker::apache(0) }).await;
    let follower = Broker { silence_ms: Some(10_000), ..Broker::apache(1) };
    speaking.register(&follower).await;
    tokio::time::pause();
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(4)).await;
        let header = BrokerHeartbeatRequest {
            cluster_name: "DefaultCluster",
            broker_addr: &follower.address,
            broker_name: "broker-a",
            broker_id: Some(1),
            epoch: None,
            max_offset: None,
            confirm_offset: None,
            heartbeat_timeout_ms: None,
            election_priority: None,
        };
        let reply = speaking.ask(RequestCode::BrokerHeartbeat, header.encode(), "").await;
        assert_eq!(code(&reply), ResponseCode::Success);
    }
    silent.0.closed().cancelled().await;
    assert_eq!(client.addresses("TopicTest").await.unwrap(), [(1, follower.address.clone())]);
    assert!(!speaking.0.is_closed());
}

#[tokio::test]
async fn a_heartbeat_of_ours_moves_the_stand_in() {
    let server = start().await;
    let client = Client::connect(&server).await;
    for broker in [Broker::ours(0, 5), Broker::ours(1, 5), Broker::ours(2, 4)] {
        client.register(&broker).await;
    }
    let reply = client.ask(RequestCode::UnregisterBroker, Broker::ours(0, 5).identity(), "").await;
    assert_eq!(code(&reply), ResponseCode::Success);
    assert_eq!(client.addresses("TopicTest").await.unwrap()[0], (0, "10.0.0.6:10911".to_owned()));
    let mut fields = Broker::ours(2, 4).identity();
    fields.insert(ours::MARK, "1");
    fields.insert(ours::APPLIED, "6");
    client.ask(RequestCode::BrokerHeartbeat, fields, "").await;
    assert_eq!(client.addresses("TopicTest").await.unwrap()[0], (0, "10.0.0.7:10911".to_owned()));
    // Brokers see that nobody leads.
    let header = GetBrokerMemberGroupRequest { cluster_name: "DefaultCluster", broker_name: "broker-a" };
    let reply = client.ask(RequestCode::GetBrokerMemberGroup, header.encode(), "").await;
    let group: BrokerMemberGroupBody = bodies::decode(&reply.body).unwrap();
    assert_eq!(group.broker_member_group.broker_addrs.into_keys().collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_known_data_version_is_told_as_unchanged() {
    let server = start().await;
    let client = Client::connect(&server).await;
    let broker = Broker::apache(0);
    let ask = |version: DataVersion| {
        let (client, fields) = (client.clone(), broker.identity());
        async move {
            let reply = client.ask(RequestCode::QueryDataVersion, fields, bodies::encode(&version)).await;
            assert_eq!(code(&reply), ResponseCode::Success);
            let changed = QueryDataVersionResponse::decode(&reply.header.ext).unwrap().changed;
            let known = (!reply.body.is_empty()).then(|| bodies::decode::<DataVersion>(&reply.body).unwrap());
            (changed, known)
        }
    };
    assert_eq!(ask(broker.version).await, (true, None));
    client.register(&broker).await;
    assert_eq!(ask(broker.version).await, (false, Some(broker.version)));
    let next = DataVersion { counter: 2, ..broker.version };
    assert_eq!(ask(next).await, (true, Some(broker.version)));
}
