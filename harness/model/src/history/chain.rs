//! The hash chain over a history's lines, and the two lines that carry it.
//!
//! What it finds: any change to a line that a later block line covers. What
//! it does not: somebody who rewrites the whole file with a chain of its own;
//! only a signature over the root (see `certify`) finds that.

/// Events between two block lines.
pub const BLOCK: u64 = 256;

/// A hash as it stands in a file: BLAKE3, 32 bytes.
pub type Root = [u8; 32];

/// How a block line begins. No event line can begin so.
pub(super) const BLOCK_START: &[u8] = b"{\"block\":";
/// How the seal begins. No event line can begin so.
pub(super) const SEAL_START: &[u8] = b"{\"seal\":";

/// How many bytes are collected before they are hashed: enough for BLAKE3 to
/// work on many chunks at once, and a bound on memory.
pub(super) const AT_ONCE: usize = 128 * 1024;

/// The running hash of the block that is being written or read.
#[derive(Clone)]
pub(super) struct Chain {
    hasher: blake3::Hasher,
    root: Root,
    blocks: u64,
}

impl Chain {
    pub(super) fn new() -> Self {
        let mut chain = Self {
            hasher: blake3::Hasher::new(),
            root: [0; 32],
            blocks: 0,
        };
        chain.hasher.update(&chain.root);
        chain
    }

    /// Takes bytes of the open block.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Ends the block after `events` events: the text of its block line, with
    /// the newline.
    pub(super) fn close(&mut self, events: u64) -> String {
        self.root = *self.hasher.finalize().as_bytes();
        self.hasher.reset();
        self.hasher.update(&self.root);
        let line = format!(
            "{{\"block\":{},\"events\":{events},\"hash\":\"{}\"}}\n",
            self.blocks,
            hex(&self.root)
        );
        self.blocks += 1;
        line
    }

    /// Blocks closed so far.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The hash of the last closed block; zeros before the first.
    pub(super) fn root(&self) -> Root {
        self.root
    }
}

/// The end of a finished history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// How many events the history has.
    pub events: u64,
    /// The hash of its last block, and so of all of it.
    pub root: Root,
}

impl Seal {
    /// The root in lower-case hex, as files carry it.
    #[must_use]
    pub fn root_hex(&self) -> String {
        hex(&self.root)
    }

    /// The seal's line, with the newline.
    pub(super) fn line(&self) -> String {
        seal_line(self.events, &self.root_hex())
    }
}

/// The line of a seal, with the newline.
pub(crate) fn seal_line(events: u64, root: &str) -> String {
    format!("{{\"seal\":{{\"events\":{events},\"root\":\"{root}\"}}}}\n")
}

/// Lower-case hex of a hash.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}
