//! What a writer refuses, and what it does when it cannot write.

mod history_support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;

use history_support::{link, plan, small_run, writer};
use mailproof_model::event::What;
use mailproof_model::history::{Durability, History, MAX_LINE, Reader, Sink, Tail, Writer};
use mailproof_model::party::{Party, Witness};

/// A disk with so much room.
struct Disk {
    data: Rc<std::cell::RefCell<Vec<u8>>>,
    room: Rc<Cell<usize>>,
    sync_fails: bool,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room.get());
        if n == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.room.set(self.room.get() - n);
        self.data.borrow_mut().extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn sync(&mut self) -> io::Result<()> {
        if self.sync_fails {
            return Err(io::Error::other("the device failed"));
        }
        Ok(())
    }
}

#[test]
fn times_never_decrease() {
    let mut writer = writer(Vec::new());
    let give_up = |msg| What::GaveUp { msg };
    assert_eq!(
        writer.record(10, Witness::Client, give_up(0)).unwrap().at,
        10
    );
    assert_eq!(
        writer.record(7, Witness::Client, give_up(1)).unwrap().at,
        10
    );
    assert_eq!(
        writer.record(11, Witness::Client, give_up(2)).unwrap().id,
        2
    );
    assert_eq!(writer.events(), 3);
}

#[test]
fn the_wrong_witness_is_refused_and_the_writer_goes_on() {
    let mut file = Vec::new();
    let mut w = writer(&mut file);
    let error = w
        .record(1, Witness::Node(Party::Node(1)), What::Open { conn: 1 })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`node:n1`"), "{error}");
    small_run(&mut w);
    w.seal().unwrap();
    drop(w);
    let mut reader = Reader::new(file.as_slice()).unwrap();
    assert_eq!(reader.by_ref().count(), 5);
    assert!(matches!(
        reader.tail(),
        Some(Tail::Sealed { events: 5, .. })
    ));
}

#[test]
fn after_the_end_the_run_is_only_taken_down() {
    let mut writer = writer(Vec::new());
    small_run(&mut writer);
    let begin = What::Attempt {
        msg: 1,
        attempt: 1,
        session: 0,
        node: Party::Node(1),
        rcpts: vec![0],
        silent: false,
    };
    let error = writer.record(50, Witness::Client, begin).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let again = What::End {
        why: "again".to_owned(),
    };
    assert!(writer.record(50, Witness::Director, again).is_err());
    let exit = What::Exit {
        node: Party::Node(1),
        life: 1,
        status: "signal 15".to_owned(),
    };
    writer.record(50, Witness::Kernel, exit).unwrap();
    writer.seal().unwrap();
}

#[test]
fn nothing_follows_the_seal() {
    let mut writer = writer(Vec::new());
    small_run(&mut writer);
    writer.seal().unwrap();
    assert!(writer.record(60, link(), What::Open { conn: 2 }).is_err());
    assert!(writer.seal().is_err());
    assert!(writer.flush().is_err());
}

/// Room for any number of bytes: the writer reports the full disk, stays
/// stopped, and what it left behind is a valid prefix.
#[test]
fn a_full_disk_stops_the_writer() {
    let mut whole = Vec::new();
    let mut w = writer(&mut whole);
    small_run(&mut w);
    w.seal().unwrap();
    drop(w);
    for durability in [Durability::EachEvent, Durability::Buffered] {
        for room in 0..whole.len() {
            let data = Rc::default();
            let disk = Disk {
                data: Rc::clone(&data),
                room: Rc::new(Cell::new(room)),
                sync_fails: false,
            };
            let free = Rc::clone(&disk.room);
            let run = || -> Result<(), io::Error> {
                let mut w = Writer::create(disk, &plan(), durability)?;
                for conn in 1..=5 {
                    w.record(1, link(), What::Open { conn })?;
                }
                Err(match w.seal() {
                    Ok(_) => return Ok(()),
                    Err(e) => {
                        // Room again does not help: the file ends in a torn line.
                        free.set(1 << 20);
                        assert!(w.record(2, link(), What::Open { conn: 9 }).is_err());
                        assert!(w.flush().is_err());
                        assert!(w.seal().is_err());
                        e
                    }
                })
            };
            match run() {
                Ok(()) => {}
                Err(e) => assert_eq!(e.kind(), ErrorKind::StorageFull),
            }
            let data = data.borrow();
            assert!(data.len() <= room);
            match Reader::new(data.as_slice()) {
                Err(_) => assert!(!data.contains(&b'\n')),
                Ok(mut reader) => {
                    reader.by_ref().for_each(|e| drop(e.unwrap()));
                    assert!(!matches!(reader.tail(), Some(Tail::Altered { .. })));
                }
            }
        }
    }
}

