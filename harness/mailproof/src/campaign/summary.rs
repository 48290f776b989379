//! What a campaign amounts to, for people and as JSON.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use mailproof_model::verdict::Verdict;
use mailproof_node::mark::Mark;
use serde::Serialize;

use super::identity::Identity;
use super::kept;
use super::tally::{Group, Reached, Tally};
use super::{per_second, span, verdicts};
use crate::console::{Paint, Style};
use crate::exit_code::Exit;
use crate::json;
use crate::report::quoted;

/// The name and version of the object.
const SCHEMA: &str = "mailproof.campaign/1";

/// So many seeds of a group are listed.
const LISTED: usize = 5;

/// So many kinds of FAIL and of ERROR are listed for people…
const CONVICTING: usize = 30;

/// …and of any other verdict.
const OTHERS: usize = 6;

/// So many ranges of missing seeds are listed.
const RANGES: usize = 12;

/// What this call did.
pub(super) struct Here {
    /// Trials.
    pub(super) trials: u64,
    /// Real seconds.
    pub(super) seconds: f64,
    /// Threads.
    pub(super) jobs: usize,
    /// Whether somebody asked it to end before it was done.
    pub(super) interrupted: bool,
}

/// What came of merging.
pub(super) struct Merged {
    /// How many stores.
    pub(super) stores: usize,
    /// Trials that were in more than one of them.
    pub(super) twice: u64,
    /// By scenario: ranges of seeds that none of them has, first and last.
    pub(super) missing: Vec<(usize, Vec<(u64, u64)>)>,
    /// Runs that should be kept and that no store has.
    pub(super) nowhere: Vec<(usize, u64)>,
}

/// A summary to write.
pub(super) struct Summary<'a> {
    /// What was searched.
    pub(super) identity: &'a Identity,
    /// What came of it.
    pub(super) tally: &'a Tally,
    /// How many trials there are to be made.
    pub(super) trials: u64,
    /// The store.
    pub(super) dir: &'a Path,
    /// The store that has the kept runs.
    pub(super) kept_dir: &'a Path,
    /// What this call ran, if it ran something.
    pub(super) here: Option<Here>,
    /// What it merged, if it merged something.
    pub(super) merged: Option<Merged>,
    /// The command that repeats a trial.
    pub(super) reproduce: &'a dyn Fn(usize, u64) -> String,
}

