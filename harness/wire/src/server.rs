//! The mailbox: the harness's final next hop, where mail ends.

mod event;

use crate::body::Scanner;
use crate::command::{Argument, Command, Envelope};
use crate::line::{Line, LineReader};
use crate::phase::Phase;
use crate::policy::{Injection, Policy};
use crate::reply::Reply;
use crate::verb::Verb;

pub use event::{AnswerError, MailboxEvent, MailboxOptions, Message, MessageRecipient};

/// Extensions offered besides SIZE.
const EXTENSIONS: [&str; 4] = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];

/// Most bytes set aside for content because of a SIZE parameter alone.
const TRUSTED_SIZE: u64 = 1024 * 1024;

/// A server session that takes everything unless told otherwise.
#[derive(Debug)]
pub struct Mailbox {
    options: MailboxOptions,
    policy: Policy,
    out: Vec<u8>,
    mode: Mode,
    reader: LineReader,
    scanner: Scanner,
    greeted: bool,
    secure: bool,
    /// Reverse path and parameters, once MAIL was accepted.
    sender: Option<(Line, Line)>,
    rcpts: Vec<MessageRecipient>,
    content: Vec<u8>,
    /// The content is larger than the limit; the rest of it is discarded.
    oversize: bool,
    /// Recipients of the message that waits for its answer.
    waiting_rcpts: usize,
    /// What the client has sent since.
    backlog: Vec<u8>,
    overflow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    Content,
    /// Octets of a BDAT that was refused.
    Skip(u64),
    /// A message waits for its answer.
    Waiting,
    /// TLS is being set up.
    Handshake,
    Closed,
}

impl Mailbox {
    /// A session on a connection that has just been accepted. Nothing is said
    /// before [`greet`](Self::greet).
    #[must_use]
    pub fn new(options: MailboxOptions, policy: Policy) -> Self {
        Self {
            options,
            policy,
            out: Vec::new(),
            mode: Mode::Commands,
            reader: LineReader::default(),
            scanner: Scanner::default(),
            greeted: false,
            secure: false,
            sender: None,
            rcpts: Vec::new(),
            content: Vec::new(),
            oversize: false,
            waiting_rcpts: 0,
            backlog: Vec::new(),
            overflow: false,
        }
    }

    /// Says the greeting.
    pub fn greet(&mut self, events: &mut Vec<MailboxEvent>) {
        if self.inject_at(Some(Phase::Greeting), &Line::default(), events) != Effect::Default {
            return;
        }
        let protocol = if self.options.lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("{} {protocol} mailproof mailbox", self.options.name);
        self.out.extend_from_slice(Reply::new(220, &greeting).raw());
    }

    /// Adds an injection to the running session.
    pub fn inject(&mut self, injection: Injection) {
        self.policy.add(injection);
    }

