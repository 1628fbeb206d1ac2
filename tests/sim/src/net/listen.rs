//! Ports and calls to them.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use super::pipe::Pipe;
use super::{CALL_AGAIN_MS, State, wake};

/// Calls that wait to be accepted; the kernel drops what comes beyond.
const WAITING_MAX: usize = 128;

/// An open port.
pub(super) struct Listening {
    pub(super) host: usize,
    /// Pipes towards the callers, whose connections are open and not yet accepted.
    pub(super) waiting: VecDeque<u64>,
    pub(super) waker: Option<Waker>,
}

impl Listening {
    pub(super) fn new(host: usize) -> Self {
        Self { host, waiting: VecDeque::new(), waker: None }
    }
}

/// A call under way.
pub(super) struct Dial {
    pub(super) from: usize,
    address: String,
    /// When the network looks at it next.
    due_ms: u64,
    /// The request has its way behind it and finds a host.
    travelled: bool,
    /// The pipe towards the host that was called, or why there is none.
    pub(super) outcome: Option<Result<u64, io::ErrorKind>>,
    pub(super) waker: Option<Waker>,
}

impl Dial {
    pub(super) fn new(from: usize, address: String, now_ms: u64) -> Self {
        Self { from, address, due_ms: now_ms, travelled: false, outcome: None, waker: None }
    }
}

/// Number of the host in an address such as `n2:40911`.
fn host_of(address: &str) -> Option<usize> {
    address.strip_prefix('n')?.split(':').next()?.parse().ok()
}

impl State {
    /// Moves the calls that are due.
    pub(super) fn answer_calls(&mut self) {
        let now_ms = self.now_ms;
        let due = self.dials.iter().filter(|(_, dial)| dial.outcome.is_none() && dial.due_ms <= now_ms);
        let due: Vec<u64> = due.map(|(id, _)| *id).collect();
        for id in due {
            let dial = &self.dials[&id];
            let (from, address) = (dial.from, dial.address.clone());
            let outcome = match host_of(&address).filter(|to| *to < self.places.len()) {
                None => Some(Err(io::ErrorKind::HostUnreachable)),
                Some(to) if !dial.travelled => {
                    let round = self.delay(from, to) + self.delay(to, from);
                    let dial = self.dials.get_mut(&id).expect("it was just there");
                    dial.travelled = true;
                    dial.due_ms = now_ms + round;
                    None
                }
                Some(to) => self.answer_call(id, from, to, &address),
            };
            if let (Some(outcome), Some(dial)) = (outcome, self.dials.get_mut(&id)) {
                dial.outcome = Some(outcome);
                wake(&mut dial.waker);
            }
        }
    }

    fn answer_call(
        &mut self,
        id: u64,
        from: usize,
        to: usize,
        address: &str,
    ) -> Option<Result<u64, io::ErrorKind>> {
        let lost = self.links[from][to].cut || self.links[to][from].cut || !self.places[to].on;
        let full = self.listening.get(address).is_some_and(|port| port.waiting.len() >= WAITING_MAX);
        if lost || full {
            let dial = self.dials.get_mut(&id).expect("the caller has just found it");
            dial.due_ms = self.now_ms + CALL_AGAIN_MS;
            return None;
        }
        if !self.listening.contains_key(address) {
            return Some(Err(io::ErrorKind::ConnectionRefused));
        }
        // Twins differ in the last bit.
        let forward = (self.next_id + 1) & !1;
        self.next_id = forward + 2;
        self.pipes.insert(forward, Pipe::new(from, to, true));
        self.pipes.insert(forward ^ 1, Pipe::new(to, from, false));
        let port = self.listening.get_mut(address).expect("it was just there");
        port.waiting.push_back(forward ^ 1);
        self.stirred.insert(to);
        wake(&mut port.waker);
        Some(Ok(forward))
    }
}
