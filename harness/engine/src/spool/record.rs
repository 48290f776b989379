//! What the node's records say, as "Records of the node" in `STORE.md` lays
//! them out. Only what tells who owes what is kept.

/// A message's number at the node that is responsible for it.
pub(super) type Sequence = u64;

/// Who sent a copy and how the sender names it: database ID, sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CopyName {
    pub(super) primary: String,
    pub(super) database: [u8; 16],
    pub(super) sequence: Sequence,
}

/// A record, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing that changes who owes what.
    Other,
    /// The node is responsible for a message; its content is the body.
    Message {
        sequence: Sequence,
        recipients: Vec<String>,
        /// For a DSN: which message it is about, and the recipients of that
        /// message, by index, for which it stands.
        about: Option<(Sequence, Vec<u32>)>,
    },
    /// Recipients, by index, for which nothing is owed any more.
    Progress {
        sequence: Sequence,
        settled: Vec<u32>,
    },
    /// The node is no longer responsible for a message.
    Over { sequence: Sequence },
    /// A copy of another node's message; its content is the body.
    Shadow {
        copy: CopyName,
        recipients: Vec<String>,
    },
    /// Copies were dropped.
    Removed { copies: Vec<CopyName> },
    /// A copy became a message of this node.
    TakenOver {
        copy: CopyName,
        sequence: Sequence,
        /// Recipients, by index, for which nothing is owed.
        without: Vec<u32>,
    },
    /// A message in a mailbox; its content is the body.
    Mailbox {
        database: String,
        recipient: String,
        /// When it was delivered, Unix milliseconds.
        at: u64,
        /// The message and recipient that this settles.
        settles: Option<(Sequence, u32)>,
    },
    /// Copies have another name from now on.
    Rebound {
        /// The name before and after.
        copies: Vec<(CopyName, CopyName)>,
    },
    /// A message with all that is known of it, written again.
    Moved {
        sequence: Sequence,
        recipients: Vec<String>,
        settled: Vec<u32>,
    },
    /// A next hop took recipients of a message, by index, and reports when it
    /// is done: what is left here of them is a shadow.
    Kept { sequence: Sequence, fork: Fork },
    /// No recipient of a message is owed anything; what is kept for next hops
    /// stays.
    Complete { sequence: Sequence },
    /// Next hops reported these as done.
    Released { copies: Vec<CopyName> },
    /// A message with all that is known of it, written again, or what was
    /// kept for the next hop `origin`, which is the node's own again.
    Restated {
        sequence: Sequence,
        recipients: Vec<String>,
        settled: Vec<u32>,
        forks: Vec<Fork>,
        complete: bool,
        origin: Option<CopyName>,
    },
    /// What records before this one delivered into a mailbox database after a
    /// time is lost.
    Lost { database: String, as_of: u64 },
    /// A copy went into the Safety Net: it is no shadow any more.
    KeptCopy { copy: CopyName },
    /// Something out of the Safety Net is a message of the node again.
    Resubmitted {
        sequence: Sequence,
        what: Kept,
        /// Recipients of what was kept, by index.
        recipients: Vec<u32>,
    },
}

/// What is kept for a next hop: the next hop, its database and our id for it;
/// and the recipients, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) name: CopyName,
    pub(super) recipients: Vec<u32>,
}

/// What a Safety Net keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// A message that its node has done with.
    Own(Sequence),
    /// A copy whose primary has done with the message.
    Copy(CopyName),
    /// A delivery that a mailbox database has lost, by its record's number.
    Lost(u64),
}

