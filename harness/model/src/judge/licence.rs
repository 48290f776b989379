//! Licences: what permits an extra copy.
//!
//! Each licence is found in the history and good for one extra copy. A copy
//! without one is a protocol duplicate. The four kinds are those of
//! [`Licence`]; what each needs is said at its function.
//!
//! Behind them stands one thought: a node may hand a message over once for
//! each time that it came to be responsible for it, from the sender or by
//! taking over from one who had given it a copy, and once more for each time
//! that it could not learn that it had.

use std::collections::BTreeSet;

use super::delivery::{Bounds, Delivery};
use super::index::Index;
use crate::event::{At, Attempt, Rcpt};
use crate::ledger::{Ended, Hop, Ledger, Mail, Mark, Outage};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::verdict::Licence;

/// The copies of one recipient beyond the first, licensed and not.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) licensed: Vec<Licence>,
    pub(super) unlicensed: Vec<Delivery>,
}

/// What licensing one recipient depends on.
struct Scene<'a> {
    ledger: &'a Ledger,
    index: &'a Index<'a>,
    bounds: Bounds,
    mail: &'a Mail,
    /// The target can take over at all.
    takeover: bool,
    /// The transport nodes.
    nodes: u16,
}

/// Sorts the copies of one recipient into the first, the licensed and the
/// unlicensed ones.
pub(super) fn extras(
    plan: &Plan,
    ledger: &Ledger,
    index: &Index<'_>,
    bounds: Bounds,
    mail: &Mail,
    rcpt: Rcpt,
    deliveries: &[Delivery],
) -> Extras {
    let mut extras = Extras::default();
    if deliveries.len() < 2 {
        return extras;
    }
    let scene = Scene {
        ledger,
        index,
        bounds,
        mail,
        takeover: plan.target.capabilities.iter().any(|c| c == "takeover"),
        nodes: plan.scenario.cluster.nodes,
    };
    // (a) One for each attempt whose end the sender did not learn and that
    // was not the last.
    let last = mail.tries.iter().map(|t| t.attempt).max().unwrap_or(0);
    let mut resent = mail
        .tries
        .iter()
        .filter(|t| t.attempt < last && t.rcpts.contains(&rcpt))
        .filter(|t| {
            let opaque = opaque(ledger, Link::new(Party::Client, t.node));
            matches!(
                mail.ended(t, rcpt, opaque),
                Ended::ReplyLost | Ended::NoReply
            )
        })
        .count();
    // The attempt that each distinct message came from. With a target that
    // strips the harness's Received line, attempts cannot be told apart.
    let mut attempts: BTreeSet<Attempt> = BTreeSet::new();
    let mut used: BTreeSet<(u8, u64, Party)> = BTreeSet::new();
    for (n, copy) in deliveries.iter().enumerate() {
        let new_attempt = copy.notice || attempts.insert(copy.attempt);
        if n == 0 {
            continue;
        }
        // Copies of one transaction, its recipient named twice, license
        // nothing among themselves.
        let same: Vec<&Delivery> = deliveries[..n]
            .iter()
            .filter(|p| p.attempt == copy.attempt || p.notice || copy.notice)
            .filter(|p| p.mark.id != copy.mark.id)
            .collect();
        let found = scene
            .reply_lost(copy, &same, &mut used)
            .or_else(|| scene.belated(copy, &same, &mut used))
            .or_else(|| scene.taken_over_unaware(copy, &same))
            .or_else(|| scene.returned(copy, &same, &mut used))
            .or_else(|| {
                let apart = new_attempt || copy.attempt == 0;
                (apart && resent > 0).then(|| {
                    resent -= 1;
                    Licence::UpstreamReplyLost
                })
            });
        match found {
            Some(licence) => extras.licensed.push(licence),
            None => extras.unlicensed.push(*copy),
        }
    }
    extras
}

fn opaque(ledger: &Ledger, link: Link) -> bool {
    ledger.wires.get(&link).is_some_and(|w| w.opaque)
}

