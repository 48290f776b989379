//! What is collected of the content that passes.

use super::{Digests, ObserverOptions};
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
    /// The digest is only worked out where the head does not hold all.
    beyond_head: bool,
    transaction: Option<u32>,
}

impl Collector {
    pub(super) fn new(options: ObserverOptions) -> Self {
        Self {
            head_limit: options.head_limit,
            head: Vec::new(),
            size: 0,
            content: options.content_digest.then(Box::default),
            body: (options.body_digest != Digests::None).then(BodyDigester::default),
            beyond_head: options.body_digest == Digests::BeyondHead,
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
        let room = self.head_limit - self.head.len();
        if let Some(digester) = &mut self.body {
            if !self.beyond_head {
                digester.update(piece);
            } else if piece.len() > room {
                if self.size == self.head.len() as u64 {
                    digester.update(&self.head);
                }
                digester.update(piece);
            }
        }
        self.size += piece.len() as u64;
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(hasher) = &mut self.content {
            hasher.update(piece);
        }
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Digest of the content, and of what no relay may change.
    pub(super) fn digests(&mut self) -> (Option<Digest>, Option<Digest>) {
        let content = self.content.as_ref();
        let untouched = self.beyond_head && self.size == self.head.len() as u64;
        let body = self.body.as_mut().filter(|_| !untouched);
        (
            content.map(|hasher| *hasher.finalize().as_bytes()),
            body.and_then(BodyDigester::finish),
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
