//! `sweep`.

use std::fs;

use serde_json::Value;

use crate::support::{command, scratch};

/// A few points only: one phase is passed over by most acts.
const SMALL: &str = r#"
id = "test/small"
title = "A few points"
needs = ["relay"]
[cluster]
nodes = 1
[workload]
messages = 2
sessions = 1
[sweep]
over = "smtp-phase"
links = ["n1->mb"]
acts = ["reset", "crash"]
pairs = 5
"#;

#[test]
fn every_point_is_run_and_counted() {
    let dir = scratch();
    let file = dir.path().join("small.toml");
    fs::write(&file, SMALL).unwrap();
    let file = file.to_str().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let done = command(&["sweep", file, "--out", out, "--format", "json"]);
    assert_eq!(done.code, 0, "{done}");
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert_eq!(object["schema"], "mailproof.sweep/1");
    assert_eq!(object["verdict"], "pass");
    assert_eq!(object["exhaustive"], true);
    let points = object["points"].as_u64().unwrap();
    let acts = &object["by_act"];
    assert_eq!(acts["reset"]["cases"], points);
    assert_eq!(acts["crash"]["reached"], points);
    assert_eq!(acts["pairs"]["ran"], 5);
    assert!(done.err.contains("exhaustive over single faults"), "{done}");

    // Twice the same.
    let again = command(&[
        "sweep", file, "--out", out, "--format", "json", "--jobs", "1",
    ]);
    let mut again: Value = serde_json::from_str(again.out.trim()).unwrap();
    again["seconds"] = object["seconds"].clone();
    assert_eq!(again, object);

    // Any case can be run alone; what there is not cannot.
    let one = command(&["sweep", file, "--out", out, "--case", "3"]);
    assert!([0, 3].contains(&one.code), "{one}");
    assert!(one.err.contains("test-small-3"), "{one}");
    let none = command(&["sweep", file, "--out", out, "--case", "100000"]);
    assert_eq!(none.code, 2, "{none}");
}

#[test]
fn every_second_point_is_not_exhaustive() {
    let dir = scratch();
    let file = dir.path().join("small.toml");
    fs::write(&file, SMALL).unwrap();
    let out = dir.path().join("out");
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let done = command(&[
        "sweep", file, "--out", out, "--every", "2", "--format", "json",
    ]);
    let object: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert_eq!(object["exhaustive"], false, "{done}");
    assert!(!done.err.contains("exhaustive"), "{done}");
}

#[test]
fn a_case_that_fails_is_kept_with_its_command() {
    let dir = scratch();
    let file = dir.path().join("late.toml");
    // Nothing that was held up arrives within a millisecond.
    let text = SMALL
        .replace("[sweep]", "[expect]\ndeadline = \"1 ms\"\n[sweep]")
        .replace("pairs = 5\n", "");
    fs::write(&file, text).unwrap();
    let out = dir.path().join("out");
    let done = command(&[
        "sweep",
        file.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(done.code, 1, "{done}");
    let repeat = done
        .err
        .lines()
        .find(|line| line.trim_start().starts_with("mailproof run "))
        .expect("a command that repeats it");
    let words: Vec<&str> = repeat.split_whitespace().skip(1).collect();
    let again = command(&words);
    assert_eq!(again.code, 1, "{again}");
}

#[test]
fn a_sweep_is_not_one_run() {
    let done = command(&["run", "sweep/client-phases", "--engine", "sim"]);
    assert_eq!(done.code, 4, "{done}");
    assert!(done.err.contains("is a sweep"), "{done}");
    let done = command(&["sweep", "smoke/no-fault"]);
    assert_eq!(done.code, 2, "{done}");
}