impl Scene<'_> {
    /// (b) Whoever handed the earlier copy over cannot have learned or
    /// recorded the reply to it. Another node may follow up only by a legal
    /// takeover.
    fn reply_lost(
        &self,
        copy: &Delivery,
        earlier: &[&Delivery],
        used: &mut BTreeSet<(u8, u64, Party)>,
    ) -> Option<Licence> {
        earlier
            .iter()
            .filter(|p| p.learned.is_none())
            .filter(|p| p.from == copy.from || self.took_over(copy, earlier))
            .find(|p| used.insert((b'b', p.mark.id, copy.from)))
            .map(|_| Licence::DownstreamReplyLost)
    }

    /// (b) too: the copy is the earlier transmission of the two. Its connection
    /// stood held when its deliverer handed the other one over, and went on
    /// later; or its link carried it so late that its deliverer had sent the
    /// other one before it arrived.
    fn belated(
        &self,
        copy: &Delivery,
        earlier: &[&Delivery],
        used: &mut BTreeSet<(u8, u64, Party)>,
    ) -> Option<Licence> {
        let stood = |at: At| {
            self.ledger.wires.values().flat_map(|w| &w.held).any(|h| {
                h.conn == copy.conn && h.since.at <= at && h.until.is_none_or(|u| u.at >= at)
            })
        };
        let link = Link::new(copy.from, Party::Mailbox);
        let late = || self.index.late(link, copy.dot.at, copy.mark.at);
        let free = copy.learned.is_none()
            && earlier.iter().filter(|p| p.from == copy.from).any(|p| {
                stood(p.dot.at) || (copy.dot.id < p.dot.id && p.dot.id < copy.mark.id && late())
            });
        (free && used.insert((b'b', copy.mark.id, copy.from)))
            .then_some(Licence::DownstreamReplyLost)
    }

    /// (c) A node took a copy over that it could not know to be done: who had
    /// given it the copy was out of its reach long enough (or had lost its
    /// store), and was not asked in time to tell.
    fn taken_over_unaware(&self, copy: &Delivery, earlier: &[&Delivery]) -> Option<Licence> {
        let others = earlier.iter().any(|p| p.from != copy.from);
        (others && self.took_over(copy, earlier)).then_some(Licence::TakeoverUnaware)
    }

    /// Whether a copy may come from a takeover: another node had given its
    /// deliverer the message, later than the deliverer last handed it over
    /// itself, was then out of its reach for long enough, and could not have
    /// told it that the message was done.
    fn took_over(&self, copy: &Delivery, earlier: &[&Delivery]) -> bool {
        if !self.takeover {
            return false;
        }
        let own = earlier
            .iter()
            .filter(|p| p.from == copy.from)
            .map(|p| p.mark.id)
            .max();
        let gave = |h: &&Hop| {
            h.link.to == copy.from
                && matches!(h.link.from, Party::Node(_))
                && h.dot.id < copy.mark.id
                && own.is_none_or(|own| h.dot.id > own)
                && (copy.notice || h.attempt == copy.attempt || h.attempt == 0)
        };
        let legal = |from: Party| {
            self.out_of_reach(from, copy.from, copy.dot.at) && !self.told(from, copy, earlier)
        };
        if self.index.opaque_inside {
            // Who gave what to whom cannot be read.
            return (1..=self.nodes)
                .map(Party::Node)
                .any(|from| from != copy.from && legal(from));
        }
        self.mail
            .hops
            .iter()
            .filter(gave)
            .any(|h| legal(h.link.from))
    }

    /// Whether a holder asked a node, early enough before its copy, that knew
    /// for long enough that it had itself handed the message over.
    fn told(&self, by: Party, copy: &Delivery, earlier: &[&Delivery]) -> bool {
        let link = Link::new(copy.from, by);
        let Some(wire) = self.ledger.wires.get(&link) else {
            return false;
        };
        earlier
            .iter()
            .filter(|p| p.from == by)
            .filter_map(|p| p.learned)
            .any(|done| {
                // Exchanges stand in order of time.
                let after = done.saturating_add(self.bounds.record);
                // What it has sent it cannot take back.
                let before = copy.dot.at.saturating_sub(self.bounds.record);
                let next = wire.asked.partition_point(|(e, _)| e.at <= after);
                wire.asked[next..]
                    .iter()
                    .take_while(|(e, _)| e.at < before)
                    .any(|(e, conn)| !self.index.unheard(link, *conn, e.at, self.bounds.record))
            })
    }

    /// (d) The node that the sender had given the message to came back, or
    /// went on, after another had taken over and delivered; it had not handed
    /// it over before.
    fn returned(
        &self,
        copy: &Delivery,
        earlier: &[&Delivery],
        used: &mut BTreeSet<(u8, u64, Party)>,
    ) -> Option<Licence> {
        let own = earlier.iter().any(|p| p.from == copy.from);
        let given = self.mail.tries.iter().any(|t| {
            t.node == copy.from
                && (t.hop.is_some() || opaque(self.ledger, Link::new(Party::Client, t.node)))
                && (copy.attempt == 0 || t.attempt == copy.attempt)
        });
        if !self.takeover || own || !given {
            return None;
        }
        // What it had sent before it went out is on its way; and what comes from
        // a dead node it had sent while it lived.
        let opened = self.index.opened(copy.conn);
        let sent = |o: &Outage| {
            copy.dot.at < o.start || (o.died && opened.is_some_and(|open| open.at < o.start))
        };
        // What it has it may send before anybody has seen it answer.
        let lives = self
            .ledger
            .lives
            .get(&copy.from)
            .map_or(&[][..], Vec::as_slice);
        let again = |o: &Outage| {
            let after = |open: Mark| {
                lives
                    .iter()
                    .any(|l| l.started.at > o.start && l.started.id < open.id)
            };
            o.died && opened.is_some_and(after)
        };
        let back = earlier.iter().any(|p| {
            p.from != copy.from
                && self.reached(copy.from, p.from, p.dot.at, |o| {
                    let over = o.end.is_some_and(|end| end <= copy.mark.at);
                    !o.emptied && (!o.node || over || sent(o) || again(o))
                })
        });
        // Each attempt that it was given is a message of its own.
        (back && used.insert((b'd', copy.attempt.into(), copy.from)))
            .then_some(Licence::OriginalReturned)
    }

    /// Whether a message can have come by takeovers from one node to another
    /// by a time. The first of them must be due to an outage that `first`
    /// allows.
    fn reached(&self, from: Party, to: Party, at: At, first: impl Fn(&Outage) -> bool) -> bool {
        let gave = |a: Party, b: Party| {
            self.index.opaque_inside
                || self
                    .mail
                    .hops
                    .iter()
                    .any(|h| h.link == Link::new(a, b) && h.dot.at <= at)
        };
        let nodes = || (1..=self.nodes).map(Party::Node);
        let mut seen: BTreeSet<Party> = nodes()
            .filter(|n| *n != from && gave(from, *n))
            .filter(|n| {
                self.index
                    .outages_seen(from, *n)
                    .any(|o| legal_takeover(self.bounds, o, at) && first(o))
            })
            .collect();
        let mut next: Vec<Party> = seen.iter().copied().collect();
        while let Some(holder) = next.pop() {
            for n in nodes().filter(|n| *n != holder && *n != from) {
                if !seen.contains(&n) && gave(holder, n) && self.out_of_reach(holder, n, at) {
                    seen.insert(n);
                    next.push(n);
                }
            }
        }
        seen.contains(&to)
    }

    /// Whether a node could by rights take over from another at a time.
    fn out_of_reach(&self, node: Party, by: Party, at: At) -> bool {
        self.index
            .outages_seen(node, by)
            .any(|o| legal_takeover(self.bounds, o, at))
    }
}

/// Whether a copy taken at `at` may come from a takeover because of this
/// outage: it had lasted for the takeover time by then. One that was over
/// before licenses nothing, however long ago it was.
fn legal_takeover(bounds: Bounds, outage: &Outage, at: At) -> bool {
    let until = outage.end.map_or(at, |end| end.min(at));
    let long = until.saturating_add(bounds.slack) >= outage.start.saturating_add(bounds.takeover);
    let new_database = outage.emptied && outage.end.is_some_and(|end| end <= at);
    outage.start <= at && (long || new_database)
}
