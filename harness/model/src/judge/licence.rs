//! Licences: what permits an extra copy.
//!
//! Each licence is found in the history and good for one extra copy. A copy
//! without one is a protocol duplicate. The four kinds are those of
//! [`Licence`]; what each needs is said at its function.

use std::collections::BTreeSet;

use super::index::Index;
use crate::event::{At, Attempt, Conn, Rcpt};
use crate::ledger::{Ended, Ledger, Mail, Mark, Outage};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::scenario::Step;
use crate::verdict::Licence;

/// One copy for one recipient, as the end of the mail took it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) mark: Mark,
    pub(super) from: Party,
    pub(super) attempt: Attempt,
    /// When the reply to it passed the link, if the deliverer can have
    /// learned it.
    pub(super) learned: Option<At>,
    /// The connection that it came on.
    conn: Conn,
}

/// The copies of one recipient beyond the first, licensed and not.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) licensed: Vec<Licence>,
    pub(super) unlicensed: Vec<Delivery>,
}

/// The times that licences depend on, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Within this time a node has recorded what it learned.
    pub(super) record: u64,
    /// A takeover for mere silence is legal after this long, counted from
    /// the last contact.
    pub(super) takeover: u64,
    /// The last contact may lie so long before the outage began.
    pub(super) slack: u64,
}

impl Bounds {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            record: plan.time("record"),
            takeover: plan.time("takeover"),
            slack: plan.time("poll").saturating_mul(2),
        }
    }
}

/// The deliveries of one recipient, in order of time.
pub(super) fn deliveries(
    ledger: &Ledger,
    index: &Index<'_>,
    bounds: Bounds,
    mail: &Mail,
    rcpt: Rcpt,
) -> Vec<Delivery> {
    let mut all: Vec<Delivery> = mail
        .copies
        .iter()
        .flat_map(|copy| {
            // A recipient named twice in one transaction is two copies.
            let times = copy.rcpts.iter().filter(|r| **r == rcpt).count();
            std::iter::repeat_n(copy, times)
        })
        .map(|copy| {
            let link = Link::new(copy.from, Party::Mailbox);
            let hop = mail
                .hops
                .iter()
                .rev()
                .find(|h| h.link == link && h.conn == copy.conn && h.dot.id < copy.mark.id);
            let reply = hop
                .and_then(|h| h.answer(rcpt))
                .filter(|a| a.code / 100 == 2);
            Delivery {
                mark: copy.mark,
                from: copy.from,
                attempt: copy.attempt,
                conn: copy.conn,
                learned: reply
                    .map(|a| a.mark)
                    .filter(|m| {
                        // A connection can be cut at the dot and the mailbox
                        // still take what it has: the cut counts from there.
                        let dot = hop.map_or(copy.mark, |h| h.dot);
                        let (conn, taken) = (copy.conn, copy.mark);
                        !cut(index, bounds, conn, dot, *m)
                            && !kept(index, bounds, link, conn, dot, *m)
                            && !dead(ledger, index, bounds, link.from, taken, *m)
                    })
                    .map(|m| m.at),
            }
        })
        .collect();
    // Mail that ends in the target's own mailboxes: what the link saw
    // accepted there.
    for hop in &mail.hops {
        if matches!(hop.link.to, Party::Store(_))
            && let Some(reply) = hop.answer(rcpt).filter(|_| hop.accepted(rcpt))
        {
            all.push(Delivery {
                mark: hop.dot,
                from: hop.link.from,
                attempt: hop.attempt,
                conn: hop.conn,
                learned: (!cut(index, bounds, hop.conn, hop.dot, reply.mark)
                    && !kept(index, bounds, hop.link, hop.conn, hop.dot, reply.mark)
                    && !dead(ledger, index, bounds, hop.link.from, hop.dot, reply.mark))
                .then_some(reply.mark.at),
            });
        }
    }
    all.sort_by_key(|d| d.mark);
    all
}

