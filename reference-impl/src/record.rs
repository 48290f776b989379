//! What the node writes into its store: one record a step, documented in
//! RECORDS.md for readers in other languages.
//!
//! All integers are little-endian. A text is its length (u16) and its bytes.
//! Every header begins with the record version, 1.

mod codec;
mod envelope;
pub(crate) mod hold;

use crate::store::DatabaseId;
use codec::{Reader, Writer};

pub(crate) use envelope::{
    DsnRecipient, DsnRequest, EIGHT_BIT, Envelope, NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER,
    NOTIFY_SUCCESS, RET_FULL, RET_HDRS, UTF8,
};

/// The version that is written and the only one that is read.
const VERSION: u8 = 1;

/// Record kinds of the store.
pub(crate) mod kind {
    pub(crate) const BOOT: u8 = 1;
    pub(crate) const MESSAGE: u8 = 2;
    pub(crate) const HOLDER: u8 = 3;
    pub(crate) const PROGRESS: u8 = 4;
    pub(crate) const DONE: u8 = 5;
    pub(crate) const WITHDRAWN: u8 = 6;
    pub(crate) const CONFIRMED: u8 = 7;
    pub(crate) const SHADOW: u8 = 8;
    pub(crate) const REMOVED: u8 = 9;
    pub(crate) const TAKEN_OVER: u8 = 10;
    pub(crate) const MAILBOX: u8 = 11;
    pub(crate) const MOVED: u8 = 12;
    pub(crate) const SALVAGED: u8 = 30;
    pub(crate) const REBOUND: u8 = 31;
    pub(crate) const DATABASE: u8 = 25;
    pub(crate) const KEPT: u8 = 26;
    pub(crate) const RESUBMITTED: u8 = 27;
    pub(crate) const REQUEST: u8 = 28;
    pub(crate) const SAFETY_NET: u8 = 29;

    /// The name of a kind in `STORE.md`.
    pub(crate) fn name(kind: u8) -> Option<&'static str> {
        Some(match kind {
            BOOT => "BOOT",
            MESSAGE => "MESSAGE",
            HOLDER => "HOLDER",
            PROGRESS => "PROGRESS",
            DONE => "DONE",
            WITHDRAWN => "WITHDRAWN",
            CONFIRMED => "CONFIRMED",
            SHADOW => "SHADOW",
            REMOVED => "REMOVED",
            TAKEN_OVER => "TAKEN-OVER",
            MAILBOX => "MAILBOX",
            MOVED => "MOVED",
            DATABASE => "DATABASE",
            KEPT => "RETAINED",
            RESUBMITTED => "RESUBMITTED",
            REQUEST => "REQUEST",
            SAFETY_NET => "SAFETY-NET",
            SALVAGED => "SALVAGED",
            REBOUND => "REBOUND",
            _ => return None,
        })
    }
}

/// What is settled about one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Delivered,
    Failed,
    /// Its delay was reported; it still waits.
    Delayed,
}

/// What the record of a DSN says about the message that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) sequence: u64,
    /// What the existence of the DSN settles.
    pub(crate) how: Settled,
    /// For which recipients (by index).
    pub(crate) recipients: Vec<u32>,
}

/// The triple that binds a copy to a message of its primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CopyKey {
    pub(crate) database: DatabaseId,
    /// The primary's sequence; the primary's boot is its upper 24 bits.
    pub(crate) sequence: u64,
}

/// A peer to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tell {
    pub(crate) peer: Box<str>,
    /// It acknowledged the copy, and so will ask. Else it may only have one.
    pub(crate) acknowledged: bool,
}

/// What a Safety Net keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// A message of ours, by its sequence.
    Own(u64),
    /// A copy held for a primary.
    Copy(Box<str>, CopyKey),
    /// A delivery that a mailbox database has lost, by the number of its
    /// MAILBOX record.
    Lost(u64),
}

/// A peer that is asked to replay, and whether it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) peer: Box<str>,
    pub(crate) done: bool,
}

