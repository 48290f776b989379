//! `mailproof bench sim`: what the simulator costs.
//!
//! Everything is timed several times over, one repetition of everything after
//! another, so that a machine that gets slower or faster on the way does the
//! same to all; figures are medians. Each repetition has a seed of its own,
//! and with it its own latencies, disk times and cuts of streams. The first
//! repetition is not counted. All runs in one thread.

use std::collections::BTreeMap;
use std::time::Duration;

use mailproof_engine::sim::{TrialOptions, trial};
use mailproof_model::verdict::Verdict;

use super::case::{self, Case};
use super::cost::{Cost, Meter, median};
use super::figures::{ByMessages, ByNodes, Figures, Rate, Seeds, Shadows};
use super::measure::{Place, Ran, Refused, measure};
use super::shadows::Held;
use crate::cli::{BenchGroup, BenchSimArgs, Format};
use crate::context::Context;
use crate::exit_code::Exit;
use crate::json;
use crate::target_choice::{Choice, choose};

/// Cluster sizes.
const NODES: [u16; 6] = [2, 3, 5, 10, 20, 50];
/// Messages of a run over them.
const NODES_MESSAGES: u32 = 1_000;
/// Messages of runs through one node.
const MESSAGES: [u32; 5] = [10, 100, 1_000, 10_000, 100_000];
/// What the longest of these is compared with.
const COMPARED: u32 = 1_000;
/// A case is run again and again until it has taken so long; one run of few
/// messages is too short to be timed well.
const LEAST: Duration = Duration::from_millis(200);
/// How long the simulated mail must wait, in nanoseconds.
const HOURS_48: u64 = 48 * 3_600 * 1_000_000_000;

/// What was timed, one entry a repetition.
#[derive(Default)]
struct Timed {
    rate: Vec<Sample>,
    shadows: Vec<(Cost, u64, u64, u64)>,
    seeds: Vec<Cost>,
    verdicts: BTreeMap<String, u64>,
    nodes: BTreeMap<u16, Vec<Sample>>,
    messages: BTreeMap<u32, Vec<Sample>>,
}

/// Runs of one case, added up.
#[derive(Clone, Copy, Default)]
struct Sample {
    cost: Cost,
    messages: u64,
    events: u64,
    bytes: u64,
}

impl Sample {
    fn add(&mut self, ran: &Ran, messages: u32) {
        self.cost += ran.cost;
        self.messages += u64::from(messages);
        self.events += ran.events;
        self.bytes += ran.bytes;
    }

    fn per_message(&self, of: f64) -> f64 {
        of / self.messages as f64
    }

    fn wall(&self) -> f64 {
        self.per_message(self.cost.wall.as_nanos() as f64)
    }

    fn cpu(&self) -> f64 {
        self.per_message(self.cost.cpu.as_nanos() as f64)
    }
}

pub(super) fn sim(context: &Context, args: &BenchSimArgs) -> Exit {
    let target = match choose(context, &args.target) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    match timed(context, args, &target) {
        Ok(timed) => {
            let figures = figures(args, &target, &timed);
            match args.format {
                Format::Json => context.console.result(&json::line(&figures)),
                Format::Human => context.console.result(figures.text().trim_end()),
            };
            context.done(Exit::Passed)
        }
        Err(refused) => context.refuse(
            Exit::of(&[refused.verdict], false, false),
            &format!(
                "there are no figures, since what was run did not pass: {}",
                refused.why
            ),
        ),
    }
}

fn timed(context: &Context, args: &BenchSimArgs, target: &Choice) -> Result<Timed, Refused> {
    let dir = args.out.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place::below(&dir);
    let asked = |group| args.only.is_empty() || args.only.contains(&group);
    let mut timed = Timed::default();
    // The first repetition brings code and memory up and is forgotten.
    for repetition in 0..=args.repetitions {
        let seed = args.seed.wrapping_add(u64::from(repetition.max(1)) - 1);
        if repetition == 1 {
            timed = Timed::default();
        }
        if args.format == Format::Human {
            context.console.say(&match repetition {
                0 => "warming up".to_owned(),
                n => format!("repetition {n} of {}", args.repetitions),
            });
        }
        if asked(BenchGroup::Rate) {
            let sample = one(target, 1, args.messages, seed, Duration::ZERO, &place)?;
            timed.rate.push(sample);
        }
        if asked(BenchGroup::Shadows) {
            timed.shadows.push(live_copies(seed, &place)?);
        }
        if asked(BenchGroup::Seeds) {
            seeds(args, target, repetition, &mut timed)?;
        }
        if asked(BenchGroup::Nodes) {
            for nodes in NODES {
                let sample = one(target, nodes, NODES_MESSAGES, seed, LEAST, &place)?;
                timed.nodes.entry(nodes).or_default().push(sample);
            }
        }
        if asked(BenchGroup::Messages) {
            for messages in MESSAGES.into_iter().filter(|n| *n <= args.most) {
                let sample = one(target, 1, messages, seed, LEAST, &place)?;
                timed.messages.entry(messages).or_default().push(sample);
            }
        }
    }
    Ok(timed)
}

/// Runs of one size until they have taken `least` together; at least one.
fn one(
    target: &Choice,
    nodes: u16,
    messages: u32,
    seed: u64,
    least: Duration,
    place: &Place,
) -> Result<Sample, Refused> {
    let case = case::rate(target, nodes, messages, seed).map_err(Refused::harness)?;
    let mut sample = Sample::default();
    loop {
        sample.add(&measure(&case, place, &mut |_| {})?, messages);
        if sample.cost.wall >= least {
            return Ok(sample);
        }
    }
}

