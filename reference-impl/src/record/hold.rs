//! Records of the hold model: whom to report to, what is kept for whom.

use super::codec::{Reader, Writer};
use super::{Bad, CopyKey, Envelope, Settled};
use crate::store::DatabaseId;

/// Record kinds of the hold model.
pub(crate) mod kind {
    pub(crate) const TRACKED: u8 = 20;
    pub(crate) const KEPT: u8 = 21;
    pub(crate) const COMPLETE: u8 = 22;
    pub(crate) const RELEASED: u8 = 23;
    pub(crate) const RESTATED: u8 = 24;
}

/// A party and the name that a message has between it and us: its database,
/// and the shadow id, which the sending side gave.
pub(crate) type Party = (Box<str>, CopyKey);

/// A part of a message that a next hop took and answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) peer: Box<str>,
    /// The next hop's database and our shadow id.
    pub(crate) key: CopyKey,
    /// Recipients, by index.
    pub(crate) recipients: Vec<u32>,
}

/// The header of one record of the hold model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The sender of a message of ours keeps its copy until we report.
    Tracked {
        sequence: u64,
        peer: Box<str>,
        /// Its database and its shadow id.
        key: CopyKey,
    },
    /// A next hop took these recipients and tracks them: they are settled,
    /// and what we keep is their shadow.
    Kept { sequence: u64, part: Part },
    /// Every recipient of a message is settled; the sender is to be told.
    Complete { sequence: u64, tell: Option<Party> },
    /// A next hop reported these as done: their shadows go.
    Released {
        peer: Box<str>,
        database: DatabaseId,
        ids: Vec<u64>,
    },
    /// A message with everything known of it; its content is the body.
    /// Supersedes earlier records about it. With an `origin` it is what was
    /// kept for that next hop, resubmitted, and that shadow goes.
    Restated {
        sequence: u64,
        arrival: u64,
        envelope: Envelope,
        settled: Vec<(u32, Settled)>,
        tracked: Option<Party>,
        parts: Vec<Part>,
        complete: bool,
        origin: Option<(Party, u64)>,
    },
}

impl Hold {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Tracked { .. } => kind::TRACKED,
            Self::Kept { .. } => kind::KEPT,
            Self::Complete { .. } => kind::COMPLETE,
            Self::Released { .. } => kind::RELEASED,
            Self::Restated { .. } => kind::RESTATED,
        }
    }

    pub(super) fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Tracked {
                sequence,
                peer,
                key,
            } => {
                w.u64(*sequence);
                w.text(peer);
                w.key(key);
            }
            Self::Kept { sequence, part } => {
                w.u64(*sequence);
                put_part(w, part);
            }
            Self::Complete { sequence, tell } => {
                w.u64(*sequence);
                put_option(w, tell.as_ref(), put_party);
            }
            Self::Released {
                peer,
                database,
                ids,
            } => {
                w.text(peer);
                w.0.extend_from_slice(&database.0.to_be_bytes());
                w.list(ids, |w, id| w.u64(*id));
            }
            Self::Restated {
                sequence,
                arrival,
                envelope,
                settled,
                tracked,
                parts,
                complete,
                origin,
            } => {
                w.u64(*sequence);
                w.u64(*arrival);
                w.envelope(envelope);
                w.settled(settled);
                put_option(w, tracked.as_ref(), put_party);
                w.list(parts, put_part);
                w.u8(u8::from(*complete));
                put_option(w, origin.as_ref(), |w, (party, wall)| {
                    put_party(w, party);
                    w.u64(*wall);
                });
            }
        }
    }

    pub(super) fn decode(record_kind: u8, r: &mut Reader<'_>) -> Result<Self, Bad> {
        Ok(match record_kind {
            kind::TRACKED => Self::Tracked {
                sequence: r.u64()?,
                peer: r.text()?,
                key: r.key()?,
            },
            kind::KEPT => Self::Kept {
                sequence: r.u64()?,
                part: part(r)?,
            },
            kind::COMPLETE => Self::Complete {
                sequence: r.u64()?,
                tell: option(r, party)?,
            },
            kind::RELEASED => Self::Released {
                peer: r.text()?,
                database: r.database()?,
                ids: r.list(Reader::u64)?,
            },
            kind::RESTATED => Self::Restated {
                sequence: r.u64()?,
                arrival: r.u64()?,
                envelope: r.envelope()?,
                settled: r.settled()?,
                tracked: option(r, party)?,
                parts: r.list(part)?,
                complete: r.u8()? != 0,
                origin: option(r, |r| Ok((party(r)?, r.u64()?)))?,
            },
            _ => return Err("a known record kind"),
        })
    }
}

fn put_part(w: &mut Writer<'_>, part: &Part) {
    w.text(&part.peer);
    w.key(&part.key);
    w.list(&part.recipients, |w, at| w.u32(*at));
}

fn put_party(w: &mut Writer<'_>, (peer, key): &Party) {
    w.text(peer);
    w.key(key);
}

fn put_option<T>(w: &mut Writer<'_>, value: Option<&T>, put: impl Fn(&mut Writer<'_>, &T)) {
    match value {
        None => w.u8(0),
        Some(value) => {
            w.u8(1);
            put(w, value);
        }
    }
}

fn part(r: &mut Reader<'_>) -> Result<Part, Bad> {
    Ok(Part {
        peer: r.text()?,
        key: r.key()?,
        recipients: r.list(Reader::u32)?,
    })
}

fn party(r: &mut Reader<'_>) -> Result<Party, Bad> {
    Ok((r.text()?, r.key()?))
}

fn option<T>(
    r: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Bad>,
) -> Result<Option<T>, Bad> {
    Ok(match r.u8()? {
        0 => None,
        _ => Some(read(r)?),
    })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<Hold> {
    let key = CopyKey {
        database: DatabaseId(7),
        sequence: 9,
    };
    let part = Part {
        peer: "n2".into(),
        key: key.clone(),
        recipients: vec![0, 2],
    };
    let party = || ("n1".into(), key.clone());
    vec![
        Hold::Tracked {
            sequence: 1,
            peer: "n1".into(),
            key: key.clone(),
        },
        Hold::Kept {
            sequence: 1,
            part: part.clone(),
        },
        Hold::Complete {
            sequence: 1,
            tell: Some(party()),
        },
        Hold::Released {
            peer: "n2".into(),
            database: DatabaseId(7),
            ids: vec![9],
        },
        Hold::Restated {
            sequence: 1,
            arrival: 2,
            envelope: Envelope {
                flags: 0,
                sender: "".into(),
                recipients: vec!["c@d".into()],
                dsn: None,
            },
            settled: vec![(0, Settled::Failed)],
            tracked: Some(party()),
            parts: vec![part],
            complete: true,
            origin: Some((party(), 3)),
        },
    ]
}
