//! Over thousands of seeds: what is drawn is a scenario like any other, and
//! inside the claim.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::claims::{self, Cover};
use crate::scenario::{ChaosKind, Spread, Step, Trigger, Within, lint, parse};
use crate::target;

const REFERENCE: &str = include_str!("../../../../fixtures/targets/reference.toml");
const RELAY: &str = include_str!("../../../../fixtures/targets/pyrelay.toml");

fn scenario(table: &str) -> Scenario {
    let text = format!("id = 'chaos/test'\ntitle = 't'\n[chaos]\n{table}");
    lint("chaos.toml", &text).unwrap()
}

fn reference() -> TargetFile {
    target::parse("reference.toml", REFERENCE).unwrap()
}

fn plan(scenario: &Scenario, target: &TargetFile, seed: u64) -> Plan {
    Plan::build(scenario, target, "sim", seed, "r").unwrap()
}

#[test]
fn every_seed_is_inside_the_claim_and_reads_as_a_file() {
    for (table, target) in [
        (
            "stores = '0..2'\nverbs = ['XPEER', 'XQDISCARD']",
            reference(),
        ),
        (
            "stores = '0..2'\ninside = true\nverbs = ['XPEER', 'XQDISCARD']",
            reference(),
        ),
        ("nodes = '1..3'", reference()),
        ("nodes = 1", target::parse("pyrelay.toml", RELAY).unwrap()),
    ] {
        let scenario = scenario(table);
        for seed in 0..3_000 {
            let drawn = draw(&scenario, &target, seed).unwrap();
            let engine = if target.sim.is_some() {
                "sim"
            } else {
                "process"
            };
            let plan = Plan::build(&scenario, &target, engine, seed, "r").unwrap();
            assert_eq!(plan.scenario, drawn);
            assert_eq!(claims::covers(&plan), Cover::Covered, "seed {seed}");
            let text = toml::to_string(&drawn).unwrap();
            let read = lint("drawn.toml", &text)
                .unwrap_or_else(|e| panic!("seed {seed}: {}\n{text}", e[0]));
            assert_eq!(read, drawn, "seed {seed}");
            assert!(drawn.workload.messages >= 100);
            assert!(drawn.steps.iter().any(|s| !matches!(s, Step::Wait(_))));
            assert_eq!(drawn.drawn, Some(format!("chaos/test seed {seed}")));
        }
    }
}

#[test]
fn a_seed_draws_the_same_each_time_and_another_seed_something_else() {
    let (scenario, target) = (scenario(""), reference());
    let drawn: Vec<Scenario> = (0..100)
        .map(|seed| draw(&scenario, &target, seed).unwrap())
        .collect();
    for (seed, first) in (0..).zip(&drawn) {
        assert_eq!(&draw(&scenario, &target, seed).unwrap(), first);
    }
    for (i, a) in drawn.iter().enumerate() {
        for (j, b) in drawn.iter().enumerate().skip(i + 1) {
            // Two seeds with one fault each may well have the same.
            let alike = a.steps == b.steps && a.steps.len() > 2;
            assert!(!alike && a.workload != b.workload, "seeds {i} and {j}");
        }
    }
}

fn name(step: &Step) -> String {
    let value = serde_json::to_value(step).unwrap();
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    let act = match &inner["act"] {
        serde_json::Value::String(act) => act.clone(),
        serde_json::Value::Object(act) => act.keys().next().unwrap().clone(),
        _ => String::new(),
    };
    let back = inner["back"].as_str().unwrap_or_default();
    format!("{kind} {act}{back}").trim().to_owned()
}

