//! Runs many seeds of one scenario in memory and tallies what comes of them:
//! for work on scenarios and the judge. Campaigns proper are `mailproof run
//! --seeds`.
//!
//! `seeds SCENARIO.toml TARGET.toml A..B [-v]`; `-v` tells of each seed that
//! does not pass, and keeps the history of those that fail in `/tmp`.

use std::collections::BTreeMap;
use std::time::Instant;

use mailproof_engine::sim::{TrialOptions, trial};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::{Step, Trigger};
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Verdict;
use mailproof_model::{scenario, target};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [scenario_file, target_file, seeds, rest @ ..] = &args[..] else {
        return Err("usage: seeds SCENARIO.toml TARGET.toml A..B [-v]".into());
    };
    let verbose = rest.iter().any(|arg| arg == "-v");
    let scenario = scenario::parse(scenario_file, &std::fs::read_to_string(scenario_file)?)?;
    let target = target::parse(target_file, &std::fs::read_to_string(target_file)?)?;
    let (from, to) = seeds.split_once("..").ok_or("seeds are A..B")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);

    let began = Instant::now();
    let mut verdicts: BTreeMap<String, (u64, Vec<u64>)> = BTreeMap::new();
    let mut reasons: BTreeMap<String, (u64, Vec<u64>)> = BTreeMap::new();
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut slowest = (0, 0);
    // By the kind of fault: drawn, acted.
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut remarks: BTreeMap<String, u64> = BTreeMap::new();
    let (mut messages, mut faults, mut acted, mut virtual_time) = (0_u64, 0, 0, 0_u64);
    for seed in from..to {
        let plan = Plan::build(&scenario, &target, "sim", seed, &format!("seed-{seed}"))?;
        let steps = &plan.scenario.steps;
        messages += u64::from(plan.scenario.workload.messages);
        faults += steps.iter().filter(|s| s.failure().is_some()).count();
        let start = Instant::now();
        let (verdict, reason) = match trial(&plan, &target, TrialOptions::default()) {
            Ok(trial) => {
                for (mark, n) in &trial.marks {
                    *marks.entry(mark.name().to_owned()).or_insert(0) += n;
                }
                virtual_time += trial.lasted;
                let judgement = trial.judgement;
                acted += judgement.acted.len();
                for (n, step) in (0_u32..).zip(steps) {
                    if let Some(kind) = kind_of(step) {
                        let entry = kinds.entry(kind).or_default();
                        entry.0 += 1;
                        entry.1 += u64::from(judgement.acted.contains(&n));
                    }
                }
                for remark in &judgement.remarks {
                    *remarks.entry(plain(remark)).or_default() += 1;
                }
                let kind = match judgement.verdict {
                    Verdict::Fail => judgement
                        .findings
                        .iter()
                        .find(|f| f.fails)
                        .map(|f| format!("{}: ", f.kind)),
                    _ => None,
                };
                let reason = kind.unwrap_or_default() + &judgement.reason;
                if verbose && judgement.verdict == Verdict::Fail {
                    let kept = trial_with_history(&plan, &target)?;
                    let file = format!("/tmp/seeds-{}-{seed}.jsonl", scenario.id.replace('/', "."));
                    std::fs::write(&file, kept)?;
                    let first = judgement.findings.iter().find(|f| f.fails);
                    let timeline = first.map(|f| f.timeline.clone()).unwrap_or_default();
                    println!("{file} {timeline:?}");
                }
                if verbose && judgement.verdict != Verdict::Pass {
                    println!("seed {seed}: {} {reason}", judgement.verdict);
                }
                (judgement.verdict.to_string(), Some(reason))
            }
            Err(e) => {
                println!("seed {seed}: {e}");
                ("sim error".to_owned(), Some(e.to_string()))
            }
        };
        slowest = slowest.max((start.elapsed().as_millis(), seed));
        let entry = verdicts.entry(verdict.clone()).or_default();
        entry.0 += 1;
        entry.1.push(seed);
        if verdict != "PASS"
            && let Some(reason) = reason
        {
            let entry = reasons
                .entry(format!("{verdict}: {}", plain(&reason)))
                .or_default();
            entry.0 += 1;
            entry.1.push(seed);
        }
    }
    let took = began.elapsed().as_secs_f64();
    let n = (to - from) as f64;
    println!(
        "{n} seeds in {took:.2} s: {:.1} seeds/s; {:.0} messages and {:.2} faults a seed, {:.2} of them acted; {:.1} s of virtual time a seed; slowest {} ms (seed {})",
        n / took,
        messages as f64 / n,
        faults as f64 / n,
        acted as f64 / n,
        virtual_time as f64 / 1e9 / n,
        slowest.0,
        slowest.1,
    );
    for (verdict, (count, seeds)) in &verdicts {
        println!(
            "{verdict:<14} {count:>7} {:>6.2} %  {:?}",
            *count as f64 * 100.0 / n,
            &seeds[..seeds.len().min(6)]
        );
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    for (reason, (count, seeds)) in reasons.iter().take(40) {
        println!("{count:>7} {reason} {:?}", &seeds[..seeds.len().min(6)]);
    }
    if verbose {
        for (kind, (drawn, acted)) in &kinds {
            println!(
                "{:>4.0} % of {drawn:>6} {kind}",
                *acted as f64 * 100.0 / *drawn as f64
            );
        }
        let mut remarks: Vec<_> = remarks.into_iter().collect();
        remarks.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        for (remark, count) in remarks.iter().take(25) {
            println!("{count:>7} remark: {remark}");
        }
    }
    for (mark, count) in &marks {
        println!("mark {mark} {count}");
    }
    Ok(())
}

fn trial_with_history(
    plan: &Plan,
    target: &TargetFile,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let options = TrialOptions {
        history: true,
        ..TrialOptions::default()
    };
    Ok(trial(plan, target, options)?.history)
}

/// A sentence without its numbers, so that alike ones are counted together.
fn plain(text: &str) -> String {
    let marked: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '#' } else { c })
        .collect();
    let plain = marked.replace("##", "#").replace("##", "#");
    plain.chars().take(150).collect()
}

/// A fault's kind, what brings it, and on which side of the cluster.
fn kind_of(step: &Step) -> Option<String> {
    step.failure()?;
    let value = serde_json::to_value(step).ok()?;
    let (kind, inner) = value.as_object()?.iter().next()?;
    let act = match &inner["act"] {
        serde_json::Value::String(act) => act.clone(),
        serde_json::Value::Object(act) => act.keys().next()?.clone(),
        _ => String::new(),
    };
    let (mut link, mut when) = (inner["on"].as_str().map(str::to_owned), "moment".to_owned());
    if let Some(Trigger::Point(point)) = step.trigger() {
        link = Some(point.link.to_string());
        when = "point".to_owned();
    }
    let side = match link {
        None => "",
        Some(l) if l.starts_with("client") => "client",
        Some(l) if l.contains("->n") => "peers",
        Some(_) => "end",
    };
    Some(format!("{kind} {act} {when} {side}"))
}
