//! Mail transactions as an observer sees them.

use std::collections::VecDeque;

use super::Lost;
use crate::line::Line;

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// MAIL has passed.
    Envelope,
    /// Content has begun.
    Content,
    /// The end of data has passed; replies to it are due.
    Ended,
    /// Every reply to the end of data has passed.
    Answered,
    /// It was reset, or another MAIL took its place, before its end of data.
    Void,
}

/// A transaction as seen on the wire.
#[derive(Debug, Clone)]
pub struct ObservedTransaction {
    /// Its number on this connection, from 1.
    pub number: u32,
    /// How far it has come.
    pub progress: Progress,
    /// Reverse path without angle brackets, as sent; empty for the null sender
    /// and for a MAIL line that cannot be read.
    pub from: Line,
    /// Code of the reply to MAIL.
    pub mail_code: Option<u16>,
    /// Every RCPT, refused ones included.
    pub rcpts: Vec<ObservedRcpt>,
    /// Beginning of the un-stuffed content, at most
    /// [`head_limit`](super::ObserverOptions::head_limit) bytes. Filled in at
    /// the end of data.
    pub head: Vec<u8>,
    /// Bytes of un-stuffed content. Filled in at the end of data.
    pub size: u64,
    /// Code of the reply to the end of data; with LMTP see the recipients.
    pub end_code: Option<u16>,
}

/// A recipient as seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRcpt {
    /// Forward path without angle brackets, as sent; empty if the line cannot
    /// be read.
    pub address: Line,
    /// Code of the reply to RCPT.
    pub code: Option<u16>,
    /// Code of the reply to the end of data for this recipient.
    pub end_code: Option<u16>,
}

impl ObservedTransaction {
    /// The recipients that were answered 2yz.
    pub fn accepted(&self) -> impl Iterator<Item = &ObservedRcpt> {
        self.rcpts.iter().filter(|rcpt| rcpt.is_accepted())
    }

    /// Whether the server took it and its end of data has not passed.
    fn is_open(&self) -> bool {
        self.progress < Progress::Ended && self.mail_code.is_some_and(is_success)
    }

    /// Index of the first accepted recipient from `from` on.
    pub(super) fn accepted_from(&self, from: usize) -> Option<usize> {
        let rest = self.rcpts.get(from..)?;
        Some(from + rest.iter().position(ObservedRcpt::is_accepted)?)
    }

    /// Notes an LMTP reply for the first accepted recipient from `from` on.
    pub(super) fn end_rcpt(&mut self, from: usize, code: u16) -> Option<usize> {
        let index = self.accepted_from(from)?;
        self.rcpts[index].end_code = Some(code);
        Some(index)
    }

    /// Notes the reply for every accepted recipient.
    pub(super) fn end_all(&mut self, code: u16) {
        for rcpt in &mut self.rcpts {
            if rcpt.is_accepted() {
                rcpt.end_code = Some(code);
            }
        }
    }
}

impl ObservedRcpt {
    fn is_accepted(&self) -> bool {
        self.code.is_some_and(is_success)
    }
}

fn is_success(code: u16) -> bool {
    code / 100 == 2
}

/// The transactions of a connection that are still of interest, by number.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    kept: VecDeque<ObservedTransaction>,
    /// One that is no longer of interest; its storage is used again.
    spare: Option<ObservedTransaction>,
    begun: u32,
}

impl Transactions {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &ObservedTransaction> {
        self.kept.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn find(&mut self, number: u32) -> Option<&mut ObservedTransaction> {
        self.kept.iter_mut().rfind(|kept| kept.number == number)
    }

    /// The number that the next transaction will have.
    pub(super) fn next_number(&self) -> u32 {
        self.begun.saturating_add(1)
    }

    pub(super) fn begin(&mut self, from: &[u8]) -> u32 {
        self.begun = self.next_number();
        let (mut rcpts, mut head) = match self.spare.take() {
            Some(spare) => (spare.rcpts, spare.head),
            None => (Vec::new(), Vec::new()),
        };
        rcpts.clear();
        head.clear();
        self.kept.push_back(ObservedTransaction {
            number: self.begun,
            progress: Progress::Envelope,
            from: from.into(),
            mail_code: None,
            rcpts,
            head,
            size: 0,
            end_code: None,
        });
        self.begun
    }

    /// Drops the oldest that are over, but not `active`.
    pub(super) fn retire(&mut self, active: Option<u32>) {
        while let Some(oldest) = self.kept.front() {
            if oldest.progress < Progress::Answered || active == Some(oldest.number) {
                return;
            }
            self.spare = self.kept.pop_front();
        }
    }

    /// RSET or the like was accepted.
    pub(super) fn reset(&mut self, before: u32) {
        for kept in &mut self.kept {
            if kept.number < before && kept.progress < Progress::Ended {
                kept.progress = Progress::Void;
            }
        }
    }

    /// The transaction below `before` that goes on.
    pub(super) fn open_before(&self, before: u32) -> Option<u32> {
        self.kept
            .iter()
            .rfind(|kept| kept.number < before && kept.is_open())
            .map(|kept| kept.number)
    }

    /// Notes the reply to MAIL. If it was refused because an earlier
    /// transaction goes on, moves its recipients there, and returns that one's
    /// number and how many recipients it had.
    pub(super) fn answer_mail(
        &mut self,
        number: u32,
        code: u16,
    ) -> Result<Option<(u32, usize)>, Lost> {
        let earlier = if is_success(code) {
            None
        } else {
            self.open_before(number)
        };
        for kept in &mut self.kept {
            // Whatever was before is over, unless it goes on.
            if kept.number < number
                && kept.progress < Progress::Ended
                && Some(kept.number) != earlier
            {
                kept.progress = Progress::Void;
            }
        }
        let Some(kept) = self.find(number) else {
            return Ok(None);
        };
        kept.mail_code = Some(code);
        let Some(earlier) = earlier else {
            return Ok(None);
        };
        if kept.progress != Progress::Envelope {
            return Err(Lost::Nested);
        }
        kept.progress = Progress::Void;
        let rcpts = std::mem::take(&mut kept.rcpts);
        let Some(kept) = self.find(earlier) else {
            return Ok(None);
        };
        let base = kept.rcpts.len();
        if base + rcpts.len() > super::MAX_RCPTS {
            return Err(Lost::TooManyRcpts);
        }
        kept.rcpts.extend(rcpts);
        Ok(Some((earlier, base)))
    }
}
