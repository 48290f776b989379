//! A whole run in memory: simulated, folded and judged, with nothing written
//! to any disk. Searches (campaigns, sweeps, shrinking) are made of these.

use std::collections::BTreeMap;

use mailproof_model::director::Director;
use mailproof_model::drive::drive;
use mailproof_model::event::{At, Event};
use mailproof_model::history::{Durability, Seal, Writer};
use mailproof_model::judge::{Ending, from_ledger};
use mailproof_model::ledger::Ledger;
use mailproof_model::party::Party;
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Judgement;
use mailproof_node::mark::Mark;

use super::{DiskOps, Passage, SimError, SimWorld};

/// What a trial keeps beside its judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrialOptions {
    /// The history, as its file would be.
    pub history: bool,
    /// Every passage of a phase on a link.
    pub passages: bool,
}

/// A run in memory that came to its end.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What it amounts to, judged as a stored run would be.
    pub judgement: Judgement,
    /// The seal of its history: the same plan has the same.
    pub seal: Seal,
    /// The history, when it was asked for; empty otherwise.
    pub history: Vec<u8>,
    /// Virtual time at its end, in nanoseconds.
    pub lasted: At,
    /// Everything that happened in the simulated world, counted as
    /// `at = { event = N }` counts it.
    pub happenings: u64,
    /// How much of that had happened when the first message was handed over.
    /// Steps begin then: no fault can come at a happening up to this one.
    pub prelude: u64,
    /// How often the nodes reached each of their rare conditions.
    pub marks: BTreeMap<Mark, u64>,
    /// The passages of phases on links, when they were asked for.
    pub passages: Vec<Passage>,
    /// What each node's disk carried out: the points of a sweep over disk
    /// operations.
    pub disk_ops: BTreeMap<Party, DiskOps>,
}

/// Runs a plan to its end in memory and judges it.
///
/// # Errors
/// [`SimError`]: the plan cannot be simulated, or the harness failed.
pub fn trial(plan: &Plan, target: &TargetFile, options: TrialOptions) -> Result<Trial, SimError> {
    let mut history = Vec::new();
    let mut trial = trial_into(
        plan,
        target,
        Kept {
            bytes: &mut history,
            keep: options.history,
        },
        &mut |world| {
            if options.passages {
                world.keep_passages();
            }
        },
        &mut |_| {},
    )?;
    trial.history = history;
    Ok(trial)
}

/// A trial whose history goes to `sink`; `before` sees the world before
/// anything happens in it, `after` sees it when it has come to its end,
/// however it has.
pub(super) fn trial_into<'a>(
    plan: &Plan,
    target: &TargetFile,
    sink: Kept<'a>,
    before: &mut dyn FnMut(&mut SimWorld<Kept<'a>>),
    after: &mut dyn FnMut(&mut SimWorld<Kept<'a>>),
) -> Result<Trial, SimError> {
    let mut ledger = Ledger::new(plan.scenario.workload.messages);
    let writer = Writer::create(sink, plan, Durability::Buffered)?;
    let mut world = SimWorld::new(plan.clone(), target, writer)?;
    let mut director = Director::new(plan.clone())?;
    before(&mut world);
    let driven = drive(&mut world, &mut director, &mut |event: &Event| {
        ledger.fold(event);
    });
    after(&mut world);
    driven?;
    let lasted = mailproof_model::order::World::now(&world);
    let seal = world.seal()?;
    let happenings = world.clock.happened();
    let prelude = world.prelude.unwrap_or(happenings);
    let marks = std::mem::take(&mut world.marks);
    let passages = world.take_passages();
    let disk_ops = world.disk_ops();
    drop(world);
    Ok(Trial {
        judgement: from_ledger(plan, &ledger, &Ending::Sealed),
        seal,
        history: Vec::new(),
        lasted,
        happenings,
        prelude,
        marks,
        passages,
        disk_ops,
    })
}

/// Keeps what is written to it, or only takes it.
pub(super) struct Kept<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) keep: bool,
}

impl std::io::Write for Kept<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.keep {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl mailproof_model::history::Sink for Kept<'_> {}

#[cfg(test)]
mod tests {
    use mailproof_model::event::{Stage, What};
    use mailproof_model::verdict::Verdict;

    use super::super::tests::plan;
    use super::*;

