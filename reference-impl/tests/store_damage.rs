//! Damage to a closed store: it either refuses to open or returns every durable
//! record unaltered. It never loses one silently and never changes anything
//! when it refuses.

#![allow(clippy::unwrap_used)] // A test helper fails by panicking.

mod store_support;

use bytes::Bytes;
use mailproof_node::disk::{Crash, Disk, DiskOp, FileName, MemDisk, Persistence};
use mailproof_node::store::{Seq, Store, StoreError, inspect};
use proptest::prelude::*;
use store_support::{FRESH, Model, Recorder, SMALL, everything, script};

fn files(disk: &MemDisk) -> Vec<(FileName, u64)> {
    disk.list().unwrap()
}

fn mark_file() -> FileName {
    FileName::new("mark").unwrap()
}

/// What every file holds.
fn dump(disk: &MemDisk) -> Vec<(FileName, Vec<u8>)> {
    files(disk)
        .into_iter()
        .map(|(file, len)| {
            let content = disk.read(&file, 0, len as usize).unwrap();
            (file, content)
        })
        .collect()
}

/// A few batches in two segments, all synced, closed.
fn small_store() -> MemDisk {
    let mut disk = MemDisk::new(Persistence::Posix);
    let (mut store, _) = Store::open(&mut disk, SMALL, FRESH).unwrap();
    for (header, body) in [("a", 30), ("", 0), ("bcd", 52_000), ("e", 9000), ("f", 7)] {
        let body = vec![header.len() as u8 + 1; body];
        store
            .append(3, header.as_bytes(), &[Bytes::from(body)])
            .unwrap();
        store.flush(&mut disk).unwrap();
    }
    disk.crash(Crash::Prefix(usize::MAX));
    assert_eq!(files(&disk).len(), 3);
    disk
}

/// Damages a copy, opens it, and demands refusal or every record. Answers
/// whether it refused.
fn refuses_or_harmless(whole: &MemDisk, damage: impl Fn(&mut MemDisk)) -> Result<bool, String> {
    let expected = everything(&mut whole.clone()).unwrap();
    let mut disk = whole.clone();
    damage(&mut disk);
    judge(disk, &expected)
}

fn judge(mut disk: MemDisk, expected: &[(u64, store_support::Truth)]) -> Result<bool, String> {
    let before = disk.clone();
    let reported = inspect(&disk).unwrap().damage;
    match everything(&mut disk) {
        Ok(found) if found != expected => Err(format!("lost or altered: {} left", found.len())),
        Ok(_) if !reported.is_empty() => Err(format!("opened, but inspect says {reported:?}")),
        Ok(_) => Ok(false),
        Err(error) if !error.is_damage() => Err(format!("not called damage: {error}")),
        Err(error) if reported.first().map(|d| &d.what) != Some(&error.to_string()) => {
            Err(format!("open says {error}, inspect {reported:?}"))
        }
        Err(_) if dump(&disk) != dump(&before) => Err("refused, yet changed something".into()),
        Err(_) => Ok(true),
    }
}

/// One flipped bit, at every byte of every file.
#[test]
fn a_flipped_bit_anywhere_is_found_or_harmless() {
    let whole = small_store();
    let expected = everything(&mut whole.clone()).unwrap();
    let mut refused = 0;
    let mut harmless = 0;
    for (file, len) in files(&whole) {
        let content = whole.read(&file, 0, len as usize).unwrap();
        for (at, byte) in content.iter().enumerate() {
            // Long runs of one value are sampled.
            let run = at >= 64 && at + 64 < content.len();
            if run && at % 61 != 0 && content[at - 64..at + 64].iter().all(|b| b == byte) {
                continue;
            }
            let mut disk = whole.clone();
            assert!(disk.flip(&file, at as u64, 1 << (at % 8)));
            match judge(disk, &expected) {
                Ok(true) => refused += 1,
                Ok(false) => harmless += 1,
                Err(why) => panic!("{file}, byte {at}: {why}"),
            }
        }
    }
    assert!(refused > 1000 && harmless > 1000, "{refused} {harmless}");
}

/// Every bit of what was written, not only one in each byte, and in the last
/// batch, which no later one proves.
#[test]
fn no_bit_of_the_last_batch_flips_unseen() {
    let whole = small_store();
    let (last, _) = files(&whole).pop().unwrap();
    let report = inspect(&whole).unwrap();
    let end = report.segments.last().unwrap().end;
    let expected = everything(&mut whole.clone()).unwrap();
    // 80 bytes batch header, 48 record, 1 header, 7 body.
    for bit in 0..(80 + 48 + 8) * 8 {
        let mut disk = whole.clone();
        assert!(disk.flip(&last, end - 4096 + bit / 8, 1 << (bit % 8)));
        assert_eq!(judge(disk, &expected), Ok(true), "bit {bit}");
    }
}

