//! Segment headers, batches, records and marks, as `STORE.md` lays them out:
//! each is read or refused on its own.

use super::bytes::{array_at, u32_at, u64_at};

/// What a segment is made of; batches begin at multiples of it.
pub(super) const BLOCK: usize = 4096;
/// The marks' file.
pub(super) const MARKS: &str = "mark";
/// Its length.
pub(super) const MARKS_LEN: usize = 2 * BLOCK;

const BATCH_HEADER: usize = 80;
const RECORD_FIXED: usize = 48;
const MOST_HEADER: usize = 1 << 20;
const MOST_BODY: u64 = 1 << 28;

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".log")?;
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != 16 || !digits.bytes().all(lower) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().filter(|n| *n > 0)
}

/// The name of a segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("segment-{number:016x}.log")
}

/// The file that commits a salvage.
pub(super) const PLAN: &str = "salvage";

/// The name of a segment that a salvage made and has not named yet.
pub(super) fn unnamed_segment(number: u64) -> String {
    format!("segment-{number:016x}.new")
}

/// A committed salvage that was not finished: which segments are the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) database: [u8; 16],
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Plan {
    /// The plan in this file, unless it is damaged.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let block: &[u8; BLOCK] = file.first_chunk()?;
        let valid = file.len() == BLOCK
            && block[..8] == *b"MPSALVG1"
            && u32_at(block, 8) == 1
            && block[64..BLOCK - 4].iter().all(|b| *b == 0)
            && crc32c::crc32c(&block[..BLOCK - 4]) == u32_at(block, BLOCK - 4);
        valid.then(|| Self {
            database: array_at(block, 32).unwrap_or_default(),
            first: u64_at(block, 48),
            count: u64_at(block, 56),
        })
    }

    /// Its last segment.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(self.count).saturating_sub(1)
    }
}

/// Block 0 of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) epoch: u32,
    pub(super) database: [u8; 16],
    pub(super) salt: [u8; 16],
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) first_batch: u64,
    pub(super) first_seq: u64,
    pub(super) oldest: u64,
    pub(super) prev_end: u64,
    pub(super) prev_check: u32,
}

impl Segment {
    /// # Errors
    /// Why block 0 is no segment header.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let block: &[u8; BLOCK] = bytes
            .first_chunk()
            .ok_or_else(|| "it is shorter than its header".to_owned())?;
        if block[..8] != *b"MPSEGMNT" {
            return Err("it does not begin as a segment does".to_owned());
        }
        if crc32c::crc32c(&block[..BLOCK - 4]) != u32_at(block, BLOCK - 4) {
            return Err("its header has a wrong checksum".to_owned());
        }
        let version = u32_at(block, 8);
        if version != 1 {
            return Err(format!(
                "it has format version {version}; version 1 is read"
            ));
        }
        if block[100..BLOCK - 4].iter().any(|b| *b != 0) {
            return Err("its header has bytes where zeros must be".to_owned());
        }
        Ok(Self {
            epoch: u32_at(block, 12),
            database: array_at(block, 16).unwrap_or_default(),
            salt: array_at(block, 32).unwrap_or_default(),
            number: u64_at(block, 48),
            len: u64_at(block, 56),
            first_batch: u64_at(block, 64),
            first_seq: u64_at(block, 72),
            oldest: u64_at(block, 80),
            prev_end: u64_at(block, 88),
            prev_check: u32_at(block, 96),
        })
    }
}

/// A batch header that is valid by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) first_seq: u64,
    pub(super) records: u32,
    pub(super) epoch: u32,
    pub(super) oldest: u64,
    pub(super) prev_check: u32,
    pub(super) check: u32,
    /// Where the records begin and end in the segment.
    start: usize,
    end: u64,
    crc: u32,
}

impl Batch {
    /// The valid batch header at this place.
    pub(super) fn header_at(segment: &[u8], at: usize, salt: &[u8; 16]) -> Option<Self> {
        let header = segment.get(at..at.checked_add(BATCH_HEADER)?)?;
        if header[..8] != *b"MPBATCH1" || header[8..24] != *salt || header[72..76] != [0; 4] {
            return None;
        }
        let check = u32_at(header, 76);
        if crc32c::crc32c(&header[..76]) != check {
            return None;
        }
        let start = at + BATCH_HEADER;
        Some(Self {
            number: u64_at(header, 24),
            first_seq: u64_at(header, 32),
            records: u32_at(header, 40),
            epoch: u32_at(header, 44),
            oldest: u64_at(header, 56),
            prev_check: u32_at(header, 64),
            check,
            start,
            end: (start as u64).checked_add(u64_at(header, 48))?,
            crc: u32_at(header, 68),
        })
    }

