//! The simulated network: byte pipes between hosts, as TCP makes them.
//!
//! Bytes arrive in order, after a drawn delay. A link that is cut in one direction holds what is under way. Acknowledgements need
//! the other direction: what arrives while that one is cut stays unacknowledged, and the sender gives up after
//! [`UNACKED_MAX_MS`] in both cases. A process that dies closes its connections, a machine that loses power says nothing; bytes
//! that reach an end that is gone are answered with a reset, unless its way back is cut.
//!
//! LIMIT: acknowledgements take no time and are repeated as soon as both directions pass, where TCP waits for its next
//! retransmission; and a sender may have a window of bytes under way that counts what was read, not what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use flotilla_raft_store::net::{Connecting, Duplex, Listen, Net};
use parking_lot::Mutex;

use crate::random::Random;
use crate::say;

mod end;
mod listen;
mod overheard;
mod pipe;
mod streams;
#[cfg(test)]
mod tests;

pub use overheard::{Heard, Overheard};
pub use streams::{Caller, Door};

use end::End;
use listen::{Dial, Listening};
use pipe::Pipe;

/// A connection on which nothing was acknowledged for so long breaks; the product asks TCP for the same.
pub const UNACKED_MAX_MS: u64 = 3_000;
/// A call that nobody answered is repeated after this.
const CALL_AGAIN_MS: u64 = 1_000;

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// Shortest and longest delay, milliseconds.
    pub delay_ms: (u64, u64),
}

/// A host as the network sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The machine has power, so its kernel answers.
    on: bool,
    /// Counts processes; connections of an earlier one are gone.
    process: u64,
}

/// The network's whole state.
pub(crate) struct State {
    now_ms: u64,
    random: Random,
    links: Vec<Vec<Link>>,
    places: Vec<Place>,
    listening: BTreeMap<String, Listening>,
    dials: BTreeMap<u64, Dial>,
    pipes: BTreeMap<u64, Pipe>,
    next_id: u64,
    /// Somebody reads along: the network between replicas.
    overheard: bool,
    heard: Vec<Heard>,
    /// Places where something has arrived.
    stirred: BTreeSet<usize>,
}

/// A handle to the network.
#[derive(Clone)]
pub struct Wires(Arc<Mutex<State>>);

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

impl Wires {
    /// A network of so many hosts, all off, and all links with this delay. Replicas speak over it, and somebody reads along.
    pub fn new(hosts: usize, delay_ms: (u64, u64), random: Random) -> Self {
        Self::build(hosts, delay_ms, random, true)
    }

    /// As [`Wires::new`], for others than replicas: nobody reads along.
    pub fn not_overheard(places: usize, delay_ms: (u64, u64), random: Random) -> Self {
        Self::build(places, delay_ms, random, false)
    }

    fn build(hosts: usize, delay_ms: (u64, u64), random: Random, overheard: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms: 0,
            random,
            links: vec![vec![Link { cut: false, delay_ms }; hosts]; hosts],
            places: vec![Place::default(); hosts],
            listening: BTreeMap::new(),
            dials: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_id: 1,
            overheard,
            heard: Vec::new(),
            stirred: BTreeSet::new(),
        })))
    }

    /// What the host's new process is given. The process before must have ended.
    pub fn plug_in(&self, host: usize) -> Plug {
        let mut state = self.0.lock();
        let place = &mut state.places[host];
        place.on = true;
        place.process += 1;
        Plug { wires: self.clone(), host, process: place.process }
    }

    /// The host's process ends. With `power_lost` the machine goes with it and tells nobody.
    pub fn process_ended(&self, host: usize, power_lost: bool) {
        let mut state = self.0.lock();
        state.places[host].on = !power_lost;
        state.listening.retain(|_, listening| listening.host != host);
        state.dials.retain(|_, dial| dial.from != host);
        let own: Vec<u64> =
            state.pipes.iter().filter(|(_, pipe)| pipe.from == host).map(|(id, _)| *id).collect();
        for id in own {
            let reset = state.random.percent(50);
            state.leave(id, power_lost, reset);
        }
    }

    /// Changes a link.
    pub fn set_link(&self, from: usize, to: usize, link: Link) {
        self.0.lock().links[from][to] = link;
    }

    /// Resets every connection between two hosts, at both ends.
    pub fn reset_between(&self, one: usize, other: usize) {
        let mut state = self.0.lock();
        let ids: Vec<u64> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| (pipe.from, pipe.to) == (one, other) || (pipe.from, pipe.to) == (other, one))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            state.break_end(id, io::ErrorKind::ConnectionReset);
        }
    }

    /// Brings what is due to its place.
    pub fn advance(&self, now_ms: u64) {
        let mut state = self.0.lock();
        state.now_ms = now_ms;
        state.deliver();
        state.answer_calls();
    }

    /// Places where something has arrived since the last call, bytes or news of a connection.
    pub fn take_stirred(&self) -> BTreeSet<usize> {
        std::mem::take(&mut self.0.lock().stirred)
    }

    /// What left the processes since the last call.
    pub fn take_heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.0.lock().heard)
    }
}

