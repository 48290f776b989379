//! The account: every recipient of every message in exactly one class.

use std::collections::BTreeMap;

use super::absence::{self, Whereabouts};
use super::claim::Claims;
use super::delivery::{self, Bounds, Delivery};
use super::index::Index;
use super::licence::{self, Extras};
use super::shadowed;
use crate::event::{At, Msg, Rcpt, RowState};
use crate::ledger::{Digest, Ended, Ledger, Mail, Mark};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::scenario::Level;
use crate::verdict::{Account, Class, Licence};

/// One recipient that is worth a word: its class or its copies are not as
/// they should be.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) msg: Msg,
    pub(super) rcpt: Rcpt,
    pub(super) class: Class,
    pub(super) copies: u32,
    pub(super) unlicensed: Vec<Delivery>,
    /// For what was reported as failed: the first copy or report without a
    /// licence, counting both.
    pub(super) settled_again: Option<Mark>,
    /// Where it is, for what was not delivered.
    pub(super) whereabouts: Option<Whereabouts>,
    /// The attempt that was refused, or never sent, and delivered all the
    /// same.
    pub(super) forbidden: Option<(u16, Ended)>,
    /// When the first copy came.
    pub(super) first: Option<Mark>,
    /// Why its loss lies outside the claims.
    pub(super) unshadowed: Option<String>,
    /// Why its extra copies lie outside the claims.
    pub(super) may_double: Option<String>,
    /// Why what settles it again lies outside the claims.
    pub(super) may_settle_again: Option<String>,
}

/// The account of a whole run.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) classes: BTreeMap<Class, u64>,
    pub(super) account: Account,
    pub(super) cases: Vec<Case>,
    /// Messages that the sender never began.
    pub(super) unsent: u64,
    /// Recipients in class refused whose last refusal was for the time being.
    pub(super) put_off: u64,
    /// Messages that the sender began and never settled.
    pub(super) unsettled: u64,
    /// Contradictions between witnesses.
    pub(super) troubles: Vec<String>,
    /// At mailbox level: why the mailboxes could not be read.
    pub(super) unread: Option<String>,
}

/// What classing depends on.
pub(super) struct Frame<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a Ledger,
    pub(super) index: &'a Index<'a>,
    pub(super) bounds: Bounds,
    pub(super) claims: &'a Claims,
    /// Mail after this moment is late.
    pub(super) deadline: At,
    /// The final silence was long enough for a proof of absence.
    pub(super) rested: bool,
}

pub(super) fn keep(frame: &Frame<'_>) -> Books {
    let mut books = Books {
        unread: unread(frame),
        ..Books::default()
    };
    books.account.messages = u64::from(frame.plan.scenario.workload.messages);
    let sent = frame
        .ledger
        .mails
        .iter()
        .filter(|m| !m.tries.is_empty())
        .count() as u64;
    books.unsent = books.account.messages.saturating_sub(sent);
    for (msg, mail) in (0..).zip(&frame.ledger.mails) {
        if mail.tries.is_empty() {
            for copy in &mail.copies {
                books.troubles.push(format!(
                    "message {msg} was taken at event {} and never sent",
                    copy.mark.id
                ));
            }
            continue;
        }
        if mail.tries.iter().any(|t| t.outcome.is_none()) {
            books.unsettled += 1;
        }
        for &rcpt in &mail.rcpts {
            recipient(frame, &mut books, msg, mail, rcpt);
        }
        check_sender(frame.ledger, &mut books, msg, mail);
    }
    books.account.phantoms = frame.ledger.phantoms.len() as u64;
    books
}

/// At mailbox level every store that ends mail must have been read whole.
fn unread(frame: &Frame<'_>) -> Option<String> {
    if frame.plan.scenario.expect.level != Level::Mailbox {
        return None;
    }
    frame
        .plan
        .nodes()
        .filter(|n| matches!(n, Party::Store(_)))
        .find_map(|node| match frame.ledger.stores.get(&node) {
            None => Some(format!("the mailboxes of {node} were not read")),
            // A later copy could show in them.
            Some(l) if frame.ledger.moved.is_some_and(|m| m.id > l.mark.id) => Some(format!(
                "the mailboxes of {node} were read before the last mail had moved"
            )),
            Some(l) => l
                .damage
                .as_ref()
                .map(|d| format!("the mailboxes of {node} could not be read: {d}")),
        })
}

