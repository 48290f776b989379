//! One connection of a link, and the slow way through it: byte ranges between
//! points, acts at points, queues while it stands.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mailproof_model::event::{Attempt, Conn, Fault, Msg, Shut, Stage, What};
use mailproof_model::party::Party;
use mailproof_model::scenario::LinkAct;
use mailproof_wire::observer::{Answers, Digests, Point, Progress, Seen};
use mailproof_wire::{Observer, ObserverOptions, Phase, Verb};

use super::act::{act_text, parse_reply};
use super::{LinkCore, LinkOutput, Pace, Queue, Side, Whole, note};

/// Bytes of content that are kept to recognise a message. Our header stands
/// within it unless relays put more than this on top.
const HEAD: usize = 16 * 1024;

/// Into how many pieces a throttled leg cuts what it carries in a second.
const PIECES_A_SECOND: u64 = 20;

/// Something that came from one end.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Bytes(Bytes),
    Close(Shut),
}

/// Bytes that the observer has read, on their way through the points in them.
#[derive(Debug)]
pub(super) struct Work {
    /// Where the bytes come from.
    from: Side,
    data: Bytes,
    /// How many of them were passed or swallowed.
    passed: usize,
    points: VecDeque<Point>,
    /// The phase told by the link that is due before the next point, once
    /// the bytes up to there were passed.
    phase: Option<(Phase, usize)>,
}

