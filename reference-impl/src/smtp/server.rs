//! The server's side of a session (RFC 5321), one command after the other.
//!
//! While an end of data waits for the disk or a copy, the session takes no
//! further command: what was pipelined behind it stays in the buffer, so that
//! replies keep the order of commands.

use std::net::{IpAddr, Ipv6Addr};

use bytes::BufMut as _;

use super::address;
use super::auth::Nonce;
use super::chunking::Chunk;
use super::content::Content;
use super::data::DataScanner;
use super::link::{Close, Link};
use super::login;
use super::parameters::{BadParam, mail_params, rcpt_params};
use crate::io::ConnId;
use crate::mark::Mark;
use crate::queue::{Offer, PeerId, Queue, Tracked, header, push_name};
use crate::record::{EIGHT_BIT, Envelope, UTF8};

/// Longest command line with its CRLF.
const MAX_LINE: usize = 2048;
/// Bytes that a client may send ahead of our replies: a full pipelined group
/// of the largest number of recipients fits in.
const MAX_AHEAD: usize = 4 << 20;
/// Of these, what every session has room for; the rest comes out of the budget
/// for message content, so that many clients that send ahead cannot take more
/// memory than that.
const FREE_AHEAD: usize = 16 << 10;
/// Commands that bring no message, after which a client is sent away. A peer
/// that has proved itself may ask as often as it likes.
const MAX_IDLE_COMMANDS: u32 = 1_000;
/// Bytes of envelope in one transaction, bounded by what a record header may
/// hold.
const MAX_ENVELOPE: usize = 512 << 10;
/// Errors after which a client is sent away.
const MAX_ERRORS: u32 = 100;
/// Reply to content that others could read in two ways.
pub(super) const BARE: &str = "554 5.6.0 The message contains a bare CR or LF\r\n";
/// Hops after which a message is taken to loop (RFC 5321 6.3).
const MAX_HOPS: usize = 100;

/// What the session takes next.
#[derive(Debug)]
pub(super) enum Mode {
    /// Nothing: the node is not ready to greet.
    Waiting,
    Command,
    /// The rest of a line that was too long.
    Skip,
    /// Content up to its final dot.
    Data(DataScanner, Content),
    /// An answer in the dialogue of AUTH.
    Login,
    /// Nothing: TLS is being set up.
    Securing,
    /// A chunk of content.
    Chunk(Chunk),
    /// Nothing: an answer is due first.
    Blocked,
}

/// A transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// Bytes of the envelope.
    bytes: usize,
    declared: u64,
    /// It is a copy for an authenticated peer.
    offer: Option<Offer>,
    /// The chunks that came.
    pub(super) chunks: Option<Content>,
    /// A chunk was refused: only RSET helps (RFC 3030 section 2).
    pub(super) failed: bool,
    /// The client keeps a shadow of it.
    track: Option<Tracked>,
}

/// An unfinished authentication.
#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) peer: PeerId,
    /// The name as the client wrote it.
    pub(super) name: String,
    pub(super) client_nonce: Nonce,
    pub(super) server_nonce: Nonce,
}

/// One session of a client with us.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) link: Link,
    /// Its address as it stands in trace fields.
    from: String,
    /// What its connections are counted by: its address, of an IPv6 one the
    /// network that is one party's.
    pub(crate) source: IpAddr,
    /// Bytes of the buffer that are booked in the budget.
    ahead: usize,
    /// The client sends nothing more; it waits for an answer.
    half_closed: bool,
    /// Commands since the last message.
    idle_commands: u32,
    pub(super) mode: Mode,
    started: u64,
    pub(super) helo: Option<Box<str>>,
    pub(super) extended: bool,
    relay: bool,
    /// Under TLS.
    pub(super) secured: bool,
    /// Who authenticated, and who is about to.
    pub(super) user: Option<Box<str>>,
    pub(super) asking: Option<Box<str>>,
    /// Wrong passwords.
    pub(super) logins: u32,
    errors: u32,
    pub(super) transaction: Option<Transaction>,
    /// The peer that authenticated, and its database.
    pub(super) peer: Option<(PeerId, crate::store::DatabaseId)>,
    pub(super) challenge: Option<Challenge>,
    /// What the next MAIL begins to copy.
    pub(super) offer: Option<Offer>,
    /// A request for a copy was refused: the transaction that was pipelined
    /// behind it must not pass for an ordinary one.
    pub(super) unwanted: bool,
    /// The client keeps a shadow of the message that the next MAIL begins.
    pub(super) track: Option<Tracked>,
    /// The notifications last reported, and the token that confirms them.
    pub(super) reported: Vec<u64>,
    /// They are about mail that the peer sent us (hold model), not about
    /// copies that it holds for us.
    pub(super) reported_hold: bool,
    pub(super) token: u32,
    /// The messages that the last reply to an inventory asked about.
    pub(super) unsure: Vec<u64>,
    /// The node is draining: 421 as soon as nothing is under way.
    leaving: bool,
}

