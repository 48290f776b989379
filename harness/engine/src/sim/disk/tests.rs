//! Single operations, and what a loss of power keeps of them.

use mailproof_node::disk::{MemDisk, Persistence as Model};

use super::*;

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn write(file: &str, offset: u64, fill: u8, len: usize) -> DiskOp {
    DiskOp::Write {
        file: name(file),
        offset,
        data: Bytes::from(vec![fill; len]),
    }
}

fn create(file: &str) -> DiskOp {
    DiskOp::Create {
        file: name(file),
        len: 4096,
    }
}

fn sync(file: &str) -> DiskOp {
    DiskOp::Sync { file: name(file) }
}

/// Random operations, the same on this disk and on the node's own model:
/// as long as nothing crashes both must read the same.
#[test]
fn without_a_cut_it_is_a_plain_directory() {
    for seed in 0..40 {
        let mut rng = Rng::keyed(seed, "disk", 0);
        let mut ours = SimDisk::default();
        let mut theirs = MemDisk::new(Model::Ext4Ordered);
        let files = ["a", "b", "c"];
        for _ in 0..200 {
            let file = files[at(rng.below(3))];
            let op = match rng.below(8) {
                0 => create(file),
                1 => DiskOp::Remove { file: name(file) },
                2 => DiskOp::Rename {
                    from: name(file),
                    to: name(files[at(rng.below(3))]),
                },
                3 => sync(file),
                4 => DiskOp::SyncDir,
                _ => write(
                    file,
                    rng.below(4000),
                    u8::try_from(rng.below(256)).unwrap(),
                    at(rng.below(300)),
                ),
            };
            assert_eq!(
                ours.apply(&op).map_err(|e| e.kind()),
                theirs.apply(&op).map_err(|e| e.kind()),
                "{op}"
            );
            assert_eq!(ours.list().unwrap(), theirs.list().unwrap());
            for (file, len) in ours.list().unwrap() {
                assert_eq!(
                    ours.read(&file, 0, at(len)).unwrap(),
                    theirs.read(&file, 0, at(len)).unwrap()
                );
            }
        }
    }
}

#[test]
fn what_was_synced_stays_and_the_rest_is_counted() {
    let mut seen = BTreeSet::new();
    let mut counts = BTreeSet::new();
    for seed in 0..400 {
        let mut disk = SimDisk::default();
        for op in [
            create("a"),
            write("a", 0, 1, 1024),
            sync("a"),
            write("a", 0, 2, 1024),
            create("b"),
        ] {
            disk.apply(&op).unwrap();
        }
        assert_eq!(disk.unsynced(), 3);
        let dropped = disk.cut(&mut Rng::keyed(seed, "cut", 0));
        let a = disk.read(&name("a"), 0, 4096).unwrap();
        assert!(a[..1024].iter().all(|b| matches!(b, 1 | 2)));
        assert!(a[1024..].iter().all(|b| *b == 0));
        let b = disk
            .list()
            .unwrap()
            .into_iter()
            .find(|(n, _)| *n == name("b"));
        let whole = a[..1024].iter().all(|b| *b == 2);
        let state = (a[0], a[1023], b.as_ref().map(|(_, len)| *len));
        seen.insert(state);
        if dropped == 0 {
            assert!(whole && state.2 == Some(4096), "{state:?}");
        }
        if !whole {
            assert!(dropped > 0);
        }
        counts.insert(dropped);
        assert_eq!(disk.unsynced(), 0);
    }
    // Later sectors without earlier ones, names with and without data.
    for state in [
        (1, 1, None),
        (2, 2, Some(4096)),
        (1, 2, None),
        (1, 1, Some(0)),
    ] {
        assert!(seen.contains(&state), "{state:?} in {seen:?}");
    }
    assert_eq!(counts, (0..=3).collect());
}

