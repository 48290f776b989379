//! Reads the whole log without changing anything and collects what is wrong
//! with it. The rules are in the [module doc](super) and in `STORE.md`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::StoreError;
use super::format::{
    BATCH_HEADER, BLOCK, BadHeader, BatchHeader, FORMAT_VERSION, Kind, MARK_FILE, MARK_FILE_LEN,
    MARK_LEN, Mark, PLAN_FILE, Plan, RecordHead, SegmentHeader, kind_of, record_len, round_block,
    segment_file,
};
use super::segment::Entry;
use super::{DatabaseId, Record, Seq};
use crate::disk::{Disk, FileName};

const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// The file with the durability marks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MarkFile {
    Missing,
    /// Not of its one length: cut off while it was created, or damaged.
    WrongLength,
    /// Two slots, and whether every byte of them is zero.
    Slots {
        newest: Option<Mark>,
        blank: bool,
    },
}

impl MarkFile {
    pub(super) fn newest(&self) -> Option<&Mark> {
        match self {
            Self::Slots { newest, .. } => newest.as_ref(),
            Self::Missing | Self::WrongLength => None,
        }
    }
}

/// One segment that the log needs, as far as it could be read.
#[derive(Debug)]
pub(super) struct SegmentSurvey {
    pub(super) file: FileName,
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) first_seq: Seq,
    pub(super) batches: u64,
    pub(super) records: Vec<(Record, Entry)>,
    /// Where the next batch would begin, in bytes.
    pub(super) end: u64,
}

/// The last whole batch, to be written again at open.
#[derive(Debug)]
pub(super) struct LastBatch {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// What comes next in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) batch: u64,
    pub(super) seq: Seq,
    pub(super) check: u32,
    pub(super) epoch: u32,
    pub(super) oldest: u64,
}

/// Why the log ends where it does, when it does not end cleanly.
#[derive(Clone, Debug)]
pub(super) struct Torn {
    pub(super) offset: u64,
    pub(super) what: &'static str,
}

/// All that was read.
#[derive(Debug)]
pub(super) struct Survey {
    /// A segment header of the database that the mark names, or else the newest
    /// one that could be read: whose database this is.
    pub(super) identity: Option<SegmentHeader>,
    /// From the oldest needed one on.
    pub(super) segments: Vec<SegmentSurvey>,
    /// Removed segments whose removal did not reach the disk, and segments
    /// that were never finished.
    pub(super) rubbish: Vec<FileName>,
    pub(super) unknown: Vec<FileName>,
    /// Files that a salvage put aside.
    pub(super) quarantined: Vec<(FileName, u64)>,
    /// A salvage that was committed and not finished: the log is what it says.
    pub(super) plan: Option<Plan>,
    pub(super) mark: MarkFile,
    pub(super) chain: Chain,
    pub(super) last: Option<LastBatch>,
    /// Non-zero bytes after the end of the last segment: offset and length, in
    /// whole blocks.
    pub(super) remnants: Vec<(u64, u64)>,
    pub(super) torn: Option<Torn>,
    /// What makes the store refuse, the first cause first.
    pub(super) errors: Vec<StoreError>,
    #[cfg(feature = "defects")]
    defect: Option<crate::defect::StoreDefect>,
}

/// Reads the log.
///
/// # Errors
/// Only what the disk says; the rest is in [`Survey::errors`].
pub(super) fn survey(disk: &dyn Disk) -> Result<Survey, StoreError> {
    let mut survey = Survey::empty();
    survey.read(disk)?;
    Ok(survey)
}

/// The same with a planted defect.
#[cfg(feature = "defects")]
pub(super) fn survey_with(
    disk: &dyn Disk,
    defect: Option<crate::defect::StoreDefect>,
) -> Result<Survey, StoreError> {
    let mut survey = Survey::empty();
    survey.defect = defect;
    survey.read(disk)?;
    Ok(survey)
}