/// The mark is what proves the last batch; without it, damage there cannot be
/// told from a torn tail. This pins the one gap that the format states.
#[test]
fn without_the_mark_the_last_batch_cannot_be_told_from_a_torn_one() {
    let mut disk = small_store();
    let (last, _) = files(&disk).pop().unwrap();
    let end = inspect(&disk).unwrap().segments[1].end;
    disk.delete(&mark_file());
    disk.flip(&last, end - 4096, 1);
    assert_eq!(everything(&mut disk).unwrap().len(), 4);
}

/// All others are proved by the one after them, mark or not.
#[test]
fn without_the_mark_every_batch_but_the_last_is_still_proved() {
    let mut whole = small_store();
    whole.delete(&mark_file());
    let report = inspect(&whole).unwrap();
    let (first, second) = (&report.segments[0], &report.segments[1]);
    assert_eq!((first.batches, second.batches), (3, 2));
    let places = [(first, 4096), (first, 8192), (first, 12288), (second, 4096)];
    for (segment, batch) in places {
        let file = FileName::new(&segment.file).unwrap();
        for bit in 0..(80 + 48) * 8 {
            let flipped = refuses_or_harmless(&whole, |disk| {
                assert!(disk.flip(&file, batch + bit / 8, 1 << (bit % 8)));
            });
            assert_eq!(flipped, Ok(true), "batch at {batch}, bit {bit}");
        }
        let zeroed = refuses_or_harmless(&whole, |disk| assert!(disk.zero(&file, batch, 4096)));
        assert_eq!(zeroed, Ok(true), "batch at {batch} zeroed");
    }
}

/// Two histories of one store, as after a restore from a backup, do not mix:
/// their batches are whole, of the right number and of the same length.
#[test]
fn batches_of_another_history_are_refused() {
    let goes_on = |mut disk: MemDisk, headers: &[&[u8]]| {
        let (mut store, _) = Store::open(&mut disk, SMALL, FRESH).unwrap();
        for header in headers {
            store.append(1, header, &[]).unwrap();
            store.flush(&mut disk).unwrap();
        }
        disk
    };
    let before = goes_on(MemDisk::new(Persistence::Posix), &[b"one"]);
    let here = goes_on(before.clone(), &[b"two here", b"three"]);
    let there = goes_on(before, &[b"two away", b"three"]);
    let segment = files(&here)[1].0.clone();
    for offset in [8192, 12288] {
        let other = there.read(&segment, offset, 4096).unwrap();
        assert_ne!(other, here.read(&segment, offset, 4096).unwrap());
        for marked in [true, false] {
            let mut disk = here.clone();
            if !marked {
                disk.delete(&mark_file());
            }
            let mixed = refuses_or_harmless(&disk, |disk| {
                let data = Bytes::from(other.clone());
                let file = segment.clone();
                disk.apply(&DiskOp::Write { file, offset, data }).unwrap();
            });
            assert_eq!(mixed, Ok(true), "batch at {offset}, marked: {marked}");
        }
    }
    let all = refuses_or_harmless(&here, |disk| copy_file(&there, &segment, disk, &segment));
    assert_eq!(all, Ok(true), "the whole segment");
}

#[test]
fn zeroed_cut_and_deleted_files_are_found() {
    let whole = small_store();
    for (file, len) in files(&whole) {
        let is_mark = file == mark_file();
        let gone = refuses_or_harmless(&whole, |disk| assert!(disk.delete(&file)));
        assert_eq!(gone, Ok(!is_mark), "{file} deleted");
        for shorter in [0, 100, 4096, len - 4096, len - 1] {
            let cut = refuses_or_harmless(&whole, |disk| assert!(disk.truncate(&file, shorter)));
            assert_eq!(cut, Ok(!is_mark), "{file} cut to {shorter}");
        }
        for at in (0..len).step_by(4096) {
            refuses_or_harmless(&whole, |disk| assert!(disk.zero(&file, at, 4096)))
                .unwrap_or_else(|why| panic!("{file}, block at {at} zeroed: {why}"));
        }
        let zeroed = refuses_or_harmless(&whole, |disk| assert!(disk.zero(&file, 0, len)));
        assert_eq!(zeroed, Ok(!is_mark), "{file} zeroed");
        let batches = refuses_or_harmless(&whole, |disk| {
            assert!(disk.zero(&file, 4096, len - 4096));
        });
        assert_eq!(
            batches,
            Ok(!is_mark),
            "{file} zeroed from its second block on"
        );
    }
    let all = refuses_or_harmless(&whole, |disk| {
        for (file, _) in files(disk) {
            if file != mark_file() {
                disk.delete(&file);
            }
        }
    });
    assert_eq!(all, Ok(true), "every segment deleted");
}