    /// Reads bytes from the client and appends what they mean to `events`.
    pub fn received(&mut self, bytes: &[u8], events: &mut Vec<MailboxEvent>) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.mode {
                Mode::Commands => {
                    let (used, line) = self.reader.read(rest);
                    at += used;
                    match line {
                        None => {}
                        Some(Ok(line)) => self.command(&line, events),
                        Some(Err(fault)) => {
                            events.push(MailboxEvent::Violation {
                                rule: fault.rule(),
                                line: rest[..used.min(MAX_QUOTED)].into(),
                            });
                            self.say("500 5.5.2 Line not understood\r\n");
                        }
                    }
                }
                Mode::Content => at += self.content(rest, events),
                Mode::Skip(left) => {
                    let skipped =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    at += skipped;
                    self.mode = match left - skipped as u64 {
                        0 => Mode::Commands,
                        left => Mode::Skip(left),
                    };
                }
                Mode::Waiting => {
                    let room = self
                        .options
                        .backlog_limit
                        .saturating_sub(self.backlog.len());
                    self.overflow |= rest.len() > room;
                    self.backlog
                        .extend_from_slice(&rest[..rest.len().min(room)]);
                    return;
                }
                Mode::Handshake | Mode::Closed => return,
            }
        }
    }

    /// Answers the waiting message with one reply; in LMTP the same for every
    /// recipient. Then goes on with what the client has sent meanwhile.
    ///
    /// # Errors
    /// If no message waits.
    pub fn answer(
        &mut self,
        reply: &Reply,
        events: &mut Vec<MailboxEvent>,
    ) -> Result<(), AnswerError> {
        if !self.is_waiting() {
            return Err(AnswerError::NothingWaits);
        }
        for _ in 0..self.replies_needed() {
            self.out.extend_from_slice(reply.raw());
        }
        self.go_on(events);
        Ok(())
    }

    /// Answers the waiting message with a reply for each recipient (LMTP), or
    /// with the only one (SMTP).
    ///
    /// # Errors
    /// If no message waits, or the number is wrong; then nothing is sent.
    pub fn answer_each(
        &mut self,
        replies: &[Reply],
        events: &mut Vec<MailboxEvent>,
    ) -> Result<(), AnswerError> {
        if !self.is_waiting() {
            return Err(AnswerError::NothingWaits);
        }
        let needed = self.replies_needed();
        if replies.len() != needed {
            let given = replies.len();
            return Err(AnswerError::Count { needed, given });
        }
        for reply in replies {
            self.out.extend_from_slice(reply.raw());
        }
        self.go_on(events);
        Ok(())
    }

    /// TLS is up: the session begins anew, without a greeting (RFC 3207 4.2).
    pub fn secured(&mut self) {
        if self.mode == Mode::Handshake {
            self.reset();
            self.greeted = false;
            self.secure = true;
            self.mode = Mode::Commands;
        }
    }

    /// Whether a message waits for its answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.mode == Mode::Waiting
    }

    /// Whether the host should go on reading from the connection. False while
    /// the backlog is full; what is fed then is lost and closes the session.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.mode {
            Mode::Closed => false,
            Mode::Waiting => self.backlog.len() < self.options.backlog_limit,
            _ => true,
        }
    }

    /// Moves the bytes to send to the end of `out`.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() && !self.out.is_empty() {
            std::mem::swap(out, &mut self.out);
        } else {
            out.extend_from_slice(&self.out);
        }
        self.out.clear();
    }

    fn replies_needed(&self) -> usize {
        if self.options.lmtp {
            self.waiting_rcpts
        } else {
            1
        }
    }

    fn go_on(&mut self, events: &mut Vec<MailboxEvent>) {
        self.mode = Mode::Commands;
        if !self.backlog.is_empty() {
            let mut backlog = std::mem::take(&mut self.backlog);
            self.received(&backlog, events);
            if self.backlog.is_empty() {
                // Nothing waits anew; keep the storage.
                backlog.clear();
                self.backlog = backlog;
            }
        }
        if self.overflow && self.mode != Mode::Waiting {
            events.push(MailboxEvent::Violation {
                rule: "more was pipelined behind an end of data than the backlog holds",
                line: Line::default(),
            });
            self.say("421 4.7.0 Too much input before its time\r\n");
            self.close(events);
        }
    }

    fn say(&mut self, line: &str) {
        self.out.reserve(128);
        self.out.extend_from_slice(line.as_bytes());
    }

    fn close(&mut self, events: &mut Vec<MailboxEvent>) {
        if self.mode != Mode::Closed {
            self.mode = Mode::Closed;
            events.push(MailboxEvent::Close);
        }
    }

    fn reset(&mut self) {
        self.sender = None;
        self.rcpts.clear();
        self.content.clear();
        self.oversize = false;
    }

    /// Refuses a command, or the end of data.
    fn refuse(
        &mut self,
        phase: Option<Phase>,
        line: &Line,
        reply: Reply,
        events: &mut Vec<MailboxEvent>,
    ) {
        self.out.extend_from_slice(reply.raw());
        events.push(MailboxEvent::Refused {
            phase,
            line: line.clone(),
            reply: Some(reply),
        });
    }

    /// Applies an injection, if there is one for this phase and line.
    fn inject_at(
        &mut self,
        phase: Option<Phase>,
        line: &Line,
        events: &mut Vec<MailboxEvent>,
    ) -> Effect {
        if self.policy.is_empty() {
            return Effect::Default;
        }
        let Some(phase) = phase else {
            return Effect::Default;
        };
        let Some(injection) = self.policy.decide(phase, line) else {
            return Effect::Default;
        };
        let reply = injection.reply.clone();
        let close = injection.close;
        let served = reply.as_ref().is_some_and(|reply| !reply.is_refusal());
        if served && phase == Phase::Dot {
            return Effect::Default;
        }
        // LMTP: one reply for each recipient.
        let times = if phase == Phase::Dot && self.options.lmtp {
            self.rcpts.len()
        } else {
            1
        };
        for reply in reply.iter().cycle().take(times) {
            self.out.extend_from_slice(reply.raw());
        }
        let intermediate = reply.as_ref().is_some_and(Reply::is_intermediate);
        if !served {
            events.push(MailboxEvent::Refused {
                phase: Some(phase),
                line: line.clone(),
                reply,
            });
        }
        if close {
            self.close(events);
        }
        match (served, intermediate) {
            (false, _) => Effect::Refused,
            // A DATA that was answered 2yz has not begun content.
            (true, _) if phase == Phase::Data && !intermediate => Effect::Refused,
            (true, _) => Effect::Answered,
        }
    }

    fn command(&mut self, line: &Line, events: &mut Vec<MailboxEvent>) {
        let command = Command::parse(line);
        let phase = Phase::of_command(command.verb);
        if let Err(reply) = self.acceptable(&command) {
            // Before the policy: an injection cannot make sense of a command
            // that has none.
            if reply.code() == 501 || command.verb == Verb::Malformed {
                events.push(MailboxEvent::Violation {
                    rule: "a command line must follow the grammar of its verb",
                    line: line[..line.len().min(MAX_QUOTED)].into(),
                });
            }
            if self.inject_at(phase, line, events) == Effect::Default {
                self.refuse(phase, line, reply, events);
            }
        } else {
            match self.inject_at(phase, line, events) {
                Effect::Refused => {}
                effect => self.serve(&command, line, effect == Effect::Default, events),
            }
        }
        if let (Verb::Bdat, Argument::Chunk(chunk)) = (command.verb, command.argument)
            && self.mode == Mode::Commands
            && chunk.size > 0
        {
            // Not offered; but its octets are no commands.
            self.mode = Mode::Skip(chunk.size);
        }
    }

    /// Whether the command can be served now.
    fn acceptable(&self, command: &Command<'_>) -> Result<(), Reply> {
        let lmtp = self.options.lmtp;
        if matches!(command.argument, Argument::Malformed(_)) {
            return Err(match command.verb {
                Verb::Malformed => Reply::new(500, "5.5.2 Command not understood"),
                _ => Reply::new(501, "5.5.4 Argument not understood"),
            });
        }
        match command.verb {
            Verb::Helo | Verb::Ehlo if lmtp => Err(Reply::new(500, "5.5.1 This is LMTP")),
            Verb::Lhlo if !lmtp => Err(Reply::new(500, "5.5.1 This is not LMTP")),
            Verb::Mail if !self.greeted => Err(Reply::new(503, "5.5.1 Say hello first")),
            Verb::Mail if self.sender.is_some() => {
                Err(Reply::new(503, "5.5.1 A transaction is open"))
            }
            Verb::Mail => {
                let size = command.envelope().and_then(|mail| mail.params.size());
                match size {
                    Some(size) if size > self.options.size_limit as u64 => {
                        Err(Reply::new(552, "5.3.4 Message too large"))
                    }
                    _ => Ok(()),
                }
            }
            Verb::Rcpt if self.sender.is_none() => Err(Reply::new(503, "5.5.1 MAIL first")),
            Verb::Rcpt if self.rcpts.len() >= self.options.rcpt_limit => {
                Err(Reply::new(452, "4.5.3 Too many recipients"))
            }
            Verb::Data if self.rcpts.is_empty() => {
                Err(Reply::new(503, "5.5.1 No accepted recipient"))
            }
            Verb::StartTls if self.offers_tls() => Ok(()),
            Verb::Bdat | Verb::StartTls | Verb::Auth => Err(Reply::new(502, "5.5.1 Not offered")),
            Verb::Other(_) => Err(Reply::new(500, "5.5.1 Unknown command")),
            _ => Ok(()),
        }
    }

    /// Carries out a command; says its own reply if `speak`.
    fn serve(
        &mut self,
        command: &Command<'_>,
        line: &Line,
        speak: bool,
        events: &mut Vec<MailboxEvent>,
    ) {
        let reply = match command.verb {
            Verb::Helo | Verb::Ehlo | Verb::Lhlo => {
                self.reset();
                self.greeted = true;
                events.push(MailboxEvent::Hello(line.clone()));
                if speak {
                    let reply = self.hello(command.verb != Verb::Helo);
                    self.out.extend_from_slice(reply.raw());
                }
                return;
            }
            Verb::Mail => {
                if let Some(Envelope { address, params }) = command.envelope() {
                    self.sender = Some((address.into(), params.0.into()));
                    let size = params.size().unwrap_or(0).min(TRUSTED_SIZE);
                    self.content.reserve(size as usize);
                }
                "250 2.1.0 Sender ok\r\n"
            }
            Verb::Rcpt => {
                if let Some(Envelope { address, params }) = command.envelope() {
                    self.rcpts.push(MessageRecipient {
                        address: address.into(),
                        params: params.0.into(),
                    });
                }
                "250 2.1.5 Recipient ok\r\n"
            }
            Verb::Data => {
                self.mode = if self.mode == Mode::Closed {
                    Mode::Closed
                } else {
                    Mode::Content
                };
                self.scanner = Scanner::default();
                "354 Go on, end with a dot\r\n"
            }
            Verb::Rset => {
                self.reset();
                "250 2.0.0 Reset\r\n"
            }
            Verb::Noop => "250 2.0.0 Ok\r\n",
            Verb::Vrfy => "252 2.5.0 Not verified, send and see\r\n",
            Verb::Quit => {
                if speak {
                    self.say("221 2.0.0 Bye\r\n");
                }
                self.close(events);
                return;
            }
            Verb::StartTls => {
                if self.mode != Mode::Closed {
                    self.mode = Mode::Handshake;
                    events.push(MailboxEvent::StartTls);
                }
                "220 2.0.0 Go on\r\n"
            }
            Verb::Bdat | Verb::Auth | Verb::Other(_) | Verb::Malformed => return,
        };
        if speak {
            self.say(reply);
        }
    }

    fn offers_tls(&self) -> bool {
        self.options.starttls && !self.secure
    }

    fn hello(&self, extended: bool) -> Reply {
        let mut text = self.options.name.clone();
        if extended {
            for extension in EXTENSIONS {
                text.push('\n');
                text.push_str(extension);
            }
            if self.offers_tls() {
                text.push_str("\nSTARTTLS");
            }
            text.push_str("\nSIZE ");
            text.push_str(&self.options.size_limit.to_string());
        }
        Reply::new(250, &text)
    }

    /// Reads content; returns how many bytes were used.
    fn content(&mut self, bytes: &[u8], events: &mut Vec<MailboxEvent>) -> usize {
        let limit = self.options.size_limit;
        let content = &mut self.content;
        let oversize = &mut self.oversize;
        let end = self.scanner.scan(bytes, |piece| {
            *oversize |= piece.len() > limit - content.len();
            if !*oversize {
                content.extend_from_slice(piece);
            }
        });
        let Some(end) = end else { return bytes.len() };
        self.mode = Mode::Commands;
        let line = Line::default();
        if self.inject_at(Some(Phase::Dot), &line, events) == Effect::Refused {
            self.reset();
        } else if self.oversize {
            let reply = Reply::new(552, "5.3.4 Message too large");
            for _ in 1..if self.options.lmtp {
                self.rcpts.len()
            } else {
                1
            } {
                self.out.extend_from_slice(reply.raw());
            }
            self.refuse(Some(Phase::Dot), &line, reply, events);
            self.reset();
        } else {
            let (from, params) = self.sender.take().unwrap_or_default();
            let rcpts = std::mem::take(&mut self.rcpts);
            self.waiting_rcpts = rcpts.len();
            self.mode = Mode::Waiting;
            events.push(MailboxEvent::Message(Message {
                from,
                params,
                rcpts,
                content: std::mem::take(&mut self.content),
            }));
        }
        end.end
    }
}

/// Most bytes of a line quoted in a violation.
const MAX_QUOTED: usize = 256;

/// What an injection has left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// There is none: the command is served and answered.
    Default,
    /// The command is served; the answer has been given.
    Answered,
    /// The command is not served.
    Refused,
}
