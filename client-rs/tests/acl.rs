//! Signed requests at a broker that checks them: Apache RocketMQ 5.5.0 with authentication and authorization (ACL 2.0), which
//! `tests/compat/rust/run.sh --against apache` starts. Flotilla has no accounts yet: skipped there.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flotilla_client::admin::{AdminClient, GroupSettings, KeyQuery, Scope, TopicSettings};
use flotilla_client::{
    Client, ClientError, ClientOptions, ConsumeFrom, Credentials, Message, Outcome, Producer, PullConsumer,
    PushConsumer, ReceivedMessage, ResponseCode, Result, SimpleConsumer, TransactionProducer,
    TransactionState,
};
use flotilla_net::options::PoolOptions;
use flotilla_net::{BytesPermit, ClientPool, Connection, Service};
use flotilla_remoting::acl::signed_content;
use flotilla_remoting::frame::Frame;
use flotilla_remoting::{ExtFields, RequestCode, base64};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha1::Sha1;
use support::{PATIENCE, eventually, unique};

/// A broker that asks for signatures, and its account that may do everything.
struct Guarded {
    name_server: String,
    access_key: String,
    secret_key: String,
}

impl Guarded {
    /// `None`, said aloud, when run.sh has started none.
    fn find() -> Option<Guarded> {
        let text = |name: &str| std::env::var(name).ok();
        let Some(name_server) = text("COMPAT_ACL_NAMESRV_ADDR") else {
            eprintln!("skipped: needs a broker with accounts, run tests/compat/rust/run.sh --against apache");
            return None;
        };
        let access_key = text("COMPAT_ACL_ACCESS_KEY").expect("the account's name");
        let secret_key = text("COMPAT_ACL_SECRET_KEY").expect("the account's secret");
        Some(Guarded { name_server, access_key, secret_key })
    }

    fn options(&self) -> ClientOptions {
        ClientOptions::new(&self.name_server).unwrap()
    }

    /// A client of the account that may do everything.
    fn client(&self) -> Client {
        self.options().credentials(&self.access_key, &self.secret_key).start().unwrap()
    }

    /// A topic of its own, as soon as the broker has registered.
    async fn topic(&self, admin: &AdminClient, prefix: &str) -> String {
        let topic = unique(prefix);
        eventually("a topic", async || {
            let made = admin.create_topic(&topic, &TopicSettings::queues(2), &Scope::All).await;
            made.map_err(|error| error.to_string())
        })
        .await;
        topic
    }

