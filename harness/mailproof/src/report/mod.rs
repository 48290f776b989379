//! The report of one run, for a person who has never seen one.

pub(crate) mod sentence;

use std::collections::{BTreeMap, BTreeSet};

use mailproof_model::event::Event;
use mailproof_model::plan::Plan;
use mailproof_model::rules;
use mailproof_model::verdict::{Finding, Judgement, Verdict};
use mailproof_model::workload;

use crate::console::{Paint, Style};
use crate::explain;
use crate::interrupt::INTERRUPTED;
use sentence::{line, seconds, witness};

/// The most events of one timeline that a report shows; the rest is counted.
const LONGEST_TIMELINE: usize = 40;

/// The ids of the events that a report shows, so that only these need to be
/// kept of a long history.
#[must_use]
pub(crate) fn shown(judgement: &Judgement) -> BTreeSet<u64> {
    let evidence = judgement.evidence.iter().map(|e| e.event);
    let timelines = judgement.findings.iter().flat_map(|f| f.timeline.iter());
    evidence.chain(timelines.copied()).collect()
}

/// What a report is made of.
pub(crate) struct Report<'a> {
    /// The run's plan.
    pub(crate) plan: &'a Plan,
    /// What it amounts to.
    pub(crate) judgement: &'a Judgement,
    /// At least the events of [`shown`], by id.
    pub(crate) events: &'a BTreeMap<u64, Event>,
    /// The run directory, as given.
    pub(crate) dir: &'a str,
    /// The command that repeats the run.
    pub(crate) reproduce: &'a str,
}

impl Report<'_> {
    /// The report as text.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut out = Out {
            text: String::new(),
            paint,
        };
        out.line(0, "");
        self.head(&mut out);
        self.account(&mut out);
        self.evidence(&mut out);
        self.missing(&mut out);
        self.remarks(&mut out);
        for (n, finding) in self.judgement.findings.iter().enumerate() {
            self.finding(&mut out, n + 1, finding);
        }
        out.line(0, "");
        out.line(2, &format!("Run directory  {}", self.dir));
        out.line(
            2,
            &format!("Judge again    mailproof check {}", quoted(self.dir)),
        );
        out.line(2, &format!("Repeat         {}", self.reproduce));
        out.text
    }

    fn head(&self, out: &mut Out) {
        let (plan, judgement) = (self.plan, self.judgement);
        let title = format!("{}: {}", plan.scenario.id, plan.scenario.title);
        let title = out.paint.paint(Style::Bold, &title);
        out.line(0, &title);
        let version = plan
            .target
            .version
            .as_ref()
            .map_or(String::new(), |v| format!(" {v}"));
        let disowns = if plan.target.disowns_rfc5321 {
            ", which disowns RFC 5321 6.1"
        } else {
            ""
        };
        let time = if plan.engine == "sim" {
            "simulated"
        } else {
            "elapsed"
        };
        out.line(
            2,
            &format!(
                "target {}{version}{disowns}, engine {}, seed {}, {} {time}",
                plan.target.name,
                plan.engine,
                plan.seed,
                seconds(judgement.lasted)
            ),
        );
        if !plan.disarmed.is_empty() {
            let steps: Vec<_> = plan.disarmed.iter().map(u32::to_string).collect();
            out.line(
                2,
                &format!(
                    "disarmed: the fault of step {} was only pretended",
                    steps.join(", ")
                ),
            );
        }
        let verdict = out
            .paint
            .paint(Style::of(judgement.verdict), &judgement.verdict.to_string());
        let tainted = if judgement.tainted {
            " (the harness also failed: repeat it before you believe it)"
        } else {
            ""
        };
        out.line(2, &format!("{verdict}: {}{tainted}", judgement.reason));
    }

    fn account(&self, out: &mut Out) {
        let account = &self.judgement.account;
        out.section("Account");
        out.line(4, &self.judgement.equation());
        out.line(4, &self.judgement.copies());
        if account.hidden > 0 {
            out.line(
                4,
                &format!(
                    "a mailbox that knows messages by (Message-ID, Date) would hide {} of the extra copies",
                    account.hidden
                ),
            );
        }
        if account.phantoms > 0 {
            out.line(
                4,
                &format!(
                    "{} messages arrived that are none of this run's",
                    account.phantoms
                ),
            );
        }
    }

    fn evidence(&self, out: &mut Out) {
        if self.judgement.evidence.is_empty() {
            return;
        }
        out.section("Evidence");
        for piece in &self.judgement.evidence {
            let at = self
                .events
                .get(&piece.event)
                .map_or(String::new(), |e| format!(", +{}", seconds(e.at)));
            let source = format!("({}, #{}{at})", witness(piece.witness), piece.event);
            let source = out.paint.paint(Style::Dim, &source);
            out.line(
                4,
                &format!(
                    "{:<12}  {} {source}",
                    piece.kind.to_string(),
                    piece.text.trim_end_matches('.')
                ),
            );
        }
    }

    fn missing(&self, out: &mut Out) {
        let missing = &self.judgement.missing;
        if missing.is_empty() {
            return;
        }
        out.section("Missing");
        for text in missing {
            out.line(4, &format!("- {text}"));
        }
        if self.judgement.verdict == Verdict::Inconclusive {
            out.line(4, advice(self.plan, missing));
        }
    }

    fn remarks(&self, out: &mut Out) {
        let judgement = self.judgement;
        if judgement.remarks.is_empty() {
            return;
        }
        out.section("Remarks");
        let faults = self.plan.scenario.steps.iter();
        let all = faults.filter(|step| step.failure().is_some()).count();
        out.line(
            4,
            &format!(
                "{} of {all} faults acted by all that must be seen of a fault; this counts for nothing:",
                judgement.acted.len()
            ),
        );
        for text in &judgement.remarks {
            out.line(4, &format!("- {text}"));
        }
    }

    fn finding(&self, out: &mut Out, number: usize, finding: &Finding) {
        let weight = if finding.fails { "Finding" } else { "Advice" };
        out.section(&format!(
            "{weight} {number}: {} ({}), {}",
            finding.kind,
            finding.rule,
            match finding.count {
                1 => "1 recipient".to_owned(),
                n => format!("{n} recipients"),
            }
        ));
        out.line(4, &finding.text);
        if let Some(rule) = rules::get(&finding.rule) {
            out.line(
                4,
                &format!("{}: {} ({})", rule.id, rule.text, explain::origin(rule)),
            );
        }
        if finding.timeline.is_empty() {
            return;
        }
        let whose = match (finding.message, finding.recipient) {
            (Some(msg), Some(rcpt)) => {
                let address = workload::address_in(self.plan, msg, rcpt);
                format!("What happened to message {msg}, recipient {rcpt} ({address}):")
            }
            (Some(msg), None) => format!("What happened to message {msg}:"),
            _ => "What happened:".to_owned(),
        };
        out.line(4, &whose);
        for id in finding.timeline.iter().take(LONGEST_TIMELINE) {
            match self.events.get(id) {
                Some(event) => out.line(6, &line(event)),
                None => out.line(6, &format!("#{id} is not in the history")),
            }
        }
        if finding.timeline.len() > LONGEST_TIMELINE {
            let more = finding.timeline.len() - LONGEST_TIMELINE;
            out.line(6, &format!("… and {more} more events in the history"));
        }
    }
}

