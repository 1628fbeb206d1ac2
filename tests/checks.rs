//! The suites' own checks find what they are there for: planted faults in made-up histories.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_remoting::message::OffsetMessageId;
use support::exchange::Sent;
use support::history::{Ack, Failed, check_queue};
use support::stored::Stored;
use support::{Failure, History, Plan};

/// A stored message of queue 0 with this offset and name.
fn stored(offset: i64, name: &str) -> Stored {
    let host = ([127, 0, 0, 1], 10911).into();
    Stored {
        topic: "t".to_owned(),
        queue: 0,
        offset,
        position: 100 + offset * 50,
        store_time: 1000 + offset,
        born_time: 999,
        reconsume_times: 0,
        flag: 0,
        properties: String::new(),
        body: Bytes::from(format!("{name}\n....")),
        id: OffsetMessageId { host, physical_offset: 100 + offset * 50 },
    }
}

fn ack(name: &str, offset: i64, at: Instant) -> Ack {
    let sent = Sent { id: String::new(), queue: 0, offset };
    Ack { name: name.to_owned(), sent, start: at, at, address: String::new() }
}

/// A history in which `a`, `b` and `c` were acked at 0, 1 and 2, a second apart.
fn history() -> (History, Instant) {
    let start = Instant::now();
    let mut history = History::new(&Plan::new("t", 1));
    for (offset, name) in (0..).zip(["a", "b", "c"]) {
        history.acked.push(ack(name, offset, start + Duration::from_secs(offset as u64)));
    }
    (history, start)
}

fn found(history: &History, messages: &[Stored]) -> String {
    history.check(&[messages.to_vec()]).map_or_else(|error| error.to_string(), |()| "nothing".to_owned())
}

#[test]
fn lost_doubled_and_moved_messages_are_found() {
    let (mut history, start) = history();
    let [a, b, c] = [stored(0, "a"), stored(1, "b"), stored(2, "c")];
    assert_eq!(found(&history, &[a.clone(), b.clone(), c.clone(), stored(3, "unacked")]), "nothing");
    assert!(found(&history, &[a.clone(), b.clone()]).contains("c was acked at (0, 2) and is lost"));
    assert!(
        found(&history, &[a.clone(), b.clone(), c.clone(), stored(3, "a")]).contains("a is stored twice")
    );
    assert!(found(&history, &[a.clone(), stored(1, "c"), stored(2, "b")]).contains("lies at"));

    let failed = |name: &str, failure| Failed {
        name: name.to_owned(),
        failure,
        start,
        at: start,
        address: String::new(),
    };
    history.failed.push(failed("unknown", Failure::Unknown("timeout".to_owned())));
    assert_eq!(found(&history, &[a.clone(), b.clone(), c.clone(), stored(3, "unknown")]), "nothing");
    history.failed.push(failed("unsent", Failure::NotSent("refused".to_owned())));
    assert!(found(&history, &[a, b, c, stored(3, "unsent")]).contains("not sent is stored"));
}

#[test]
fn holes_and_falling_positions_and_times_are_found() {
    let queue = |offsets: &[i64]| offsets.iter().map(|offset| stored(*offset, "x")).collect::<Vec<_>>();
    assert!(check_queue(&queue(&[0, 1, 2])).is_ok());
    for holed in [&[0, 2][..], &[1, 2], &[0, 0], &[0, 1, 1]] {
        assert!(check_queue(&queue(holed)).is_err(), "{holed:?}");
    }
    let mut falling = queue(&[0, 1]);
    falling[1].position = 10;
    assert!(check_queue(&falling).is_err());
    let mut early = queue(&[0, 1]);
    early[1].store_time = 1;
    assert!(check_queue(&early).is_err());
}

#[test]
fn the_longest_gap_counts_what_came_before_and_after() {
    let (history, start) = history();
    let seconds = Duration::from_secs;
    assert_eq!(history.longest_gap(start, start + seconds(2)), seconds(1));
    assert_eq!(history.longest_gap(start - seconds(4), start + seconds(2)), seconds(4));
    // The load went on, but not within the span.
    assert_eq!(
        history.longest_gap(start + Duration::from_millis(1001), start + Duration::from_millis(1900)),
        Duration::from_millis(899)
    );
    // The load ended within the span: what follows is no gap.
    assert_eq!(history.longest_gap(start, start + seconds(60)), seconds(1));
}
