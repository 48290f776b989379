//! Routes by MX records (RFC 5321 section 5, RFC 7505): what is asked of the
//! name service, and what its answers make of a domain. Sans-IO: questions go
//! out as [`Output::Resolve`], answers come as
//! [`Input::Resolved`](crate::Input::Resolved).
//!
//! - Mail exchangers are tried in the order of their preference, those of
//!   equal preference in an order drawn anew with every resolution, and all
//!   addresses of one before the next.
//! - Where this node is a mail exchanger itself, it and all of the same or a
//!   worse preference are left out, so that mail cannot go in a circle.
//! - A domain without MX records is its own mail exchanger; one whose MX
//!   records lead nowhere is in error, and is not tried by its own address.
//! - A single MX record with the name "." says that the domain takes no mail.
//! - What cannot be found out now is asked again later; the mail waits.
//!
//! Names with characters beyond ASCII are not looked up: their mail is
//! returned. Write such domains in their ASCII form.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::delivery::Routes;
use super::message::RecipientState;
use super::{Host, HostId, Queue, Timer};
use crate::config::TlsPolicy;
use crate::event::EventKind;
use crate::io::{DnsError, DnsRecords, Lookup, Output};
use crate::mark::Mark;

/// Shortest and longest time that an answer is kept, in seconds.
const KEEP: (u32, u32) = (60, 86_400);
/// Mail exchangers of one domain that are looked at.
const MAX_EXCHANGERS: usize = 16;
/// Addresses of one domain that are tried.
const MAX_ADDRESSES: usize = 32;
/// Domains and hosts up to which nothing is cleared away.
const ROOM: usize = 1_000;

/// What all domains of one configured route have in common.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) port: u16,
    pub(crate) tls: TlsPolicy,
}

/// What is known of one domain.
#[derive(Debug)]
pub(crate) struct Domain {
    exchange: Exchange,
    state: State,
    /// Resolutions that failed, in a row.
    failures: u32,
    armed: u64,
}

#[derive(Debug)]
enum State {
    Unknown,
    /// The MX records are asked for, or the addresses of exchangers.
    Asking {
        found: Vec<Exchanger>,
        /// Questions without an answer yet.
        open: u32,
        /// One answer may be another one later.
        unsure: Option<String>,
        ttl: u32,
    },
    /// The hops of the route are right until this time.
    Known(u64),
    /// To be asked again at this time.
    Later(u64),
}

/// One mail exchanger.
#[derive(Debug)]
struct Exchanger {
    preference: u16,
    name: String,
    addresses: Vec<IpAddr>,
}

/// A question under way.
#[derive(Debug)]
pub(crate) struct Question {
    route: usize,
    /// The exchanger whose addresses are asked for; `None`: the MX records.
    exchanger: Option<usize>,
}

/// What becomes of a domain.
enum Found {
    Hops(Vec<(SocketAddr, String)>, u32),
    /// For now, with the reason.
    Later(String),
    /// For good, with a reply in words.
    Never(&'static str),
}

impl Routes {
    /// The route to the domain of `address` under the route `template`:
    /// `template` itself, unless it goes by MX records.
    pub(crate) fn domain_route(&mut self, template: usize, address: &str) -> usize {
        let Some(exchange) = self.list.get(template).and_then(|r| r.exchange.clone()) else {
            return template;
        };
        let domain = crate::smtp::address::split(address).1.unwrap_or("");
        let key = (template, domain.trim_end_matches('.').to_ascii_lowercase());
        if let Some(route) = self.domains.get(&key) {
            return *route;
        }
        let entry = super::delivery::Route {
            domain: key.1.clone(),
            hops: Vec::new(),
            ready: std::collections::VecDeque::new(),
            put_off: 0,
            stuck: false,
            exchange: None,
            resolved: Some(Domain {
                exchange,
                state: State::Unknown,
                failures: 0,
                armed: 0,
            }),
        };
        let route = match self.free.pop() {
            Some(route) => {
                self.list[route] = entry;
                route
            }
            None => {
                self.list.push(entry);
                self.list.len() - 1
            }
        };
        self.domains.insert(key, route);
        route
    }
}

impl Queue {
    /// Whether the hops of a route are known; if not, they are asked for.
    pub(crate) fn resolved(&mut self, route: usize) -> bool {
        let now = self.now.mono;
        let entry = &self.routes.list[route];
        let Some(domain) = &entry.resolved else {
            return true;
        };
        match domain.state {
            State::Known(until) if until > now => true,
            State::Later(until) if until > now => false,
            State::Asking { .. } => false,
            State::Known(_) | State::Later(_) | State::Unknown => {
                if !entry.ready.is_empty() && !self.draining {
                    self.resolve(route);
                }
                // A literal, or a name that cannot be asked for, is settled
                // at once.
                matches!(&self.routes.list[route].resolved,
                    Some(Domain { state: State::Known(until), .. }) if *until > now)
            }
        }
    }