/// Whether a fault fired on the connection from the dot on, up to the time that
/// recording the reply may take: the deliverer may not have got it.
fn cut(index: &Index<'_>, bounds: Bounds, conn: u32, dot: Mark, reply: Mark) -> bool {
    let until = reply.at.saturating_add(bounds.record);
    index
        .fired(conn)
        .iter()
        .any(|f| f.id >= dot.id && f.at <= until)
}

/// Whether the link kept the dialogue waiting from the dot on, up to the time
/// that recording the reply may take: whoever waits gives up one day, and what
/// arrives then is heard by nobody.
fn kept(index: &Index<'_>, bounds: Bounds, link: Link, conn: u32, dot: Mark, reply: Mark) -> bool {
    let until = reply.at.saturating_add(bounds.record);
    index.kept(link, conn, dot.at, until)
}

/// Whether the deliverer's process did not live on for the time that recording
/// the reply may take. Dead already when the copy was taken counts too: what
/// it had sent was still on its way, held at a link say.
fn dead(
    ledger: &Ledger,
    index: &Index<'_>,
    bounds: Bounds,
    node: Party,
    taken: Mark,
    reply: Mark,
) -> bool {
    let until = reply.at.saturating_add(bounds.record);
    index.outages(node).iter().any(|o| {
        o.node
            && o.start <= until
            && o.end.is_none_or(|end| end > taken.at)
            && died(ledger, node, o)
    })
}

/// Whether an outage was a death and no mere pause: what stood in memory is
/// gone.
fn died(ledger: &Ledger, node: Party, outage: &Outage) -> bool {
    ledger.lives.get(&node).is_some_and(|lives| {
        lives.iter().any(|l| {
            l.exit
                .is_some_and(|e| e.at >= outage.start && outage.end.is_none_or(|end| e.at <= end))
        })
    })
}