impl Entry {
    /// # Errors
    /// What was expected.
    pub(super) fn read(kind: u8, header: &[u8]) -> Result<Self, &'static str> {
        let mut r = Fields(header);
        if r.u8()? != 1 {
            return Err("record version 1 was expected");
        }
        let entry = match kind {
            // The node started.
            1 => {
                r.u32()?;
                r.u64()?;
                Self::Other
            }
            2 => {
                let sequence = r.u64()?;
                r.u64()?;
                let recipients = r.envelope()?;
                r.text()?;
                let about = r.about()?;
                Self::Message {
                    sequence,
                    recipients,
                    about,
                }
            }
            // A peer may hold a copy.
            3 => {
                r.u64()?;
                r.text()?;
                Self::Other
            }
            4 => Self::Progress {
                sequence: r.u64()?,
                settled: r.settled()?,
            },
            // Done, or refused.
            5 | 6 => {
                let sequence = r.u64()?;
                r.list(|r| {
                    r.text()?;
                    r.u8()
                })?;
                Self::Over { sequence }
            }
            // A peer knows that a message is done.
            7 => {
                r.text()?;
                r.list(Fields::u64)?;
                Self::Other
            }
            8 => {
                let copy = r.copy_name()?;
                r.u64()?;
                Self::Shadow {
                    copy,
                    recipients: r.envelope()?,
                }
            }
            9 => Self::Removed {
                copies: r.copy_names()?,
            },
            10 => {
                let copy = r.copy_name()?;
                let sequence = r.u64()?;
                r.u64()?;
                Self::TakenOver {
                    copy,
                    sequence,
                    without: r.list(Fields::u32)?,
                }
            }
            11 => {
                let database = r.text()?;
                let recipient = r.text()?;
                r.text()?;
                let at = r.u64()?;
                r.array::<16>()?;
                let settles = r.option(|r| Ok((r.u64()?, r.u32()?)))?;
                Self::Mailbox {
                    database,
                    recipient,
                    at,
                    settles,
                }
            }
            12 => {
                let sequence = r.u64()?;
                r.u64()?;
                let recipients = r.envelope()?;
                let settled = r.settled()?;
                r.list(Fields::text)?;
                r.option(|r| {
                    r.copy_name()?;
                    r.u64()
                })?;
                Self::Moved {
                    sequence,
                    recipients,
                    settled,
                }
            }
            // The log was salvaged from a damaged one.
            30 => {
                r.array::<16>()?;
                for _ in 0..4 {
                    r.u64()?;
                }
                r.list(Fields::text)?;
                Self::Other
            }
            31 => {
                let primary = r.text()?;
                let from = r.array()?;
                let to = r.array()?;
                let sequences = r.list(Fields::u64)?;
                let name = |database, sequence| CopyName {
                    primary: primary.clone(),
                    database,
                    sequence,
                };
                let pairs = sequences.into_iter().map(|s| (name(from, s), name(to, s)));
                Self::Rebound {
                    copies: pairs.collect(),
                }
            }
            // Who is to be told when a message is done.
            20 => {
                r.u64()?;
                r.copy_name()?;
                Self::Other
            }
            21 => Self::Kept {
                sequence: r.u64()?,
                fork: r.fork()?,
            },
            22 => {
                let sequence = r.u64()?;
                r.option(Fields::copy_name)?;
                Self::Complete { sequence }
            }
            23 => Self::Released {
                copies: r.copy_names()?,
            },
            24 => {
                let sequence = r.u64()?;
                r.u64()?;
                let recipients = r.envelope()?;
                let settled = r.settled()?;
                r.option(Fields::copy_name)?;
                let forks = r.list(Fields::fork)?;
                let complete = match r.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err("0 or 1 was expected for complete"),
                };
                let origin = r.option(|r| {
                    let name = r.copy_name()?;
                    r.u64()?;
                    Ok(name)
                })?;
                Self::Restated {
                    sequence,
                    recipients,
                    settled,
                    forks,
                    complete,
                    origin,
                }
            }
            25 => {
                let name = r.text()?;
                r.u8()?;
                r.text()?;
                let as_of = r.option(Fields::u64)?;
                match as_of {
                    Some(as_of) => Self::Lost {
                        database: name,
                        as_of,
                    },
                    None => Self::Other,
                }
            }
            // What a Safety Net keeps is owed to nobody; it is only its place
            // that matters, once it is sent again.
            26 => {
                let what = r.kept()?;
                r.u64()?;
                r.list(Fields::u32)?;
                match what {
                    Kept::Copy(copy) => Self::KeptCopy { copy },
                    Kept::Own(_) | Kept::Lost(_) => Self::Other,
                }
            }
            27 => {
                let sequence = r.u64()?;
                let what = r.kept()?;
                r.u64()?;
                r.u64()?;
                Self::Resubmitted {
                    sequence,
                    what,
                    recipients: r.list(Fields::u32)?,
                }
            }
            28 => {
                r.u64()?;
                r.text()?;
                r.u64()?;
                r.u64()?;
                r.text()?;
                r.text()?;
                r.u64()?;
                r.array::<3>()?;
                r.list(|r| {
                    r.text()?;
                    r.u8()
                })?;
                Self::Other
            }
            29 => {
                r.u64()?;
                Self::Other
            }
            _ => return Err("a known kind was expected"),
        };
        if r.0.is_empty() {
            Ok(entry)
        } else {
            Err("nothing was expected after the last field")
        }
    }
}

