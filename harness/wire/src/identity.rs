//! Recognising the harness's own messages after a relay has handled them.

use crate::Digest;
use crate::header::{Field, Fields, Parts, after_header, find_body};

/// Name of the header that carries the identity.
pub(crate) const IDENTITY_HEADER: &str = "X-Mailproof";

/// The host that the harness's own Received line names.
pub(crate) const CLIENT_HOST: &str = "mailproof-client";

/// The headers that no relay may change, in the order in which they are
/// digested.
const DIGESTED: [&str; 6] = [
    IDENTITY_HEADER,
    "Message-ID",
    "Date",
    "From",
    "To",
    "Subject",
];

/// Longest header block that is digested while it streams past, in bytes.
pub const MAX_HEADER: usize = 1024 * 1024;

/// Which of the harness's messages some content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The message's number within the run.
    pub message: u64,
    /// How many envelope recipients the message was made for.
    pub rcpts: u32,
    /// The attempt that brought it here, from the harness's own Received line;
    /// `None` if that line is gone.
    pub attempt: Option<u32>,
}

/// The identity in the header block of `content`; `None` if it is not one of
/// the harness's messages. The body is not needed.
///
/// The topmost identity header counts. Received lines that relays put on top
/// are passed over; ours is known by its host and by naming the same message.
#[must_use]
pub fn identify(content: &[u8]) -> Option<Identity<'_>> {
    let header = Parts::split(content);
    let (run, message, rcpts) = numbers_of(header.first(IDENTITY_HEADER)?)?;
    let attempt = header
        .all("Received")
        .find_map(|field| attempt_of(field, run, message));
    Some(Identity {
        run,
        message,
        rcpts,
        attempt,
    })
}

/// Run, message and number of recipients that an identity header names.
pub(crate) fn numbers_of(field: Field<'_>) -> Option<(&str, u64, u32)> {
    if let Some(found) = numbers_as_written(field.raw_value) {
        return Some(found);
    }
    let mut words = Words(field.raw_value);
    let run = std::str::from_utf8(words.find_map(|word| word.strip_prefix(b"run="))?).ok()?;
    let message = number(words.find_map(|word| word.strip_prefix(b"msg="))?)?;
    let rcpts = number(words.find_map(|word| word.strip_prefix(b"rcpts="))?)?;
    Some((run, message, u32::try_from(rcpts).ok()?))
}

/// The same, if the value stands just as the harness writes it.
fn numbers_as_written(value: &[u8]) -> Option<(&str, u64, u32)> {
    let (run, rest) = run_as_written(value.strip_prefix(b" run=")?)?;
    let (message, rest) = digits(rest.strip_prefix(b" msg=")?)?;
    let (rcpts, rest) = digits(rest.strip_prefix(b" rcpts=")?)?;
    let whole = rest.first().is_none_or(u8::is_ascii_whitespace);
    (whole && rcpts <= u64::from(u32::MAX)).then_some((run, message, rcpts as u32))
}

/// The run's id at the start of `bytes`, and what follows it.
fn run_as_written(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let end = bytes.iter().position(|byte| !letter(byte))?;
    let run = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((run, &bytes[end..]))
}

/// The number at the start of `bytes`, and what follows it. `None` if there is
/// none, or if it has more digits than surely fit.
fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut len = 0;
    while let Some(digit) = bytes.get(len).filter(|byte| byte.is_ascii_digit()) {
        value = value * 10 + u64::from(digit - b'0');
        len += 1;
        if len > 18 {
            return None;
        }
    }
    (len > 0).then(|| (value, &bytes[len..]))
}

/// The place among [`DIGESTED`] of a field that counts for [`body_digest`]; 0 is
/// the identity header.
pub(crate) fn digested(field: Field<'_>) -> Option<usize> {
    // No two of them have the same length and the same first letter.
    let first = field.name.first()?.to_ascii_lowercase();
    let kind = match (field.name.len(), first) {
        (11, b'x') => 0,
        (10, b'm') => 1,
        (4, b'd') => 2,
        (4, b'f') => 3,
        (2, b't') => 4,
        (7, b's') => 5,
        _ => return None,
    };
    field.is(DIGESTED[kind]).then_some(kind)
}

