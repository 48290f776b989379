//! Salvage: what a damaged log still has becomes a new log; what it has not is
//! named; nothing is invented; the old files stay as they were. Under random
//! scripts, random damage, and power cuts at every operation of the salvage.

#![allow(clippy::unwrap_used)] // A test helper fails by panicking.

mod store_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use mailproof_node::disk::{Crash, Disk, DiskOp, FileName, MemDisk, Persistence};
use mailproof_node::store::{Note, Record, Salvage, Seq, Store, StoreError, StoreOptions, inspect};
use proptest::prelude::*;
use store_support::{FRESH, Model, Recorder, SMALL, Truth, everything, script};

/// The kind of the note; scripts use smaller ones and 255.
const NOTE: u8 = 200;

/// What came of an open.
struct Opened {
    store: Store,
    /// Records of the new log, the note not among them.
    records: Vec<(Seq, Truth)>,
    /// Set when there was a salvage: what it said, and the old sequence numbers
    /// of the records.
    salvage: Option<(Salvage, Vec<Record>)>,
    /// Whether the last record is a note, of this salvage or an earlier one.
    noted: bool,
}

fn open(disk: &mut dyn Disk, options: StoreOptions) -> Result<Opened, StoreError> {
    let mut salvage = None;
    let (store, records) = Store::open_or_salvage(disk, options, FRESH, |found, records| {
        salvage = Some((found.clone(), records.to_vec()));
        Ok::<_, StoreError>(Note {
            kind: NOTE,
            header: b"salvaged".to_vec(),
            body: Bytes::from_static(b"body"),
        })
    })?;
    let mut whole = Vec::new();
    let mut noted = false;
    for record in records {
        if record.kind == NOTE {
            noted = true;
            continue;
        }
        let truth = Truth {
            kind: record.kind,
            header: record.header.to_vec(),
            body: store.read(disk, record.seq)?.to_vec(),
        };
        whole.push((record.seq, truth));
    }
    Ok(Opened {
        store,
        records: whole,
        salvage,
        noted,
    })
}

fn dump(disk: &MemDisk) -> BTreeMap<FileName, Vec<u8>> {
    disk.list()
        .unwrap()
        .into_iter()
        .map(|(name, len)| {
            let bytes = disk.read(&name, 0, usize::try_from(len).unwrap()).unwrap();
            (name, bytes)
        })
        .collect()
}

/// One damage: which file, where, what.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u64, u8),
    Zero(usize, u64),
    Cut(usize, u64),
    Delete(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        5 => (any::<usize>(), any::<u64>(), 0..8u8).prop_map(|(f, at, bit)| Harm::Flip(f, at, bit)),
        3 => (any::<usize>(), any::<u64>()).prop_map(|(f, at)| Harm::Zero(f, at)),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(f, at)| Harm::Cut(f, at)),
        1 => any::<usize>().prop_map(Harm::Delete),
    ]
}

/// Damages the disk; answers with the files that changed.
fn inflict(disk: &mut MemDisk, harms: &[Harm]) -> BTreeSet<String> {
    let mut hit = BTreeSet::new();
    for harm in harms {
        let files = disk.list().unwrap();
        if files.is_empty() {
            break;
        }
        let pick = |n: usize| files[n % files.len()].clone();
        let file = match *harm {
            Harm::Flip(n, at, bit) => {
                let (file, len) = pick(n);
                // Where something is written, mostly.
                let at = if at % 4 == 0 {
                    at % len.max(1)
                } else {
                    at % len.clamp(1, 24_576)
                };
                disk.flip(&file, at, 1 << bit);
                file
            }
            Harm::Zero(n, at) => {
                let (file, len) = pick(n);
                let at = at % (len / 4096).clamp(1, 8) * 4096;
                disk.zero(&file, at, 4096);
                file
            }
            Harm::Cut(n, at) => {
                let (file, len) = pick(n);
                disk.truncate(&file, at % len.max(1));
                file
            }
            Harm::Delete(n) => {
                let (file, _) = pick(n);
                disk.delete(&file);
                file
            }
        };
        hit.insert(file.to_string());
    }
    hit
}

