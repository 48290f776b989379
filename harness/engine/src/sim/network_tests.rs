//! Faults of the network and of clocks, alone and on top of others, and what
//! becomes of a run in which they were only pretended.

use mailproof_model::verdict::{Judgement, Verdict};

use super::tests::plan;
use super::*;

const MAIL: &str = "[time]\npatience = '2 s'\n[workload]\nmessages = 120\nrecipients = '1..3'\nsessions = 6\n[expect]\nwindows = []\n";

fn judged(steps: &[&str], seed: u64, disarmed: &[u32]) -> Judgement {
    let steps: String = steps.iter().map(|s| format!("[[step]]\n{s}\n")).collect();
    let (mut plan, target) = plan(&format!("{MAIL}{steps}"), seed);
    plan.disarmed = disarmed.to_vec();
    trial(&plan, &target, TrialOptions::default())
        .unwrap()
        .judgement
}

fn passes(steps: &[&str], seeds: std::ops::Range<u64>) {
    let mut passed = 0;
    let all = seeds.end - seeds.start;
    for seed in seeds {
        let judgement = judged(steps, seed, &[]);
        let verdict = judgement.verdict;
        // A window that a seed did not hit proves nothing, and nothing more.
        assert!(
            matches!(verdict, Verdict::Pass | Verdict::Inconclusive),
            "seed {seed}: {verdict:?}: {} {:?}",
            judgement.reason,
            judgement.missing
        );
        passed += u64::from(verdict == Verdict::Pass);
    }
    assert!(passed * 2 > all, "{passed} of {all} passed: {steps:?}");
}

/// Pretended, the fault shows no effect and the run proves nothing.
fn needs_its_fault(steps: &[&str], seed: u64, lack: &str) {
    let judgement = judged(steps, seed, &[0]);
    assert_eq!(judgement.verdict, Verdict::Inconclusive, "{steps:?}");
    assert!(
        judgement.missing.iter().any(|m| m.contains(lack)),
        "{:?}",
        judgement.missing
    );
}

const CUT: &str = "partition = { sides = [['n1'], ['n2', 'n3', 'mb']], at = { link = 'n1->mb', phase = 'after-dot', nth = 8 }, for = '5 s' }";
const ONE_WAY: &str = "partition = { sides = [['n2', 'n3', 'mb'], ['n1']], at = { link = 'n1->mb', phase = 'after-dot', nth = 8 }, for = '5 s', one-way = true }";
const FLAPPING: &str = "partition = { sides = [['n1'], ['n2', 'n3', 'mb']], at = { link = 'n1->mb', phase = 'after-dot', nth = 8 }, for = '3 s', flap = '400 ms' }";
const SENDER: &str = "partition = { sides = [['client'], ['n1']], at = { link = 'client->n1', phase = 'after-dot', nth = 8 }, for = '3 s' }";
const BACK: &str = "wait = { until = 'back', max = '60 s' }";

#[test]
fn partitions_of_each_kind_are_felt_and_cost_nothing() {
    for step in [CUT, ONE_WAY, FLAPPING, SENDER] {
        passes(&[step, BACK], 0..12);
        needs_its_fault(&[step, BACK], 1, "was seen to stand still");
    }
}

#[test]
fn throttled_links_are_slow_and_lose_nothing() {
    let slow = "link = { on = 'n1->mb', at = '20% accepted', act = { throttle = '8 KiB/s' }, for = '4 s' }";
    passes(&[slow, BACK], 0..12);
    needs_its_fault(&[slow, BACK], 1, "nothing but the injector noticed it");
}

#[test]
fn faults_on_top_of_each_other_are_each_seen_and_cost_nothing() {
    let crash = "crash = { node = 'n1', at = '40% accepted', after = '300 ms' }";
    let crash_other = "crash = { node = 'n3', at = '40% accepted', after = '300 ms' }";
    let pause = "pause = { node = 'n1', at = '40% accepted', for = '1 s' }";
    let power = "power-cut = { node = 'n1', at = '40% accepted', after = '500 ms' }";
    let some = "partition = { sides = [['n1'], ['n2']], at = { link = 'n1->n2', phase = 'end-reply', nth = 3 }, for = '4 s' }";
    let slow =
        "link = { on = 'n1->mb', at = '10% accepted', act = { delay = '30 ms' }, for = '4 s' }";
    for steps in [
        [some, crash, BACK],
        [some, crash_other, BACK],
        [some, pause, BACK],
        [some, power, BACK],
        [slow, CUT, BACK],
        [SENDER, crash, BACK],
    ] {
        let mut seen = 0;
        for seed in 0..12 {
            let judgement = judged(&steps, seed, &[]);
            assert!(
                !matches!(judgement.verdict, Verdict::Fail | Verdict::Error),
                "seed {seed}: {} {:?} {steps:?}",
                judgement.reason,
                judgement.troubles
            );
            seen += u32::from(judgement.verdict == Verdict::Pass);
        }
        assert!(seen > 0, "no seed passed: {steps:?}");
    }
}

#[test]
fn wrong_clocks_are_read_and_cost_nothing() {
    for what in [
        "offset = '-3 h', drift = '200 ppm'",
        "offset = '1 d'",
        "drift = '-20000 ppm'",
    ] {
        let step = format!(
            "clock = {{ node = 'n1', at = {{ link = 'n1->mb', phase = 'dot', nth = 8 }}, {what}, for = '2 s' }}"
        );
        passes(&[&step, BACK], 0..12);
        needs_its_fault(&[&step, BACK], 1, "clock of n1");
    }
    // A crash and a pause while the clocks are wrong.
    let clock = "clock = { node = 'n1', at = '20% accepted', offset = '-3 h', drift = '500 ppm', for = '4 s' }";
    for other in [
        "crash = { node = 'n1', at = '40% accepted', after = '300 ms' }",
        "pause = { node = 'n1', at = '40% accepted', for = '1 s' }",
    ] {
        for seed in 0..12 {
            let judgement = judged(&[clock, other, BACK], seed, &[]);
            assert!(
                !matches!(judgement.verdict, Verdict::Fail | Verdict::Error),
                "seed {seed}: {} {other}",
                judgement.reason
            );
        }
    }
}