#[test]
fn names_stay_in_order() {
    for seed in 0..200 {
        let mut disk = SimDisk::default();
        disk.apply(&create("a")).unwrap();
        disk.apply(&create("b")).unwrap();
        disk.cut(&mut Rng::keyed(seed, "cut", 0));
        let names: Vec<_> = disk.list().unwrap().into_iter().map(|f| f.0).collect();
        assert_ne!(names, [name("b")]);
    }
}

#[test]
fn a_file_that_nobody_syncs_does_not_grow_the_list() {
    let mut disk = SimDisk::default();
    disk.apply(&create("mark")).unwrap();
    for i in 0..1000 {
        disk.apply(&write("mark", 0, u8::try_from(i % 256).unwrap(), 64))
            .unwrap();
    }
    assert!(disk.unsynced() <= KEPT as u64 + 2);
    assert_eq!(disk.read(&name("mark"), 0, 1).unwrap(), [231]);
}

/// What can be told apart: names, lengths in sectors, and how each sector
/// begins.
fn state(disk: &dyn Disk) -> Vec<(FileName, u64, Vec<u8>)> {
    let files = disk.list().unwrap().into_iter();
    files
        .map(|(file, len)| {
            let data = disk.read(&file, 0, at(len)).unwrap();
            let sectors = data.iter().step_by(at(SECTOR)).copied().collect();
            (file, len.div_ceil(SECTOR), sectors)
        })
        .collect()
}

/// A few operations on two files of two sectors.
fn some(rng: &mut Rng) -> Vec<DiskOp> {
    let files = ["a", "b"];
    (0..6)
        .map(|n| {
            let file = files[at(rng.below(2))];
            match rng.below(9) {
                0 => DiskOp::Remove { file: name(file) },
                1 | 2 => DiskOp::Rename {
                    from: name(file),
                    to: name(files[at(rng.below(2))]),
                },
                3 | 4 => sync(file),
                5 => DiskOp::SyncDir,
                6 => DiskOp::Create {
                    file: name(file),
                    len: 2 * SECTOR,
                },
                _ => write(file, SECTOR * rng.below(2), n + 1, at(SECTOR)),
            }
        })
        .collect()
}

const MODELS: [(Persistence, Model); 2] = [
    (Persistence::Ext4Ordered, Model::Ext4Ordered),
    (Persistence::Posix, Model::Posix),
];

/// The states that a power cut can leave are the same by this model of a
/// disk and by the node's own, which was written apart from it.
#[test]
fn both_models_of_a_disk_allow_the_same_states_after_a_cut() {
    use mailproof_node::disk::Crash;

    let mut most = 0;
    let mut differ = 0;
    for seed in 0..60 {
        let mut rng = Rng::keyed(seed, "states", 0);
        let mut ops = vec![create_small("a")];
        ops.extend(some(&mut rng));
        let mut of_model = Vec::new();
        for (ours_model, theirs_model) in MODELS {
            let mut ours = SimDisk::new(ours_model);
            let mut theirs = MemDisk::new(theirs_model);
            for op in &ops {
                assert_eq!(ours.apply(op).is_ok(), theirs.apply(op).is_ok(), "{op}");
            }
            assert_eq!(ours.unsynced(), theirs.unsynced() as u64);
            // Few enough for every state to be drawn.
            if ours.unsynced() > 5 {
                continue;
            }
            let mut allowed = BTreeSet::new();
            for n in 0..12_000 {
                let mut disk = ours.clone();
                disk.cut(&mut Rng::keyed(n, "cut", 0));
                allowed.insert(state(&disk));
            }
            let mut known = BTreeSet::new();
            let prefixes = (0..theirs.unsynced()).map(Crash::Prefix);
            let drawn = (0..12_000).map(Crash::Subset);
            for crash in prefixes
                .chain(drawn)
                .chain([Crash::DropAll, Crash::NamesOnly])
            {
                let mut disk = theirs.clone();
                disk.crash(crash);
                known.insert(state(&disk));
            }
            most = most.max(known.len());
            assert_eq!(allowed, known, "{ours_model:?} {ops:?}");
            of_model.push(known);
        }
        differ += usize::from(of_model.len() == 2 && of_model[0] != of_model[1]);
    }
    // The test would be empty if nothing could be lost.
    assert!(most > 8, "{most}");
    assert!(differ > 3, "{differ}");
}

