//! Each row of the protocol's tables as a case.

use flotilla_core::rules::{
    OffsetAnswer, OffsetDecision, PullStatus, TopicDecision, decide_pull_offset, decide_topic,
    query_consumer_offset,
};
use flotilla_core::{
    Answer, Command, OffsetCommit, Perm, QueueMinimum, QueueRange, Retention, SettingChange, Settings,
    Tables, TagFilter, TopicConfig,
};

use crate::support::{World, topic};

#[test]
fn pull_offset_rules() {
    use PullStatus as S;
    let range = Some(QueueRange { min: 10, max: 20 });
    let empty = Some(QueueRange { min: 0, max: 0 });
    let moved = Some(QueueRange { min: 20, max: 20 });
    for (range, requested, expected) in [
        (None, 0, Some((S::NoMatchedLogicQueue, 19, 0))),
        (None, 5, Some((S::NoMatchedLogicQueue, 21, 0))),
        (empty, 0, Some((S::NoMessageInQueue, 19, 0))),
        (empty, 7, Some((S::NoMessageInQueue, 21, 0))),
        (range, -1, Some((S::OffsetTooSmall, 21, 10))),
        (range, 9, Some((S::OffsetTooSmall, 21, 10))),
        (range, 10, None),
        (range, 19, None),
        (range, 20, Some((S::OffsetOverflowOne, 19, 20))),
        (range, 21, Some((S::OffsetOverflowBadly, 21, 20))),
        (moved, 20, Some((S::OffsetOverflowOne, 19, 20))),
        (moved, 19, Some((S::OffsetTooSmall, 21, 20))),
    ] {
        let expected = match expected {
            None => OffsetDecision::Read,
            Some((status, code, next_begin_offset)) => {
                OffsetDecision::Answer { status, code, next_begin_offset }
            }
        };
        let decision = decide_pull_offset(range, requested);
        assert_eq!(decision, expected, "{range:?} {requested}");
        let waits = matches!(expected, OffsetDecision::Answer { code: 19, .. });
        assert_eq!(decision.may_wait(), waits);
    }
    assert_eq!(
        [S::Found, S::NoMatchedMessage, S::MessageWasRemoving, S::OffsetFoundNull, S::OffsetReset]
            .map(|s| s.code(3)),
        [0, 20, 20, 19, 21]
    );
}

fn query(world: &World, zero: bool) -> OffsetAnswer {
    query_consumer_offset(&world.tables, "g", "T", 0, zero)
}

#[test]
fn a_stored_offset_is_answered_as_it_is() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    let commit = OffsetCommit { group: "g".into(), topic: "T".into(), queue_id: 0, offset: 7 };
    world.commit(&[Command::CommitOffsets(vec![commit])], &[]);
    assert_eq!(query(&world, true), OffsetAnswer::Offset(7));
    assert_eq!(query(&world, false), OffsetAnswer::Offset(7));
}

#[test]
fn a_new_group_starts_at_the_beginning_of_a_young_queue_only() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutSettings(Settings { young_queue_bytes: 2000, ..Settings::default() })], &[]);
    assert_eq!(query(&world, true), OffsetAnswer::Offset(0), "unknown queue");
    world.commit(&[Command::PutTopic(topic("T", 1)), Command::PutTopic(topic("U", 1))], &[]);
    assert_eq!(query(&world, true), OffsetAnswer::Offset(0), "empty queue");
    assert_eq!(query(&world, false), OffsetAnswer::NotFound, "the client wants no default");
    world.send("T", 0);
    assert_eq!(query(&world, true), OffsetAnswer::Offset(0), "young queue");
    let first = world.tables.queue_head("T", 0).unwrap().base_physical_offset as u64;
    while world.tables.applied().end_position - first <= 2000 {
        assert_eq!(query(&world, true), OffsetAnswer::Offset(0));
        world.send("U", 0);
    }
    assert_eq!(query(&world, true), OffsetAnswer::NotFound, "log grew past the setting");
}

#[test]
fn a_queue_that_lost_its_beginning_is_not_young() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    world.send("T", 0);
    world.send("T", 0);
    let queues = vec![QueueMinimum { topic: "T".into(), queue_id: 0, min: 1 }];
    world.commit(&[Command::RaiseMinimum { log_position: 500, queues }], &[]);
    assert_eq!(query(&world, true), OffsetAnswer::NotFound);
}

#[test]
fn a_topic_created_again_is_young_from_where_it_continues() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    world.send("T", 0);
    world.commit(&[Command::DeleteTopic { topic: "T".into() }], &[]);
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    assert_eq!(query(&world, true), OffsetAnswer::Offset(1));
    let first = world.send("T", 0).appended[0].physical_offset;
    assert_eq!(query(&world, true), OffsetAnswer::Offset(1));
    // Its age counts from the first message of this life, not of the one before.
    assert_eq!(world.tables.queue_head("T", 0).unwrap().base_physical_offset, first);
    world.send("T", 0);
    assert_eq!(world.tables.queue_head("T", 0).unwrap().base_physical_offset, first);
}

