//! Who hears whom. Pure: a seed and the numbers of nodes decide.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::proxy::{Disturbance, End};

/// A partition and its description.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) disturbance: Disturbance,
    pub(super) nodes: Vec<usize>,
    pub(super) detail: String,
}

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) name_servers: usize,
}

/// `inside` and all other nodes don't hear each other. Half of the time clients and name servers still reach all of them;
/// otherwise `inside` hears and is heard by nobody at all.
pub(super) fn isolate(inside: &[usize], size: Size, random: &mut SmallRng) -> Partition {
    let mut disturbance = Disturbance::default();
    let outside: Vec<usize> = (0..size.nodes).filter(|node| !inside.contains(node)).collect();
    part(&mut disturbance, inside, &outside);
    let from_all = random.random_bool(0.5);
    if from_all {
        for node in inside {
            disturbance.part(End::Node(*node), End::Clients);
            for number in 0..size.name_servers {
                disturbance.part(End::Node(*node), End::NameServer(number));
            }
        }
    }
    let reach =
        if from_all { "and from clients and name servers" } else { "clients and name servers reach all" };
    let detail = format!("{} cut off from {}, {reach}", names(inside), names(&outside));
    Partition { disturbance, nodes: inside.to_vec(), detail }
}

/// A random minority, without `leader`.
pub(super) fn minority(leader: Option<usize>, nodes: usize, random: &mut SmallRng) -> Vec<usize> {
    let mut others: Vec<usize> = (0..nodes).filter(|node| Some(*node) != leader).collect();
    others.shuffle(random);
    others.truncate(random.random_range(1..=(nodes - 1) / 2));
    others
}

/// A random half, the smaller one.
pub(super) fn half(nodes: usize, random: &mut SmallRng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..nodes).collect();
    all.shuffle(random);
    all.truncate(nodes / 2);
    all
}

/// Two halves that don't hear each other, and one node that hears all.
pub(super) fn bridge(nodes: usize, random: &mut SmallRng) -> Partition {
    let mut all: Vec<usize> = (0..nodes).collect();
    all.shuffle(random);
    let (middle, others) = (all[0], &all[1..]);
    let (one, other) = others.split_at(others.len() / 2);
    let mut disturbance = Disturbance::default();
    part(&mut disturbance, one, other);
    let detail = format!("{} cut off from {}, n{middle} hears both", names(one), names(other));
    Partition { disturbance, nodes: others.to_vec(), detail }
}

/// Each node hears and is heard by a majority, no two the same one: nodes in a ring that hear their neighbours. Of three
/// nodes, whose neighbours are all, each hears only the one before it.
pub(super) fn ring(nodes: usize, random: &mut SmallRng) -> Partition {
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(random);
    let mut disturbance = Disturbance::default();
    for (place, node) in order.iter().enumerate() {
        for (other_place, other) in order.iter().enumerate() {
            let ahead = (other_place + nodes - place) % nodes;
            let heard = match nodes {
                3 => ahead != 2,
                _ => ahead <= nodes / 4 || nodes - ahead <= nodes / 4,
            };
            if !heard && other != node {
                disturbance.cuts.push((End::Node(*node), End::Node(*other)));
            }
        }
    }
    let ways = if nodes == 3 { "each hears the one before it" } else { "each hears its neighbours" };
    Partition { disturbance, nodes: (0..nodes).collect(), detail: format!("ring {order:?}, {ways}") }
}

/// `leader` speaks and is not heard by its peers, or hears nothing of them.
pub(super) fn one_way(leader: usize, nodes: usize, random: &mut SmallRng) -> Partition {
    let mute = random.random_bool(0.5);
    let cut = |peer: usize| match mute {
        true => (End::Node(leader), End::Node(peer)),
        false => (End::Node(peer), End::Node(leader)),
    };
    let cuts = (0..nodes).filter(|peer| *peer != leader).map(cut).collect();
    let what = if mute { "is not heard by its peers" } else { "does not hear its peers" };
    Partition {
        disturbance: Disturbance { cuts, ..Disturbance::default() },
        nodes: vec![leader],
        detail: format!("n{leader} {what}"),
    }
}

fn part(disturbance: &mut Disturbance, one: &[usize], other: &[usize]) {
    for one in one {
        for other in other {
            disturbance.part(End::Node(*one), End::Node(*other));
        }
    }
}

/// `n0, n2`.
pub(super) fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Nodes that hear each other and a node, itself included.
    fn both_ways(partition: &Partition, nodes: usize, node: usize) -> Vec<usize> {
        let cut = |from, to| partition.disturbance.cuts.contains(&(End::Node(from), End::Node(to)));
        (0..nodes).filter(|other| !cut(node, *other) && !cut(*other, node)).collect()
    }

    #[test]
    fn a_ring_of_five_gives_each_node_another_majority() {
        for seed in 0..20 {
            let ring = ring(5, &mut SmallRng::seed_from_u64(seed));
            let heard: std::collections::BTreeSet<_> = (0..5)
                .map(|node| both_ways(&ring, 5, node))
                .inspect(|heard| assert_eq!(heard.len(), 3))
                .collect();
            assert_eq!(heard.len(), 5);
        }
    }

    #[test]
    fn in_a_ring_of_three_each_node_is_heard_by_one() {
        let ring = ring(3, &mut SmallRng::seed_from_u64(1));
        assert_eq!(ring.disturbance.cuts.len(), 3);
        for node in 0..3 {
            assert_eq!(ring.disturbance.cuts.iter().filter(|(from, _)| *from == End::Node(node)).count(), 1);
            assert_eq!(ring.disturbance.cuts.iter().filter(|(_, to)| *to == End::Node(node)).count(), 1);
        }
    }

    #[test]
    fn a_bridge_leaves_one_node_that_hears_all() {
        for nodes in [3, 5] {
            let bridge = bridge(nodes, &mut SmallRng::seed_from_u64(3));
            let all = (0..nodes).filter(|node| both_ways(&bridge, nodes, *node).len() == nodes).count();
            assert_eq!(all, 1);
        }
    }
}
