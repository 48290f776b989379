//! Message content inside DATA: dot-stuffing and the end of data
//! (RFC 5321 4.1.1.4, 4.5.2).

use memchr::memmem;

/// Appends `content` to `out` as it must look after 354: leading dots doubled,
/// the terminating `.CRLF` last. A line break is added before the terminator
/// only if the content does not end in one; without it the terminator would
/// not be seen.
pub fn stuff(content: &[u8], out: &mut Vec<u8>) {
    out.reserve(content.len() + 16);
    let mut from = 0;
    if content.starts_with(b".") {
        out.push(b'.');
    }
    for at in memmem::find_iter(content, b"\r\n.") {
        out.extend_from_slice(&content[from..at + 3]);
        out.push(b'.');
        from = at + 3;
    }
    out.extend_from_slice(&content[from..]);
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

/// Where data ended in the chunk just scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// First byte of the terminating `.CRLF`; 0 if that came in an earlier
    /// chunk. What lies before it has not ended the data.
    pub start: usize,
    /// First byte after the terminator, where commands go on.
    pub end: usize,
}

/// Finds the end of data and undoes dot-stuffing, however the stream is split
/// into chunks.
///
/// Only `CRLF . CRLF` ends the data (RFC 5321 4.1.1.4), and `. CRLF` at the very
/// start. Neither a bare LF nor a bare CR is ever taken for a line break, so
/// what some servers take for the end (SMTP smuggling) is content here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanner {
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    #[default]
    LineStart,
    /// Within a line.
    Text,
    /// After a CR within a line.
    Cr,
    /// After a dot at the start of a line; it is not yet known what it is.
    Dot,
    /// After a CR that follows such a dot. Neither has been handed on.
    DotCr,
}

impl Scanner {
    /// Reads `chunk` and calls `content` with each piece of un-stuffed content,
    /// in order. Returns where the data ended, if it did; the bytes from
    /// [`End::end`] on were not read, and the scanner is ready for the next
    /// message.
    pub fn scan(&mut self, chunk: &[u8], mut content: impl FnMut(&[u8])) -> Option<End> {
        // Content that has been read but not handed on is chunk[from..at].
        let mut from = 0;
        let mut at = 0;
        let mut dot = 0;
        while at < chunk.len() {
            match self.state {
                State::LineStart => {
                    if chunk[at] == b'.' {
                        if from < at {
                            content(&chunk[from..at]);
                        }
                        dot = at;
                        at += 1;
                        from = at;
                        self.state = State::Dot;
                    } else {
                        self.state = State::Text;
                    }
                }
                State::Text => {
                    if let Some(found) = memmem::find(&chunk[at..], b"\r\n.") {
                        at += found + 2;
                        self.state = State::LineStart;
                    } else {
                        self.state = match chunk {
                            [.., b'\r', b'\n'] if chunk.len() - at >= 2 => State::LineStart,
                            [.., b'\r'] => State::Cr,
                            _ => State::Text,
                        };
                        at = chunk.len();
                    }
                }
                State::Cr => {
                    // Only reached at the start of a chunk.
                    if chunk[at] == b'\n' {
                        at += 1;
                        self.state = State::LineStart;
                    } else {
                        self.state = State::Text;
                    }
                }
                State::Dot => {
                    if chunk[at] == b'\r' {
                        at += 1;
                        self.state = State::DotCr;
                    } else {
                        self.state = State::Text;
                    }
                }
                State::DotCr => {
                    if chunk[at] == b'\n' {
                        self.state = State::LineStart;
                        return Some(End {
                            start: dot,
                            end: at + 1,
                        });
                    }
                    // The line began with a dot after all. Its CR is content;
                    // if it came in an earlier chunk it is owed.
                    if at == 0 {
                        content(b"\r");
                    }
                    self.state = State::Text;
                }
            }
        }
        let held = usize::from(self.state == State::DotCr && from < at);
        if from < at - held {
            content(&chunk[from..at - held]);
        }
        None
    }
}