impl State {
    fn delay(&mut self, from: usize, to: usize) -> u64 {
        let (low, high) = self.links[from][to].delay_ms;
        self.random.between(low, high)
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        self.pipes.retain(|_, pipe| !pipe.is_settled() || !pipe.is_over());
        let under_way = self.pipes.iter().filter(|(_, pipe)| !pipe.is_settled());
        let ids: Vec<u64> = under_way.map(|(id, _)| *id).collect();
        for id in ids {
            let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| !pipe.is_settled()) else { continue };
            let (from, to) = (pipe.from, pipe.to);
            let way = !self.links[from][to].cut && self.places[to].on;
            let way_back = !self.links[to][from].cut;
            if way {
                let arrival = pipe.arrive(now_ms, way_back);
                if arrival.anything {
                    self.stirred.insert(to);
                }
                if arrival.bytes > 0 {
                    say!("net n{from}>n{to} #{id} {} bytes {:016x}", arrival.bytes, arrival.hash);
                }
                if arrival.reset {
                    self.break_end(id ^ 1, io::ErrorKind::ConnectionReset);
                } else if arrival.to_nobody {
                    self.break_end(id, io::ErrorKind::ConnectionReset);
                }
            }
            let Some(pipe) = self.pipes.get_mut(&id) else { continue };
            if pipe.is_unacknowledged(now_ms, way && way_back) {
                self.break_end(id, io::ErrorKind::TimedOut);
            }
        }
    }

    /// The sending end of a pipe breaks, and with it the receiving end of its twin.
    fn break_end(&mut self, id: u64, kind: io::ErrorKind) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            self.stirred.insert(pipe.from);
            pipe.break_writer(kind);
        }
        if let Some(twin) = self.pipes.get_mut(&(id ^ 1)) {
            twin.break_reader(kind);
        }
    }

    /// The process at the sending end of a pipe is gone.
    fn leave(&mut self, id: u64, silently: bool, reset: bool) {
        let (from, to) = match self.pipes.get(&id) {
            Some(pipe) => (pipe.from, pipe.to),
            None => return,
        };
        let due_ms = self.now_ms + self.delay(from, to);
        if let Some(pipe) = self.pipes.get_mut(&id) {
            match (silently, reset) {
                (true, _) => pipe.writer_gone_silently(),
                (false, true) => pipe.send_reset(due_ms),
                (false, false) => pipe.send_end(due_ms),
            }
        }
        if let Some(twin) = self.pipes.get_mut(&(id ^ 1)) {
            twin.reader_gone();
        }
    }
}

/// A host's process, plugged in.
#[derive(Debug, Clone)]
pub struct Plug {
    wires: Wires,
    host: usize,
    process: u64,
}

impl Net for Plug {
    fn listen(&self, address: &str) -> io::Result<Box<dyn Listen>> {
        let mut state = self.wires.0.lock();
        if state.listening.contains_key(address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listening.insert(address.to_owned(), Listening::new(self.host));
        Ok(Box::new(Port { plug: self.clone(), address: address.to_owned() }))
    }

    fn connect(&self, address: &str) -> Connecting {
        let (plug, address) = (self.clone(), address.to_owned());
        Box::pin(async move {
            let call = Call::place(plug, address);
            std::future::poll_fn(|context| call.poll(context)).await
        })
    }
}

/// An open port.
struct Port {
    plug: Plug,
    address: String,
}

impl Listen for Port {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([10, 0, 0, self.plug.host as u8 + 1], 40911)))
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Box<dyn Duplex>>> {
        let mut state = self.plug.wires.0.lock();
        match state.listening.get_mut(&self.address) {
            Some(listening) => match listening.waiting.pop_front() {
                Some(reverse) => {
                    let end = End::new(&self.plug.wires, reverse ^ 1, reverse);
                    Poll::Ready(Ok(Box::new(end)))
                }
                None => {
                    listening.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            },
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut state = self.plug.wires.0.lock();
        if state.places[self.plug.host].process == self.plug.process {
            state.listening.remove(&self.address);
        }
    }
}

/// A call under way; dropped, it is given up.
struct Call {
    plug: Plug,
    id: u64,
}

impl Call {
    fn place(plug: Plug, address: String) -> Call {
        let id = {
            let mut state = plug.wires.0.lock();
            let id = state.next_id;
            state.next_id += 1;
            let dial = Dial::new(plug.host, address, state.now_ms);
            state.dials.insert(id, dial);
            id
        };
        Call { plug, id }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<Box<dyn Duplex>>> {
        let mut state = self.plug.wires.0.lock();
        let Some(dial) = state.dials.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match dial.outcome.take() {
            Some(outcome) => {
                state.dials.remove(&self.id);
                let forward = match outcome {
                    Ok(forward) => forward,
                    Err(kind) => return Poll::Ready(Err(kind.into())),
                };
                Poll::Ready(Ok(Box::new(End::new(&self.plug.wires, forward ^ 1, forward))))
            }
            None => {
                dial.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.plug.wires.0.lock().dials.remove(&self.id);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
