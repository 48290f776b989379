//! The client's side of a session: to a next hop, to a peer, or both.
//!
//! A session is kept while there is work and for
//! `send-connection-idle-time` after. Everything before the content of a
//! message goes out in one piece where the server offers PIPELINING.

use super::auth::{Handshake, Nonce};
use super::inventory;
use super::link::{Close, Link};
use super::query::Query;
use super::reply::{self, Reply};
use super::transaction::{Job, Transaction};
use super::{auth, private};
use crate::event::EventKind;
use crate::hex;
use crate::io::{ConnId, DialError};
use crate::mark::Mark;
use crate::queue::{HostId, PeerId, Queue, Work};

/// How long an answer to QUIT is waited for, in nanoseconds.
const QUIT_PATIENCE: u64 = 5_000_000_000;

/// What the server offers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
    /// `SIZE`, and its limit if it names one.
    pub(super) size: Option<Option<u64>>,
    pub(super) dsn: bool,
    pub(super) starttls: bool,
    /// It holds copies (`XSHADOWREQUEST`).
    pub(super) shadow: bool,
    /// It tracks what it takes (`XSHADOW`).
    pub(super) track: bool,
}

/// Where the session stands.
#[derive(Debug)]
pub(super) enum State {
    Dialling,
    Greeting,
    Ehlo,
    Helo,
    /// STARTTLS is out.
    StartTls,
    /// TLS is being set up.
    Securing,
    /// XPEER is out.
    Peer(Nonce),
    /// XPROVE is out.
    Prove,
    /// The dialogue about discards.
    Query(Query),
    Idle,
    Transaction(Box<Transaction>),
    /// RSET is out.
    Reset,
    /// QUIT is out.
    Quit,
}

/// One session of ours with a server.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(super) host: HostId,
    /// The peer at this address, once it has proved itself.
    pub(super) peer: Option<PeerId>,
    pub(super) database: crate::store::DatabaseId,
    /// How it is named in events.
    pub(super) name: Box<str>,
    pub(super) offers: Offers,
    /// Under TLS.
    pub(super) secured: bool,
    pub(super) state: State,
    /// The host knows that this session is up.
    ready: bool,
    /// The sequences of the last question or withdrawal.
    pub(super) asked: Vec<u64>,
    /// Messages taken over that the primary has been told of.
    pub(super) told: std::collections::BTreeSet<u64>,
    /// The dialogue is about mail that this server took from us (hold model).
    pub(super) hold: bool,
    /// The session ends when the dialogue does.
    parting: bool,
}

impl Client {
    pub(crate) fn new(conn: ConnId, host: HostId, queue: &Queue) -> Self {
        let entry = &queue.hosts[host];
        let name = match entry.peer {
            Some(peer) => queue.peers[peer].name.clone(),
            None => entry.address.to_string().into(),
        };
        let mut client = Self {
            link: Link::new(conn, 8 << 10),
            host,
            peer: None,
            database: crate::store::DatabaseId(0),
            name,
            offers: Offers::default(),
            secured: false,
            state: State::Dialling,
            ready: false,
            asked: Vec::new(),
            told: std::collections::BTreeSet::new(),
            hold: false,
            parting: false,
        };
        client.patience(queue);
        client
    }

    /// The dial ended.
    pub(crate) fn dialled(&mut self, result: Result<(), DialError>, queue: &mut Queue) {
        match result {
            Ok(()) => {
                self.state = State::Greeting;
                self.patience(queue);
            }
            Err(error) => self.lost(&error.to_string(), Close::Gone, queue),
        }
    }

    /// The connection is over.
    pub(crate) fn closed(&mut self, reset: bool, queue: &mut Queue) {
        if matches!(self.state, State::Securing) {
            return self.handshake_failed(queue);
        }
        let why = if reset {
            "connection reset"
        } else {
            "connection closed"
        };
        self.lost(why, Close::Gone, queue);
    }

    /// The time limit passed.
    pub(crate) fn timeout(&mut self, queue: &mut Queue) {
        match self.state {
            State::Securing => {
                self.handshake_failed(queue);
                self.link.abort();
            }
            State::Idle => self.quit(queue),
            State::Quit => self.link.end(Close::Abort),
            _ => self.lost("no answer in time", Close::Abort, queue),
        }
    }

