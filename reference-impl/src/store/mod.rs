//! The durable store: one log of records in segments. It knows nothing of
//! mail.
//!
//! # How it is used
//! The store touches no disk after [`Store::open`]. [`Store::append`] buffers;
//! [`Store::next_batch`] hands out everything pending as one [`Batch`] of disk
//! operations; the host executes them in order, stops at the first that fails,
//! and reports with [`Store::batch_done`], which says up to where records are
//! durable. One batch is in flight at a time, so a slow disk makes larger
//! batches (group commit). Ask for a batch after every append and after every
//! completion, until there is none.
//!
//! # What it promises
//! 1. A record reported durable is returned by every later open, exactly, until
//!    its segment is removed; or the store refuses to open; or, where the caller
//!    asks for a salvage, the store is another one from then on and says what is
//!    missing.
//! 2. Records come back in the order of their sequence numbers, without gaps
//!    from the oldest kept one on. A batch comes back whole or not at all, and
//!    only the last one can be missing.
//! 3. What was never appended never comes back.
//! 4. Segments are removed oldest first, and the removal takes effect with the
//!    batch that announces it, and never before a batch with everything that was
//!    appended before the release. So whoever appends a tombstone may release
//!    both it and its victim at once: the victim never goes before the tombstone
//!    is durable, the tombstone never before the victim.
//!
//! Faults it is built for: a crash of the process or the power at any point; a
//! disk that reorders un-synced writes freely, down to torn sectors; a failed
//! write or sync; bits flipped, blocks zeroed, files truncated, deleted or
//! swapped while the store was closed. It does not defend against a disk that
//! acknowledges a sync and drops the data *and* the traces of it, against the
//! whole directory being set back to an older copy, or against an adversary
//! who can write to the directory.
//!
//! # A torn tail is told from damage
//! After a power cut *any* part of the batch in flight may be on the disk: later
//! pages without earlier ones, a footer without its records. So neither "the
//! first bad record" nor "a valid record after a bad one" proves anything by
//! itself. What does prove is order between batches:
//!
//! * **Batch k+1 is written only after batch k was synced.** So a valid batch
//!   header with a number above k proves that k was durable. If k does not read
//!   back whole, it was damaged later: [`StoreError::Damaged`].
//! * Every batch header carries its number, the first sequence number, the
//!   count, the length and checksum of all its records, and the check of the
//!   batch before; its own check covers these. A batch is accepted whole or not
//!   at all, and the chain admits one successor only.
//! * **A mark is written after the sync.** For the last batch there is no
//!   successor to prove it. So when the sync has returned, the same batch of
//!   operations writes "batch k is durable" to the file `mark`, un-synced (it
//!   costs no flush; the next flush or the kernel carries it out). A mark beyond
//!   the end of the log proves damage, a lost last segment included. A missing
//!   or older mark proves nothing and costs nothing but this one detection: a
//!   mark only ever makes the store refuse, never accept.
//! * What is left (an invalid batch at the end, no later header, no mark) was
//!   never reported durable, unless the mark was lost in a power cut *and* the
//!   same last batch was damaged: a double fault. It is a torn tail: dropped.
//! * **A segment appears by rename, synced before.** So a segment whose header
//!   is bad, or whose length is not the one in its header, is damaged, never
//!   torn. A segment's header names the first batch, the sequence number, the
//!   check and the end offset that the segment before it must reach.
//! * **Each batch header names the oldest segment that the log needs.** Files
//!   are removed after that batch is synced, in any order the disk likes. So a
//!   missing segment from there on is damage, and one before is rubbish.
//!
//! Bodies hold what strangers send. Could a mail that contains bytes like a
//! batch header pass for one when the store looks for later batches? No: each
//! batch header repeats a 128-bit salt that never leaves the directory (the
//! database ID is derived from the same randomness one way). And a copy of this
//! very log sent as a mail holds only smaller batch numbers.
//!
//! # Before the first new append
//! Dropping a torn tail means that its batch number and sequence numbers are
//! used again, so no remnant may ever pass for the new batch's continuation.
//! [`Store::open`] zeroes every non-zero block after the end and syncs before
//! it returns. Remnants could not be taken for valid anyway: batches begin at
//! block boundaries, a torn batch's only header stood where the new one goes,
//! and the chain of checks rejects a header with another history.
//!
//! The last batch may be valid and yet not durable: the process died between
//! write and sync, or the sync failed and the kernel kept the pages as clean.
//! Acting on it would be a promise that the disk does not know of. So open
//! writes the last batch again in place, the same bytes, and syncs. Batches
//! before it were synced before it was written.
//!
//! # Nothing synced is rewritten
//! Batches begin at multiples of 4096, so no write of a new batch shares a page
//! or sector with a durable one, and a torn write cannot hurt it.
//!
//! # Database ID
//! In full in every segment header and mark; its first 8 bytes in every record,
//! for a reader that salvages single records. The batch header's salt binds
//! each batch to the store with all 128 bits, so the short tag carries no
//! weight in recovery and saves 8 bytes a record.
//!
//! # Salvage
//! A damaged log can be made into a new one ([`Store::open_or_salvage`]): the
//! records that can be read, under a new database ID, for what the old ID
//! promised to others does not hold any more. How, and what is taken, stands in
//! the source of the module `salvage`; in short: places are proved, never
//! searched for, nothing old is changed but its name, and a crash at any point
//! leaves either the damaged log or the new one.
//!
//! # Space
//! The file of the next segment is set aside when the present one is half full,
//! in a batch that does nothing else. If there is no space, that batch alone
//! fails and nothing is harmed ([`Store::full`]). Any other write goes to
//! blocks that exist.
//!
//! Any other failed operation takes the store out of service for good
//! ([`StoreError::Poisoned`]): after a failed sync the kernel may drop the data
//! and report success for the next try.
//!
//! Everything is a function of the calls: no clock, no randomness but the one
//! number passed to [`Store::open`], no iteration over hash order.