impl Summary<'_> {
    fn missing(&self) -> u64 {
        self.trials.saturating_sub(self.tally.trials)
    }

    /// The exit code over all seeds.
    pub(super) fn exit(&self) -> Exit {
        let mut verdicts: Vec<Verdict> = self.tally.sums().into_keys().collect();
        if !self.tally.differs.is_empty() {
            verdicts.push(Verdict::Error);
        }
        Exit::of(&verdicts, false, self.missing() > 0)
    }

    fn id(&self, scenario: usize) -> &str {
        &self.identity.scenario[scenario].id
    }

    /// Every mark, in the order of reports, and how often it was reached.
    fn marks(&self) -> impl Iterator<Item = (Mark, Option<&Reached>)> {
        Mark::ALL
            .into_iter()
            .map(|mark| (mark, self.tally.marks.get(mark.name())))
    }

    /// The summary for people.
    pub(super) fn text(&self, paint: Paint) -> String {
        let mut out = vec![String::new()];
        let tally = self.tally;
        let bold = |text: &str| paint.paint(Style::Bold, text);
        out.push(bold(&format!("Campaign in {}", self.dir.display())));
        if let Some(merged) = &self.merged {
            out.push(format!("  merged from {} stores", merged.stores));
        }
        out.push(format!(
            "  {} of {} trials: {}",
            tally.trials,
            self.trials,
            verdicts(&tally.sums())
        ));
        if self.identity.scenario.len() > 1 {
            for (n, scenario) in self.identity.scenario.iter().enumerate() {
                let of_it = tally.verdicts.iter().filter(|((s, _), _)| *s == n);
                let sums: BTreeMap<_, _> = of_it.map(|((_, v), count)| (*v, *count)).collect();
                out.push(format!("    {:<32}  {}", scenario.id, verdicts(&sums)));
            }
        }
        self.marks_text(&mut out, paint);
        self.missing_text(&mut out);
        self.groups_text(&mut out, paint);
        for differs in &tally.differs {
            let word = paint.paint(Style::Bad, "NOT DETERMINISTIC");
            out.push(format!(
                "  {word}  {} seed {}: {}",
                self.id(differs.scenario),
                differs.seed,
                differs.how
            ));
        }
        out.push(format!("  Histories      {}", tally.histories()));
        self.speed_text(&mut out);
        out.push(format!(
            "  Kept           {} run directories in {}",
            tally.kept().len(),
            quoted(&self.kept_dir.join(kept::FOLDER).display().to_string())
        ));
        if let Some(Here {
            interrupted: true, ..
        }) = self.here
        {
            out.push(
                "  Interrupted: the same command goes on where this one was ended.".to_owned(),
            );
        }
        out.join("\n")
    }

    fn missing_text(&self, out: &mut Vec<String>) {
        let Some(merged) = &self.merged else { return };
        for (scenario, ranges) in &merged.missing {
            let listed: Vec<_> = ranges
                .iter()
                .take(RANGES)
                .map(|(first, last)| {
                    if first == last {
                        first.to_string()
                    } else {
                        format!("{first} to {last}")
                    }
                })
                .collect();
            let more = match ranges.len().saturating_sub(RANGES) {
                0 => String::new(),
                n => format!(" and {n} more ranges"),
            };
            out.push(format!(
                "  Missing        {}: seeds {}{more}",
                self.id(*scenario),
                listed.join(", ")
            ));
        }
        if merged.twice > 0 {
            out.push(format!(
                "  Counted twice  {} trials were in more than one store; each is counted once",
                merged.twice
            ));
        }
        for (scenario, seed) in merged.nowhere.iter().take(LISTED) {
            out.push(format!(
                "  Not kept       {} seed {seed}: no store has its run directory; {}",
                self.id(*scenario),
                (self.reproduce)(*scenario, *seed)
            ));
        }
    }

    /// What did not pass: the worst verdict last, of each what is most often
    /// first.
    fn sorted(&self) -> Vec<(&(usize, Verdict, String), &Group)> {
        let mut groups: Vec<_> = self.tally.groups.iter().collect();
        groups.sort_by_key(|((_, verdict, _), group)| (*verdict, Reverse(group.count)));
        groups
    }

    fn groups_text(&self, out: &mut Vec<String>, paint: Paint) {
        // What is worst stands last, where it is seen.
        let sorted = self.sorted();
        for groups in sorted.chunk_by(|((_, a, _), _), ((_, b, _), _)| a == b) {
            let Some(((_, verdict, _), _)) = groups.first() else {
                continue;
            };
            let convicts = matches!(verdict, Verdict::Fail | Verdict::Error);
            let most = if convicts { CONVICTING } else { OTHERS };
            if let Some(more) = groups.len().checked_sub(most).filter(|more| *more > 0) {
                let trials: u64 = groups[most..].iter().map(|(_, group)| group.count).sum();
                out.push(format!(
                    "  {verdict}  {trials} trials of {more} more kinds, which --format json tells"
                ));
            }
            for ((scenario, _, kind), group) in groups.iter().take(most).rev() {
                self.group_text(out, paint, *verdict, *scenario, kind, group);
            }
        }
    }

    fn group_text(
        &self,
        out: &mut Vec<String>,
        paint: Paint,
        verdict: Verdict,
        scenario: usize,
        kind: &str,
        group: &Group,
    ) {
        let word = paint.paint(Style::of(verdict), &verdict.to_string());
        let mut seeds: Vec<_> = group
            .lowest
            .keys()
            .take(LISTED)
            .map(u64::to_string)
            .collect();
        if group.count > seeds.len() as u64 {
            seeds.push("…".to_owned());
        }
        let of_it = match group.count {
            1 => format!("seed {}", seeds.join(", ")),
            n => format!("{n} seeds ({})", seeds.join(", ")),
        };
        out.push(format!("  {word}  {}, {of_it}: {kind}", self.id(scenario)));
        if matches!(verdict, Verdict::Fail | Verdict::Error) {
            let (events, seed, _) = &group.fewest;
            out.push(format!("        {}", group.reason));
            let run = self.kept_dir.join(kept::FOLDER);
            let run = run.join(kept::name(self.id(scenario), *seed));
            out.push(format!(
                "        fewest events: seed {seed} ({events}), {}",
                quoted(&run.display().to_string())
            ));
            let repeat = (self.reproduce)(scenario, *seed);
            out.push(format!("        Repeat   {repeat}"));
        } else if group.reason != *kind {
            out.push(format!("        for instance {}", group.reason));
        }
    }

    fn marks_text(&self, out: &mut Vec<String>, paint: Paint) {
        out.push(format!("  {}", paint.paint(Style::Bold, "Marks")));
        for (mark, reached) in self.marks() {
            if let Some(reached) = reached {
                let (seed, scenario) = reached.first;
                out.push(format!(
                    "    {:<34}  {} times in {} trials, first in {} seed {seed}",
                    mark.name(),
                    reached.hits,
                    reached.trials,
                    self.id(scenario)
                ));
            }
        }
        for (mark, reached) in self.marks() {
            if reached.is_none() {
                let never = paint.paint(Style::Unsure, "never reached");
                out.push(format!("    {:<34}  {never}: {}", mark.name(), mark.what()));
            }
        }
    }

    #[allow(clippy::cast_precision_loss)] // figures for people
    fn speed_text(&self, out: &mut Vec<String>) {
        let tally = self.tally;
        let mut parts = Vec::new();
        if let Some(here) = self.here.as_ref().filter(|here| here.trials > 0) {
            parts.push(format!(
                "{} trials in {} here, {:.1}/s with {} jobs",
                here.trials,
                span(here.seconds),
                per_second(here.trials, here.seconds),
                here.jobs
            ));
        }
        parts.push(format!(
            "{:.1}/s of a processor over all",
            per_second(tally.trials, tally.took as f64 / 1e9)
        ));
        parts.push(format!(
            "{} of virtual time",
            span(tally.lasted as f64 / 1e9)
        ));
        parts.push(format!("{} events", tally.events));
        out.push(format!("  Speed          {}", parts.join("; ")));
    }

    /// The summary as one JSON object; `JSON.md` describes it.
    #[allow(clippy::cast_precision_loss)] // figures for tools that compare them roughly
    pub(super) fn json(&self) -> String {
        let tally = self.tally;
        let missing = self.merged.as_ref().map(|merged| {
            let of = |(scenario, ranges): &(usize, Vec<(u64, u64)>)| MissingLine {
                scenario: self.id(*scenario).to_owned(),
                seeds: ranges.clone(),
            };
            merged.missing.iter().map(of).collect()
        });
        json::line(&Object {
            schema: SCHEMA,
            dir: self.dir.display().to_string(),
            identity: self.identity,
            trials: self.trials,
            tried: tally.trials,
            complete: self.missing() == 0,
            interrupted: self.here.as_ref().is_some_and(|here| here.interrupted),
            verdicts: names(&tally.sums()),
            by_scenario: self.by_scenario(),
            groups: self.groups(),
            not_deterministic: tally
                .differs
                .iter()
                .map(|differs| DiffersLine {
                    scenario: self.id(differs.scenario).to_owned(),
                    seed: differs.seed,
                    how: differs.how.clone(),
                })
                .collect(),
            marks: self.mark_lines(),
            never_reached: self
                .marks()
                .filter(|(_, reached)| reached.is_none())
                .map(|(mark, _)| mark.name())
                .collect(),
            kept: self.kept(),
            histories: tally.histories(),
            events: tally.events,
            simulated_seconds: tally.lasted as f64 / 1e9,
            seeds_per_processor_second: per_second(tally.trials, tally.took as f64 / 1e9),
            here: self.here.as_ref().map(|here| HereLine {
                trials: here.trials,
                seconds: here.seconds,
                jobs: here.jobs,
                seeds_per_second: per_second(here.trials, here.seconds),
            }),
            stores: self.merged.as_ref().map(|merged| merged.stores),
            counted_twice: self.merged.as_ref().map(|merged| merged.twice),
            missing,
        })
    }

    fn by_scenario(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut by_scenario: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((scenario, verdict), n) in &self.tally.verdicts {
            let of_it = by_scenario.entry(self.id(*scenario).to_owned());
            of_it.or_default().insert(name(*verdict), *n);
        }
        by_scenario
    }

    fn groups(&self) -> Vec<GroupLine> {
        let mut groups = self.sorted();
        groups.sort_by_key(|((_, verdict, _), _)| Reverse(*verdict));
        let groups = groups.into_iter();
        groups
            .map(|((scenario, verdict, kind), group)| GroupLine {
                scenario: self.id(*scenario).to_owned(),
                verdict: *verdict,
                kind: kind.clone(),
                reason: group.reason.clone(),
                seeds: group.count,
                lowest: group.lowest.keys().copied().collect(),
                fewest_events: Fewest {
                    seed: group.fewest.1,
                    events: group.fewest.0,
                },
                reproduce: (self.reproduce)(*scenario, group.fewest.1),
            })
            .collect()
    }

    fn mark_lines(&self) -> Vec<MarkLine> {
        self.marks()
            .filter_map(|(mark, reached)| {
                let reached = reached?;
                Some(MarkLine {
                    mark: mark.name(),
                    hits: reached.hits,
                    trials: reached.trials,
                    first: FirstLine {
                        scenario: self.id(reached.first.1).to_owned(),
                        seed: reached.first.0,
                    },
                })
            })
            .collect()
    }

    fn kept(&self) -> Vec<KeptLine> {
        let folder = self.kept_dir.join(kept::FOLDER);
        let kept = self.tally.kept().into_iter();
        kept.map(|((scenario, seed), keep)| KeptLine {
            dir: folder
                .join(kept::name(self.id(scenario), seed))
                .display()
                .to_string(),
            scenario: self.id(scenario).to_owned(),
            seed,
            why: keep.why,
        })
        .collect()
    }
}

