//! Replies as a client reads them (RFC 5321 4.2).

use std::borrow::Cow;

/// Longest reply line; far over the 512 of RFC 5321 4.5.3.1.5.
const MAX_LINE: usize = 4096;
/// Longest reply over all lines; a full batch of discards has 20 KiB.
const MAX_REPLY: usize = 128 << 10;

/// One complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// The code, 200 to 599 (only its first digit is relied on, save for 354
    /// and 421).
    pub(crate) code: u16,
    /// All its bytes.
    raw: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The texts after the code, line by line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.raw
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .map(|line| line.get(4..).unwrap_or_default())
    }

    pub(crate) fn positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    pub(crate) fn permanent(&self) -> bool {
        self.code >= 500
    }

    /// Code and text in one line, for logs and DSNs: printable ASCII, bounded.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("{}", self.code);
        for line in self.lines() {
            if text.len() > 400 {
                break;
            }
            text.push(' ');
            text.extend(line.iter().take(200).map(|b| match b {
                b' '..=b'~' => char::from(*b),
                _ => '?',
            }));
        }
        text
    }

    /// The last line's text, for private verbs.
    pub(crate) fn last_line(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.lines().last().unwrap_or_default())
    }
}

/// The stream is no SMTP reply: whatever follows cannot be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbled(pub(crate) &'static str);

/// The first complete reply in `buffer` and its length; `None` when there is
/// none yet.
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Garbled> {
    let mut at = 0;
    let mut code = 0;
    loop {
        let rest = &buffer[at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return if rest.len() > MAX_LINE || buffer.len() > MAX_REPLY {
                Err(Garbled("a reply is too long"))
            } else {
                Ok(None)
            };
        };
        if end > MAX_LINE || at + end > MAX_REPLY {
            return Err(Garbled("a reply is too long"));
        }
        let line = &rest[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let digits = line.get(..3).unwrap_or_default();
        if digits.len() != 3 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Garbled("a reply does not begin with three digits"));
        }
        let this = digits
            .iter()
            .fold(0, |n: u16, d| n * 10 + u16::from(d - b'0'));
        if !(200..600).contains(&this) || (at > 0 && this != code) {
            return Err(Garbled(
                "a reply code is impossible or changes between lines",
            ));
        }
        code = this;
        at += end + 1;
        match line.get(3) {
            Some(b'-') => {}
            None | Some(b' ') => {
                let raw = &buffer[..at];
                return Ok(Some((Reply { code, raw }, at)));
            }
            Some(_) => {
                return Err(Garbled(
                    "a reply has neither space nor hyphen after its code",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_at_every_cut() {
        let wire = b"250-one\r\n250-two\r\n250 three\r\n354\r\n";
        for cut in 0..28 {
            assert_eq!(parse(&wire[..cut]), Ok(None), "{cut}");
        }
        let (reply, used) = parse(wire).unwrap().unwrap();
        assert_eq!((reply.code, used), (250, 29));
        assert_eq!(reply.lines().count(), 3);
        assert_eq!(reply.last_line(), "three");
        assert_eq!(reply.summary(), "250 one two three");
        let (reply, _) = parse(&wire[29..]).unwrap().unwrap();
        assert_eq!(reply.code, 354);
    }

    #[test]
    fn garbled_replies() {
        for bad in [
            "hello\r\n",
            "25\r\n",
            "250x\r\n",
            "199 a\r\n",
            "600 a\r\n",
            "250-a\r\n251 b\r\n",
            "\r\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(&vec![b'2'; MAX_LINE + 1]).is_err());
        let endless = b"250-a\r\n".repeat(MAX_REPLY);
        assert!(parse(&endless).is_err());
    }
}
