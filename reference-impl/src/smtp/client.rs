//! The client's side of a session: to a next hop, to a peer, or both.
//!
//! A session is kept while there is work and for
//! `send-connection-idle-time` after. Everything before the content of a
//! message goes out in one piece where the server offers PIPELINING.

use std::collections::VecDeque;

use super::auth::{Handshake, Nonce};
use super::link::{Close, Link};
use super::query::Query;
use super::reply::{self, Reply};
use super::{auth, data, private};
use crate::event::EventKind;
use crate::hex;
use crate::io::{ConnId, DialError};
use crate::queue::{Attempt, HostId, Outcome, PeerId, Queue, Work};
use crate::record::{EIGHT_BIT, UTF8};

/// How long an answer to QUIT is waited for, in nanoseconds.
const QUIT_PATIENCE: u64 = 5_000_000_000;

/// What the server offers.
#[derive(Debug, Default)]
struct Offers {
    pipelining: bool,
    eight_bit: bool,
    utf8: bool,
    /// `SIZE`, and its limit if it names one.
    size: Option<Option<u64>>,
    shadow: bool,
}

/// Where the session stands.
#[derive(Debug)]
enum State {
    Dialling,
    Greeting,
    Ehlo,
    Helo,
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

/// What a reply is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Request,
    Mail,
    Rcpt(usize),
    Data,
}

/// What is being sent.
#[derive(Debug, Clone, Copy)]
enum Job {
    Deliver { sequence: u64, leg: usize },
    Copy(Attempt),
}

/// One transaction.
#[derive(Debug)]
struct Transaction {
    job: Job,
    /// Recipients (by index) and what is known of each.
    recipients: Vec<(u32, Option<Outcome>)>,
    /// Replies that are due, in order.
    due: VecDeque<Step>,
    /// Steps not sent yet: only without PIPELINING.
    unsent: VecDeque<Step>,
    /// An error that stands for the whole transaction.
    error: Option<(Box<str>, bool)>,
    mail_ok: bool,
    /// The content is out; its reply is due.
    sent: bool,
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
    name: Box<str>,
    offers: Offers,
    state: State,
    /// The host knows that this session is up.
    ready: bool,
    /// The sequences of the last question or withdrawal.
    pub(super) asked: Vec<u64>,
}

impl Client {
    pub(crate) fn new(conn: ConnId, host: HostId, queue: &Queue) -> Self {
        let entry = &queue.hosts[host];
        let name = match entry.peer {
            Some(peer) => queue.peers[peer].name.clone(),
            None => entry.address.to_string().into(),
        };
        let mut client = Self {
            link: Link::new(conn),
            host,
            peer: None,
            database: crate::store::DatabaseId(0),
            name,
            offers: Offers::default(),
            state: State::Dialling,
            ready: false,
            asked: Vec::new(),
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
            State::Dialling | State::Greeting | State::Ehlo | State::Helo
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
        match &mut self.state {
            State::Dialling => {}
            State::Greeting if reply.positive() => {
                self.state = State::Ehlo;
                let line = format!("EHLO {}\r\n", queue.config.name);
                self.link.write(&line);
                self.patience(queue);
            }
            State::Ehlo if reply.positive() => {
                self.offers = offers(reply);
                self.introduce(queue);
            }
            State::Ehlo if reply.permanent() => {
                self.state = State::Helo;
                let line = format!("HELO {}\r\n", queue.config.name);
                self.link.write(&line);
                self.patience(queue);
            }
            State::Helo if reply.positive() => self.introduce(queue),
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
            // Unasked: a 421, or garbage. Either way there is nothing to gain.
            State::Idle => self.lost(&reply.summary(), Close::Shutdown, queue),
            State::Quit => self.link.end(Close::Shutdown),
        }
    }

    /// EHLO is through: a peer is to prove itself, anyone else gets work.
    fn introduce(&mut self, queue: &mut Queue) {
        let entry = &queue.hosts[self.host];
        if entry.peer.is_some() && queue.key.is_some() && self.offers.shadow {
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
            self.no_peer("does not offer XSHADOWREQUEST", queue);
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
        let claims = format!("{} {}", queue.database, queue.boot);
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
            &[_, database, boot] if reply.positive() => {
                private::database_id(database).zip(boot.parse::<u32>().ok())
            }
            _ => None,
        };
        let (Some((database, boot)), Some(peer)) = (parsed, queue.hosts[self.host].peer) else {
            return self.unproved(&reply.summary(), queue);
        };
        self.peer = Some(peer);
        self.database = database;
        queue.contact(peer, database, boot);
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
            return self.begin_query(Query::Discards, queue);
        }
        self.next(queue);
    }

