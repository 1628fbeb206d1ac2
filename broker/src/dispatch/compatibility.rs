//! The page docs/compatibility.md: which request codes a broker answers, and where it differs from Apache RocketMQ on purpose.
//!
//! The table of codes between the two marks of the page is made of the dispatch table of a running node, of [`refused`] and of
//! [`NOTES`]; all else on the page is written by hand. A row that was added shows as a difference of the page, which
//! `FLOTILLA_WRITE_DOCS=1 cargo test -p flotilla-broker compatibility` mends.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;

use flotilla_remoting::code::{RequestCode as Code, ResponseCode};

use super::refused;
use super::table::{Access, Facts, Placement};
use crate::config::{self, RouteProbe, Sources};
use crate::{Broker, BrokerOptions};

/// What is worth knowing about a code beyond its row, by ascending code. Keep a note to one line.
const NOTES: &[(i32, &str)] = &[
    (11, "messages from any replica; 19, 20 and 21 from the leader alone"),
    (12, "by key and unique key, from the index of any replica that finds it"),
    (14, "includes commits that are not in the log yet"),
    (15, "no effect on a queue whose reset was not followed yet"),
    (17, "answered when all reachable name servers know, at most 1 s later"),
    (18, "checked as a whole before any topic changes"),
    (21, "in pages when the tool asks for them"),
    (25, "settings of the group go through the log"),
    (33, "the address inside an id is that of the leader of its time"),
    (36, "the message is found on whichever replica leads, whoever stored it"),
    (38, "complete on a new leader; always includes the asker"),
    (41, "replicated; `onlyThisBroker` and the broker names of queues change nothing"),
    (42, "replicated; a late one frees nothing that was locked anew"),
    (43, "the version is that of the log"),
    (45, "levels that ever held a message"),
    (106, "a name server's question, passed on"),
    (201, "in pages when the tool asks for them"),
    (204, "from the reports of all replicas"),
    (207, "what the group may not read is forgotten too"),
    (208, "differences are never negative"),
    (
        215,
        "once for a tool that asks all replicas; queue numbers stay taken; pop retry topics of its groups go too",
    ),
    (
        222,
        "on the server's side: groups that are not connected move too; otherwise as `useServerSideResetOffset` says",
    ),
    (223, "members are asked all at once"),
    (306, "view files go by themselves; this lets the keeper look now"),
    (307, "through whichever replica holds the connection"),
    (308, "groups that are filtered out keep their offsets"),
    (309, "through whichever replica holds the connection"),
    (314, "without a topic: all topics of the source"),
    (315, "what pop consumption counts does not exist as long as there is none"),
    (316, "views of deleted topics go by themselves; this lets the keeper look now"),
    (317, "differences are never negative"),
    (321, "at most 1024 units"),
    (324, "the requester is found through whichever replica holds its connection"),
    (325, "the requester is found through whichever replica holds its connection"),
    (328, "from the reports of all replicas"),
    (329, "what is old enough goes now; answered before it has gone"),
    (353, "holds for every pull of the group, with a subscription of its own or without"),
    (905, "accepted without effect: no replica acts as a master here"),
    (907, "a follower is in sync when it has all that is committed"),
];

const BEGIN: &str = "<!-- codes: made by a test, see above -->\n";
const END: &str = "<!-- codes: end -->\n";

#[tokio::test(flavor = "multi_thread")]
async fn compatibility_page_tells_of_every_code() {
    let folder = tempfile::tempdir().unwrap();
    let facts = start(folder.path()).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(&facts));
    if std::env::var_os("FLOTILLA_WRITE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    let differs = wanted.lines().zip(page.lines()).find(|(wanted, found)| wanted != found);
    assert!(
        wanted == page,
        "docs/compatibility.md is not what the dispatch table says, first at {differs:?}; \
         FLOTILLA_WRITE_DOCS=1 cargo test -p flotilla-broker compatibility writes it"
    );
}

/// A client's time-out closes its connection and fails everything in flight on it (FAILOVER.md 8).
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_held_longer_than_its_client_waits() {
    let folder = tempfile::tempdir().unwrap();
    let facts = start(folder.path()).await;
    let hold = |code: Code| facts.iter().find(|facts| facts.code == code).unwrap().hold.as_millis();
    for (code, most) in [
        (Code::LockBatchMq, 700),
        (Code::UnlockBatchMq, 700),
        (Code::SendMessage, 2300),
        (Code::SendMessageV2, 2300),
        (Code::SendBatchMessage, 2300),
        (Code::SendReplyMessage, 2300),
        (Code::SendReplyMessageV2, 2300),
        (Code::GetConsumerListByGroup, 2000),
        (Code::QueryConsumerOffset, 2000),
        (Code::ConsumerSendMessageBack, 2500),
        (Code::PullMessage, 29_500),
        (Code::LitePullMessage, 29_500),
    ] {
        assert!(hold(code) <= most, "{code:?} is held {} ms", hold(code));
    }
}

#[test]
fn notes_are_in_order_and_about_codes() {
    assert!(NOTES.is_sorted_by(|left, right| left.0 < right.0));
    for (code, _) in NOTES {
        assert!(Code::from_i32(*code).name().is_some(), "{code}");
    }
}

/// The rows of a node as it is put together, which is then gone.
async fn start(folder: &Path) -> Vec<Facts> {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let raft = listen();
    let overrides = vec![
        format!("dLegerPeers=n0-{}", raft.local_addr().unwrap()),
        "dLegerSelfId=n0".to_owned(),
        format!("storePathRootDir={}", folder.display()),
        "namesrvAddr=127.0.0.1:9".to_owned(),
        "brokerIP1=127.0.0.1".to_owned(),
        "mappedFileSizeCommitLog=8388608".to_owned(),
    ];
    let loaded = config::load(&Sources { overrides, ..Sources::default() }, &RouteProbe).unwrap();
    let mut options = BrokerOptions::new(loaded.config);
    options.listener = Some(listen());
    options.raft_listener = Some(raft);
    options.admin_listener = Some(listen());
    let broker = Broker::start(options).await.unwrap();
    let facts = broker.codes();
    broker.stop(false).await;
    facts
}

fn table(facts: &[Facts]) -> String {
    let notes: BTreeMap<i32, &str> = NOTES.iter().copied().collect();
    let mut out =
        String::from("| code | name | | where | does | held, ms | note |\n|---:|---|---|---|---|---:|---|\n");
    let served: BTreeMap<i32, &Facts> = facts.iter().map(|facts| (facts.code.as_i32(), facts)).collect();
    for code in Code::ALL {
        let (number, name) = (code.as_i32(), code.name().unwrap());
        let line = match served.get(&number) {
            Some(facts) => {
                let (place, does) = (place(facts.placement), does(facts.access));
                let note = notes.get(&number).copied().unwrap_or_default();
                format!("served | {place} | {does} | {} | {note}", facts.hold.as_millis())
            }
            None => {
                let answer = match refused::answer(*code) {
                    ResponseCode::RequestCodeNotSupported => String::new(),
                    other => format!("code {}: ", other.as_i32()),
                };
                format!("refused | | | | {answer}{}", refused::reason(*code).unwrap())
            }
        };
        writeln!(out, "| {number} | {name} | {line} |").unwrap();
    }
    out
}

fn place(placement: Placement) -> &'static str {
    match placement {
        Placement::Local => "any replica",
        Placement::Leader => "leader",
        Placement::LocalIfFound => "any replica that has it",
    }
}

fn does(access: Access) -> &'static str {
    match access {
        Access::Read => "reads",
        Access::Propose => "changes",
        Access::Session => "connections",
    }
}
