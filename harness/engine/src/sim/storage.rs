//! The disk at work under a node: operations take time, one after another, and
//! the disk can be stopped before any of them.
//!
//! A running node hands over batches; a start is one too: what opening the
//! store writes is found out on a copy of the disk and then carried out like a
//! batch, so that a crash can fall on any operation of a recovery.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use mailproof_model::event::{At, Fault, Harm, Stage, What};
use mailproof_model::history::Sink;
use mailproof_model::order::WorldError;
use mailproof_model::party::{Party, Witness};
use mailproof_model::rng::Rng;
use mailproof_model::scenario::{Damage, DiskAct, DiskPoint, OpKind, Persistence};
use mailproof_node::disk::{Disk, DiskOp, FileName};
use mailproof_node::store::BatchId;
use mailproof_node::{Boot, Input, Node, Output};

use super::disk::{Region, SimDisk, Trouble, kind};
use super::node::State;
use super::settings::Settings;
use super::{Coming, SimWorld};

/// How many operations of each kind, `any` for all of them together.
pub type OpCounts = BTreeMap<OpKind, u64>;

/// What a node's disk carried out: the points at which it could have been
/// stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOps {
    /// Before the first mail was sent. No step acts so early: points up to
    /// these numbers are never reached.
    pub before: OpCounts,
    /// Up to the end of the run; what nodes do when they are stopped for good
    /// is not counted.
    pub total: OpCounts,
}

fn count(counts: &OpCounts, kind: OpKind) -> u64 {
    counts.get(&kind).copied().unwrap_or(0)
}

/// Operations on their way to the disk.
pub(super) struct Busy {
    ops: Vec<DiskOp>,
    /// When the first of them begins.
    begun: At,
    /// When each of them is done.
    done: Vec<At>,
    /// How many of them the disk has carried out.
    applied: usize,
    /// What they are for.
    work: Work,
    /// Tells the present plan from those before it.
    turn: u64,
    /// The disk will stop before this operation, for this fault.
    stop: Option<(usize, Fault, u64)>,
    /// An operation that a fault may hit: what comes after it is planned when
    /// it is done.
    check: Option<usize>,
    /// It stands there, since then.
    standing: Option<At>,
    /// An operation failed: none after it is carried out.
    failed: Option<io::Error>,
}

enum Work {
    Batch(BatchId),
    /// The started node and what it has to say, or nothing: it refuses to
    /// start.
    Boot(Option<(Box<Node>, Vec<Output>)>),
}

impl Busy {
    /// When an operation begins.
    fn begins(&self, op: usize) -> At {
        op.checked_sub(1)
            .map_or(self.begun, |before| self.done[before])
    }

    fn ends(&self) -> At {
        self.done.last().copied().unwrap_or(self.begun)
    }
}

/// A disk, what it does and where it will be stopped.
#[derive(Default)]
pub(super) struct Storage {
    pub(super) disk: SimDisk,
    busy: Option<Busy>,
    turn: u64,
    points: Vec<(Fault, DiskPoint)>,
    /// The fault that the disk was stopped for and not let go yet.
    held: Option<Fault>,
    counts: OpCounts,
    pub(super) ops: DiskOps,
    /// The run is over: nothing is counted any more.
    over: bool,
    /// Faults of operations that have hit one.
    struck: BTreeSet<Fault>,
    /// Damage that nobody has read yet.
    damaged: Vec<(Fault, Region)>,
}

impl Storage {
    pub(super) fn new(model: Persistence) -> Self {
        Self {
            disk: SimDisk::new(model),
            ..Self::default()
        }
    }

    pub(super) fn busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Steps may act from now on.
    pub(super) fn begin_count(&mut self, now: At) {
        self.ops.before = self.counts.clone();
        // What has begun can no longer be stopped before it.
        let Some(busy) = &self.busy else { return };
        for (at, op) in busy.ops.iter().enumerate() {
            if at >= busy.applied && busy.begins(at) < now {
                for kind in [kind(op), OpKind::Any] {
                    *self.ops.before.entry(kind).or_default() += 1;
                }
            }
        }
    }

