//! Resubmit requests: sending again what the Safety Net keeps for a database.
//!
//! A request names a database and an interval of delivery times. It asks for
//! our own part, and (when it began here) for that of every peer. A peer that
//! does not answer for `safety-net-shadow-delay` is replaced: a second request
//! asks everybody for the copies they held for it. A node that does not know
//! the whole interval, because its store is younger, replays what it has and
//! issues such a request for the rest, about itself.
//!
//! What is replayed is a message of this node with a new name, the content
//! that was kept, and the recipients of that database alone: recorded, copied
//! to a peer, categorised from the start, delivered. No DSN comes of it.
//! Duplicates are for the mailbox store to hide.
//!
//! Delivered now but not over yet (other recipients wait, the reply is under
//! way): such messages are remembered when a request comes, and replayed when
//! they are over; the request is not done before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::message::{Message, Phase, RecipientState};
use super::safety::Replay;
use super::{HostId, PeerId, Queue, Timer, Waiter, name_of};
use crate::config::Place;
use crate::date::Date;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{Asked, EIGHT_BIT, Envelope, Header, Kept, NOTIFY_NEVER, Resubmit, UTF8};
use crate::store::Seq;

/// Replays of one request that are under way at one time.
const WINDOW: usize = 64;

/// Requests that are kept at one time; more are refused.
const REQUESTS: usize = 1000;

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) kept: Resubmit,
    record: Seq,
    /// What it asks for is looked up (once its record is durable).
    gathered: bool,
    work: VecDeque<Kept>,
    /// What may still come: messages and copies that are not over.
    late: BTreeSet<Kept>,
    /// Content being read.
    busy: usize,
    /// Replays that are not over.
    open: BTreeSet<u64>,
    /// When each peer answered last, on the monotonic clock.
    heard: BTreeMap<Box<str>, u64>,
    /// Messages replayed since this node's start, and those that could not be.
    pub(crate) replays: u64,
    pub(crate) failures: u64,
    /// Waits for memory.
    paused: bool,
}

impl Request {
    pub(crate) fn new(kept: Resubmit, record: Seq, now: u64) -> Self {
        let heard = kept.asked.iter().map(|a| (a.peer.clone(), now)).collect();
        Self {
            kept,
            record,
            gathered: false,
            work: VecDeque::new(),
            late: BTreeSet::new(),
            busy: 0,
            open: BTreeSet::new(),
            heard,
            replays: 0,
            failures: 0,
            paused: false,
        }
    }

    /// A replay of it was found at a start.
    pub(crate) fn reopen(&mut self, sequence: u64) {
        self.open.insert(sequence);
    }

    pub(crate) fn record(&self) -> Seq {
        self.record
    }

    /// Its part here and that of every peer is done.
    pub(crate) fn complete(&self) -> bool {
        self.kept.replayed && self.kept.asked.iter().all(|a| a.done)
    }

    /// Its state in a word.
    pub(crate) fn state(&self) -> &'static str {
        match () {
            () if !self.kept.enabled => "disabled",
            () if self.complete() => "done",
            () if self.paused => "paused",
            () => "running",
        }
    }
}

/// Content on its way from the disk.
#[derive(Debug)]
pub(crate) struct Reading {
    request: u64,
    what: Kept,
    content: Seq,
    recipients: Vec<u32>,
}

/// The envelope of a replay: no DSN of any kind may result from it, here or
/// anywhere further on, so it asks for none.
pub(crate) fn silent_envelope<'a>(
    flags: u8,
    sender: &str,
    recipients: impl IntoIterator<Item = &'a str>,
) -> Envelope {
    let mut envelope = Envelope::new(flags, sender, "");
    for recipient in recipients {
        envelope.push(recipient, NOTIFY_NEVER, "");
    }
    envelope
}

