//! A message of the workload: the sender's attempts, the transactions that
//! carried it, the copies that were taken.

use super::Mark;
use crate::event::{Attempt, Conn, Rcpt};
use crate::party::{Link, Party};

/// A content digest, reduced to what comparing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// From its text form; texts that differ give digests that differ.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(hex(text.as_bytes()).unwrap_or_else(|| {
            let mut first = [0; 16];
            first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
            u128::from_be_bytes(first)
        }))
    }
}

/// The number that 32 lower-case hexadecimal digits write.
fn hex(text: &[u8]) -> Option<u128> {
    // Digits are as good as random, so a branch on each would be guessed wrong
    // again and again.
    const VALUES: [u8; 256] = values();
    let text: &[u8; 32] = text.try_into().ok()?;
    let mut wrong = 0;
    let half = |digits: &[u8], wrong: &mut u8| {
        digits.iter().fold(0_u64, |number, digit| {
            let value = VALUES[usize::from(*digit)];
            *wrong |= value;
            number << 4 | u64::from(value & 15)
        })
    };
    let high = half(&text[..16], &mut wrong);
    let low = half(&text[16..], &mut wrong);
    (wrong < 16).then_some(u128::from(high) << 64 | u128::from(low))
}

/// The value of each hexadecimal digit; 255 for every other byte.
const fn values() -> [u8; 256] {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
}

/// A reply to the end of data as a link saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The reply code.
    pub code: u16,
    /// When.
    pub mark: Mark,
    /// The recipients it speaks for; `None`: all of the transaction's.
    pub rcpts: Option<Vec<Rcpt>>,
}

/// The end of data of one transaction as a link saw it.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Which link.
    pub link: Link,
    /// Which connection.
    pub conn: Conn,
    /// The attempt that the content names; 0: none.
    pub attempt: Attempt,
    /// When the dot stood at the link.
    pub dot: Mark,
    /// The recipients it was for.
    pub rcpts: Vec<Rcpt>,
    /// The content.
    pub digest: Digest,
    /// The replies to it.
    pub answers: Vec<Answer>,
}

impl Hop {
    /// The reply that speaks for a recipient, if the link saw one. None
    /// speaks for a recipient that was refused at RCPT: it is not part of the
    /// transaction.
    #[must_use]
    pub fn answer(&self, rcpt: Rcpt) -> Option<&Answer> {
        if !self.rcpts.contains(&rcpt) {
            return None;
        }
        self.answers
            .iter()
            .find(|a| a.rcpts.as_ref().is_none_or(|r| r.contains(&rcpt)))
    }

    /// Whether the dialled side accepted it for this recipient.
    #[must_use]
    pub fn accepted(&self, rcpt: Rcpt) -> bool {
        self.answer(rcpt).is_some_and(|a| a.code / 100 == 2)
    }
}

/// What the sender knew at the end of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When.
    pub mark: Mark,
    /// Reply codes to RCPT, parallel to the attempt's recipients; 0: none.
    pub rcpts: Vec<u16>,
    /// Reply codes to the end of data.
    pub end: Vec<u16>,
}

/// One attempt of the sender.
#[derive(Clone, Debug)]
pub struct Try {
    /// Which attempt.
    pub attempt: Attempt,
    /// To which node.
    pub node: Party,
    /// When it began.
    pub begun: Mark,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
    /// Its end of data on the client's link.
    pub hop: Option<Hop>,
    /// What the sender knew at the end.
    pub outcome: Option<Outcome>,
}

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A 250 reached the sender.
    Accepted,
    /// The link saw a 2yz that the sender did not.
    ReplyLost,
    /// The node may have committed; nobody saw a reply.
    NoReply,
    /// A 4yz or 5yz was given.
    Refused(u16),
    /// The end of data never reached the node.
    NotSent,
}

/// A copy that the harness's mailbox took.
#[derive(Clone, Debug)]
pub struct Copy {
    /// When.
    pub mark: Mark,
    /// By which connection.
    pub conn: Conn,
    /// Who handed it over.
    pub from: Party,
    /// The attempt that the content names; 0: none.
    pub attempt: Attempt,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
    /// The content.
    pub digest: Digest,
}