mod batch;
mod error;
mod format;
mod open;
mod report;
mod salvage;
mod segment;
mod survey;

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::disk::{Disk, FileName};
use batch::{InFlight, Parts, Pending};
use format::{RecordHead, Salt};
use segment::{Entry, Segment};

pub use batch::Batch;
pub use error::StoreError;
pub use format::{DatabaseId, FORMAT_VERSION, MAX_BODY, MAX_HEADER};
pub use report::{
    DamageReport, MarkReport, QuarantineReport, Report, SalvageReport, SegmentReport, TailReport,
    inspect, inspect_records,
};
pub use salvage::{Note, Salvage};

/// Smallest segment, in bytes.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// Largest segment that can be asked for, in bytes.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// A record's sequence number. They count from 1 without gaps; 0 stands for
/// "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a batch between [`Store::next_batch`] and [`Store::batch_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A record as [`Store::open`] returns it. The body stays on the disk; see
/// [`Store::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number.
    pub seq: Seq,
    /// What [`Store::append`] was given.
    pub kind: u8,
    /// What [`Store::append`] was given.
    pub header: Bytes,
    /// Length of the body, in bytes.
    pub body_len: u64,
}

/// Where a record lies, for hosts that read it themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment's file.
    pub file: FileName,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// Its length with header and body, in bytes.
    pub len: usize,
}

/// What still lives in the oldest segment: the cost of moving it to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldestLive {
    /// Live records.
    pub records: usize,
    /// Their bytes in the log, headers included.
    pub bytes: u64,
    /// Length of the segment's file, in bytes: what their move sets free.
    pub segment_bytes: u64,
    /// Whether it is also the segment that is being written, which is never
    /// removed.
    pub active: bool,
}

/// How a store is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Length of a new segment in bytes, rounded up to a multiple of 4096:
    /// [`MIN_SEGMENT_BYTES`] to [`MAX_SEGMENT_BYTES`], 16 MiB unless said
    /// otherwise. A record that does not fit gets a longer segment. May differ
    /// from one open to the next.
    pub segment_bytes: u64,
    /// A planted defect.
    #[cfg(feature = "defects")]
    pub defect: Option<crate::defect::StoreDefect>,
}

