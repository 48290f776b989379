//! Power cuts at every disk operation, under both persistence models, in states
//! drawn from the legal set, recovery itself included.

#![allow(clippy::unwrap_used)] // A test helper fails by panicking.

mod store_support;

use bytes::Bytes;
use mailproof_node::disk::{Crash, Disk, DiskOp, MemDisk, Persistence};
use mailproof_node::store::{Seq, Store, TailReport, inspect};
use proptest::prelude::*;
use store_support::{FRESH, Model, Recorder, SMALL, Step, Truth, script};

const MODELS: [Persistence; 2] = [Persistence::Ext4Ordered, Persistence::Posix];

/// The states to try at a moment with `unsynced` operations at stake. `None`:
/// only the process dies, the power stays for now.
fn states(unsynced: usize, seed: u64) -> Vec<Option<Crash>> {
    let mut states = vec![None];
    if unsynced > 0 {
        states.extend([Crash::DropAll, Crash::NamesOnly].map(Some));
        states.extend((1..=unsynced).map(|n| Some(Crash::Prefix(n))));
        let drawn = |n| Some(Crash::Subset(seed.wrapping_mul(31).wrapping_add(n)));
        states.extend((0..4).map(drawn));
    }
    states
}

/// Opens after a crash, checks, appends in the place of what was lost, and
/// checks again after another cut.
fn live_on(disk: MemDisk, model: Model) {
    let mut world = Recorder::new(disk, model);
    world.keeping = false;
    world.run(&[
        Step::Append(9, 5, 700, 1),
        Step::Batch,
        Step::Kill(0),
        Step::Append(9, 0, 5000, 2),
        Step::Append(9, 5, 100, 1),
        Step::Batch,
    ]);
    let Recorder {
        mut disk, model, ..
    } = world;
    disk.crash(Crash::DropAll);
    Recorder::new(disk, model).open();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was reported durable is there after any cut at any point, the
    /// batch in flight is there whole or not at all, nothing else is, and the
    /// store never takes the traces of a cut for damage.
    #[test]
    fn every_cut_leaves_what_was_promised(script in script(40), seed: u64) {
        for model in MODELS {
            let mut world = Recorder::new(MemDisk::new(model), Model::default());
            world.run(&script);
            for (n, (disk, known)) in world.moments.into_iter().enumerate() {
                for crash in states(disk.unsynced(), seed ^ n as u64) {
                    let mut disk = disk.clone();
                    if let Some(crash) = crash {
                        disk.crash(crash);
                    }
                    let mut again = Recorder::new(disk, known.clone());
                    again.open();
                    live_on(again.disk, again.model);
                    // The power goes again, at each operation of the recovery.
                    for (m, (mut disk, known)) in again.moments.into_iter().enumerate() {
                        disk.crash(Crash::Subset(seed ^ (n * 64 + m) as u64));
                        live_on(disk, known);
                    }
                }
            }
        }
    }
}

fn record(kind: u8, header: &[u8], body: &[u8]) -> Truth {
    Truth {
        kind,
        header: header.to_vec(),
        body: body.to_vec(),
    }
}

fn store_with(disk: &mut MemDisk, bodies: &[&[u8]]) -> Store {
    let (mut store, _) = Store::open(disk, SMALL, FRESH).unwrap();
    for body in bodies {
        store
            .append(1, b"", &[Bytes::copy_from_slice(body)])
            .unwrap();
        store.flush(disk).unwrap();
    }
    store
}

