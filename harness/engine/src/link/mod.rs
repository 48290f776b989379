//! A link: the userland relay between two parties that sees every byte, writes
//! down what passes, and breaks what it is told to break.
//!
//! What it models: one TCP leg to the party that dials and one to the party
//! that is dialled, each of which can be reset, closed, silenced or slowed;
//! and every named phase of the SMTP dialogue between them. What it does not:
//! lost or reordered packets (TCP hides them), and dialogues that it cannot
//! read (it says `opaque` once and carries the bytes).
//!
//! Effect witness of its faults: what the observers on both legs see
//! afterwards (`shut`, `refused`, a reply that the link saw and the client did
//! not). The receipts that it writes are the injector's and prove nothing.
//! Removal proof: `released`, or traffic on the link again.
//!
//! [`LinkCore`] does no I/O, so that the simulator and the real engines share
//! it. The host hands it what happens on the legs and carries out the
//! [`LinkOutput`]s in their order: whatever is to be recorded comes before the
//! bytes that it permits.

mod act;
mod connection;
mod note;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use mailproof_model::event::{Conn, Fault, Shut, Stage, What};
use mailproof_model::order::WorldError;
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::scenario::{LinkAct, Point, Times, Toward};
use mailproof_wire::observer;
use mailproof_wire::{Known, Phase};

use act::{Armed, act_text};
pub use act::{offers_act, offers_point};
use connection::{Connection, Item};
pub use note::digest_text;

/// Most bytes that a standing connection keeps for each direction before
/// [`LinkCore::wants`] asks the host to stop reading.
pub const BACKLOG: usize = 1 << 20;

/// One end of a connection, by its part in the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The party that dialled.
    Client,
    /// The party that was dialled.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// What the host of a link has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// Write this down before anything that follows.
    Record {
        /// The witness.
        by: Witness,
        /// What was seen.
        what: What,
    },
    /// Dial the server for this connection; then [`LinkCore::opened`] or
    /// [`LinkCore::unreachable`].
    Dial {
        /// Which connection.
        conn: Conn,
    },
    /// Refuse the client's dial (reset its leg).
    Refuse {
        /// Which connection.
        conn: Conn,
    },
    /// Send bytes on.
    Pass {
        /// Which connection.
        conn: Conn,
        /// To which end.
        to: Side,
        /// What.
        bytes: Bytes,
        /// Not before so many nanoseconds from now; the order on a leg stays.
        delay: u64,
        /// Bytes a second that this leg may carry; 0: as many as come. The
        /// last byte leaves when all before it have had their time.
        rate: u64,
    },
    /// Close one direction in order (FIN), after everything passed before.
    Finish {
        /// Which connection.
        conn: Conn,
        /// Towards which end.
        to: Side,
        /// As in [`LinkOutput::Pass`].
        delay: u64,
    },
    /// Reset a leg (RST), after everything passed before.
    Reset {
        /// Which connection.
        conn: Conn,
        /// Towards which end.
        to: Side,
        /// As in [`LinkOutput::Pass`].
        delay: u64,
    },
    /// The link has forgotten the connection; inputs about it mean nothing any
    /// more. A leg that was neither finished nor reset must stay silent: its
    /// party gets no FIN, whatever becomes of the other leg.
    Forget {
        /// Which connection.
        conn: Conn,
    },
}

/// What all links and mailboxes of a run share.
#[derive(Debug)]
pub struct LinkContext {
    /// The times that a delay may name.
    pub(crate) times: Times,
    /// The run's messages that passed lately.
    pub(crate) known: Known,
}

impl LinkContext {
    /// For the run with this id, as its messages carry it.
    #[must_use]
    pub fn new(run: &str, times: Times) -> Self {
        let known = Known::new(run);
        Self { times, known }
    }
}

/// One link. See the module.
#[derive(Debug)]
pub struct LinkCore {
    link: Link,
    context: Arc<LinkContext>,
    armed: Vec<Armed>,
    whole: Whole,
    conns: BTreeMap<Conn, Box<Connection>>,
    points: Vec<observer::Point>,
    /// The phases that passed since they were last asked for, in their order,
    /// if anybody asks.
    passages: Option<Vec<Phase>>,
}

/// How fast bytes go on.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Nanoseconds later.
    delay: u64,
    /// Bytes a second; 0: no bound.
    rate: u64,
}

