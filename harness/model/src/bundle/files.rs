//! The files below a run directory, and their digests.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::manifest::Digest;
use super::{BundleError, FILE, manifest};

/// No run has more files; above it something is wrong with the directory.
const MOST: usize = 100_000;

/// No run nests deeper.
const DEEPEST: usize = 32;

/// What was found below a run directory.
pub(super) struct Found {
    /// Regular files: path below the directory with `/` between its parts,
    /// sorted; `run.json` is not among them.
    pub(super) files: Vec<String>,
    /// Regular files whose path is not Unicode.
    odd: Vec<PathBuf>,
}

impl Found {
    /// The files, if `run.json` can name them all.
    pub(super) fn listable(self) -> Result<Vec<String>, BundleError> {
        match self.odd.into_iter().next() {
            None => Ok(self.files),
            Some(path) => Err(BundleError::Unlistable {
                path,
                why: "its name is not Unicode, so run.json cannot name it; remove or rename it"
                    .to_owned(),
            }),
        }
    }

    /// All names, for people.
    pub(super) fn names(self) -> impl Iterator<Item = String> {
        let odd = self.odd.into_iter().map(|path| path.display().to_string());
        self.files.into_iter().chain(odd)
    }
}

/// Finds the regular files below `dir`, without following symbolic links.
///
/// # Errors
/// A directory cannot be read, or there is more than any run leaves.
pub(super) fn below(dir: &Path) -> Result<Found, BundleError> {
    let mut found = Found {
        files: Vec::new(),
        odd: Vec::new(),
    };
    let mut open = vec![(dir.to_owned(), Some(String::new()), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        let entries = fs::read_dir(&path).map_err(BundleError::io(&path))?;
        for entry in entries {
            let entry = entry.map_err(BundleError::io(&path))?;
            let kind = entry.file_type().map_err(BundleError::io(&entry.path()))?;
            let name = prefix
                .as_ref()
                .zip(entry.file_name().into_string().ok())
                .map(|(prefix, name)| format!("{prefix}{name}"));
            if kind.is_dir() {
                if depth == DEEPEST {
                    return Err(too_much(&entry.path()));
                }
                open.push((entry.path(), name.map(|n| n + "/"), depth + 1));
            } else if kind.is_file() {
                match name {
                    Some(name) if name == FILE || name == manifest::TEMPORARY => {}
                    Some(name) => found.files.push(name),
                    None => found.odd.push(entry.path()),
                }
            }
            if found.files.len() + found.odd.len() + open.len() > MOST {
                return Err(too_much(dir));
            }
        }
    }
    found.files.sort();
    Ok(found)
}

fn too_much(path: &Path) -> BundleError {
    BundleError::Unlistable {
        path: path.to_owned(),
        why: format!(
            "a run has at most {MOST} files in at most {DEEPEST} levels of directories; is this a run directory?"
        ),
    }
}

/// Size and BLAKE3 of all there is to read.
pub(super) fn digest(mut from: &File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Digest {
        bytes,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}
