//! Random histories with stops at random places, against the same model.

use proptest::prelude::*;

use super::world::{Op, World};
use crate::log::WriterMode;
use crate::types::FlushMode;
use crate::vfs::{Fault, Loss};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..30_u64, 0..900_usize).prop_map(|(count, size)| Op::Append { count, size }),
        2 => Just(Op::NextTerm),
        3 => (1..40_u64).prop_map(|back| Op::Truncate { back }),
        3 => (0..20_u64).prop_map(|back| Op::Commit { back }),
        1 => Just(Op::Vote),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Purge),
        1 => (0..60_u64).prop_map(|ahead| Op::InstallFresh { ahead }),
        1 => (0..20_u64).prop_map(|back| Op::InstallHeld { back }),
        3 => Just(Op::Write),
        3 => Just(Op::Work),
        1 => Just(Op::Reopen),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Nothing),
        Just(Loss::Everything),
        Just(Loss::KeepFirst),
        Just(Loss::KeepLast),
        (0..1_000_u64).prop_map(Loss::Random),
    ]
}

/// What happens between two stops: steps, the operation at which the machine stops (if it comes that far), the loss.
fn life() -> impl Strategy<Value = (Vec<Op>, u64, Loss)> {
    (prop::collection::vec(op(), 1..25), 0..150_u64, loss())
}

fn run(writer: WriterMode, flush: FlushMode, lives: &[(Vec<Op>, u64, Loss)]) {
    let mut world = World::new(writer, flush);
    for (history, operation, loss) in lives {
        world.disk.arm(Fault::PowerOff { operation: world.disk.operations() + operation });
        let _ = history.iter().take_while(|op| world.step(op)).count();
        world.crash(*loss);
    }
    world.prove_usable();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_nothing_acknowledged_is_lost_and_nothing_else_appears(
        manual in any::<bool>(),
        lives in prop::collection::vec(life(), 1..5),
    ) {
        let writer = if manual { WriterMode::Manual } else { WriterMode::Inline };
        run(writer, FlushMode::Sync, &lives);
    }

    #[test]
    fn prop_nothing_synced_is_lost_with_asynchronous_flushing(
        manual in any::<bool>(),
        lives in prop::collection::vec(life(), 1..5),
    ) {
        let writer = if manual { WriterMode::Manual } else { WriterMode::Inline };
        run(writer, FlushMode::Async, &lives);
    }
}
