//! The command as its users meet it: arguments in; exit code, standard output
//! and standard error out.

#![allow(clippy::unwrap_used)] // a panic is how a test says no

mod campaign;
mod killed;
mod node;
mod shrink;
mod store;
mod support;
mod sweep;

use std::fs;

use serde_json::Value;
use support::{command, files, run_sim, scratch};

#[test]
fn list_names_every_smoke_scenario() {
    let done = command(&["list", "smoke"]);
    assert_eq!(done.code, 0, "{done}");
    for id in ["smoke/no-fault", "smoke/primary-lost", "smoke/power-cut"] {
        assert!(done.out.contains(id), "{done}");
    }
    let json = command(&["list", "smoke/no-fault", "--format", "json"]);
    let object: Value = serde_json::from_str(json.out.trim()).unwrap();
    assert_eq!(object["schema"], "mailproof.scenario/1");
    assert_eq!(object["scenario"], "smoke/no-fault");
}

#[test]
fn what_matches_nothing_exits_4_and_names_what_is_near() {
    for verb in ["list", "run"] {
        let done = command(&[verb, "smoke/no-fautl"]);
        assert_eq!(done.code, 4, "{done}");
        assert!(done.err.contains("did you mean `smoke/no-fault`"), "{done}");
        assert!(done.out.is_empty(), "{done}");
    }
    assert_eq!(command(&["list", "--targets", "nothing"]).code, 4);
}

