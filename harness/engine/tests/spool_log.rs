//! The harness's reader of the store's log against the node's own: the same
//! records, the same end, for stores that were used, cut off and damaged.

#![allow(clippy::unwrap_used)] // helpers of tests

use bytes::Bytes;
use mailproof_engine::spool::{End, OnDisk, records};
use mailproof_node::disk::{Crash, Disk, DiskOp, MemDisk, Persistence};
use mailproof_node::store::{Seq, Store, StoreOptions, TailReport, inspect};

const OPTIONS: StoreOptions = StoreOptions::new(64 * 1024);

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % n
    }
}

type Found = Vec<(u64, u8, Vec<u8>, Vec<u8>)>;

/// What the harness reads.
fn ours(disk: &dyn Disk) -> (Found, End) {
    let mut found = Vec::new();
    let end = records(&OnDisk(disk), &mut |record| {
        found.push((
            record.seq,
            record.kind,
            record.header.to_vec(),
            record.body.to_vec(),
        ));
    })
    .unwrap();
    (found, end)
}

/// What the node reads, on a copy of the disk.
fn theirs(disk: &MemDisk) -> Found {
    let mut copy = disk.clone();
    let (store, records) = Store::open(&mut copy, OPTIONS, 1).unwrap();
    let records = records.into_iter().map(|record| {
        let body = store.read(&copy, record.seq).unwrap();
        (
            record.seq.0,
            record.kind,
            record.header.to_vec(),
            body.to_vec(),
        )
    });
    records.collect()
}

/// Both agree on the state of the disk. Answers whether it is damaged.
fn agree(disk: &MemDisk, what: &str) -> bool {
    let (found, end) = ours(disk);
    let report = inspect(disk).unwrap();
    let damaged = !report.damage.is_empty();
    match &end {
        End::Damaged(why) => assert!(damaged, "{what}: only we find damage: {why}"),
        _ => assert!(!damaged, "{what}: only the node finds damage: {report:?}"),
    }
    if damaged {
        return true;
    }
    let torn = matches!(report.tail, TailReport::Torn { .. });
    assert_eq!(end == End::Torn, torn, "{what}: {end:?} {report:?}");
    assert!(found == theirs(disk), "{what}: other records");
    false
}

/// Appends, batches, releases; now and then a batch is cut off in the middle.
/// Answers the disk as the last process left it.
fn used(seed: u64, steps: u64) -> MemDisk {
    let mut dice = Dice(seed);
    let mut disk = MemDisk::new([Persistence::Ext4Ordered, Persistence::Posix][seed as usize % 2]);
    let (mut store, _) = Store::open(&mut disk, OPTIONS, u128::from(seed)).unwrap();
    let mut released = 0;
    for _ in 0..steps {
        for _ in 0..dice.below(4) {
            let len = [0, 1, 7, 300, 5_000, 90_000][dice.below(6) as usize];
            let byte = u8::try_from(dice.below(256)).unwrap();
            let header = vec![byte; dice.below(40) as usize];
            let kind = u8::try_from(dice.below(20)).unwrap();
            let body = Bytes::from(vec![byte; len]);
            store.append(kind, &header, &[body]).unwrap();
        }
        if dice.below(3) == 0 {
            let upto = store.durable().0;
            let some = upto.min(released + dice.below(6));
            for seq in released + 1..=some {
                store.release(Seq(seq));
            }
            released = released.max(some);
        }
        if dice.below(12) == 0 {
            // The process or the power dies within a batch.
            if let Some(batch) = store.next_batch() {
                let done = dice.below(batch.ops.len() as u64 + 1);
                for op in batch.ops.iter().take(done as usize) {
                    disk.apply(op).unwrap();
                }
            }
            match dice.below(5) {
                0 => disk.crash(Crash::DropAll),
                1 => disk.crash(Crash::NamesOnly),
                2 => disk.crash(Crash::Prefix(dice.below(9) as usize)),
                3 => disk.crash(Crash::Subset(dice.below(1 << 40))),
                _ => {}
            }
            assert!(!agree(&disk, &format!("seed {seed}, after a crash")));
            let records;
            (store, records) = Store::open(&mut disk, OPTIONS, u128::from(seed)).unwrap();
            released = records.first().map_or(0, |r| r.seq.0 - 1).max(
                // What is released is forgotten by a new process.
                released.min(records.last().map_or(0, |r| r.seq.0)),
            );
            for record in records.iter().take_while(|r| r.seq.0 <= released) {
                store.release(record.seq);
            }
        } else {
            store.flush(&mut disk).unwrap();
        }
    }
    disk
}

