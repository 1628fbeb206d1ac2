//! What a broker says to a name server that does not keep the rules of ours: one that loses an entry with an older connection,
//! as Apache's does, and asks what means nothing here (FAILOVER.md 7, 16, 22). Method: a scripted name server and a group of one.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use flotilla_net::{BytesPermit, CloseReason, Connection, ListenOptions, Listener, Service};
use flotilla_remoting::bodies::{self, BrokerMemberGroup, BrokerMemberGroupBody};
use flotilla_remoting::headers::RegisterBrokerRequest;
use flotilla_remoting::{ExtFields, Frame, RequestCode};
use parking_lot::Mutex;
use support::process::Process;
use support::settings::{BROKER, CLUSTER, Ports};
use support::wait::claim;
use support::{eventually, run};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(90);
const START: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(10);

/// A name server that keeps what it is told until the test takes it away.
#[derive(Default)]
struct Scripted {
    entries: Mutex<BTreeMap<i64, String>>,
    registrations: Mutex<Vec<Frame>>,
    /// The connection that the last registration came over.
    registered_over: Mutex<Option<Arc<Connection>>>,
}

impl Service for Scripted {
    fn call(&self, connection: &Arc<Connection>, request: Frame, permit: BytesPermit) {
        let body = match request.header.request_code() {
            RequestCode::RegisterBroker => {
                let header = RegisterBrokerRequest::decode(&request.header.ext).expect("a whole header");
                self.entries.lock().insert(header.broker_id, header.broker_addr.to_owned());
                self.registrations.lock().push(request.clone());
                *self.registered_over.lock() = Some(connection.clone());
                Bytes::new()
            }
            RequestCode::GetBrokerMemberGroup => bodies::encode(&BrokerMemberGroupBody {
                broker_member_group: BrokerMemberGroup {
                    broker_addrs: self.entries.lock().clone(),
                    broker_name: BROKER.to_owned(),
                    cluster: CLUSTER.to_owned(),
                },
            }),
            _ => Bytes::new(),
        };
        // A failure means that the broker has gone.
        let _ = connection.reply(request.reply_with(ExtFields::new(), body), permit);
    }
}

impl Scripted {
    fn count(&self) -> usize {
        self.registrations.lock().len()
    }

    async fn registered(&self, more_than: usize) -> anyhow::Result<()> {
        let limit = if more_than == 0 { START } else { SOON };
        eventually(limit, &format!("more than {more_than} registrations"), || async {
            claim(self.count() > more_than && !self.entries.lock().is_empty(), format!("{}", self.count()))
        })
        .await
    }

    fn connection(&self) -> Arc<Connection> {
        self.registered_over.lock().clone().expect("there was a registration")
    }
}

/// A broker group of one at a scripted name server. All ends with it.
struct Alone {
    name_server: Arc<Scripted>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
    _broker: Process,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The period of registrations is longer than the test, so that each one of them has a reason.
fn start() -> anyhow::Result<Alone> {
    let (name_server, stop) = (Arc::new(Scripted::default()), CancellationToken::new());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), ListenOptions::default())?;
    let address = listener.local_addr().to_string();
    drop(listener.serve(name_server.clone(), stop.clone()));
    let folder = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let extra = [
        ("dLegerPeers", format!("n0-127.0.0.1:{}", ports.nodes[0].raft)),
        ("namesrvAddr", address),
        ("registerNameServerPeriod", "60000".to_owned()),
    ];
    let file = folder.path().join("n0.properties");
    std::fs::write(&file, ports.properties(0, &folder.path().join("n0"), &extra))?;
    let file = file.display().to_string();
    let broker = Process::start("n0", folder.path(), &["broker", "-c", &file])?;
    Ok(Alone { name_server, stop, _folder: folder, _broker: broker })
}

#[test]
fn an_entry_that_the_name_server_has_lost_is_made_again() {
    run(LIMIT, async {
        let alone = start()?;
        let name_server = &alone.name_server;
        name_server.registered(0).await?;
        // Apache's name server takes the end of an older connection for the end of the broker.
        let before = name_server.count();
        name_server.entries.lock().clear();
        name_server.registered(before).await?;

        // The connection ends: the broker comes back by itself and looks once more whether it is there.
        for round in 0..3 {
            let before = name_server.count();
            let ended = Instant::now();
            name_server.connection().close(CloseReason::Requested("scripted".to_owned()));
            name_server.registered(before).await?;
            ensure!(ended.elapsed() < SOON, "round {round}: after {:?}", ended.elapsed());
            let before = name_server.count();
            name_server.entries.lock().clear();
            name_server.registered(before).await?;
        }
        Ok(())
    });
}

#[test]
fn no_acting_master_is_asked_for_and_its_notices_are_ignored() {
    run(LIMIT, async {
        let alone = start()?;
        let name_server = &alone.name_server;
        name_server.registered(0).await?;
        for registration in name_server.registrations.lock().iter() {
            let said = registration.header.ext.get("enableActingMaster");
            ensure!(said == Some("false"), "{registration:?}");
        }
        // The least id of the group has changed: means something to masters and slaves only.
        let mut ext = ExtFields::new();
        for (key, value) in [("minBrokerId", "1"), ("brokerName", BROKER), ("minBrokerAddr", "127.0.0.1:1")] {
            ext.insert(key, value);
        }
        let connection = name_server.connection();
        let notice = Frame::oneway_request(RequestCode::NotifyMinBrokerIdChange, ext, Bytes::new());
        connection.oneway(notice)?;
        // The same connection goes on to serve, and the broker still says who leads.
        let before = name_server.count();
        name_server.entries.lock().clear();
        name_server.registered(before).await?;
        ensure!(!connection.is_closed(), "closed by the notice");
        let leads = name_server.registrations.lock().iter().all(|registration| {
            RegisterBrokerRequest::decode(&registration.header.ext).is_ok_and(|header| header.broker_id == 0)
        });
        ensure!(leads, "registered under another id");
        Ok(())
    });
}