impl StoreOptions {
    /// Segments of this length.
    #[must_use]
    pub const fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            #[cfg(feature = "defects")]
            defect: None,
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::new(16 << 20)
    }
}

/// The store. See the [module](self) for how it is used and what it promises.
#[derive(Debug)]
pub struct Store {
    database: DatabaseId,
    salt: Salt,
    segment_bytes: u64,
    epoch: u32,
    /// Oldest first; the last is the active one. Never empty.
    segments: VecDeque<Segment>,
    /// Where the next batch goes in the active segment, a multiple of 4096.
    write_at: u64,
    /// Number of the next batch.
    next_batch: u64,
    /// Check of the last batch handed out.
    check: u32,
    /// Sequence number of the next record that goes into a batch.
    next_placed: Seq,
    pending: VecDeque<Pending>,
    /// Where the headers of pending records are copied to.
    headers: BytesMut,
    mark_file: FileName,
    durable: Seq,
    /// The oldest segment as the last durable batch names it.
    durable_oldest: u64,
    in_flight: Option<InFlight>,
    poisoned: Option<String>,
    bytes_on_disk: u64,
    torn_tail: bool,
    unreported_batch: bool,
    /// What the open that made this value had to salvage.
    salvage: Option<Salvage>,
    /// Files that this and earlier salvages put aside, with their lengths.
    quarantined: Vec<(FileName, u64)>,
    /// Length of the file that is set aside for the next segment.
    spare: Option<u64>,
    /// Space for it could not be had.
    full: bool,
    /// How often space was set aside.
    reserved: u64,
    #[cfg(feature = "defects")]
    defect: Option<crate::defect::StoreDefect>,
    /// A sync that a planted defect puts off.
    #[cfg(feature = "defects")]
    put_off: Option<crate::disk::DiskOp>,
}

impl Store {
    /// Opens the store in `disk`, or creates one if the directory holds none.
    ///
    /// Answers with every record from the oldest kept segment on, released or
    /// not, in sequence order. All of them are durable when this returns; a
    /// batch that was complete on the disk though never reported durable is
    /// among them.
    ///
    /// `fresh` must come from a good random source; it is used only when the
    /// store is new, for its database ID and salt.
    ///
    /// # Errors
    /// Refuses damage, foreign files, gaps and unknown versions
    /// ([`StoreError::is_damage`]) before anything is written; errors of the
    /// disk; an option out of range.
    pub fn open(
        disk: &mut dyn Disk,
        options: StoreOptions,
        fresh: u128,
    ) -> Result<(Self, Vec<Record>), StoreError> {
        open::open(disk, options, fresh)
    }

    /// As [`Store::open`]; but where the log is damaged, every record that can
    /// be read moves into a new log with a new database ID, the old files are
    /// put aside (renamed, never changed), and that log is opened
    /// ([`Store::salvage`]). `note` is called in between, before anything is
    /// written: it makes the last record of the new log, by which the caller
    /// knows in every later start what happened, or refuses.
    ///
    /// # Errors
    /// As [`Store::open`], but for what [`StoreError::is_salvageable`]; and
    /// what `note` says.
    pub fn open_or_salvage<E: From<StoreError>>(
        disk: &mut dyn Disk,
        options: StoreOptions,
        fresh: u128,
        note: impl FnOnce(&Salvage, &[Record]) -> Result<Note, E>,
    ) -> Result<(Self, Vec<Record>), E> {
        open::open_or_salvage(disk, options, fresh, note)
    }

    /// What the open that made this value had to salvage; none when the log was
    /// intact.
    #[must_use]
    pub fn salvage(&self) -> Option<&Salvage> {
        self.salvage.as_ref()
    }

