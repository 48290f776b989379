//! Message content on the wire: the end of data, and dots.
//!
//! Only `CR LF . CR LF` ends the data (RFC 5321 4.1.1.4). A CR or LF alone is
//! noted, so that the message can be refused: other servers read such bytes
//! as line ends, and what they make of them is how mail is smuggled.

use bytes::{BufMut as _, BytesMut};

/// What the scanner has seen up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a line.
    LineStart,
    /// Inside a line.
    Text,
    /// After a CR that is still to be written.
    Cr,
    /// After a dot at the beginning of a line, not written.
    Dot,
    /// After that dot and a CR.
    DotCr,
}

/// Takes content apart from its end.
#[derive(Debug)]
pub(crate) struct DataScanner {
    state: State,
    /// A CR or LF stood alone somewhere.
    bare: bool,
}

impl DataScanner {
    pub(crate) fn new() -> Self {
        Self {
            state: State::LineStart,
            bare: false,
        }
    }

    /// Whether a bare CR or LF was met.
    pub(crate) fn bare(&self) -> bool {
        self.bare
    }

    /// Takes `data`, appends the content in it to `out` without the dots that
    /// were added for transport, and says how many bytes it used up and
    /// whether the data ended there.
    pub(crate) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while at < data.len() {
            match self.state {
                State::Text => {
                    let rest = &data[at..];
                    match memchr::memchr2(b'\r', b'\n', rest) {
                        None => {
                            out.extend_from_slice(rest);
                            at = data.len();
                        }
                        Some(end) => {
                            if rest[end] == b'\n' {
                                // A line feed alone stays content, and the
                                // line goes on.
                                self.bare = true;
                                out.extend_from_slice(&rest[..=end]);
                                at += end + 1;
                            } else if rest.get(end + 1) == Some(&b'\n') {
                                out.extend_from_slice(&rest[..end + 2]);
                                at += end + 2;
                                self.state = State::LineStart;
                            } else {
                                out.extend_from_slice(&rest[..end]);
                                at += end + 1;
                                self.state = State::Cr;
                            }
                        }
                    }
                }
                State::LineStart => {
                    if data[at] == b'.' {
                        self.state = State::Dot;
                        at += 1;
                    } else {
                        self.state = State::Text;
                    }
                }
                State::Cr => {
                    out.push(b'\r');
                    if data[at] == b'\n' {
                        out.push(b'\n');
                        at += 1;
                        self.state = State::LineStart;
                    } else {
                        self.bare = true;
                        self.state = State::Text;
                    }
                }
                State::Dot => {
                    if data[at] == b'\r' {
                        self.state = State::DotCr;
                        at += 1;
                    } else {
                        // The dot was stuffing; what follows is content.
                        self.state = State::Text;
                    }
                }
                State::DotCr => {
                    if data[at] == b'\n' {
                        return (at + 1, true);
                    }
                    self.bare = true;
                    out.push(b'\r');
                    self.state = State::Text;
                }
            }
        }
        (at, false)
    }
}

/// Appends `content` to `out` with a dot more wherever a line begins with
/// one, and the final dot. Content that does not end in CRLF gets one.
pub(crate) fn stuff(content: &[u8], out: &mut BytesMut) {
    out.reserve(content.len() + 5);
    stuff_part(content, out);
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

/// The same without the end, for a part that begins at the start of a line.
pub(crate) fn stuff_part(content: &[u8], out: &mut BytesMut) {
    if content.first() == Some(&b'.') {
        out.put_u8(b'.');
    }
    let mut from = 0;
    for at in memchr::memchr_iter(b'.', content) {
        // Only CRLF begins a line; content with a bare CR or LF is refused
        // at reception and never gets here.
        if at >= 2 && content[at - 2..at] == *b"\r\n" {
            out.extend_from_slice(&content[from..at]);
            out.put_u8(b'.');
            from = at;
        }
    }
    out.extend_from_slice(&content[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(data: &[u8], cut: usize) -> (Vec<u8>, usize, bool, bool) {
        let mut scanner = DataScanner::new();
        let (mut out, mut used) = (Vec::new(), 0);
        for part in [&data[..cut], &data[cut..]] {
            let (n, done) = scanner.push(part, &mut out);
            used += n;
            if done {
                return (out, used, true, scanner.bare());
            }
        }
        (out, used, false, scanner.bare())
    }

    #[test]
    fn dots_come_back_at_every_cut() {
        for content in [
            &b""[..],
            b"a\r\n",
            b".\r\n",
            b"..\r\n.a\r\n\r\n",
            b"a.b\r\n..c\r\n.\r\n",
        ] {
            let mut wire = BytesMut::new();
            stuff(content, &mut wire);
            let end = wire.len();
            wire.extend_from_slice(b"QUIT\r\n");
            for cut in 0..=wire.len() {
                assert_eq!(
                    scan(&wire, cut),
                    (content.to_vec(), end, true, false),
                    "{content:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn nothing_else_ends_the_data() {
        for fake in [
            "a\n.\n",
            "a\n.\r\n",
            "a\r\n.\n",
            "a\r.\r",
            "a\r.\r\n",
            "a\n.\r",
            "a\r\n.\r",
            "a\r\n\0.\r\n",
            "a\r\n.\0\r\n",
            "a\r\r\n.\r\r\n",
        ] {
            let mut wire = fake.as_bytes().to_vec();
            wire.extend_from_slice(b"MAIL\r\n.\r\n");
            for cut in 0..=wire.len() {
                let (out, used, done, _) = scan(&wire, cut);
                assert!(done && used == wire.len(), "{fake:?} cut at {cut}");
                assert!(out.ends_with(b"MAIL\r\n"), "{fake:?}");
            }
        }
        // All but the NUL ones hold a bare CR or LF, and that is seen.
        for fake in [
            "a\n.\n\r\n.\r\n",
            "a\r.\r\r\n.\r\n",
            "a\r\n.\rx\r\n.\r\n",
            "\n\r\n.\r\n",
        ] {
            for cut in 0..=fake.len() {
                assert!(scan(fake.as_bytes(), cut).3, "{fake:?} cut at {cut}");
            }
        }
    }
}
