//! The simulated disk under a node.
//!
//! What it models: a directory on a file system of one of two kinds. In
//! `ext4-ordered` a sync of any file or of the directory commits every earlier
//! name operation, and a file's sync its data; names reach the medium in order
//! and never before their file exists. In `posix` a file's sync commits its
//! data alone, the directory's sync names alone, and names reach the medium in
//! any order. In both un-synced data may be there in any sectors, or the file
//! may have length zero. Operations that fail ([`Trouble`]), a sync that fails
//! and drops what it was to write, a torn write, damage at rest. What it does
//! not: a medium that lies about a sync.
//!
//! Effect witness of a power cut: `dropped`, with the number of un-synced
//! operations that did not survive whole; 0 proves nothing. Of an operation
//! that fails: `disk-harm`. Of damage: `damaged`, and `damage-read` once the
//! node looks there. Removal proof: a fault that lasts is taken out of the
//! list; for the rest none, what is gone is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use mailproof_model::event::{Fault, Harm};
use mailproof_model::rng::Rng;
use mailproof_model::scenario::{Damage, DiskAct, OpKind, Persistence};
use mailproof_node::disk::{Disk, DiskOp, FileName};

/// Data reaches the medium in pieces of this many bytes.
const SECTOR: u64 = 512;

/// Un-synced operations on the data of one file that are kept apart. The
/// kernel may write back whenever it likes; here it does when there are more.
const KEPT: usize = 8;

/// Blocks that damage zeroes, in bytes.
const BLOCK: u64 = 4096;

/// Content as extents that do not overlap; zeros between them.
#[derive(Clone, Debug, Default)]
struct Content {
    len: u64,
    extents: BTreeMap<u64, Bytes>,
}

impl Content {
    fn put(&mut self, offset: u64, data: &Bytes) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        self.len = self.len.max(end);
        self.clear(offset, end);
        self.extents.insert(offset, data.clone());
    }

    /// Takes out what lies between two positions.
    fn clear(&mut self, offset: u64, end: u64) {
        // What begins before and reaches in, then what begins within.
        let before = self.extents.range(..offset).next_back();
        if let Some((start, old)) = before.map(|(s, b)| (*s, b.clone())) {
            let old_end = start + old.len() as u64;
            if old_end > offset {
                self.extents.insert(start, old.slice(..at(offset - start)));
                if old_end > end {
                    self.extents.insert(end, old.slice(at(end - start)..));
                }
            }
        }
        while let Some((start, old)) = self
            .extents
            .range(offset..end)
            .next()
            .map(|(s, b)| (*s, b.clone()))
        {
            self.extents.remove(&start);
            if start + old.len() as u64 > end {
                self.extents.insert(end, old.slice(at(end - start)..));
            }
        }
    }

    fn copy(&self, offset: u64, into: &mut [u8]) {
        let end = offset + into.len() as u64;
        let first = self
            .extents
            .range(..=offset)
            .next_back()
            .map_or(0, |e| *e.0);
        for (start, data) in self.extents.range(first..end) {
            copy_part(*start, data, offset, into);
        }
    }
}

/// Copies the part of `data` (at `start` of the file) that lies in `into` (at
/// `offset` of the file).
fn copy_part(start: u64, data: &[u8], offset: u64, into: &mut [u8]) {
    let from = start.max(offset);
    let to = (start + data.len() as u64).min(offset + into.len() as u64);
    if from < to {
        into[at(from - offset)..at(to - offset)]
            .copy_from_slice(&data[at(from - start)..at(to - start)]);
    }
}

/// Positions within files that are held in memory.
fn at(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// An operation that no sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    Link {
        name: FileName,
        inode: u64,
    },
    Rename {
        from: FileName,
        to: FileName,
        inode: u64,
    },
    Unlink {
        name: FileName,
    },
    /// The zero fill of a new file.
    Fill {
        inode: u64,
        len: u64,
    },
    Data {
        inode: u64,
        offset: u64,
        data: Bytes,
    },
}

impl Change {
    fn data_of(&self) -> Option<u64> {
        match self {
            Self::Fill { inode, .. } | Self::Data { inode, .. } => Some(*inode),
            Self::Link { .. } | Self::Rename { .. } | Self::Unlink { .. } => None,
        }
    }

