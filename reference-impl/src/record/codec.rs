//! Fields of record headers: little-endian integers, counted texts and lists.

use super::envelope::WITH_DSN;
use super::{About, Bad, CopyKey, DsnRecipient, DsnRequest, Envelope, Kept, Settled, Tell};
use crate::store::DatabaseId;

/// Appends fields.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, v: u8) {
        self.0.push(v);
    }

    pub(super) fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    pub(super) fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    /// Every text is bounded far below 64 KiB where it enters the node.
    pub(super) fn text(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
        self.0
            .extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.u32(items.len() as u32);
        for i in items {
            item(self, i);
        }
    }

    pub(super) fn settled(&mut self, settled: &[(u32, Settled)]) {
        self.list(settled, |w, (index, how)| {
            w.u32(*index);
            w.u8(match how {
                Settled::Delivered => 1,
                Settled::Failed => 2,
                Settled::Delayed => 3,
            });
        });
    }

    pub(super) fn database(&mut self, id: DatabaseId) {
        self.0.extend_from_slice(&id.0.to_be_bytes());
    }

    pub(super) fn key(&mut self, key: &CopyKey) {
        self.database(key.database);
        self.u64(key.sequence);
    }

    pub(super) fn kept(&mut self, what: &Kept) {
        match what {
            Kept::Own(sequence) => {
                self.u8(1);
                self.u64(*sequence);
            }
            Kept::Copy(primary, key) => {
                self.u8(2);
                self.text(primary);
                self.key(key);
            }
            Kept::Lost(record) => {
                self.u8(3);
                self.u64(*record);
            }
        }
    }

    pub(super) fn envelope(&mut self, envelope: &Envelope) {
        let with = if envelope.dsn.is_some() { WITH_DSN } else { 0 };
        self.u8(envelope.flags | with);
        self.text(&envelope.sender);
        self.list(&envelope.recipients, |w, r| w.text(r));
        if let Some(dsn) = &envelope.dsn {
            self.text(&dsn.envid);
            self.list(&dsn.recipients, |w, asked| {
                w.u8(asked.notify);
                w.text(&asked.orcpt);
            });
        }
    }

    pub(super) fn about(&mut self, about: Option<&About>) {
        let Some(about) = about else {
            return self.u8(0);
        };
        self.u8(match about.how {
            Settled::Failed => 1,
            Settled::Delivered => 2,
            Settled::Delayed => 3,
        });
        self.u64(about.sequence);
        self.list(&about.recipients, |w, at| w.u32(*at));
    }
}

/// What is left of a header.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Bad> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("more bytes in a header")?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Bad> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Bad> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<Box<str>, Bad> {
        let len = u16::from_le_bytes(self.array()?);
        let text = std::str::from_utf8(self.take(len.into())?).map_err(|_| "text in UTF-8")?;
        Ok(text.into())
    }

    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        let count = self.u32()? as usize;
        // An item has at least one byte, so the count cannot exceed them.
        if count > self.0.len() {
            return Err("a list no longer than its header");
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn settled(&mut self) -> Result<Vec<(u32, Settled)>, Bad> {
        self.list(|r| {
            let index = r.u32()?;
            match r.u8()? {
                1 => Ok((index, Settled::Delivered)),
                2 => Ok((index, Settled::Failed)),
                3 => Ok((index, Settled::Delayed)),
                _ => Err("a known outcome"),
            }
        })
    }

    pub(super) fn tell(&mut self) -> Result<Tell, Bad> {
        Ok(Tell {
            peer: self.text()?,
            acknowledged: self.u8()? != 0,
        })
    }

    pub(super) fn database(&mut self) -> Result<DatabaseId, Bad> {
        self.array().map(|b| DatabaseId(u128::from_be_bytes(b)))
    }

    pub(super) fn key(&mut self) -> Result<CopyKey, Bad> {
        Ok(CopyKey {
            database: self.database()?,
            sequence: self.u64()?,
        })
    }

    pub(super) fn kept(&mut self) -> Result<Kept, Bad> {
        match self.u8()? {
            1 => Ok(Kept::Own(self.u64()?)),
            2 => Ok(Kept::Copy(self.text()?, self.key()?)),
            3 => Ok(Kept::Lost(self.u64()?)),
            _ => Err("a known thing to keep"),
        }
    }

    pub(super) fn envelope(&mut self) -> Result<Envelope, Bad> {
        let flags = self.u8()?;
        let sender = self.text()?;
        let recipients = self.list(Reader::text)?;
        let dsn = if flags & WITH_DSN == 0 {
            None
        } else {
            let asked = |r: &mut Self| {
                Ok(DsnRecipient {
                    notify: r.u8()?,
                    orcpt: r.text()?,
                })
            };
            Some(Box::new(DsnRequest {
                envid: self.text()?,
                recipients: self.list(asked)?,
            }))
        };
        Ok(Envelope {
            flags: flags & !WITH_DSN,
            sender,
            recipients,
            dsn,
        })
    }

    pub(super) fn about(&mut self) -> Result<Option<About>, Bad> {
        let how = match self.u8()? {
            0 => return Ok(None),
            1 => Settled::Failed,
            2 => Settled::Delivered,
            3 => Settled::Delayed,
            _ => return Err("a known outcome"),
        };
        Ok(Some(About {
            sequence: self.u64()?,
            how,
            recipients: self.list(Reader::u32)?,
        }))
    }
}
