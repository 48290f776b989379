//! The byte layout: encoding and decoding of the four structures, nothing
//! else. `STORE.md` documents the same for readers in other languages.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::Seq;
use crate::disk::FileName;

/// The format version that is written and the only one that is read.
pub const FORMAT_VERSION: u32 = 1;
/// Batches begin at multiples of this, in bytes: no write ever touches a page
/// or a sector that holds synced data.
pub(super) const BLOCK: u64 = 4096;
/// Length of a batch header, in bytes.
pub(super) const BATCH_HEADER: usize = 80;
/// Length of a record's fixed part, in bytes.
pub(super) const RECORD_FIXED: usize = 48;
/// Largest header of one record, in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Largest body of one record, in bytes.
pub const MAX_BODY: usize = 1 << 28;
/// Name of the file with the durability marks.
pub(super) const MARK_FILE: &str = "mark";
/// Its length: two slots, a block each, so that a torn write costs one.
pub(super) const MARK_FILE_LEN: u64 = 2 * BLOCK;
/// Length of one durability mark, in bytes.
pub(super) const MARK_LEN: usize = 64;

/// Name of the file that commits a salvage, and while it is being written.
pub(super) const PLAN_FILE: &str = "salvage";
pub(super) const NEW_PLAN_FILE: &str = "salvage.new";

const PLAN_MAGIC: [u8; 8] = *b"MPSALVG1";
const SEGMENT_MAGIC: [u8; 8] = *b"MPSEGMNT";
const BATCH_MAGIC: [u8; 8] = *b"MPBATCH1";
const MARK_MAGIC: [u8; 8] = *b"MPMARK01";
const RECORD_MAGIC: [u8; 4] = *b"MPRC";

/// Who this store is. Minted once, when the store is created; ids given to
/// peers are bound to it, so that numbers of a lost store are never taken for
/// numbers of its successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseId(pub u128);

impl DatabaseId {
    /// The first 8 bytes of the ID; what each record carries.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn tag(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseId({self})")
    }
}

impl Serialize for DatabaseId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What every batch header repeats and nobody outside the directory knows, so
/// that no bytes a stranger sends in a mail can pass for a batch header.
pub(super) type Salt = [u8; 16];

/// Derives database ID and salt from the caller's randomness. The ID is public
/// and tells nothing about the salt.
pub(super) fn mint(fresh: u128) -> (DatabaseId, Salt) {
    let half = |context: &str| {
        let mut half = [0; 16];
        half.copy_from_slice(&blake3::derive_key(context, &fresh.to_be_bytes())[..16]);
        half
    };
    (
        DatabaseId(u128::from_be_bytes(half("mailproof store 1 database id"))),
        half("mailproof store 1 batch salt"),
    )
}

/// Derives the identity of the store that a salvage makes: it differs from its
/// predecessor's whatever `fresh` is.
pub(super) fn mint_successor(fresh: u128, tag: u64, first_segment: u64) -> (DatabaseId, Salt) {
    let mut hasher = blake3::Hasher::new_derive_key("mailproof store 1 successor");
    hasher.update(&fresh.to_be_bytes());
    hasher.update(&tag.to_be_bytes());
    hasher.update(&first_segment.to_be_bytes());
    let mut seed = [0; 16];
    seed.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    mint(u128::from_be_bytes(seed))
}

/// Rounds up to the next block.
pub(super) fn round_block(at: u64) -> u64 {
    at.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Name of a segment.
pub(super) fn segment_file(number: u64) -> FileName {
    FileName::built(&format!("segment-{number:016x}.log"))
}

/// Name of a segment while it is being created.
pub(super) fn new_segment_file(number: u64) -> FileName {
    FileName::built(&format!("segment-{number:016x}.new"))
}

/// Name of a segment that a salvage has put aside.
pub(super) fn quarantined_segment(number: u64) -> FileName {
    FileName::built(&format!("segment-{number:016x}.quarantine"))
}

/// Name of the marks that a salvage has put aside; `number` is the first
/// segment that it made.
pub(super) fn quarantined_mark(number: u64) -> FileName {
    FileName::built(&format!("mark-{number:016x}.quarantine"))
}

/// What a file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Segment(u64),
    NewSegment(u64),
    Mark,
    /// Commits a salvage.
    Plan,
    /// The same, never finished.
    NewPlan,
    /// Put aside by a salvage; its number, which no later segment may take.
    Quarantine(u64),
    Unknown,
}

