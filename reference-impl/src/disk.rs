//! One directory of flat files, and every change to it as data.
//!
//! The store never touches a file itself: it answers with [`DiskOp`]s and the
//! host executes them one after another. A real host does so on a thread with
//! [`FsDisk`]; a simulator gives each operation a virtual completion time, so
//! that a crash can fall between any two of them. [`MemDisk`] keeps what is
//! volatile apart from what is durable and draws the state after a power cut
//! from the set that the stated [`Persistence`] model allows.

mod fs;
mod mem;
mod view;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use fs::FsDisk;
pub use mem::{Crash, MemDisk, Persistence};
pub use view::FsView;

/// Longest accepted [`FileName`], in bytes.
pub const MAX_FILE_NAME: usize = 64;

/// The name of a file in the directory: 1 to 64 bytes of `a-z`, `0-9`, `.` and
/// `-`, not beginning with a dot. It can therefore never leave the directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty, too long, begins with a dot or
    /// holds another byte than the allowed ones.
    pub fn new(name: &str) -> io::Result<Self> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        if name.is_empty()
            || name.len() > MAX_FILE_NAME
            || name.starts_with('.')
            || !name.bytes().all(allowed)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "file name {name:?}: expected 1 to {MAX_FILE_NAME} of a-z 0-9 . - and no leading dot"
                ),
            ));
        }
        Ok(Self(name.into()))
    }

    /// For names that the store builds itself from allowed bytes.
    pub(crate) fn built(name: &str) -> Self {
        debug_assert!(Self::new(name).is_ok(), "{name:?}");
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One operation on the directory. Nothing but [`DiskOp::Sync`] and
/// [`DiskOp::SyncDir`] promises that anything outlives a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Create a file of `len` zero bytes, its blocks allocated; it must not
    /// exist yet.
    Create {
        /// The file to create.
        file: FileName,
        /// Its length, in bytes; it never changes afterwards.
        len: u64,
    },
    /// Overwrite bytes within a file; never beyond its end.
    Write {
        /// The file to write to.
        file: FileName,
        /// Where the first byte goes.
        offset: u64,
        /// What goes there.
        data: Bytes,
    },
    /// Make the file's content durable (fdatasync).
    Sync {
        /// The file to sync.
        file: FileName,
    },
    /// Make the names created, renamed and removed so far durable.
    SyncDir,
    /// Rename a file, replacing `to` if it exists, atomically.
    Rename {
        /// The present name.
        from: FileName,
        /// The name it gets.
        to: FileName,
    },
    /// Remove a file.
    Remove {
        /// The file to remove.
        file: FileName,
    },
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { file, len } => write!(f, "create {file}, {len} bytes"),
            Self::Write { file, offset, data } => {
                write!(f, "write {} bytes at {offset} of {file}", data.len())
            }
            Self::Sync { file } => write!(f, "sync {file}"),
            Self::SyncDir => f.write_str("sync the directory"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Remove { file } => write!(f, "remove {file}"),
        }
    }
}

/// A directory of flat files. All calls block until done.
///
/// A host that gets an error from [`Disk::apply`] must not execute the
/// operations that follow in the same batch.
pub trait Disk {
    /// Executes one operation.
    ///
    /// # Errors
    /// Whatever the medium says; `NotFound` and `AlreadyExists` as usual;
    /// `InvalidInput` for a write beyond the end of the file.
    fn apply(&mut self, op: &DiskOp) -> io::Result<()>;

    /// Names and lengths of all files, in byte order of the names. Files whose
    /// names are no [`FileName`] are not listed.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn list(&self) -> io::Result<Vec<(FileName, u64)>>;

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// `NotFound`; `UnexpectedEof` when the file ends before; whatever the
    /// medium says.
    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// The error for a write that leaves the file, the same on every disk.
fn beyond_end(op: &DiskOp, len: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{op}: leaves the file, which has {len} bytes"),
    )
}

/// Whether `[offset, offset + len)` lies within a file of `file_len` bytes.
fn within(offset: u64, len: usize, file_len: u64) -> bool {
    offset
        .checked_add(len as u64)
        .is_some_and(|end| end <= file_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            ".lock",
            "A",
            "a b",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["mark", "segment-0000000000000001.log", &"a".repeat(64)] {
            assert_eq!(FileName::new(good).unwrap().as_str(), good);
        }
    }
}