    #[test]
    fn a_trial_is_judged_as_its_history_is() {
        let (plan, target) = plan(
            "[workload]\nmessages = 20\n[[step]]\ncrash = { node = 'n1', at = '30% accepted' }",
            5,
        );
        let kept = trial(
            &plan,
            &target,
            TrialOptions {
                history: true,
                ..TrialOptions::default()
            },
        )
        .unwrap();
        let bare = trial(&plan, &target, TrialOptions::default()).unwrap();
        assert_eq!(kept.judgement.verdict, Verdict::Pass);
        assert_eq!(kept.judgement, bare.judgement);
        assert_eq!(kept.seal, bare.seal);
        assert!(bare.history.is_empty());
        let mut reader = mailproof_model::history::Reader::new(&kept.history[..]).unwrap();
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            events.push(event);
        }
        let again = mailproof_model::judge::judge(&plan, &events, &Ending::Sealed);
        assert_eq!(again, kept.judgement);
    }
    #[test]
    fn every_passage_is_one_that_a_step_can_act_at() {
        let workload = "[workload]\nmessages = 6\nsessions = 1\n";
        let options = TrialOptions {
            passages: true,
            ..TrialOptions::default()
        };
        let (calm, target) = plan(workload, 5);
        let recorded = trial(&calm, &target, options).unwrap();
        let count = |link: &str, phase: &str| {
            let on = |p: &&Passage| p.link.to_string() == link && p.phase.to_string() == phase;
            recorded.passages.iter().filter(on).count()
        };
        for (link, phase) in [
            ("client->n1", "connect"),
            ("client->n1", "after-dot"),
            ("client->n1", "end-reply"),
        ] {
            let there = count(link, phase);
            assert!(there > 0, "{link} {phase}");
            // The last passage is reached and the one after it is not.
            for (nth, reached) in [(there, true), (there + 1, false)] {
                let step = format!(
                    "{workload}[[step]]\nlink = {{ at = {{ link = '{link}', phase = '{phase}', nth = {nth} }}, act = 'half-close' }}"
                );
                let (faulty, target) = plan(&step, 5);
                let options = TrialOptions {
                    history: true,
                    ..TrialOptions::default()
                };
                let ran = trial(&faulty, &target, options).unwrap();
                let text = String::from_utf8(ran.history).unwrap();
                assert_eq!(text.contains("\"fired\""), reached, "{link} {phase} {nth}");
            }
        }
        assert!(
            trial(&calm, &target, TrialOptions::default())
                .unwrap()
                .passages
                .is_empty()
        );
    }

    fn events(trial: &Trial) -> Vec<Event> {
        let mut reader = mailproof_model::history::Reader::new(&trial.history[..]).unwrap();
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            events.push(event);
        }
        events
    }

    /// Without the director's words about its step, which shift all ids.
    fn seen(events: &[Event]) -> Vec<(At, &What)> {
        let steps = |w: &What| matches!(w, What::Step { .. } | What::Fault { .. });
        events
            .iter()
            .map(|e| (e.at, &e.ev))
            .filter(|(_, w)| !steps(w))
            .collect()
    }

    #[test]
    fn a_fault_comes_right_after_its_happening_and_changes_nothing_before() {
        const MAIL: &str = "[workload]\nmessages = 20\n";
        let keep = TrialOptions {
            history: true,
            ..TrialOptions::default()
        };
        let (bare, target) = plan(MAIL, 5);
        let recorded = trial(&bare, &target, keep).unwrap();
        assert!(recorded.prelude > 0 && recorded.prelude < recorded.happenings);
        let undisturbed = events(&recorded);
        let span = recorded.happenings - recorded.prelude;
        let mut inside = 0;
        for share in 1..10 {
            let number = recorded.prelude + span * share / 20;
            let step = format!("[[step]]\ncrash = {{ node = 'n1', at = {{ event = {number} }} }}");
            let (plan, _) = plan(&format!("{MAIL}{step}"), 5);
            let broken = trial(&plan, &target, keep).unwrap();
            let events = events(&broken);
            let came = events
                .iter()
                .position(|e| e.ev == What::Happening { fault: 0, number })
                .unwrap();
            // What the happening itself brought about may stand in between.
            let fired = events[came..].iter().find(|e| {
                matches!(
                    e.ev,
                    What::Fault {
                        stage: Stage::Fired,
                        ..
                    }
                )
            });
            assert_eq!(fired.unwrap().at, events[came].at);
            let before = seen(&events[..came]);
            assert_eq!(before[..], seen(&undisturbed)[..before.len()], "{number}");
            inside += u32::from(broken.judgement.verdict == Verdict::Pass);
            assert!(broken.judgement.verdict != Verdict::Fail, "{number}");
        }
        assert!(inside > 0);
    }

    #[test]
    fn a_happening_before_the_first_step_never_comes() {
        let (plan, target) = plan(
            "[workload]\nmessages = 5\n[[step]]\ncrash = { node = 'n1', at = { event = 1 } }",
            5,
        );
        let trial = trial(&plan, &target, TrialOptions::default()).unwrap();
        assert!(trial.prelude >= 1);
        assert_eq!(trial.judgement.verdict, Verdict::Inconclusive);
    }
}
