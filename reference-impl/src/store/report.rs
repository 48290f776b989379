//! What a tool shows of a store: read only, and as much as can still be read
//! when the store itself refuses to open.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::StoreError;
use super::salvage::preview;
use super::survey::survey;
use super::{DatabaseId, Record, Seq};
use crate::disk::Disk;

/// The state of a store on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Who the store is; none for an empty directory or when no segment header
    /// can be read.
    pub database: Option<DatabaseId>,
    /// The segments that the log needs, oldest first, as far as readable.
    pub segments: Vec<SegmentReport>,
    /// The next sequence number, if the end of the log is readable.
    pub next_seq: u64,
    /// The end of the log.
    pub tail: TailReport,
    /// The newest durability mark.
    pub mark: Option<MarkReport>,
    /// The store's files that open would remove: segments already dropped from
    /// the log, segments never finished.
    pub rubbish: Vec<String>,
    /// Files that salvages put aside; they can be moved or deleted.
    pub quarantined: Vec<QuarantineReport>,
    /// Whether a salvage was committed and not finished; the next open does so.
    /// The rest of this report is about the log that it made.
    pub salvage_unfinished: bool,
    /// Files that are not the store's.
    pub unknown: Vec<String>,
    /// Why the store would refuse to open; empty when it would open.
    pub damage: Vec<DamageReport>,
    /// What a salvage would come to; none when there is no damage, or damage
    /// that no salvage helps against.
    pub salvage: Option<SalvageReport>,
}

/// What a salvage would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SalvageReport {
    /// Records that would be saved.
    pub saved: u64,
    /// Records that are lost; see [`super::Salvage::lost`].
    pub lost: u64,
    /// Their sequence numbers, first and last of each run, at most 100 runs.
    pub ranges: Vec<(u64, u64)>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// Its file.
    pub file: String,
    /// Its number.
    pub number: u64,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Where its last whole batch ends, rounded up to a block, in bytes.
    pub end: u64,
    /// Whole batches.
    pub batches: u64,
    /// First and last sequence number, if it has records.
    pub records: Option<(u64, u64)>,
    /// Records by kind, whether their owner still needs them or not.
    pub by_kind: BTreeMap<u8, u64>,
    /// Bytes of headers and bodies.
    pub payload_bytes: u64,
}

/// A file that a salvage put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuarantineReport {
    /// Its name.
    pub file: String,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// How the log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TailReport {
    /// With zeros, or with the end of the segment.
    Clean,
    /// With a batch that was never reported durable; open drops it.
    Torn {
        /// Where it begins in the last segment, in bytes.
        offset: u64,
        /// What was found there.
        what: String,
    },
}

/// The newest durability mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkReport {
    /// The batch that was durable.
    pub batch: u64,
    /// The last record up to it.
    pub last_seq: u64,
}

/// One reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageReport {
    /// The file, if one is to blame.
    pub file: Option<String>,
    /// Where, in bytes.
    pub offset: Option<u64>,
    /// The whole message.
    pub what: String,
}

impl From<&StoreError> for DamageReport {
    fn from(error: &StoreError) -> Self {
        let (file, offset) = match error {
            StoreError::Damaged { file, offset, .. } | StoreError::Gap { file, offset, .. } => {
                (Some(file), Some(*offset))
            }
            StoreError::Foreign { file, .. } | StoreError::Version { file, .. } => {
                (Some(file), None)
            }
            _ => (None, None),
        };
        Self {
            file: file.map(ToString::to_string),
            offset,
            what: error.to_string(),
        }
    }
}

/// Reads a store without changing it. Damage is reported, not returned as an
/// error.
///
/// # Errors
/// [`StoreError::Io`] when the disk cannot be read.
pub fn inspect(disk: &dyn Disk) -> Result<Report, StoreError> {
    Ok(inspect_records(disk)?.0)
}

/// The same, with the records that the log, or a salvage of it, has.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_records(disk: &dyn Disk) -> Result<(Report, Vec<Record>), StoreError> {
    let survey = survey(disk)?;
    let damaged = !survey.errors.is_empty();
    let salvageable = damaged && survey.errors.iter().all(StoreError::is_salvageable);
    let (salvage, records) = if salvageable && survey.plan.is_none() {
        let (report, records) = preview(disk)?;
        (Some(report), records)
    } else {
        let records = survey.segments.iter().flat_map(|segment| &segment.records);
        (None, records.map(|(record, _)| record.clone()).collect())
    };
    let segments = survey.segments.iter().map(|segment| {
        let mut by_kind = BTreeMap::new();
        let mut payload_bytes = 0;
        for (record, _) in &segment.records {
            *by_kind.entry(record.kind).or_insert(0) += 1;
            payload_bytes += record.header.len() as u64 + record.body_len;
        }
        let seq = |record: Option<&(Record, _)>| record.map(|(r, _)| r.seq.0);
        SegmentReport {
            file: segment.file.to_string(),
            number: segment.number,
            bytes: segment.len,
            end: segment.end,
            batches: segment.batches,
            records: seq(segment.records.first()).zip(seq(segment.records.last())),
            by_kind,
            payload_bytes,
        }
    });
    let tail = match &survey.torn {
        Some(torn) if survey.errors.is_empty() => TailReport::Torn {
            offset: torn.offset,
            what: torn.what.to_owned(),
        },
        _ => TailReport::Clean,
    };
    let Seq(next_seq) = survey.chain.seq;
    let report = Report {
        database: survey.database(),
        segments: segments.collect(),
        next_seq,
        tail,
        mark: survey.mark.newest().map(|mark| MarkReport {
            batch: mark.batch,
            last_seq: mark.last_seq.0,
        }),
        rubbish: survey.rubbish.iter().map(ToString::to_string).collect(),
        quarantined: survey
            .quarantined
            .iter()
            .map(|(file, bytes)| QuarantineReport {
                file: file.to_string(),
                bytes: *bytes,
            })
            .collect(),
        salvage_unfinished: survey.plan.is_some(),
        unknown: survey.unknown.iter().map(ToString::to_string).collect(),
        damage: survey.errors.iter().map(DamageReport::from).collect(),
        salvage,
    };
    Ok((report, records))
}