impl Server {
    pub(crate) fn new(conn: ConnId, ip: IpAddr, queue: &Queue) -> Self {
        let ip = ip.to_canonical();
        let ipv6 = if ip.is_ipv6() { "IPv6:" } else { "" };
        Self {
            link: Link::new(conn, 1 << 10),
            from: format!(" ([{ipv6}{ip}])"),
            source: match ip {
                IpAddr::V4(_) => ip,
                IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            },
            ahead: 0,
            half_closed: false,
            idle_commands: 0,
            mode: Mode::Waiting,
            started: queue.now.mono,
            helo: None,
            extended: false,
            relay: queue.config.relay_from.iter().any(|net| net.contains(ip)),
            secured: false,
            user: None,
            asking: None,
            logins: 0,
            errors: 0,
            transaction: None,
            peer: None,
            challenge: None,
            offer: None,
            unwanted: false,
            track: None,
            reported: Vec::new(),
            reported_hold: false,
            token: 0,
            unsure: Vec::new(),
            leaving: false,
        }
    }

    /// Greets, and takes what the client sent early.
    pub(crate) fn greet(&mut self, queue: &mut Queue) {
        if !matches!(self.mode, Mode::Waiting) {
            return;
        }
        self.mode = Mode::Command;
        let line = format!("220 {} ESMTP mailproof-node\r\n", queue.config.name);
        self.link.write(&line);
        self.touch(queue);
        self.resume(queue);
    }

    /// Refuses the connection.
    pub(crate) fn turn_away(&mut self, queue: &Queue, why: &str) {
        let line = format!("421 4.3.2 {} {why}\r\n", queue.config.name);
        self.link.write(&line);
        self.link.end(Close::Shutdown);
    }

    /// Takes bytes.
    pub(crate) fn bytes(&mut self, data: &[u8], queue: &mut Queue) {
        self.touch(queue);
        if self.link.inbuf.is_empty() {
            let used = self.consume(data, queue);
            self.link.inbuf.extend_from_slice(&data[used..]);
        } else {
            self.link.inbuf.extend_from_slice(data);
            self.resume(queue);
        }
        // No client may send too much before it has seen replies.
        if self.link.inbuf.len() > MAX_AHEAD || !self.book_ahead(queue) {
            self.gone(queue);
            self.link.end(Close::Abort);
        }
    }

    /// Books what was sent ahead; false when the budget does not have it.
    fn book_ahead(&mut self, queue: &mut Queue) -> bool {
        let wanted = self.link.inbuf.len().saturating_sub(FREE_AHEAD);
        if wanted > self.ahead && !queue.reserve(wanted - self.ahead) {
            return false;
        }
        queue.free(self.ahead.saturating_sub(wanted));
        self.ahead = wanted;
        true
    }

    fn resume(&mut self, queue: &mut Queue) {
        let mut buffer = std::mem::take(&mut self.link.inbuf);
        let used = self.consume(&buffer, queue);
        buffer.drain(..used);
        self.link.inbuf = buffer;
        // It only shrinks here.
        self.book_ahead(queue);
    }

    /// The answer that the session was blocked for.
    pub(crate) fn answer(&mut self, reply: &str, queue: &mut Queue) {
        if matches!(self.mode, Mode::Blocked) {
            self.link.write(reply);
            self.answered(queue);
        }
    }

