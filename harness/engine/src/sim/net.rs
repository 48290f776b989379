//! Connections between parties: each passes its link, takes its time, and
//! ends at a session of the sender, at a node or at the mailbox.

use bytes::Bytes;
use mailproof_model::event::{At, Conn, Shut, What};
use mailproof_model::history::Sink;
use mailproof_model::party::{Link, Party, Witness};
use mailproof_node::{ConnId, DialError, Input};

use super::node::State;
use super::settings::Settings;
use super::{Coming, DialFault, Passage, SimWorld};
use crate::link::{LinkOutput, Side};
use crate::mailbox::{MailboxCore, MailboxOutput};
use crate::topology::{Addresses, Virtual};

/// How long a kernel asks again for a connection that nobody answers (Linux:
/// six repetitions, 127 s).
const CONNECT: u64 = 127_000_000_000;

/// What a connection ends at.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing any more, or not yet.
    Nobody,
    /// A session of the sender.
    Session(u16),
    /// A session that has said QUIT and waits for the end.
    Leaving,
    /// A node, in one of its lives.
    Node { node: usize, id: ConnId, life: u32 },
    /// The mailbox.
    Mailbox(Box<MailboxCore>),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: usize,
    /// By [`Side`].
    pub(super) ends: [End; 2],
    /// When the last thing for each side arrives.
    arrival: [At; 2],
    /// When the last byte to each side has left a throttled link.
    busy: [At; 2],
}

impl<W: Sink> SimWorld<W> {
    /// Begins a connection over a link: its number.
    pub(super) fn connect(&mut self, link: usize, client: End) -> Conn {
        self.wires.push(Some(Box::new(Wire {
            link,
            ends: [client, End::Nobody],
            arrival: [0; 2],
            busy: [0; 2],
        })));
        // A run has far fewer than 2^32 connections.
        let conn = self.wires.len() as Conn;
        let before = self.link_out.len();
        self.links[link].dialled(conn, &mut self.link_out);
        self.asks_in_vain(conn, before);
        self.link_outputs(link);
        conn
    }

    /// If the link neither dials nor refuses, the kernel of who dialled gives
    /// up some day.
    fn asks_in_vain(&mut self, conn: Conn, before: usize) {
        let answered = |out: &LinkOutput| !matches!(out, LinkOutput::Record { what, .. } if matches!(what, What::Stalled { .. }));
        if !self.link_out[before..].iter().any(answered) {
            let error = Some(DialFault::TimedOut);
            let at = self.clock.now() + CONNECT;
            self.clock.at(at, Coming::Dialled { conn, error });
        }
    }

    pub(super) fn link_between(&self, from: Party, to: Party) -> Option<usize> {
        self.by_link.get(&Link::new(from, to)).copied()
    }

    pub(super) fn wire(&mut self, conn: Conn) -> Option<&mut Wire> {
        let index = usize::try_from(conn).ok()?.checked_sub(1)?;
        self.wires.get_mut(index)?.as_deref_mut()
    }

    /// Takes the end of a connection out; [`Self::put_end`] puts it back.
    fn take_end(&mut self, conn: Conn, side: Side) -> End {
        self.wire(conn).map_or(End::Nobody, |wire| {
            std::mem::replace(&mut wire.ends[side as usize], End::Nobody)
        })
    }

    pub(super) fn put_end(&mut self, conn: Conn, side: Side, end: End) {
        if let Some(wire) = self.wire(conn) {
            wire.ends[side as usize] = end;
        }
    }

    /// One end is no longer interested.
    pub(super) fn drop_end(&mut self, conn: Conn, side: Side) {
        self.put_end(conn, side, End::Nobody);
        if let Some(wire) = self.wire(conn)
            && wire.ends.iter().all(|end| matches!(end, End::Nobody))
        {
            self.wires[conn as usize - 1] = None;
        }
    }

    /// A party sends bytes.
    pub(super) fn send(&mut self, conn: Conn, from: Side, bytes: Bytes) {
        if let Some(link) = self.wire(conn).map(|wire| wire.link) {
            self.links[link].bytes(conn, from, bytes, &mut self.link_out);
            self.link_outputs(link);
        }
    }

    /// A party closes its end: the kernel says FIN, or RST.
    pub(super) fn close(&mut self, conn: Conn, from: Side, how: Shut) {
        if let Some(link) = self.wire(conn).map(|wire| wire.link) {
            self.links[link].closed(conn, from, how, &mut self.link_out);
            self.drop_end(conn, from);
            self.link_outputs(link);
        }
    }

