//! The store as its caller sees it, and the same on a real file system.

#![allow(clippy::unwrap_used)] // A test helper fails by panicking.

mod store_support;

use std::io;

use bytes::Bytes;
use mailproof_node::disk::{Crash, Disk, DiskOp, FileName, FsDisk, MemDisk, Persistence};
use mailproof_node::store::{
    BatchId, MAX_BODY, MAX_HEADER, Record, Seq, Store, StoreError, StoreOptions,
};
use proptest::prelude::*;
use store_support::{FRESH, Model, SMALL, Step, everything, script};

fn mem() -> MemDisk {
    MemDisk::new(Persistence::Posix)
}

fn open(disk: &mut dyn Disk) -> (Store, Vec<Record>) {
    Store::open(disk, SMALL, FRESH).unwrap()
}

fn body(len: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![7; len])]
}

fn on_disk(disk: &dyn Disk) -> u64 {
    disk.list().unwrap().iter().map(|(_, len)| len).sum()
}

fn dump(disk: &dyn Disk) -> Vec<(FileName, Vec<u8>)> {
    let files = disk.list().unwrap().into_iter();
    files
        .map(|(file, len)| {
            let content = disk.read(&file, 0, len as usize).unwrap();
            (file, content)
        })
        .collect()
}

#[test]
fn all_that_is_pending_shares_one_sync() {
    let mut disk = mem();
    let (mut store, _) = open(&mut disk);
    for n in 1..=100 {
        assert_eq!(store.append(1, b"h", &body(10)).unwrap(), Seq(n));
    }
    let batch = store.next_batch().unwrap();
    let syncs = batch
        .ops
        .iter()
        .filter(|op| matches!(op, DiskOp::Sync { .. }));
    assert_eq!((syncs.count(), batch.up_to), (1, Seq(100)));
    // While it is in flight others queue up for the next one.
    store.append(1, b"", &[]).unwrap();
    assert!(store.next_batch().is_none());
    assert_eq!(store.durable(), Seq(0));
    batch.execute(&mut disk).unwrap();
    assert_eq!(store.batch_done(batch.id, Ok(())).unwrap(), Seq(100));
    assert_eq!(store.next_batch().unwrap().up_to, Seq(101));
}

#[test]
fn no_write_of_a_batch_touches_a_block_of_another() {
    let mut disk = mem();
    let (mut store, _) = open(&mut disk);
    let mut end = 4096;
    for len in [1, 4000, 5000, 100] {
        store.append(1, b"", &body(len)).unwrap();
        let batch = store.next_batch().unwrap();
        let DiskOp::Write { offset, data, .. } = &batch.ops[0] else {
            panic!("{:?}", batch.ops[0]);
        };
        assert_eq!(offset % 4096, 0);
        assert!(*offset >= end);
        end = offset + data.len() as u64;
        batch.execute(&mut disk).unwrap();
        store.batch_done(batch.id, Ok(())).unwrap();
    }
}

#[test]
fn the_identity_is_minted_once() {
    let mut disk = mem();
    let (store, _) = open(&mut disk);
    let id = store.database_id();
    let (store, _) = Store::open(&mut disk, SMALL, FRESH + 1).unwrap();
    assert_eq!(store.database_id(), id);
    let (other, _) = Store::open(&mut mem(), SMALL, FRESH + 1).unwrap();
    assert_ne!(other.database_id(), id);
}

#[test]
fn a_record_larger_than_a_segment_gets_a_longer_one() {
    let mut disk = mem();
    let (mut store, _) = open(&mut disk);
    store.append(1, b"small", &body(10)).unwrap();
    let large = store.append(2, b"large", &body(1_000_000)).unwrap();
    store.append(3, b"small", &body(10)).unwrap();
    store.flush(&mut disk).unwrap();
    let (store, records) = open(&mut disk);
    assert_eq!(records.len(), 3);
    assert_eq!(store.read(&disk, large).unwrap().len(), 1_000_000);
    assert_eq!(store.bytes_on_disk(), on_disk(&disk));
}