/// The attempt that our own Received line names, if `field` is that line for
/// this message.
pub(crate) fn attempt_of(field: Field<'_>, run: &str, message: u64) -> Option<u32> {
    if let Some(attempt) = attempt_as_written(field.raw_value, run, message) {
        return Some(attempt);
    }
    let mut words = Words(field.raw_value);
    if words.next() != Some(b"from") || words.next() != Some(CLIENT_HOST.as_bytes()) {
        return None;
    }
    let same_run = words.find_map(|word| word.strip_prefix(b"run="))? == run.as_bytes();
    let same_message = number(words.find_map(|word| word.strip_prefix(b"msg="))?)? == message;
    words.find(|word| *word == b"attempt")?;
    let attempt = number(words.next()?)?;
    (same_run && same_message)
        .then(|| u32::try_from(attempt).ok())
        .flatten()
}

/// The same, if the value begins just as the harness writes it.
fn attempt_as_written(value: &[u8], run: &str, message: u64) -> Option<u32> {
    let rest = value.strip_prefix(b" from ")?;
    let rest = rest.strip_prefix(CLIENT_HOST.as_bytes())?;
    let rest = rest.strip_prefix(b" (mailproof run=")?;
    let rest = rest.strip_prefix(run.as_bytes())?;
    let (of, rest) = digits(rest.strip_prefix(b" msg=")?)?;
    let (attempt, rest) = digits(rest.strip_prefix(b" attempt ")?)?;
    (of == message && rest.starts_with(b")"))
        .then(|| u32::try_from(attempt).ok())
        .flatten()
}

/// Words between white space and parentheses, so that folding does not matter.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let gap = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'(' | b')');
        let start = self.0.iter().position(|byte| !gap(byte))?;
        let rest = &self.0[start..];
        let end = rest.iter().position(gap).unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some(&rest[..end])
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Digest of what no relay may change: the harness's own headers (X-Mailproof,
/// Message-ID, Date, From, To, Subject; unfolded) and the body, byte for byte.
/// Received and all other headers are left out, so a relay that only adds
/// trace headers keeps it unchanged.
#[must_use]
pub fn body_digest(content: &[u8]) -> Digest {
    body_digest_with(content, |_| {})
}

/// The [`body_digest`]; `other` sees every header field that does not count for
/// it, from the top.
pub(crate) fn body_digest_with<'a>(content: &'a [u8], other: impl FnMut(Field<'a>)) -> Digest {
    let (lines, body) = digested_headers(content, other);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&lines);
    hasher.update(body);
    *hasher.finalize().as_bytes()
}

/// What of the header block is digested, and the body: a line for each field
/// of [`DIGESTED`], in that order, repeated fields from the top. One pass over
/// the block.
fn digested_headers<'a>(
    content: &'a [u8],
    mut other: impl FnMut(Field<'a>),
) -> (Vec<u8>, &'a [u8]) {
    let mut firsts = [None; DIGESTED.len()];
    let mut repeated = Vec::new();
    let mut fields = Fields::new(content);
    let body = loop {
        if fields.rest().is_empty() {
            break &[][..];
        }
        if let Some(body) = after_header(fields.rest()) {
            break body;
        }
        // A line that is no field says nothing.
        let Some(field) = fields.read() else { continue };
        let Some(kind) = digested(field) else {
            other(field);
            continue;
        };
        if firsts[kind].is_none() {
            firsts[kind] = Some(field);
        } else {
            repeated.push((kind, field));
        }
    };
    let mut lines = Vec::with_capacity(512);
    for (kind, first) in firsts.iter().enumerate() {
        let more = repeated.iter().filter(|(of, _)| *of == kind);
        for field in first.iter().chain(more.map(|(_, field)| field)) {
            lines.extend_from_slice(DIGESTED[kind].as_bytes());
            lines.push(b':');
            field.unfold_into(&mut lines);
            lines.push(b'\n');
        }
    }
    // Ends the list: no field can produce an empty line.
    lines.push(b'\n');
    (lines, body)
}

