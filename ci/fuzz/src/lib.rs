//! A node in memory, its disk at hand: what the targets that drive it share.
//!
//! Each rig holds a node to what must be so whatever it is sent: a server
//! speaks in whole reply lines of at most 512 octets, and when every
//! connection is closed and nothing is queued, no memory stays booked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mailproof_node::disk::{MemDisk, Persistence};
use mailproof_node::{Boot, Config, ConnId, Input, Node, Now, Output};

/// The cluster key of every rig.
pub const SECRET: &[u8] = b"a key for tests only";

/// A node.
pub struct Rig {
    /// It.
    pub node: Node,
    disk: MemDisk,
    now: Now,
    /// What it wrote and nobody has taken yet, by connection.
    pub written: BTreeMap<ConnId, Vec<u8>>,
    /// Dials that wait for their result.
    pub dials: Vec<(ConnId, SocketAddr)>,
    /// Connections open at this moment.
    pub open: Vec<ConnId>,
    wake: u64,
}

/// Where its only peer, n2, listens.
pub fn peer() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 1, 2).into(), 25)
}

/// Its next hop.
pub fn hop() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 2, 1).into(), 25)
}

/// Where clients come from.
pub fn client() -> IpAddr {
    Ipv4Addr::new(127, 0, 3, 1).into()
}

impl Rig {
    /// Node n1 with peer n2, one route and `more` in its configuration.
    pub fn new(more: &str) -> Self {
        let text = format!(
            "name = \"n1\"\nlisten = \"127.0.1.1:25\"\nstore = \"store\"\n\
             segment-bytes = \"64 KiB\"\nmax-message-bytes = \"64 KiB\"\n\
             body-budget-bytes = \"128 KiB\"\nmax-recipients = 100\n\
             relay-from = [\"127.0.0.0/8\"]\ncluster-key = \"{}\"\n\
             peers = [{{ name = \"n2\", address = \"{}\" }}]\n{more}\n\
             [[routes]]\ndomain = \"*\"\nnext-hops = [\"{}\"]\n",
            String::from_utf8_lossy(SECRET),
            peer(),
            hop()
        );
        let config = Config::from_toml(&text, "fuzz").expect("the rig's configuration holds");
        let now = Now {
            mono: 1_000_000_000,
            wall: 1_795_291_380_000,
        };
        let mut disk = MemDisk::new(Persistence::Posix);
        let boot = Boot::open(config, 7, 5, now, &mut disk).expect("an empty store opens");
        let mut out = Vec::new();
        let node = Node::new(boot, &disk, &mut out).expect("a node starts on an empty store");
        let mut rig = Self {
            node,
            disk,
            now,
            written: BTreeMap::new(),
            dials: Vec::new(),
            open: Vec::new(),
            wake: u64::MAX,
        };
        rig.carry_out(out);
        rig
    }

    /// Hands an input over and carries out what the node wants, the disk
    /// included.
    pub fn feed(&mut self, input: Input<'_>) {
        self.now.mono += 1_000_000;
        self.now.wall += 1;
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        let mut pending = std::collections::VecDeque::from(out);
        while let Some(output) = pending.pop_front() {
            match output {
                Output::Write { conn, bytes } => {
                    self.written
                        .entry(conn)
                        .or_default()
                        .extend_from_slice(&bytes);
                }
                Output::Shutdown { conn } | Output::Abort { conn } => {
                    self.open.retain(|c| *c != conn);
                    self.dials.retain(|(c, _)| *c != conn);
                }
                Output::Dial { conn, to } => self.dials.push((conn, to)),
                Output::Commit { batch } => {
                    batch
                        .execute(&mut self.disk)
                        .expect("a disk in memory works");
                    let mut more = Vec::new();
                    let input = Input::Committed {
                        batch: batch.id,
                        result: Ok(()),
                    };
                    self.node.handle(self.now, input, &mut more);
                    pending.extend(more);
                }
                Output::WakeAt(at) => self.wake = at,
                Output::Fatal { reason } => panic!("the node gave up: {reason}"),
                _ => {}
            }
        }
    }

    /// Lets time pass up to what the node waits for, at most a day.
    pub fn pass(&mut self) {
        let at = self.wake.min(self.now.mono + 86_400_000_000_000);
        let span = at.saturating_sub(self.now.mono);
        self.now.mono += span;
        self.now.wall += span / 1_000_000;
        self.feed(Input::Wake);
    }