    /// Carries out what a link wants done.
    pub(super) fn link_outputs(&mut self, link: usize) {
        let by = self.links[link].link();
        self.note_passages(link, by);
        let mut out = std::mem::take(&mut self.link_out);
        for output in out.drain(..) {
            match output {
                LinkOutput::Record { by, what } => self.record(by, what),
                LinkOutput::Pass {
                    conn,
                    to,
                    bytes,
                    delay,
                    rate,
                } => self.pass(conn, to, bytes, delay, rate),
                LinkOutput::Finish { conn, to, delay } => {
                    let at = self.travel(conn, to, delay);
                    self.clock.at(at, Coming::Fin { conn, to });
                }
                LinkOutput::Reset { conn, to, delay } => {
                    let at = self.travel(conn, to, delay);
                    self.clock.at(at, Coming::Reset { conn, to });
                }
                LinkOutput::Dial { conn } => {
                    let at = self.travel(conn, Side::Server, 0);
                    self.clock.at(at, Coming::Knock { conn });
                }
                LinkOutput::Refuse { conn } => {
                    let at = self.travel(conn, Side::Client, 0);
                    let error = Some(DialFault::Refused);
                    self.clock.at(at, Coming::Dialled { conn, error });
                }
                LinkOutput::Forget { .. } => {}
            }
        }
        debug_assert!(self.link_out.is_empty(), "{by}");
        self.link_out = out;
    }

    /// Writes down which phases have passed on a link, if anybody asked.
    fn note_passages(&mut self, link: usize, on: Link) {
        let Some(passages) = &mut self.passages else {
            return;
        };
        let (at, event) = (self.clock.now(), self.writer.events());
        let phases = self.links[link].take_passages();
        passages.extend(phases.into_iter().map(|phase| Passage {
            at,
            event,
            link: on,
            phase,
        }));
    }

    fn pass(&mut self, conn: Conn, to: Side, mut bytes: Bytes, delay: u64, rate: u64) {
        let delay = delay + self.queue_up(conn, to, bytes.len(), rate);
        let one_in = self.settings.cut_one_in;
        if one_in > 0 && bytes.len() > 1 && self.rng.below(one_in) == 0 {
            let at = 1 + self.rng.below(bytes.len() as u64 - 1);
            let first = bytes.split_to(usize::try_from(at).unwrap_or(1));
            let at = self.travel(conn, to, delay);
            let bytes = first;
            self.clock.at(at, Coming::Bytes { conn, to, bytes });
        }
        let at = self.travel(conn, to, delay);
        self.clock.at(at, Coming::Bytes { conn, to, bytes });
    }

    /// How long it takes until a throttled link has carried these bytes, in
    /// nanoseconds.
    fn queue_up(&mut self, conn: Conn, to: Side, bytes: usize, rate: u64) -> u64 {
        let now = self.clock.now();
        let Some(wire) = self.wire(conn).filter(|_| rate > 0) else {
            return 0;
        };
        let takes = (bytes as u64).saturating_mul(1_000_000_000) / rate;
        let busy = &mut wire.busy[to as usize];
        *busy = now.max(*busy).saturating_add(takes);
        *busy - now
    }

    /// When what leaves the link now arrives; never before what left earlier.
    fn travel(&mut self, conn: Conn, to: Side, delay: u64) -> At {
        let latency = Settings::time(self.settings.latency, &mut self.rng);
        let at = self.clock.now().saturating_add(delay) + latency;
        match self.wire(conn) {
            Some(wire) => {
                let last = &mut wire.arrival[to as usize];
                *last = at.max(*last);
                *last
            }
            None => at,
        }
    }

    /// A link's dial reaches the host of the server.
    pub(super) fn knock(&mut self, conn: Conn) {
        let Some(link) = self.wire(conn).map(|wire| wire.link) else {
            return;
        };
        let Link { from, to } = self.links[link].link();
        let node = self.node_index(to);
        let serves = node.is_none_or(|node| self.nodes[node].listens());
        if !serves {
            let note = "nobody listens there";
            let before = self.link_out.len();
            self.links[link].unreachable(conn, note, &mut self.link_out);
            self.asks_in_vain(conn, before);
            self.link_outputs(link);
            return;
        }
        let before = self.link_out.len();
        self.links[link].opened(conn, &mut self.link_out);
        let opened = |out: &LinkOutput| matches!(out, LinkOutput::Record { what, .. } if matches!(what, What::Open { .. }));
        if !self.link_out[before..].iter().any(opened) {
            // Cut off meanwhile, or given up.
            self.asks_in_vain(conn, before);
            self.link_outputs(link);
            return;
        }
        self.link_outputs(link);
        let at = self.travel(conn, Side::Client, 0);
        self.clock.at(at, Coming::Dialled { conn, error: None });
        match node {
            Some(node) => {
                let id = ConnId(conn.into());
                let life = self.nodes[node].life;
                self.put_end(conn, Side::Server, End::Node { node, id, life });
                let peer = Virtual.listen(from).ip();
                self.node_input(node, Input::Accepted { conn: id, peer });
            }
            None => {
                let context = std::sync::Arc::clone(&self.context);
                let mut mailbox = Box::new(MailboxCore::new(conn, from, context));
                let mut out = std::mem::take(&mut self.mailbox_out);
                mailbox.greet(&mut out);
                self.put_end(conn, Side::Server, End::Mailbox(mailbox));
                self.mailbox_outputs(conn, &mut out);
                self.mailbox_out = out;
            }
        }
    }

