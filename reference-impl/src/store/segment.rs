//! What the store remembers of one segment: where its records lie and which of
//! them live.

use super::Seq;
use super::format::{RECORD_FIXED, record_len, segment_file};
use crate::disk::FileName;

/// Where one record lies in its segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where it begins in the file, in bytes.
    pub(super) offset: u64,
    pub(super) header_len: u32,
    pub(super) body_len: u32,
    pub(super) live: bool,
}

impl Entry {
    /// Its length without padding, in bytes.
    pub(super) fn exact_len(&self) -> usize {
        RECORD_FIXED + self.header_len as usize + self.body_len as usize
    }

    fn len(&self) -> u64 {
        record_len(self.header_len as usize, self.body_len as usize) as u64
    }
}

/// One segment. Its records have consecutive sequence numbers.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: FileName,
    /// Length of the file, in bytes.
    pub(super) len: u64,
    pub(super) first_seq: Seq,
    pub(super) live_records: usize,
    /// Bytes of the live records in the log.
    pub(super) live_bytes: u64,
    /// The last record that was appended when one of this segment was released.
    /// What kills a record is appended before the release, so the segment may
    /// not go before this record is durable.
    pub(super) needs: Seq,
    entries: Vec<Entry>,
}

impl Segment {
    pub(super) fn new(number: u64, len: u64, first_seq: Seq) -> Self {
        Self {
            number,
            file: segment_file(number),
            len,
            first_seq,
            live_records: 0,
            live_bytes: 0,
            needs: Seq(0),
            entries: Vec::new(),
        }
    }

    /// Adds the next record.
    pub(super) fn push(&mut self, entry: Entry) {
        if entry.live {
            self.live_records += 1;
            self.live_bytes += entry.len();
        }
        self.entries.push(entry);
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.first_seq.0)?).ok()
    }

    pub(super) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(self.index(seq)?)
    }

    /// Releases a record when `appended` was the last one appended.
    pub(super) fn release(&mut self, seq: Seq, appended: Seq) {
        let Some(at) = self.index(seq) else { return };
        if let Some(entry) = self.entries.get_mut(at)
            && entry.live
        {
            entry.live = false;
            self.live_records -= 1;
            self.live_bytes -= entry.len();
            self.needs = self.needs.max(appended);
        }
    }

    /// The live records, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = Seq> + '_ {
        (self.first_seq.0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.live)
            .map(|(seq, _)| Seq(seq))
    }
}
