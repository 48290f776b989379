//! What a run amounts to: verdicts, classes, licences, evidence, findings.
//!
//! Types only; the judge makes them from a history.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Msg, Rcpt};
use crate::party::Witness;

/// The verdict over one run.
///
/// FAIL outranks everything, so that nothing hides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything expected was seen, and every piece of evidence is there.
    Pass,
    /// The target lacks a capability that the scenario needs.
    NotApplicable,
    /// The scenario breaks more than the target promises to survive: figures
    /// only.
    OutsideClaim,
    /// Something is missing without which a PASS would be empty.
    Inconclusive,
    /// The harness itself failed.
    Error,
    /// A finding within the target's claims.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::NotApplicable => "NOT-APPLICABLE",
            Self::OutsideClaim => "OUTSIDE-CLAIM",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Error => "ERROR",
            Self::Fail => "FAIL",
        })
    }
}

/// Where one recipient of one message ended. Every recipient of the workload
/// has exactly one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// One copy.
    DeliveredOnce,
    /// More than one copy.
    DeliveredMany,
    /// One failure DSN, no copy.
    Bounced,
    /// More than one failure DSN, no copy.
    BouncedMany,
    /// A failure DSN and a copy: a contradiction.
    BouncedAndDelivered,
    /// Accepted, not delivered, and nobody had to be told (null sender).
    SilentByRequest,
    /// Accepted, and a holder still owes it.
    Queued,
    /// Delivered after the deadline of the scenario.
    Late,
    /// Accepted and not seen again; that it is gone is not proved.
    Missing,
    /// Accepted, and proved to be nowhere.
    Lost,
    /// Refused with a 4yz or 5yz each time, and not delivered.
    Refused,
    /// Refused with a 4yz or 5yz, and delivered all the same.
    RefusedYetDelivered,
    /// The sender never learned of an acceptance; not delivered.
    Unaccepted,
    /// The sender never learned of an acceptance; delivered.
    UnacceptedYetDelivered,
    /// A copy differs from what was sent.
    Altered,
    /// A copy went to a recipient that the message does not have.
    Misrouted,
}

impl Class {
    /// Its name as JSON has it: `delivered-once`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeliveredOnce => "delivered-once",
            Self::DeliveredMany => "delivered-many",
            Self::Bounced => "bounced",
            Self::BouncedMany => "bounced-many",
            Self::BouncedAndDelivered => "bounced-and-delivered",
            Self::SilentByRequest => "silent-by-request",
            Self::Queued => "queued",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::RefusedYetDelivered => "refused-yet-delivered",
            Self::Unaccepted => "unaccepted",
            Self::UnacceptedYetDelivered => "unaccepted-yet-delivered",
            Self::Altered => "altered",
            Self::Misrouted => "misrouted",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What permits one extra copy of the recipients it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Licence {
    /// (a) The sender never saw the reply to an earlier attempt, so it sent
    /// the message again (RFC 1047).
    UpstreamReplyLost,
    /// (b) The node that handed the copy over never saw the next hop's
    /// reply, or died before it could record it.
    DownstreamReplyLost,
    /// (c) A shadow holder took over a copy of whose completion it could not
    /// have learned.
    TakeoverUnaware,
    /// (d) The original holder returned or resumed after the takeover.
    OriginalReturned,
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpstreamReplyLost => "upstream reply lost",
            Self::DownstreamReplyLost => "downstream reply lost",
            Self::TakeoverUnaware => "takeover that could not know",
            Self::OriginalReturned => "original returned after takeover",
        })
    }
}

/// What a piece of evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// A fault had its effect.
    FaultEffect,
    /// Mail was under way when the fault came.
    InFlight,
    /// The named window was reached.
    Window,
    /// Everything had come to rest before the final account.
    Quiescent,
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FaultEffect => "fault-effect",
            Self::InFlight => "in-flight",
            Self::Window => "window",
            Self::Quiescent => "quiescent",
        })
    }
}

/// One piece of evidence: an event of the history whose witness is not the
/// injector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it shows.
    pub kind: EvidenceKind,
    /// Who saw it.
    pub witness: Witness,
    /// The event's id in the history.
    pub event: u64,
    /// What was seen, in words.
    pub text: String,
}

/// Something that should not be, with its witness message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that it breaks: `R052`, `OUT-04`, ….
    pub rule: String,
    /// What kind of finding: a class, `unlicensed-duplicate`,
    /// `queued-past-deadline`, `phantom`, …; stable for tools.
    pub kind: String,
    /// One sentence: who, what, when.
    pub text: String,
    /// How many recipients it concerns.
    pub count: u64,
    /// The witness message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Msg>,
    /// The witness recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Rcpt>,
    /// Whether it fails the run. Otherwise it is advice.
    pub fails: bool,
    /// Ids of the events that tell the witness message's story, in order.
    pub timeline: Vec<u64>,
}