impl Survey {
    fn empty() -> Self {
        Self {
            identity: None,
            segments: Vec::new(),
            rubbish: Vec::new(),
            unknown: Vec::new(),
            quarantined: Vec::new(),
            plan: None,
            mark: MarkFile::Missing,
            chain: Chain {
                batch: 1,
                seq: Seq(1),
                check: 0,
                epoch: 0,
                oldest: 1,
            },
            last: None,
            remnants: Vec::new(),
            torn: None,
            errors: Vec::new(),
            #[cfg(feature = "defects")]
            defect: None,
        }
    }

    fn read(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let survey = self;
        let mut found = BTreeMap::new();
        let files = disk.list().map_err(StoreError::io("list the directory"))?;
        match read_plan(disk, &files) {
            Ok(plan) => survey.plan = plan,
            Err(error @ StoreError::Plan { .. }) => survey.errors.push(error),
            Err(error) => return Err(error),
        }
        for (file, len) in files {
            let planned = |number: u64| {
                let plan = survey.plan.as_ref()?;
                Some((plan.first..plan.first.saturating_add(plan.count)).contains(&number))
            };
            match kind_of(&file) {
                Kind::Segment(number) if planned(number) == Some(false) => {
                    survey.quarantined.push((file, len));
                }
                Kind::NewSegment(number) if planned(number) != Some(true) => {
                    survey.rubbish.push(file)
                }
                Kind::Segment(number) | Kind::NewSegment(number) => {
                    found.insert(number, (file, len));
                }
                Kind::Mark => {
                    let mark = read_mark(disk, &file, len)?;
                    let ours = survey.plan.as_ref().map(|plan| Some(plan.database));
                    if ours.is_none_or(|ours| mark.newest().map(|mark| mark.database) == ours) {
                        survey.mark = mark;
                    } else {
                        survey.quarantined.push((file, len));
                    }
                }
                Kind::Plan => {}
                Kind::NewPlan => survey.rubbish.push(file),
                Kind::Quarantine(_) => survey.quarantined.push((file, len)),
                Kind::Unknown => survey.unknown.push(file),
            }
        }
        if let Some(plan) = &survey.plan
            && found.len() as u64 != plan.count
        {
            let what = format!(
                "a salvage made {} segments from {:016x} on, and {} of them are there",
                plan.count,
                plan.first,
                found.len()
            );
            let file = FileName::built(PLAN_FILE);
            survey.errors.push(StoreError::damaged(&file, 0, what));
        } else if found.is_empty() {
            survey.refuse_lost_log();
        } else {
            survey.read_segments(disk, found)?;
            survey.compare_mark();
        }
        Ok(())
    }
}

pub(super) fn read_mark(
    disk: &dyn Disk,
    file: &FileName,
    len: u64,
) -> Result<MarkFile, StoreError> {
    if len != MARK_FILE_LEN {
        return Ok(MarkFile::WrongLength);
    }
    let bytes = disk
        .read(file, 0, MARK_FILE_LEN as usize)
        .map_err(StoreError::io("read the durability marks"))?;
    let slots = bytes.chunks(BLOCK as usize);
    Ok(MarkFile::Slots {
        newest: slots.filter_map(Mark::decode).max_by_key(|mark| mark.batch),
        blank: bytes.iter().all(|b| *b == 0),
    })
}

/// The plan of a salvage that was committed and not finished.
///
/// # Errors
/// What the disk says; a plan that cannot be read, without which nobody knows
/// which segments count.
pub(super) fn read_plan(
    disk: &dyn Disk,
    files: &[(FileName, u64)],
) -> Result<Option<Plan>, StoreError> {
    let Some((file, len)) = files.iter().find(|(f, _)| kind_of(f) == Kind::Plan) else {
        return Ok(None);
    };
    let bytes = if *len == BLOCK {
        disk.read(file, 0, BLOCK as usize)
            .map_err(StoreError::io("read the plan of a salvage"))?
    } else {
        Vec::new()
    };
    match Plan::decode(&bytes) {
        Some(plan) => Ok(Some(plan)),
        None => Err(StoreError::Plan { file: file.clone() }),
    }
}