/// Tells the store's own files by their names.
pub(super) fn kind_of(file: &FileName) -> Kind {
    match file.as_str() {
        MARK_FILE => return Kind::Mark,
        PLAN_FILE => return Kind::Plan,
        NEW_PLAN_FILE => return Kind::NewPlan,
        _ => {}
    }
    let number = |prefix, suffix| {
        let hex = file.as_str().strip_prefix(prefix)?.strip_suffix(suffix)?;
        u64::from_str_radix(hex, 16).ok()
    };
    // A number has one spelling.
    if let Some(n) = number("segment-", ".log").filter(|n| segment_file(*n) == *file) {
        Kind::Segment(n)
    } else if let Some(n) = number("segment-", ".new").filter(|n| new_segment_file(*n) == *file) {
        Kind::NewSegment(n)
    } else if let Some(n) =
        number("segment-", ".quarantine").filter(|n| quarantined_segment(*n) == *file)
    {
        Kind::Quarantine(n)
    } else if let Some(n) = number("mark-", ".quarantine").filter(|n| quarantined_mark(*n) == *file)
    {
        Kind::Quarantine(n)
    } else {
        Kind::Unknown
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn sixteen_at(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut word = [0; 16];
    word.copy_from_slice(&bytes[at..at + 16]);
    word
}

fn id_at(bytes: &[u8], at: usize) -> DatabaseId {
    DatabaseId(u128::from_be_bytes(sixteen_at(bytes, at)))
}

/// Block 0 of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) database: DatabaseId,
    pub(super) salt: Salt,
    /// Segments count from 1.
    pub(super) number: u64,
    /// Length of the file.
    pub(super) len: u64,
    /// The batch that this segment was made for.
    pub(super) first_batch: u64,
    /// The sequence number that comes next when the segment is created.
    pub(super) first_seq: Seq,
    /// The oldest segment that the log needs, when this one was created.
    pub(super) oldest: u64,
    /// Where the last batch of the segment before ends, rounded up; 0 in the
    /// first segment.
    pub(super) prev_end: u64,
    /// Check of the last batch before; 0 when there was none.
    pub(super) prev_check: u32,
    /// How often the store had been opened.
    pub(super) epoch: u32,
}

/// Why block 0 is no segment header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged(&'static str),
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Bytes {
        let mut block = Vec::with_capacity(4096);
        block.extend_from_slice(&SEGMENT_MAGIC);
        block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        block.extend_from_slice(&self.epoch.to_le_bytes());
        block.extend_from_slice(&self.database.0.to_be_bytes());
        block.extend_from_slice(&self.salt);
        for word in [
            self.number,
            self.len,
            self.first_batch,
            self.first_seq.0,
            self.oldest,
            self.prev_end,
        ] {
            block.extend_from_slice(&word.to_le_bytes());
        }
        block.extend_from_slice(&self.prev_check.to_le_bytes());
        block.resize(4092, 0);
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.into()
    }

    /// `block` has 4096 bytes.
    pub(super) fn decode(block: &[u8]) -> Result<Self, BadHeader> {
        if block.len() != 4096 || block[..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Damaged("no segment header"));
        }
        if crc32c::crc32c(&block[..4092]) != u32_at(block, 4092) {
            return Err(BadHeader::Damaged(
                "checksum of the segment header is wrong",
            ));
        }
        let version = u32_at(block, 8);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let header = Self {
            database: id_at(block, 16),
            salt: sixteen_at(block, 32),
            number: u64_at(block, 48),
            len: u64_at(block, 56),
            first_batch: u64_at(block, 64),
            first_seq: Seq(u64_at(block, 72)),
            oldest: u64_at(block, 80),
            prev_end: u64_at(block, 88),
            prev_check: u32_at(block, 96),
            epoch: u32_at(block, 12),
        };
        if header.oldest == 0 || header.oldest > header.number {
            return Err(BadHeader::Damaged(
                "segment header names an impossible oldest segment",
            ));
        }
        Ok(header)
    }
}

