//! Clusters of the hold model: hubs that relay to edges, edges that deliver.

use std::net::SocketAddr;
use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::{Route, ShadowModel, TlsPolicy};

use super::{World, config, node_address, sink_address};

/// `shadow-heartbeat-timeout-interval` of these tests, the default.
pub(crate) const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Interval times count: after this a next hop counts as failed.
pub(crate) const FAILED: Duration = Duration::from_secs(12 * 15 * 60);

/// Node `n` of `count` in the hold model, with its mail routed to `hops`
/// (nodes), or to sink 0 where there are none.
pub(crate) fn hold_config(n: usize, count: usize, hops: &[usize]) -> Config {
    let mut config = config(n, count);
    config.shadow_model = ShadowModel::Hold;
    if !hops.is_empty() {
        config.routes = vec![to_nodes("*", hops)];
    }
    config
}

/// One hub, n1, that relays to the other nodes in their order; these deliver
/// to sink 0.
pub(crate) fn hub(count: usize) -> World {
    hub_with(count, |_| {})
}

/// The same with each configuration changed.
pub(crate) fn hub_with(count: usize, change: impl Fn(&mut Config)) -> World {
    let edges: Vec<usize> = (1..count).collect();
    let configs = (0..count).map(|n| {
        let hops = if n == 0 { &edges[..] } else { &[] };
        let mut config = hold_config(n, count, hops);
        change(&mut config);
        config
    });
    World::new(configs.collect())
}

fn route(domain: &str, next_hops: Vec<SocketAddr>) -> Route {
    Route {
        domain: domain.to_owned(),
        next_hops,
        mx: false,
        port: 25,
        tls: TlsPolicy::default(),
        tls_name: String::new(),
    }
}

/// A route of a domain to sinks.
pub(crate) fn to_sink(domain: &str, sink: usize) -> Route {
    route(domain, vec![sink_address(sink)])
}

/// A route of a domain to nodes.
pub(crate) fn to_nodes(domain: &str, nodes: &[usize]) -> Route {
    let hops = nodes.iter().map(|node| node_address(*node));
    route(domain, hops.collect())
}

/// Whether no running node has anything queued, kept or to report.
pub(crate) fn settled(world: &World) -> bool {
    (0..world.nodes.len())
        .filter(|n| world.nodes[*n].node.is_some())
        .all(|n| {
            let view = world.view(n);
            view.messages.is_empty() && view.shadows.is_empty() && view.discards.is_empty()
        })
}
