//! Campaigns: killed, interrupted, in parts and as a whole they come to the
//! same.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Done, command, files, scratch};

/// When a test gives up. Nothing is asserted of how long anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

const SCENARIO: &str = "smoke/primary-lost";

fn arguments<'a>(store: &'a str, seeds: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "run",
        SCENARIO,
        "--engine",
        "sim",
        "--seeds",
        seeds,
        "--format",
        "json",
        "--campaign",
        store,
    ];
    arguments.extend(more);
    arguments
}

fn campaign(store: &Path, seeds: &str, more: &[&str]) -> Done {
    command(&arguments(store.to_str().unwrap(), seeds, more))
}

fn begin(store: &Path, seeds: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .args(arguments(store.to_str().unwrap(), seeds, more))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command was built with this test")
}

fn object(done: &Done) -> Value {
    serde_json::from_str(done.out.trim()).unwrap_or_else(|e| panic!("{e}: {done}"))
}

/// What must not depend on jobs, interruptions and parts.
fn totals(object: &Value) -> Value {
    let mut totals = object.clone();
    let members = totals.as_object_mut().unwrap();
    for own in [
        "dir",
        "here",
        "seeds_per_processor_second",
        "stores",
        "counted_twice",
        "missing",
        "interrupted",
        "identity",
    ] {
        members.remove(own);
    }
    for kept in members["kept"].as_array_mut().unwrap() {
        kept.as_object_mut().unwrap().remove("dir");
    }
    for group in members["groups"].as_array_mut().unwrap() {
        // After a merge nobody knows where a target file was.
        group.as_object_mut().unwrap().remove("reproduce");
    }
    totals
}

/// The files of every kept run and what is in them.
fn kept(store: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for run in fs::read_dir(store.join("kept")).unwrap() {
        let run = run.unwrap().path();
        for file in fs::read_dir(&run).unwrap() {
            let file = file.unwrap().path();
            let name = file.strip_prefix(store).unwrap().display().to_string();
            found.push((name, fs::read(&file).unwrap()));
        }
    }
    found.sort();
    found
}

fn await_results(run: &mut Child, store: &Path, lines: usize) -> bool {
    let began = Instant::now();
    let results = store.join("results.jsonl");
    loop {
        let text = fs::read_to_string(&results).unwrap_or_default();
        if text.matches('\n').count() >= lines {
            return true;
        }
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {lines} lines");
        // There is no event to wait for: the file is another process's.
        thread::sleep(Duration::from_millis(2));
    }
}

/// A reference node that never tries to make a copy, so that it loses mail.
fn losing(dir: &TempDir) -> String {
    let text = files::reference().replace(
        "max-retries-for-local-site-shadow = 2",
        "max-retries-for-local-site-shadow = 0",
    );
    let target = dir.path().join("target.toml");
    fs::write(&target, text).unwrap();
    target.to_str().unwrap().to_owned()
}