    /// The message that the session was blocked for is accepted.
    pub(crate) fn accepted(&mut self, sequence: u64, queue: &mut Queue) {
        if matches!(self.mode, Mode::Blocked) {
            let out = &mut self.link.out;
            out.extend_from_slice(b"250 2.6.0 ");
            push_name(sequence, |digit| out.put_u8(digit));
            out.extend_from_slice(b" Queued mail for delivery\r\n");
            self.answered(queue);
        }
    }

    pub(super) fn answered(&mut self, queue: &mut Queue) {
        self.mode = Mode::Command;
        self.touch(queue);
        if self.leaving {
            return self.leave(queue);
        }
        self.resume(queue);
        if self.half_closed && self.link.open() && !matches!(self.mode, Mode::Blocked) {
            self.gone(queue);
            self.link.end(Close::Shutdown);
        }
    }

    /// The node drains: between transactions the session ends now, else when
    /// the answer to the one under way is out.
    pub(crate) fn leave(&mut self, queue: &mut Queue) {
        self.leaving = true;
        if matches!(self.mode, Mode::Securing) {
            // There is no way to say anything.
            self.gone(queue);
            return self.link.end(Close::Abort);
        }
        if !matches!(self.mode, Mode::Blocked | Mode::Data(..) | Mode::Chunk(_)) {
            self.gone(queue);
            self.turn_away(queue, "is shutting down");
        }
    }

    /// The client closed or broke the connection.
    pub(crate) fn closed(&mut self, queue: &mut Queue) {
        match self.mode {
            Mode::Data(..) | Mode::Chunk(_) if self.peer.is_none() => {
                queue.mark(Mark::ClientGoneInData)
            }
            Mode::Blocked if self.peer.is_none() => queue.mark(Mark::ClientGoneBeforeAnswer),
            _ => {}
        }
        self.gone(queue);
        self.link.end(Close::Gone);
    }

    /// The client sends nothing more: it still gets the answer that it waits
    /// for, and those to what it sent behind.
    pub(crate) fn half_closed(&mut self, queue: &mut Queue) {
        if matches!(self.mode, Mode::Blocked) && self.link.open() {
            queue.mark(Mark::ClientHalfClosed);
            self.half_closed = true;
        } else {
            self.closed(queue);
            self.link.finish();
        }
    }

    /// The time limit passed.
    pub(crate) fn timeout(&mut self, queue: &mut Queue) {
        if matches!(self.mode, Mode::Data(..) | Mode::Chunk(_)) {
            queue.mark(Mark::TimeoutInData);
        }
        let securing = matches!(self.mode, Mode::Securing);
        self.gone(queue);
        if securing {
            return self.link.end(Close::Abort);
        }
        self.turn_away(queue, "waited too long");
    }

    /// The connection is over: gives back what is booked.
    pub(crate) fn gone(&mut self, queue: &mut Queue) {
        if let Mode::Data(_, content) = &mut self.mode {
            content.release(queue);
        }
        queue.free(std::mem::take(&mut self.ahead));
        self.link.inbuf = Vec::new();
        self.mode = Mode::Blocked;
        self.forget(queue);
    }

    /// Starts the idle time anew; the age limit stays, save for peers.
    pub(super) fn touch(&mut self, queue: &Queue) {
        let idle = queue.later(queue.config.connection_inactivity_timeout);
        let age = queue.later(queue.config.connection_timeout) - queue.now.mono;
        self.link.deadline = match self.peer {
            Some(_) => idle,
            None => idle.min(self.started.saturating_add(age)),
        };
    }

