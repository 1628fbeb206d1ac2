//! Load, to see that batches form and nobody is elected for no reason.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, submit};
use super::machine::payload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_load_causes_no_election_and_requests_are_batches() {
    let mut cluster = Cluster::prepare(3);
    // Small segments would be used up faster than new ones are allocated.
    cluster.tweak = Box::new(|options| (options.segment_size, options.ring_bytes_max) = (64 << 20, 32 << 20));
    cluster.start_all().await;
    cluster.leader().await;
    let cluster = Arc::new(cluster);
    let leader = cluster.leader().await;
    let term = cluster.status(leader).term;
    let until = Instant::now() + Duration::from_secs(3);
    let mut load = Vec::new();
    for task in 0..16_u64 {
        let replica = cluster.node(leader).replica.clone();
        load.push(tokio::spawn(async move {
            let mut tag = task << 32;
            while Instant::now() < until {
                let payloads = (0..64).map(|next| payload(tag + next, 1024)).collect();
                for outcome in submit(&replica, payloads, None).await {
                    outcome.expect("no refusal within a term");
                }
                tag += 64;
            }
            tag & 0xffff_ffff
        }));
    }
    let mut total = 0;
    for task in load {
        total += task.await.unwrap();
    }
    assert_eq!(cluster.status(leader).term, term, "an election under load");
    let counters = cluster.node(leader).replica.counters();
    let requests = counters.append_requests.load(Ordering::Relaxed);
    let records = counters.append_request_records.load(Ordering::Relaxed);
    println!("{total} records; {records} in {requests} append requests; {} flushes", counters.flush.count());
    assert!(records / requests.max(1) >= 10, "{records} records in {requests} requests: batching is broken");
}