/// A segment's header, or why the segment cannot be used.
pub(super) fn read_header(
    disk: &dyn Disk,
    number: u64,
    file: &FileName,
    len: u64,
) -> Result<Result<SegmentHeader, StoreError>, StoreError> {
    if len < BLOCK {
        let what = format!("the file has {len} bytes, too few for a segment header");
        return Ok(Err(StoreError::damaged(file, 0, what)));
    }
    let block = disk
        .read(file, 0, BLOCK as usize)
        .map_err(StoreError::io(format!("read the header of {file}")))?;
    let header = match SegmentHeader::decode(&block) {
        Ok(header) => header,
        Err(BadHeader::Version(found)) => {
            return Ok(Err(StoreError::Version {
                file: file.clone(),
                found,
                known: FORMAT_VERSION,
            }));
        }
        Err(BadHeader::Damaged(what)) => return Ok(Err(StoreError::damaged(file, 0, what))),
    };
    if header.number != number {
        let what = format!(
            "the file's header is that of segment {:016x}",
            header.number
        );
        return Ok(Err(StoreError::damaged(file, 0, what)));
    }
    if header.len != len {
        let what = format!("the file has {len} bytes, its header says {}", header.len);
        return Ok(Err(StoreError::damaged(file, len.min(header.len), what)));
    }
    Ok(Ok(header))
}

impl Survey {
    /// Without any segment the directory is a new store's, unless something
    /// says that there was a log.
    fn refuse_lost_log(&mut self) {
        let file = FileName::built(MARK_FILE);
        match &self.mark {
            MarkFile::Slots {
                newest: Some(mark), ..
            } => {
                let what = format!(
                    "batch {} of database {} was durable, but the directory has no segment",
                    mark.batch, mark.database
                );
                self.errors
                    .push(StoreError::damaged(&file, mark.offset(), what));
            }
            MarkFile::Slots { blank: false, .. } => {
                let what = "unreadable marks in a directory without any segment";
                self.errors.push(StoreError::damaged(&file, 0, what));
            }
            MarkFile::Missing | MarkFile::WrongLength | MarkFile::Slots { .. } => {}
        }
    }

    fn read_segments(
        &mut self,
        disk: &dyn Disk,
        found: BTreeMap<u64, (FileName, u64)>,
    ) -> Result<(), StoreError> {
        let mut headers = BTreeMap::new();
        for (number, (file, len)) in &found {
            headers.insert(*number, read_header(disk, *number, file, *len)?);
        }
        let Some((&newest, _)) = found.last_key_value() else {
            return Ok(());
        };
        let readable = || headers.values().rev().filter_map(|h| h.as_ref().ok());
        let marked = self.mark.newest().map(|mark| mark.database);
        self.identity = readable()
            .find(|header| Some(header.database) == marked)
            .or_else(|| readable().next())
            .cloned();

        // The end of the log says where it begins.
        let mut last_read = None;
        if let Some(Ok(header)) = headers.get(&newest) {
            let mut walk = self.walk(header, &found[&newest].0);
            let bytes = read_whole(disk, &found[&newest])?;
            walk.run(&bytes, header.len);
            self.chain = walk.chain;
            last_read = Some((walk, bytes));
        }
        let oldest = match &last_read {
            // A header that names a later one is refused below, not believed.
            Some((walk, _)) => walk.chain.oldest.min(newest),
            None => found.first_key_value().map_or(newest, |(n, _)| *n),
        };
        for (number, (file, _)) in found.range(..oldest) {
            // A foreign newest segment must not turn the log into rubbish.
            match headers.get(number) {
                Some(Ok(header)) if !self.belongs(header, file) => {}
                _ => self.rubbish.push(file.clone()),
            }
        }

        let mut expected = oldest;
        for (&number, place) in found.range(oldest..) {
            if number != expected {
                let what =
                    format!("the segment is missing; the log needs all from {oldest:016x} on");
                self.errors
                    .push(StoreError::damaged(&segment_file(expected), 0, what));
            }
            expected = number.saturating_add(1);
            let header = match headers.remove(&number) {
                Some(Ok(header)) => header,
                Some(Err(error)) => {
                    self.errors.push(error);
                    continue;
                }
                None => continue,
            };
            if !self.belongs(&header, &place.0) {
                continue;
            }
            let next = headers
                .get(&expected)
                .and_then(|next| next.as_ref().ok())
                .filter(|next| next.database == header.database);
            let (mut walk, bytes) = match last_read.take_if(|_| number == newest) {
                Some(read) => read,
                None => {
                    let bytes = read_whole(disk, place)?;
                    let mut walk = self.walk(&header, &place.0);
                    let limit = next.map_or(header.len, |next| next.prev_end.min(header.len));
                    walk.run(&bytes, limit);
                    (walk, bytes)
                }
            };
            if let Some(next) = next {
                walk.must_reach(next);
            } else if number == newest {
                self.remnants = remnants(&bytes, walk.end);
                if walk.errors.is_empty() && !self.remnants.is_empty() {
                    self.torn = Some(walk.torn.take().unwrap_or(Torn {
                        offset: walk.end,
                        what: "remnants of a batch that has no header",
                    }));
                }
            }
            if let Some((from, to)) = walk.last {
                self.last = Some(LastBatch {
                    segment: number,
                    offset: from as u64,
                    bytes: Bytes::copy_from_slice(&bytes[from..to]),
                });
            }
            self.errors.append(&mut walk.errors);
            self.segments.push(walk.into_survey(&header));
        }
        Ok(())
    }