    /// Takes as much of `data` as there is to be taken now; says how much.
    fn consume(&mut self, data: &[u8], queue: &mut Queue) -> usize {
        let mut at = 0;
        while at < data.len() && self.link.open() {
            let rest = &data[at..];
            match &mut self.mode {
                Mode::Waiting | Mode::Blocked => break,
                Mode::Securing => {
                    self.drop_injected(rest.len(), queue);
                    at = data.len();
                }
                Mode::Login => match memchr::memchr(b'\n', rest) {
                    Some(end) if end < login::MAX_LINE => {
                        at += end + 1;
                        self.login_line(&rest[..end], queue);
                    }
                    None if rest.len() < login::MAX_LINE => break,
                    _ => self.mode = Mode::Skip,
                },
                Mode::Data(..) => at += self.content(rest, queue),
                Mode::Chunk(_) => at += self.chunk(rest, queue),
                Mode::Skip => match memchr::memchr(b'\n', rest) {
                    None => at = data.len(),
                    Some(end) => {
                        at += end + 1;
                        self.mode = Mode::Command;
                        self.error("500 5.5.2 Line too long\r\n");
                    }
                },
                Mode::Command => match memchr::memchr(b'\n', rest) {
                    Some(end) if end < MAX_LINE => {
                        at += end + 1;
                        self.line(&rest[..end], queue);
                    }
                    None if rest.len() < MAX_LINE => break,
                    _ => self.mode = Mode::Skip,
                },
            }
        }
        if !self.link.open() {
            self.gone(queue);
        } else if matches!(self.mode, Mode::Blocked) {
            // Waiting for our own disk or peers is not the client's idleness.
            self.link.deadline = u64::MAX;
        }
        at
    }

