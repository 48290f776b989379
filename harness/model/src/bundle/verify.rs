//! Whether a run directory is what the run left behind.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::manifest::{self, Digest, Manifest, ReadError};
use super::{BundleError, files};
use crate::history::{self, OpenError, Reader, Tail};

/// The longest `run.json` that is read: room for far more files than a run
/// has.
const MOST_BYTES: u64 = 64 << 20;

/// Whether a run is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Every file of the run is what it was when the run ended.
    Sealed {
        /// Events in the history.
        events: u64,
        /// The history's root, lower-case hex.
        root: String,
    },
    /// The run did not come to its end; what its history has can be judged,
    /// but never passes.
    Unsealed {
        /// Events that can be used.
        events: u64,
        /// How it ends, in words.
        why: String,
    },
    /// Something was changed after it was written.
    Altered {
        /// The file, below the run directory.
        file: String,
        /// The line of the history at which it shows, counted from 1.
        line: Option<u64>,
        /// What is wrong with it.
        why: String,
    },
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whether the run is whole.
    pub integrity: Integrity,
    /// Files that are not part of the run: added later, or never listed.
    /// They prove nothing and harm nothing. Empty unless the run is sealed.
    pub unlisted: Vec<String>,
}

/// A directory about which nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is neither a manifest nor a history.
    #[error("{} is no run directory: it has neither run.json nor history.jsonl", .0.display())]
    NotARun(PathBuf),
    /// A file could not be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The run was made by another version.
    #[error("{} has format `{found}`, which this mailproof does not read; use the version that made it", .path.display())]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// The format it names.
        found: String,
    },
    /// The directory itself is out of bounds.
    #[error(transparent)]
    Directory(#[from] BundleError),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |error| VerifyError::Io { path, error }
}

/// Checks every file of a run against `run.json`, and without it the chain
/// of the history.
///
/// Of a sealed run's history only digest and seal are checked here; the
/// chain within is checked by whoever reads its events ([`Reader::tail`]).
///
/// # Errors
/// [`VerifyError`]: the directory cannot be read or is none of a run.
pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    let path = dir.join(manifest::FILE);
    let integrity = match File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(failed(&path))?;
            if bytes.len() as u64 > MOST_BYTES {
                altered(
                    manifest::FILE,
                    format!("it is longer than {MOST_BYTES} bytes"),
                )
            } else {
                match Manifest::from_bytes(&bytes) {
                    Ok(manifest) => return with_manifest(dir, &manifest),
                    Err(ReadError::Altered(why)) => altered(manifest::FILE, why),
                    Err(ReadError::Version(found)) => {
                        return Err(VerifyError::Version { path, found });
                    }
                }
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => without_manifest(dir)?,
        Err(e) => return Err(failed(&path)(e)),
    };
    Ok(Verified {
        integrity,
        unlisted: Vec::new(),
    })
}

fn altered(file: &str, why: impl Into<String>) -> Integrity {
    Integrity::Altered {
        file: file.to_owned(),
        line: None,
        why: why.into(),
    }
}

fn with_manifest(dir: &Path, manifest: &Manifest) -> Result<Verified, VerifyError> {
    let mut integrity = None;
    for (name, digest) in &manifest.files {
        if let Some(found) = listed(dir, name, digest)? {
            integrity = Some(found);
            break;
        }
    }
    if integrity.is_none() {
        integrity = history_of(dir, manifest)?;
    }
    let unlisted = match integrity {
        Some(_) => Vec::new(),
        None => files::below(dir)?
            .names()
            .filter(|name| !manifest.files.contains_key(name))
            .collect(),
    };
    Ok(Verified {
        integrity: integrity.unwrap_or_else(|| Integrity::Sealed {
            events: manifest.seal.events,
            root: manifest.seal.root.clone(),
        }),
        unlisted,
    })
}

