//! Who belongs to a consumer group, through a change of the leader: complete lists, subscriptions that stay
//! (FAILOVER.md 1 and 17).

mod support;

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use flotilla_remoting::headers::{GetConsumerListRequest, UpdateConsumerOffsetRequest};
use flotilla_remoting::language::Language;
use flotilla_remoting::{Frame, RequestCode, ResponseCode};
use support::beat::{broadcasting, consumer as heartbeat};
use support::exchange::Pulled;
use support::settings::NODES;
use support::wait::claim;
use support::{Client, Cluster, Failure, Message, Pull, eventually, run};

const LIMIT: Duration = Duration::from_secs(120);
const PHASE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);

/// A consumer: its connections and its name.
struct Consumer {
    client: Client,
    id: String,
}

impl Consumer {
    /// Introduces itself to these replicas.
    async fn join(
        cluster: &Cluster,
        id: &str,
        nodes: &[usize],
        group: &str,
        topic: &str,
    ) -> anyhow::Result<Consumer> {
        let consumer = Consumer { client: cluster.client(), id: id.to_owned() };
        for node in nodes {
            consumer.client.heartbeat(&cluster.address(*node), &heartbeat(id, group, topic, "*")).await?;
        }
        Ok(consumer)
    }
}

#[test]
fn the_consumer_list_is_complete_right_after_a_fail_over() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let survivors: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "members", 4, 6).await?;

        let everywhere: Vec<usize> = (0..NODES).collect();
        let mut consumers = Vec::new();
        for id in ["c1", "c2", "c3"] {
            consumers.push(Consumer::join(&cluster, id, &everywhere, "list", "members").await?);
        }
        // One that the leader alone has heard of by itself: its join is in the log all the same.
        consumers.push(Consumer::join(&cluster, "c4", &[leader], "list", "members").await?);
        let mut expected = vec!["c1".to_owned(), "c2".into(), "c3".into(), "c4".into()];
        for node in 0..NODES {
            list_becomes(&consumers[0].client, &cluster.address(node), "list", &expected).await?;
        }

        // Asked without pause all through the change: errors are allowed, an incomplete list is not.
        cluster.kill(leader)?;
        let killed = Instant::now();
        let mut answers = 0;
        while answers < 20 || killed.elapsed() < Duration::from_secs(3) {
            ensure!(killed.elapsed() < PHASE, "{answers} answers after {PHASE:?}");
            for consumer in &consumers[..3] {
                for node in &survivors {
                    match consumer.client.consumers(&cluster.address(*node), "list").await {
                        Ok(list) => {
                            ensure!(list == expected, "after {:?}: {list:?}", killed.elapsed());
                            answers += 1;
                        }
                        Err(Failure::Refused { code: 1, .. }) => {}
                        Err(other) => anyhow::bail!("{} at n{node}: {other}", consumer.id),
                    }
                }
            }
        }

        // A newcomer that one replica knows is in the very first list that it gets.
        let newcomer = Consumer::join(&cluster, "c5", &survivors[..1], "list", "members").await?;
        expected.push("c5".to_owned());
        for node in [survivors[0], survivors[1], survivors[0]] {
            match newcomer.client.consumers(&cluster.address(node), "list").await {
                Ok(list) if node == survivors[0] => ensure!(list == expected, "{list:?}"),
                Ok(_) | Err(Failure::Refused { code: 1, .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }

        // Goodbyes are known everywhere at once, and the others are told.
        let told = consumers[0].client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
        newcomer.client.leave(&cluster.address(survivors[0]), "c5", "list").await?;
        expected.pop();
        for node in &survivors {
            list_becomes(&consumers[0].client, &cluster.address(*node), "list", &expected).await?;
        }
        eventually(SOON, "a member is told of the change", || async {
            let now = consumers[0].client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
            claim(now > told, format!("{now} notices"))
        })
        .await?;
        cluster.finish();
        Ok(())
    });
}

async fn list_becomes(
    client: &Client,
    address: &str,
    group: &str,
    expected: &[String],
) -> anyhow::Result<()> {
    eventually(SOON, &format!("{address} lists {expected:?}"), || async {
        let list = client.consumers(address, group).await.map_err(|error| error.to_string())?;
        claim(list == expected, format!("{list:?}"))
    })
    .await
}

#[test]
fn subscriptions_of_a_group_outlive_the_leader_that_heard_them() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let client = cluster.client();
        client.create_topic(&cluster.address(leader), "subscribed", 1, 6).await?;
        for (number, tag) in ["a", "b", "a"].iter().enumerate() {
            let message = Message::new("subscribed", 0, format!("{number}")).with("TAGS", tag);
            client.send(&cluster.address(leader), &message).await?;
        }
        client.heartbeat(&cluster.address(leader), &heartbeat("c1", "tagged", "subscribed", "a")).await?;
        let pull = Pull { group: "tagged", subscription: None, ..Pull::from("subscribed", 0, 0) };
        let at_leader = subscribed(&client, &cluster.address(leader), &pull).await?;
        ensure!(offsets(&at_leader) == [0, 2], "{at_leader:?}");
        client.commit(&cluster.address(leader), "tagged", "subscribed", 0, 2).await?;

        cluster.kill(leader)?;
        let successor = cluster.leader().await?;
        let at_successor = client.pull(&cluster.address(successor), &pull).await?;
        ensure!(offsets(&at_successor) == [0, 2], "{at_successor:?}");
        let committed = client.committed(&cluster.address(successor), "tagged", "subscribed", 0).await?;
        ensure!(committed == 2, "offset {committed} after the fail-over");
        cluster.finish();
        Ok(())
    });
}

