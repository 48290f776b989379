//! Salvage: what can be read of a damaged log becomes a new log with a new
//! database ID, and the old files are put aside under other names.
//!
//! # Which records are taken
//! Those whose place is certain and whose checksums are right. A batch header
//! carries the salt, so it cannot be forged by mail; a record's place follows
//! from its batch header, or from the end of the batch before when that header
//! itself is damaged; and the next record's place from a record's fixed part
//! and header, whose checksum is apart from the body's. So a damaged body costs
//! one record. Where the chain of places breaks, the rest of that batch is
//! given up: searching it for something that looks like a record would find
//! what a stranger has put into a mail.
//!
//! A batch that may never have been reported durable (no later header, no mark)
//! is taken whole or not at all, as in every open. When the marks are gone too,
//! nobody knows, and its readable records are taken: rather too much than too
//! little.
//!
//! Segments that the log had already given up are not looked at: what would
//! kill their records again is gone.
//!
//! # Order
//! The new segments are written completely under their passing names
//! (`.new`), synced, their names synced. Then the plan appears by rename,
//! and is synced: this commits the salvage. Only then the old files get their
//! names of quarantine and the new ones theirs, in any order the disk likes;
//! when all of that is durable the plan is removed. A crash before the plan
//! leaves the damaged log as it was, one after it is finished at the next
//! open. Nothing is truncated, nothing deleted.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::batch::{Batch, create_segment};
use super::error::StoreError;
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, Kind, MARK_FILE, Mark, NEW_PLAN_FILE, PLAN_FILE, Plan,
    RECORD_FIXED, RecordHead, Salt, SegmentHeader, kind_of, mint_successor, new_segment_file,
    quarantined_mark, quarantined_segment, record_len, round_block, salt_of_first_batch,
    segment_file, tag_of_first_record,
};
use super::report::SalvageReport;
use super::segment::Segment;
use super::survey::{Survey, read_header, read_mark, read_plan, read_whole};
use super::{DatabaseId, Record, Seq, Store, StoreOptions};
use crate::disk::{Disk, DiskOp, FileName};

/// Records are handed to the disk when so many bytes of them wait.
const PIECE: usize = 4 << 20;

/// Most ranges of lost records that are named.
const RANGES: usize = 100;

/// What a salvage found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// The database that was damaged; none when nothing on the disk names it.
    pub predecessor: Option<DatabaseId>,
    /// The one that takes its place.
    pub database: DatabaseId,
    /// Records that were saved.
    pub saved: u64,
    /// Records that the log had and that cannot be read, as far as the rest of
    /// it tells: those after the last thing that could be read are not known.
    /// When the log's begin cannot be read, records that it had given up long
    /// before are counted as well.
    pub lost: u64,
    /// Their sequence numbers in the old log, first and last of each run; at
    /// most 100 runs.
    pub ranges: Vec<(Seq, Seq)>,
    /// The damage, each in a sentence.
    pub damage: Vec<String>,
    /// The names under which the old files lie now.
    pub quarantined: Vec<FileName>,
}

/// A record that the caller adds to the salvaged ones, as the last of the new
/// log: what it needs to remember of the salvage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// As for [`Store::append`].
    pub kind: u8,
    /// As for [`Store::append`].
    pub header: Vec<u8>,
    /// As for [`Store::append`].
    pub body: Bytes,
}

/// Where a saved record lies in the old log.
struct Saved {
    file: FileName,
    offset: u64,
    len: usize,
    record: Record,
}

/// What can be read of a damaged log.
struct Finds {
    predecessor: Option<DatabaseId>,
    tag: u64,
    records: BTreeMap<Seq, Saved>,
    /// First and last sequence number that the log had.
    known: Option<(Seq, Seq)>,
    /// The number of the first new segment.
    next_segment: u64,
    /// The old files and their names to be.
    aside: Vec<(FileName, FileName)>,
}