impl Queue {
    /// A new request; answers with its number. Peers in `unresponsive` are
    /// not waited for.
    pub(crate) fn request(
        &mut self,
        database: &str,
        start: u64,
        end: u64,
        shadow_of: &str,
        asker: &str,
        unresponsive: &[String],
    ) -> u64 {
        let asked = if asker.is_empty() {
            self.peers
                .iter()
                // Never anybody outside the boundary.
                .filter(|peer| peer.place != Place::Outside)
                .filter(|peer| !peer.name.eq_ignore_ascii_case(shadow_of))
                .map(|peer| Asked {
                    peer: peer.name.clone(),
                    done: unresponsive
                        .iter()
                        .any(|u| u.eq_ignore_ascii_case(&peer.name)),
                })
                .collect()
        } else {
            Vec::new()
        };
        let id = self.safety.next_request.max(1);
        self.safety.next_request = id + 1;
        let kept = Resubmit {
            id,
            database: database.into(),
            start,
            end,
            shadow_of: shadow_of.into(),
            asker: asker.into(),
            created: self.now.wall,
            enabled: true,
            replayed: false,
            removed: false,
            asked,
        };
        let record = self.append(&Header::Request(kept.clone()), &[]);
        let request = Request::new(kept, record, self.now.mono);
        self.safety.requests.insert(id, request);
        if let Some(old) = self.safety.last_request.take() {
            self.store.release(old);
        }
        self.wait(record, Waiter::Request(id));
        for peer in unresponsive {
            self.mark(Mark::ReplayFromShadows);
            self.request(database, start, end, peer, "", &[]);
        }
        id
    }

    /// A peer asks; answers with the number of the request, the same for the
    /// same question.
    pub(crate) fn requested_by(
        &mut self,
        peer: PeerId,
        database: &str,
        start: u64,
        end: u64,
        shadow_of: &str,
    ) -> Option<u64> {
        let asker = self.peers[peer].name.clone();
        let known = self.safety.requests.values().find(|request| {
            let kept = &request.kept;
            kept.asker == asker
                && &*kept.database == database
                && (kept.start, kept.end) == (start, end)
                && &*kept.shadow_of == shadow_of
        });
        if let Some(known) = known {
            return Some(known.kept.id);
        }
        if self.safety.requests.len() >= REQUESTS {
            return None;
        }
        Some(self.request(database, start, end, shadow_of, &asker, &[]))
    }

