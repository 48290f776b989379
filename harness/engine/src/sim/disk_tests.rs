//! Faults of disks and at disk operations, in whole runs.

use mailproof_model::scenario::OpKind;
use mailproof_model::verdict::Verdict;

use super::tests::plan;
use super::*;

const SMALL: &str = "[workload]\nmessages = 12\nsessions = 2\n";

fn run(text: &str, seed: u64) -> (Trial, Vec<Event>) {
    let (plan, target) = plan(text, seed);
    run_plan(&plan, &target)
}

fn run_plan(plan: &Plan, target: &TargetFile) -> (Trial, Vec<Event>) {
    let trial = trial(
        plan,
        target,
        TrialOptions {
            history: true,
            ..TrialOptions::default()
        },
    )
    .unwrap();
    let mut reader = mailproof_model::history::Reader::new(&trial.history[..]).unwrap();
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    (trial, events)
}

fn place(events: &[Event], what: impl Fn(&What) -> bool) -> Option<usize> {
    events.iter().position(|e| what(&e.ev))
}

#[test]
fn every_disk_operation_of_a_run_can_be_stopped_at() {
    let n1 = Party::Node(1);
    for seed in 0..2 {
        let (recorded, _) = run(SMALL, seed);
        assert_eq!(recorded.judgement.verdict, Verdict::Pass);
        let ops = &recorded.disk_ops[&n1];
        // A store is made with every kind but the last.
        for kind in [
            OpKind::Create,
            OpKind::Sync,
            OpKind::SyncDir,
            OpKind::Rename,
        ] {
            assert!(ops.before[&kind] > 0, "{kind}");
        }
        let (from, to) = (ops.before[&OpKind::Any] + 1, ops.total[&OpKind::Any]);
        assert!(to > from + 20, "{from}..{to}");
        for (at, fault) in (from..=to).zip(["crash", "power-cut", "restart"].iter().cycle()) {
            let text = format!(
                "{SMALL}[[step]]\n{fault} = {{ node = 'held', at = {{ disk = 'n1', op = 'any', nth = {at} }}, after = '1 s' }}"
            );
            let (trial, events) = run(&text, seed);
            // A stop so late that no mail is under way any more proves nothing.
            assert!(
                matches!(
                    trial.judgement.verdict,
                    Verdict::Pass | Verdict::Inconclusive
                ),
                "{at}: {:?}",
                trial.judgement.reason
            );
            let held = place(
                &events,
                |w| matches!(w, What::DiskHeld { node, fault: 0, nth, .. } if *node == n1 && *nth == at),
            );
            let held = held.unwrap_or_else(|| panic!("seed {seed}: operation {at} never came"));
            let exit = place(&events, |w| matches!(w, What::Exit { life: 1, .. })).unwrap();
            let released = place(&events, |w| matches!(w, What::DiskReleased { .. })).unwrap();
            assert!(held < exit && held < released);
            // A killed process is gone at the very moment.
            assert!(*fault == "restart" || events[exit].at == events[held].at);
        }
    }
}

#[test]
fn a_stop_names_the_operation_that_was_not_carried_out() {
    for (op, verb) in [
        ("write", "write "),
        ("sync", "sync "),
        ("create", "create "),
        ("sync-dir", "sync the directory"),
        ("rename", "rename "),
    ] {
        // Big mail, so that a second segment is made.
        let text = format!(
            "[workload]\nmessages = 90\nsize = '48 KiB'\n[[step]]\npower-cut = {{ node = 'n2', at = {{ disk = 'n2', op = '{op}', nth = 6 }}, after = '1 s' }}"
        );
        let text = if matches!(op, "create" | "sync-dir" | "rename") {
            text.replace("nth = 6", "nth = 3")
        } else {
            text
        };
        let (trial, events) = run(&text, 3);
        let held = events.iter().find_map(|e| match &e.ev {
            What::DiskHeld { op, .. } => Some(op.clone()),
            _ => None,
        });
        let held = held.unwrap_or_else(|| panic!("{op}: {}", trial.judgement.reason));
        assert!(held.starts_with(verb), "{op}: {held}");
        assert_eq!(
            trial.judgement.verdict,
            Verdict::Pass,
            "{op}: {}",
            trial.judgement.reason
        );
    }
}

#[test]
fn a_node_can_be_killed_within_its_recovery() {
    let text = |nth: u64| {
        format!(
            "[workload]\nmessages = 60\n\
             [[step]]\ncrash = {{ node = 'n1', at = '30% accepted', after = '500 ms' }}\n\
             [[step]]\npower-cut = {{ node = 'n1', at = {{ disk = 'n1', op = 'any', nth = {nth} }}, after = '1 s' }}"
        )
    };
    for seed in 0..3 {
        // How many operations the first life carried out.
        let mut found = 0;
        for nth in 1.. {
            let (trial, events) = run(&text(nth), seed);
            let held = place(&events, |w| matches!(w, What::DiskHeld { .. }));
            let born = place(&events, |w| matches!(w, What::Start { life: 2, .. }));
            let serves = place(&events, |w| {
                matches!(
                    w,
                    What::Ready {
                        node: Party::Node(1),
                        life: 2
                    }
                )
            });
            assert!(
                !matches!(trial.judgement.verdict, Verdict::Fail | Verdict::Error),
                "seed {seed}, {nth}: {}",
                trial.judgement.reason
            );
            match (held, born, serves) {
                (Some(held), Some(born), serves) if born < held && serves.is_none() => found += 1,
                (Some(_), Some(_), Some(_)) => break,
                _ => {}
            }
        }
        assert!(found >= 3, "seed {seed}: {found}");
    }
}

#[test]
fn a_paused_node_and_a_slow_link_leave_its_disk_at_work() {
    let text = format!(
        "{SMALL}[[step]]\npause = {{ node = 'n1', at = {{ disk = 'n1', op = 'sync', nth = 5 }}, for = '1 s' }}"
    );
    for seed in 0..4 {
        let (trial, events) = run(&text, seed);
        assert_eq!(
            trial.judgement.verdict,
            Verdict::Pass,
            "{}",
            trial.judgement.reason
        );
        assert!(place(&events, |w| matches!(w, What::DiskReleased { .. })).is_some());
    }
}

#[test]
fn a_disarmed_fault_at_a_disk_operation_only_holds_it() {
    let (mut plan, target) = plan(
        &format!(
            "{SMALL}[[step]]\npower-cut = {{ node = 'n1', at = {{ disk = 'n1', op = 'sync', nth = 5 }}, after = '1 s' }}"
        ),
        1,
    );
    plan.disarmed = vec![0];
    let (trial, events) = run_plan(&plan, &target);
    assert_eq!(trial.judgement.verdict, Verdict::Inconclusive);
    assert!(
        trial
            .judgement
            .missing
            .iter()
            .any(|m| m.contains("was not seen to end"))
    );
    assert!(place(&events, |w| matches!(w, What::DiskReleased { .. })).is_some());
    assert!(place(&events, |w| matches!(w, What::Dropped { .. })).is_none());
}
