//! A directory in memory that can lose power.
//!
//! Models: what a power cut may leave of a directory, at the level of names,
//! file data in 512-byte sectors, and torn sectors. Does not model: a medium
//! that lies about a sync, or damage to data at rest other than by
//! [`MemDisk::flip`] and its like.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::{Disk, DiskOp, FileName, beyond_end, within};

/// Data reaches the medium in pieces of this many bytes.
const SECTOR: u64 = 512;

/// Which rules a power cut follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persistence {
    /// A sync of any file or of the directory commits every earlier name
    /// operation, and names reach the medium in order; un-synced data of a new
    /// file may be zero-length.
    Ext4Ordered,
    /// Only what was asked: a file's sync commits its data alone, the
    /// directory's sync its names alone; names may reach the medium in any
    /// order.
    Posix,
}

/// Which of the legal states a power cut leaves. What was synced stays under
/// each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// Nothing that was not synced.
    DropAll,
    /// All names, but no un-synced data: files that were never synced have
    /// length zero.
    NamesOnly,
    /// The first `n` un-synced operations, whole and in order. (When only the
    /// process dies nothing is lost *and* nothing becomes durable: that is no
    /// crash of the disk; simply open it again.)
    Prefix(usize),
    /// Any sectors and as many names as the model allows, drawn by the seed;
    /// some sectors torn within.
    Subset(u64),
}

/// An operation that no sync has covered yet. A created file is a name and,
/// apart from it, data: its zero fill.
#[derive(Clone, Debug)]
enum Unsynced {
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
    Fill {
        inode: u64,
        len: u64,
    },
    Data {
        inode: u64,
        offset: u64,
        data: Vec<u8>,
    },
}