    /// The whole batch at this place, and its records.
    pub(super) fn whole_at<'a>(
        segment: &'a [u8],
        at: usize,
        salt: &[u8; 16],
    ) -> Option<(Self, &'a [u8])> {
        let batch = Self::header_at(segment, at, salt)?;
        let records = segment.get(batch.start..usize::try_from(batch.end).ok()?)?;
        (crc32c::crc32c(records) == batch.crc).then_some((batch, records))
    }

    /// Where the next batch begins.
    pub(super) fn next_at(&self) -> usize {
        usize::try_from(self.end)
            .unwrap_or(usize::MAX)
            .checked_next_multiple_of(BLOCK)
            .unwrap_or(usize::MAX)
    }
}

/// A record in a whole batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number in the log.
    pub seq: u64,
    /// What it says.
    pub kind: u8,
    /// Its header.
    pub header: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the begin of `bytes`, which must have this sequence
    /// number, and what follows it.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn take(
        bytes: &'a [u8],
        seq: u64,
        database: &[u8; 16],
    ) -> Result<(Self, &'a [u8]), &'static str> {
        let fixed: &[u8; RECORD_FIXED] = bytes.first_chunk().ok_or("it is cut short")?;
        if fixed[..4] != *b"MPRC" {
            return Err("it does not begin as a record does");
        }
        if fixed[5..8] != [0; 3] || fixed[40..44] != [0; 4] {
            return Err("it has bytes where zeros must be");
        }
        let head = u32_at(fixed, 8) as usize;
        let body = u64_at(fixed, 16);
        if head > MOST_HEADER || body > MOST_BODY {
            return Err("it is longer than any record");
        }
        let body = usize::try_from(body).map_err(|_| "it is longer than any record")?;
        let end = RECORD_FIXED + head + body;
        let padded = end.next_multiple_of(8);
        let rest = bytes.get(padded..).ok_or("it is cut short")?;
        let header = &bytes[RECORD_FIXED..RECORD_FIXED + head];
        let content = &bytes[RECORD_FIXED + head..end];
        let check = crc32c::crc32c_append(crc32c::crc32c(&fixed[..44]), header);
        if check != u32_at(fixed, 44) {
            return Err("its header has a wrong checksum");
        }
        if crc32c::crc32c(content) != u32_at(fixed, 12) {
            return Err("its body has a wrong checksum");
        }
        if bytes[end..padded].iter().any(|b| *b != 0) {
            return Err("it has bytes where zeros must be");
        }
        if u64_at(fixed, 24) != seq {
            return Err("its sequence number is not the next");
        }
        let tag: [u8; 8] = array_at(database, 0).unwrap_or_default();
        if u64_at(fixed, 32) != u64::from_be_bytes(tag) {
            return Err("it is of another database");
        }
        let record = Self {
            seq,
            kind: fixed[4],
            header,
            body: content,
        };
        Ok((record, rest))
    }
}

/// What was known to be synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) database: [u8; 16],
    pub(super) batch: u64,
    pub(super) check: u32,
}

impl Mark {
    /// The newest valid mark of the marks' file.
    pub(super) fn newest(file: &[u8]) -> Option<Self> {
        if file.len() != MARKS_LEN {
            return None;
        }
        [&file[..BLOCK], &file[BLOCK..]]
            .into_iter()
            .filter_map(Self::read)
            .max_by_key(|mark| mark.batch)
    }

    fn read(slot: &[u8]) -> Option<Self> {
        let mark = slot.get(..64)?;
        let valid = mark[..8] == *b"MPMARK01"
            && mark[52..60] == [0; 8]
            && crc32c::crc32c(&mark[..60]) == u32_at(mark, 60);
        valid.then(|| Self {
            database: array_at(mark, 8).unwrap_or_default(),
            batch: u64_at(mark, 24),
            check: u32_at(mark, 48),
        })
    }
}
