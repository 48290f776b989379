//! The private verbs, server's side (PROTOCOL.md).
//!
//! Each is one command line and one reply. All but the two of the handshake
//! are refused with 530 to whoever has not authenticated, and then change and
//! tell nothing.

use std::fmt::Write as _;

use super::auth::{self, Handshake};
use super::inventory;
use super::server::{Challenge, Server};
use crate::config::Place;
use crate::event::EventKind;
use crate::hex;
use crate::mark::Mark;
use crate::queue::{Offer, PeerId, Queue, Report, Tracked, Waiter};
use crate::record::CopyKey;
use crate::store::{DatabaseId, Seq};

/// Every private verb, in upper case: what PROTOCOL.md's grammar has, what is
/// refused to strangers. One that is not here is unknown to the server.
pub const PRIVATE_VERBS: &[&str] = &[
    "XPEER",
    "XPROVE",
    "XSHADOWREQUEST",
    "XSHADOW",
    "XQDISCARD",
    "XQCONFIRM",
    "XQSTATUS",
    "XSHADOWABORT",
    "XINVENTORY",
    "XRESUBMIT",
];

/// The verbs of the handshake: the only ones that need no authentication.
pub const HANDSHAKE_VERBS: &[&str] = &["XPEER", "XPROVE"];

/// Most sequences in one line of a question or withdrawal.
const MAX_SEQUENCES: usize = 100;
/// The word that asks about mail that the client sent here (hold model).
pub(super) const HOLD: &str = "HOLD";

impl Server {
    pub(super) fn private(&mut self, verb: &str, rest: &str, queue: &mut Queue) {
        let verb = verb.to_ascii_uppercase();
        let known = PRIVATE_VERBS.contains(&verb.as_str());
        if !known || queue.key.is_none() {
            return self.error("500 5.5.1 Unknown command\r\n");
        }
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        match verb.as_str() {
            "XPEER" => return self.xpeer(&words, queue),
            "XPROVE" => return self.xprove(&words, queue),
            _ => {}
        }
        let Some((peer, database)) = self.peer else {
            // What is pipelined behind it must not pass for ordinary mail.
            self.unwanted |= verb == "XSHADOWREQUEST";
            queue.counters.private_verbs_refused += 1;
            let conn = self.link.conn.0;
            let detail = format!("{verb} without authentication, connection {conn}");
            queue.log(EventKind::PeerRefused, None, "", "", detail);
            return self.error("530 5.7.0 Authentication required\r\n");
        };
        if self.in_transaction() {
            return self.error("503 5.5.1 A transaction is open\r\n");
        }
        match verb.as_str() {
            "XSHADOWREQUEST" => self.xshadowrequest(&words, peer, database, queue),
            "XSHADOW" => self.xshadow(&words, peer, database, queue),
            "XQDISCARD" => self.xqdiscard(&words, peer, database, queue),
            "XQCONFIRM" => self.xqconfirm(&words, peer, database, queue),
            "XQSTATUS" => self.xqstatus(&words, peer, database, queue),
            "XINVENTORY" => self.xinventory(&words, peer, queue),
            "XRESUBMIT" => self.xresubmit(&words, peer, queue),
            _ => self.xshadowabort(&words, peer, database, queue),
        }
    }

    pub(super) fn syntax(&mut self) {
        self.error("501 5.5.4 Bad arguments\r\n");
    }

    /// `XPEER <client> <server> <nonce>`
    fn xpeer(&mut self, words: &[&str], queue: &mut Queue) {
        let &[client, server, nonce] = words else {
            return self.syntax();
        };
        let (Some(client_nonce), Some(key)) = (auth::nonce(nonce), queue.key.clone()) else {
            return self.syntax();
        };
        if self.peer.is_some() {
            return self.error("503 5.5.1 Already authenticated\r\n");
        }
        let configured = queue
            .find_peer(client)
            .filter(|peer| queue.peers[*peer].host.is_some());
        let ours = server.eq_ignore_ascii_case(&queue.config.name);
        let Some(peer) = configured.filter(|_| ours) else {
            let detail = format!("XPEER {client} {server}: not a pair of this cluster");
            queue.log(EventKind::PeerRefused, None, "", client, detail);
            return self.error("535 5.7.8 Not a peer\r\n");
        };
        let server_nonce = queue.rng.bytes();
        let handshake = Handshake {
            client,
            server: &queue.config.name,
            client_nonce: &client_nonce,
            server_nonce: &server_nonce,
        };
        let reply = format!(
            "250 2.7.0 {} {} {}\r\n",
            queue.config.name,
            hex::encode(&server_nonce),
            key.server_proof(&handshake)
        );
        self.link.write(&reply);
        self.challenge = Some(Challenge {
            peer,
            name: client.to_owned(),
            client_nonce,
            server_nonce,
        });
    }