    /// A dial ended, as the one who dialled sees it.
    pub(super) fn dialled(&mut self, conn: Conn, error: Option<DialFault>) {
        let Some(wire) = self.wire(conn) else { return };
        let link = wire.link;
        let waits = match &wire.ends[Side::Client as usize] {
            End::Session(session) => {
                let session = *session;
                self.session_dialled(session, conn, error)
            }
            End::Node { node, id, life } => {
                let (node, id, life) = (*node, *id, *life);
                self.node_dialled(node, id, life, conn, error)
            }
            End::Nobody | End::Leaving | End::Mailbox(_) => false,
        };
        if error.is_some() && waits {
            // The kernel gives up for the one who dialled.
            if error == Some(DialFault::TimedOut) {
                self.links[link].closed(conn, Side::Client, Shut::Reset, &mut self.link_out);
            }
            self.drop_end(conn, Side::Client);
            self.link_outputs(link);
        }
    }

    fn node_dialled(
        &mut self,
        node: usize,
        id: ConnId,
        life: u32,
        conn: Conn,
        error: Option<DialFault>,
    ) -> bool {
        let host = &mut self.nodes[node];
        // A timeout that comes when the dial has long been answered.
        if host.life != life || !host.dialling.contains(&id) {
            return false;
        }
        host.dialling.remove(&id);
        let result = match error {
            None => Ok(()),
            Some(DialFault::Refused) => Err(DialError::Refused),
            Some(DialFault::TimedOut) => Err(DialError::TimedOut),
        };
        if result.is_err() {
            host.dialled.remove(&id);
        }
        let _ = conn;
        self.node_input(node, Input::Dialled { conn: id, result });
        true
    }

    /// Bytes reach an end.
    pub(super) fn arrive(&mut self, conn: Conn, to: Side, bytes: &Bytes) {
        let Some(wire) = self.wire(conn) else { return };
        match &wire.ends[to as usize] {
            End::Nobody => {}
            End::Session(session) => {
                let session = *session;
                self.session_bytes(session, conn, bytes);
            }
            End::Leaving => self.close(conn, to, Shut::Fin),
            End::Node { node, id, life } => {
                let (node, id, life) = (*node, *id, *life);
                if self.nodes[node].life == life {
                    let data = bytes;
                    self.node_bytes(node, id, data);
                }
            }
            End::Mailbox(_) => {
                let End::Mailbox(mut mailbox) = self.take_end(conn, to) else {
                    return;
                };
                let mut out = std::mem::take(&mut self.mailbox_out);
                mailbox.bytes(bytes, &mut out);
                self.put_end(conn, to, End::Mailbox(mailbox));
                self.mailbox_outputs(conn, &mut out);
                self.mailbox_out = out;
            }
        }
    }

    fn mailbox_outputs(&mut self, conn: Conn, out: &mut Vec<MailboxOutput>) {
        for output in out.drain(..) {
            match output {
                MailboxOutput::Record(what) => self.record(Witness::Mailbox, what),
                MailboxOutput::Send(bytes) => self.send(conn, Side::Server, bytes.into()),
                MailboxOutput::Close => self.close(conn, Side::Server, Shut::Fin),
            }
        }
    }

    /// The other end closed or broke the connection.
    pub(super) fn ended(&mut self, conn: Conn, at: Side, reset: bool) {
        let Some(wire) = self.wire(conn) else { return };
        match &wire.ends[at as usize] {
            End::Nobody => return,
            End::Session(session) => {
                let session = *session;
                self.session_ended(session, conn, reset);
            }
            End::Node { node, id, life } => {
                let (node, id, life) = (*node, *id, *life);
                let host = &mut self.nodes[node];
                if host.life == life {
                    if !reset {
                        // It may still owe an answer, and closes in its time.
                        self.node_input(node, Input::HalfClosed { conn: id });
                        return;
                    }
                    let input = Input::Closed { conn: id, reset };
                    if host.state == State::Paused {
                        // It will see that when it goes on; until then its
                        // kernel keeps the connection.
                        self.node_input(node, input);
                        return;
                    }
                    host.dialled.remove(&id);
                    host.dialling.remove(&id);
                    self.node_input(node, input);
                }
            }
            End::Leaving | End::Mailbox(_) => {}
        }
        // Whoever was told closes too.
        self.close(conn, at, Shut::Fin);
    }
}
