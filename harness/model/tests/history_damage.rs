//! Every cut and every flipped byte of a history: what is sealed shows any
//! change, what is unsealed keeps its valid prefix.

#![allow(clippy::unwrap_used)] // helpers of tests

mod history_support;

use history_support::{sealed, short_events, small_run, writer};
use mailproof_model::event::Event;
use mailproof_model::history::{OpenError, Reader, Tail};

/// What can be read: events, and how it ends; `None`: not even a header.
fn read(bytes: &[u8]) -> Option<(Vec<Event>, Tail)> {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(OpenError::Torn) => return None,
        // A history of another version is not read, and so not believed.
        Err(OpenError::Altered { why } | OpenError::Version { found: why }) => {
            return Some((Vec::new(), Tail::Altered { line: 1, why }));
        }
        Err(OpenError::Io(e)) => panic!("{e}"),
    };
    let events = reader.by_ref().collect::<Result<_, _>>().unwrap();
    Some((events, reader.tail().unwrap().clone()))
}

/// Patterns that between them flip every bit of a byte.
fn flips(at: usize) -> [u8; 2] {
    [1 << (at % 8), !(1 << (at % 8))]
}

/// How many events stand on complete lines of this piece of a history.
fn complete(bytes: &[u8]) -> usize {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .filter(|line| line.starts_with(b"{\"id\":") && line.ends_with(b"\n"))
        .count()
}

#[test]
fn sealed_is_sealed() {
    for events in [0, 1, 255, 256, 257, 511, 512, 513] {
        let (file, seal) = sealed(events);
        let (read, tail) = read(&file).unwrap();
        assert_eq!(read.len(), events as usize);
        assert_eq!(seal.events, u64::from(events));
        assert_eq!(
            tail,
            Tail::Sealed {
                events: seal.events,
                root: seal.root
            }
        );
    }
}

#[test]
fn every_flipped_byte_of_a_sealed_history_shows() {
    for events in [0, 5, 300] {
        let (mut file, _) = sealed(events);
        let last = file.len() - 1;
        for at in 0..file.len() {
            for flip in flips(at) {
                file[at] ^= flip;
                match read(&file) {
                    Some((_, Tail::Altered { .. })) => {}
                    // The last newline is all that makes the seal complete.
                    Some((_, Tail::Unsealed { .. })) if at == last => {}
                    other => panic!("byte {at} of {events} events: {other:?}"),
                }
                file[at] ^= flip;
            }
        }
    }
}

#[test]
fn every_cut_leaves_the_valid_prefix() {
    for events in [0, 5, 256, 300] {
        let (file, _) = sealed(events);
        let (all, _) = read(&file).unwrap();
        let header = file.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in 0..file.len() {
            let Some((events, tail)) = read(&file[..cut]) else {
                assert!(cut < header, "cut at {cut}");
                continue;
            };
            assert!(cut >= header);
            assert_eq!(events.len(), complete(&file[..cut]));
            assert_eq!(events[..], all[..events.len()]);
            match tail {
                Tail::Unsealed { events: n, .. } => assert_eq!(n, events.len() as u64),
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
    }
}

/// A run that was interrupted in its second block: damage under the block
/// line shows, damage after it is at least never taken for a seal.
#[test]
fn damage_before_a_later_block_shows() {
    let mut file = Vec::new();
    let mut w = writer(&mut file);
    short_events(&mut w, 256 + 20);
    drop(w);
    let text = String::from_utf8(file.clone()).unwrap();
    let block = text.find("{\"block\":0").unwrap();
    let covered = block + text[block..].find('\n').unwrap() + 1;
    for at in 0..file.len() {
        for flip in flips(at) {
            file[at] ^= flip;
            let (_, tail) = read(&file).expect("the header line is followed by others");
            match tail {
                Tail::Altered { .. } => {}
                Tail::Unsealed { .. } if at >= covered => {}
                other => panic!("byte {at}: {other:?}"),
            }
            file[at] ^= flip;
        }
    }
    assert_eq!(
        covered + 20 * text.lines().last().unwrap().len() + 20,
        file.len()
    );
}

/// Lines taken out, doubled, swapped, or moved over from another place.
#[test]
fn lines_cannot_be_moved() {
    let (file, _) = sealed(600);
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let altered = |lines: &[&str], what: &str| {
        let joined = lines.concat();
        let (_, tail) = read(joined.as_bytes()).unwrap();
        assert!(matches!(tail, Tail::Altered { .. }), "{what}: {tail:?}");
    };
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        // Without its last line it is just unsealed.
        if at + 1 < lines.len() {
            altered(&without, &format!("without line {at}"));
        }
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        altered(&twice, &format!("line {at} twice"));
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            altered(&swapped, &format!("line {at} after the next"));
        }
    }
}