fn rename(disk: &mut MemDisk, from: &FileName, to: &FileName) {
    let (from, to) = (from.clone(), to.clone());
    disk.apply(&DiskOp::Rename { from, to }).unwrap();
}

#[test]
fn a_segment_under_another_name_or_from_an_older_copy_is_found() {
    let whole = small_store();
    let all = files(&whole);
    let (first, second) = (&all[1].0, &all[2].0);
    let swapped = refuses_or_harmless(&whole, |disk| {
        let aside = FileName::new("aside").unwrap();
        rename(disk, first, &aside);
        rename(disk, second, first);
        rename(disk, &aside, second);
    });
    assert_eq!(swapped, Ok(true));

    // The log goes on, then one file comes back from a copy made before.
    let mut later = whole.clone();
    let (mut store, _) = Store::open(&mut later, SMALL, FRESH).unwrap();
    store.append(1, b"later", &[]).unwrap();
    store.flush(&mut later).unwrap();
    let stale = refuses_or_harmless(&later, |disk| {
        let old = whole.read(second, 0, 65536).unwrap();
        let data = Bytes::from(old);
        let file = second.clone();
        let offset = 0;
        disk.apply(&DiskOp::Write { file, offset, data }).unwrap();
    });
    assert_eq!(stale, Ok(true));
}

fn copy_file(from: &MemDisk, file: &FileName, to: &mut MemDisk, name: &FileName) {
    let len = files(from).iter().find(|f| f.0 == *file).unwrap().1;
    let data = Bytes::from(from.read(file, 0, len as usize).unwrap());
    let file = name.clone();
    let _ = to.delete(name);
    to.apply(&DiskOp::Create {
        file: file.clone(),
        len,
    })
    .unwrap();
    to.apply(&DiskOp::Write {
        file,
        offset: 0,
        data,
    })
    .unwrap();
}

#[test]
fn files_of_another_database_are_refused_by_name() {
    let whole = small_store();
    let mut other = MemDisk::new(Persistence::Posix);
    let (mut store, _) = Store::open(&mut other, SMALL, FRESH + 1).unwrap();
    store.append(1, b"", &[]).unwrap();
    store.flush(&mut other).unwrap();
    let theirs = store.database_id();
    let segment = files(&other)[1].0.clone();
    let mut disk = whole.clone();
    copy_file(&other, &mark_file(), &mut disk, &mark_file());
    let error = everything(&mut disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Foreign { file, found, .. }
            if *file == mark_file() && *found == theirs),
        "{error}"
    );
    let mut disk = whole.clone();
    copy_file(&other, &segment, &mut disk, &segment);
    let error = everything(&mut disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Foreign { file, found, .. }
            if *file == segment && *found == theirs),
        "{error}"
    );
}

/// A foreign log that begins after ours ends must not make ours look removed.
#[test]
fn a_foreign_newer_segment_does_not_turn_the_log_into_rubbish() {
    let whole = small_store();
    let mut other = MemDisk::new(Persistence::Posix);
    let (mut store, _) = Store::open(&mut other, SMALL, FRESH + 1).unwrap();
    let theirs = store.database_id();
    for _ in 0..4 {
        let seq = store
            .append(1, b"", &[Bytes::from(vec![1; 50_000])])
            .unwrap();
        store.release(seq);
        store.flush(&mut other).unwrap();
    }
    let mut logs = files(&other).into_iter().map(|(file, _)| file);
    let newest = logs.rfind(|f| f.as_str().ends_with(".log")).unwrap();
    assert_eq!(newest.as_str(), "segment-0000000000000004.log");
    assert_eq!(inspect(&other).unwrap().segments.len(), 1);
    for marked in [true, false] {
        let mut disk = whole.clone();
        copy_file(&other, &newest, &mut disk, &newest);
        if !marked {
            disk.delete(&mark_file());
        }
        let before = dump(&disk);
        let error = everything(&mut disk).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        if marked {
            assert!(
                matches!(&error, StoreError::Foreign { file, found, .. }
                    if *file == newest && *found == theirs),
                "{error}"
            );
        }
        assert_eq!(dump(&disk), before);
    }
}

