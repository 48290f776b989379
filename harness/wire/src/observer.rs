//! The passive observer of one clear-text connection.
//!
//! What it models: RFC 5321 with PIPELINING (RFC 2920), CHUNKING (RFC 3030),
//! STARTTLS, AUTH, LMTP (RFC 2033), and private verbs, each of which is one
//! command line and one reply, or a dialogue as long as the reply is 3yz.
//!
//! What it does not: whatever makes the meaning of bytes depend on who reads
//! them. A bare LF in a command line, bytes that overtake the reply to DATA, a
//! reply that nothing waits for: at the first of these it says that it is
//! [lost](Seen::Lost) and reads no more. A wrong guess would turn into a wrong
//! verdict; "no reply seen" never does.

mod collector;
mod point;
mod transaction;

use std::collections::VecDeque;

use crate::body::Scanner;
use crate::command::{Argument, Chunk, Command};
use crate::line::{Line, LineReader};
use crate::reply::{Reply, ReplyParser};
use crate::verb::Verb;

use collector::Collector;
pub use point::{Answers, Lost, Point, Seen};
use transaction::Transactions;
pub use transaction::{ObservedRcpt, ObservedTransaction, Progress};

/// Most unanswered commands.
pub const MAX_PENDING: usize = 20_000;

/// Most RCPT commands of one transaction.
pub const MAX_RCPTS: usize = 10_000;

/// Most transactions that a client may have begun before the replies to the
/// first have come.
pub const MAX_TRANSACTIONS: usize = 1_000;

/// What an observer collects of message content.
#[derive(Debug, Clone, Copy)]
pub struct ObserverOptions {
    /// Bytes kept from the beginning of each content.
    pub head_limit: usize,
    /// Digest the un-stuffed content.
    pub content_digest: bool,
    /// Digest what no relay may change; see
    /// [`body_digest`](crate::identity::body_digest).
    pub body_digest: Digests,
}

/// Of which contents an observer works out a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// Of none.
    None,
    /// Of those of which the head does not hold all. The others are in
    /// [`ObservedTransaction::head`] for the caller to digest, who may know
    /// them already; see [`Known`](crate::Known).
    BeyondHead,
    /// Of all.
    All,
}

impl Default for ObserverOptions {
    fn default() -> Self {
        Self {
            head_limit: 16 * 1024,
            content_digest: true,
            body_digest: Digests::All,
        }
    }
}

/// Whether an observer still follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// It does.
    Following,
    /// TLS has begun.
    Opaque,
    /// It could not follow; see [`Seen::Lost`].
    Lost,
}

/// Watches one clear-text connection.
///
/// Feed it the bytes of both directions in the order in which the link sees
/// them, before the link passes them on. Bytes that the link makes up itself
/// (an injected 421) are not for the observer: it would take them for the
/// server's.
#[derive(Debug)]
pub struct Observer {
    view: View,
    reader: LineReader,
    mode: Mode,
    parser: ReplyParser,
    /// What replies are due for, in order.
    due: VecDeque<Due>,
    /// The dialogue that the next client line continues.
    dialogue: Option<Verb>,
    transactions: Transactions,
    /// The transaction that a RCPT or DATA would now belong to, as far as the
    /// client's side tells.
    current: Option<u32>,
    collector: Collector,
    lmtp: bool,
}

/// What the client's next bytes are.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Commands,
    /// DATA has passed; its reply decides.
    AwaitData,
    Data {
        scanner: Scanner,
        transaction: u32,
    },
    Chunk {
        left: u64,
        last: bool,
        transaction: u32,
    },
}

/// What a reply is due for.
#[derive(Debug, Clone, Copy)]
enum Due {
    Greeting,
    /// EHLO, HELO, LHLO or RSET. If accepted it ends every transaction with a
    /// number below `before`.
    Reset {
        verb: Verb,
        before: u32,
    },
    Mail {
        transaction: u32,
    },
    Rcpt {
        transaction: Option<u32>,
        rcpt: usize,
    },
    Data {
        transaction: Option<u32>,
    },
    /// BDAT without LAST.
    Chunk,
    /// The end of data; with LMTP the recipient from which the next reply is
    /// looked for.
    End {
        transaction: u32,
        rcpt: usize,
    },
    StartTls,
    /// AUTH or a private verb.
    Dialogue(Verb),
    Other(Verb),
}