    /// A client connects.
    pub fn accept(&mut self, conn: u64) -> ConnId {
        let conn = ConnId(conn);
        self.open.push(conn);
        self.feed(Input::Accepted {
            conn,
            peer: client(),
        });
        conn
    }

    /// Bytes arrive, if the connection is still open.
    pub fn bytes(&mut self, conn: ConnId, data: &[u8]) {
        if !data.is_empty() && self.open.contains(&conn) {
            self.feed(Input::Bytes { conn, data });
        }
    }

    /// Answers the dials that wait: `yes` says which succeed.
    pub fn answer_dials(&mut self, yes: impl Fn(SocketAddr) -> bool) {
        while let Some((conn, to)) = self.dials.pop() {
            let result = if yes(to) {
                self.open.push(conn);
                Ok(())
            } else {
                Err(mailproof_node::DialError::Refused)
            };
            self.feed(Input::Dialled { conn, result });
        }
    }

    /// The other side closes.
    pub fn close(&mut self, conn: ConnId, reset: bool) {
        if self.open.contains(&conn) {
            self.open.retain(|c| *c != conn);
            self.feed(Input::Closed { conn, reset });
        }
    }

    /// Closes everything; an idle node without mail holds no memory.
    pub fn end(mut self) {
        for conn in self.open.clone() {
            self.close(conn, true);
        }
        self.answer_dials(|_| false);
        let view = self.node.queues();
        if view.messages.is_empty() && view.shadows.is_empty() {
            assert_eq!(view.body_bytes, 0, "memory stays booked");
        }
        for conn in self.written.keys().filter(|conn| !conn.dialled()) {
            replies(&self.written[conn]);
        }
    }

    /// As n2: connects, says EHLO and proves itself.
    pub fn authenticated(&mut self, conn: u64) -> ConnId {
        let conn = self.accept(conn);
        let nonce = "00112233445566778899aabbccddeeff";
        self.bytes(
            conn,
            format!("EHLO n2\r\nXPEER n2 n1 {nonce}\r\n").as_bytes(),
        );
        let said = self.said(conn);
        let words: Vec<&str> = said.lines().last().unwrap_or("").split(' ').collect();
        let theirs = words.get(3).copied().expect("the server sends its nonce");
        let claims = format!("{} 1", "ab".repeat(16));
        let proof = prove(b"C", "n2", "n1", nonce, theirs, &claims);
        self.bytes(conn, format!("XPROVE {proof} {claims}\r\n").as_bytes());
        let said = self.said(conn);
        assert!(said.starts_with("250 2.7.0"), "{said}");
        conn
    }

    /// Takes what was written on a connection.
    pub fn said(&mut self, conn: ConnId) -> String {
        let bytes = self.written.remove(&conn).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Every line is a reply line (RFC 5321 4.2).
pub fn replies(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("replies are text");
    assert!(
        text.is_empty() || text.ends_with("\r\n"),
        "a cut reply: {text:?}"
    );
    for line in text.split_terminator("\r\n") {
        let b = line.as_bytes();
        let good = b.len() >= 3
            && b.len() <= 510
            && b[..3].iter().all(u8::is_ascii_digit)
            && matches!(b.get(3), None | Some(b' ' | b'-'))
            && !line.contains(['\r', '\n', '\0']);
        assert!(good, "no reply line: {line:?}");
    }
}

/// A proof as PROTOCOL.md section 3 has it; nonces in digits.
pub fn prove(
    side: &[u8],
    client: &str,
    server: &str,
    client_nonce: &str,
    server_nonce: &str,
    claims: &str,
) -> String {
    let key = blake3::derive_key("mailproof node peer authentication 1", SECRET);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(side);
    hasher.update(&digits(client_nonce));
    hasher.update(&digits(server_nonce));
    for text in [client, server, claims] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn digits(text: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(*pair.get(1).unwrap_or(&b'0')))
        .collect()
}

/// Cuts `data` into pieces: the bytes before the first NUL give their
/// lengths, used in turn.
pub fn pieces(data: &[u8]) -> (Vec<usize>, &[u8]) {
    match data.iter().position(|b| *b == 0) {
        Some(end) if end > 0 => (
            data[..end].iter().map(|b| usize::from(*b)).collect(),
            &data[end + 1..],
        ),
        _ => (vec![usize::MAX], data),
    }
}

/// Calls `each` with the pieces of `data`.
pub fn cut<'a>(lengths: &[usize], mut data: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    for length in lengths.iter().cycle() {
        if data.is_empty() {
            return;
        }
        let (piece, rest) = data.split_at((*length).clamp(1, data.len()));
        each(piece);
        data = rest;
    }
}