#[test]
fn an_unknown_format_version_is_refused_without_a_change() {
    let mut disk = small_store();
    let (file, _) = files(&disk).remove(1);
    let mut block = disk.read(&file, 0, 4096).unwrap();
    block[8] = 2;
    let crc = crc32c::crc32c(&block[..4092]).to_le_bytes();
    block[4092..].copy_from_slice(&crc);
    let data = Bytes::from(block);
    disk.apply(&DiskOp::Write {
        file,
        offset: 0,
        data,
    })
    .unwrap();
    let before = dump(&disk);
    let error = everything(&mut disk).unwrap_err();
    assert!(
        matches!(error, StoreError::Version { found: 2, .. }),
        "{error}"
    );
    assert_eq!(dump(&disk), before);
}

/// A hole in the numbers, its batch whole by every checksum: only a writer
/// could have made it.
#[test]
fn a_gap_in_the_sequence_is_refused() {
    let mut disk = small_store();
    let (file, _) = files(&disk).remove(1);
    let mut batch = disk.read(&file, 8192, 80).unwrap();
    batch[32..40].copy_from_slice(&3u64.to_le_bytes());
    let crc = crc32c::crc32c(&batch[..76]).to_le_bytes();
    batch[76..].copy_from_slice(&crc);
    disk.apply(&DiskOp::Write {
        file,
        offset: 8192,
        data: Bytes::from(batch),
    })
    .unwrap();
    let error = everything(&mut disk).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Gap {
                expected: Seq(2),
                found: Seq(3),
                ..
            }
        ),
        "{error}"
    );
}

/// Damage that comes after the open is found when the record is read.
#[test]
fn a_record_damaged_while_the_store_is_open_is_not_returned() {
    let mut disk = small_store();
    let (store, records) = Store::open(&mut disk, SMALL, FRESH).unwrap();
    let extent = store.extent(records[2].seq).unwrap();
    for at in 0..extent.len {
        if at > 60 && at % 97 != 0 {
            continue;
        }
        let mut disk = disk.clone();
        disk.flip(&extent.file, extent.offset + at as u64, 4);
        let error = store.read(&disk, records[2].seq).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn the_report_names_the_place_and_counts_what_is_left() {
    let mut disk = small_store();
    let clean = inspect(&disk).unwrap();
    assert!(clean.damage.is_empty());
    assert_eq!(clean.segments.len(), 2);
    assert_eq!(clean.next_seq, 6);
    assert_eq!(clean.mark.as_ref().unwrap().last_seq, 5);
    let (file, _) = files(&disk).remove(1);
    // The second batch of the first segment; the third proves it.
    disk.flip(&file, 8192 + 5, 1);
    let report = inspect(&disk).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(report.damage[0].file.as_deref(), Some(file.as_str()));
    assert_eq!(report.damage[0].offset, Some(8192));
    let left: u64 = report
        .segments
        .iter()
        .flat_map(|s| s.by_kind.values())
        .sum();
    assert_eq!(left, 4);
}

/// One change to a closed store.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Zero(u64),
    Truncate,
    Delete,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (1..=255u8).prop_map(Damage::Flip),
        4 => (1..20_000u64).prop_map(Damage::Zero),
        1 => Just(Damage::Truncate),
        1 => Just(Damage::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same over random stores, with removals, compaction and reopening.
    #[test]
    fn no_single_damage_loses_a_durable_record(
        script in script(40),
        damages in prop::collection::vec((damage(), any::<usize>(), any::<u64>(), any::<bool>()), 40),
    ) {
        let mut world = Recorder::new(MemDisk::new(Persistence::Ext4Ordered), Model::default());
        world.keeping = false;
        world.run(&script);
        let mut whole = world.disk;
        whole.crash(Crash::Prefix(usize::MAX));
        let expected = everything(&mut whole.clone()).unwrap();
        for (damage, file, place, near_the_end) in damages {
            let all = files(&whole);
            let (file, len) = all[file % all.len()].clone();
            let used = inspect(&whole).unwrap().segments.into_iter()
                .find(|s| s.file == file.as_str()).map_or(len, |s| s.end);
            let at = if near_the_end { used - 1 - place % used.min(8192) } else { place % used };
            let mut disk = whole.clone();
            match damage {
                Damage::Flip(mask) => prop_assert!(disk.flip(&file, at, mask)),
                Damage::Zero(n) => prop_assert!(disk.zero(&file, at, n.min(len - at))),
                Damage::Truncate => prop_assert!(disk.truncate(&file, at)),
                Damage::Delete => prop_assert!(disk.delete(&file)),
            }
            if let Err(why) = judge(disk, &expected) {
                return Err(TestCaseError::fail(format!("{damage:?} of {file} at {at}: {why}")));
            }
        }
    }
}
