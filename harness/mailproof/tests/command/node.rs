//! `mailproof node` and `mailproof queue`: one real node, asked and attacked.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::support::{Done, command, scratch};

const LIMIT: Duration = Duration::from_secs(60);

/// A running node; killed when dropped.
struct Node {
    dir: TempDir,
    listen: String,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Starts a node that may have `descriptors` files open, and waits for it.
fn start(more: &str, descriptors: u32) -> Node {
    let dir = scratch();
    let listen = free();
    let config = format!(
        "name = \"n1\"\nlisten = \"{listen}\"\nstore = {:?}\nadmin = {:?}\n\
         role = \"mailbox\"\nlocal-domains = [\"example.org\"]\nsegment-bytes = \"64 KiB\"\n{more}",
        dir.path().join("store"),
        dir.path().join("admin.sock"),
    );
    let file = dir.path().join("n1.toml");
    fs::write(&file, config).unwrap();
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_mailproof"))
        .args(["node", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let node = Node { dir, listen, child };
    let until = Instant::now() + LIMIT;
    while TcpStream::connect(&node.listen).is_err() {
        assert!(Instant::now() < until, "the node does not listen");
        std::thread::yield_now();
    }
    node
}

impl Node {
    fn socket(&self) -> String {
        let path = self.dir.path().join("admin.sock");
        path.to_str().unwrap().to_owned()
    }

    fn ask(&self, more: &[&str]) -> Done {
        let socket = self.socket();
        let mut arguments = vec!["queue", socket.as_str()];
        arguments.extend(more);
        command(&arguments)
    }

    /// Whether a message to a local mailbox is taken now.
    fn takes_mail(&self) -> bool {
        let Ok(stream) = TcpStream::connect(&self.listen) else {
            return false;
        };
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut write = stream.try_clone().unwrap();
        let mut lines = BufReader::new(stream).lines();
        let text = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n";
        if write.write_all(text.as_bytes()).is_err() {
            return false;
        }
        loop {
            match lines.next() {
                Some(Ok(line)) if line.starts_with("354") => break,
                Some(Ok(line)) if line.starts_with('2') => {}
                _ => return false,
            }
        }
        if write.write_all(b"A: b\r\n\r\ntext\r\n.\r\n").is_err() {
            return false;
        }
        matches!(lines.next(), Some(Ok(line)) if line.starts_with("250"))
    }
}

/// Tries until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_node_is_asked_in_every_way() {
    let metrics = free();
    let node = start(&format!("metrics-listen = \"{metrics}\"\n"), 1024);
    assert!(node.takes_mail());
    let table = node.ask(&["--messages"]);
    assert_eq!(table.code, 0, "{table}");
    assert!(table.out.starts_with("n1  database "), "{table}");
    assert!(table.out.contains("no queues"), "{table}");
    let json = node.ask(&["--format", "json"]);
    let view: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(view["counters"]["mailbox-delivered"], 1);
    let id = node.ask(&["--database-id"]);
    assert_eq!(id.out.trim(), view["database-id"].as_str().unwrap());
    let events = node.ask(&["--events"]);
    let events: Vec<serde_json::Value> = events
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "START");
    assert_eq!(events[0]["source"], "BOOTLOADER");
    assert!(
        events
            .iter()
            .any(|e| e["event"] == "RECEIVE" && e["level"] == "info")
    );
    let text = node.ask(&["--metrics"]);
    assert!(
        text.out
            .contains("mailproof_node_mailbox_delivered_total 1"),
        "{text}"
    );

    let get = |request: &str| {
        let mut stream = TcpStream::connect(&metrics).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = get("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("mailproof_node_mailbox_delivered_total 1"),
        "{answer}"
    );
    assert!(get("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 404"));
    assert!(get("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 404"));

    let mode = fs::metadata(node.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_configuration_is_checked_without_running_it() {
    let dir = scratch();
    let file = dir.path().join("n.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        command(&["node", "--check-config", "--config", file.to_str().unwrap()])
    };
    let base = "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"never-made\"\n";
    let good = check(base);
    assert_eq!(good.code, 0, "{good}");
    assert!(
        good.out.contains("good: node n1, listens on 127.0.0.1:25"),
        "{good}"
    );
    assert!(!Path::new("never-made").exists());
    let bad = check(&format!("{base}retry-interval = \"13 h\"\n"));
    assert_eq!(bad.code, 2, "{bad}");
    assert!(
        bad.err
            .contains(":4:18: retry-interval: expected 1 s to 12 h"),
        "{bad}"
    );
    let open = check(&format!("{base}metrics-listen = \"0.0.0.0:9090\"\n"));
    assert!(
        open.err
            .contains("metrics-listen: expected a loopback address"),
        "{open}"
    );
    let none = command(&["node", "--check-config", "--config", "no-such-file"]);
    assert_eq!(none.code, 2, "{none}");
}

/// More connections than the process may have descriptors: the store, the
/// admin socket and who is already there go on, and mail passes again as soon
/// as the flood is over.
#[test]
fn a_flood_of_connections_takes_no_descriptor_from_the_store() {
    let node = start("", 64);
    let flood: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(&node.listen).ok())
        .collect();
    assert!(
        flood.len() > 100,
        "the system takes them on the node's behalf"
    );
    let answer = node.ask(&["--format", "json"]);
    assert_eq!(answer.code, 0, "{answer}");
    drop(flood);
    until("mail passes after the flood", || node.takes_mail());
    // The store still opens new segments.
    for _ in 0..40 {
        until("mail passes", || node.takes_mail());
    }
}

/// Clients that send and never read do not keep their sockets once the node is
/// done with them.
#[test]
fn who_never_reads_is_let_go() {
    let node = start(
        "connection-inactivity-timeout = \"1 s\"\nconnection-timeout = \"2 s\"\n",
        1024,
    );
    // Sockets of the node's port that still have an owner, but the listener.
    let port = node.listen.rsplit(':').next().unwrap();
    let port = format!(":{:04X}", port.parse::<u16>().unwrap());
    let sockets = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1].ends_with(&port) && row[3] != "0A" && row[9] != "0")
            .count()
    };
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&node.listen).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        // Until nothing more is taken: the replies wait for a reader.
        let rcpt = b"RCPT TO:<c@example.org>\r\n".repeat(1 << 20);
        let _ = stream.write_all(&[&b"EHLO c\r\nMAIL FROM:<a@b>\r\n"[..], &rcpt[..]].concat());
        greedy.push(stream);
    }
    assert_eq!(sockets(), 4, "the node has taken them");
    until("their sockets are closed", || sockets() == 0);
    assert!(node.takes_mail());
}
