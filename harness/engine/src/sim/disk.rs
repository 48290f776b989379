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
mod tests {
    use mailproof_node::disk::{MemDisk, Persistence as Model};

    use super::*;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    fn write(file: &str, offset: u64, fill: u8, len: usize) -> DiskOp {
        DiskOp::Write {
            file: name(file),
            offset,
            data: Bytes::from(vec![fill; len]),
        }
    }

    fn create(file: &str) -> DiskOp {
        DiskOp::Create {
            file: name(file),
            len: 4096,
        }
    }

    fn sync(file: &str) -> DiskOp {
        DiskOp::Sync { file: name(file) }
    }

    /// Random operations, the same on this disk and on the node's own model:
    /// as long as nothing crashes both must read the same.
    #[test]
    fn without_a_cut_it_is_a_plain_directory() {
        for seed in 0..40 {
            let mut rng = Rng::keyed(seed, "disk", 0);
            let mut ours = SimDisk::default();
            let mut theirs = MemDisk::new(Model::Ext4Ordered);
            let files = ["a", "b", "c"];
            for _ in 0..200 {
                let file = files[at(rng.below(3))];
                let op = match rng.below(8) {
                    0 => create(file),
                    1 => DiskOp::Remove { file: name(file) },
                    2 => DiskOp::Rename {
                        from: name(file),
                        to: name(files[at(rng.below(3))]),
                    },
                    3 => sync(file),
                    4 => DiskOp::SyncDir,
                    _ => write(
                        file,
                        rng.below(4000),
                        u8::try_from(rng.below(256)).unwrap(),
                        at(rng.below(300)),
                    ),
                };
                assert_eq!(
                    ours.apply(&op).map_err(|e| e.kind()),
                    theirs.apply(&op).map_err(|e| e.kind()),
                    "{op}"
                );
                assert_eq!(ours.list().unwrap(), theirs.list().unwrap());
                for (file, len) in ours.list().unwrap() {
                    assert_eq!(
                        ours.read(&file, 0, at(len)).unwrap(),
                        theirs.read(&file, 0, at(len)).unwrap()
                    );
                }
            }
        }
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_counted() {
        let mut seen = BTreeSet::new();
        let mut counts = BTreeSet::new();
        for seed in 0..400 {
            let mut disk = SimDisk::default();
            for op in [
                create("a"),
                write("a", 0, 1, 1024),
                sync("a"),
                write("a", 0, 2, 1024),
                create("b"),
            ] {
                disk.apply(&op).unwrap();
            }
            assert_eq!(disk.unsynced(), 3);
            let dropped = disk.cut(&mut Rng::keyed(seed, "cut", 0));
            let a = disk.read(&name("a"), 0, 4096).unwrap();
            assert!(a[..1024].iter().all(|b| matches!(b, 1 | 2)));
            assert!(a[1024..].iter().all(|b| *b == 0));
            let b = disk
                .list()
                .unwrap()
                .into_iter()
                .find(|(n, _)| *n == name("b"));
            let whole = a[..1024].iter().all(|b| *b == 2);
            let state = (a[0], a[1023], b.as_ref().map(|(_, len)| *len));
            seen.insert(state);
            if dropped == 0 {
                assert!(whole && state.2 == Some(4096), "{state:?}");
            }
            if !whole {
                assert!(dropped > 0);
            }
            counts.insert(dropped);
            assert_eq!(disk.unsynced(), 0);
        }
        // Later sectors without earlier ones, names with and without data.
        for state in [
            (1, 1, None),
            (2, 2, Some(4096)),
            (1, 2, None),
            (1, 1, Some(0)),
        ] {
            assert!(seen.contains(&state), "{state:?} in {seen:?}");
        }
        assert_eq!(counts, (0..=3).collect());
    }

    #[test]
    fn names_stay_in_order() {
        for seed in 0..200 {
            let mut disk = SimDisk::default();
            disk.apply(&create("a")).unwrap();
            disk.apply(&create("b")).unwrap();
            disk.cut(&mut Rng::keyed(seed, "cut", 0));
            let names: Vec<_> = disk.list().unwrap().into_iter().map(|f| f.0).collect();
            assert_ne!(names, [name("b")]);
        }
    }

    #[test]
    fn a_file_that_nobody_syncs_does_not_grow_the_list() {
        let mut disk = SimDisk::default();
        disk.apply(&create("mark")).unwrap();
        for i in 0..1000 {
            disk.apply(&write("mark", 0, u8::try_from(i % 256).unwrap(), 64))
                .unwrap();
        }
        assert!(disk.unsynced() <= KEPT as u64 + 2);
        assert_eq!(disk.read(&name("mark"), 0, 1).unwrap(), [231]);
    }

    /// What can be told apart: names, lengths in sectors, and how each sector
    /// begins.
    fn state(disk: &dyn Disk) -> Vec<(FileName, u64, Vec<u8>)> {
        let files = disk.list().unwrap().into_iter();
        files
            .map(|(file, len)| {
                let data = disk.read(&file, 0, at(len)).unwrap();
                let sectors = data.iter().step_by(at(SECTOR)).copied().collect();
                (file, len.div_ceil(SECTOR), sectors)
            })
            .collect()
    }

    /// A few operations on two files of two sectors.
    fn some(rng: &mut Rng) -> Vec<DiskOp> {
        let files = ["a", "b"];
        (0..6)
            .map(|n| {
                let file = files[at(rng.below(2))];
                match rng.below(9) {
                    0 => DiskOp::Remove { file: name(file) },
                    1 | 2 => DiskOp::Rename {
                        from: name(file),
                        to: name(files[at(rng.below(2))]),
                    },
                    3 | 4 => sync(file),
                    5 => DiskOp::SyncDir,
                    6 => DiskOp::Create {
                        file: name(file),
                        len: 2 * SECTOR,
                    },
                    _ => write(file, SECTOR * rng.below(2), n + 1, at(SECTOR)),
                }
            })
            .collect()
    }

    const MODELS: [(Persistence, Model); 2] = [
        (Persistence::Ext4Ordered, Model::Ext4Ordered),
        (Persistence::Posix, Model::Posix),
    ];

    /// The states that a power cut can leave are the same by this model of a
    /// disk and by the node's own, which was written apart from it.
    #[test]
    fn both_models_of_a_disk_allow_the_same_states_after_a_cut() {
        use mailproof_node::disk::Crash;

        let mut most = 0;
        let mut differ = 0;
        for seed in 0..60 {
            let mut rng = Rng::keyed(seed, "states", 0);
            let mut ops = vec![create_small("a")];
            ops.extend(some(&mut rng));
            let mut of_model = Vec::new();
            for (ours_model, theirs_model) in MODELS {
                let mut ours = SimDisk::new(ours_model);
                let mut theirs = MemDisk::new(theirs_model);
                for op in &ops {
                    assert_eq!(ours.apply(op).is_ok(), theirs.apply(op).is_ok(), "{op}");
                }
                assert_eq!(ours.unsynced(), theirs.unsynced() as u64);
                // Few enough for every state to be drawn.
                if ours.unsynced() > 5 {
                    continue;
                }
                let mut allowed = BTreeSet::new();
                for n in 0..12_000 {
                    let mut disk = ours.clone();
                    disk.cut(&mut Rng::keyed(n, "cut", 0));
                    allowed.insert(state(&disk));
                }
                let mut known = BTreeSet::new();
                let prefixes = (0..theirs.unsynced()).map(Crash::Prefix);
                let drawn = (0..12_000).map(Crash::Subset);
                for crash in prefixes
                    .chain(drawn)
                    .chain([Crash::DropAll, Crash::NamesOnly])
                {
                    let mut disk = theirs.clone();
                    disk.crash(crash);
                    known.insert(state(&disk));
                }
                most = most.max(known.len());
                assert_eq!(allowed, known, "{ours_model:?} {ops:?}");
                of_model.push(known);
            }
            differ += usize::from(of_model.len() == 2 && of_model[0] != of_model[1]);
        }
        // The test would be empty if nothing could be lost.
        assert!(most > 8, "{most}");
        assert!(differ > 3, "{differ}");
    }

    fn create_small(file: &str) -> DiskOp {
        DiskOp::Create {
            file: name(file),
            len: 2 * SECTOR,
        }
    }

    fn trouble(act: DiskAct, seed: u64) -> Trouble {
        Trouble {
            fault: 0,
            once: act.hits_one(),
            act,
            slow: 0,
            rng: Rng::keyed(seed, "trouble", 0),
        }
    }

    /// A failed sync leaves the same states by both models: what can be read
    /// until memory is needed, what can be read then, what the next sync and a
    /// power cut leave.
    #[test]
    fn both_models_of_a_disk_fail_a_sync_alike() {
        let before = [
            create_small("a"),
            write("a", 0, 1, 1024),
            sync("a"),
            DiskOp::SyncDir,
            write("a", 0, 2, 512),
            write("a", 512, 3, 512),
        ];
        let mut sets: Vec<[BTreeSet<_>; 3]> = Vec::new();
        let mut ours = std::array::from_fn(|_| BTreeSet::new());
        let mut theirs = std::array::from_fn(|_| BTreeSet::new());
        for seed in 0..400 {
            let mut disk = SimDisk::default();
            for op in &before {
                disk.apply(op).unwrap();
            }
            disk.troubles.push(trouble(DiskAct::SyncError, seed));
            let error = disk.apply(&sync("a")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5));
            assert!(disk.harms[0].amount > 0);
            assert!(disk.troubles.is_empty());
            ours[0].insert(state(&disk));
            // It succeeds now, and that is worth nothing.
            disk.apply(&sync("a")).unwrap();
            let mut evicted = disk.clone();
            evicted.evict();
            ours[1].insert(state(&evicted));
            assert_eq!(disk.cut(&mut Rng::keyed(seed, "cut", 0)), 0);
            ours[2].insert(state(&disk));
        }
        for seed in 0..400 {
            let mut disk = MemDisk::new(Model::Ext4Ordered);
            for op in &before {
                disk.apply(op).unwrap();
            }
            assert!(disk.fail_sync(&name("a"), seed));
            theirs[0].insert(state(&disk));
            disk.apply(&sync("a")).unwrap();
            let mut evicted = disk.clone();
            evicted.evict();
            theirs[1].insert(state(&evicted));
            disk.crash(mailproof_node::disk::Crash::DropAll);
            theirs[2].insert(state(&disk));
        }
        // A sync that fails although all was written is no such fault here.
        let whole = vec![(name("a"), 2, vec![2, 3])];
        assert!(theirs[1].remove(&whole) && theirs[2].remove(&whole));
        sets.push(ours);
        sets.push(theirs);
        assert_eq!(sets[0], sets[1]);
        assert_eq!(sets[0][0], BTreeSet::from([whole]));
        assert_eq!(sets[0][2].len(), 3);
    }