    /// `XPROVE <proof> <database> <boot> [<predecessors>]`
    fn xprove(&mut self, words: &[&str], queue: &mut Queue) {
        // One try for each challenge.
        let (Some(challenge), Some(key)) = (self.challenge.take(), queue.key.clone()) else {
            return self.error("503 5.5.1 XPEER first\r\n");
        };
        let (&[proof, database, boot] | &[proof, database, boot, _]) = words else {
            return self.syntax();
        };
        let chain = inventory::chain(words.get(3).copied());
        let (Some(id), Ok(number), Some(chain)) =
            (database_id(database), boot.parse::<u32>(), chain)
        else {
            return self.syntax();
        };
        let handshake = Handshake {
            client: &challenge.name,
            server: &queue.config.name,
            client_nonce: &challenge.client_nonce,
            server_nonce: &challenge.server_nonce,
        };
        if !key.client_proved(&handshake, &words[1..].join(" "), proof) {
            let detail = "wrong proof".to_owned();
            queue.log(EventKind::PeerRefused, None, "", &challenge.name, detail);
            return self.error("535 5.7.8 Authentication failed\r\n");
        }
        self.peer = Some((challenge.peer, id));
        queue.contact(challenge.peer, id, number, &chain);
        let reply = format!(
            "250 2.7.0 {} {}{}\r\n",
            queue.database,
            queue.boot,
            queue.predecessors_claim()
        );
        self.link.write(&reply);
    }

    /// `XSHADOWREQUEST <sequence> <arrival>`
    fn xshadowrequest(
        &mut self,
        words: &[&str],
        peer: PeerId,
        database: DatabaseId,
        queue: &mut Queue,
    ) {
        self.unwanted = true;
        if !queue.config.copies() {
            return self.error("502 5.5.1 No copies are held here\r\n");
        }
        if queue.redirected.is_some() {
            return self.error("451 4.3.2 This server is being taken out of service\r\n");
        }
        if queue.refuses_copies() {
            return self.error("452 4.3.1 No room for copies\r\n");
        }
        if queue.peers[peer].place == Place::Outside {
            queue.mark(Mark::CopyFromOutside);
            return self.error("550 5.7.1 Outside the boundary of this node\r\n");
        }
        if queue.store.full() {
            return self.error("452 4.3.1 Out of space for copies\r\n");
        }
        let &[sequence, arrival] = words else {
            return self.syntax();
        };
        let (Some(sequence), Ok(arrival)) = (number(sequence), arrival.parse::<u64>()) else {
            return self.syntax();
        };
        let offer = Offer {
            peer,
            key: CopyKey { database, sequence },
            arrival,
        };
        if !queue.may_hold(&offer) {
            queue.mark(Mark::CopyTooLate);
            return self.error("550 5.7.0 This message is done with\r\n");
        }
        self.unwanted = false;
        self.offer = Some(offer);
        self.link.write("250 2.7.0 Send the copy\r\n");
    }

    /// `XSHADOW <id>`
    fn xshadow(&mut self, words: &[&str], peer: PeerId, database: DatabaseId, queue: &mut Queue) {
        self.track = None;
        if !queue.config.holds() || !queue.peers[peer].tracks {
            // The message that follows is taken all the same, untracked.
            return self.link.write("502 5.5.1 Nothing is tracked here\r\n");
        }
        let id = match words {
            [id] => number(id),
            _ => None,
        };
        let Some(sequence) = id else {
            return self.syntax();
        };
        let key = CopyKey { database, sequence };
        self.track = Some(Tracked { peer, key });
        self.link.write("250 2.7.0 Will report\r\n");
    }

    /// `XQDISCARD`, `XQDISCARD HOLD`
    fn xqdiscard(&mut self, words: &[&str], peer: PeerId, database: DatabaseId, queue: &mut Queue) {
        let hold = match words {
            [] => false,
            [word] if word.eq_ignore_ascii_case(HOLD) => true,
            _ => return self.syntax(),
        };
        let (sequences, more) = if hold {
            let (done, more) = queue.report_done(peer, database);
            let done = done.into_iter().map(|sequence| Report {
                sequence,
                refused: false,
            });
            (done.collect(), more)
        } else {
            queue.report(peer)
        };
        self.reported_hold = hold;
        let mut reply = String::new();
        for line in sequences.chunks(24) {
            reply.push_str("250-2.0.0");
            for report in line {
                let _ = write!(reply, " {}", report_word(*report));
            }
            reply.push_str("\r\n");
        }
        self.token = self.token.wrapping_add(1);
        let _ = write!(
            reply,
            "250 2.0.0 count={} token={} more={}\r\n",
            sequences.len(),
            self.token,
            u8::from(more)
        );
        self.reported = sequences.iter().map(|report| report.sequence).collect();
        self.link.write(&reply);
    }