    fn resolve(&mut self, route: usize) {
        let domain = self.routes.list[route].domain.clone();
        if let Some(literal) = domain.strip_prefix('[') {
            let found = match literal_address(literal) {
                Some(ip) => match self.exchange(route) {
                    Some(exchange) => {
                        let hop = SocketAddr::new(ip, exchange.port);
                        Found::Hops(vec![(hop, domain.clone())], KEEP.1)
                    }
                    None => return,
                },
                None => Found::Never("550 5.1.2 Not an address literal"),
            };
            return self.found(route, found);
        }
        if !domain.is_ascii() {
            let why = "550 5.1.2 Write this domain in its ASCII form";
            return self.found(route, Found::Never(why));
        }
        self.set_state(
            route,
            State::Asking {
                found: Vec::new(),
                open: 1,
                unsure: None,
                ttl: KEEP.1,
            },
        );
        self.ask(route, None, &domain, Lookup::Mx);
    }

    fn exchange(&self, route: usize) -> Option<Exchange> {
        let domain = self.routes.list[route].resolved.as_ref()?;
        Some(domain.exchange.clone())
    }

    fn set_state(&mut self, route: usize, state: State) {
        if let Some(domain) = &mut self.routes.list[route].resolved {
            domain.state = state;
        }
    }

    fn ask(&mut self, route: usize, exchanger: Option<usize>, name: &str, lookup: Lookup) {
        let query = self.next_query;
        self.next_query += 1;
        self.questions_asked
            .insert(query, Question { route, exchanger });
        self.out.push(Output::Resolve {
            query,
            name: name.to_owned(),
            lookup,
        });
    }

    /// Takes an answer of the name service.
    pub(crate) fn answered(&mut self, query: u64, answer: Result<DnsRecords, DnsError>) {
        let Some(Question { route, exchanger }) = self.questions_asked.remove(&query) else {
            return;
        };
        let name = self.routes.list[route].domain.clone();
        let mut questions = Vec::new();
        let mut verdict = None;
        let Some(Domain {
            state:
                State::Asking {
                    found,
                    open,
                    unsure,
                    ttl,
                },
            ..
        }) = &mut self.routes.list[route].resolved
        else {
            return;
        };
        *open = open.saturating_sub(1);
        match (exchanger, answer) {
            (None, Ok(mut records)) => {
                *ttl = (*ttl).min(records.ttl);
                let null = |(_, host): &(u16, String)| host.is_empty() || host == ".";
                if records.mx.len() == 1 && records.mx.iter().all(null) {
                    verdict = Some(Found::Never("556 5.1.10 This domain takes no mail"));
                } else {
                    records.mx.retain(|mx| !null(mx));
                    records.mx.sort();
                    records.mx.dedup();
                    records.mx.truncate(MAX_EXCHANGERS);
                    if records.mx.is_empty() {
                        // The domain is its own mail exchanger.
                        records.mx.push((0, name.clone()));
                    }
                    for (preference, host) in records.mx {
                        questions.push((found.len(), host.clone()));
                        found.push(Exchanger {
                            preference,
                            name: host,
                            addresses: Vec::new(),
                        });
                    }
                    *open = questions.len() as u32;
                }
            }
            (None, Err(DnsError::NoSuchName)) => {
                verdict = Some(Found::Never("550 5.1.2 No such domain"));
            }
            (None, Err(DnsError::Temporary(why))) => verdict = Some(Found::Later(why)),
            (Some(at), Ok(records)) => {
                *ttl = (*ttl).min(records.ttl);
                if let Some(exchanger) = found.get_mut(at) {
                    exchanger.addresses = records.addresses;
                }
            }
            (Some(_), Err(DnsError::NoSuchName)) => {}
            (Some(_), Err(DnsError::Temporary(why))) => *unsure = Some(why),
        }
        let over = verdict.is_none() && *open == 0;
        for (at, host) in questions {
            self.ask(route, Some(at), &host, Lookup::Addresses);
        }
        if over {
            verdict = Some(self.conclude(route));
        }
        if let Some(verdict) = verdict {
            self.found(route, verdict);
        }
    }

