//! The holder's side of the dialogue about discards, and the primary's of
//! withdrawals.
//!
//! What is reported is removed durably before it is confirmed, and the report
//! is asked for again while there is more.

use std::fmt::Write as _;

use super::client::Client;
use super::inventory::Part;
use super::link::Close;
use super::private;
use super::reply::Reply;
use crate::mark::Mark;
use crate::queue::{LINE, Queue, Report, Waiter};
use crate::store::DatabaseId;

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// XQDISCARD is out.
    Discards,
    /// The removals are on their way to the disk.
    Removing { token: u32, more: bool },
    /// XQCONFIRM is out.
    Confirm { more: bool },
    /// XQSTATUS is out.
    Status,
    /// The removal of orphans is on its way to the disk.
    Orphans,
    /// XSHADOWABORT is out.
    Withdraw,
    /// XINVENTORY is out.
    Inventory { database: DatabaseId, part: Part },
    /// What the inventory decided is on its way to the disk.
    Sorting,
    /// XRESUBMIT for this request is out.
    Resubmit(u64),
}

impl Client {
    /// Starts the dialogue, or a step of it.
    pub(super) fn begin_query(&mut self, query: Query, queue: &mut Queue) {
        let Some(peer) = self.peer else {
            // Not a peer after all: nothing to ask.
            return;
        };
        match query {
            Query::Discards if self.hold => self.link.write("XQDISCARD HOLD\r\n"),
            Query::Discards => {
                queue.peers[peer].asking += 1;
                self.link.write("XQDISCARD\r\n");
            }
            Query::Status => {
                let asked = if self.hold {
                    queue.questions_kept(peer)
                } else {
                    queue.questions(peer)
                };
                if asked.is_empty() {
                    return self.finished(queue);
                }
                self.asked.clone_from(&asked);
                let verb = if self.hold {
                    "XQSTATUS HOLD"
                } else {
                    "XQSTATUS"
                };
                self.write_sequences(verb, &asked);
            }
            Query::Withdraw => {
                let asked: Vec<u64> = queue.peers[peer]
                    .pushed
                    .iter()
                    .take(LINE)
                    .copied()
                    .collect();
                if asked.is_empty() {
                    return self.next(queue);
                }
                let discards = &queue.peers[peer].discards;
                let refused = |s: &u64| discards.get(s).is_some_and(|d| d.withdrawn);
                let words: Vec<String> = asked
                    .iter()
                    .map(|sequence| {
                        private::report_word(Report {
                            sequence: *sequence,
                            refused: refused(sequence),
                        })
                    })
                    .collect();
                if asked.iter().any(refused) {
                    queue.mark(Mark::AbortSent);
                }
                self.link
                    .write(&format!("XSHADOWABORT {}\r\n", words.join(" ")));
                self.asked = asked;
            }
            Query::Resubmit(request) => match queue.question(request) {
                Some(line) => self.link.write(&line),
                None => return self.next(queue),
            },
            Query::Removing { .. }
            | Query::Confirm { .. }
            | Query::Orphans
            | Query::Inventory { .. }
            | Query::Sorting => {}
        }
        self.set_query(query, queue);
    }

    pub(super) fn write_sequences(&mut self, verb: &str, sequences: &[u64]) {
        let mut line = verb.to_owned();
        for sequence in sequences {
            let _ = write!(line, " {sequence:x}");
        }
        line.push_str("\r\n");
        self.link.write(&line);
    }

    /// The dialogue is over: the primary is heard of, the next poll is set.
    fn finished(&mut self, queue: &mut Queue) {
        if let Some(peer) = self.peer
            && self.hold
        {
            queue.heard(peer);
            queue.heartbeat_answered(peer);
        } else if let Some(peer) = self.peer {
            queue.heard(peer);
            queue.peers[peer].curious_until = 0;
            queue.peers[peer].reported_at = queue.now.mono;
            queue.arm_peer(peer);
            if !queue.peers[peer].pushed.is_empty() {
                return self.begin_query(Query::Withdraw, queue);
            }
            if queue.peers[peer].keeps_us_asking() {
                self.hold = true;
                return self.begin_query(Query::Discards, queue);
            }
        }
        self.next(queue);
    }

