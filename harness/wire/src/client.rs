//! The scripted client: hands over mail transactions on one kept connection, or
//! sends raw bytes for conformance tests.

mod event;

use std::collections::VecDeque;

use crate::body;
use crate::line::Line;
use crate::outcome::{Outcome, RcptOutcome, Stage, Transaction};
use crate::reply::{Reply, ReplyParser};

pub use event::{ClientEvent, ProtocolError};

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Name given in EHLO, HELO or LHLO.
    pub name: String,
    /// Use PIPELINING where the server offers it.
    pub pipelining: bool,
    /// Speak LMTP (RFC 2033): LHLO, and one reply per accepted recipient.
    pub lmtp: bool,
    /// Send only what [`Client::send_raw`] is given: no EHLO of its own, and
    /// every reply after the greeting comes as [`ClientEvent::Raw`].
    pub raw: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            name: "client.mailproof.test".into(),
            pipelining: true,
            lmtp: false,
            raw: false,
        }
    }
}

/// The scripted client.
///
/// Feed it what arrives with [`received`](Self::received), send what
/// [`transmit`](Self::transmit) yields after each call, and tell it of the end
/// with [`closed`](Self::closed).
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    out: Vec<u8>,
    parser: ReplyParser,
    state: State,
    /// What replies are due for, in order.
    due: VecDeque<Due>,
    /// Transactions that have not begun.
    queue: VecDeque<Transaction>,
    running: Option<Running>,
    extensions: Vec<Line>,
    pipelining: bool,
    quit: Quit,
    idle: bool,
}

/// How far the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Greeting or hello is due.
    Opening,
    /// Transactions can run.
    Ready,
    /// Raw bytes only.
    Raw,
    /// The server refused the connection. Only QUIT can be sent.
    Refused,
    /// The server said 421. Nothing more is sent.
    Closing,
    /// The server broke the protocol. Nothing more is read.
    Broken,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quit {
    No,
    Wanted,
    Sent,
}

/// What a reply is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Greeting,
    Hello {
        fallback: bool,
    },
    Mail,
    Rcpt(usize),
    Data,
    /// The end of data; with LMTP the recipient from which the next reply is
    /// looked for.
    End(usize),
    Rset,
    Quit,
    Raw,
}

/// The transaction that is being attempted.
#[derive(Debug)]
struct Running {
    transaction: Transaction,
    mail: Option<Reply>,
    rcpt_replies: Vec<Option<Reply>>,
    data: Option<Reply>,
    outcomes: Vec<Option<RcptOutcome>>,
    dot: Dot,
}

/// Where the end of data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    Unsent,
    /// Among the bytes to transmit.
    Buffered,
    /// Handed to the transport.
    Sent,
}

