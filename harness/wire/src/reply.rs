//! Replies (RFC 5321 4.2): a strict incremental parser that keeps the raw
//! bytes, and formatting.

use std::fmt;

use crate::line::Line;

/// Longest reply line accepted, in bytes with its CRLF. RFC 5321 4.5.3.1.5 asks
/// for 512; real servers exceed it.
pub const MAX_LINE: usize = 4096;

/// Most lines in one reply.
pub const MAX_LINES: usize = 128;

/// One complete reply: its code and its bytes as they were on the wire.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    code: u16,
    raw: Line,
}

impl Reply {
    /// A reply with one line a line of `text` (cut at LF). Control characters
    /// in the text become `?`, so that no reply can be forged through it, and a
    /// line is cut where the reply line would exceed [`MAX_LINE`].
    ///
    /// # Panics
    /// If `code` is outside 200..=599 or its second digit is above 5: replies
    /// are written by the programmer, not by input. [`Reply::parse`] reads input.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        assert!(is_code(code), "{code} is not an SMTP reply code");
        let digits = digits(code);
        if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_none()
            && text.len() + 6 <= MAX_LINE
            && text.bytes().all(is_text)
        {
            let raw = Line::concat(&[&digits, b" ", text.as_bytes(), b"\r\n"]);
            return Self { code, raw };
        }
        let lines: Vec<&str> = text.lines().take(MAX_LINES).collect();
        let mut raw = Vec::with_capacity(text.len() + lines.len() * 6);
        for (index, line) in lines.iter().enumerate() {
            raw.extend_from_slice(&digits);
            raw.push(if index + 1 == lines.len() { b' ' } else { b'-' });
            let line = &line.as_bytes()[..line.len().min(MAX_LINE - 6)];
            raw.extend(
                line.iter()
                    .map(|byte| if is_text(*byte) { *byte } else { b'?' }),
            );
            raw.extend_from_slice(b"\r\n");
        }
        Self {
            code,
            raw: raw.into(),
        }
    }

    /// Reads one complete reply, such as `452 4.3.1 full`. A final CRLF may be
    /// left out.
    ///
    /// # Errors
    /// If `text` is not exactly one reply.
    pub fn parse(text: &[u8]) -> Result<Self, ReplyError> {
        let mut parser = ReplyParser::default();
        let (mut used, mut reply) = parser.read(text)?;
        if reply.is_none() {
            let ending: &[u8] = if text.ends_with(b"\r") {
                b"\n"
            } else {
                b"\r\n"
            };
            used = text.len();
            reply = parser.read(ending)?.1;
        }
        match reply {
            Some(reply) if used == text.len() => Ok(reply),
            Some(_) => Err(ReplyError::Trailing),
            None => Err(ReplyError::Unfinished),
        }
    }

    /// The reply code, 200..=559.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The bytes as they were on the wire, every CRLF included.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The text of each line, without code, separator and CRLF.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.raw.as_bytes();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let line = &rest[..end.saturating_sub(1)];
            rest = &rest[end + 1..];
            Some(line.get(4..).unwrap_or_default())
        })
    }

    /// The text of the first line.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.lines().next().unwrap_or_default()
    }

    /// The enhanced status code that begins the first line (RFC 2034), as
    /// (class, subject, detail).
    #[must_use]
    pub fn enhanced(&self) -> Option<(u16, u16, u16)> {
        let word = self.text().split(|byte| *byte == b' ').next()?;
        let mut numbers = word.split(|byte| *byte == b'.').map(|part| {
            let short = !part.is_empty() && part.len() <= 3 && part.iter().all(u8::is_ascii_digit);
            short.then(|| {
                part.iter()
                    .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
            })
        });
        let found = (numbers.next()??, numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && matches!(found.0, 2 | 4 | 5)).then_some(found)
    }

    /// 2yz: done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: not so.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// 4yz or 5yz.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.raw, f)
    }
}

/// The reply on one line, line breaks as ` / `, everything unprintable escaped.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (index, line) in self.lines().enumerate() {
            let gap = if index == 0 { " " } else { " / " };
            write!(f, "{gap}{}", line.escape_ascii())?;
        }
        Ok(())
    }
}

/// RFC 5321 4.2: `Reply-code = %x32-35 %x30-35 %x30-39`.
fn is_code(code: u16) -> bool {
    (200..=599).contains(&code) && code / 10 % 10 <= 5
}

fn digits(code: u16) -> [u8; 3] {
    // Each is one decimal digit.
    [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8)
}

