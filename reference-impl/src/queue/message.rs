//! A message of ours on its way.

use bytes::Bytes;

use super::PeerId;
use super::hold::{Fork, Tracked};
use super::promotion::Promotion;
use super::safety::Replay;
use crate::io::ConnId;
use crate::record::{CopyKey, Envelope, Settled};
use crate::store::Seq;

/// Bits of a sequence that count within one start of the database; the bits
/// above are the number of the start. So a sequence is never used twice, even
/// though the last records of a start may be lost in a crash.
const BOOT_SHIFT: u32 = 40;

/// The last start that a sequence can name.
pub(crate) const LAST_BOOT: u32 = (1 << (64 - BOOT_SHIFT)) - 1;

/// The first sequence of start number `boot`.
pub(crate) fn first_sequence(boot: u32) -> u64 {
    (u64::from(boot) << BOOT_SHIFT) + 1
}

/// The start that a sequence belongs to.
pub(crate) fn boot_of(sequence: u64) -> u32 {
    (sequence >> BOOT_SHIFT) as u32
}

/// The name of a message: `boot.number`, both hexadecimal.
pub(crate) fn name_of(sequence: u64) -> String {
    let mut name = String::with_capacity(16);
    push_name(sequence, |digit| name.push(digit.into()));
    name
}

/// Hands the name of a message to `push`, digit by digit.
pub(crate) fn push_name(sequence: u64, mut push: impl FnMut(u8)) {
    push_hex(boot_of(sequence).into(), &mut push);
    push(b'.');
    push_hex(sequence & ((1 << BOOT_SHIFT) - 1), &mut push);
}

/// A number in hexadecimal digits; much faster than formatting.
fn push_hex(number: u64, push: &mut impl FnMut(u8)) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        push(b"0123456789abcdef"[(number >> (at * 4)) as usize & 15]);
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not answered yet: its record or its copy is outstanding.
    Pending,
    /// Taken over; its TAKEN_OVER record is not durable yet.
    TakingOver,
    /// Ours to deliver.
    Active,
    /// All settled; its DONE record is not durable yet.
    Completing,
    /// Refused; its WITHDRAWN record is not durable yet.
    Withdrawing,
    /// All settled, and kept as a shadow until next hops report (hold model).
    Kept,
}

/// Where the search for a copy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// No copies are made on this node.
    NotWanted,
    /// This peer is being asked.
    Trying(PeerId),
    /// At least one peer acknowledged one.
    Made,
    /// Every attempt failed.
    Failed,
}

/// A peer that has, or may have, a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) peer: PeerId,
    /// It acknowledged the copy; else it may only have one.
    pub(crate) acknowledged: bool,
}

/// Where one recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecipientState {
    Waiting,
    Delivered,
    /// Failed for good, and its DSN (if it gets one) not yet made.
    Failed,
    /// Failed for good, and nothing more is owed for it.
    Closed,
}

/// One recipient.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    pub(crate) state: RecipientState,
    /// Last reply or error about it, as code and text.
    pub(crate) last_error: Option<Box<str>>,
    /// The server that gave that reply; empty for an error of our own.
    pub(crate) remote: Box<str>,
    /// Its delay was reported.
    pub(crate) delay_told: bool,
}

/// Where one leg stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegState {
    /// In the ready list of its route.
    Ready,
    /// Being tried.
    InFlight,
    /// Waits for its next attempt at this time.
    Retry(u64),
    /// Waits for the PROGRESS record before its next attempt.
    Recording,
    /// Nothing left to do.
    Done,
}

/// The recipients of a message that share a route.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// Index of the route; from [`LOCAL`](super::LOCAL) on that of a mailbox
    /// database of this node.
    pub(crate) route: usize,
    /// Indices of its recipients.
    pub(crate) recipients: Vec<u32>,
    /// Attempts that failed.
    pub(crate) attempts: u32,
    pub(crate) state: LegState,
}

/// Where a message taken over comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakenFrom {
    pub(crate) peer: PeerId,
    pub(crate) key: CopyKey,
    /// Unix milliseconds of the takeover.
    pub(crate) wall: u64,
    /// It is what that peer took from us and did not do (hold model); else
    /// what we held for it.
    pub(crate) held: bool,
}