    /// The file that it may bring onto the medium.
    fn inode(&self) -> Option<u64> {
        match self {
            Self::Fill { inode, .. }
            | Self::Data { inode, .. }
            | Self::Link { inode, .. }
            | Self::Rename { inode, .. } => Some(*inode),
            Self::Unlink { .. } => None,
        }
    }
}

/// The kind of an operation.
pub(super) fn kind(op: &DiskOp) -> OpKind {
    match op {
        DiskOp::Create { .. } => OpKind::Create,
        DiskOp::Write { .. } => OpKind::Write,
        DiskOp::Sync { .. } => OpKind::Sync,
        DiskOp::SyncDir => OpKind::SyncDir,
        DiskOp::Rename { .. } => OpKind::Rename,
        DiskOp::Remove { .. } => OpKind::Remove,
    }
}

/// A fault of operations, while it lasts.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    pub(super) act: DiskAct,
    /// It is over with the first operation that it hits.
    pub(super) once: bool,
    /// Nanoseconds that every operation takes longer.
    pub(super) slow: u64,
    pub(super) rng: Rng,
}

impl Trouble {
    /// Whether it may make such an operation fail.
    fn may_fail(&self, op: &DiskOp) -> bool {
        self.slow == 0 && self.act.hits(kind(op))
    }
}

/// What became of an operation that met a fault.
#[derive(Clone, Debug)]
pub(super) struct Harmed {
    pub(super) fault: Fault,
    pub(super) op: String,
    pub(super) how: Harm,
    pub(super) amount: u64,
}

/// A place of a file that was damaged.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) file: FileName,
    pub(super) from: u64,
    pub(super) to: u64,
    /// The file is shorter, or gone: whoever lists the directory sees it.
    pub(super) gone: bool,
    /// How many bytes are others, or gone.
    pub(super) bytes: u64,
}

type Names = BTreeMap<FileName, u64>;

/// One disk. See the module.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    model: Persistence,
    /// What a failed sync dropped: it can be read until its pages are needed
    /// for something else, and is never written.
    stale: BTreeMap<u64, Content>,
    pub(super) troubles: Vec<Trouble>,
    /// What the faults did, not yet told.
    pub(super) harms: Vec<Harmed>,
    /// Names as the node sees them, and lengths of files as it sees them.
    names: Names,
    lengths: BTreeMap<u64, u64>,
    durable_names: Names,
    durable: BTreeMap<u64, Content>,
    unsynced: Vec<Change>,
    next_inode: u64,
}

