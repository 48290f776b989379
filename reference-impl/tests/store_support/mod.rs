//! What the store's tests share: random scripts, the small model they are held
//! against, and a disk that keeps the state before every operation.
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use mailproof_node::disk::{Disk, DiskOp, FileName, MemDisk};
use mailproof_node::store::{MIN_SEGMENT_BYTES, Record, Seq, Store, StoreError, StoreOptions};
use proptest::prelude::*;

/// Small segments, so that a short script rolls over several.
pub(crate) const SMALL: StoreOptions = StoreOptions::new(MIN_SEGMENT_BYTES);

/// Stands for the caller's random number.
pub(crate) const FRESH: u128 = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;

/// The kind of a record that kills the one its header names.
pub(crate) const TOMBSTONE: u8 = 255;

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Append a record: kind, header length, body length, body cut into parts.
    Append(u8, usize, usize, usize),
    /// Hand out and complete one batch.
    Batch,
    /// Kill the n-th living record (modulo their number): append a tombstone,
    /// release both.
    Kill(usize),
    /// Move what lives in the oldest segment to the end.
    Compact,
    /// Close and open again.
    Reopen,
}

/// Random scripts. Bodies are large against the segments, so that batches tear
/// in many ways and segments change often.
pub(crate) fn script(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let body = prop_oneof![
        3 => 0..300usize,
        3 => 3000..9000usize,
        1 => 20_000..50_000usize,
        1 => 66_000..90_000usize,
    ];
    let step = prop_oneof![
        6 => (0..5u8, 0..40usize, body, 1..4usize).prop_map(|(k, h, b, p)| Step::Append(k, h, b, p)),
        6 => Just(Step::Batch),
        3 => any::<usize>().prop_map(Step::Kill),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..len)
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) kind: u8,
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// What the caller of the store knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Every record appended; the first has sequence number 1.
    pub(crate) appended: Vec<Truth>,
    /// Up to where records were reported durable.
    pub(crate) durable: u64,
    /// Up to where the batch in flight reaches.
    pub(crate) in_flight: Option<u64>,
    /// Killed or moved records, and the record that says so.
    pub(crate) killed: BTreeMap<u64, u64>,
    /// Makes bodies differ between lives.
    pub(crate) salt: u64,
}

