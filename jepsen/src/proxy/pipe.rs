//! One direction of one connection: pieces are read, wait for their time and for the link, and are written in order.
//! The end of the stream travels the same way, so that a cut hides it too.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::rules::{Rules, Way};

/// Bytes of one piece, at most.
const PIECE_SIZE: usize = 16 * 1024;
/// Pieces on the way of one direction: with the kernel's own buffers, what a slow link holds.
const PIECES_MAX: usize = 64;

/// What ended a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its sender closed it.
    Closed,
    /// One side is gone: the other one must hear of it at once.
    Broken,
}

enum Piece {
    Bytes(Instant, Vec<u8>),
    End(Instant, Ended),
}

/// Moves bytes until an end; safe to drop.
pub(super) async fn pipe(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    rules: watch::Receiver<Rules>,
    way: fn(&Rules) -> &Way,
    seed: u64,
) -> Ended {
    let (pieces, waiting) = mpsc::channel(PIECES_MAX);
    let reading = read(from, pieces, rules.clone(), way, seed);
    let writing = write(to, waiting, rules, way);
    tokio::pin!(reading, writing);
    tokio::select! {
        ended = &mut writing => ended,
        () = &mut reading => writing.await,
    }
}

async fn read(
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    rules: watch::Receiver<Rules>,
    way: fn(&Rules) -> &Way,
    seed: u64,
) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut due = Instant::now();
    loop {
        let mut bytes = Vec::with_capacity(PIECE_SIZE);
        let got = from.read_buf(&mut bytes).await;
        due = due.max(Instant::now() + time_on_the_way(way(&rules.borrow()), &mut random));
        let piece = match got {
            Ok(0) => Piece::End(due, Ended::Closed),
            Ok(_) => Piece::Bytes(due, bytes),
            Err(_) => Piece::End(due, Ended::Broken),
        };
        let last = matches!(piece, Piece::End(..));
        // Nobody to write to any more.
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

fn time_on_the_way(way: &Way, random: &mut SmallRng) -> Duration {
    if way.jitter.is_zero() { way.delay } else { way.delay + way.jitter.mul_f64(random.random::<f64>()) }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    mut rules: watch::Receiver<Rules>,
    way: fn(&Rules) -> &Way,
) -> Ended {
    while let Some(piece) = pieces.recv().await {
        let due = match &piece {
            Piece::Bytes(due, _) | Piece::End(due, _) => *due,
        };
        sleep_until(due).await;
        let rate = match rules.wait_for(|rules| !way(rules).cut).await {
            Ok(rules) => way(&rules).rate,
            Err(_) => return Ended::Broken,
        };
        match piece {
            Piece::Bytes(_, bytes) => {
                if to.write_all(&bytes).await.is_err() {
                    return Ended::Broken;
                }
                if let Some(rate) = rate {
                    sleep(Duration::from_secs_f64(bytes.len() as f64 / f64::from(rate.max(1)))).await;
                }
            }
            Piece::End(_, Ended::Closed) => {
                // A failure means that the other side is gone already.
                let _ = to.shutdown().await;
                return Ended::Closed;
            }
            Piece::End(_, Ended::Broken) => return Ended::Broken,
        }
    }
    Ended::Broken
}