impl Client {
    /// A client on a connection that has just been opened.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self {
            options,
            out: Vec::new(),
            parser: ReplyParser::default(),
            state: State::Opening,
            due: VecDeque::from([Due::Greeting]),
            queue: VecDeque::new(),
            running: None,
            extensions: Vec::new(),
            pipelining: false,
            quit: Quit::No,
            idle: false,
        }
    }

    /// Hands over a transaction. It begins when those before it are done. On a
    /// connection that can take no more it is reported as not sent when the
    /// connection [is closed](Self::closed).
    pub fn start(&mut self, transaction: Transaction) {
        self.queue.push_back(transaction);
        self.idle = false;
        self.begin();
    }

    /// Sends `bytes` as they are, at once. `replies` of the replies that follow
    /// are reported as [`ClientEvent::Raw`]; a client with
    /// [`ClientOptions::raw`] reports all of them so, whatever the number.
    /// Meant for a connection that is idle; transactions wait until the replies
    /// have come.
    pub fn send_raw(&mut self, bytes: &[u8], replies: usize) {
        self.out.extend_from_slice(bytes);
        if !self.options.raw {
            self.due.extend(std::iter::repeat_n(Due::Raw, replies));
        }
        self.idle = false;
    }

    /// Sends QUIT when every transaction handed over so far is done.
    pub fn quit(&mut self) {
        if self.quit == Quit::No {
            self.quit = Quit::Wanted;
        }
        self.begin();
    }

    /// Says hello again, as RFC 3207 4.2 asks after TLS has begun. What the
    /// server offered before is forgotten, and a raw client goes on as an
    /// ordinary one. Meant for a connection that is idle.
    pub fn hello_again(&mut self) {
        if matches!(self.state, State::Ready | State::Raw) {
            self.state = State::Opening;
            self.options.raw = false;
            self.idle = false;
            self.pipelining = false;
            self.extensions.clear();
            self.ask_hello();
        }
    }

    /// Extension lines that the server offered, as sent.
    #[must_use]
    pub fn extensions(&self) -> &[Line] {
        &self.extensions
    }

    /// Whether the server offered the extension `keyword`, in any case.
    #[must_use]
    pub fn offers(&self, keyword: &str) -> bool {
        self.extensions.iter().any(|line| {
            let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            word.eq_ignore_ascii_case(keyword.as_bytes())
        })
    }

    /// Whether new transactions can still run on this connection.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.state, State::Opening | State::Ready) && self.quit == Quit::No
    }

    /// Moves the bytes to send to the end of `out`. From then on they count as
    /// handed to the transport.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() && !self.out.is_empty() {
            std::mem::swap(out, &mut self.out);
        } else {
            out.extend_from_slice(&self.out);
        }
        self.out.clear();
        if let Some(running) = &mut self.running
            && running.dot == Dot::Buffered
        {
            running.dot = Dot::Sent;
        }
    }

    /// Reads bytes from the server and appends what they mean to `events`.
    pub fn received(&mut self, bytes: &[u8], events: &mut Vec<ClientEvent>) {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.state, State::Broken | State::Closed) {
            match self.parser.read(&bytes[at..]) {
                Ok((used, reply)) => {
                    at += used;
                    if let Some(reply) = reply {
                        self.reply(reply, events);
                    }
                }
                Err(error) => self.fail(error.into(), events),
            }
        }
        if self.state == State::Ready && self.is_idle() && !self.idle {
            self.idle = true;
            events.push(ClientEvent::Idle);
        }
    }

    /// The connection is closed, from whichever side: appends the outcome of
    /// every transaction that is not done, and [`ClientEvent::Closed`].
    pub fn closed(&mut self, events: &mut Vec<ClientEvent>) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        if let Some(running) = self.running.take() {
            let unknown = match running.dot {
                Dot::Sent => RcptOutcome::NoReply,
                Dot::Unsent | Dot::Buffered => RcptOutcome::NotSent,
            };
            events.push(ClientEvent::Done(running.outcome(&unknown)));
        }
        self.give_up(&RcptOutcome::NotSent, events);
        events.push(ClientEvent::Closed);
    }

    /// Reports every transaction that has not begun.
    fn give_up(&mut self, outcome: &RcptOutcome, events: &mut Vec<ClientEvent>) {
        for transaction in self.queue.drain(..) {
            let done = Running::new(transaction).outcome(outcome);
            events.push(ClientEvent::Done(done));
        }
    }

    fn is_idle(&self) -> bool {
        self.due.is_empty()
            && self.queue.is_empty()
            && self.running.is_none()
            && self.quit == Quit::No
    }

    fn fail(&mut self, error: ProtocolError, events: &mut Vec<ClientEvent>) {
        self.state = State::Broken;
        events.push(ClientEvent::ProtocolError(error));
    }

    fn wrong_class(&mut self, command: &'static str, reply: Reply, events: &mut Vec<ClientEvent>) {
        self.fail(ProtocolError::WrongClass { command, reply }, events);
    }

    /// Begins the next transaction, or QUIT, if it is time.
    fn begin(&mut self) {
        if self.state == State::Refused && self.due.is_empty() {
            return self.send_quit();
        }
        // Without PIPELINING the reply to RSET must come first.
        let mut due = self.due.iter();
        let free = due.all(|due| self.pipelining && *due == Due::Rset);
        if free && self.state == State::Ready && self.running.is_none() && self.quit != Quit::Sent {
            let Some(transaction) = self.queue.pop_front() else {
                return self.send_quit();
            };
            let parameters = Parameters(&transaction.params);
            self.out.reserve(256);
            self.out.extend_from_slice(b"MAIL FROM:<");
            self.out.extend_from_slice(transaction.from.as_bytes());
            parameters.close(&mut self.out);
            self.due.push_back(Due::Mail);
            let rcpts = transaction.rcpts.len();
            self.running = Some(Running::new(transaction));
            if self.pipelining {
                for rcpt in 0..rcpts {
                    self.send_rcpt(rcpt);
                }
                self.send(&[b"DATA"], Due::Data);
            }
        }
    }

    /// Sends QUIT if it is wanted and was not sent.
    fn send_quit(&mut self) {
        if self.quit == Quit::Wanted {
            self.quit = Quit::Sent;
            self.send(&[b"QUIT"], Due::Quit);
        }
    }

    fn send(&mut self, parts: &[&[u8]], due: Due) {
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(b"\r\n");
        self.due.push_back(due);
    }

    fn send_rcpt(&mut self, index: usize) {
        let running = self.running.as_ref();
        let Some(rcpt) = running.and_then(|running| running.transaction.rcpts.get(index)) else {
            return;
        };
        self.out.extend_from_slice(b"RCPT TO:<");
        self.out.extend_from_slice(rcpt.address.as_bytes());
        Parameters(&rcpt.params).close(&mut self.out);
        self.due.push_back(Due::Rcpt(index));
    }

    fn reply(&mut self, reply: Reply, events: &mut Vec<ClientEvent>) {
        let closing = reply.code() == 421;
        if self.state == State::Raw {
            events.push(ClientEvent::Raw(reply));
            return;
        }
        let Some(due) = self.due.pop_front() else {
            if closing || self.state == State::Closing {
                events.push(ClientEvent::Closing(reply.clone()));
                return self.shut(Stage::Closing, &reply, events);
            }
            return self.fail(ProtocolError::Unexpected(reply), events);
        };
        if closing {
            // RFC 5321 3.8: whatever it answers, the server is closing.
            let stage = due.stage();
            if let Some(running) = &mut self.running {
                running.note(due, &reply);
            }
            events.push(due.event(reply.clone(), self.options.lmtp));
            return self.shut(stage, &reply, events);
        }
        match due {
            Due::Raw => events.push(ClientEvent::Raw(reply)),
            Due::Quit => events.push(ClientEvent::QuitReply(reply)),
            Due::Rset => events.push(ClientEvent::RsetReply(reply)),
            Due::Greeting => self.greeting(reply, events),
            Due::Hello { fallback } => self.hello(reply, fallback, events),
            Due::Mail => self.mail(reply, events),
            Due::Rcpt(index) => self.rcpt(index, reply, events),
            Due::Data => self.data(reply, events),
            Due::End(from) => self.end(from, reply, events),
        }
        self.begin();
    }

    /// The server takes nothing more: settles what can be settled.
    fn shut(&mut self, stage: Stage, reply: &Reply, events: &mut Vec<ClientEvent>) {
        self.state = State::Closing;
        self.due.clear();
        if matches!(stage, Stage::Greeting | Stage::Hello) {
            let reply = reply.clone();
            self.give_up(&RcptOutcome::Refused { stage, reply }, events);
        }
        if let Some(mut running) = self.running.take() {
            running.refuse_rest(stage, reply);
            events.push(ClientEvent::Done(running.outcome(&RcptOutcome::NotSent)));
        }
    }

    fn greeting(&mut self, reply: Reply, events: &mut Vec<ClientEvent>) {
        if reply.is_intermediate() {
            return self.wrong_class("the connection", reply, events);
        }
        events.push(ClientEvent::Greeting(reply.clone()));
        if self.options.raw {
            self.state = State::Raw;
        } else if reply.is_success() {
            self.ask_hello();
        } else {
            self.refused(Stage::Greeting, reply, events);
        }
    }

    fn ask_hello(&mut self) {
        let verb: &[u8] = if self.options.lmtp {
            b"LHLO "
        } else {
            b"EHLO "
        };
        self.say_hello(verb, false);
    }

    fn say_hello(&mut self, verb: &[u8], fallback: bool) {
        let name = std::mem::take(&mut self.options.name);
        self.send(&[verb, name.as_bytes()], Due::Hello { fallback });
        self.options.name = name;
    }

    fn hello(&mut self, reply: Reply, fallback: bool, events: &mut Vec<ClientEvent>) {
        if reply.is_intermediate() {
            return self.wrong_class("EHLO", reply, events);
        }
        if reply.is_success() && !fallback {
            self.extensions = reply.lines().skip(1).map(Line::from).collect();
        }
        events.push(ClientEvent::Hello {
            reply: reply.clone(),
            extensions: self.extensions.clone(),
        });
        if reply.is_success() {
            self.state = State::Ready;
            self.pipelining = self.options.pipelining && self.offers("PIPELINING");
        } else if reply.is_permanent() && !fallback && !self.options.lmtp {
            // RFC 5321 3.2: an old server may not know EHLO.
            self.say_hello(b"HELO ", true);
        } else {
            self.refused(Stage::Hello, reply, events);
        }
    }

    /// The server refused the connection as a whole.
    fn refused(&mut self, stage: Stage, reply: Reply, events: &mut Vec<ClientEvent>) {
        self.state = State::Refused;
        self.give_up(&RcptOutcome::Refused { stage, reply }, events);
    }

    fn mail(&mut self, reply: Reply, events: &mut Vec<ClientEvent>) {
        if reply.is_intermediate() {
            return self.wrong_class("MAIL", reply, events);
        }
        let accepted = reply.is_success();
        if let Some(running) = &mut self.running {
            running.mail = Some(reply.clone());
            if !accepted {
                running.refuse_rest(Stage::Mail, &reply);
            }
        }
        events.push(ClientEvent::MailReply(reply));
        if self.pipelining {
            return;
        }
        if accepted {
            self.next_rcpt(0, events);
        } else {
            self.finish(events);
        }
    }

    /// Goes on with RCPT `index`, or with what comes after the last.
    fn next_rcpt(&mut self, index: usize, events: &mut Vec<ClientEvent>) {
        let Some(running) = &self.running else { return };
        if index < running.outcomes.len() {
            self.send_rcpt(index);
        } else if running.has_accepted() {
            self.send(&[b"DATA"], Due::Data);
        } else {
            self.send(&[b"RSET"], Due::Rset);
            self.finish(events);
        }
    }

    fn rcpt(&mut self, index: usize, reply: Reply, events: &mut Vec<ClientEvent>) {
        if reply.is_intermediate() {
            return self.wrong_class("RCPT", reply, events);
        }
        if let Some(running) = &mut self.running {
            running.note(Due::Rcpt(index), &reply);
            // A refused MAIL has already settled it.
            if reply.is_refusal() && running.outcomes[index].is_none() {
                running.outcomes[index] = Some(RcptOutcome::Refused {
                    stage: Stage::Rcpt,
                    reply: reply.clone(),
                });
            }
        }
        events.push(ClientEvent::RcptReply { rcpt: index, reply });
        if !self.pipelining {
            self.next_rcpt(index + 1, events);
        }
    }

    fn data(&mut self, reply: Reply, events: &mut Vec<ClientEvent>) {
        if reply.is_success() {
            return self.wrong_class("DATA", reply, events);
        }
        let Some(running) = &mut self.running else {
            return;
        };
        running.data = Some(reply.clone());
        events.push(ClientEvent::DataReply(reply.clone()));
        if reply.is_refusal() {
            let open = running.mail.as_ref().is_some_and(Reply::is_success);
            running.refuse_rest(Stage::Data, &reply);
            if open {
                self.send(&[b"RSET"], Due::Rset);
            }
            return self.finish(events);
        }
        let first = running.outcomes.iter().position(Option::is_none);
        if first.is_some() {
            body::stuff(&running.transaction.content, &mut self.out);
            running.dot = Dot::Buffered;
        } else {
            // RFC 2920 3.1: the server went on although it refused every
            // recipient. It gets an empty message and no content.
            self.out.extend_from_slice(b".\r\n");
        }
        self.due.push_back(Due::End(first.unwrap_or_default()));
    }

    fn end(&mut self, from: usize, reply: Reply, events: &mut Vec<ClientEvent>) {
        if reply.is_intermediate() {
            return self.wrong_class("the end of data", reply, events);
        }
        let Some(running) = &mut self.running else {
            return;
        };
        let settle = |reply: Reply| {
            if reply.is_success() {
                RcptOutcome::Accepted(reply)
            } else {
                RcptOutcome::Refused {
                    stage: Stage::End,
                    reply,
                }
            }
        };
        let mut answered = None;
        let mut more = None;
        if self.options.lmtp {
            let open = |outcomes: &[Option<RcptOutcome>], from: usize| {
                let rest = outcomes.get(from..)?;
                Some(from + rest.iter().position(Option::is_none)?)
            };
            answered = open(&running.outcomes, from);
            if let Some(index) = answered {
                running.outcomes[index] = Some(settle(reply.clone()));
                more = open(&running.outcomes, index + 1);
            }
        } else {
            for outcome in running
                .outcomes
                .iter_mut()
                .filter(|outcome| outcome.is_none())
            {
                *outcome = Some(settle(reply.clone()));
            }
        }
        events.push(ClientEvent::EndReply {
            rcpt: answered,
            reply,
        });
        match more {
            Some(next) => self.due.push_front(Due::End(next)),
            None => self.finish(events),
        }
    }

    /// The outcome of the running transaction is known.
    fn finish(&mut self, events: &mut Vec<ClientEvent>) {
        if let Some(running) = self.running.take() {
            events.push(ClientEvent::Done(running.outcome(&RcptOutcome::NotSent)));
        }
    }
}