/// Sorts the copies of one recipient into the first, the licensed and the
/// unlicensed ones.
pub(super) fn extras(
    plan: &Plan,
    ledger: &Ledger,
    bounds: Bounds,
    mail: &Mail,
    rcpt: Rcpt,
    deliveries: &[Delivery],
) -> Extras {
    let mut extras = Extras::default();
    if deliveries.len() < 2 {
        return extras;
    }
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
        let new_attempt = attempts.insert(copy.attempt);
        if n == 0 {
            continue;
        }
        let earlier = &deliveries[..n];
        // Copies of one transaction, its recipient named twice, license
        // nothing among themselves.
        let same = || {
            earlier
                .iter()
                .filter(|p| p.attempt == copy.attempt && p.mark.id != copy.mark.id)
        };
        let found = if new_attempt {
            None
        } else {
            same()
                .find_map(|p| reply_lost(plan, ledger, bounds, copy, p, &mut used))
                .or_else(|| same().find_map(|p| belated(ledger, copy, p, &mut used)))
                .or_else(|| same().find_map(|p| takeover(plan, ledger, bounds, copy, p, &mut used)))
                .or_else(|| same().find_map(|p| returned(plan, ledger, bounds, copy, p, &mut used)))
        };
        let found = found.or_else(|| {
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

/// (b) Whoever handed the earlier copy over cannot have learned or recorded
/// the reply to it. Another node may follow up only by a legal takeover.
fn reply_lost(
    plan: &Plan,
    ledger: &Ledger,
    bounds: Bounds,
    copy: &Delivery,
    earlier: &Delivery,
    used: &mut BTreeSet<(u8, u64, Party)>,
) -> Option<Licence> {
    let free = earlier.learned.is_none()
        && (earlier.from == copy.from || took_over(plan, ledger, bounds, copy, earlier));
    (free && used.insert((b'b', earlier.mark.id, copy.from)))
        .then_some(Licence::DownstreamReplyLost)
}

/// (b) too: the copy is the earlier transmission of the two. Its connection
/// stood held when its deliverer handed the other one over, and went on later.
fn belated(
    ledger: &Ledger,
    copy: &Delivery,
    earlier: &Delivery,
    used: &mut BTreeSet<(u8, u64, Party)>,
) -> Option<Licence> {
    let free = copy.learned.is_none()
        && copy.from == earlier.from
        && ledger.wires.values().flat_map(|w| &w.held).any(|h| {
            let at = earlier.mark.at;
            h.conn == copy.conn && h.since.at <= at && h.until.is_none_or(|u| u.at >= at)
        });
    (free && used.insert((b'b', copy.mark.id, copy.from))).then_some(Licence::DownstreamReplyLost)
}

/// (c) Another node took over a copy of whose completion it could not have
/// learned: the deliverer of the earlier copy was out of its reach long
/// enough (or had lost its store), and it asked that node nothing in time to
/// be told.
fn takeover(
    plan: &Plan,
    ledger: &Ledger,
    bounds: Bounds,
    copy: &Delivery,
    earlier: &Delivery,
    used: &mut BTreeSet<(u8, u64, Party)>,
) -> Option<Licence> {
    let done = earlier.learned?;
    if earlier.from == copy.from || !took_over(plan, ledger, bounds, copy, earlier) {
        return None;
    }
    let told = ledger
        .wires
        .get(&Link::new(copy.from, earlier.from))
        .is_some_and(|w| {
            // Exchanges stand in order of time.
            let after = done.saturating_add(bounds.record);
            let next = w.asked.partition_point(|(e, _)| e.at <= after);
            w.asked[next..]
                .iter()
                .take_while(|(e, _)| e.at < copy.mark.at.saturating_sub(bounds.record))
                .any(|(_, conn)| !hit(ledger, *conn))
        });
    (!told && used.insert((b'c', earlier.mark.id, copy.from))).then_some(Licence::TakeoverUnaware)
}

/// Whether a fault fired on a connection: what was said on it may not have been
/// heard, and no question need have come to its end.
fn hit(ledger: &Ledger, conn: Conn) -> bool {
    let mut fired = ledger.faults.values().flat_map(|f| &f.fired);
    fired.any(|f| f.conn == Some(conn))
}

/// Whether the later copy may come from a takeover of what the deliverer of
/// the earlier one held.
fn took_over(
    plan: &Plan,
    ledger: &Ledger,
    bounds: Bounds,
    copy: &Delivery,
    earlier: &Delivery,
) -> bool {
    can_take_over(plan)
        && ledger
            .outages_between(copy.from, earlier.from, |n| lasts(plan, n))
            .iter()
            .any(|o| legal_takeover(bounds, o, copy.mark.at))
}

/// (d) The original holder came back, or went on, after another had taken
/// over and delivered.
fn returned(
    plan: &Plan,
    ledger: &Ledger,
    bounds: Bounds,
    copy: &Delivery,
    earlier: &Delivery,
    used: &mut BTreeSet<(u8, u64, Party)>,
) -> Option<Licence> {
    if earlier.from == copy.from || !can_take_over(plan) {
        return None;
    }
    let back = ledger
        .outages_between(earlier.from, copy.from, |n| lasts(plan, n))
        .iter()
        .any(|o| {
            legal_takeover(bounds, o, earlier.mark.at)
                && (!o.node || o.end.is_some_and(|end| end <= copy.mark.at))
                && !o.emptied
        });
    (back && used.insert((b'd', 0, copy.from))).then_some(Licence::OriginalReturned)
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

/// Whether a fault on a link lasts, other than one that ends a connection or
/// takes one reply.
fn lasts(plan: &Plan, fault: u32) -> bool {
    match plan.scenario.steps.get(fault as usize) {
        Some(Step::Link(f)) => f.act.lasts(),
        _ => true,
    }
}

fn can_take_over(plan: &Plan) -> bool {
    plan.target.capabilities.iter().any(|c| c == "takeover")
}
