//! Recognising contents that passed before: the same message comes by on every
//! link of its way and at the mailbox, and its digest need not be worked out
//! each time.
//!
//! Nothing is taken on trust. A digest is used again only after every byte
//! from the harness's identity header to the end of the content was compared
//! with the bytes that it was made from. What stands above is looked at field
//! by field: only fields that are not digested may stand there, so that the
//! digest, a function of the digested fields and the body, is the same.
//! Anything else is worked out anew.

use std::sync::{Mutex, PoisonError};

use crate::Digest;
use crate::header::{Field, Fields, after_header};
use crate::identity::{attempt_of, body_digest, body_digest_with, digested, identify, numbers_of};

/// Messages kept; one takes the place of another that is this far away.
const SLOTS: usize = 512;

/// Longest content kept, from its identity header on, in bytes. A longer one is
/// worked out anew each time.
const LONGEST: usize = 16 * 1024;

/// What some content is: what [`identify`] and [`body_digest`] say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recognised {
    /// Which message of the run, if it is one.
    pub message: Option<Numbers>,
    /// Digest of what no relay may change.
    pub digest: Digest,
}

/// A message of the run, as its headers name it; see
/// [`Identity`](crate::Identity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Its number within the run.
    pub message: u64,
    /// How many envelope recipients it was made for.
    pub rcpts: u32,
    /// The attempt that brought it here; `None` if its line is gone.
    pub attempt: Option<u32>,
}

/// The contents of one run that were seen lately.
#[derive(Debug)]
pub struct Known {
    run: String,
    slots: Box<[Mutex<Option<Kept>>]>,
}

#[derive(Debug)]
struct Kept {
    /// From the identity header to the end.
    tail: Vec<u8>,
    rcpts: u32,
    /// The attempt that a field within the tail names.
    attempt: Option<u32>,
    digest: Digest,
}

impl Known {
    /// Nothing is known yet of the run with this id.
    #[must_use]
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Which message of the run some content is, and its digest: never
    /// anything but what [`identify`] and [`body_digest`] say.
    #[must_use]
    pub fn recognise(&self, content: &[u8]) -> Recognised {
        let Some(top) = Top::read(content, &self.run) else {
            return self.anew(content);
        };
        let tail = &content[top.len..];
        if tail.len() > LONGEST {
            return self.anew(content);
        }
        // The remainder is below SLOTS.
        let slot = &self.slots[(top.message % SLOTS as u64) as usize];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = slot.as_ref()
            && kept.tail == tail
        {
            return Recognised {
                message: Some(Numbers {
                    message: top.message,
                    rcpts: kept.rcpts,
                    attempt: top.attempt.or(kept.attempt),
                }),
                digest: kept.digest,
            };
        }
        let mut attempt = None;
        let digest = body_digest_with(tail, |field| {
            if attempt.is_none() && field.is("Received") {
                attempt = attempt_of(field, &self.run, top.message);
            }
        });
        let mut storage = slot.take().map(|kept| kept.tail).unwrap_or_default();
        storage.clear();
        storage.extend_from_slice(tail);
        *slot = Some(Kept {
            tail: storage,
            rcpts: top.rcpts,
            attempt,
            digest,
        });
        Recognised {
            message: Some(Numbers {
                message: top.message,
                rcpts: top.rcpts,
                attempt: top.attempt.or(attempt),
            }),
            digest,
        }
    }

    fn anew(&self, content: &[u8]) -> Recognised {
        let identity = identify(content).filter(|identity| identity.run == self.run);
        Recognised {
            message: identity.map(|identity| Numbers {
                message: identity.message,
                rcpts: identity.rcpts,
                attempt: identity.attempt,
            }),
            digest: body_digest(content),
        }
    }
}

/// What stands above the identity header of a message of the run.
struct Top {
    len: usize,
    message: u64,
    rcpts: u32,
    attempt: Option<u32>,
}

