//! Links over real sockets: the host of [`LinkCore`].
//!
//! What it models: each connection between two parties, with an address of
//! its own for each direction, so that every byte passes here; listeners that
//! are open only while the party behind them is; dials that come from the
//! dialler's own address. A party that is silenced is silent at the level of
//! connections: nothing more comes from it, its peers' connections stand and
//! get no FIN, and a new dial is taken by the kernel but never greeted. What
//! it does not model: packets. A dial to a silenced party is not left without
//! an answer to its SYN, and what a party has sent is acknowledged by the
//! kernel of the link.
//!
//! Order of evidence: the core is asked under one lock, and what it wants
//! recorded is in the history before the bytes that it permits are handed to
//! the writing leg.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use mailproof_model::event::{Conn, Fault, Shut, What};
use mailproof_model::order::WorldError;
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::scenario::{LinkAct, Point};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::addr::Block;
use super::door::{Door, DoorAsk};
use super::leg::{Leg, LegAsk, LegHandle};
use super::record::Recorder;
use crate::link::{BACKLOG, LinkContext, LinkCore, LinkOutput, Side};
use crate::topology::Addresses;

/// How long a dial to a party on this machine may take.
const DIAL: Duration = Duration::from_secs(10);

/// Every link of a run.
#[derive(Debug)]
pub(crate) struct Links {
    hosts: Vec<(Arc<LinkHost>, Door)>,
    dialled: Dialled,
}

/// From which address which connection was dialled: the mailbox's way to
/// learn what it is serving.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialled(Arc<Mutex<HashMap<SocketAddr, (Conn, Party)>>>);

/// One link and its connections.
#[derive(Debug)]
pub(crate) struct LinkHost {
    link: Link,
    listen: SocketAddr,
    dial: SocketAddr,
    block: Arc<Block>,
    recorder: Arc<Recorder>,
    dialled: Dialled,
    /// Connections of the whole run so far.
    count: Arc<AtomicU32>,
    inner: Mutex<Inner>,
    knocks: mpsc::UnboundedSender<DoorAsk>,
    /// For the tasks that carry outputs of the core out.
    me: Weak<LinkHost>,
}

#[derive(Debug)]
struct Inner {
    core: LinkCore,
    conns: HashMap<Conn, Legs>,
    /// Legs of connections that the core has forgotten.
    forgotten: Vec<mpsc::UnboundedSender<LegAsk>>,
    /// Answered dials that the silence of a party overtook.
    parked: Vec<TcpStream>,
    /// From whom nothing is read for the moment; see [`Links::gate`].
    gated: Option<Party>,
    /// Who dialled meanwhile.
    waiting: Vec<TcpStream>,
}

/// The legs of a connection.
#[derive(Debug)]
struct Legs {
    client: LegHandle,
    server: Option<LegHandle>,
    room: Arc<Notify>,
}

impl Links {
    /// The links, with every listener closed. To be called within a runtime.
    pub(crate) fn new(
        links: impl IntoIterator<Item = Link>,
        context: &Arc<LinkContext>,
        block: &Arc<Block>,
        recorder: &Arc<Recorder>,
    ) -> Self {
        let dialled = Dialled::default();
        let count = Arc::new(AtomicU32::new(0));
        let hosts = links
            .into_iter()
            .map(|link| {
                let (knocks, asks) = mpsc::unbounded_channel();
                let host = Arc::new_cyclic(|me| LinkHost {
                    link,
                    listen: block.link(link),
                    dial: block.listen(link.to),
                    block: Arc::clone(block),
                    recorder: Arc::clone(recorder),
                    dialled: dialled.clone(),
                    count: Arc::clone(&count),
                    inner: Mutex::new(Inner {
                        core: LinkCore::new(link, Arc::clone(context)),
                        conns: HashMap::new(),
                        forgotten: Vec::new(),
                        parked: Vec::new(),
                        gated: None,
                        waiting: Vec::new(),
                    }),
                    knocks: knocks.clone(),
                    me: me.clone(),
                });
                let door = Door::new(Arc::clone(&host), knocks, asks);
                (host, door)
            })
            .collect();
        Self { hosts, dialled }
    }

