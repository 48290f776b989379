//! From a history to a judgement.
//!
//! It reads events and the plan and nothing else, so that `check` gives, from
//! a stored run, what `run` gave.
//!
//! FAIL outranks ERROR, OUTSIDE-CLAIM, INCONCLUSIVE and PASS, in this order:
//! nothing hides a finding, and nothing that is missing reads as a PASS.

mod absence;
mod account;
mod claim;
mod deadline;
mod delivery;
mod evidence;
mod finding;
mod incident;
mod index;
mod joined;
mod licence;
mod outcome;
mod shadowed;

use std::borrow::Borrow;

use crate::event::Event;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::scenario::Delivered;

use claim::Claims;
use deadline::{deadline, healed};

use crate::verdict::{Class, Judgement, Verdict};

pub use outcome::{RecipientOutcome, outcomes};

/// How the history ended, as its reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Sealed and whole.
    Sealed,
    /// Not sealed: the events are a valid prefix; why.
    Unsealed(String),
}

/// Judges a history.
pub fn judge<E: Borrow<Event>>(
    plan: &Plan,
    events: impl IntoIterator<Item = E>,
    ending: &Ending,
) -> Judgement {
    let mut ledger = Ledger::new(plan.scenario.workload.messages);
    for event in events {
        ledger.fold(event.borrow());
    }
    from_ledger(plan, &ledger, ending)
}

/// Judges a ledger that was folded from a whole history, for callers that
/// stream events through it themselves.
#[must_use]
pub fn from_ledger(plan: &Plan, ledger: &Ledger, ending: &Ending) -> Judgement {
    let deadline = deadline(plan, ledger);
    let index = index::Index::of(plan, ledger);
    let claims = Claims::of(plan, ledger);
    let frame = account::Frame {
        plan,
        ledger,
        index: &index,
        bounds: delivery::Bounds::of(plan),
        claims: &claims,
        deadline,
        rested: evidence::rested(plan, ledger).is_some(),
    };
    let books = account::keep(&frame);
    let mut proof = evidence::collect(plan, ledger, &index);
    let finished = matches!(&ledger.end, Some((_, why)) if why == "finished" || why == "deadline");
    // What stopped the run explains everything else that is missing.
    let mut first = None;
    match (&ledger.end, ending) {
        (_, Ending::Unsealed(why)) => first = Some(format!("the run did not finish: {why}")),
        (None, _) => first = Some("the run did not finish".to_owned()),
        (Some((_, why)), _) if !finished => first = Some(format!("the run ended early: {why}")),
        _ => {}
    }
    proof.missing.splice(0..0, first);
    traffic(plan, &books, &mut proof.missing);
    let broken = broken_times(plan, ledger);
    proof.missing.extend(broken.iter().cloned());

    // Mail that is late or still queued is a finding only after the deadline,
    // with the target up and every fault taken back; before that nobody can
    // tell.
    let overdue =
        finished && ledger.last.is_some_and(|m| m.at >= deadline) && healed(plan, ledger).is_none();
    let (mut findings, excused) = finding::all(&frame, &books, overdue);
    let awaited = [Class::Missing, Class::Queued]
        .iter()
        .filter_map(|c| books.classes.get(c))
        .sum::<u64>();
    if awaited > 0 && !overdue && plan.scenario.expect.delivered != Delivered::AtMostOnce {
        let why = healed(plan, ledger)
            .unwrap_or_else(|| "the deadline of the scenario was not reached".to_owned());
        proof.missing.push(format!(
            "{awaited} recipients have not arrived, and absence is not proved: {why}"
        ));
    }

    let mut troubles: Vec<String> = ledger
        .troubles
        .iter()
        .map(|(mark, note)| format!("{note} (event {})", mark.id))
        .collect();
    troubles.extend(books.troubles.iter().cloned());

    // Beyond every row nothing is held against the target; what lies beyond
    // for some mail alone was taken out of the findings that fail.
    let mut outside = claims.outside;
    for f in &mut findings {
        f.fails &= outside.is_none();
    }
    if outside.is_none() {
        outside = excused;
    }
    let fails = findings.iter().filter(|f| f.fails).count();
    let (verdict, reason) = if fails > 0 {
        let first = findings.iter().find(|f| f.fails);
        (
            Verdict::Fail,
            first.map_or_else(String::new, |f| f.text.clone()),
        )
    } else if let Some(first) = troubles.first() {
        (
            Verdict::Error,
            format!("the harness contradicts itself: {first}"),
        )
    } else if let Some(why) = outside {
        (Verdict::OutsideClaim, why)
    } else if let Some(first) = proof.missing.first() {
        let more = match proof.missing.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        (Verdict::Inconclusive, format!("{first}{more}"))
    } else {
        (Verdict::Pass, passed(plan, &books))
    };
    let tainted = verdict == Verdict::Fail && !troubles.is_empty();
    Judgement {
        verdict,
        reason,
        tainted,
        classes: books.classes,
        account: books.account,
        evidence: proof.found,
        missing: proof.missing,
        remarks: proof.remarks,
        acted: proof.acted,
        findings,
        troubles,
        times_broken: !broken.is_empty(),
        lasted: ledger
            .last
            .zip(ledger.first)
            .map_or(0, |(l, f)| l.at - f.at),
    }
}

