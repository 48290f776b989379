//! Addresses that are dialled, their sessions, and what these work on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Action, Attempt, HostId, PeerId, Queue, Timer};
use crate::config::TlsPolicy;
use crate::event::EventKind;
use crate::io::ConnId;
use crate::mark::Mark;

/// One piece of work for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Deliver one leg of a message.
    Deliver { sequence: u64, leg: usize },
    /// Have a copy made.
    Copy(Attempt),
    /// Ask for discards, and after what became of old copies.
    Poll,
    /// Tell of messages that were refused.
    Withdraw,
    /// Ask for a replay, or how far it is.
    Resubmit(u64),
}

/// An address that is dialled: a next hop, a peer, or both.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    /// When sessions to it use TLS, and whom its certificate has to be for.
    pub(crate) tls: TlsPolicy,
    pub(crate) tls_name: Box<str>,
    /// Sessions do without TLS up to this time, because a handshake failed.
    pub(crate) clear_until: u64,
    /// Found by a name, not configured.
    pub(crate) dynamic: bool,
    pub(crate) peer: Option<PeerId>,
    /// Routes that lead here.
    pub(crate) routes: Vec<usize>,
    /// Sessions that exist, those being dialled included.
    pub(crate) sessions: u32,
    /// Of these, those that are not ready for work yet.
    pub(crate) connecting: u32,
    /// Sessions without work; the last one comes first.
    pub(crate) idle: Vec<ConnId>,
    /// Copies that wait for a session.
    pub(crate) copies: VecDeque<Attempt>,
    pub(crate) poll_due: bool,
    pub(crate) withdraw_due: bool,
    /// Requests to be asked of the peer.
    pub(crate) resubmits: VecDeque<u64>,
    /// Not to be tried for deliveries before this time; 0 when it is up.
    pub(crate) down_until: u64,
    /// Failures in a row.
    pub(crate) failures: u32,
    pub(crate) last_error: String,
    pub(crate) armed: u64,
}

impl Host {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tls: TlsPolicy::Opportunistic,
            tls_name: "".into(),
            clear_until: 0,
            dynamic: false,
            peer: None,
            routes: Vec::new(),
            sessions: 0,
            connecting: 0,
            idle: Vec::new(),
            copies: VecDeque::new(),
            poll_due: false,
            withdraw_due: false,
            resubmits: VecDeque::new(),
            down_until: 0,
            failures: 0,
            last_error: String::new(),
            armed: 0,
        }
    }
}

impl Queue {
    /// Number of sessions that `host` may have.
    fn session_limit(&self, host: HostId) -> u32 {
        let config = &self.config;
        match self.hosts[host].peer {
            Some(_) => config
                .max_connections_per_peer
                .max(config.max_connections_per_host),
            None => config.max_connections_per_host,
        }
    }

    /// Finds a session for one more piece of work at `host`, of which `open`
    /// pieces wait: wakes an idle one, or dials. False when neither can be.
    pub(crate) fn engage(&mut self, host: HostId, open: usize) -> bool {
        let limit = self.session_limit(host);
        let entry = &mut self.hosts[host];
        if let Some(conn) = entry.idle.pop() {
            self.actions.push_back(Action::Work { conn });
            return true;
        }
        if entry.sessions >= limit || entry.connecting as usize >= open {
            return false;
        }
        entry.sessions += 1;
        entry.connecting += 1;
        let conn = ConnId(ConnId::DIALLED + self.next_dial);
        self.next_dial += 1;
        self.actions.push_back(Action::Dial { conn, host });
        true
    }

    /// A session is ready for its first work: the host is up.
    pub(crate) fn session_ready(&mut self, host: HostId) {
        let entry = &mut self.hosts[host];
        entry.connecting = entry.connecting.saturating_sub(1);
        entry.failures = 0;
        entry.down_until = 0;
        entry.last_error.clear();
    }

    /// The next work for the session `conn`; without any it counts as idle.
    /// A stranger at a peer's address gets deliveries only.
    pub(crate) fn next_work(&mut self, host: HostId, conn: ConnId, stranger: bool) -> Option<Work> {
        let work = if stranger {
            self.find_delivery(host)
        } else {
            self.find_work(host)
        };
        if work.is_none() {
            self.hosts[host].idle.push(conn);
        }
        work
    }

    fn find_work(&mut self, host: HostId) -> Option<Work> {
        let entry = &mut self.hosts[host];
        if std::mem::take(&mut entry.withdraw_due) {
            return Some(Work::Withdraw);
        }
        if std::mem::take(&mut entry.poll_due) {
            return Some(Work::Poll);
        }
        while let Some(attempt) = self.hosts[host].copies.pop_front() {
            if self.attempt_stands(attempt) {
                return Some(Work::Copy(attempt));
            }
        }
        if let Some(request) = self.hosts[host].resubmits.pop_front() {
            return Some(Work::Resubmit(request));
        }
        self.find_delivery(host)
    }

    fn find_delivery(&mut self, host: HostId) -> Option<Work> {
        if self.draining {
            return None;
        }
        for at in 0..self.hosts[host].routes.len() {
            let route = self.hosts[host].routes[at];
            if let Some((sequence, leg)) = self.next_leg(route) {
                return Some(Work::Deliver { sequence, leg });
            }
        }
        None
    }