#[test]
fn a_failed_sync_is_no_seal() {
    let disk = Disk {
        data: Rc::default(),
        room: Rc::new(Cell::new(1 << 20)),
        sync_fails: true,
    };
    let mut writer = Writer::create(disk, &plan(), Durability::Buffered).unwrap();
    small_run(&mut writer);
    assert!(writer.seal().is_err());
    assert!(writer.seal().is_err());
}

/// With `EachEvent` the sink has an event when `record` returns; a buffered
/// writer that is dropped leaves all it was told.
#[test]
fn events_reach_the_sink() {
    for durability in [Durability::EachEvent, Durability::Buffered] {
        let data: Rc<std::cell::RefCell<Vec<u8>>> = Rc::default();
        let disk = Disk {
            data: Rc::clone(&data),
            room: Rc::new(Cell::new(usize::MAX)),
            sync_fails: false,
        };
        let mut writer = Writer::create(disk, &plan(), durability).unwrap();
        for conn in 1..=600 {
            writer.record(1, link(), What::Open { conn }).unwrap();
            if durability == Durability::EachEvent {
                let event = format!("\"conn\":{conn}}}");
                let data = data.borrow();
                let tail = &data[data.len().saturating_sub(300)..];
                assert!(String::from_utf8_lossy(tail).contains(&event));
            }
        }
        drop(writer);
        let data = data.borrow();
        let mut reader = Reader::new(data.as_slice()).unwrap();
        assert_eq!(reader.by_ref().count(), 600);
        let why = "it ends without a seal".to_owned();
        assert_eq!(
            reader.tail(),
            Some(&Tail::Unsealed {
                events: 600,
                hashed: 512,
                why
            })
        );
    }
}

#[test]
fn a_line_that_no_reader_takes_is_not_written() {
    let mut file = Vec::new();
    let mut w = writer(&mut file);
    let note = "x".repeat(MAX_LINE);
    let error = w
        .record(1, Witness::Director, What::Trouble { note })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    small_run(&mut w);
    w.seal().unwrap();
    drop(w);
    let mut reader = Reader::new(file.as_slice()).unwrap();
    assert_eq!(reader.by_ref().count(), 5);
    assert!(matches!(reader.tail(), Some(Tail::Sealed { .. })));
}

#[test]
fn hand_made_histories_need_no_ids() {
    let header = format!(
        "{{\"mailproof\":\"history/1\",\"plan\":{}}}",
        serde_json::to_string(&plan()).unwrap()
    );
    let text = format!(
        "# a comment\n{header}\n\n\
         {{\"at\":1,\"by\":\"link:client->n1\",\"ev\":{{\"open\":{{\"conn\":1}}}}}}\n\
         {{\"id\":1,\"at\":1,\"by\":\"director\",\"ev\":{{\"end\":{{\"why\":\"finished\"}}}}}}\n"
    );
    let history = History::from_lines(&text).unwrap();
    assert_eq!(history.plan, plan());
    assert_eq!(history.events.len(), 2);
    assert_eq!(history.events[1].id, 1);
    // Sealed, it is a history as any other.
    let mut file = Vec::new();
    let seal = history.write(&mut file).unwrap();
    let mut reader = Reader::new(file.as_slice()).unwrap();
    let events: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(events, history.events);
    assert_eq!(seal.events, 2);

    for (from, to, line) in [
        ("\"id\":1", "\"id\":2", 5),
        (
            "\"at\":1,\"by\":\"director\"",
            "\"at\":0,\"by\":\"director\"",
            5,
        ),
        ("\"by\":\"link:client->n1\"", "\"by\":\"client\"", 4),
        ("history/1", "history/2", 2),
        ("\"conn\"", "\"con\"", 4),
    ] {
        let error = History::from_lines(&text.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.line, line, "{from} -> {to}: {error}");
    }
    assert_eq!(History::from_lines("").unwrap_err().line, 1);
}
