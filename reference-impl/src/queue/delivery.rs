//! From the queue to the next hop: routes, legs, retries, expiry.
//!
//! A recipient that a next hop took is never sent again: what is settled is
//! durable before the next attempt of the message begins.

use std::collections::{BTreeMap, VecDeque};

use super::dsn::Kind;
use super::exchange::{Domain, Exchange};
use super::message::{CopyState, Leg, LegState, Message, Phase, RecipientState};
use super::{HostId, PeerId, Queue, Timer, Tracked, Waiter};
use crate::config::{Config, TlsPolicy};
use crate::event::EventKind;
use crate::io::Output;
use crate::mark::Mark;
use crate::record::{Header, Settled};
use crate::smtp::address;

/// From here on: the routes of recipients whose mailboxes are here, one for
/// each database.
pub(crate) const LOCAL: usize = usize::MAX - 255;

/// How one attempt ended for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// The same, by a next hop that reports no success.
    Relayed,
    /// For now; with the reply or error.
    Deferred(Box<str>),
    /// For good; with the reply or error.
    Failed(Box<str>),
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) domain: String,
    pub(crate) hops: Vec<HostId>,
    /// Legs to be delivered: message and leg.
    pub(crate) ready: VecDeque<(u64, usize)>,
    /// Its domains are routed one by one, by their MX records.
    pub(crate) exchange: Option<Exchange>,
    /// It is such a domain.
    pub(crate) resolved: Option<Domain>,
    /// Legs that wait for their next attempt.
    pub(crate) put_off: usize,
    /// The last attempt put off everything that it carried.
    pub(crate) stuck: bool,
}

/// All routes, and which domain takes which.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) list: Vec<Route>,
    exact: BTreeMap<String, usize>,
    /// Domains whose subdomains are routed, longest first.
    below: Vec<(String, usize)>,
    rest: Option<usize>,
    local: Vec<String>,
    /// Domains routed by MX records, by route and name.
    pub(crate) domains: BTreeMap<(usize, String), usize>,
    /// Places in `list` that nothing uses.
    pub(crate) free: Vec<usize>,
    /// Number of domains at which those out of use are forgotten.
    pub(crate) clear_at: usize,
    /// The routes of promotion, one for each configured peer.
    promotions: std::ops::Range<usize>,
    /// Routes to peers that have mailboxes, for databases mounted there.
    pub(crate) peers: BTreeMap<super::PeerId, usize>,
}

impl Routes {
    /// The routes of a configuration; `host` finds or makes the host of an
    /// address.
    pub(crate) fn new(
        config: &Config,
        mut host: impl FnMut(std::net::SocketAddr, TlsPolicy, &str) -> HostId,
    ) -> Self {
        let mut routes = Self {
            local: config.local_domains.clone(),
            ..Self::default()
        };
        for (at, route) in config.routes.iter().enumerate() {
            let hops = route
                .next_hops
                .iter()
                .map(|hop| host(*hop, route.tls, &route.tls_name))
                .collect();
            let domain = route.domain.to_ascii_lowercase();
            match domain.strip_prefix("*.") {
                _ if domain == "*" => routes.rest = Some(at),
                Some(parent) => routes.below.push((format!(".{parent}"), at)),
                None => {
                    routes.exact.insert(domain.clone(), at);
                }
            }
            routes.list.push(Route {
                domain,
                hops,
                ready: VecDeque::new(),
                exchange: route.mx.then_some(Exchange {
                    port: route.port,
                    tls: route.tls,
                }),
                resolved: None,
                put_off: 0,
                stuck: false,
            });
        }
        // One more to each peer, that no domain takes: for promotion.
        let first = routes.list.len();
        let promotes = config.holds() && config.shadow_redundancy_promotion_enabled;
        for peer in config.peers.iter().filter(|_| promotes) {
            routes.list.push(Route {
                domain: format!("promotion to {}", peer.name),
                hops: vec![host(peer.address, peer.tls, &peer.tls_name)],
                ready: VecDeque::new(),
                exchange: None,
                resolved: None,
                put_off: 0,
                stuck: false,
            });
        }
        routes.promotions = first..routes.list.len();
        for (peer, entry) in config.peers.iter().enumerate() {
            if entry.role == crate::config::Role::Mailbox {
                routes.peers.insert(peer, routes.list.len());
                routes.list.push(Route {
                    domain: format!("[{}]", entry.name),
                    hops: vec![host(entry.address, entry.tls, &entry.tls_name)],
                    ready: VecDeque::new(),
                    exchange: None,
                    resolved: None,
                    put_off: 0,
                    stuck: false,
                });
            }
        }
        routes
            .below
            .sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
        routes
    }