/// What is wrong with a listed file; `None`: nothing.
fn listed(dir: &Path, name: &str, due: &Digest) -> Result<Option<Integrity>, VerifyError> {
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() {
        let why = format!("it lists `{name}`, which is no path below the run directory");
        return Ok(Some(altered(manifest::FILE, why)));
    }
    let path = dir.join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(meta) => meta,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Some(altered(name, "it is missing")));
        }
        Err(e) => return Err(failed(&path)(e)),
    };
    if !kind.is_file() {
        return Ok(Some(altered(name, "it is no regular file")));
    }
    let file = File::open(&path).map_err(failed(&path))?;
    let found = files::digest(&file).map_err(failed(&path))?;
    if found == *due {
        return Ok(None);
    }
    // The chain can tell where a history was changed.
    if name == history::FILE
        && let Integrity::Altered { line, why, .. } = chain(&path)?
    {
        return Ok(Some(Integrity::Altered {
            file: name.to_owned(),
            line,
            why,
        }));
    }
    let why = if found.bytes == due.bytes {
        "its content is not what it was when the run ended".to_owned()
    } else {
        format!(
            "it has {} bytes, and had {} when the run ended",
            found.bytes, due.bytes
        )
    };
    Ok(Some(altered(name, why)))
}

/// Whether the history is listed and ends in the seal that the manifest
/// names; what is wrong otherwise.
fn history_of(dir: &Path, manifest: &Manifest) -> Result<Option<Integrity>, VerifyError> {
    if !manifest.files.contains_key(history::FILE) {
        let why = format!("it does not list {}", history::FILE);
        return Ok(Some(altered(manifest::FILE, why)));
    }
    let path = dir.join(history::FILE);
    let due = history::seal_line(manifest.seal.events, &manifest.seal.root);
    if super::ends_in(&path, &due).map_err(failed(&path))? {
        return Ok(None);
    }
    let why = "it does not end in the seal that run.json names";
    Ok(Some(altered(history::FILE, why)))
}

/// A run without `run.json`: unsealed, if its history is too.
fn without_manifest(dir: &Path) -> Result<Integrity, VerifyError> {
    let path = dir.join(history::FILE);
    if let Err(e) = fs::symlink_metadata(&path) {
        return Err(match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                VerifyError::NotARun(dir.to_owned())
            }
            _ => failed(&path)(e),
        });
    }
    Ok(match chain(&path)? {
        Integrity::Sealed { .. } => altered(
            manifest::FILE,
            "it is missing, though the history is sealed: it was deleted, or the harness died just before it wrote it; run again",
        ),
        other => other,
    })
}

/// What the history says of itself.
fn chain(path: &Path) -> Result<Integrity, VerifyError> {
    let altered = |line: u64, why: String| Integrity::Altered {
        file: history::FILE.to_owned(),
        line: Some(line),
        why,
    };
    let mut reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(OpenError::Io(e)) => return Err(failed(path)(e)),
        Err(e @ OpenError::Torn) => {
            return Ok(Integrity::Unsealed {
                events: 0,
                why: e.to_string(),
            });
        }
        Err(OpenError::Altered { why }) => return Ok(altered(1, why)),
        Err(OpenError::Version { found }) => {
            return match history::chain_of_other_version(path).map_err(failed(path))? {
                Ok(()) => Err(VerifyError::Version {
                    path: path.to_owned(),
                    found,
                }),
                Err(broken) => Ok(altered(broken.line, broken.why)),
            };
        }
    };
    while reader.next_event().map_err(failed(path))?.is_some() {}
    Ok(match reader.tail() {
        Some(Tail::Sealed { events, root }) => Integrity::Sealed {
            events: *events,
            root: history::hex(root),
        },
        Some(Tail::Unsealed { events, why, .. }) => Integrity::Unsealed {
            events: *events,
            why: why.clone(),
        },
        Some(Tail::Altered { line, why }) => altered(*line, why.clone()),
        // The reader sets its tail before it yields `None`.
        None => Integrity::Unsealed {
            events: 0,
            why: "it could not be read to its end".to_owned(),
        },
    })
}
