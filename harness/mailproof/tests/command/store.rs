//! `mailproof store check`: what it says, and that it changes nothing.

use std::fs;
use std::path::Path;

use mailproof_node::disk::FsDisk;
use mailproof_node::store::{Store, StoreError, StoreOptions};
use serde_json::Value;

use crate::support::{command, scratch};

/// A store with three BOOT records, as a node writes them.
fn store(dir: &Path) {
    let mut disk = FsDisk::open(dir).unwrap();
    let (mut store, _) = Store::open(&mut disk, StoreOptions::new(64 << 10), 7).unwrap();
    for boot in 1..=3_u32 {
        let mut header = vec![1];
        header.extend_from_slice(&boot.to_le_bytes());
        header.extend_from_slice(&5_u64.to_le_bytes());
        store.append(1, &header, &[]).unwrap();
        store.flush(&mut disk).unwrap();
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| {
            (
                e.file_name().into_string().unwrap(),
                fs::read(e.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn an_intact_store_is_told_and_left_alone() {
    let dir = scratch();
    store(dir.path());
    let before = files(dir.path());
    let path = dir.path().to_str().unwrap();
    let done = command(&["store", "check", path]);
    assert_eq!(done.code, 0, "{done}");
    assert!(done.out.contains("3 BOOT"), "{done}");
    assert!(done.out.trim_end().ends_with("intact"), "{done}");
    let json = command(&["store", "check", path, "--format", "json"]);
    let object: Value = serde_json::from_str(json.out.trim()).unwrap();
    assert_eq!(object["schema"], "mailproof.store/1");
    assert_eq!(object["intact"], true);
    assert_eq!(object["contents"]["starts"], 3);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn damage_exits_1_with_its_place_and_what_a_salvage_would_save() {
    let dir = scratch();
    store(dir.path());
    let segment = dir.path().join("segment-0000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    // In the header of the second record.
    bytes[2 * 4096 + 80 + 50] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let before = files(dir.path());
    let path = dir.path().to_str().unwrap();
    let done = command(&["store", "check", path]);
    assert_eq!(done.code, 1, "{done}");
    assert!(done.out.contains("damaged at byte 8192"), "{done}");
    assert!(
        done.out.contains("save 2 records and miss 1: 2 to 2"),
        "{done}"
    );
    assert_eq!(files(dir.path()), before);

    // After a salvage it is intact, and says what lies aside.
    let mut disk = FsDisk::open(dir.path()).unwrap();
    let note = |_: &_, _: &_| {
        Ok::<_, StoreError>(mailproof_node::store::Note {
            kind: 1,
            header: [&[1][..], &[0; 12]].concat(),
            body: Default::default(),
        })
    };
    Store::open_or_salvage(&mut disk, StoreOptions::new(64 << 10), 8, note).unwrap();
    drop(disk);
    let done = command(&["store", "check", path]);
    assert_eq!(done.code, 0, "{done}");
    assert!(
        done.out
            .contains("put aside by a salvage: segment-0000000000000001.quarantine"),
        "{done}"
    );
}

#[test]
fn what_is_no_directory_or_is_in_use_exits_2() {
    let dir = scratch();
    let nowhere = dir.path().join("nowhere");
    let done = command(&["store", "check", nowhere.to_str().unwrap()]);
    assert_eq!(done.code, 2, "{done}");
    let _open = FsDisk::open(dir.path()).unwrap();
    let done = command(&["store", "check", dir.path().to_str().unwrap()]);
    assert_eq!(done.code, 2, "{done}");
    assert!(done.err.contains("has this store open"), "{done}");
}
