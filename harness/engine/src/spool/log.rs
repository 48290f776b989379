//! The log as a whole: which records it has, and whether it is intact, torn
//! or damaged (`STORE.md`, "Reading"; the step numbers are those there).

use std::collections::BTreeSet;
use std::io;

use super::files::Files;
use super::layout::{BLOCK, Batch, MARKS, MARKS_LEN, Mark, PLAN, Plan, Record, Segment};
use super::layout::{segment_name, segment_number, unnamed_segment};

/// The longest segment that is read, in bytes: more than any configuration of
/// the node allows.
const LONGEST: u64 = 2 << 30;

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no log yet.
    New,
    /// All there is was read.
    Clean,
    /// The last batch was never reported durable and does not count.
    Torn,
    /// Something durable is gone, and what. The records before it were read.
    Damaged(String),
}

/// Hands the records of a store to `visit`, in their order.
///
/// # Errors
/// A file cannot be read. Damage is no error but an [`End`].
pub(super) fn read<F: Files + ?Sized>(
    files: &F,
    visit: &mut dyn FnMut(Record<'_>),
) -> io::Result<End> {
    let plan = if files.names()?.iter().any(|name| name == PLAN) {
        match Plan::read(&files.read(PLAN, BLOCK as u64 + 1)?) {
            Some(plan) => plan,
            None => return Ok(End::Damaged("the plan of a salvage is damaged".to_owned())),
        }
    } else {
        return read_log(files, visit);
    };
    let names = files.names()?;
    let there = |n: &u64| names.contains(&segment_name(*n)) || names.contains(&unnamed_segment(*n));
    let segments: Vec<u64> = (plan.first..=plan.last()).take_while(there).collect();
    if segments.len() as u64 != plan.count {
        let why = "segments that a salvage made are missing";
        return Ok(End::Damaged(why.to_owned()));
    }
    let planned = Planned {
        files,
        plan,
        segments,
    };
    read_log(&planned, visit)
}

/// A directory as a committed salvage will leave it.
struct Planned<'a, F: ?Sized> {
    files: &'a F,
    plan: Plan,
    segments: Vec<u64>,
}

impl<F: Files + ?Sized> Planned<'_, F> {
    /// The file that has this name when the salvage is finished.
    fn place(&self, name: &str) -> io::Result<String> {
        let names = self.files.names()?;
        let unnamed = segment_number(name).map(unnamed_segment);
        Ok(unnamed
            .filter(|unnamed| names.contains(unnamed))
            .unwrap_or_else(|| name.to_owned()))
    }
}

impl<F: Files + ?Sized> Files for Planned<'_, F> {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.files.names()?;
        let mut seen: Vec<String> = self.segments.iter().map(|n| segment_name(*n)).collect();
        if names.iter().any(|name| name == MARKS) {
            let marks = self.files.read(MARKS, MARKS_LEN as u64 + 1)?;
            if Mark::newest(&marks).is_some_and(|mark| mark.database == self.plan.database) {
                seen.push(MARKS.to_owned());
            }
        }
        Ok(seen)
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.files.read(&self.place(name)?, most)
    }
}

fn read_log<F: Files + ?Sized>(files: &F, visit: &mut dyn FnMut(Record<'_>)) -> io::Result<End> {
    match Log::open(files, visit) {
        Ok(end) => Ok(end),
        Err(Stop::Io(e)) => Err(e),
        Err(Stop::Damaged(why)) => Ok(End::Damaged(why)),
    }
}

enum Stop {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

fn damaged<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Damaged(why.into()))
}

/// A segment in memory.
struct Loaded {
    header: Segment,
    bytes: Vec<u8>,
}

/// What has to come next in the log.
struct Log<'a> {
    salt: [u8; 16],
    database: [u8; 16],
    batch: u64,
    seq: u64,
    check: u32,
    epoch: u32,
    oldest: u64,
    mark: Option<Mark>,
    visit: &'a mut dyn FnMut(Record<'_>),
}