impl Model {
    fn content(&self, len: usize, what: u64) -> Vec<u8> {
        let mut state = (self.salt << 40) ^ ((self.appended.len() as u64) << 8) ^ what;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    /// Records that are appended and not killed, in order.
    pub(crate) fn living(&self) -> Vec<u64> {
        (1..=self.appended.len() as u64)
            .filter(|seq| !self.killed.contains_key(seq))
            .filter(|seq| self.appended[*seq as usize - 1].kind != TOMBSTONE)
            .collect()
    }

    pub(crate) fn append(&mut self, store: &mut Store, truth: Truth, parts: usize) -> u64 {
        let body = Bytes::from(truth.body.clone());
        let piece = body.len().div_ceil(parts).max(1);
        let parts: Vec<Bytes> = (0..body.len())
            .step_by(piece)
            .map(|at| body.slice(at..(at + piece).min(body.len())))
            .collect();
        let seq = store.append(truth.kind, &truth.header, &parts).unwrap();
        self.appended.push(truth);
        assert_eq!(
            seq.0,
            self.appended.len() as u64,
            "sequence numbers are dense"
        );
        assert_eq!(store.appended(), seq);
        seq.0
    }

    fn kill(&mut self, store: &mut Store, victim: u64) {
        let truth = Truth {
            kind: TOMBSTONE,
            header: victim.to_le_bytes().to_vec(),
            body: Vec::new(),
        };
        let tombstone = self.append(store, truth, 1);
        self.killed.insert(victim, tombstone);
        store.release(Seq(victim));
        store.release(Seq(tombstone));
    }

    /// Takes a step that needs no disk. Answers whether it was one.
    pub(crate) fn step(&mut self, store: &mut Store, step: &Step) -> bool {
        match *step {
            Step::Append(kind, header, body, parts) => {
                let truth = Truth {
                    kind,
                    header: self.content(header, 1),
                    body: self.content(body, 2),
                };
                self.append(store, truth, parts);
            }
            Step::Kill(n) => {
                let living = self.living();
                if !living.is_empty() {
                    self.kill(store, living[n % living.len()]);
                }
            }
            Step::Compact => {
                let live: Vec<Seq> = store.oldest_live_records().collect();
                for Seq(old) in live {
                    let copy = self.appended[old as usize - 1].clone();
                    let moved = self.append(store, copy, 1);
                    self.killed.insert(old, moved);
                    store.release(Seq(old));
                }
            }
            Step::Batch | Step::Reopen => return false,
        }
        true
    }

    /// Holds what an open after a crash returned against what may be there.
    pub(crate) fn check(&self, disk: &dyn Disk, store: &Store, records: &[Record]) {
        let last = store.durable().0;
        assert!(
            last == self.durable || Some(last) == self.in_flight,
            "recovered up to {last}; {} was durable, {:?} in flight",
            self.durable,
            self.in_flight
        );
        let first = last + 1 - records.len() as u64;
        for (seq, record) in (first..).zip(records) {
            assert_eq!(record.seq, Seq(seq), "in order, without gaps");
            let truth = &self.appended[seq as usize - 1];
            assert_eq!(record.kind, truth.kind);
            assert_eq!(record.header, truth.header);
            assert_eq!(record.body_len, truth.body.len() as u64);
            assert_eq!(store.read(disk, record.seq).unwrap(), truth.body);
        }
        for seq in 1..first {
            let tombstone = self.appended[seq as usize - 1].kind == TOMBSTONE;
            let killer = self.killed.get(&seq);
            assert!(
                tombstone || killer.is_some_and(|k| *k <= last),
                "record {seq} is gone, killed by {killer:?}, log up to {last}"
            );
        }
        let gone = if first > 1 {
            Some(Seq(first - 1))
        } else {
            None
        };
        for seq in [Some(Seq(0)), Some(Seq(last + 1)), gone]
            .into_iter()
            .flatten()
        {
            assert!(matches!(
                store.read(disk, seq),
                Err(StoreError::NotFound(_))
            ));
        }
    }

    /// Continues from what an open returned, as its caller would.
    pub(crate) fn resume(&mut self, store: &mut Store, records: &[Record]) {
        let last = store.durable().0;
        self.appended.truncate(last as usize);
        self.durable = last;
        self.in_flight = None;
        self.killed.retain(|_, killer| *killer <= last);
        self.salt += 1;
        for record in records {
            let seq = record.seq.0;
            if record.kind == TOMBSTONE || self.killed.contains_key(&seq) {
                store.release(record.seq);
            }
        }
    }
}

/// A disk that keeps its state before every operation, and what the model knew
/// then.
pub(crate) struct Recorder {
    pub(crate) disk: MemDisk,
    pub(crate) model: Model,
    /// Whether to keep moments.
    pub(crate) keeping: bool,
    pub(crate) moments: Vec<(MemDisk, Model)>,
}

impl Recorder {
    pub(crate) fn new(disk: MemDisk, model: Model) -> Self {
        Self {
            disk,
            model,
            keeping: true,
            moments: Vec::new(),
        }
    }

    fn keep(&mut self) {
        if self.keeping {
            self.moments.push((self.disk.clone(), self.model.clone()));
        }
    }

    /// Runs a script from the open on; `moments` then holds every point at
    /// which the power can go.
    pub(crate) fn run(&mut self, script: &[Step]) {
        let mut store = self.open();
        for step in script {
            let mut model = std::mem::take(&mut self.model);
            let done = model.step(&mut store, step);
            self.model = model;
            match step {
                Step::Batch => self.batch(&mut store),
                Step::Reopen => store = self.open(),
                _ => assert!(done),
            }
        }
        self.keep();
    }

    pub(crate) fn open(&mut self) -> Store {
        let (mut store, records) = Store::open(self, SMALL, FRESH).unwrap();
        self.model.check(&self.disk, &store, &records);
        let mut model = std::mem::take(&mut self.model);
        model.resume(&mut store, &records);
        self.model = model;
        store
    }

    fn batch(&mut self, store: &mut Store) {
        let Some(batch) = store.next_batch() else {
            return;
        };
        assert!(store.next_batch().is_none(), "one batch at a time");
        self.model.in_flight = Some(batch.up_to.0);
        batch.execute(self).unwrap();
        self.model.durable = store.batch_done(batch.id, Ok(())).unwrap().0;
        self.model.in_flight = None;
    }
}

impl Disk for Recorder {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        self.keep();
        self.disk.apply(op)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        self.disk.list()
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read(file, offset, len)
    }
}

/// Every record with its body, as an open returns them.
pub(crate) fn everything(disk: &mut dyn Disk) -> Result<Vec<(u64, Truth)>, StoreError> {
    let (store, records) = Store::open(disk, SMALL, FRESH)?;
    let whole = records.into_iter().map(|record| {
        let truth = Truth {
            kind: record.kind,
            header: record.header.to_vec(),
            body: store.read(disk, record.seq)?.to_vec(),
        };
        Ok((record.seq.0, truth))
    });
    whole.collect()
}
