//! The checks of the store's tests reject a store with a planted defect: each
//! is found within a few hundred random trials, and the sound store in none.
#![cfg(feature = "defects")]
#![allow(clippy::unwrap_used)] // A test helper fails by panicking.

mod store_support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mailproof_node::defect::StoreDefect;
use mailproof_node::disk::{Crash, MemDisk, Persistence};
use mailproof_node::store::{Store, StoreOptions};
use store_support::{FRESH, Model, SMALL};

/// A small generator: the trials are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Writes, loses power at a random operation in a random state, perhaps
/// suffers a flipped bit, opens, and is held against the model. Panics when
/// something is wrong.
fn trial(defect: Option<StoreDefect>, model: Persistence, seed: u64, flip: bool) {
    let mut dice = Dice(seed);
    let options = StoreOptions { defect, ..SMALL };
    let mut disk = MemDisk::new(model);
    let mut known = Model::default();
    let (mut store, _) = Store::open(&mut disk, options, FRESH).unwrap();
    let batches = 3 + dice.below(6);
    for batch in 0..batches {
        for _ in 0..1 + dice.below(3) {
            let sizes = [40, 700, 5_000, 20_000, 40_000];
            let size = sizes[dice.below(5) as usize];
            let step = store_support::Step::Append(1, 8, size, 1);
            known.step(&mut store, &step);
        }
        while let Some(handed) = store.next_batch() {
            known.in_flight = Some(handed.up_to.0);
            let cut = batch + 1 == batches && dice.below(2) == 0;
            if cut {
                let ops = dice.below(handed.ops.len() as u64 + 1) as usize;
                for op in &handed.ops[..ops] {
                    mailproof_node::disk::Disk::apply(&mut disk, op).unwrap();
                }
                break;
            }
            handed.execute(&mut disk).unwrap();
            known.durable = store.batch_done(handed.id, Ok(())).unwrap().0;
            known.in_flight = None;
        }
    }
    drop(store);
    let states = [
        Crash::DropAll,
        Crash::NamesOnly,
        Crash::Prefix(dice.below(6) as usize),
        Crash::Subset(dice.below(1 << 30)),
    ];
    if flip {
        disk.crash(Crash::Prefix(usize::MAX));
        let files = mailproof_node::disk::Disk::list(&disk).unwrap();
        let (file, len) = &files[dice.below(files.len() as u64) as usize];
        let at = dice.below((*len).min(30_000));
        disk.flip(file, at, 1 << dice.below(8));
    } else {
        disk.crash(states[dice.below(4) as usize]);
    }
    match Store::open(&mut disk, options, FRESH) {
        Ok((store, records)) => known.check(&disk, &store, &records),
        Err(error) => assert!(flip && error.is_damage(), "{error}"),
    }
}

/// The first of some trials that finds something.
fn found(defect: Option<StoreDefect>, flip: bool) -> Option<u64> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..400).find(|seed| {
        let model = [Persistence::Posix, Persistence::Ext4Ordered][(*seed % 2) as usize];
        catch_unwind(AssertUnwindSafe(|| trial(defect, model, *seed, flip))).is_err()
    });
    std::panic::set_hook(hook);
    found
}

#[test]
fn each_planted_defect_is_found_and_nothing_in_the_sound_store() {
    for flip in [false, true] {
        assert_eq!(
            found(None, flip),
            None,
            "the sound store, flipped bits {flip}"
        );
    }
    for (defect, flip) in [
        (StoreDefect::IgnoreChecksums, true),
        (StoreDefect::AcceptTornBatch, false),
        (StoreDefect::NoDirectorySync, false),
        (StoreDefect::SyncAfterReport, false),
    ] {
        let found = found(Some(defect), flip);
        assert!(found.is_some(), "{defect:?} was not found");
    }
}
