//! The workload's sessions, on lettre: a client that many programs use, so
//! that what is seen here is what they would see. It is no measuring
//! instrument (strict round trips), and the link beside it is the witness of
//! what was really said.
//!
//! Only `command` and `message` of lettre's connection are used: its `send`
//! gives the whole transaction up on the first refusal. `message` ends the
//! content with a CRLF of its own, so the content's last CRLF is left to it
//! and the bytes on the wire are just ours.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use mailproof_model::event::{Attempt, Msg, Rcpt, What};
use mailproof_model::party::{Link, Party, Witness};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::shared::Shared;
use crate::topology::Addresses;
use crate::workload::transaction;

/// The name the client gives itself.
const HELLO: &str = "client.test";

/// Bytes of the server's first words that are kept, to look for SIZE.
const OVERHEARD: usize = 8 * 1024;

/// One message to hand over.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) msg: Msg,
    pub(crate) attempt: Attempt,
    pub(crate) rcpts: Vec<Rcpt>,
    pub(crate) node: Party,
}

/// What a session can be asked to do.
#[derive(Debug)]
pub(crate) enum SessionAsk {
    Submit(Submit),
    Hangup,
}

/// One session of the sender. It keeps its connection between messages to the
/// same node.
pub(crate) struct Session {
    number: u16,
    shared: Arc<Shared>,
    patience: Duration,
    kept: Option<(Party, Open)>,
}

/// A connection that has been greeted.
struct Open {
    smtp: AsyncSmtpConnection,
    /// Whether the server offered SIZE (RFC 1870).
    size: bool,
}

/// How a transaction went, as far as it got.
#[derive(Default)]
struct Account {
    rcpts: Vec<u16>,
    end: Vec<u16>,
    note: Option<String>,
}

/// The connection cannot be used any more, and why.
struct Broken(String);

impl Session {
    pub(crate) fn new(number: u16, shared: Arc<Shared>) -> Self {
        let patience = Duration::from_nanos(shared.plan.time("patience"));
        Self {
            number,
            shared,
            patience,
            kept: None,
        }
    }