    /// The walk along a segment.
    fn walk(&self, header: &SegmentHeader, file: &FileName) -> Walk {
        #[allow(unused_mut)]
        let mut walk = Walk::new(header, file, self.mark.newest());
        #[cfg(feature = "defects")]
        {
            walk.defect = self.defect;
        }
        walk
    }

    /// Whether the segment is of this database.
    fn belongs(&mut self, header: &SegmentHeader, file: &FileName) -> bool {
        let Some(identity) = &self.identity else {
            return true;
        };
        if identity.database != header.database {
            self.errors.push(StoreError::Foreign {
                file: file.clone(),
                expected: identity.database,
                found: header.database,
            });
            return false;
        }
        if identity.salt != header.salt {
            let what = "the segment's salt is not that of the others";
            self.errors.push(StoreError::damaged(file, 32, what));
            return false;
        }
        true
    }

    /// A mark beyond the end proves that durable batches are missing.
    fn compare_mark(&mut self) {
        let (Some(mark), Some(identity)) = (self.mark.newest(), &self.identity) else {
            return;
        };
        if mark.database != identity.database {
            self.errors.push(StoreError::Foreign {
                file: FileName::built(MARK_FILE),
                expected: identity.database,
                found: mark.database,
            });
        } else if mark.batch >= self.chain.batch && self.errors.is_empty() {
            let what = format!(
                "the log ends before batch {}, but batch {} with records up to {} was durable",
                self.chain.batch, mark.batch, mark.last_seq
            );
            let (file, at) = match self.segments.last() {
                Some(last) if last.number >= mark.segment => (last.file.clone(), last.end),
                _ => (segment_file(mark.segment), 0),
            };
            self.errors.push(StoreError::damaged(&file, at, what));
        }
    }

    /// The database of this log, if any header tells.
    pub(super) fn database(&self) -> Option<DatabaseId> {
        self.identity.as_ref().map(|header| header.database)
    }
}

pub(super) fn read_whole(
    disk: &dyn Disk,
    (file, len): &(FileName, u64),
) -> Result<Vec<u8>, StoreError> {
    disk.read(file, 0, usize::try_from(*len).unwrap_or(usize::MAX))
        .map_err(StoreError::io(format!("read {file}")))
}

