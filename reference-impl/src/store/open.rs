//! Opening: a new store is created, an existing one is read, found good, made
//! durable to its last batch and cleared of remnants.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::batch::create_segment;
use super::error::StoreError;
use super::format::{BLOCK, MARK_FILE, MARK_FILE_LEN, Mark, SegmentHeader, mint, round_block};
use super::salvage::{Note, Salvage, finish as finish_salvage, salvage};
use super::segment::Segment;
use super::survey::{MarkFile, Survey, survey};
use super::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Record, Seq, Store, StoreOptions};
use crate::disk::{Disk, DiskOp, FileName};

/// Bytes of headers that share one allocation.
const HEADERS: usize = 4 << 10;

pub(super) fn open(
    disk: &mut dyn Disk,
    options: StoreOptions,
    fresh: u128,
) -> Result<(Store, Vec<Record>), StoreError> {
    let segment_bytes = checked(options)?;
    finish_salvage(disk)?;
    let found = survey_as(disk, options)?;
    opened(disk, found, segment_bytes, fresh).map(|opened| planted(opened, options))
}

pub(super) fn open_or_salvage<E: From<StoreError>>(
    disk: &mut dyn Disk,
    options: StoreOptions,
    fresh: u128,
    note: impl FnOnce(&Salvage, &[Record]) -> Result<Note, E>,
) -> Result<(Store, Vec<Record>), E> {
    let segment_bytes = checked(options)?;
    finish_salvage(disk)?;
    let found = survey_as(disk, options)?;
    let damaged = !found.errors.is_empty();
    if !damaged || !found.errors.iter().all(StoreError::is_salvageable) {
        let opened = opened(disk, found, segment_bytes, fresh)?;
        return Ok(planted(opened, options));
    }
    let salvaged = salvage(disk, options, fresh, &found, note)?;
    // The new log is read like any other: what was written wrong would show.
    let found = survey(disk)?;
    let (mut store, records) = opened(disk, found, segment_bytes, fresh)?;
    store.salvage = Some(salvaged);
    Ok(planted((store, records), options))
}

/// Reads the log, as the options have it.
#[allow(unused_variables)]
fn survey_as(disk: &dyn Disk, options: StoreOptions) -> Result<Survey, StoreError> {
    #[cfg(feature = "defects")]
    if options.defect.is_some() {
        return super::survey::survey_with(disk, options.defect);
    }
    survey(disk)
}

/// The store with the defect that the options plant.
#[allow(unused_mut, unused_variables)]
fn planted(
    (mut store, records): (Store, Vec<Record>),
    options: StoreOptions,
) -> (Store, Vec<Record>) {
    #[cfg(feature = "defects")]
    {
        store.defect = options.defect;
    }
    (store, records)
}

fn checked(options: StoreOptions) -> Result<u64, StoreError> {
    let found = options.segment_bytes;
    if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&found) {
        return Err(StoreError::Option {
            what: "segment_bytes",
            found,
            expected: format!("{MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}"),
        });
    }
    Ok(round_block(found))
}

fn opened(
    disk: &mut dyn Disk,
    mut survey: Survey,
    segment_bytes: u64,
    fresh: u128,
) -> Result<(Store, Vec<Record>), StoreError> {
    // What can be salvaged is said last: the rest is what has to be put right.
    if let Some(first) = survey
        .errors
        .iter()
        .position(|error| !error.is_salvageable())
        .or((!survey.errors.is_empty()).then_some(0))
    {
        return Err(survey.errors.swap_remove(first));
    }
    match survey.identity.take() {
        None => create(disk, &survey, segment_bytes, fresh),
        Some(identity) => resume(disk, survey, &identity, segment_bytes),
    }
}

fn execute(disk: &mut dyn Disk, ops: &[DiskOp]) -> Result<(), StoreError> {
    for op in ops {
        disk.apply(op).map_err(StoreError::io(op.to_string()))?;
    }
    Ok(())
}

/// A new store. Its first segment appears last: before that the directory
/// counts as empty.
fn create(
    disk: &mut dyn Disk,
    survey: &Survey,
    segment_bytes: u64,
    fresh: u128,
) -> Result<(Store, Vec<Record>), StoreError> {
    let (database, salt) = mint(fresh);
    let header = SegmentHeader {
        database,
        salt,
        number: 1,
        len: segment_bytes,
        first_batch: 1,
        first_seq: Seq(1),
        oldest: 1,
        prev_end: 0,
        prev_check: 0,
        epoch: 1,
    };
    let mut ops = Vec::new();
    for file in &survey.rubbish {
        let file = file.clone();
        ops.push(DiskOp::Remove { file });
    }
    if survey.mark != MarkFile::Missing {
        let file = FileName::built(MARK_FILE);
        ops.push(DiskOp::Remove { file });
    }
    create_mark(None, &mut ops);
    create_segment(&header, &mut ops);
    execute(disk, &ops)?;
    let store = Store {
        database,
        salt,
        segment_bytes,
        epoch: 1,
        segments: VecDeque::from([Segment::new(1, segment_bytes, Seq(1))]),
        write_at: BLOCK,
        next_batch: 1,
        check: 0,
        next_placed: Seq(1),
        pending: VecDeque::new(),
        headers: BytesMut::with_capacity(HEADERS),
        mark_file: FileName::built(MARK_FILE),
        durable: Seq(0),
        durable_oldest: 1,
        in_flight: None,
        poisoned: None,
        bytes_on_disk: MARK_FILE_LEN + segment_bytes,
        torn_tail: false,
        unreported_batch: false,
        salvage: None,
        quarantined: survey.quarantined.clone(),
        spare: None,
        full: false,
        reserved: 0,
        #[cfg(feature = "defects")]
        defect: None,
        #[cfg(feature = "defects")]
        put_off: None,
    };
    Ok((store, Vec::new()))
}