/// Over many seeds everything is drawn; in one seed not.
#[test]
fn every_kind_and_trigger_is_drawn_and_seeds_differ_in_their_kinds() {
    let (scenario, target) = (
        scenario("stores = '0..2'\ninside = true\nverbs = ['XQDISCARD']"),
        reference(),
    );
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let (mut single, mut many, mut twelve) = (0, 0, 0);
    for seed in 0..3_000 {
        let drawn = draw(&scenario, &target, seed).unwrap();
        let mut kinds = BTreeSet::new();
        let mut faults = 0;
        for step in &drawn.steps {
            if let Step::Clock(c) = step {
                *seen.entry("clock offset".to_owned()).or_default() +=
                    u32::from(c.offset.is_some());
                *seen.entry("clock drift".to_owned()).or_default() += u32::from(c.drift.is_some());
            }
            if matches!(step, Step::Wait(_) | Step::Clock(_)) {
                continue;
            }
            faults += 1;
            kinds.insert(name(step));
            *seen.entry(name(step)).or_default() += 1;
            if let Step::Partition(p) = step {
                *seen.entry("partition one-way".to_owned()).or_default() += u32::from(p.one_way);
                *seen.entry("partition flap".to_owned()).or_default() +=
                    u32::from(p.flap.is_some());
            }
            let Some(trigger) = step.trigger() else {
                continue;
            };
            let word = match trigger {
                Trigger::Start => "start",
                Trigger::Accepted(_) => "accepted",
                Trigger::Delivered(_) => "delivered",
                Trigger::After(_) => "after",
                Trigger::Point(_) => "point",
                Trigger::Event(_) => "event",
                Trigger::Disk(_) => "disk",
            };
            *seen.entry(word.to_owned()).or_default() += 1;
        }
        single += u32::from(faults > 2 && kinds.len() == 1);
        many += u32::from(kinds.len() >= 4);
        twelve += u32::from(drawn.workload.to != Spread::RoundRobin);
    }
    for word in [
        "crash same",
        "power-cut same",
        "node-lost same",
        "node-lost empty",
        "node-lost never",
        "restart same",
        "pause",
        "link hold",
        "link reset",
        "link half-close",
        "link lose-reply",
        "link cut-at",
        "link blackhole",
        "link delay",
        "link refuse",
        "link answer",
        "link throttle",
        "partition",
        "partition one-way",
        "partition flap",
        "disk errorsame",
        "disk fullsame",
        "disk read-onlysame",
        "disk sync-errorsame",
        "disk tornsame",
        "disk slowsame",
        "clock offset",
        "clock drift",
        "accepted",
        "delivered",
        "after",
        "point",
        "disk",
        "event",
    ] {
        assert!(seen.get(word).is_some_and(|n| *n >= 20), "{word}: {seen:?}");
    }
    assert!(
        single > 50 && many > 200 && twelve > 100,
        "{single} {many} {twelve}"
    );
}

#[test]
fn beyond_the_claim_is_drawn_only_where_that_is_asked_for() {
    let target = reference();
    let beyond = scenario("within = 'anything'\nkinds = ['node-lost']\nfaults = '2..4'\nnodes = 5");
    let outside = (0..200)
        .filter(|seed| claims::covers(&plan(&beyond, &target, *seed)) != Cover::Covered)
        .count();
    assert!(outside > 150, "{outside}");
    assert_eq!(beyond.chaos.as_ref().unwrap().within, Within::Anything);
}

#[test]
fn a_target_that_claims_none_of_it_is_refused() {
    let scenario = scenario("kinds = ['node-lost']");
    let relay = target::parse("pyrelay.toml", RELAY).unwrap();
    let refusal = draw(&scenario, &relay, 1).unwrap_err();
    assert!(matches!(refusal, Refusal::NoClaim { .. }), "{refusal}");
    assert!(draw(&scenario, &reference(), 1).is_ok());
}

#[test]
fn a_scenario_without_the_table_is_its_own() {
    let text = "id = 'a/b'\ntitle = 't'\n[workload]\nmessages = 9\n";
    let scenario = parse("s.toml", text).unwrap();
    assert_eq!(draw(&scenario, &reference(), 7).unwrap(), scenario);
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names: BTreeSet<String> = ChaosKind::ALL
        .iter()
        .map(|k| serde_json::to_string(k).unwrap())
        .collect();
    assert_eq!(names.len(), ChaosKind::ALL.len());
}