/// A verdict as JSON has it.
fn name(verdict: Verdict) -> String {
    verdict.to_string().to_lowercase()
}

fn names(sums: &BTreeMap<Verdict, u64>) -> BTreeMap<String, u64> {
    sums.iter().map(|(v, n)| (name(*v), *n)).collect()
}

#[derive(Serialize)]
struct Object<'a> {
    schema: &'static str,
    dir: String,
    identity: &'a Identity,
    trials: u64,
    tried: u64,
    complete: bool,
    interrupted: bool,
    verdicts: BTreeMap<String, u64>,
    by_scenario: BTreeMap<String, BTreeMap<String, u64>>,
    groups: Vec<GroupLine>,
    not_deterministic: Vec<DiffersLine>,
    marks: Vec<MarkLine>,
    never_reached: Vec<&'static str>,
    kept: Vec<KeptLine>,
    histories: String,
    events: u64,
    simulated_seconds: f64,
    seeds_per_processor_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    here: Option<HereLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stores: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_twice: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<MissingLine>>,
}

#[derive(Serialize)]
struct GroupLine {
    scenario: String,
    verdict: Verdict,
    kind: String,
    reason: String,
    seeds: u64,
    lowest: Vec<u64>,
    fewest_events: Fewest,
    reproduce: String,
}

#[derive(Serialize)]
struct Fewest {
    seed: u64,
    events: u64,
}

#[derive(Serialize)]
struct DiffersLine {
    scenario: String,
    seed: u64,
    how: String,
}

#[derive(Serialize)]
struct MarkLine {
    mark: &'static str,
    hits: u64,
    trials: u64,
    first: FirstLine,
}

#[derive(Serialize)]
struct FirstLine {
    scenario: String,
    seed: u64,
}

#[derive(Serialize)]
struct KeptLine {
    scenario: String,
    seed: u64,
    why: Vec<String>,
    dir: String,
}

#[derive(Serialize)]
struct HereLine {
    trials: u64,
    seconds: f64,
    jobs: usize,
    seeds_per_second: f64,
}

#[derive(Serialize)]
struct MissingLine {
    scenario: String,
    seeds: Vec<(u64, u64)>,
}