/// Parameters of MAIL or RCPT.
struct Parameters<'a>(&'a str);

impl Parameters<'_> {
    /// Ends a path and its command line.
    fn close(&self, out: &mut Vec<u8>) {
        out.push(b'>');
        if !self.0.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.0.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Due {
    fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Hello { .. } => Stage::Hello,
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::End(_) => Stage::End,
            Self::Rset | Self::Quit | Self::Raw => Stage::Closing,
        }
    }

    fn event(self, reply: Reply, lmtp: bool) -> ClientEvent {
        match self {
            Self::Greeting => ClientEvent::Greeting(reply),
            Self::Hello { .. } => ClientEvent::Hello {
                reply,
                extensions: Vec::new(),
            },
            Self::Mail => ClientEvent::MailReply(reply),
            Self::Rcpt(rcpt) => ClientEvent::RcptReply { rcpt, reply },
            Self::Data => ClientEvent::DataReply(reply),
            Self::End(rcpt) => ClientEvent::EndReply {
                rcpt: lmtp.then_some(rcpt),
                reply,
            },
            Self::Rset => ClientEvent::RsetReply(reply),
            Self::Quit => ClientEvent::QuitReply(reply),
            Self::Raw => ClientEvent::Raw(reply),
        }
    }
}

impl Running {
    fn new(transaction: Transaction) -> Self {
        let rcpts = transaction.rcpts.len();
        Self {
            transaction,
            mail: None,
            rcpt_replies: vec![None; rcpts],
            data: None,
            outcomes: vec![None; rcpts],
            dot: Dot::Unsent,
        }
    }

    fn note(&mut self, due: Due, reply: &Reply) {
        match due {
            Due::Mail => self.mail = Some(reply.clone()),
            Due::Rcpt(index) => self.rcpt_replies[index] = Some(reply.clone()),
            Due::Data => self.data = Some(reply.clone()),
            _ => {}
        }
    }

    /// Whether a recipient is not refused.
    fn has_accepted(&self) -> bool {
        self.outcomes.iter().any(Option::is_none)
    }

    fn refuse_rest(&mut self, stage: Stage, reply: &Reply) {
        for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            *outcome = Some(RcptOutcome::Refused {
                stage,
                reply: reply.clone(),
            });
        }
    }

    /// The outcome; `unknown` for recipients of which nothing is known.
    fn outcome(self, unknown: &RcptOutcome) -> Outcome {
        Outcome {
            mail: self.mail,
            rcpt_replies: self.rcpt_replies,
            data: self.data,
            rcpts: self
                .outcomes
                .into_iter()
                .map(|outcome| outcome.unwrap_or_else(|| unknown.clone()))
                .collect(),
        }
    }
}