/// Reply text may hold tabs, printable ASCII and, with SMTPUTF8, 8-bit bytes.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Why bytes from a server are not a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The line does not begin with a code of the grammar and SP, `-` or CRLF.
    #[error(
        "a reply line must begin with a code 2-5, 0-5, 0-9 and then SP, `-` or CRLF (RFC 5321 4.2), got `{0}`"
    )]
    NotACode(String),
    /// A line of the same reply has another code.
    #[error(
        "a reply that began with {first} goes on with {then}; every line must have the same code (RFC 5321 4.2.1)"
    )]
    CodeChanged {
        /// Code of the first line.
        first: u16,
        /// Code of this line.
        then: u16,
    },
    /// A LF without CR before it.
    #[error("a reply line ends in LF without CR (RFC 5321 2.3.8)")]
    BareLf,
    /// A CR without LF after it.
    #[error("a reply line holds CR without LF (RFC 5321 2.3.8)")]
    BareCr,
    /// A line longer than [`MAX_LINE`].
    #[error("a reply line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// A reply of more than [`MAX_LINES`] lines.
    #[error("a reply has more than {MAX_LINES} lines")]
    TooManyLines,
    /// [`Reply::parse`]: bytes follow the reply.
    #[error("expected one reply, but more bytes follow it")]
    Trailing,
    /// [`Reply::parse`]: the last line has `-` after its code.
    #[error("expected one reply, but its last line announces another with `-`")]
    Unfinished,
}

/// Cuts a server's bytes into replies, however they are split into chunks.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// Bytes of the unfinished reply.
    partial: Vec<u8>,
    /// Where its unfinished line begins.
    line_start: usize,
    lines: usize,
    code: u16,
    failed: Option<ReplyError>,
}

impl ReplyParser {
    /// Reads up to and including the end of the next reply. Returns how many
    /// bytes of `input` were used, and the reply if it is complete. Call again
    /// with the rest until no reply comes and everything is used.
    ///
    /// # Errors
    /// If the bytes break the grammar or a bound. The parser cannot go on after
    /// that: every further call returns the same error.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance(input)
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Whether part of a reply has been read.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    fn advance(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let lf = memchr::memchr(b'\n', rest);
            let piece = &rest[..lf.map_or(rest.len(), |lf| lf + 1)];
            used += piece.len();
            if self.partial.len() - self.line_start + piece.len() > MAX_LINE {
                return Err(ReplyError::LineTooLong);
            }
            if lf.is_some() && self.partial.is_empty() {
                let (code, last) = read_line(piece)?;
                if last {
                    let raw = piece.into();
                    return Ok((used, Some(Reply { code, raw })));
                }
            }
            self.partial.extend_from_slice(piece);
            if lf.is_none() {
                return Ok((used, None));
            }
            let (code, last) = read_line(&self.partial[self.line_start..])?;
            if self.lines > 0 && code != self.code {
                let first = self.code;
                return Err(ReplyError::CodeChanged { first, then: code });
            }
            self.code = code;
            self.lines += 1;
            if last {
                let raw = self.partial.as_slice().into();
                self.partial.clear();
                self.line_start = 0;
                self.lines = 0;
                return Ok((used, Some(Reply { code, raw })));
            }
            if self.lines == MAX_LINES {
                return Err(ReplyError::TooManyLines);
            }
            self.line_start = self.partial.len();
        }
    }
}

/// The code of a line that ends in LF, and whether it is the reply's last.
fn read_line(line: &[u8]) -> Result<(u16, bool), ReplyError> {
    let [text @ .., b'\r', b'\n'] = line else {
        return Err(ReplyError::BareLf);
    };
    if memchr::memchr(b'\r', text).is_some() {
        return Err(ReplyError::BareCr);
    }
    let (code, last) = match text {
        [a, b, c] => ([a, b, c], true),
        [a, b, c, b' ', ..] => ([a, b, c], true),
        [a, b, c, b'-', ..] => ([a, b, c], false),
        _ => return Err(not_a_code(text)),
    };
    if !code.iter().all(|digit| digit.is_ascii_digit()) {
        return Err(not_a_code(text));
    }
    let code = code
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
    if !is_code(code) {
        return Err(not_a_code(text));
    }
    Ok((code, last))
}