    /// No operation from now on is part of the run.
    pub(super) fn end_count(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.ops.total = self.counts.clone();
        }
    }

    /// Carries operations of the busy batch out, up to but not including the
    /// one at `to` or any after one that failed.
    fn apply_to(&mut self, to: usize) {
        let Some(busy) = &mut self.busy else { return };
        let to = to.min(busy.ops.len());
        while busy.applied < to && busy.failed.is_none() {
            let op = &busy.ops[busy.applied];
            busy.applied += 1;
            for kind in [kind(op), OpKind::Any] {
                *self.counts.entry(kind).or_default() += 1;
            }
            busy.failed = self.disk.apply(op).err();
        }
    }

    /// Finds the first operation, not begun before `now`, at which some point
    /// stops the disk.
    fn find_stop(&self, now: At) -> Option<(usize, Fault, u64)> {
        if self.points.is_empty() {
            return None;
        }
        let busy = self.busy.as_ref()?;
        self.points
            .iter()
            .filter_map(|(fault, point)| {
                let before = count(&self.counts, point.op);
                let ahead = usize::try_from(point.nth.checked_sub(before + 1)?).ok()?;
                let (at, _) = (busy.applied..)
                    .zip(&busy.ops[busy.applied..])
                    .filter(|(_, op)| point.op.takes(kind(op)))
                    .nth(ahead)?;
                (busy.begins(at) >= now).then_some((at, *fault, point.nth))
            })
            .min_by_key(|(at, ..)| *at)
    }

    /// Carries out what is done by now.
    fn settle(&mut self, now: At) {
        let Some(busy) = &self.busy else { return };
        if busy.standing.is_none() {
            let finished = busy.done.iter().take_while(|done| **done <= now).count();
            self.apply_to(finished);
        }
    }

    /// What the disk has of operations that will not be finished: every one
    /// that was done, and the one that the kernel was about to do; of a sync
    /// nobody knows. A disk that stands does nothing.
    pub(super) fn break_off(&mut self, now: At) {
        let Some(busy) = &self.busy else { return };
        // The fault of a disk hits what a process waits for.
        let troubles = std::mem::take(&mut self.disk.troubles);
        let finished = busy.done.iter().take_while(|done| **done <= now).count();
        let syncs = |op: &DiskOp| matches!(op, DiskOp::Sync { .. } | DiskOp::SyncDir);
        let to = match busy.ops.get(finished) {
            _ if busy.standing.is_some() => busy.applied,
            Some(op) if !syncs(op) => finished + 1,
            _ => finished,
        };
        self.apply_to(to);
        self.busy = None;
        self.disk.troubles = troubles;
    }
}

/// Keeps what is done to a disk.
struct Recorder<'a> {
    disk: &'a mut SimDisk,
    ops: Vec<DiskOp>,
    damaged: &'a [(Fault, Region)],
    /// The damage that was read.
    read: RefCell<BTreeSet<Fault>>,
}

impl Recorder<'_> {
    fn looks(&self, at: impl Fn(&Region) -> bool) {
        let seen = self.damaged.iter().filter(|(_, region)| at(region));
        self.read.borrow_mut().extend(seen.map(|(fault, _)| *fault));
    }
}

impl Disk for Recorder<'_> {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        self.ops.push(op.clone());
        self.disk.apply(op)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        self.looks(|region| region.gone);
        self.disk.list()
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset.saturating_add(len as u64);
        self.looks(|r| r.file == *file && r.from < end && offset < r.to);
        self.disk.read(file, offset, len)
    }
}

/// What opening a store came to.
struct Opened {
    /// The node and what it has to say, unless it refuses to start.
    node: Option<(Box<Node>, Vec<Output>)>,
    /// What it did to the disk.
    ops: Vec<DiskOp>,
    /// The damage that it read.
    read: BTreeSet<Fault>,
}