/// Computes [`body_digest`] of content that comes in pieces.
#[derive(Debug, Default)]
pub struct BodyDigester {
    /// The header block while its end has not been seen.
    header: Vec<u8>,
    /// Start of the last line in it.
    line: usize,
    body: Option<Box<blake3::Hasher>>,
    /// The hasher of an earlier message, kept for the next.
    spare: Option<Box<blake3::Hasher>>,
    too_long: bool,
}

impl BodyDigester {
    /// The next piece of content.
    pub fn update(&mut self, piece: &[u8]) {
        if let Some(hasher) = &mut self.body {
            hasher.update(piece);
            return;
        }
        if self.too_long {
            return;
        }
        if self.header.is_empty() {
            let mut line = 0;
            if let Some(body) = find_body(piece, &mut line) {
                self.begin_body(&piece[..line]);
                self.update(&piece[body..]);
                return;
            }
        }
        let before = self.header.len();
        if before + piece.len() > MAX_HEADER {
            self.too_long = true;
            return;
        }
        self.header.extend_from_slice(piece);
        if let Some(body) = find_body(&self.header, &mut self.line) {
            let header = std::mem::take(&mut self.header);
            self.begin_body(&header[..self.line]);
            self.header = header;
            self.update(&piece[body - before..]);
        }
    }

    /// The digest, and a fresh start. `None` if the header block was longer
    /// than [`MAX_HEADER`].
    pub fn finish(&mut self) -> Option<Digest> {
        if self.body.is_none() {
            let header = std::mem::take(&mut self.header);
            self.begin_body(&header);
            self.header = header;
        }
        let hasher = self.body.take();
        let digest = hasher.as_ref().map(|hasher| *hasher.finalize().as_bytes());
        let too_long = self.too_long;
        self.spare = hasher;
        self.clear();
        if too_long { None } else { digest }
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.header.clear();
        self.line = 0;
        self.too_long = false;
        if let Some(hasher) = self.body.take() {
            self.spare = Some(hasher);
        }
    }