/// What to do about an INCONCLUSIVE.
fn advice(plan: &Plan, missing: &[String]) -> &'static str {
    if !plan.disarmed.is_empty() {
        "The fault was disarmed on purpose, so this is what should come out."
    } else if missing
        .iter()
        .any(|m| m.contains("did not finish") || m.ends_with(INTERRUPTED))
    {
        "This is not a pass. The run was interrupted; run it again."
    } else if plan.engine == "sim" {
        "This is not a pass. The simulator repeats it exactly: change the scenario or the seed so that the run reaches what is missing."
    } else {
        "This is not a pass. Run it again; if it stays so, the machine is too busy for the scenario's times, or the scenario does not reach what it is meant to."
    }
}

struct Out {
    text: String,
    paint: Paint,
}

impl Out {
    fn line(&mut self, indent: usize, text: &str) {
        let line = format!("{:indent$}{text}", "");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn section(&mut self, title: &str) {
        let title = self.paint.paint(Style::Bold, title);
        self.line(2, &title);
    }
}

/// One word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The table over several runs and the sum of their accounts.
pub(crate) struct Summary {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    verdict: Verdict,
    account: Option<(u64, BTreeMap<&'static str, u64>)>,
    text: String,
}

impl Summary {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a run; `judgement` is `None` where it came to none.
    pub(crate) fn add(
        &mut self,
        name: String,
        verdict: Verdict,
        judgement: Option<&Judgement>,
        text: &str,
    ) {
        let account = judgement.map(|j| {
            let classes = j.classes.iter().map(|(c, n)| (c.name(), *n)).collect();
            (j.account.recipients, classes)
        });
        self.rows.push(Row {
            name,
            verdict,
            account,
            text: text.to_owned(),
        });
    }

    /// The verdicts.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        self.rows.iter().map(|r| r.verdict).collect()
    }

    /// The table as text: a line a run where they are few, the runs that did
    /// not pass where they are many, then the counts and the sum.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut out = Out {
            text: String::new(),
            paint,
        };
        out.line(0, "");
        let few = self.rows.len() <= 40;
        let width = self.rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
        for row in &self.rows {
            if few || row.verdict != Verdict::Pass {
                let verdict = format!("{:<14}", row.verdict.to_string());
                let verdict = paint.paint(Style::of(row.verdict), &verdict);
                out.line(0, &format!("{verdict}  {:<width$}  {}", row.name, row.text));
            }
        }
        let mut counts: BTreeMap<Verdict, u64> = BTreeMap::new();
        let mut classes: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut recipients = 0;
        for row in &self.rows {
            *counts.entry(row.verdict).or_default() += 1;
            if let Some((n, by_class)) = &row.account {
                recipients += n;
                for (class, n) in by_class {
                    *classes.entry(class).or_default() += n;
                }
            }
        }
        let counted: Vec<_> = counts.iter().map(|(v, n)| format!("{n} {v}")).collect();
        out.line(
            0,
            &match self.rows.len() {
                1 => format!("1 run: {}", counted.join(", ")),
                n => format!("{n} runs: {}", counted.join(", ")),
            },
        );
        if recipients > 0 {
            let parts: Vec<_> = classes.iter().map(|(c, n)| format!("{n} {c}")).collect();
            out.line(
                0,
                &format!("{recipients} recipients = {}", parts.join(" + ")),
            );
        }
        out.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