    /// The route on which mail is promoted to a peer.
    pub(crate) fn promotion(&self, peer: PeerId) -> Option<usize> {
        let route = self.promotions.start + peer;
        self.promotions.contains(&route).then_some(route)
    }

    /// Whether a route leads to a peer that is to become the primary.
    pub(crate) fn is_promotion(&self, route: usize) -> bool {
        self.promotions.contains(&route)
    }

    /// Whether the mailbox of `address` is here. An address without a domain
    /// (`Postmaster`) is, wherever there are mailboxes.
    pub(crate) fn is_local(&self, address: &str) -> bool {
        if self.local.is_empty() {
            return false;
        }
        match address::split(address).1 {
            None => true,
            Some(domain) => self.local.iter().any(|l| l.eq_ignore_ascii_case(domain)),
        }
    }

    /// The route of `address`; `None` when there is none.
    pub(crate) fn find(&self, address: &str) -> Option<usize> {
        if self.is_local(address) {
            return Some(LOCAL);
        }
        if self.exact.is_empty() && self.below.is_empty() {
            return self.rest;
        }
        let domain = address::split(address).1.unwrap_or("").to_ascii_lowercase();
        let below = || {
            self.below
                .iter()
                .find(|(parent, _)| domain.ends_with(parent))
        };
        self.exact
            .get(&domain)
            .copied()
            .or_else(|| below().map(|(_, at)| *at))
            .or(self.rest)
    }
}

impl Routes {
    /// The queue that mail for `address` waits in, if there is one by now.
    pub(crate) fn queue_of(&self, address: &str) -> Option<usize> {
        let route = self.find(address)?;
        if route == LOCAL || self.list[route].exchange.is_none() {
            return Some(route);
        }
        let domain = address::split(address).1.unwrap_or("");
        let key = (route, domain.trim_end_matches('.').to_ascii_lowercase());
        self.domains.get(&key).copied()
    }
}

impl Queue {
    /// Categorises a message from the start and queues its legs.
    pub(crate) fn activate(&mut self, sequence: u64) {
        let Some(mut message) = self.messages.remove(&sequence) else {
            return;
        };
        message.legs.clear();
        for (at, recipient) in message.recipients.iter_mut().enumerate() {
            if recipient.state != RecipientState::Waiting {
                continue;
            }
            let address = &message.envelope.recipients[at];
            let found = match self.routes.find(address) {
                Some(LOCAL) => Some(self.local_route(address)),
                other => other.map(|route| self.routes.domain_route(route, address)),
            };
            let Some(route) = found.map(|route| match self.redirected {
                Some(redirected) if route < LOCAL => redirected,
                _ => route,
            }) else {
                recipient.state = RecipientState::Failed;
                recipient.last_error = Some("550 5.1.2 No route to this domain".into());
                continue;
            };
            let index = at as u32;
            match message.legs.iter_mut().find(|leg| leg.route == route) {
                Some(leg) => leg.recipients.push(index),
                None => message.legs.push(Leg {
                    route,
                    recipients: vec![index],
                    attempts: 0,
                    state: LegState::Ready,
                }),
            }
        }
        let legs = message.legs.len();
        self.messages.insert(sequence, message);
        for leg in 0..legs {
            let Some(message) = self.messages.get(&sequence) else {
                break;
            };
            let route = message.legs[leg].route;
            if route >= LOCAL {
                self.mailbox_leg(sequence, leg);
            } else {
                self.routes.list[route].ready.push_back((sequence, leg));
                self.kick_route(route);
            }
        }
        self.arm_delay(sequence);
        self.settle(sequence, Vec::new());
    }

