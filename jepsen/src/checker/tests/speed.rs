//! A run of a million lines is judged in seconds.

use std::time::{Duration, Instant};

use crate::history::{Act, History, Kind, Process, Seen, Writer};

use super::{Outcome, notes};

const SENDS: u64 = 250_000;
const QUEUES: u64 = 8;
const BATCH: u64 = 32;

/// Half a million lines of sends, then reads, deliveries and registers to a million.
fn ops() -> impl Iterator<Item = (Process, Kind, Act)> {
    let topic = || "orders".to_owned();
    let place = |id: u64| ((id % QUEUES) as u32, id / QUEUES);
    let seen = move |id: u64| {
        let (queue, offset) = place(id);
        Seen { queue, offset, id: Some(id), key: None, redelivered: 0 }
    };
    let both = |act: Act| [Kind::Invoke, Kind::Ok].map(|kind| (Process::Client(0), kind, act.clone()));
    let sends = (0..SENDS).flat_map(move |id| {
        let (queue, offset) = place(id);
        both(Act::Send {
            topic: topic(),
            id,
            key: None,
            queue: Some(queue),
            offset: Some(offset),
            copies_max: None,
        })
    });
    let deliveries = (0..SENDS / 2)
        .flat_map(move |id| both(Act::Consume { group: "g".into(), topic: topic(), seen: seen(id) }));
    let registers = (0..SENDS / 4).flat_map(move |offset| {
        let (group, queue) = ("g".to_owned(), (offset % QUEUES) as u32);
        let commit = Act::CommitOffset { group: group.clone(), topic: topic(), queue, offset };
        both(commit).into_iter().chain(both(Act::ReadOffset {
            group,
            topic: topic(),
            queue,
            offset: Some(offset),
        }))
    });
    let drained = std::iter::once((Process::NEMESIS, Kind::Info, Act::Drained { topic: topic() }));
    let rest = (SENDS / 2..SENDS)
        .flat_map(move |id| both(Act::Consume { group: "g".into(), topic: topic(), seen: seen(id) }));
    let reads = (0..QUEUES).flat_map(move |queue| {
        let max = SENDS / QUEUES;
        (0..max).step_by(BATCH as usize).flat_map(move |from| {
            let offsets = from..(from + BATCH).min(max);
            let seen = offsets.map(|offset| seen(offset * QUEUES + queue)).collect();
            let (topic, queue) = (topic(), queue as u32);
            both(Act::Pull { topic, queue, from, max: Some(max), seen, node: None })
        })
    });
    sends.chain(deliveries).chain(registers).chain(drained).chain(rest).chain(reads)
}

#[test]
fn a_million_lines_are_read_and_judged_in_seconds() {
    let mut writer = Writer::new(Vec::new());
    for (time, (process, kind, act)) in (0u64..).zip(ops()) {
        writer.append(time * 1_000, process, kind, act, None).expect("memory takes all");
    }
    assert!(writer.op_count() > 1_000_000, "{} lines", writer.op_count());
    let bytes = writer.into_inner();
    let started = Instant::now();
    let history = History::read(&bytes[..]).expect("own lines");
    let read = started.elapsed();
    let judgement = crate::checker::judge(&history, &crate::checker::all(notes::limits(), &[]), &[]);
    let all = started.elapsed();
    assert_eq!(judgement.outcome, Outcome::Valid, "{judgement:#?}");
    println!(
        "{} lines, {} MB: read {read:?}, judged {:?}",
        history.ops().len(),
        bytes.len() / 1_000_000,
        all - read
    );
    // Generous: a shared machine and a build without optimisation. Quadratic work would take hours.
    assert!(all < Duration::from_secs(60), "{all:?}");
}
