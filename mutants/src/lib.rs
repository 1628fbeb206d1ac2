//! Mutants: deliberate faults of a node, each of which breaks one promise, so that the harness can show that its checkers find
//! what they claim to find. `FLOTILLA_MUTANT=name` turns one on, in a build with the feature `faults`; without the feature [`on`] is
//! a constant `false`.
//!
//! | name                  | what it does                                                          | the promise that it breaks                    | what must catch it                           |
//! |-----------------------|-----------------------------------------------------------------------|-----------------------------------------------|----------------------------------------------|
//! | `ack-before-quorum`   | a leader answers a send as soon as the message has its number         | acknowledged means on a majority              | acked is not lost; leader isolated or killed |
//! | `skip-fdatasync`      | of 64 groups of entries one is synced, and what came before with it   | acknowledged means durable                    | acked is not lost; power loss of all         |
//! | `reuse-queue-offset`  | a new leader gives its first message the number before                | queue offsets are dense and final             | offset → id is a function; dense; any new leader |
//! | `serve-uncommitted`   | a leader gives pulls what it has appended, committed or not           | reads see only what is committed              | reads never above the committed; leader isolated from its peers only |
//! | `forget-offset-commit` | every third offset commit is confirmed and dropped                   | a confirmed offset is in the log              | offset registers; no fault needed            |
//! | `accept-lower-term`   | a name server takes whatever claims to lead                           | a route never goes back to a deposed leader   | route terms; slow links to the name server   |
//! | `forget-vote`         | votes are not written                                                 | one vote a term, also after a restart         | simulation: vote durability, one leader a term; a majority killed several times: two leaders of one term, whose records don't chain, so that nodes end by themselves |
//! | `stale-offset-read`   | a leader answers offset queries without asking whether it still leads | a deposed leader doesn't speak                | offset registers; leader isolated or stopped |
//! | `repeat-unknown`      | a send of unknown outcome is tried again by the broker                | what can't be known is answered as unknown    | no duplicates per attempt; leader killed while others forward to it, as they do after a transfer |
//! | `ack-then-drop`       | a send that was refused, because leadership went, is confirmed        | acknowledged means stored                     | acked is not lost; leader transfers          |
//!
//! `reuse-queue-offset` would never reach a client by itself: followers compare the numbers when they append and stop, and so does
//! apply. The mutant turns those two comparisons off as well; what the product's own checks catch is shown by their own tests.

/// One deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    AckBeforeQuorum,
    SkipFdatasync,
    ReuseQueueOffset,
    ServeUncommitted,
    ForgetOffsetCommit,
    AcceptLowerTerm,
    ForgetVote,
    StaleOffsetRead,
    RepeatUnknown,
    AckThenDrop,
}

impl Mutant {
    /// All of them, with their names.
    pub const NAMED: [(&'static str, Mutant); 10] = [
        ("ack-before-quorum", Mutant::AckBeforeQuorum),
        ("skip-fdatasync", Mutant::SkipFdatasync),
        ("reuse-queue-offset", Mutant::ReuseQueueOffset),
        ("serve-uncommitted", Mutant::ServeUncommitted),
        ("forget-offset-commit", Mutant::ForgetOffsetCommit),
        ("accept-lower-term", Mutant::AcceptLowerTerm),
        ("forget-vote", Mutant::ForgetVote),
        ("stale-offset-read", Mutant::StaleOffsetRead),
        ("repeat-unknown", Mutant::RepeatUnknown),
        ("ack-then-drop", Mutant::AckThenDrop),
    ];
}

/// True where the process runs as this mutant.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn on(_: Mutant) -> bool {
    false
}

/// [`on`], but for each 64th call: what must not hold for ever, or nothing would start.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn often(_: Mutant) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use chosen::{FLOTILLA_MUTANT, choose, often, on};

#[cfg(feature = "faults")]
mod chosen {
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Mutant;

    /// Environment variable that names the mutant.
    pub const FLOTILLA_MUTANT: &str = "FLOTILLA_MUTANT";

    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();

    thread_local! {
        static HERE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// True where the process, or the calling thread of a test, runs as this mutant.
    pub fn on(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(&Some(mutant)) || HERE.get() == Some(mutant)
    }

    /// [`on`], but for each 64th call.
    pub fn often(mutant: Mutant) -> bool {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        on(mutant) && !CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(64)
    }

    /// Chooses the mutant that the environment names, once in a process, before any node starts; gives its name.
    ///
    /// # Errors
    /// There is no mutant of this name; the text lists those that there are.
    pub fn choose() -> Result<Option<&'static str>, String> {
        let name = std::env::var(FLOTILLA_MUTANT).unwrap_or_default();
        let found = Mutant::NAMED.into_iter().find(|(known, _)| *known == name);
        if found.is_none() && !name.is_empty() {
            let names = Mutant::NAMED.map(|(name, _)| name).join(", ");
            return Err(format!("{FLOTILLA_MUTANT}={name}: no such mutant; there are {names}"));
        }
        CHOSEN.get_or_init(|| found.map(|(_, mutant)| mutant));
        Ok(found.map(|(name, _)| name))
    }

    /// Runs a test's closure with the calling thread as a mutant.
    pub fn while_on<T>(mutant: Mutant, run: impl FnOnce() -> T) -> T {
        HERE.set(Some(mutant));
        let done = run();
        HERE.set(None);
        done
    }
}

#[cfg(feature = "faults")]
pub use chosen::while_on;