/// Makes a new log of what can be read. `note` is given the records and may
/// refuse; until then nothing has been written.
pub(super) fn salvage<E: From<StoreError>>(
    disk: &mut dyn Disk,
    options: StoreOptions,
    fresh: u128,
    survey: &Survey,
    note: impl FnOnce(&Salvage, &[Record]) -> Result<Note, E>,
) -> Result<Salvage, E> {
    let finds = search(disk)?;
    let (database, salt) = mint_successor(fresh, finds.tag, finds.next_segment);
    let (lost, ranges) = finds.lost();
    let salvage = Salvage {
        predecessor: finds.predecessor,
        database,
        saved: finds.records.len() as u64,
        lost,
        ranges,
        damage: survey.errors.iter().map(ToString::to_string).collect(),
        quarantined: finds.aside.iter().map(|(_, to)| to.clone()).collect(),
    };
    let records: Vec<Record> = finds.records.values().map(|s| s.record.clone()).collect();
    let note = note(&salvage, &records)?;
    drop(records);
    clear(disk, survey)?;
    let count = write(disk, options, &finds, (database, salt), &note)?;
    let plan = Plan {
        predecessor: finds.predecessor,
        database,
        first: finds.next_segment,
        count,
    };
    commit(disk, &plan)?;
    finish(disk)?;
    Ok(salvage)
}

/// What a salvage would come to, and the records it would save.
pub(super) fn preview(disk: &dyn Disk) -> Result<(SalvageReport, Vec<Record>), StoreError> {
    let finds = search(disk)?;
    let (lost, ranges) = finds.lost();
    let report = SalvageReport {
        saved: finds.records.len() as u64,
        lost,
        ranges: ranges.into_iter().map(|(a, b)| (a.0, b.0)).collect(),
    };
    Ok((
        report,
        finds.records.into_values().map(|s| s.record).collect(),
    ))
}

/// Finishes a salvage that was committed; without one nothing happens.
pub(super) fn finish(disk: &mut dyn Disk) -> Result<bool, StoreError> {
    let files = disk.list().map_err(StoreError::io("list the directory"))?;
    let Some(plan) = read_plan(disk, &files)? else {
        return Ok(false);
    };
    let new = plan.first..plan.first.saturating_add(plan.count);
    let mut ops = Vec::new();
    for (file, len) in &files {
        let from = file.clone();
        match kind_of(file) {
            Kind::Segment(number) if number < plan.first => ops.push(DiskOp::Rename {
                from,
                to: quarantined_segment(number),
            }),
            Kind::NewSegment(number) if new.contains(&number) => ops.push(DiskOp::Rename {
                from,
                to: segment_file(number),
            }),
            Kind::Mark => {
                let mark = read_mark(disk, file, *len)?;
                let ours = mark.newest().is_some_and(|m| m.database == plan.database);
                if !ours {
                    ops.push(DiskOp::Rename {
                        from,
                        to: quarantined_mark(plan.first),
                    });
                }
            }
            _ => {}
        }
    }
    ops.push(DiskOp::SyncDir);
    ops.push(DiskOp::Remove {
        file: FileName::built(PLAN_FILE),
    });
    ops.push(DiskOp::SyncDir);
    execute(disk, &ops)?;
    Ok(true)
}

fn execute(disk: &mut dyn Disk, ops: &[DiskOp]) -> Result<(), StoreError> {
    for op in ops {
        disk.apply(op).map_err(StoreError::io(op.to_string()))?;
    }
    Ok(())
}

/// Removes what an earlier try left: its names are needed.
fn clear(disk: &mut dyn Disk, survey: &Survey) -> Result<(), StoreError> {
    let mut ops: Vec<DiskOp> = survey
        .rubbish
        .iter()
        .filter(|file| matches!(kind_of(file), Kind::NewSegment(_) | Kind::NewPlan))
        .map(|file| DiskOp::Remove { file: file.clone() })
        .collect();
    if !ops.is_empty() {
        ops.push(DiskOp::SyncDir);
    }
    execute(disk, &ops)
}