impl Default for Observer {
    fn default() -> Self {
        Self::new(ObserverOptions::default())
    }
}

impl Observer {
    /// An observer of a connection on which nothing has passed.
    #[must_use]
    pub fn new(options: ObserverOptions) -> Self {
        Self {
            view: View::Following,
            reader: LineReader::default(),
            mode: Mode::Commands,
            parser: ReplyParser::default(),
            due: VecDeque::from([Due::Greeting]),
            dialogue: None,
            transactions: Transactions::default(),
            current: None,
            collector: Collector::new(options),
            lmtp: false,
        }
    }

    /// An observer of what is inside TLS, for a link that ends TLS on both
    /// legs: no greeting comes (RFC 3207 4.2).
    #[must_use]
    pub fn inside_tls(options: ObserverOptions) -> Self {
        let mut observer = Self::new(options);
        observer.due.clear();
        observer
    }

    /// Reads bytes that the client sent and appends what they are to `points`,
    /// by offset.
    pub fn client_bytes(&mut self, bytes: &[u8], points: &mut Vec<Point>) {
        if self.view != View::Following {
            return;
        }
        self.retire();
        let mut at = 0;
        while at < bytes.len() {
            let read = match self.mode {
                Mode::Commands => self.read_command(bytes, at, points),
                Mode::AwaitData => Err(Lost::DataOvertaken),
                Mode::Data {
                    scanner,
                    transaction,
                } => Ok(self.read_data(bytes, at, scanner, transaction, points)),
                Mode::Chunk {
                    left,
                    last,
                    transaction,
                } => Ok(self.read_chunk(bytes, at, left, last, transaction, points)),
            };
            match read {
                Ok(next) => at = next,
                Err(lost) => return self.lose(lost, at, bytes.len(), points),
            }
        }
    }

    /// Reads bytes that the server sent and appends what they are to `points`,
    /// by offset.
    pub fn server_bytes(&mut self, bytes: &[u8], points: &mut Vec<Point>) {
        if self.view != View::Following {
            return;
        }
        self.retire();
        let mut at = 0;
        while at < bytes.len() {
            // A reply that began in an earlier chunk goes on at its start.
            let start = at;
            let (used, reply) = match self.parser.read(&bytes[at..]) {
                Ok(read) => read,
                Err(error) => return self.lose(error.into(), start, bytes.len(), points),
            };
            at += used;
            let Some(reply) = reply else { return };
            match self.answer(&reply) {
                Ok(answers) => points.push(Point {
                    start,
                    end: at,
                    seen: Seen::Reply { reply, answers },
                }),
                Err(lost) => return self.lose(lost, start, at, points),
            }
            if self.view == View::Opaque {
                return points.push(Point {
                    start: at,
                    end: at,
                    seen: Seen::Opaque,
                });
            }
        }
    }

    /// The transaction begun last, if it is still kept.
    #[must_use]
    pub fn transaction(&self) -> Option<&ObservedTransaction> {
        self.transactions.iter().next_back()
    }

