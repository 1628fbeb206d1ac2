//! Looks at the counters once a second, and notes what is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flotilla_net::NetStats;
use flotilla_raft_store::wall_clock;
use tokio_util::sync::CancellationToken;

use super::day::Moment;
use super::rates::Counted;
use super::transfers::Transferred;
use super::{State, Stats};
use crate::group::Group;
use crate::metrics::flow::{Flow, MESSAGES};
use crate::metrics::rings::Window;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE_MS: u64 = 60_000;

/// Topics looked up under one lock of the tables, so that apply waits for microseconds at most.
const LOOKED_UP_MAX: usize = 256;

/// When each kind of note was taken last, ms.
#[derive(Debug, Default)]
pub struct Schedule {
    windows: [Option<u64>; 3],
    put_times: Option<u64>,
}

impl Schedule {
    /// True when a period has passed, or nothing was noted yet. A clock that was put back starts a period anew.
    fn due(last: &mut Option<u64>, now_ms: u64, period_ms: u64) -> bool {
        let due = last.is_none_or(|last| now_ms < last || now_ms - last >= period_ms);
        if due {
            *last = Some(now_ms);
        }
        due
    }
}

/// Runs until stopped.
pub async fn run(stats: Arc<Stats>, group: Group, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SECOND);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now_ms = wall_clock::now_ms();
        stats.note_transfers(now_ms, &group);
        if stats.tick(now_ms) {
            stats.forget(&group);
        }
    }
}

impl Stats {
    /// Notes what is due; true when series of the last minute were sampled.
    pub fn tick(&self, now_ms: u64) -> bool {
        let totals = self.metrics.totals();
        let mut state = self.state.lock();
        let state = &mut *state;
        state.rates.sample(
            now_ms,
            Counted {
                puts: totals.puts,
                found: totals.found,
                miss: self.metrics.pulls_without_messages(),
                transferred: totals.gets,
            },
        );
        state.mornings.look(now_ms, Moment { puts: totals.puts_of_users, gets: totals.gets_of_users });
        if Schedule::due(&mut state.schedule.put_times, now_ms, MINUTE_MS) {
            let all = self.metrics.put_times().read();
            state.put_times_of_minute = all.since(&state.put_times);
            state.put_times = all;
        }
        let mut sampled = false;
        for window in Window::ALL {
            let last = &mut state.schedule.windows[window as usize];
            if Schedule::due(last, now_ms, window.period_ms()) {
                self.metrics.sample(window, now_ms);
                sample_broker(state, &totals, window, now_ms);
                sample_channels(state, &self.connections, window, now_ms);
                sampled |= window == Window::Minute;
            }
        }
        sampled
    }

    fn note_transfers(&self, now_ms: u64, group: &Group) {
        let counters = group.replica().counters();
        let peers =
            group.status().borrow().replication.iter().map(|progress| progress.peer).collect::<Vec<_>>();
        let counted = Transferred {
            sent: peers.into_iter().map(|peer| (peer, counters.sent_bytes.get(peer))).collect(),
            appended: counters.appended_bytes.load(Ordering::Relaxed),
        };
        self.state.lock().transfers.sample(now_ms, counted);
    }

    /// Drops the series of topics that are gone, and those that nobody used for a day.
    fn forget(&self, group: &Group) {
        let topics = self.metrics.topics();
        let mut gone = std::collections::HashSet::new();
        for some in topics.chunks(LOOKED_UP_MAX) {
            let tables = group.tables();
            gone.extend(some.iter().filter(|topic| tables.topic(topic).is_none()));
        }
        // What was resolved since the look has a topic.
        let (topics, groups) = self.metrics.forget(|topic| !gone.iter().any(|gone| *gone == topic));
        self.series.forget(&topics, &groups);
    }
}

fn sample_broker(state: &State, totals: &crate::metrics::Totals, window: Window, now_ms: u64) {
    let broker = &state.broker;
    catch_up(&broker.puts, totals.puts, window, now_ms);
    catch_up(&broker.puts_of_users, totals.puts_of_users, window, now_ms);
    catch_up(&broker.gets, totals.gets, window, now_ms);
    catch_up(&broker.gets_of_users, totals.gets_of_users, window, now_ms);
}

fn sample_channels(state: &State, connections: &NetStats, window: Window, now_ms: u64) {
    let channels = &state.channels;
    catch_up(&channels.opened, connections.opened.load(Ordering::Relaxed), window, now_ms);
    catch_up(&channels.closed, connections.closed.load(Ordering::Relaxed), window, now_ms);
    catch_up(&channels.idle, connections.idle_closed.load(Ordering::Relaxed), window, now_ms);
    catch_up(&channels.failed, connections.failed.load(Ordering::Relaxed), window, now_ms);
}

/// Brings a flow to what was counted elsewhere, and samples it.
fn catch_up(flow: &Flow, total: u64, window: Window, now_ms: u64) {
    flow.add(total.saturating_sub(flow.get(MESSAGES)), 0);
    flow.sample(window, now_ms);
}
