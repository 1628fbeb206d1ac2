//! The network keeps to TCP's ways.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use flotilla_raft_store::net::{Duplex, Net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

const ADDRESS: &str = "n1:40911";
const DELAY_MS: (u64, u64) = (2, 2);

struct Pair {
    wires: Wires,
    now_ms: u64,
    near: Box<dyn Duplex>,
    far: Box<dyn Duplex>,
}

fn wires() -> Wires {
    Wires::new(2, DELAY_MS, Random::new(1))
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Pair {
    fn open() -> Pair {
        let wires = wires();
        let (caller, called) = (wires.plug_in(0), wires.plug_in(1));
        let mut port = called.listen(ADDRESS).unwrap();
        let mut call = caller.connect(ADDRESS);
        let mut now_ms = 0;
        let near = loop {
            if let Poll::Ready(near) = call.as_mut().poll(&mut context()) {
                break near.unwrap();
            }
            now_ms += 1;
            wires.advance(now_ms);
        };
        let Poll::Ready(Ok(far)) = port.poll_accept(&mut context()) else { panic!("the call has arrived") };
        assert!(now_ms >= 4, "there and back");
        Pair { wires, now_ms, near, far }
    }

    fn cut(&self, from: usize, to: usize, cut: bool) {
        self.wires.set_link(from, to, Link { cut, delay_ms: DELAY_MS });
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ms += 1;
            self.wires.advance(self.now_ms);
        }
    }
}

fn write(end: &mut Box<dyn Duplex>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match Pin::new(&mut *end).poll_write(&mut context(), bytes) {
            Poll::Ready(written) => bytes = &bytes[written?..],
            Poll::Pending => panic!("there is room"),
        }
    }
    Ok(())
}

/// What can be read at once; `None` when nothing is there yet.
fn read(end: &mut Box<dyn Duplex>) -> Option<io::Result<Vec<u8>>> {
    let mut all = Vec::new();
    loop {
        let mut memory = [0; 64];
        let mut buffer = ReadBuf::new(&mut memory);
        match Pin::new(&mut *end).poll_read(&mut context(), &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Some(Ok(all)),
            Poll::Ready(Ok(())) => all.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(error)) => return Some(Err(error)),
            Poll::Pending => return (!all.is_empty()).then_some(Ok(all)),
        }
    }
}

#[test]
fn bytes_arrive_in_order_after_the_delay_and_the_end_after_them() {
    let mut pair = Pair::open();
    write(&mut pair.near, b"one").unwrap();
    write(&mut pair.near, b"two").unwrap();
    assert!(read(&mut pair.far).is_none());
    pair.pass(2);
    assert_eq!(read(&mut pair.far).unwrap().unwrap(), b"onetwo");
    drop(std::mem::replace(&mut pair.near, Pair::open().near));
    pair.pass(2);
    assert_eq!(read(&mut pair.far).unwrap().unwrap(), b"", "the other side has closed");
}

#[test]
fn a_cut_holds_bytes_and_breaks_the_sender_in_the_end() {
    let mut pair = Pair::open();
    pair.cut(0, 1, true);
    write(&mut pair.near, b"held").unwrap();
    pair.pass(100);
    assert!(read(&mut pair.far).is_none());
    pair.cut(0, 1, false);
    pair.pass(2);
    assert_eq!(read(&mut pair.far).unwrap().unwrap(), b"held");
    pair.cut(0, 1, true);
    write(&mut pair.near, b"lost").unwrap();
    pair.pass(UNACKED_MAX_MS + 10);
    assert!(write(&mut pair.near, b"more").is_err());
    assert!(read(&mut pair.near).unwrap().is_err());
    assert!(read(&mut pair.far).is_none(), "nobody has told the other side");
}

#[test]
fn what_arrives_and_is_not_acknowledged_breaks_the_sender_in_the_end() {
    let mut pair = Pair::open();
    pair.cut(1, 0, true);
    write(&mut pair.near, b"heard").unwrap();
    pair.pass(UNACKED_MAX_MS - 100);
    assert_eq!(read(&mut pair.far).unwrap().unwrap(), b"heard");
    write(&mut pair.near, b"again").unwrap();
    pair.pass(200);
    assert_eq!(read(&mut pair.far).unwrap().unwrap(), b"again", "one direction passes");
    assert!(write(&mut pair.near, b"more").is_err(), "counted from the first byte that nobody acknowledged");
    assert!(read(&mut pair.near).unwrap().is_err());

    let mut pair = Pair::open();
    pair.cut(1, 0, true);
    write(&mut pair.near, b"heard").unwrap();
    pair.pass(UNACKED_MAX_MS - 100);
    pair.cut(1, 0, false);
    pair.pass(UNACKED_MAX_MS);
    write(&mut pair.near, b"acknowledged in time").unwrap();
    pair.cut(1, 0, true);
    pair.pass(2 * UNACKED_MAX_MS);
    assert!(write(&mut pair.near, b"more").is_err(), "what came last was not");

    let mut pair = Pair::open();
    pair.cut(1, 0, true);
    pair.pass(2 * UNACKED_MAX_MS);
    write(&mut pair.near, b"a connection at rest waits for nothing").unwrap();
}

