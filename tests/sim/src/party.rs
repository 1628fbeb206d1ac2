//! A simulated replica as the broker's own parts see it: registrars, and who keeps the members of consumer groups.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flotilla_broker::party::{Party, Standing, until_changed};
use flotilla_core::{Answer, Command, Tables};
use flotilla_raft_store::raft::{Leadership, Proposal, ProposeError, Replica, Role, Status};
use tokio::sync::{oneshot, watch};

use crate::machine::SharedTables;
use crate::workload::of_commands;

/// A replica.
#[derive(Clone)]
pub struct Spokesman {
    replica: Replica<()>,
    status: watch::Receiver<Status>,
    leadership: watch::Receiver<Leadership>,
    tables: SharedTables,
    /// Once it has led, it says so for ever.
    clings: bool,
    has_led: Arc<AtomicBool>,
}

impl Spokesman {
    /// For a replica and its tables.
    pub fn new(replica: Replica<()>, tables: SharedTables) -> Self {
        let (status, leadership) = (replica.status(), replica.leadership());
        Self { replica, status, leadership, tables, clings: false, has_led: Arc::default() }
    }

    /// The same, but once it has led it claims to lead in whatever term it knows.
    pub fn that_clings(self) -> Self {
        Self { clings: true, ..self }
    }

    /// True while it leads by its own account.
    pub fn leads(&self) -> bool {
        matches!(self.standing(), Standing::Leading { .. })
    }
}

impl Party for Spokesman {
    /// As the broker's group says it, unless it clings.
    fn standing(&self) -> Standing {
        let status = self.status.borrow();
        let standing = Standing::of(&status);
        if matches!(standing, Standing::Leading { .. }) {
            self.has_led.store(true, Ordering::Relaxed);
        }
        let clings = self.clings && self.has_led.load(Ordering::Relaxed);
        if clings && matches!(status.role, Role::Follower | Role::Candidate) {
            return Standing::Leading { term: status.term };
        }
        standing
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    async fn changed(&self, deadline: Instant) {
        until_changed(&self.leadership, deadline).await;
    }

    fn tables(&self) -> impl Deref<Target = Tables> {
        self.tables.lock()
    }

    /// What the tables answer stays with them: whoever proposes here wants to know whether it is in the log.
    async fn propose(&self, command: Command, _: Instant) -> Result<Answer, ProposeError> {
        self.submit(None, &command).await.map(|()| Answer::Done)
    }

    async fn propose_in(&self, term: u64, command: Command) -> Result<(), ProposeError> {
        self.submit(Some(term), &command).await
    }
}

impl Spokesman {
    async fn submit(&self, expected_term: Option<u64>, command: &Command) -> Result<(), ProposeError> {
        let (told, outcome) = oneshot::channel();
        let done = move |outcome: Result<_, ProposeError>| {
            // Who asked may be gone.
            told.send(outcome.map(drop)).ok();
        };
        let payload = of_commands(std::slice::from_ref(command));
        self.replica.submit(vec![Proposal { payload, expected_term, done: Box::new(done) }]).await;
        outcome.await.unwrap_or(Err(ProposeError::Unknown))
    }
}
