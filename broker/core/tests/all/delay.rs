//! Delay levels: the list, how far each queue is delivered, what waits, and which delay it waits for.

use flotilla_core::rules::{
    BackDecision, RealPlace, Redelivery, asked_level, decide_send_back, delayed_properties, gives_up,
    real_place, redelivery, retry_times_max, returned_properties,
};
use flotilla_core::{
    Answer, Command, DelayDone, DelayLevels, DelayLevelsError, Effects, GroupConfig, Refusal, Settings,
    Tables,
};
use flotilla_remoting::message::properties;
use flotilla_remoting::names::SCHEDULE_TOPIC;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{World, message, topic};

fn levels(text: &str) -> DelayLevels {
    DelayLevels::parse(text).unwrap()
}

fn put_levels(text: &str) -> Command {
    Command::PutSettings(Settings { delay_levels: levels(text), ..Settings::default() })
}

/// A delayed message of a level.
fn delayed(level: u32) -> Vec<u8> {
    message(SCHEDULE_TOPIC, level - 1, "body", &delayed_properties("", level, "T", 0))
}

fn done(queue_id: u32, from: i64, to: i64, position: u64) -> Command {
    Command::DelayDone(DelayDone { queue_id, from, to, position })
}

/// Level, next, max of each used level.
fn progress(tables: &Tables) -> Vec<(u32, i64, i64)> {
    tables.delay_progress().into_iter().map(|level| (level.level(), level.next, level.max)).collect()
}

fn position_of(effects: &Effects, number: usize) -> u64 {
    effects.appended[number].physical_offset as u64
}

#[test]
fn the_usual_list_reads_and_writes_as_rocketmq_has_it() {
    let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
    assert_eq!(levels(text), DelayLevels::default());
    assert_eq!(DelayLevels::default().to_string(), text);
    assert_eq!(levels("  90s 24h\t0s ").to_string(), "90s 1d 0s");
}

#[test]
fn a_list_says_what_is_wrong_with_it() {
    let error = |text: &str| DelayLevels::parse(text).unwrap_err().to_string();
    assert_eq!(error(" "), "expected delays such as 1s 5s 2m 1h 1d, found none");
    assert_eq!(error("1s 5x"), "expected a number followed by s, m, h or d, found '5x'");
    assert_eq!(error("s"), "expected a number followed by s, m, h or d, found 's'");
    assert_eq!(error("1s,5s"), "expected a number followed by s, m, h or d, found '1s,5s'");
    assert_eq!(error("36601d"), "'36601d' is longer than 100 years");
    assert_eq!(error("99999999999999999999s"), "'99999999999999999999s' is longer than 100 years");
    let many = vec!["1s"; 1025].join(" ");
    assert_eq!(DelayLevels::parse(&many), Err(DelayLevelsError::TooMany(1025)));
}

#[test]
fn levels_beyond_the_highest_count_as_the_highest() {
    let levels = levels("1s 2s 4s");
    assert_eq!([1, 3, 4, i32::MAX].map(|asked| levels.capped(asked)), [1, 3, 3, 3]);
    assert_eq!([0, 1, 2, 3, 17].map(|queue_id| levels.delay_ms(queue_id)), [1000, 2000, 4000, 4000, 4000]);
}

#[test]
fn a_delayed_message_shows_where_it_belongs_and_forgets_other_times() {
    let text = "KEYS\u{1}k\u{2}DELAY\u{1}99\u{2}REAL_TOPIC\u{1}old\u{2}TIMER_DELAY_SEC\u{1}5\u{2}TIMER_DELIVER_MS\u{1}6\u{2}";
    assert_eq!(asked_level(text), Ok(99));
    assert_eq!(asked_level("KEYS\u{1}k"), Ok(0));
    assert!(asked_level("DELAY\u{1}soon").is_err());
    let text = delayed_properties(text, 18, "orders", 3);
    assert_eq!(text, "KEYS\u{1}k\u{2}DELAY\u{1}18\u{2}REAL_TOPIC\u{1}orders\u{2}REAL_QID\u{1}3\u{2}");
    assert_eq!(real_place(&text), Some(RealPlace { topic: "orders", queue_id: 3 }));
    assert_eq!(real_place("REAL_TOPIC\u{1}orders"), None);
    assert_eq!(real_place("REAL_TOPIC\u{1}orders\u{2}REAL_QID\u{1}-1"), None);
}

