//! The driver on real sockets: one node, one next hop, one signal.
#![cfg(feature = "driver")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mailproof_node::Config;
use mailproof_node::driver::{Question, query, redirect, run};

const LIMIT: Duration = Duration::from_secs(20);

/// Takes one message and hands its content over.
fn next_hop(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut write = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut say = |text: &str| write.write_all(text.as_bytes()).unwrap();
    say("220 sink\r\n");
    let mut content = String::new();
    loop {
        let line = lines.next().unwrap().unwrap();
        if line.starts_with("DATA") {
            say("354 go on\r\n");
            for line in lines.by_ref().map(Result::unwrap) {
                if line == "." {
                    break;
                }
                content += &line;
                content += "\n";
            }
            say("250 taken\r\n");
            return content;
        }
        say("250 ok\r\n");
    }
}

/// Connects as soon as somebody listens.
fn connect(address: &str) -> TcpStream {
    let until = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        thread::yield_now();
    }
}

fn configure(dir: &Path, listen: &str, hop: &str) -> Config {
    let text = format!(
        "name = \"n1\"\nlisten = \"{listen}\"\nsource = \"127.0.0.1\"\nstore = {:?}\nadmin = {:?}\n\
         relay-from = [\"127.0.0.0/8\"]\nsegment-bytes = \"64 KiB\"\n\
         routes = [{{ domain = \"*\", next-hops = [\"{hop}\"] }}]\n",
        dir.join("store"),
        dir.join("admin.sock"),
    );
    Config::from_toml(&text, "test").unwrap()
}

/// One test alone in its process: the signal goes to all of it.
#[test]
fn a_node_relays_answers_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let hop = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let config = configure(dir.path(), &listen, &hop.local_addr().unwrap().to_string());
    let again = config.clone();
    let (ended, end) = mpsc::channel();
    let node = thread::spawn(move || ended.send(run(config).map_err(|e| e.to_string())).unwrap());

    let stream = connect(&listen);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut write = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut expect = |code: &str| loop {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with(code), "{line}");
        if line.as_bytes()[3] == b' ' {
            return;
        }
    };
    expect("220");
    write.write_all(b"EHLO c\r\n").unwrap();
    expect("250");
    write
        .write_all(b"MAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nDATA\r\n")
        .unwrap();
    for code in ["250", "250", "354"] {
        expect(code);
    }
    let big = "y".repeat(70).repeat(10_000);
    let folded: Vec<&str> = (0..big.len())
        .step_by(70)
        .map(|at| &big[at..at + 70])
        .collect();
    let body = folded.join("\r\n");
    write
        .write_all(format!("Subject: t\r\n\r\n{body}\r\n.\r\n").as_bytes())
        .unwrap();
    expect("250 2.6.0");
    let content = next_hop(&hop);
    assert!(content.starts_with("Received: from c ([127.0.0.1])"));
    assert!(content.len() > 700_000);

    // A store is opened once at a time.
    let error = run(again).unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");

    let socket = dir.path().join("admin.sock");
    let until = Instant::now() + LIMIT;
    loop {
        let view = query(&socket, Question::Queues).unwrap();
        let view: serde_json::Value = serde_json::from_str(&view).unwrap();
        assert_eq!(view["node"], "n1");
        assert_eq!(view["counters"]["accepted"], 1);
        if view["messages"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{view}");
        thread::yield_now();
    }
    let metrics = query(&socket, Question::Metrics).unwrap();
    assert!(
        metrics.contains("mailproof_node_delivered_total 1"),
        "{metrics}"
    );

    // It has no peers that its mail could be sent to.
    let refused = redirect(&socket, "n2").unwrap();
    assert!(refused.contains("n2 is no peer of this node"), "{refused}");

    // The session is still open: it is told.
    let pid = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    expect("421");
    assert_eq!(end.recv_timeout(LIMIT).unwrap(), Ok(()));
    node.join().unwrap();
    assert!(!socket.exists());
}