    /// A request's state in a word; `done` when there is none any more.
    pub(crate) fn request_state(&self, id: u64) -> &'static str {
        self.safety.requests.get(&id).map_or("done", Request::state)
    }

    fn record_request(&mut self, id: u64) {
        let Some(request) = self.safety.requests.get(&id) else {
            return;
        };
        let (old, header) = (request.record, Header::Request(request.kept.clone()));
        let record = self.append(&header, &[]);
        self.store.release(old);
        if let Some(request) = self.safety.requests.get_mut(&id) {
            request.record = record;
        }
    }

    /// Writes a request again, so that its old record's segment can go;
    /// answers with the old record.
    pub(crate) fn move_request(&mut self, id: u64) -> Option<Seq> {
        let kept = self.safety.requests.get(&id)?.kept.clone();
        let record = self.append(&Header::Request(kept), &[]);
        let request = self.safety.requests.get_mut(&id)?;
        Some(std::mem::replace(&mut request.record, record))
    }

    /// The same for the last request when it is removed: its number counts.
    pub(crate) fn move_last_request(&mut self) -> Option<Seq> {
        let old = self.safety.last_request?;
        let kept = Resubmit {
            id: self.safety.next_request.saturating_sub(1),
            removed: true,
            ..Resubmit::default()
        };
        self.safety.last_request = Some(self.append(&Header::Request(kept), &[]));
        Some(old)
    }

    /// A request is durable: what it asks for is looked up.
    pub(crate) fn request_durable(&mut self, id: u64) {
        let Some(request) = self.safety.requests.get(&id) else {
            return;
        };
        if request.gathered {
            return;
        }
        let kept = request.kept.clone();
        if !kept.replayed {
            self.gather(id, &kept);
        }
        if let Some(request) = self.safety.requests.get_mut(&id) {
            request.gathered = true;
        }
        self.pump(id);
        self.ask_peers();
    }

    fn gather(&mut self, id: u64, kept: &Resubmit) {
        let Some(database) = self.database_number(&kept.database) else {
            return;
        };
        let mut work = Vec::new();
        for (what, entry) in &self.safety.entries {
            let inside = match what {
                Kept::Own(_) | Kept::Lost(_) => {
                    kept.shadow_of.is_empty() && (kept.start..=kept.end).contains(&entry.wall)
                }
                // The delivery lies between the first acceptance and the
                // acknowledgement.
                Kept::Copy(primary, _) => {
                    primary.eq_ignore_ascii_case(&kept.shadow_of)
                        && entry.arrival <= kept.end
                        && entry.wall >= kept.start
                }
            };
            if inside && !self.entry_recipients(what, database).is_empty() {
                work.push(what.clone());
            }
        }
        let late = if kept.shadow_of.is_empty() {
            work.extend(self.deliveries_elsewhere(database, kept));
            self.late_messages(database, kept.end)
        } else {
            self.late_copies(database, &kept.shadow_of, kept.end)
        };
        let since = self.safety.since;
        let hole = kept.shadow_of.is_empty() && kept.start < since;
        if let Some(request) = self.safety.requests.get_mut(&id) {
            request.work = work.into();
            request.late = late;
        }
        if hole {
            let name = self.config.name.clone();
            let end = kept.end.min(since);
            let database = kept.database.clone();
            self.mark(Mark::ReplayHole);
            let detail = format!("{database} {} to {end}: asked of the peers", kept.start);
            self.log(EventKind::ResubmitDefer, None, "", "", detail);
            self.request(&database, kept.start, end, &name, "", &[]);
        }
    }

    pub(crate) fn database_number(&self, name: &str) -> Option<usize> {
        self.config.databases.iter().position(|d| d == name)
    }

    /// The recipients (by index) of something kept that belong to a database.
    fn entry_recipients(&self, what: &Kept, database: usize) -> Vec<u32> {
        let Some(entry) = self.safety.entries.get(what) else {
            return Vec::new();
        };
        if entry.database.is_some() {
            return if entry.database == Some(database) {
                vec![0]
            } else {
                Vec::new()
            };
        }
        entry
            .recipients
            .iter()
            .copied()
            .filter(|at| {
                let address = &entry.envelope.recipients[*at as usize];
                self.database_of(address) == Some(database)
            })
            .collect()
    }

    /// Deliveries that only a copy of the database has which is not mounted
    /// (it moved): they are replayed like those that it has lost.
    fn deliveries_elsewhere(&mut self, at: usize, kept: &Resubmit) -> Vec<Kept> {
        let mut found = Vec::new();
        let Some(database) = self.databases.get(at).filter(|d| !d.mounted) else {
            return found;
        };
        let hold = u64::try_from(self.config.safety_net_hold().as_millis()).unwrap_or(u64::MAX);
        let first = kept.start.max(self.now.wall.saturating_sub(hold));
        let deliveries: Vec<(Seq, u64)> = database
            .deliveries
            .iter()
            .filter(|(_, d)| !d.queued && (first..=kept.end).contains(&d.wall))
            .map(|(seq, d)| (*seq, d.wall))
            .collect();
        for (seq, wall) in deliveries {
            let what = Kept::Lost(seq.0);
            if !self.safety.entries.contains_key(&what) {
                // The mailbox's own: it must outlive the Safety Net.
                self.safety.hold_content(seq);
                self.keep_lost(seq, at, wall);
            }
            found.push(what);
        }
        found
    }

    /// Messages that the database may have got, and that are not over.
    fn late_messages(&self, database: usize, end: u64) -> BTreeSet<Kept> {
        let mut late = BTreeSet::new();
        for (sequence, message) in &self.messages {
            if message.arrival > end {
                continue;
            }
            let over = message.phase == Phase::Completing;
            let flying = message.in_flight();
            let got = message
                .recipients
                .iter()
                .zip(&message.envelope.recipients)
                .any(|(recipient, address)| {
                    (over || flying || recipient.state == RecipientState::Delivered)
                        && self.database_of(address) == Some(database)
                });
            if got {
                late.insert(Kept::Own(*sequence));
            }
        }
        late
    }

    /// Copies held for a primary that may have delivered them.
    fn late_copies(&self, database: usize, primary: &str, end: u64) -> BTreeSet<Kept> {
        let Some(peer) = self.find_peer(primary) else {
            return BTreeSet::new();
        };
        let peer = &self.peers[peer];
        peer.held
            .iter()
            .filter(|(_, held)| {
                let mut addresses = held.envelope.recipients.iter();
                held.arrival <= end
                    && addresses.any(|address| self.database_of(address) == Some(database))
            })
            .map(|(key, _)| Kept::Copy(peer.name.clone(), key.clone()))
            .collect()
    }

    /// What was awaited and is over now is replayed, or not awaited any more.
    fn sweep_late(&mut self, id: u64) {
        let Some(request) = self.safety.requests.get_mut(&id) else {
            return;
        };
        let late = std::mem::take(&mut request.late);
        let (mut still, mut ready) = (BTreeSet::new(), Vec::new());
        for what in late {
            let waits = match &what {
                Kept::Own(sequence) => self.messages.contains_key(sequence),
                Kept::Copy(primary, key) => self
                    .find_peer(primary)
                    .is_some_and(|peer| self.peers[peer].held.contains_key(key)),
                Kept::Lost(_) => false,
            };
            if waits {
                still.insert(what);
            } else if self.safety.entries.contains_key(&what) {
                ready.push(what);
            }
        }
        for _ in &ready {
            self.mark(Mark::ReplayLate);
        }
        if let Some(request) = self.safety.requests.get_mut(&id) {
            request.late = still;
            request.work.extend(ready);
        }
    }

    /// Whether replays have to wait for memory: they give way to new mail
    /// early.
    fn resubmission_paused(&self) -> bool {
        self.body_bytes > self.config.body_budget_bytes / 2
    }

    /// Starts as many replays of a request as may be under way.
    fn pump(&mut self, id: u64) {
        loop {
            let paused = self.resubmission_paused();
            let draining = self.draining;
            let Some(request) = self.safety.requests.get_mut(&id) else {
                return;
            };
            if !request.gathered || !request.kept.enabled || draining {
                return;
            }
            if request.busy + request.open.len() >= WINDOW {
                return;
            }
            if paused && !request.work.is_empty() {
                if !std::mem::replace(&mut request.paused, true) {
                    let waiting = request.work.len();
                    let detail = format!("request {id}: {waiting} wait for memory");
                    self.mark(Mark::ReplayPaused);
                    self.log(EventKind::ResubmitDefer, None, "", "", detail);
                }
                return self.arm_requests();
            }
            request.paused = false;
            let Some(what) = request.work.pop_front() else {
                break;
            };
            let database = request.kept.database.clone();
            self.read_kept(id, what, &database);
        }
        self.check_replayed(id);
    }

    fn read_kept(&mut self, request: u64, what: Kept, database: &str) {
        let Some(database) = self.database_number(database) else {
            return;
        };
        let recipients = self.entry_recipients(&what, database);
        let Some(entry) = self.safety.entries.get(&what) else {
            return;
        };
        if recipients.is_empty() {
            return;
        }
        let content = entry.content;
        let extent = match self.store.extent(content) {
            Ok(extent) => extent,
            Err(error) => return self.replay_failed(request, &what, &error.to_string()),
        };
        // It must not go before it is read.
        self.safety.hold_content(content);
        let read = self.safety.next_read;
        self.safety.next_read += 1;
        self.safety.reads.insert(
            read,
            Reading {
                request,
                what,
                content,
                recipients,
            },
        );
        if let Some(request) = self.safety.requests.get_mut(&request) {
            request.busy += 1;
        }
        self.out.push(crate::io::Output::Read { read, extent });
    }

    /// Content has come from the disk.
    pub(crate) fn content_read(&mut self, read: u64, result: std::io::Result<Bytes>) {
        let Some(reading) = self.safety.reads.remove(&read) else {
            return;
        };
        let id = reading.request;
        if let Some(request) = self.safety.requests.get_mut(&id) {
            request.busy -= 1;
        }
        let parts = result
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.content_parts(reading.content, &bytes));
        match parts {
            Ok((header, body)) => self.replay(reading, header, body),
            Err(why) => {
                self.replay_failed(id, &reading.what, &why);
                self.drop_content(reading.content);
            }
        }
        self.pump(id);
    }

    fn content_parts(&self, content: Seq, bytes: &Bytes) -> Result<(Header, Bytes), String> {
        let (kind, header, body) = self
            .store
            .parts_of(content, bytes)
            .map_err(|error| error.to_string())?;
        let header = Header::decode(kind, &header).map_err(str::to_owned)?;
        Ok((header, body))
    }

    /// Makes a message of what was kept. Its content stays counted as needed.
    fn replay(&mut self, reading: Reading, header: Header, body: Bytes) {
        let Reading {
            request,
            what,
            content,
            recipients,
        } = reading;
        let envelope = match (self.safety.entries.get(&what), header) {
            (
                _,
                Header::Mailbox {
                    recipient, sender, ..
                },
            ) => {
                let ascii = recipient.is_ascii() && sender.is_ascii();
                let bits = if body.is_ascii() { 0 } else { EIGHT_BIT };
                let utf8 = if ascii { 0 } else { UTF8 };
                Some(silent_envelope(bits | utf8, &sender, [&*recipient]))
            }
            (Some(entry), _) => {
                let from = &entry.envelope;
                let chosen = recipients.iter().map(|at| &*from.recipients[*at as usize]);
                Some(silent_envelope(from.flags, &from.sender, chosen))
            }
            (None, _) => None,
        };
        let wanted = self
            .safety
            .requests
            .get(&request)
            .is_some_and(|request| request.kept.enabled);
        let (Some(envelope), true) = (envelope, wanted) else {
            return self.drop_content(content);
        };
        let wall = self.now.wall;
        let arrival = self.safety.entries.get(&what).map_or(wall, |e| e.arrival);
        let sequence = self.sequence();
        let header = Header::Resubmitted {
            sequence,
            what: what.clone(),
            wall,
            request,
            recipients: recipients.clone(),
        };
        let record = self.append(&header, &[]);
        self.body_bytes += body.len() as u64;
        let expires = self.expiry();
        let mut message = Box::new(Message::new(arrival, expires, envelope, body));
        message.phase = Phase::TakingOver;
        message.local = true;
        message.records = vec![record];
        message.trace = self.replay_trace(sequence, request, wall);
        message.replay = Some(Replay {
            what: what.clone(),
            request,
            content,
            recipients,
        });
        self.messages.insert(sequence, message);
        self.counters.resubmitted += 1;
        let mark = match what {
            Kept::Own(_) => Mark::ReplayedPrimary,
            Kept::Copy(..) => Mark::ReplayedShadow,
            Kept::Lost(_) => Mark::ReplayedLost,
        };
        self.mark(mark);
        if let Some(request) = self.safety.requests.get_mut(&request) {
            request.open.insert(sequence);
            request.replays += 1;
        }
        let detail = format!("SAFETYNET: request {request}");
        self.log(EventKind::Resubmit, Some(sequence), "", "", detail);
        self.wait(record, Waiter::TakenOver(sequence));
    }

    /// The trace field of a replay.
    pub(crate) fn replay_trace(&self, sequence: u64, request: u64, wall: u64) -> Bytes {
        Bytes::from(format!(
            "Received: by {} with SafetyNet id {}\r\n\t(request {request});\r\n\t{}\r\n",
            self.config.name,
            name_of(sequence),
            Date(wall)
        ))
    }

    fn replay_failed(&mut self, request: u64, what: &Kept, why: &str) {
        self.counters.resubmits_failed += 1;
        if let Some(request) = self.safety.requests.get_mut(&request) {
            request.failures += 1;
        }
        self.mark(Mark::ReplayFailed);
        let detail = format!("SAFETYNET: request {request}, {what:?}: {why}");
        self.log(EventKind::ResubmitFail, None, "", "", detail);
    }

    /// A replay is over.
    pub(crate) fn replay_over(&mut self, request: u64, sequence: u64) {
        if let Some(request) = self.safety.requests.get_mut(&request) {
            request.open.remove(&sequence);
        }
        self.pump(request);
    }

    /// Our part of a request is done when nothing is left of it.
    fn check_replayed(&mut self, id: u64) {
        self.sweep_late(id);
        let Some(request) = self.safety.requests.get_mut(&id) else {
            return;
        };
        let idle = request.work.is_empty()
            && request.late.is_empty()
            && request.busy == 0
            && request.open.is_empty();
        if !idle {
            return self.arm_requests();
        }
        if request.gathered && !std::mem::replace(&mut request.kept.replayed, true) {
            self.record_request(id);
        }
        self.arm_requests();
    }

    // --- what peers are asked ------------------------------------------------

    fn arm_requests(&mut self) {
        if self.safety.requests.is_empty() {
            return;
        }
        let at = self.later(self.config.shadow_heartbeat_frequency);
        Self::arm(
            &mut self.timers,
            Timer::Requests,
            at,
            &mut self.safety.armed,
        );
    }

    /// Requests are looked at once in a while.
    pub(crate) fn requests_due(&mut self) {
        self.safety.armed = 0;
        let keep = self.config.safety_net_hold() + self.config.safety_net_shadow_delay;
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let ids: Vec<u64> = self.safety.requests.keys().copied().collect();
        for id in ids {
            let Some(request) = self.safety.requests.get(&id) else {
                continue;
            };
            // Nothing that it could ask for is kept any longer.
            if self.now.wall.saturating_sub(request.kept.created) > keep {
                let _ = self.remove_request(id);
                continue;
            }
            if !request.kept.replayed {
                self.sweep_late(id);
                self.pump(id);
            }
        }
        self.replace_silent();
        self.ask_peers();
    }

    /// Peers that have not answered for too long are replaced by those that
    /// held copies for them.
    fn replace_silent(&mut self) {
        let delay = self.later(self.config.safety_net_shadow_delay) - self.now.mono;
        let now = self.now.mono;
        let mut silent = Vec::new();
        for (id, request) in &mut self.safety.requests {
            if !request.kept.shadow_of.is_empty() || !request.kept.enabled {
                continue;
            }
            let kept = &mut request.kept;
            for asked in kept.asked.iter_mut().filter(|asked| !asked.done) {
                let heard = request.heard.get(&asked.peer).copied().unwrap_or(0);
                if now.saturating_sub(heard) >= delay {
                    asked.done = true;
                    let (database, peer) = (kept.database.clone(), asked.peer.clone());
                    silent.push((*id, database, kept.start, kept.end, peer));
                }
            }
        }
        for (id, database, start, end, peer) in silent {
            self.record_request(id);
            self.mark(Mark::ReplayFromShadows);
            let detail = format!("request {id}: silent for safety-net-shadow-delay");
            self.log(EventKind::ResubmitDefer, None, "", &peer, detail);
            self.request(&database, start, end, &peer, "", &[]);
        }
    }

    /// Has every peer asked that still owes an answer.
    fn ask_peers(&mut self) {
        let mut hosts = BTreeSet::new();
        for (id, request) in &self.safety.requests {
            if !request.kept.enabled || !request.gathered {
                continue;
            }
            for asked in request.kept.asked.iter().filter(|asked| !asked.done) {
                let peer = self.peers.iter().find(|peer| peer.name == asked.peer);
                let Some(host) = peer.and_then(|peer| peer.host) else {
                    continue;
                };
                if !self.hosts[host].resubmits.contains(id) {
                    self.hosts[host].resubmits.push_back(*id);
                }
                hosts.insert(host);
            }
        }
        for host in hosts {
            self.kick_host(host);
        }
        self.arm_requests();
    }

    /// The question for a request, as it stands on the wire; none when there
    /// is nothing to ask any more.
    pub(crate) fn question(&self, id: u64) -> Option<String> {
        let request = self.safety.requests.get(&id)?;
        let kept = &request.kept;
        let mut line = format!("XRESUBMIT {} {} {}", kept.database, kept.start, kept.end);
        if !kept.shadow_of.is_empty() {
            line.push(' ');
            line.push_str(&kept.shadow_of);
        }
        line.push_str("\r\n");
        kept.enabled.then_some(line)
    }

    /// A peer answered a request.
    pub(crate) fn answered_request(&mut self, id: u64, peer: PeerId, done: bool) {
        let name = self.peers[peer].name.clone();
        let now = self.now.mono;
        let Some(request) = self.safety.requests.get_mut(&id) else {
            return;
        };
        request.heard.insert(name.clone(), now);
        let asked = request.kept.asked.iter_mut().find(|a| a.peer == name);
        if done && let Some(asked) = asked {
            asked.done = true;
            self.record_request(id);
        }
    }

    /// A peer cannot be asked now.
    pub(crate) fn requests_stranded(&mut self, host: HostId, why: &str) {
        if self.hosts[host].resubmits.is_empty() {
            return;
        }
        self.hosts[host].resubmits.clear();
        self.counters.resubmits_deferred += 1;
        self.log_host(EventKind::ResubmitDefer, host, why.to_owned());
    }

    // --- the administrator ---------------------------------------------------

    /// Whether the interval of a request by hand holds.
    pub(crate) fn check_interval(&self, start: u64, end: u64) -> Result<(), String> {
        let now = self.now.wall;
        if start >= end {
            return Err("expected a start before the end".to_owned());
        }
        if end >= now {
            return Err(format!("expected start and end in the past: it is {now}"));
        }
        Ok(())
    }

    /// Switches a request on or off; what it has begun goes on.
    pub(crate) fn enable_request(&mut self, id: u64, enabled: bool) -> Result<(), String> {
        let Some(request) = self.safety.requests.get_mut(&id) else {
            return Err(format!("there is no request {id}"));
        };
        request.kept.enabled = enabled;
        let now = self.now.mono;
        for heard in request.heard.values_mut() {
            *heard = now;
        }
        self.record_request(id);
        self.pump(id);
        self.ask_peers();
        Ok(())
    }

    /// Forgets a request; what it has begun goes on.
    pub(crate) fn remove_request(&mut self, id: u64) -> Result<(), String> {
        let Some(mut request) = self.safety.requests.remove(&id) else {
            return Err(format!("there is no request {id}"));
        };
        request.kept.removed = true;
        let tombstone = self.append(&Header::Request(request.kept), &[]);
        self.store.release(request.record);
        // Numbers only grow: the last one must not be forgotten.
        if id + 1 < self.safety.next_request {
            self.store.release(tombstone);
        } else if let Some(old) = self.safety.last_request.replace(tombstone) {
            self.store.release(old);
        }
        Ok(())
    }
}
