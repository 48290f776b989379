//! Writer and reader against `serde_json`, for events of every variant.

use std::collections::BTreeSet;

use super::sample::Draw;
use super::{Durability, Reader, Tail, Writer, decode, encode, rules};
use crate::event::{Event, What};
use crate::party::Witness;
use crate::plan::Plan;

pub(super) fn plan() -> Plan {
    serde_json::from_str(
        r#"{"run":"r1","version":"0","engine":"sim","seed":7,
        "target":{"name":"reference","capabilities":[],"claims":[],"disowns-rfc5321":false},
        "times":{"poll":1},
        "scenario":{"id":"a/b","title":"t","workload":{"messages":1}}}"#,
    )
    .unwrap()
}

#[test]
fn the_sample_has_every_variant() {
    let mut draw = Draw::new(1);
    let names: BTreeSet<_> = (0..Draw::VARIANTS)
        .map(|v| rules::name(&draw.what(v)))
        .collect();
    assert_eq!(names, rules::NAMES.iter().copied().collect());
}

#[test]
fn the_names_are_those_in_files() {
    let mut draw = Draw::new(2);
    for v in 0..Draw::VARIANTS {
        let what = draw.what(v);
        let json = serde_json::to_value(&what).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, [rules::name(&what)]);
    }
}

#[test]
fn the_format_document_describes_every_variant() {
    let text = include_str!("../../HISTORY.md");
    for name in rules::NAMES {
        assert!(
            text.contains(&format!("| `{name}` |")),
            "HISTORY.md has no row for `{name}`"
        );
    }
}

#[test]
fn events_are_written_as_serde_json_writes_them() {
    let mut draw = Draw::new(3);
    let mut line = Vec::new();
    for round in 0..Draw::VARIANTS * 400 {
        let event = draw.event(round % Draw::VARIANTS);
        line.clear();
        encode::event(&mut line, &event).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            serde_json::to_string(&event).unwrap()
        );
    }
}

#[test]
fn events_are_read_back() {
    let mut draw = Draw::new(4);
    for round in 0..Draw::VARIANTS * 400 {
        let event = draw.event(round % Draw::VARIANTS);
        let line = serde_json::to_vec(&event).unwrap();
        assert_eq!(decode::event(&line).unwrap(), event);
    }
}

/// Every byte of a line changed in some ways: the quick reader must never
/// see more, or something else, than the slow one.
#[test]
fn a_changed_line_reads_as_serde_json_reads_it() {
    let mut draw = Draw::new(5);
    for round in 0..Draw::VARIANTS * 3 {
        let event = draw.event(round % Draw::VARIANTS);
        let line = serde_json::to_vec(&event).unwrap();
        for at in 0..line.len() {
            for byte in [
                b'0',
                b'1',
                b'"',
                b',',
                b' ',
                b'\\',
                b'-',
                0xff,
                line[at] ^ 1,
            ] {
                let mut changed = line.clone();
                changed[at] = byte;
                same(&changed);
            }
            let mut cut = line.clone();
            cut.remove(at);
            same(&cut);
            let mut twice = line.clone();
            twice.insert(at, line[at]);
            same(&twice);
        }
    }
}

fn same(line: &[u8]) {
    let slow = serde_json::from_slice::<Event>(line);
    match (decode::event(line), slow) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(_), Err(_)) => {}
        (a, b) => panic!("{}: {a:?} {b:?}", String::from_utf8_lossy(line)),
    }
}

/// 10 blocks of random events, in both modes: the same bytes, and the events
/// come back.
#[test]
fn what_is_written_is_read() {
    let mut files = Vec::new();
    for durability in [Durability::EachEvent, Durability::Buffered] {
        let mut draw = Draw::new(6);
        let mut file = Vec::new();
        let mut writer = Writer::create(&mut file, &plan(), durability).unwrap();
        let mut wrote = Vec::new();
        let mut at = 0;
        while wrote.len() < 2_600 {
            let what = draw.what(wrote.len() % Draw::VARIANTS);
            if matches!(what, What::End { .. }) {
                // Only once, at the end; its turn goes to another.
                let what = What::GaveUp { msg: 1 };
                wrote.push(writer.record(at, Witness::Client, what).unwrap());
                continue;
            }
            let by = draw.witness_of(&what);
            at += draw.below(3) as u64;
            // Now and then a time that lies before the last.
            let given = at.saturating_sub(draw.below(2) as u64);
            wrote.push(writer.record(given, by, what).unwrap());
        }
        let seal = writer.seal().unwrap();
        drop(writer);
        let mut reader = Reader::new(file.as_slice()).unwrap();
        assert_eq!(*reader.plan(), plan());
        let read: Vec<_> = reader.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, wrote);
        assert_eq!(
            reader.tail(),
            Some(&Tail::Sealed {
                events: seal.events,
                root: seal.root
            })
        );
        files.push(file);
    }
    assert!(files[0] == files[1]);
}