#[test]
fn killed_again_and_again_it_counts_every_seed_once() {
    let dir = scratch();
    let target = losing(&dir);
    let more = ["--target", &target];
    let whole = dir.path().join("whole");
    let due = campaign(&whole, "0..60", &more);
    assert_eq!(due.code, 1, "{due}");
    let killed = dir.path().join("killed");
    let mut kills = 0;
    for lines in 1.. {
        let mut run = begin(&killed, "0..60", &more);
        if !await_results(&mut run, &killed, lines) {
            run.wait().unwrap();
            break;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        kills += 1;
        if lines % 2 == 0 {
            // As when it dies in the middle of a line.
            let path = killed.join("results.jsonl");
            let text = fs::read(&path).unwrap();
            fs::write(&path, &text[..text.len() - 7]).unwrap();
            fs::create_dir_all(killed.join("kept/.new-smoke.primary-lost-0")).unwrap();
        }
    }
    assert!(kills > 0, "it was never killed");
    let done = campaign(&killed, "0..60", &more);
    assert_eq!(done.code, 1, "{done}");
    let (due, done) = (object(&due), object(&done));
    assert_eq!(totals(&done), totals(&due));
    assert_eq!(done["tried"], 60);
    assert_eq!(done["complete"], true);
    assert_eq!(kept(&killed), kept(&whole));
}

#[test]
fn parts_merge_into_what_one_machine_finds() {
    let dir = scratch();
    let target = losing(&dir);
    let more = ["--target", &target];
    let whole = campaign(&dir.path().join("whole"), "5..45", &more);
    let parts = dir.path().join("parts");
    for shard in ["1/3", "2/3"] {
        let done = campaign(&parts, "5..45", &["--target", &target, "--shard", shard]);
        assert_eq!(done.code, 1, "{done}");
    }
    let out = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let merge = |to: &str, from: &[&str]| {
        let to = out(to);
        let mut arguments = vec!["merge", &to];
        arguments.extend(from);
        arguments.extend(["--format", "json"]);
        command(&arguments)
    };
    let parts = parts.to_str().unwrap();

    let less = merge("less", &[parts]);
    assert_eq!(less.code, 1, "{less}");
    assert_eq!(object(&less)["complete"], false);
    let missing = &object(&less)["missing"][0]["seeds"];
    // Part 0: 5, 8, 11, …
    assert_eq!(missing.as_array().unwrap().len(), 14, "{less}");
    assert_eq!(missing[1], serde_json::json!([8, 8]));
    assert!(less.err.contains("Missing"), "{less}");

    // The part counted from 0, as Kubernetes does, and into the same folder.
    let shard = ["--target", &target, "--shard", "0/3", "--leave-verdict"];
    let done = campaign(&dir.path().join("parts"), "5..45", &shard);
    assert_eq!(done.code, 0, "{done}");
    let merged = merge("merged", &[parts, parts]);
    assert_eq!(merged.code, 1, "{merged}");
    let (merged, whole) = (object(&merged), object(&whole));
    assert_eq!(totals(&merged), totals(&whole));
    assert_eq!(merged["missing"], serde_json::json!([]));
    assert_eq!(merged["counted_twice"], 40);
    assert_eq!(
        kept(&dir.path().join("merged")),
        kept(&dir.path().join("whole"))
    );

    // A merged store is a store: what it lacks can be run.
    let done = campaign(&dir.path().join("less"), "5..45", &more);
    assert_eq!(totals(&object(&done)), totals(&whole));
    assert_eq!(object(&done)["here"]["trials"], 14);

    let other = dir.path().join("other");
    campaign(&other, "5..44", &more);
    let refused = merge("refused", &[parts, other.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "{refused}");
    assert!(
        refused.err.contains("the seeds are 5..45 in one, 5..44"),
        "{refused}"
    );
    assert!(!dir.path().join("refused").exists());
}

#[test]
fn a_store_refuses_another_search_and_says_what_differs() {
    let dir = scratch();
    let store = dir.path().join("store");
    let target = losing(&dir);
    assert_eq!(campaign(&store, "0..2", &[]).code, 0);
    for (seeds, more, what) in [
        (
            "0..3",
            vec![],
            "the seeds are 0..2 in one, 0..3 in the other",
        ),
        ("0..2", vec!["--twice"], "run twice is"),
        ("0..2", vec!["--disarm", "0"], "the disarmed steps are"),
        (
            "0..2",
            vec!["--target", &target],
            "file of the target reference",
        ),
        ("0..2", vec!["smoke/no-fault"], "the scenarios are"),
    ] {
        let done = campaign(&store, seeds, &more);
        assert_eq!(done.code, 2, "{done}");
        assert!(done.err.contains(what), "{what}: {done}");
    }
    let engine = command(&["run", "--campaign", store.to_str().unwrap()]);
    assert_eq!(engine.code, 2, "{engine}");
    assert!(engine.err.contains("--engine sim"), "{engine}");
}

#[test]
fn failing_seeds_are_kept_and_their_runs_stand_for_themselves() {
    let dir = scratch();
    let store = dir.path().join("store");
    let target = losing(&dir);
    let done = campaign(&store, "0..30", &["--target", &target]);
    assert_eq!(done.code, 1, "{done}");
    let object = object(&done);
    let group = &object["groups"][0];
    assert_eq!(group["verdict"], "fail");
    assert_eq!(group["kind"], "lost");
    let fails = group["seeds"].as_u64().unwrap();
    assert_eq!(object["verdicts"]["fail"], fails);
    let lowest = group["lowest"].as_array().unwrap();
    assert_eq!(lowest.len() as u64, fails.min(5));
    for seed in lowest {
        let run = store.join(format!("kept/smoke.primary-lost-{seed}"));
        let check = command(&["check", run.to_str().unwrap(), "--format", "json"]);
        assert_eq!(check.code, 1, "{check}");
    }
    for mark in object["marks"].as_array().unwrap() {
        assert!(mark["hits"].as_u64() >= mark["trials"].as_u64(), "{mark}");
        let first = &mark["first"];
        let kept = object["kept"].as_array().unwrap();
        let its = kept.iter().find(|kept| kept["seed"] == first["seed"]);
        assert!(
            Path::new(its.unwrap()["dir"].as_str().unwrap()).is_dir(),
            "{mark}"
        );
    }
    // With a fault that is only pretended there is no takeover.
    let store = dir.path().join("disarmed");
    let done = campaign(&store, "0..3", &["--disarm", "0"]);
    assert_eq!(done.code, 3, "{done}");
    let line = done.err.lines().find(|l| l.contains("takeover-by-silence"));
    assert!(line.unwrap().contains("never reached"), "{done}");
    assert_eq!(object_of_kept(&done), [0]);
}

/// The seeds that were kept.
fn object_of_kept(done: &Done) -> Vec<u64> {
    let kept = object(done)["kept"].as_array().unwrap().clone();
    kept.iter().map(|k| k["seed"].as_u64().unwrap()).collect()
}

#[test]
fn a_tampered_result_is_damage_and_nothing_is_run() {
    let dir = scratch();
    let store = dir.path().join("store");
    assert_eq!(campaign(&store, "0..3", &[]).code, 0);
    let path = store.join("results.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"pass\"", "\"fail\"", 1)).unwrap();
    let done = campaign(&store, "0..3", &[]);
    assert_eq!(done.code, 70, "{done}");
    assert!(done.err.contains("line 1: its digest"), "{done}");
}

#[test]
fn a_run_that_comes_out_otherwise_for_its_directory_is_told() {
    let dir = scratch();
    let store = dir.path().join("store");
    let first = campaign(&store, "0..3", &[]);
    assert_eq!(first.code, 0, "{first}");
    // As if the trial had come to another history: the results are written
    // anew, with right digests and another root for every seed.
    let path = store.join("results.jsonl");
    let mut lines = String::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let mut object: Value = serde_json::from_str(line).unwrap();
        object.as_object_mut().unwrap().remove("digest");
        for tried in object["tried"].as_array_mut().unwrap() {
            tried["root"] = "0123456789abcdef0123456789abcdef".into();
        }
        let body = object.to_string();
        let body = &body[..body.len() - 1];
        let digest = blake3::hash(body.as_bytes()).to_hex();
        lines += &format!("{body},\"digest\":\"{}\"}}\n", &digest[..32]);
    }
    fs::write(&path, lines).unwrap();
    fs::remove_dir_all(store.join("kept")).unwrap();
    let done = campaign(&store, "0..3", &[]);
    assert_eq!(done.code, 70, "{done}");
    assert!(done.err.contains("NOT DETERMINISTIC"), "{done}");
    let again = campaign(&store, "0..3", &[]);
    assert_eq!(again.code, 70, "it stays known: {again}");
    assert_eq!(
        object(&again)["not_deterministic"],
        object(&done)["not_deterministic"]
    );
}