impl Top {
    /// Reads it, if nothing in it is digested.
    fn read(content: &[u8], run: &str) -> Option<Self> {
        let mut fields = Fields::new(content);
        let mut received = [None; 8];
        let mut count = 0;
        loop {
            let len = content.len() - fields.rest().len();
            if fields.rest().is_empty() || after_header(fields.rest()).is_some() {
                return None;
            }
            let Some(field) = fields.read() else {
                // A line that is no field says nothing.
                continue;
            };
            let kind = digested(field);
            if kind == Some(0) {
                let (of, message, rcpts) = numbers_of(field)?;
                if of != run {
                    return None;
                }
                let mut received = received[..count].iter().flatten();
                let attempt = received.find_map(|field| attempt_of(*field, run, message));
                return Some(Self {
                    len,
                    message,
                    rcpts,
                    attempt,
                });
            }
            if kind.is_some() {
                return None;
            }
            if field.is("Received") {
                let place: &mut Option<Field<'_>> = received.get_mut(count)?;
                *place = Some(field);
                count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::IDENTITY_HEADER;
    use crate::message::MessageSpec;

    fn ours(number: u64, attempt: u32) -> Vec<u8> {
        MessageSpec {
            run: "r7",
            number,
            size: 1_500,
            seed: 3,
            from: "s@client.test",
            to: &["a@mail.test", "b@mail.test"],
            unix_seconds: 0,
        }
        .content(attempt)
    }

    /// What it must say: a fresh reader without a memory.
    fn plain(content: &[u8]) -> Recognised {
        Known::new("r7").anew(content)
    }

    #[test]
    fn what_passes_again_is_what_it_was() {
        let known = Known::new("r7");
        for attempt in [1, 2, 10] {
            for relays in 0..10 {
                let trace = b"Received: from n1 by n2; now\r\nX-Scanned: yes\r\n".repeat(relays);
                let content = [trace, ours(42, attempt)].concat();
                let found = known.recognise(&content);
                assert_eq!(found, plain(&content));
                let numbers = Numbers {
                    message: 42,
                    rcpts: 2,
                    attempt: Some(attempt),
                };
                assert_eq!(found.message, Some(numbers));
            }
        }
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let known = Known::new("r7");
        let content = ours(42, 1);
        let digest = known.recognise(&content).digest;
        let mut differ = 0;
        for at in 0..content.len() {
            for bit in [1, 0x20, 0x80] {
                let mut changed = content.clone();
                changed[at] ^= bit;
                // It must be known by heart, or the change proves nothing.
                assert_eq!(known.recognise(&content).digest, digest);
                let found = known.recognise(&changed);
                assert_eq!(found, plain(&changed), "byte {at}");
                differ += u32::from(found.digest != digest);
            }
        }
        // All of the body and of the digested fields, and nothing of the
        // first field, which is the harness's Received line.
        let body = content.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        assert!(differ as usize > 3 * (content.len() - body - 4), "{differ}");
        for shorter in 0..content.len() {
            let cut = &content[..shorter];
            assert_eq!(known.recognise(cut), plain(cut));
        }
        let longer = [&content[..], b"x"].concat();
        assert_ne!(known.recognise(&longer).digest, digest);
    }

    #[test]
    fn digested_fields_on_top_are_seen() {
        let known = Known::new("r7");
        let content = ours(42, 1);
        let digest = known.recognise(&content).digest;
        for line in [
            "Subject: [list]\r\n",
            "sUBJECT : [list]\r\n",
            "Message-ID: <other@x>\r\n",
            "Received: from a\r\n\tby b\r\nDate: today\r\n",
            "\r\n",
            "X-Mailproof: run=r8 msg=42 rcpts=2\r\n",
            "X-Mailproof: run=r7 msg=42 rcpts=2\r\n",
        ] {
            let changed = [line.as_bytes(), &content].concat();
            let found = known.recognise(&changed);
            assert_eq!(found, plain(&changed), "{line}");
            assert_ne!(found.digest, digest, "{line}");
        }
    }

    #[test]
    fn messages_that_share_a_place_do_not_mix() {
        let known = Known::new("r7");
        let far = 42 + SLOTS as u64;
        for _ in 0..2 {
            for number in [42, far, 42 + 3 * SLOTS as u64] {
                let content = ours(number, 1);
                assert_eq!(known.recognise(&content), plain(&content));
            }
        }
        let other = String::from_utf8(ours(42, 1)).unwrap();
        let other = other.replace("run=r7", "run=r8").into_bytes();
        assert_eq!(known.recognise(&other).message, None);
        assert_eq!(known.recognise(&other), plain(&other));
    }

    #[test]
    fn an_attempt_below_the_identity_is_kept() {
        let known = Known::new("r7");
        let content = ours(42, 3);
        let end = content.windows(2).position(|w| w == b"\r\nX").unwrap_or(0);
        let at = memchr::memmem::find(&content, IDENTITY_HEADER.as_bytes()).unwrap();
        assert!(end <= at);
        // A relay that puts its fields in another order.
        let line_end = memchr::memmem::find(&content[at..], b"\r\n").unwrap() + at + 2;
        let moved = [&content[at..line_end], &content[..at], &content[line_end..]].concat();
        for _ in 0..2 {
            let found = known.recognise(&moved);
            assert_eq!(found, plain(&moved));
            assert_eq!(found.message.and_then(|m| m.attempt), Some(3));
        }
        // One on top counts before it.
        let first = memchr::memmem::find(&content, b"attempt 3").unwrap();
        let mut nine = content[..at].to_vec();
        nine[first + 8] = b'9';
        let both = [&nine[..], &moved].concat();
        let found = known.recognise(&both);
        assert_eq!(found, plain(&both));
        assert_eq!(found.message.and_then(|m| m.attempt), Some(9));
    }

    proptest! {
        #[test]
        fn it_never_says_anything_else(
            lines in prop::collection::vec(
                prop_oneof![
                    Just("Received: from mailproof-client (mailproof run=r7 msg=1 attempt 4)\r\n"),
                    Just("X-Mailproof: run=r7 msg=1 rcpts=1\r\n"),
                    Just("X-Mailproof: run=r7 msg=513 rcpts=2\r\n"),
                    Just("X-Mailproof: run=r9 msg=1 rcpts=1\n"),
                    Just("x-mailproof : run=r7\r\n\tmsg=1\r\n rcpts=1\r\n"),
                    Just("Subject: x\r\n"),
                    Just("To: a\r\n"),
                    Just("no field\r\n"),
                    Just(" folded\r\n"),
                    Just("\r\n"),
                    Just("\n"),
                    Just("X: y"),
                ],
                0..8,
            ),
            orders in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        ) {
            let known = Known::new("r7");
            // The same lines, begun at several places: contents that end alike.
            for order in orders {
                let from = if lines.is_empty() { 0 } else { order.index(lines.len()) };
                let content = lines[from..].concat().into_bytes();
                prop_assert_eq!(known.recognise(&content), plain(&content));
            }
        }
    }
}