/// What precedes the records of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// Batches count from 1, without gaps, across segments.
    pub(super) number: u64,
    /// Sequence number of the first record, or of the next one when empty.
    pub(super) first_seq: Seq,
    /// Number of records; 0 is allowed.
    pub(super) count: u32,
    pub(super) epoch: u32,
    /// Length of all records together.
    pub(super) payload_len: u64,
    /// The oldest segment that the log needs once this batch is durable.
    pub(super) oldest: u64,
    /// Check of the batch before; 0 in the first one.
    pub(super) prev_check: u32,
    /// CRC32C of the payload.
    pub(super) payload_crc: u32,
}

impl BatchHeader {
    /// The header's bytes and its check, which is the CRC32C of the bytes
    /// before it and so covers the payload and the whole chain before.
    pub(super) fn encode(&self, salt: &Salt) -> ([u8; BATCH_HEADER], u32) {
        let mut out = [0; BATCH_HEADER];
        out[..8].copy_from_slice(&BATCH_MAGIC);
        out[8..24].copy_from_slice(salt);
        out[24..32].copy_from_slice(&self.number.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.0.to_le_bytes());
        out[40..44].copy_from_slice(&self.count.to_le_bytes());
        out[44..48].copy_from_slice(&self.epoch.to_le_bytes());
        out[48..56].copy_from_slice(&self.payload_len.to_le_bytes());
        out[56..64].copy_from_slice(&self.oldest.to_le_bytes());
        out[64..68].copy_from_slice(&self.prev_check.to_le_bytes());
        out[68..72].copy_from_slice(&self.payload_crc.to_le_bytes());
        let check = crc32c::crc32c(&out[..76]);
        out[76..].copy_from_slice(&check.to_le_bytes());
        (out, check)
    }

    /// The header at the beginning of `bytes` and its check, if there is a
    /// valid one.
    pub(super) fn decode(bytes: &[u8], salt: &Salt) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        let check = u32_at(bytes, 76);
        if bytes[..8] != BATCH_MAGIC
            || bytes[8..24] != *salt
            || crc32c::crc32c(&bytes[..76]) != check
        {
            return None;
        }
        let header = Self {
            number: u64_at(bytes, 24),
            first_seq: Seq(u64_at(bytes, 32)),
            count: u32_at(bytes, 40),
            epoch: u32_at(bytes, 44),
            payload_len: u64_at(bytes, 48),
            oldest: u64_at(bytes, 56),
            prev_check: u32_at(bytes, 64),
            payload_crc: u32_at(bytes, 68),
        };
        Some((header, check))
    }
}

/// The fixed part of a record, its caller's header checked with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) kind: u8,
    pub(super) seq: Seq,
    pub(super) header_len: u32,
    pub(super) body_len: u32,
    pub(super) body_crc: u32,
}

impl RecordHead {
    /// Appends the fixed part and the caller's header.
    pub(super) fn encode(&self, tag: u64, header: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&RECORD_MAGIC);
        out.extend_from_slice(&[self.kind, 0, 0, 0]);
        out.extend_from_slice(&self.header_len.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&u64::from(self.body_len).to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), header);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(header);
    }

    /// The record at the beginning of `bytes`: fixed part, caller's header,
    /// body, all checked.
    pub(super) fn decode(bytes: &[u8], tag: u64) -> Result<(Self, &[u8], &[u8]), &'static str> {
        let record = Self::frame(bytes, tag)?;
        if crc32c::crc32c(record.2) != record.0.body_crc {
            return Err("checksum of a record's body is wrong");
        }
        Ok(record)
    }

    /// The same, but for the body, which may be damaged: its place is certain.
    pub(super) fn frame(bytes: &[u8], tag: u64) -> Result<(Self, &[u8], &[u8]), &'static str> {
        let Some(fixed) = bytes.get(..RECORD_FIXED) else {
            return Err("a record reaches beyond its batch");
        };
        if fixed[..4] != RECORD_MAGIC {
            return Err("no record where one should begin");
        }
        let header_len = u32_at(fixed, 8);
        let body_len = u64_at(fixed, 16);
        if header_len as usize > MAX_HEADER || body_len > MAX_BODY as u64 {
            return Err("a record's length is over the limit");
        }
        let (header_len, body_len) = (header_len as usize, body_len as usize);
        let Some(header) = bytes.get(RECORD_FIXED..RECORD_FIXED + header_len) else {
            return Err("a record reaches beyond its batch");
        };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed[..44]), header);
        if crc != u32_at(fixed, 44) {
            return Err("checksum of a record's header is wrong");
        }
        if u64_at(fixed, 32) != tag {
            return Err("a record names another database");
        }
        let body_at = RECORD_FIXED + header_len;
        let Some(body) = bytes.get(body_at..body_at + body_len) else {
            return Err("a record reaches beyond its batch");
        };
        let head = Self {
            kind: fixed[4],
            seq: Seq(u64_at(fixed, 24)),
            header_len: header_len as u32,
            body_len: body_len as u32,
            body_crc: u32_at(fixed, 12),
        };
        Ok((head, header, body))
    }
}