    /// The transaction with this number. Kept until the call after the one
    /// that saw its last reply.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<&ObservedTransaction> {
        self.transactions.iter().rfind(|kept| kept.number == number)
    }

    /// Every transaction still kept, oldest first: at the end of a connection,
    /// those whose [`Progress`] is `Ended` got no (complete) reply.
    pub fn transactions(&self) -> impl Iterator<Item = &ObservedTransaction> {
        self.transactions.iter()
    }

    /// Whether the observer still follows.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    fn lose(&mut self, lost: Lost, start: usize, end: usize, points: &mut Vec<Point>) {
        self.view = View::Lost;
        points.push(Point {
            start,
            end,
            seen: Seen::Lost(lost),
        });
    }

    fn retire(&mut self) {
        let active = match self.mode {
            Mode::Data { transaction, .. } | Mode::Chunk { transaction, .. } => Some(transaction),
            Mode::Commands | Mode::AwaitData => self.current,
        };
        self.transactions.retire(active);
    }

    fn read_command(
        &mut self,
        bytes: &[u8],
        at: usize,
        points: &mut Vec<Point>,
    ) -> Result<usize, Lost> {
        // A line that began in an earlier chunk goes on at its start.
        let start = at;
        let (used, line) = self.reader.read(&bytes[at..]);
        let end = at + used;
        let Some(line) = line else { return Ok(end) };
        let line = line?;
        if memchr::memchr(b'\r', &line) != Some(line.len() - 2) {
            return Err(Lost::BareCr);
        }
        if self.due.len() >= MAX_PENDING {
            return Err(Lost::TooManyPending);
        }
        if let Some(verb) = self.dialogue.take() {
            self.due.push_back(Due::Dialogue(verb));
            let seen = Seen::Continuation { verb, line };
            points.push(Point { start, end, seen });
            return Ok(end);
        }
        let command = Command::parse(&line);
        let verb = command.verb;
        let mut chunk = None;
        let mut transaction = self.current;
        let mut rcpt = None;
        let due = match verb {
            Verb::Helo | Verb::Ehlo | Verb::Lhlo | Verb::Rset => {
                self.current = None;
                transaction = None;
                let before = self.transactions.next_number();
                Due::Reset { verb, before }
            }
            Verb::Mail => {
                let from = command.envelope().map(|envelope| envelope.address);
                let number = self.begin(from.unwrap_or_default())?;
                transaction = Some(number);
                Due::Mail {
                    transaction: number,
                }
            }
            Verb::Rcpt => {
                let address = command.envelope().map(|envelope| envelope.address);
                let index = match transaction {
                    Some(number) => self.add_rcpt(number, address.unwrap_or_default())?,
                    None => 0,
                };
                rcpt = Some(index);
                Due::Rcpt {
                    transaction,
                    rcpt: index,
                }
            }
            Verb::Data => {
                self.mode = Mode::AwaitData;
                Due::Data { transaction }
            }
            Verb::Bdat => match command.argument {
                Argument::Chunk(announced) => {
                    let number = match transaction {
                        Some(number) => number,
                        None => self.begin(b"")?,
                    };
                    transaction = Some(number);
                    chunk = Some((announced, number));
                    if announced.last {
                        self.current = None;
                        Due::End {
                            transaction: number,
                            rcpt: 0,
                        }
                    } else {
                        Due::Chunk
                    }
                }
                _ => return Err(Lost::ChunkSize),
            },
            Verb::StartTls => Due::StartTls,
            Verb::Auth | Verb::Other(_) => Due::Dialogue(verb),
            Verb::Noop | Verb::Quit | Verb::Vrfy | Verb::Malformed => Due::Other(verb),
        };
        self.due.push_back(due);
        points.push(Point {
            start,
            end,
            seen: Seen::Command {
                verb,
                line,
                transaction,
                rcpt,
            },
        });
        if let Some((chunk, number)) = chunk {
            self.begin_chunk(chunk, number, start, end, points);
        }
        Ok(end)
    }

    fn begin(&mut self, from: &[u8]) -> Result<u32, Lost> {
        if self.transactions.len() >= MAX_TRANSACTIONS {
            return Err(Lost::TooManyPending);
        }
        let number = self.transactions.begin(from);
        self.current = Some(number);
        Ok(number)
    }

    fn add_rcpt(&mut self, number: u32, address: &[u8]) -> Result<usize, Lost> {
        let Some(transaction) = self.transactions.find(number) else {
            return Ok(0);
        };
        if transaction.rcpts.len() >= MAX_RCPTS {
            return Err(Lost::TooManyRcpts);
        }
        transaction.rcpts.push(ObservedRcpt {
            address: Line::from(address),
            code: None,
            end_code: None,
        });
        Ok(transaction.rcpts.len() - 1)
    }

    /// The first byte of content of a transaction is at `at`.
    fn begin_content(&mut self, number: u32, at: usize, points: &mut Vec<Point>) {
        self.collector.begin(number);
        if let Some(transaction) = self.transactions.find(number) {
            transaction.progress = transaction.progress.max(Progress::Content);
        }
        points.push(Point {
            start: at,
            end: at,
            seen: Seen::Content {
                transaction: number,
            },
        });
    }

    fn read_data(
        &mut self,
        bytes: &[u8],
        at: usize,
        mut scanner: Scanner,
        transaction: u32,
        points: &mut Vec<Point>,
    ) -> usize {
        if self.collector.transaction() != Some(transaction) {
            self.begin_content(transaction, at, points);
        }
        let collector = &mut self.collector;
        let end = scanner.scan(&bytes[at..], |piece| collector.add(piece));
        let Some(end) = end else {
            self.mode = Mode::Data {
                scanner,
                transaction,
            };
            return bytes.len();
        };
        self.due.push_back(Due::End {
            transaction,
            rcpt: 0,
        });
        self.current = None;
        self.end_content(transaction, at + end.start, at + end.end, points);
        at + end.end
    }

    fn begin_chunk(
        &mut self,
        chunk: Chunk,
        transaction: u32,
        start: usize,
        end: usize,
        points: &mut Vec<Point>,
    ) {
        if self.collector.transaction() != Some(transaction) {
            self.begin_content(transaction, end, points);
        }
        if chunk.size > 0 {
            self.mode = Mode::Chunk {
                left: chunk.size,
                last: chunk.last,
                transaction,
            };
        } else if chunk.last {
            self.end_content(transaction, start, end, points);
        }
    }

    fn read_chunk(
        &mut self,
        bytes: &[u8],
        at: usize,
        left: u64,
        last: bool,
        transaction: u32,
        points: &mut Vec<Point>,
    ) -> usize {
        let here =
            usize::try_from(left).map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
        let end = at + here;
        self.collector.add(&bytes[at..end]);
        let left = left - here as u64;
        if left > 0 {
            self.mode = Mode::Chunk {
                left,
                last,
                transaction,
            };
        } else if last {
            self.end_content(transaction, end - 1, end, points);
        } else {
            self.mode = Mode::Commands;
        }
        end
    }

    /// The content of a transaction is complete.
    fn end_content(&mut self, number: u32, start: usize, end: usize, points: &mut Vec<Point>) {
        self.mode = Mode::Commands;
        let (content, body) = self.collector.digests();
        let size = self.collector.size();
        if let Some(transaction) = self.transactions.find(number) {
            // A server may have refused a BDAT before all of it had come.
            transaction.progress = transaction.progress.max(Progress::Ended);
            transaction.size = size;
            self.collector.hand_over(&mut transaction.head);
        }
        self.collector.clear();
        points.push(Point {
            start,
            end,
            seen: Seen::Dot {
                transaction: number,
                size,
                content,
                body,
            },
        });
    }

    /// Takes account of a reply.
    fn answer(&mut self, reply: &Reply) -> Result<Answers, Lost> {
        let Some(due) = self.due.front_mut() else {
            // RFC 5321 3.8: a server that shuts down may say so at any time.
            return if reply.code() == 421 {
                Ok(Answers::Nothing)
            } else {
                Err(Lost::Unexpected(reply.clone()))
            };
        };
        let wrong = |verb| Err(Lost::WrongClass(verb, reply.clone()));
        let code = reply.code();
        let answers = match *due {
            Due::Greeting if reply.is_intermediate() => {
                return Err(Lost::Unexpected(reply.clone()));
            }
            Due::Greeting => Answers::Greeting,
            Due::Reset { verb, .. } if reply.is_intermediate() => return wrong(verb),
            Due::Reset { verb, before } => {
                if reply.is_success() {
                    self.transactions.reset(before);
                    if verb != Verb::Rset {
                        self.lmtp = verb == Verb::Lhlo;
                    }
                } else if self.current.is_none() {
                    // Refused, so the transaction goes on.
                    self.current = self.transactions.open_before(before);
                }
                Answers::Command(verb)
            }
            Due::Mail { .. } if reply.is_intermediate() => return wrong(Verb::Mail),
            Due::Mail { transaction } => {
                self.answer_mail(transaction, code)?;
                Answers::Mail { transaction }
            }
            Due::Rcpt { .. } if reply.is_intermediate() => return wrong(Verb::Rcpt),
            Due::Rcpt { transaction, rcpt } => {
                let kept = transaction.and_then(|number| self.transactions.find(number));
                if let Some(kept) = kept.and_then(|kept| kept.rcpts.get_mut(rcpt)) {
                    kept.code = Some(code);
                }
                Answers::Rcpt { transaction, rcpt }
            }
            Due::Data { .. } if reply.is_success() => return wrong(Verb::Data),
            Due::Data { transaction } => {
                self.mode = Mode::Commands;
                if reply.is_intermediate() {
                    // A server that says 354 without MAIL breaks the protocol,
                    // but what follows is content.
                    let transaction = match transaction {
                        Some(number) => number,
                        None => self.begin(b"")?,
                    };
                    self.mode = Mode::Data {
                        scanner: Scanner::default(),
                        transaction,
                    };
                }
                Answers::Command(Verb::Data)
            }
            Due::Chunk if reply.is_intermediate() => return wrong(Verb::Bdat),
            Due::Chunk => Answers::Command(Verb::Bdat),
            Due::End { .. } if reply.is_intermediate() => return wrong(Verb::Data),
            Due::End {
                transaction,
                ref mut rcpt,
            } => {
                let mut answered = None;
                if let Some(kept) = self.transactions.find(transaction) {
                    kept.end_code = Some(code);
                    if self.lmtp {
                        answered = kept.end_rcpt(*rcpt, code);
                        *rcpt = answered.map_or(kept.rcpts.len(), |index| index + 1);
                        if kept.accepted_from(*rcpt).is_some() {
                            // More replies are due for this transaction.
                            return Ok(Answers::End {
                                transaction,
                                rcpt: answered,
                            });
                        }
                    } else {
                        kept.end_all(code);
                    }
                    kept.progress = Progress::Answered;
                }
                Answers::End {
                    transaction,
                    rcpt: answered,
                }
            }
            Due::StartTls if reply.is_intermediate() => return wrong(Verb::StartTls),
            Due::StartTls => {
                if reply.is_success() {
                    self.view = View::Opaque;
                }
                Answers::Command(Verb::StartTls)
            }
            Due::Dialogue(verb) => {
                if reply.is_intermediate() {
                    if self.due.len() > 1 || self.reader.is_partial() {
                        return Err(Lost::DialogueOvertaken(verb, code));
                    }
                    self.dialogue = Some(verb);
                } else if reply.is_success() && matches!(verb.as_str(), "TURN" | "ATRN") {
                    return Err(Lost::Turned(verb));
                }
                Answers::Command(verb)
            }
            Due::Other(verb) if reply.is_intermediate() => return wrong(verb),
            Due::Other(verb) => Answers::Command(verb),
        };
        self.due.pop_front();
        Ok(answers)
    }

    fn answer_mail(&mut self, number: u32, code: u16) -> Result<(), Lost> {
        let goes_on = self.transactions.answer_mail(number, code);
        let Some((earlier, base)) = goes_on? else {
            return Ok(());
        };
        // MAIL inside a transaction was refused (RFC 5321 4.1.4): what the
        // client pipelined behind it belongs to the transaction that goes on.
        if self.current == Some(number) {
            self.current = Some(earlier);
        }
        for due in &mut self.due {
            match due {
                Due::Rcpt {
                    transaction: Some(of),
                    rcpt,
                } if *of == number => {
                    *of = earlier;
                    *rcpt += base;
                }
                Due::Data {
                    transaction: Some(of),
                } if *of == number => *of = earlier,
                _ => {}
            }
        }
        Ok(())
    }
}