impl<W: Sink> SimWorld<W> {
    /// A started process reads its store: the node, unless it refuses to
    /// start, and what that does to the disk.
    fn open_store(&mut self, node: usize) -> Opened {
        let at = self.clock.now();
        let host = &mut self.nodes[node];
        let now = host.now(at);
        let mut rng = Rng::keyed(host.seed, "life", host.life.into());
        let seed = rng.bits();
        let fresh = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
        let mut copy = host.storage.disk.clone();
        let mut recorder = Recorder {
            disk: &mut copy,
            ops: Vec::new(),
            damaged: &host.storage.damaged,
            read: RefCell::default(),
        };
        let mut out = Vec::new();
        let booted = Boot::open(host.config.clone(), seed, fresh, now, &mut recorder)
            .and_then(|boot| Node::new(boot, &recorder, &mut out));
        let logging = self.log.is_some();
        Opened {
            node: booted.ok().map(|mut node| {
                node.set_logging(logging);
                (Box::new(node), out)
            }),
            ops: recorder.ops,
            read: recorder.read.into_inner(),
        }
    }

    /// A started process begins to serve once its store is open.
    pub(super) fn boot(&mut self, node: usize, life: u32) {
        let host = &self.nodes[node];
        if host.life != life || host.state != State::Booting {
            return;
        }
        let opened = self.open_store(node);
        for fault in opened.read {
            self.damage_read(node, fault);
        }
        self.work(node, opened.ops, Work::Boot(opened.node));
    }

    /// Sends a batch of operations to the disk.
    pub(super) fn commit(&mut self, node: usize, id: BatchId, ops: Vec<DiskOp>) {
        self.work(node, ops, Work::Batch(id));
    }

    fn work(&mut self, node: usize, ops: Vec<DiskOp>, work: Work) {
        let begun = self.clock.now();
        let mut at = begun;
        let slow = ops.first().map_or(0, |op| self.slowed(node, op));
        let mut done = Vec::with_capacity(ops.len());
        for op in &ops {
            let range = match op {
                DiskOp::Sync { .. } | DiskOp::SyncDir => self.settings.sync,
                _ => self.settings.write,
            };
            at += Settings::time(range, &mut self.rng) + slow;
            done.push(at);
        }
        self.nodes[node].storage.busy = Some(Busy {
            ops,
            begun,
            done,
            applied: 0,
            work,
            turn: 0,
            stop: None,
            check: None,
            standing: None,
            failed: None,
        });
        self.plan_work(node);
    }

