//! Events from JSON lines, fast: lines that look just as [`super::encode`]
//! writes its common variants are read by hand, all others by `serde_json`.
//! What the quick way accepts, the slow way accepts with the same result
//! (tested); the quick way never refuses anything, it gives up.

use crate::event::{Event, Shut, What};
use crate::party::{Link, Party, Witness};

/// Reads one event from a line without its newline.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn event(line: &[u8]) -> serde_json::Result<Event> {
    match quick(line) {
        Some(event) => Ok(event),
        None => serde_json::from_slice(line),
    }
}

fn quick(line: &[u8]) -> Option<Event> {
    let mut c = Cursor { rest: line };
    c.literal(b"{\"id\":")?;
    let id = c.number()?;
    c.literal(b",\"at\":")?;
    let at = c.number()?;
    c.literal(b",\"by\":\"")?;
    let by = c.witness()?;
    c.literal(b"\",\"ev\":{\"")?;
    let ev = c.what()?;
    c.literal(b"}}}")?;
    c.rest.is_empty().then_some(Event { id, at, by, ev })
}

/// What is left of a line. Every method gives up with `None`.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn has(&mut self, text: &[u8]) -> bool {
        self.literal(text).is_some()
    }

    /// A number as JSON has it: no sign, no leading zero.
    fn number(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        let mut digits = 0;
        while let Some(digit) = self.rest.get(digits).map(|b| b.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(digit.into())?;
            digits += 1;
        }
        if digits == 0 || (self.rest[0] == b'0' && digits > 1) {
            return None;
        }
        self.rest = &self.rest[digits..];
        Some(value)
    }

    fn u16(&mut self) -> Option<u16> {
        self.number()?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn numbers(&mut self) -> Option<Vec<u16>> {
        self.literal(b"[")?;
        let mut values = Vec::new();
        if self.has(b"]") {
            return Some(values);
        }
        loop {
            values.push(self.u16()?);
            if self.has(b"]") {
                return Some(values);
            }
            self.literal(b",")?;
        }
    }

    /// A string without escapes, after its opening quote; takes the closing
    /// one.
    fn string(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|b| *b == b'"')?;
        let text = &self.rest[..end];
        if text.iter().any(|b| *b < 0x20 || *b == b'\\') {
            return None;
        }
        self.rest = &self.rest[end + 1..];
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn party(&mut self) -> Option<Party> {
        let (first, rest) = self.rest.split_first()?;
        match first {
            b'c' => {
                self.literal(b"client")?;
                Some(Party::Client)
            }
            b'm' if rest.first() == Some(&b'b') => {
                self.literal(b"mb")?;
                Some(Party::Mailbox)
            }
            b'n' | b'm' => {
                let store = *first == b'm';
                self.rest = rest;
                let n = self.u16().filter(|n| *n > 0)?;
                Some(if store {
                    Party::Store(n)
                } else {
                    Party::Node(n)
                })
            }
            _ => None,
        }
    }

    fn witness(&mut self) -> Option<Witness> {
        if self.has(b"link:") {
            let from = self.party()?;
            self.literal(b"->")?;
            return Some(Witness::Link(Link::new(from, self.party()?)));
        }
        if self.has(b"client") {
            return Some(Witness::Client);
        }
        if self.has(b"mailbox") {
            return Some(Witness::Mailbox);
        }
        None
    }

    /// The variant, after the quote before its name, up to the two braces
    /// that close it.
    fn what(&mut self) -> Option<What> {
        let end = self.rest.iter().position(|b| *b == b'"')?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match name {
            b"attempt" => {
                self.literal(b"\":{\"msg\":")?;
                let msg = self.u32()?;
                self.literal(b",\"attempt\":")?;
                let attempt = self.u16()?;
                self.literal(b",\"session\":")?;
                let session = self.u16()?;
                self.literal(b",\"node\":\"")?;
                let node = self.party()?;
                self.literal(b"\",\"rcpts\":")?;
                What::Attempt {
                    msg,
                    attempt,
                    session,
                    node,
                    rcpts: self.numbers()?,
                    silent: self.has(b",\"silent\":true"),
                }
            }
            b"outcome" => {
                self.literal(b"\":{\"msg\":")?;
                let msg = self.u32()?;
                self.literal(b",\"attempt\":")?;
                let attempt = self.u16()?;
                self.literal(b",\"rcpts\":")?;
                let rcpts = self.numbers()?;
                self.literal(b",\"end\":")?;
                let end = self.numbers()?;
                let note = match self.has(b",\"note\":\"") {
                    true => Some(self.string()?),
                    false => None,
                };
                What::Outcome {
                    msg,
                    attempt,
                    rcpts,
                    end,
                    note,
                }
            }
            b"open" => {
                self.literal(b"\":{\"conn\":")?;
                What::Open { conn: self.u32()? }
            }
            b"shut" => {
                self.literal(b"\":{\"conn\":")?;
                let conn = self.u32()?;
                self.literal(b",\"how\":\"")?;
                let how = if self.has(b"fin\"") {
                    Shut::Fin
                } else if self.has(b"reset\"") {
                    Shut::Reset
                } else {
                    self.literal(b"silent\"")?;
                    Shut::Silent
                };
                let from = if self.has(b",\"from\":\"") {
                    let from = self.party()?;
                    self.literal(b"\"")?;
                    Some(from)
                } else {
                    None
                };
                What::Shut { conn, how, from }
            }
            b"dot" => {
                self.literal(b"\":{\"conn\":")?;
                let conn = self.u32()?;
                let (msg, attempt) = self.transaction()?;
                self.literal(b",\"rcpts\":")?;
                let rcpts = self.numbers()?;
                // What is odd about it is a case for the slow way.
                self.literal(b",\"digest\":\"")?;
                What::Dot {
                    conn,
                    msg,
                    attempt,
                    rcpts,
                    strangers: Vec::new(),
                    reverse: None,
                    digest: self.string()?,
                }
            }
            b"reply" => {
                self.literal(b"\":{\"conn\":")?;
                let conn = self.u32()?;
                self.literal(b",\"to\":\"")?;
                let to = self.string()?;
                let (msg, attempt) = self.transaction()?;
                let rcpts = if self.has(b",\"rcpts\":") {
                    Some(self.numbers()?)
                } else {
                    None
                };
                self.literal(b",\"code\":")?;
                What::Reply {
                    conn,
                    to,
                    msg,
                    attempt,
                    rcpts,
                    code: self.u16()?,
                }
            }
            b"verb" => {
                self.literal(b"\":{\"conn\":")?;
                let conn = self.u32()?;
                self.literal(b",\"verb\":\"")?;
                let verb = self.string()?;
                self.literal(b",\"code\":")?;
                What::Verb {
                    conn,
                    verb,
                    code: self.u16()?,
                }
            }
            b"taken" => {
                self.literal(b"\":{\"conn\":")?;
                let conn = self.u32()?;
                self.literal(b",\"from\":\"")?;
                let from = self.party()?;
                self.literal(b"\",\"msg\":")?;
                let msg = self.u32()?;
                self.literal(b",\"attempt\":")?;
                let attempt = self.u16()?;
                self.literal(b",\"rcpts\":")?;
                let rcpts = self.numbers()?;
                // With strangers it is a case for the slow way.
                self.literal(b",\"digest\":\"")?;
                What::Taken {
                    conn,
                    from,
                    msg,
                    attempt,
                    rcpts,
                    strangers: Vec::new(),
                    digest: self.string()?,
                }
            }
            _ => return None,
        })
    }

    fn transaction(&mut self) -> Option<(Option<u32>, Option<u16>)> {
        let msg = match self.has(b",\"msg\":") {
            true => Some(self.u32()?),
            false => None,
        };
        let attempt = match self.has(b",\"attempt\":") {
            true => Some(self.u16()?),
            false => None,
        };
        Some((msg, attempt))
    }
}
