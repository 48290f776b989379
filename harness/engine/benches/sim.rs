//! What simulated runs cost, from the plan to the judgement, in one thread.
//! `cargo bench -p mailproof-engine`; `mailproof bench sim` has more figures
//! and writes histories to files.

#![allow(missing_docs)] // of what criterion's macros make

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailproof_engine::sim::{TrialOptions, trial};
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Verdict;
use mailproof_model::{scenario, target};

const REFERENCE: &str = include_str!("../../../fixtures/targets/reference.toml");
const PRIMARY_LOST: &str = include_str!("../../../suites/smoke/primary-lost.toml");

/// Messages of a run.
const MESSAGES: u32 = 1_000;

fn plan(text: &str, seed: u64) -> (Plan, TargetFile) {
    let scenario = scenario::parse("bench.toml", text).expect("the scenario is well-formed");
    let target = target::parse("reference.toml", REFERENCE).expect("the target is well-formed");
    let plan = Plan::build(&scenario, &target, "sim", seed, "bench").expect("the plan fits");
    (plan, target)
}

/// A run that does not pass has no figure.
fn run((plan, target): &(Plan, TargetFile)) {
    let ran = trial(plan, target, TrialOptions::default()).expect("the plan can be simulated");
    assert_eq!(ran.judgement.verdict, Verdict::Pass);
}

fn rate(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages through nodes");
    group.throughput(Throughput::Elements(MESSAGES.into()));
    group.sample_size(20);
    for nodes in [1, 3] {
        let case = plan(
            &format!(
                "id = 'bench/rate'\ntitle = 'No fault'\n[cluster]\nnodes = {nodes}\n\
                 [workload]\nmessages = {MESSAGES}\nsize = '1 KiB'\nsessions = 16\n\
                 [expect]\ndelivered = 'exactly-once'\n"
            ),
            1,
        );
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &case, |b, case| {
            b.iter(|| run(case));
        });
    }
    group.finish();
}

fn seed(c: &mut Criterion) {
    let case = plan(PRIMARY_LOST, 1);
    c.bench_function("smoke/primary-lost", |b| b.iter(|| run(&case)));
}

criterion_group!(benches, rate, seed);
criterion_main!(benches);
