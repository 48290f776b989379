//! A directory of the host's file system.
//!
//! Files are zero-filled when they are created, so that later writes overwrite
//! allocated blocks and `fdatasync` need not commit the file's metadata.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Disk, DiskOp, FileName, beyond_end, within};

/// Name of the lock file. It begins with a dot, so it is no [`FileName`] and
/// is never listed.
pub(super) const LOCK_FILE: &str = ".lock";

/// How much is zero-filled at once when a file is created.
const FILL: usize = 256 * 1024;

/// A directory on a real file system, held under an exclusive lock for as long
/// as the value lives.
#[derive(Debug)]
pub struct FsDisk {
    dir: PathBuf,
    /// Kept open for `fsync` of the directory.
    dir_handle: File,
    /// Holds the lock; the kernel lets go of it when the process ends, however
    /// it ends.
    _lock: File,
    /// Files that are open for writing, with their lengths.
    open: BTreeMap<FileName, (File, u64)>,
}

impl FsDisk {
    /// Opens `dir`, creating it (durably) when it is missing, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` when another process or value holds the lock; otherwise
    /// what the file system says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        create_dir_durably(dir)?;
        let dir_handle = File::open(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!(
                        "{}: another process has this store open; stop it first or use another directory",
                        dir.display()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self {
            dir: dir.to_owned(),
            dir_handle,
            _lock: lock,
            open: BTreeMap::new(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, file: &FileName) -> PathBuf {
        self.dir.join(file.as_str())
    }

    /// The open handle and length of a file.
    fn handle(&mut self, file: &FileName) -> io::Result<&(File, u64)> {
        if !self.open.contains_key(file) {
            let handle = OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path(file))?;
            let len = handle.metadata()?.len();
            self.open.insert(file.clone(), (handle, len));
        }
        self.open
            .get(file)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn create(&mut self, file: &FileName, len: u64) -> io::Result<()> {
        let mut handle = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(file))?;
        let zeros = vec![0; FILL];
        let mut left = len;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(FILL).min(FILL);
            if let Err(error) = handle.write_all(&zeros[..now]) {
                // What there was of it is given back: others may need it.
                drop(handle);
                fs::remove_file(self.path(file))?;
                return Err(error);
            }
            left -= now as u64;
        }
        self.open.insert(file.clone(), (handle, len));
        Ok(())
    }
}

impl Disk for FsDisk {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Create { file, len } => self.create(file, *len),
            DiskOp::Write { file, offset, data } => {
                let (handle, len) = self.handle(file)?;
                if !within(*offset, data.len(), *len) {
                    return Err(beyond_end(op, *len));
                }
                handle.write_all_at(data, *offset)
            }
            DiskOp::Sync { file } => self.handle(file)?.0.sync_data(),
            DiskOp::SyncDir => self.dir_handle.sync_all(),
            DiskOp::Rename { from, to } => {
                fs::rename(self.path(from), self.path(to))?;
                self.open.remove(to);
                if let Some(handle) = self.open.remove(from) {
                    self.open.insert(to.clone(), handle);
                }
                Ok(())
            }
            DiskOp::Remove { file } => {
                fs::remove_file(self.path(file))?;
                self.open.remove(file);
                Ok(())
            }
        }
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        list(&self.dir)
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let opened;
        let (handle, file_len) = match self.open.get(file) {
            Some((handle, file_len)) => (handle, *file_len),
            None => {
                opened = File::open(self.path(file))?;
                let file_len = opened.metadata()?.len();
                (&opened, file_len)
            }
        };
        // Before the buffer is taken: a length from a damaged header must not
        // decide how much memory is asked for.
        if !within(offset, len, file_len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut data = vec![0; len];
        handle.read_exact_at(&mut data, offset)?;
        Ok(data)
    }
}

/// Names and lengths of the files of a directory, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(FileName, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(Ok(name)) = name.to_str().map(FileName::new) else {
            continue;
        };
        let meta = entry.metadata()?;
        if meta.is_file() {
            files.push((name, meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Creates a directory and what is missing above it; each new name is synced.
fn create_dir_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}