#[test]
fn a_large_backlog_is_cut_into_batches() {
    let mut disk = mem();
    let options = StoreOptions::new(64 << 20);
    let (mut store, _) = Store::open(&mut disk, options, FRESH).unwrap();
    for _ in 0..10 {
        store.append(1, b"", &body(1 << 20)).unwrap();
    }
    let batch = store.next_batch().unwrap();
    assert_eq!(batch.up_to, Seq(3));
    batch.execute(&mut disk).unwrap();
    store.batch_done(batch.id, Ok(())).unwrap();
    assert_eq!(store.flush(&mut disk).unwrap(), Seq(10));
}

#[test]
fn what_cannot_be_stored_or_read_is_said() {
    let mut disk = mem();
    let (mut store, _) = open(&mut disk);
    let header = vec![0; MAX_HEADER + 1];
    let error = store.append(1, &header, &[]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "header", .. }));
    // Many times the same bytes: no memory is taken for them.
    let piece = Bytes::from(vec![0; 1 << 20]);
    let parts = vec![piece; MAX_BODY / (1 << 20) + 1];
    let error = store.append(1, b"", &parts).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "body", .. }));

    let seq = store.append(1, b"", &body(1)).unwrap();
    assert_eq!(seq, Seq(1), "a refused record takes no number");
    assert!(matches!(
        store.read(&disk, seq),
        Err(StoreError::NotDurable(Seq(1)))
    ));
    assert!(matches!(
        store.read(&disk, Seq(2)),
        Err(StoreError::NotFound(Seq(2)))
    ));
    let wrong = store.batch_done(BatchId(9), Ok(()));
    assert!(matches!(wrong, Err(StoreError::WrongBatch(BatchId(9)))));
    let batch = store.next_batch().unwrap();
    let wrong = store.batch_done(BatchId(batch.id.0 + 1), Ok(()));
    assert!(matches!(wrong, Err(StoreError::WrongBatch(_))));
    batch.execute(&mut disk).unwrap();
    assert_eq!(store.batch_done(batch.id, Ok(())).unwrap(), seq);
    let twice = store.batch_done(batch.id, Ok(()));
    assert!(matches!(twice, Err(StoreError::WrongBatch(_))));
    assert_eq!(store.durable(), seq);
}