    /// Takes the next work, or waits for some.
    pub(crate) fn next(&mut self, queue: &mut Queue) {
        self.state = State::Idle;
        while self.link.open() && matches!(self.state, State::Idle) {
            match queue.next_work(self.host, self.link.conn) {
                Some(Work::Deliver { sequence, leg }) => self.deliver(sequence, leg, queue),
                Some(Work::Copy(attempt)) => self.copy(attempt, queue),
                Some(Work::Poll) => self.begin_query(Query::Discards, queue),
                Some(Work::Withdraw) => self.begin_query(Query::Withdraw, queue),
                None => {
                    let idle = queue.config.send_connection_idle_time;
                    self.link.deadline = queue.later(idle);
                    if idle.is_zero() || queue.draining {
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

    fn quit(&mut self, queue: &mut Queue) {
        queue.session_leaves(self.host, self.link.conn);
        self.ready = false;
        self.state = State::Quit;
        self.link.write("QUIT\r\n");
        self.link.deadline = queue.now.mono.saturating_add(QUIT_PATIENCE);
    }

    /// The session ends other than by our QUIT: its work is reported failed.
    pub(super) fn lost(&mut self, why: &str, close: Close, queue: &mut Queue) {
        if !self.link.open() {
            return;
        }
        if close == Close::Shutdown {
            self.link.write("QUIT\r\n");
        }
        self.link.end(close);
        match std::mem::replace(&mut self.state, State::Quit) {
            State::Quit => return,
            State::Transaction(transaction) => {
                let maybe = transaction.sent;
                self.report(*transaction, why, maybe, queue);
            }
            State::Query(query) => self.query_lost(query, why, queue),
            _ => {}
        }
        if self.ready {
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

    /// Begins a delivery; the session stays idle when it ends at once.
    fn deliver(&mut self, sequence: u64, leg: usize, queue: &mut Queue) {
        let Some(message) = queue.messages.get(&sequence) else {
            return;
        };
        let recipients = message.legs[leg]
            .recipients
            .iter()
            .filter(|at| message.waits(**at))
            .map(|at| (*at, None))
            .collect();
        let flags = message.envelope.flags;
        let size = (message.trace.len() + message.body.len()) as u64;
        let mut transaction = Transaction {
            job: Job::Deliver { sequence, leg },
            recipients,
            due: VecDeque::new(),
            unsent: VecDeque::new(),
            error: None,
            mail_ok: false,
            sent: false,
        };
        let impossible = if flags & EIGHT_BIT != 0 && !self.offers.eight_bit {
            Some("554 5.6.3 The next hop takes no 8-bit content")
        } else if flags & UTF8 != 0 && !self.offers.utf8 {
            Some("553 5.6.7 The next hop takes no SMTPUTF8")
        } else if self
            .offers
            .size
            .flatten()
            .is_some_and(|limit| limit > 0 && size > limit)
        {
            Some("552 5.3.4 The next hop takes no message of this size")
        } else {
            None
        };
        if let Some(why) = impossible {
            transaction.error = Some((why.into(), true));
            return self.report(transaction, why, false, queue);
        }
        self.begin(transaction, queue);
    }

    fn copy(&mut self, attempt: Attempt, queue: &mut Queue) {
        if self.peer.is_none() {
            return queue.copy_failed(attempt, "the server there is no peer", false);
        }
        let Some(message) = queue.messages.get(&attempt.sequence) else {
            return;
        };
        let count = message.envelope.recipients.len() as u32;
        let transaction = Transaction {
            job: Job::Copy(attempt),
            recipients: (0..count).map(|at| (at, None)).collect(),
            due: VecDeque::new(),
            unsent: VecDeque::new(),
            error: None,
            mail_ok: false,
            sent: false,
        };
        self.begin(transaction, queue);
    }

    fn begin(&mut self, mut transaction: Transaction, queue: &mut Queue) {
        let steps = &mut transaction.unsent;
        if matches!(transaction.job, Job::Copy(_)) {
            steps.push_back(Step::Request);
        }
        steps.push_back(Step::Mail);
        steps.extend((0..transaction.recipients.len()).map(Step::Rcpt));
        steps.push_back(Step::Data);
        self.advance(&mut transaction, queue);
        self.state = State::Transaction(Box::new(transaction));
        self.patience(queue);
    }

    /// Sends the next step, or all of them where that is allowed.
    fn advance(&mut self, transaction: &mut Transaction, queue: &Queue) {
        while let Some(step) = transaction.unsent.pop_front() {
            self.send(transaction, step, queue);
            transaction.due.push_back(step);
            if !self.offers.pipelining {
                break;
            }
        }
    }

    fn send(&mut self, transaction: &Transaction, step: Step, queue: &Queue) {
        let out = &mut self.link.out;
        if out.capacity() == 0 {
            out.reserve(256);
        }
        let sequence = transaction.job.sequence();
        let Some(message) = queue.messages.get(&sequence) else {
            return;
        };
        let envelope = &message.envelope;
        match step {
            Step::Request => {
                let line = format!("XSHADOWREQUEST {sequence:x} {}\r\n", message.arrival);
                out.extend_from_slice(line.as_bytes());
            }
            Step::Mail => {
                out.extend_from_slice(b"MAIL FROM:<");
                out.extend_from_slice(envelope.sender.as_bytes());
                out.push(b'>');
                if self.offers.size.is_some() {
                    let size = message.trace.len() + message.body.len();
                    out.extend_from_slice(b" SIZE=");
                    push_number(out, size);
                }
                if envelope.flags & EIGHT_BIT != 0 && self.offers.eight_bit {
                    out.extend_from_slice(b" BODY=8BITMIME");
                }
                if envelope.flags & UTF8 != 0 && self.offers.utf8 {
                    out.extend_from_slice(b" SMTPUTF8");
                }
                out.extend_from_slice(b"\r\n");
            }
            Step::Rcpt(at) => {
                let index = transaction.recipients[at].0 as usize;
                out.extend_from_slice(b"RCPT TO:<");
                out.extend_from_slice(envelope.recipients[index].as_bytes());
                out.extend_from_slice(b">\r\n");
            }
            Step::Data => out.extend_from_slice(b"DATA\r\n"),
        }
    }

    fn transaction_reply(&mut self, reply: &Reply<'_>, queue: &mut Queue) {
        if reply.code == 421 {
            // The server is leaving; this transaction is over, others are not
            // concerned.
            return self.lost(&reply.summary(), Close::Shutdown, queue);
        }
        let State::Transaction(mut transaction) = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        let Some(step) = transaction.due.pop_front() else {
            // The reply to the content.
            return self.finish(*transaction, reply, queue);
        };
        let error = || (Box::from(reply.summary()), reply.permanent());
        match step {
            Step::Request if !reply.positive() => transaction.error = Some(error()),
            Step::Mail if reply.positive() => transaction.mail_ok = true,
            Step::Mail => {
                transaction.error.get_or_insert_with(error);
            }
            // Where MAIL failed, what is said of recipients means nothing.
            Step::Rcpt(_) if transaction.error.is_some() => {}
            Step::Rcpt(at) if !reply.positive() => {
                // 552 to RCPT means too many recipients (RFC 5321 4.5.3.1.10).
                let permanent = reply.permanent() && reply.code != 552;
                let why = Box::from(reply.summary());
                transaction.recipients[at].1 = Some(if permanent {
                    Outcome::Failed(why)
                } else {
                    Outcome::Deferred(why)
                });
            }
            Step::Data if reply.code == 354 => return self.content(transaction, queue),
            Step::Data => {
                if transaction.any_accepted() {
                    transaction.error.get_or_insert_with(error);
                }
                return self.abandon(*transaction, queue);
            }
            Step::Request | Step::Rcpt(_) => {}
        }
        let hopeless = transaction.error.is_some()
            || (transaction.unsent.front() == Some(&Step::Data) && !transaction.any_accepted());
        if hopeless && transaction.due.is_empty() {
            return self.abandon(*transaction, queue);
        }
        self.advance(&mut transaction, queue);
        self.state = State::Transaction(transaction);
        self.patience(queue);
    }

    /// The transaction ends before its content: what is known is reported,
    /// and the server forgets the rest.
    fn abandon(&mut self, transaction: Transaction, queue: &mut Queue) {
        let open = transaction.mail_ok;
        self.report(transaction, "no recipient was accepted", false, queue);
        if open {
            self.link.write("RSET\r\n");
            self.state = State::Reset;
            self.patience(queue);
        } else {
            self.next(queue);
        }
    }

    /// 354: the content goes out; only its end where nobody would get it.
    fn content(&mut self, mut transaction: Box<Transaction>, queue: &mut Queue) {
        let copy = matches!(transaction.job, Job::Copy(_));
        let all = transaction.recipients.iter().all(|(_, o)| o.is_none());
        let wanted = transaction.error.is_none()
            && transaction.mail_ok
            && if copy {
                all
            } else {
                transaction.any_accepted()
            };
        let sequence = transaction.job.sequence();
        if !wanted {
            transaction
                .error
                .get_or_insert_with(|| ("451 4.5.0 Out of step".into(), false));
            self.link.write(".\r\n");
        } else {
            if let Job::Copy(attempt) = transaction.job {
                queue.copy_leaves(attempt);
            }
            if let Some(message) = queue.messages.get(&sequence) {
                data::stuff_part(&message.trace, &mut self.link.out);
                data::stuff(&message.body, &mut self.link.out);
            }
            transaction.sent = true;
        }
        self.state = State::Transaction(transaction);
        self.patience(queue);
    }

    /// The reply to the content.
    fn finish(&mut self, mut transaction: Transaction, reply: &Reply<'_>, queue: &mut Queue) {
        if transaction.sent {
            for (_, outcome) in &mut transaction.recipients {
                if outcome.is_none() {
                    let why = || Box::from(reply.summary());
                    *outcome = Some(match reply.code {
                        200..300 => Outcome::Delivered,
                        500.. => Outcome::Failed(why()),
                        _ => Outcome::Deferred(why()),
                    });
                }
            }
        }
        // With the content sent every recipient has its outcome by now.
        self.report(transaction, "out of step", false, queue);
        self.next(queue);
    }

    /// Tells the queue how a transaction ended; `maybe` when the server may
    /// have taken the content all the same.
    fn report(&mut self, transaction: Transaction, why: &str, maybe: bool, queue: &mut Queue) {
        let (why, permanent) = match &transaction.error {
            Some((why, permanent)) => (why.as_ref(), *permanent),
            None => (why, false),
        };
        match transaction.job {
            Job::Copy(attempt) => {
                let all = transaction
                    .recipients
                    .iter()
                    .all(|(_, o)| *o == Some(Outcome::Delivered));
                if all && transaction.error.is_none() {
                    queue.copy_made(attempt);
                } else {
                    queue.copy_failed(attempt, why, maybe);
                }
            }
            Job::Deliver { sequence, leg } => {
                let outcomes = transaction
                    .recipients
                    .into_iter()
                    .map(|(at, outcome)| {
                        let rest = || {
                            if permanent {
                                Outcome::Failed(why.into())
                            } else {
                                Outcome::Deferred(why.into())
                            }
                        };
                        (at, outcome.unwrap_or_else(rest))
                    })
                    .collect();
                queue.attempted(sequence, leg, &self.name, outcomes);
            }
        }
    }
}

impl Job {
    fn sequence(self) -> u64 {
        match self {
            Self::Deliver { sequence, .. } => sequence,
            Self::Copy(attempt) => attempt.sequence,
        }
    }
}

impl Transaction {
    /// Whether a recipient is not refused yet.
    fn any_accepted(&self) -> bool {
        self.recipients.iter().any(|(_, outcome)| outcome.is_none())
    }
}

/// Appends a number in decimal digits.
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
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
            "XSHADOWREQUEST" => offers.shadow = true,
            _ => {}
        }
    }
    offers
}