impl SimDisk {
    /// An empty directory.
    #[must_use]
    pub fn new(model: Persistence) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    /// How many operations a power cut could undo now.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        self.unsynced.len() as u64
    }

    /// Cuts the power: the directory becomes a state that the model allows,
    /// drawn from `rng`. Tells how many un-synced operations did not survive
    /// whole.
    pub fn cut(&mut self, rng: &mut Rng) -> u64 {
        let changes = std::mem::take(&mut self.unsynced);
        let total = changes.len() as u64;
        let survived = match rng.below(4) {
            0 => 0,
            1 => self.keep(changes.iter().filter(|c| c.data_of().is_none())),
            // All of them would be no more than the end of the process.
            2 => {
                let n = at(rng.below(total));
                self.keep(changes.iter().take(n))
            }
            _ => self.keep_some(&changes, rng),
        };
        self.stale.clear();
        self.names = self.durable_names.clone();
        self.lengths = self.durable.iter().map(|(i, c)| (*i, c.len)).collect();
        self.sweep();
        total - survived
    }

    /// Removes everything, as when the disk is lost.
    pub fn wipe(&mut self) {
        *self = Self {
            model: self.model,
            next_inode: self.next_inode,
            ..Self::default()
        };
    }

    fn keep<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> u64 {
        let mut kept = 0;
        for change in changes {
            self.persist(change);
            kept += 1;
        }
        kept
    }

    /// Any sectors, and the names up to one of them; how many survive whole.
    fn keep_some(&mut self, changes: &[Change], rng: &mut Rng) -> u64 {
        // Mostly kept, mostly lost and even odds find different mistakes.
        let odds = [1, 4, 7][at(rng.below(3))];
        let names = changes.iter().filter(|c| c.data_of().is_none()).count() as u64;
        let mut names_kept = rng.between(0, names);
        let mut survived = 0;
        for change in changes {
            match change {
                Change::Data {
                    inode,
                    offset,
                    data,
                } => survived += u64::from(self.keep_sectors(*inode, *offset, data, odds, rng)),
                Change::Fill { .. } => {
                    if rng.below(8) < odds {
                        self.persist(change);
                        survived += 1;
                    }
                }
                Change::Link { .. } | Change::Rename { .. } | Change::Unlink { .. } => {
                    let kept = match self.model {
                        Persistence::Ext4Ordered => {
                            let kept = names_kept > 0;
                            names_kept = names_kept.saturating_sub(1);
                            kept
                        }
                        Persistence::Posix => rng.below(8) < odds,
                    };
                    if kept {
                        self.persist(change);
                        survived += 1;
                    }
                }
            }
        }
        survived
    }

    /// Whether all of it survived.
    fn keep_sectors(
        &mut self,
        inode: u64,
        offset: u64,
        data: &Bytes,
        odds: u64,
        rng: &mut Rng,
    ) -> bool {
        let mut whole = true;
        let mut from = 0;
        while from < data.len() {
            let to_boundary = at(SECTOR - (offset + from as u64) % SECTOR);
            let piece = to_boundary.min(data.len() - from);
            let mut kept = 0;
            if rng.below(8) < odds {
                let torn = rng.below(16) == 0;
                kept = if torn {
                    at(rng.below(piece as u64 + 1))
                } else {
                    piece
                };
                let content = self.durable.entry(inode).or_default();
                content.put(offset + from as u64, &data.slice(from..from + kept));
            }
            whole &= kept == piece;
            from += piece;
        }
        whole
    }

    /// Moves a change to the medium.
    fn persist(&mut self, change: &Change) {
        match change {
            Change::Link { name, inode } => {
                self.durable.entry(*inode).or_default();
                self.durable_names.insert(name.clone(), *inode);
            }
            Change::Rename { from, to, inode } => {
                self.durable.entry(*inode).or_default();
                self.durable_names.remove(from);
                self.durable_names.insert(to.clone(), *inode);
            }
            Change::Unlink { name } => {
                self.durable_names.remove(name);
            }
            Change::Fill { inode, len } => {
                let content = self.durable.entry(*inode).or_default();
                content.len = content.len.max(*len);
            }
            Change::Data {
                inode,
                offset,
                data,
            } => self.durable.entry(*inode).or_default().put(*offset, data),
        }
    }

    /// Makes the changes that `covered` names durable.
    fn commit(&mut self, covered: impl Fn(&Change) -> bool) {
        let mut names = false;
        let mut changes = std::mem::take(&mut self.unsynced);
        changes.retain(|change| {
            let now = covered(change);
            if now {
                names |= change.data_of().is_none();
                self.persist(change);
            }
            !now
        });
        self.unsynced = changes;
        if names {
            self.sweep();
        }
    }

    /// Drops content that no name leads to any more.
    fn sweep(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        // A name that is not on the medium yet may still come there.
        let pending: BTreeSet<u64> = self.unsynced.iter().filter_map(Change::inode).collect();
        let named = |inode: &u64| {
            names.values().chain(durable.values()).any(|i| i == inode) || pending.contains(inode)
        };
        self.durable.retain(|inode, _| named(inode));
        self.stale
            .retain(|inode, _| names.values().any(|i| i == inode));
        self.lengths
            .retain(|inode, _| names.values().any(|i| i == inode));
    }

    fn data(&mut self, inode: u64, change: Change) {
        if let (Some(stale), Change::Data { offset, data, .. }) =
            (self.stale.get_mut(&inode), &change)
        {
            stale.clear(*offset, offset + data.len() as u64);
        }
        self.unsynced.push(change);
        let of = |c: &&Change| c.data_of() == Some(inode);
        if self.unsynced.len() > KEPT && self.unsynced.iter().filter(of).count() > KEPT {
            let oldest = self.unsynced.iter().position(|c| of(&c));
            if let Some(oldest) = oldest {
                let change = self.unsynced.remove(oldest);
                self.persist(&change);
            }
        }
    }

    fn inode(&self, name: &FileName) -> io::Result<(u64, u64)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such file"));
        let inode = *self.names.get(name).ok_or_else(missing)?;
        let len = *self.lengths.get(&inode).ok_or_else(missing)?;
        Ok((inode, len))
    }
}