/// What is left of a header.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self
            .0
            .split_at_checked(n)
            .ok_or("more bytes were expected")?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "more bytes were expected")
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = u16::from_le_bytes(self.array()?);
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "text in UTF-8 was expected")
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, &'static str> {
        // Not reserved: the length is not to be trusted before its items are
        // there.
        let mut items = Vec::new();
        for _ in 0..self.u32()? {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn option<T>(
        &mut self,
        item: impl FnOnce(&mut Self) -> Result<T, &'static str>,
    ) -> Result<Option<T>, &'static str> {
        match self.u8()? {
            0 => Ok(None),
            1 => item(self).map(Some),
            _ => Err("0 or 1 was expected before an optional field"),
        }
    }

    /// Recipients that are settled, delivered (1) or failed (2). One whose
    /// delay was reported (3) still waits.
    fn settled(&mut self) -> Result<Vec<u32>, &'static str> {
        let all = self.list(|r| {
            let index = r.u32()?;
            match r.u8()? {
                1 | 2 => Ok(Some(index)),
                3 => Ok(None),
                _ => Err("an outcome from 1 to 3 was expected"),
            }
        })?;
        Ok(all.into_iter().flatten().collect())
    }

    /// What a DSN stands for: recipients that failed (1) or were delivered
    /// (2). One about a delay (3) stands for nobody.
    fn about(&mut self) -> Result<Option<(Sequence, Vec<u32>)>, &'static str> {
        let kind = self.u8()?;
        if kind == 0 {
            return Ok(None);
        }
        let about = (self.u64()?, self.list(Self::u32)?);
        match kind {
            1 | 2 => Ok(Some(about)),
            3 => Ok(None),
            _ => Err("a kind of DSN from 1 to 3 was expected"),
        }
    }

    /// The recipients of an envelope; what else it says does not matter here.
    fn envelope(&mut self) -> Result<Vec<String>, &'static str> {
        let flags = self.u8()?;
        self.text()?;
        let recipients = self.list(Self::text)?;
        if flags & 16 != 0 {
            self.text()?;
            self.list(|r| {
                r.u8()?;
                r.text()
            })?;
        }
        Ok(recipients)
    }

    /// Several copies of one server and database.
    fn copy_names(&mut self) -> Result<Vec<CopyName>, &'static str> {
        let primary = self.text()?;
        let database = self.array()?;
        let sequences = self.list(Self::u64)?;
        let names = sequences.into_iter().map(|sequence| CopyName {
            primary: primary.clone(),
            database,
            sequence,
        });
        Ok(names.collect())
    }

    fn fork(&mut self) -> Result<Fork, &'static str> {
        Ok(Fork {
            name: self.copy_name()?,
            recipients: self.list(Self::u32)?,
        })
    }

    fn kept(&mut self) -> Result<Kept, &'static str> {
        match self.u8()? {
            1 => Ok(Kept::Own(self.u64()?)),
            2 => Ok(Kept::Copy(self.copy_name()?)),
            3 => Ok(Kept::Lost(self.u64()?)),
            _ => Err("1, 2 or 3 was expected before what is kept"),
        }
    }

    fn copy_name(&mut self) -> Result<CopyName, &'static str> {
        Ok(CopyName {
            primary: self.text()?,
            database: self.array()?,
            sequence: self.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A MAILBOX record, built by hand from the table in `STORE.md`.
    fn mailbox(tag: u8) -> Vec<u8> {
        let mut header = vec![1];
        for text in ["db1", "m1r0@mail.test", ""] {
            header.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
            header.extend_from_slice(text.as_bytes());
        }
        header.extend_from_slice(&[0; 8 + 16]);
        header.push(tag);
        header.extend_from_slice(&7_u64.to_le_bytes());
        header.extend_from_slice(&2_u32.to_le_bytes());
        header
    }

    #[test]
    fn a_record_reads_as_documented() {
        let due = Entry::Mailbox {
            database: "db1".to_owned(),
            at: 0,
            recipient: "m1r0@mail.test".to_owned(),
            settles: Some((7, 2)),
        };
        assert_eq!(Entry::read(11, &mailbox(1)), Ok(due));
    }

    /// A MESSAGE record of a DSN of this kind, with what was asked about DSNs.
    fn report(kind: u8) -> Vec<u8> {
        let text = |text: &str| {
            let length = u16::try_from(text.len()).unwrap().to_le_bytes();
            [&length[..], text.as_bytes()].concat()
        };
        let one = 1_u32.to_le_bytes();
        [
            &[1][..],
            &[7, 0, 0, 0, 0, 0, 0, 0],
            &[0; 8],
            &[16],
            &text(""),
            &one,
            &text("m1r0@mail.test"),
            &text("id"),
            &one,
            &[8],
            &text("rfc822;a@b"),
            &text("n2"),
            &[kind],
            &9_u64.to_le_bytes(),
            &one,
            &3_u32.to_le_bytes(),
        ]
        .concat()
    }

    #[test]
    fn a_dsn_about_a_delay_stands_for_nobody() {
        for (kind, about) in [(1, Some((9, vec![3]))), (2, Some((9, vec![3]))), (3, None)] {
            let due = Entry::Message {
                sequence: 7,
                recipients: vec!["m1r0@mail.test".to_owned()],
                about,
            };
            assert_eq!(Entry::read(2, &report(kind)), Ok(due));
        }
        assert!(Entry::read(2, &report(4)).is_err());
    }

    /// A KEPT record, built by hand from the table in `STORE.md`.
    #[test]
    fn what_is_kept_for_a_next_hop_reads_as_documented() {
        let mut header = vec![1];
        header.extend_from_slice(&5_u64.to_le_bytes());
        header.extend_from_slice(&[2, 0, b'n', b'2']);
        header.extend_from_slice(&[7; 16]);
        header.extend_from_slice(&9_u64.to_le_bytes());
        for number in [2_u32, 0, 3] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        let due = Entry::Kept {
            sequence: 5,
            fork: Fork {
                name: CopyName {
                    primary: "n2".to_owned(),
                    database: [7; 16],
                    sequence: 9,
                },
                recipients: vec![0, 3],
            },
        };
        assert_eq!(Entry::read(21, &header), Ok(due));
        for cut in 0..header.len() {
            assert!(Entry::read(21, &header[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let whole = mailbox(1);
        for cut in 0..whole.len() {
            assert!(Entry::read(11, &whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Entry::read(11, &[&whole[..], b"x"].concat()).is_err());
        assert!(Entry::read(11, &mailbox(0)).is_err(), "more than nothing");
        assert!(Entry::read(11, &mailbox(2)).is_err(), "a strange tag");
        assert!(Entry::read(0, &whole).is_err());
        assert!(Entry::read(13, &whole).is_err());
        let mut other = whole;
        other[0] = 2;
        assert!(Entry::read(11, &other).is_err(), "another version");
        // A list that says it is longer than anything.
        let endless = [&[1][..], &[0; 8], &[0xff; 4]].concat();
        assert!(Entry::read(4, &endless).is_err());
    }
}