impl<'a> Log<'a> {
    fn open<F: Files + ?Sized>(
        files: &F,
        visit: &'a mut dyn FnMut(Record<'_>),
    ) -> Result<End, Stop> {
        let names = files.names()?;
        let marks = if names.iter().any(|name| name == MARKS) {
            files.read(MARKS, MARKS_LEN as u64 + 1)?
        } else {
            Vec::new()
        };
        let mark = Mark::newest(&marks);
        let numbers: BTreeSet<u64> = names
            .iter()
            .filter_map(|name| segment_number(name))
            .collect();
        // Step 1.
        let Some(&last) = numbers.last() else {
            let used = marks.len() == MARKS_LEN && marks.iter().any(|b| *b != 0);
            return if mark.is_some() || used {
                damaged("there are marks of a log and no segment")
            } else {
                Ok(End::New)
            };
        };
        // Step 2.
        let newest = load(files, last)?;
        let oldest = oldest_needed(&newest);
        if oldest > last {
            return damaged(format!("segment {last:x} names a later one as the oldest"));
        }
        let database = newest.header.database;
        if mark.is_some_and(|mark| mark.database != database) {
            return damaged("the marks are of another database than the log");
        }
        // Step 3, for what is no longer needed; its header may be gone.
        for &number in numbers.range(..oldest) {
            let start = files.read(&segment_name(number), BLOCK as u64)?;
            if Segment::read(&start).is_ok_and(|header| header.database != database) {
                return damaged(format!("segment {number:x} is of another database"));
            }
        }
        for number in oldest..=last {
            if !numbers.contains(&number) {
                return damaged(format!("segment {number:x} is missing"));
            }
        }
        let mut log = Self {
            salt: newest.header.salt,
            database,
            batch: 0,
            seq: 0,
            check: 0,
            epoch: 0,
            oldest: 0,
            mark,
            visit,
        };
        for number in oldest..last {
            let segment = load(files, number)?;
            log.same(&segment.header)?;
            if number == oldest {
                log.begin(&segment.header);
            }
            let next = if number + 1 == last {
                newest.header
            } else {
                let start = files.read(&segment_name(number + 1), BLOCK as u64)?;
                match Segment::read(&start) {
                    Ok(header) => header,
                    Err(why) => return damaged(format!("segment {:x}: {why}", number + 1)),
                }
            };
            log.below(&segment, &next)?;
        }
        if oldest == last {
            log.begin(&newest.header);
        }
        log.newest(&newest)
    }

    /// The log begins with this segment.
    fn begin(&mut self, first: &Segment) {
        self.batch = first.first_batch;
        self.seq = first.first_seq;
        self.check = first.prev_check;
    }

    /// Step 3: one database, one salt.
    fn same(&self, header: &Segment) -> Result<(), Stop> {
        if header.database != self.database {
            return damaged(format!(
                "segment {:x} is of another database",
                header.number
            ));
        }
        if header.salt != self.salt {
            return damaged(format!("segment {:x} has another salt", header.number));
        }
        Ok(())
    }

    /// Step 5: a segment that has a successor.
    fn below(&mut self, segment: &Loaded, next: &Segment) -> Result<(), Stop> {
        let number = segment.header.number;
        let Ok(end) = usize::try_from(next.prev_end) else {
            return damaged(format!("segment {number:x} cannot end where it should"));
        };
        let mut at = BLOCK;
        while at < end {
            match Batch::whole_at(&segment.bytes, at, &self.salt) {
                Some((batch, records)) if batch.number == self.batch => {
                    self.take(&segment.header, &batch, records)?;
                    at = batch.next_at();
                }
                _ => {
                    return damaged(format!(
                        "batch {} at byte {at} of segment {number:x} cannot be read",
                        self.batch
                    ));
                }
            }
        }
        let due = (at, self.batch, self.seq, self.check);
        let named = (end, next.first_batch, next.first_seq, next.prev_check);
        if due != named {
            return damaged(format!(
                "segment {number:x} does not end as the one after it says"
            ));
        }
        Ok(())
    }

    /// Steps 6 to 8: the newest segment, and the end of the log.
    fn newest(&mut self, segment: &Loaded) -> Result<End, Stop> {
        let number = segment.header.number;
        let mut at = BLOCK;
        while let Some((batch, records)) = Batch::whole_at(&segment.bytes, at, &self.salt)
            .filter(|(batch, _)| batch.number == self.batch)
        {
            self.take(&segment.header, &batch, records)?;
            at = batch.next_at();
        }
        let lost = |why: &str| {
            damaged(format!(
                "batch {} at byte {at} of segment {number:x} was durable and cannot be read: {why}",
                self.batch
            ))
        };
        for block in (at..segment.bytes.len()).step_by(BLOCK) {
            let later = Batch::header_at(&segment.bytes, block, &self.salt);
            if later.is_some_and(|later| later.number > self.batch) {
                return lost("a later batch follows");
            }
        }
        if self.mark.is_some_and(|mark| mark.batch >= self.batch) {
            return lost("it is marked as synced");
        }
        let rest = segment.bytes.get(at..).unwrap_or_default();
        Ok(if rest.iter().any(|b| *b != 0) {
            End::Torn
        } else {
            End::Clean
        })
    }

    /// Step 4: a whole batch in its place, with its records.
    fn take(&mut self, segment: &Segment, batch: &Batch, records: &[u8]) -> Result<(), Stop> {
        let wrong = |why: &str| damaged(format!("batch {}: {why}", batch.number));
        if batch.first_seq != self.seq {
            return wrong("records before it are missing");
        }
        if batch.prev_check != self.check {
            return wrong("it does not follow the batch before it");
        }
        if batch.epoch < self.epoch || batch.oldest < self.oldest || batch.oldest > segment.number {
            return wrong("its epoch or oldest segment falls back");
        }
        let marked = self.mark.filter(|mark| mark.batch == batch.number);
        if marked.is_some_and(|mark| mark.check != batch.check) {
            return wrong("it is not the batch that was marked as synced");
        }
        let mut rest = records;
        let mut seq = batch.first_seq;
        let mut found = Vec::new();
        for _ in 0..batch.records {
            match Record::take(rest, seq, &self.database) {
                Ok((record, after)) => {
                    found.push(record);
                    rest = after;
                    seq = seq.saturating_add(1);
                }
                Err(why) => return wrong(&format!("record {seq}: {why}")),
            }
        }
        if !rest.is_empty() {
            return wrong("something follows its last record");
        }
        for record in found {
            (self.visit)(record);
        }
        self.batch = self.batch.saturating_add(1);
        self.seq = seq;
        self.check = batch.check;
        self.epoch = batch.epoch;
        self.oldest = batch.oldest;
        Ok(())
    }
}