impl Unsynced {
    fn data_of(&self) -> Option<u64> {
        match self {
            Self::Fill { inode, .. } | Self::Data { inode, .. } => Some(*inode),
            Self::Link { .. } | Self::Rename { .. } | Self::Unlink { .. } => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Image {
    names: BTreeMap<FileName, u64>,
    /// Shared between images and clones until one of them changes it.
    inodes: BTreeMap<u64, Arc<Vec<u8>>>,
}

impl Image {
    fn put(&mut self, inode: u64, offset: u64, data: &[u8]) {
        // Nothing written makes no file longer.
        if data.is_empty() {
            return;
        }
        let content = Arc::make_mut(self.inodes.entry(inode).or_default());
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(data.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(data);
    }

    fn take(&mut self, change: &Unsynced) {
        match change {
            Unsynced::Link { name, inode } => {
                self.inodes.entry(*inode).or_default();
                self.names.insert(name.clone(), *inode);
            }
            Unsynced::Rename { from, to, inode } => {
                self.inodes.entry(*inode).or_default();
                self.names.remove(from);
                self.names.insert(to.clone(), *inode);
            }
            Unsynced::Unlink { name } => {
                self.names.remove(name);
            }
            Unsynced::Fill { inode, len } => {
                let content = Arc::make_mut(self.inodes.entry(*inode).or_default());
                let len = usize::try_from(*len).unwrap_or(usize::MAX);
                if content.len() < len {
                    content.resize(len, 0);
                }
            }
            Unsynced::Data {
                inode,
                offset,
                data,
            } => self.put(*inode, *offset, data),
        }
    }

    /// Drops content that no name leads to.
    fn sweep(&mut self) {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    fn file(&self, name: &FileName) -> io::Result<(u64, &Vec<u8>)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such file"));
        let inode = *self.names.get(name).ok_or_else(missing)?;
        Ok((inode, self.inodes.get(&inode).ok_or_else(missing)?))
    }
}

/// A directory in memory, its volatile and its durable state apart.
#[derive(Clone, Debug)]
pub struct MemDisk {
    model: Persistence,
    volatile: Image,
    durable: Image,
    unsynced: Vec<Unsynced>,
    next_inode: u64,
}

impl MemDisk {
    /// An empty directory.
    #[must_use]
    pub fn new(model: Persistence) -> Self {
        Self {
            model,
            volatile: Image::default(),
            durable: Image::default(),
            unsynced: Vec::new(),
            next_inode: 0,
        }
    }

    /// How many operations a power cut could undo now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Cuts the power: the directory becomes one of the states that the model
    /// allows.
    pub fn crash(&mut self, choice: Crash) {
        let changes = std::mem::take(&mut self.unsynced);
        match choice {
            Crash::DropAll => {}
            Crash::NamesOnly => {
                for change in changes.iter().filter(|c| c.data_of().is_none()) {
                    self.durable.take(change);
                }
            }
            Crash::Prefix(n) => {
                for change in changes.iter().take(n) {
                    self.durable.take(change);
                }
            }
            Crash::Subset(seed) => self.draw(&changes, seed),
        }
        self.durable.sweep();
        self.volatile = self.durable.clone();
    }

    fn draw(&mut self, changes: &[Unsynced], seed: u64) {
        let mut dice = Dice(seed);
        // Mostly kept, mostly lost and even odds find different mistakes.
        let keep = [1, 4, 7][usize::try_from(dice.below(3)).unwrap_or(0)];
        let names = changes.iter().filter(|c| c.data_of().is_none()).count() as u64;
        let mut names_in_order = dice.below(names + 1);
        for change in changes {
            match change {
                Unsynced::Data {
                    inode,
                    offset,
                    data,
                } => {
                    let mut at = 0;
                    while at < data.len() {
                        let to_boundary = SECTOR - (offset + at as u64) % SECTOR;
                        let piece = usize::try_from(to_boundary)
                            .unwrap_or(data.len())
                            .min(data.len() - at);
                        if dice.below(8) < keep {
                            let torn = dice.below(16) == 0;
                            let kept = if torn {
                                usize::try_from(dice.below(piece as u64 + 1)).unwrap_or(0)
                            } else {
                                piece
                            };
                            self.durable
                                .put(*inode, offset + at as u64, &data[at..at + kept]);
                        }
                        at += piece;
                    }
                }
                Unsynced::Fill { .. } => {
                    if dice.below(8) < keep {
                        self.durable.take(change);
                    }
                }
                Unsynced::Link { .. } | Unsynced::Rename { .. } | Unsynced::Unlink { .. } => {
                    let kept = match self.model {
                        Persistence::Ext4Ordered => {
                            let kept = names_in_order > 0;
                            names_in_order = names_in_order.saturating_sub(1);
                            kept
                        }
                        Persistence::Posix => dice.below(8) < keep,
                    };
                    if kept {
                        self.durable.take(change);
                    }
                }
            }
        }
    }

    /// A sync of one file that fails, as Linux does it: any sectors of its
    /// un-synced data may have reached the medium, the rest never will, and all
    /// of it stays visible and counts as clean. Answers whether the file had
    /// un-synced data.
    pub fn fail_sync(&mut self, file: &FileName, seed: u64) -> bool {
        let Some(inode) = self.volatile.names.get(file).copied() else {
            return false;
        };
        let (dirty, rest) = self
            .unsynced
            .drain(..)
            .partition(|c| matches!(c, Unsynced::Data { inode: of, .. } if *of == inode));
        self.unsynced = rest;
        let dirty: Vec<Unsynced> = dirty;
        self.draw(&dirty, seed);
        !dirty.is_empty()
    }

    /// Memory is needed for something else: what is visible is from now on what
    /// is on the medium or still to be written.
    pub fn evict(&mut self) {
        self.volatile = self.durable.clone();
        for change in &self.unsynced {
            self.volatile.take(change);
        }
    }

    /// What a failed sync may do: the un-synced changes stay visible, but are
    /// taken for written and will never reach the medium.
    pub fn forget_unsynced(&mut self) {
        self.unsynced.clear();
    }

    /// Damages data at rest: flips the bits of `mask` in one byte. Answers
    /// whether the file has such a byte.
    pub fn flip(&mut self, file: &FileName, offset: u64, mask: u8) -> bool {
        self.damage(file, |content| {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            match content.get_mut(at) {
                Some(byte) => {
                    *byte ^= mask;
                    true
                }
                None => false,
            }
        })
    }

    /// Damages data at rest: zeroes `len` bytes. Answers whether the file has
    /// them.
    pub fn zero(&mut self, file: &FileName, offset: u64, len: u64) -> bool {
        self.damage(file, |content| {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX);
            match content.get_mut(at..end) {
                Some(bytes) => {
                    bytes.fill(0);
                    true
                }
                None => false,
            }
        })
    }

    /// Damages data at rest: cuts the file to `len` bytes. Answers whether it
    /// was longer.
    pub fn truncate(&mut self, file: &FileName, len: u64) -> bool {
        self.damage(file, |content| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let longer = content.len() > len;
            content.truncate(len);
            longer
        })
    }

    /// Damages data at rest: the file is gone. Answers whether it was there.
    pub fn delete(&mut self, file: &FileName) -> bool {
        self.durable.names.remove(file);
        self.volatile.names.remove(file).is_some()
    }

    /// Changes a file beneath the store, in both states alike.
    fn damage(&mut self, file: &FileName, change: impl Fn(&mut Vec<u8>) -> bool) -> bool {
        let mut done = false;
        for image in [&mut self.durable, &mut self.volatile] {
            if let Some(content) = image
                .names
                .get(file)
                .and_then(|inode| image.inodes.get_mut(inode))
            {
                done = change(Arc::make_mut(content));
            }
        }
        done
    }

    fn change(&mut self, change: Unsynced) {
        self.volatile.take(&change);
        self.unsynced.push(change);
    }

    /// Moves the un-synced changes that `covered` names to the durable state.
    fn commit(&mut self, covered: impl Fn(&Unsynced) -> bool) {
        let mut left = Vec::new();
        for change in self.unsynced.drain(..) {
            if covered(&change) {
                self.durable.take(&change);
            } else {
                left.push(change);
            }
        }
        self.unsynced = left;
    }
}

impl Disk for MemDisk {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Create { file, len } => {
                if self.volatile.names.contains_key(file) {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        format!("{file}: exists already"),
                    ));
                }
                let inode = self.next_inode;
                self.next_inode += 1;
                let name = file.clone();
                self.change(Unsynced::Link { name, inode });
                self.change(Unsynced::Fill { inode, len: *len });
            }
            DiskOp::Write { file, offset, data } => {
                let (inode, content) = self.volatile.file(file)?;
                let len = content.len() as u64;
                if !within(*offset, data.len(), len) {
                    return Err(beyond_end(op, len));
                }
                self.change(Unsynced::Data {
                    inode,
                    offset: *offset,
                    data: data.to_vec(),
                });
            }
            DiskOp::Sync { file } => {
                let (inode, _) = self.volatile.file(file)?;
                let names_too = self.model == Persistence::Ext4Ordered;
                self.commit(|change| match change.data_of() {
                    Some(of) => of == inode,
                    None => names_too,
                });
            }
            DiskOp::SyncDir => {
                self.commit(|change| change.data_of().is_none());
                self.durable.sweep();
                self.volatile.sweep();
            }
            DiskOp::Rename { from, to } => {
                let (inode, _) = self.volatile.file(from)?;
                let (from, to) = (from.clone(), to.clone());
                self.change(Unsynced::Rename { from, to, inode });
            }
            DiskOp::Remove { file } => {
                self.volatile.file(file)?;
                let name = file.clone();
                self.change(Unsynced::Unlink { name });
            }
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        let length = |inode| {
            self.volatile
                .inodes
                .get(inode)
                .map_or(0, |content| content.len()) as u64
        };
        let names = self.volatile.names.iter();
        Ok(names.map(|(n, inode)| (n.clone(), length(inode))).collect())
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let (_, content) = self.volatile.file(file)?;
        if !within(offset, len, content.len() as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(content[start..start + len].to_vec())
    }
}