    /// Looks for sessions for the legs that wait for a route: at the first of
    /// its next hops that is not down.
    pub(crate) fn kick_route(&mut self, route: usize) {
        if self.draining || !self.resolved(route) {
            return;
        }
        let now = self.now.mono;
        let entry = &self.routes.list[route];
        let waiting = entry.ready.len();
        let Some(hop) = entry
            .hops
            .iter()
            .copied()
            .find(|hop| self.hosts[*hop].down_until <= now)
        else {
            return;
        };
        if waiting > 0 && entry.hops.first() != Some(&hop) {
            self.mark(Mark::OtherNextHop);
        }
        for _ in 0..waiting {
            if !self.engage(hop, waiting) {
                break;
            }
        }
    }

    /// Takes the next leg of a route to be delivered.
    pub(crate) fn next_leg(&mut self, route: usize) -> Option<(u64, usize)> {
        while let Some((sequence, leg)) = self.routes.list[route].ready.pop_front() {
            let now = self.now.mono;
            let Some(message) = self.messages.get_mut(&sequence) else {
                continue;
            };
            if message.phase != Phase::Active || message.legs[leg].state != LegState::Ready {
                continue;
            }
            if message.expires <= now {
                self.expire(sequence, leg);
                continue;
            }
            message.legs[leg].state = LegState::InFlight;
            return Some((sequence, leg));
        }
        None
    }

    /// One hop of a route went down: the next one takes its turn, or all wait.
    pub(crate) fn route_stalled(&mut self, route: usize, address: &str, why: &str) {
        let now = self.now.mono;
        let entry = &self.routes.list[route];
        if entry.ready.is_empty() {
            return;
        }
        if entry
            .hops
            .iter()
            .any(|hop| self.hosts[*hop].down_until <= now)
        {
            return self.kick_route(route);
        }
        if self.routes.is_promotion(route) {
            return self.promotions_stranded(route);
        }
        let detail = format!("{} for {}: {why}", entry.ready.len(), entry.domain);
        self.log(EventKind::Defer, None, "", address, detail);
        self.expire_ready(route);
    }

    /// Returns what waits for a route for too long.
    pub(crate) fn expire_ready(&mut self, route: usize) {
        let now = self.now.mono;
        let entry = &self.routes.list[route];
        let old: Vec<(u64, usize)> = entry
            .ready
            .iter()
            .copied()
            .filter(|(sequence, _)| self.messages.get(sequence).is_none_or(|m| m.expires <= now))
            .collect();
        if old.is_empty() {
            return;
        }
        let messages = &self.messages;
        self.routes.list[route]
            .ready
            .retain(|(sequence, _)| messages.get(sequence).is_some_and(|m| m.expires > now));
        for (sequence, leg) in old {
            self.expire(sequence, leg);
        }
    }