    #[test]
    fn what_is_written_after_a_failed_sync_is_written() {
        let mut disk = SimDisk::default();
        for op in [create_small("a"), write("a", 0, 1, 1024)] {
            disk.apply(&op).unwrap();
        }
        disk.troubles.push(trouble(DiskAct::SyncError, 1));
        disk.apply(&sync("a")).unwrap_err();
        disk.apply(&write("a", 100, 2, 300)).unwrap();
        disk.apply(&sync("a")).unwrap();
        let read = |disk: &SimDisk| disk.read(&name("a"), 0, 1024).unwrap();
        assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
        assert!(read(&disk)[400..].iter().all(|b| *b == 1));
        disk.evict();
        assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
        disk.cut(&mut Rng::keyed(1, "cut", 0));
        assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
    }

    #[test]
    fn operations_fail_as_their_fault_says() {
        for (act, op, code) in [
            (DiskAct::Error, sync("a"), 5),
            (DiskAct::Error, write("a", 0, 9, 10), 5),
            (DiskAct::Full, create_small("b"), 28),
            (DiskAct::ReadOnly, DiskOp::SyncDir, 30),
            (DiskAct::ReadOnly, write("a", 0, 9, 10), 30),
        ] {
            let mut disk = SimDisk::default();
            disk.apply(&create_small("a")).unwrap();
            let (left, before) = (disk.unsynced(), state(&disk));
            disk.troubles.push(trouble(act.clone(), 1));
            let error = disk.apply(&op).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(code), "{op}");
            // It was not carried out.
            assert_eq!((disk.unsynced(), state(&disk)), (left, before));
            assert_eq!(disk.apply(&op).is_ok(), act.hits_one(), "{op}");
        }
        let mut disk = SimDisk::default();
        disk.apply(&create_small("a")).unwrap();
        disk.troubles.push(trouble(DiskAct::Full, 1));
        disk.apply(&write("a", 0, 9, 10)).unwrap();
    }

    #[test]
    fn a_torn_write_is_there_in_part() {
        let mut kept = BTreeSet::new();
        for seed in 0..200 {
            let mut disk = SimDisk::default();
            for op in [create("a"), sync("a")] {
                disk.apply(&op).unwrap();
            }
            disk.troubles.push(trouble(DiskAct::Torn, seed));
            disk.apply(&write("a", 0, 7, 2048)).unwrap_err();
            let amount = disk.harms[0].amount;
            disk.cut(&mut Rng::keyed(seed, "cut", 0));
            let data = disk.read(&name("a"), 0, 4096).unwrap();
            let there = data.iter().filter(|b| **b == 7).count() as u64;
            assert!(there == amount && (1..2048).contains(&there), "{there}");
            kept.insert((data[0] == 7, there.is_multiple_of(SECTOR)));
        }
        assert_eq!(kept.len(), 4);
    }

    #[test]
    fn damage_changes_what_it_says() {
        for how in [
            Damage::FlipBit,
            Damage::ZeroBlock,
            Damage::Truncate,
            Damage::Delete,
        ] {
            for seed in 0..100 {
                let mut disk = SimDisk::default();
                for op in [
                    create("a"),
                    write("a", 700, 7, 600),
                    create("b"),
                    write("b", 0, 8, 4096),
                    sync("a"),
                ] {
                    disk.apply(&op).unwrap();
                }
                let whole = |disk: &SimDisk| {
                    let mut all = BTreeMap::new();
                    for (file, len) in disk.list().unwrap() {
                        all.insert(file.clone(), disk.read(&file, 0, at(len)).unwrap());
                    }
                    all
                };
                let before = whole(&disk);
                let region = disk
                    .damage(how, &mut Rng::keyed(seed, "damage", 0))
                    .unwrap();
                let after = whole(&disk);
                let old = &before[&region.file];
                let empty = Vec::new();
                let new = after.get(&region.file).unwrap_or(&empty);
                let others = old
                    .iter()
                    .enumerate()
                    .filter(|(n, byte)| new.get(*n) != Some(byte))
                    .map(|(n, _)| n as u64)
                    .collect::<Vec<_>>();
                assert_eq!(others.len() as u64, region.bytes, "{how:?}");
                assert!(others.iter().all(|n| (region.from..region.to).contains(n)));
                assert!(region.bytes > 0);
                assert_eq!(after.contains_key(&region.file), how != Damage::Delete);
                // No power cut brings it back.
                disk.cut(&mut Rng::keyed(seed, "cut", 0));
                assert_eq!(whole(&disk), after);
            }
        }
        let mut empty = SimDisk::default();
        assert!(
            empty
                .damage(Damage::Delete, &mut Rng::keyed(1, "x", 0))
                .is_none()
        );
    }
}
