//! What is collected of the content that passes.

use super::ObserverOptions;
use crate::Digest;
use crate::identity::BodyDigester;

/// Size, beginning and digests of one content at a time.
#[derive(Debug)]
pub(super) struct Collector {
    head_limit: usize,
    head: Vec<u8>,
    size: u64,
    content: Option<Box<blake3::Hasher>>,
    body: Option<BodyDigester>,
    transaction: Option<u32>,
}

impl Collector {
    pub(super) fn new(options: ObserverOptions) -> Self {
        Self {
            head_limit: options.head_limit,
            head: Vec::new(),
            size: 0,
            content: options.content_digest.then(Box::default),
            body: options.body_digest.then(BodyDigester::default),
            transaction: None,
        }
    }

    /// The transaction whose content is being collected.
    pub(super) fn transaction(&self) -> Option<u32> {
        self.transaction
    }

    pub(super) fn begin(&mut self, transaction: u32) {
        if self.transaction.is_some() {
            // The content before was abandoned.
            self.clear();
        }
        self.transaction = Some(transaction);
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        let room = self.head_limit - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(hasher) = &mut self.content {
            hasher.update(piece);
        }
        if let Some(digester) = &mut self.body {
            digester.update(piece);
        }
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Digest of the content, and of what no relay may change.
    pub(super) fn digests(&mut self) -> (Option<Digest>, Option<Digest>) {
        let content = self.content.as_ref();
        (
            content.map(|hasher| *hasher.finalize().as_bytes()),
            self.body.as_mut().and_then(BodyDigester::finish),
        )
    }

    /// Puts the collected beginning in `head` and keeps its storage.
    pub(super) fn hand_over(&mut self, head: &mut Vec<u8>) {
        std::mem::swap(&mut self.head, head);
    }

    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.size = 0;
        if let Some(hasher) = &mut self.content {
            hasher.reset();
        }
        if let Some(digester) = &mut self.body {
            digester.clear();
        }
        self.transaction = None;
    }
}
