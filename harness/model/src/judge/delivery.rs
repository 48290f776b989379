//! Deliveries: copies as the end of the mail took them, and when whoever
//! handed one over knew that it had.

use super::index::Index;
use crate::event::{At, Attempt, Conn, Rcpt};
use crate::ledger::{Mail, Mark};
use crate::party::{Link, Party};
use crate::plan::Plan;

/// One copy for one recipient, as the end of the mail took it; or a report of
/// failure, which settles the recipient as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) mark: Mark,
    pub(super) from: Party,
    /// 0: the content names none.
    pub(super) attempt: Attempt,
    /// When the reply to it reached the deliverer, if it can have recorded
    /// it.
    pub(super) learned: Option<At>,
    /// The connection that it came on.
    pub(super) conn: Conn,
    /// Its end of data, at the link.
    pub(super) dot: Mark,
    /// It is a report of failure.
    pub(super) notice: bool,
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

/// One transaction at the end of the mail.
struct Passage {
    link: Link,
    conn: Conn,
    /// The dot at the link.
    dot: Mark,
    /// The copy was taken.
    taken: Mark,
    /// The 2yz stood at the link.
    reply: Mark,
}

/// The deliveries of one recipient, in order of time.
pub(super) fn deliveries(
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
                dot: hop.map_or(copy.mark, |h| h.dot),
                learned: reply.and_then(|a| {
                    let passage = Passage {
                        link,
                        conn: copy.conn,
                        // A connection can be cut at the dot and the mailbox
                        // still take what it has: the cut counts from there.
                        dot: hop.map_or(copy.mark, |h| h.dot),
                        taken: copy.mark,
                        reply: a.mark,
                    };
                    learned(index, bounds, &passage)
                }),
                notice: false,
            }
        })
        .collect();
    // Mail that ends in the target's own mailboxes: what the link saw
    // accepted there.
    for hop in &mail.hops {
        if matches!(hop.link.to, Party::Store(_))
            && let Some(reply) = hop.answer(rcpt).filter(|_| hop.accepted(rcpt))
        {
            let passage = Passage {
                link: hop.link,
                conn: hop.conn,
                dot: hop.dot,
                taken: hop.dot,
                reply: reply.mark,
            };
            all.push(Delivery {
                mark: hop.dot,
                from: hop.link.from,
                attempt: hop.attempt,
                conn: hop.conn,
                dot: hop.dot,
                learned: learned(index, bounds, &passage),
                notice: false,
            });
        }
    }
    all.sort_by_key(|d| d.mark);
    all
}

/// The deliveries and, among them, the reports of failure of a recipient. A
/// report names no attempt, and its reply is taken to come at once.
pub(super) fn settlements(
    index: &Index<'_>,
    bounds: Bounds,
    mail: &Mail,
    rcpt: Rcpt,
    deliveries: &[Delivery],
) -> Vec<Delivery> {
    let mut all = deliveries.to_vec();
    let failed = mail.notices.iter().filter(|n| n.failed);
    for notice in failed.filter(|n| n.rcpts.contains(&rcpt)) {
        let passage = Passage {
            link: Link::new(notice.from, Party::Mailbox),
            conn: notice.conn,
            dot: notice.mark,
            taken: notice.mark,
            reply: notice.mark,
        };
        all.push(Delivery {
            mark: notice.mark,
            from: notice.from,
            attempt: 0,
            conn: notice.conn,
            dot: notice.mark,
            learned: learned(index, bounds, &passage),
            notice: true,
        });
    }
    all.sort_by_key(|d| d.mark);
    all
}

/// When the reply to a delivery reached its deliverer, if nothing kept it from
/// recording it: neither the reply nor the record may have been hit.
fn learned(index: &Index<'_>, bounds: Bounds, passage: &Passage) -> Option<At> {
    let Passage {
        link,
        conn,
        dot,
        taken,
        reply,
    } = *passage;
    let mut at = reply.at;
    // The deliverer stood still before it can have recorded it.
    for o in index.outages(link.from).iter().filter(|o| !o.died) {
        let reaches = o.end.is_none_or(|end| end > at);
        if o.start <= at.saturating_add(bounds.record) && reaches {
            at = o.end?;
        }
    }
    let until = at.saturating_add(bounds.record);
    let cut = index
        .fired(conn)
        .iter()
        .any(|(f, over)| f.at <= until && over.is_none_or(|o| o.id >= dot.id));
    let opened = index.opened(conn);
    let broken = index.troubled(link).iter().any(|t| {
        // What a cut kept passes when it is over, and nobody may wait for it.
        let kept = |over: Mark| {
            let lately = over.at.saturating_add(bounds.record) >= dot.at;
            t.lasts() && lately && opened.is_some_and(|open| open.id < over.id)
        };
        t.fired.at <= until && t.until.is_none_or(|u| u.id >= dot.id || kept(u))
    });
    // Whoever waits gives up one day, and what arrives then is heard by nobody.
    let kept = index.kept(link, conn, dot.at, until);
    // Dead already when the copy was taken counts too: what it had sent was
    // still on its way, held at a link say; and back since then it has no such
    // connection.
    let dead = index.outages(link.from).iter().any(|o| {
        let lasts = o.end.is_none_or(|end| end > taken.at);
        let before = || opened.is_some_and(|open| open.at < o.start);
        o.died && o.start <= until && (lasts || before())
    });
    (!cut && !broken && !kept && !dead).then_some(at)
}