/// Writes the new log under passing names, all of it durable; answers with the
/// number of its segments.
fn write(
    disk: &mut dyn Disk,
    options: StoreOptions,
    finds: &Finds,
    (database, salt): (DatabaseId, Salt),
    note: &Note,
) -> Result<u64, StoreError> {
    let segment_bytes = round_block(options.segment_bytes);
    // The first record fits, so that the first segment is not left empty.
    let first = finds.records.values().next().map_or_else(
        || record_len(note.header.len(), note.body.len()),
        |saved| saved.len.next_multiple_of(8),
    );
    let header = SegmentHeader {
        database,
        salt,
        number: finds.next_segment,
        len: segment_bytes.max(round_block(BLOCK + (BATCH_HEADER + first) as u64)),
        first_batch: 1,
        first_seq: Seq(1),
        oldest: finds.next_segment,
        prev_end: 0,
        prev_check: 0,
        epoch: 1,
    };
    let mut ops = Vec::new();
    create_segment(&header, &mut ops);
    execute(disk, &unnamed(&ops))?;
    let mut store = Store {
        database,
        salt,
        segment_bytes,
        epoch: 1,
        segments: VecDeque::from([Segment::new(header.number, header.len, Seq(1))]),
        write_at: BLOCK,
        next_batch: 1,
        check: 0,
        next_placed: Seq(1),
        pending: VecDeque::new(),
        headers: BytesMut::new(),
        mark_file: FileName::built(MARK_FILE),
        durable: Seq(0),
        durable_oldest: header.number,
        in_flight: None,
        poisoned: None,
        bytes_on_disk: 0,
        torn_tail: false,
        unreported_batch: false,
        salvage: None,
        quarantined: Vec::new(),
        spare: None,
        full: false,
        reserved: 0,
        #[cfg(feature = "defects")]
        defect: None,
        #[cfg(feature = "defects")]
        put_off: None,
    };
    let mut waiting = 0;
    for saved in finds.records.values() {
        let bytes = disk
            .read(&saved.file, saved.offset, saved.len)
            .map_err(StoreError::io(format!("read {} again", saved.file)))?;
        let (head, header, body) = RecordHead::decode(&bytes, finds.tag)
            .map_err(|what| StoreError::damaged(&saved.file, saved.offset, what))?;
        let body = Bytes::copy_from_slice(body);
        waiting += record_len(header.len(), body.len());
        store.append(head.kind, header, &[body])?;
        if waiting >= PIECE {
            waiting = 0;
            flush(&mut store, disk)?;
        }
    }
    store.append(note.kind, &note.header, std::slice::from_ref(&note.body))?;
    flush(&mut store, disk)?;
    execute(disk, &[DiskOp::SyncDir])?;
    Ok(store.segments.len() as u64)
}

fn flush(store: &mut Store, disk: &mut dyn Disk) -> Result<(), StoreError> {
    while let Some(Batch { id, ops, .. }) = store.next_batch() {
        execute(disk, &unnamed(&ops))?;
        store.batch_done(id, Ok(()))?;
    }
    Ok(())
}

/// The same operations on segments that keep their passing names, without
/// marks: the new log does not count before it is complete.
fn unnamed(ops: &[DiskOp]) -> Vec<DiskOp> {
    let passing = |file: &FileName| match kind_of(file) {
        Kind::Segment(number) => new_segment_file(number),
        _ => file.clone(),
    };
    let mut kept = Vec::new();
    for op in ops {
        match op {
            DiskOp::Rename { .. } | DiskOp::SyncDir => {}
            DiskOp::Write { file, .. } | DiskOp::Sync { file } if kind_of(file) == Kind::Mark => {}
            DiskOp::Write { file, offset, data } => kept.push(DiskOp::Write {
                file: passing(file),
                offset: *offset,
                data: data.clone(),
            }),
            DiskOp::Sync { file } => kept.push(DiskOp::Sync {
                file: passing(file),
            }),
            other => kept.push(other.clone()),
        }
    }
    kept
}

