//! Links that are slow, narrow or short-lived. Pure: a seed and the numbers of nodes decide.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::partition::names;
use crate::proxy::{Disturbance, End, Way};

/// All brokers hear each other late, half of the time clients too.
pub(super) fn slow(nodes: usize, random: &mut SmallRng) -> (Disturbance, String) {
    let way = Way {
        delay: Duration::from_millis(random.random_range(5..150)),
        jitter: Duration::from_millis(random.random_range(0..150)),
        ..Way::default()
    };
    let mut disturbance = Disturbance::default();
    for from in 0..nodes {
        for to in (0..nodes).filter(|to| *to != from) {
            disturbance.slow.push(((End::Node(from), End::Node(to)), way));
        }
    }
    let clients = random.random_bool(0.5);
    if clients {
        for node in 0..nodes {
            let (one, other) = (End::Node(node), End::Clients);
            disturbance.slow.extend([((one, other), way), ((other, one), way)]);
        }
    }
    let reach = if clients { "between all" } else { "between brokers" };
    (disturbance, format!("{reach}: {:?} and up to {:?} more, each way", way.delay, way.jitter))
}

/// The links of one broker to its peers carry little.
pub(super) fn throttle(node: usize, nodes: usize, random: &mut SmallRng) -> (Disturbance, String) {
    let rate = random.random_range(8..200) * 1024;
    let way = Way { rate: Some(rate), ..Way::default() };
    let own = End::Node(node);
    let slow = (0..nodes)
        .filter(|peer| *peer != node)
        .flat_map(|peer| [((own, End::Node(peer)), way), ((End::Node(peer), own), way)])
        .collect();
    let detail = format!("links of n{node} to its peers carry {rate} bytes a second each");
    (Disturbance { slow, ..Disturbance::default() }, detail)
}

/// Connections of the victims don't live long.
pub(super) fn resets(victims: &[usize], nodes: usize, random: &mut SmallRng) -> (Disturbance, String) {
    let age = Duration::from_millis(random.random_range(100..2_000));
    let mut disturbance = Disturbance::default();
    for victim in victims {
        for peer in (0..nodes).filter(|peer| peer != victim) {
            disturbance.resets.push(((End::Node(*victim), End::Node(peer)), age));
        }
        disturbance.resets.push(((End::Clients, End::Node(*victim)), age));
    }
    let detail = format!("connections of {} are reset within {age:?}", names(victims));
    (disturbance, detail)
}
