//! Where a history is written to.

use std::fs::File;
use std::io::{self, Write};

/// A byte sink that can make what it was given durable. Sinks in memory have
/// nothing to do.
pub trait Sink: Write {
    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the operating system says (a full disk, a failed device).
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Sink for Vec<u8> {}
impl Sink for io::Sink {}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}