/// Non-zero blocks from `end` on, neighbours joined.
fn remnants(bytes: &[u8], end: u64) -> Vec<(u64, u64)> {
    let start = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (block, at) in bytes[start..]
        .chunks(BLOCK as usize)
        .zip((start as u64..).step_by(BLOCK as usize))
    {
        if block == &ZEROS[..block.len()] {
            continue;
        }
        match found.last_mut() {
            Some((from, len)) if *from + *len == at => *len += block.len() as u64,
            _ => found.push((at, block.len() as u64)),
        }
    }
    found
}

/// The walk along one segment's batches.
struct Walk {
    file: FileName,
    header: SegmentHeader,
    mark: Option<Mark>,
    chain: Chain,
    end: u64,
    batches: u64,
    records: Vec<(Record, Entry)>,
    /// Where the last whole batch lies: from, to.
    last: Option<(usize, usize)>,
    torn: Option<Torn>,
    errors: Vec<StoreError>,
    #[cfg(feature = "defects")]
    defect: Option<crate::defect::StoreDefect>,
}

impl Walk {
    fn new(header: &SegmentHeader, file: &FileName, mark: Option<&Mark>) -> Self {
        Self {
            file: file.clone(),
            header: header.clone(),
            mark: mark.cloned(),
            chain: Chain {
                batch: header.first_batch,
                seq: header.first_seq,
                check: header.prev_check,
                epoch: header.epoch,
                oldest: header.oldest,
            },
            end: BLOCK,
            batches: 0,
            records: Vec::new(),
            last: None,
            torn: None,
            errors: Vec::new(),
            #[cfg(feature = "defects")]
            defect: None,
        }
    }

    /// Whether a planted defect looks away from what is not as it was written;
    /// `torn` when nothing proves that it was.
    #[allow(unused_variables, clippy::unused_self)]
    fn blind(&self, torn: bool) -> bool {
        #[cfg(feature = "defects")]
        return match self.defect {
            Some(crate::defect::StoreDefect::IgnoreChecksums) => true,
            Some(crate::defect::StoreDefect::AcceptTornBatch) => torn,
            _ => false,
        };
        #[cfg(not(feature = "defects"))]
        false
    }

    fn refuse(&mut self, offset: u64, what: impl Into<String>) {
        self.errors
            .push(StoreError::damaged(&self.file, offset, what));
    }

    /// Takes batches from the first block up to `limit`. Where one is not
    /// whole but a later header proves that it was, the damage is noted and
    /// the walk goes on there.
    fn run(&mut self, bytes: &[u8], limit: u64) {
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let bytes = &bytes[..limit];
        while (self.end as usize) < limit {
            let Err(what) = self.take(bytes) else {
                continue;
            };
            let Some((at, header)) = self.later(bytes) else {
                self.torn = Some(Torn {
                    offset: self.end,
                    what,
                });
                return;
            };
            self.refuse(
                self.end,
                format!(
                    "{what} in place of batch {} (records from {}), though batch {} at byte {at} \
                     was written after it was durable",
                    self.chain.batch, self.chain.seq, header.number
                ),
            );
            self.end = at;
            self.chain.batch = header.number;
            self.chain.seq = header.first_seq;
            self.chain.check = header.prev_check;
        }
    }