#[test]
fn a_reset_does_not_come_through_a_cut() {
    let mut pair = Pair::open();
    pair.cut(1, 0, true);
    pair.wires.process_ended(1, true);
    pair.wires.plug_in(1);
    write(&mut pair.near, b"anybody?").unwrap();
    pair.pass(50);
    assert!(read(&mut pair.near).is_none(), "its reset is lost");
    pair.cut(1, 0, false);
    pair.pass(5);
    let told = read(&mut pair.near).unwrap().unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_killed_process_closes_its_connections_and_a_machine_without_power_says_nothing() {
    let mut pair = Pair::open();
    pair.wires.process_ended(1, false);
    pair.pass(5);
    let told = read(&mut pair.near);
    assert!(told.is_some(), "an end or a reset");

    let mut pair = Pair::open();
    pair.wires.process_ended(1, true);
    pair.pass(50);
    assert!(read(&mut pair.near).is_none());
    write(&mut pair.near, b"anybody?").unwrap();
    pair.pass(50);
    pair.wires.plug_in(1);
    pair.pass(5);
    assert!(
        read(&mut pair.near).unwrap().is_err(),
        "the machine is back and knows nothing of the connection"
    );
}

#[test]
fn nobody_listens_means_refused_and_no_power_means_silence() {
    let wires = wires();
    let caller = wires.plug_in(0);
    let mut call = caller.connect(ADDRESS);
    assert!(call.as_mut().poll(&mut context()).is_pending());
    for now_ms in 1..3_000 {
        wires.advance(now_ms);
    }
    assert!(call.as_mut().poll(&mut context()).is_pending(), "the machine is off");
    wires.plug_in(1);
    for now_ms in 3_000..6_000 {
        wires.advance(now_ms);
    }
    let Poll::Ready(Err(error)) = call.as_mut().poll(&mut context()) else { panic!("an answer by now") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn what_a_dead_process_still_writes_is_not_heard() {
    let mut pair = Pair::open();
    pair.wires.process_ended(0, true);
    assert!(write(&mut pair.near, b"ghost").is_err());
    pair.pass(10);
    assert!(read(&mut pair.far).is_none());
}

#[test]
fn votes_and_acknowledgements_are_overheard_as_they_leave() {
    let mut pair = Pair::open();
    let mut hello = vec![40, 0, 0, 0];
    hello.extend_from_slice(b"flotraft\x01\x00\x01");
    hello.resize(44, 0);
    write(&mut pair.near, &hello).unwrap();
    let mut answer = vec![1, 0, 0, 0, 0];
    answer.extend_from_slice(&[40, 0, 0, 0, 2, 9, 0, 0, 0]);
    answer.extend_from_slice(&7_u64.to_le_bytes());
    answer.extend_from_slice(&5_u64.to_le_bytes());
    answer.extend_from_slice(&[0; 18]);
    answer.push(1);
    write(&mut pair.far, &answer).unwrap();
    assert_eq!(pair.wires.take_heard(), [Heard::Granted { host: 1, term: 7, candidate: 5 }]);
}

/// A hello of this purpose from the caller, and a welcome.
fn greeted(purpose: u8) -> Pair {
    let mut pair = Pair::open();
    let mut hello = vec![40, 0, 0, 0];
    hello.extend_from_slice(b"flotraft\x01\x00");
    hello.push(purpose);
    hello.resize(44, 0);
    write(&mut pair.near, &hello).unwrap();
    write(&mut pair.far, &[1, 0, 0, 0, 0]).unwrap();
    pair
}

/// An answer to an append request: kind, log id, vote.
fn append_answer(kind: u8, id: Option<(u64, u64)>, vote_term: u64) -> Vec<u8> {
    let mut answer = vec![kind, u8::from(id.is_some())];
    let (term, index) = id.unwrap_or_default();
    for number in [term, index, vote_term, 0] {
        answer.extend_from_slice(&number.to_le_bytes());
    }
    answer.push(0);
    answer
}

#[test]
fn of_the_answers_to_append_requests_those_that_promise_something_are_overheard() {
    let mut pair = greeted(2);
    let nothing_yet = append_answer(0, None, 0);
    let conflict = append_answer(1, Some((4, 9)), 0);
    let higher_vote = append_answer(2, None, 8);
    let matched = append_answer(0, Some((3, 7)), 0);
    let all = [nothing_yet, conflict, higher_vote, matched].concat();
    let (part, rest) = all.split_at(all.len() - 1);
    write(&mut pair.far, part).unwrap();
    assert_eq!(pair.wires.take_heard(), [], "the last one is not whole");
    write(&mut pair.far, rest).unwrap();
    assert_eq!(pair.wires.take_heard(), [Heard::Acknowledged { host: 1, term: 3, index: 7 }]);
}

#[test]
fn answers_that_have_another_layout_are_told_of() {
    let unreadable = |pair: &Pair| pair.wires.take_heard().contains(&Heard::Unreadable { host: 1 });
    let mut pair = greeted(2);
    for index in 5..8 {
        let longer = [append_answer(0, Some((3, index)), 0), vec![0]].concat();
        write(&mut pair.far, &longer).unwrap();
    }
    assert!(unreadable(&pair), "a byte more");
    let mut pair = greeted(2);
    for index in 5..8 {
        write(&mut pair.far, &append_answer(0, Some((3, index)), 0)[..34]).unwrap();
    }
    assert!(unreadable(&pair), "a byte less");
    let mut pair = greeted(2);
    write(&mut pair.far, &append_answer(3, Some((3, 5)), 0)).unwrap();
    assert!(unreadable(&pair), "another kind");
    let mut pair = greeted(1);
    write(&mut pair.far, &[5, 0, 0, 0, 2, 9, 0, 0, 0]).unwrap();
    assert!(!unreadable(&pair), "a vote's request that gets no answer");
    write(&mut pair.far, &[6, 0, 0, 0, 2, 9, 0, 0, 0, 1]).unwrap();
    assert!(unreadable(&pair), "a vote's answer of another size");
}