fn create_small(file: &str) -> DiskOp {
    DiskOp::Create {
        file: name(file),
        len: 2 * SECTOR,
    }
}

fn trouble(act: DiskAct, seed: u64) -> Trouble {
    Trouble {
        fault: 0,
        once: act.hits_one(),
        act,
        slow: 0,
        rng: Rng::keyed(seed, "trouble", 0),
    }
}

/// A failed sync leaves the same states by both models: what can be read
/// until memory is needed, what can be read then, what the next sync and a
/// power cut leave.
#[test]
fn both_models_of_a_disk_fail_a_sync_alike() {
    let before = [
        create_small("a"),
        write("a", 0, 1, 1024),
        sync("a"),
        DiskOp::SyncDir,
        write("a", 0, 2, 512),
        write("a", 512, 3, 512),
    ];
    let mut sets: Vec<[BTreeSet<_>; 3]> = Vec::new();
    let mut ours = std::array::from_fn(|_| BTreeSet::new());
    let mut theirs = std::array::from_fn(|_| BTreeSet::new());
    for seed in 0..400 {
        let mut disk = SimDisk::default();
        for op in &before {
            disk.apply(op).unwrap();
        }
        disk.troubles.push(trouble(DiskAct::SyncError, seed));
        let error = disk.apply(&sync("a")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        assert!(disk.harms[0].amount > 0);
        assert!(disk.troubles.is_empty());
        ours[0].insert(state(&disk));
        // It succeeds now, and that is worth nothing.
        disk.apply(&sync("a")).unwrap();
        let mut evicted = disk.clone();
        evicted.evict();
        ours[1].insert(state(&evicted));
        assert_eq!(disk.cut(&mut Rng::keyed(seed, "cut", 0)), 0);
        ours[2].insert(state(&disk));
    }
    for seed in 0..400 {
        let mut disk = MemDisk::new(Model::Ext4Ordered);
        for op in &before {
            disk.apply(op).unwrap();
        }
        assert!(disk.fail_sync(&name("a"), seed));
        theirs[0].insert(state(&disk));
        disk.apply(&sync("a")).unwrap();
        let mut evicted = disk.clone();
        evicted.evict();
        theirs[1].insert(state(&evicted));
        disk.crash(mailproof_node::disk::Crash::DropAll);
        theirs[2].insert(state(&disk));
    }
    // A sync that fails although all was written is no such fault here.
    let whole = vec![(name("a"), 2, vec![2, 3])];
    assert!(theirs[1].remove(&whole) && theirs[2].remove(&whole));
    sets.push(ours);
    sets.push(theirs);
    assert_eq!(sets[0], sets[1]);
    assert_eq!(sets[0][0], BTreeSet::from([whole]));
    assert_eq!(sets[0][2].len(), 3);
}

#[test]
fn what_is_written_after_a_failed_sync_is_written() {
    let mut disk = SimDisk::default();
    for op in [create_small("a"), write("a", 0, 1, 1024)] {
        disk.apply(&op).unwrap();
    }
    disk.troubles.push(trouble(DiskAct::SyncError, 1));
    disk.apply(&sync("a")).unwrap_err();
    disk.apply(&write("a", 100, 2, 300)).unwrap();
    disk.apply(&sync("a")).unwrap();
    let read = |disk: &SimDisk| disk.read(&name("a"), 0, 1024).unwrap();
    assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
    assert!(read(&disk)[400..].iter().all(|b| *b == 1));
    disk.evict();
    assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
    disk.cut(&mut Rng::keyed(1, "cut", 0));
    assert!(read(&disk)[100..400].iter().all(|b| *b == 2));
}

#[test]
fn operations_fail_as_their_fault_says() {
    for (act, op, code) in [
        (DiskAct::Error, sync("a"), 5),
        (DiskAct::Error, write("a", 0, 9, 10), 5),
        (DiskAct::Full, create_small("b"), 28),
        (DiskAct::ReadOnly, DiskOp::SyncDir, 30),
        (DiskAct::ReadOnly, write("a", 0, 9, 10), 30),
    ] {
        let mut disk = SimDisk::default();
        disk.apply(&create_small("a")).unwrap();
        let (left, before) = (disk.unsynced(), state(&disk));
        disk.troubles.push(trouble(act.clone(), 1));
        let error = disk.apply(&op).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code), "{op}");
        // It was not carried out.
        assert_eq!((disk.unsynced(), state(&disk)), (left, before));
        assert_eq!(disk.apply(&op).is_ok(), act.hits_one(), "{op}");
    }
    let mut disk = SimDisk::default();
    disk.apply(&create_small("a")).unwrap();
    disk.troubles.push(trouble(DiskAct::Full, 1));
    disk.apply(&write("a", 0, 9, 10)).unwrap();
}