/// splitmix64: enough to draw a state, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    fn create(file: &str) -> DiskOp {
        DiskOp::Create {
            file: name(file),
            len: 1024,
        }
    }

    fn write(file: &str, fill: u8) -> DiskOp {
        DiskOp::Write {
            file: name(file),
            offset: 0,
            data: Bytes::from(vec![fill; 1024]),
        }
    }

    fn sync(file: &str) -> DiskOp {
        DiskOp::Sync { file: name(file) }
    }

    fn disk(model: Persistence, ops: &[DiskOp]) -> MemDisk {
        let mut disk = MemDisk::new(model);
        for op in ops {
            disk.apply(op).unwrap();
        }
        disk
    }

    #[test]
    fn the_models_differ_in_what_a_file_sync_does_to_names() {
        let ops = [create("a"), sync("a")];
        let mut ext4 = disk(Persistence::Ext4Ordered, &ops);
        ext4.crash(Crash::DropAll);
        assert_eq!(ext4.list().unwrap(), [(name("a"), 1024)]);
        let mut posix = disk(Persistence::Posix, &ops);
        posix.crash(Crash::DropAll);
        assert_eq!(posix.list().unwrap(), []);
    }

    #[test]
    fn a_name_without_its_sync_may_have_no_data() {
        for model in [Persistence::Ext4Ordered, Persistence::Posix] {
            let mut disk = disk(model, &[create("a"), write("a", 7), DiskOp::SyncDir]);
            disk.crash(Crash::NamesOnly);
            assert_eq!(disk.list().unwrap(), [(name("a"), 0)]);
        }
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_can_be_any_sectors() {
        let ops = [
            create("a"),
            write("a", 1),
            sync("a"),
            DiskOp::SyncDir,
            write("a", 2),
        ];
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut disk = disk(Persistence::Posix, &ops);
            disk.crash(Crash::Subset(seed));
            let data = disk.read(&name("a"), 0, 1024).unwrap();
            assert!(data.iter().all(|b| matches!(b, 1 | 2)));
            seen.insert((data[0], data[1023]));
        }
        // The later sector without the earlier one is among them.
        assert_eq!(seen, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
    }

    #[test]
    fn names_keep_their_order_in_ext4_and_need_not_in_posix() {
        let ops = [create("a"), create("b")];
        let orphan = |model| {
            (0..200).any(|seed| {
                let mut disk = disk(model, &ops);
                disk.crash(Crash::Subset(seed));
                let names: Vec<_> = disk.list().unwrap().into_iter().map(|f| f.0).collect();
                names == [name("b")]
            })
        };
        assert!(!orphan(Persistence::Ext4Ordered));
        assert!(orphan(Persistence::Posix));
    }

    #[test]
    fn an_undone_rename_brings_the_replaced_file_back() {
        let rename = DiskOp::Rename {
            from: name("a"),
            to: name("b"),
        };
        let ops = [
            create("a"),
            write("a", 1),
            create("b"),
            write("b", 2),
            sync("a"),
            sync("b"),
            DiskOp::SyncDir,
            rename,
        ];
        let mut disk = disk(Persistence::Posix, &ops);
        assert_eq!(disk.read(&name("b"), 0, 1).unwrap(), [1]);
        disk.crash(Crash::DropAll);
        assert_eq!(disk.read(&name("b"), 0, 1).unwrap(), [2]);
        assert_eq!(disk.read(&name("a"), 0, 1).unwrap(), [1]);
    }
}