/// Bytes that a record takes within its batch, a multiple of 8.
pub(super) fn record_len(header_len: usize, body_len: usize) -> usize {
    (RECORD_FIXED + header_len + body_len).next_multiple_of(8)
}

/// One durability mark: this batch has been synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) database: DatabaseId,
    pub(super) batch: u64,
    pub(super) segment: u64,
    /// Sequence number of the last record up to this batch.
    pub(super) last_seq: Seq,
    /// The batch's check.
    pub(super) check: u32,
}

impl Mark {
    /// Where in the file this mark goes: batches take the two slots in turn.
    pub(super) fn offset(&self) -> u64 {
        self.batch % 2 * BLOCK
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(MARK_LEN);
        out.extend_from_slice(&MARK_MAGIC);
        out.extend_from_slice(&self.database.0.to_be_bytes());
        for word in [self.batch, self.segment, self.last_seq.0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.check.to_le_bytes());
        out.resize(60, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// The mark at the beginning of a slot, if there is a valid one.
    pub(super) fn decode(slot: &[u8]) -> Option<Self> {
        let slot = slot.get(..MARK_LEN)?;
        if slot[..8] != MARK_MAGIC || crc32c::crc32c(&slot[..60]) != u32_at(slot, 60) {
            return None;
        }
        Some(Self {
            database: id_at(slot, 8),
            batch: u64_at(slot, 24),
            segment: u64_at(slot, 32),
            last_seq: Seq(u64_at(slot, 40)),
            check: u32_at(slot, 48),
        })
    }
}

/// The file that commits a salvage: from when it has its name, the segments
/// that it names are the log, and all older ones are put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The database that was damaged, if it is known.
    pub(super) predecessor: Option<DatabaseId>,
    /// The one that the salvage made.
    pub(super) database: DatabaseId,
    /// Its first segment.
    pub(super) first: u64,
    /// How many it has.
    pub(super) count: u64,
}

impl Plan {
    /// The file's bytes, one block.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(&PLAN_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let predecessor = self.predecessor.map_or(0, |id| id.0);
        out.extend_from_slice(&predecessor.to_be_bytes());
        out.extend_from_slice(&self.database.0.to_be_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.resize(4092, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.into()
    }

    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        if block.len() != 4096
            || block[..8] != PLAN_MAGIC
            || crc32c::crc32c(&block[..4092]) != u32_at(block, 4092)
            || u32_at(block, 8) != FORMAT_VERSION
        {
            return None;
        }
        Some(Self {
            predecessor: Some(id_at(block, 16)).filter(|id| id.0 != 0),
            database: id_at(block, 32),
            first: u64_at(block, 48),
            count: u64_at(block, 56),
        })
    }
}

/// The salt that the first batch of a segment names, for a log of which no
/// segment header can be read. Block 1 of a segment always begins with a batch
/// header, whatever mail the log holds.
pub(super) fn salt_of_first_batch(segment: &[u8]) -> Option<Salt> {
    let at = usize::try_from(BLOCK).ok()?;
    let bytes = segment.get(at..at + BATCH_HEADER)?;
    let salt = sixteen_at(bytes, 8);
    BatchHeader::decode(bytes, &salt).map(|_| salt)
}

/// The tag of the first record of a segment, for the same case.
pub(super) fn tag_of_first_record(segment: &[u8]) -> Option<u64> {
    let at = usize::try_from(BLOCK).ok()? + BATCH_HEADER;
    let bytes = segment.get(at..)?;
    let tag = u64_at(bytes.get(..RECORD_FIXED)?, 32);
    RecordHead::frame(bytes, tag).ok().map(|_| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_told_apart_and_only_in_their_one_spelling() {
        assert_eq!(kind_of(&segment_file(0xab)), Kind::Segment(0xab));
        assert_eq!(kind_of(&new_segment_file(1)), Kind::NewSegment(1));
        assert_eq!(kind_of(&quarantined_segment(9)), Kind::Quarantine(9));
        assert_eq!(kind_of(&quarantined_mark(9)), Kind::Quarantine(9));
        assert_eq!(kind_of(&FileName::new(PLAN_FILE).unwrap()), Kind::Plan);
        assert_eq!(kind_of(&FileName::new(MARK_FILE).unwrap()), Kind::Mark);
        for other in ["segment-1.log", "segment-0000000000000001.bad", "notes"] {
            assert_eq!(
                kind_of(&FileName::new(other).unwrap()),
                Kind::Unknown,
                "{other}"
            );
        }
    }

    #[test]
    fn the_database_id_is_stable_and_says_nothing_of_the_salt() {
        let (id, salt) = mint(7);
        assert_eq!(mint(7), (id, salt));
        assert_ne!(id.0.to_be_bytes(), salt);
        assert_ne!(mint(8).0, id);
        assert_eq!(id.to_string().len(), 32);
    }

    #[test]
    fn structures_come_back_and_one_flipped_bit_is_seen() {
        let (database, salt) = mint(1);
        let segment = SegmentHeader {
            database,
            salt,
            number: 3,
            len: 65536,
            first_batch: 9,
            first_seq: Seq(77),
            oldest: 2,
            prev_end: 8192,
            prev_check: 5,
            epoch: 4,
        };
        let bytes = segment.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(segment));
        flip_each(&bytes, |b| SegmentHeader::decode(b).is_err());

        let batch = BatchHeader {
            number: 9,
            first_seq: Seq(77),
            count: 2,
            epoch: 4,
            payload_len: 128,
            oldest: 2,
            prev_check: 5,
            payload_crc: 6,
        };
        let (bytes, check) = batch.encode(&salt);
        assert_eq!(BatchHeader::decode(&bytes, &salt), Some((batch, check)));
        flip_each(&bytes, |b| BatchHeader::decode(b, &salt).is_none());

        let head = RecordHead {
            kind: 9,
            seq: Seq(77),
            header_len: 3,
            body_len: 4,
            body_crc: crc32c::crc32c(b"body"),
        };
        let mut bytes = Vec::new();
        head.encode(11, b"abc", &mut bytes);
        bytes.extend_from_slice(b"body");
        assert_eq!(
            RecordHead::decode(&bytes, 11),
            Ok((head, b"abc".as_slice(), b"body".as_slice()))
        );
        flip_each(&bytes, |b| RecordHead::decode(b, 11).is_err());
        for cut in 0..bytes.len() {
            assert!(RecordHead::decode(&bytes[..cut], 11).is_err(), "{cut}");
        }

        let mark = Mark {
            database,
            batch: 9,
            segment: 3,
            last_seq: Seq(78),
            check,
        };
        let bytes = mark.encode();
        assert_eq!(bytes.len(), MARK_LEN);
        assert_eq!(Mark::decode(&bytes), Some(mark));
        flip_each(&bytes, |b| Mark::decode(b).is_none());
    }

    #[test]
    fn a_plan_comes_back_and_one_flipped_bit_is_seen() {
        let plan = Plan {
            predecessor: Some(DatabaseId(7)),
            database: DatabaseId(8),
            first: 3,
            count: 2,
        };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes), Some(plan));
        flip_each(&bytes, |b| Plan::decode(b).is_none());
    }

    #[test]
    fn a_successor_is_another_one_whatever_the_randomness() {
        let (id, salt) = mint(7);
        let (next, next_salt) = mint_successor(7, id.tag(), 2);
        assert_ne!(next, id);
        assert_ne!(next_salt, salt);
        assert_ne!(mint_successor(7, id.tag(), 3).0, next);
    }

    fn flip_each(bytes: &[u8], seen: impl Fn(&[u8]) -> bool) {
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(seen(&changed), "bit {at}");
        }
    }
}