fn passed(plan: &Plan, books: &account::Books) -> String {
    let count = |classes: &[Class]| {
        let found = classes.iter().filter_map(|c| books.classes.get(c));
        found.sum::<u64>()
    };
    let returned = count(&[Class::Bounced, Class::BouncedMany]);
    let n = books.account.accepted.saturating_sub(returned);
    let licensed: u64 = books.account.licensed.values().sum();
    let mut more = match licensed {
        0 => String::new(),
        1 => "; the one extra copy has its licence".to_owned(),
        n => format!("; each of the {n} extra copies has its licence"),
    };
    let both = count(&[Class::BouncedAndDelivered]);
    for (count, what) in [
        (both, "were reported as failed besides, by licence"),
        (returned, "were returned to their sender"),
        (count(&[Class::Refused]), "were refused"),
    ] {
        if count > 0 {
            more += &format!("; {count} {what}");
        }
    }
    match plan.scenario.expect.delivered {
        Delivered::ExactlyOnce if licensed == 0 => {
            format!("all {n} accepted recipients were delivered exactly once{more}")
        }
        Delivered::ExactlyOnce => format!("all {n} accepted recipients were delivered{more}"),
        Delivered::AtLeastOnce => format!("all {n} accepted recipients were delivered{more}"),
        Delivered::AtMostOnce => {
            format!("no copy came without a licence for {n} accepted recipients{more}")
        }
    }
}

/// A PASS over too little mail is empty.
fn traffic(plan: &Plan, books: &account::Books, missing: &mut Vec<String>) {
    let a = &books.account;
    if books.unsent > 0 {
        missing.push(format!(
            "{} of {} messages were never sent",
            books.unsent, a.messages
        ));
    }
    if books.unsettled > 0 {
        missing.push(format!(
            "{} messages have an attempt without an outcome",
            books.unsettled
        ));
    }
    if a.accepted * 2 < a.recipients || a.accepted == 0 {
        missing.push(format!(
            "only {} of {} recipients were accepted: too few to say anything",
            a.accepted, a.recipients
        ));
    }
    if let Some(why) = &books.unread {
        missing.push(why.clone());
    }
    let unaccounted = [Class::Unaccepted, Class::UnacceptedYetDelivered]
        .iter()
        .filter_map(|c| books.classes.get(c))
        .sum::<u64>()
        + books.put_off;
    if unaccounted > 0 && plan.scenario.workload.sender == crate::scenario::Sender::Mta {
        missing.push(format!(
            "the sender never got {unaccounted} recipients accepted, although it kept trying"
        ));
    }
}

/// The inequalities of the scenario that the planned or measured times break.
fn broken_times(plan: &Plan, ledger: &Ledger) -> Vec<String> {
    let mut broken = Vec::new();
    for inequality in &plan.scenario.time.require {
        let mut worst = plan.times.clone();
        for (_, name, took) in &ledger.measured {
            let known = worst.entry(name.clone()).or_insert(*took);
            *known = (*known).max(*took);
        }
        match inequality.holds(&worst) {
            Some(true) => {}
            Some(false) => {
                let figures: Vec<String> = inequality
                    .left
                    .names()
                    .chain(inequality.right.names())
                    .filter_map(|n| Some(format!("{n} was {:.3} s", *worst.get(n)? as f64 / 1e9)))
                    .collect();
                broken.push(format!(
                    "the times broke `{inequality}`: {}",
                    figures.join(", ")
                ));
            }
            None => broken.push(format!("`{inequality}` was not measured")),
        }
    }
    broken
}