/// A resubmit request as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resubmit {
    pub(crate) id: u64,
    pub(crate) database: Box<str>,
    /// Delivery times, Unix milliseconds, both included.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Copies held for this primary are replayed; empty: our own messages.
    pub(crate) shadow_of: Box<str>,
    /// The peer that asked; empty: this node.
    pub(crate) asker: Box<str>,
    pub(crate) created: u64,
    pub(crate) enabled: bool,
    /// Our own part is done.
    pub(crate) replayed: bool,
    /// It is forgotten.
    pub(crate) removed: bool,
    pub(crate) asked: Vec<Asked>,
}

/// The header of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Header {
    /// The node started; the first record of every start.
    Boot { number: u32, wall: u64 },
    /// A message of ours; its content is the body.
    Message {
        sequence: u64,
        arrival: u64,
        envelope: Envelope,
        /// For a DSN: the message it is about and what its existence settles.
        about: Option<About>,
        /// The peer asked first to hold a copy; empty when none.
        holder: Box<str>,
    },
    /// Another peer may hold a copy of a message of ours.
    Holder { sequence: u64, peer: Box<str> },
    /// Recipients (by index) settled while others are not.
    Progress {
        sequence: u64,
        settled: Vec<(u32, Settled)>,
    },
    /// A message of ours is done; these peers are to be told.
    Done { sequence: u64, tell: Vec<Tell> },
    /// A message of ours was refused; these peers may hold a copy.
    Withdrawn { sequence: u64, tell: Vec<Tell> },
    /// A peer confirmed that it was told, or its time to ask has passed.
    Confirmed { peer: Box<str>, sequences: Vec<u64> },
    /// A copy held for a primary; its content is the body.
    Shadow {
        primary: Box<str>,
        key: CopyKey,
        arrival: u64,
        envelope: Envelope,
    },
    /// Copies dropped.
    Removed {
        primary: Box<str>,
        database: DatabaseId,
        sequences: Vec<u64>,
    },
    /// A copy became a message of ours, whose content stays in the SHADOW
    /// record.
    TakenOver {
        primary: Box<str>,
        key: CopyKey,
        /// Its sequence here.
        sequence: u64,
        wall: u64,
        /// Recipients (by index) that are not taken along; only planted
        /// defects leave any out.
        without: Vec<u32>,
    },
    /// One message in one mailbox; its content is the body.
    Mailbox {
        /// The recipient's mailbox database.
        mailbox_database: Box<str>,
        recipient: Box<str>,
        sender: Box<str>,
        arrival: u64,
        /// Key of duplicate detection; zero when the message has none.
        key: [u8; 16],
        /// The queued message and recipient index that this settles, when
        /// the delivery came from the queue.
        settles: Option<(u64, u32)>,
    },
    /// A live MESSAGE, SHADOW or TAKEN_OVER with everything known about it,
    /// written again so that old segments can go. Supersedes earlier records
    /// about it.
    Moved {
        sequence: u64,
        arrival: u64,
        envelope: Envelope,
        settled: Vec<(u32, Settled)>,
        holders: Vec<Box<str>>,
        /// For a message taken over: from whom and when.
        origin: Option<(Box<str>, CopyKey, u64)>,
    },
    /// This database continues one that was damaged; its body lists the
    /// messages of that one known to be done with (u64 each). A later one about
    /// the same predecessor replaces it.
    Salvaged {
        /// Zero when nothing told its ID.
        predecessor: DatabaseId,
        /// Sequences below are of the predecessor or an earlier one.
        before: u64,
        wall: u64,
        /// Records saved and lost.
        saved: u64,
        lost: u64,
        /// Peers that have made their inventory.
        counted: Vec<Box<str>>,
    },
    /// Copies are bound to another database of their primary from now on.
    Rebound {
        primary: Box<str>,
        from: DatabaseId,
        to: DatabaseId,
        sequences: Vec<u64>,
    },
    /// Of the hold model.
    Hold(hold::Hold),
    /// The state of a mailbox database; the last one counts.
    Database {
        name: Box<str>,
        mounted: bool,
        /// The peer where it is mounted instead; empty: not known.
        at: Box<str>,
        /// What was delivered into it after this time (Unix milliseconds),
        /// by records before this one, is lost.
        as_of: Option<u64>,
    },
    /// Something is kept in the Safety Net once it is over.
    Kept {
        what: Kept,
        /// Unix milliseconds of its delivery, or of its acknowledgement.
        wall: u64,
        /// Recipients (by index) that may be replayed.
        recipients: Vec<u32>,
    },
    /// A message of ours that replays what the Safety Net keeps; its content
    /// stays where it is.
    Resubmitted {
        sequence: u64,
        what: Kept,
        wall: u64,
        /// The request.
        request: u64,
        /// Recipients (by index).
        recipients: Vec<u32>,
    },
    /// A resubmit request; the last one with its number counts.
    Request(Resubmit),
    /// Since when this Safety Net is without a hole, Unix milliseconds.
    SafetyNet { since: u64 },
}