    /// Has the disk's present work go on to its end, or to where it is
    /// stopped before.
    fn plan_work(&mut self, node: usize) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        let stop = host.storage.find_stop(now);
        host.storage.turn += 1;
        let turn = host.storage.turn;
        let Some(busy) = &mut host.storage.busy else {
            return;
        };
        busy.turn = turn;
        busy.stop = stop;
        let left = (busy.applied..).zip(&busy.ops[busy.applied..]);
        let disk = &host.storage.disk;
        busy.check = if disk.troubles.is_empty() {
            None
        } else {
            left.filter(|(_, op)| disk.may_fail(op))
                .map(|(n, _)| n)
                .next()
        };
        let at = match (stop, busy.check) {
            (Some((op, ..)), check) if check.is_none_or(|check| op <= check) => {
                busy.check = None;
                busy.begins(op)
            }
            (_, Some(check)) => {
                busy.stop = None;
                busy.done[check]
            }
            _ => busy.ends(),
        };
        self.clock.at(at, Coming::Disk { node, turn });
    }

    /// The disk's work is done, or stops.
    pub(super) fn disk_done(&mut self, node: usize, turn: u64) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        let Some(busy) = &mut host.storage.busy else {
            return;
        };
        if busy.turn != turn || busy.standing.is_some() {
            return;
        }
        let stop = busy.stop;
        let to = busy.check.map_or(usize::MAX, |op| op + 1);
        host.storage.apply_to(stop.map_or(to, |(op, ..)| op));
        if self.tell_harms(node) {
            return;
        }
        let host = &mut self.nodes[node];
        let Some(busy) = &mut host.storage.busy else {
            return;
        };
        if stop.is_none() && busy.failed.is_none() && busy.applied < busy.ops.len() {
            self.plan_work(node);
            return;
        }
        let (op, fault, nth) = match stop {
            Some(stop) if busy.failed.is_none() => stop,
            _ if host.state == State::Paused => {
                host.disk_waits = true;
                return;
            }
            _ => {
                self.disk_finished(node);
                return;
            }
        };
        busy.standing = Some(now);
        let text = busy.ops[op].to_string();
        let party = host.party;
        host.storage.points.retain(|(of, _)| *of != fault);
        host.storage.held = Some(fault);
        self.record(
            Witness::Disk(party),
            What::DiskHeld {
                node: party,
                fault,
                op: text,
                nth,
            },
        );
    }

    /// Everything was carried out, up to the first operation that failed: the
    /// process hears of it.
    pub(super) fn disk_finished(&mut self, node: usize) {
        let Some(busy) = self.nodes[node].storage.busy.take() else {
            return;
        };
        let failed = busy.failed.is_some();
        let result = busy.failed.map_or(Ok(()), Err);
        match busy.work {
            Work::Batch(batch) => self.node_input(node, Input::Committed { batch, result }),
            Work::Boot(Some((booted, mut out))) if !failed => {
                let host = &mut self.nodes[node];
                host.node = Some(booted);
                host.state = State::Up;
                let (party, life) = (host.party, host.life);
                self.record(Witness::Kernel, What::Ready { node: party, life });
                if self.reads_clocks {
                    self.read_clock(node, None);
                }
                self.node_outputs(node, &mut out);
            }
            Work::Boot(_) => self.end_process(node, "code 1"),
        }
    }

    /// Stops a disk before an operation to come.
    pub(super) fn arm_disk(&mut self, node: usize, fault: Fault, point: DiskPoint) {
        self.disk_receipt(node, fault, Stage::Armed, "wait at a disk operation");
        self.nodes[node].storage.points.push((fault, point));
        let busy = &self.nodes[node].storage.busy;
        if busy.as_ref().is_some_and(|b| b.standing.is_none()) {
            self.plan_work(node);
        }
    }

    fn disk_receipt(&mut self, node: usize, fault: Fault, stage: Stage, text: &str) {
        let what = What::Fault {
            fault,
            stage,
            text: text.to_owned(),
            node: Some(self.nodes[node].party),
            link: None,
            conn: None,
        };
        self.record(Witness::Injector, what);
    }

    /// Has operations of a disk fail or take long from now on.
    pub(super) fn trouble_disk(
        &mut self,
        node: usize,
        fault: Fault,
        act: &DiskAct,
    ) -> Result<(), WorldError> {
        let now = self.clock.now();
        let slow = match act {
            DiskAct::Slow(span) => span
                .resolve(&self.plan.times)
                .map_err(|error| WorldError(error.to_string()))?,
            _ => 0,
        };
        // Without an end of its own it hits one operation.
        let step = self.plan.scenario.steps.get(fault as usize);
        let lasts = matches!(
            step,
            Some(mailproof_model::scenario::Step::Disk(f)) if f.lasts.is_some()
        );
        let storage = &mut self.nodes[node].storage;
        storage.settle(now);
        storage.disk.troubles.push(Trouble {
            fault,
            act: act.clone(),
            once: act.hits_one() && !lasts,
            slow,
            rng: Rng::keyed(self.plan.seed, "disk", fault.into()),
        });
        let text = act.name();
        self.disk_receipt(node, fault, Stage::Armed, text);
        let busy = &self.nodes[node].storage.busy;
        if busy.as_ref().is_some_and(|b| b.standing.is_none()) {
            self.plan_work(node);
        }
        Ok(())
    }

    /// The disk is well again.
    pub(super) fn mend_disk(&mut self, node: usize, fault: Fault) {
        let now = self.clock.now();
        let storage = &mut self.nodes[node].storage;
        storage.settle(now);
        storage.disk.troubles.retain(|t| t.fault != fault);
        if self.tell_harms(node) {
            return;
        }
        let busy = &self.nodes[node].storage.busy;
        if busy.as_ref().is_some_and(|b| b.standing.is_none()) {
            self.plan_work(node);
        }
    }

    /// By how much the disk's faults slow an operation down.
    fn slowed(&mut self, node: usize, op: &DiskOp) -> u64 {
        let storage = &mut self.nodes[node].storage;
        let slow: Vec<(Fault, u64)> = storage
            .disk
            .troubles
            .iter()
            .filter(|t| t.slow > 0)
            .map(|t| (t.fault, t.slow))
            .collect();
        for (fault, amount) in &slow {
            if !self.nodes[node].storage.struck.contains(fault) {
                self.tell_harm(node, *fault, op.to_string(), Harm::Slow, *amount);
            }
        }
        slow.iter().map(|(_, ns)| ns).sum()
    }

    /// Writes down what the disk's faults did; whether the power is gone.
    fn tell_harms(&mut self, node: usize) -> bool {
        let harms = std::mem::take(&mut self.nodes[node].storage.disk.harms);
        let mut dark = false;
        for harm in harms {
            self.tell_harm(node, harm.fault, harm.op, harm.how, harm.amount);
            if harm.how == Harm::Torn {
                let party = self.nodes[node].party;
                self.go_dark(harm.fault, party, node);
                dark = true;
            }
        }
        dark
    }

    fn tell_harm(&mut self, node: usize, fault: Fault, op: String, how: Harm, amount: u64) {
        if self.nodes[node].storage.struck.insert(fault) {
            self.disk_receipt(node, fault, Stage::Fired, "an operation is hit");
        }
        let party: Party = self.nodes[node].party;
        self.record(
            Witness::Disk(party),
            What::DiskHarm {
                node: party,
                fault,
                op,
                how,
                amount,
            },
        );
    }

    /// Kills a node and damages its files.
    pub(super) fn corrupt(&mut self, node: usize, fault: Fault, how: Damage) {
        self.end_process(node, "signal 9");
        let mut rng = Rng::keyed(self.plan.seed, "damage", fault.into());
        let storage = &mut self.nodes[node].storage;
        let Some(region) = storage.disk.damage(how, &mut rng) else {
            return;
        };
        let (file, bytes) = (region.file.to_string(), region.bytes);
        storage.damaged.push((fault, region));
        let party = self.nodes[node].party;
        self.record(
            Witness::Disk(party),
            What::Damaged {
                node: party,
                fault,
                file,
                how,
                bytes,
            },
        );
    }

    fn damage_read(&mut self, node: usize, fault: Fault) {
        let storage = &mut self.nodes[node].storage;
        let Some(at) = storage.damaged.iter().position(|(of, _)| *of == fault) else {
            return;
        };
        let (_, region) = storage.damaged.remove(at);
        let party = self.nodes[node].party;
        self.record(
            Witness::Disk(party),
            What::DamageRead {
                node: party,
                fault,
                file: region.file.to_string(),
            },
        );
    }

    /// Lets a disk go on that stands for a fault, and forgets its point.
    pub(super) fn release_disk(&mut self, node: usize, fault: Fault) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        host.storage.points.retain(|(of, _)| *of != fault);
        if host.storage.held != Some(fault) {
            return;
        }
        host.storage.held = None;
        let node_name = host.party;
        if let Some(busy) = &mut host.storage.busy
            && let Some(since) = busy.standing.take()
        {
            for done in &mut busy.done[busy.applied..] {
                *done += now - since;
            }
            // The next operation begins now, whatever the one before took.
            if let Some(before) = busy.applied.checked_sub(1) {
                busy.done[before] = now;
            } else {
                busy.begun = now;
            }
            self.plan_work(node);
        }
        self.record(
            Witness::Disk(node_name),
            What::DiskReleased {
                node: node_name,
                fault,
            },
        );
    }
}