/// The process dies between write and sync; the next one sees the batch and
/// acts on it; then the power goes.
#[test]
fn a_batch_that_recovery_returns_is_durable_from_then_on() {
    for model in MODELS {
        let mut disk = MemDisk::new(model);
        let mut store = store_with(&mut disk, &[b"one"]);
        store.append(1, b"", &[Bytes::from_static(b"two")]).unwrap();
        let batch = store.next_batch().unwrap();
        disk.apply(&batch.ops[0]).unwrap();
        assert!(matches!(batch.ops[0], DiskOp::Write { .. }));

        let (_, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        assert_eq!(records.len(), 2);
        disk.crash(Crash::DropAll);
        let (_, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        assert_eq!(records.len(), 2);
    }
}

/// A sync fails, the kernel keeps the pages and calls them clean: reading them
/// proves nothing, and syncing again writes nothing.
#[test]
fn pages_that_a_failed_sync_left_in_memory_are_written_again() {
    for model in MODELS {
        let mut disk = MemDisk::new(model);
        let mut store = store_with(&mut disk, &[b"one"]);
        store.append(1, b"", &[Bytes::from_static(b"two")]).unwrap();
        let batch = store.next_batch().unwrap();
        disk.apply(&batch.ops[0]).unwrap();
        disk.forget_unsynced();
        let failed = std::io::Error::other("sync failed");
        assert!(store.batch_done(batch.id, Err(failed)).is_err());

        let (store, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        assert_eq!(records.len(), 2);
        disk.crash(Crash::DropAll);
        let (_, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(store.read(&disk, Seq(2)).unwrap(), "two");
    }
}

/// Later pages of a torn batch are on the disk, its first is not. The store
/// drops them, says so, and clears them before anything else is written.
#[test]
fn remnants_of_a_torn_batch_are_cleared() {
    let mut disk = MemDisk::new(Persistence::Posix);
    let mut store = store_with(&mut disk, &[b"one"]);
    let long = Bytes::from(vec![b'x'; 20_000]);
    store.append(1, b"", &[long]).unwrap();
    let batch = store.next_batch().unwrap();
    let DiskOp::Write { file, offset, data } = &batch.ops[0] else {
        panic!("{:?}", batch.ops[0]);
    };
    let later = DiskOp::Write {
        file: file.clone(),
        offset: offset + 8192,
        data: data.slice(8192..),
    };
    for op in [later, DiskOp::Sync { file: file.clone() }] {
        disk.apply(&op).unwrap();
    }
    let report = inspect(&disk).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert!(matches!(report.tail, TailReport::Torn { offset: at, .. } if at == *offset));

    let (_, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
    assert_eq!(records.len(), 1);
    disk.crash(Crash::DropAll);
    assert_eq!(inspect(&disk).unwrap().tail, TailReport::Clean);
    let left = disk.read(file, *offset, 65536 - *offset as usize).unwrap();
    assert!(left.iter().all(|b| *b == 0));
}

/// A mail may hold a copy of the store's own segment, each block at a block
/// boundary. When the batch tears, these are no later batches.
#[test]
fn a_mailed_copy_of_the_log_is_no_proof_of_later_batches() {
    for seed in 0..300 {
        let mut disk = MemDisk::new(Persistence::Posix);
        let mut store = store_with(&mut disk, &[b"one", b"two", b"three"]);
        let file = disk.list().unwrap().pop().unwrap().0;
        let copy = disk.read(&file, 4096, 3 * 4096).unwrap();
        // Batch header and record take 128 bytes before the caller's header.
        let header = vec![b'h'; 4096 - 128];
        store
            .append(2, &header, &[Bytes::from(copy.clone())])
            .unwrap();
        let batch = store.next_batch().unwrap();
        disk.apply(&batch.ops[0]).unwrap();
        assert_eq!(disk.read(&file, 5 * 4096, 8).unwrap(), b"MPBATCH1");
        disk.crash(Crash::Subset(seed));
        let (store, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        let model = Model {
            appended: vec![
                record(1, b"", b"one"),
                record(1, b"", b"two"),
                record(1, b"", b"three"),
                record(2, &header, &copy),
            ],
            durable: 3,
            in_flight: Some(4),
            ..Model::default()
        };
        model.check(&disk, &store, &records);
    }
}
