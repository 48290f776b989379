//! What the history tests share: a small plan and a small run.

#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)] // helpers of tests

use mailproof_model::event::{Shut, What};
use mailproof_model::history::{Durability, Seal, Sink, Writer};
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::plan::Plan;

/// A plan that fits in a few hundred bytes.
pub(crate) fn plan() -> Plan {
    serde_json::from_str(
        r#"{"run":"r1","version":"0","engine":"sim","seed":7,
        "target":{"name":"reference","capabilities":[],"claims":[],"disowns-rfc5321":false},
        "times":{"poll":1},
        "scenario":{"id":"a/b","title":"t","workload":{"messages":1}}}"#,
    )
    .unwrap()
}

/// The witness of the link from the client to the first node.
pub(crate) fn link() -> Witness {
    Witness::Link(Link::new(Party::Client, Party::Node(1)))
}

/// Begins a history.
pub(crate) fn writer<W: Sink>(to: W) -> Writer<W> {
    Writer::create(to, &plan(), Durability::EachEvent).unwrap()
}

/// One message from end to end, then the end.
pub(crate) fn small_run<W: Sink>(writer: &mut Writer<W>) {
    let attempt = What::Attempt {
        msg: 0,
        attempt: 1,
        session: 0,
        node: Party::Node(1),
        rcpts: vec![0, 1],
        silent: false,
    };
    let outcome = What::Outcome {
        msg: 0,
        attempt: 1,
        rcpts: vec![250, 250],
        end: vec![250],
        note: None,
    };
    writer.record(5, Witness::Client, attempt).unwrap();
    writer.record(9, link(), What::Open { conn: 1 }).unwrap();
    writer.record(30, Witness::Client, outcome).unwrap();
    let shut = What::Shut {
        conn: 1,
        how: Shut::Fin,
        from: Some(Party::Client),
    };
    writer.record(31, link(), shut).unwrap();
    let why = "finished".to_owned();
    writer
        .record(40, Witness::Director, What::End { why })
        .unwrap();
}

/// So many short events.
pub(crate) fn short_events<W: Sink>(writer: &mut Writer<W>, events: u32) {
    for conn in 1..=events {
        writer
            .record(conn.into(), link(), What::Open { conn })
            .unwrap();
    }
}

/// A sealed history of so many short events.
pub(crate) fn sealed(events: u32) -> (Vec<u8>, Seal) {
    let mut file = Vec::new();
    let mut writer = writer(&mut file);
    short_events(&mut writer, events);
    let seal = writer.seal().unwrap();
    drop(writer);
    (file, seal)
}