/// Whichever operation fails, the store goes out of service for good, and the
/// next open finds all that was durable.
#[test]
fn a_failed_operation_poisons_for_good() {
    // The second batch rolls over, and removes the first segment.
    let setup = || {
        let mut disk = mem();
        let (mut store, _) = open(&mut disk);
        let old = store.append(1, b"old", &body(50_000)).unwrap();
        store.flush(&mut disk).unwrap();
        store.append(1, b"new", &body(50_000)).unwrap();
        store.release(old);
        let batch = store.next_batch().unwrap();
        (disk, store, batch)
    };
    let count = setup().2.ops.len();
    assert_eq!(count, 9);
    for failing in 0..count {
        let (mut disk, mut store, batch) = setup();
        for op in &batch.ops[..failing] {
            disk.apply(op).unwrap();
        }
        let failed = Err(io::Error::other(format!("{}: EIO", batch.ops[failing])));
        let error = store.batch_done(batch.id, failed).unwrap_err();
        assert!(matches!(error, StoreError::Poisoned(_)), "{error}");
        assert!(error.to_string().contains("EIO"), "{error}");

        assert!(store.poisoned().is_some());
        assert!(store.next_batch().is_none());
        let poisoned = |result: Result<Seq, StoreError>| {
            assert!(matches!(result, Err(StoreError::Poisoned(_))));
        };
        poisoned(store.append(1, b"", &[]));
        poisoned(store.batch_done(batch.id, Ok(())));
        poisoned(store.flush(&mut disk));
        poisoned(store.read(&disk, Seq(1)).map(|_| Seq(0)));
        assert_eq!(store.durable(), Seq(1));

        disk.crash(Crash::DropAll);
        let (store, records) = open(&mut disk);
        let headers: Vec<_> = records.iter().map(|r| r.header.as_ref()).collect();
        match store.durable() {
            Seq(1) => assert_eq!(headers, [b"old"]),
            Seq(2) => assert_eq!(headers, [b"new"]),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn dead_segments_go_oldest_first_and_without_a_further_append() {
    let mut disk = mem();
    let (mut store, _) = open(&mut disk);
    let seqs: Vec<Seq> = (0..4)
        .map(|_| store.append(1, b"", &body(50_000)).unwrap())
        .collect();
    store.flush(&mut disk).unwrap();
    let full = store.bytes_on_disk();
    assert_eq!(full, on_disk(&disk));

    // The second oldest may not go before the oldest.
    store.release(seqs[1]);
    assert!(store.next_batch().is_none());
    assert_eq!(store.oldest_segment_live().records, 1);
    assert_eq!(store.oldest_live_records().collect::<Vec<_>>(), [seqs[0]]);

    store.release(seqs[0]);
    store.release(seqs[0]);
    assert_eq!(store.oldest_segment_live().records, 0);
    assert_eq!(store.flush(&mut disk).unwrap(), seqs[3]);
    assert_eq!(store.bytes_on_disk(), full - 2 * SMALL.segment_bytes);
    assert_eq!(store.bytes_on_disk(), on_disk(&disk));
    assert!(matches!(
        store.read(&disk, seqs[1]),
        Err(StoreError::NotFound(_))
    ));

    // The active segment stays, however dead.
    store.release(seqs[2]);
    store.release(seqs[3]);
    store.flush(&mut disk).unwrap();
    let rest = store.oldest_segment_live();
    assert!(rest.active && rest.records == 0 && rest.bytes == 0);
    let (store, records) = open(&mut disk);
    assert_eq!(store.bytes_on_disk(), on_disk(&disk));
    assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [seqs[3]]);
}

/// Runs a script to its end, whatever the disk.
fn run(disk: &mut dyn Disk, script: &[Step]) -> Model {
    let mut model = Model::default();
    let (mut store, _) = open(disk);
    for step in script {
        match step {
            Step::Batch => {
                if let Some(batch) = store.next_batch() {
                    batch.execute(disk).unwrap();
                    model.durable = store.batch_done(batch.id, Ok(())).unwrap().0;
                }
                assert_eq!(store.bytes_on_disk(), on_disk(disk));
            }
            Step::Reopen => {
                let (again, records) = open(disk);
                store = again;
                model.check(disk, &store, &records);
                model.resume(&mut store, &records);
                assert_eq!(store.bytes_on_disk(), on_disk(disk));
            }
            _ => assert!(model.step(&mut store, step)),
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A file system holds, byte for byte, what the disk in memory holds; and
    /// the same calls make the same bytes.
    #[test]
    fn both_disks_hold_the_same(script in script(30)) {
        let dir = tempfile::tempdir().unwrap();
        let mut real = FsDisk::open(dir.path()).unwrap();
        let mut memory = mem();
        run(&mut real, &script);
        run(&mut memory, &script);
        prop_assert_eq!(dump(&real), dump(&memory));
        drop(real);
        let mut real = FsDisk::open(dir.path()).unwrap();
        prop_assert_eq!(everything(&mut real).unwrap(), everything(&mut memory).unwrap());
    }
}

#[test]
fn both_disks_refuse_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let name = |text| FileName::new(text).unwrap();
    let (a, b) = (name("a"), name("b"));
    let write = |file: &FileName, offset| DiskOp::Write {
        file: file.clone(),
        offset,
        data: Bytes::from_static(b"1234"),
    };
    let create = |file: &FileName| DiskOp::Create {
        file: file.clone(),
        len: 100,
    };
    let sync = |file: &FileName| DiskOp::Sync { file: file.clone() };
    let rename = |from: &FileName, to: &FileName| DiskOp::Rename {
        from: from.clone(),
        to: to.clone(),
    };
    let remove = |file: &FileName| DiskOp::Remove { file: file.clone() };
    let ops = [
        (write(&a, 0), Some(io::ErrorKind::NotFound)),
        (sync(&a), Some(io::ErrorKind::NotFound)),
        (remove(&a), Some(io::ErrorKind::NotFound)),
        (rename(&a, &b), Some(io::ErrorKind::NotFound)),
        (create(&a), None),
        (create(&a), Some(io::ErrorKind::AlreadyExists)),
        (write(&a, 96), None),
        (write(&a, 97), Some(io::ErrorKind::InvalidInput)),
        (write(&a, u64::MAX), Some(io::ErrorKind::InvalidInput)),
        (sync(&a), None),
        (create(&b), None),
        (write(&b, 0), None),
        (rename(&a, &b), None),
        (write(&a, 0), Some(io::ErrorKind::NotFound)),
        (write(&b, 50), None),
        (DiskOp::SyncDir, None),
    ];
    let mut real = FsDisk::open(dir.path()).unwrap();
    let mut memory = mem();
    let disks: [&mut dyn Disk; 2] = [&mut real, &mut memory];
    for disk in disks {
        for (op, expected) in &ops {
            let kind = disk.apply(op).err().map(|error| error.kind());
            assert_eq!(kind, *expected, "{op}");
        }
        assert_eq!(disk.list().unwrap(), [(b.clone(), 100)]);
        assert_eq!(disk.read(&b, 50, 4).unwrap(), b"1234");
        for (offset, len) in [(97, 4), (100, 1), (u64::MAX, 1), (0, usize::MAX)] {
            let error = disk.read(&b, offset, len).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        let error = disk.read(&a, 0, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    assert_eq!(dump(&real), dump(&memory));
}

#[test]
fn a_directory_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    let first = FsDisk::open(&path).unwrap();
    let error = FsDisk::open(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains("another process"), "{error}");
    drop(first);
    assert_eq!(FsDisk::open(&path).unwrap().list().unwrap(), []);
}

/// A disk on which no file can be created for a while.
struct Full {
    disk: MemDisk,
    full: bool,
}

impl Disk for Full {
    fn apply(&mut self, op: &DiskOp) -> io::Result<()> {
        if self.full && matches!(op, DiskOp::Create { .. }) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.apply(op)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        self.disk.list()
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read(file, offset, len)
    }
}

/// Hands out batches and executes them until there are none.
fn work(store: &mut Store, disk: &mut Full) {
    while let Some(batch) = store.next_batch() {
        let result = batch.execute(disk);
        store.batch_done(batch.id, result).unwrap();
    }
}

#[test]
fn a_full_disk_harms_nothing_leaves_half_a_segment_and_is_tried_again() {
    let mut disk = Full {
        disk: mem(),
        full: false,
    };
    let (mut store, _) = open(&mut disk);
    disk.full = true;
    store.append(1, b"", &body(20_000)).unwrap();
    work(&mut store, &mut disk);
    assert!(!store.full());
    store.append(1, b"", &body(10_000)).unwrap();
    work(&mut store, &mut disk);
    assert!(store.full(), "said while nearly half a segment is left");
    assert_eq!(store.durable(), Seq(2), "and what there was is durable");
    // Small records go on into the rest.
    for _ in 0..6 {
        store.append(2, b"done", &[]).unwrap();
        work(&mut store, &mut disk);
    }
    assert_eq!(store.durable(), Seq(8));
    // What does not fit waits; nothing of it is durable, nothing is poisoned.
    store.append(1, b"", &body(40_000)).unwrap();
    store.append(2, b"done", &[]).unwrap();
    work(&mut store, &mut disk);
    assert_eq!(store.durable(), Seq(8));
    assert_eq!(store.poisoned(), None);
    store.look_for_space();
    work(&mut store, &mut disk);
    assert!(store.full());
    assert_eq!(store.durable(), Seq(8));
    disk.full = false;
    store.look_for_space();
    work(&mut store, &mut disk);
    assert!(!store.full());
    assert_eq!(store.durable(), Seq(10));
    assert_eq!(store.bytes_on_disk(), on_disk(&disk));
    drop(store);
    let (_, records) = open(&mut disk);
    assert_eq!(records.len(), 10);
}