/// From here on the new log is the log.
fn commit(disk: &mut dyn Disk, plan: &Plan) -> Result<(), StoreError> {
    let (new, file) = (FileName::built(NEW_PLAN_FILE), FileName::built(PLAN_FILE));
    execute(
        disk,
        &[
            DiskOp::Create {
                file: new.clone(),
                len: BLOCK,
            },
            DiskOp::Write {
                file: new.clone(),
                offset: 0,
                data: plan.encode(),
            },
            DiskOp::Sync { file: new.clone() },
            DiskOp::Rename {
                from: new,
                to: file,
            },
            DiskOp::SyncDir,
        ],
    )
}

/// One old segment in memory.
struct Old {
    file: FileName,
    bytes: Vec<u8>,
    header: Option<SegmentHeader>,
}

/// Reads all that can be read.
fn search(disk: &dyn Disk) -> Result<Finds, StoreError> {
    let mut found = BTreeMap::new();
    let mut mark = None;
    let mut highest = 0;
    let mut aside = Vec::new();
    for (file, len) in disk.list().map_err(StoreError::io("list the directory"))? {
        match kind_of(&file) {
            Kind::Segment(number) => {
                highest = highest.max(number);
                aside.push((file.clone(), quarantined_segment(number)));
                found.insert(number, (file, len));
            }
            Kind::Mark => {
                mark = read_mark(disk, &file, len)?.newest().cloned();
                aside.push((file, FileName::built(MARK_FILE)));
            }
            Kind::Quarantine(number) => highest = highest.max(number),
            Kind::NewSegment(_) | Kind::Plan | Kind::NewPlan | Kind::Unknown => {}
        }
    }
    if let Some(mark) = &mark {
        highest = highest.max(mark.segment);
    }
    let next_segment = highest.saturating_add(1);
    for (file, to) in &mut aside {
        if kind_of(file) == Kind::Mark {
            *to = quarantined_mark(next_segment);
        }
    }
    let mut search = Search {
        disk,
        found,
        mark,
        headers: BTreeMap::new(),
        salt: None,
        tag: None,
        oldest: 0,
        proved: 0,
        last: Seq(0),
        records: BTreeMap::new(),
    };
    search.identify()?;
    search.bounds()?;
    let mut first = None;
    let needed = search.found.range(search.oldest..);
    let numbers: Vec<u64> = needed.map(|(number, _)| *number).collect();
    for number in numbers {
        let old = search.load(number)?;
        if first.is_none() && (number == search.oldest || number == 1) {
            first = search.begin(&old);
        }
        search.walk(&old);
    }
    let most = search
        .records
        .keys()
        .next_back()
        .copied()
        .unwrap_or_default();
    let last = search.last.max(most);
    let predecessor = search
        .headers
        .values()
        .next_back()
        .map(|header| header.database)
        .or(search.mark.as_ref().map(|mark| mark.database));
    Ok(Finds {
        predecessor,
        tag: search.tag.unwrap_or_default(),
        records: search.records,
        known: (last != Seq(0)).then(|| (first.unwrap_or(Seq(1)), last)),
        next_segment,
        aside,
    })
}

impl Finds {
    /// How many records are missing, and which.
    fn lost(&self) -> (u64, Vec<(Seq, Seq)>) {
        let Some((first, last)) = self.known else {
            return (0, Vec::new());
        };
        let mut lost = 0;
        let mut ranges = Vec::new();
        let mut next = first.0;
        let end = Seq(last.0.saturating_add(1));
        for seq in self.records.keys().chain([&end]) {
            if seq.0 > next {
                lost += seq.0 - next;
                if ranges.len() < RANGES {
                    ranges.push((Seq(next), Seq(seq.0 - 1)));
                }
            }
            next = seq.0.saturating_add(1);
        }
        (lost, ranges)
    }
}

struct Search<'a> {
    disk: &'a dyn Disk,
    found: BTreeMap<u64, (FileName, u64)>,
    mark: Option<Mark>,
    /// Valid headers of segments under their own names.
    headers: BTreeMap<u64, SegmentHeader>,
    salt: Option<Salt>,
    tag: Option<u64>,
    /// The oldest segment that the log needed.
    oldest: u64,
    /// Every batch below this number was reported durable.
    proved: u64,
    /// The last record that is known to have been durable.
    last: Seq,
    records: BTreeMap<Seq, Saved>,
}

