//! Group commit: everything pending becomes one batch of disk operations, and
//! its completion makes it durable.

use std::io;

use bytes::Bytes;

use super::error::StoreError;
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, Mark, RecordHead, SegmentHeader, new_segment_file,
    record_len, round_block, segment_file,
};
use super::segment::{Entry, Segment};
use super::{BatchId, Seq, Store};
use crate::disk::{Disk, DiskOp};

/// A batch stops growing at this many bytes of records; one record may be
/// larger.
const BATCH_SOFT_LIMIT: usize = 4 << 20;

/// Disk operations to execute in order.
///
/// They end with a sync, then the un-synced mark that this sync succeeded, then
/// the removal of segments that the batch made superfluous, if any.
#[derive(Clone, Debug)]
pub struct Batch {
    /// For [`Store::batch_done`].
    pub id: BatchId,
    /// What to do; after the first failure nothing more of it.
    pub ops: Vec<DiskOp>,
    /// The last record in it (or before it, if it holds none).
    pub up_to: Seq,
}

impl Batch {
    /// Executes the operations in order, up to the first that fails.
    ///
    /// # Errors
    /// That failure, with the operation's name.
    pub fn execute(&self, disk: &mut dyn Disk) -> io::Result<()> {
        for op in &self.ops {
            disk.apply(op)
                .map_err(|error| io::Error::new(error.kind(), format!("{op}: {error}")))?;
        }
        Ok(())
    }
}

/// Whether space, or the right to use some, is what is missing.
fn out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The parts of a body.
#[derive(Debug)]
pub(super) enum Parts {
    None,
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Parts {
    pub(super) fn new(parts: &[Bytes]) -> Self {
        match parts {
            [] => Self::None,
            [one] => Self::One(one.clone()),
            many => Self::Many(many.to_vec()),
        }
    }

    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A record that is not in a batch yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: u8,
    /// Once released: the last record appended by then.
    pub(super) released: Option<Seq>,
    pub(super) header: Bytes,
    pub(super) body: Parts,
    pub(super) body_len: usize,
}

impl Pending {
    fn len(&self) -> usize {
        record_len(self.header.len(), self.body_len)
    }
}

/// The batch whose completion is awaited.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: BatchId,
    /// It only sets space aside, so many bytes; nothing is harmed if it fails
    /// for want of space.
    pub(super) reserves: Option<u64>,
    pub(super) up_to: Seq,
    pub(super) oldest: u64,
}

