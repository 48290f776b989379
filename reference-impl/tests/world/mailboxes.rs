//! What the mailboxes of a node contain, read from its store as STORE.md has
//! it.

use mailproof_node::disk::{Crash, MemDisk};
use mailproof_node::store::{Store, StoreOptions};

const MAILBOX: u8 = 11;
const DATABASE: u8 = 25;

/// One message in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    pub database: String,
    pub recipient: String,
    pub content: String,
    arrival: u64,
}

impl Letter {
    /// The id in its field.
    pub(crate) fn id(&self) -> &str {
        let line = self
            .content
            .lines()
            .find(|l| l.starts_with("X-Mailproof: "));
        line.map_or("", |l| &l["X-Mailproof: ".len()..])
    }
}

fn text(bytes: &mut &[u8]) -> String {
    let len = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let text = String::from_utf8(bytes[2..2 + len].to_vec()).expect("text is UTF-8");
    *bytes = &bytes[2 + len..];
    text
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(8);
    *bytes = rest;
    u64::from_le_bytes(head.try_into().expect("eight bytes"))
}

/// Everything durable in the mailboxes of a disk.
pub(crate) fn letters(disk: &MemDisk) -> Vec<Letter> {
    let mut disk = disk.clone();
    disk.crash(Crash::DropAll);
    let (store, records) =
        Store::open(&mut disk, StoreOptions::default(), 1).expect("the store opens");
    let mut letters: Vec<Letter> = Vec::new();
    for record in records {
        let mut header = &record.header[1..];
        match record.kind {
            MAILBOX => {
                let (database, recipient) = (text(&mut header), text(&mut header));
                text(&mut header);
                let body = store.read(&disk, record.seq).expect("it can be read");
                letters.push(Letter {
                    database,
                    recipient,
                    arrival: number(&mut header),
                    content: String::from_utf8(body.to_vec()).expect("test mail is UTF-8"),
                });
            }
            DATABASE => {
                let name = text(&mut header);
                header = &header[1..];
                text(&mut header);
                if header[0] == 1 {
                    header = &header[1..];
                    let as_of = number(&mut header);
                    letters.retain(|l| l.database != name || l.arrival <= as_of);
                }
            }
            _ => {}
        }
    }
    letters
}
