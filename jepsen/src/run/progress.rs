//! A line each second while a run goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, interval};
use tokio_util::task::AbortOnDropHandle;

use super::note_ended;
use crate::cluster::Cluster;
use crate::nemesis::Tally;
use crate::recorder::Recorder;

/// Writes lines until it is dropped.
pub(super) fn show(
    cluster: Arc<Cluster>,
    recorder: Recorder,
    tally: Arc<Tally>,
    seconds: u64,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let began = Instant::now();
        let mut ticks = interval(Duration::from_secs(1));
        let mut before = 0;
        loop {
            ticks.tick().await;
            note_ended(&cluster, &recorder);
            let counts = recorder.counts();
            let [ok, fail, info, acked, consumed] =
                [&counts.ok, &counts.fail, &counts.info, &counts.acked, &counts.consumed]
                    .map(|count| count.load(Ordering::Relaxed));
            let silent =
                recorder.now().saturating_sub(Duration::from_nanos(counts.last_ack.load(Ordering::Relaxed)));
            let leader = cluster.leader().await.map_or("none".to_owned(), |node| format!("n{node}"));
            let faults = tally.begun.load(Ordering::Relaxed);
            let refused = tally.failed.load(Ordering::Relaxed);
            let active = tally.active.load(Ordering::Relaxed);
            let line = format!(
                "{:>4}/{seconds} s  ok {ok} (+{})  fail {fail}  unknown {info}  acked {acked}  consumed {consumed}  \
                 leader {leader}  faults {faults} ({active} now, {refused} refused)  last ack {:.1} s ago",
                began.elapsed().as_secs(),
                ok - before,
                silent.as_secs_f64(),
            );
            eprintln!("{line}");
            before = ok;
        }
    }))
}