/// The sender's word must agree with its link's: a 2yz that no link saw means
/// that bytes went astray inside the harness.
fn check_sender(ledger: &Ledger, books: &mut Books, msg: Msg, mail: &Mail) {
    for t in &mail.tries {
        let opaque = ledger
            .wires
            .get(&Link::new(Party::Client, t.node))
            .is_some_and(|w| w.opaque);
        let told = t
            .outcome
            .as_ref()
            .is_some_and(|o| o.end.iter().any(|c| c / 100 == 2));
        let seen = t
            .hop
            .as_ref()
            .is_some_and(|h| h.answers.iter().any(|a| a.code / 100 == 2));
        if told && !seen && !opaque {
            books.troubles.push(format!(
                "the sender was told 2yz for message {msg}, attempt {}, but its link saw no such reply",
                t.attempt
            ));
        }
    }
}

pub(super) fn recipient(frame: &Frame<'_>, books: &mut Books, msg: Msg, mail: &Mail, rcpt: Rcpt) {
    let Frame {
        plan,
        ledger,
        index,
        bounds,
        ..
    } = *frame;
    books.account.recipients += 1;
    let ends: Vec<(u16, Ended)> = mail
        .tries
        .iter()
        .filter(|t| t.rcpts.contains(&rcpt))
        .map(|t| {
            let opaque = ledger
                .wires
                .get(&Link::new(Party::Client, t.node))
                .is_some_and(|w| w.opaque);
            (t.attempt, mail.ended(t, rcpt, opaque))
        })
        .collect();
    let accepted = ends.iter().any(|e| e.1 == Ended::Accepted);
    let owed = accepted || ends.iter().any(|e| e.1 == Ended::ReplyLost);
    if accepted {
        books.account.accepted += 1;
    }
    let deliveries = delivery::deliveries(index, bounds, mail, rcpt);
    let extras = licence::extras(plan, ledger, index, bounds, mail, rcpt, &deliveries);
    let mailbox = plan.scenario.expect.level == Level::Mailbox;
    let copies = if mailbox {
        index.stored(msg, rcpt).iter().map(|s| s.0).sum()
    } else {
        u32::try_from(deliveries.len()).unwrap_or(u32::MAX)
    };
    tally(&mut books.account, copies, mailbox, &extras);
    let bounces = mail
        .notices
        .iter()
        .filter(|n| n.failed && n.rcpts.contains(&rcpt))
        .count();
    // A report of failure settles a recipient like a delivery does.
    let settled_again = if bounces > 0 && deliveries.len() + bounces > 1 {
        let all = delivery::settlements(index, bounds, mail, rcpt, &deliveries);
        let extras = licence::extras(plan, ledger, index, bounds, mail, rcpt, &all);
        extras.unlicensed.first().map(|d| d.mark)
    } else {
        None
    };
    let forbidden = deliveries.iter().find_map(|d| forbidden(&ends, d.attempt));
    let first = deliveries.first().map(|d| d.mark);
    let mut case = Case {
        msg,
        rcpt,
        class: Class::DeliveredOnce,
        copies,
        unlicensed: extras.unlicensed,
        settled_again,
        whereabouts: None,
        forbidden,
        first,
        unshadowed: None,
        may_double: None,
        may_settle_again: None,
    };
    case.class = if altered(mail, rcpt) || (mailbox && altered_in_store(index, mail, msg, rcpt)) {
        Class::Altered
    } else if copies > 0 && bounces > 0 {
        Class::BouncedAndDelivered
    } else if copies > 0 {
        if let Some((_, Ended::Refused(_))) = forbidden {
            Class::RefusedYetDelivered
        } else if !owed {
            Class::UnacceptedYetDelivered
        } else if first.is_some_and(|m| m.at > frame.deadline) {
            Class::Late
        } else if copies == 1 {
            Class::DeliveredOnce
        } else {
            Class::DeliveredMany
        }
    } else if bounces > 1 {
        Class::BouncedMany
    } else if bounces == 1 {
        Class::Bounced
    } else if !owed {
        if !ends.is_empty() && ends.iter().all(|e| matches!(e.1, Ended::Refused(_))) {
            Class::Refused
        } else {
            Class::Unaccepted
        }
    } else if !mail.strangers.is_empty() {
        Class::Misrouted
    } else {
        let found = absence::whereabouts(plan, ledger, index, mail, msg, rcpt);
        let class = undelivered(frame, mail, rcpt, &found);
        case.whereabouts = Some(found);
        class
    };
    if case.class == Class::Refused
        && matches!(ends.last(), Some((_, Ended::Refused(code))) if code / 100 == 4)
    {
        books.put_off += 1;
    }
    *books.classes.entry(case.class).or_default() += 1;
    let plain = matches!(
        case.class,
        Class::DeliveredOnce | Class::Refused | Class::Unaccepted | Class::SilentByRequest
    );
    if !plain || !case.unlicensed.is_empty() || case.forbidden.is_some() {
        if matches!(case.class, Class::Lost | Class::Missing) {
            case.unshadowed = shadowed::unshadowed(plan, ledger, frame.claims, mail, rcpt);
        }
        if mailbox || !case.unlicensed.is_empty() {
            let copy = case.unlicensed.first().map(|d| d.mark);
            let copy = copy.filter(|_| !mailbox);
            case.may_double = frame.claims.may_double(mail, copy);
        }
        if let Some(again) = case.settled_again {
            let again = Some(again).filter(|_| !mailbox);
            case.may_settle_again = frame.claims.may_double(mail, again);
        }
        books.cases.push(case);
    }
}