/// What is in force for every connection of the link.
#[derive(Debug, Default)]
struct Whole {
    refuse: Vec<Fault>,
    blackhole: Vec<Fault>,
    delay: Vec<(Fault, u64)>,
    /// Bytes a second, at least 1.
    throttle: Vec<(Fault, u64)>,
    /// Directions that stand still, by the side they lead to.
    mute: [Vec<Fault>; 2],
    /// Whether the ends are cut off from everything: (from, to).
    silent: [bool; 2],
}

impl Whole {
    fn stands(&self) -> bool {
        !self.blackhole.is_empty()
    }

    /// Whether nothing that comes from this end goes on.
    fn keeps(&self, from: Side) -> bool {
        self.stands() || !self.mute[from.other().index()].is_empty()
    }

    /// Whether no dial can be answered: that takes both directions.
    fn cut(&self) -> bool {
        self.keeps(Side::Client) || self.keeps(Side::Server)
    }

    fn pace(&self) -> Pace {
        Pace {
            delay: self.delay(),
            rate: self.throttle.iter().map(|(_, r)| *r).min().unwrap_or(0),
        }
    }

    fn silent(&self) -> bool {
        self.silent != [false, false]
    }

    fn delay(&self) -> u64 {
        self.delay
            .iter()
            .fold(0, |sum, (_, d)| sum.saturating_add(*d))
    }
}

impl LinkCore {
    /// A link on which nothing has happened.
    #[must_use]
    pub fn new(link: Link, context: Arc<LinkContext>) -> Self {
        Self {
            link,
            context,
            armed: Vec::new(),
            whole: Whole::default(),
            conns: BTreeMap::new(),
            points: Vec::new(),
            passages: None,
        }
    }

    /// Keeps the phases that pass from now on for [`Self::take_passages`].
    pub fn keep_passages(&mut self) {
        self.passages.get_or_insert_default();
    }

