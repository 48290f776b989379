//! The condition `shadowed`: a claim that holds only for mail that was
//! accepted while a peer could hold a copy of it.
//!
//! Whether one could is decided by what the kernel and the links saw, never by
//! whether the target made a copy: a target that makes none must not hide
//! behind its own condition.

use super::claim::Claims;
use super::incident::{Incident, Place};
use crate::event::{At, Rcpt};
use crate::ledger::{Ended, Ledger, Mail, Try};
use crate::party::{Link, Party};
use crate::plan::Plan;

/// Why the loss of a recipient lies outside the claims: every node that had
/// accepted it was hit by something that the target promises to survive only
/// for shadowed mail, and it was none. `None`: it lies within.
pub(super) fn unshadowed(
    plan: &Plan,
    ledger: &Ledger,
    claims: &Claims,
    mail: &Mail,
    rcpt: Rcpt,
) -> Option<String> {
    let mut why = None;
    for t in mail.tries.iter().filter(|t| t.rcpts.contains(&rcpt)) {
        // A link that cannot be read shows no dot: nothing is excused there.
        match mail.ended(t, rcpt, false) {
            Ended::Accepted | Ended::ReplyLost => {}
            _ => continue,
        }
        why = Some(excuse(plan, ledger, claims, mail, t, rcpt)?);
    }
    why
}

fn excuse(
    plan: &Plan,
    ledger: &Ledger,
    claims: &Claims,
    mail: &Mail,
    t: &Try,
    rcpt: Rcpt,
) -> Option<String> {
    let hop = t.hop.as_ref()?;
    let reply = hop.answer(rcpt)?.mark;
    let hit = claims
        .incidents
        .iter()
        .zip(&claims.promises)
        .filter(|(i, p)| p.conditional && i.place == Place::Node(t.node))
        .map(|(i, _)| i)
        .find(|i| i.seen.id > hop.dot.id)?;
    // A copy that a peer took counts whatever the links were like.
    let copied = mail.hops.iter().any(|h| {
        let peer = matches!(h.link.to, Party::Node(_)) && h.link.to != t.node;
        peer && (h.attempt == t.attempt || h.attempt == 0)
            && h.answer(rcpt)
                .is_some_and(|a| a.code / 100 == 2 && a.mark.id < hit.seen.id)
    });
    if copied {
        return None;
    }
    // A node that itself stood still had not the time.
    let own = claims.incidents.iter().find(|i| {
        i.place == Place::Node(t.node)
            && i.begun.id != hit.begun.id
            && i.overlaps(hop.dot.at, reply.at)
    });
    if own.is_none() {
        // So long a peer must have been within reach before: whoever tells by
        // the takeover time that a node is gone has found it again by then.
        let slack = plan
            .time("takeover")
            .saturating_add(plan.time("poll").saturating_mul(2));
        let from = hop.dot.at.saturating_sub(slack);
        let reached = (1..=plan.scenario.cluster.nodes)
            .map(Party::Node)
            .filter(|peer| *peer != t.node)
            .any(|peer| {
                served(ledger, peer, hop.dot.id)
                    && within_reach(ledger, claims, t.node, peer, from, reply.at)
            });
        if reached {
            return None;
        }
    }
    Some(format!(
        "{} accepted it at event {} when no peer could hold a copy of it, and the incident of event {} took that node away",
        t.node, reply.id, hit.begun.id
    ))
}

/// Whether a node had served at all before an event.
fn served(ledger: &Ledger, node: Party, before: u64) -> bool {
    ledger
        .lives
        .get(&node)
        .and_then(|lives| lives.first())
        .and_then(|first| first.ready)
        .is_some_and(|ready| ready.id < before)
}

/// Whether nothing was wrong with a peer, and with the links between it and a
/// node, from one moment to another.
fn within_reach(
    ledger: &Ledger,
    claims: &Claims,
    node: Party,
    peer: Party,
    from: At,
    to: At,
) -> bool {
    let between = |i: &Incident| match i.place {
        Place::Node(at) => at == peer,
        Place::Link(link) => link.touches(peer) && link.touches(node),
    };
    let broken = claims
        .incidents
        .iter()
        .any(|i| between(i) && i.overlaps(from, to));
    let held = [Link::new(node, peer), Link::new(peer, node)]
        .iter()
        .filter_map(|l| ledger.wires.get(l))
        .flat_map(|w| &w.held)
        .any(|h| h.since.at <= to && h.until.is_none_or(|u| u.at >= from));
    !broken && !held
}