/// Why a header cannot be read: what was expected.
pub(crate) type Bad = &'static str;

impl Header {
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Boot { .. } => kind::BOOT,
            Self::Message { .. } => kind::MESSAGE,
            Self::Holder { .. } => kind::HOLDER,
            Self::Progress { .. } => kind::PROGRESS,
            Self::Done { .. } => kind::DONE,
            Self::Withdrawn { .. } => kind::WITHDRAWN,
            Self::Confirmed { .. } => kind::CONFIRMED,
            Self::Shadow { .. } => kind::SHADOW,
            Self::Removed { .. } => kind::REMOVED,
            Self::TakenOver { .. } => kind::TAKEN_OVER,
            Self::Mailbox { .. } => kind::MAILBOX,
            Self::Moved { .. } => kind::MOVED,
            Self::Salvaged { .. } => kind::SALVAGED,
            Self::Rebound { .. } => kind::REBOUND,
            Self::Hold(hold) => hold.kind(),
            Self::Database { .. } => kind::DATABASE,
            Self::Kept { .. } => kind::KEPT,
            Self::Resubmitted { .. } => kind::RESUBMITTED,
            Self::Request(_) => kind::REQUEST,
            Self::SafetyNet { .. } => kind::SAFETY_NET,
        }
    }

    /// Replaces `out` by the encoded header.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut w = Writer(out);
        w.u8(VERSION);
        match self {
            Self::Hold(hold) => hold.encode(&mut w),
            Self::Boot { number, wall } => {
                w.u32(*number);
                w.u64(*wall);
            }
            Self::Message {
                sequence,
                arrival,
                envelope,
                about,
                holder,
            } => {
                w.u64(*sequence);
                w.u64(*arrival);
                w.envelope(envelope);
                w.text(holder);
                w.about(about.as_ref());
            }
            Self::Holder { sequence, peer } => {
                w.u64(*sequence);
                w.text(peer);
            }
            Self::Progress { sequence, settled } => {
                w.u64(*sequence);
                w.settled(settled);
            }
            Self::Done { sequence, tell } | Self::Withdrawn { sequence, tell } => {
                w.u64(*sequence);
                w.list(tell, |w, tell| {
                    w.text(&tell.peer);
                    w.u8(u8::from(tell.acknowledged));
                });
            }
            Self::Confirmed { peer, sequences } => {
                w.text(peer);
                w.list(sequences, |w, s| w.u64(*s));
            }
            Self::Shadow {
                primary,
                key,
                arrival,
                envelope,
            } => {
                w.text(primary);
                w.key(key);
                w.u64(*arrival);
                w.envelope(envelope);
            }
            Self::Removed {
                primary,
                database,
                sequences,
            } => {
                w.text(primary);
                w.0.extend_from_slice(&database.0.to_be_bytes());
                w.list(sequences, |w, s| w.u64(*s));
            }
            Self::TakenOver {
                primary,
                key,
                sequence,
                wall,
                without,
            } => {
                w.text(primary);
                w.key(key);
                w.u64(*sequence);
                w.u64(*wall);
                w.list(without, |w, i| w.u32(*i));
            }
            Self::Mailbox {
                mailbox_database,
                recipient,
                sender,
                arrival,
                key,
                settles,
            } => {
                w.text(mailbox_database);
                w.text(recipient);
                w.text(sender);
                w.u64(*arrival);
                w.0.extend_from_slice(key);
                match settles {
                    None => w.u8(0),
                    Some((sequence, index)) => {
                        w.u8(1);
                        w.u64(*sequence);
                        w.u32(*index);
                    }
                }
            }
            Self::Moved {
                sequence,
                arrival,
                envelope,
                settled,
                holders,
                origin,
            } => {
                w.u64(*sequence);
                w.u64(*arrival);
                w.envelope(envelope);
                w.settled(settled);
                w.list(holders, |w, peer| w.text(peer));
                match origin {
                    None => w.u8(0),
                    Some((primary, key, wall)) => {
                        w.u8(1);
                        w.text(primary);
                        w.key(key);
                        w.u64(*wall);
                    }
                }
            }
            Self::Salvaged {
                predecessor,
                before,
                wall,
                saved,
                lost,
                counted,
            } => {
                w.database(*predecessor);
                w.u64(*before);
                w.u64(*wall);
                w.u64(*saved);
                w.u64(*lost);
                w.list(counted, |w, peer| w.text(peer));
            }
            Self::Rebound {
                primary,
                from,
                to,
                sequences,
            } => {
                w.text(primary);
                w.database(*from);
                w.database(*to);
                w.list(sequences, |w, s| w.u64(*s));
            }
            Self::Database {
                name,
                mounted,
                at,
                as_of,
            } => {
                w.text(name);
                w.u8(u8::from(*mounted));
                w.text(at);
                match as_of {
                    None => w.u8(0),
                    Some(wall) => {
                        w.u8(1);
                        w.u64(*wall);
                    }
                }
            }
            Self::Kept {
                what,
                wall,
                recipients,
            } => {
                w.kept(what);
                w.u64(*wall);
                w.list(recipients, |w, i| w.u32(*i));
            }
            Self::Resubmitted {
                sequence,
                what,
                wall,
                request,
                recipients,
            } => {
                w.u64(*sequence);
                w.kept(what);
                w.u64(*wall);
                w.u64(*request);
                w.list(recipients, |w, i| w.u32(*i));
            }
            Self::Request(request) => {
                w.u64(request.id);
                w.text(&request.database);
                w.u64(request.start);
                w.u64(request.end);
                w.text(&request.shadow_of);
                w.text(&request.asker);
                w.u64(request.created);
                for flag in [request.enabled, request.replayed, request.removed] {
                    w.u8(u8::from(flag));
                }
                w.list(&request.asked, |w, asked| {
                    w.text(&asked.peer);
                    w.u8(u8::from(asked.done));
                });
            }
            Self::SafetyNet { since } => w.u64(*since),
        }
    }

    pub(crate) fn decode(record_kind: u8, header: &[u8]) -> Result<Self, Bad> {
        let mut r = Reader(header);
        if r.u8()? != VERSION {
            return Err("record version 1");
        }
        let header = match record_kind {
            kind::BOOT => Self::Boot {
                number: r.u32()?,
                wall: r.u64()?,
            },
            kind::MESSAGE => Self::Message {
                sequence: r.u64()?,
                arrival: r.u64()?,
                envelope: r.envelope()?,
                holder: r.text()?,
                about: r.about()?,
            },
            kind::HOLDER => Self::Holder {
                sequence: r.u64()?,
                peer: r.text()?,
            },
            kind::PROGRESS => Self::Progress {
                sequence: r.u64()?,
                settled: r.settled()?,
            },
            kind::DONE => Self::Done {
                sequence: r.u64()?,
                tell: r.list(Reader::tell)?,
            },
            kind::WITHDRAWN => Self::Withdrawn {
                sequence: r.u64()?,
                tell: r.list(Reader::tell)?,
            },
            kind::CONFIRMED => Self::Confirmed {
                peer: r.text()?,
                sequences: r.list(Reader::u64)?,
            },
            kind::SHADOW => Self::Shadow {
                primary: r.text()?,
                key: r.key()?,
                arrival: r.u64()?,
                envelope: r.envelope()?,
            },
            kind::REMOVED => Self::Removed {
                primary: r.text()?,
                database: r.database()?,
                sequences: r.list(Reader::u64)?,
            },
            kind::TAKEN_OVER => Self::TakenOver {
                primary: r.text()?,
                key: r.key()?,
                sequence: r.u64()?,
                wall: r.u64()?,
                without: r.list(Reader::u32)?,
            },
            kind::MAILBOX => Self::Mailbox {
                mailbox_database: r.text()?,
                recipient: r.text()?,
                sender: r.text()?,
                arrival: r.u64()?,
                key: r.array()?,
                settles: match r.u8()? {
                    0 => None,
                    _ => Some((r.u64()?, r.u32()?)),
                },
            },
            kind::MOVED => Self::Moved {
                sequence: r.u64()?,
                arrival: r.u64()?,
                envelope: r.envelope()?,
                settled: r.settled()?,
                holders: r.list(Reader::text)?,
                origin: match r.u8()? {
                    0 => None,
                    _ => Some((r.text()?, r.key()?, r.u64()?)),
                },
            },
            kind::SALVAGED => Self::Salvaged {
                predecessor: r.database()?,
                before: r.u64()?,
                wall: r.u64()?,
                saved: r.u64()?,
                lost: r.u64()?,
                counted: r.list(Reader::text)?,
            },
            kind::REBOUND => Self::Rebound {
                primary: r.text()?,
                from: r.database()?,
                to: r.database()?,
                sequences: r.list(Reader::u64)?,
            },
            kind::DATABASE => Self::Database {
                name: r.text()?,
                mounted: r.u8()? != 0,
                at: r.text()?,
                as_of: match r.u8()? {
                    0 => None,
                    _ => Some(r.u64()?),
                },
            },
            kind::KEPT => Self::Kept {
                what: r.kept()?,
                wall: r.u64()?,
                recipients: r.list(Reader::u32)?,
            },
            kind::RESUBMITTED => Self::Resubmitted {
                sequence: r.u64()?,
                what: r.kept()?,
                wall: r.u64()?,
                request: r.u64()?,
                recipients: r.list(Reader::u32)?,
            },
            kind::REQUEST => Self::Request(Resubmit {
                id: r.u64()?,
                database: r.text()?,
                start: r.u64()?,
                end: r.u64()?,
                shadow_of: r.text()?,
                asker: r.text()?,
                created: r.u64()?,
                enabled: r.u8()? != 0,
                replayed: r.u8()? != 0,
                removed: r.u8()? != 0,
                asked: r.list(|r| {
                    Ok(Asked {
                        peer: r.text()?,
                        done: r.u8()? != 0,
                    })
                })?,
            }),
            kind::SAFETY_NET => Self::SafetyNet { since: r.u64()? },
            other => Self::Hold(hold::Hold::decode(other, &mut r)?),
        };
        if r.0.is_empty() {
            Ok(header)
        } else {
            Err("nothing after the last field")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Header> {
        let mut envelope = Envelope::new(EIGHT_BIT, "a@b", "");
        envelope.push("c@d", 0, "");
        envelope.push("e@f", 0, "");
        let mut asked = Envelope::new(RET_HDRS, "a@b", "id");
        asked.push("c@d", NOTIFY_NEVER, "");
        asked.push("e@f", NOTIFY_DELAY, "rfc822;g@h");
        let about = |how| About {
            sequence: 3,
            how,
            recipients: vec![0, 1],
        };
        let key = CopyKey {
            database: DatabaseId(7),
            sequence: 9,
        };
        vec![
            Header::Boot { number: 1, wall: 2 },
            Header::Message {
                sequence: 1,
                arrival: 2,
                envelope: envelope.clone(),
                about: Some(about(Settled::Failed)),
                holder: "n2".into(),
            },
            Header::Message {
                sequence: 1,
                arrival: 2,
                envelope: asked.clone(),
                about: Some(about(Settled::Delivered)),
                holder: "".into(),
            },
            Header::Message {
                sequence: 1,
                arrival: 2,
                envelope: asked,
                about: Some(about(Settled::Delayed)),
                holder: "".into(),
            },
            Header::Holder {
                sequence: 1,
                peer: "n3".into(),
            },
            Header::Progress {
                sequence: 1,
                settled: vec![
                    (0, Settled::Delivered),
                    (1, Settled::Failed),
                    (2, Settled::Delayed),
                ],
            },
            Header::Done {
                sequence: 1,
                tell: vec![Tell {
                    peer: "n2".into(),
                    acknowledged: true,
                }],
            },
            Header::Withdrawn {
                sequence: 1,
                tell: vec![],
            },
            Header::Confirmed {
                peer: "n2".into(),
                sequences: vec![1, 2],
            },
            Header::Shadow {
                primary: "n1".into(),
                key: key.clone(),
                arrival: 5,
                envelope: envelope.clone(),
            },
            Header::Removed {
                primary: "n1".into(),
                database: DatabaseId(7),
                sequences: vec![9],
            },
            Header::TakenOver {
                primary: "n1".into(),
                key: key.clone(),
                sequence: 4,
                wall: 6,
                without: vec![1],
            },
            Header::Mailbox {
                mailbox_database: "db1".into(),
                recipient: "c@d".into(),
                sender: "".into(),
                arrival: 5,
                key: [3; 16],
                settles: Some((1, 0)),
            },
            Header::Moved {
                sequence: 1,
                arrival: 2,
                envelope,
                settled: vec![(0, Settled::Delivered)],
                holders: vec!["n2".into()],
                origin: Some(("n1".into(), key.clone(), 3)),
            },
            Header::Salvaged {
                predecessor: DatabaseId(7),
                before: 1,
                wall: 2,
                saved: 3,
                lost: 4,
                counted: vec!["n2".into()],
            },
            Header::Rebound {
                primary: "n1".into(),
                from: DatabaseId(7),
                to: DatabaseId(8),
                sequences: vec![1, 2],
            },
            Header::Database {
                name: "db1".into(),
                mounted: true,
                at: "m2".into(),
                as_of: Some(4),
            },
            Header::Kept {
                what: Kept::Own(3),
                wall: 4,
                recipients: vec![1],
            },
            Header::Resubmitted {
                sequence: 9,
                what: Kept::Copy("n1".into(), key),
                wall: 4,
                request: 2,
                recipients: vec![0, 1],
            },
            Header::Kept {
                what: Kept::Lost(7),
                wall: 4,
                recipients: vec![],
            },
            Header::Request(Resubmit {
                id: 1,
                database: "db1".into(),
                start: 2,
                end: 3,
                shadow_of: "n1".into(),
                asker: "m1".into(),
                created: 4,
                enabled: true,
                replayed: false,
                removed: false,
                asked: vec![Asked {
                    peer: "n2".into(),
                    done: true,
                }],
            }),
            Header::SafetyNet { since: 5 },
        ]
    }

    #[test]
    fn every_record_comes_back_and_every_cut_is_an_error() {
        let mut bytes = Vec::new();
        let hold = hold::samples().into_iter().map(Header::Hold);
        for sample in samples().into_iter().chain(hold) {
            sample.encode(&mut bytes);
            assert_eq!(Header::decode(sample.kind(), &bytes), Ok(sample.clone()));
            for cut in 0..bytes.len() {
                assert!(
                    Header::decode(sample.kind(), &bytes[..cut]).is_err(),
                    "{sample:?} {cut}"
                );
            }
            bytes.push(0);
            assert!(Header::decode(sample.kind(), &bytes).is_err(), "{sample:?}");
        }
    }
}