fn not_a_code(text: &[u8]) -> ReplyError {
    ReplyError::NotACode(text[..text.len().min(40)].escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(chunks: &[&[u8]]) -> Result<Vec<Reply>, ReplyError> {
        let mut parser = ReplyParser::default();
        let mut replies = Vec::new();
        for chunk in chunks {
            let mut at = 0;
            while at < chunk.len() {
                let (used, reply) = parser.read(&chunk[at..])?;
                at += used;
                replies.extend(reply);
            }
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_the_same_at_every_split() {
        let stream: &[u8] =
            b"220 mx ESMTP\r\n250-mx\r\n250-SIZE 10\r\n250 8BITMIME\r\n250\r\n250-\r\n250 \r\n354 go on\r\n559 2.0.0 caf\xc3\xa9\r\n";
        let whole = read_all(&[stream]).unwrap();
        assert_eq!(
            whole.iter().map(Reply::code).collect::<Vec<_>>(),
            [220, 250, 250, 250, 354, 559]
        );
        assert_eq!(
            whole[1].lines().collect::<Vec<_>>(),
            [&b"mx"[..], b"SIZE 10", b"8BITMIME"]
        );
        assert_eq!(whole[2].text(), b"");
        let raw: Vec<u8> = whole
            .iter()
            .flat_map(|reply| reply.raw().to_vec())
            .collect();
        assert_eq!(raw, stream);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(read_all(&parts).unwrap(), whole);
            }
        }
        for byte in [1, 2] {
            let parts: Vec<&[u8]> = stream.chunks(byte).collect();
            assert_eq!(read_all(&parts).unwrap(), whole);
        }
    }

    #[test]
    fn what_is_not_a_reply_is_refused_at_every_split() {
        for (bytes, error) in [
            (&b"250 ok\n"[..], ReplyError::BareLf),
            (b"250 o\rk\r\n", ReplyError::BareCr),
            (b"250 ok\r\r\n", ReplyError::BareCr),
            (
                b"250-a\r\n251 b\r\n",
                ReplyError::CodeChanged {
                    first: 250,
                    then: 251,
                },
            ),
            (b"150 no\r\n", ReplyError::NotACode("150 no".into())),
            (b"650 no\r\n", ReplyError::NotACode("650 no".into())),
            (b"260 no\r\n", ReplyError::NotACode("260 no".into())),
            (b"25 no\r\n", ReplyError::NotACode("25 no".into())),
            (b"2500 no\r\n", ReplyError::NotACode("2500 no".into())),
            (b"250_no\r\n", ReplyError::NotACode("250_no".into())),
            (b"\r\n", ReplyError::NotACode(String::new())),
        ] {
            for cut in 0..=bytes.len() {
                let parts = [&bytes[..cut], &bytes[cut..]];
                assert_eq!(read_all(&parts), Err(error.clone()), "{bytes:?} at {cut}");
            }
        }
    }

    #[test]
    fn lines_and_replies_are_bounded() {
        let line = |len: usize| [b"250 ".as_slice(), &vec![b'x'; len - 6], b"\r\n"].concat();
        assert_eq!(read_all(&[&line(MAX_LINE)]).unwrap().len(), 1);
        assert_eq!(
            read_all(&[&line(MAX_LINE + 1)]),
            Err(ReplyError::LineTooLong)
        );
        let endless = vec![b'2'; MAX_LINE + 1];
        assert_eq!(read_all(&[&endless]), Err(ReplyError::LineTooLong));
        let lines = |count: usize| [b"250-x\r\n".repeat(count - 1), b"250 x\r\n".to_vec()].concat();
        assert_eq!(read_all(&[&lines(MAX_LINES)]).unwrap().len(), 1);
        assert_eq!(
            read_all(&[&lines(MAX_LINES + 1)]),
            Err(ReplyError::TooManyLines)
        );
    }

    #[test]
    fn a_failed_parser_stays_failed() {
        let mut parser = ReplyParser::default();
        assert!(parser.read(b"hello\r\n").is_err());
        assert!(parser.read(b"250 ok\r\n").is_err());
    }

    #[test]
    fn formatting_and_parsing_agree() {
        let one = Reply::new(250, "2.1.5 ok");
        assert_eq!(one.raw(), b"250 2.1.5 ok\r\n");
        assert_eq!(one.enhanced(), Some((2, 1, 5)));
        let many = Reply::new(250, "mx\nSIZE 1\nDSN");
        assert_eq!(many.raw(), b"250-mx\r\n250-SIZE 1\r\n250 DSN\r\n");
        assert_eq!(many.to_string(), "250 mx / SIZE 1 / DSN");
        assert_eq!(Reply::new(554, "a\rb\u{0}").raw(), b"554 a?b?\r\n");
        assert_eq!(Reply::new(221, "").raw(), b"221 \r\n");
        for reply in [one, many] {
            assert_eq!(Reply::parse(reply.raw()), Ok(reply));
        }
        assert_eq!(Reply::parse(b"452 full").unwrap().raw(), b"452 full\r\n");
        assert_eq!(Reply::parse(b"452-full"), Err(ReplyError::Unfinished));
        assert_eq!(
            Reply::parse(b"452 full\r\n250 ok"),
            Err(ReplyError::Trailing)
        );
        assert_eq!(Reply::parse(b"250 1.2.3.4 x").unwrap().enhanced(), None);
        assert_eq!(Reply::parse(b"250 3.0.0 x").unwrap().enhanced(), None);
    }
}