#[test]
fn a_due_message_goes_to_its_queue_to_another_one_or_nowhere() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 4))], &[]);
    let place = |queue_id| RealPlace { topic: "T", queue_id };
    assert_eq!(redelivery(&world.tables, place(3)), Redelivery::Queue(3));
    assert_eq!(redelivery(&world.tables, place(6)), Redelivery::OtherQueue(2));
    // Writers have been taken to two queues, readers still have four.
    let shrinking = flotilla_core::TopicConfig { write_queue_count: 2, ..topic("T", 4) };
    world.commit(&[Command::PutTopic(shrinking)], &[]);
    assert_eq!(redelivery(&world.tables, place(3)), Redelivery::Queue(3));
    let growing = flotilla_core::TopicConfig { read_queue_count: 2, ..topic("T", 4) };
    world.commit(&[Command::PutTopic(growing)], &[]);
    assert_eq!(redelivery(&world.tables, place(5)), Redelivery::OtherQueue(1), "one that is read");
    world.commit(&[Command::DeleteTopic { topic: "T".into() }], &[]);
    assert_eq!(redelivery(&world.tables, place(0)), Redelivery::TopicGone);
}

#[test]
fn retries_wait_longer_each_time_and_end_as_dead_letters() {
    let decide = decide_send_back;
    assert_eq!(decide(0, 16, 0), BackDecision::Retry { level: 3 });
    assert_eq!(decide(15, 16, 0), BackDecision::Retry { level: 18 });
    assert_eq!(decide(16, 16, 0), BackDecision::DeadLetter);
    assert_eq!(decide(3, 16, 7), BackDecision::Retry { level: 7 });
    assert_eq!(decide(0, 16, -1), BackDecision::DeadLetter);
    assert_eq!(decide(0, 0, 0), BackDecision::DeadLetter);
    assert_eq!(decide(i32::MAX - 1, i32::MAX, 0), BackDecision::Retry { level: i32::MAX });
    assert!(!gives_up(16, 16) && gives_up(17, 16));
    let group = GroupConfig { retry_times_max: 5, ..GroupConfig::new("g") };
    assert_eq!(retry_times_max(&group, 479, None), 5);
    assert_eq!(retry_times_max(&group, 479, Some(2)), 2);
    assert_eq!(retry_times_max(&group, 479, Some(-1)), 5);
    assert_eq!(retry_times_max(&group, 120, Some(2)), 5, "clients before 3.4.9 mean something else");
}

#[test]
fn a_message_that_is_sent_back_twice_keeps_its_first_topic_and_id() {
    let first = returned_properties("TAGS\u{1}a\u{2}WAIT\u{1}true", "orders", "ID1", 3);
    let map = properties::to_map(&first);
    let expected = [
        ("DELAY", "3"),
        ("ORIGIN_MESSAGE_ID", "ID1"),
        ("RETRY_TOPIC", "orders"),
        ("TAGS", "a"),
        ("WAIT", "false"),
    ];
    assert_eq!(map.into_iter().collect::<Vec<_>>(), expected);
    let second = returned_properties(&first, "%RETRY%g", "ID2", 0);
    assert_eq!(properties::get(&second, "RETRY_TOPIC"), Some("orders"));
    assert_eq!(properties::get(&second, "ORIGIN_MESSAGE_ID"), Some("ID1"));
    assert_eq!(properties::get(&second, "DELAY"), Some("0"));
}