    /// An idle session closes.
    pub(crate) fn session_leaves(&mut self, host: HostId, conn: ConnId) {
        let entry = &mut self.hosts[host];
        entry.sessions = entry.sessions.saturating_sub(1);
        entry.idle.retain(|idle| *idle != conn);
    }

    /// A session that was ready broke or was closed by the other side; its
    /// work has been reported already.
    pub(crate) fn session_lost(&mut self, host: HostId, conn: ConnId) {
        self.session_leaves(host, conn);
        // What waits needs another session.
        self.kick_host(host);
    }

    /// A session broke in the middle of its work. What ended it may have ended
    /// those beside it too, without a word to the idle ones: they are not used
    /// again, or each would cost a message one more attempt.
    pub(crate) fn session_broke(&mut self, host: HostId, conn: ConnId) {
        self.session_leaves(host, conn);
        let entry = &mut self.hosts[host];
        let idle = std::mem::take(&mut entry.idle);
        if !idle.is_empty() {
            entry.sessions = entry.sessions.saturating_sub(idle.len() as u32);
            for conn in idle {
                self.actions.push_back(Action::Dismiss { conn });
            }
            self.mark(Mark::IdleDismissed);
        }
        self.kick_host(host);
    }

    /// A session never became ready: the host counts as down.
    pub(crate) fn dial_failed(&mut self, host: HostId, why: &str) {
        let after = self.config.retry_after(self.hosts[host].failures);
        let until = self.later(after);
        let entry = &mut self.hosts[host];
        entry.sessions = entry.sessions.saturating_sub(1);
        entry.connecting = entry.connecting.saturating_sub(1);
        // Several dials may have been under way; they are one failure.
        if entry.down_until <= self.now.mono {
            entry.failures = entry.failures.saturating_add(1);
            entry.down_until = until;
        }
        why.clone_into(&mut entry.last_error);
        let until = entry.down_until;
        Self::arm(&mut self.timers, Timer::Host(host), until, &mut entry.armed);
        let alone = entry.sessions == 0;
        if alone {
            if std::mem::take(&mut self.hosts[host].poll_due)
                && let Some(peer) = self.hosts[host].peer
            {
                self.poll_failed(peer, why);
            }
            self.hosts[host].withdraw_due = false;
            self.requests_stranded(host, why);
            let stranded = std::mem::take(&mut self.hosts[host].copies);
            for attempt in stranded {
                self.copy_failed(attempt, why, false);
            }
        }
        let address = self.hosts[host].address.to_string();
        for at in 0..self.hosts[host].routes.len() {
            let route = self.hosts[host].routes[at];
            self.route_stalled(route, &address, why);
        }
    }

    /// A handshake failed where TLS is optional: the next sessions go in the
    /// clear for an hour.
    pub(crate) fn without_tls(&mut self, host: HostId) {
        let until = self.later(Duration::from_secs(3_600));
        let entry = &mut self.hosts[host];
        entry.sessions = entry.sessions.saturating_sub(1);
        entry.connecting = entry.connecting.saturating_sub(1);
        entry.clear_until = until;
        self.kick_host(host);
    }

    /// Looks for sessions for everything that waits at `host`.
    pub(crate) fn kick_host(&mut self, host: HostId) {
        let entry = &self.hosts[host];
        let open = entry.copies.len()
            + usize::from(entry.poll_due)
            + usize::from(entry.withdraw_due)
            + usize::from(!entry.resubmits.is_empty());
        for _ in 0..open {
            if !self.engage(host, open) {
                break;
            }
        }
        for at in 0..self.hosts[host].routes.len() {
            let route = self.hosts[host].routes[at];
            self.kick_route(route);
        }
    }

    /// A timer of the host went off: it may be tried again, or copies have
    /// waited for a session for too long.
    pub(crate) fn host_due(&mut self, host: HostId) {
        self.hosts[host].armed = 0;
        let now = self.now.mono;
        while let Some(attempt) = self.hosts[host].copies.front().copied() {
            if attempt.deadline > now {
                break;
            }
            self.hosts[host].copies.pop_front();
            self.mark(Mark::CopyWithoutSession);
            self.copy_failed(attempt, "no session in time", false);
        }
        let entry = &mut self.hosts[host];
        if entry.down_until != 0 && entry.down_until <= now {
            for at in 0..self.hosts[host].routes.len() {
                let route = self.hosts[host].routes[at];
                self.expire_ready(route);
                self.kick_route(route);
            }
        }
        let entry = &mut self.hosts[host];
        let next = [
            entry.copies.front().map(|attempt| attempt.deadline),
            (entry.down_until > now).then_some(entry.down_until),
        ];
        if let Some(next) = next.into_iter().flatten().min() {
            Self::arm(&mut self.timers, Timer::Host(host), next, &mut entry.armed);
        }
    }

    /// Logs that a peer or next hop behaved in an unexpected way.
    pub(crate) fn log_host(&mut self, kind: EventKind, host: HostId, detail: String) {
        let server = match self.hosts[host].peer {
            Some(peer) => self.peers[peer].name.to_string(),
            None => self.hosts[host].address.to_string(),
        };
        self.log(kind, None, "", &server, detail);
    }
}
