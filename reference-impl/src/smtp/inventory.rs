//! The inventory of a salvaged database (PROTOCOL.md, 9): the primary's side
//! as a server, the holder's as a client.

use std::fmt::Write as _;

use super::client::Client;
use super::link::Close;
use super::private::{self, database_id, number};
use super::query::Query;
use super::reply::Reply;
use super::server::Server;
use crate::queue::{Fate, PeerId, Queue, Waiter};
use crate::store::DatabaseId;

/// Most sequences in one line.
const MAX_SEQUENCES: usize = 100;

/// One line of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Copies that are held.
    Held,
    /// Copies that were taken over.
    Taken,
    /// Of the messages that the primary asked about: those done with.
    Gone,
    /// That is all.
    End,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Taken => "TAKEN",
            Self::Gone => "GONE",
            Self::End => "END",
        }
    }
}

/// The databases that a claim names after the boot: none, or a list.
pub(super) fn chain(word: Option<&str>) -> Option<Vec<DatabaseId>> {
    match word {
        None => Some(Vec::new()),
        Some(list) => list.split(',').map(database_id).collect(),
    }
}

impl Server {
    /// `XINVENTORY <database> HELD|TAKEN|GONE|END <sequence>…`
    pub(super) fn xinventory(&mut self, words: &[&str], peer: PeerId, queue: &mut Queue) {
        let [database, part, sequences @ ..] = words else {
            return self.syntax();
        };
        let Some(database) = database_id(database) else {
            return self.syntax();
        };
        let sequences: Option<Vec<u64>> = sequences.iter().map(|word| number(word)).collect();
        let Some(sequences) = sequences.filter(|list| list.len() <= MAX_SEQUENCES) else {
            return self.syntax();
        };
        if !queue.continues(database) {
            return self.error("550 5.7.0 No predecessor of this database\r\n");
        }
        let part = part.to_ascii_uppercase();
        let reply = match (part.as_str(), sequences.is_empty()) {
            ("HELD", false) => fates(&queue.copies_found(peer, &sequences)),
            ("TAKEN", false) => fates(&queue.takeovers_found(peer, &sequences)),
            ("GONE", _) if !self.unsure.is_empty() => {
                let asked = std::mem::take(&mut self.unsure);
                queue.copies_missing(peer, &asked, &sequences);
                "250 2.0.0 Noted\r\n".to_owned()
            }
            ("GONE", _) => return self.error("503 5.5.1 Nothing was asked\r\n"),
            ("END", true) => {
                self.unsure = queue.unsure_of(peer);
                if self.unsure.is_empty() {
                    queue.inventory_made(peer, database);
                }
                let mut reply = "250 2.0.0 unsure".to_owned();
                for sequence in &self.unsure {
                    let _ = write!(reply, " {sequence:x}");
                }
                reply.push_str("\r\n");
                reply
            }
            _ => return self.syntax(),
        };
        // The holder acts on this answer: what it rests on must be durable.
        self.block();
        let last = queue.store.appended();
        queue.wait(last, Waiter::Answer(self.link.conn, reply));
    }
}

/// One letter for each message, in the order in which they were named.
fn fates(fates: &[Fate]) -> String {
    let letters: String = fates
        .iter()
        .map(|fate| match fate {
            Fate::Kept => 'K',
            Fate::Done => 'D',
            Fate::Yours => 'Y',
        })
        .collect();
    format!("250 2.0.0 {letters}\r\n")
}

impl Client {
    /// Begins a poll: with the inventory, if the primary's store was salvaged.
    pub(super) fn begin_poll(&mut self, queue: &mut Queue) {
        let next = self
            .peer
            .and_then(|peer| queue.inventory_next(peer, self.database, &self.told));
        let Some((database, part, sequences)) = next else {
            return self.begin_query(Query::Discards, queue);
        };
        if part == Part::Taken {
            self.told.extend(&sequences);
        }
        self.inventory_line(database, part, sequences, queue);
    }

    fn inventory_line(
        &mut self,
        database: DatabaseId,
        part: Part,
        sequences: Vec<u64>,
        queue: &mut Queue,
    ) {
        let verb = format!("XINVENTORY {database} {}", part.word());
        self.write_sequences(&verb, &sequences);
        self.asked = sequences;
        self.set_query(Query::Inventory { database, part }, queue);
    }

    /// The primary's answer to one line.
    pub(super) fn inventory_reply(
        &mut self,
        database: DatabaseId,
        part: Part,
        reply: &Reply<'_>,
        queue: &mut Queue,
    ) {
        let Some(peer) = self.peer else { return };
        if reply.code() == 550 {
            queue.inventory_told(peer, database, false);
            return self.begin_poll(queue);
        }
        if !reply.positive() {
            return self.lost(&reply.summary(), Close::Shutdown, queue);
        }
        let line = reply.last_line().into_owned();
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let asked = std::mem::take(&mut self.asked);
        match part {
            Part::Held | Part::Taken => {
                let letters = words.first().copied().unwrap_or_default();
                if letters.len() != asked.len() || letters.bytes().any(|b| !b"KDY".contains(&b)) {
                    return self.lost("a malformed inventory", Close::Abort, queue);
                }
                let those = |letter: u8| -> Vec<u64> {
                    let pairs = letters.bytes().zip(&asked);
                    pairs
                        .filter(|(l, _)| *l == letter)
                        .map(|(_, s)| *s)
                        .collect()
                };
                let yours = if part == Part::Held {
                    those(b'Y')
                } else {
                    Vec::new()
                };
                let kept = if part == Part::Held {
                    those(b'K')
                } else {
                    Vec::new()
                };
                let record = queue.copies_sorted(peer, database, kept, &those(b'D'), &yours);
                self.set_query(Query::Sorting, queue);
                // Our own disk is not the other side's idleness.
                self.link.deadline = u64::MAX;
                queue.wait(record, Waiter::Resume(self.link.conn));
            }
            Part::Gone => self.begin_poll(queue),
            Part::End => {
                let unsure: Option<Vec<u64>> = words
                    .iter()
                    .skip(1)
                    .map(|word| private::number(word))
                    .collect();
                let Some(unsure) = unsure else {
                    return self.lost("a malformed inventory", Close::Abort, queue);
                };
                if unsure.is_empty() {
                    queue.inventory_told(peer, database, true);
                    return self.begin_poll(queue);
                }
                let gone = queue.known_done(peer, &unsure);
                self.inventory_line(database, Part::Gone, gone, queue);
            }
        }
    }
}