#[test]
fn a_torn_write_is_there_in_part() {
    let mut kept = BTreeSet::new();
    for seed in 0..200 {
        let mut disk = SimDisk::default();
        for op in [create("a"), sync("a")] {
            disk.apply(&op).unwrap();
        }
        disk.troubles.push(trouble(DiskAct::Torn, seed));
        disk.apply(&write("a", 0, 7, 2048)).unwrap_err();
        let amount = disk.harms[0].amount;
        disk.cut(&mut Rng::keyed(seed, "cut", 0));
        let data = disk.read(&name("a"), 0, 4096).unwrap();
        let there = data.iter().filter(|b| **b == 7).count() as u64;
        assert!(there == amount && (1..2048).contains(&there), "{there}");
        kept.insert((data[0] == 7, there.is_multiple_of(SECTOR)));
    }
    assert_eq!(kept.len(), 4);
}

#[test]
fn damage_changes_what_it_says() {
    for how in [
        Damage::FlipBit,
        Damage::ZeroBlock,
        Damage::Truncate,
        Damage::Delete,
    ] {
        for seed in 0..100 {
            let mut disk = SimDisk::default();
            for op in [
                create("a"),
                write("a", 700, 7, 600),
                create("b"),
                write("b", 0, 8, 4096),
                sync("a"),
            ] {
                disk.apply(&op).unwrap();
            }
            let whole = |disk: &SimDisk| {
                let mut all = BTreeMap::new();
                for (file, len) in disk.list().unwrap() {
                    all.insert(file.clone(), disk.read(&file, 0, at(len)).unwrap());
                }
                all
            };
            let before = whole(&disk);
            let region = disk
                .damage(how, &mut Rng::keyed(seed, "damage", 0))
                .unwrap();
            let after = whole(&disk);
            let old = &before[&region.file];
            let empty = Vec::new();
            let new = after.get(&region.file).unwrap_or(&empty);
            let others = old
                .iter()
                .enumerate()
                .filter(|(n, byte)| new.get(*n) != Some(byte))
                .map(|(n, _)| n as u64)
                .collect::<Vec<_>>();
            assert_eq!(others.len() as u64, region.bytes, "{how:?}");
            assert!(others.iter().all(|n| (region.from..region.to).contains(n)));
            assert!(region.bytes > 0);
            assert_eq!(after.contains_key(&region.file), how != Damage::Delete);
            // No power cut brings it back.
            disk.cut(&mut Rng::keyed(seed, "cut", 0));
            assert_eq!(whole(&disk), after);
        }
    }
    let mut empty = SimDisk::default();
    assert!(
        empty
            .damage(Damage::Delete, &mut Rng::keyed(1, "x", 0))
            .is_none()
    );
}
