//! The simulated disk under a node.
//!
//! What it models: a directory on a file system of the kind `ext4-ordered`.
//! A sync of any file or of the directory commits every earlier name
//! operation, and a file's sync its data; names reach the medium in order and
//! never before their file exists; un-synced data may be there in any
//! sectors, or the file may have length zero. What it does not: a medium that
//! lies about a sync, or damage at rest.
//!
//! Effect witness of a power cut: `dropped`, with the number of un-synced
//! operations that did not survive whole; 0 proves nothing. Removal proof:
//! none, what is gone is gone.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use mailproof_model::rng::Rng;
use mailproof_node::disk::{Disk, DiskOp, FileName};

/// Data reaches the medium in pieces of this many bytes.
const SECTOR: u64 = 512;

/// Un-synced operations on the data of one file that are kept apart. The
/// kernel may write back whenever it likes; here it does when there are more.
const KEPT: usize = 8;

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
        self.extents.insert(offset, data.clone());
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
}

type Names = BTreeMap<FileName, u64>;

/// One disk. See the module.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    /// Names as the node sees them, and lengths of files as it sees them.
    names: Names,
    lengths: BTreeMap<u64, u64>,
    durable_names: Names,
    durable: BTreeMap<u64, Content>,
    unsynced: Vec<Change>,
    next_inode: u64,
}

impl SimDisk {
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
        self.names = self.durable_names.clone();
        self.lengths = self.durable.iter().map(|(i, c)| (*i, c.len)).collect();
        self.sweep();
        total - survived
    }

    /// Removes everything, as when the disk is lost.
    pub fn wipe(&mut self) {
        *self = Self {
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
                    if names_kept > 0 {
                        names_kept -= 1;
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
        let pending: Vec<u64> = self.unsynced.iter().filter_map(Change::data_of).collect();
        let named = |inode: &u64| {
            names.values().chain(durable.values()).any(|i| i == inode) || pending.contains(inode)
        };
        self.durable.retain(|inode, _| named(inode));
        self.lengths
            .retain(|inode, _| names.values().any(|i| i == inode));
    }

    fn data(&mut self, inode: u64, change: Change) {
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

impl Disk for SimDisk {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
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
                self.commit(|change| change.data_of().is_none_or(|of| of == inode));
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
    use std::collections::BTreeSet;

    use mailproof_node::disk::{MemDisk, Persistence};

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
            let mut theirs = MemDisk::new(Persistence::Ext4Ordered);
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
}
