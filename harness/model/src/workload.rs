//! What the workload's messages are like, as a pure function of the plan, so
//! that engines and the judge need not tell each other.

use crate::event::{Msg, Rcpt};
use crate::party::Party;
use crate::plan::Plan;
use crate::rng::Rng;

/// Most recipients of one message.
pub const MAX_RCPTS: u16 = 100;

/// What one message is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Envelope recipients, 1 to [`MAX_RCPTS`].
    pub rcpts: u16,
    /// Bytes of content wanted, headers included.
    pub size: u64,
    /// Seed of the body's text.
    pub body: u64,
}

/// The shape of a message, drawn from the plan's seed.
#[must_use]
pub fn shape(plan: &Plan, msg: Msg) -> Shape {
    let workload = &plan.scenario.workload;
    let mut rng = Rng::keyed(plan.seed, "message", u64::from(msg));
    let rcpts = rng.between(
        u64::from(workload.recipients.least),
        u64::from(workload.recipients.most),
    );
    Shape {
        rcpts: u16::try_from(rcpts)
            .unwrap_or(MAX_RCPTS)
            .clamp(1, MAX_RCPTS),
        size: rng.between(workload.size.least, workload.size.most),
        body: rng.bits(),
    }
}

/// The node that owns a recipient's mailbox; `None` where the harness does. With
/// several such nodes, those of one message are spread over them.
#[must_use]
pub fn home(plan: &Plan, msg: Msg, rcpt: Rcpt) -> Option<Party> {
    let stores = u32::from(plan.scenario.cluster.stores);
    let at = (msg % stores.max(1) + u32::from(rcpt)).checked_rem(stores)?;
    Some(Party::Store(u16::try_from(at).unwrap_or(0) + 1))
}

/// Domain of the recipients whose mailboxes a node owns, where there are
/// several such nodes.
#[must_use]
pub fn domain_of(node: Party) -> String {
    format!("{node}.mail.test")
}

/// Envelope address of a recipient in this plan.
#[must_use]
pub fn address_in(plan: &Plan, msg: Msg, rcpt: Rcpt) -> String {
    match home(plan, msg, rcpt) {
        Some(node) if plan.scenario.cluster.stores > 1 => {
            format!("m{msg}r{rcpt}@{}", domain_of(node))
        }
        _ => address(msg, rcpt),
    }
}

/// Envelope address of a recipient where one node, or the harness, owns all
/// mailboxes.
#[must_use]
pub fn address(msg: Msg, rcpt: Rcpt) -> String {
    let mut text = String::with_capacity(32);
    text.push('m');
    text.push_str(itoa::Buffer::new().format(msg));
    text.push('r');
    text.push_str(itoa::Buffer::new().format(rcpt));
    text.push_str("@mail.test");
    text
}

/// Reverse path of a message: each has its own, so that a DSN names it.
#[must_use]
pub fn sender(msg: Msg) -> String {
    let mut text = String::with_capacity(32);
    text.push('s');
    text.push_str(itoa::Buffer::new().format(msg));
    text.push_str("@client.test");
    text
}

/// The message and recipient that an envelope address names; `None` for any
/// other address. A relay may change the case of the domain, and a careless
/// one that of the whole.
#[must_use]
pub fn read_address(address: &[u8]) -> Option<(Msg, Rcpt)> {
    let local = local(address, b"@mail.test").or_else(|| local_of_a_node(address))?;
    let rest = strip(local, b'm')?;
    let at = rest.iter().position(|b| b.eq_ignore_ascii_case(&b'r'))?;
    Some((
        number(&rest[..at])?,
        Rcpt::try_from(number(&rest[at + 1..])?).ok()?,
    ))
}

/// The message whose reverse path this is; `None` for any other address.
#[must_use]
pub fn read_sender(address: &[u8]) -> Option<Msg> {
    number(strip(local(address, b"@client.test")?, b's')?)
}

fn local<'a>(address: &'a [u8], domain: &[u8]) -> Option<&'a [u8]> {
    let (local, found) = address.split_at_checked(address.len().checked_sub(domain.len())?)?;
    found.eq_ignore_ascii_case(domain).then_some(local)
}

/// The local part of `x@m2.mail.test`.
fn local_of_a_node(address: &[u8]) -> Option<&[u8]> {
    let rest = local(address, b".mail.test")?;
    let at = rest.iter().rposition(|b| *b == b'@')?;
    number(strip(&rest[at + 1..], b'm')?)?;
    Some(&rest[..at])
}

fn strip(text: &[u8], letter: u8) -> Option<&[u8]> {
    match text {
        [first, rest @ ..] if first.eq_ignore_ascii_case(&letter) => Some(rest),
        _ => None,
    }
}

/// Digits as this module writes them: no sign, no leading zero.
fn number(digits: &[u8]) -> Option<u32> {
    match digits {
        [b'0'] => return Some(0),
        [] | [b'0', ..] => return None,
        _ if digits.len() > 10 => return None,
        _ => {}
    }
    let mut value = 0_u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u32::from(digit - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for (msg, rcpt) in [(0, 0), (7, 99), (u32::MAX, u16::MAX)] {
            assert_eq!(
                read_address(address(msg, rcpt).as_bytes()),
                Some((msg, rcpt))
            );
            assert_eq!(read_sender(sender(msg).as_bytes()), Some(msg));
        }
        assert_eq!(read_address(b"M3R1@MAIL.TEST"), Some((3, 1)));
        assert_eq!(read_address(b"m3r1@m2.mail.test"), Some((3, 1)));
        assert_eq!(read_address(b"m3r1@M12.Mail.Test"), Some((3, 1)));
        for wrong in [
            &b""[..],
            b"m1r1@mail.test.",
            b"m1r1@m.mail.test",
            b"m1r1@m01.mail.test",
            b"m1r1@n1.mail.test",
            b"m1r1m2.mail.test",
            b"m1@mail.test",
            b"m01r1@mail.test",
            b"m1r-1@mail.test",
            b"m1r65536@mail.test",
            b"m4294967296r1@mail.test",
            b"s1@client.test",
        ] {
            assert_eq!(
                read_address(wrong),
                None,
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
        assert_eq!(read_sender(b"m1r1@mail.test"), None);
    }
}
