//! Faults and inspections.

use crate::checker::{
    ALL_HEALED, Availability, Checker, CountFrom, Faults, Inspections, Limit, Limits, Outage, Outcome,
    outages,
};
use crate::history::{Act, Kind};

use super::tape::{Tape, commit, fault, inspect, offset_read, send};
use super::{Case, run_table};
use Outcome::{Absent, Invalid, Unknown, Valid};

/// Two seconds for the kind of fault that the tape knows.
pub(super) fn limits() -> Limits {
    let limit = Limit { outage_ms: 2_000, from: CountFrom::Begin };
    Limits { by_kind: [("kill-leader".to_owned(), limit)].into(), default: None }
}

fn kill(tape: &mut Tape) -> &mut Tape {
    tape.note(fault(1, true), Kind::Invoke).note(fault(1, true), Kind::Info)
}

fn heal(tape: &mut Tape) -> &mut Tape {
    tape.note(fault(1, false), Kind::Invoke).note(fault(1, false), Kind::Ok)
}

#[test]
fn inspections() {
    let cases: &[Case] = &[
        (
            "clean",
            |tape| _ = tape.note(inspect("log"), Kind::Invoke).note(inspect("log"), Kind::Ok),
            Valid,
            &[],
        ),
        (
            "something is wrong",
            |tape| _ = tape.note(inspect("log"), Kind::Ok).note(inspect("logs equal"), Kind::Fail),
            Invalid,
            &["found-wrong"],
        ),
        (
            "something could not be looked at",
            |tape| _ = tape.note(inspect("log"), Kind::Ok).note(inspect("logs equal"), Kind::Info),
            Unknown,
            &[],
        ),
        ("something was begun only", |tape| _ = tape.note(inspect("log"), Kind::Invoke), Unknown, &[]),
        ("nothing was looked at", |tape| _ = tape.acked(1, 0, 0), Absent, &[]),
    ];
    run_table(&Inspections, &["found-wrong"], cases);
}

#[test]
fn availability() {
    let cases: &[Case] = &[
        (
            "acks again within the limit",
            |tape| {
                tape.acked(1, 0, 0);
                heal(kill(tape.at(100))).at(2_000).acked(2, 0, 1);
            },
            Valid,
            &[],
        ),
        (
            "acks again too late",
            |tape| {
                tape.acked(1, 0, 0);
                heal(kill(tape.at(100))).at(2_200).acked(2, 0, 1);
            },
            Invalid,
            &["outage"],
        ),
        (
            "never acks again",
            |tape| {
                tape.acked(1, 0, 0);
                kill(tape.at(100)).at(2_200).call(send(2), Kind::Info);
            },
            Invalid,
            &["outage"],
        ),
        (
            "the old leader comes back and disturbs",
            |tape| {
                tape.acked(1, 0, 0);
                kill(tape.at(100)).at(1_000).acked(2, 0, 1);
                heal(tape).acked(3, 0, 2).at(4_000).acked(4, 0, 3);
            },
            Invalid,
            &["outage"],
        ),
        (
            "a gap long after the fault is not its doing",
            |tape| {
                tape.acked(1, 0, 0);
                kill(tape.at(100)).at(1_000).acked(2, 0, 1);
                heal(tape);
                for second in 2..15 {
                    tape.at(second * 1_000).acked(second + 10, 0, second);
                }
                tape.at(30_000).acked(99, 0, 99);
            },
            Valid,
            &[],
        ),
        (
            "a gap before the fault is not its doing",
            |tape| {
                tape.acked(1, 0, 0);
                kill(tape.at(30_000)).at(30_500).acked(2, 0, 1);
            },
            Valid,
            &[],
        ),
        (
            "a fault that was refused did nothing",
            |tape| {
                tape.acked(1, 0, 0).note(fault(1, true), Kind::Invoke).note(fault(1, true), Kind::Fail);
                tape.at(9_000).acked(2, 0, 1);
            },
            Absent,
            &[],
        ),
        ("nobody tried anything", |tape| _ = kill(tape), Unknown, &[]),
        (
            "where nothing is sent, other acks count",
            |tape| {
                tape.call(commit(1), Kind::Ok);
                kill(tape.at(100)).at(3_000).call(commit(2), Kind::Ok);
            },
            Invalid,
            &["outage"],
        ),
    ];
    let recovery: &[Case] = &[
        (
            "reads are answered and nothing can be written",
            |tape| {
                tape.call(commit(1), Kind::Ok);
                heal(kill(tape.at(100)));
                for second in 1..4 {
                    tape.at(second * 1_000).call(commit(second + 1), Kind::Fail);
                    tape.call(offset_read(Some(1)), Kind::Ok);
                }
            },
            Invalid,
            &["not-recovered", "outage"],
        ),
        (
            "where nothing is written, reads count",
            |tape| {
                tape.call(offset_read(None), Kind::Ok);
                heal(kill(tape.at(100))).at(1_000).call(offset_read(None), Kind::Ok);
            },
            Valid,
            &[],
        ),
        (
            "healed, and nothing is acknowledged ever after, within the limit",
            |tape| {
                tape.acked(1, 0, 0);
                heal(kill(tape.at(100))).call(send(2), Kind::Info).call(send(3), Kind::Fail);
            },
            Invalid,
            &["not-recovered"],
        ),
        (
            "healed, and nobody tries anything",
            |tape| {
                tape.acked(1, 0, 0);
                heal(kill(tape.at(100)).acked(2, 0, 1));
            },
            Unknown,
            &[],
        ),
        (
            "an outage goes on over the next faults",
            |tape| {
                tape.acked(1, 0, 0);
                heal(kill(tape.at(100)));
                for number in 2..6 {
                    tape.at(u64::from(number) * 1_000);
                    tape.note(fault(number, true), Kind::Info).call(send(100), Kind::Fail);
                    tape.note(fault(number, false), Kind::Ok);
                }
                tape.at(5_500).acked(2, 0, 1);
            },
            Invalid,
            &["outage"],
        ),
        (
            "faults that each keep within the limit",
            |tape| {
                tape.acked(1, 0, 0);
                for number in 2..6 {
                    tape.at(u64::from(number) * 1_000).note(fault(number, true), Kind::Info);
                    tape.note(fault(number, false), Kind::Ok);
                    tape.at(u64::from(number) * 1_000 + 900).acked(number.into(), 0, number.into());
                }
            },
            Valid,
            &[],
        ),
    ];
    let checker = Availability { limits: limits() };
    run_table(&checker, &["not-recovered", "outage"], &[cases, recovery].concat());
}