    /// See [`Dialled`].
    pub(crate) fn dialled(&self) -> Dialled {
        self.dialled.clone()
    }

    fn touching(&self, party: Party) -> impl Iterator<Item = &(Arc<LinkHost>, Door)> {
        self.hosts
            .iter()
            .filter(move |(h, _)| h.link.touches(party))
    }

    fn leading_to(&self, party: Party) -> impl Iterator<Item = &(Arc<LinkHost>, Door)> {
        self.hosts.iter().filter(move |(h, _)| h.link.to == party)
    }

    /// The party listens: so do the links to it. Done when this returns.
    pub(crate) async fn open(&self, party: Party) {
        for (_, door) in self.leading_to(party) {
            door.open().await;
        }
    }

    /// The party listens no more: nor do the links to it, unless it is
    /// silent. Each tries once, as a witness. Done when this returns.
    pub(crate) async fn close(&self, party: Party) {
        for (host, door) in self.leading_to(party) {
            if !host.lock().core.is_silent(party) {
                door.close().await;
                host.probe().await;
            }
        }
    }

    /// Cuts a party off from everything, at once.
    pub(crate) fn silence(&self, party: Party) {
        for (host, _) in self.touching(party) {
            host.act(|core, out| core.silence(party, out));
        }
    }

    /// The party can be reached again; it knows of no connection that it had,
    /// and does not listen yet.
    pub(crate) async fn back(&self, party: Party) {
        for (host, door) in self.touching(party) {
            if !host.lock().core.is_silent(party) {
                continue;
            }
            if host.link.to == party {
                door.close().await;
            }
            host.act(|core, out| core.unsilence(party, out));
            let mut inner = host.lock();
            inner.parked.clear();
            for leg in &inner.forgotten {
                let _ = leg.send(LegAsk::Rebooted);
            }
        }
    }

    /// Reads nothing from a party until [`Links::ungate`]: what it does first
    /// in a new state is seen only after that state has been recorded.
    pub(crate) fn gate(&self, party: Party) {
        for (host, _) in self.touching(party) {
            host.lock().gated = Some(party);
        }
    }

    /// Goes on reading.
    pub(crate) fn ungate(&self, party: Party) {
        for (host, _) in self.touching(party) {
            let waiting = {
                let mut inner = host.lock();
                if inner.gated.take_if(|gated| *gated == party).is_none() {
                    continue;
                }
                for legs in inner.conns.values() {
                    legs.room.notify_waiters();
                }
                std::mem::take(&mut inner.waiting)
            };
            for stream in waiting {
                host.accepted(stream);
            }
        }
    }

    /// The link, if the plan has it.
    pub(crate) fn get(&self, link: Link) -> Option<&Arc<LinkHost>> {
        self.hosts
            .iter()
            .map(|(host, _)| host)
            .find(|host| host.link == link)
    }

    /// Lets what this fault holds go on, wherever that is.
    pub(crate) fn release(&self, fault: Fault) {
        for (host, _) in &self.hosts {
            host.act(|core, out| core.release(fault, out));
        }
    }
}

