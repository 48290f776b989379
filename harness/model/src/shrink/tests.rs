use super::*;
use crate::scenario::{Step, Trigger, parse};

const LARGE: &str = r#"
id = "chaos/drawn"
title = "Something that fails"
needs = ["relay", "shadow-copy", "takeover"]
[cluster]
nodes = 3
[time]
takeover = "2 s"
require = ["2 polls < takeover / 2"]
[workload]
messages = 120
size = "1 KiB..16 KiB"
recipients = "1..3"
sessions = 6
[[step]]
link = { at = { link = "client->n1", phase = "dot", nth = 40 }, act = "reset" }
[[step]]
pause = { node = "any", at = "10% accepted", for = "1 s" }
[[step]]
wait = { until = "back", max = "10 s" }
[[step]]
power-cut = { node = "busiest", at = "2 s", after = "500 ms" }
[[step]]
wait = { until = "back", max = "10 s" }
[expect]
windows = ["recovery"]
"#;

/// Reduces with an oracle in the place of trials; how many candidates it took.
fn reduce(text: &str, seen: &Seen, fails: &dyn Fn(&Scenario) -> bool) -> (Scenario, usize) {
    let scenario = parse("large.toml", text).unwrap();
    assert!(fails(&scenario), "the oracle knows the scenario itself");
    let mut reducer = Reducer::new(scenario, seen.clone());
    let mut trials = 0;
    loop {
        let best = reducer.size();
        let Some(candidate) = reducer.next_candidate() else {
            break;
        };
        trials += 1;
        assert!(Size::of(candidate) < best, "every candidate is smaller");
        if fails(&candidate.clone()) {
            reducer.fails(seen.clone());
        }
        assert!(trials < 5_000);
    }
    assert!(reducer.next_candidate().is_none(), "the end is the end");
    (reducer.best().clone(), trials)
}

fn power_cut(scenario: &Scenario) -> bool {
    let cut = |step: &Step| matches!(step, Step::PowerCut(_));
    scenario.steps.iter().any(cut)
}

#[test]
fn what_fails_for_one_step_is_left_with_that_step_alone() {
    let (best, trials) = reduce(LARGE, &Seen::default(), &power_cut);
    assert_eq!(best.steps.len(), 1);
    assert_eq!(best.workload.messages, 1);
    assert_eq!((best.cluster.nodes, best.workload.sessions), (1, 1));
    assert_eq!(best.workload.recipients.to_string(), "1");
    assert_eq!(best.workload.size.to_string(), "1 KiB");
    assert_eq!(best.time, crate::scenario::Time::default());
    assert!(best.expect.windows.is_none() && best.rules.is_empty());
    assert!(trials < 200, "{trials}");
}

#[test]
fn nothing_is_cut_that_the_failure_needs() {
    let needs = |s: &Scenario| {
        power_cut(s)
            && s.workload.messages >= 7
            && s.workload.recipients.most >= 2
            && s.cluster.nodes >= 2
            && s.steps.iter().any(|step| matches!(step, Step::Pause(_)))
    };
    let (best, _) = reduce(LARGE, &Seen::default(), &needs);
    assert_eq!(best.workload.messages, 7);
    assert_eq!(best.workload.recipients.to_string(), "2");
    assert_eq!(best.cluster.nodes, 2);
    let size = Size::of(&best);
    assert_eq!(size.faults, 2);
}

#[test]
fn nothing_smaller_is_nothing_changed() {
    let scenario = parse("large.toml", LARGE).unwrap();
    let mut reducer = Reducer::new(scenario.clone(), Seen::default());
    while reducer.next_candidate().is_some() {}
    assert_eq!(*reducer.best(), scenario);
}

#[test]
fn a_time_becomes_the_point_at_which_the_step_acted() {
    let point = Point {
        link: "n2->n1".parse().unwrap(),
        phase: "dot".to_owned(),
        nth: 3,
    };
    let seen = Seen {
        choices: [(0, Party::Node(2)), (3, Party::Node(2))].into(),
        points: [(0, vec![point.clone()]), (3, vec![point.clone()])].into(),
    };
    let exact = |s: &Scenario| power_cut(s) && s.cluster.nodes >= 2;
    let (best, _) = reduce(LARGE, &seen, &exact);
    let Step::PowerCut(cut) = &best.steps[0] else {
        panic!("{best:?}");
    };
    assert!(
        matches!(&cut.at, Trigger::Point(p) if p.nth == 1),
        "{best:?}"
    );
    assert_eq!(cut.node.to_string(), "n2");
}

#[test]
fn a_hold_and_the_fault_after_it_become_one() {
    let text = r#"
id = "shadow/held"
title = "Held, then lost"
needs = ["relay", "shadow-copy", "takeover"]
[workload]
messages = 9
[[step]]
link = { at = { link = "n1->n2", phase = "dot", nth = 2 }, act = "hold", for = "1 s" }
[[step]]
node-lost = { node = "n1", at = "150 ms", back = "never" }
"#;
    let held = |s: &Scenario| {
        s.steps.iter().any(|step| match step {
            Step::NodeLost(f) => matches!(f.at, Trigger::Point(_)),
            Step::Link(_) => s.steps.len() == 2,
            _ => false,
        })
    };
    let (best, _) = reduce(text, &Seen::default(), &held);
    assert_eq!(best.steps.len(), 1, "{best:?}");
}

#[test]
fn nodes_that_break_are_renamed_when_others_go() {
    let text = r#"
id = "a/b"
title = "The third node"
[workload]
messages = 1
to = "n3"
[[step]]
crash = { node = "n3", at = { link = "n3->n1", phase = "dot" } }
"#;
    let (best, _) = reduce(text, &Seen::default(), &|s| s.cluster.nodes >= 2);
    assert_eq!(best.cluster.nodes, 2);
    assert_eq!(best.steps.len(), 0);
    let (best, _) = reduce(text, &Seen::default(), &|s| {
        s.cluster.nodes >= 2 && s.steps.len() == 1
    });
    let step = crate::scenario::write(&best).unwrap();
    assert!(step.contains("n1->n2") || step.contains("n2->n1"), "{step}");
    assert!(!step.contains("n3"), "{step}");
}

#[test]
fn the_reason_is_the_first_finding_that_fails() {
    let finding = |kind: &str, fails| crate::verdict::Finding {
        rule: "R052".to_owned(),
        kind: kind.to_owned(),
        text: String::new(),
        count: 1,
        message: None,
        recipient: None,
        fails,
        timeline: Vec::new(),
    };
    let mut judgement = Judgement {
        verdict: Verdict::Fail,
        reason: String::new(),
        tainted: false,
        classes: BTreeMap::new(),
        account: crate::verdict::Account::default(),
        evidence: Vec::new(),
        missing: Vec::new(),
        remarks: Vec::new(),
        acted: Vec::new(),
        findings: vec![finding("late", false), finding("lost", true)],
        troubles: Vec::new(),
        times_broken: false,
        lasted: 0,
    };
    assert_eq!(reason(&judgement), Some("lost"));
    judgement.verdict = Verdict::Inconclusive;
    assert_eq!(reason(&judgement), None);
}
