//! One protocol line, or one whole reply, kept byte for byte.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// Longest content held without an allocation, in bytes. Nearly every command
/// line and single-line reply is shorter.
const INLINE: usize = 78;

/// Owned bytes of a protocol line. Short lines live inside the value, so that
/// an observer can hand out every line of a busy connection without allocating.
#[derive(Clone)]
pub struct Line(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Line {
    /// Joins `parts` into one line.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Self {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > INLINE {
            return Self(Repr::Heap(parts.concat().into_boxed_slice()));
        }
        let mut bytes = [0; INLINE];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        // `total` is at most INLINE, which fits a u8.
        Self(Repr::Inline {
            len: total as u8,
            bytes,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// The bytes without one trailing CRLF or LF.
    #[must_use]
    pub fn trimmed(&self) -> &[u8] {
        trim_ending(self)
    }
}

/// `line` without one trailing CRLF or LF.
pub(crate) fn trim_ending(line: &[u8]) -> &[u8] {
    match line {
        [start @ .., b'\r', b'\n'] | [start @ .., b'\n'] => start,
        _ => line,
    }
}

impl Default for Line {
    fn default() -> Self {
        Self(Repr::Inline {
            len: 0,
            bytes: [0; INLINE],
        })
    }
}

impl From<&[u8]> for Line {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE {
            return Self(Repr::Heap(bytes.into()));
        }
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Inline {
            len: bytes.len() as u8,
            bytes: inline,
        })
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Vec<u8>> for Line {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > INLINE {
            return Self(Repr::Heap(bytes.into_boxed_slice()));
        }
        bytes.as_slice().into()
    }
}

impl Deref for Line {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Line {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Line {}

impl std::hash::Hash for Line {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// Printable ASCII as it is, everything else escaped, so that a line from the
/// wire cannot disturb a terminal or a log.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

/// Longest command line accepted, in bytes with its line ending. RFC 4954
/// section 4 asks for 12 288 octets in an AUTH dialogue; RFC 5321 for 512.
pub const MAX_COMMAND_LINE: usize = 16 * 1024;

/// Why a piece of input is not a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// A LF without CR before it. Whether it ends a line depends on who reads.
    #[error("a command line ends in LF without CR (RFC 5321 2.3.8 forbids it)")]
    BareLf,
    /// More than [`MAX_COMMAND_LINE`] bytes without a line ending.
    #[error("a command line is longer than {MAX_COMMAND_LINE} bytes")]
    TooLong,
}

impl LineFault {
    /// The rule that the input breaks.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::BareLf => "a line must end in CRLF, not in LF alone (RFC 5321 2.3.8)",
            Self::TooLong => "a command line must have an end (RFC 5321 4.5.3.1.4)",
        }
    }
}

/// Cuts a stream into command lines, however it is split into chunks.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    partial: Vec<u8>,
}

impl LineReader {
    /// Reads up to and including the next line ending. Returns how many bytes
    /// of `input` were used, and the line with its CRLF if it is complete.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Option<Result<Line, LineFault>>) {
        let Some(lf) = memchr::memchr(b'\n', input) else {
            if self.partial.len() + input.len() > MAX_COMMAND_LINE {
                self.partial.clear();
                return (input.len(), Some(Err(LineFault::TooLong)));
            }
            self.partial.extend_from_slice(input);
            return (input.len(), None);
        };
        let used = lf + 1;
        let piece = &input[..used];
        if self.partial.len() + used > MAX_COMMAND_LINE {
            self.partial.clear();
            return (used, Some(Err(LineFault::TooLong)));
        }
        let line = if self.partial.is_empty() {
            Line::from(piece)
        } else {
            self.partial.extend_from_slice(piece);
            let line = Line::from(self.partial.as_slice());
            self.partial.clear();
            line
        };
        if !line.ends_with(b"\r\n") {
            return (used, Some(Err(LineFault::BareLf)));
        }
        (used, Some(Ok(line)))
    }

    /// Whether part of a line has been read.
    pub(crate) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_compares_by_content_whatever_its_storage() {
        for len in [0, 1, INLINE - 1, INLINE, INLINE + 1, 4096] {
            let bytes = vec![b'x'; len];
            assert_eq!(Line::from(bytes.as_slice()).as_bytes(), bytes);
            assert_eq!(Line::from(bytes.clone()), Line::from(bytes.as_slice()));
            let (left, right) = bytes.split_at(len / 2);
            assert_eq!(Line::concat(&[left, right]).as_bytes(), bytes);
        }
    }

    #[test]
    fn a_long_line_is_refused_wherever_it_is_cut() {
        let mut input = vec![b'a'; MAX_COMMAND_LINE - 2];
        input.extend_from_slice(b"\r\n");
        let mut over = vec![b'a'];
        over.extend_from_slice(&input);
        for cut in [0, 1, 100, MAX_COMMAND_LINE - 1, MAX_COMMAND_LINE] {
            for (bytes, fits) in [(&input, true), (&over, false)] {
                let mut reader = LineReader::default();
                let (left, right) = bytes.split_at(cut);
                let mut results = Vec::new();
                for chunk in [left, right] {
                    let mut at = 0;
                    while at < chunk.len() {
                        let (used, line) = reader.read(&chunk[at..]);
                        at += used;
                        results.extend(line);
                    }
                }
                assert_eq!(results[0].is_ok(), fits, "cut at {cut}");
            }
        }
    }
}