fn offsets(pulled: &Pulled) -> Vec<i64> {
    pulled.messages.iter().map(|message| message.offset).collect()
}

/// Pulls until the group's subscription is known.
async fn subscribed(client: &Client, address: &str, pull: &Pull<'_>) -> anyhow::Result<Pulled> {
    eventually(SOON, "the heartbeat's subscription is known", || client.pull(address, pull)).await
}

/// A member that others took for gone is back when it next asks who is there, and not only with its next heartbeat.
#[test]
fn a_connected_member_that_was_dropped_joins_again_when_it_asks() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let follower = cluster.other_than(&[leader]);
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "healed", 4, 6).await?;
        let consumer = Consumer::join(&cluster, "c1", &[follower], "heals", "healed").await?;
        let address = cluster.address(follower);
        list_becomes(&consumer.client, &address, "heals", &["c1".to_owned()]).await?;
        // Somebody else says goodbye in its name, over a connection of his own.
        for round in 0..3 {
            admin.leave(&cluster.address(leader), "c1", "heals").await?;
            // A leader without its lease gives no list for a moment; none that it gives may lack the member.
            let given = || consumer.client.consumers(&address, "heals");
            let list = eventually(SOON, "a list of the members is given", given).await?;
            ensure!(list == ["c1"], "round {round}: {list:?}");
        }
        cluster.finish();
        Ok(())
    });
}

/// Each member of a broadcasting group reads every queue whoever else is there: nobody is told to divide them anew.
#[test]
fn members_of_a_broadcasting_group_are_listed_and_not_told_of_each_other() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let address = cluster.address(leader);
        let follower = cluster.address(cluster.other_than(&[leader]));
        let admin = cluster.client();
        admin.create_topic(&address, "broadcast", 2, 6).await?;
        admin.send(&address, &Message::new("broadcast", 0, "to all")).await?;

        let (first, second, third) = (cluster.client(), cluster.client(), cluster.client());
        first.heartbeat(&address, &broadcasting("b1", "all", "broadcast")).await?;
        second.heartbeat(&follower, &broadcasting("b2", "all", "broadcast")).await?;
        let expected = ["b1".to_owned(), "b2".to_owned()];
        list_becomes(&first, &address, "all", &expected).await?;
        // Offsets are the clients' own: both read the same messages by the group's subscription.
        let pull = Pull { group: "all", subscription: None, ..Pull::from("broadcast", 0, 0) };
        for (client, address) in [(&first, &address), (&second, &follower)] {
            let pulled = subscribed(client, address, &pull).await?;
            ensure!(offsets(&pulled) == [0], "{pulled:?}");
        }
        // A group that divides its queues hears of its second member, joined later, so the first has had its time.
        third.heartbeat(&address, &heartbeat("c1", "shared", "broadcast", "*")).await?;
        list_becomes(&third, &address, "shared", &["c1".to_owned()]).await?;
        let before = third.inbox.count(RequestCode::NotifyConsumerIdsChanged);
        second.heartbeat(&follower, &heartbeat("c2", "shared", "broadcast", "*")).await?;
        eventually(SOON, "the other group's member is told", || async {
            let told = third.inbox.count(RequestCode::NotifyConsumerIdsChanged);
            claim(told > before, format!("{told} notices"))
        })
        .await?;
        let told = first.inbox.received(RequestCode::NotifyConsumerIdsChanged);
        ensure!(told.is_empty(), "a broadcasting member was told {} times", told.len());
        cluster.finish();
        Ok(())
    });
}

/// Without a leader nobody can say who belongs to a group. Java keeps its queues on code 1; Go would drop them on any code, so
/// it gets no answer (FAILOVER.md 1).
#[test]
fn without_a_leader_no_list_is_given_and_go_gets_no_answer() {
    run(LIMIT, async {
        let mut cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let alone = cluster.other_than(&[leader]);
        let consumer = Consumer::join(&cluster, "c1", &[alone], "leaderless", "nothing").await?;
        let address = cluster.address(alone);
        list_becomes(&consumer.client, &address, "leaderless", &["c1".to_owned()]).await?;
        for node in (0..NODES).filter(|node| *node != alone) {
            cluster.kill(node)?;
        }
        let refused = consumer.client.consumers(&address, "leaderless").await;
        support::exchange::refused_with(refused, ResponseCode::SystemError)?;
        let ext = GetConsumerListRequest { consumer_group: "leaderless" }.encode();
        let mut frame = Frame::request(RequestCode::GetConsumerListByGroup, ext, Bytes::new());
        frame.header.language = Language::Go;
        // Its own time-out is 3 s.
        match consumer.client.ask(&address, frame, Duration::from_secs(4)).await {
            Err(Failure::Unknown(_)) => {}
            other => anyhow::bail!("Go was answered {other:?}"),
        }
        cluster.finish();
        Ok(())
    });
}