    /// Whether there is no space for the next segment. What is appended goes
    /// into the rest of the present one; when that is used up, it waits, and
    /// nothing of it becomes durable. So whoever can refuse new records does so
    /// now: at least half a segment was left for the others when this became
    /// true. Space is tried for again when a segment is removed, and on
    /// [`Store::look_for_space`].
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }

    /// Has the next [`Store::next_batch`] try for space once more.
    pub fn look_for_space(&mut self) {
        self.full = false;
    }

    /// Files that salvages put aside, with their lengths in bytes. The store
    /// never touches them again; they may be moved or deleted at any time.
    #[must_use]
    pub fn quarantined(&self) -> &[(FileName, u64)] {
        &self.quarantined
    }

    /// Buffers a record. Its body is the concatenation of `body`.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]; [`StoreError::TooLarge`] when the header is
    /// over [`MAX_HEADER`] or the body over [`MAX_BODY`].
    pub fn append(&mut self, kind: u8, header: &[u8], body: &[Bytes]) -> Result<Seq, StoreError> {
        self.in_service()?;
        let body_len = body.iter().map(Bytes::len).sum::<usize>();
        for (what, len, max) in [
            ("header", header.len(), MAX_HEADER),
            ("body", body_len, MAX_BODY),
        ] {
            if len > max {
                let (len, max) = (len as u64, max as u64);
                return Err(StoreError::TooLarge { what, len, max });
            }
        }
        let seq = Seq(self.next_placed.0 + self.pending.len() as u64);
        self.headers.extend_from_slice(header);
        self.pending.push_back(Pending {
            kind,
            released: None,
            header: self.headers.split().freeze(),
            body: Parts::new(body),
            body_len,
        });
        Ok(seq)
    }

    /// Says that a record is not needed any more. When every record of the
    /// oldest segments is released, a later batch removes them. Unknown and
    /// already released records are ignored, a record that is not durable yet
    /// may be released.
    ///
    /// Not persistent: after [`Store::open`] the caller releases again, guided
    /// by its own tombstones. Append a tombstone *before* releasing what it
    /// kills: a release takes effect on the disk only together with everything
    /// that was appended before it, so the removal cannot become durable
    /// without the tombstone.
    pub fn release(&mut self, seq: Seq) {
        let appended = self.appended();
        if seq >= self.next_placed {
            let at = usize::try_from(seq.0 - self.next_placed.0).unwrap_or(usize::MAX);
            if let Some(pending) = self.pending.get_mut(at) {
                pending.released.get_or_insert(appended);
            }
        } else if let Some(at) = self.segment_of(seq) {
            self.segments[at].release(seq, appended);
        }
    }

    /// What still lives in the oldest segment. A caller that wants its space
    /// back appends these records again and releases the old ones
    /// ([`Store::oldest_live_records`]).
    #[must_use]
    pub fn oldest_segment_live(&self) -> OldestLive {
        let active = self.segments.len() == 1;
        self.segments
            .front()
            .map_or_else(OldestLive::default, |segment| OldestLive {
                records: segment.live_records,
                bytes: segment.live_bytes,
                segment_bytes: segment.len,
                active,
            })
    }

    /// The live records of the oldest segment, in order.
    pub fn oldest_live_records(&self) -> impl Iterator<Item = Seq> + '_ {
        self.segments.front().into_iter().flat_map(Segment::live)
    }

    /// Bytes that the store's files take, those included that a batch in flight
    /// removes.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.bytes_on_disk
    }

    /// Bytes of live records in the log, pending ones not included.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.live_bytes).sum()
    }

    /// Who this store is.
    #[must_use]
    pub fn database_id(&self) -> DatabaseId {
        self.database
    }

    /// How often this store has been opened, this time included, as far as the
    /// log tells: an open that wrote no batch leaves no trace.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether opening dropped a batch that was not written whole.
    #[must_use]
    pub fn torn_tail(&self) -> bool {
        self.torn_tail
    }

    /// Whether opening found a whole batch of which no mark said that it was
    /// durable: it may never have been reported so.
    #[must_use]
    pub fn unreported_batch(&self) -> bool {
        self.unreported_batch
    }

    /// The last durable record; 0 when there is none.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// The last record appended; 0 when there is none.
    #[must_use]
    pub fn appended(&self) -> Seq {
        Seq(self.next_placed.0 + self.pending.len() as u64 - 1)
    }

    /// Why the store is out of service, if it is.
    #[must_use]
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Reads a durable record's body and checks it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotDurable`],
    /// [`StoreError::Damaged`] when the bytes are not what was written,
    /// [`StoreError::Io`], [`StoreError::Poisoned`].
    pub fn read(&self, disk: &dyn Disk, seq: Seq) -> Result<Bytes, StoreError> {
        Ok(self.read_parts(disk, seq)?.2)
    }

    /// Reads a durable record whole: kind, header and body.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_parts(&self, disk: &dyn Disk, seq: Seq) -> Result<(u8, Bytes, Bytes), StoreError> {
        let extent = self.extent(seq)?;
        let bytes = disk
            .read(&extent.file, extent.offset, extent.len)
            .map_err(StoreError::io(format!("read record {seq}")))?;
        self.parts_of(seq, &Bytes::from(bytes))
    }

    /// Where a durable record lies; for hosts that read it themselves and then
    /// ask [`Store::body_of`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotDurable`],
    /// [`StoreError::Poisoned`].
    pub fn extent(&self, seq: Seq) -> Result<Extent, StoreError> {
        self.in_service()?;
        if seq > self.durable && seq <= self.appended() {
            return Err(StoreError::NotDurable(seq));
        }
        let (segment, entry) = self.entry(seq).ok_or(StoreError::NotFound(seq))?;
        Ok(Extent {
            file: segment.file.clone(),
            offset: entry.offset,
            len: entry.exact_len(),
        })
    }

    /// Checks the bytes of a record's [`Extent`] and answers with its body,
    /// which shares their memory.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they are not what was written;
    /// [`StoreError::NotFound`] when the record is gone by now.
    pub fn body_of(&self, seq: Seq, bytes: &Bytes) -> Result<Bytes, StoreError> {
        let (segment, entry) = self.entry(seq).ok_or(StoreError::NotFound(seq))?;
        let damaged = |what: &str| {
            StoreError::damaged(&segment.file, entry.offset, format!("record {seq}: {what}"))
        };
        let tag = self.database.tag();
        #[cfg(feature = "defects")]
        let blind = matches!(
            self.defect,
            Some(
                crate::defect::StoreDefect::IgnoreChecksums
                    | crate::defect::StoreDefect::AcceptTornBatch
            )
        );
        #[cfg(not(feature = "defects"))]
        let blind = false;
        let read = if blind {
            RecordHead::frame(bytes, tag)
        } else {
            RecordHead::decode(bytes, tag)
        };
        let (head, _, body) = read.map_err(damaged)?;
        if head.seq != seq || body.len() != entry.body_len as usize {
            return Err(damaged("another record lies here"));
        }
        Ok(bytes.slice_ref(body))
    }

    /// Checks the bytes of a record's [`Extent`] and answers with its kind,
    /// header and body, which share their memory.
    ///
    /// # Errors
    /// As [`Store::body_of`].
    pub fn parts_of(&self, seq: Seq, bytes: &Bytes) -> Result<(u8, Bytes, Bytes), StoreError> {
        let body = self.body_of(seq, bytes)?;
        let (segment, entry) = self.entry(seq).ok_or(StoreError::NotFound(seq))?;
        let (head, header, _) = RecordHead::decode(bytes, self.database.tag()).map_err(|what| {
            StoreError::damaged(&segment.file, entry.offset, format!("record {seq}: {what}"))
        })?;
        Ok((head.kind, bytes.slice_ref(header), body))
    }

    fn in_service(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            Some(why) => Err(StoreError::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    fn segment_of(&self, seq: Seq) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.first_seq <= seq)
            .checked_sub(1)
    }

    fn entry(&self, seq: Seq) -> Option<(&Segment, &Entry)> {
        let segment = &self.segments[self.segment_of(seq)?];
        Some((segment, segment.entry(seq)?))
    }
}