impl Dialled {
    /// What was dialled from there: the connection, and who dials.
    pub(crate) fn take(&self, from: SocketAddr) -> Option<(Conn, Party)> {
        self.lock().remove(&from)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, (Conn, Party)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkHost {
    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Where it listens.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where the party behind it listens.
    pub(super) fn dials(&self) -> SocketAddr {
        self.dial
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- orders ------------------------------------------------------------------

    pub(crate) fn arm(
        &self,
        fault: Fault,
        point: &Point,
        act: &LinkAct,
        disarmed: bool,
    ) -> Result<(), WorldError> {
        self.act(|core, out| core.arm(fault, point, act, disarmed, out))
    }

    pub(crate) fn break_now(
        &self,
        fault: Fault,
        act: &LinkAct,
        disarmed: bool,
    ) -> Result<(), WorldError> {
        self.act(|core, out| core.break_now(fault, act, disarmed, out))
    }

    pub(crate) fn mend(&self, fault: Fault, act: &LinkAct, disarmed: bool) {
        self.act(|core, out| core.mend(fault, act, disarmed, out));
    }

    // --- what happens on the legs ------------------------------------------------

    /// Somebody dialled the link.
    pub(super) fn accepted(&self, stream: TcpStream) {
        {
            let mut inner = self.lock();
            if inner.gated == Some(self.link.from) {
                inner.waiting.push(stream);
                return;
            }
        }
        let conn = self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let _ = stream.set_nodelay(true);
        let room = Arc::new(Notify::new());
        let Some(client) = self.leg(conn, Side::Client, stream, &room) else {
            return;
        };
        let legs = Legs {
            client,
            server: None,
            room,
        };
        let mut inner = self.lock();
        inner.conns.insert(conn, legs);
        self.act_on(&mut inner, |core, out| core.dialled(conn, out));
    }

    pub(super) fn bytes(&self, conn: Conn, from: Side, bytes: Bytes) {
        self.act(|core, out| core.bytes(conn, from, bytes, out));
    }

    pub(super) fn closed(&self, conn: Conn, from: Side, how: Shut) {
        self.act(|core, out| core.closed(conn, from, how, out));
    }

    /// Whether more should be read from this end: neither the core nor the
    /// other leg has a backlog.
    pub(super) fn wants(&self, conn: Conn, from: Side) -> bool {
        let inner = self.lock();
        let party = match from {
            Side::Client => self.link.from,
            Side::Server => self.link.to,
        };
        if inner.gated == Some(party) {
            return false;
        }
        let other = inner.conns.get(&conn).and_then(|legs| match from {
            Side::Client => legs.server.as_ref(),
            Side::Server => Some(&legs.client),
        });
        let full = other.is_some_and(|leg| leg.backlog.load(Ordering::Relaxed) >= BACKLOG);
        !full && inner.core.wants(conn, from)
    }

    fn leg(
        &self,
        conn: Conn,
        side: Side,
        stream: TcpStream,
        room: &Arc<Notify>,
    ) -> Option<LegHandle> {
        let (asks, told) = mpsc::unbounded_channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let leg = Leg {
            host: self.me.upgrade()?,
            conn,
            side,
            stream,
            asks: told,
            backlog: Arc::clone(&backlog),
            room: Arc::clone(room),
        };
        tokio::spawn(leg.run());
        Some(LegHandle { asks, backlog })
    }

    /// Dials the party behind the link from the address of the one before it.
    fn spawn_dial(&self, conn: Conn) {
        let Some(host) = self.me.upgrade() else {
            return;
        };
        tokio::spawn(async move {
            match host.dial(Some(conn)).await {
                Ok(stream) => host.dial_answered(conn, stream),
                Err(error) => {
                    host.act(|core, out| core.unreachable(conn, &error.to_string(), out));
                    host.knock();
                }
            }
        });
    }

    fn dial_answered(&self, conn: Conn, stream: TcpStream) {
        let mut inner = self.lock();
        let Some(room) = inner.conns.get(&conn).map(|legs| Arc::clone(&legs.room)) else {
            // Cut while it was dialled.
            let _ = stream.set_zero_linger();
            return;
        };
        if [self.link.from, self.link.to]
            .iter()
            .any(|party| inner.core.is_silent(*party))
        {
            // Silenced while it was dialled: nobody may hear of it. It is
            // dialled again when the silence ends.
            inner.parked.push(stream);
            return;
        }
        if inner.core.is_cut() {
            // The answer does not come through; it is dialled again when it
            // can.
            inner.parked.push(stream);
            self.act_on(&mut inner, |core, out| core.opened(conn, out));
            return;
        }
        let server = self.leg(conn, Side::Server, stream, &room);
        if let Some(legs) = inner.conns.get_mut(&conn) {
            legs.server = server;
        }
        self.act_on(&mut inner, |core, out| core.opened(conn, out));
    }

    /// The party refused a dial though its door was thought open.
    fn knock(&self) {
        let _ = self.knocks.send(DoorAsk::Knock);
    }

    async fn dial(&self, conn: Option<Conn>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.block.own(self.link.from), 0))?;
        if let (Some(conn), Party::Mailbox) = (conn, self.link.to) {
            let from = socket.local_addr()?;
            self.dialled.lock().insert(from, (conn, self.link.from));
        }
        let stream = tokio::time::timeout(DIAL, socket.connect(self.dial))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Dials once, for the record of a refusal.
    async fn probe(&self) {
        if let Err(error) = self.dial(None).await {
            let note = Some(format!("probe: {error}"));
            let by = Witness::Link(self.link);
            let _ = self.recorder.record(by, What::Refused { conn: None, note });
        }
    }

    // --- the core ------------------------------------------------------------------

    fn act<T>(&self, what: impl FnOnce(&mut LinkCore, &mut Vec<LinkOutput>) -> T) -> T {
        self.act_on(&mut self.lock(), what)
    }

    /// Asks the core and carries out what it answers, in its order.
    fn act_on<T>(
        &self,
        inner: &mut Inner,
        what: impl FnOnce(&mut LinkCore, &mut Vec<LinkOutput>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let value = what(&mut inner.core, &mut out);
        for output in out {
            if self.carry_out(inner, output).is_err() {
                // What could not be written down permits nothing.
                break;
            }
        }
        value
    }

    fn carry_out(
        &self,
        inner: &mut Inner,
        output: LinkOutput,
    ) -> Result<(), super::record::Unrecorded> {
        let after = Duration::from_nanos;
        match output {
            LinkOutput::Record { by, what } => self.recorder.record(by, what)?,
            LinkOutput::Dial { conn } => self.spawn_dial(conn),
            LinkOutput::Refuse { conn } => {
                if let Some(legs) = inner.conns.remove(&conn) {
                    let _ = legs.client.asks.send(LegAsk::Reset(Duration::ZERO));
                    inner.forget(legs);
                }
            }
            LinkOutput::Pass {
                conn,
                to,
                bytes,
                delay,
                rate,
            } => {
                if let Some(leg) = inner.leg(conn, to) {
                    leg.backlog.fetch_add(bytes.len(), Ordering::Relaxed);
                    let _ = leg.asks.send(LegAsk::Pass(bytes, after(delay), rate));
                }
                inner.notice(conn);
            }
            LinkOutput::Finish { conn, to, delay } => {
                if let Some(leg) = inner.leg(conn, to) {
                    let _ = leg.asks.send(LegAsk::Finish(after(delay)));
                }
            }
            LinkOutput::Reset { conn, to, delay } => {
                if let Some(leg) = inner.leg(conn, to) {
                    let _ = leg.asks.send(LegAsk::Reset(after(delay)));
                }
            }
            LinkOutput::Forget { conn } => {
                if let Some(legs) = inner.conns.remove(&conn) {
                    inner.forget(legs);
                }
            }
        }
        Ok(())
    }
}

impl Inner {
    fn leg(&self, conn: Conn, side: Side) -> Option<&LegHandle> {
        let legs = self.conns.get(&conn)?;
        match side {
            Side::Client => Some(&legs.client),
            Side::Server => legs.server.as_ref(),
        }
    }

    /// There may be room to read again on either leg.
    fn notice(&self, conn: Conn) {
        if let Some(legs) = self.conns.get(&conn) {
            legs.room.notify_waiters();
        }
    }

    /// The legs end by themselves if they were told how; the handles are kept
    /// because a leg without one would close.
    fn forget(&mut self, legs: Legs) {
        self.forgotten.retain(|leg| !leg.is_closed());
        for leg in [Some(legs.client), legs.server].into_iter().flatten() {
            let _ = leg.asks.send(LegAsk::Forget);
            self.forgotten.push(leg.asks);
        }
    }
}
