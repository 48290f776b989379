//! The sender's sessions: the harness's client on simulated connections.

use bytes::Bytes;
use mailproof_model::event::{At, Attempt, Conn, Msg, Rcpt, Shut, What};
use mailproof_model::history::Sink;
use mailproof_model::party::{Party, Witness};
use mailproof_wire::{Client, ClientEvent, Transaction};

use super::net::End;
use super::{Coming, DialFault, SimWorld};
use crate::link::Side;
use crate::workload;

/// One session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Its connection, whether or not it has come about, and to whom.
    conn: Option<(Conn, Party)>,
    /// Speaks once the connection stands.
    client: Option<Client>,
    /// What is to be sent first.
    first: Option<Transaction>,
    /// The attempt under way: message, attempt, number of recipients.
    current: Option<(Msg, Attempt, usize)>,
    /// When its patience ends, and when that will be looked at.
    deadline: At,
    alarm: Option<At>,
    events: Vec<ClientEvent>,
}

impl<W: Sink> SimWorld<W> {
    /// Hands a message over.
    pub(super) fn submit(
        &mut self,
        number: u16,
        msg: Msg,
        attempt: Attempt,
        rcpts: &[Rcpt],
        node: Party,
    ) {
        self.record(
            Witness::Client,
            What::Attempt {
                msg,
                attempt,
                session: number,
                node,
                rcpts: rcpts.to_vec(),
                silent: false,
            },
        );
        let transaction = workload::transaction(&self.plan, msg, attempt, rcpts);
        let session = &mut self.sessions[usize::from(number)];
        session.current = Some((msg, attempt, rcpts.len()));
        let kept = session.conn.is_some_and(|(_, to)| to == node)
            && session.client.as_ref().is_some_and(Client::is_usable);
        if kept {
            if let Some(client) = &mut session.client {
                client.start(transaction);
            }
            self.be_patient(number);
            self.transmit(number);
            return;
        }
        self.hangup(number);
        self.sessions[usize::from(number)].first = Some(transaction);
        let Some(link) = self.link_between(Party::Client, node) else {
            self.settle(number, "there is no link to that node");
            return;
        };
        let conn = self.connect(link, End::Session(number));
        self.sessions[usize::from(number)].conn = Some((conn, node));
        self.be_patient(number);
    }

    /// Ends the session's connection in order.
    pub(super) fn hangup(&mut self, number: u16) {
        let session = &mut self.sessions[usize::from(number)];
        let Some((conn, _)) = session.conn.take() else {
            return;
        };
        match session.client.take() {
            Some(mut client) if client.is_usable() => {
                client.quit();
                self.scratch.clear();
                client.transmit(&mut self.scratch);
                let bytes = Bytes::copy_from_slice(&self.scratch);
                self.put_end(conn, Side::Client, End::Leaving);
                self.send(conn, Side::Client, bytes);
            }
            _ => self.close(conn, Side::Client, Shut::Fin),
        }
    }

    /// Waits for so long from now on.
    fn be_patient(&mut self, number: u16) {
        let deadline = self.clock.now() + self.patience;
        let session = &mut self.sessions[usize::from(number)];
        session.deadline = deadline;
        if session.alarm.is_none() {
            session.alarm = Some(deadline);
            let session = number;
            self.clock.at(deadline, Coming::Patience { session });
        }
    }

    /// The alarm of a session rings.
    pub(super) fn patience(&mut self, number: u16) {
        let now = self.clock.now();
        let session = &mut self.sessions[usize::from(number)];
        session.alarm = None;
        if session.current.is_none() {
            return;
        }
        if session.deadline > now {
            let at = session.deadline;
            session.alarm = Some(at);
            let session = number;
            self.clock.at(at, Coming::Patience { session });
            return;
        }
        self.lose(number, "no reply in time");
    }

