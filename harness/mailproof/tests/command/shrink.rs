//! `shrink` and `replay`.

use std::fs;

use crate::support::{command, run_sim, scratch};

/// Fails with a sound node: nothing can be delivered before its deadline
/// while the way to the mailbox is shut.
const LATE: &str = r#"
id = "test/late"
title = "Mail that waits behind a shut link is late"
needs = ["relay"]
[cluster]
nodes = 3
[workload]
messages = 60
size = "1 KiB..4 KiB"
recipients = "1..3"
sessions = 3
[[step]]
link = { at = "start", on = "n1->mb", act = "refuse", for = "1 s" }
[[step]]
crash = { node = "n2", at = "50% accepted", back = "same" }
[[step]]
wait = { until = "back", max = "10 s" }
[expect]
deadline = "1 ms"
delivered = "at-least-once"
"#;

#[test]
fn a_failing_run_becomes_the_smallest_that_fails_so() {
    let dir = scratch();
    let file = dir.path().join("late.toml");
    fs::write(&file, LATE).unwrap();
    let run = run_sim(&dir, file.to_str().unwrap(), &["--seed", "3"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.err.contains("late"), "{run}");
    let run_dir = dir.path().join("out/test.late");
    let run_dir = run_dir.to_str().unwrap();

    let done = command(&["shrink", run_dir, "--no-process"]);
    assert_eq!(done.code, 0, "{done}");
    assert!(
        done.err.contains("from   60 messages, 3 nodes, 2 faults"),
        "{done}"
    );
    let shrunk = format!("{run_dir}/shrunk.toml");
    let text = fs::read_to_string(&shrunk).unwrap();
    assert!(text.contains("messages = 1\n"), "{text}");
    assert!(text.contains("id = \"shrunk/test-late\""), "{text}");
    assert!(!text.contains("crash"), "{text}");

    // The command it prints repeats the failure.
    let command_line = done.out.trim();
    assert!(text.contains(&format!("# {command_line}\n")), "{done}");
    let again: Vec<&str> = command_line.split(' ').skip(1).collect();
    let again = command(&again);
    assert_eq!(again.code, 1, "{again}");
    assert!(again.err.contains("Finding 1: late"), "{again}");

    // What was added harms the run neither for `check` nor for `replay`.
    assert_eq!(command(&["check", run_dir]).code, 1);
    let same = command(&["replay", run_dir]);
    assert_eq!(same.code, 0, "{same}");
    assert!(same.out.contains("byte for byte"), "{same}");
}

#[test]
fn a_run_that_passes_has_nothing_to_shrink() {
    let dir = scratch();
    assert_eq!(run_sim(&dir, "smoke/no-fault", &[]).code, 0);
    let run = dir.path().join("out/smoke.no-fault");
    let done = command(&["shrink", run.to_str().unwrap()]);
    assert_eq!(done.code, 4, "{done}");
    assert!(
        done.err.contains("does not fail in the simulator"),
        "{done}"
    );
    assert!(!run.join("shrunk.toml").exists());

    let nowhere = command(&["shrink", dir.path().to_str().unwrap()]);
    assert_eq!(nowhere.code, 2, "{nowhere}");
}

#[test]
fn a_changed_run_is_not_replayed() {
    let dir = scratch();
    assert_eq!(run_sim(&dir, "smoke/no-fault", &[]).code, 0);
    let run = dir.path().join("out/smoke.no-fault");
    let target = run.join("target.toml");
    let text = fs::read_to_string(&target).unwrap();
    fs::write(&target, text.replace("1 MiB", "2 MiB")).unwrap();
    let done = command(&["replay", run.to_str().unwrap()]);
    assert_eq!(done.code, 71, "{done}");
}