/// The next owner of a queue asks where to begin as soon as the last one has left (FAILOVER.md 11).
#[test]
fn a_goodbye_takes_the_last_commits_along() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "handed-over", 1, 6).await?;
        for (round, node) in (1..).zip([leader, others[0], others[1], leader, others[0]]) {
            let address = cluster.address(node);
            let consumer = Consumer::join(&cluster, "c1", &[node], "hands-over", "handed-over").await?;
            let header = UpdateConsumerOffsetRequest {
                consumer_group: "hands-over",
                topic: "handed-over",
                queue_id: 0,
                commit_offset: round,
            };
            let code = RequestCode::UpdateConsumerOffset;
            consumer.client.oneway(&address, code, header.encode(), Bytes::new()).await?;
            consumer.client.leave(&address, "c1", "hands-over").await?;
            for asked in 0..NODES {
                let committed =
                    admin.committed(&cluster.address(asked), "hands-over", "handed-over", 0).await?;
                ensure!(committed == round, "round {round}: n{asked} tells {committed}");
            }
        }
        cluster.finish();
        Ok(())
    });
}

/// N members that come at once are not N notices to each (FAILOVER.md 14), and a change of the leader is none at all.
#[test]
fn notices_are_few_and_none_tell_of_a_change_of_the_leader() {
    const INTERVAL: Duration = Duration::from_millis(500);
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let everywhere: Vec<usize> = (0..NODES).collect();
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "noticed", 4, 6).await?;
        let first = Consumer::join(&cluster, "c00", &everywhere, "notices", "noticed").await?;
        list_becomes(&first.client, &cluster.address(leader), "notices", &["c00".to_owned()]).await?;
        let notices = || first.client.inbox.count(RequestCode::NotifyConsumerIdsChanged);
        let (before, began) = (notices(), Instant::now());
        let mut expected = vec!["c00".to_owned()];
        let mut members = Vec::new();
        for number in 1..=20 {
            let id = format!("c{number:02}");
            members.push(Consumer::join(&cluster, &id, &[number % NODES], "notices", "noticed").await?);
            expected.push(id);
        }
        list_becomes(&first.client, &cluster.address(leader), "notices", &expected).await?;
        eventually(SOON, "the first member is told", || async { claim(notices() > before, "no notice") })
            .await?;
        let (told, most) = (notices() - before, began.elapsed().as_millis() / INTERVAL.as_millis() + 2);
        ensure!(told as u128 <= most, "{told} notices of 20 members in {:?}", began.elapsed());

        // All is quiet once the last notice is out, whoever leads. Notices don't say what they are about, so only silence for
        // longer than two can be apart shows that none is left.
        eventually(SOON, "the notices end", || async {
            let now = notices();
            tokio::time::sleep(INTERVAL * 2).await;
            claim(notices() == now, format!("{} after {now}", notices()))
        })
        .await?;
        let before = notices();
        let to = cluster.other_than(&[leader]);
        let (status, body) = cluster.transfer(leader, to).await?;
        ensure!(status == 200, "{status} {body}");
        list_becomes(&first.client, &cluster.address(to), "notices", &expected).await?;
        // A heartbeat that says what is known already is no news for the new leader either.
        first.client.heartbeat(&cluster.address(to), &heartbeat("c00", "notices", "noticed", "*")).await?;
        list_becomes(&first.client, &cluster.address(to), "notices", &expected).await?;
        ensure!(notices() == before, "{} notices of a change of the leader", notices() - before);
        cluster.finish();
        Ok(())
    });
}

/// A pull that comes right behind the heartbeat of its group, before the join is in the log, waits for it (FAILOVER.md 17).
#[test]
fn a_pull_that_meets_its_join_half_way_waits() {
    run(LIMIT, async {
        let cluster = Cluster::start().await?;
        let leader = cluster.leader().await?;
        let admin = cluster.client();
        admin.create_topic(&cluster.address(leader), "half-way", 1, 6).await?;
        admin.send(&cluster.address(leader), &Message::new("half-way", 0, "first")).await?;
        cluster.settled().await?;
        for round in 0..6 {
            let (group, address) = (format!("half-way-{round}"), cluster.address(round % NODES));
            let client = cluster.client();
            client.heartbeat(&address, &broadcasting("b1", &group, "half-way")).await?;
            let pull = Pull { group: &group, subscription: None, ..Pull::from("half-way", 0, 0) };
            let pulled = client.pull(&address, &pull).await?;
            ensure!(offsets(&pulled) == [0], "round {round}: {pulled:?}");
            client.close().await;
        }
        cluster.finish();
        Ok(())
    });
}
