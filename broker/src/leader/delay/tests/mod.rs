//! The duty against a scripted node ([`world`]).
#![allow(clippy::unwrap_used)]

mod world;

use bytes::BytesMut;
use flotilla_core::{Command, DelayLevels, PayloadBuilder, Perm, Settings, TopicConfig};
use flotilla_remoting::message::MessageView;
use flotilla_remoting::names::SCHEDULE_TOPIC;

use super::*;
use world::*;

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_when_it_is_due_and_not_before() {
    let duty = start();
    pass(100).await;
    duty.world.send(&[(1, 2, "one"), (2, 0, "five")]);
    pass(999).await;
    assert_eq!(duty.world.bodies(), [""; 0]);
    pass(5000).await;
    let delivered = duty.world.log.lock().delivered.clone();
    assert_eq!(
        delivered.iter().map(|one| (one.topic.as_str(), one.queue_id, one.body.as_str())).collect::<Vec<_>>(),
        [("T", 2, "one"), ("T", 0, "five")]
    );
    assert!((1100..1150).contains(&delivered[0].at), "{delivered:?}");
    assert!((5100..5150).contains(&delivered[1].at), "{delivered:?}");
    duty.end().await;
}

/// What is delivered is what was sent: all but its place, its time and its id.
#[tokio::test(start_paused = true)]
async fn a_delivered_message_keeps_everything_but_its_place() {
    let duty = start();
    duty.world.send(&[(1, 3, "body")]);
    let waiting = duty.world.log.lock().waiting[&(0, 0)].clone();
    let mut out = BytesMut::new();
    let (view, _) = MessageView::parse(&waiting).unwrap();
    duty.world.encoder.encode_again(&view, "T", 3, &mut out).unwrap();
    let (again, rest) = MessageView::parse(&out).unwrap();
    assert!(rest.is_empty() && again.body_is_intact());
    assert_eq!((again.topic(), again.queue_id()), ("T", 3));
    assert_eq!(again.properties(), view.properties(), "DELAY and REAL_TOPIC can still be seen");
    assert_eq!(again.property("DELAY"), Some("1"));
    assert_eq!((again.flag(), again.born_timestamp(), again.reconsume_times()), (7, 42, 3));
    assert_eq!(again.born_host(), view.born_host());
    assert_eq!(again.sys_flag(), view.sys_flag());
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_while_nothing_is_due() {
    let duty = start();
    pass(3_600_000).await;
    assert_eq!(duty.world.log.lock().reads, 0, "nothing waits");
    duty.world.send(&[(3, 0, "a"), (3, 0, "b")]);
    pass(59_000).await;
    let reads = duty.world.log.lock().reads;
    assert!(reads <= 2, "{reads} reads for two messages that are not due");
    pass(2000).await;
    assert_eq!(duty.world.bodies(), ["a", "b"]);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn many_messages_take_few_entries_and_keep_their_order() {
    let duty = start();
    let names: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    for chunk in names.chunks(500) {
        duty.world.send(&chunk.iter().map(|name| (1, 0, name.as_str())).collect::<Vec<_>>());
    }
    pass(3000).await;
    assert_eq!(duty.world.bodies(), names);
    let proposed = duty.world.log.lock().proposed.len();
    assert!(proposed <= 6, "{proposed} entries");
    duty.end().await;
}

/// A level with very many due messages does not hold up the others.
#[tokio::test(start_paused = true)]
async fn levels_take_turns() {
    let duty = start();
    let (large, mut sends) = ("x".repeat(100_000), Vec::new());
    sends.extend((0..100).map(|_| (1, 0, large.as_str())));
    duty.world.send(&sends);
    duty.world.send(&[(2, 0, "other")]);
    // Nobody delivers until both are due.
    duty.leadership.send_replace(follows(1));
    pass(6000).await;
    duty.lead(2);
    pass(3000).await;
    let bodies = duty.world.bodies();
    let place = bodies.iter().position(|body| body == "other").unwrap();
    assert!(place <= 25, "it waited for {place} others");
    assert_eq!(bodies.len(), 101);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_is_proposed_again_in_the_same_term() {
    let duty = start();
    let refusals = [
        ProposeError::NotLeader { leader: Some(1) },
        ProposeError::Busy,
        ProposeError::NotLeader { leader: None },
    ];
    duty.world.log.lock().fates.extend(refusals.map(Fate::Refused));
    duty.world.send(&[(1, 0, "a"), (1, 1, "b")]);
    pass(1500).await;
    assert_eq!(duty.world.bodies(), ["a", "b"]);
    assert_eq!(duty.world.proposed(), [1; 4]);
    duty.end().await;
}

/// LOG-RULES.md 14 and 20. The entry may still come: until it has, or the term is over, nothing else is proposed.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_duty_stands_still_until_it_is_applied() {
    let duty = start_with(Fate::Unknown);
    duty.world.send(&[(1, 0, "a"), (2, 0, "b")]);
    pass(60_000).await;
    assert_eq!(duty.world.proposed(), [1], "not even for another level");
    assert_eq!(duty.world.bodies(), [""; 0]);

    // Now it is applied after all: both, the message and its mark.
    let mut builder = PayloadBuilder::new(0, 64);
    let waiting = duty.world.log.lock().waiting[&(0, 0)].clone();
    let (view, _) = MessageView::parse(&waiting).unwrap();
    duty.world.encoder.encode_again(&view, "T", 0, builder.messages()).unwrap();
    let position = view.physical_offset() as u64 + 1;
    builder.push_command(&Command::DelayDone(DelayDone { queue_id: 0, from: 0, to: 1, position }));
    duty.world.apply(builder.finish().to_vec());
    pass(1000).await;
    assert_eq!(duty.world.bodies(), ["a", "b"], "and the rest follows");
    assert_eq!(duty.world.pending(), 0);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_a_new_term_goes_on_from_the_tables() {
    let duty = start_with(Fate::Unknown);
    duty.world.send(&[(1, 0, "a")]);
    pass(2000).await;
    duty.leadership.send_replace(follows(2));
    pass(2000).await;
    // Elected again, but its first entry is not applied: an entry of the former term may still be.
    duty.leadership.send_replace(Leadership { own_term_applied: false, ..leads(3) });
    pass(2000).await;
    assert_eq!(duty.world.bodies(), [""; 0]);
    duty.lead(3);
    pass(100).await;
    assert_eq!(duty.world.bodies(), ["a"]);
    assert_eq!(duty.world.proposed(), [1, 3]);
    duty.end().await;
}

/// A leader that was deposed may never hear what became of its entry. When it leads again it goes on all the same.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_never_comes_is_not_waited_for_beyond_its_term() {
    let duty = start_with(Fate::Silent);
    duty.world.send(&[(1, 0, "a")]);
    pass(10_000).await;
    assert_eq!(duty.world.bodies(), [""; 0]);
    duty.leadership.send_replace(follows(2));
    pass(100).await;
    duty.lead(3);
    pass(100).await;
    assert_eq!(duty.world.bodies(), ["a"]);
    assert_eq!(duty.world.proposed(), [1, 3]);
    duty.end().await;
}

/// A bug somewhere else must not become a flood of doubles: after a refused mark the duty looks at the tables, and repeats nothing
/// that they don't show as open.
#[tokio::test(start_paused = true)]
async fn a_refused_mark_is_not_followed_by_the_same_again() {
    let duty = start_with(Fate::Overtaken);
    duty.world.send(&[(1, 0, "a"), (2, 0, "b")]);
    pass(6000).await;
    assert_eq!(duty.world.bodies(), ["a", "a", "b"]);
    assert_eq!(duty.world.proposed(), [1, 1]);
    duty.end().await;
}

/// Two leaders at once, the older one cut off and busy: the group refuses what it proposes in its term, also what it has read
/// before the other one came.
#[tokio::test(start_paused = true)]
async fn a_new_leader_and_a_deposed_one_deliver_once_together() {
    let old = start();
    let new = begin(old.world.clone(), follows(1));
    let mut sent = Vec::new();
    for round in 0..20_u64 {
        let bodies = [format!("{round}a"), format!("{round}b")];
        old.world.send(&[(1, 0, &bodies[0]), (1, 0, &bodies[1])]);
        sent.extend(bodies);
        pass(300).await;
        if round % 5 == 4 {
            // In the middle of a round of the group, for some of them; nobody tells the older leader.
            pass(round % 3).await;
            (if round == 9 { &old } else { &new }).lead(round);
        }
    }
    pass(3000).await;
    assert_eq!(old.world.bodies(), sent);
    assert_eq!(old.world.pending(), 0);
    let proposed = old.world.proposed();
    assert!(proposed.windows(2).any(|pair| pair[0] > pair[1]), "both were at work: {proposed:?}");
    new.end().await;
    old.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_moves_no_message_before_its_time() {
    let duty = start();
    duty.world.send(&[(2, 0, "a")]);
    pass(1000).await;
    // Leader time never jumps back over a stamp; one that goes slower for a while is a jump back seen from real time.
    *duty.world.jump_ms.lock() -= 900;
    pass(4500).await;
    assert_eq!(duty.world.bodies(), [""; 0], "5.5 s of real time, 4.6 s of leader time");
    pass(600).await;
    let delivered = duty.world.delivered();
    assert!(delivered.len() == 1 && delivered[0].1 >= 5000, "{delivered:?}");
    *duty.world.jump_ms.lock() += 10_000;
    duty.world.send(&[(2, 0, "b")]);
    let stored = duty.world.tables.read().applied().time_ms - START_MS;
    pass(6000).await;
    let delivered = duty.world.delivered();
    assert!(delivered[1].1 >= stored + 5000, "stored at {stored}: {delivered:?}");
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_being_rebuilt_holds_up_its_level_only() {
    let duty = start();
    duty.world.log.lock().rebuilding.push(0);
    duty.world.send(&[(1, 0, "late"), (2, 0, "in time")]);
    pass(6000).await;
    assert_eq!(duty.world.bodies(), ["in time"]);
    duty.world.log.lock().rebuilding.clear();
    pass(100).await;
    assert_eq!(duty.world.bodies(), ["in time", "late"]);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_can_not_be_read_is_not_passed_over() {
    let duty = start();
    duty.world.log.lock().damaged.push((0, 1));
    duty.world.send(&[(1, 0, "a"), (1, 0, "b"), (1, 0, "c"), (2, 0, "d")]);
    pass(20_000).await;
    assert_eq!(duty.world.bodies(), ["a", "d"]);
    duty.world.log.lock().damaged.clear();
    pass(6000).await;
    assert_eq!(duty.world.bodies(), ["a", "d", "b", "c"]);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn messages_for_a_deleted_topic_are_given_up_and_those_of_a_lost_queue_moved() {
    let duty = start();
    duty.world.send(&[(1, 3, "moved"), (1, 1, "stays")]);
    duty.world.commands(&[Command::PutTopic(TopicConfig::new("T", 2, Perm::READ_WRITE))]);
    pass(1500).await;
    let delivered = duty.world.log.lock().delivered.clone();
    assert_eq!(
        delivered.iter().map(|one| (one.body.as_str(), one.queue_id)).collect::<Vec<_>>(),
        [("moved", 1), ("stays", 1)]
    );
    duty.world.send(&[(1, 0, "gone")]);
    duty.world.commands(&[Command::DeleteTopic { topic: "T".into() }]);
    pass(1500).await;
    assert_eq!((duty.world.bodies().len(), duty.world.pending()), (2, 0));
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_list_of_delays_counts_for_what_comes_after_it() {
    let duty = start();
    duty.world.send(&[(3, 0, "minute")]);
    let levels = DelayLevels::parse("2s").unwrap();
    duty.world.commands(&[Command::PutSettings(Settings { delay_levels: levels, ..Settings::default() })]);
    duty.world.send(&[(1, 0, "two")]);
    pass(59_000).await;
    assert_eq!(duty.world.bodies(), ["two"]);
    pass(1500).await;
    assert_eq!(duty.world.bodies(), ["two", "minute"], "its level is gone from the list, its time is kept");
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_retention_took_are_passed_over_aloud() {
    let duty = start();
    duty.world.send(&[(2, 0, "a"), (2, 0, "b"), (2, 0, "c")]);
    let minimum = flotilla_core::QueueMinimum { topic: SCHEDULE_TOPIC.into(), queue_id: 1, min: 2 };
    duty.world.commands(&[Command::RaiseMinimum { log_position: 100, queues: vec![minimum] }]);
    duty.world.log.lock().waiting.retain(|(queue_id, offset), _| (*queue_id, *offset) >= (1, 2));
    pass(6000).await;
    assert_eq!((duty.world.bodies(), duty.world.pending()), (vec!["c".to_owned()], 0));
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_does_not_fit_is_made_smaller() {
    let duty = start();
    duty.world.log.lock().fates.extend([Fate::Refused(ProposeError::TooLarge); 3]);
    let names: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    duty.world.send(&names.iter().map(|name| (1, 0, name.as_str())).collect::<Vec<_>>());
    pass(1500).await;
    assert_eq!(duty.world.bodies(), names);
    duty.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_duty_ends_with_its_replica() {
    let Duty { leadership, task, .. } = start();
    drop(leadership);
    task.await.unwrap();
}