    /// All answers are there.
    fn conclude(&mut self, route: usize) -> Found {
        let domain = self.routes.list[route].resolved.as_mut();
        let Some(domain) = domain else {
            return Found::Never("550 5.1.2 No such domain");
        };
        let port = domain.exchange.port;
        let State::Asking {
            mut found,
            unsure,
            ttl,
            ..
        } = std::mem::replace(&mut domain.state, State::Unknown)
        else {
            return Found::Later("asked anew".to_owned());
        };
        let config = &self.config;
        let ours = |exchanger: &Exchanger| {
            exchanger
                .name
                .trim_end_matches('.')
                .eq_ignore_ascii_case(&config.name)
                || exchanger
                    .addresses
                    .iter()
                    .any(|ip| SocketAddr::new(*ip, port) == config.listen)
        };
        let own = found.iter().filter(|e| ours(e)).map(|e| e.preference).min();
        if let Some(own) = own {
            found.retain(|exchanger| exchanger.preference < own);
            self.mark(Mark::ExchangerIsUs);
            if found.is_empty() {
                return Found::Never(
                    "554 5.4.6 This server is the best mail exchanger and does not know the domain",
                );
            }
        }
        // Drawn first and sorted by preference after, so that equals stay in
        // the order drawn.
        for at in (1..found.len()).rev() {
            let other = (self.rng.next() % (at as u64 + 1)) as usize;
            found.swap(at, other);
        }
        found.sort_by_key(|exchanger| exchanger.preference);
        let mut hops = Vec::new();
        for exchanger in found {
            for ip in exchanger.addresses {
                let hop = SocketAddr::new(ip, port);
                if hops.len() < MAX_ADDRESSES && !hops.iter().any(|(h, _)| *h == hop) {
                    hops.push((hop, exchanger.name.clone()));
                }
            }
        }
        match (hops.is_empty(), unsure) {
            (false, _) => Found::Hops(hops, ttl),
            (true, Some(why)) => Found::Later(why),
            (true, None) => {
                Found::Never("550 5.4.4 No mail exchanger of this domain has an address")
            }
        }
    }

    fn found(&mut self, route: usize, found: Found) {
        match found {
            Found::Hops(hops, ttl) => {
                let Some(exchange) = self.exchange(route) else {
                    return;
                };
                let keep = Duration::from_secs(ttl.clamp(KEEP.0, KEEP.1).into());
                let until = self.later(keep);
                let ids = hops
                    .into_iter()
                    .map(|(address, name)| self.host_for(address, exchange.tls, &name))
                    .collect();
                self.set_hops(route, ids);
                if let Some(domain) = &mut self.routes.list[route].resolved {
                    domain.failures = 0;
                    domain.state = State::Known(until);
                }
                self.kick_route(route);
            }
            Found::Later(why) => {
                let Some(domain) = &mut self.routes.list[route].resolved else {
                    return;
                };
                let failures = domain.failures;
                domain.failures = failures.saturating_add(1);
                let until = self.later(self.config.retry_after(failures));
                let entry = &mut self.routes.list[route];
                let detail = format!("{} for {}: {why}", entry.ready.len(), entry.domain);
                if let Some(domain) = &mut entry.resolved {
                    domain.state = State::Later(until);
                    let timer = Timer::Route(route);
                    Self::arm(&mut self.timers, timer, until, &mut domain.armed);
                }
                self.mark(Mark::NamesUnanswered);
                self.log(EventKind::Defer, None, "", "name service", detail);
                self.expire_ready(route);
            }
            Found::Never(why) => {
                // Asked again with the next message.
                self.set_state(route, State::Unknown);
                self.set_hops(route, Vec::new());
                self.fail_ready(route, why);
            }
        }
        self.clear_away();
    }

