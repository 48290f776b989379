//! The directory of a run: the history, the files beside it, and `run.json`,
//! which names every file with its digest and is written last.
//!
//! | `run.json` | history | the run is |
//! |---|---|---|
//! | there, all digests right | ends in the seal that `run.json` names | sealed |
//! | missing | a prefix of a history | unsealed |
//! | anything else | | altered |
//!
//! A harness that dies between the seal and `run.json` leaves a directory
//! that cannot be told from one whose `run.json` was deleted; it counts as
//! altered.

mod files;
mod manifest;
mod verify;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use manifest::{Digest, FILE, Manifest, SCHEMA, SealText};
pub use verify::{Integrity, Verified, VerifyError, verify};

use crate::history::{self, Seal};

/// The directory of a run that is going on.
#[derive(Debug)]
pub struct Bundle {
    dir: PathBuf,
}

/// A run directory that cannot be begun or finished.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is something in the directory already.
    #[error("{} is not empty; a run needs a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    /// A file or directory could not be read or written.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// A file cannot be listed.
    #[error("{}: {why}", .path.display())]
    Unlistable {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The history is not the one that was sealed.
    #[error("{} does not end in the seal of this run ({events} events, root {root})", .path.display())]
    OtherHistory {
        /// The history.
        path: PathBuf,
        /// Events in the seal.
        events: u64,
        /// Root in the seal.
        root: String,
    },
}

impl BundleError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

impl Bundle {
    /// Begins a run directory: `dir`, made with its parents if it is not
    /// there, must be empty.
    ///
    /// # Errors
    /// It is not empty, or cannot be made.
    pub fn create(dir: &Path) -> Result<Self, BundleError> {
        fs::create_dir_all(dir).map_err(BundleError::io(dir))?;
        let mut entries = fs::read_dir(dir).map_err(BundleError::io(dir))?;
        if entries.next().is_some() {
            return Err(BundleError::NotEmpty(dir.to_owned()));
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the history file, for a [`history::Writer`].
    ///
    /// # Errors
    /// It is there already or cannot be made.
    pub fn history(&self) -> Result<File, BundleError> {
        let path = self.dir.join(history::FILE);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(BundleError::io(&path))
    }

    /// Ends the run: digests every regular file below the directory, makes
    /// them durable, and writes `run.json` in one step. Nothing below the
    /// directory may change any more; what is added later is not part of the
    /// run.
    ///
    /// Anything but regular files and directories (sockets, symbolic links)
    /// is left out.
    ///
    /// # Errors
    /// The history does not end in `seal`; a file cannot be read or listed;
    /// `run.json` cannot be written. The run then stays without it.
    pub fn finish(&self, run: &str, seal: &Seal) -> Result<Manifest, BundleError> {
        self.ends_in(seal)?;
        let mut manifest = Manifest::new(run, seal);
        for name in files::below(&self.dir)?.listable()? {
            let path = self.dir.join(&name);
            let file = File::open(&path).map_err(BundleError::io(&path))?;
            let digest = files::digest(&file).map_err(BundleError::io(&path))?;
            file.sync_all().map_err(BundleError::io(&path))?;
            manifest.files.insert(name, digest);
        }
        manifest
            .write(&self.dir)
            .map_err(BundleError::io(&self.dir.join(FILE)))?;
        Ok(manifest)
    }

    fn ends_in(&self, seal: &Seal) -> Result<(), BundleError> {
        let path = self.dir.join(history::FILE);
        let due = history::seal_line(seal.events, &seal.root_hex());
        let ends = ends_in(&path, &due).map_err(BundleError::io(&path))?;
        if ends {
            return Ok(());
        }
        Err(BundleError::OtherHistory {
            path,
            events: seal.events,
            root: seal.root_hex(),
        })
    }
}

/// Whether the last line of the history is this one.
fn ends_in(path: &Path, line: &str) -> io::Result<bool> {
    let due = format!("\n{line}");
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let Some(from) = length.checked_sub(due.len() as u64) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(from))?;
    let mut last = Vec::with_capacity(due.len());
    file.take(due.len() as u64).read_to_end(&mut last)?;
    Ok(last == due.as_bytes())
}