/// The sums of a run: what was sent and where it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Messages of the workload.
    pub messages: u64,
    /// Recipients of the workload: the classes sum to this.
    pub recipients: u64,
    /// Recipients that a 250 reached the sender for.
    pub accepted: u64,
    /// Copies that the end of the mail took: the sum of `first_copies`,
    /// `licensed` and `unlicensed`.
    pub copies: u64,
    /// Recipients with at least one copy.
    pub first_copies: u64,
    /// Extra copies by licence.
    pub licensed: BTreeMap<Licence, u64>,
    /// Extra copies without a licence.
    pub unlicensed: u64,
    /// Extra copies that a store keyed by (Message-ID, Date) would hide.
    pub hidden: u64,
    /// Messages that are none of the run's.
    pub phantoms: u64,
}

/// What a history amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// A FAIL found although the harness also failed: to be confirmed.
    pub tainted: bool,
    /// Recipients by class; classes with none are left out.
    pub classes: BTreeMap<Class, u64>,
    /// The sums.
    pub account: Account,
    /// What carries the verdict.
    pub evidence: Vec<Evidence>,
    /// What is missing for a PASS, one sentence each.
    pub missing: Vec<String>,
    /// Faults and windows that did not come and need not (`faults = "any"`),
    /// one sentence each: nothing counts on them.
    pub remarks: Vec<String>,
    /// The steps whose faults acted, by all the evidence that each needs.
    pub acted: Vec<u32>,
    /// What should not be.
    pub findings: Vec<Finding>,
    /// Where the harness failed or contradicts itself.
    pub troubles: Vec<String>,
    /// An inequality between times broke on this machine: worth one rerun.
    pub times_broken: bool,
    /// Nanoseconds from the first to the last event.
    pub lasted: u64,
}

impl Judgement {
    /// The accounting equation over recipients: `240 recipients = 238
    /// delivered-once + 2 delivered-many`.
    #[must_use]
    pub fn equation(&self) -> String {
        let mut text = format!("{} recipients =", self.account.recipients);
        if self.classes.is_empty() {
            text.push_str(" 0");
        }
        for (n, (class, count)) in self.classes.iter().enumerate() {
            let plus = if n == 0 { "" } else { " +" };
            text.push_str(&format!("{plus} {count} {class}"));
        }
        text
    }

    /// The accounting equation over copies: `242 copies = 240 first + 2
    /// licensed (2 upstream reply lost) + 0 unlicensed`.
    #[must_use]
    pub fn copies(&self) -> String {
        let a = &self.account;
        let licensed: u64 = a.licensed.values().sum();
        let mut text = format!(
            "{} copies = {} first + {licensed} licensed",
            a.copies, a.first_copies
        );
        if licensed > 0 {
            let parts: Vec<_> = a
                .licensed
                .iter()
                .map(|(licence, n)| format!("{n} {licence}"))
                .collect();
            text.push_str(&format!(" ({})", parts.join(", ")));
        }
        text.push_str(&format!(" + {} unlicensed", a.unlicensed));
        text
    }
}

/// The exit code over the verdicts of several runs (design: 1 some fail, 70
/// harness error, 3 inconclusive, 0 all that applied passed, 4 nothing
/// selected or nothing applied). The first that applies.
#[must_use]
pub fn exit_code(verdicts: &[Verdict]) -> u8 {
    let any = |v: Verdict| verdicts.contains(&v);
    if any(Verdict::Fail) {
        1
    } else if any(Verdict::Error) {
        70
    } else if any(Verdict::Inconclusive) {
        3
    } else if any(Verdict::Pass) {
        0
    } else {
        4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_a_fail() {
        use Verdict::{Error, Fail, Inconclusive, NotApplicable, OutsideClaim, Pass};
        assert_eq!(exit_code(&[Pass, Error, Inconclusive, Fail]), 1);
        assert_eq!(exit_code(&[Pass, Error, Inconclusive]), 70);
        assert_eq!(exit_code(&[Pass, Inconclusive]), 3);
        assert_eq!(exit_code(&[Pass, NotApplicable, OutsideClaim]), 0);
        assert_eq!(exit_code(&[NotApplicable, OutsideClaim]), 4);
        assert_eq!(exit_code(&[]), 4);
    }
}
