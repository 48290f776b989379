//! Message content inside DATA: dot-stuffing and the end of data
//! (RFC 5321 4.1.1.4, 4.5.2).

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A line break and a dot: the only place where there is anything to do.
static LINE_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));

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
    for at in LINE_DOT.find_iter(content) {
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

/// What in some content breaks RFC 5321 or needs an extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// CR without LF after it (2.3.8: must not be sent).
    pub bare_cr: usize,
    /// LF without CR before it (2.3.8: must not be sent).
    pub bare_lf: usize,
    /// NUL bytes (RFC 5322 2.3: must not be in a body).
    pub nul: usize,
    /// Bytes above 127 (need 8BITMIME, RFC 6152).
    pub eight_bit: usize,
    /// Longest line in bytes, its CRLF not counted (4.5.3.1.6: at most 998).
    pub longest_line: usize,
}

/// Counts what is unusual in `content`.
#[must_use]
pub fn census(content: &[u8]) -> Census {
    let mut census = Census::default();
    let mut line = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', content) {
        let ends_line = content[at] == b'\n' && content[..at].ends_with(b"\r");
        if ends_line {
            census.longest_line = census.longest_line.max(at - 1 - line);
            line = at + 1;
        } else if content[at] == b'\n' {
            census.bare_lf += 1;
        } else if content.get(at + 1) != Some(&b'\n') {
            census.bare_cr += 1;
        }
    }
    census.longest_line = census.longest_line.max(content.len() - line);
    census.nul = memchr::memchr_iter(0, content).count();
    census.eight_bit = content.iter().filter(|byte| !byte.is_ascii()).count();
    census
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
        let finder = &*LINE_DOT;
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
                    if let Some(found) = finder.find(&chunk[at..]) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scans chunks; gives the content and where the data ended in the whole.
    fn scan(chunks: &[&[u8]]) -> (Vec<u8>, Option<End>) {
        let mut scanner = Scanner::default();
        let mut content = Vec::new();
        let mut before = 0;
        for chunk in chunks {
            let end = scanner.scan(chunk, |piece| {
                assert!(!piece.is_empty());
                content.extend_from_slice(piece);
            });
            if let Some(End { start, end }) = end {
                let (start, end) = (before + start, before + end);
                return (content, Some(End { start, end }));
            }
            before += chunk.len();
        }
        (content, None)
    }

    /// The rule, a byte at a time: RFC 5321 4.1.1.4 and 4.5.2.
    fn plain_scan(data: &[u8]) -> (Vec<u8>, Option<End>) {
        let mut content = Vec::new();
        let mut at = 0;
        loop {
            let rest = &data[at..];
            let line_start = at == 0 || data[..at].ends_with(b"\r\n");
            if line_start && rest.starts_with(b".\r\n") {
                let (start, end) = (at, at + 3);
                return (content, Some(End { start, end }));
            }
            match rest {
                [] => return (content, None),
                [b'.', ..] if line_start => {}
                [byte, ..] => content.push(*byte),
            }
            at += 1;
        }
    }

    #[test]
    fn stuffing_adds_what_is_needed_and_no_more() {
        for (content, wire) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n\r\n", "a\r\n\r\n.\r\n"),
            ("\r\n", "\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n.a\r\n..b\r\n", "...\r\n..a\r\n...b\r\n.\r\n"),
            ("a.b\r\n", "a.b\r\n.\r\n"),
            ("a\n.\n", "a\n.\n\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
        ] {
            let mut out = b"before".to_vec();
            stuff(content.as_bytes(), &mut out);
            assert_eq!(out, format!("before{wire}").as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn a_census_counts_each_fault_once() {
        let count = |content: &str| {
            let census = census(content.as_bytes());
            (census.bare_cr, census.bare_lf, census.longest_line)
        };
        assert_eq!(count(""), (0, 0, 0));
        assert_eq!(count("ab\r\nabc\r\na"), (0, 0, 3));
        assert_eq!(count("a\nb\r\n"), (0, 1, 3));
        assert_eq!(count("a\rb\r\r\n"), (2, 0, 4));
        assert_eq!(count("\n\r\n\n\r"), (1, 2, 2));
        let other = census("\0é\0".as_bytes());
        assert_eq!((other.nul, other.eight_bit, other.longest_line), (2, 2, 4));
    }

    #[test]
    fn only_crlf_dot_crlf_ends_data() {
        // What some servers take for the end of data, and one of which a smuggled
        // message would follow.
        for smuggling in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\n.\r",
            "\r.\n",
            "\r\n.\r\r\n",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
            "\r\n. \r\n",
            "\r\r\n.\r\r\n",
            "\n\n.\r\n",
            "\r\n..\r\n",
        ] {
            let data = format!("a{smuggling}MAIL FROM:<b>\r\n.\r\nQUIT\r\n");
            let bytes = data.as_bytes();
            let end = bytes.len() - b"QUIT\r\n".len();
            let whole = scan(&[bytes]);
            let expected = Some(End {
                start: end - 3,
                end,
            });
            assert_eq!(whole.1, expected, "{smuggling:?}");
            assert_eq!(whole, plain_scan(bytes), "{smuggling:?}");
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    let (content, end) = scan(&parts);
                    assert_eq!(content, whole.0, "{smuggling:?} at {first}, {second}");
                    let found = end.map(|end| end.end);
                    assert_eq!(found, expected.map(|end| end.end), "{smuggling:?}");
                }
            }
        }
        for (data, content) in [
            (".\r\n", ""),
            ("\r\n.\r\n", "\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
        ] {
            let (got, end) = scan(&[data.as_bytes()]);
            assert_eq!(got, content.as_bytes());
            assert_eq!(end.map(|end| end.end), Some(data.len()));
        }
    }

    #[test]
    fn the_terminator_has_not_passed_before_its_start() {
        let data = b"a\r\n.\r\n";
        for cut in 0..data.len() {
            let mut scanner = Scanner::default();
            let early = scanner.scan(&data[..cut], |_| {});
            assert_eq!(early, None);
            let late = scanner.scan(&data[cut..], |_| {});
            let start = 3usize.saturating_sub(cut);
            let end = data.len() - cut;
            assert_eq!(late, Some(End { start, end }));
        }
    }

    /// Bytes that matter, often.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => Just(b'.'),
            4 => Just(b'\r'),
            4 => Just(b'\n'),
            1 => any::<u8>(),
        ];
        let piece = prop_oneof![
            byte.prop_map(|byte| vec![byte]),
            Just(b"\r\n".to_vec()),
            Just(b"\r\n.".to_vec()),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn scanning_follows_the_rule(data in bytes(), cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect();
            let (mut content, end) = scan(&chunks);
            let (expected, expected_end) = plain_scan(&data);
            prop_assert_eq!(end.map(|end| end.end), expected_end.map(|end| end.end));
            if end.is_none() && data.ends_with(b"\r") && content.len() < expected.len() {
                // A CR behind a dot is held back until it is known what it is.
                content.push(b'\r');
            }
            prop_assert_eq!(content, expected);
        }

        #[test]
        fn content_survives(content in bytes(), cut in 0usize..200) {
            let mut wire = Vec::new();
            stuff(&content, &mut wire);
            let cut = cut.min(wire.len());
            let (got, end) = scan(&[&wire[..cut], &wire[cut..]]);
            prop_assert_eq!(end.map(|end| end.end), Some(wire.len()));
            let mut expected = content;
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(got, expected);
        }
    }
}