/// Holds an open after damage against what an open before it returned.
fn check(
    before: &[(u64, Truth)],
    files: &BTreeMap<FileName, Vec<u8>>,
    hit: &BTreeSet<String>,
    disk: &MemDisk,
    opened: &Opened,
) -> Result<(), String> {
    let truths: BTreeMap<u64, &Truth> = before.iter().map(|(seq, t)| (*seq, t)).collect();
    let Some((salvage, old)) = &opened.salvage else {
        // Nothing was found. Only a last batch whose mark is damaged as well
        // can pass for torn.
        let kept = opened.records.len();
        if before.len() != kept && !hit.contains("mark") {
            return Err(format!("{kept} of {} records, and no word", before.len()));
        }
        for ((seq, truth), (was, due)) in opened.records.iter().zip(before) {
            if seq.0 != *was || truth != due {
                return Err(format!("record {was} came back altered"));
            }
        }
        return Ok(());
    };
    if !opened.noted {
        return Err("the note is missing".to_owned());
    }
    if Some(opened.store.database_id()) == salvage.predecessor {
        return Err("the database kept its ID".to_owned());
    }
    if old.len() != opened.records.len() || old.len() as u64 != salvage.saved {
        return Err(format!(
            "{} records were saved, {} said, {} came back",
            old.len(),
            salvage.saved,
            opened.records.len()
        ));
    }
    for (was, (_, truth)) in old.iter().zip(&opened.records) {
        match truths.get(&was.seq.0) {
            None => return Err(format!("record {} is invented", was.seq)),
            Some(due) if *due != truth => return Err(format!("record {} is altered", was.seq)),
            Some(_) => {}
        }
    }
    let saved: BTreeSet<u64> = old.iter().map(|record| record.seq.0).collect();
    let named = |seq: u64| {
        salvage
            .ranges
            .iter()
            .any(|(from, to)| (from.0..=to.0).contains(&seq))
    };
    for (seq, _) in before {
        // Nobody can name what followed the last thing that is readable.
        let silent = hit.contains("mark");
        if !saved.contains(seq) && !named(*seq) && !silent {
            return Err(format!("record {seq} is neither there nor missed"));
        }
        if saved.contains(seq) && named(*seq) {
            return Err(format!("record {seq} is there and missed"));
        }
    }
    // The old files are as the damage left them, under their new names.
    let now = dump(disk);
    let mut old_names = BTreeMap::new();
    for (name, bytes) in files {
        let text = name.as_str();
        let to = match text.strip_suffix(".log") {
            Some(stem) => format!("{stem}.quarantine"),
            None if text == "mark" => salvage
                .quarantined
                .iter()
                .map(ToString::to_string)
                .find(|n| n.starts_with("mark-"))
                .unwrap_or_default(),
            None => continue,
        };
        old_names.insert(to, bytes);
    }
    for (name, bytes) in old_names {
        let found = FileName::new(&name).ok().and_then(|name| now.get(&name));
        if found != Some(bytes) {
            return Err(format!("{name} is not the old file"));
        }
    }
    let report = inspect(disk).map_err(|e| e.to_string())?;
    if !report.damage.is_empty() || report.salvage_unfinished {
        return Err(format!("what was salvaged is damaged: {report:?}"));
    }
    Ok(())
}

/// Keeps the disk before every operation.
struct Moments<'a> {
    disk: MemDisk,
    kept: &'a mut Vec<MemDisk>,
}

impl Disk for Moments<'_> {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        self.kept.push(self.disk.clone());
        self.disk.apply(op)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        self.disk.list()
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read(file, offset, len)
    }
}

fn trial(
    model: Persistence,
    steps: &[store_support::Step],
    harms: &[Harm],
    seed: u64,
    cut: bool,
) -> Result<bool, String> {
    let mut world = Recorder::new(MemDisk::new(model), Model::default());
    world.keeping = false;
    world.run(steps);
    let mut disk = world.disk;
    // What was handed to the disk is on it, or what was not synced is gone: with
    // it the last marks, so that the end of the log is proved by nothing.
    let lost_marks = seed % 4 == 3;
    disk.crash(if lost_marks {
        Crash::DropAll
    } else {
        Crash::Prefix(usize::MAX)
    });
    let before = everything(&mut disk.clone()).map_err(|e| e.to_string())?;
    let mut hit = inflict(&mut disk, harms);
    if lost_marks {
        hit.insert("mark".to_owned());
    }
    let files = dump(&disk);
    let mut kept = Vec::new();
    let mut moments = Moments {
        disk,
        kept: &mut kept,
    };
    let opened = open(&mut moments, SMALL).map_err(|e| e.to_string())?;
    let disk = moments.disk;
    check(&before, &files, &hit, &disk, &opened)?;
    let salvaged = opened.salvage.is_some();
    if cut && salvaged {
        for (n, mut disk) in kept.into_iter().enumerate() {
            let states = [
                Crash::DropAll,
                Crash::NamesOnly,
                Crash::Prefix(n % 5),
                Crash::Subset(seed ^ n as u64),
            ];
            disk.crash(states[n % 4]);
            let again = open(&mut disk, SMALL).map_err(|e| format!("cut {n}: {e}"))?;
            let same = again
                .records
                .iter()
                .map(|r| &r.1)
                .eq(opened.records.iter().map(|r| &r.1));
            if !again.noted || !same {
                return Err(format!(
                    "cut {n}: {} records instead of {}",
                    again.records.len(),
                    opened.records.len()
                ));
            }
        }
    }
    Ok(salvaged)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the damage: all that is missing is named, nothing is invented
    /// or altered, nothing old is changed, and the store opens.
    #[test]
    fn salvage_keeps_what_is_readable_and_names_what_is_not(
        script in script(40),
        harms in prop::collection::vec(harm(), 1..4),
        seed: u64,
        posix: bool,
    ) {
        let model = if posix { Persistence::Posix } else { Persistence::Ext4Ordered };
        if let Err(why) = trial(model, &script, &harms, seed, false) {
            panic!("{why}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A power cut at any operation of a salvage leaves the damaged log or the
    /// new one, and the next open comes to the same records.
    #[test]
    fn a_cut_in_a_salvage_changes_nothing_of_what_it_saves(
        script in script(25),
        harms in prop::collection::vec(harm(), 1..3),
        seed: u64,
        posix: bool,
    ) {
        let model = if posix { Persistence::Posix } else { Persistence::Ext4Ordered };
        if let Err(why) = trial(model, &script, &harms, seed, true) {
            panic!("{why}");
        }
    }
}