#[test]
fn something_after_the_seal_shows() {
    let (file, _) = sealed(3);
    for extra in ["\n", " ", "{}", "{\"id\":3", "\0"] {
        let longer = [file.as_slice(), extra.as_bytes()].concat();
        let (_, tail) = read(&longer).unwrap();
        assert!(matches!(tail, Tail::Altered { .. }), "{extra:?}: {tail:?}");
    }
}

/// A line that is right as JSON and wrong as history: no writer wrote it.
#[test]
fn complete_lines_that_no_writer_writes_show() {
    let mut file = Vec::new();
    let mut w = writer(&mut file);
    small_run(&mut w);
    drop(w);
    let end = file.len()
        - file
            .split_inclusive(|b| *b == b'\n')
            .next_back()
            .unwrap()
            .len();
    let good = r#"{"id":4,"at":40,"by":"link:client->n1","ev":{"open":{"conn":2}}}"#;
    let check = |line: &str| {
        let mut changed = file[..end].to_vec();
        changed.extend_from_slice(line.as_bytes());
        changed.push(b'\n');
        read(&changed).unwrap().1
    };
    assert!(matches!(check(good), Tail::Unsealed { events: 5, .. }));
    for (from, to) in [
        ("\"id\":4", "\"id\":5"),
        ("\"id\":4", "\"id\":3"),
        ("\"at\":40", "\"at\":30"),
        ("\"at\":40", "\"at\":-1"),
        ("link:client->n1", "director"),
        ("link:client->n1", "nobody"),
        ("\"conn\":2", "\"conn\":2,\"more\":1"),
        ("\"conn\":2", "\"conn\":4294967296"),
        ("open", "opened"),
        ("{\"id\"", "x{\"id\""),
        ("}}}", "}}}}"),
    ] {
        let line = good.replacen(from, to, 1);
        let tail = check(&line);
        assert!(
            matches!(tail, Tail::Altered { line: 6, .. }),
            "{line}: {tail:?}"
        );
    }
    assert!(matches!(check(""), Tail::Altered { .. }), "an empty line");
}

/// A file system may show zeros at the end after the machine itself died.
#[test]
fn zeros_at_the_end_are_a_torn_line() {
    let mut file = Vec::new();
    let mut w = writer(&mut file);
    small_run(&mut w);
    drop(w);
    file.extend_from_slice(&[0; 4096]);
    let (events, tail) = read(&file).unwrap();
    assert_eq!(events.len(), 5);
    assert!(matches!(tail, Tail::Unsealed { events: 5, .. }));
}

/// The chain computed once more, straight from `HISTORY.md` section 2.
#[test]
fn the_chain_is_as_described() {
    for events in [0, 3, 256, 300, 512] {
        let (file, seal) = sealed(events);
        let mut prev = [0; 32];
        let mut block = Vec::new();
        let (mut blocks, mut seen) = (0, 0);
        let mut due = String::new();
        for line in file.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b"{\"block\":") {
                prev = *blake3::hash(&[&prev[..], &block].concat()).as_bytes();
                let hash: String = prev.iter().map(|b| format!("{b:02x}")).collect();
                due = format!("{{\"block\":{blocks},\"events\":{seen},\"hash\":\"{hash}\"}}\n");
                assert_eq!(String::from_utf8_lossy(line), due);
                due = format!("{{\"seal\":{{\"events\":{seen},\"root\":\"{hash}\"}}}}\n");
                block.clear();
                blocks += 1;
            } else if line.starts_with(b"{\"seal\":") {
                assert_eq!(String::from_utf8_lossy(line), due);
                due = "sealed".to_owned();
            } else {
                seen += u32::from(line.starts_with(b"{\"id\":"));
                block.extend_from_slice(line);
            }
        }
        assert_eq!(due, "sealed");
        assert_eq!((seen, prev), (events, seal.root));
    }
}