#[test]
fn a_store_in_use_reads_the_same() {
    let mut shortened = 0;
    for seed in 0..60 {
        let disk = used(seed, 60);
        assert!(!agree(&disk, &format!("seed {seed}")));
        let (found, _) = ours(&disk);
        shortened += u32::from(found.first().is_some_and(|(seq, ..)| *seq > 1));
    }
    assert!(
        shortened > 10,
        "old segments went in only {shortened} of 60"
    );
}

/// A batch that only began to be written does not count.
#[test]
fn a_torn_batch_is_seen_by_both() {
    let mut disk = MemDisk::new(Persistence::Posix);
    let (mut store, _) = Store::open(&mut disk, OPTIONS, 7).unwrap();
    store
        .append(1, b"head", &[Bytes::from_static(b"body")])
        .unwrap();
    store.flush(&mut disk).unwrap();
    let len = 9_000;
    store
        .append(2, b"head", &[Bytes::from(vec![1; len])])
        .unwrap();
    let batch = store.next_batch().unwrap();
    let DiskOp::Write { file, offset, data } = &batch.ops[0] else {
        panic!("{:?}", batch.ops[0]);
    };
    for cut in (0..data.len()).step_by(13).chain([data.len()]) {
        let mut torn = disk.clone();
        torn.apply(&DiskOp::Write {
            file: file.clone(),
            offset: *offset,
            data: data.slice(..cut),
        })
        .unwrap();
        assert!(!agree(&torn, &format!("cut at {cut}")));
        let (found, end) = ours(&torn);
        match cut {
            0 => assert_eq!((found.len(), end), (1, End::Clean)),
            _ if found.len() == 1 => assert_eq!(end, End::Torn),
            // What is left of the last block is not checked.
            _ => assert_eq!((found[1].3.len(), end), (len, End::Clean)),
        }
    }
}

#[test]
fn no_store_is_an_empty_one() {
    let disk = MemDisk::new(Persistence::Posix);
    assert_eq!(ours(&disk), (Vec::new(), End::New));
}

/// Flips, zeroed ranges, cuts and missing files: what the node calls damage,
/// we do, and the other way round.
#[test]
fn damage_is_damage_to_both() {
    let mut damaged = 0;
    for seed in 0..40 {
        let whole = used(seed, 25);
        let files = whole.list().unwrap();
        let mut dice = Dice(seed ^ 0xdada);
        for round in 0..40 {
            let mut disk = whole.clone();
            let (file, len) = &files[dice.below(files.len() as u64) as usize];
            let at = match dice.below(3) {
                // Structures stand near the begin of blocks.
                0 => dice.below(len.div_ceil(4096)) * 4096 + dice.below(120),
                1 => dice.below(4096),
                _ => dice.below(*len),
            };
            let what = match dice.below(8) {
                0 => {
                    disk.delete(file);
                    "deleted"
                }
                1 => {
                    disk.truncate(file, at.min(len - 1));
                    "cut"
                }
                2 => {
                    disk.zero(file, at / 4096 * 4096, 4096);
                    "zeroed"
                }
                _ => {
                    disk.flip(file, at, 1 << dice.below(8));
                    "flipped"
                }
            };
            let what = format!("seed {seed}, round {round}: {file} {what} at {at}");
            damaged += u32::from(agree(&disk, &what));
        }
    }
    assert!(damaged > 100, "only {damaged} of 1600 changes did damage");
}

/// Every byte of a small store.
#[test]
fn every_flipped_byte_is_seen_by_both() {
    let mut disk = MemDisk::new(Persistence::Posix);
    let (mut store, _) = Store::open(&mut disk, OPTIONS, 7).unwrap();
    for n in 0..3 {
        store
            .append(n, b"head", &[Bytes::from_static(b"body")])
            .unwrap();
        store.flush(&mut disk).unwrap();
    }
    for (file, len) in disk.list().unwrap() {
        // What lies behind the last batch is zeros; a stride is enough there.
        for at in (0..len.min(5 * 4096)).chain((5 * 4096..len).step_by(97)) {
            disk.flip(&file, at, 1 << (at % 8));
            agree(&disk, &format!("{file} flipped at {at}"));
            disk.flip(&file, at, 1 << (at % 8));
        }
    }
}