    /// The phases that passed since the last call, over all connections:
    /// exactly those that an act could have been armed at.
    pub fn take_passages(&mut self) -> Vec<Phase> {
        self.passages
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn passed(&mut self, phase: Phase) {
        if let Some(passages) = &mut self.passages {
            passages.push(phase);
        }
    }

    /// Which link it is.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    // --- what happens on the legs --------------------------------------------

    /// The client dialled; `conn` is new over the whole run. Yields `Dial`,
    /// `Refuse`, or nothing as long as the link is silent.
    pub fn dialled(&mut self, conn: Conn, out: &mut Vec<LinkOutput>) {
        if !self.whole.refuse.is_empty() {
            self.record(refused("the link refuses", Some(conn)), out);
            out.push(LinkOutput::Refuse { conn });
            return;
        }
        let mut c = Box::new(Connection::new());
        if self.whole.cut() || self.whole.silent() {
            c.unanswered = true;
            self.dial_stalls(conn, out);
        } else {
            out.push(LinkOutput::Dial { conn });
        }
        self.conns.insert(conn, c);
    }

    /// The server answered the dial: both legs stand.
    pub fn opened(&mut self, conn: Conn, out: &mut Vec<LinkOutput>) {
        let Some(mut c) = self.conns.remove(&conn) else {
            return;
        };
        if c.open {
            self.conns.insert(conn, c);
            return;
        }
        if self.whole.cut() || self.whole.silent() {
            c.unanswered = true;
            self.conns.insert(conn, c);
            self.dial_stalls(conn, out);
            return;
        }
        c.open = true;
        self.record(What::Open { conn }, out);
        // Both ends exist and nothing has passed.
        c.begin(Phase::Connect);
        self.go_on(conn, c, out);
    }

    /// The server could not be dialled.
    pub fn unreachable(&mut self, conn: Conn, note: &str, out: &mut Vec<LinkOutput>) {
        if self.whole.cut()
            && let Some(c) = self.conns.get_mut(&conn)
        {
            // Nor does this answer come through.
            c.unanswered = true;
            self.dial_stalls(conn, out);
            return;
        }
        if self.conns.remove(&conn).is_some() {
            self.record(refused(note, Some(conn)), out);
            out.push(LinkOutput::Refuse { conn });
        }
    }

    /// Bytes arrived from one end.
    pub fn bytes(&mut self, conn: Conn, from: Side, data: Bytes, out: &mut Vec<LinkOutput>) {
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        if self.armed.is_empty() && !self.whole.keeps(from) && c.flows() {
            // Nothing can stop these bytes: note what they are, pass them.
            self.points.clear();
            c.observe(from, &data, &mut self.points);
            let pace = self.whole.pace();
            for point in self.points.drain(..) {
                c.count(&point);
                note::point(self.link, &self.context, conn, c, &point, out);
                if let (Some(passages), Some(phase)) = (&mut self.passages, point.phase()) {
                    passages.push(phase);
                    passages.extend(phase.passed());
                }
            }
            c.pass(conn, from.other(), data, pace, out);
            return;
        }
        self.slowly(conn, from, Item::Bytes(data), out);
    }

    /// One end closed its direction (`Fin`) or broke the connection
    /// (`Reset`).
    pub fn closed(&mut self, conn: Conn, from: Side, how: Shut, out: &mut Vec<LinkOutput>) {
        let Some(c) = self.conns.get(&conn) else {
            return;
        };
        if !c.open {
            // The client gave up before the server had answered.
            if from == Side::Client {
                let note = if c.unanswered {
                    "the dial got no answer"
                } else {
                    "the client gave up the dial"
                };
                self.conns.remove(&conn);
                self.record(refused(note, Some(conn)), out);
                out.push(LinkOutput::Forget { conn });
            }
            return;
        }
        self.slowly(conn, from, Item::Close(how), out);
    }

    /// Whether the host should read more from this end. A standing connection
    /// keeps what it was given, within bounds.
    #[must_use]
    pub fn wants(&self, conn: Conn, from: Side) -> bool {
        self.conns
            .get(&conn)
            .is_none_or(|c| c.queued[from.index()] < BACKLOG)
    }

    fn slowly(&mut self, conn: Conn, from: Side, item: Item, out: &mut Vec<LinkOutput>) {
        let Some(mut c) = self.conns.remove(&conn) else {
            return;
        };
        c.enqueue(from, item);
        self.go_on(conn, c, out);
    }

    // --- orders ----------------------------------------------------------------

    /// Waits at a point, counted from now on.
    ///
    /// # Errors
    /// A phase that does not exist, or an act that has no meaning there; both
    /// should have been refused with [`offers_point`].
    pub fn arm(
        &mut self,
        fault: Fault,
        point: &Point,
        act: &LinkAct,
        disarmed: bool,
        out: &mut Vec<LinkOutput>,
    ) -> Result<(), WorldError> {
        let phase = offers_point(point, act).map_err(|e| WorldError(e.to_string()))?;
        let text = format!("{} at {} #{}", act_text(act), point.phase, point.nth);
        self.armed.push(Armed {
            fault,
            phase,
            left: point.nth.max(1),
            act: act.clone(),
            disarmed,
        });
        self.receipt(fault, Stage::Armed, text, None, out);
        Ok(())
    }

    /// Does something to every connection and to new ones, now.
    ///
    /// # Errors
    /// An act that cannot hit a whole link; see [`offers_act`].
    pub fn break_now(
        &mut self,
        fault: Fault,
        act: &LinkAct,
        disarmed: bool,
        out: &mut Vec<LinkOutput>,
    ) -> Result<(), WorldError> {
        offers_act(act).map_err(|e| WorldError(e.to_string()))?;
        self.receipt(fault, Stage::Fired, act_text(act), None, out);
        if !disarmed {
            self.whole_act(fault, act, out)?;
        }
        Ok(())
    }

    /// Takes a lasting act back.
    pub fn mend(&mut self, fault: Fault, act: &LinkAct, disarmed: bool, out: &mut Vec<LinkOutput>) {
        if !disarmed {
            self.whole.refuse.retain(|f| *f != fault);
            self.whole.blackhole.retain(|f| *f != fault);
            self.whole.delay.retain(|(f, _)| *f != fault);
            self.whole.throttle.retain(|(f, _)| *f != fault);
            for mute in &mut self.whole.mute {
                mute.retain(|f| *f != fault);
            }
        }
        self.receipt(fault, Stage::Removed, act_text(act), None, out);
        self.resume_all(out);
    }

    /// Lets what this fault holds go on, and forgets its point.
    pub fn release(&mut self, fault: Fault, out: &mut Vec<LinkOutput>) {
        let held: Vec<Conn> = self
            .conns
            .iter()
            .filter(|(_, c)| c.held == Some(fault))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in held {
            let Some(mut c) = self.conns.remove(&conn) else {
                continue;
            };
            self.end_hold(conn, &mut c, out);
            self.go_on(conn, c, out);
        }
        // A point that was never reached is not waited for any longer.
        self.armed.retain(|a| a.fault != fault);
    }

    /// Cuts an end off from everything, as when its power fails: what it has
    /// open falls silent, both ways, and the other end gets no FIN.
    pub fn silence(&mut self, party: Party, out: &mut Vec<LinkOutput>) {
        self.set_silent(party, true);
        let conns = std::mem::take(&mut self.conns);
        for (conn, mut c) in conns {
            if !c.open {
                // The dial gets no answer as long as the silence lasts.
                c.unanswered = true;
                self.conns.insert(conn, c);
                continue;
            }
            self.end_hold(conn, &mut c, out);
            let how = Shut::Silent;
            let from = Some(party);
            self.record(What::Shut { conn, how, from }, out);
            out.push(LinkOutput::Forget { conn });
        }
    }

    /// The end can be reached again.
    pub fn unsilence(&mut self, party: Party, out: &mut Vec<LinkOutput>) {
        self.set_silent(party, false);
        self.resume_all(out);
    }

    /// Whether the end is cut off.
    #[must_use]
    pub fn is_silent(&self, party: Party) -> bool {
        (self.link.from == party && self.whole.silent[0])
            || (self.link.to == party && self.whole.silent[1])
    }

    fn set_silent(&mut self, party: Party, silent: bool) {
        if self.link.from == party {
            self.whole.silent[0] = silent;
        }
        if self.link.to == party {
            self.whole.silent[1] = silent;
        }
    }

    fn whole_act(
        &mut self,
        fault: Fault,
        act: &LinkAct,
        out: &mut Vec<LinkOutput>,
    ) -> Result<(), WorldError> {
        match act {
            LinkAct::Refuse => self.whole.refuse.push(fault),
            LinkAct::Blackhole => self.whole.blackhole.push(fault),
            LinkAct::Mute(toward) => self.whole.mute[side(*toward).index()].push(fault),
            LinkAct::Throttle(rate) => {
                self.whole.throttle.push((fault, rate.bytes_per_second()));
            }
            LinkAct::Delay(span) => {
                let delay = span
                    .resolve(&self.context.times)
                    .map_err(|e| WorldError(e.to_string()))?;
                self.whole.delay.push((fault, delay));
            }
            LinkAct::Reset => {
                for conn in self.conns.keys().copied().collect::<Vec<_>>() {
                    if let Some(mut c) = self.conns.remove(&conn) {
                        self.cut(conn, &mut c, out);
                    }
                }
            }
            LinkAct::HalfClose => {
                let delay = self.whole.delay();
                for (conn, c) in &mut self.conns {
                    c.half_close(*conn, delay, out);
                }
            }
            LinkAct::Hold | LinkAct::LoseReply | LinkAct::CutAt(_) | LinkAct::Answer(_) => {}
        }
        Ok(())
    }

    /// Goes on with everything that may move again.
    fn resume_all(&mut self, out: &mut Vec<LinkOutput>) {
        if self.whole.stands() || self.whole.silent() {
            return;
        }
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(mut c) = self.conns.remove(&conn) else {
                continue;
            };
            c.resumed(&self.whole);
            if !c.open {
                if !self.whole.cut() && std::mem::take(&mut c.unanswered) {
                    out.push(LinkOutput::Dial { conn });
                }
                self.conns.insert(conn, c);
            } else {
                self.go_on(conn, c, out);
            }
        }
    }

