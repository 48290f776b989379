//! How fast the node's core is by itself: client sessions and next hop are a
//! few lines here, the disk does nothing. Prints transactions a second and
//! nanoseconds of each.
//!
//! `cargo run --release -p mailproof-node --example core_speed [SESSIONS [TRANSACTIONS]]`

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use mailproof_node::disk::{MemDisk, Persistence};
use mailproof_node::{Boot, Config, ConnId, Input, Node, Now, Output};

enum Event {
    Bytes(ConnId, Vec<u8>),
    Dialled(ConnId),
    Committed(mailproof_node::store::BatchId),
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse::<u64>().ok());
    let sessions = args.next().unwrap_or(8);
    let total = args.next().unwrap_or(300_000);
    let text = "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\n\
        shadow-redundancy-enabled = false\nrelay-from = [\"127.0.0.0/8\"]\n\
        routes = [{ domain = \"*\", next-hops = [\"127.0.0.2:25\"] }]\n";
    let config = Config::from_toml(text, "bench").expect("the configuration is good");
    let mut disk = MemDisk::new(Persistence::Posix);
    let mut mono = 1_000_000_000;
    let now = |mono: u64| Now {
        mono,
        wall: 1_795_291_380_000 + mono / 1_000_000,
    };
    let boot = Boot::open(config, 1, 2, now(mono), &mut disk).expect("the store opens");
    let mut out = Vec::new();
    let mut node = Node::new(boot, &disk, &mut out).expect("the node starts");
    // As in the simulator, where nobody reads the log.
    node.set_logging(false);
    let body = format!(
        "Message-ID: <1@x>\r\nSubject: bench\r\n\r\n{}\r\n.\r\n",
        "x".repeat(62).repeat(16)
    );
    let open = b"MAIL FROM:<s@client.example>\r\nRCPT TO:<r@target.example>\r\nDATA\r\n";
    let mut events = VecDeque::new();
    for n in 0..sessions {
        let peer = [127, 0, 0, 1].into();
        node.handle(
            now(mono),
            Input::Accepted {
                conn: ConnId(n),
                peer,
            },
            &mut out,
        );
    }
    let (mut done, mut taken) = (0, 0);
    let began = Instant::now();
    while taken < total {
        for output in out.drain(..) {
            match output {
                Output::Write { conn, bytes } if conn.dialled() => {
                    // The next hop: one reply for what came.
                    let reply: &[u8] = if bytes.starts_with(b"EHLO") {
                        b"250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME\r\n"
                    } else if bytes.starts_with(b"MAIL") {
                        b"250 ok\r\n250 ok\r\n354 go\r\n"
                    } else if bytes.ends_with(b"\r\n.\r\n") {
                        taken += 1;
                        b"250 taken\r\n"
                    } else {
                        b"221 bye\r\n"
                    };
                    events.push_back(Event::Bytes(conn, reply.to_vec()));
                }
                Output::Write { conn, bytes } => {
                    let next: &[u8] = if bytes.starts_with(b"220") {
                        b"EHLO client.example\r\n"
                    } else if bytes.ends_with(b"dot\r\n") {
                        body.as_bytes()
                    } else {
                        open
                    };
                    events.push_back(Event::Bytes(conn, next.to_vec()));
                }
                Output::Dial { conn, .. } => {
                    events.push_back(Event::Dialled(conn));
                    events.push_back(Event::Bytes(conn, b"220 sink\r\n".to_vec()));
                }
                Output::Commit { batch } => {
                    black_box(&batch.ops);
                    events.push_back(Event::Committed(batch.id));
                }
                Output::Log(event) => drop(black_box(event)),
                Output::Mark(mark) => drop(black_box(mark)),
                _ => {}
            }
        }
        mono += 1_000;
        let Some(event) = events.pop_front() else {
            panic!("nothing goes on any more: {:#?}", node.queues());
        };
        match event {
            Event::Bytes(conn, data) => {
                node.handle(now(mono), Input::Bytes { conn, data: &data }, &mut out)
            }
            Event::Dialled(conn) => node.handle(
                now(mono),
                Input::Dialled {
                    conn,
                    result: Ok(()),
                },
                &mut out,
            ),
            Event::Committed(batch) => node.handle(
                now(mono),
                Input::Committed {
                    batch,
                    result: Ok(()),
                },
                &mut out,
            ),
        }
        done += 1;
    }
    let took = began.elapsed();
    println!(
        "{sessions} sessions: {:.0} transactions/s, {:.0} ns each, {:.1} inputs each",
        total as f64 / took.as_secs_f64(),
        took.as_nanos() as f64 / total as f64,
        f64::from(done) / total as f64
    );
}