    pub(super) fn error(&mut self, reply: &str) {
        self.link.write(reply);
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            self.link.write("421 4.7.0 Too many errors\r\n");
            self.link.end(Close::Shutdown);
        }
    }

    /// Takes one line, without its LF.
    fn line(&mut self, line: &[u8], queue: &mut Queue) {
        if let Some((peer, _)) = self.peer {
            queue.heard(peer);
        }
        let Some(line) = line.strip_suffix(b"\r") else {
            return self.error("500 5.5.2 A line must end in CRLF\r\n");
        };
        let text = match std::str::from_utf8(line) {
            Ok(text) if memchr::memchr2(b'\r', 0, line).is_none() => text,
            _ => return self.error("500 5.5.2 Invalid characters\r\n"),
        };
        let (verb, rest) = match memchr::memchr(b' ', line) {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, ""),
        };
        let bare = rest.bytes().all(|b| b == b' ');
        self.idle_commands += 1;
        if self.idle_commands > MAX_IDLE_COMMANDS && self.peer.is_none() {
            self.link
                .write("421 4.7.0 Too many commands without a message\r\n");
            return self.link.end(Close::Shutdown);
        }
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        if is("MAIL") {
            self.mail(rest, queue);
        } else if is("RCPT") {
            // How many there may be is a limit of its own.
            self.idle_commands -= 1;
            self.rcpt(rest, queue);
        } else if is("DATA") {
            self.data(bare, queue);
        } else if is("BDAT") {
            // Content may come in any number of chunks.
            self.idle_commands -= 1;
            self.bdat(rest, queue);
        } else if is("EHLO") {
            self.hello(rest, true, queue);
        } else if is("HELO") {
            self.hello(rest, false, queue);
        } else if is("RSET") {
            if bare {
                self.forget(queue);
                self.link.write("250 2.0.0 Reset\r\n");
            } else {
                self.error("501 5.5.4 RSET takes no argument\r\n");
            }
        } else if is("NOOP") {
            self.link.write("250 2.0.0 Ok\r\n");
        } else if is("QUIT") {
            if bare {
                self.link.write("221 2.0.0 Bye\r\n");
                self.link.end(Close::Shutdown);
            } else {
                self.error("501 5.5.4 QUIT takes no argument\r\n");
            }
        } else if is("STARTTLS") {
            self.starttls(bare, queue);
        } else if is("AUTH") {
            self.auth(rest, queue);
        } else if is("VRFY") {
            self.link.write("252 2.5.0 Send mail and see\r\n");
        } else if is("HELP") {
            self.link.write("214 2.0.0 See RFC 5321\r\n");
        } else if is("EXPN") {
            self.error("502 5.5.1 Not implemented\r\n");
        } else if verb.len() > 2 && (verb.starts_with(['X', 'x'])) {
            self.private(verb, rest, queue);
        } else {
            self.error("500 5.5.1 Unknown command\r\n");
        }
    }

    /// Forgets the transaction.
    pub(super) fn forget(&mut self, queue: &mut Queue) {
        let chunks = self.transaction.take().and_then(|t| t.chunks);
        if let Some(mut content) = chunks {
            content.release(queue);
        }
        self.offer = None;
        self.unwanted = false;
        self.track = None;
    }

    fn hello(&mut self, name: &str, extended: bool, queue: &mut Queue) {
        let name = name.trim_matches(' ');
        let good = !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(|b| {
                b.is_ascii_graphic()
                    && !matches!(b, b'(' | b')' | b'<' | b'>' | b';' | b'"' | b'\\')
            });
        if !good {
            return self.error("501 5.5.4 A domain or address literal is needed\r\n");
        }
        self.forget(queue);
        self.challenge = None;
        self.helo = Some(name.into());
        self.extended = extended;
        let (tls, auth) = (self.offers_tls(queue), self.offers_auth(queue));
        let config = &queue.config;
        if !extended {
            let line = format!("250 {}\r\n", config.name);
            return self.link.write(&line);
        }
        let lines = format!(
            "250-{}\r\n250-SIZE {}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
             250-CHUNKING\r\n250-DSN\r\n",
            config.name, config.max_message_bytes
        );
        self.link.write(&lines);
        if tls {
            self.link.write("250-STARTTLS\r\n");
        }
        if auth {
            self.link.write("250-AUTH PLAIN\r\n");
        }
        if config.holds() && queue.key.is_some() {
            self.link
                .write("250-ENHANCEDSTATUSCODES\r\n250 XSHADOW\r\n");
        } else if config.copies() && queue.key.is_some() {
            self.link
                .write("250-ENHANCEDSTATUSCODES\r\n250 XSHADOWREQUEST\r\n");
        } else if queue.key.is_some() && queue.has_safety_net() {
            self.link
                .write("250-ENHANCEDSTATUSCODES\r\n250 XRESUBMIT\r\n");
        } else {
            self.link.write("250 ENHANCEDSTATUSCODES\r\n");
        }
    }

    fn mail(&mut self, rest: &str, queue: &mut Queue) {
        let track = self.track.take();
        if std::mem::take(&mut self.unwanted) {
            return self.link.write("503 5.5.1 The copy was refused\r\n");
        }
        if self.helo.is_none() {
            return self.error("503 5.5.1 EHLO first\r\n");
        }
        if self.transaction.is_some() {
            return self.error("503 5.5.1 A transaction is open\r\n");
        }
        if self.offer.is_none() {
            if queue.redirected.is_some() {
                let reply = "451 4.3.2 This server is being taken out of service\r\n";
                return self.link.write(reply);
            }
            if queue.refuses_mail(self.peer.is_some()) {
                return self.link.write("452 4.3.1 Out of resources\r\n");
            }
        }
        let Some(path) = keyword(rest, "FROM:").and_then(address::path) else {
            return self.error("501 5.5.4 Syntax: MAIL FROM:<address>\r\n");
        };
        let params = match mail_params(path.params, self.offers_auth(queue)) {
            Ok(params) if self.extended || path.params.is_empty() => params,
            Ok(_) | Err(BadParam::Unknown) => {
                return self.error("555 5.5.4 Unknown parameter\r\n");
            }
            Err(BadParam::Syntax) => return self.error("501 5.5.4 Bad parameter\r\n"),
        };
        if !path.address.is_ascii() && !params.utf8 {
            return self.error("553 5.6.7 A UTF-8 address needs SMTPUTF8\r\n");
        }
        let declared = params.size.unwrap_or(0);
        if declared > queue.config.max_message_bytes {
            return self.error("552 5.3.4 Message too big\r\n");
        }
        if queue.store.full() {
            return self.link.write("452 4.3.1 Out of space for messages\r\n");
        }
        if queue.body_bytes.saturating_add(declared) > queue.config.body_budget_bytes {
            return self.link.write("452 4.3.1 Out of memory for messages\r\n");
        }
        let mut flags = params.ret;
        if params.eight_bit {
            flags |= EIGHT_BIT;
        }
        if params.utf8 {
            flags |= UTF8;
        }
        self.transaction = Some(Transaction {
            envelope: Envelope::new(flags, path.address, params.envid),
            bytes: path.address.len() + params.envid.len(),
            declared,
            offer: self.offer.take(),
            chunks: None,
            failed: false,
            track,
        });
        self.link.write("250 2.1.0 Sender ok\r\n");
    }

    fn rcpt(&mut self, rest: &str, queue: &Queue) {
        let Some(transaction) = &mut self.transaction else {
            return self.error("503 5.5.1 MAIL first\r\n");
        };
        if transaction.failed || transaction.chunks.is_some() {
            return self.error("503 5.5.1 Chunks have begun\r\n");
        }
        let parsed = keyword(rest, "TO:").and_then(address::path);
        let Some(path) = parsed.filter(|path| !path.address.is_empty()) else {
            return self.error("501 5.5.4 Syntax: RCPT TO:<address>\r\n");
        };
        let utf8 = transaction.envelope.flags & UTF8 != 0;
        let params = match rcpt_params(path.params, utf8) {
            Ok(params) if self.extended || path.params.is_empty() => params,
            Ok(_) | Err(BadParam::Unknown) => {
                return self.error("555 5.5.4 Unknown parameter\r\n");
            }
            Err(BadParam::Syntax) => return self.error("501 5.5.4 Bad parameter\r\n"),
        };
        if !path.address.is_ascii() && !utf8 {
            return self.error("553 5.6.7 A UTF-8 address needs SMTPUTF8\r\n");
        }
        // Where a local-part stands alone it is Postmaster's (RFC 5321 4.5.1).
        let (local, domain) = address::split(path.address);
        if domain.is_none() && !local.eq_ignore_ascii_case("postmaster") {
            return self.error("553 5.1.3 A domain is needed\r\n");
        }
        if transaction.offer.is_none() {
            if !queue.routes.is_local(path.address)
                && !self.relay
                && self.user.is_none()
                && self.peer.is_none()
                && domain.is_some()
            {
                return self.error("550 5.7.1 Relaying denied\r\n");
            }
            if queue.routes.find(path.address).is_none() {
                return self.error("550 5.1.2 No route to this domain\r\n");
            }
        }
        // With what a record spends on each recipient.
        let bytes = transaction.bytes + path.address.len() + params.orcpt.len() + 5;
        let count = transaction.envelope.recipients.len();
        if count >= queue.config.max_recipients as usize || bytes > MAX_ENVELOPE {
            return self.link.write("452 4.5.3 Too many recipients\r\n");
        }
        transaction.bytes = bytes;
        let (notify, orcpt) = (params.notify, params.orcpt);
        transaction.envelope.push(path.address, notify, orcpt);
        self.link.write("250 2.1.5 Recipient ok\r\n");
    }

    fn data(&mut self, bare: bool, queue: &mut Queue) {
        if !bare {
            return self.error("501 5.5.4 DATA takes no argument\r\n");
        }
        let Some(transaction) = &self.transaction else {
            return self.error("503 5.5.1 MAIL first\r\n");
        };
        if transaction.failed || transaction.chunks.is_some() {
            return self.error("503 5.5.1 Chunks have begun\r\n");
        }
        if transaction.envelope.recipients.is_empty() {
            return self.error("503 5.5.1 No valid recipients\r\n");
        }
        match self.begin_content(queue) {
            Ok(content) => {
                self.mode = Mode::Data(DataScanner::new(), content);
                self.link.write("354 Go on, end with a dot\r\n");
            }
            Err(refusal) => self.link.write(refusal),
        }
    }

    /// The content of a message begins: with our trace field, unless it is a
    /// copy.
    ///
    /// # Errors
    /// The reply when there is no memory for it.
    pub(super) fn begin_content(&self, queue: &mut Queue) -> Result<Content, &'static str> {
        let transaction = self.transaction.as_ref();
        let declared = transaction.map_or(0, |t| t.declared);
        let expected = usize::try_from(declared).unwrap_or(0).min(1 << 20);
        let sequence = queue.sequence();
        let mut body = Vec::with_capacity((expected + 512).max(2048));
        if transaction.is_none_or(|t| t.offer.is_none()) {
            self.trace(sequence, &mut body, queue);
        }
        Content::begin(sequence, body, queue)
    }

    /// Our trace field (RFC 5321 4.4).
    fn trace(&self, sequence: u64, body: &mut Vec<u8>, queue: &mut Queue) {
        let utf8 = self
            .transaction
            .as_ref()
            .is_some_and(|t| t.envelope.flags & UTF8 != 0);
        // RFC 3848, RFC 6531 4.3.
        let with = match (self.extended, utf8) {
            (true, true) => "UTF8SMTP",
            (true, false) => "ESMTP",
            _ => "SMTP",
        };
        let tls = if self.secured && self.extended {
            "S"
        } else {
            ""
        };
        let auth = if self.user.is_some() { "A" } else { "" };
        let parts = [
            "Received: from ",
            self.helo.as_deref().unwrap_or("unknown"),
            &self.from,
            "\r\n\tby ",
            &queue.config.name,
            " with ",
            with,
            tls,
            auth,
            " id ",
        ];
        for part in parts {
            body.extend_from_slice(part.as_bytes());
        }
        push_name(sequence, |digit| body.push(digit));
        body.extend_from_slice(b";\r\n\t");
        body.extend_from_slice(queue.date().as_bytes());
        body.extend_from_slice(b"\r\n");
    }

    /// Takes content; says how much of `data` was used.
    fn content(&mut self, data: &[u8], queue: &mut Queue) -> usize {
        let Mode::Data(scanner, content) = &mut self.mode else {
            return 0;
        };
        let (used, ended) = scanner.push(data, &mut content.body);
        content.grown(queue);
        if ended
            && let Mode::Data(scanner, mut content) =
                std::mem::replace(&mut self.mode, Mode::Blocked)
        {
            if scanner.bare() {
                content.refuse(BARE, queue);
            }
            self.end_of_content(content, queue);
        }
        used
    }

    /// All content is here: the message is taken or refused.
    pub(super) fn end_of_content(&mut self, mut content: Content, queue: &mut Queue) {
        self.mode = Mode::Blocked;
        let transaction = self.transaction.take().unwrap_or_default();
        self.idle_commands = 0;
        if transaction.offer.is_none() {
            let received = content.received();
            let long = header::length(received) as u64 > queue.config.max_header_bytes;
            // Who drops it on the way may see an end of data behind it.
            let nul = memchr::memchr(0, received).is_some();
            let hops = header::hops(received) >= MAX_HOPS;
            if hops {
                content.refuse("554 5.4.6 Too many hops\r\n", queue);
            } else if long {
                content.refuse("552 5.3.4 Header too big\r\n", queue);
            } else if nul {
                content.refuse("554 5.6.0 The message contains NUL\r\n", queue);
            }
        }
        if let Some(refusal) = content.refusal {
            queue.counters.refused += 1;
            self.mode = Mode::Command;
            self.error(refusal);
            return self.ended(queue);
        }
        let mut envelope = transaction.envelope;
        if !content.received().is_ascii() {
            envelope.flags |= EIGHT_BIT;
        }
        match transaction.offer {
            Some(offer) => queue.hold(self.link.conn, offer, envelope, content.body),
            None => queue.submit(
                self.link.conn,
                content.sequence,
                envelope,
                content.body,
                transaction.track,
            ),
        }
    }

    /// Content, or a part of it, was answered: a session that is to end ends.
    pub(super) fn ended(&mut self, queue: &mut Queue) {
        if self.leaving {
            self.leave(queue);
        }
    }

    /// Its address, as it stands in trace fields.
    pub(super) fn client_address(&self) -> &str {
        self.from.trim_matches([' ', '(', ')'])
    }

    /// Waits for an answer that comes later.
    pub(super) fn block(&mut self) {
        self.mode = Mode::Blocked;
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }
}

/// What follows `keyword` in `text`, in any case.
fn keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword)
        .then(|| &text[keyword.len()..])
}
