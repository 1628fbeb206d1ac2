//! The rules of the registry, one claim a test.
#![allow(clippy::unwrap_used)]

mod apache;
mod ours;
mod properties;

use super::testing::*;
use super::*;

/// Addresses by id in the route of `topic` at `broker_name`; empty when it has none.
fn route(registry: &Registry, topic: &str, broker_name: &str) -> Vec<(i64, String)> {
    let route = registry.route(topic, RouteQuery::default()).unwrap_or_default();
    let data = route.broker_datas.into_iter().find(|data| data.broker_name == broker_name);
    data.map(|data| data.broker_addrs.into_iter().collect()).unwrap_or_default()
}

/// Permission of `topic` at `broker_name`, if it is there.
fn perm(registry: &Registry, topic: &str, broker_name: &str) -> Option<i32> {
    let route = registry.route(topic, RouteQuery::default())?;
    route.queue_datas.iter().find(|data| data.broker_name == broker_name).map(|data| data.perm)
}

fn accepted(registry: &mut Registry, now_ms: u64, registration: Registration) -> bool {
    registry.register(now_ms, registration).unwrap().accepted
}