    /// Gives the connection up; whatever is under way ends as it stands.
    fn lose(&mut self, number: u16, why: &str) {
        let session = &mut self.sessions[usize::from(number)];
        let conn = session.conn.take();
        let client = session.client.take();
        if let Some((conn, _)) = conn {
            self.close(conn, Side::Client, Shut::Fin);
        }
        if let Some(mut client) = client {
            let mut events = std::mem::take(&mut self.sessions[usize::from(number)].events);
            client.closed(&mut events);
            self.client_events(number, &mut events);
            self.sessions[usize::from(number)].events = events;
        }
        self.settle(number, why);
    }

    /// An attempt that is still open has come to nothing.
    fn settle(&mut self, number: u16, why: &str) {
        let session = &mut self.sessions[usize::from(number)];
        session.first = None;
        if let Some((msg, attempt, rcpts)) = session.current.take() {
            let what = workload::not_connected(msg, attempt, rcpts, why);
            self.record(Witness::Client, what);
        }
    }

    /// The session's dial ended; whether it still waited for that.
    pub(super) fn session_dialled(
        &mut self,
        number: u16,
        conn: Conn,
        error: Option<DialFault>,
    ) -> bool {
        let session = &mut self.sessions[usize::from(number)];
        if session.conn.map(|(of, _)| of) != Some(conn) || session.client.is_some() {
            return false;
        }
        if let Some(error) = error {
            session.conn = None;
            let why = match error {
                DialFault::Refused => "the connection was refused",
                DialFault::TimedOut => "the dial got no answer",
            };
            self.settle(number, why);
            return true;
        }
        let mut client = Client::new(workload::client_options());
        if let Some(first) = session.first.take() {
            client.start(first);
        }
        session.client = Some(client);
        self.be_patient(number);
        self.transmit(number);
        true
    }

    /// Bytes for the session.
    pub(super) fn session_bytes(&mut self, number: u16, conn: Conn, bytes: &[u8]) {
        let session = &mut self.sessions[usize::from(number)];
        if session.conn.map(|(of, _)| of) != Some(conn) {
            return;
        }
        let Some(client) = &mut session.client else {
            // The server speaks before the dial is known to have succeeded;
            // the kernel keeps that. The order of arrival makes it impossible.
            return;
        };
        let mut events = std::mem::take(&mut session.events);
        client.received(bytes, &mut events);
        let usable = client.is_usable();
        if session.current.is_some() {
            self.be_patient(number);
        }
        self.client_events(number, &mut events);
        self.sessions[usize::from(number)].events = events;
        if usable {
            self.transmit(number);
        } else {
            self.lose(number, "the server closed or broke the session");
        }
    }

    /// The other end closed or broke the session's connection.
    pub(super) fn session_ended(&mut self, number: u16, conn: Conn, reset: bool) {
        let session = &self.sessions[usize::from(number)];
        if session.conn.map(|(of, _)| of) != Some(conn) {
            return;
        }
        let why = if reset {
            "the connection was reset"
        } else {
            "the server closed the connection"
        };
        self.lose(number, why);
    }

    fn client_events(&mut self, number: u16, events: &mut Vec<ClientEvent>) {
        for event in events.drain(..) {
            if let ClientEvent::Done(outcome) = event {
                let session = &mut self.sessions[usize::from(number)];
                if let Some((msg, attempt, _)) = session.current.take() {
                    let what = workload::outcome(msg, attempt, &outcome);
                    self.record(Witness::Client, what);
                }
            }
        }
    }

    /// Sends what the session's client has to say.
    fn transmit(&mut self, number: u16) {
        let session = &mut self.sessions[usize::from(number)];
        let (Some((conn, _)), Some(client)) = (session.conn, &mut session.client) else {
            return;
        };
        let mut bytes = Vec::new();
        client.transmit(&mut bytes);
        if !bytes.is_empty() {
            self.send(conn, Side::Client, bytes.into());
        }
    }
}
