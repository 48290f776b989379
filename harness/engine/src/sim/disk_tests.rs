//! Faults of disks and at disk operations, in whole runs.

use mailproof_model::event::{Harm, Stage};
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
        // Whether mail was under way just then is the seed's affair.
        assert!(
            trial.judgement.findings.is_empty(),
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

fn harms(events: &[Event]) -> Vec<Harm> {
    let found = events.iter().filter_map(|e| match &e.ev {
        What::DiskHarm { how, .. } => Some(*how),
        _ => None,
    });
    found.collect()
}

/// Every operation of a run can fail, and none of it costs mail or hangs.
#[test]
fn every_disk_operation_of_a_run_can_fail() {
    for (act, how) in [
        ("error", Harm::Eio),
        ("sync-error", Harm::SyncEio),
        ("torn", Harm::Torn),
    ] {
        let seed = 1;
        let (recorded, _) = run(SMALL, seed);
        let ops = &recorded.disk_ops[&Party::Node(1)];
        let op = match act {
            "error" => OpKind::Any,
            "sync-error" => OpKind::Sync,
            _ => OpKind::Write,
        };
        let mut hit = 0;
        for nth in (ops.before[&op] + 1..=ops.total[&op]).step_by(2) {
            let text = format!(
                "{SMALL}[[step]]\ndisk = {{ node = 'n1', at = {{ disk = 'n1', op = '{op}', nth = {nth} }}, act = '{act}', after = '200 ms' }}"
            );
            let (trial, events) = run(&text, seed);
            assert!(
                matches!(
                    trial.judgement.verdict,
                    Verdict::Pass | Verdict::Inconclusive | Verdict::OutsideClaim
                ),
                "{act} {nth}: {}",
                trial.judgement.reason
            );
            assert!(
                trial.judgement.findings.is_empty(),
                "{act} {nth}: {:?}",
                trial.judgement.findings
            );
            let found = harms(&events);
            if found.first() == Some(&how) {
                hit += 1;
                let fired = place(&events, |w| {
                    matches!(
                        w,
                        What::Fault {
                            stage: Stage::Fired,
                            ..
                        }
                    )
                });
                let harm = place(&events, |w| matches!(w, What::DiskHarm { .. }));
                let exit = place(&events, |w| matches!(w, What::Exit { life: 1, .. }));
                assert!(fired < harm && harm < exit, "{act} {nth}");
                assert!(
                    place(&events, |w| matches!(
                        w,
                        What::Ready {
                            node: Party::Node(1),
                            life: 2
                        }
                    ))
                    .is_some()
                );
            }
        }
        assert!(hit > 5, "{act}: {hit}");
    }
}

#[test]
fn a_disk_that_fails_for_a_time_is_well_again_before_its_node_comes_back() {
    for (act, how, size) in [
        ("'read-only'", Harm::Erofs, "1 KiB"),
        ("'full'", Harm::Enospc, "60 KiB"),
        ("'error'", Harm::Eio, "1 KiB"),
    ] {
        for seed in 0..3 {
            let text = format!(
                "[workload]\nmessages = 120\nsize = '{size}'\n[[step]]\ndisk = {{ node = 'n1', at = '20% accepted', act = {act}, for = '300 ms' }}"
            );
            let (trial, events) = run(&text, seed);
            assert!(
                trial.judgement.findings.is_empty(),
                "{act} {seed}: {:?}",
                trial.judgement.findings
            );
            let found = harms(&events);
            if found.is_empty() {
                // Fast disks make their segments before, slow ones after it.
                assert_eq!(how, Harm::Enospc);
                continue;
            }
            assert!(found.iter().all(|h| *h == how), "{act} {seed}: {found:?}");
            let removed = place(&events, |w| {
                matches!(
                    w,
                    What::Fault {
                        stage: Stage::Removed,
                        ..
                    }
                )
            });
            let again = place(&events, |w| matches!(w, What::Start { life: 2, .. }));
            match how {
                // Room was set aside for what must be written: it refuses
                // mail, and lives.
                Harm::Enospc => assert!(removed.is_some() && again.is_none(), "{act} {seed}"),
                _ => assert!(removed.is_some() && removed < again, "{act} {seed}"),
            }
        }
    }
}

#[test]
fn a_slow_disk_only_takes_longer() {
    let text = |step: &str| format!("[workload]\nmessages = 40\n{step}");
    let slow =
        "[[step]]\ndisk = { node = 'n1', at = 'start', act = { slow = '30 ms' }, for = '1 s' }";
    for seed in 0..3 {
        let (trial, events) = run(&text(slow), seed);
        assert!(trial.judgement.findings.is_empty());
        assert_eq!(harms(&events), [Harm::Slow]);
        assert_eq!(
            place(&events, |w| matches!(w, What::Start { life: 2, .. })),
            None
        );
        let sent = |events: &[Event]| {
            let outcome = |e: &&Event| matches!(e.ev, What::Outcome { .. });
            events.iter().filter(outcome).map(|e| e.at).max().unwrap()
        };
        let (_, plain) = run(&text(""), seed);
        assert!(sent(&events) > sent(&plain) + 30_000_000);
    }
}

#[test]
fn damage_at_rest_is_read_and_costs_nothing_that_had_a_copy() {
    for act in ["flip-bit", "zero-block", "truncate", "delete"] {
        for seed in 0..8 {
            let text = format!(
                "[workload]\nmessages = 60\n[[step]]\ncorrupt = {{ node = 'n1', at = '40% accepted', act = '{act}', after = '100 ms' }}"
            );
            let (trial, events) = run(&text, seed);
            // A copy too many is not: the record of a delivery may be gone.
            let failing: Vec<_> = trial
                .judgement
                .findings
                .iter()
                .filter(|f| f.fails)
                .collect();
            assert!(failing.is_empty(), "{act} {seed}: {failing:?}");
            let exit = place(&events, |w| matches!(w, What::Exit { life: 1, .. }));
            let damaged = place(
                &events,
                |w| matches!(w, What::Damaged { bytes, .. } if *bytes > 0),
            );
            let read = place(&events, |w| matches!(w, What::DamageRead { .. }));
            assert!(exit < damaged && damaged < read, "{act} {seed}");
        }
    }
}

#[test]
fn disarmed_faults_of_a_disk_leave_receipts_alone() {
    for step in [
        "disk = { node = 'n1', at = { disk = 'n1', op = 'sync', nth = 9 }, act = 'sync-error' }",
        "disk = { node = 'n1', at = '30% accepted', act = 'read-only', for = '100 ms' }",
        "corrupt = { node = 'n1', at = '30% accepted', act = 'delete' }",
    ] {
        let (mut plan, target) = plan(&format!("{SMALL}[[step]]\n{step}"), 1);
        plan.disarmed = vec![0];
        let (trial, events) = run_plan(&plan, &target);
        assert_ne!(trial.judgement.verdict, Verdict::Pass);
        assert!(
            place(&events, |w| matches!(
                w,
                What::Fault {
                    stage: Stage::Fired,
                    ..
                }
            ))
            .is_some()
        );
        assert_eq!(
            place(&events, |w| matches!(
                w,
                What::DiskHarm { .. } | What::Damaged { .. } | What::Start { life: 2, .. }
            )),
            None
        );
    }
}
