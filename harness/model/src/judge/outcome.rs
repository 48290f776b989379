//! The way of each recipient, for those who compare runs.

use std::collections::BTreeMap;

use super::account::{self, Books};
use super::claim::Claims;
use super::deadline::deadline;
use super::{delivery, evidence, index};
use crate::event::{Attempt, Msg, Rcpt};
use crate::ledger::{Ended, Ledger};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::verdict::{Class, Licence};

/// What became of one recipient of one message.
///
/// It holds no time, no event, and no party but the sender's word: two runs of
/// the same plan can be compared by it, whatever engine they ran on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// Which message.
    pub msg: Msg,
    /// Which recipient of it.
    pub rcpt: Rcpt,
    /// How each attempt ended for it, in their order.
    pub attempts: Vec<(Attempt, Ended)>,
    /// Its class.
    pub class: Class,
    /// Copies that the end of the mail took; at level `mailbox`, those that
    /// its mailbox shows.
    pub copies: u64,
    /// How many of them are extra copies, by what permits them.
    pub licensed: BTreeMap<Licence, u64>,
    /// Extra copies that nothing permits.
    pub unlicensed: u64,
    /// Reports of failure that the sender of the message was sent about it.
    pub bounces: u64,
}

/// What became of each recipient that the sender named, by message and
/// recipient. The classes are those of [`super::from_ledger`], which counts
/// them.
#[must_use]
pub fn outcomes(plan: &Plan, ledger: &Ledger) -> Vec<RecipientOutcome> {
    let index = index::Index::of(plan, ledger);
    let claims = Claims::of(plan, ledger);
    let frame = account::Frame {
        plan,
        ledger,
        index: &index,
        bounds: delivery::Bounds::of(plan),
        claims: &claims,
        deadline: deadline(plan, ledger),
        rested: evidence::rested(plan, ledger).is_some(),
    };
    let mut found = Vec::new();
    for (msg, mail) in (0..).zip(&ledger.mails) {
        if mail.tries.is_empty() {
            continue;
        }
        for &rcpt in &mail.rcpts {
            // Books of their own for each recipient say all of it.
            let mut books = Books::default();
            account::recipient(&frame, &mut books, msg, mail, rcpt);
            let Some(class) = books.classes.into_keys().next() else {
                continue;
            };
            let attempts = mail
                .tries
                .iter()
                .filter(|t| t.rcpts.contains(&rcpt))
                .map(|t| {
                    let link = Link::new(Party::Client, t.node);
                    let opaque = ledger.wires.get(&link).is_some_and(|w| w.opaque);
                    (t.attempt, mail.ended(t, rcpt, opaque))
                })
                .collect();
            let bounces = mail
                .notices
                .iter()
                .filter(|n| n.failed && n.rcpts.contains(&rcpt))
                .count();
            found.push(RecipientOutcome {
                msg,
                rcpt,
                attempts,
                class,
                copies: books.account.copies,
                licensed: books.account.licensed,
                unlicensed: books.account.unlicensed,
                bounces: bounces as u64,
            });
        }
    }
    found
}