/// Cost, polls, nanoseconds for which copies stood, events.
fn live_copies(seed: u64, place: &Place) -> Result<(Cost, u64, u64, u64), Refused> {
    let case: Case = case::shadows(seed).map_err(Refused::harness)?;
    // Timed without the witness; the same seed gives the same history.
    let ran = measure(&case, place, &mut |_| {})?;
    let mut held = Held::default();
    let again = measure(&case, place, &mut |event| held.fold(event))?;
    let nodes = case.plan.scenario.cluster.nodes;
    let (stood, polls) = held
        .stood(nodes, case.plan.time("poll"))
        .map_err(Refused::harness)?;
    if stood < HOURS_48 || ran.lasted < stood || ran.events != again.events {
        return Err(Refused::harness(format!(
            "copies stood for {stood} ns, not for 48 hours"
        )));
    }
    Ok((ran.cost, polls, stood, ran.events))
}

/// Whole trials of the stated scenario, each with a seed of its own.
fn seeds(
    args: &BenchSimArgs,
    target: &Choice,
    repetition: u16,
    timed: &mut Timed,
) -> Result<(), Refused> {
    let count = u64::from(args.seeds);
    let from = args.seed + u64::from(repetition.max(1) - 1) * count;
    let mut cost = Cost::default();
    for seed in from..from + count {
        let case = case::carried(&args.scenario, target, seed).map_err(Refused::harness)?;
        let meter = Meter::start();
        let ran = trial(&case.plan, &case.target, TrialOptions::default());
        cost += meter.read();
        let judgement = ran.map_err(Refused::harness)?.judgement;
        // A seed now and then does not reach what its scenario is about.
        if !matches!(judgement.verdict, Verdict::Pass | Verdict::Inconclusive) {
            return Err(Refused {
                verdict: judgement.verdict,
                why: format!("{} seed {seed}: {}", args.scenario, judgement.reason),
            });
        }
        let verdict = judgement.verdict.to_string();
        *timed.verdicts.entry(verdict).or_default() += 1;
    }
    timed.seeds.push(cost);
    Ok(())
}

fn figures(args: &BenchSimArgs, target: &Choice, timed: &Timed) -> Figures {
    let of = |samples: &[Sample], figure: fn(&Sample) -> f64| {
        median(samples.iter().map(figure).collect())
    };
    let events = |s: &Sample| s.per_message(s.events as f64);
    Figures {
        schema: "mailproof.bench-sim/1",
        target: target.file.name.clone(),
        seed: args.seed,
        repetitions: args.repetitions,
        history: "a file, written block by block and not synced",
        rate: (!timed.rate.is_empty()).then(|| {
            let rates: Vec<f64> = timed.rate.iter().map(|s| 1e9 / s.wall()).collect();
            Rate {
                messages: args.messages,
                transactions_per_second_range: [
                    rates.iter().copied().fold(f64::INFINITY, f64::min),
                    rates.iter().copied().fold(0.0, f64::max),
                ],
                transactions_per_second_per_core: median(rates),
                transactions_per_cpu_second: of(&timed.rate, |s| 1e9 / s.cpu()),
                history_events_per_transaction: of(&timed.rate, events),
                history_bytes_per_transaction: of(&timed.rate, |s| s.per_message(s.bytes as f64)),
            }
        }),
        shadows: timed
            .shadows
            .first()
            .map(|(_, polls, stood, events)| Shadows {
                shadows_48h_ms: milliseconds(timed.shadows.iter().map(|s| s.0.wall)),
                shadows_48h_cpu_ms: milliseconds(timed.shadows.iter().map(|s| s.0.cpu)),
                shadows_48h_polls: *polls,
                shadows_48h_hours: *stood as f64 / 3_600e9,
                shadows_48h_events: *events,
            }),
        seeds: (!timed.seeds.is_empty()).then(|| {
            let rate = |time: Duration| f64::from(args.seeds) / time.as_secs_f64();
            Seeds {
                seeds_per_second: median(timed.seeds.iter().map(|c| rate(c.wall)).collect()),
                seeds_per_cpu_second: median(timed.seeds.iter().map(|c| rate(c.cpu)).collect()),
                seeds_scenario: args.scenario.clone(),
                seeds_run: timed.verdicts.values().sum(),
                seeds_verdicts: timed.verdicts.clone(),
            }
        }),
        by_nodes: timed
            .nodes
            .iter()
            .map(|(nodes, samples)| ByNodes {
                nodes: *nodes,
                messages: NODES_MESSAGES,
                ns_per_message: of(samples, Sample::wall),
                cpu_ns_per_message: of(samples, Sample::cpu),
                events_per_message: of(samples, events),
            })
            .collect(),
        by_messages: timed
            .messages
            .iter()
            .map(|(messages, samples)| ByMessages {
                messages: *messages,
                ns_per_message: of(samples, Sample::wall),
                cpu_ns_per_message: of(samples, Sample::cpu),
            })
            .collect(),
        longest_to_1000: growth(&timed.messages),
    }
}

/// How much more a message of the longest run costs than one of a run of
/// [`COMPARED`]: the median over the repetitions, each compared with itself.
fn growth(messages: &BTreeMap<u32, Vec<Sample>>) -> Option<f64> {
    let base = messages.get(&COMPARED)?;
    let (longest, samples) = messages.last_key_value()?;
    (*longest > COMPARED).then(|| {
        median(
            samples
                .iter()
                .zip(base)
                .map(|(long, short)| long.cpu() / short.cpu())
                .collect(),
        )
    })
}

fn milliseconds(times: impl Iterator<Item = Duration>) -> f64 {
    median(times.map(|t| t.as_secs_f64() * 1e3).collect())
}