/// The operations that make the mark file, with a first mark if there is one.
fn create_mark(mark: Option<&Mark>, ops: &mut Vec<DiskOp>) {
    let file = FileName::built(MARK_FILE);
    ops.push(DiskOp::Create {
        file: file.clone(),
        len: MARK_FILE_LEN,
    });
    write_mark(mark, ops);
}

/// The operations that write a mark and make the mark file durable.
fn write_mark(mark: Option<&Mark>, ops: &mut Vec<DiskOp>) {
    let file = FileName::built(MARK_FILE);
    if let Some(mark) = mark {
        ops.push(DiskOp::Write {
            file: file.clone(),
            offset: mark.offset(),
            data: mark.encode(),
        });
    }
    ops.push(DiskOp::Sync { file });
}

/// An existing store that was found good.
fn resume(
    disk: &mut dyn Disk,
    survey: Survey,
    identity: &SegmentHeader,
    segment_bytes: u64,
) -> Result<(Store, Vec<Record>), StoreError> {
    execute(disk, &settle(&survey, identity))?;
    let torn_tail = survey.torn.is_some();
    let marked = survey.mark.newest().map_or(0, |mark| mark.batch);
    let unreported_batch = marked + 1 < survey.chain.batch;
    let mut records = Vec::new();
    let mut segments = VecDeque::new();
    let mut bytes_on_disk = MARK_FILE_LEN;
    let mut write_at = BLOCK;
    for found in survey.segments {
        let mut segment = Segment::new(found.number, found.len, found.first_seq);
        bytes_on_disk += found.len;
        write_at = found.end;
        records.reserve(found.records.len());
        for (record, entry) in found.records {
            segment.push(entry);
            records.push(record);
        }
        segments.push_back(segment);
    }
    let chain = survey.chain;
    let store = Store {
        database: identity.database,
        salt: identity.salt,
        segment_bytes,
        epoch: chain.epoch.saturating_add(1),
        segments,
        write_at,
        next_batch: chain.batch,
        check: chain.check,
        next_placed: chain.seq,
        pending: VecDeque::new(),
        headers: BytesMut::with_capacity(HEADERS),
        mark_file: FileName::built(MARK_FILE),
        durable: Seq(chain.seq.0 - 1),
        durable_oldest: chain.oldest,
        in_flight: None,
        poisoned: None,
        bytes_on_disk,
        torn_tail,
        unreported_batch,
        salvage: None,
        quarantined: survey.quarantined,
        spare: None,
        full: false,
        reserved: 0,
        #[cfg(feature = "defects")]
        defect: None,
        #[cfg(feature = "defects")]
        put_off: None,
    };
    Ok((store, records))
}

/// What must be on the disk before the records count as durable and before
/// anything new is written.
fn settle(survey: &Survey, identity: &SegmentHeader) -> Vec<DiskOp> {
    let mut ops = Vec::new();
    if let Some(active) = survey.segments.last() {
        for (offset, len) in &survey.remnants {
            ops.push(DiskOp::Write {
                file: active.file.clone(),
                offset: *offset,
                data: Bytes::from(vec![0; usize::try_from(*len).unwrap_or(0)]),
            });
        }
        // Only a batch of the newest segment can be un-synced: a new segment is
        // created after the last batch of the one before was synced.
        if let Some(last) = &survey.last
            && last.segment == active.number
        {
            ops.push(DiskOp::Write {
                file: active.file.clone(),
                offset: last.offset,
                data: last.bytes.clone(),
            });
        }
        let file = active.file.clone();
        ops.push(DiskOp::Sync { file });
    }
    // The newest segment's name may not be durable yet.
    ops.push(DiskOp::SyncDir);

    let mark = survey.last.as_ref().map(|last| Mark {
        database: identity.database,
        batch: survey.chain.batch - 1,
        segment: last.segment,
        last_seq: Seq(survey.chain.seq.0 - 1),
        check: survey.chain.check,
    });
    let file = FileName::built(MARK_FILE);
    let before = ops.len();
    match survey.mark {
        MarkFile::Slots { .. } => write_mark(mark.as_ref(), &mut ops),
        MarkFile::WrongLength => {
            ops.push(DiskOp::Remove { file });
            create_mark(mark.as_ref(), &mut ops);
        }
        MarkFile::Missing => create_mark(mark.as_ref(), &mut ops),
    }
    let names_changed = ops[before..]
        .iter()
        .any(|op| matches!(op, DiskOp::Create { .. }));
    for file in &survey.rubbish {
        let file = file.clone();
        ops.push(DiskOp::Remove { file });
    }
    if names_changed || !survey.rubbish.is_empty() {
        ops.push(DiskOp::SyncDir);
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_sizes_out_of_range_are_refused() {
        for segment_bytes in [0, MIN_SEGMENT_BYTES - 1, MAX_SEGMENT_BYTES + 1, u64::MAX] {
            let mut disk = crate::disk::MemDisk::new(crate::disk::Persistence::Posix);
            let error = Store::open(&mut disk, StoreOptions::new(segment_bytes), 1).unwrap_err();
            assert!(matches!(error, StoreError::Option { .. }), "{error}");
            assert_eq!(disk.list().unwrap(), []);
        }
    }

    #[test]
    fn a_new_store_is_durable_when_open_returns() {
        let mut disk = crate::disk::MemDisk::new(crate::disk::Persistence::Posix);
        Store::open(&mut disk, StoreOptions::default(), 1).unwrap();
        assert_eq!(disk.unsynced(), 0);
    }
}