#[test]
fn a_queue_moves_on_with_the_entry_that_delivers() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    let first = world.commit(&[], &[delayed(1), delayed(1), delayed(3)]);
    assert!(first.delay_begun);
    assert_eq!(progress(&world.tables), [(1, 0, 2), (3, 0, 1)]);
    assert_eq!(world.tables.delay_floor(), Some(position_of(&first, 0)));
    let later = world.commit(&[], &[delayed(1)]);
    assert!(!later.delay_begun, "others wait there already");

    let moved = position_of(&first, 1) + 1;
    let effects =
        world.commit(&[done(0, 0, 2, moved)], &[message("T", 0, "b", ""), message("T", 0, "b", "")]);
    assert_eq!((effects.answers, effects.appended.len()), (vec![Answer::Done], 2));
    assert_eq!(progress(&world.tables), [(1, 2, 3), (3, 0, 1)]);
    assert_eq!(world.tables.delay_floor(), Some(moved), "what waits lies behind it");
    world.commit(&[done(0, 2, 3, u64::MAX), done(2, 0, 1, u64::MAX)], &[]);
    assert_eq!(world.tables.delay_floor(), None);
    assert_eq!(world.tables.delay_version().counter, 3);
    let next = world.commit(&[], &[delayed(1)]);
    assert!(next.delay_begun);
    assert_eq!(world.tables.delay_floor(), Some(position_of(&next, 0)));
}

/// What no correct leader proposes is refused alike everywhere. A queue never goes back, and what was passed over stays.
#[test]
fn places_out_of_order_are_refused() {
    let mut world = World::bootstrapped();
    world.commit(&[], &[delayed(2), delayed(2), delayed(2), delayed(2)]);
    let refusal = |expected, found| Answer::Refused(Refusal::DelayOrder { queue_id: 1, expected, found });
    let mut answer = |command| world.commit(&[command], &[]).answers.remove(0);
    assert_eq!(answer(done(1, 1, 2, 0)), refusal(0, 1));
    assert_eq!(answer(done(1, 0, 5, 0)), refusal(0, 0), "beyond the end of the queue");
    assert_eq!(answer(done(1, 0, 0, 0)), refusal(0, 0));
    assert_eq!(answer(done(1, 0, 2, 0)), Answer::Done);
    assert_eq!(answer(done(1, 0, 2, 0)), refusal(2, 0));
    assert_eq!(answer(done(1, 0, 3, 0)), refusal(2, 0), "a part of it is news");
    assert_eq!(
        answer(done(9, 0, 1, 0)),
        Answer::Refused(Refusal::DelayOrder { queue_id: 9, expected: 0, found: 0 })
    );
    assert_eq!(progress(&world.tables), [(2, 3, 4)]);
}

#[test]
fn a_message_waits_as_long_as_its_level_said_when_it_was_stored() {
    let mut world = World::bootstrapped();
    world.commit(&[put_levels("1s 10s")], &[]);
    let old = world.commit(&[], &[delayed(1), delayed(2)]);
    world.commit(&[put_levels("3s")], &[]);
    let new = world.commit(&[], &[delayed(1)]);
    let history = world.tables.delay_history();
    assert_eq!(history.delay_ms(0, position_of(&old, 0)), 1000);
    assert_eq!(history.delay_ms(1, position_of(&old, 1)), 10_000, "the level is gone, its message is not");
    assert_eq!(history.delay_ms(0, position_of(&new, 0)), 3000);
    assert_eq!(
        history.delay_ms(1, position_of(&new, 0)),
        3000,
        "capped to another list than the one in force"
    );

    let across = Tables::decode(&world.tables.encode()).unwrap();
    assert_eq!(across.delay_history(), history);
    // Lists go when nothing waits that was stored under them.
    world.commit(&[done(0, 0, 1, position_of(&new, 0))], &[]);
    assert_eq!(world.tables.delay_history(), history, "level 2 still waits");
    world.commit(&[done(1, 0, 1, position_of(&old, 1) + 1)], &[]);
    assert_eq!(world.tables.delay_history().delay_ms(1, 0), 3000);
    world.commit(&[put_levels("9s")], &[]);
    assert_eq!(world.tables.delay_history().delay_ms(0, position_of(&new, 0)), 3000);
    let twice = world.commit(&[put_levels("8s"), put_levels("7s")], &[delayed(1)]);
    // The leader decided about it before the change was applied.
    assert_eq!(world.tables.delay_history().delay_ms(0, position_of(&twice, 0)), 9000);
    assert_eq!(Tables::decode(&world.tables.encode()).unwrap().encode(), world.tables.encode());
}