    /// Clients whose requests must not pass, by what is wrong with them.
    fn strangers(&self) -> [(&'static str, Client); 3] {
        let client = |options: ClientOptions| options.start().unwrap();
        [
            ("no keys", client(self.options())),
            ("a wrong secret", client(self.options().credentials(&self.access_key, "not the secret"))),
            ("an unknown account", client(self.options().credentials("nobody", &self.secret_key))),
        ]
    }
}

fn producer(client: &Client) -> flotilla_client::ProducerBuilder {
    Producer::builder(client).group(unique("g")).send_timeout(PATIENCE)
}

fn text(message: &ReceivedMessage) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// The refusal of one who may not; what else came fails the test.
#[track_caller]
fn is_forbidden<T: std::fmt::Debug>(who: &str, what: &str, result: Result<T>) {
    match result {
        Err(ClientError::Refused { code: ResponseCode::NoPermission, remark, .. }) => {
            assert!(!remark.is_empty(), "{who}, {what}: the broker says why");
        }
        other => panic!("{who}, {what}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_sends_of_every_kind_are_stored_and_consumed() {
    let Some(guarded) = Guarded::find() else { return };
    let client = guarded.client();
    let admin = AdminClient::new(&client).patience(PATIENCE);
    let topic = guarded.topic(&admin, "signed").await;
    let sender = producer(&client).start().await.unwrap();
    let message = |body: &str| Message::new(&topic, body.to_owned());

    sender.send(message("plain").tag("täg").key("ключ").property("größe", "日本語 🦀")).await.unwrap();
    sender.send_batch(vec![message("batch 1"), message("batch 2")]).await.unwrap();
    sender.send_by_key(message("by key"), "order-17").await.unwrap();
    sender.send_oneway(message("one way")).await.unwrap();
    // The signature covers the body as it travels.
    let long = "all work and no play makes jack a dull boy\n".repeat(600);
    sender.send(message(&long)).await.unwrap();
    let lingering = producer(&client).linger(Duration::from_millis(20)).start().await.unwrap();
    let (one, two) = (lingering.send(message("linger 1")), lingering.send(message("linger 2")));
    one.await.unwrap();
    two.await.unwrap();
    let transactional: TransactionProducer =
        producer(&client).start_transactional(|_| async { TransactionState::Unknown }).await.unwrap();
    for (body, state) in
        [("committed", TransactionState::Commit), ("rolled back", TransactionState::Rollback)]
    {
        let outcome = transactional.send_in_transaction(message(body), async |_| state).await.unwrap();
        assert!(outcome.not_told.is_none(), "{outcome:?}");
    }
    let wanted: BTreeSet<&str> = BTreeSet::from([
        "plain",
        "batch 1",
        "batch 2",
        "by key",
        "one way",
        &long,
        "linger 1",
        "linger 2",
        "committed",
        "ping",
    ]);

    // The listener has one message come again and answers another.
    let (seen, replier) = (Arc::new(Mutex::new(BTreeMap::<String, i32>::new())), sender.clone());
    let listened = seen.clone();
    let group = unique("g");
    let consumer = PushConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .start(move |messages| {
            let (listened, replier) = (listened.clone(), replier.clone());
            async move {
                for message in &messages {
                    if text(message) == "plain" && message.reconsume_times() == 0 {
                        return Outcome::RetryAtLevel(1);
                    }
                    if message.property("REPLY_TO_CLIENT").is_some() {
                        replier.reply(message, "pong").await.expect("a signed reply");
                    }
                    listened.lock().insert(text(message), message.reconsume_times());
                }
                Outcome::Success
            }
        })
        .await
        .unwrap();
    let reply = sender.request(message("ping"), PATIENCE).await.unwrap();
    assert_eq!(reply.body.as_ref(), b"pong");
    eventually("every message", async || {
        let seen = seen.lock();
        let seen: BTreeSet<&str> = seen.keys().map(String::as_str).collect();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    assert_eq!(seen.lock()["plain"], 1, "it was sent back and came again");
    consumer.shutdown().await;
    assert_eq!(
        admin.progress(&group, Some(&topic)).await.unwrap().lag_of(&topic),
        0,
        "offsets were committed"
    );
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_polls_pops_and_administration_pass() {
    let Some(guarded) = Guarded::find() else { return };
    let keys = Credentials {
        access_key: guarded.access_key.clone(),
        secret_key: guarded.secret_key.clone(),
        // RocketMQ's own accounts have none, but it is one more field that is signed.
        security_token: Some("a token".to_owned()),
    };
    let client = ClientOptions { credentials: Some(keys), ..guarded.options() }.start().unwrap();
    let admin = AdminClient::new(&client).patience(PATIENCE);
    let topic = guarded.topic(&admin, "admin").await;
    let sender = producer(&client).start().await.unwrap();
    let sent = sender.send(Message::new(&topic, "one").key("k-1")).await.unwrap();

    let group = unique("g");
    let poller = PullConsumer::builder(&client)
        .group(&group)
        .subscribe(&topic, "*")
        .consume_from(ConsumeFrom::First)
        .start()
        .await
        .unwrap();
    let polled = poller.poll(PATIENCE).await.unwrap();
    assert_eq!(polled.iter().map(text).collect::<Vec<_>>(), ["one"]);
    poller.shutdown().await;
    assert_eq!(admin.committed_offset(&group, sent.queue()).await.unwrap(), Some(sent.queue_offset() + 1));

    let group = unique("g");
    let settings = GroupSettings { group_name: group.clone(), ..GroupSettings::default() };
    admin.create_group(&settings, &Scope::All).await.unwrap();
    let simple = SimpleConsumer::builder(&client).group(&group).subscribe(&topic, "*").start().await.unwrap();
    let popped = eventually("a pop", async || {
        let mut popped =
            simple.receive(1, PATIENCE, Duration::from_secs(5)).await.map_err(|e| e.to_string())?;
        popped.pop().ok_or("nothing yet".into())
    })
    .await;
    assert_eq!(popped.body().as_ref(), b"one");
    simple.ack(&popped).await.unwrap();

    let found = eventually("the index", async || {
        // This request has a mark among its fields that old clients leave out of the signature.
        let found = admin.message_by_unique_id(&topic, sent.message_id()).await.map_err(|e| e.to_string())?;
        found.ok_or("not there yet".into())
    })
    .await;
    assert_eq!(text(&found), "one");
    let query = KeyQuery { max: 10, from_ms: 0, to_ms: i64::MAX };
    assert_eq!(admin.messages_by_key(&topic, "k-1", query).await.unwrap().len(), 1);
    let stored = admin.message_by_offset_id(&topic, sent.offset_message_id()).await.unwrap();
    assert_eq!(text(&stored), "one");
    let leader = admin.cluster().await.unwrap().leaders().values().next().unwrap().to_string();
    assert_eq!(admin.broker_config(&leader).await.unwrap()["authenticationEnabled"], "true");
    admin.delete_group(&group, true, &Scope::All).await.unwrap();
    admin.delete_topic(&topic, &Scope::All).await.unwrap();
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_keys_everything_is_refused_by_type() {
    let Some(guarded) = Guarded::find() else { return };
    let own = guarded.client();
    let topic = guarded.topic(&AdminClient::new(&own), "closed").await;
    for (who, client) in guarded.strangers() {
        let sender = producer(&client).start().await.unwrap();
        let message = || Message::new(&topic, "must not be stored");
        is_forbidden(who, "send", sender.send(message()).await);
        let batch = sender.send_batch(vec![message(), message()]).await;
        is_forbidden(who, "batch", batch.map_err(|refused| refused.error));
        let transactional: TransactionProducer =
            producer(&client).start_transactional(|_| async { TransactionState::Commit }).await.unwrap();
        let half = transactional.send_in_transaction(message(), async |_| TransactionState::Commit).await;
        is_forbidden(who, "transaction", half);

        let push = PushConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
        is_forbidden(who, "push consumer", push.start(|_| async { Outcome::Success }).await.map(drop));
        let orderly = PushConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
        is_forbidden(who, "stream", orderly.stream(16).await.map(drop));
        let pull = PullConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
        is_forbidden(who, "pull consumer", pull.start().await.map(drop));
        let simple = SimpleConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
        let simple = simple.start().await.unwrap();
        is_forbidden(who, "pop", simple.receive(1, PATIENCE, PATIENCE).await.map(drop));

        let admin = AdminClient::new(&client);
        is_forbidden(
            who,
            "topic",
            admin.create_topic(&unique("t"), &TopicSettings::queues(1), &Scope::All).await,
        );
        is_forbidden(who, "figures", admin.topic_stats(&topic).await.map(drop));
        let leader = admin.cluster().await.unwrap().leaders().values().next().unwrap().to_string();
        is_forbidden(who, "settings", admin.broker_config(&leader).await);
        client.shutdown().await;
    }
    let admin = AdminClient::new(&own);
    for (queue, ends) in admin.topic_stats(&topic).await.unwrap().offset_table {
        assert_eq!(ends.max_offset, 0, "{queue:?}");
    }
    own.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_may_do_what_its_policy_says_and_no_more() {
    let Some(guarded) = Guarded::find() else { return };
    let own = guarded.client();
    let admin = AdminClient::new(&own);
    let (topic, other) = (guarded.topic(&admin, "mine").await, guarded.topic(&admin, "other").await);
    let leader = admin.cluster().await.unwrap().leaders().values().next().unwrap().to_string();
    let user = unique("user");
    // Source: RocketMQ 5.5.0 CreateUserRequestHeader, UserInfo, CreateAclRequestHeader, AclInfo.
    let account = format!(r#"{{"username":"{user}","password":"its secret","userType":"Normal"}}"#);
    guarded.ask(&leader, RequestCode::AuthCreateUser, ("username", &user), account).await;
    let subject = format!("User:{user}");
    let policy = format!(
        r#"{{"subject":"{subject}","policies":[{{"policyType":"Custom","entries":[{{"resource":"Topic:{topic}","actions":["Pub"],"decision":"Allow"}}]}}]}}"#
    );
    guarded.ask(&leader, RequestCode::AuthCreateAcl, ("subject", &subject), policy).await;

    let client = guarded.options().credentials(&user, "its secret").start().unwrap();
    let sender = producer(&client).start().await.unwrap();
    sender.send(Message::new(&topic, "allowed")).await.unwrap();
    is_forbidden("sender", "another topic", sender.send(Message::new(&other, "forbidden")).await);
    let reader = PushConsumer::builder(&client).group(unique("g")).subscribe(&topic, "*");
    is_forbidden("sender", "consuming", reader.start(|_| async { Outcome::Success }).await.map(drop));
    is_forbidden("sender", "deleting", AdminClient::new(&client).delete_topic(&topic, &Scope::All).await);
    // The same account with another secret is somebody else.
    let thief = guarded.options().credentials(&user, "guessed").start().unwrap();
    let stolen = producer(&thief).start().await.unwrap().send(Message::new(&topic, "stolen")).await;
    is_forbidden("thief", "the topic", stolen);
    for client in [client, thief, own] {
        client.shutdown().await;
    }
}

/// Nobody asks the tests anything.
struct Deaf;

impl Service for Deaf {
    fn call(&self, _connection: &Arc<Connection>, _request: Frame, _permit: BytesPermit) {}
}

impl Guarded {
    /// Does what the admin client has no call for, signed by hand.
    async fn ask(&self, address: &str, code: RequestCode, field: (&str, &str), body: String) {
        let ext = ExtFields::from_iter([field, ("AccessKey", &self.access_key)]);
        let mut frame = Frame::request(code, ext, body.into());
        let content = signed_content(&frame.header.ext, &frame.body, frame.header.version);
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret_key.as_bytes()).unwrap();
        mac.update(&content);
        frame.header.ext.insert("Signature", &base64::encode(&mac.finalize().into_bytes()));
        let pool = ClientPool::new(PoolOptions::default(), Arc::new(Deaf));
        let answer = pool.request(address, frame, PATIENCE).await.unwrap();
        assert_eq!(answer.header.response_code(), ResponseCode::Success, "{:?}", answer.header.remark);
        pool.stop().await;
    }
}