    fn begin_body(&mut self, header: &[u8]) {
        let mut hasher = self.spare.take().unwrap_or_default();
        hasher.reset();
        hasher.update(&digested_headers(header, |_| {}).0);
        self.body = Some(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageSpec;

    fn sample(attempt: u32) -> Vec<u8> {
        let spec = MessageSpec {
            run: "r7",
            number: 42,
            size: 2000,
            seed: 1,
            from: "42.r7@client.mailproof.test",
            to: &["a@mailbox.mailproof.test", "b@mailbox.mailproof.test"],
            unix_seconds: 0,
        };
        spec.content(attempt)
    }

    #[test]
    fn relays_on_top_do_not_hide_the_identity() {
        let content = sample(3);
        let expected = Identity {
            run: "r7",
            message: 42,
            rcpts: 2,
            attempt: Some(3),
        };
        assert_eq!(identify(&content), Some(expected));
        let relayed = [
            &b"Return-Path: <x>\r\nReceived: from mailproof-client (localhost [127.0.0.1])\r\n\tby mx (Postfix) with ESMTP id 4; now\r\n"[..],
            &content,
        ]
        .concat();
        assert_eq!(identify(&relayed), Some(expected));
        assert_eq!(body_digest(&relayed), body_digest(&content));
        assert_eq!(body_digest(&sample(9)), body_digest(&content));
        // Folded anew by a relay.
        let folded = String::from_utf8(content.clone())
            .unwrap()
            .replace(" attempt ", "\r\n attempt\r\n\t");
        assert_eq!(identify(folded.as_bytes()), Some(expected));
        // Our line for another message, as inside a digest of messages.
        for other in ["run=r8 msg=42", "run=r7 msg=43"] {
            let line = format!("Received: from mailproof-client (mailproof {other} attempt 9)\r\n");
            let relayed = [line.as_bytes(), &content].concat();
            assert_eq!(identify(&relayed), Some(expected));
        }
        // Our Received line lost.
        let end = memchr::memmem::find(&content, IDENTITY_HEADER.as_bytes()).unwrap();
        let stripped = Identity {
            attempt: None,
            ..expected
        };
        assert_eq!(identify(&content[end..]), Some(stripped));
        assert_eq!(body_digest(&content[end..]), body_digest(&content));
        // A store's line endings.
        let unix = String::from_utf8(content).unwrap().replace("\r\n", "\n");
        assert_eq!(identify(unix.as_bytes()), Some(expected));
    }

    #[test]
    fn every_digested_field_is_known_by_its_name() {
        for (kind, name) in DIGESTED.iter().enumerate() {
            for name in [(*name).to_owned(), name.to_uppercase(), name.to_lowercase()] {
                let line = format!("{name}: x\r\n");
                let field = Fields::new(line.as_bytes()).read().unwrap();
                assert_eq!(digested(field), Some(kind), "{name}");
            }
            for name in [format!("{name}x"), name.replacen(&name[1..2], "_", 1)] {
                let line = format!("{name}: x\r\n");
                let field = Fields::new(line.as_bytes()).read().unwrap();
                assert_eq!(digested(field), None, "{name}");
            }
        }
    }

    #[test]
    fn other_mail_is_not_ours() {
        for content in [
            &b""[..],
            b"Subject: x\r\n\r\nX-Mailproof: run=r7 msg=42 rcpts=1\r\n",
            b"X-Mailproof: run=r7 msg=4x rcpts=1\r\n\r\n",
            b"X-Mailproof: run=r7 msg=-1 rcpts=1\r\n\r\n",
            b"X-Mailproof: run=\xff msg=1 rcpts=1\r\n\r\n",
            b"X-Mailproof: run=r7 msg=99999999999999999999 rcpts=1\r\n\r\n",
            b"X-Mailproof: run=r7 msg=1 rcpts=4294967296\r\n\r\n",
            b"X-Mailproof: msg=1 run=r7\r\n\r\n",
        ] {
            assert_eq!(identify(content), None, "{}", content.escape_ascii());
        }
    }

    #[test]
    fn every_change_that_matters_changes_the_digest() {
        let content = String::from_utf8(sample(1)).unwrap();
        let digest = body_digest(content.as_bytes());
        let body = content.find("\r\n\r\n").unwrap() + 4;
        for at in body..content.len() {
            let mut changed = content.clone().into_bytes();
            changed[at] ^= 1;
            assert_ne!(body_digest(&changed), digest, "byte {at}");
        }
        for change in [
            content.replace("Subject: ", "Subject: [list] "),
            content.replace("Message-ID: <", "Message-ID: <x"),
            content.replace("Date: ", "X-Date: "),
            content.replace("Subject: ", "Subject: two\r\nSubject: "),
            content.replace("X-Mailproof: ", "X-Mailproof-Was: "),
            content.replace("\r\nTo: ", "\r\nCc: "),
            content[..content.len() - 2].to_owned(),
            content.clone() + "\r\n",
        ] {
            assert_ne!(body_digest(change.as_bytes()), digest);
        }
    }

    #[test]
    fn a_streamed_digest_is_the_same_at_every_split() {
        let mut digester = BodyDigester::default();
        for content in [
            sample(1),
            b"Subject: no body".to_vec(),
            b"\r\nno header".to_vec(),
            b"A: 1\r\n\r\n".to_vec(),
            Vec::new(),
        ] {
            let whole = body_digest(&content);
            for cut in 0..=content.len() {
                digester.update(&content[..cut]);
                digester.update(&content[cut..]);
                assert_eq!(digester.finish(), Some(whole), "cut at {cut}");
            }
            for byte in content.chunks(1) {
                digester.update(byte);
            }
            assert_eq!(digester.finish(), Some(whole));
        }
        digester.update(&vec![b'x'; MAX_HEADER]);
        digester.update(b"x");
        assert_eq!(digester.finish(), None);
        digester.update(b"x");
        assert_eq!(digester.finish(), Some(body_digest(b"x")));
    }
}
