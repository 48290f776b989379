//! How long a node takes to start on a full store, and what it costs.
//!
//! `cargo run --release -p mailproof-node --example recovery -- [MESSAGES] [BYTES]`
//! (100000 messages of 4096 bytes) fills a store in a temporary directory with
//! mail that cannot be delivered, starts a node on it, and says how long that
//! took, how much lies on the disk and how much memory the process has.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use mailproof_node::disk::FsDisk;
use mailproof_node::{Boot, Config, ConnId, Input, Node, Now, Output};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut number = |default| {
        words
            .next()
            .map_or(Ok(default), |word| word.parse::<usize>())
    };
    let (messages, bytes) = (number(100_000)?, number(4096)?);
    let dir = tempfile::tempdir()?;
    let filled = Instant::now();
    fill(dir.path(), messages, bytes)?;
    println!(
        "{messages} messages of {bytes} bytes written in {:?}",
        filled.elapsed()
    );
    let on_disk: u64 = std::fs::read_dir(dir.path())?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.len())
        .sum();
    println!("on the disk: {on_disk} bytes");
    let before = resident();
    let opened = Instant::now();
    let mut disk = FsDisk::open(dir.path())?;
    let boot = Boot::open(config(dir.path())?, 1, 1, NOW, &mut disk)?;
    let store = opened.elapsed();
    let node = Node::new(boot, &disk, &mut Vec::new())?;
    println!(
        "started in {:?}, of which the store {store:?}; {} messages found",
        opened.elapsed(),
        node.queues().messages.len()
    );
    if let Some((before, after)) = before.zip(resident()) {
        let each = after.saturating_sub(before) / messages.max(1) as u64;
        println!("memory: {each} bytes a message beside its content's {bytes}: in all {after}");
    }
    Ok(())
}

const NOW: Now = Now {
    mono: 1,
    wall: 1_795_291_380_000,
};

fn config(dir: &Path) -> Result<Config, Box<dyn Error>> {
    let text = format!(
        "name = \"n1\"\nlisten = \"127.0.0.1:2525\"\nstore = \"{}\"\nrelay-from = [\"127.0.0.0/8\"]\n\
         body-budget-bytes = \"16 GiB\"\n\
         routes = [{{ domain = \"*\", next-hops = [\"127.0.0.1:9\"] }}]\n",
        dir.display()
    );
    Ok(Config::from_toml(&text, "recovery")?)
}

/// Has a node accept the messages; nothing of them is ever delivered, because
/// no dial of it is carried out.
fn fill(dir: &Path, messages: usize, bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut disk = FsDisk::open(dir)?;
    let boot = Boot::open(config(dir)?, 1, 1, NOW, &mut disk)?;
    let mut out = Vec::new();
    let mut node = Node::new(boot, &disk, &mut out)?;
    node.set_logging(false);
    // Many at once, so that they share syncs.
    let clients: Vec<ConnId> = (1..=64).map(ConnId).collect();
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).ip();
    for conn in &clients {
        node.handle(NOW, Input::Accepted { conn: *conn, peer }, &mut out);
        let data = b"EHLO x\r\n";
        node.handle(NOW, Input::Bytes { conn: *conn, data }, &mut out);
    }
    work(&mut node, &mut disk, &mut out);
    let line = format!("{}\r\n", "x".repeat(70));
    let body = line.repeat(bytes.div_ceil(line.len()));
    for n in 0..messages {
        let conn = clients[n % clients.len()];
        let text = format!(
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\
             Message-ID: <{n}@b.example>\r\n\r\n{body}.\r\n"
        );
        let data = text.as_bytes();
        node.handle(NOW, Input::Bytes { conn, data }, &mut out);
        if (n + 1) % clients.len() == 0 {
            work(&mut node, &mut disk, &mut out);
        }
    }
    work(&mut node, &mut disk, &mut out);
    Ok(())
}

/// Carries out every batch.
fn work(node: &mut Node, disk: &mut FsDisk, out: &mut Vec<Output>) {
    loop {
        let batches: Vec<_> = out
            .drain(..)
            .filter_map(|output| match output {
                Output::Commit { batch } => Some(batch),
                _ => None,
            })
            .collect();
        if batches.is_empty() {
            return;
        }
        for batch in batches {
            let result = batch.execute(disk);
            node.handle(
                NOW,
                Input::Committed {
                    batch: batch.id,
                    result,
                },
                out,
            );
        }
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