/// Reads a segment that the log needs.
fn load<F: Files + ?Sized>(files: &F, number: u64) -> Result<Loaded, Stop> {
    let bytes = files.read(&segment_name(number), LONGEST + 1)?;
    if bytes.len() as u64 > LONGEST {
        return damaged(format!("segment {number:x} is longer than {LONGEST} bytes"));
    }
    let header = match Segment::read(&bytes) {
        Ok(header) => header,
        Err(why) => return damaged(format!("segment {number:x}: {why}")),
    };
    if header.number != number {
        return damaged(format!("segment {number:x} has the number of another"));
    }
    if header.len != bytes.len() as u64 || !bytes.len().is_multiple_of(BLOCK) {
        return damaged(format!("segment {number:x} does not have its length"));
    }
    Ok(Loaded { header, bytes })
}

/// Step 2: the oldest segment that the log needs, by its newest segment.
fn oldest_needed(newest: &Loaded) -> u64 {
    let mut oldest = newest.header.oldest;
    let mut due = newest.header.first_batch;
    let mut at = BLOCK;
    while let Some((batch, _)) = Batch::whole_at(&newest.bytes, at, &newest.header.salt)
        .filter(|(batch, _)| batch.number == due)
    {
        oldest = batch.oldest;
        due = due.saturating_add(1);
        at = batch.next_at();
    }
    oldest
}