    /// Fails everything that waits for a route.
    fn fail_ready(&mut self, route: usize, why: &str) {
        let ready = std::mem::take(&mut self.routes.list[route].ready);
        for (sequence, leg) in ready {
            let Some(message) = self.messages.get_mut(&sequence) else {
                continue;
            };
            message.legs[leg].state = super::message::LegState::Done;
            for at in &message.legs[leg].recipients {
                let recipient = &mut message.recipients[*at as usize];
                if recipient.state == RecipientState::Waiting {
                    recipient.state = RecipientState::Failed;
                    recipient.last_error = Some(why.into());
                    recipient.remote = "".into();
                }
            }
            self.settle(sequence, Vec::new());
        }
    }

    /// The time to ask again.
    pub(crate) fn route_due(&mut self, route: usize) {
        if let Some(domain) = &mut self.routes.list[route].resolved {
            domain.armed = 0;
        }
        self.expire_ready(route);
        self.kick_route(route);
    }

    fn set_hops(&mut self, route: usize, hops: Vec<HostId>) {
        let old = std::mem::replace(&mut self.routes.list[route].hops, hops);
        for host in old {
            self.hosts[host].routes.retain(|r| *r != route);
        }
        for at in 0..self.routes.list[route].hops.len() {
            let host = self.routes.list[route].hops[at];
            if !self.hosts[host].routes.contains(&route) {
                self.hosts[host].routes.push(route);
            }
        }
    }

    /// The host of an address that a domain led to.
    fn host_for(&mut self, address: SocketAddr, tls: TlsPolicy, name: &str) -> HostId {
        let name = if tls == TlsPolicy::Verified {
            name.trim_end_matches('.')
        } else {
            ""
        };
        let same = |h: &Host| h.address == address && h.tls == tls && *h.tls_name == *name;
        if let Some(at) = self.hosts.iter().position(same) {
            return at;
        }
        let mut host = Host::new(address);
        host.tls = tls;
        host.tls_name = name.into();
        host.dynamic = true;
        match self.free_hosts.pop() {
            Some(at) => {
                self.hosts[at] = host;
                at
            }
            None => {
                self.hosts.push(host);
                self.hosts.len() - 1
            }
        }
    }

    /// Forgets domains and hosts that nothing uses, once there are many.
    fn clear_away(&mut self) {
        if self.routes.domains.len() < self.routes.clear_at.max(ROOM) {
            return;
        }
        let now = self.now.mono;
        let mut used = vec![false; self.routes.list.len()];
        for message in self.messages.values() {
            for leg in &message.legs {
                if let Some(used) = used.get_mut(leg.route) {
                    *used = true;
                }
            }
        }
        let old: BTreeMap<_, _> = std::mem::take(&mut self.routes.domains);
        for (key, route) in old {
            let entry = &self.routes.list[route];
            let busy = entry.resolved.as_ref().is_some_and(|domain| {
                domain.armed != 0
                    || matches!(domain.state, State::Asking { .. })
                    || matches!(domain.state, State::Known(until) if until > now)
            });
            if used[route] || busy || !entry.ready.is_empty() {
                self.routes.domains.insert(key, route);
                continue;
            }
            self.set_hops(route, Vec::new());
            self.routes.list[route].domain.clear();
            self.routes.free.push(route);
        }
        for (at, host) in self.hosts.iter_mut().enumerate() {
            let idle = host.sessions == 0 && host.routes.is_empty() && host.armed == 0;
            if host.dynamic && idle {
                host.dynamic = false;
                self.free_hosts.push(at);
            }
        }
        self.routes.clear_at = self.routes.domains.len() * 2;
    }
}

/// The address in `1.2.3.4]` or `IPv6:::1]`.
fn literal_address(text: &str) -> Option<IpAddr> {
    let text = text.strip_suffix(']')?;
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => text[5..].parse().ok().map(IpAddr::V6),
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::literal_address;

    #[test]
    fn literals() {
        assert_eq!(literal_address("127.0.0.1]"), "127.0.0.1".parse().ok());
        assert_eq!(literal_address("ipv6:::1]"), "::1".parse().ok());
        for bad in ["127.0.0.1", "127.0.0]", "::1]", "IPv6:127.0.0.1]", "]"] {
            assert_eq!(literal_address(bad), None, "{bad}");
        }
    }
}