/// A delivery status notification about a message.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When.
    pub mark: Mark,
    /// By which connection.
    pub conn: Conn,
    /// Who sent it.
    pub from: Party,
    /// Whether it reports a failure for good.
    pub failed: bool,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
}

/// One message of the workload.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// Its recipients, as the first attempt named them.
    pub rcpts: Vec<Rcpt>,
    /// Nobody is to be told of failures.
    pub silent: bool,
    /// The sender's attempts, in order.
    pub tries: Vec<Try>,
    /// Transactions between nodes and towards the mailbox that carried it.
    pub hops: Vec<Hop>,
    /// What the mailbox took.
    pub copies: Vec<Copy>,
    /// What the mailbox was told of it.
    pub notices: Vec<Notice>,
    /// The sender stopped trying.
    pub gave_up: Option<Mark>,
    /// Envelope recipients that were not this message's.
    pub strangers: Vec<(Mark, String)>,
    /// Reverse paths that were not this message's, and where they passed.
    pub reversed: Vec<(Mark, Link, String)>,
}

impl Mail {
    /// When a recipient was first delivered or reported as failed.
    #[must_use]
    pub fn settled(&self, rcpt: Rcpt) -> Option<Mark> {
        let copies = self.copies.iter().filter(|c| c.rcpts.contains(&rcpt));
        let failed = self.notices.iter().filter(|n| n.failed);
        let stored = self
            .hops
            .iter()
            .filter(|h| matches!(h.link.to, Party::Store(_)) && h.accepted(rcpt));
        copies
            .map(|c| c.mark)
            .chain(stored.map(|h| h.dot))
            .chain(failed.filter(|n| n.rcpts.contains(&rcpt)).map(|n| n.mark))
            .min()
    }

    /// How an attempt ended for one recipient, by what the sender and its
    /// link saw.
    #[must_use]
    pub fn ended(&self, t: &Try, rcpt: Rcpt, opaque: bool) -> Ended {
        let seen = t.hop.as_ref().and_then(|h| h.answer(rcpt)).map(|a| a.code);
        let dot = t.hop.as_ref().is_some_and(|h| h.rcpts.contains(&rcpt));
        let told = t.outcome.as_ref().and_then(|o| {
            let place = t.rcpts.iter().position(|r| *r == rcpt)?;
            let code = o.rcpts.get(place).copied().unwrap_or(0);
            match code / 100 {
                4 | 5 => return Some(code),
                2 => {}
                _ => return None,
            }
            match o.end.as_slice() {
                [] => None,
                [one] => Some(*one),
                // LMTP: one reply for each recipient with a 2yz to its RCPT.
                many => {
                    let nth = o.rcpts[..place].iter().filter(|c| *c / 100 == 2).count();
                    many.get(nth).copied()
                }
            }
            .filter(|code| *code != 0)
        });
        match (told, seen) {
            (Some(t), _) if t / 100 == 2 => Ended::Accepted,
            // The node said 2yz, whatever the sender was told: the node holds
            // the message.
            (_, Some(s)) if s / 100 == 2 => Ended::ReplyLost,
            (Some(t), _) if matches!(t / 100, 4 | 5) => Ended::Refused(t),
            (_, Some(s)) if s >= 400 => Ended::Refused(s),
            _ if dot || opaque => Ended::NoReply,
            _ => Ended::NotSent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_where_their_texts_do() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(
            Digest::of(text),
            Digest(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)
        );
        let mut seen = vec![Digest::of(text)];
        let mut add = |other: &str| {
            let digest = Digest::of(other);
            assert!(!seen.contains(&digest), "{other}");
            seen.push(digest);
        };
        for at in 0..text.len() {
            for by in ["5", "e", "F", "g", "+", "\u{7f}"] {
                let mut other = text.to_owned();
                other.replace_range(at..=at, by);
                if other != text {
                    add(&other);
                }
            }
        }
        for other in [
            "",
            "0",
            &text[1..],
            &text.to_uppercase(),
            &format!("0{text}"),
        ] {
            add(other);
        }
    }
}