    /// Serves asks until there will be none.
    pub(crate) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<SessionAsk>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                SessionAsk::Submit(submit) => self.submit(submit).await,
                SessionAsk::Hangup => {
                    if let Some((_, mut open)) = self.kept.take() {
                        let _ = timeout(self.patience, open.smtp.quit()).await;
                    }
                }
            }
        }
    }

    async fn submit(&mut self, submit: Submit) {
        let begun = What::Attempt {
            msg: submit.msg,
            attempt: submit.attempt,
            session: self.number,
            node: submit.node,
            rcpts: submit.rcpts.clone(),
            silent: false,
        };
        if self.record(begun).is_err() {
            return;
        }
        let mut account = Account {
            rcpts: vec![0; submit.rcpts.len()],
            ..Account::default()
        };
        let tried = match self.connection(submit.node).await {
            Ok(mut open) => self
                .transaction(&mut open, &submit, &mut account)
                .await
                .map(|()| open),
            Err(broken) => Err(broken),
        };
        match tried {
            Ok(open) => self.kept = Some((submit.node, open)),
            Err(Broken(why)) => account.note = Some(why),
        }
        let _ = self.record(What::Outcome {
            msg: submit.msg,
            attempt: submit.attempt,
            rcpts: account.rcpts,
            end: account.end,
            note: account.note,
        });
    }

    fn record(&self, what: What) -> Result<(), super::record::Unrecorded> {
        self.shared.recorder.record(Witness::Client, what)
    }

    /// The kept connection, or a new one.
    async fn connection(&mut self, node: Party) -> Result<Open, Broken> {
        match self.kept.take() {
            Some((to, open)) if to == node => return Ok(open),
            Some((_, mut other)) => {
                let _ = timeout(self.patience, other.smtp.quit()).await;
            }
            None => {}
        }
        let stream = timeout(self.patience, self.dial(node))
            .await
            .map_err(|_| Broken("no answer to the dial".to_owned()))?
            .map_err(|error| Broken(format!("the dial failed: {error}")))?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let overheard = Overheard {
            stream,
            heard: Arc::clone(&heard),
        };
        let hello = ClientId::Domain(HELLO.to_owned());
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(overheard), &hello);
        let smtp = match timeout(self.patience, greeted).await {
            Ok(Ok(smtp)) => smtp,
            Ok(Err(error)) => {
                let Some(code) = error.status().map(u16::from) else {
                    return Err(Broken(format!("no proper greeting: {error}")));
                };
                // That is about the session and says nothing of the message.
                return Err(Broken(format!("the server said {code}")));
            }
            Err(_) => return Err(Broken("no greeting in time".to_owned())),
        };
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let size = heard.split(|byte| *byte == b'\n').any(|line| {
            line.get(4..8)
                .is_some_and(|k| k.eq_ignore_ascii_case(b"SIZE"))
        });
        drop(heard);
        Ok(Open { smtp, size })
    }

    async fn dial(&self, node: Party) -> io::Result<TcpStream> {
        let block = &self.shared.block;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(block.own(Party::Client), 0))?;
        let stream = socket
            .connect(block.link(Link::new(Party::Client, node)))
            .await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn transaction(
        &self,
        open: &mut Open,
        submit: &Submit,
        account: &mut Account,
    ) -> Result<(), Broken> {
        let plan = &self.shared.plan;
        let sent = transaction(plan, submit.msg, submit.attempt, &submit.rcpts);
        let content = &sent.content;
        let mut mail = format!("MAIL FROM:<{}>", sent.from);
        if open.size {
            mail += &format!(" SIZE={}", content.len());
        }
        let code = self.command(open, "MAIL", &mail).await?;
        if code / 100 != 2 {
            account.rcpts.fill(code);
            return closing(code);
        }
        for (rcpt, known) in sent.rcpts.iter().zip(&mut account.rcpts) {
            let line = format!("RCPT TO:<{}>", rcpt.address);
            *known = self.command(open, "RCPT", &line).await?;
            closing(*known)?;
        }
        if !account.rcpts.iter().any(|code| code / 100 == 2) {
            return self.reset(open).await;
        }
        let code = self.command(open, "DATA", "DATA").await?;
        if code != 354 {
            if code / 100 < 4 {
                return Err(Broken(format!("DATA was answered with {code}")));
            }
            account.end.push(code);
            closing(code)?;
            return self.reset(open).await;
        }
        let body = content.strip_suffix(b"\r\n").unwrap_or(content);
        let end = timeout(self.patience, open.smtp.message(body)).await;
        let code = heard(end, "the end of data")?;
        account.end.push(code);
        closing(code)
    }

    /// One command line and the code of its reply.
    async fn command(&self, open: &mut Open, verb: &str, line: &str) -> Result<u16, Broken> {
        let asked = open.smtp.command(format!("{line}\r\n"));
        heard(timeout(self.patience, asked).await, verb)
    }

    async fn reset(&self, open: &mut Open) -> Result<(), Broken> {
        match self.command(open, "RSET", "RSET").await? / 100 {
            2 => Ok(()),
            _ => Err(Broken("RSET was refused".to_owned())),
        }
    }
}

/// The code of a reply; a 4yz or 5yz is one too.
fn heard(
    reply: Result<Result<Response, Error>, tokio::time::error::Elapsed>,
    to: &str,
) -> Result<u16, Broken> {
    match reply {
        Ok(Ok(response)) => Ok(response.code().into()),
        Ok(Err(error)) => match error.status() {
            Some(code) => Ok(code.into()),
            None => Err(Broken(format!("{to}: {}", in_words(&error)))),
        },
        Err(_) => Err(Broken(format!("no reply to {to} in time"))),
    }
}

/// After 421 the server closes (RFC 5321 3.8).
fn closing(code: u16) -> Result<(), Broken> {
    if code == 421 {
        Err(Broken("the server said 421".to_owned()))
    } else {
        Ok(())
    }
}

fn in_words(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

/// A stream of which the server's first words are kept: lettre reads the
/// reply to EHLO itself and throws most of it away.
struct Overheard {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl fmt::Debug for Overheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl AsyncTokioStream for Overheard {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OVERHEARD - heard.len().min(OVERHEARD);
        let new = &into.filled()[before..];
        heard.extend_from_slice(&new[..new.len().min(room)]);
        polled
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
