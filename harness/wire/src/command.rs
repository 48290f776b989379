//! Command lines (RFC 5321 4.1): a parser that never fails and never loses the
//! raw line.

use crate::line::trim_ending;
use crate::verb::Verb;

/// A command line and what could be read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The line as it was on the wire, without its line ending.
    pub raw: &'a [u8],
    /// Its verb.
    pub verb: Verb,
    /// Its argument.
    pub argument: Argument<'a>,
}

/// The argument of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument<'a> {
    /// MAIL or RCPT: path and parameters.
    Envelope(Envelope<'a>),
    /// BDAT: the size of the chunk that follows.
    Chunk(Chunk),
    /// Everything after the verb, without the spaces around it. For verbs that
    /// are not interpreted.
    Text(&'a [u8]),
    /// The line does not follow the grammar of its verb, or has no verb.
    Malformed(&'static str),
}

/// Path and parameters of MAIL or RCPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The mailbox as sent, without angle brackets, source route and spaces
    /// around it; empty for the null reverse path.
    pub address: &'a [u8],
    /// The ESMTP parameters.
    pub params: Params<'a>,
}

/// Argument of BDAT (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub size: u64,
    /// Whether this chunk ends the message.
    pub last: bool,
}

/// ESMTP parameters of MAIL or RCPT, as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(
    /// The bytes after the path, without the spaces around them.
    pub &'a [u8],
);

impl<'a> Params<'a> {
    /// Every parameter: keyword, and value if there is a `=`.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.0
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .map(|word| match memchr::memchr(b'=', word) {
                Some(at) => (&word[..at], Some(&word[at + 1..])),
                None => (word, None),
            })
    }

    /// The first parameter with this keyword, in any case: its value, or `""`
    /// where it has none.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(keyword.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The value of SIZE (RFC 1870), if it is a number that fits.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        number(self.get("SIZE")?)
    }

    /// The value of BODY (RFC 6152).
    #[must_use]
    pub fn body(&self) -> Option<&'a [u8]> {
        self.get("BODY")
    }
}

impl<'a> Command<'a> {
    /// Reads a command line, with or without its line ending.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let raw = trim_ending(line);
        let end = memchr::memchr2(b' ', b'\t', raw).unwrap_or(raw.len());
        let verb = Verb::from_word(&raw[..end]);
        let rest = raw[end..].trim_ascii();
        let argument = match verb {
            Verb::Malformed => Argument::Malformed("a command line must begin with a verb"),
            _ if memchr::memchr3(b'\r', b'\n', 0, rest).is_some() => {
                Argument::Malformed("a command line must not hold CR, LF or NUL")
            }
            Verb::Mail => envelope(rest, b"FROM:"),
            Verb::Rcpt => envelope(rest, b"TO:"),
            Verb::Bdat => chunk(rest),
            _ => Argument::Text(rest),
        };
        Self {
            raw,
            verb,
            argument,
        }
    }

    /// Path and parameters, if this is a well-formed MAIL or RCPT.
    #[must_use]
    pub fn envelope(&self) -> Option<Envelope<'a>> {
        match self.argument {
            Argument::Envelope(envelope) => Some(envelope),
            _ => None,
        }
    }
}

/// The number in `digits`: decimal, at most 20 digits (RFC 1870, RFC 3030).
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn chunk(rest: &[u8]) -> Argument<'_> {
    let mut words = rest
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let size = words.next().and_then(number);
    let last = words.next();
    match (size, last, words.next()) {
        (Some(size), None, None) => Argument::Chunk(Chunk { size, last: false }),
        (Some(size), Some(word), None) if word.eq_ignore_ascii_case(b"LAST") => {
            Argument::Chunk(Chunk { size, last: true })
        }
        _ => Argument::Malformed("BDAT takes a size and, on the last chunk, LAST (RFC 3030)"),
    }
}

fn envelope<'a>(rest: &'a [u8], keyword: &[u8]) -> Argument<'a> {
    let Some((word, path)) = rest.split_at_checked(keyword.len()) else {
        return Argument::Malformed("MAIL needs FROM:<path>, RCPT needs TO:<path>");
    };
    if !word.eq_ignore_ascii_case(keyword) {
        return Argument::Malformed("MAIL needs FROM:<path>, RCPT needs TO:<path>");
    }
    // A space after the colon is not in the grammar, but widely sent.
    let path = path.trim_ascii_start();
    let (address, params) = match path {
        [b'<', inner @ ..] => match closing(inner) {
            Some(at) => (&inner[..at], &inner[at + 1..]),
            None => return Argument::Malformed("a path that begins with < must end with >"),
        },
        [] => return Argument::Malformed("the path is missing"),
        // Without angle brackets: not in the grammar, accepted by many servers.
        bare => bare.split_at(memchr::memchr(b' ', bare).unwrap_or(bare.len())),
    };
    if !params.is_empty() && !params.starts_with(b" ") {
        return Argument::Malformed("a space must separate the path from its parameters");
    }
    Argument::Envelope(Envelope {
        address: without_route(address.trim_ascii()),
        params: Params(params.trim_ascii()),
    })
}