impl Store {
    /// The next batch for the disk: what is pending, as much as fits into one
    /// batch, or the removal of dead segments alone. `None` when there is
    /// nothing to do, while a batch is in flight, and when the store is out of
    /// service.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.in_flight.is_some() || self.poisoned.is_some() {
            return None;
        }
        let half = usize::try_from(self.active().len / 2).unwrap_or(usize::MAX);
        let early = self.spare.is_none() && self.room() < half && !self.full;
        if early {
            return Some(self.reserve(self.segment_bytes));
        }
        if self.pending.is_empty() && self.dead_prefix() == 0 {
            return None;
        }
        let mut ops = Vec::with_capacity(3);
        let mut taken = self.fitting();
        let room = self.room();
        if (taken == 0 && !self.pending.is_empty()) || room < BATCH_HEADER {
            let needed = self.next_len();
            if self.spare.is_none_or(|spare| spare < needed) {
                // Nothing is written to a segment that may not come about.
                return (!self.full).then(|| self.reserve(needed));
            }
            self.roll(&mut ops);
            taken = self.fitting();
        }
        let number = self.next_batch;
        let (data, up_to, oldest) = self.place(taken);
        let active = self.active();
        let (file, segment) = (active.file.clone(), active.number);
        ops.push(DiskOp::Write {
            file: file.clone(),
            offset: self.write_at,
            data: data.clone(),
        });
        ops.push(DiskOp::Sync { file });
        let mark = Mark {
            database: self.database,
            batch: number,
            segment,
            last_seq: up_to,
            check: self.check,
        };
        ops.push(DiskOp::Write {
            file: self.mark_file.clone(),
            offset: mark.offset(),
            data: mark.encode(),
        });
        let dead = self.dead_prefix();
        for segment in self.segments.iter().take(dead) {
            let file = segment.file.clone();
            ops.push(DiskOp::Remove { file });
        }
        if dead > 0 {
            ops.push(DiskOp::SyncDir);
        }
        self.write_at = round_block(self.write_at + data.len() as u64);
        #[cfg(feature = "defects")]
        self.plant(&mut ops);
        let id = BatchId(number);
        self.in_flight = Some(InFlight {
            id,
            reserves: None,
            up_to,
            oldest,
        });
        Some(Batch { id, ops, up_to })
    }

    /// The batch that sets space aside for the next segment: a file of zeros
    /// under its passing name.
    fn reserve(&mut self, len: u64) -> Batch {
        let file = new_segment_file(self.active().number + 1);
        let mut ops = Vec::with_capacity(2);
        if let Some(spare) = self.spare.take() {
            self.bytes_on_disk = self.bytes_on_disk.saturating_sub(spare);
            ops.push(DiskOp::Remove { file: file.clone() });
        }
        ops.push(DiskOp::Create { file, len });
        // Data batches are far from these numbers.
        self.reserved += 1;
        let id = BatchId(u64::MAX - self.reserved);
        let (up_to, oldest) = (self.durable, self.durable_oldest);
        self.in_flight = Some(InFlight {
            id,
            reserves: Some(len),
            up_to,
            oldest,
        });
        Batch { id, ops, up_to }
    }

    /// Spoils a batch as the planted defect does.
    #[cfg(feature = "defects")]
    fn plant(&mut self, ops: &mut Vec<DiskOp>) {
        use crate::defect::StoreDefect;
        match self.defect {
            Some(StoreDefect::NoDirectorySync) => ops.retain(|op| *op != DiskOp::SyncDir),
            Some(StoreDefect::SyncAfterReport) => {
                let file = self.active().file.clone();
                let sync = DiskOp::Sync { file };
                ops.retain(|op| *op != sync);
                if let Some(before) = self.put_off.replace(sync) {
                    ops.insert(0, before);
                }
            }
            _ => {}
        }
    }

    /// Length of the next segment: longer than usual when the next record is.
    fn next_len(&self) -> u64 {
        let first = self.pending.front().map_or(0, Pending::len);
        let needed = round_block(BLOCK + (BATCH_HEADER + first) as u64);
        needed.max(self.segment_bytes)
    }

    /// Reports how the batch in flight ended. Answers with the last record that
    /// is durable now.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] when an operation failed: the store is then out
    /// of service for good. [`StoreError::WrongBatch`] when `id` is not in
    /// flight; nothing changes then.
    pub fn batch_done(&mut self, id: BatchId, result: io::Result<()>) -> Result<Seq, StoreError> {
        self.in_service()?;
        let Some(done) = self.in_flight.take_if(|flight| flight.id == id) else {
            return Err(StoreError::WrongBatch(id));
        };
        if let Some(len) = done.reserves {
            match &result {
                Ok(()) => {
                    self.spare = Some(len);
                    self.bytes_on_disk += len;
                    return Ok(self.durable);
                }
                Err(error) if out_of_space(error) => {
                    self.full = true;
                    return Ok(self.durable);
                }
                Err(_) => {}
            }
        }
        if let Err(error) = result {
            let why = format!("batch {} failed: {error}", id.0);
            self.poisoned = Some(why.clone());
            return Err(StoreError::Poisoned(why));
        }
        self.durable = done.up_to;
        self.durable_oldest = done.oldest;
        while self
            .segments
            .front()
            .is_some_and(|s| s.number < done.oldest)
        {
            if let Some(removed) = self.segments.pop_front() {
                self.bytes_on_disk -= removed.len;
                self.full = false;
            }
        }
        Ok(self.durable)
    }

    /// Hands out and executes batches until nothing is left to do; for hosts
    /// that may block. Answers with the last durable record.
    ///
    /// # Errors
    /// As [`Store::batch_done`].
    pub fn flush(&mut self, disk: &mut dyn Disk) -> Result<Seq, StoreError> {
        self.in_service()?;
        while let Some(batch) = self.next_batch() {
            let result = batch.execute(disk);
            self.batch_done(batch.id, result)?;
        }
        if self.full && self.durable < self.appended() {
            return Err(StoreError::Io {
                what: "set space aside for a segment".to_owned(),
                source: io::ErrorKind::StorageFull.into(),
            });
        }
        Ok(self.durable)
    }

    /// The active segment; there is always one.
    fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// Bytes left in the active segment.
    fn room(&self) -> usize {
        usize::try_from(self.active().len.saturating_sub(self.write_at)).unwrap_or(usize::MAX)
    }

    /// How many pending records fit into one batch in the active segment.
    fn fitting(&self) -> usize {
        let room = self.room().saturating_sub(BATCH_HEADER);
        let mut bytes = 0;
        let mut taken = 0;
        for record in &self.pending {
            let more = bytes + record.len();
            if more > room || (taken > 0 && more > BATCH_SOFT_LIMIT) {
                break;
            }
            bytes = more;
            taken += 1;
        }
        taken
    }

    /// How many of the oldest segments can go with the batch that ends before
    /// `next_placed`: those without a live record whose killers are all in the
    /// log by then. Never the active one.
    fn dead_prefix(&self) -> usize {
        let closed = self.segments.len() - 1;
        self.segments
            .iter()
            .take(closed)
            .take_while(|s| s.live_records == 0 && s.needs < self.next_placed)
            .count()
    }

    /// Makes a new active segment of the space set aside: complete and synced
    /// under a passing name, then renamed, then the name synced, all before a
    /// batch goes in.
    fn roll(&mut self, ops: &mut Vec<DiskOp>) {
        let Some(len) = self.spare.take() else { return };
        let header = SegmentHeader {
            database: self.database,
            salt: self.salt,
            number: self.active().number + 1,
            len,
            first_batch: self.next_batch,
            first_seq: self.next_placed,
            oldest: self.durable_oldest,
            prev_end: self.write_at,
            prev_check: self.check,
            epoch: self.epoch,
        };
        name_segment(&header, ops);
        self.segments
            .push_back(Segment::new(header.number, header.len, header.first_seq));
        self.write_at = BLOCK;
    }

    /// Turns the first `taken` pending records into a batch at `write_at`.
    /// Answers with its bytes, its last record and the oldest segment it names.
    fn place(&mut self, taken: usize) -> (Bytes, Seq, u64) {
        let payload_len: usize = self.pending.iter().take(taken).map(Pending::len).sum();
        let mut data = Vec::with_capacity(BATCH_HEADER + payload_len);
        data.resize(BATCH_HEADER, 0);
        let first_seq = self.next_placed;
        let tag = self.database.tag();
        let active = self.segments.len() - 1;
        for record in self.pending.drain(..taken) {
            let body_crc = record
                .body
                .as_slice()
                .iter()
                .fold(0, |crc, part| crc32c::crc32c_append(crc, part));
            // Both lengths were checked against limits far below 2^32.
            let head = RecordHead {
                kind: record.kind,
                seq: self.next_placed,
                header_len: record.header.len() as u32,
                body_len: record.body_len as u32,
                body_crc,
            };
            let segment = &mut self.segments[active];
            segment.needs = segment.needs.max(record.released.unwrap_or_default());
            segment.push(Entry {
                offset: self.write_at + data.len() as u64,
                header_len: head.header_len,
                body_len: head.body_len,
                live: record.released.is_none(),
            });
            head.encode(tag, &record.header, &mut data);
            for part in record.body.as_slice() {
                data.extend_from_slice(part);
            }
            data.resize(data.len().next_multiple_of(8), 0);
            self.next_placed.0 += 1;
        }
        let oldest = self.segments[self.dead_prefix()].number;
        let header = BatchHeader {
            number: self.next_batch,
            first_seq,
            count: taken as u32,
            epoch: self.epoch,
            payload_len: payload_len as u64,
            oldest,
            prev_check: self.check,
            payload_crc: crc32c::crc32c(&data[BATCH_HEADER..]),
        };
        let (bytes, check) = header.encode(&self.salt);
        data[..BATCH_HEADER].copy_from_slice(&bytes);
        self.check = check;
        self.next_batch += 1;
        (data.into(), Seq(self.next_placed.0 - 1), oldest)
    }
}

/// The operations that make a segment appear.
pub(super) fn create_segment(header: &SegmentHeader, ops: &mut Vec<DiskOp>) {
    let new = new_segment_file(header.number);
    ops.push(DiskOp::Create {
        file: new,
        len: header.len,
    });
    name_segment(header, ops);
}

/// The operations that make a segment of a file of zeros.
fn name_segment(header: &SegmentHeader, ops: &mut Vec<DiskOp>) {
    let new = new_segment_file(header.number);
    ops.push(DiskOp::Write {
        file: new.clone(),
        offset: 0,
        data: header.encode(),
    });
    ops.push(DiskOp::Sync { file: new.clone() });
    ops.push(DiskOp::Rename {
        from: new,
        to: segment_file(header.number),
    });
    ops.push(DiskOp::SyncDir);
}