#[test]
fn an_outage_that_outlasts_the_aftermath_of_a_healed_fault_is_found() {
    let from_heal = Limit { outage_ms: 10_000, from: CountFrom::Heal };
    let measured = |acked_at: u64| {
        let mut tape = Tape::default();
        tape.acked(1, 0, 0);
        heal(kill(tape.at(100))).at(acked_at).acked(2, 0, 1);
        let limits = Limits { default: Some(from_heal), ..Limits::default() };
        let outage = outages(&tape.history(), &limits).remove(0);
        (outage.outage_ms.map(f64::round), outage.recovered, outage.exceeds_limit())
    };
    assert_eq!(measured(9_000), (Some(8_898.0), true, false));
    assert_eq!(measured(40_000), (Some(39_898.0), true, true));
}

#[test]
fn a_fault_that_takes_the_majority_away_again_is_forgiven_anew() {
    let mut tape = Tape::default();
    tape.acked(1, 0, 0);
    for number in 1..9 {
        tape.at(u64::from(number) * 2_000).note(fault(number, true), Kind::Info);
        tape.at(u64::from(number) * 2_000 + 1_500).note(fault(number, false), Kind::Ok);
        tape.call(send(100), Kind::Fail);
    }
    tape.at(17_600).acked(2, 0, 1);
    let limit = Limit { outage_ms: 2_000, from: CountFrom::Heal };
    let limits = Limits { default: Some(limit), ..Limits::default() };
    assert_eq!(Availability { limits }.check(&tape.history()).outcome, Valid);
}

#[test]
fn recovery_is_asked_for_without_any_limit_and_after_faults_that_failed_half_way() {
    let verdict = |build: &dyn Fn(&mut Tape)| {
        let mut tape = Tape::default();
        tape.acked(1, 0, 0);
        build(&mut tape);
        Availability { limits: Limits::default() }.check(&tape.history()).outcome
    };
    let refused = |tape: &mut Tape| {
        tape.note(fault(1, true), Kind::Invoke).note(fault(1, true), Kind::Fail);
    };
    assert_eq!(verdict(&|tape| _ = heal(kill(tape)).call(send(2), Kind::Info)), Invalid);
    assert_eq!(verdict(&|tape| _ = heal(kill(tape)).acked(2, 0, 1)), Absent);
    let healed = |tape: &mut Tape| {
        refused(tape);
        tape.note(inspect(ALL_HEALED), Kind::Ok).call(send(2), Kind::Info);
    };
    assert_eq!(verdict(&healed), Invalid);
    // One that nobody ended is in force: nothing is promised.
    assert_eq!(verdict(&|tape| _ = kill(heal(kill(tape))).call(send(2), Kind::Info)), Absent);
}