    /// Takes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8], queue: &mut Queue) {
        if self.link.inbuf.is_empty() {
            let used = self.replies(bytes, queue);
            self.link.inbuf.extend_from_slice(&bytes[used..]);
        } else {
            let mut buffer = std::mem::take(&mut self.link.inbuf);
            buffer.extend_from_slice(bytes);
            let used = self.replies(&buffer, queue);
            buffer.drain(..used);
            self.link.inbuf = buffer;
        }
    }

    fn replies(&mut self, bytes: &[u8], queue: &mut Queue) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.link.open() {
            match reply::parse(&bytes[at..]) {
                Ok(Some((reply, used))) => {
                    at += used;
                    if let Some(peer) = self.peer {
                        queue.heard(peer);
                    }
                    self.reply(&reply, queue);
                    if matches!(self.state, State::Securing) && at < bytes.len() {
                        self.lost(
                            "the server sent more behind its reply to STARTTLS",
                            Close::Abort,
                            queue,
                        );
                    }
                }
                Ok(None) => break,
                Err(garbled) => {
                    self.lost(garbled.0, Close::Abort, queue);
                    break;
                }
            }
        }
        if self.link.open() { at } else { bytes.len() }
    }

    /// Sets the time limit for the next reply.
    pub(super) fn patience(&mut self, queue: &Queue) {
        let config = &queue.config;
        let mut limit = queue.later(config.send_connection_inactivity_timeout);
        let attempt = match &self.state {
            State::Transaction(t) => match t.job {
                Job::Copy(attempt) => Some(attempt.deadline),
                Job::Deliver { .. } => None,
            },
            State::Query(_) | State::Peer(_) | State::Prove => {
                Some(queue.later(config.shadow_attempt_timeout))
            }
            // A peer that does not even greet must not hold a copy up.
            State::Dialling
            | State::Greeting
            | State::Ehlo
            | State::Helo
            | State::StartTls
            | State::Securing
                if queue.hosts[self.host].peer.is_some() =>
            {
                Some(queue.later(config.shadow_attempt_timeout))
            }
            _ => None,
        };
        if let Some(attempt) = attempt {
            limit = limit.min(attempt);
        }
        self.link.deadline = limit;
    }

    fn reply(&mut self, reply: &Reply<'_>, queue: &mut Queue) {
        if reply.code == 421 && !matches!(self.state, State::Dialling | State::Quit) {
            // The server is leaving, asked or not; what is under way is over,
            // other work is not concerned. It waits for no QUIT, and while
            // replies are due it could take one for something else.
            if matches!(self.state, State::Transaction(_)) {
                queue.mark(Mark::LeftByServer);
            }
            return self.over(&reply.summary(), Close::Shutdown, queue);
        }
        match &mut self.state {
            State::Dialling => {}
            State::Greeting if reply.positive() => {
                self.hello(queue);
            }
            State::Ehlo if reply.positive() => {
                self.offers = offers(reply);
                if !self.begin_tls(queue) {
                    self.introduce(queue);
                }
            }
            State::Ehlo if reply.permanent() && !self.secured => {
                self.state = State::Helo;
                let line = format!("HELO {}\r\n", queue.config.name);
                self.link.write(&line);
                self.patience(queue);
            }
            State::Helo if reply.positive() => {
                if !self.begin_tls(queue) {
                    self.introduce(queue);
                }
            }
            State::StartTls => self.tls_reply(reply, queue),
            State::Securing => {}
            State::Greeting | State::Ehlo | State::Helo => {
                self.lost(&reply.summary(), Close::Shutdown, queue);
            }
            State::Peer(nonce) => {
                let nonce = *nonce;
                self.prove(nonce, reply, queue);
            }
            State::Prove => self.proved(reply, queue),
            State::Query(query) => {
                let query = *query;
                self.query_reply(query, reply, queue);
            }
            State::Transaction(_) => self.transaction_reply(reply, queue),
            State::Reset => {
                if reply.positive() {
                    self.next(queue);
                } else {
                    self.lost(&reply.summary(), Close::Shutdown, queue);
                }
            }
            // Unasked: there is nothing to gain.
            State::Idle => self.lost(&reply.summary(), Close::Shutdown, queue),
            State::Quit => self.link.end(Close::Shutdown),
        }
    }

    /// Says EHLO; what was offered before counts no more.
    pub(super) fn hello(&mut self, queue: &Queue) {
        self.offers = Offers::default();
        self.state = State::Ehlo;
        let line = format!("EHLO {}\r\n", queue.config.name);
        self.link.write(&line);
        self.patience(queue);
    }

    /// EHLO is through: a peer is to prove itself, anyone else gets work.
    pub(super) fn introduce(&mut self, queue: &mut Queue) {
        let entry = &queue.hosts[self.host];
        // Old business is done with a peer that offers neither any more.
        let business = entry
            .peer
            .is_some_and(|peer| queue.peers[peer].keeps_us_asking());
        let speaks = self.offers.shadow || self.offers.track || business;
        if entry.peer.is_some() && queue.key.is_some() && speaks {
            let nonce: Nonce = queue.rng.bytes();
            let line = format!(
                "XPEER {} {} {}\r\n",
                queue.config.name,
                self.name,
                hex::encode(&nonce)
            );
            self.link.write(&line);
            self.state = State::Peer(nonce);
            self.patience(queue);
            return;
        }
        if entry.peer.is_some() {
            let why = "offers neither XSHADOWREQUEST nor XSHADOW";
            let next = |route: &usize| !queue.routes.is_promotion(*route);
            let hop = entry.routes.iter().any(next);
            self.no_peer(why, queue);
            if !hop {
                // Kept, it would be taken for a way to the peer.
                return self.lost(why, Close::Shutdown, queue);
            }
        }
        self.up(queue);
    }

    /// What is at the peer's address is no peer: nothing private is said to
    /// it, and copies and polls fail.
    fn no_peer(&mut self, why: &str, queue: &mut Queue) {
        queue.log_host(EventKind::PeerRefused, self.host, why.to_owned());
        queue.peer_absent(self.host, why);
    }

    fn prove(&mut self, nonce: Nonce, reply: &Reply<'_>, queue: &mut Queue) {
        let line = reply.last_line().into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let key = queue.key.clone();
        let (Some(key), true, &[_, name, server_nonce, proof]) =
            (key, reply.positive(), words.as_slice())
        else {
            return self.unproved(&reply.summary(), queue);
        };
        let Some(server_nonce) = auth::nonce(server_nonce) else {
            return self.unproved("a malformed nonce", queue);
        };
        let handshake = Handshake {
            client: &queue.config.name,
            server: &self.name,
            client_nonce: &nonce,
            server_nonce: &server_nonce,
        };
        if !name.eq_ignore_ascii_case(&self.name) || !key.server_proved(&handshake, proof) {
            return self.unproved("its proof is wrong", queue);
        }
        let claims = format!(
            "{} {}{}",
            queue.database,
            queue.boot,
            queue.predecessors_claim()
        );
        let line = format!(
            "XPROVE {} {claims}\r\n",
            key.client_proof(&handshake, &claims)
        );
        self.link.write(&line);
        self.state = State::Prove;
        self.patience(queue);
    }

    fn proved(&mut self, reply: &Reply<'_>, queue: &mut Queue) {
        let line = reply.last_line().into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let parsed = match words.as_slice() {
            &[_, database, boot] | &[_, database, boot, _] if reply.positive() => {
                private::database_id(database).zip(boot.parse::<u32>().ok())
            }
            _ => None,
        };
        let chain = inventory::chain(words.get(3).copied());
        let (Some((database, boot)), Some(chain), Some(peer)) =
            (parsed, chain, queue.hosts[self.host].peer)
        else {
            return self.unproved(&reply.summary(), queue);
        };
        self.peer = Some(peer);
        self.database = database;
        queue.peers[peer].takes_copies = self.offers.shadow;
        queue.contact(peer, database, boot, &chain);
        self.up(queue);
    }

    fn unproved(&mut self, why: &str, queue: &mut Queue) {
        self.no_peer(why, queue);
        self.lost(why, Close::Shutdown, queue);
    }

    /// The session is ready for work. At a peer it begins with the question
    /// for discards, if there is anything to learn.
    fn up(&mut self, queue: &mut Queue) {
        self.ready = true;
        queue.session_ready(self.host);
        if let Some(peer) = self.peer
            && queue.peers[peer].of_interest()
        {
            queue.hosts[self.host].poll_due = false;
            return self.ask(queue);
        }
        self.next(queue);
    }

    /// Asks for discards: of copies held for this peer, then of what it took.
    fn ask(&mut self, queue: &mut Queue) {
        self.hold = self
            .peer
            .is_some_and(|peer| !queue.peers[peer].of_interest());
        if self.hold {
            self.begin_query(Query::Discards, queue);
        } else {
            self.begin_poll(queue);
        }
    }

    /// Takes the next work, or waits for some.
    pub(crate) fn next(&mut self, queue: &mut Queue) {
        self.state = State::Idle;
        if self.parting {
            return self.quit(queue);
        }
        // What stands at a peer's address without being one takes deliveries
        // and nothing else, and never waits for work.
        let stranger = self.peer.is_none() && queue.hosts[self.host].peer.is_some();
        while self.link.open() && matches!(self.state, State::Idle) {
            match queue.next_work(self.host, self.link.conn, stranger) {
                Some(Work::Deliver { sequence, leg }) => self.deliver(sequence, leg, queue),
                Some(Work::Copy(attempt)) => self.copy(attempt, queue),
                Some(Work::Poll) => self.ask(queue),
                Some(Work::Withdraw) => self.begin_query(Query::Withdraw, queue),
                Some(Work::Resubmit(request)) => {
                    self.begin_query(Query::Resubmit(request), queue);
                }
                None => {
                    let idle = queue.config.send_connection_idle_time;
                    self.link.deadline = queue.later(idle);
                    if idle.is_zero() || queue.draining || stranger {
                        self.quit(queue);
                    }
                    return;
                }
            }
        }
    }

    /// The queue has work for an idle session.
    pub(crate) fn wake(&mut self, queue: &mut Queue) {
        if matches!(self.state, State::Idle) {
            self.next(queue);
        } else if self.link.open() {
            // It found something else to do; the next idle moment looks again.
        } else {
            queue.kick_host(self.host);
        }
    }

    /// The node drains.
    pub(crate) fn leave(&mut self, queue: &mut Queue) {
        if matches!(self.state, State::Idle) {
            self.quit(queue);
        }
    }

    /// The queue has forgotten this session, which was idle.
    pub(crate) fn dismissed(&mut self, queue: &mut Queue) {
        if self.link.open() && matches!(self.state, State::Idle) {
            // It may be dead: nothing is asked on it any more.
            self.parting = true;
            self.quit(queue);
        }
    }

    /// A session with a server that keeps mail of ours ends with the question
    /// for discards.
    fn quit(&mut self, queue: &mut Queue) {
        let business = self
            .peer
            .is_some_and(|peer| queue.peers[peer].keeps_us_asking());
        if business && !std::mem::replace(&mut self.parting, true) {
            let idle = &mut queue.hosts[self.host].idle;
            idle.retain(|conn| *conn != self.link.conn);
            self.hold = true;
            return self.begin_query(Query::Discards, queue);
        }
        queue.session_leaves(self.host, self.link.conn);
        self.ready = false;
        self.state = State::Quit;
        self.link.write("QUIT\r\n");
        self.link.deadline = queue.now.mono.saturating_add(QUIT_PATIENCE);
    }

    /// The session ends other than by our QUIT: its work is reported failed.
    pub(super) fn lost(&mut self, why: &str, close: Close, queue: &mut Queue) {
        if close == Close::Shutdown && self.link.open() {
            self.link.write("QUIT\r\n");
        }
        self.over(why, close, queue);
    }

    /// The same without a QUIT.
    fn over(&mut self, why: &str, close: Close, queue: &mut Queue) {
        if !self.link.open() {
            return;
        }
        self.link.end(close);
        // Whoever says goodbye, or is told so, knows of no harm to others.
        let broke = close != Close::Shutdown && !matches!(self.state, State::Idle);
        match std::mem::replace(&mut self.state, State::Quit) {
            State::Quit => return,
            State::Transaction(transaction) => {
                let maybe = transaction.sent;
                self.report(*transaction, why, maybe, queue);
            }
            State::Query(query) => self.query_lost(query, why, queue),
            _ => {}
        }
        if self.ready && broke {
            queue.session_broke(self.host, self.link.conn);
        } else if self.ready {
            queue.session_lost(self.host, self.link.conn);
        } else {
            queue.dial_failed(self.host, why);
        }
    }

    pub(super) fn set_query(&mut self, query: Query, queue: &Queue) {
        self.state = State::Query(query);
        self.patience(queue);
    }

    /// What this session waited for is durable.
    pub(crate) fn durable(&mut self, queue: &mut Queue) {
        if let State::Query(query) = &self.state {
            let query = *query;
            self.query_durable(query, queue);
        }
    }
}

fn offers(reply: &Reply<'_>) -> Offers {
    let mut offers = Offers::default();
    for line in reply.lines().skip(1) {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        let keyword = words.next().unwrap_or("").to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => offers.pipelining = true,
            "8BITMIME" => offers.eight_bit = true,
            "SMTPUTF8" => offers.utf8 = true,
            "SIZE" => offers.size = Some(words.next().and_then(|n| n.parse().ok())),
            "DSN" => offers.dsn = true,
            "STARTTLS" => offers.starttls = true,
            "XSHADOW" => offers.track = true,
            // Either is a sign of a peer; without shadow redundancy there is
            // the second alone.
            "XSHADOWREQUEST" | "XRESUBMIT" => offers.shadow = true,
            _ => {}
        }
    }
    offers
}