fn undelivered(frame: &Frame<'_>, mail: &Mail, rcpt: Rcpt, found: &Whereabouts) -> Class {
    match found {
        Whereabouts::Held { state, .. } if *state != RowState::Done => Class::Queued,
        Whereabouts::Nowhere { .. } if mail.silent && refused_downstream(mail, rcpt) => {
            Class::SilentByRequest
        }
        Whereabouts::Nowhere { .. } if frame.rested => Class::Lost,
        _ => Class::Missing,
    }
}

/// A next hop said 5yz to the message, so that its holder had to give it up.
fn refused_downstream(mail: &Mail, rcpt: Rcpt) -> bool {
    mail.hops
        .iter()
        .filter(|h| h.link.to.ends_mail())
        .filter_map(|h| h.answer(rcpt))
        .any(|a| a.code / 100 == 5)
}

fn tally(account: &mut Account, copies: u32, mailbox: bool, extras: &Extras) {
    let copies = u64::from(copies);
    account.copies += copies;
    account.first_copies += copies.min(1);
    let more = copies.saturating_sub(1);
    if mailbox {
        // After duplicate detection no second copy has a licence; what was
        // handed over more than once and shows once was hidden.
        account.unlicensed += more;
        let over = (extras.licensed.len() + extras.unlicensed.len()) as u64;
        account.hidden += over.saturating_sub(more);
        return;
    }
    for licence in &extras.licensed {
        let licence: Licence = *licence;
        *account.licensed.entry(licence).or_default() += 1;
    }
    account.unlicensed += extras.unlicensed.len() as u64;
    account.hidden += more;
}

/// A copy whose attempt the node had refused, or whose end of data it never
/// received.
fn forbidden(ends: &[(u16, Ended)], attempt: u16) -> Option<(u16, Ended)> {
    let bad = |e: &&(u16, Ended)| matches!(e.1, Ended::Refused(_) | Ended::NotSent);
    if attempt == 0 {
        // The content does not say which attempt it is: it is forbidden only
        // when every attempt was.
        return if ends.iter().all(|e| bad(&e)) {
            ends.first().copied()
        } else {
            None
        };
    }
    ends.iter().filter(|e| e.0 == attempt).find(bad).copied()
}

fn sent_digest(mail: &Mail) -> Option<Digest> {
    mail.tries
        .iter()
        .find_map(|t| t.hop.as_ref())
        .map(|h| h.digest)
}

fn altered(mail: &Mail, rcpt: Rcpt) -> bool {
    let Some(sent) = sent_digest(mail) else {
        return false;
    };
    mail.copies
        .iter()
        .any(|c| c.rcpts.contains(&rcpt) && c.digest != sent)
        || mail
            .hops
            .iter()
            .any(|h| matches!(h.link.to, Party::Store(_)) && h.accepted(rcpt) && h.digest != sent)
}

fn altered_in_store(index: &Index<'_>, mail: &Mail, msg: Msg, rcpt: Rcpt) -> bool {
    sent_digest(mail).is_some_and(|sent| index.stored(msg, rcpt).iter().any(|s| s.1 != sent))
}