    /// `XQCONFIRM <token>`
    fn xqconfirm(&mut self, words: &[&str], peer: PeerId, database: DatabaseId, queue: &mut Queue) {
        let &[token] = words else {
            return self.syntax();
        };
        if token.parse() != Ok(self.token) {
            return self.error("501 5.5.4 Not the token of the last report\r\n");
        }
        let sequences = std::mem::take(&mut self.reported);
        if self.reported_hold {
            queue.report_confirmed(peer, database, &sequences);
        } else {
            queue.confirmed(peer, &sequences);
        }
        // The holder asks no more once it has this answer, so that we forgot
        // must be durable.
        self.block();
        let reply = "250 2.0.0 Forgotten\r\n".to_owned();
        queue.wait(
            queue.store.appended(),
            Waiter::Answer(self.link.conn, reply),
        );
    }

    /// `XQSTATUS <sequence>…`, `XQSTATUS HOLD <id>…`
    fn xqstatus(&mut self, words: &[&str], peer: PeerId, database: DatabaseId, queue: &mut Queue) {
        let (hold, words) = match words {
            [first, rest @ ..] if first.eq_ignore_ascii_case(HOLD) => (true, rest),
            all => (false, all),
        };
        let Some(sequences) = numbers(words) else {
            return self.syntax();
        };
        let mut reply = "250 2.0.0 unknown".to_owned();
        let unknown = if hold {
            queue.not_tracked(peer, database, &sequences)
        } else {
            queue.unknown_to_us(peer, &sequences)
        };
        for sequence in unknown {
            let _ = write!(reply, " {sequence:x}");
        }
        reply.push_str("\r\n");
        self.link.write(&reply);
    }

    /// `XSHADOWABORT <sequence>…`
    fn xshadowabort(
        &mut self,
        words: &[&str],
        peer: PeerId,
        database: DatabaseId,
        queue: &mut Queue,
    ) {
        let Some(sequences) = reports(words) else {
            return self.syntax();
        };
        let (record, taken): (Seq, usize) = queue.withdrawn_by(peer, database, &sequences);
        self.block();
        let reply = format!("250 2.0.0 taken-over={taken}\r\n");
        queue.wait(record, Waiter::Answer(self.link.conn, reply));
    }
}

impl Server {
    /// `XRESUBMIT <database> <start> <end> [<primary>]`
    fn xresubmit(&mut self, words: &[&str], peer: PeerId, queue: &mut Queue) {
        if queue.peers[peer].place == Place::Outside {
            return self.error("550 5.7.1 Outside the boundary of this node\r\n");
        }
        let (database, start, end, shadow_of) = match *words {
            [database, start, end] => (database, start, end, ""),
            [database, start, end, primary] => (database, start, end, primary),
            _ => return self.syntax(),
        };
        let (Ok(start), Ok(end)) = (start.parse::<u64>(), end.parse::<u64>()) else {
            return self.syntax();
        };
        if start >= end {
            return self.error("501 5.5.4 The start must be before the end\r\n");
        }
        if queue.database_number(database).is_none() {
            return self.error("550 5.1.2 No such mailbox database\r\n");
        }
        let Some(id) = queue.requested_by(peer, database, start, end, shadow_of) else {
            return self.error("452 4.3.1 Too many requests\r\n");
        };
        self.block();
        let reply = format!("250 2.0.0 request={id} {}\r\n", queue.request_state(id));
        queue.wait(
            queue.store.appended(),
            Waiter::Answer(self.link.conn, reply),
        );
    }
}

/// A sequence as it is reported done: refused ones begin with a hyphen.
pub(super) fn report_word(report: Report) -> String {
    let hyphen = if report.refused { "-" } else { "" };
    format!("{hyphen}{:x}", report.sequence)
}

/// The same, read.
pub(super) fn report(word: &str) -> Option<Report> {
    let (refused, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    number(digits).map(|sequence| Report { sequence, refused })
}

fn reports(words: &[&str]) -> Option<Vec<Report>> {
    if words.is_empty() || words.len() > MAX_SEQUENCES {
        return None;
    }
    words.iter().map(|word| report(word)).collect()
}

/// A sequence: 1 to 16 hexadecimal digits.
pub(super) fn number(text: &str) -> Option<u64> {
    let good = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| u64::from_str_radix(text, 16).ok())?
}

fn numbers(words: &[&str]) -> Option<Vec<u64>> {
    if words.is_empty() || words.len() > MAX_SEQUENCES {
        return None;
    }
    words.iter().map(|word| number(word)).collect()
}

/// A database ID: 32 hexadecimal digits.
pub(super) fn database_id(text: &str) -> Option<DatabaseId> {
    let bytes: [u8; 16] = hex::decode(text)?.try_into().ok()?;
    Some(DatabaseId(u128::from_be_bytes(bytes)))
}
