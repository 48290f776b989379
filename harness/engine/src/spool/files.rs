//! The files of a store: of a stopped node's directory, or of a simulated
//! disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use mailproof_node::disk::{Disk, FileName};

/// A flat directory of files that does not change while it is read.
pub trait Files {
    /// The names of the regular files.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The first `most` bytes of a file, all of it if it is shorter.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>>;
}

impl Files for Path {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self)? {
            let entry = entry?;
            // A name that is not Unicode is none of the store's.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.join(name))?
            .take(most)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A simulated disk.
#[derive(Clone, Copy)]
pub struct OnDisk<'a>(pub &'a dyn Disk);

impl Files for OnDisk<'_> {
    fn names(&self) -> io::Result<Vec<String>> {
        let files = self.0.list()?;
        Ok(files
            .into_iter()
            .map(|(name, _)| name.to_string())
            .collect())
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let name = FileName::new(name)?;
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let files = self.0.list()?;
        let (_, len) = files
            .iter()
            .find(|(file, _)| *file == name)
            .ok_or_else(missing)?;
        let len = usize::try_from((*len).min(most)).map_err(io::Error::other)?;
        self.0.read(&name, 0, len)
    }
}