/// A message of ours.
#[derive(Debug)]
pub(crate) struct Message {
    /// Unix milliseconds of the first acceptance, at whichever server.
    pub(crate) arrival: u64,
    /// When it is returned, on the monotonic clock.
    pub(crate) expires: u64,
    pub(crate) envelope: Envelope,
    pub(crate) body: Bytes,
    /// Trace field that goes before the body; only after a takeover.
    pub(crate) trace: Bytes,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) phase: Phase,
    /// Its record is durable.
    pub(crate) local: bool,
    pub(crate) copy: CopyState,
    /// Peers asked for a copy up to now, in order.
    pub(crate) asked: Vec<PeerId>,
    pub(crate) holders: Vec<Holder>,
    /// The session that waits for the answer.
    pub(crate) client: Option<ConnId>,
    /// Records to release when all is over.
    pub(crate) records: Vec<Seq>,
    /// The last PROGRESS record.
    pub(crate) progress: Seq,
    /// It is a DSN of ours.
    pub(crate) report: bool,
    /// The message that this DSN is about, while that waits for it.
    pub(crate) parent: Option<u64>,
    /// DSNs about this message that are not protected yet.
    pub(crate) children: u32,
    pub(crate) taken_from: Option<TakenFrom>,
    /// Its old primary reported it done: no further attempt.
    pub(crate) cancelled: bool,
    /// Peers whose inventory it waits for before anything is tried.
    pub(crate) waits_for: Vec<PeerId>,
    /// The server that keeps a shadow of it until we report (hold model).
    pub(crate) upstream: Option<Tracked>,
    /// What next hops took and have not reported done (hold model).
    pub(crate) forks: Vec<Fork>,
    /// The COMPLETE record; 0: none yet (hold model).
    pub(crate) complete: Seq,
    /// Its way to another server that becomes its primary (hold model).
    pub(crate) promotion: Option<Promotion>,
    /// It comes out of the Safety Net.
    pub(crate) replay: Option<Replay>,
    /// What the Safety Net keeps of it when it is done: the record that says
    /// so, Unix milliseconds, and recipients by index.
    pub(crate) kept: Option<(Seq, u64, Vec<u32>)>,
}

impl Message {
    /// A message with nothing known but its envelope and content.
    pub(crate) fn new(arrival: u64, expires: u64, envelope: Envelope, body: Bytes) -> Self {
        let recipients = vec![
            Recipient {
                state: RecipientState::Waiting,
                last_error: None,
                remote: "".into(),
                delay_told: false,
            };
            envelope.recipients.len()
        ];
        Self {
            arrival,
            expires,
            envelope,
            body,
            trace: Bytes::new(),
            recipients,
            legs: Vec::new(),
            phase: Phase::Pending,
            local: false,
            copy: CopyState::NotWanted,
            asked: Vec::new(),
            holders: Vec::new(),
            client: None,
            records: Vec::new(),
            progress: Seq(0),
            report: false,
            parent: None,
            children: 0,
            taken_from: None,
            cancelled: false,
            waits_for: Vec::new(),
            upstream: None,
            forks: Vec::new(),
            complete: Seq(0),
            promotion: None,
            replay: None,
            kept: None,
        }
    }

    /// Recipients (by index) that are settled, and how.
    pub(crate) fn settled(&self) -> Vec<(u32, Settled)> {
        self.recipients
            .iter()
            .enumerate()
            .filter_map(|(at, r)| match r.state {
                RecipientState::Delivered => Some((at as u32, Settled::Delivered)),
                RecipientState::Closed => Some((at as u32, Settled::Failed)),
                RecipientState::Waiting if r.delay_told => Some((at as u32, Settled::Delayed)),
                RecipientState::Waiting | RecipientState::Failed => None,
            })
            .collect()
    }

    /// Whether nothing is settled about a recipient (by index).
    pub(crate) fn waits(&self, at: u32) -> bool {
        self.recipients[at as usize].state == RecipientState::Waiting
    }

    /// Whether a session works on it.
    pub(crate) fn in_flight(&self) -> bool {
        self.legs.iter().any(|leg| leg.state == LegState::InFlight)
    }

    /// Whether copies are wanted and none is acknowledged.
    pub(crate) fn unshadowed(&self) -> bool {
        self.copy != CopyState::NotWanted && !self.holders.iter().any(|h| h.acknowledged)
    }

    /// Notes a peer that has or may have a copy; an acknowledgement stays.
    pub(crate) fn add_holder(&mut self, peer: PeerId, acknowledged: bool) {
        match self.holders.iter_mut().find(|h| h.peer == peer) {
            Some(holder) => holder.acknowledged |= acknowledged,
            None => self.holders.push(Holder { peer, acknowledged }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name_of(first_sequence(1)), "1.1");
        assert_eq!(name_of(first_sequence(0x2a) + 0xfff), "2a.1000");
        assert_eq!(name_of(0), "0.0");
        assert_eq!(name_of(u64::MAX), "ffffff.ffffffffff");
    }
}