    /// Whether a dial cannot be answered: nothing is carried, or not both
    /// ways.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.whole.cut()
    }

    // --- records ---------------------------------------------------------------

    /// A cut keeps a dial, or its answer, from going on.
    fn dial_stalls(&self, conn: Conn, out: &mut Vec<LinkOutput>) {
        let from = if self.whole.keeps(Side::Client) {
            self.link.from
        } else if self.whole.keeps(Side::Server) {
            self.link.to
        } else {
            return;
        };
        self.record(What::Stalled { conn, from }, out);
    }

    fn record(&self, what: What, out: &mut Vec<LinkOutput>) {
        let by = Witness::Link(self.link);
        out.push(LinkOutput::Record { by, what });
    }

    fn receipt(
        &self,
        fault: Fault,
        stage: Stage,
        text: String,
        conn: Option<Conn>,
        out: &mut Vec<LinkOutput>,
    ) {
        out.push(LinkOutput::Record {
            by: Witness::Injector,
            what: What::Fault {
                fault,
                stage,
                text,
                node: None,
                link: Some(self.link),
                conn,
            },
        });
    }
}

fn refused(note: &str, conn: Option<Conn>) -> What {
    What::Refused {
        conn,
        note: Some(note.to_owned()),
    }
}

/// The end that a direction leads to.
fn side(toward: Toward) -> Side {
    match toward {
        Toward::Server => Side::Server,
        Toward::Client => Side::Client,
    }
}

/// What waits on a connection that stands.
type Queue = VecDeque<(Side, Item)>;