impl Search<'_> {
    /// Learns whose log this is.
    fn identify(&mut self) -> Result<(), StoreError> {
        for (number, (file, len)) in &self.found {
            // A length that is not the one in the header is no reason not to
            // believe the header.
            let Some(len) = Some(*len).filter(|len| *len >= BLOCK) else {
                continue;
            };
            if let Ok(header) = read_header(self.disk, *number, file, len)? {
                self.headers.insert(*number, header);
            } else if let Some(header) = self.header_alone(*number, file)? {
                self.headers.insert(*number, header);
            }
        }
        let newest = self.headers.values().next_back();
        self.salt = newest.map(|header| header.salt);
        self.tag = newest
            .map(|header| header.database.tag())
            .or(self.mark.as_ref().map(|mark| mark.database.tag()));
        if self.salt.is_none() || self.tag.is_none() {
            for place in self.found.values() {
                let bytes = read_whole(self.disk, place)?;
                self.salt = self.salt.or_else(|| salt_of_first_batch(&bytes));
                self.tag = self.tag.or_else(|| tag_of_first_record(&bytes));
            }
        }
        Ok(())
    }

    /// A valid header of the segment of this number in a file of another
    /// length.
    fn header_alone(
        &self,
        number: u64,
        file: &FileName,
    ) -> Result<Option<SegmentHeader>, StoreError> {
        let block = self
            .disk
            .read(file, 0, usize::try_from(BLOCK).unwrap_or(0))
            .map_err(StoreError::io(format!("read the header of {file}")))?;
        Ok(SegmentHeader::decode(&block)
            .ok()
            .filter(|header| header.number == number))
    }

    /// Finds the oldest segment that counts, and how far the log is proved to
    /// have been durable.
    fn bounds(&mut self) -> Result<(), StoreError> {
        let mut newest: Option<(BatchHeader, bool)> = None;
        let mut oldest = 0;
        for header in self.headers.values() {
            oldest = oldest.max(header.oldest);
            self.proved = self.proved.max(header.first_batch);
            self.last = self.last.max(Seq(header.first_seq.0.saturating_sub(1)));
        }
        if let Some(mark) = &self.mark {
            self.proved = self.proved.max(mark.batch.saturating_add(1));
            self.last = self.last.max(mark.last_seq);
        } else {
            // Nobody knows what was reported.
            self.proved = u64::MAX;
        }
        let Some(salt) = self.salt else {
            self.oldest = oldest;
            return Ok(());
        };
        let mut seen: Vec<(u64, Seq, u64)> = Vec::new();
        for place in self.found.values() {
            let bytes = read_whole(self.disk, place)?;
            for at in blocks(&bytes, BLOCK) {
                let Some((header, _)) = BatchHeader::decode(&bytes[at..], &salt) else {
                    continue;
                };
                let whole = payload(&bytes, at, &header)
                    .is_some_and(|p| crc32c::crc32c(p) == header.payload_crc);
                let last = Seq(header.first_seq.0.saturating_add(header.count.into()) - 1);
                seen.push((header.number, last, header.oldest));
                if newest
                    .as_ref()
                    .is_none_or(|(n, _)| n.number < header.number)
                {
                    newest = Some((header, whole));
                }
            }
        }
        if let Some((header, whole)) = newest {
            self.proved = self.proved.max(header.number);
            if whole {
                self.proved = self.proved.max(header.number.saturating_add(1));
            }
        }
        for (number, last, names) in seen {
            if number < self.proved {
                self.last = self.last.max(last);
                oldest = oldest.max(names);
            }
        }
        self.oldest = oldest;
        Ok(())
    }

    fn load(&self, number: u64) -> Result<Old, StoreError> {
        let place = &self.found[&number];
        Ok(Old {
            file: place.0.clone(),
            bytes: read_whole(self.disk, place)?,
            header: self.headers.get(&number).cloned(),
        })
    }

    /// The first sequence number of a segment, by its header or its first batch.
    fn begin(&self, old: &Old) -> Option<Seq> {
        let by_batch = || {
            let at = block_index(BLOCK);
            let (header, _) = BatchHeader::decode(old.bytes.get(at..)?, &self.salt?)?;
            Some(header.first_seq)
        };
        let by_header = old.header.as_ref().map(|header| header.first_seq);
        by_header.or_else(by_batch)
    }

    /// Takes what is readable of one segment.
    fn walk(&mut self, old: &Old) {
        let Some(salt) = self.salt else { return };
        let bytes = &old.bytes;
        let mut expected = old.header.as_ref().map(|h| (h.first_batch, h.first_seq));
        let mut at = block_index(BLOCK);
        while at < bytes.len() {
            if let Some((header, _)) = BatchHeader::decode(&bytes[at..], &salt) {
                let records = &bytes[(at + BATCH_HEADER).min(bytes.len())..];
                let whole = payload(bytes, at, &header)
                    .is_some_and(|p| crc32c::crc32c(p) == header.payload_crc);
                if whole || header.number < self.proved {
                    let end = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
                    let records = &records[..end.min(records.len())];
                    self.take(old, at, records, header.first_seq, header.count.into());
                }
                let count = u64::from(header.count);
                expected = Some((
                    header.number.saturating_add(1),
                    Seq(header.first_seq.0.saturating_add(count)),
                ));
                let end = (at + BATCH_HEADER) as u64;
                at = block_index(round_block(end.saturating_add(header.payload_len)));
                continue;
            }
            let next = blocks(bytes, (at as u64) + BLOCK)
                .find_map(|at| Some((at, BatchHeader::decode(&bytes[at..], &salt)?.0)));
            let limit = next.as_ref().map_or(bytes.len(), |(at, _)| *at);
            if let Some((batch, seq)) = expected
                && batch < self.proved
                && at + BATCH_HEADER < limit
            {
                let most = next
                    .as_ref()
                    .map_or(u64::MAX, |(_, h)| h.first_seq.0.saturating_sub(seq.0));
                self.take(old, at, &bytes[at + BATCH_HEADER..limit], seq, most);
            }
            expected = None;
            match next {
                Some((next, _)) => at = next,
                None => return,
            }
        }
    }

    /// Takes records one after the other from the place where the first must
    /// lie, as long as the next one's place is certain.
    fn take(&mut self, old: &Old, batch: usize, bytes: &[u8], first: Seq, count: u64) {
        let Some(tag) = self.tag else { return };
        let mut at = 0;
        let mut seq = first;
        for _ in 0..count {
            let rest = bytes.get(at..).unwrap_or_default();
            let Ok((head, header, body)) = RecordHead::frame(rest, tag) else {
                return;
            };
            if head.seq != seq {
                return;
            }
            let len = record_len(header.len(), body.len());
            if crc32c::crc32c(body) == head.body_crc {
                let record = Record {
                    seq,
                    kind: head.kind,
                    header: Bytes::copy_from_slice(header),
                    body_len: body.len() as u64,
                };
                self.records.entry(seq).or_insert(Saved {
                    file: old.file.clone(),
                    offset: (batch + BATCH_HEADER + at) as u64,
                    len: RECORD_FIXED + header.len() + body.len(),
                    record,
                });
            }
            at += len;
            seq.0 = seq.0.saturating_add(1);
        }
    }
}

fn block_index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The block boundaries of a segment from `from` on.
fn blocks(bytes: &[u8], from: u64) -> impl Iterator<Item = usize> + use<> {
    (block_index(from)..bytes.len()).step_by(block_index(BLOCK))
}

/// The records of the batch at `at`, if they lie within the segment.
fn payload<'a>(bytes: &'a [u8], at: usize, header: &BatchHeader) -> Option<&'a [u8]> {
    let len = usize::try_from(header.payload_len).ok()?;
    bytes.get(at + BATCH_HEADER..)?.get(..len)
}