/// The error that a system call gives.
fn failure(how: Harm) -> io::Error {
    io::Error::from_raw_os_error(match how {
        Harm::Enospc => 28,
        Harm::Erofs => 30,
        Harm::Eio | Harm::SyncEio | Harm::Torn | Harm::Slow => 5,
    })
}

impl SimDisk {
    /// The memory of a failed sync is needed for something else.
    pub(super) fn evict(&mut self) {
        self.stale.clear();
    }

    /// Whether a fault may make this operation fail.
    pub(super) fn may_fail(&self, op: &DiskOp) -> bool {
        self.troubles.iter().any(|t| t.may_fail(op))
    }

    /// Has a fault hit an operation; what became of it, unless the operation
    /// gives the fault nothing to hit.
    fn strike(&mut self, trouble: usize, op: &DiskOp) -> Option<Harm> {
        let mut rng = self.troubles[trouble].rng.clone();
        let (how, amount) = match (&self.troubles[trouble].act, op) {
            (DiskAct::Error, _) => (Harm::Eio, 0),
            (DiskAct::Full, _) => (Harm::Enospc, 0),
            (DiskAct::ReadOnly, _) => (Harm::Erofs, 0),
            (DiskAct::SyncError, DiskOp::Sync { file }) => {
                let (inode, _) = self.inode(file).ok()?;
                (Harm::SyncEio, self.fail_sync(inode, &mut rng)?)
            }
            (DiskAct::Torn, DiskOp::Write { file, offset, data }) => {
                let (inode, _) = self.inode(file).ok()?;
                (Harm::Torn, self.tear(inode, *offset, data, &mut rng)?)
            }
            _ => return None,
        };
        let trouble = &mut self.troubles[trouble];
        trouble.rng = rng;
        self.harms.push(Harmed {
            fault: trouble.fault,
            op: op.to_string(),
            how,
            amount,
        });
        let (fault, once) = (trouble.fault, trouble.once);
        if once {
            self.troubles.retain(|t| t.fault != fault);
        }
        Some(how)
    }

    /// A sync that fails: some sectors reached the medium, at least one write
    /// did not, and all of it counts as clean. How many writes are not whole
    /// on the medium.
    fn fail_sync(&mut self, inode: u64, rng: &mut Rng) -> Option<u64> {
        let of = |c: &Change| matches!(c, Change::Data { inode: of, .. } if *of == inode);
        let (writes, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsynced).into_iter().partition(of);
        self.unsynced = rest;
        let unlucky = rng.below(writes.len().max(1) as u64);
        let odds = [0, 4, 7][at(rng.below(3))];
        let mut lost = 0;
        for (n, write) in (0..).zip(&writes) {
            let Change::Data { offset, data, .. } = write else {
                continue;
            };
            let odds = if n == unlucky { 0 } else { odds };
            lost += u64::from(!self.keep_sectors(inode, *offset, data, odds, rng));
            self.stale.entry(inode).or_default().put(*offset, data);
        }
        (lost > 0).then_some(lost)
    }

    /// Half of a write reaches the medium: its beginning or its end; how many
    /// bytes.
    fn tear(&mut self, inode: u64, offset: u64, data: &Bytes, rng: &mut Rng) -> Option<u64> {
        let len = data.len() as u64;
        if len < 2 {
            return None;
        }
        let mut cut = 1 + rng.below(len - 1);
        if len > SECTOR && rng.below(2) == 0 {
            // Between two sectors.
            let boundary = (offset + cut).next_multiple_of(SECTOR) - offset;
            if boundary < len {
                cut = boundary;
            }
        }
        let content = self.durable.entry(inode).or_default();
        let kept = if rng.below(4) == 0 {
            content.put(offset + cut, &data.slice(at(cut)..));
            len - cut
        } else {
            content.put(offset, &data.slice(..at(cut)));
            cut
        };
        Some(kept)
    }

