//! Who dials whom where, and what a target file's templates are filled with.
//!
//! Every link has an address of its own, and a party is only ever told
//! addresses of links, so that no connection can pass one by.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mailproof_model::party::{Link, Party};
use mailproof_model::plan::Plan;
use mailproof_model::rng::Rng;
use mailproof_model::workload;
use minijinja::{Environment, UndefinedBehavior, Value, context};

/// Domains whose mail ends in the mailbox: recipients and reverse paths.
pub const DOMAINS: [&str; 2] = ["mail.test", "client.test"];

/// The addresses of a run.
pub trait Addresses {
    /// Where the party listens itself; only links dial it. It dials from the
    /// same address.
    fn listen(&self, party: Party) -> SocketAddr;

    /// Where the link listens: the address of `link.to` as `link.from` knows
    /// it.
    fn link(&self, link: Link) -> SocketAddr;

    /// The network that holds them all, as `address/bits`.
    fn network(&self) -> String;
}

/// Texts that templates may name and that depend on the engine.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// Path of the running command.
    pub mailproof: &'a str,
    /// Directory of the programs that the harness carries.
    pub programs: &'a str,
    /// The node's own directory.
    pub dir: &'a str,
    /// The store's directory inside it.
    pub store: &'a str,
    /// The secret of the run, 64 hexadecimal digits.
    pub cluster_key: &'a str,
}

/// Everything that the templates of a target file may name, for one node; see
/// the table in [`mailproof_model::target`].
#[must_use]
pub fn values(plan: &Plan, node: Party, addresses: &dyn Addresses, places: &Places<'_>) -> Value {
    let link = |to: Party| addresses.link(Link::new(node, to)).to_string();
    let cluster = &plan.scenario.cluster;
    let site = |party: Party| format!("s{}", cluster.site(party));
    let transport = matches!(node, Party::Node(_));
    let (mut peers, mut next_hops, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    if transport {
        for other in plan.nodes() {
            if matches!(other, Party::Store(_)) {
                // The first has what is not another's.
                let domain = match other {
                    Party::Store(1) => "*".to_owned(),
                    _ => workload::domain_of(other),
                };
                routes.push(context! { domain => domain, next_hop => link(other) });
                next_hops.push(link(other));
            }
            if other != node && (matches!(other, Party::Node(_)) || plan.safety_net()) {
                peers.push(peer(other, link(other), site(other)));
            }
        }
        if next_hops.is_empty() {
            let mailbox = link(Party::Mailbox);
            routes.push(context! { domain => "*", next_hop => mailbox.clone() });
            next_hops.push(mailbox);
        }
    }
    if !transport && plan.safety_net() {
        let nodes = plan.nodes().filter(|other| matches!(other, Party::Node(_)));
        peers.extend(nodes.map(|other| peer(other, link(other), site(other))));
    }
    let listen = addresses.listen(node);
    let times: BTreeMap<&str, u64> = plan
        .times
        .iter()
        .map(|(name, ns)| (name.as_str(), ns / 1_000_000))
        .collect();
    context! {
        mailproof => places.mailproof,
        programs => places.programs,
        node => node.to_string(),
        role => if transport { "transport" } else { "mailbox" },
        dir => places.dir,
        store => places.store,
        listen => listen.to_string(),
        address => listen.ip().to_string(),
        port => listen.port(),
        site => site(node),
        sites => cluster.sites,
        peers => peers,
        safety_net => plan.safety_net(),
        next_hops => next_hops,
        routes => routes,
        network => addresses.network(),
        domains => domains(plan, node),
        cluster_key => places.cluster_key,
        times => times,
        seed => node_seed(plan, node),
    }
}

/// The domains whose mail ends at a node.
fn domains(plan: &Plan, node: Party) -> Vec<String> {
    let mut domains = Vec::new();
    if plan.scenario.cluster.stores > 1 && matches!(node, Party::Store(_)) {
        domains.push(workload::domain_of(node));
        if node != Party::Store(1) {
            return domains;
        }
    }
    domains.extend(DOMAINS.map(str::to_owned));
    domains
}

/// What a template may name of another node of the cluster.
fn peer(other: Party, address: String, site: String) -> Value {
    let role = match other {
        Party::Store(_) => "mailbox",
        _ => "transport",
    };
    context! { name => other.to_string(), address => address, role => role, site => site }
}

/// The seed of a node: its own, and the same in every life.
#[must_use]
pub fn node_seed(plan: &Plan, node: Party) -> u64 {
    let index = plan.nodes().position(|n| n == node).unwrap_or_default();
    Rng::keyed(plan.seed, "node", index as u64).bits()
}

/// A text of a target file that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} of the target file: {why}")]
pub struct TemplateError {
    /// Which text.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// Fills a template in; `place` names it in errors.
///
/// # Errors
/// A text that is no template, or that names what there is not.
pub fn fill(place: &str, text: &str, values: &Value) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .render_str(text, values)
        .map_err(|error| TemplateError {
            place: place.to_owned(),
            why: in_words(&error),
        })
}

/// An error of the template engine with the causes below it, on one line.
fn in_words(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The addresses of a simulated run: they exist nowhere, so every run has the
/// same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Virtual;

/// The port on which parties listen themselves.
const OWN: u16 = 25;
/// Links to a party listen on its address, on this port plus the number of
/// the one who dials.
const LINKS: u16 = 1_000;

impl Addresses for Virtual {
    fn listen(&self, party: Party) -> SocketAddr {
        SocketAddr::new(address(party), OWN)
    }

    fn link(&self, link: Link) -> SocketAddr {
        SocketAddr::new(address(link.to), LINKS + number(link.from))
    }

    fn network(&self) -> String {
        "198.18.0.0/15".to_owned()
    }
}

/// Within the block that is set aside for benchmarks (RFC 2544).
fn address(party: Party) -> IpAddr {
    let [high, low] = number(party).to_be_bytes();
    IpAddr::from([198, 18 | (high & 1), 0, low])
}

/// Clusters have at most 50 nodes and 10 with mailboxes.
fn number(party: Party) -> u16 {
    match party {
        Party::Client => 1,
        Party::Mailbox => 2,
        Party::Node(n) => 2 + n.min(100),
        Party::Store(n) => 110 + n.min(100),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_party_and_link_has_its_own_virtual_address() {
        let parties: Vec<Party> = [Party::Client, Party::Mailbox]
            .into_iter()
            .chain((1..=50).map(Party::Node))
            .chain((1..=10).map(Party::Store))
            .collect();
        let mut seen = BTreeSet::new();
        for a in &parties {
            assert!(seen.insert(Virtual.listen(*a)));
            for b in &parties {
                assert!(seen.insert(Virtual.link(Link::new(*a, *b))));
            }
        }
    }

    #[test]
    fn templates_are_strict() {
        let values = context! { node => "n1" };
        assert_eq!(fill("x", "{{ node }}", &values).unwrap(), "n1");
        let error = fill("the file `a`", "{{ nodes }}", &values).unwrap_err();
        assert_eq!(error.place, "the file `a`");
        assert!(error.why.contains("undefined"), "{}", error.why);
    }
}