#[test]
fn an_interrupted_campaign_ends_cleanly_and_goes_on() {
    let dir = scratch();
    let store = dir.path().join("store");
    let mut run = begin(&store, "0..400", &["--jobs", "1"]);
    assert!(await_results(&mut run, &store, 1));
    interrupt(&run);
    let code = run.wait().unwrap().code();
    let done = campaign(&store, "0..400", &["--jobs", "2"]);
    assert_eq!(done.code, 0, "{done}");
    let object = object(&done);
    assert_eq!(object["tried"], 400);
    let left = object["here"]["trials"].as_u64().unwrap();
    assert!(left < 400, "what was tried before the interruption counts");
    // Had it been done before the signal came, it had passed.
    assert_eq!(code, Some(if left == 0 { 0 } else { 3 }));
}

fn interrupt(run: &Child) {
    let kill = format!("kill -INT {}", run.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn an_interrupted_run_says_that_it_was() {
    let dir = scratch();
    let out = dir.path().join("out");
    let run = Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .args(["run", "smoke/primary-crash", "--format", "json", "--out"])
        .arg(&out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let history = out.join("smoke.primary-crash/history.jsonl");
    let began = Instant::now();
    while fs::read_to_string(&history)
        .unwrap_or_default()
        .matches('\n')
        .count()
        < 100
    {
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(2));
    }
    interrupt(&run);
    let done = run.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(3));
    let line: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(line["verdict"], "inconclusive");
    let reason = line["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("the run ended early: interrupted"),
        "{reason}"
    );
    let check = command(&["check", out.to_str().unwrap(), "--format", "json"]);
    assert_eq!(check.code, 3, "{check}");
    assert_eq!(object(&check)["reason"], line["reason"]);
    assert!(check.err.contains("The run was interrupted"), "{check}");
}

#[test]
fn seeds_run_twice_come_out_alike() {
    let dir = scratch();
    let done = campaign(&dir.path().join("store"), "0..5", &["--twice"]);
    assert_eq!(done.code, 0, "{done}");
    let once = campaign(&dir.path().join("once"), "0..5", &[]);
    assert_eq!(object(&done)["histories"], object(&once)["histories"]);
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let arguments = ["run", SCENARIO, "--seeds", "0..2", "--twice", "--out", out];
    let done = command(&arguments);
    assert_eq!(done.code, 2, "real processes never run twice alike: {done}");
    let done = command(&[&arguments[..], &["--engine", "sim"]].concat());
    assert_eq!(done.code, 0, "{done}");
}

#[test]
fn who_reads_no_further_hears_of_no_failure() {
    let mut list = Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .arg("list")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    assert_eq!(list.wait().unwrap().code(), Some(0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .arg("list")
        .stdin(Stdio::null())
        .stdout(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(70), "a full disk is a failure");
}