    /// Damages a file at rest, at a drawn place. `None`: there is nothing to
    /// damage in that way.
    pub(super) fn damage(&mut self, how: Damage, rng: &mut Rng) -> Option<Region> {
        // Whoever could still write has written.
        for change in std::mem::take(&mut self.unsynced) {
            self.persist(&change);
        }
        self.stale.clear();
        self.sweep();
        let inside = matches!(how, Damage::FlipBit | Damage::ZeroBlock);
        let files: Vec<(FileName, u64)> = self
            .names
            .iter()
            .filter(|(_, inode)| {
                let content = self.durable.get(inode);
                content.is_some_and(|c| c.len > 0 && !(inside && c.extents.is_empty()))
            })
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        let (file, inode) = files.get(at(rng.below(files.len() as u64)))?.clone();
        let content = self.durable.get_mut(&inode)?;
        let len = content.len;
        let place = |content: &Content, rng: &mut Rng| {
            let nth = at(rng.below(content.extents.len() as u64));
            let (start, data) = content.extents.iter().nth(nth)?;
            Some(start + rng.below(data.len() as u64))
        };
        let (from, to, bytes) = match how {
            Damage::FlipBit => {
                let byte = place(content, rng)?;
                let mut now = [0];
                content.copy(byte, &mut now);
                now[0] ^= 1 << rng.below(8);
                content.put(byte, &Bytes::copy_from_slice(&now));
                (byte, byte + 1, 1)
            }
            Damage::ZeroBlock => {
                let (from, to, bytes) = (0..32).find_map(|_| {
                    let from = place(content, rng)? / BLOCK * BLOCK;
                    let to = (from + BLOCK).min(len);
                    let mut now = vec![0; at(to - from)];
                    content.copy(from, &mut now);
                    let other = now.iter().filter(|b| **b != 0).count() as u64;
                    (other > 0).then_some((from, to, other))
                })?;
                content.clear(from, to);
                (from, to, bytes)
            }
            Damage::Truncate => {
                let left = rng.below(len);
                content.clear(left, len);
                content.len = left;
                self.lengths.insert(inode, left);
                (left, len, len - left)
            }
            Damage::Delete => {
                self.names.remove(&file);
                self.durable_names.remove(&file);
                self.sweep();
                (0, len, len)
            }
        };
        Some(Region {
            file,
            from,
            to,
            gone: !inside,
            bytes,
        })
    }

    fn carry_out(&mut self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Create { file, len } => {
                if self.names.contains_key(file) {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        format!("{file}: exists already"),
                    ));
                }
                let inode = self.next_inode;
                self.next_inode += 1;
                self.names.insert(file.clone(), inode);
                self.lengths.insert(inode, *len);
                let name = file.clone();
                self.unsynced.push(Change::Link { name, inode });
                self.unsynced.push(Change::Fill { inode, len: *len });
            }
            DiskOp::Write { file, offset, data } => {
                let (inode, len) = self.inode(file)?;
                let end = offset.checked_add(data.len() as u64);
                if end.is_none_or(|end| end > len) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!("{op}: leaves the file, which has {len} bytes"),
                    ));
                }
                let (offset, data) = (*offset, data.clone());
                self.data(
                    inode,
                    Change::Data {
                        inode,
                        offset,
                        data,
                    },
                );
            }
            DiskOp::Sync { file } => {
                let (inode, _) = self.inode(file)?;
                let names_too = self.model == Persistence::Ext4Ordered;
                self.commit(|change| match change.data_of() {
                    Some(of) => of == inode,
                    None => names_too,
                });
            }
            DiskOp::SyncDir => self.commit(|change| change.data_of().is_none()),
            DiskOp::Rename { from, to } => {
                let (inode, _) = self.inode(from)?;
                self.names.remove(from);
                self.names.insert(to.clone(), inode);
                let (from, to) = (from.clone(), to.clone());
                self.unsynced.push(Change::Rename { from, to, inode });
            }
            DiskOp::Remove { file } => {
                self.inode(file)?;
                self.names.remove(file);
                let name = file.clone();
                self.unsynced.push(Change::Unlink { name });
            }
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        for trouble in 0..self.troubles.len() {
            if self.troubles[trouble].may_fail(op)
                && let Some(how) = self.strike(trouble, op)
            {
                return Err(failure(how));
            }
        }
        self.carry_out(op)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        let length = |inode| self.lengths.get(inode).copied().unwrap_or(0);
        let names = self.names.iter();
        Ok(names.map(|(n, inode)| (n.clone(), length(inode))).collect())
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let (inode, length) = self.inode(file)?;
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| end > length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        if let Some(content) = self.durable.get(&inode) {
            content.copy(offset, &mut bytes);
        }
        if let Some(content) = self.stale.get(&inode) {
            content.copy(offset, &mut bytes);
        }
        for change in &self.unsynced {
            if let Change::Data {
                inode: of,
                offset: start,
                data,
            } = change
                && *of == inode
            {
                copy_part(*start, data, offset, &mut bytes);
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
