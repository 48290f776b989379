//! A directory that is only looked at.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::fs::LOCK_FILE;
use super::{Disk, DiskOp, FileName, within};

/// A directory on a real file system of which nothing is ever changed. A store
/// that a process has open is refused: what is being written now would look
/// like damage.
#[derive(Debug)]
pub struct FsView {
    dir: PathBuf,
    /// Holds a shared lock, so that no node begins to write meanwhile.
    _lock: Option<File>,
}

impl FsView {
    /// Opens a directory.
    ///
    /// # Errors
    /// `WouldBlock` when a process has the store open, `NotADirectory`, and
    /// what the file system says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        if !fs::metadata(dir)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let lock = match OpenOptions::new().read(true).open(dir.join(LOCK_FILE)) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(lock) = &lock {
            match lock.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        "a running process has this store open; stop it first",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }
}

impl Disk for FsView {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            format!("{op}: this directory is only looked at"),
        ))
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        super::fs::list(&self.dir)
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let handle = File::open(self.dir.join(file.as_str()))?;
        if !within(offset, len, handle.metadata()?.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut data = vec![0; len];
        handle.read_exact_at(&mut data, offset)?;
        Ok(data)
    }
}
