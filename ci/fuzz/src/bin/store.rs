//! A store on a damaged disk: what opens holds every record that was durable,
//! unaltered, or says that it is not whole. Also any bytes as its files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_node::disk::{Disk, DiskOp, FileName, MemDisk, Persistence};
use mailproof_node::store::{Store, StoreOptions, inspect};

const OPTIONS: StoreOptions = StoreOptions {
    segment_bytes: 64 * 1024,
};

fn open(mut disk: MemDisk) -> Option<usize> {
    let _ = inspect(&disk);
    let (_, records) = Store::open(&mut disk, OPTIONS, 9).ok()?;
    // What opened once opens again, to the same.
    let (_, again) = Store::open(&mut disk, OPTIONS, 10).expect("it opened before");
    assert_eq!(records.len(), again.len());
    Some(records.len())
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let mut disk = MemDisk::new(Persistence::Posix);
    if *mode == b'f' {
        // Files: a name's length, the name, the content's length by 16.
        let mut rest = data;
        while let [name, blocks, tail @ ..] = rest {
            let (name, tail) = tail.split_at(usize::from(name % 65).min(tail.len()));
            let (content, tail) = tail.split_at((usize::from(*blocks) * 16).min(tail.len()));
            rest = tail;
            let Ok(file) = FileName::new(&String::from_utf8_lossy(name)) else {
                continue;
            };
            let len = content.len() as u64;
            let _ = disk.apply(&DiskOp::Create {
                file: file.clone(),
                len,
            });
            let data = content.to_vec().into();
            let offset = 0;
            let _ = disk.apply(&DiskOp::Write { file, offset, data });
        }
        open(disk);
        return;
    }
    let (mut store, _) = Store::open(&mut disk, OPTIONS, 5).expect("an empty store opens");
    let mut appended = 0;
    let records = usize::from(*mode % 16);
    for n in 0..records {
        let body = vec![n as u8; 1 + n * 900];
        store
            .append(3, &[n as u8; 5], &[body.into()])
            .expect("a record fits");
        appended += 1;
        while let Some(batch) = store.next_batch() {
            batch.execute(&mut disk).expect("a disk in memory works");
            store
                .batch_done(batch.id, Ok(()))
                .expect("the batch under way");
        }
    }
    drop(store);
    let files = disk.list().expect("it lists");
    let mut damaged = false;
    // Damage: which file, what, where.
    for step in data.chunks_exact(5) {
        let (file, len) = &files[usize::from(step[0]) % files.len()];
        let at = u64::from(u16::from_le_bytes([step[2], step[3]])) % (*len).max(1);
        damaged |= match step[1] % 4 {
            0 => disk.flip(file, at, step[4].max(1)),
            1 => disk.zero(file, at, u64::from(step[4]) * 16),
            2 => disk.truncate(file, at),
            _ => disk.delete(file),
        };
    }
    let found = open(disk);
    if !damaged {
        assert_eq!(found, Some(appended), "an undamaged store opens whole");
    }
});