    /// Takes the batch at `end` if it is whole and the one that comes next.
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let from = self.end as usize;
        let rest = &bytes[from..];
        let Some((header, check)) = BatchHeader::decode(rest, &self.header.salt) else {
            return Err("no valid batch header");
        };
        if header.number != self.chain.batch {
            return Err("the header of another batch");
        }
        let payload = usize::try_from(header.payload_len)
            .ok()
            .and_then(|len| rest[BATCH_HEADER..].get(..len))
            .ok_or("a batch that reaches beyond its segment")?;
        if crc32c::crc32c(payload) != header.payload_crc && !self.blind(self.later(bytes).is_none())
        {
            return Err("a batch whose records do not match their checksum");
        }
        // The batch is whole. Whatever does not fit now was written so.
        if header.first_seq != self.chain.seq {
            self.errors.push(StoreError::Gap {
                file: self.file.clone(),
                offset: self.end,
                expected: self.chain.seq,
                found: header.first_seq,
            });
        } else if header.prev_check != self.chain.check {
            self.refuse(self.end, "the batch does not continue the one before it");
        } else if header.epoch < self.chain.epoch
            || header.oldest < self.chain.oldest
            || header.oldest > self.header.number
        {
            self.refuse(self.end, "the batch's header contradicts what went before");
        }
        if let Some(mark) = &self.mark
            && mark.database == self.header.database
            && mark.batch == header.number
            && mark.check != check
        {
            self.refuse(self.end, "the batch is not the one that was marked durable");
        }
        self.take_records(&header, payload);
        self.chain = Chain {
            batch: header.number.saturating_add(1),
            seq: Seq(header.first_seq.0.saturating_add(u64::from(header.count))),
            check,
            epoch: header.epoch,
            oldest: header.oldest,
        };
        let to = from + BATCH_HEADER + payload.len();
        self.last = Some((from, to));
        self.batches += 1;
        self.end = round_block(to as u64);
        Ok(())
    }

    fn take_records(&mut self, header: &BatchHeader, payload: &[u8]) {
        let base = self.end + BATCH_HEADER as u64;
        let mut at = 0;
        let mut seq = header.first_seq;
        for _ in 0..header.count {
            let rest = payload.get(at..).unwrap_or_default();
            let tag = self.header.database.tag();
            let read = if self.blind(true) {
                RecordHead::frame(rest, tag)
            } else {
                RecordHead::decode(rest, tag)
            };
            let (head, caller, body) = match read {
                Ok(record) => record,
                Err(_) if self.blind(true) => return,
                Err(what) => return self.refuse(base + at as u64, what),
            };
            if head.seq != seq {
                return self.refuse(base + at as u64, "a record's sequence number is not next");
            }
            let record = Record {
                seq,
                kind: head.kind,
                header: Bytes::copy_from_slice(caller),
                body_len: body.len() as u64,
            };
            let entry = Entry {
                offset: base + at as u64,
                header_len: head.header_len,
                body_len: head.body_len,
                live: true,
            };
            self.records.push((record, entry));
            at += record_len(caller.len(), body.len());
            seq.0 = seq.0.saturating_add(1);
        }
        if at != payload.len() {
            self.refuse(base + at as u64, "the batch is longer than its records");
        }
    }

    /// The first header from `end` on of a batch that comes later than the next
    /// one. The header alone is proof; its payload may be torn.
    fn later(&self, bytes: &[u8]) -> Option<(u64, BatchHeader)> {
        let start = self.end as usize;
        (start..bytes.len())
            .step_by(BLOCK as usize)
            .filter_map(|at| {
                let (header, _) = BatchHeader::decode(&bytes[at..], &self.header.salt)?;
                Some((at as u64, header))
            })
            .find(|(_, header)| header.number > self.chain.batch)
    }

    /// The next segment was created after everything up to its first batch was
    /// durable.
    fn must_reach(&mut self, next: &SegmentHeader) {
        let reached = (self.chain.batch, self.chain.seq, self.chain.check);
        let promised = (next.first_batch, next.first_seq, next.prev_check);
        if self.errors.is_empty() && (reached != promised || self.end != next.prev_end) {
            let what = self.torn.as_ref().map_or("the end", |torn| torn.what);
            self.refuse(
                self.end,
                format!(
                    "{what} in place of batch {} (records from {}), though the next segment \
                     begins with batch {} (records from {})",
                    self.chain.batch, self.chain.seq, next.first_batch, next.first_seq
                ),
            );
        }
    }

    fn into_survey(self, header: &SegmentHeader) -> SegmentSurvey {
        SegmentSurvey {
            file: self.file,
            number: header.number,
            len: header.len,
            first_seq: header.first_seq,
            batches: self.batches,
            records: self.records,
            end: self.end,
        }
    }
}

const _: () = assert!(MARK_LEN as u64 <= BLOCK);