#[test]
fn a_broken_file_exits_2_with_a_caret_before_anything_starts() {
    let dir = scratch();
    let file = dir.path().join("broken.toml");
    fs::write(
        &file,
        "id = \"x/y\"\ntitle = \"t\"\n[workload]\nmesages = 3\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let out = dir.path().join("out");
    let lint = command(&["lint", file]);
    let run = command(&["run", file, "--out", out.to_str().unwrap()]);
    for done in [&lint, &run] {
        assert_eq!(done.code, 2, "{done}");
        assert!(done.err.contains("broken.toml:4:1"), "{done}");
        assert!(done.err.contains("did you mean `messages`?"), "{done}");
        let lines: Vec<&str> = done.err.lines().collect();
        let at = lines.iter().position(|l| l.contains("mesages = 3"));
        let below = lines[at.expect("the line is shown") + 1];
        assert!(below.contains("───┬───"), "{done}");
    }
    assert!(!out.exists());
}

#[test]
fn a_wrong_command_line_exits_2() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("out");
    for arguments in [
        vec!["run", "--seeds", "5..5"],
        vec!["run", "--engine", "quantum"],
        vec!["run", "smoke/no-fault", "--target", "refrence"],
        vec!["run", "smoke/no-fault", "--target", "no-such.toml"],
        vec!["run", "no-such.toml"],
        vec!["run", "smoke/no-fault", "--disarm", "0"],
        vec!["run", "smoke/no-fault", "--out", below.to_str().unwrap()],
        vec!["explain", "R999X"],
        vec!["check", "no-such-directory"],
        vec!["frobnicate"],
        vec![],
    ] {
        let done = command(&arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {done}");
        assert!(done.out.is_empty(), "{arguments:?}: {done}");
        assert!(!done.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_unknown_target_is_told_what_is_near() {
    let done = command(&["run", "smoke/no-fault", "--target", "refrence"]);
    assert!(done.err.contains("did you mean `reference`?"), "{done}");
}

#[test]
fn explain_tells_a_rule_and_what_shows_it() {
    let done = command(&["explain", "R052"]);
    assert_eq!(done.code, 0, "{done}");
    assert!(done.out.contains("RFC 5321"), "{done}");
    assert!(done.out.contains("smoke/"), "{done}");
}

#[test]
fn a_plan_is_toml_with_its_steps_in_words() {
    let done = command(&["plan", "smoke/primary-lost", "--engine", "sim"]);
    assert_eq!(done.code, 0, "{done}");
    assert!(done.out.contains("# Step 0: "), "{done}");
    let plan: toml::Table = done.out.parse().unwrap();
    assert_eq!(plan["engine"].as_str(), Some("sim"));
    let json = command(&["plan", "smoke/primary-lost", "--format", "json"]);
    let plan: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(plan["scenario"]["id"], "smoke/primary-lost");
}

#[test]
fn a_run_writes_the_documented_object_and_check_writes_it_again() {
    let dir = scratch();
    let done = run_sim(&dir, "smoke/primary-lost", &["--format", "json"]);
    assert_eq!(done.code, 0, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    let members: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut due = [
        "schema",
        "scenario",
        "engine",
        "target",
        "seed",
        "verdict",
        "reason",
        "classes",
        "evidence",
        "missing",
        "remarks",
        "findings",
        "seconds",
        "dir",
        "reproduce",
    ];
    due.sort_unstable();
    assert_eq!(members, due);
    assert_eq!(object["schema"], "mailproof.run/1");
    assert_eq!(object["verdict"], "pass");
    let evidence = object["evidence"].as_array().unwrap();
    for kind in ["fault-effect", "in-flight", "window", "quiescent"] {
        assert!(evidence.iter().any(|e| e["kind"] == kind), "{kind}: {done}");
    }

    // Every piece of evidence resolves in the history, to an event of the
    // witness it names, and that is not the injector.
    let run = object["dir"].as_str().unwrap();
    let history = fs::read_to_string(format!("{run}/history.jsonl")).unwrap();
    let events: Vec<Value> = history
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for piece in evidence {
        let event = events
            .iter()
            .find(|e| e.get("id").is_some() && e["id"] == piece["event"]);
        let event = event.unwrap_or_else(|| panic!("{piece} is not in the history"));
        assert_eq!(event["by"], piece["witness"]);
        assert_ne!(event["by"], "injector");
    }

    let first = command(&["check", run, "--format", "json"]);
    let second = command(&["check", run, "--format", "json"]);
    assert_eq!(first.code, 0, "{first}");
    assert_eq!(first.out, done.out);
    assert_eq!(first, second);
}

#[test]
fn the_same_seed_gives_the_same_history_to_the_byte() {
    let (a, b) = (scratch(), scratch());
    let history = |dir: &tempfile::TempDir| {
        let done = run_sim(dir, "smoke/primary-crash", &["--seed", "7"]);
        assert_eq!(done.code, 0, "{done}");
        fs::read(dir.path().join("out/smoke.primary-crash/history.jsonl")).unwrap()
    };
    assert!(history(&a) == history(&b));
}

#[test]
fn a_disarmed_fault_is_inconclusive_and_exits_3() {
    let dir = scratch();
    let done = run_sim(&dir, "smoke/primary-lost", &["--disarm", "0"]);
    assert_eq!(done.code, 3, "{done}");
    assert!(done.err.contains("INCONCLUSIVE"), "{done}");
    assert!(done.err.contains("Missing"), "{done}");
    assert!(done.err.contains("--disarm 0"), "{done}");
}

#[test]
fn a_target_that_loses_mail_exits_1_with_cause_timeline_and_command() {
    // A reference node that never tries to make a copy.
    let dir = scratch();
    let text = files::reference().replace(
        "max-retries-for-local-site-shadow = 2",
        "max-retries-for-local-site-shadow = 0",
    );
    let target = dir.path().join("target.toml");
    fs::write(&target, text).unwrap();
    let done = run_sim(
        &dir,
        "smoke/primary-lost",
        &["--target", target.to_str().unwrap()],
    );
    assert_eq!(done.code, 1, "{done}");
    for part in [
        "FAIL",
        "lost",
        "What happened to message",
        "link:client->",
        "Repeat         mailproof run ",
    ] {
        assert!(done.err.contains(part), "{part}: {done}");
    }
}

#[test]
fn an_altered_run_exits_71_and_an_interrupted_one_3() {
    let dir = scratch();
    assert_eq!(run_sim(&dir, "smoke/no-fault", &[]).code, 0);
    let run = dir.path().join("out/smoke.no-fault");
    let check = || command(&["check", run.to_str().unwrap(), "--format", "json"]);
    let history = run.join("history.jsonl");
    let whole = fs::read(&history).unwrap();

    let mut changed = whole.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    fs::write(&history, &changed).unwrap();
    let done = check();
    assert_eq!(done.code, 71, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert_eq!(object["verdict"], "error");

    // As a killed harness leaves it: no manifest, a history that just ends.
    fs::remove_file(run.join("run.json")).unwrap();
    fs::write(&history, &whole[..whole.len() / 2]).unwrap();
    let done = check();
    assert_eq!(done.code, 3, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert_eq!(object["verdict"], "inconclusive");
}

#[test]
fn a_run_directory_is_never_used_twice() {
    let dir = scratch();
    assert_eq!(run_sim(&dir, "smoke/no-fault", &[]).code, 0);
    let done = run_sim(&dir, "smoke/no-fault", &[]);
    assert_eq!(done.code, 2, "{done}");
    assert!(done.err.contains("--out"), "{done}");
}

#[test]
fn a_scenario_that_does_not_apply_exits_4_and_says_why() {
    let dir = scratch();
    let done = run_sim(&dir, "smoke/no-fault", &["--target", "pyrelay"]);
    assert_eq!(done.code, 4, "{done}");
    assert!(done.err.contains("NOT-APPLICABLE"), "{done}");
}

#[test]
fn many_seeds_are_many_runs() {
    let dir = scratch();
    let done = run_sim(
        &dir,
        "smoke/no-fault",
        &["--seeds", "3..6", "--format", "json"],
    );
    assert_eq!(done.code, 0, "{done}");
    let seeds: Vec<u64> = done
        .out
        .lines()
        .map(|line| {
            let object: Value = serde_json::from_str(line).unwrap();
            object["seed"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(seeds, [3, 4, 5]);
}

#[test]
fn doctor_names_every_fault_and_why() {
    let done = command(&["doctor", "--format", "json"]);
    assert_eq!(done.code, 0, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    let faults = object["faults"].as_array().unwrap();
    for name in ["crash", "power-cut", "node-lost", "pause", "restart"] {
        let fault = faults.iter().find(|f| f["name"] == name);
        let fault = fault.unwrap_or_else(|| panic!("{name}: {done}"));
        assert!(fault["available"].is_boolean());
        assert!(!fault["reason"].as_str().unwrap().is_empty());
    }
}

#[test]
fn bench_sim_writes_figures_of_what_passed() {
    let done = command(&[
        "bench",
        "sim",
        "--only",
        "rate",
        "--only",
        "shadows",
        "--messages",
        "200",
        "--repetitions",
        "1",
        "--format",
        "json",
    ]);
    assert_eq!(done.code, 0, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert_eq!(object["schema"], "mailproof.bench-sim/1");
    let figure = |name: &str| {
        object[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {done}"))
    };
    assert!(figure("transactions_per_second_per_core") > 0.0);
    // The attempt and its outcome, and a dot and a reply on both links, and
    // what the mailbox took.
    assert!(figure("history_events_per_transaction") >= 7.0);
    assert!(figure("shadows_48h_hours") >= 48.0);
    assert!(figure("shadows_48h_polls") >= 8_640.0);
    assert!(object.get("by_nodes").is_none(), "{done}");
}
