//! CHUNKING (RFC 3030): content in counted chunks, by BDAT.
//!
//! A chunk that is refused is still read to its end, so that its bytes are
//! never taken for commands; after that only RSET helps. A BDAT without a
//! readable size leaves no way to tell its bytes from commands: the session
//! ends.
//!
//! BINARYMIME is not offered. Content goes on to next hops by DATA, which
//! cannot carry it, and converting it would change what was signed; so a bare
//! CR or LF is refused here as it is after DATA.

use super::content::Content;
use super::server::{BARE, Mode, Server};
use crate::mark::Mark;
use crate::queue::Queue;

/// A chunk on its way.
#[derive(Debug)]
pub(super) struct Chunk {
    size: u64,
    /// Bytes of it that are still to come.
    left: u64,
    last: bool,
    /// Why it is refused once it has been read.
    refusal: Option<&'static str>,
}

impl Server {
    /// `BDAT size [LAST]`
    pub(super) fn bdat(&mut self, rest: &str, queue: &mut Queue) {
        let Some((size, last)) = chunk_size(rest) else {
            queue.mark(Mark::ChunkGarbled);
            self.link
                .write("501 5.5.4 Syntax: BDAT size [LAST]; what follows cannot be told apart\r\n");
            return self.turn_away(queue, "closes the connection");
        };
        let refusal = self.admit_chunk(size, queue).err();
        if refusal.is_some() {
            self.spoil(queue);
        }
        self.mode = Mode::Chunk(Chunk {
            size,
            left: size,
            last,
            refusal,
        });
        if size == 0 {
            self.end_of_chunk(queue);
        }
    }

    /// Whether a chunk may come now, as far as is known before it does.
    fn admit_chunk(&mut self, size: u64, queue: &mut Queue) -> Result<(), &'static str> {
        let Some(transaction) = &self.transaction else {
            return Err("503 5.5.1 MAIL first\r\n");
        };
        if transaction.failed {
            return Err("503 5.5.1 A chunk was refused: RSET first\r\n");
        }
        if transaction.envelope.recipients.is_empty() {
            return Err("503 5.5.1 No valid recipients\r\n");
        }
        let before = transaction.chunks.as_ref();
        let before = before.map_or(0, |content| content.received().len() as u64);
        if before.saturating_add(size) > queue.config.max_message_bytes {
            return Err("552 5.3.4 Message too big\r\n");
        }
        if transaction.chunks.is_none() {
            let content = self.begin_content(queue)?;
            if let Some(transaction) = &mut self.transaction {
                transaction.chunks = Some(content);
            }
        }
        Ok(())
    }

    /// The transaction has lost a part of its content.
    fn spoil(&mut self, queue: &mut Queue) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
            if let Some(mut content) = transaction.chunks.take() {
                content.release(queue);
            }
        }
    }

    /// Takes bytes of a chunk; says how many.
    pub(super) fn chunk(&mut self, data: &[u8], queue: &mut Queue) -> usize {
        let Mode::Chunk(chunk) = &mut self.mode else {
            return 0;
        };
        let used = usize::try_from(chunk.left)
            .unwrap_or(usize::MAX)
            .min(data.len());
        chunk.left -= used as u64;
        let content = self.transaction.as_mut().and_then(|t| t.chunks.as_mut());
        if let Some(content) = content.filter(|_| chunk.refusal.is_none()) {
            content.body.extend_from_slice(&data[..used]);
            content.grown(queue);
            chunk.refusal = content.refusal;
        }
        if chunk.left == 0 {
            self.end_of_chunk(queue);
        }
        used
    }

    fn end_of_chunk(&mut self, queue: &mut Queue) {
        let Mode::Chunk(chunk) = std::mem::replace(&mut self.mode, Mode::Command) else {
            return;
        };
        if let Some(refusal) = chunk.refusal {
            queue.mark(Mark::ChunkRefused);
            self.spoil(queue);
            self.error(refusal);
            return self.ended(queue);
        }
        if !chunk.last {
            let reply = format!("250 2.0.0 {} octets\r\n", chunk.size);
            self.link.write(&reply);
            return self.ended(queue);
        }
        let content = self.transaction.as_mut().and_then(|t| t.chunks.take());
        if let Some(mut content) = content {
            if has_bare(&content) {
                content.refuse(BARE, queue);
            }
            self.end_of_content(content, queue);
        }
    }
}

/// The size and whether it is the last chunk.
fn chunk_size(text: &str) -> Option<(u64, bool)> {
    let (size, last) = match text.trim_matches(' ').split_once(' ') {
        Some((size, word)) if word.eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return None,
        None => (text.trim_matches(' '), false),
    };
    let digits = (1..=20).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| size.parse().ok())?.map(|size| (size, last))
}

/// Whether a CR or LF stands alone.
fn has_bare(content: &Content) -> bool {
    let bytes = content.received();
    memchr::memchr2_iter(b'\r', b'\n', bytes).any(|at| match bytes[at] {
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => at == 0 || bytes[at - 1] != b'\r',
    })
}

#[cfg(test)]
mod tests {
    use super::chunk_size;

    #[test]
    fn sizes() {
        assert_eq!(chunk_size("12"), Some((12, false)));
        assert_eq!(chunk_size(" 0 last "), Some((0, true)));
        assert_eq!(chunk_size("18446744073709551615"), Some((u64::MAX, false)));
        for bad in [
            "",
            "LAST",
            "-1",
            "+1",
            "1 FIRST",
            "1 LAST LAST",
            "0x1",
            "1.0",
        ] {
            assert_eq!(chunk_size(bad), None, "{bad}");
        }
        assert_eq!(chunk_size("18446744073709551616"), None);
        assert_eq!(chunk_size("000000000000000000001"), None);
    }
}