    pub(super) fn query_reply(&mut self, query: Query, reply: &Reply<'_>, queue: &mut Queue) {
        let Some(peer) = self.peer else { return };
        if let Query::Inventory { database, part } = query {
            return self.inventory_reply(database, part, reply, queue);
        }
        if let Query::Resubmit(request) = query {
            let line = reply.last_line().into_owned();
            // Whoever refuses will not replay: as good as silent.
            if reply.positive() {
                let done = line.split(' ').nth(2) == Some("done");
                queue.answered_request(request, peer, done);
            }
            return self.next(queue);
        }
        if !reply.positive() {
            // The node at the other end lives but does not answer: no contact.
            return self.lost(&reply.summary(), Close::Shutdown, queue);
        }
        match query {
            Query::Discards => {
                let Some(report) = parse_report(reply) else {
                    return self.lost("a malformed report", Close::Abort, queue);
                };
                self.answered(queue);
                if report.sequences.is_empty() {
                    return self.begin_query(Query::Status, queue);
                }
                let record = if self.hold {
                    let ids: Vec<u64> = report.sequences.iter().map(|r| r.sequence).collect();
                    queue.release_kept(peer, self.database, &ids)
                } else {
                    queue.discard(peer, self.database, &report.sequences)
                };
                self.set_query(
                    Query::Removing {
                        token: report.token,
                        more: report.more,
                    },
                    queue,
                );
                // Our own disk is not the other side's idleness.
                self.link.deadline = u64::MAX;
                queue.wait(record, Waiter::Resume(self.link.conn));
            }
            Query::Confirm { more: true } => self.begin_query(Query::Discards, queue),
            Query::Confirm { more: false } => self.begin_query(Query::Status, queue),
            Query::Status => {
                let line = reply.last_line().into_owned();
                let unknown: Option<Vec<u64>> = line
                    .split(' ')
                    .skip(2)
                    .map(private::number)
                    .map(|n| n.filter(|n| self.asked.contains(n)))
                    .collect();
                let Some(unknown) = unknown else {
                    return self.lost("a malformed status", Close::Abort, queue);
                };
                let record = if self.hold {
                    queue.kept_unknown(peer, self.database, &unknown)
                } else {
                    queue.orphaned(peer, self.database, &unknown)
                };
                self.set_query(Query::Orphans, queue);
                self.link.deadline = u64::MAX;
                queue.wait(record, Waiter::Resume(self.link.conn));
            }
            Query::Withdraw => {
                let asked = std::mem::take(&mut self.asked);
                let taken = reply.last_line().into_owned();
                queue.pushes_told(peer, &asked, &taken);
                self.begin_query(Query::Withdraw, queue);
            }
            Query::Removing { .. }
            | Query::Orphans
            | Query::Inventory { .. }
            | Query::Sorting
            | Query::Resubmit(_) => {
                self.lost("a reply that nothing was asked for", Close::Abort, queue);
            }
        }
    }

    /// A question for discards is not open any more.
    fn answered(&self, queue: &mut Queue) {
        if let Some(peer) = self.peer
            && !self.hold
        {
            queue.peers[peer].asking -= 1;
        }
    }

    /// What was removed is durable.
    pub(super) fn query_durable(&mut self, query: Query, queue: &mut Queue) {
        match query {
            Query::Removing { token, more } => {
                let line = format!("XQCONFIRM {token}\r\n");
                self.link.write(&line);
                self.set_query(Query::Confirm { more }, queue);
            }
            Query::Orphans => self.begin_query(Query::Status, queue),
            Query::Sorting => self.begin_poll(queue),
            _ => {}
        }
    }

    /// The session ended in the middle of the dialogue.
    pub(super) fn query_lost(&mut self, query: Query, why: &str, queue: &mut Queue) {
        let Some(peer) = self.peer else { return };
        match query {
            Query::Discards => {
                self.answered(queue);
                queue.mark(Mark::DiscardReportLost);
            }
            Query::Removing { .. } | Query::Confirm { .. } => {
                queue.mark(Mark::DiscardConfirmLost);
            }
            Query::Withdraw => return queue.mark(Mark::AbortLost),
            Query::Inventory { .. } | Query::Sorting => queue.mark(Mark::InventoryBroken),
            Query::Status | Query::Orphans => {}
            // It is asked again in a while.
            Query::Resubmit(_) => return,
        }
        queue.poll_failed(peer, why);
    }
}

/// A report of discards.
#[derive(Debug, PartialEq, Eq)]
struct Discards {
    sequences: Vec<Report>,
    token: u32,
    more: bool,
}

fn parse_report(reply: &Reply<'_>) -> Option<Discards> {
    let lines: Vec<String> = reply
        .lines()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let (last, rest) = lines.split_last()?;
    let mut sequences = Vec::new();
    for line in rest {
        for word in line.split(' ').skip(1) {
            sequences.push(private::report(word)?);
        }
    }
    let mut fields = last.split(' ').skip(1);
    let count: usize = fields.next()?.strip_prefix("count=")?.parse().ok()?;
    let token = fields.next()?.strip_prefix("token=")?.parse().ok()?;
    let more = match fields.next()?.strip_prefix("more=")? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    (count == sequences.len() && fields.next().is_none()).then_some(Discards {
        sequences,
        token,
        more,
    })
}

#[cfg(test)]
mod tests {
    use super::super::reply;
    use super::*;

    fn report(wire: &str) -> Option<Discards> {
        parse_report(&reply::parse(wire.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn reports() {
        assert_eq!(
            report("250-2.0.0 a -1f\r\n250-2.0.0 3\r\n250 2.0.0 count=3 token=7 more=1\r\n"),
            Some(Discards {
                sequences: [(10, false), (31, true), (3, false)]
                    .map(|(sequence, refused)| Report { sequence, refused })
                    .to_vec(),
                token: 7,
                more: true
            })
        );
        assert_eq!(
            report("250 2.0.0 count=0 token=1 more=0\r\n"),
            Some(Discards {
                sequences: vec![],
                token: 1,
                more: false
            })
        );
        for bad in [
            "250 2.0.0 Ok\r\n",
            "250-2.0.0 x\r\n250 2.0.0 count=1 token=1 more=0\r\n",
            "250-2.0.0 1\r\n250 2.0.0 count=2 token=1 more=0\r\n",
            "250 2.0.0 count=0 token=1 more=2\r\n",
        ] {
            assert_eq!(report(bad), None, "{bad}");
        }
    }
}