/// However often the list changes: what is kept is bounded, and no message is due before its time.
#[test]
fn many_lists_become_few_and_none_is_early() {
    let mut world = World::bootstrapped();
    let mut waiting = Vec::new();
    for number in 0..40_u64 {
        let delay = 1 + number * 7 % 11;
        world.commit(&[put_levels(&format!("{delay}s"))], &[]);
        waiting.push((position_of(&world.commit(&[], &[delayed(1)]), 0), delay * 1000));
    }
    let history = world.tables.delay_history();
    for (position, delay_ms) in &waiting {
        assert!(history.delay_ms(0, *position) >= *delay_ms, "at {position}");
    }
    let exact = waiting.iter().filter(|(position, delay_ms)| history.delay_ms(0, *position) == *delay_ms);
    assert!(exact.count() >= 16);
    assert_eq!(Tables::decode(&world.tables.encode()).unwrap().encode(), world.tables.encode());
}

/// Steps of a duty and of senders in any order, with leaders that stop at any moment.
#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u32>),
    /// Delivers up to so many messages of a level, from where the tables stand.
    Deliver(u32, i64),
    Levels(u8),
    Checkpoint,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => vec(1_u32..5, 1..6).prop_map(Step::Send),
        3 => (1_u32..5, 1_i64..5).prop_map(|(level, count)| Step::Deliver(level, count)),
        1 => (1_u8..9).prop_map(Step::Levels),
        1 => Just(Step::Checkpoint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Each message is delivered once, in order, whatever happens between; the floor never passes one that waits.
    #[test]
    fn prop_every_delayed_message_is_delivered_once(steps in vec(any_step(), 1..60)) {
        let mut world = World::bootstrapped();
        world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
        let mut sent = std::collections::BTreeMap::<u32, Vec<u64>>::new();
        let mut delivered = std::collections::BTreeMap::<u32, usize>::new();
        for step in steps {
            match step {
                Step::Send(levels) => {
                    let effects = world.commit(&[], &levels.iter().map(|level| delayed(*level)).collect::<Vec<_>>());
                    for (number, level) in levels.iter().enumerate() {
                        sent.entry(*level).or_default().push(position_of(&effects, number));
                    }
                }
                Step::Deliver(level, count) => {
                    let Some(queue) = world.tables.delay_progress().into_iter().find(|queue| queue.level() == level)
                    else { continue };
                    let to = queue.max.min(queue.next + count);
                    if to == queue.next { continue }
                    let last = sent[&level][usize::try_from(to - 1).unwrap()];
                    let messages: Vec<_> = (queue.next..to).map(|_| message("T", 0, "b", "")).collect();
                    let effects = world.commit(&[done(level - 1, queue.next, to, last + 1)], &messages);
                    prop_assert_eq!(effects.answers, vec![Answer::Done]);
                    *delivered.entry(level).or_default() += messages.len();
                }
                Step::Levels(seconds) => drop(world.commit(&[put_levels(&format!("{seconds}s"))], &[])),
                Step::Checkpoint => {
                    let encoded = world.tables.encode();
                    world.tables = Tables::decode(&encoded).unwrap();
                    prop_assert_eq!(world.tables.encode(), encoded);
                }
            }
            let mut first_waiting = None;
            for queue in world.tables.delay_progress() {
                let count = delivered.get(&queue.level()).copied().unwrap_or(0);
                prop_assert_eq!(queue.next, count as i64);
                prop_assert_eq!(queue.max, sent[&queue.level()].len() as i64);
                first_waiting = first_waiting.into_iter().chain(sent[&queue.level()].get(count).copied()).min();
            }
            let floor = world.tables.delay_floor();
            prop_assert_eq!(floor.is_some(), first_waiting.is_some());
            prop_assert!(floor <= first_waiting, "floor {:?} is beyond {:?}", floor, first_waiting);
        }
    }
}