#[test]
fn a_kind_of_fault_that_was_never_in_force_is_not_known() {
    let judged = |wanted: &[&str], build: fn(&mut Tape)| {
        let mut tape = Tape::default();
        build(tape.acked(1, 0, 0));
        let wanted = wanted.iter().map(|kind| (*kind).to_owned()).collect();
        let verdict = Faults { wanted }.check(&tape.history());
        (verdict.outcome, verdict.unknown.into_keys().collect::<Vec<_>>())
    };
    let refused: fn(&mut Tape) = |tape| {
        tape.note(fault(7, true), Kind::Invoke).note(fault(7, true), Kind::Fail);
        // What was done half-way is ended all the same.
        tape.note(fault(7, false), Kind::Invoke).note(fault(7, false), Kind::Info);
    };
    let in_force: fn(&mut Tape) = |tape| _ = heal(kill(tape));
    let both: fn(&mut Tape) = |tape| {
        tape.note(fault(7, true), Kind::Invoke).note(fault(7, true), Kind::Fail);
        heal(kill(tape));
    };
    let never = |kind: &str| vec![format!("{kind} was never in force")];
    assert_eq!(judged(&["kill-leader"], in_force), (Valid, vec![]));
    assert_eq!(judged(&["kill-leader"], both), (Valid, vec![]));
    assert_eq!(judged(&["kill-leader"], refused), (Unknown, never("kill-leader")));
    assert_eq!(judged(&["kill-leader", "ring"], in_force), (Unknown, never("ring")));
    assert_eq!(judged(&["ring"], |_| ()), (Unknown, never("ring")));
    assert_eq!(judged(&[], in_force), (Valid, vec![]));
    assert_eq!(judged(&[], |_| ()), (Absent, vec![]));
}

fn majority_killed() -> Tape {
    let mut tape = Tape::default();
    tape.acked(1, 0, 0);
    kill(tape.at(100)).at(5_000).call(send(2), Kind::Fail).call(send(3), Kind::Info);
    heal(tape.at(9_000)).at(10_000).acked(4, 0, 1);
    tape
}

#[test]
fn an_outage_may_count_from_the_healing_on() {
    let measured = |from| -> Outage {
        let limit = Limit { outage_ms: 2_000, from };
        let limits = Limits { default: Some(limit), ..Limits::default() };
        outages(&majority_killed().history(), &limits).remove(0)
    };
    let since_begin = measured(CountFrom::Begin);
    assert_eq!((since_begin.outage_ms, since_begin.recovered), (Some(9_901.0), true));
    assert_eq!((since_begin.failed_count, since_begin.unknown_count), (1, 1));
    assert!(since_begin.exceeds_limit());
    let since_heal = measured(CountFrom::Heal);
    assert_eq!((since_heal.outage_ms, since_heal.exceeds_limit()), (Some(1_000.0), false));
    assert_eq!((since_heal.since_begin_ms, since_heal.failed_count), (Some(9_901.0), 1));
    assert_eq!((since_heal.began, since_heal.healed), (100_000_000, Some(9_001_000_000)));
}

#[test]
fn a_fault_without_a_limit_is_measured_and_not_judged() {
    let history = majority_killed().history();
    let verdict = Availability { limits: Limits::default() }.check(&history);
    assert_eq!((verdict.outcome, verdict.counts["faults without a limit"]), (Absent, 1));
    assert_eq!(outages(&history, &Limits::default())[0].limit_ms, None);
}

#[test]
fn a_fault_answers_while_it_is_in_force_and_not_for_the_next() {
    let mut tape = Tape::default();
    tape.acked(1, 0, 0);
    heal(kill(tape.at(100))).at(200).acked(2, 0, 1);
    let second = |begins| match fault(2, begins) {
        Act::Fault(fault) => Act::Fault(crate::history::Fault { fault: "stop".into(), ..fault }),
        other => other,
    };
    tape.at(1_000).acked(3, 0, 2).note(second(true), Kind::Invoke).at(8_000).acked(4, 0, 3);
    let measured: Vec<_> = outages(&tape.history(), &limits())
        .into_iter()
        .map(|outage| (outage.kind, outage.outage_ms.map(f64::round)))
        .collect();
    assert_eq!(measured, [("kill-leader".to_owned(), Some(800.0)), ("stop".to_owned(), Some(6_999.0))]);
}