impl Work {
    /// No bytes, only a phase that the link tells.
    pub(super) fn at(phase: Phase) -> Self {
        Self {
            from: Side::Client,
            data: Bytes::new(),
            passed: 0,
            points: VecDeque::new(),
            phase: Some((phase, 0)),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Both legs stand.
    pub(super) open: bool,
    /// The client's dial is kept without an answer.
    pub(super) unanswered: bool,
    observer: Observer,
    /// The hold that it stands at.
    pub(super) held: Option<Fault>,
    /// What is left of the bytes that it stopped in, by the side they come
    /// from.
    rest: [Option<Work>; 2],
    /// Whether it was told that what this side sends stands at a cut.
    stalled: [bool; 2],
    queue: Queue,
    /// Bytes in the queue, by the side they come from.
    pub(super) queued: [usize; 2],
    /// Which directions have ended, by the side that ended them.
    closed: [bool; 2],
    /// Directions that carry nothing more, by the side they lead to.
    deaf: [bool; 2],
    /// How it began to end.
    ending: Option<(Shut, Option<Party>)>,
    /// The message of each transaction whose end of data has passed.
    pub(super) dots: Vec<(u32, Option<Msg>, Option<Attempt>)>,
    /// Replies that the server owes.
    due: usize,
    /// Replies of our own: each goes out when so many of the server's have
    /// passed.
    answers: VecDeque<(usize, Bytes)>,
    /// An unfinished command line that is kept back because it may be answered.
    tail: BytesMut,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            open: false,
            unanswered: false,
            observer: Observer::new(ObserverOptions {
                head_limit: HEAD,
                content_digest: false,
                // What fits into the head is digested by `note`, once for all
                // links.
                body_digest: Digests::BeyondHead,
            }),
            held: None,
            rest: [None, None],
            stalled: [false; 2],
            queue: VecDeque::new(),
            queued: [0; 2],
            closed: [false; 2],
            deaf: [false; 2],
            ending: None,
            dots: Vec::new(),
            due: 1,
            answers: VecDeque::new(),
            tail: BytesMut::new(),
        }
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Whether bytes can go straight through.
    pub(super) fn flows(&self) -> bool {
        self.open
            && self.held.is_none()
            && self.rest.iter().all(Option::is_none)
            && self.queue.is_empty()
            && self.answers.is_empty()
            && self.tail.is_empty()
    }

    pub(super) fn observe(&mut self, from: Side, data: &[u8], points: &mut Vec<Point>) {
        match from {
            Side::Client => self.observer.client_bytes(data, points),
            Side::Server => self.observer.server_bytes(data, points),
        }
    }

    /// Keeps count of the replies that are due.
    pub(super) fn count(&mut self, point: &Point) {
        match &point.seen {
            // The last chunk is counted as the end of data.
            Seen::Command { verb, .. } if *verb != Verb::Bdat => self.due += 1,
            Seen::Continuation { .. } | Seen::Dot { .. } => self.due += 1,
            Seen::Reply { answers, .. } if *answers != Answers::Nothing => {
                self.due = self.due.saturating_sub(1);
                for (before, _) in &mut self.answers {
                    *before = before.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    pub(super) fn pass(
        &self,
        conn: Conn,
        to: Side,
        mut bytes: Bytes,
        pace: Pace,
        out: &mut Vec<LinkOutput>,
    ) {
        if self.deaf[to.index()] {
            return;
        }
        let Pace { delay, rate } = pace;
        // A slow leg delivers bit by bit, so that who reads sees it moving.
        let most = usize::try_from(rate / PIECES_A_SECOND).unwrap_or(usize::MAX);
        while rate > 0 && bytes.len() > most.max(1) {
            let bytes = bytes.split_to(most.max(1));
            out.push(LinkOutput::Pass {
                conn,
                to,
                bytes,
                delay,
                rate,
            });
        }
        if !bytes.is_empty() {
            out.push(LinkOutput::Pass {
                conn,
                to,
                bytes,
                delay,
                rate,
            });
        }
    }

    /// Starts with a phase that the link tells.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.rest[Side::Client.index()] = Some(Work::at(phase));
    }

    /// Forgets which sides were told that they stand, where they no longer do.
    pub(super) fn resumed(&mut self, whole: &Whole) {
        for side in [Side::Client, Side::Server] {
            self.stalled[side.index()] &= whole.keeps(side);
        }
    }

    /// Whether something that this side sent waits here.
    fn waits(&self, side: Side) -> bool {
        self.rest[side.index()].is_some() || self.queue.iter().any(|(from, _)| *from == side)
    }

    pub(super) fn enqueue(&mut self, from: Side, item: Item) {
        if let Item::Bytes(bytes) = &item {
            self.queued[from.index()] += bytes.len();
        }
        self.queue.push_back((from, item));
    }

    /// Closes the leg towards the client in order; what the server still says
    /// is read and not passed on.
    pub(super) fn half_close(&mut self, conn: Conn, delay: u64, out: &mut Vec<LinkOutput>) {
        if !self.open || std::mem::replace(&mut self.deaf[Side::Client.index()], true) {
            return;
        }
        self.ending.get_or_insert((Shut::Fin, None));
        let to = Side::Client;
        out.push(LinkOutput::Finish { conn, to, delay });
    }

    fn in_content(&self) -> bool {
        self.observer
            .transactions()
            .any(|t| t.progress == Progress::Content)
    }
}

/// What becomes of a connection after a piece of work.
enum Then {
    GoOn,
    Stand,
    Gone,
}

impl LinkCore {
    /// Works off what waits on a connection as far as it may move, and keeps
    /// the connection unless it is over.
    pub(super) fn go_on(&mut self, conn: Conn, mut c: Box<Connection>, out: &mut Vec<LinkOutput>) {
        if c.open && c.held.is_none() && !self.whole.keeps(Side::Server) {
            self.our_answers(conn, &mut c, out);
        }
        while c.open && c.held.is_none() && !self.whole.stands() {
            let free = |side: Side| !self.whole.keeps(side);
            let rest = [Side::Client, Side::Server]
                .into_iter()
                .filter(|side| free(*side))
                .find_map(|side| c.rest[side.index()].take());
            if let Some(work) = rest {
                match self.work(conn, &mut c, work, out) {
                    // It may also stand held now, or its direction does.
                    Then::GoOn | Then::Stand => continue,
                    Then::Gone => return,
                }
            }
            // A direction that is cut does not keep the other one back.
            let next = c.queue.iter().position(|(from, _)| free(*from));
            let Some((from, item)) = next.and_then(|at| c.queue.remove(at)) else {
                break;
            };
            match item {
                Item::Bytes(data) => {
                    c.queued[from.index()] = c.queued[from.index()].saturating_sub(data.len());
                    c.rest[from.index()] = self.read(&mut c, from, data);
                }
                Item::Close(how) => {
                    if !self.close(conn, &mut c, from, how, out) {
                        return;
                    }
                }
            }
        }
        if c.open && c.held.is_none() {
            for side in [Side::Client, Side::Server] {
                if self.whole.keeps(side) && c.waits(side) && !c.stalled[side.index()] {
                    c.stalled[side.index()] = true;
                    let from = self.party(side);
                    self.record(What::Stalled { conn, from }, out);
                }
            }
        }
        self.conns.insert(conn, c);
    }

    fn party(&self, side: Side) -> Party {
        match side {
            Side::Client => self.link.from,
            Side::Server => self.link.to,
        }
    }

    /// Shows bytes to the observer: as much at once as is safe. Where a reply
    /// of our own may have to stand between others, or a command may have to
    /// be swallowed whole, that is one line.
    fn read(&mut self, c: &mut Connection, from: Side, data: Bytes) -> Option<Work> {
        let answering = self
            .armed
            .iter()
            .any(|a| matches!(a.act, LinkAct::Answer(_)) && !a.phase.from_server());
        let by_line = match from {
            Side::Client => answering || !c.tail.is_empty(),
            Side::Server => !c.answers.is_empty(),
        };
        let mut data = data;
        if by_line {
            let end = memchr::memchr(b'\n', &data).map(|at| at + 1);
            let rest = match end {
                Some(end) => data.split_off(end),
                None => Bytes::new(),
            };
            if !rest.is_empty() {
                c.queued[from.index()] += rest.len();
                c.queue.push_front((from, Item::Bytes(rest)));
            }
            if from == Side::Client {
                if end.is_none() && !c.in_content() {
                    c.tail.extend_from_slice(&data);
                    return None;
                }
                if !c.tail.is_empty() {
                    let mut whole = c.tail.split();
                    whole.extend_from_slice(&data);
                    data = whole.freeze();
                }
            }
        }
        let mut points = Vec::new();
        c.observe(from, &data, &mut points);
        Some(Work {
            from,
            data,
            passed: 0,
            points: points.into(),
            phase: None,
        })
    }

    fn work(
        &mut self,
        conn: Conn,
        c: &mut Connection,
        mut work: Work,
        out: &mut Vec<LinkOutput>,
    ) -> Then {
        loop {
            // A phase that the link tells: everything before it was passed.
            if let Some((phase, end)) = work.phase.take() {
                self.pass_until(conn, c, &mut work, end, out);
                self.passed(phase);
                if let Some(armed) = self.match_armed(phase) {
                    match self.fire(conn, c, &mut work, phase, armed, (end, end), out) {
                        Then::GoOn => {}
                        Then::Stand => {
                            let from = work.from.index();
                            c.rest[from] = Some(work);
                            return Then::Stand;
                        }
                        Then::Gone => return Then::Gone,
                    }
                }
            }
            let Some(point) = work.points.pop_front() else {
                let end = work.data.len();
                self.pass_until(conn, c, &mut work, end, out);
                return Then::GoOn;
            };
            c.count(&point);
            note::point(self.link, &self.context, conn, c, &point, out);
            let (start, end) = (point.start.max(work.passed), point.end);
            if let Some(phase) = point.phase() {
                self.passed(phase);
                let told = |p: &Phase| self.passages.is_some() || self.is_armed(*p);
                if let Some(passed) = phase.passed().filter(told) {
                    work.phase = Some((passed, end));
                }
                if let Some(armed) = self.match_armed(phase) {
                    self.pass_until(conn, c, &mut work, start, out);
                    match self.fire(conn, c, &mut work, phase, armed, (start, end), out) {
                        Then::GoOn => {}
                        Then::Stand => {
                            let from = work.from.index();
                            c.rest[from] = Some(work);
                            return Then::Stand;
                        }
                        Then::Gone => return Then::Gone,
                    }
                }
            }
            if matches!(point.seen, Seen::Reply { .. }) && !c.answers.is_empty() {
                self.pass_until(conn, c, &mut work, end, out);
                self.our_answers(conn, c, out);
            }
        }
    }

    /// Passes the bytes of a piece of work up to `end`.
    fn pass_until(
        &self,
        conn: Conn,
        c: &Connection,
        work: &mut Work,
        end: usize,
        out: &mut Vec<LinkOutput>,
    ) {
        if end > work.passed {
            let bytes = work.data.slice(work.passed..end);
            work.passed = end;
            c.pass(conn, work.from.other(), bytes, self.whole.pace(), out);
        }
    }

    fn is_armed(&self, phase: Phase) -> bool {
        self.armed.iter().any(|a| a.phase == phase)
    }

    /// Counts a passage; the act whose turn it is, taken out.
    fn match_armed(&mut self, phase: Phase) -> Option<super::Armed> {
        let mut due = None;
        for (at, armed) in self.armed.iter_mut().enumerate() {
            if armed.phase == phase {
                armed.left -= 1;
                if armed.left == 0 && due.is_none() {
                    due = Some(at);
                } else if armed.left == 0 {
                    // One act a point; this one gets the next passage.
                    armed.left = 1;
                }
            }
        }
        due.map(|at| self.armed.remove(at))
    }

    /// Does an act at a point whose bytes are `range` of the work.
    #[allow(clippy::too_many_arguments)]
    fn fire(
        &mut self,
        conn: Conn,
        c: &mut Connection,
        work: &mut Work,
        phase: Phase,
        armed: super::Armed,
        (start, end): (usize, usize),
        out: &mut Vec<LinkOutput>,
    ) -> Then {
        let super::Armed {
            fault,
            act,
            disarmed,
            ..
        } = armed;
        if act == LinkAct::Hold && !disarmed {
            let phase = phase.to_string();
            self.record(What::Held { conn, fault, phase }, out);
            c.held = Some(fault);
            return Then::Stand;
        }
        let text = format!("{} at {phase}", act_text(&act));
        self.receipt(fault, Stage::Fired, text, Some(conn), out);
        if disarmed {
            return Then::GoOn;
        }
        let delay = self.whole.delay();
        match act {
            LinkAct::Hold => {}
            LinkAct::Reset => {
                self.cut(conn, c, out);
                return Then::Gone;
            }
            LinkAct::CutAt(k) => {
                let k = usize::try_from(k).unwrap_or(usize::MAX);
                self.pass_until(conn, c, work, start.saturating_add(k).min(end), out);
                self.cut(conn, c, out);
                return Then::Gone;
            }
            LinkAct::HalfClose => {
                self.pass_until(conn, c, work, end, out);
                c.half_close(conn, delay, out);
            }
            LinkAct::LoseReply => {
                work.passed = end;
                work.phase = None;
                self.reset_client(conn, c, out);
            }
            LinkAct::Blackhole => {
                self.whole.blackhole.push(fault);
                return Then::Stand;
            }
            LinkAct::Delay(span) => {
                if let Ok(delay) = span.resolve(&self.context.times) {
                    self.whole.delay.push((fault, delay));
                }
            }
            LinkAct::Mute(toward) => {
                self.whole.mute[super::side(toward).index()].push(fault);
                return Then::Stand;
            }
            LinkAct::Throttle(rate) => {
                self.whole.throttle.push((fault, rate.bytes_per_second()));
            }
            LinkAct::Refuse => self.whole.refuse.push(fault),
            LinkAct::Answer(text) => {
                let reply = Bytes::from(parse_reply(&text).unwrap_or_default());
                work.passed = end;
                work.phase = None;
                if phase.from_server() {
                    c.pass(conn, Side::Client, reply, self.whole.pace(), out);
                } else {
                    // The command was counted as owed a reply; it gets ours.
                    c.due = c.due.saturating_sub(1);
                    c.answers.push_back((c.due, reply));
                    self.our_answers(conn, c, out);
                    if phase == Phase::Dot {
                        // The server waits for more content; it can only be
                        // cut, and the client cannot go on.
                        c.half_close(conn, delay, out);
                        self.reset_server(conn, c, out);
                    }
                }
            }
        }
        Then::GoOn
    }

    /// Sends replies of our own whose turn it is; the observer takes them for
    /// the server's, which is what the client does.
    fn our_answers(&mut self, conn: Conn, c: &mut Connection, out: &mut Vec<LinkOutput>) {
        if self.whole.keeps(Side::Server) {
            return;
        }
        while let Some((0, reply)) = c.answers.front().cloned() {
            c.answers.pop_front();
            let mut points = Vec::new();
            c.observe(Side::Server, &reply, &mut points);
            for point in points {
                note::point(self.link, &self.context, conn, c, &point, out);
            }
            c.pass(conn, Side::Client, reply, self.whole.pace(), out);
        }
    }

    /// Handles the end of one direction; false when the connection is over.
    fn close(
        &mut self,
        conn: Conn,
        c: &mut Connection,
        from: Side,
        how: Shut,
        out: &mut Vec<LinkOutput>,
    ) -> bool {
        if c.closed[from.index()] {
            return true;
        }
        let party = self.party(from);
        let delay = self.whole.delay();
        if from == Side::Client && !c.tail.is_empty() {
            let tail = c.tail.split().freeze();
            c.pass(conn, Side::Server, tail, self.whole.pace(), out);
        }
        c.closed[from.index()] = true;
        let to = from.other();
        let quiet = c.deaf[to.index()];
        match how {
            Shut::Fin => {
                c.ending.get_or_insert((how, Some(party)));
                if !quiet {
                    out.push(LinkOutput::Finish { conn, to, delay });
                }
            }
            Shut::Reset | Shut::Silent => {
                // A reset says more than the FIN before it.
                let by = c.ending.map_or(Some(party), |(_, by)| by);
                c.ending = Some((how, by));
                if how == Shut::Reset && !quiet {
                    out.push(LinkOutput::Reset { conn, to, delay });
                }
                c.closed = [true; 2];
            }
        }
        if c.closed == [true; 2] {
            self.over(conn, c, out);
            return false;
        }
        true
    }

    /// Resets both legs.
    pub(super) fn cut(&mut self, conn: Conn, c: &mut Connection, out: &mut Vec<LinkOutput>) {
        if !c.open {
            self.record(super::refused("the link was reset", Some(conn)), out);
            out.push(LinkOutput::Refuse { conn });
            return;
        }
        self.end_hold(conn, c, out);
        let delay = self.whole.delay();
        for to in [Side::Client, Side::Server] {
            if !c.closed[to.index()] {
                out.push(LinkOutput::Reset { conn, to, delay });
            }
        }
        c.ending = Some((Shut::Reset, c.ending.and_then(|(_, by)| by)));
        self.over(conn, c, out);
    }

    /// Resets the client's leg and ends the server's in order.
    fn reset_client(&mut self, conn: Conn, c: &mut Connection, out: &mut Vec<LinkOutput>) {
        let delay = self.whole.delay();
        let to = Side::Client;
        out.push(LinkOutput::Reset { conn, to, delay });
        c.deaf[Side::Client.index()] = true;
        c.ending = Some((Shut::Reset, None));
        if !std::mem::replace(&mut c.closed[Side::Client.index()], true) {
            let to = Side::Server;
            out.push(LinkOutput::Finish { conn, to, delay });
        }
    }

    /// Resets the server's leg; the client's is ended by the client.
    fn reset_server(&mut self, conn: Conn, c: &mut Connection, out: &mut Vec<LinkOutput>) {
        let (to, delay) = (Side::Server, self.whole.delay());
        out.push(LinkOutput::Reset { conn, to, delay });
        c.deaf[Side::Server.index()] = true;
        c.closed[Side::Server.index()] = true;
        c.ending = Some((Shut::Reset, None));
    }

    /// A hold ends with its connection.
    pub(super) fn end_hold(&mut self, conn: Conn, c: &mut Connection, out: &mut Vec<LinkOutput>) {
        if let Some(fault) = c.held.take() {
            self.record(What::Released { conn, fault }, out);
        }
    }

    fn over(&self, conn: Conn, c: &Connection, out: &mut Vec<LinkOutput>) {
        let (how, from) = c.ending.unwrap_or((Shut::Fin, None));
        self.record(What::Shut { conn, how, from }, out);
        out.push(LinkOutput::Forget { conn });
    }
}