fn created<'a>(world: &'a World, name: &str, template: &str, queues: i32) -> TopicDecision<'a> {
    decide_topic(&world.tables, name, template, queues, 0)
}

#[test]
fn topics_are_created_from_templates_that_allow_it() {
    let mut world = World::bootstrapped();
    let create = |queues| TopicDecision::Create(topic("New", queues));
    assert_eq!(created(&world, "New", "TBW102", 4), create(4), "as many queues as the client asks for");
    assert_eq!(created(&world, "New", "TBW102", 100), create(8), "at most the template's");
    assert_eq!(created(&world, "New", "TBW102", 0), create(1), "never none");
    assert_eq!(created(&world, "New", "TBW102", -3), create(1));
    assert_eq!(created(&world, "New", "C", 100), create(16), "the cluster's topic is a template");
    assert_eq!(created(&world, "New", "Missing", 4), TopicDecision::Unknown);
    assert_eq!(created(&world, "New", "SELF_TEST_TOPIC", 4), TopicDecision::Unknown, "no inherit bit");
    assert_eq!(created(&world, "%RETRY%g", "Missing", 4), TopicDecision::Create(topic("%RETRY%g", 1)));
    world.commit(&[Command::PutTopic(topic("New", 2))], &[]);
    assert_eq!(created(&world, "New", "TBW102", 4), TopicDecision::Exists(&topic("New", 2)));
}

#[test]
fn the_setting_takes_the_standard_template_away_and_back() {
    let mut world = World::bootstrapped();
    let off = Settings { auto_create_topic: false, ..Settings::default() };
    let effects = world.commit(&[Command::PutSettings(off)], &[]);
    assert!(effects.settings_changed);
    assert_eq!(effects.topics_changed, ["TBW102".into()]);
    assert_eq!(world.tables.topic("TBW102"), None);
    assert_eq!(created(&world, "New", "TBW102", 4), TopicDecision::Unknown);
    // Put back by an administrator, the template still does not create while the setting forbids it.
    world.commit(&[Command::PutTopic(TopicConfig::new("TBW102", 8, Perm::READ_WRITE_INHERIT))], &[]);
    assert_eq!(created(&world, "New", "TBW102", 4), TopicDecision::Unknown);
    world.commit(&[Command::PutSettings(Settings::default())], &[]);
    assert_eq!(created(&world, "New", "TBW102", 4), TopicDecision::Create(topic("New", 4)));
}

#[test]
fn changes_of_different_settings_do_not_undo_each_other() {
    let mut world = World::bootstrapped();
    let before = world.tables.settings_version();
    // Two administrators who both read the settings before either had changed them.
    let one = Command::ChangeSettings(vec![SettingChange::BrokerPermission(Perm(4))]);
    let other =
        Command::ChangeSettings(vec![SettingChange::AutoCreateTopic(false), SettingChange::ReservedHours(1)]);
    let effects = world.commit(&[one.clone(), other, one], &[]);
    assert_eq!(effects.answers, [Answer::Done, Answer::Done, Answer::Unchanged]);
    assert!(effects.settings_changed);
    let expected = Settings { broker_permission: Perm(4), auto_create_topic: false, ..Settings::default() };
    let retention = Retention { reserved_hours: 1, ..Retention::default() };
    assert_eq!(*world.tables.settings(), Settings { retention, ..expected });
    assert_eq!(world.tables.settings_version().counter, before.counter + 2);
    assert_eq!(world.tables.topic("TBW102"), None, "the template goes with its setting");
    let again = Tables::decode(&world.tables.encode()).unwrap();
    assert_eq!(again.settings(), world.tables.settings());
    assert_eq!(again.settings_version(), world.tables.settings_version());
}

#[test]
fn tag_filters_parse_as_in_java() {
    let code = |tag: &str| i64::from(flotilla_core::message::tag_hash(tag.as_bytes()));
    for all in ["", "*"] {
        assert_eq!(TagFilter::parse(all).unwrap(), TagFilter::All);
    }
    let filter = TagFilter::parse(" TagA||TagB ||").unwrap();
    assert!(filter.matches(code("TagA")) && filter.matches(code("TagB")));
    assert!(!filter.matches(code("TagC")) && !filter.matches(0));
    assert!(TagFilter::parse("* || A").unwrap().matches(code("*")), "a star among tags is a tag");
    assert_eq!(
        TagFilter::parse(" || ").unwrap(),
        TagFilter::Codes(vec![]),
        "blanks are dropped, nothing matches"
    );
    for error in ["||", "||||"] {
        assert_eq!(
            TagFilter::parse(error).unwrap_err().to_string(),
            format!("subscription expression `{error}` names no tag")
        );
    }
    // Only the lower half of the stored code counts.
    assert!(filter.matches(code("TagA") | (1 << 40)));
    assert!(TagFilter::from_codes([-2_147_483_648]).matches(-2_147_483_648));
}