    /// Fails what waits of one leg because of its age.
    pub(crate) fn expire(&mut self, sequence: u64, leg: usize) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.legs[leg].state = LegState::Done;
        self.out.push(Output::Mark(Mark::Expired));
        for at in &message.legs[leg].recipients {
            let recipient = &mut message.recipients[*at as usize];
            if recipient.state == RecipientState::Waiting {
                recipient.state = RecipientState::Failed;
                let last = recipient.last_error.take();
                let last = last.as_deref().unwrap_or("no attempt came to an answer");
                recipient.last_error =
                    Some(format!("554 5.4.7 Message expired; last: {last}").into());
                recipient.remote = "".into();
            }
        }
        self.settle(sequence, Vec::new());
    }

    /// Takes the outcomes of one attempt; `replied` when what failed did so
    /// by a reply of `server`.
    pub(crate) fn attempted(
        &mut self,
        sequence: u64,
        leg: usize,
        server: &str,
        replied: bool,
        outcomes: Vec<(u32, Outcome)>,
        tracked: Option<Tracked>,
    ) {
        let promotion = self.is_promotion(sequence, leg);
        let Some(mut message) = self.messages.remove(&sequence) else {
            return;
        };
        let put_off = |(_, outcome): &(u32, Outcome)| matches!(outcome, Outcome::Deferred(_));
        let stuck = !outcomes.is_empty() && outcomes.iter().all(put_off);
        let (mut delivered, mut relayed) = (Vec::new(), Vec::new());
        for (at, outcome) in outcomes {
            let index = at as usize;
            let outcome = match outcome {
                // What a peer says to a promotion is not the last word.
                Outcome::Failed(why) if promotion => Outcome::Deferred(why),
                other => other,
            };
            let remote = if replied { server } else { "" };
            message.recipients[index].remote = remote.into();
            if outcome == Outcome::Relayed {
                relayed.push(at);
            }
            let (kind, detail) = match outcome {
                Outcome::Delivered | Outcome::Relayed => {
                    message.recipients[index].state = RecipientState::Delivered;
                    delivered.push((at, Settled::Delivered));
                    self.counters.delivered += 1;
                    (EventKind::Deliver, String::new())
                }
                Outcome::Deferred(why) => {
                    self.counters.deferred += 1;
                    let detail = why.to_string();
                    message.recipients[index].last_error = Some(why);
                    (EventKind::Defer, detail)
                }
                Outcome::Failed(why) => {
                    let recipient = &mut message.recipients[index];
                    recipient.state = RecipientState::Failed;
                    if recipient.last_error.replace(why).is_some() {
                        self.mark(Mark::DeferredThenBounced);
                    }
                    continue;
                }
            };
            let recipient = &message.envelope.recipients[index];
            self.log(kind, Some(sequence), recipient, server, detail);
        }
        let waiting = |message: &Message, leg: usize| {
            message.legs[leg]
                .recipients
                .iter()
                .any(|at| message.recipients[*at as usize].state == RecipientState::Waiting)
        };
        let route = &mut self.routes.list[message.legs[leg].route];
        route.stuck = stuck;
        if promotion {
            message.legs[leg].state = LegState::Done;
        } else if waiting(&message, leg) {
            route.put_off += 1;
            let attempts = message.legs[leg].attempts;
            message.legs[leg].attempts = attempts.saturating_add(1);
            let at = self
                .later(self.config.retry_after(attempts))
                .min(message.expires);
            message.legs[leg].state = LegState::Retry(at);
            let route = message.legs[leg].route;
            self.deferred.insert((at, sequence, leg), route);
            Self::arm(
                &mut self.timers,
                Timer::Deferred,
                at,
                &mut self.deferred_armed,
            );
        } else {
            message.legs[leg].state = LegState::Done;
        }
        let cancelled = message.cancelled;
        let mut states = message.legs[leg]
            .recipients
            .iter()
            .map(|at| message.recipients[*at as usize].state);
        let first = states.next();
        if states.any(|state| Some(state) != first) {
            self.mark(Mark::PartlyDelivered);
        }
        let taken = !delivered.is_empty();
        self.messages.insert(sequence, message);
        // The shadow first: a report of success may be lost in a crash.
        if let Some(tracked) = tracked.filter(|_| taken) {
            delivered = self.keep(sequence, tracked, delivered);
        }
        let wanted = self.success_wanted(sequence, &relayed);
        self.tell_sender(sequence, Kind::Relayed, &wanted);
        if cancelled {
            self.drop_waiting(sequence);
        }
        self.settle(sequence, delivered);
        if promotion {
            self.promotion_ended(sequence, leg, taken);
        }
    }

    /// Puts recipients that wait back into the queues of their routes.
    pub(crate) fn requeue(&mut self, sequence: u64, recipients: &[u32]) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if message.phase != Phase::Active {
            return;
        }
        let first = message.legs.len();
        for at in recipients {
            // Its route was there before.
            let address = &message.envelope.recipients[*at as usize];
            let route = self.routes.find(address);
            let Some(route) = route.map(|route| self.routes.domain_route(route, address)) else {
                continue;
            };
            let new = &mut message.legs[first..];
            match new.iter_mut().find(|leg| leg.route == route) {
                Some(leg) => leg.recipients.push(*at),
                None => message.legs.push(Leg {
                    route,
                    recipients: vec![*at],
                    attempts: 0,
                    state: LegState::Ready,
                }),
            }
        }
        let routes: Vec<usize> = message.legs[first..].iter().map(|l| l.route).collect();
        for (leg, route) in (first..).zip(routes) {
            self.routes.list[route].ready.push_back((sequence, leg));
            self.kick_route(route);
        }
    }

    /// Gives up every recipient that no session works on; for a message whose
    /// old primary reported it done.
    pub(crate) fn drop_waiting(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        for leg in &mut message.legs {
            if leg.state == LegState::InFlight {
                continue;
            }
            leg.state = LegState::Done;
            for at in &leg.recipients {
                let recipient = &mut message.recipients[*at as usize];
                if matches!(
                    recipient.state,
                    RecipientState::Waiting | RecipientState::Failed
                ) {
                    recipient.state = RecipientState::Closed;
                }
            }
        }
    }

    /// Deals with recipients that failed, records what is settled, and
    /// completes the message if nothing is left.
    pub(crate) fn settle(&mut self, sequence: u64, mut newly: Vec<(u32, Settled)>) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if message.phase != Phase::Active {
            return;
        }
        let failed: Vec<u32> = message
            .recipients
            .iter()
            .enumerate()
            .filter(|(_, r)| r.state == RecipientState::Failed)
            .map(|(at, _)| at as u32)
            .collect();
        if !failed.is_empty() {
            let silent = self.bounce(sequence, &failed);
            newly.extend(silent.into_iter().map(|at| (at, Settled::Failed)));
        }
        if self.check_complete(sequence) || newly.is_empty() {
            return;
        }
        let seq = self.append(
            &Header::Progress {
                sequence,
                settled: newly,
            },
            &[],
        );
        self.wait(seq, Waiter::Progress(sequence));
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.progress = seq;
            message.records.push(seq);
        }
    }

    /// Completes a message of which nothing is left; true when it did.
    pub(crate) fn check_complete(&mut self, sequence: u64) -> bool {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return false;
        };
        let open = |r: &super::message::Recipient| {
            matches!(r.state, RecipientState::Waiting | RecipientState::Failed)
        };
        if message.phase != Phase::Active
            || message.children > 0
            || message.recipients.iter().any(open)
        {
            return false;
        }
        if let CopyState::Trying(peer) = message.copy {
            if message.holders.iter().any(|h| h.peer == peer) {
                // The content of a copy has left: who holds it must be known.
                return false;
            }
            message.copy = CopyState::Failed;
        }
        message.phase = Phase::Completing;
        self.keep_before_done(sequence);
        let Some(message) = self.messages.get_mut(&sequence) else {
            return false;
        };
        let holders = message.holders.clone();
        self.verified(sequence);
        if self.complete(sequence) {
            return true;
        }
        let tell = self.tell(&holders);
        let seq = self.append(&Header::Done { sequence, tell }, &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.progress = seq;
        }
        self.wait(seq, Waiter::Done(sequence));
        true
    }

    /// What was settled is durable: legs that waited for it go on.
    pub(crate) fn progress_durable(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if message.progress > self.store.durable() {
            return;
        }
        let mut routes = Vec::new();
        for (at, leg) in message.legs.iter_mut().enumerate() {
            if leg.state == LegState::Recording {
                leg.state = LegState::Ready;
                self.routes.list[leg.route].ready.push_back((sequence, at));
                routes.push(leg.route);
            }
        }
        for route in routes {
            self.kick_route(route);
        }
    }

    /// Legs whose next attempt has come.
    pub(crate) fn deferred_due(&mut self) {
        self.deferred_armed = 0;
        let mut routes = Vec::new();
        while let Some((at, sequence, leg)) = self.deferred.first_key_value().map(|(k, _)| *k) {
            if at > self.now.mono {
                Self::arm(
                    &mut self.timers,
                    Timer::Deferred,
                    at,
                    &mut self.deferred_armed,
                );
                break;
            }
            if let Some((_, route)) = self.deferred.pop_first() {
                // What waits for a mailbox database is on no list.
                if let Some(entry) = self.routes.list.get_mut(route) {
                    entry.put_off = entry.put_off.saturating_sub(1);
                }
            }
            let Some(message) = self.messages.get_mut(&sequence) else {
                continue;
            };
            let Some(entry) = message.legs.get_mut(leg) else {
                continue;
            };
            if entry.state != LegState::Retry(at) {
                continue;
            }
            if entry.route >= super::LOCAL {
                self.retry_local(sequence, leg);
                continue;
            }
            if message.progress > self.store.durable() {
                entry.state = LegState::Recording;
                continue;
            }
            entry.state = LegState::Ready;
            let route = match self.redirected {
                Some(redirected) if entry.route < LOCAL => redirected,
                _ => entry.route,
            };
            entry.route = route;
            self.routes.list[route].ready.push_back((sequence, leg));
            routes.push(route);
        }
        routes.sort_unstable();
        routes.dedup();
        for route in routes {
            self.expire_ready(route);
            self.kick_route(route);
        }
    }
}