/// Where the `>` is that ends a path, quoted strings apart.
fn closing(path: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut quoted = false;
    loop {
        at += memchr::memchr3(b'>', b'"', b'\\', &path[at..])?;
        match path[at] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
        at += 1;
        if at > path.len() {
            return None;
        }
    }
}

/// `@a,@b:user@domain` without its route (RFC 5321 C: accepted and ignored).
fn without_route(path: &[u8]) -> &[u8] {
    if !path.starts_with(b"@") {
        return path;
    }
    match memchr::memchr(b':', path) {
        Some(at) => &path[at + 1..],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(line: &str) -> (&[u8], &[u8]) {
        match Command::parse(line.as_bytes()).argument {
            Argument::Envelope(envelope) => (envelope.address, envelope.params.0),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn paths_and_parameters() {
        for (line, address, params) in [
            ("MAIL FROM:<>", "", ""),
            ("MAIL FROM:<> SIZE=1\r\n", "", "SIZE=1"),
            (
                "mail from:<a@b.c>  SIZE=1  BODY=8BITMIME ",
                "a@b.c",
                "SIZE=1  BODY=8BITMIME",
            ),
            ("RCPT TO:<Postmaster>", "Postmaster", ""),
            ("RCPT TO: <A@b> NOTIFY=NEVER", "A@b", "NOTIFY=NEVER"),
            ("RCPT TO:< a@b > NOTIFY=NEVER", "a@b", "NOTIFY=NEVER"),
            ("RCPT TO:a@b NOTIFY=NEVER", "a@b", "NOTIFY=NEVER"),
            ("RCPT TO:<\"a b>c\"@d> X=y", "\"a b>c\"@d", "X=y"),
            ("RCPT TO:<\"a\\\"b>\"@d>", "\"a\\\"b>\"@d", ""),
            ("RCPT TO:<@x,@y:a@b>", "a@b", ""),
            ("RCPT TO:<u@[IPv6:::1]>", "u@[IPv6:::1]", ""),
        ] {
            assert_eq!(
                path(line),
                (address.as_bytes(), params.as_bytes()),
                "{line}"
            );
        }
        let line = b"MAIL FROM:<a@b> size=42 BODY=8BITMIME SMTPUTF8 X=";
        let params = Command::parse(line).envelope().unwrap().params;
        assert_eq!(params.size(), Some(42));
        assert_eq!(params.body(), Some(&b"8BITMIME"[..]));
        assert_eq!(params.get("smtputf8"), Some(&b""[..]));
        assert_eq!(params.get("AUTH"), None);
        assert_eq!(params.iter().count(), 4);
        for size in [
            "",
            "-1",
            "1x",
            "99999999999999999999",
            "000000000000000000000",
        ] {
            assert_eq!(
                Params(format!("SIZE={size}").as_bytes()).size(),
                None,
                "{size}"
            );
        }
    }

    #[test]
    fn malformed_lines_keep_their_bytes() {
        for line in [
            &b""[..],
            b" MAIL FROM:<a>",
            b"\xff\xfe",
            b"MAIL",
            b"MAIL FROM",
            b"MAIL FROM:",
            b"MAIL TO:<a>",
            b"MAIL FROM:<a",
            b"MAIL FROM:<\"a>",
            b"MAIL FROM:<\"a\\",
            b"MAIL FROM:<a>SIZE=1",
            b"RCPT TO:<a\0b>",
            b"RCPT TO:<a\rb>",
            b"BDAT",
            b"BDAT x",
            b"BDAT 1 LOST",
            b"BDAT 1 LAST 2",
            b"BDAT 18446744073709551616",
        ] {
            let command = Command::parse(line);
            assert_eq!(command.raw, line);
            assert!(
                matches!(command.argument, Argument::Malformed(_)),
                "{command:?}"
            );
        }
    }

    #[test]
    fn other_verbs_keep_their_argument() {
        let command = Command::parse(b"XShadow  id=1 q \r\n");
        assert_eq!(command.verb.as_str(), "XSHADOW");
        assert_eq!(command.argument, Argument::Text(b"id=1 q"));
        assert_eq!(command.raw, b"XShadow  id=1 q ");
        let chunk = |line: &'static str| Command::parse(line.as_bytes()).argument;
        assert_eq!(
            chunk("BDAT 0 last"),
            Argument::Chunk(Chunk {
                size: 0,
                last: true
            })
        );
        assert_eq!(
            chunk("BDAT 86"),
            Argument::Chunk(Chunk {
                size: 86,
                last: false
            })
        );
    }
}
